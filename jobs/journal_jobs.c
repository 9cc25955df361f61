/* Jobs and their transitions. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"
#include "core/text.h"
#include "jobs/sources.h"

#include <string.h>

/* ---- reading a row ---- */

static const char job_query[] =
    "SELECT " JOB_COLUMNS ", spec, sources, data FROM job WHERE id = ? AND quarantined = 0";

/* A count was read as it is, so that one below zero shows here. */
static const struct {
	size_t offset;
	int64_t least;
	const char *name;
} job_limits[] = {
    {offsetof(struct job_record, attempt), 1, "attempt"},
    {offsetof(struct job_record, busy), 0, "busy"},
    {offsetof(struct job_record, due_at), 0, "due_at"},
    {offsetof(struct job_record, submitted_at), 0, "submitted_at"},
    {offsetof(struct job_record, started_at), 0, "started_at"},
    {offsetof(struct job_record, ended_at), 0, "ended_at"},
    {offsetof(struct job_record, state_since), 0, "state_since"},
    {offsetof(struct job_record, files), 0, "files"},
    {offsetof(struct job_record, bytes), 0, "bytes"},
    {offsetof(struct job_record, bytes_added), 0, "bytes_added"},
    {offsetof(struct job_record, missing_count), 0, "missing_count"},
    {offsetof(struct job_record, away_since), 0, "away_since"},
    {offsetof(struct job_record, away), 0, "away"},
};

static int64_t
column_integer(const struct statement *row, enum job_column column)
{
	return sqlite3_column_int64(row->handle, (int)column);
}

static int
judge_numbers(const struct job_record *job, struct error *reason)
{
	for (size_t i = 0; i < ARRAY_LENGTH(job_limits); i++) {
		int64_t number = *(const int64_t *)(const void *)((const char *)job + job_limits[i].offset);
		if (number < job_limits[i].least)
			return error_set(
			    reason, ERROR_JOURNAL_DAMAGED, "%s is %lld", job_limits[i].name, (long long)number);
	}
	return 0;
}

static int
read_words(const struct statement *row, struct job_record *job, struct error *reason)
{
	if (!job_kind_from_word(column_text(row, COLUMN_KIND), &job->kind))
		return error_set(
		    reason, ERROR_JOURNAL_DAMAGED, "the kind '%s' is not known", column_text(row, COLUMN_KIND));
	if (!job_state_from_word(column_text(row, COLUMN_STATE), &job->state))
		return error_set(
		    reason, ERROR_JOURNAL_DAMAGED, "the state '%s' is not known", column_text(row, COLUMN_STATE));
	if (!job_outcome_from_word(column_text(row, COLUMN_OUTCOME), &job->outcome))
		return error_set(
		    reason, ERROR_JOURNAL_DAMAGED, "the outcome '%s' is not known", column_text(row, COLUMN_OUTCOME));
	return 0;
}

static int
read_spec(const struct statement *row, struct job_record *job, struct error *reason)
{
	/* The order matters: column_bytes is the length of what column_blob gave. */
	const void *bytes = sqlite3_column_blob(row->handle, COLUMN_SPEC);
	int length = sqlite3_column_bytes(row->handle, COLUMN_SPEC);
	if (service_unpack(bytes == NULL ? "" : bytes, (size_t)length, &job->spec, reason) < 0)
		return error_prefix(reason, "the spec cannot be read");
	if (strcmp(job->spec.name, job->service) != 0)
		return error_set(
		    reason, ERROR_JOURNAL_DAMAGED, "the spec is that of another service, '%s'", job->spec.name);
	return 0;
}

