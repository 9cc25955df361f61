#include "cli/outcome.h"

#include "cli/job_output.h"
#include "cli/json_output.h"
#include "cli/terminal.h"
#include "core/alloc.h"
#include "core/text.h"

enum exit_code
outcome_code(enum job_outcome outcome)
{
	switch (outcome) {
	case OUTCOME_COMPLETE:
		return CODE_COMPLETE;
	case OUTCOME_PARTIAL:
		return CODE_PARTIAL;
	case OUTCOME_CANCELLED:
		return CODE_CANCELLED;
	case OUTCOME_RUNNING:
	case OUTCOME_FAILED:
		return CODE_FAILED;
	}
	return CODE_FAILED;
}

enum exit_code
outcome_graver(enum exit_code a, enum exit_code b)
{
	static const enum exit_code order[] = {CODE_FAILED, CODE_PARTIAL, CODE_CANCELLED};
	for (size_t i = 0; i < ARRAY_LENGTH(order); i++)
		if (a == order[i] || b == order[i])
			return order[i];
	return CODE_COMPLETE;
}

static void
print_json(const struct job_record *job)
{
	json_t *document = json_output_new();
	json_object_set_new(document, "event", json_string("result"));
	json_object_set_new(document, "job", job_output_json(job));
	json_output_print(document);
}

static void
print_words(const struct job_record *job)
{
	enum tone tone = job_output_tone(job->outcome);
	cleanup_text struct text words = {0};
	text_printf(&words, "%s: %s", job->service, job_outcome_word(job->outcome));
	if (job->snapshot_id != NULL) {
		cleanup_free char *size = text_size(job->bytes);
		cleanup_free char *added = text_size(job->bytes_added);
		text_printf(&words, ", snapshot %.8s, %s in %llu files, %s added", job->snapshot_id, size,
		    (unsigned long long)job->files, added);
	}
	if (job->away > 0) {
		cleanup_free char *away = text_duration(job->away);
		text_printf(&words, ", away for %s", away);
	}
	if (job->summary != NULL)
		text_printf(&words, ", %s", job->summary);
	printf("%s%s%s\n", terminal_tone(stdout, tone), words.string, terminal_end(stdout, tone));
	if (error_is_set(&job->error))
		printf("  %s (job %lld)\n", job->error.message, (long long)job->id);
	if (job->error.hint != NULL)
		printf("  %s\n", job->error.hint);
	if (job->outcome == OUTCOME_RUNNING)
		printf("  it is not through: `atelier-backup follow %lld` goes on with it\n", (long long)job->id);
}

/* Its row was set aside as damaged since it was submitted. */
static enum exit_code
fail_for_lost_row(const struct invocation *invocation, int64_t job_id)
{
	cleanup_error struct error error = {0};
	error_set(&error, ERROR_JOURNAL_DAMAGED, "the row of job %lld cannot be read any more", (long long)job_id);
	error_hint(&error, "docs/journal.md tells where it was put; back the service up again");
	return cli_fail(invocation, &error, CODE_FAILED);
}

enum exit_code
outcome_report(const struct invocation *invocation, struct journal *journal, const int64_t *job_ids, size_t count)
{
	enum exit_code code = CODE_COMPLETE;
	for (size_t i = 0; i < count; i++) {
		if (job_ids[i] == 0)
			continue;
		cleanup_job struct job_record job = {0};
		cleanup_error struct error error = {0};
		int found = journal_job(journal, job_ids[i], &job, &error);
		if (found < 0)
			return cli_fail(invocation, &error, CODE_FAILED);
		if (found == 0) {
			code = outcome_graver(code, fail_for_lost_row(invocation, job_ids[i]));
			continue;
		}
		if (invocation->json)
			print_json(&job);
		else
			print_words(&job);
		bool put_off = job.kind == JOB_KIND_PRUNE && job.outcome == OUTCOME_CANCELLED;
		code = outcome_graver(code, put_off ? CODE_COMPLETE : outcome_code(job.outcome));
	}
	fflush(stdout);
	return code;
}
