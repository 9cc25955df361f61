/* The state machine of a backup: the table, which is the documentation, the code and what the tests
 * enumerate, and the records of the eight states, each told in its own file as a list of steps. */
#ifndef ATELIER_STATES_MACHINE_H
#define ATELIER_STATES_MACHINE_H

#include <event2/event.h>
#include <sys/types.h>

#include "adapters/systemd.h"
#include "jobs/engine.h"

/* The outside world as the states share it in one runner. */
struct world {
	struct event_base *base;
	struct systemd
	    *systemd; /* opened when first needed; NULL before, and where systemd is not the service manager */
	const char *sqlite_helper;
	char *answered_place; /* the repository that answered last, and when (monotonic): one look serves many
				 jobs */
	int64_t answered_at;
	int64_t asking_job; /* the one job that asks the repository, or makes it; 0: none */
	struct dead_child { /* restic children of a dead runner whose locks may still be in the repository */
		int64_t child_id;
		pid_t pid;
	} *dead;
	size_t dead_count;
	size_t dead_asked;                       /* so many of them, from the first, does `unlocking_job` ask about */
	int64_t unlocking_job;                   /* the one job that removes their locks; 0: none */
	int64_t unlock_tried_at[JOB_KIND_COUNT]; /* monotonic: when stale locks of others were last looked for, for
						    jobs that share and for such as do not; 0: never */
	size_t readers;                          /* jobs between the end of checkpoint and that of their attempt */
	int64_t alone_job;                       /* the one that repairs the index meanwhile; 0: none */
	int64_t repaired_at;                     /* monotonic, of the last repair that succeeded */
};

void world_init(struct world *world, struct event_base *base);
void world_release(struct world *world);

/* The manager's connection; NULL with ERROR_SYSTEMD_UNAVAILABLE where there is none. */
struct systemd *world_systemd(struct world *world, struct error *error);

/* The machine for a runner. `world` must outlive it. */
struct machine machine_for(struct world *world);

/* The table alone, for its documentation and its tests. */
const struct transition_row *machine_rows(size_t *ret_count);

/* A hash (64 hex digits) of the repository's location: what the journal knows it by. ERROR_SECRET if it
 * cannot be read. */
int repository_place(const struct restic_settings *settings, char **ret_place, struct error *error);

#endif
