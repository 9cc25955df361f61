/* atelier-backup run: the nightly kickoff, called by a timer or by cron. */
#include "cli/attend.h"
#include "cli/command.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"
#include "jobs/kickoff.h"

static enum exit_code
run(const struct invocation *invocation)
{
	cleanup_manifest struct manifest manifest = {0};
	cleanup_free const struct service **services = NULL;
	size_t count;
	if (cli_load_manifest(invocation, &manifest) < 0 ||
	    cli_select_services(invocation, &manifest, true, &services, &count) < 0)
		return CODE_USAGE;
	cleanup_journal struct journal *journal = NULL;
	if (cli_open_journal(invocation, &journal) < 0)
		return CODE_FAILED;
	cleanup_error struct error error = {0};
	if (journal_check_writable(journal, &error) < 0)
		return cli_fail(invocation, &error, CODE_FAILED);
	int64_t wall = clock_wall(clock_system());
	cleanup_free char *night = kickoff_night(wall, manifest.kickoff);
	cleanup_free struct submission *jobs = xcalloc(count + 1, sizeof(*jobs));
	kickoff_spread(wall, manifest.max_delay, services, count, jobs);
	const struct control_submission submission = {
	    .kind = RUN_NIGHTLY,
	    .night = night,
	    .parallel = manifest.parallel,
	    .jobs = jobs,
	    .count = count,
	};
	return attend_submission(invocation, journal, &submission);
}

const struct command command_run = {
    .name = "run",
    .operands = "",
    .summary = "tonight's backups of all services, each after its own random delay (for a timer or cron)",
    .help = "Makes one job per service, each due after a random delay of 0 to schedule.maxDelay that is "
	    "drawn once and kept in\n"
	    "the journal, hands them to the runner and stays until all have ended. Called a second time in the same "
	    "night it adds "
	    "nothing: it sees to\n"
	    "what is unfinished, and its exit code is that night's result.\n"
	    "\n"
	    "  0 2 * * *  root  atelier-backup run\n",
    .options = OPTION_DETACH,
    .least_operands = 0,
    .most_operands = 0,
    .needs_root = true,
    .run = run,
};
