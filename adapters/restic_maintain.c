/* The exclusive commands that rearrange a repository and whose exit code is all there is to know. */
#include "adapters/restic_internal.h"

#include "core/alloc.h"

#include <ctype.h>
#include <string.h>

struct maintain_call {
	struct restic_call call; /* first: the call is freed through it */
	struct restic_listener listener;
	restic_done_fn *done;
};

/* ---- what restic says (also for forget) ---- */

/* "[0:00] 100.00%  2 / 2 packs processed" */
static bool
is_progress(const char *line)
{
	return line[0] == '[' && isdigit((unsigned char)line[1]);
}

void
restic_listener_tell(const struct restic_listener *listener, const char *line, size_t length)
{
	if (listener->on_words == NULL || is_progress(line))
		return;
	cleanup_free char *words = restic_output_words(line, length);
	if (words[0] != '\0')
		listener->on_words(listener->context, words);
}

void
restic_call_reclassify(struct restic_call *call, const struct child_exit *exit, struct error *error)
{
	/* 3 means sources only to a backup; 0.19 has it for snapshots that cannot be removed as well. */
	if (!exit->signalled && exit->number == 3 && error->code != ERROR_CANCELLED)
		restic_classify(1, 0, false, call->words.string == NULL ? "" : call->words.string, error);
}

/* ---- the call ---- */

static void
take_stdout(struct restic_call *call, const char *line, size_t length, bool cut)
{
	struct maintain_call *maintain = (struct maintain_call *)call;
	(void)cut;
	restic_listener_tell(&maintain->listener, line, length);
}

static void
take_stderr(struct restic_call *call, const char *line, size_t length)
{
	struct maintain_call *maintain = (struct maintain_call *)call;
	restic_call_keep_words(call, line, length);
	restic_listener_tell(&maintain->listener, line, length);
}

static int
maintain_spawned(void *context, const struct child_identity *identity, struct error *error)
{
	struct maintain_call *maintain = context;
	return maintain->listener.on_spawned(maintain->listener.context, identity, error);
}

static void
maintain_ended(struct restic_call *call, const struct child_exit *exit, struct error *error)
{
	struct maintain_call *maintain = (struct maintain_call *)call;
	restic_call_reclassify(call, exit, error);
	maintain->done(maintain->listener.context, error_is_set(error) ? error : NULL);
}

static const struct restic_operation maintain_operation = {
    .take_stdout = take_stdout,
    .take_stderr = take_stderr,
    .ended = maintain_ended,
};

static struct restic_call *
maintain_start(struct event_base *base, const struct restic_settings *settings, const char *name,
    const char *const *arguments, const struct restic_listener *listener, restic_done_fn *done, struct error *error)
{
	struct maintain_call *maintain =
	    restic_call_new(sizeof(*maintain), &maintain_operation, base, settings, error);
	if (maintain == NULL)
		return NULL;
	maintain->listener = *listener;
	maintain->done = done;
	const struct restic_step step = {
	    .name = name,
	    .arguments = arguments,
	    .on_spawned = listener->on_spawned == NULL ? NULL : maintain_spawned,
	};
	return restic_call_begin(&maintain->call, &step, error);
}

struct restic_call *
restic_prune_start(struct event_base *base, const struct restic_settings *settings,
    const struct restic_prune_request *request, restic_done_fn *done, struct error *error)
{
	cleanup_strings char **arguments = NULL;
	strings_add(&arguments, "prune");
	if (request->max_repack_bytes > 0) {
		cleanup_free char *limit =
		    xasprintf("--max-repack-size=%llu", (unsigned long long)request->max_repack_bytes);
		strings_add(&arguments, limit);
	}
	if (request->max_unused != NULL) {
		cleanup_free char *unused = xasprintf("--max-unused=%s", request->max_unused);
		strings_add(&arguments, unused);
	}
	return maintain_start(
	    base, settings, "restic prune", (const char *const *)arguments, &request->listener, done, error);
}

struct restic_call *
restic_repair_index_start(struct event_base *base, const struct restic_settings *settings,
    const struct restic_listener *listener, restic_done_fn *done, struct error *error)
{
	static const char *const repair[] = {"repair", "index", NULL};
	static const char *const rebuild[] = {"rebuild-index", NULL};
	const char *version = restic_version(settings->program, error);
	if (version == NULL)
		return NULL;
	bool repairs = restic_version_at_least(version, 0, 16);
	return maintain_start(base, settings, repairs ? "restic repair index" : "restic rebuild-index",
	    repairs ? repair : rebuild, listener, done, error);
}
