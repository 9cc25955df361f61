/* Runs: taking jobs in, and how a run stands. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"
#include "core/pack.h"

struct request {
	enum run_kind kind;
	const char *night;
	const struct submission *submissions;
	size_t count;
};

struct answer {
	int64_t run_id;
	bool added;
	int64_t *job_ids;
};

static int
add_run(
    struct journal *journal, const struct request *request, int64_t now, struct answer *answer, struct error *error)
{
	if (journal_execute(journal, "INSERT INTO run (kind, night, created_at) VALUES (?, ?, ?)",
		VALUES(text_value(run_kind_word(request->kind)), text_value(request->night), integer_value(now)),
		error) < 0)
		return -1;
	answer->run_id = sqlite3_last_insert_rowid(journal->database);
	answer->added = true;
	return 0;
}

static int
add_job(struct journal *journal, int64_t run_id, const struct submission *submission, int64_t now, int64_t *ret_id,
    struct error *error)
{
	struct packer packer;
	packer_init(&packer);
	service_pack(submission->service, &packer);
	int result = journal_execute(journal,
	    "INSERT INTO job (run_id, kind, service, state, outcome, due_at, submitted_at, state_since, spec)"
	    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
	    VALUES(integer_value(run_id), text_value(job_kind_word(submission->kind)),
		text_value(submission->service->name), text_value(job_state_word(JOB_PENDING)),
		text_value(job_outcome_word(OUTCOME_RUNNING)), integer_value(submission->due_at), integer_value(now),
		integer_value(now), blob_value(packer.buffer.data, packer.buffer.size)),
	    error);
	packer_release(&packer);
	if (result == 0)
		*ret_id = sqlite3_last_insert_rowid(journal->database);
	return result;
}

/* The jobs that a night's run has already. */
static int
find_jobs_of_night(struct journal *journal, const struct request *request, struct answer *answer, struct error *error)
{
	for (size_t i = 0; i < request->count; i++) {
		if (journal_integer(journal,
			"SELECT id FROM job WHERE run_id = ? AND service = ? ORDER BY id LIMIT 1",
			VALUES(integer_value(answer->run_id), text_value(request->submissions[i].service->name)),
			&answer->job_ids[i], error) < 0)
			return -1;
	}
	return 0;
}

static int
add_jobs(struct journal *journal, const struct request *request, struct answer *answer, struct error *error)
{
	int64_t now = clock_wall(journal->clock);
	/* A night has its run even if there is nothing to do in it; a manual run exists for its jobs. */
	if ((request->kind == RUN_NIGHTLY || request->count == 0) &&
	    add_run(journal, request, now, answer, error) < 0)
		return -1;
	for (size_t i = 0; i < request->count; i++) {
		const struct submission *submission = &request->submissions[i];
		int found = 0;
		/* Every run has its retention, which does nothing where there is nothing new. */
		if (submission->kind == JOB_KIND_PRUNE ||
		    (submission->kind == JOB_KIND_BACKUP && request->kind == RUN_MANUAL))
			found = journal_integer(journal,
			    "SELECT id FROM job INDEXED BY job_unfinished WHERE service = ?"
			    " AND quarantined = 0 AND state NOT IN ('pruned', 'failed') ORDER BY id LIMIT 1",
			    VALUES(text_value(submission->service->name)), &answer->job_ids[i], error);
		if (found < 0)
			return -1;
		if (found > 0)
			continue;
		if (answer->run_id == 0 && add_run(journal, request, now, answer, error) < 0)
			return -1;
		if (add_job(journal, answer->run_id, submission, now, &answer->job_ids[i], error) < 0)
			return -1;
	}
	if (answer->run_id != 0)
		return 0;
	return journal_integer(journal, "SELECT run_id FROM job WHERE id = ?",
		   VALUES(integer_value(answer->job_ids[0])), &answer->run_id, error) < 0
		   ? -1
		   : 0;
}