int
journal_read_columns(const struct statement *row, struct job_record *ret_job, struct error *reason)
{
	cleanup_job struct job_record job = {
	    .id = column_integer(row, COLUMN_ID),
	    .run_id = column_integer(row, COLUMN_RUN_ID),
	    .service = xstrdup(column_text(row, COLUMN_SERVICE)),
	    .attempt = column_integer(row, COLUMN_ATTEMPT),
	    .busy = column_integer(row, COLUMN_BUSY),
	    .due_at = column_integer(row, COLUMN_DUE_AT),
	    .submitted_at = column_integer(row, COLUMN_SUBMITTED_AT),
	    .started_at = column_integer(row, COLUMN_STARTED_AT),
	    .ended_at = column_integer(row, COLUMN_ENDED_AT),
	    .state_since = column_integer(row, COLUMN_STATE_SINCE),
	    .snapshot_begun = column_integer(row, COLUMN_SNAPSHOT_BEGUN) != 0,
	    .snapshot_id = column_copy(row, COLUMN_SNAPSHOT_ID),
	    .files = (uint64_t)column_integer(row, COLUMN_FILES),
	    .bytes = (uint64_t)column_integer(row, COLUMN_BYTES),
	    .bytes_added = (uint64_t)column_integer(row, COLUMN_BYTES_ADDED),
	    .missing_count = (uint64_t)column_integer(row, COLUMN_MISSING_COUNT),
	    .unindexed = column_integer(row, COLUMN_UNINDEXED) != 0,
	    .waiting = column_copy(row, COLUMN_WAITING),
	    .summary = column_copy(row, COLUMN_SUMMARY),
	    .away_since = column_integer(row, COLUMN_AWAY_SINCE),
	    .away = column_integer(row, COLUMN_AWAY),
	};
	job.error.code = error_code_from_word(column_text(row, COLUMN_ERROR_CODE));
	job.error.message = column_copy(row, COLUMN_ERROR_MESSAGE);
	job.error.hint = column_copy(row, COLUMN_ERROR_HINT);
	if (error_is_set(&job.error) && job.error.message == NULL)
		job.error.message = xstrdup(column_text(row, COLUMN_ERROR_CODE));
	if (judge_numbers(&job, reason) < 0 || read_words(row, &job, reason) < 0)
		return -1;
	*ret_job = job;
	job = (struct job_record){.id = 0};
	return 0;
}

static int
read_job(const struct statement *row, struct job_record *ret_job, struct error *reason)
{
	cleanup_job struct job_record job = {.id = 0};
	if (journal_read_columns(row, &job, reason) < 0 || read_spec(row, &job, reason) < 0)
		return -1;
	job.sources_filled = sources_unpack((const char *)sqlite3_column_text(row->handle, COLUMN_SOURCES));
	datum_list_unpack((const char *)sqlite3_column_text(row->handle, COLUMN_DATA), &job.data);
	*ret_job = job;
	job = (struct job_record){.id = 0};
	return 0;
}

/* 1 with a job, or with the reason why it cannot be read; 0; -1. */
static int
fetch_job(struct journal *journal, int64_t id, struct job_record *ret_job, struct error *reason, struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal, job_query, VALUES(integer_value(id)), &row, error) < 0)
		return -1;
	int found = journal_step(journal, row, error);
	if (found > 0)
		read_job(row, ret_job, reason);
	return found;
}

int
journal_job(struct journal *journal, int64_t job_id, struct job_record *ret_job, struct error *error)
{
	cleanup_error struct error reason = {.code = ERROR_NONE};
	int found = fetch_job(journal, job_id, ret_job, &reason, error);
	if (found <= 0 || !error_is_set(&reason))
		return found;
	return journal_quarantine(journal, QUARANTINE_JOB, job_id, reason.message, error);
}

/* ---- lists ---- */

/* Parameters: ?1 after, ?2 before, ?3 service, ?4 run, ?5 limit. */
static char *
list_query(const struct job_filter *filter)
{
	struct text sql = {.string = NULL};
	text_add(&sql, "SELECT id FROM job");
	if (filter->unfinished)
		text_add(&sql, " INDEXED BY job_unfinished");
	text_add(&sql, " WHERE quarantined = 0 AND id > ?1 AND id < ?2");
	if (filter->unfinished)
		text_add(&sql, " AND state NOT IN ('pruned', 'failed')");
	if (filter->service != NULL)
		text_add(&sql, " AND service = ?3");
	if (filter->run_id != 0)
		text_add(&sql, " AND run_id = ?4");
	text_add(&sql, filter->limit > 0 ? " ORDER BY id DESC LIMIT ?5" : " ORDER BY id LIMIT ?5");
	return text_take(&sql);
}

