/* What the states do to a job: obligations, the verdict, notes; and what happens when the journal is lost. */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "jobs/engine_internal.h"

void
engine_lose_journal(struct engine *engine, const struct error *error)
{
	if (error_is_set(&engine->journal_error))
		return;
	error_copy(&engine->journal_error, error);
	log_error("the journal cannot be written: %s; stopped services are brought back, then the run ends",
	    error->message);
	struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	job_post(job, EVENT_PERMANENT, error);
}

int
job_save(struct job *job, struct error *error)
{
	if (error_is_set(&job->engine->journal_error)) {
		error_copy(error, &job->engine->journal_error);
		return -1;
	}
	return journal_update_job(
	    job->engine->settings.journal, &job->record, job->record.state, false, NULL, NULL, error);
}

static void
keep_owed(struct job *job, const struct obligation *rows, size_t count)
{
	job->owed.items = xreallocarray(job->owed.items, job->owed.count + count, sizeof(*rows));
	for (size_t i = 0; i < count; i++) {
		struct obligation *owed = &job->owed.items[job->owed.count++];
		*owed = rows[i];
		owed->job_id = job->record.id;
		owed->result = RESULT_OWED;
		owed->subject = xstrdup(rows[i].subject);
		owed->message = NULL;
	}
}

int
job_owe(struct job *job, const struct obligation *obligations, size_t count, struct error *error)
{
	if (count == 0)
		return 0;
	if (error_is_set(&job->engine->journal_error)) {
		error_copy(error, &job->engine->journal_error);
		return -1;
	}
	int64_t away_since = job->record.away_since;
	if (away_since == 0)
		job->record.away_since = clock_wall(job->engine->settings.clock);
	cleanup_free struct obligation *rows = xmemdup(obligations, count * sizeof(*obligations));
	if (journal_owe(job->engine->settings.journal, &job->record, rows, count, error) < 0) {
		job->record.away_since = away_since;
		return -1;
	}
	keep_owed(job, rows, count);
	return 0;
}

void
job_owe_late(struct job *job, const struct obligation *obligations, size_t count)
{
	cleanup_error struct error error = {0};
	if (count == 0 || job_owe(job, obligations, count, &error) == 0)
		return;
	engine_lose_journal(job->engine, &error);
	keep_owed(job, obligations, count); /* their id is 0: there is no row to cross off */
}

void
job_end_absence(struct job *job)
{
	if (job->record.away_since == 0)
		return;
	int64_t until = job->back_at != 0 ? job->back_at : clock_wall(job->engine->settings.clock);
	int64_t away = until - job->record.away_since;
	job->record.away += away > 0 ? away : 0;
	job->record.away_since = 0;
	job->back_at = 0;
}

void
job_settle(struct job *job, size_t index, enum obligation_result result, const char *message)
{
	assert(index < job->owed.count);
	struct obligation *owed = &job->owed.items[index];
	cleanup_error struct error error = {0};
	if (owed->id != 0 && !error_is_set(&job->engine->journal_error) &&
	    journal_settle(job->engine->settings.journal, owed->id, result, message, &error) < 0)
		engine_lose_journal(job->engine, &error);
	free(owed->subject);
	free(owed->message);
	memmove(owed, owed + 1, (job->owed.count - index - 1) * sizeof(*owed));
	if (--job->owed.count == 0)
		job_end_absence(job);
}

void
job_note(struct job *job, const char *source, const char *line)
{
	struct engine *engine = job->engine;
	cleanup_error struct error error = {0};
	if (!error_is_set(&engine->journal_error) &&
	    journal_add_note(engine->settings.journal, job->record.id, source, line, &error) < 0)
		engine_lose_journal(engine, &error);
	if (engine->observer.words != NULL)
		engine->observer.words(engine->observer.context, job, source, line);
}

void
job_progress(struct job *job, const struct restic_progress *progress)
{
	if (job->engine->observer.progress != NULL)
		job->engine->observer.progress(job->engine->observer.context, job, progress);
}

static int gravity(enum error_class class)
{
	switch (class) {
	case ERROR_CLASS_NONE:
		return 0;
	case ERROR_CLASS_PARTIAL:
		return 1;
	case ERROR_CLASS_TRANSIENT:
	case ERROR_CLASS_BUSY:
		return 2;
	case ERROR_CLASS_CANCELLED:
		return 3;
	case ERROR_CLASS_PERMANENT:
	case ERROR_CLASS_BUG:
		return 4;
	}
	return 4;
}

void
job_judge(struct job *job, const struct error *error)
{
	if (error_is_set(error) &&
	    gravity(error_class_of(error->code)) > gravity(error_class_of(job->record.error.code)))
		error_copy(&job->record.error, error);
}

bool
job_shares_unit(const struct job *job, const char *unit)
{
	const struct job *other;
	TAILQ_FOREACH(other, &job->engine->jobs, entry)
	for (size_t i = 0; other != job && i < other->owed.count; i++)
		if (other->owed.items[i].kind == OBLIGATION_START_UNIT &&
		    strcmp(other->owed.items[i].subject, unit) == 0)
			return true;
	return false;
}
