/* `list`: the snapshots that are in the repository. What cannot be asked is an error, never an empty list. */
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/table.h"
#include "core/alloc.h"
#include "core/text.h"

#include <string.h>

#define SERVICE_TAG "service:"
/* What restic shows, and all that its old versions tell of a new snapshot. */
#define SHORT_ID 8

struct listed {
	char *id;
	char *host;
	char *service;
	char **paths;
	char **tags;
	int64_t time;
	bool sized;
	uint64_t bytes;
	bool known; /* the journal has the job that made it */
	enum job_outcome outcome;
};

struct listing {
	const char *service; /* NULL: all of ours */
	struct listed *items;
	size_t count;
};

static void
listing_clear(struct listing *listing)
{
	for (size_t i = 0; i < listing->count; i++) {
		free(listing->items[i].id);
		free(listing->items[i].host);
		free(listing->items[i].service);
		strings_free(listing->items[i].paths);
		strings_free(listing->items[i].tags);
	}
	free(listing->items);
}

#define cleanup_listing __attribute__((cleanup(listing_clear)))

/* A snapshot without such a tag was not made by us. */
static const char *
service_of(const struct restic_snapshot *snapshot)
{
	for (size_t i = 0; snapshot->tags != NULL && snapshot->tags[i] != NULL; i++)
		if (text_starts_with(snapshot->tags[i], SERVICE_TAG))
			return snapshot->tags[i] + strlen(SERVICE_TAG);
	return NULL;
}

static void
on_snapshot(void *context, const struct restic_snapshot *snapshot)
{
	struct listing *listing = context;
	const char *service = service_of(snapshot);
	if (service == NULL)
		return;
	listing->items = xreallocarray(listing->items, listing->count + 1, sizeof(*listing->items));
	listing->items[listing->count++] = (struct listed){
	    .id = xstrdup(snapshot->id),
	    .host = xstrdup(snapshot->hostname),
	    .service = xstrdup(listing->service != NULL ? listing->service : service),
	    .paths = strings_copy(snapshot->paths),
	    .tags = strings_copy(snapshot->tags),
	    .time = snapshot->time,
	    .sized = snapshot->has_summary,
	    .bytes = snapshot->bytes,
	};
}

static int
compare_ids(const void *a, const void *b)
{
	return strncmp(((const struct listed *)a)->id, ((const struct listed *)b)->id, SHORT_ID);
}

static int
compare_times(const void *a, const void *b)
{
	int64_t first = ((const struct listed *)a)->time, second = ((const struct listed *)b)->time;
	return (first > second) - (first < second);
}

static void
on_job(void *context, const struct job_record *job)
{
	struct listing *listing = context;
	if (job->snapshot_id == NULL || listing->count == 0)
		return;
	const struct listed wanted = {.id = job->snapshot_id};
	struct listed *found = bsearch(&wanted, listing->items, listing->count, sizeof(wanted), compare_ids);
	if (found == NULL || strncmp(found->id, job->snapshot_id, strlen(job->snapshot_id)) != 0)
		return;
	found->known = true;
	found->outcome = job->outcome;
	if (!found->sized && job->bytes > 0) {
		found->sized = true;
		found->bytes = job->bytes;
	}
}

/* What the journal thinks of them; snapshots of other hosts and of lost journals stay unknown. */
static int
judge(struct journal *journal, struct listing *listing, struct error *error)
{
	if (journal == NULL || listing->count == 0)
		return 0;
	const struct job_filter filter = {.service = listing->service};
	qsort(listing->items, listing->count, sizeof(*listing->items), compare_ids);
	int result = journal_jobs(journal, &filter, on_job, listing, error);
	qsort(listing->items, listing->count, sizeof(*listing->items), compare_times);
	return result;
}

static const char *
judgement(const struct listed *item)
{
	if (!item->known)
		return NULL;
	return item->outcome == OUTCOME_COMPLETE ? "good" : job_outcome_word(item->outcome);
}

