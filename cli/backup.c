/* atelier-backup backup SERVICE... | --all: now, without a delay. */
#include "cli/attend.h"
#include "cli/command.h"
#include "cli/dry_run.h"
#include "core/alloc.h"
#include "core/clock.h"

static int
submit(struct journal *journal, const struct service *const *services, size_t count, int64_t *job_ids,
    struct error *error)
{
	cleanup_free struct submission *submissions = xcalloc(count, sizeof(*submissions));
	for (size_t i = 0; i < count; i++)
		submissions[i] = (struct submission){.service = services[i], .due_at = clock_wall(clock_system())};
	int64_t run;
	bool added;
	if (journal_submit(journal, RUN_MANUAL, NULL, submissions, count, &run, &added, job_ids, error) < 0)
		return -1;
	/* A service that waits for its nightly turn has it now. */
	for (size_t i = 0; i < count; i++)
		if (journal_hasten(journal, job_ids[i], error) < 0)
			return -1;
	return 0;
}

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
	cleanup_free int64_t *job_ids = xcalloc(count + 1, sizeof(*job_ids));
	if (journal_check_writable(journal, &error) < 0 || submit(journal, services, count, job_ids, &error) < 0)
		return cli_fail(invocation, &error, CODE_FAILED);
	return attend(&(struct attendance){
	    .invocation = invocation,
	    .journal = journal,
	    .parallel = manifest.parallel,
	    .job_ids = job_ids,
	    .job_count = count,
	});
}

const struct command command_backup = {
    .name = "backup",
    .operands = "SERVICE...",
    .summary = "back services up now",
    .help = "Backs the named services up at once (--all: every service of the manifest), shows each job "
	    "moving through its\n"
	    "states, and ends with the result of each. A service that is waiting for its nightly turn has it "
	    "now.\n"
	    "Ctrl-C cancels: what was stopped is started again first.\n"
	    "\n"
	    "  --dry-run says what would happen, unit by unit and path by path, and changes nothing.\n"
	    "\n"
	    "  atelier-backup backup web\n"
	    "  atelier-backup backup --all --json\n",
    .options = OPTION_ALL | OPTION_DRY_RUN,
    .least_operands = 0,
    .most_operands = SIZE_MAX,
    .needs_root = true,
    .run = run,
};
