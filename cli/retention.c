/* `retention --dry-run`: what would be removed of each service, and why the rest stays. Takes no lock. */
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/table.h"
#include "core/alloc.h"
#include "core/text.h"
#include "jobs/retention.h"

/* What restic shows, and what `list` does. */
#define SHORT_ID 8

/* Enough to find the newest job behind cancelled ones. */
#define JOBS_LOOKED_AT 20

/* The repository's snapshots, as far as a policy looks at them. */
struct listing {
	struct restic_snapshot *items;
	size_t count;
};

/* What becomes of one service. */
struct outlook {
	const struct service *service;
	bool judged;          /* its newest job that was not cancelled was met */
	const char *obstacle; /* see retention_obstacle */
	char *last_good;
	char *skipped; /* why nothing is removed, or NULL: there is a plan */
	struct retention_snapshot *snapshots;
	struct retention_plan plan;
};

struct outlooks {
	struct outlook *items;
	size_t count;
};

static void
listing_clear(struct listing *listing)
{
	for (size_t i = 0; i < listing->count; i++) {
		free(listing->items[i].id);
		free(listing->items[i].hostname);
		strings_free(listing->items[i].tags);
	}
	free(listing->items);
}

static void
outlooks_clear(struct outlooks *outlooks)
{
	for (size_t i = 0; i < outlooks->count; i++) {
		struct outlook *outlook = &outlooks->items[i];
		retention_plan_clear(&outlook->plan);
		free(outlook->snapshots);
		free(outlook->last_good);
		free(outlook->skipped);
	}
	free(outlooks->items);
}

#define cleanup_listing  __attribute__((cleanup(listing_clear)))
#define cleanup_outlooks __attribute__((cleanup(outlooks_clear)))

/* ---- what is known ---- */

static void
on_snapshot(void *context, const struct restic_snapshot *snapshot)
{
	struct listing *listing = context;
	listing->items = xreallocarray(listing->items, listing->count + 1, sizeof(*listing->items));
	listing->items[listing->count++] = (struct restic_snapshot){
	    .id = xstrdup(snapshot->id),
	    .hostname = xstrdup_null(snapshot->hostname),
	    .tags = strings_copy(snapshot->tags),
	    .time = snapshot->time,
	    .zone_offset = snapshot->zone_offset,
	};
}

/* Newest first. */
static void
on_job(void *context, const struct job_record *job)
{
	struct outlook *outlook = context;
	if (outlook->judged || job->kind != JOB_KIND_BACKUP || job->outcome == OUTCOME_CANCELLED)
		return;
	outlook->judged = true;
	outlook->obstacle = retention_obstacle(job);
}

static int
ask_journal(struct journal *journal, struct outlook *outlook, struct error *error)
{
	const char *name = outlook->service->name;
	const struct job_filter filter = {.service = name, .limit = JOBS_LOOKED_AT};
	struct last_good good;
	outlook->obstacle = retention_obstacle(NULL);
	if (journal == NULL)
		return 0;
	if (journal_jobs(journal, &filter, on_job, outlook, error) < 0)
		return -1;
	int found = journal_last_good(journal, name, &good, error);
	if (found <= 0)
		return found;
	outlook->last_good = take_pointer(good.snapshot_id);
	last_good_clear(&good);
	return 0;
}

/* ---- what follows from it ---- */

static void
judge(const struct listing *listing, const char *host, struct outlook *outlook)
{
	const struct service *service = outlook->service;
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (service->keep_all)
		outlook->skipped = xstrdup("the manifest says \"keep-all\"");
	else if (outlook->obstacle != NULL)
		outlook->skipped = xstrdup(outlook->obstacle);
	if (outlook->skipped != NULL)
		return;
	size_t count =
	    retention_service_snapshots(listing->items, listing->count, service->name, host, &outlook->snapshots);
	if (retention_plan_make(
		&service->retention, outlook->snapshots, count, outlook->last_good, &outlook->plan, &error) < 0)
		outlook->skipped = xstrdup(error.message);
}

