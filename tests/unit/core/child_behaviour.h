/* What the programs do that child_test starts: they are child_test itself, called with the name of a
 * behaviour. */
#ifndef ATELIER_TESTS_UNIT_CORE_CHILD_BEHAVIOUR_H
#define ATELIER_TESTS_UNIT_CORE_CHILD_BEHAVIOUR_H

#include "core/alloc.h"
#include "core/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SELF "/proc/self/exe"

static inline void
say(const char *word)
{
	puts(word);
	fflush(stdout);
}

static inline int
wait_for_signals(void)
{
	while (pause() < 0)
		;
	return 0;
}

static inline int
behave_lines(const char *argument)
{
	fputs("one\n\nthree\n", stdout);
	fputs("complaint\n", stderr);
	return atoi(argument);
}

static inline int
behave_echo(const char *argument)
{
	say(argument);
	return 0;
}

/* A line of `argument` bytes, then a short one. */
static inline int
behave_huge(const char *argument)
{
	for (long left = atol(argument); left > 0; left--)
		putchar('x');
	fputs("\nafter\n", stdout);
	return 0;
}

static inline int
behave_nul(const char *argument)
{
	(void)argument;
	fwrite("a\0b\ntail\0", 1, 9, stdout);
	return 0;
}

static inline int
behave_flood(const char *argument)
{
	for (long i = 0; i < atol(argument); i++) {
		printf("line %ld of the output\n", i);
		fprintf(stderr, "line %ld of the complaints\n", i);
	}
	return 0;
}

static inline int
behave_copy(const char *argument)
{
	(void)argument;
	char chunk[4096];
	size_t count;
	while ((count = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
		fwrite(chunk, 1, count, stdout);
	return 0;
}

static inline int
behave_wait(const char *argument)
{
	(void)argument;
	say("ready");
	return wait_for_signals();
}

/* Says nothing, so that only a signal from outside can end it: not even a broken pipe. */
static inline int
behave_sleep(const char *argument)
{
	(void)argument;
	return wait_for_signals();
}

static inline int
behave_stubborn(const char *argument)
{
	(void)argument;
	signal(SIGTERM, SIG_IGN);
	say("ready");
	return wait_for_signals();
}

static inline void
interrupted(int number)
{
	(void)number;
	_exit(42);
}

static inline int
behave_polite(const char *argument)
{
	(void)argument;
	signal(SIGINT, interrupted);
	say("ready");
	return wait_for_signals();
}

static inline int
behave_die(const char *argument)
{
	return raise(atoi(argument));
}

static inline void
say_pid(pid_t pid)
{
	printf("%ld\n", (long)pid);
	fflush(stdout);
}

/* Leaves a grandchild that holds the output. */
static inline int
behave_leave(const char *argument)
{
	(void)argument;
	pid_t pid = fork();
	if (pid == 0)
		return wait_for_signals();
	say_pid(pid);
	return 0;
}

/* Leaves a grandchild in a process group of its own that holds nothing. */
static inline int
behave_orphan(const char *argument)
{
	(void)argument;
	int ready[2];
	char byte;
	if (pipe(ready) < 0)
		return 1;
	pid_t pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		close(STDOUT_FILENO);
		close(STDERR_FILENO);
		close(ready[0]);
		close(ready[1]);
		return wait_for_signals();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 0)
		return 1;
	say_pid(pid);
	return 0;
}

/* Has a grandchild that holds nothing and does not care for SIGTERM; waits itself. */
static inline int
behave_family(const char *argument)
{
	(void)argument;
	int ready[2];
	char byte;
	if (pipe(ready) < 0)
		return 1;
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGTERM, SIG_IGN);
		close(STDOUT_FILENO);
		close(STDERR_FILENO);
		close(ready[0]);
		close(ready[1]);
		return wait_for_signals();
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) != 0)
		return 1;
	say_pid(pid);
	return wait_for_signals();
}

/* What is in a file. */
static inline int
behave_show(const char *argument)
{
	char content[256] = "";
	FILE *file = fopen(argument, "re");
	if (file == NULL || fgets(content, sizeof(content), file) == NULL)
		return 1;
	say(content);
	return fclose(file);
}

/* The same, and waits. */
static inline int
behave_show_and_wait(const char *argument)
{
	return behave_show(argument) != 0 ? 1 : wait_for_signals();
}

/* Why a file cannot be opened for writing. */
static inline int
behave_write(const char *argument)
{
	int descriptor = open(argument, O_WRONLY | O_CLOEXEC);
	if (descriptor >= 0)
		return close(descriptor);
	say(strerrorname_np(errno));
	return 1;
}

