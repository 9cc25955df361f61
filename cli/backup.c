/* atelier-backup backup SERVICE... | --all: now, without a delay. */
#include "cli/attend.h"
#include "cli/command.h"
#include "cli/dry_run.h"
#include "core/alloc.h"
#include "core/clock.h"

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
	cleanup_free struct submission *jobs = xcalloc(count + 1, sizeof(*jobs));
	for (size_t i = 0; i < count; i++)
		jobs[i] = (struct submission){.service = services[i], .due_at = clock_wall(clock_system())};
	const struct control_submission submission = {
	    .kind = RUN_MANUAL,
	    .parallel = manifest.parallel,
	    .jobs = jobs,
	    .count = count,
	};
	return attend_submission(invocation, journal, &submission);
}

const struct command command_backup = {
    .name = "backup",
    .operands = "SERVICE...",
    .summary = "back services up now",
    .help = "Backs the named services up at once (--all: every service of the manifest), shows each job "
	    "moving through its\n"
	    "states, and ends with the result of each. A service that is waiting for its nightly turn has it "
	    "now.\n"
	    "The jobs are the runner's: one that is at work takes them, else one is started. Whatever ends this "
	    "command ends no\n"
	    "job; Ctrl-C asks whether to detach or to cancel.\n"
	    "\n"
	    "  --dry-run says what would happen, unit by unit and path by path, and changes nothing.\n"
	    "\n"
	    "  atelier-backup backup web\n"
	    "  atelier-backup backup web forum --detach\n"
	    "  atelier-backup backup --all --json\n",
    .options = OPTION_ALL | OPTION_DRY_RUN | OPTION_DETACH,
    .least_operands = 0,
    .most_operands = SIZE_MAX,
    .needs_root = true,
    .run = run,
};
