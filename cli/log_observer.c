#include "cli/log_observer.h"

#include "core/log.h"

static enum log_level
level_of(const struct job_record *record)
{
	if (record->state != JOB_FAILED || record->outcome == OUTCOME_CANCELLED)
		return record->outcome == OUTCOME_PARTIAL ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO;
	return LOG_LEVEL_ERROR;
}

static struct log_subject
subject_of(const struct job_record *record)
{
	return (struct log_subject){
	    .job = record->id,
	    .service = record->service,
	    .state = job_state_word(record->state),
	    .error_code = error_is_set(&record->error) ? error_code_word(record->error.code) : NULL,
	};
}

static void
log_transition(void *context, const struct job *job, enum job_state from, enum job_event event, const char *message)
{
	(void)context;
	(void)event;
	struct log_subject subject = subject_of(&job->record);
	log_line(level_of(&job->record), &subject, "%s: %s → %s%s%s", job->record.service, job_state_word(from),
	    job_state_word(job->record.state), message != NULL ? ": " : "", message != NULL ? message : "");
}

static void
log_words(void *context, const struct job *job, const char *source, const char *line)
{
	(void)context;
	struct log_subject subject = subject_of(&job->record);
	log_line(LOG_LEVEL_INFO, &subject, "%s: %s: %s", job->record.service, source, line);
}

struct engine_observer
log_observer(void)
{
	return (struct engine_observer){.transition = log_transition, .words = log_words};
}
