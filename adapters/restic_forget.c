/* Removing snapshots by their ids, and looking whether they are gone. */
#include "adapters/restic_internal.h"

#include "core/alloc.h"

#include <string.h>

/* A full id is 65 bytes of an argument list, of which there are 128 KiB at the very least. */
#define BATCH 500

#define LISTING_LIMIT ((size_t)256 * 1024 * 1024)

struct forget_call {
	struct restic_call call; /* first: the call is freed through it */
	struct restic_listener listener;
	restic_forget_fn *done;
	char **ids;
	size_t count;
	size_t next;       /* the first id that no process was given yet */
	bool looking;      /* `snapshots` is running */
	size_t deleted;    /* what restic counted as deleted, in all processes */
	bool complained;   /* it said something on stderr */
	struct text words; /* of all of `forget`: why something stays */
	char *listing;
	size_t listing_length;
	struct restic_forget_result result;
};

/* "[0:00] 100.00%  2 / 2 files deleted", the last word of 0.14 to 0.19. */
static size_t
count_deleted(const char *line)
{
	size_t done = 0, all = 0;
	int end = 0;
	const char *counts = strchr(line, '%');
	if (counts == NULL || sscanf(counts, "%% %zu / %zu files deleted%n", &done, &all, &end) != 2 || end == 0)
		return 0;
	return done == all ? done : 0;
}

static void
take_stdout(struct restic_call *call, const char *line, size_t length, bool cut)
{
	struct forget_call *forget = (struct forget_call *)call;
	(void)cut; /* what is left of a cut array is no array */
	if (!forget->looking) {
		forget->deleted += count_deleted(line);
		restic_listener_tell(&forget->listener, line, length);
	} else if (length > 0 && line[0] == '[') {
		free(forget->listing);
		forget->listing = xmemdup(line, length);
		forget->listing_length = length;
	}
}

static void
take_stderr(struct restic_call *call, const char *line, size_t length)
{
	struct forget_call *forget = (struct forget_call *)call;
	forget->complained |= length > 0;
	restic_call_keep_words(call, line, length);
	restic_listener_tell(&forget->listener, line, length);
}

static int
forget_spawned(void *context, const struct child_identity *identity, struct error *error)
{
	struct forget_call *forget = context;
	return forget->listener.on_spawned(forget->listener.context, identity, error);
}

/* ---- the processes ---- */

static int
run(struct forget_call *forget, const char *name, char *const *arguments, struct error *error)
{
	const struct restic_step step = {
	    .name = name,
	    .arguments = (const char *const *)arguments,
	    .on_spawned = forget->listener.on_spawned == NULL ? NULL : forget_spawned,
	};
	return restic_call_run(&forget->call, &step, error);
}

static int
run_batch(struct forget_call *forget, struct error *error)
{
	cleanup_strings char **arguments = NULL;
	strings_add(&arguments, "forget");
	for (size_t given = 0; given < BATCH && forget->next < forget->count; given++)
		strings_add(&arguments, forget->ids[forget->next++]);
	return run(forget, "restic forget", arguments, error);
}

static int
run_listing(struct forget_call *forget, struct error *error)
{
	char *const arguments[] = {(char[]){"snapshots"}, (char[]){"--json"}, (char[]){"--no-lock"}, NULL};
	forget->looking = true;
	return run(forget, "restic snapshots", arguments, error);
}

/* ---- what came of it ---- */

