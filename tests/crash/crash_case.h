/* One case: a directory with a manifest, a repository, a state directory and services of its own, in a process of its
 * own, a run of the program over them, and one fault in it. That process adopts whatever outlives the program
 * (PR_SET_CHILD_SUBREAPER), so "nothing is left running" can be seen: it has no children. */
#ifndef ATELIER_TESTS_CRASH_CRASH_CASE_H
#define ATELIER_TESTS_CRASH_CRASH_CASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/text.h"

struct services;
struct crash_case;

/* The policy of every case. Its repository has so many snapshots of each service at the beginning, one more than a
 * retention that has a new one leaves of them; and one of another host, which is nobody's business. */
#define KEPT          2
#define SNAPSHOTS_OLD 2
#define HOST          "host"
#define HOST_OTHER    "elsewhere"

struct fault {
	const char *variable; /* set to the case's number for the run (core/fault.h), or NULL */
	const char *process;  /* whose events are counted: "runner" (NULL) or "command", the client */

	/* What happens from outside while the run is on its way; false if it ended before. May be NULL. */
	bool (*strike)(struct crash_case *crash);

	/* After the strike. May be NULL. */
	void (*clean_up)(struct crash_case *crash);

	/* Judges the wait status and the words (`output`) of a run that met the fault. */
	void (*judge_end)(struct crash_case *crash, int status);

	bool may_fail;            /* a job may end as failed, or need another attempt although a snapshot was made */
	bool prunes;              /* the run ends with a prune */
	bool own_state;           /* the journal and the manifest are backed up, too */
	bool slow;                /* restic takes about two seconds for each service */
	int64_t snapshot_seconds; /* the deadline; 0: one that is never reached */
};

/* Of all cases of a sweep, whose processes share it. */
struct outages {
	_Atomic unsigned count;  /* services that were away when the runner was killed */
	_Atomic int64_t longest; /* how long after that the last of them was there again, in microseconds */
};

struct crash_case {
	const struct services *services;
	const struct fault *fault;
	const char *root;
	unsigned number; /* at which event the fault begins, or whatever a strike makes of it; names the case */
	uint64_t seed;
	int64_t usual_time; /* of a run without a fault, in microseconds; 0: not measured */
	char *directory;    /* ROOT/NUMBER */
	char *output;       /* what the last command said */
	struct outages *outages;
	int64_t program_time; /* how long `atelier-backup --version` took before the run: how busy the machine is */
	int64_t start_time;   /* of the services themselves */
	int64_t killed_at;    /* the runner, from outside (clock_wall); 0: it was not */
	struct text log;      /* all commands and what they said, shown when the case fails */

	/* The run: the client. */
	pid_t command;
	bool ended;
	int status;
	int64_t began, took;
};

/* Makes the directory with everything in it, starts the services, and points the environment of this process, and so
 * of every command of it, to the case. */
void case_set_up(struct crash_case *crash);

/* Makes ROOT/repository, of which every case has a copy. */
void case_make_repository(struct crash_case *crash);

/* Removes the directory of a case that ended well. The services are stopped by then. */
void case_tear_down(struct crash_case *crash);

/* Tells what happened, ends everything that the case has started, and this process. */
void case_fail(struct crash_case *crash, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));

/* ---- the run: all that the tests know of the program's processes ---- */

/* Begins the run of all services, with the fault in its environment. */
void case_start(struct crash_case *crash);

/* The runner, which is waited for if there is none yet; 0: the run has ended before. */
pid_t case_victim(struct crash_case *crash);

/* Kills the runner, and remembers when; false if there is none any more. */
bool case_kill_runner(struct crash_case *crash);

/* Waits for the end of the run and then of its runner, and returns how it ended. `output` is what the run said. Does
 * nothing to heal what is broken. */
int case_finish(struct crash_case *crash);

/* Tells the runner to end when it has nothing to do, and waits until it and its guardian are gone. */
void case_end_runner(struct crash_case *crash);

/* ---- whatever else a case does ---- */

/* Waits until the run has ended or the time (clock_monotonic) has come; true if it has ended. */
bool case_wait_until(struct crash_case *crash, int64_t time);

/* True if the fault of the environment has come to pass. */
bool case_had_fault(const struct crash_case *crash);

/* Runs a command to its end and returns its wait status. One that takes minutes fails the case. */
int case_run(struct crash_case *crash, const char *program, ...) __attribute__((sentinel));

/* The same for a command that has to end well. */
#define case_must(crash, ...)                                                                                        \
	do {                                                                                                         \
		int status_ = case_run(crash, __VA_ARGS__);                                                          \
		if (status_ != 0)                                                                                    \
			case_fail(crash, "wait status %d", status_);                                                 \
	} while (0)

/* The children of a process. The caller owns the array. */
pid_t *case_children(pid_t parent, size_t *ret_count);

/* A path in the case's directory. The caller owns it. */
char *case_path(const struct crash_case *crash, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define PROGRAM      TEST_BINARY_DIR "/atelier-backup"
#define DEMO_SERVICE TEST_BINARY_DIR "/atelier-demo-service"

#endif
