#include "core/fault.h"

#ifdef ATELIER_CRASH_POINTS

#	include <fcntl.h>
#	include <signal.h>
#	include <stdint.h>
#	include <stdio.h>
#	include <stdlib.h>
#	include <string.h>
#	include <unistd.h>

#	define FAULT_LIST(X)                                                                                        \
		X(CRASH_AFTER_COMMIT)                                                                                \
		X(CRASH_AFTER_EFFECT)                                                                                \
		X(FAIL_COMMIT)                                                                                       \
		X(FAIL_FORK)                                                                                         \
		X(FAIL_ALLOC)

enum fault {
#	define X(name) FAULT_##name,
	FAULT_LIST(X)
#	undef X
	    FAULT_COUNT,
};

static const char *const variables[FAULT_COUNT] = {
#	define X(name) "ATELIER_BACKUP_" #name,
    FAULT_LIST(X)
#	undef X
};

static int64_t chosen[FAULT_COUNT]; /* 0: none */
static int64_t events[FAULT_COUNT];
static pid_t armed; /* a process that is forked off counts nothing */
static bool disk_is_full;

/* None of this may allocate: it is called from the allocator. */

static void
write_counts(void)
{
	const char *path = getenv("ATELIER_BACKUP_FAULT_COUNTS");
	if (path == NULL || armed != getpid())
		return;
	int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (descriptor < 0)
		return;
	for (size_t i = 0; i < FAULT_COUNT; i++)
		dprintf(descriptor, "%s %lld\n", variables[i], (long long)events[i]);
	close(descriptor);
}

void
fault_arm(const char *process)
{
	const char *wanted = getenv("ATELIER_BACKUP_FAULT_IN");
	if (strcmp(process, wanted != NULL ? wanted : "runner") != 0)
		return;
	for (size_t i = 0; i < FAULT_COUNT; i++) {
		const char *value = getenv(variables[i]);
		chosen[i] = value == NULL ? 0 : strtoll(value, NULL, 10);
		events[i] = 0;
	}
	/* Another process that looks at the same disk. */
	const char *once = getenv("ATELIER_BACKUP_FAULT_ONCE");
	disk_is_full = chosen[FAULT_FAIL_COMMIT] != 0 && once != NULL && access(once, F_OK) == 0;
	if (armed == 0)
		atexit(write_counts);
	armed = getpid();
}

/* True for the one that may have its fault. */
static bool
claim(enum fault fault, const char *what)
{
	const char *path = getenv("ATELIER_BACKUP_FAULT_ONCE");
	if (path == NULL)
		return true;
	int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (descriptor < 0)
		return false;
	dprintf(descriptor, "%s %lld: %s\n", variables[fault], (long long)events[fault], what);
	close(descriptor);
	return true;
}

static bool
is_due(enum fault fault, const char *what)
{
	if (armed == 0 || armed != getpid())
		return false;
	return ++events[fault] == chosen[fault] && claim(fault, what);
}

static void
die_if_due(enum fault fault, const char *what)
{
	if (is_due(fault, what))
		kill(getpid(), SIGKILL);
}

void
fault_effect(const char *what)
{
	die_if_due(FAULT_CRASH_AFTER_EFFECT, what);
}

void
fault_committed(void)
{
	die_if_due(FAULT_CRASH_AFTER_COMMIT, "a commit");
}

bool
fault_fails_commit(void)
{
	if (is_due(FAULT_FAIL_COMMIT, "a commit"))
		disk_is_full = true;
	return disk_is_full;
}

bool
fault_fails_fork(void)
{
	return is_due(FAULT_FAIL_FORK, "a new process");
}

bool
fault_fails_alloc(void)
{
	return is_due(FAULT_FAIL_ALLOC, "memory");
}

#endif
