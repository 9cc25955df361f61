#include "cli/job_selection.h"

#include "core/alloc.h"

static void
add(struct job_selection *jobs, int64_t id)
{
	for (size_t i = 0; i < jobs->count; i++)
		if (jobs->ids[i] == id)
			return;
	jobs->ids = xreallocarray(jobs->ids, jobs->count + 1, sizeof(*jobs->ids));
	jobs->ids[jobs->count++] = id;
}

int
job_selection_parse(const struct invocation *invocation, struct job_selection *ret_jobs, struct error *error)
{
	struct job_selection jobs = {0};
	for (size_t i = 0; i < invocation->operand_count; i++) {
		int64_t id;
		if (cli_job_id(invocation->operands[i], &id, error) < 0) {
			job_selection_clear(&jobs);
			return -1;
		}
		add(&jobs, id);
	}
	*ret_jobs = jobs;
	return 0;
}

static void
on_job(void *context, const struct job_record *job)
{
	add(context, job->id);
}

static int
check_one(struct journal *journal, int64_t id, struct error *error)
{
	cleanup_job struct job_record job = {0};
	int found = journal == NULL ? 0 : journal_job(journal, id, &job, error);
	if (found != 0)
		return found < 0 ? -1 : 0;
	error_set(error, ERROR_USAGE, "there is no job %lld", (long long)id);
	return error_hint(error, "'atelier-backup jobs' lists the jobs with their numbers");
}

int
job_selection_complete(struct journal *journal, struct job_selection *jobs, struct error *error)
{
	const struct job_filter unfinished = {.unfinished = true};
	if (jobs->count == 0)
		return journal == NULL ? 0 : journal_jobs(journal, &unfinished, on_job, jobs, error);
	for (size_t i = 0; i < jobs->count; i++)
		if (check_one(journal, jobs->ids[i], error) < 0)
			return -1;
	return 0;
}

void
job_selection_clear(struct job_selection *jobs)
{
	free(jobs->ids);
	*jobs = (struct job_selection){0};
}
