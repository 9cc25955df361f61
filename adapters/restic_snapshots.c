/* The snapshots of a repository. A listing that cannot be understood in full is an error: an empty or
 * shortened one would be taken for the truth by whoever decides about retention or restores. */
#include "adapters/restic_internal.h"

#include "core/alloc.h"

#include <string.h>

/* The whole array is one line: about 800 bytes for a snapshot. */
#define LISTING_LIMIT ((size_t)256 * 1024 * 1024)

struct snapshots_call {
	struct restic_call call; /* first: the call is freed through it */
	restic_snapshots_fn *done;
	void *context;
	bool seen; /* the array */
	struct restic_snapshot *snapshots;
	size_t count;
	struct error error; /* why they could not be read */
};

/* ---- one snapshot ---- */

static char *
read_word(const json_t *object, const char *key)
{
	const char *word = json_string_value(json_object_get(object, key));
	return word == NULL ? xstrdup("") : text_printable(word);
}

/* Not there is an empty list. Returns false for what is no list of strings. */
static bool
read_words(const json_t *object, const char *key, char ***ret_words)
{
	const json_t *array = json_object_get(object, key);
	size_t i;
	const json_t *item;
	if (array == NULL || json_is_null(array))
		return true;
	if (!json_is_array(array))
		return false;
	json_array_foreach (array, i, item) {
		if (!json_is_string(item))
			return false;
		cleanup_free char *word = text_printable(json_string_value(item));
		strings_add(ret_words, word);
	}
	return true;
}

static bool
read_summary(const json_t *object, struct restic_snapshot *snapshot)
{
	const json_t *summary = json_object_get(object, "summary");
	if (summary == NULL)
		return true;
	snapshot->has_summary = true;
	return json_is_object(summary) && restic_output_count(summary, "total_files_processed", &snapshot->files) &&
	       restic_output_count(summary, "total_bytes_processed", &snapshot->bytes) &&
	       restic_output_count(summary, "data_added_packed", &snapshot->bytes_added);
}

static bool
read_snapshot(const json_t *object, struct restic_snapshot *snapshot)
{
	const char *id = json_string_value(json_object_get(object, "id"));
	const char *time = json_string_value(json_object_get(object, "time"));
	if (id == NULL || !restic_is_id(id, 64) || time == NULL ||
	    !text_parse_rfc3339_zone(time, &snapshot->time, &snapshot->zone_offset))
		return false;
	snapshot->id = xstrdup(id);
	snapshot->hostname = read_word(object, "hostname");
	return read_words(object, "paths", &snapshot->paths) && read_words(object, "tags", &snapshot->tags) &&
	       read_summary(object, snapshot);
}

/* ---- all of them ---- */

void
restic_snapshots_free(struct restic_snapshot *snapshots, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(snapshots[i].id);
		free(snapshots[i].hostname);
		strings_free(snapshots[i].paths);
		strings_free(snapshots[i].tags);
	}
	free(snapshots);
}

static int
compare_times(const void *left, const void *right)
{
	const struct restic_snapshot *a = left, *b = right;
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	return strcmp(a->id, b->id);
}

static int
read_snapshots(const json_t *listing, struct restic_snapshot *snapshots, struct error *error)
{
	size_t i;
	const json_t *object;
	json_array_foreach (listing, i, object)
		if (!read_snapshot(object, &snapshots[i]))
			return error_set(error, ERROR_RESTIC_FAILED,
			    "entry %zu of restic's list of snapshots cannot be read", i + 1);
	return 0;
}

static int
hint_listing(struct error *error)
{
	return error_hint(error, "look at what `restic snapshots --json` says");
}

int
restic_output_snapshots(
    const char *bytes, size_t length, struct restic_snapshot **ret_snapshots, size_t *ret_count, struct error *error)
{
	cleanup_json json_t *listing = json_loadb(bytes, length, 0, NULL);
	if (!json_is_array(listing)) {
		error_set(error, ERROR_RESTIC_FAILED, "restic's list of snapshots cannot be read");
		return hint_listing(error);
	}
	size_t count = json_array_size(listing);
	struct restic_snapshot *snapshots = xcalloc(count, sizeof(*snapshots));
	if (read_snapshots(listing, snapshots, error) < 0) {
		restic_snapshots_free(snapshots, count);
		return hint_listing(error);
	}
	qsort(snapshots, count, sizeof(*snapshots), compare_times);
	*ret_snapshots = snapshots;
	*ret_count = count;
	return 0;
}

/* ---- the call ---- */

static void
drop_listing(struct snapshots_call *listing)
{
	restic_snapshots_free(listing->snapshots, listing->count);
	listing->snapshots = NULL;
	listing->count = 0;
	error_clear(&listing->error);
}

static void
take_listing(struct restic_call *call, const char *line, size_t length, bool cut)
{
	struct snapshots_call *listing = (struct snapshots_call *)call;
	(void)cut; /* what is left of a cut array is no array */
	if (length == 0 || line[0] != '[')
		return;
	listing->seen = true;
	drop_listing(listing);
	restic_output_snapshots(line, length, &listing->snapshots, &listing->count, &listing->error);
}

static void
snapshots_ended(struct restic_call *call, const struct child_exit *exit, struct error *error)
{
	struct snapshots_call *listing = (struct snapshots_call *)call;
	(void)exit;
	if (!error_is_set(error) && !listing->seen) {
		error_set(error, ERROR_RESTIC_FAILED, "restic exited with 0 but gave no list of snapshots");
		hint_listing(error);
	} else if (!error_is_set(error)) {
		error_move(error, &listing->error);
	}
	if (error_is_set(error))
		listing->done(listing->context, NULL, 0, error);
	else
		listing->done(listing->context, listing->snapshots, listing->count, NULL);
}

static void
snapshots_release(struct restic_call *call)
{
	drop_listing((struct snapshots_call *)call);
}

static const struct restic_operation snapshots_operation = {
    .line_limit = LISTING_LIMIT,
    .take_stdout = take_listing,
    .ended = snapshots_ended,
    .release = snapshots_release,
};

struct restic_call *
restic_snapshots_new(struct event_base *base, const struct restic_settings *settings, restic_snapshots_fn *done,
    void *context, struct error *error)
{
	struct snapshots_call *listing =
	    restic_call_new(sizeof(*listing), &snapshots_operation, base, settings, error);
	if (listing == NULL)
		return NULL;
	listing->done = done;
	listing->context = context;
	return &listing->call;
}

struct restic_call *
restic_snapshots_start(struct event_base *base, const struct restic_settings *settings, const char *tag,
    restic_snapshots_fn *done, void *context, struct error *error)
{
	struct restic_call *call = restic_snapshots_new(base, settings, done, context, error);
	if (call == NULL)
		return NULL;
	cleanup_free char *filter = tag == NULL ? NULL : xasprintf("--tag=%s", tag);
	/* Without a lock it costs fewer requests and works beside a prune; the caller only looks. */
	const char *const arguments[] = {"snapshots", "--json", "--no-lock", filter, NULL};
	const struct restic_step step = {.name = "restic snapshots", .arguments = arguments};
	return restic_call_begin(call, &step, error);
}
