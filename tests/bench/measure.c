/* bench_measure RUNS NAME COMMAND... [-- NAME COMMAND...]...: runs the commands in turn, so that a noisy machine is
 * noisy for all of them, and prints for each what a whole process took: wall time, CPU, peak memory, and the ratio of
 * its median to that of the first. Output is thrown away. A command has to exit the same way each time. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/clock.h"

#define COMMAND_LIMIT 8

struct subject {
	const char *name;
	char **arguments;
	int code; /* as from waitpid; -1 before the first run */
	int64_t *wall, *cpu;
	long peak_kib;
};

static void
run_once(struct subject *subject, size_t turn)
{
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	int64_t begun = clock_monotonic(clock_system());
	pid_t child;
	int code;
	struct rusage usage;
	if (posix_spawnp(&child, subject->arguments[0], &actions, NULL, subject->arguments, environ) != 0 ||
	    wait4(child, &code, 0, &usage) != child) {
		fprintf(stderr, "bench_measure: cannot run %s\n", subject->arguments[0]);
		exit(1);
	}
	subject->wall[turn] = clock_monotonic(clock_system()) - begun;
	subject->cpu[turn] = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * USEC_PER_SEC + usage.ru_utime.tv_usec +
			     usage.ru_stime.tv_usec;
	if (usage.ru_maxrss > subject->peak_kib)
		subject->peak_kib = usage.ru_maxrss;
	posix_spawn_file_actions_destroy(&actions);
	if (subject->code != -1 && subject->code != code) {
		fprintf(stderr, "bench_measure: %s ended with %#x, then with %#x\n", subject->name,
		    (unsigned)subject->code, (unsigned)code);
		exit(1);
	}
	subject->code = code;
}

static int
compare(const void *left, const void *right)
{
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
	return (a > b) - (a < b);
}

static double
milliseconds(int64_t microseconds)
{
	return (double)microseconds / (double)USEC_PER_MSEC;
}

static void
print_subject(const struct subject *subject, const struct subject *first, size_t runs)
{
	printf("%-18s %8.2f %8.2f %8.2f %8.2f %9.2f %7.2f %5d\n", subject->name, milliseconds(subject->wall[0]),
	    milliseconds(subject->wall[runs / 2]), milliseconds(subject->wall[runs * 95 / 100]),
	    milliseconds(subject->cpu[runs / 2]), (double)subject->peak_kib / 1024,
	    (double)subject->wall[runs / 2] / (double)first->wall[runs / 2],
	    WIFEXITED(subject->code) ? WEXITSTATUS(subject->code) : -WTERMSIG(subject->code));
}

int
main(int argc, char **argv)
{
	size_t runs = argc > 3 ? strtoul(argv[1], NULL, 10) : 0;
	if (runs == 0) {
		fputs("usage: bench_measure RUNS NAME COMMAND... [-- NAME COMMAND...]...\n", stderr);
		return 2;
	}
	struct subject subjects[COMMAND_LIMIT];
	size_t count = 0;
	for (int word = 2; word + 1 < argc && count < COMMAND_LIMIT; count++) {
		subjects[count] = (struct subject){
		    .name = argv[word],
		    .arguments = &argv[word + 1],
		    .code = -1,
		    .wall = xcalloc(runs, sizeof(int64_t)),
		    .cpu = xcalloc(runs, sizeof(int64_t)),
		};
		while (word < argc && strcmp(argv[word], "--") != 0)
			word++;
		if (word < argc)
			argv[word++] = NULL;
	}
	for (size_t turn = 0; turn < runs; turn++)
		for (size_t i = 0; i < count; i++)
			run_once(&subjects[i], turn);
	printf("%-18s %8s %8s %8s %8s %9s %7s %5s\n", "", "min ms", "median", "p95", "cpu ms", "peak MiB", "ratio",
	    "exit");
	for (size_t i = 0; i < count; i++) {
		qsort(subjects[i].wall, runs, sizeof(int64_t), compare);
		qsort(subjects[i].cpu, runs, sizeof(int64_t), compare);
	}
	for (size_t i = 0; i < count; i++) {
		print_subject(&subjects[i], &subjects[0], runs);
		free(subjects[i].wall);
		free(subjects[i].cpu);
	}
	return 0;
}
