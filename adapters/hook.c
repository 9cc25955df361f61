#include "adapters/hook.h"

#include "adapters/environment.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"

#include <inttypes.h>

#define LINE_LIMIT ((size_t)8 * 1024)
#define STOP_GRACE (10 * USEC_PER_SEC)

struct hook_call {
	struct child *child;
	char *kind;
	char *last_words; /* the last line of output that says something */
	bool stopped;
	child_spawned_fn *on_spawned;
	void (*on_words)(void *context, const char *line);
	hook_fn *done;
	void *context;
};

static void
call_free(struct hook_call *call)
{
	free(call->kind);
	free(call->last_words);
	free(call);
}

static int
hook_spawned(void *context, const struct child_identity *identity, struct error *error)
{
	const struct hook_call *call = context;
	return call->on_spawned != NULL ? call->on_spawned(call->context, identity, error) : 0;
}

static void
hook_says(void *context, const char *line, size_t length, bool cut)
{
	struct hook_call *call = context;
	(void)cut;
	cleanup_free char *words = text_printable_bytes(line, length);
	if (words[0] != '\0')
		replace_string(&call->last_words, words);
	if (call->on_words != NULL)
		call->on_words(call->context, words);
}

static int
judge(const struct hook_call *call, const struct child_exit *exit, struct error *error)
{
	cleanup_free char *words = child_exit_words(exit);
	if (call->stopped)
		return error_set(error, ERROR_CANCELLED, "%s was stopped and %s", call->kind, words);
	if (!exit->signalled && exit->number == 0)
		return 0;
	error_set(error, ERROR_HOOK_FAILED, "%s %s%s%s", call->kind, words, call->last_words != NULL ? ": " : "",
	    call->last_words != NULL ? call->last_words : "");
	return error_hint(error, "run the command by hand with /bin/sh -e -c; its output is kept with the job");
}

static void
hook_ended(void *context, const struct child_exit *exit)
{
	struct hook_call *call = context;
	cleanup_error struct error error = {0};
	judge(call, exit, &error);
	call->done(call->context, &error);
	call_free(call);
}

static char **
hook_environment(const struct hook_request *request)
{
	char **environment = environment_base();
	cleanup_free char *job = xasprintf("%" PRId64, request->job);
	environment_set(&environment, "ATELIER_SERVICE", request->service);
	environment_set(&environment, "ATELIER_JOB", job);
	environment_set(&environment, "ATELIER_HOOK", request->kind);
	return environment;
}

struct hook_call *
hook_start(struct event_base *base, const struct hook_request *request, hook_fn *done, struct error *error)
{
	cleanup_strings char **environment = hook_environment(request);
	const char *const arguments[] = {"/bin/sh", "-e", "-c", request->command, NULL};
	struct hook_call *call = xcalloc(1, sizeof(*call));
	/* No death signal: it would end the shell alone. The next runner ends the whole group, by
	 * on_spawned's record. */
	struct child_spec spec = {
	    .name = request->kind,
	    .arguments = arguments,
	    .environment = (const char *const *)environment,
	    .stop_grace = STOP_GRACE,
	    .line_limit = LINE_LIMIT,
	    .on_stdout = hook_says,
	    .on_stderr = hook_says,
	    .on_spawned = hook_spawned,
	    .on_exit = hook_ended,
	    .context = call,
	};
	call->kind = xstrdup(request->kind);
	call->on_spawned = request->on_spawned;
	call->on_words = request->on_words;
	call->done = done;
	call->context = request->context;
	call->child = child_start(base, &spec, error);
	if (call->child != NULL)
		return call;
	call_free(call);
	return NULL;
}

void
hook_call_stop(struct hook_call *call)
{
	call->stopped = true;
	child_stop(call->child);
}

void
hook_call_abandon(struct hook_call *call)
{
	if (call == NULL)
		return;
	child_abandon(call->child);
	call_free(call);
}
