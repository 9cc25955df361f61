/* atelier-backup retry JOB...: a job that waits is due now, one that has ended is submitted again. */
#include "cli/attend.h"
#include "cli/engage.h"
#include "cli/job_selection.h"
#include "core/alloc.h"

#include <string.h>

/* What the manifest says now is meant to be better than what has failed. The job's own where it says nothing. */
static const struct service *
spec_of(struct journal *journal, const struct manifest *manifest, int64_t job_id)
{
	cleanup_job struct job_record job = {0};
	if (manifest->path == NULL || journal_job(journal, job_id, &job, NULL) <= 0)
		return NULL;
	return manifest_find(manifest, job.service);
}

static int
ask(const struct invocation *invocation, struct journal *journal, const struct manifest *manifest,
    struct job_selection *jobs, struct control_client **ret_client, struct error *error)
{
	struct control_client *client = NULL;
	if (engage(invocation, journal_identity(journal), ENGAGE_PATIENCE, &client, error) < 0)
		return -1;
	interrupt_hold();
	for (size_t i = 0; i < jobs->count; i++) {
		const struct service *spec = spec_of(journal, manifest, jobs->ids[i]);
		/* The new job takes the place of the old one: it is what is followed. */
		if (control_client_retry(client, jobs->ids[i], spec, &jobs->ids[i], error) < 0) {
			control_client_close(client);
			return -1;
		}
	}
	*ret_client = client;
	return 0;
}

static enum exit_code
retry(const struct invocation *invocation, struct journal *journal, struct job_selection *jobs)
{
	cleanup_error struct error error = {0};
	cleanup_manifest struct manifest manifest = {0};
	cleanup_problems struct problem_list problems = {0};
	struct attendance attendance = {
	    .invocation = invocation,
	    .journal = journal,
	    .on_interrupt = INTERRUPT_CANCEL,
	};
	if (cli_read_manifest(invocation, &manifest, &problems) < 0)
		fprintf(stderr, "atelier-backup: %s cannot be used; the jobs are tried again as they were\n",
		    invocation->manifest_path);
	if (journal_check_writable(journal, &error) < 0 ||
	    journal_last_transition(journal, &attendance.seen, &error) < 0 ||
	    ask(invocation, journal, &manifest, jobs, &attendance.client, &error) < 0)
		return cli_fail(invocation, &error, cli_code_of(error.code));
	if (invocation->detach) {
		control_client_close(attendance.client);
		attend_print_detached(invocation, journal, jobs->ids, jobs->count);
		return CODE_COMPLETE;
	}
	attendance.job_ids = jobs->ids;
	attendance.job_count = jobs->count;
	return attend(&attendance);
}

static enum exit_code
run(const struct invocation *invocation)
{
	cleanup_error struct error error = {0};
	cleanup_journal struct journal *journal = NULL;
	cleanup_job_selection struct job_selection jobs = {0};
	if (cli_open_journal(invocation, &journal) < 0)
		return CODE_FAILED;
	if (job_selection_parse(invocation, &jobs, &error) < 0 || job_selection_complete(journal, &jobs, &error) < 0)
		return cli_fail(invocation, &error, cli_code_of(error.code));
	return retry(invocation, journal, &jobs);
}

const struct command command_retry = {
    .name = "retry",
    .operands = "JOB...",
    .summary = "do ended jobs again; waiting jobs begin at once",
    .help =
	"A job that waits for its turn or for another attempt has it now. One that has ended is submitted again, as\n"
	"the manifest describes its service now, or as it was if the manifest does not have it any more. One that "
	"is\n"
	"at work is refused. Then follows them, as `backup` does. `atelier-backup jobs` lists the numbers.\n"
	"\n"
	"  atelier-backup retry 12\n"
	"  atelier-backup retry 12 --detach",
    .options = OPTION_DETACH,
    .least_operands = 1,
    .most_operands = SIZE_MAX,
    .needs_root = true,
    .run = run,
};
