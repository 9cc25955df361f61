/* Does the repository answer, can it be written, and which one is it; and making a new one. */
#include "adapters/restic_internal.h"

#include "core/alloc.h"

#include <string.h>

#define CONFIG_LIMIT ((size_t)64 * 1024)

struct probe_call {
	struct restic_call call; /* first: the call is freed through it */
	restic_probe_fn *done;
	void *context;
	child_spawned_fn *on_spawned; /* or NULL */
	bool making;                  /* `init` is running; the id is asked for when it is done */
	struct text config;
};

static const char *const config_arguments[] = {"cat", "config", "--no-lock", "--json", NULL};
static const char *const locked_arguments[] = {"cat", "config", "--json", NULL};
static const char *const init_arguments[] = {"init", "--json", NULL};
static const struct restic_step config_step = {.name = "restic cat config", .arguments = config_arguments};
static const struct restic_step init_step = {.name = "restic init", .arguments = init_arguments};

static void
take_config(struct restic_call *call, const char *line, size_t length, bool cut)
{
	struct probe_call *probe = (struct probe_call *)call;
	(void)cut;
	/* It comes in several lines, after what `init` says. */
	if (probe->making || probe->config.length + length > CONFIG_LIMIT)
		return;
	text_add_bytes(&probe->config, line, length);
	text_add(&probe->config, "\n");
}

static void
report_config(struct probe_call *probe, struct error *error)
{
	cleanup_json json_t *config = restic_output_object(probe->config.string, probe->config.length);
	const char *id = json_string_value(json_object_get(config, "id"));
	if (id == NULL || !restic_is_id(id, 64)) {
		error_set(error, ERROR_RESTIC_FAILED, "restic exited with 0 but did not show the repository's id");
		error_hint(error, "look at what `restic cat config` says");
		probe->done(probe->context, NULL, error);
		return;
	}
	probe->done(probe->context, id, NULL);
}

static void
probe_ended(struct restic_call *call, const struct child_exit *exit, struct error *error)
{
	struct probe_call *probe = (struct probe_call *)call;
	(void)exit;
	if (error_is_set(error)) {
		probe->done(probe->context, NULL, error);
		return;
	}
	if (!probe->making) {
		report_config(probe, error);
		return;
	}
	/* What `init` itself tells is text with a short id in 0.14 and JSON later. */
	probe->making = false;
	if (restic_call_run(call, &config_step, error) < 0)
		probe->done(probe->context, NULL, error);
}

static void
probe_release(struct restic_call *call)
{
	struct probe_call *probe = (struct probe_call *)call;
	text_clear(&probe->config);
}

static const struct restic_operation probe_operation = {
    .take_stdout = take_config,
    .ended = probe_ended,
    .release = probe_release,
};

static struct probe_call *
probe_new(struct event_base *base, const struct restic_settings *settings, restic_probe_fn *done, void *context,
    struct error *error)
{
	struct probe_call *probe = restic_call_new(sizeof(*probe), &probe_operation, base, settings, error);
	if (probe == NULL)
		return NULL;
	probe->done = done;
	probe->context = context;
	return probe;
}

static int
probe_spawned(void *context, const struct child_identity *identity, struct error *error)
{
	struct probe_call *probe = context;
	return probe->on_spawned(probe->context, identity, error);
}

struct restic_call *
restic_probe_start(struct event_base *base, const struct restic_settings *settings, restic_probe_fn *done,
    void *context, struct error *error)
{
	struct probe_call *probe = probe_new(base, settings, done, context, error);
	return probe == NULL ? NULL : restic_call_begin(&probe->call, &config_step, error);
}

struct restic_call *
restic_probe_locked_start(struct event_base *base, const struct restic_settings *settings,
    child_spawned_fn *on_spawned, restic_probe_fn *done, void *context, struct error *error)
{
	struct probe_call *probe = probe_new(base, settings, done, context, error);
	if (probe == NULL)
		return NULL;
	probe->on_spawned = on_spawned;
	const struct restic_step step = {
	    .name = "restic cat config",
	    .arguments = locked_arguments,
	    .on_spawned = on_spawned == NULL ? NULL : probe_spawned,
	};
	return restic_call_begin(&probe->call, &step, error);
}

struct restic_call *
restic_init_start(struct event_base *base, const struct restic_settings *settings, restic_probe_fn *done,
    void *context, struct error *error)
{
	struct probe_call *probe = probe_new(base, settings, done, context, error);
	if (probe == NULL)
		return NULL;
	probe->making = true;
	return restic_call_begin(&probe->call, &init_step, error);
}
