#include "cli/job_output.h"

#include "cli/json_output.h"
#include "core/text.h"

json_t *
job_output_json(const struct job_record *job)
{
	json_t *object = json_object();
	json_object_set_new(object, "id", json_integer(job->id));
	json_object_set_new(object, "run", json_integer(job->run_id));
	json_object_set_new(object, "kind", json_output_text(job_kind_word(job->kind)));
	json_object_set_new(object, "service", json_output_text(job->service));
	json_object_set_new(object, "state", json_output_text(job_state_word(job->state)));
	json_object_set_new(object, "outcome", json_output_text(job_outcome_word(job->outcome)));
	json_object_set_new(object, "attempt", json_integer(job->attempt));
	json_object_set_new(object, "due", json_output_time(job->due_at));
	json_object_set_new(object, "submitted", json_output_time(job->submitted_at));
	json_object_set_new(object, "started", json_output_time(job->started_at));
	json_object_set_new(object, "ended", json_output_time(job->ended_at));
	json_object_set_new(object, "in_state_since", json_output_time(job->state_since));
	json_object_set_new(object, "snapshot", json_output_text(job->snapshot_id));
	json_object_set_new(object, "files", json_output_count(job->files));
	json_object_set_new(object, "bytes", json_output_count(job->bytes));
	json_object_set_new(object, "bytes_added", json_output_count(job->bytes_added));
	json_object_set_new(object, "missing", json_output_count(job->missing_count));
	json_object_set_new(object, "away_seconds", json_output_seconds(job->away));
	json_object_set_new(object, "waiting", json_output_text(job->waiting));
	json_object_set_new(object, "summary", json_output_text(job->summary));
	json_object_set_new(object, "error", json_output_error(&job->error));
	return object;
}

const char *
job_output_remark(const struct job_record *job)
{
	if (error_is_set(&job->error))
		return job->error.message;
	return job->waiting != NULL ? job->waiting : job->summary;
}

enum tone
job_output_tone(enum job_outcome outcome)
{
	switch (outcome) {
	case OUTCOME_COMPLETE:
		return TONE_GOOD;
	case OUTCOME_PARTIAL:
	case OUTCOME_CANCELLED:
		return TONE_WARNING;
	case OUTCOME_FAILED:
		return TONE_BAD;
	case OUTCOME_RUNNING:
		break;
	}
	return TONE_PLAIN;
}

char *
job_output_duration(const struct job_record *job, int64_t now)
{
	if (job->started_at == 0)
		return NULL;
	int64_t end = job->ended_at != 0 ? job->ended_at : now;
	return text_duration(end > job->started_at ? end - job->started_at : 0);
}
