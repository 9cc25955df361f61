/* What an attempt carries from state to state, private to the states. */
#ifndef ATELIER_STATES_WORK_H
#define ATELIER_STATES_WORK_H

#include "adapters/hook.h"
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

	struct unit_list units;      /* what the stop concerns, as last seen */
	struct systemd_watch *watch; /* over the stopped units, until they are started */
	size_t folded;               /* databases done in `stopping` */

	/* The upload outlives the state `snapshot` when the service has to come back first. */
	struct restic_call *backup;
	int64_t backup_child;
	unsigned listing_tries; /* looks for a finished snapshot that had no answer */
	bool ending_upload;     /* `starting` waits for its end */

	struct sqlite_call *proof; /* beside the upload, or on the live database afterwards */
	size_t proved;             /* databases that are proven readable */
	bool proving_live;         /* `proof` reads the live database */

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

/* A note that names the active units of a list: "stopping web.socket, web.service". */
void job_note_units(struct job *job, const char *verb, const struct unit_list *units);

/* Fills the error of a unit that came back during the window. */
void unit_returned_error(struct error *error, const char *unit);

/* ---- steps that more than one state has ---- */

/* A stale lock of a restic that died with its runner: removed if it is provably ours. Never fails the job. */
enum step_result step_unlock_dead(struct job *job, struct error *error);

/* ---- proof.c: is what was saved readable? ---- */

/* Begins to prove the stopped databases one after the other, beside the upload; nobody waits for it. */
void proof_begin_beside(struct job *job);
void proof_abandon(struct job *job);

/* Proves what the upload was too fast for, on the live databases, when nothing is owed any more. */
enum step_result step_prove_databases(struct job *job, struct error *error);

#endif
