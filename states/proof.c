/* The proof that the databases in a snapshot can be read: on the stopped files beside the upload, so that it
 * makes the window no longer, and where the upload was faster on the live databases afterwards, which costs
 * nobody any time. */
#include "core/alloc.h"
#include "states/live.h"

static void prove_next_beside(struct job *job);

static void
proved_beside(void *context, const struct sqlite_result *result)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->proof = NULL;
	if (error_is_set(&result->error)) {
		job_note(job, "sqlite", result->error.message);
		if (result->error.code != ERROR_DATABASE_DAMAGED)
			return; /* no verdict: the live database is asked later */
		/* A copy of a damaged database is better than none, so the upload goes on; it is not called
		 * good. */
		job_judge(job, &result->error);
	}
	work->proved++;
	prove_next_beside(job);
}

/* The next that is not proven: a copy was when it was made. */
static const char *
next_unproven(struct job *job)
{
	struct work *work = work_of(job);
	char **databases = job->record.spec.databases;
	const struct database_copy *copies = live_copies(job);
	while (work->proved < strings_count(databases) && copies[work->proved].path != NULL)
		work->proved++;
	return work->proved < strings_count(databases) ? databases[work->proved] : NULL;
}

static void
prove_next_beside(struct job *job)
{
	struct work *work = work_of(job);
	const char *database = next_unproven(job);
	if (database == NULL)
		return;
	cleanup_error struct error error = {0};
	work->proving_live = false;
	work->proof = sqlite_prove_start(
	    world_of(job)->base, world_of(job)->sqlite_helper, database, proved_beside, job, &error);
	if (work->proof == NULL)
		job_note(job, "sqlite", error.message);
}

void
proof_begin_beside(struct job *job)
{
	work_of(job)->proved = 0;
	prove_next_beside(job);
}

void
proof_abandon(struct job *job)
{
	struct work *work = work_of(job);
	sqlite_call_abandon(work->proof);
	work->proof = NULL;
}

static void
proved_live(void *context, const struct sqlite_result *result)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->proof = NULL;
	work->proved++;
	cleanup_error struct error failure = {0};
	if (result->error.code == ERROR_DATABASE_DAMAGED)
		error_copy(&failure, &result->error);
	else if (error_is_set(&result->error))
		error_set(&failure, ERROR_DATABASE_UNPROVEN, "the database was saved but not proven readable: %s",
		    result->error.message);
	job_judge(job, &failure);
	job_step_again(job, 0);
}

enum step_result
step_prove_databases(struct job *job, struct error *error)
{
	struct work *work = work_of(job);
	const char *database = next_unproven(job);
	if (job_has_failed(job) || job_owes(job) || job->record.snapshot_id == NULL || database == NULL)
		return STEP_DONE;
	if (work->proof != NULL && work->proving_live) {
		proof_abandon(job);
		error_set(
		    error, ERROR_DATABASE_UNPROVEN, "the database was saved; proving it readable took too long");
		return STEP_FAILED;
	}
	proof_abandon(job);
	cleanup_error struct error problem = {0};
	work->proving_live = true;
	work->proof = sqlite_prove_start(
	    world_of(job)->base, world_of(job)->sqlite_helper, database, proved_live, job, &problem);
	if (work->proof == NULL) {
		error_set(error, ERROR_DATABASE_UNPROVEN, "the database was saved but not proven readable: %s",
		    problem.message);
		return STEP_FAILED;
	}
	/* Comes back here when the time is over, unless the callback is faster. */
	job_step_again(job, job->record.spec.deadlines.stop);
	return STEP_WAITING;
}