/* Gives those of the jobs that can be read to the caller. */
static int
give_jobs(struct journal *journal, const int64_t *ids, size_t count, journal_job_fn *each, void *context,
    int64_t *given, struct error *error)
{
	for (size_t i = 0; i < count; i++) {
		cleanup_job struct job_record job = {.id = 0};
		int found = journal_job(journal, ids[i], &job, error);
		if (found < 0)
			return -1;
		if (found == 0)
			continue;
		each(context, &job);
		(*given)++;
	}
	return 0;
}

int
journal_jobs(struct journal *journal, const struct job_filter *filter, journal_job_fn *each, void *context,
    struct error *error)
{
	cleanup_free char *sql = list_query(filter);
	int64_t given = 0, before = INT64_MAX;
	for (;;) {
		int64_t wanted = filter->limit > 0 ? filter->limit - given : -1;
		cleanup_free int64_t *ids = NULL;
		size_t count;
		if (journal_ids(journal, sql,
			VALUES(integer_value(filter->after_id), integer_value(before), text_value(filter->service),
			    integer_value(filter->run_id), integer_value(wanted)),
			&ids, &count, error) < 0)
			return -1;
		if (give_jobs(journal, ids, count, each, context, &given, error) < 0)
			return -1;
		/* Where some could not be read, older ones take their places. */
		if (filter->limit <= 0 || given == filter->limit || count == 0)
			return 0;
		before = ids[count - 1];
	}
}

/* ---- changing ---- */

static int
write_job(struct journal *journal, const struct job_record *job, struct error *error)
{
	cleanup_free char *sources = sources_pack(job->sources_filled);
	cleanup_free char *data = datum_list_pack(&job->data);
	const struct value values[] = {
	    text_value(job_state_word(job->state)),
	    text_value(job_outcome_word(job->outcome)),
	    integer_value(job->attempt),
	    integer_value(job->busy),
	    integer_value(job->due_at),
	    integer_value(job->started_at),
	    integer_value(job->ended_at),
	    integer_value(job->state_since),
	    integer_value(job->snapshot_begun),
	    text_value(job->snapshot_id),
	    integer_value((int64_t)job->files),
	    integer_value((int64_t)job->bytes),
	    integer_value((int64_t)job->bytes_added),
	    integer_value((int64_t)job->missing_count),
	    text_value(sources),
	    text_value(data),
	    integer_value(job->unindexed),
	    integer_value(job->away_since),
	    integer_value(job->away),
	    text_value(job->waiting),
	    text_value(job->summary),
	    text_value(error_code_word(job->error.code)),
	    text_value(job->error.message),
	    text_value(job->error.hint),
	    integer_value(job->id),
	};
	if (journal_execute(journal,
		"UPDATE job SET state = ?, outcome = ?, attempt = ?, busy = ?, due_at = ?, started_at = ?, ended_at "
		"= ?,"
		" state_since = ?, snapshot_begun = ?, snapshot_id = ?, files = ?, bytes = ?, bytes_added = ?,"
		" missing_count = ?, sources = ?, data = ?, unindexed = ?, away_since = ?, away = ?, waiting = ?, "
		"summary = ?,"
		" error_code = ?, error_message = ?, error_hint = ? WHERE id = ?",
		values, ARRAY_LENGTH(values), error) < 0)
		return -1;
	if (sqlite3_changes(journal->database) == 0)
		return error_set(error, ERROR_JOURNAL, "there is no job %lld in the journal %s", (long long)job->id,
		    journal->path);
	return 0;
}

static int
append_transition(struct journal *journal, const struct job_record *job, enum job_state from, const char *event,
    const char *message, struct error *error)
{
	return journal_execute(journal,
	    "INSERT INTO transition (job_id, attempt, at, from_state, to_state, event, message)"
	    " VALUES (?, ?, ?, ?, ?, ?, ?)",
	    VALUES(integer_value(job->id), integer_value(job->attempt), integer_value(clock_wall(journal->clock)),
		text_value(job_state_word(from)), text_value(job_state_word(job->state)),
		text_value(event == NULL ? "" : event), text_value(message)),
	    error);
}

