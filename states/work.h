/* What an attempt carries from state to state, private to the states. */
#ifndef ATELIER_STATES_WORK_H
#define ATELIER_STATES_WORK_H

#include "adapters/hook.h"
#include "adapters/postgres.h"
#include "adapters/restic.h"
#include "adapters/sqlite.h"
#include "adapters/systemd.h"
#include "jobs/engine.h"
#include "states/machine.h"

extern const struct state state_checkpoint, state_stopping, state_snapshot, state_starting;

struct work {
	/* The one call that the current step waits for. */
	struct restic_call *restic;
	struct systemd_call *systemd;
	bool stop_begun; /* that call is the stop */
	struct hook_call *hook;
	struct sqlite_call *fold;
	int64_t child_id; /* the journal's row of the child that runs, 0: none */

	struct error locked;          /* what the repository said before stale locks were looked for */
	int64_t reaping_since;        /* monotonic; a dead restic's parent is waited for, 0: not */
	int64_t repair_awaited_since; /* monotonic; another job repairs the index, 0: not awaited */
	bool inside;                  /* counted in world.readers */

	struct unit_list units;      /* what the stop concerns, as last seen */
	struct systemd_watch *watch; /* over the stopped units, until they are started */
	size_t folded;               /* databases done in `stopping` */
	int64_t copying_until; /* ... and the end of the time for copies of those that are held, monotonic; 0: none */

	/* The restic that holds a lock of the repository, an upload mostly. It outlives the state that began it when
	 * the service has to come back first; then it is ended in good order, so that it takes its lock along. */
	struct restic_call *holder;
	int64_t holder_child;
	pid_t holder_pid;
	unsigned listing_tries; /* looks for a finished snapshot that had no answer */
	bool ending_holder;     /* `starting` waits for its end */

	/* What was taken before restic begins: see staging.h, live.h and dumps.h. `fold` copies, too. */
	bool staged;
	bool taking; /* the time for all of it has begun: work_begin_taking */
	struct database_copy *copies;
	size_t copying; /* the database that is being copied */
	struct database_dump *dumps;
	struct postgres_call *postgres;
	size_t asked;   /* PostgreSQL databases that are there, with a pg_dump that fits */
	size_t dumping; /* ... and those that are dumped */

	struct sqlite_call *proof; /* beside the upload, or on the live database afterwards */
	size_t proved;             /* databases that are proven readable */
	bool proving_live;         /* `proof` reads the live database */

	char **services; /* of a retention: those that are looked at */
	char **going;    /* ... and the ids of the snapshots that go */
	char *summary;   /* ... and what there is to tell when they are gone */

	bool hook_begun; /* this round's postBackup was started */
	struct error start_error;
	bool judging_start; /* after the last round: which of them runs? */
};

/* The job's, made when first asked for. */
struct work *work_of(struct job *job);
void work_release(struct job *job);

/* Lets go of the call a state waits for, without a callback; the upload is not touched. */
void work_abandon_calls(struct job *job);

struct world *world_of(const struct job *job);

/* child_spawned_fn for children whose death a later runner has to know: writes the journal's row. `context`
 * is the job. The command is what journal_children tells. */
int work_record_child(struct job *job, const char *command, const struct child_identity *child, int64_t *ret_child_id,
    struct error *error);
void work_forget_child(struct job *job, int64_t *child_id);

/* For each step of `checkpoint` that takes data: together they have the time that restic has. The service may be away
 * meanwhile, where preBackup stops it. */
void work_begin_taking(struct job *job);

/* filesystem_check_source; of the journal itself, which is open in this process, only whether it is in its place. */
int work_check_source(const struct job *job, const char *path, struct error *error);

/* A note that names the active units of a list: "stopping web.socket, web.service". */
void job_note_units(struct job *job, const char *verb, const struct unit_list *units);

/* Fills the error of a unit that came back during the window. */
void unit_returned_error(struct error *error, const char *unit);

/* ---- repository.c: what every job does that needs the repository ---- */

enum step_result step_check_restic(struct job *job, struct error *error);
enum step_result step_check_secrets(struct job *job, struct error *error);
enum step_result step_check_journal(struct job *job, struct error *error);

/* A stale lock of a restic that died, with its runner or without: removed if it is provably ours. Never fails the
 * job.
 */
enum step_result step_unlock_dead(struct job *job, struct error *error);

/* It answers, can be written, and nobody has it alone. */
enum step_result step_reach_repository(struct job *job, struct error *error);

/* Where an upload of this job was cut: what it had stored is made known to restic, if nobody else is at work in the
 * repository. Never fails the job for restic's sake. */
enum step_result step_repair_index(struct job *job, struct error *error);

/* From here to the end of the attempt, nobody of ours takes the repository for himself. */
enum step_result step_enter_repository(struct job *job, struct error *error);

/* Somebody else's lock was met: looks for stale ones, once in a while. True: the step goes on by itself, again from
 * its beginning if a lock was removed, else it ends with a BUSY error. False: it is the caller's to end it. */
bool repository_try_unlock(struct job *job, const struct error *locked);

/* The next job asks again. */
void repository_forget_answer(const struct job *job);

/* Calls that take a lock. They begin with the child_spawned_fn repository_child_spawned (whose context is the job)
 * and with repository_call_begun, which waits, or fails for NULL. Their callbacks ask repository_call_ended first:
 * false, the job does not wait for it any more. */
int repository_child_spawned(void *context, const struct child_identity *child, struct error *error);
enum step_result repository_call_begun(struct job *job, struct restic_call *call);
bool repository_call_ended(struct job *job, const struct error *error);

/* For the states' leave, and for the end of an attempt. */
void repository_abandon_call(struct job *job);
void repository_release(struct job *job);

/* ---- retention.c and prune.c: what the state snapshot does for jobs that make none ---- */

extern const struct step retention_steps[], prune_steps[];

/* The first step of both: one that was cut by the runner's death begins anew, as the next attempt. */
enum step_result step_begin_anew(struct job *job, struct error *error);

/* ---- size.c: is it as large as the last good one? ---- */

/* Notes in the job's row how large each database is, as it was taken: before restic begins, so that a snapshot that
 * is found again after our death has its data, too. */
void size_note_data(struct job *job);

/* The step that judges the snapshot and each of its databases. */
enum step_result step_judge_size(struct job *job, struct error *error);

/* ---- proof.c: is what was saved readable? ---- */

/* Begins to prove the stopped databases one after the other, beside the upload; nobody waits for it. */
void proof_begin_beside(struct job *job);
void proof_abandon(struct job *job);

/* Proves what the upload was too fast for, on the live databases, when nothing is owed any more. */
enum step_result step_prove_databases(struct job *job, struct error *error);

#endif
