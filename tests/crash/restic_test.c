/* restic itself is killed, or stopped as Ctrl-Z would, while it reads a service: case N is (N - 1) * 0.4
 * seconds after its backup has begun. The attempt fails, by itself or at its deadline, and the next one is good. */
#include <signal.h>
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"
#include "tests/crash/sweep.h"

#define STEP        (400 * USEC_PER_MSEC)
#define PATIENCE    (60 * USEC_PER_SEC)
#define LOOK        (5 * USEC_PER_MSEC)
#define LINE_LIMIT  4096
#define FIRST_CASES 4

static bool
is_backup(pid_t pid)
{
	cleanup_free char *path = xasprintf("/proc/%ld/cmdline", (long)pid);
	cleanup_free char *line = NULL;
	size_t length;
	if (file_read(path, LINE_LIMIT, &line, &length, NULL) < 0)
		return false;
	const char *program = getenv("ATELIER_BACKUP_RESTIC");
	const char *name = strrchr(program, '/') != NULL ? strrchr(program, '/') + 1 : program;
	const char *own = strrchr(line, '/') != NULL ? strrchr(line, '/') + 1 : line;
	return strcmp(own, name) == 0 && memmem(line, length, "\0backup", sizeof("\0backup")) != NULL;
}

/* 0: there is none at the moment. */
static pid_t
find_backup(struct crash_case *crash)
{
	size_t count;
	cleanup_free pid_t *children = case_children(case_victim(crash), &count);
	for (size_t i = 0; i < count; i++)
		if (is_backup(children[i]))
			return children[i];
	return 0;
}

static bool
strike(struct crash_case *crash, int signal)
{
	int64_t now = clock_monotonic(clock_system()), deadline = now + PATIENCE;
	while (find_backup(crash) == 0) {
		now = clock_monotonic(clock_system());
		if (case_wait_until(crash, now + LOOK) || now > deadline)
			return false;
	}
	if (case_wait_until(crash, clock_monotonic(clock_system()) + (crash->number - 1) * STEP))
		return false;
	pid_t restic = find_backup(crash);
	return restic > 0 && kill(restic, signal) == 0;
}

static bool
kill_restic(struct crash_case *crash)
{
	return strike(crash, SIGKILL);
}

static bool
stop_restic(struct crash_case *crash)
{
	return strike(crash, SIGSTOP);
}

int
main(int count, char **arguments)
{
	static struct sweep sweeps[] = {
	    {
		.name = "restic_is_killed",
		.events = "dead restics",
		.fault = {.strike = kill_restic, .judge_end = end_complete, .slow = true},
		.first_cases = FIRST_CASES,
		.least = FIRST_CASES - 1,
	    },
	    {
		.name = "restic_is_stopped",
		.events = "stopped restics",
		.fault = {.strike = stop_restic, .judge_end = end_complete, .slow = true, .snapshot_seconds = 10},
		.first_cases = FIRST_CASES,
		.least = FIRST_CASES - 1,
	    },
	};
	return sweep_main(count, arguments, sweeps, ARRAY_LENGTH(sweeps));
}
