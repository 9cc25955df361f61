/* atelier-backup recover: pays what is owed and resumes what is half done. */
#include <event2/event.h>

#include "cli/attend.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "core/alloc.h"
#include "jobs/manifest.h"
#include "states/given_up.h"

/* Without a manifest: a job knows itself what it is to do, and this has to work when /etc is broken. */
#define PARALLEL 4

struct ids {
	int64_t *items;
	size_t count;
};

static void
collect(void *context, const struct job_record *job)
{
	struct ids *ids = context;
	ids->items = xreallocarray(ids->items, ids->count + 1, sizeof(*ids->items));
	ids->items[ids->count++] = job->id;
}

/* What was given up needs the runner's lock; where another runner is at work, `recover` can be said again
 * later. */
static int
retry_given_up(struct journal *journal, struct given_up_report *report, struct error *error)
{
	bool held;
	if (journal_lock_runner(journal, &held, NULL, error) < 0)
		return -1;
	if (!held)
		return 0;
	struct event_base *base = event_base_new();
	if (base == NULL)
		abort();
	struct world world;
	world_init(&world, base);
	int result = given_up_retry(&world, journal, report, error);
	world_release(&world);
	event_base_free(base);
	journal_unlock_runner(journal);
	return result;
}

static void
print_given_up(const struct invocation *invocation, const struct given_up_report *report)
{
	if (invocation->json) {
		json_t *document = json_output_new();
		json_object_set_new(document, "event", json_string("given-up"));
		json_object_set_new(document, "tried", json_output_count(report->tried));
		json_object_set_new(document, "paid", json_output_count(report->paid));
		json_object_set_new(document, "error", json_output_error(&report->error));
		json_output_print(document);
		return;
	}
	printf("%zu of %zu things that had been given up are done now\n", report->paid, report->tried);
	if (error_is_set(&report->error))
		printf("  %s\n", report->error.message);
}

static bool
something_is_owed(struct journal *journal)
{
	cleanup_obligations struct obligation_list owed = {0};
	return journal_obligations(journal, 0, true, &owed, NULL) < 0 || owed.count > 0;
}

static enum exit_code
run(const struct invocation *invocation)
{
	cleanup_journal struct journal *journal = NULL;
	if (cli_open_journal(invocation, &journal) < 0)
		return CODE_FAILED;
	cleanup_error struct error error = {0};
	struct ids ids = {0};
	struct job_filter filter = {.unfinished = true};
	if (journal_jobs(journal, &filter, collect, &ids, &error) < 0)
		return cli_fail(invocation, &error, CODE_FAILED);

	/* Units of dead runners first; what was given up earlier has waited for a person already. */
	enum exit_code code = attend(&(struct attendance){
	    .invocation = invocation,
	    .journal = journal,
	    .parallel = PARALLEL,
	    .job_ids = ids.items,
	    .job_count = ids.count,
	    .all = true,
	});
	struct given_up_report report = {0};
	if (retry_given_up(journal, &report, &error) < 0)
		code = cli_fail(invocation, &error, CODE_FAILED);
	if (report.tried > 0 || invocation->json)
		print_given_up(invocation, &report);
	if (report.paid < report.tried || something_is_owed(journal))
		code = CODE_FAILED;
	if (ids.count == 0 && report.tried == 0 && !invocation->json)
		puts("nothing is owed and nothing is half done");
	error_clear(&report.error);
	free(ids.items);
	return code;
}

const struct command command_recover = {
    .name = "recover",
    .operands = "",
    .summary = "bring back what a crash left stopped, and resume what is half done",
    .help = "Pays what is owed (units to start, postBackup commands), ends processes that outlived a dead "
	    "runner, and sees every\n"
	    "unfinished job to its end. Does nothing where there is nothing to do. Needs no manifest. The "
	    "other commands that run\n"
	    "jobs do the same before they begin.\n",
    .options = 0,
    .least_operands = 0,
    .most_operands = 0,
    .needs_root = true,
    .run = run,
};
