/* The words of events and guards, and what the guards ask. */
#include "core/alloc.h"
#include "jobs/engine_internal.h"

static const struct {
	const char *word, *text;
} events[] = {
#define X(name, word, text) [EVENT_##name] = {word, text},
    JOB_EVENT_LIST(X)
#undef X
};

static const struct {
	const char *word, *text;
} guards[] = {
#define X(name, text) [GUARD_##name] = {#name, text},
    JOB_GUARD_LIST(X)
#undef X
};

const char *
job_event_word(enum job_event event)
{
	return events[event].word;
}

const char *
job_event_text(enum job_event event)
{
	return events[event].text;
}

const char *
job_guard_word(enum job_guard guard)
{
	return guards[guard].word;
}

const char *
job_guard_text(enum job_guard guard)
{
	return guards[guard].text;
}

/* ---- what the guards ask ---- */

bool
job_owes(const struct job *job)
{
	return job->owed.count > 0;
}

bool
job_has_failed(const struct job *job)
{
	enum error_class class = error_class_of(job->record.error.code);
	return class != ERROR_CLASS_NONE && class != ERROR_CLASS_PARTIAL;
}

/* A locked repository is no failure of ours and uses up no attempt, but a lock that outlives this is
 * nobody's. */
#define BUSY_PATIENCE (6 * USEC_PER_HOUR)

/* Nobody is kept waiting by these, but the next night's come in their place. */
#define MAINTENANCE_BUSY_PATIENCE (12 * USEC_PER_HOUR)

static bool
may_retry(const struct job *job)
{
	const struct engine *engine = job->engine;
	if (error_is_set(&engine->journal_error))
		return false;
	/* A prune that has used up its time goes on with the next one, not at once. */
	if (job->record.kind == JOB_KIND_PRUNE && job->record.error.code == ERROR_DEADLINE)
		return false;
	switch (error_class_of(job->record.error.code)) {
	case ERROR_CLASS_TRANSIENT:
		return job->record.attempt - job->record.busy < job->record.spec.attempts;
	case ERROR_CLASS_BUSY:
		return clock_wall(engine->settings.clock) - job->record.started_at <
		       (job->record.kind == JOB_KIND_BACKUP ? BUSY_PATIENCE : MAINTENANCE_BUSY_PATIENCE);
	case ERROR_CLASS_NONE:
	case ERROR_CLASS_PARTIAL:
	case ERROR_CLASS_PERMANENT:
	case ERROR_CLASS_CANCELLED:
	case ERROR_CLASS_BUG:
		return false;
	}
	return false;
}

static bool
has_its_result(const struct job *job)
{
	return job->record.kind != JOB_KIND_BACKUP || job->record.snapshot_id != NULL;
}

bool
job_guard_holds(const struct job *job, enum job_guard guard)
{
	switch (guard) {
	case GUARD_ALWAYS:
		return true;
	case GUARD_OWES:
		return job_owes(job) || job->reading;
	case GUARD_TO_STOP:
		return job->to_stop;
	case GUARD_FROZEN:
		return job->frozen;
	case GUARD_UNSURE:
		return !job_has_failed(job) && !has_its_result(job);
	case GUARD_GOOD:
		return !job_has_failed(job) && has_its_result(job);
	case GUARD_RETRY:
		return may_retry(job);
	}
	return false;
}

const struct transition_row *
machine_row(const struct machine *machine, const struct job *job, enum job_event event)
{
	for (size_t i = 0; i < machine->row_count; i++) {
		const struct transition_row *row = &machine->rows[i];
		if (row->state == job->record.state && row->event == event && job_guard_holds(job, row->guard))
			return row;
	}
	return NULL;
}
