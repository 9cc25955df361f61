/* atelier-backup backup SERVICE... | --all: now, without a delay. */
#include "cli/attend.h"
#include "cli/command.h"
#include "cli/dry_run.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "jobs/maintenance.h"

static enum exit_code
run(const struct invocation *invocation)
{
	cleanup_manifest struct manifest manifest = {0};
	cleanup_free const struct service **services = NULL;
	size_t count;
	if (cli_load_manifest(invocation, &manifest) < 0 ||
	    cli_select_services(invocation, &manifest, false, &services, &count) < 0)
		return CODE_USAGE;
	if (cli_check_secrets(invocation, &manifest.restic) < 0)
		return CODE_USAGE;
	if (invocation->dry_run)
		return dry_run(invocation, services, count);
	cleanup_journal struct journal *journal = NULL;
	if (cli_open_journal(invocation, &journal) < 0)
		return CODE_FAILED;
	cleanup_error struct error error = {0};
	if (journal_check_writable(journal, &error) < 0)
		return cli_fail(invocation, &error, CODE_FAILED);
	int64_t now = clock_wall(clock_system());
	cleanup_maintenance struct maintenance_run jobs = {0};
	if (maintenance_run_make(&manifest, RUN_MANUAL, services, count, journal, now, &jobs, &error) < 0)
		return cli_fail(invocation, &error, CODE_FAILED);
	for (size_t i = 0; i < jobs.count; i++)
		jobs.jobs[i].due_at = now;
	const struct control_submission submission = {
	    .kind = RUN_MANUAL,
	    .parallel = manifest.parallel,
	    .jobs = jobs.jobs,
	    .count = jobs.count,
	};
	return attend_submission(invocation, journal, &submission);
}

const struct command command_backup = {
    .name = "backup",
    .operands = "SERVICE...|--all",
    .summary = "back services up now",
    .help =
	"Backs the named services up at once, or with --all every service of the manifest, and the journal and the\n"
	"manifest themselves (atelier-backup). Shows each job moving through its states and ends with the result of\n"
	"each. A service that waits for its nightly turn has it now. A retention follows by itself; it is not "
	"waited\n"
	"for.\n"
	"\n"
	"A process in the background, the runner, does the work; it is started if there is none. Whatever ends this\n"
	"command ends no job. Ctrl-C asks whether to detach or to cancel.\n"
	"\n"
	"  atelier-backup backup web\n"
	"  atelier-backup backup web forum --detach\n"
	"  atelier-backup backup web --dry-run\n"
	"  atelier-backup backup --all --json",
    .options = OPTION_ALL | OPTION_DRY_RUN | OPTION_DETACH,
    .least_operands = 0,
    .most_operands = SIZE_MAX,
    .needs_root = true,
    .run = run,
};
