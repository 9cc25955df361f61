/* Where an attempt keeps what it has made itself for the snapshot: dumps, copies of live databases, the metadata. It
 * is `staging/SERVICE` in the state directory, the same for every attempt, so that restic finds the parent of each
 * snapshot and a restore finds the files:
 *
 *   metadata.json   see metadata.h
 *   postgres/       dumps, see adapters/postgres.h
 *   sqlite/N        copies of live databases; restic finds them in the place of the databases themselves
 *
 * A service has one job at a time. What an attempt has made is removed at its end; what a dead runner has left, by
 * the next one: no attempt goes on with it. That may be much, and take a while, and services may still be down: it is
 * moved to `staging.old` first, which takes no time, and removed when nothing is owed any more. */
#ifndef ATELIER_STATES_STAGING_H
#define ATELIER_STATES_STAGING_H

#include "jobs/engine.h"

/* A path below the place of the job's service; the caller owns it. `name` may be "". */
char *staging_path(const struct job *job, const char *name);

/* The step that makes the place, empty. */
enum step_result step_prepare_staging(struct job *job, struct error *error);

/* At the end of an attempt. What cannot be removed is logged and left for the next one. */
void staging_release(const struct job *job);

/* For a runner, before it begins: moves away what a dead one has left. What cannot be moved stays for the next
 * attempt of its service. */
void staging_set_aside(const struct journal *journal);

/* For a runner, when nothing is owed: removes what was moved away. Blocks as long as that takes. */
void staging_sweep(const struct journal *journal);

#endif