static int
write_last_good(struct journal *journal, const struct job_record *job, struct error *error)
{
	cleanup_free char *sources = sources_pack(job->sources_filled);
	cleanup_free char *data = datum_list_pack(&job->data);
	/* A snapshot that was found again may not tell its size: the next one is judged by the one before it. */
	return journal_execute(journal,
	    "INSERT INTO last_good (service, job_id, at, snapshot_id, files, bytes, bytes_added, sources, data)"
	    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
	    " ON CONFLICT (service) DO UPDATE SET job_id = excluded.job_id, at = excluded.at,"
	    " snapshot_id = excluded.snapshot_id,"
	    " files = CASE WHEN excluded.files > 0 THEN excluded.files ELSE files END,"
	    " bytes = CASE WHEN excluded.files > 0 THEN excluded.bytes ELSE bytes END,"
	    " bytes_added = excluded.bytes_added, sources = excluded.sources, data = excluded.data",
	    VALUES(text_value(job->service), integer_value(job->id), integer_value(job->ended_at),
		text_value(job->snapshot_id), integer_value((int64_t)job->files), integer_value((int64_t)job->bytes),
		integer_value((int64_t)job->bytes_added), text_value(sources), text_value(data)),
	    error);
}

static int
update_job(struct journal *journal, const struct job_record *job, enum job_state from, bool force, const char *event,
    const char *message, struct error *error)
{
	if (write_job(journal, job, error) < 0)
		return -1;
	if ((from != job->state || force) && append_transition(journal, job, from, event, message, error) < 0)
		return -1;
	if (job_state_is_terminal(job->state) && job->outcome == OUTCOME_COMPLETE)
		return write_last_good(journal, job, error);
	return 0;
}

int
journal_update_job(struct journal *journal, const struct job_record *job, enum job_state from, bool force,
    const char *event, const char *message, struct error *error)
{
	if (journal_begin(journal, error) < 0)
		return -1;
	return journal_end(journal, update_job(journal, job, from, force, event, message, error), error);
}

/* ---- transitions ---- */

static int
give_transition(struct journal *journal, int64_t id, journal_transition_fn *each, void *context, bool *ret_readable,
    struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal,
		"SELECT job_id, attempt, at, from_state, to_state, event, message FROM transition WHERE id = "
		"?",
		VALUES(integer_value(id)), &row, error) < 0)
		return -1;
	int found = journal_step(journal, row, error);
	if (found <= 0)
		return found;
	cleanup_free char *event = xstrdup(column_text(row, 5));
	cleanup_free char *message = column_copy(row, 6);
	struct transition transition = {
	    .id = id,
	    .job_id = sqlite3_column_int64(row->handle, 0),
	    .attempt = sqlite3_column_int64(row->handle, 1),
	    .at = sqlite3_column_int64(row->handle, 2),
	    .event = event,
	    .message = message,
	};
	*ret_readable = job_state_from_word(column_text(row, 3), &transition.from) &&
			job_state_from_word(column_text(row, 4), &transition.to);
	statement_release(take_pointer(row));
	if (*ret_readable)
		each(context, &transition);
	return 0;
}

int
journal_transitions(struct journal *journal, int64_t job_id, int64_t after, journal_transition_fn *each,
    void *context, struct error *error)
{
	cleanup_free int64_t *ids = NULL;
	size_t count;
	int result = job_id > 0
			 ? journal_ids(journal, "SELECT id FROM transition WHERE job_id = ? AND id > ? ORDER BY id",
			       VALUES(integer_value(job_id), integer_value(after)), &ids, &count, error)
			 : journal_ids(journal, "SELECT id FROM transition WHERE id > ? ORDER BY id",
			       VALUES(integer_value(after)), &ids, &count, error);
	if (result < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		bool readable = true;
		if (give_transition(journal, ids[i], each, context, &readable, error) < 0)
			return -1;
		if (!readable && journal_quarantine(journal, QUARANTINE_TRANSITION, ids[i],
				     "a state of the transition is not known", error) < 0)
			return -1;
	}
	return 0;
}

int
journal_last_transition(struct journal *journal, int64_t *ret_id, struct error *error)
{
	return journal_integer(journal, "SELECT coalesce(max(id), 0) FROM transition", NO_VALUES, ret_id, error) < 0
		   ? -1
		   : 0;
}