static int
look_out(struct journal *journal, const struct manifest *manifest, const struct service *const *services,
    size_t count, struct listing *listing, struct outlooks *outlooks, struct error *error)
{
	outlooks->items = xcalloc(count + 1, sizeof(*outlooks->items));
	for (size_t i = 0; i < count; i++) {
		struct outlook *outlook = &outlooks->items[outlooks->count++];
		outlook->service = services[i];
		if (ask_journal(journal, outlook, error) < 0)
			return -1;
	}
	/* After the journal: a backup that ends in between is one snapshot more, and the newest one. */
	if (ask_snapshots(&manifest->restic, ASK_LIST_PATIENCE, NULL, on_snapshot, listing, error) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		judge(listing, manifest->restic.host, &outlooks->items[i]);
	return 0;
}

/* ---- telling it ---- */

static void
print_plan(const struct retention_plan *plan)
{
	static const struct table_column columns[] = {
	    {"ID", false}, {"TIME", false}, {"PLAN", false}, {"REASONS", false}};
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	for (size_t i = 0; i < plan->count; i++) {
		const struct retention_verdict *verdict = &plan->verdicts[i];
		bool goes = verdict->reasons == 0;
		cleanup_strings char **words = retention_reason_words(verdict->reasons);
		table_printf(&table, "%.*s", SHORT_ID, verdict->snapshot.id);
		table_take(&table, text_time_local(verdict->snapshot.time));
		table_add_toned(&table, goes ? TONE_WARNING : TONE_PLAIN, goes ? "remove" : "keep");
		table_take(&table, text_join(words, ", "));
	}
	if (plan->count > 0)
		table_print(&table, stdout);
}

static void
print_words(const struct outlooks *outlooks)
{
	for (size_t i = 0; i < outlooks->count; i++) {
		const struct outlook *outlook = &outlooks->items[i];
		const struct retention_plan *plan = &outlook->plan;
		cleanup_free char *name = text_printable(outlook->service->name);
		if (outlook->skipped != NULL) {
			printf("%s%s: skipped: %s\n", i > 0 ? "\n" : "", name, outlook->skipped);
			continue;
		}
		printf("%s%s: %zu of %zu snapshots would be removed\n", i > 0 ? "\n" : "", name, plan->removed,
		    plan->count);
		print_plan(plan);
	}
}

static json_t *
plan_json(const struct retention_plan *plan)
{
	json_t *snapshots = json_array();
	for (size_t i = 0; i < plan->count; i++) {
		const struct retention_verdict *verdict = &plan->verdicts[i];
		cleanup_strings char **words = retention_reason_words(verdict->reasons);
		json_t *object = json_object();
		json_object_set_new(object, "id", json_output_text(verdict->snapshot.id));
		json_object_set_new(object, "time", json_output_time(verdict->snapshot.time));
		json_object_set_new(object, "keep", json_boolean(verdict->reasons != 0));
		json_object_set_new(object, "reasons", json_output_texts(words));
		json_array_append_new(snapshots, object);
	}
	return snapshots;
}

static void
print_json(const struct outlooks *outlooks)
{
	json_t *document = json_output_new();
	json_t *services = json_array();
	for (size_t i = 0; i < outlooks->count; i++) {
		const struct outlook *outlook = &outlooks->items[i];
		json_t *object = json_object();
		json_object_set_new(object, "service", json_output_text(outlook->service->name));
		json_object_set_new(object, "skipped", json_output_text(outlook->skipped));
		json_object_set_new(object, "removed", json_output_count(outlook->plan.removed));
		json_object_set_new(object, "snapshots", plan_json(&outlook->plan));
		json_array_append_new(services, object);
	}
	json_object_set_new(document, "services", services);
	json_output_print(document);
}

static enum exit_code
refuse_the_real_thing(const struct invocation *invocation)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	error_set(&error, ERROR_USAGE, "snapshots are removed after each run of backups, not by this command");
	error_hint(
	    &error, "say --dry-run to see what would go; `atelier-backup status` tells how the last one ended");
	return cli_fail(invocation, &error, CODE_USAGE);
}

static enum exit_code
run_retention(const struct invocation *invocation)
{
	cleanup_manifest struct manifest manifest = {.path = NULL};
	cleanup_journal struct journal *journal = NULL;
	cleanup_free const struct service **services = NULL;
	cleanup_listing struct listing listing = {.items = NULL};
	cleanup_outlooks struct outlooks outlooks = {.items = NULL};
	cleanup_error struct error error = {.code = ERROR_NONE};
	size_t count;
	if (!invocation->dry_run)
		return refuse_the_real_thing(invocation);
	if (cli_load_manifest(invocation, &manifest) < 0 ||
	    cli_select_services(invocation, &manifest, true, &services, &count) < 0 ||
	    cli_check_secrets(invocation, &manifest.restic) < 0)
		return CODE_USAGE;
	if (cli_open_journal_readonly(invocation, &journal) < 0)
		return CODE_FAILED;
	if (look_out(journal, &manifest, services, count, &listing, &outlooks, &error) < 0)
		return cli_fail(invocation, &error, cli_code_of(error.code));
	if (invocation->json)
		print_json(&outlooks);
	else
		print_words(&outlooks);
	return CODE_COMPLETE;
}

const struct command command_retention = {
    .name = "retention",
    .operands = "[SERVICE...]",
    .summary = "with --dry-run: which snapshots would be removed, and why the others stay",
    .help =
	"Asks the repository for its snapshots and judges those of each service by \"retention\" in the manifest. "
	"The\n"
	"last good backup always stays, and nothing goes of a service whose newest backup is not good.\n"
	"\n"
	"This command removes nothing: --dry-run has to be given. What it shows is removed by the job (retention)\n"
	"that follows each run of backups; `atelier-backup status` tells how the last one ended.\n"
	"\n"
	"  atelier-backup retention --dry-run\n"
	"  atelier-backup retention --dry-run web mail",
    .options = OPTION_DRY_RUN,
    .most_operands = SIZE_MAX,
    .needs_root = true,
    .run = run_retention,
};
