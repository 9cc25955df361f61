/* One case of a sweep: a directory with a manifest, a repository, a state directory and two services of its own, in a
 * process of its own. That process adopts whatever outlives the program (PR_SET_CHILD_SUBREAPER), so "nothing is left
 * running" can be seen: it has no children. */
#ifndef ATELIER_TESTS_CRASH_CRASH_CASE_H
#define ATELIER_TESTS_CRASH_CRASH_CASE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "core/text.h"

struct services;

struct crash_case {
	const struct services *services;
	const char *root;
	unsigned number; /* the commit at which the fault begins; names the case */
	char *directory; /* ROOT/NUMBER */
	char *output;    /* what the last command said */
	struct text log; /* all commands and what they said, shown when the case fails */
};

/* Makes the directory with everything in it, starts the services, and points the environment of this process, and so
 * of every command of it, to the case. */
void case_set_up(struct crash_case *crash);

/* Removes the directory of a case that ended well. The services are stopped by then. */
void case_tear_down(struct crash_case *crash);

/* Tells what happened, ends everything that the case has started, and this process. */
void case_fail(struct crash_case *crash, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

/* Runs a command to its end and returns its wait status; `variable` (may be NULL) is set to the case's number for it.
 * A command that takes a minute fails the case. */
int case_run(struct crash_case *crash, const char *variable, const char *program, ...) __attribute__((sentinel));

/* The same for a command that has to end well. */
#define case_must(crash, ...)                                                                                        \
	do {                                                                                                         \
		int status_ = case_run(crash, NULL, __VA_ARGS__);                                                    \
		if (status_ != 0)                                                                                    \
			case_fail(crash, "wait status %d", status_);                                                 \
	} while (0)

/* The children of this process that are not dead. The caller owns the array. */
pid_t *case_children(struct crash_case *crash, size_t *ret_count);

/* A path in the case's directory. The caller owns it. */
char *case_path(const struct crash_case *crash, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define PROGRAM      TEST_BINARY_DIR "/atelier-backup"
#define DEMO_SERVICE TEST_BINARY_DIR "/atelier-demo-service"

#endif
