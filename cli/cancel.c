/* atelier-backup cancel JOB...: ends jobs, in whatever state they are. */
#include "cli/attend.h"
#include "cli/engage.h"
#include "cli/job_selection.h"
#include "core/alloc.h"

#include <string.h>

static int
ask(const struct invocation *invocation, struct journal *journal, const struct job_selection *jobs,
    struct control_client **ret_client, struct error *error)
{
	struct control_client *client = NULL;
	if (engage(invocation, journal_identity(journal), ENGAGE_PATIENCE, &client, error) < 0)
		return -1;
	for (size_t i = 0; i < jobs->count; i++)
		if (control_client_cancel(client, jobs->ids[i], "cancelled by the user", error) < 0) {
			control_client_close(client);
			return -1;
		}
	*ret_client = client;
	return 0;
}

static enum exit_code
cancel(const struct invocation *invocation, struct journal *journal, const struct job_selection *jobs)
{
	cleanup_error struct error error = {0};
	struct attendance attendance = {
	    .invocation = invocation,
	    .journal = journal,
	    .job_ids = jobs->ids,
	    .job_count = jobs->count,
	    .on_interrupt = INTERRUPT_DETACH,
	};
	if (journal_last_transition(journal, &attendance.seen, &error) < 0 ||
	    ask(invocation, journal, jobs, &attendance.client, &error) < 0)
		return cli_fail(invocation, &error, cli_code_of(error.code));
	if (invocation->detach) {
		control_client_close(attendance.client);
		attend_print_detached(invocation, journal, jobs->ids, jobs->count);
		return CODE_COMPLETE;
	}
	enum exit_code code = attend(&attendance);
	/* That is what was asked for. */
	return code == CODE_CANCELLED ? CODE_COMPLETE : code;
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
	return cancel(invocation, journal, &jobs);
}

const struct command command_cancel = {
    .name = "cancel",
    .operands = "JOB...",
    .summary = "end jobs; what they stopped is started first",
    .help =
	"Ends these jobs, in whatever state they are, and waits for their end: a service that is stopped is started\n"
	"again first, an upload is ended in good order. Exits with 0 when each has ended as cancelled, or was "
	"complete\n"
	"before it could be. `atelier-backup jobs` lists the numbers.\n"
	"\n"
	"  atelier-backup cancel 12\n"
	"  atelier-backup cancel 12 13 --detach",
    .options = OPTION_DETACH,
    .least_operands = 1,
    .most_operands = SIZE_MAX,
    .needs_root = true,
    .run = run,
};