static inline int
behave_touch(const char *argument)
{
	int descriptor = open(argument, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return descriptor < 0 || close(descriptor) < 0;
}

static inline void
say_status_line(const char *name)
{
	char line[256];
	FILE *status = fopen("/proc/self/status", "re");
	while (status != NULL && fgets(line, sizeof(line), status) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			fputs(line, stdout);
	if (status != NULL)
		fclose(status);
}

/* What a child inherits and what it should not. */
static inline int
behave_describe(const char *argument)
{
	(void)argument;
	char directory[4096], input[64] = "";
	for (int descriptor = 3; descriptor < 1024; descriptor++)
		if (fcntl(descriptor, F_GETFD) >= 0)
			printf("descriptor %d is open\n", descriptor);
	if (readlink("/proc/self/fd/0", input, sizeof(input) - 1) < 0)
		return 1;
	if (getcwd(directory, sizeof(directory)) == NULL)
		return 1;
	printf("input %s\n", input);
	printf("directory %s\n", directory);
	printf("leader %s\n", getpgrp() == getpid() ? "yes" : "no");
	printf("nice %d\n", getpriority(PRIO_PROCESS, 0));
	printf("io %ld\n", syscall(SYS_ioprio_get, 1, 0));
	printf("user %u %u group %u %u groups %d\n", getuid(), geteuid(), getgid(), getegid(), getgroups(0, NULL));
	say_status_line("SigBlk:");
	say_status_line("SigIgn:");
	return 0;
}

static inline int
behave_environment(const char *argument)
{
	(void)argument;
	for (char **entry = environ; *entry != NULL; entry++)
		puts(*entry);
	return 0;
}

static inline int
behave_oom(const char *argument)
{
	(void)argument;
	char score[32] = "";
	FILE *file = fopen("/proc/self/oom_score_adj", "re");
	if (file == NULL || fgets(score, sizeof(score), file) == NULL)
		return 1;
	fputs(score, stdout);
	return fclose(file);
}

static inline void
ignore_exit(void *context, const struct child_exit *exit)
{
	(void)context;
	(void)exit;
}

static const char *const no_environment[] = {"ASAN_OPTIONS=detect_leaks=0", NULL};

/* Is itself a parent, whose child shall die with it. */
static inline int
behave_parent(const char *argument)
{
	(void)argument;
	const struct child_spec spec = {
	    .name = "grandchild",
	    .arguments = (const char *const[]){SELF, "sleep", "", NULL},
	    .environment = no_environment,
	    .drop_privileges = true,
	    .user = geteuid() == 0 ? 65534 : geteuid(),
	    .group = geteuid() == 0 ? 65534 : getegid(),
	    .death_signal = SIGKILL,
	    .on_exit = ignore_exit,
	};
	struct child *child = child_start(event_base_new(), &spec, NULL);
	if (child == NULL)
		return 1;
	say_pid(child_identity_of(child).pid);
	return wait_for_signals();
}

static inline int
die_while_spawning(void *context, const struct child_identity *identity, struct error *error)
{
	(void)context;
	(void)error;
	say_pid(identity->pid);
	return kill(getpid(), SIGKILL);
}

/* Is itself a parent and dies before its child has begun. */
static inline int
behave_die_while_spawning(const char *argument)
{
	const struct child_spec spec = {
	    .name = "never",
	    .arguments = (const char *const[]){SELF, "touch", argument, NULL},
	    .environment = no_environment,
	    .on_spawned = die_while_spawning,
	    .on_exit = ignore_exit,
	};
	child_start(event_base_new(), &spec, NULL);
	return 1;
}

static inline void
collect_line(void *context, const char *line, size_t length, bool cut)
{
	(void)cut;
	int *result = context;
	if (length == 5 && memcmp(line, "hello", 5) == 0)
		*result = 0;
}

/* Is itself a parent, one that was started without stdin, stdout and stderr. */
static inline int
behave_bare(const char *argument)
{
	(void)argument;
	int result = 1;
	close(STDIN_FILENO);
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	const struct child_spec spec = {
	    .name = "grandchild",
	    .arguments = (const char *const[]){SELF, "echo", "hello", NULL},
	    .environment = no_environment,
	    .on_stdout = collect_line,
	    .on_exit = ignore_exit,
	    .context = &result,
	};
	struct event_base *base = event_base_new();
	if (child_start(base, &spec, NULL) == NULL)
		return 2;
	event_base_dispatch(base);
	event_base_free(base);
	return result;
}

static inline int
behave(const char *name, const char *argument)
{
	static const struct {
		const char *name;
		int (*behaviour)(const char *argument);
	} behaviours[] = {
	    {"lines", behave_lines},
	    {"echo", behave_echo},
	    {"huge", behave_huge},
	    {"nul", behave_nul},
	    {"flood", behave_flood},
	    {"copy", behave_copy},
	    {"wait", behave_wait},
	    {"sleep", behave_sleep},
	    {"stubborn", behave_stubborn},
	    {"polite", behave_polite},
	    {"die", behave_die},
	    {"leave", behave_leave},
	    {"orphan", behave_orphan},
	    {"family", behave_family},
	    {"show", behave_show},
	    {"show-and-wait", behave_show_and_wait},
	    {"write", behave_write},
	    {"touch", behave_touch},
	    {"describe", behave_describe},
	    {"environment", behave_environment},
	    {"oom", behave_oom},
	    {"parent", behave_parent},
	    {"die-while-spawning", behave_die_while_spawning},
	    {"bare", behave_bare},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(behaviours); i++)
		if (strcmp(behaviours[i].name, name) == 0)
			return behaviours[i].behaviour(argument);
	fprintf(stderr, "no behaviour is called %s\n", name);
	return 125;
}

#endif
