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
	cleanup_free int64_t *job_ids = xcalloc(count + 1, sizeof(*job_ids));
	int64_t run_id, wall = clock_wall(clock_system());
	bool added;
	if (journal_check_writable(journal, &error) < 0 ||
	    kickoff_submit(journal, wall, manifest.kickoff, manifest.max_delay, services, count, &run_id, &added,
		job_ids, &error) < 0)
		return cli_fail(invocation, &error, CODE_FAILED);
	if (!added && !invocation->json) {
		cleanup_free char *night = kickoff_night(wall, manifest.kickoff);
		printf(
		    "the night of %s has its run already (run %lld); nothing is added\n", night, (long long)run_id);
		fflush(stdout);
	}
	return attend(&(struct attendance){
	    .invocation = invocation,
	    .journal = journal,
	    .parallel = manifest.parallel,
	    .job_ids = job_ids,
	    .job_count = count,
	});
}

const struct command command_run = {
    .name = "run",
    .operands = "",
    .summary = "tonight's backups of all services, each after its own random delay (for a timer or cron)",
    .help = "Makes one job per service, each due after a random delay of 0 to schedule.maxDelay that is "
	    "drawn once and kept in\n"
	    "the journal, and stays until all have ended. Called a second time in the same night it adds "
	    "nothing: it sees to\n"
	    "what is unfinished, and its exit code is that night's result.\n"
	    "\n"
	    "  0 2 * * *  root  atelier-backup run\n",
    .options = 0,
    .least_operands = 0,
    .most_operands = 0,
    .needs_root = true,
    .run = run,
};