static void
print_table(const struct listing *listing)
{
	static const struct table_column columns[] = {{"ID", false}, {"TIME", false}, {"HOST", false},
	    {"SERVICE", false}, {"JOURNAL", false}, {"SIZE", true}, {"TAGS", false}, {"PATHS", false}};
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	for (size_t i = 0; i < listing->count; i++) {
		const struct listed *item = &listing->items[i];
		table_printf(&table, "%.*s", SHORT_ID, item->id);
		table_take(&table, text_time_local(item->time));
		table_add(&table, item->host);
		table_add(&table, item->service);
		table_add(&table, judgement(item));
		table_take(&table, item->sized ? text_size(item->bytes) : NULL);
		table_take(&table, text_join(item->tags, ","));
		table_take(&table, text_join(item->paths, " "));
	}
	table_print(&table, stdout);
}

static void
print_json(const struct listing *listing)
{
	json_t *document = json_output_new();
	json_t *snapshots = json_array();
	for (size_t i = 0; i < listing->count; i++) {
		const struct listed *item = &listing->items[i];
		json_t *object = json_object();
		json_object_set_new(object, "id", json_output_text(item->id));
		json_object_set_new(object, "time", json_output_time(item->time));
		json_object_set_new(object, "host", json_output_text(item->host));
		json_object_set_new(object, "service", json_output_text(item->service));
		json_object_set_new(object, "journal", json_output_text(judgement(item)));
		json_object_set_new(object, "bytes", item->sized ? json_output_count(item->bytes) : json_null());
		json_object_set_new(object, "tags", json_output_texts(item->tags));
		json_object_set_new(object, "paths", json_output_texts(item->paths));
		json_array_append_new(snapshots, object);
	}
	json_object_set_new(document, "snapshots", snapshots);
	json_output_print(document);
}

/* A service that left the manifest may still have snapshots; a name that has neither was mistyped. */
static int
check_name(const struct manifest *manifest, const struct listing *listing, struct error *error)
{
	if (listing->service == NULL || listing->count > 0 || manifest_find(manifest, listing->service) != NULL)
		return 0;
	return cli_unknown_service(manifest, listing->service, error);
}

static enum exit_code
run_list(const struct invocation *invocation)
{
	cleanup_manifest struct manifest manifest = {.path = NULL};
	cleanup_journal struct journal *journal = NULL;
	cleanup_listing struct listing listing = {.service = invocation->operands[0]};
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (cli_load_manifest(invocation, &manifest) < 0 || cli_check_secrets(invocation, &manifest.restic) < 0)
		return CODE_USAGE;
	if (cli_open_journal_readonly(invocation, &journal) < 0)
		return CODE_FAILED;
	cleanup_free char *tag = listing.service != NULL ? xasprintf(SERVICE_TAG "%s", listing.service) : NULL;
	if (ask_snapshots(&manifest.restic, ASK_LIST_PATIENCE, tag, on_snapshot, &listing, &error) < 0 ||
	    judge(journal, &listing, &error) < 0 || check_name(&manifest, &listing, &error) < 0)
		return cli_fail(invocation, &error, cli_code_of(error.code));
	if (invocation->json) {
		print_json(&listing);
		return CODE_COMPLETE;
	}
	if (listing.count > 0)
		print_table(&listing);
	else
		fprintf(stderr, "atelier-backup: the repository answers; it has no snapshots%s%s\n",
		    listing.service != NULL ? " of " : "", listing.service != NULL ? listing.service : "");
	return CODE_COMPLETE;
}

const struct command command_list = {
    .name = "list",
    .operands = "[SERVICE]",
    .summary = "the snapshots in the repository",
    .help =
	"Asks the repository; when it does not answer, that is an error and no empty list. JOURNAL says what this\n"
	"host's journal thinks of the snapshot: good, partial, or - when it does not know it.\n"
	"\n"
	"  atelier-backup list\n"
	"  atelier-backup list web",
    .most_operands = 1,
    .needs_root = true,
    .run = run_list,
};
