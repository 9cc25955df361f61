/* atelier-backup follow [JOB...]: comes back to jobs that go on without us. */
#include "cli/attend.h"
#include "cli/engage.h"
#include "cli/job_selection.h"
#include "core/alloc.h"

#include <string.h>

static enum exit_code
nothing_to_follow(const struct invocation *invocation)
{
	if (!invocation->json)
		puts("there is nothing to follow: no job is unfinished");
	return CODE_COMPLETE;
}

/* By a member of the status group, who may not read the journal. */
static enum exit_code
follow_unread(const struct invocation *invocation)
{
	cleanup_error struct error error = {0};
	cleanup_job_selection struct job_selection jobs = {0};
	struct attendance attendance = {.invocation = invocation, .on_interrupt = INTERRUPT_DETACH};
	int connected = engage_running(invocation, NULL, &attendance.client, &error);
	if (connected < 0)
		return cli_fail(invocation, &error, CODE_FAILED);
	if (connected == 0)
		return nothing_to_follow(invocation);
	if (job_selection_parse(invocation, &jobs, &error) < 0) {
		control_client_close(attendance.client);
		return cli_fail(invocation, &error, CODE_USAGE);
	}
	attendance.job_ids = jobs.ids;
	attendance.job_count = jobs.count;
	attendance.all = jobs.count == 0;
	return attend(&attendance);
}

static enum exit_code
run(const struct invocation *invocation)
{
	if (geteuid() != 0)
		return follow_unread(invocation);
	cleanup_error struct error error = {0};
	cleanup_journal struct journal *journal = NULL;
	cleanup_job_selection struct job_selection jobs = {0};
	if (cli_open_journal_readonly(invocation, &journal) < 0)
		return CODE_FAILED;
	if (job_selection_parse(invocation, &jobs, &error) < 0 || job_selection_complete(journal, &jobs, &error) < 0)
		return cli_fail(invocation, &error, cli_code_of(error.code));
	if (jobs.count == 0)
		return nothing_to_follow(invocation);
	struct attendance attendance = {
	    .invocation = invocation,
	    .journal = journal,
	    .job_ids = jobs.ids,
	    .job_count = jobs.count,
	    .on_interrupt = INTERRUPT_DETACH,
	};
	if (journal_last_transition(journal, &attendance.seen, &error) < 0)
		return cli_fail(invocation, &error, CODE_FAILED);
	return attend(&attendance);
}

const struct command command_follow = {
    .name = "follow",
    .operands = "[JOB...]",
    .summary = "watch unfinished jobs to their end",
    .help = "Shows what happens to these jobs, or to all that have not ended, and ends with the result of each. If "
	    "nobody\n"
	    "is at work on them, a runner is started. Ctrl-C asks whether to detach or to cancel. Members of the\n"
	    "manifest's statusGroup may follow, too.\n"
	    "\n"
	    "  atelier-backup follow\n"
	    "  atelier-backup follow 12",
    .options = 0,
    .least_operands = 0,
    .most_operands = SIZE_MAX,
    .run = run,
};
