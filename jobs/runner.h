/* The runner: the one process that advances jobs. It holds the journal's runner lock, takes over what a dead
 * runner left, and drives the engine until what it was asked for has ended. */
#ifndef ATELIER_JOBS_RUNNER_H
#define ATELIER_JOBS_RUNNER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/clock.h"
#include "core/error.h"
#include "jobs/engine.h"
#include "jobs/journal.h"

/* What recovery found before the first job moved. */
struct recovery_report {
	size_t jobs;        /* unfinished jobs that were taken over */
	size_t obligations; /* still owed */
	size_t children;    /* processes of the dead runner that were ended */
};

struct runner_settings {
	struct event_base *base;
	struct journal *journal; /* its runner lock is held by the caller */
	const struct clock *clock;
	const struct machine *machine;
	int64_t parallel;         /* until a submission says otherwise */
	int listener;             /* control_listen's descriptor, owned by the runner from now on; -1: no clients */
	const char *status_group; /* see control_server.h */
	const struct engine_observer *observer;           /* beside the clients, for the log; may be NULL */
	void (*notice)(void *context, const char *words); /* what a signal leads to, for people; may be NULL */
	void (*recovered)(
	    void *context, const struct recovery_report *report); /* told once, before the jobs move; may be NULL */
	/* Told once, from the loop, when nothing is owed any more, or nothing was: whoever has something slow to
	 * clean up does it then. May be NULL. */
	void (*paid)(void *context);
	/* Tries again what was given up, while no job is at work; may be NULL. Blocks as long as that takes. 0 with
	 * `error` set: the first that could not be paid. */
	int (*recover)(void *context, int64_t *ret_tried, int64_t *ret_paid, struct error *error);
	void *context;

	/* With no unfinished job and no client, the runner ends after this time, microseconds. */
	int64_t idle_patience;

	/* Pay what is owed and nothing else: ends when nothing is owed any more, and leaves the jobs where they are.
	 * No client is listened to. */
	bool until_paid;
};

/* How it ended. */
enum runner_end {
	RUNNER_DONE,        /* nothing is left to do */
	RUNNER_INTERRUPTED, /* SIGTERM, SIGINT: attempts were ended in good order, the jobs wait in the journal */
};

/* Ends leftover children of a dead runner, takes its jobs over, and runs. Services of the dead runner are
 * brought back before anything slow. Under a service manager: sd_notify READY, STATUS and the watchdog.
 * Returns -1 with an error when the journal could not be read or can no longer be written; every service it
 * stopped has been brought back then, too. */
int runner_run(const struct runner_settings *settings, enum runner_end *ret_end, struct error *error);

/* Ends what a dead runner left running and tells of each restic among it, whose lock may still be in the
 * repository: its row is crossed off by whoever removes the lock. Called by runner_run; public for its tests.
 */
typedef void recovery_restic_fn(void *context, int64_t child_id, pid_t pid);
int recovery_end_children(
    struct journal *journal, recovery_restic_fn *restic, void *context, size_t *ret_ended, struct error *error);

/* What is owed by a job that was set aside as damaged has nobody to pay it: it becomes given up, so that
 * given_up_retry does. The runner lock is held by the caller. */
int recovery_give_up_orphans(struct journal *journal, size_t *ret_count, struct error *error);

#endif