static int
submit(struct journal *journal, const struct request *request, struct answer *answer, struct error *error)
{
	int found = 0;
	if (request->night != NULL)
		found = journal_integer(journal, "SELECT id FROM run WHERE night = ?",
		    VALUES(text_value(request->night)), &answer->run_id, error);
	if (found < 0)
		return -1;
	return found > 0 ? find_jobs_of_night(journal, request, answer, error)
			 : add_jobs(journal, request, answer, error);
}

int
journal_submit(struct journal *journal, enum run_kind kind, const char *night, const struct submission *submissions,
    size_t count, int64_t *ret_run, bool *ret_added, int64_t *job_ids, struct error *error)
{
	struct request request = {.kind = kind, .night = night, .submissions = submissions, .count = count};
	cleanup_free int64_t *found_ids = xcalloc(count + 1, sizeof(*found_ids));
	struct answer answer = {.job_ids = found_ids};
	if (journal_begin(journal, error) < 0)
		return -1;
	if (journal_end(journal, submit(journal, &request, &answer, error), error) < 0)
		return -1;
	*ret_run = answer.run_id;
	*ret_added = answer.added;
	for (size_t i = 0; job_ids != NULL && i < count; i++)
		job_ids[i] = answer.job_ids[i];
	return 0;
}

int
journal_hasten(struct journal *journal, int64_t job_id, struct error *error)
{
	if (journal_begin(journal, error) < 0)
		return -1;
	int64_t now = clock_wall(journal->clock);
	int result = journal_execute(journal,
	    "UPDATE job SET due_at = ? WHERE id = ? AND due_at > ? AND state IN ('pending', 'delaying')",
	    VALUES(integer_value(now), integer_value(job_id), integer_value(now)), error);
	return journal_end(journal, result, error);
}

/* ---- how a run stands ---- */

void
run_record_clear(struct run_record *run)
{
	free(run->night);
	*run = (struct run_record){.id = 0};
}

static size_t
column_count(const struct statement *row, int column)
{
	return (size_t)sqlite3_column_int64(row->handle, column);
}

/* A job that was set aside has no good end. */
static const char run_query[] = "SELECT run.kind, run.night, run.created_at, count(job.id),"
				" total(quarantined = 0 AND state NOT IN ('pruned', 'failed')),"
				" total(quarantined = 0 AND state IN ('pruned', 'failed') AND outcome = 'complete'),"
				" total(quarantined = 0 AND state IN ('pruned', 'failed') AND outcome = 'partial'),"
				" total(quarantined = 0 AND state IN ('pruned', 'failed') AND outcome = 'cancelled')"
				" FROM run LEFT JOIN job ON job.run_id = run.id WHERE run.id = ? GROUP BY run.id";

static int
fetch_run(
    struct journal *journal, int64_t run_id, struct run_record *ret_run, bool *ret_readable, struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal, run_query, VALUES(integer_value(run_id)), &row, error) < 0)
		return -1;
	int found = journal_step(journal, row, error);
	if (found < 0)
		return -1;
	if (found == 0)
		return error_set(
		    error, ERROR_JOURNAL, "there is no run %lld in the journal %s", (long long)run_id, journal->path);
	struct run_record run = {
	    .id = run_id,
	    .created_at = sqlite3_column_int64(row->handle, 2),
	    .jobs = column_count(row, 3),
	    .unfinished = column_count(row, 4),
	    .complete = column_count(row, 5),
	    .partial = column_count(row, 6),
	    .cancelled = column_count(row, 7),
	};
	run.failed = run.jobs - run.unfinished - run.complete - run.partial - run.cancelled;
	*ret_readable = run_kind_from_word(column_text(row, 0), &run.kind);
	if (!*ret_readable)
		return 0;
	run.night = column_copy(row, 1);
	*ret_run = run;
	return 0;
}

int
journal_run(struct journal *journal, int64_t run_id, struct run_record *ret_run, struct error *error)
{
	bool readable;
	if (fetch_run(journal, run_id, ret_run, &readable, error) < 0)
		return -1;
	if (readable)
		return 0;
	if (journal_quarantine(journal, QUARANTINE_RUN, run_id, "the kind of the run is not known", error) < 0)
		return -1;
	return journal_damaged(
	    journal, error, "run %lld of the journal %s cannot be read", (long long)run_id, journal->path);
}
