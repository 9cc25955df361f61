/* atelier-backup run: the nightly kickoff, called by a timer or by cron. */
#include "cli/attend.h"
#include "cli/command.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"
#include "jobs/kickoff.h"
#include "jobs/maintenance.h"

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
	cleanup_maintenance struct maintenance_run jobs = {0};
	if (maintenance_run_make(&manifest, RUN_NIGHTLY, services, count, journal, wall, &jobs, &error) < 0)
		return cli_fail(invocation, &error, CODE_FAILED);
	kickoff_spread(jobs.jobs, jobs.count, wall, manifest.max_delay);
	const struct control_submission submission = {
	    .kind = RUN_NIGHTLY,
	    .night = night,
	    .parallel = manifest.parallel,
	    .jobs = jobs.jobs,
	    .count = jobs.count,
	};
	return attend_submission(invocation, journal, &submission);
}

const struct command command_run = {
    .name = "run",
    .operands = "",
    .summary = "the night's backups, each service after a random delay (for a timer or cron)",
    .help =
	"Makes one job per service, one for the journal and the manifest (atelier-backup), a retention that follows\n"
	"them, and a prune when one is due. Each backup begins after a random delay of at most schedule.maxDelay,\n"
	"which is drawn once and kept in the journal; that of atelier-backup at its end. Hands them to the runner\n"
	"and stays until all have ended. Called again in the same night it adds nothing: it follows what is\n"
	"unfinished, and its exit code is that night's result.\n"
	"\n"
	"  0 2 * * *  root  atelier-backup run",
    .options = OPTION_DETACH,
    .least_operands = 0,
    .most_operands = 0,
    .needs_root = true,
    .run = run,
};