static int
compare_ids(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static int
count_listed(struct forget_call *forget, struct error *error)
{
	struct restic_snapshot *snapshots;
	size_t count;
	if (restic_output_snapshots(forget->listing == NULL ? "" : forget->listing, forget->listing_length,
		&snapshots, &count, error) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		forget->result.remaining +=
		    bsearch(&snapshots[i].id, forget->ids, forget->count, sizeof(*forget->ids), compare_ids) != NULL;
	restic_snapshots_free(snapshots, count);
	forget->result.gone = forget->count - forget->result.remaining;
	forget->result.verified = true;
	return 0;
}

/* 0.18 exits with 0 all the same; then its words alone tell why. */
static void
explain_remaining(struct forget_call *forget)
{
	struct error *error = &forget->result.error;
	if (!error_is_set(error) && forget->words.string != NULL)
		restic_classify(1, 0, false, forget->words.string, error);
	if (!error_is_set(error)) {
		error_set(error, ERROR_RESTIC_FAILED, "restic does not say why");
		error_hint(error, "run `restic forget` with one of them by hand");
	}
	error_prefix(error, "%zu of %zu snapshots could not be removed", forget->result.remaining, forget->count);
}

static void
judge_listing(struct forget_call *forget, struct error *error)
{
	if (!error_is_set(error))
		count_listed(forget, error);
	if (error_is_set(error) && !error_is_set(&forget->result.error)) {
		error_prefix(error, "snapshots were removed, and it is not known whether all of them are gone");
		error_move(&forget->result.error, error);
	} else if (forget->result.remaining > 0) {
		explain_remaining(forget);
	}
}

/* A repository that does not answer, or that we were told to leave alone, is not asked for its snapshots; nor is
 * one that refused the first batch because of its locks, nor where restic has counted all of them as deleted and has
 * not complained: whatever it could not remove it complains about. */
static bool
is_worth_looking(const struct forget_call *forget)
{
	switch (error_class_of(forget->result.error.code)) {
	case ERROR_CLASS_CANCELLED:
	case ERROR_CLASS_TRANSIENT:
		return false;
	case ERROR_CLASS_BUSY:
		return forget->next > BATCH;
	case ERROR_CLASS_NONE:
		return forget->complained || forget->deleted != forget->count;
	case ERROR_CLASS_PERMANENT:
	case ERROR_CLASS_PARTIAL:
	case ERROR_CLASS_BUG:
		return true;
	}
	return true;
}

/* ---- one after the other ---- */

static void
batch_ended(struct forget_call *forget, struct error *error)
{
	if (forget->call.words.string != NULL)
		text_add(&forget->words, forget->call.words.string);
	if (!error_is_set(error) && forget->next < forget->count && run_batch(forget, error) == 0)
		return;
	error_move(&forget->result.error, error);
	cleanup_error struct error failed = {.code = ERROR_NONE};
	if (!is_worth_looking(forget)) {
		forget->result.gone = error_is_set(&forget->result.error) ? 0 : forget->count;
		return;
	}
	if (run_listing(forget, &failed) < 0 && !error_is_set(&forget->result.error))
		error_move(&forget->result.error, &failed);
}

static void
forget_ended(struct restic_call *call, const struct child_exit *exit, struct error *error)
{
	struct forget_call *forget = (struct forget_call *)call;
	if (forget->looking) {
		judge_listing(forget, error);
	} else {
		restic_call_reclassify(call, exit, error);
		batch_ended(forget, error);
	}
	if (call->child == NULL)
		forget->done(forget->listener.context, &forget->result);
}

static void
forget_release(struct restic_call *call)
{
	struct forget_call *forget = (struct forget_call *)call;
	strings_free(forget->ids);
	text_clear(&forget->words);
	free(forget->listing);
	error_clear(&forget->result.error);
}

static const struct restic_operation forget_operation = {
    .line_limit = LISTING_LIMIT,
    .take_stdout = take_stdout,
    .take_stderr = take_stderr,
    .ended = forget_ended,
    .release = forget_release,
};

/* ---- the start ---- */

static int
check_ids(const char *const *ids, size_t count, struct error *error)
{
	if (count == 0)
		return error_set(error, ERROR_INTERNAL, "there is no snapshot to forget");
	for (size_t i = 0; i < count; i++)
		if (!restic_is_id(ids[i], 64))
			return error_set(error, ERROR_INTERNAL, "\"%s\" is no full id of a snapshot", ids[i]);
	return 0;
}

struct restic_call *
restic_forget_start(struct event_base *base, const struct restic_settings *settings, const char *const *ids,
    size_t count, const struct restic_listener *listener, restic_forget_fn *done, struct error *error)
{
	if (check_ids(ids, count, error) < 0)
		return NULL;
	struct forget_call *forget = restic_call_new(sizeof(*forget), &forget_operation, base, settings, error);
	if (forget == NULL)
		return NULL;
	forget->listener = *listener;
	forget->done = done;
	forget->count = count;
	forget->ids = xcalloc(count + 1, sizeof(*forget->ids));
	for (size_t i = 0; i < count; i++)
		forget->ids[i] = xstrdup(ids[i]);
	qsort(forget->ids, count, sizeof(*forget->ids), compare_ids);
	if (run_batch(forget, error) == 0)
		return &forget->call;
	restic_call_free(&forget->call);
	return NULL;
}
