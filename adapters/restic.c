#include "adapters/restic_internal.h"

#include "adapters/environment.h"
#include "core/alloc.h"
#include "core/clock.h"

#include <signal.h>
#include <string.h>

/* After SIGINT restic finishes the pack in flight and removes its lock; on a slow uplink that takes its time.
 */
#define STOP_GRACE (90 * USEC_PER_SEC)

#define WORDS_LIMIT      ((size_t)64 * 1024)
#define WORDS_LINE_LIMIT ((size_t)8 * 1024)

/* What the environment file says comes after our own variables and before what the settings decide. */
static int
make_environment(const struct restic_settings *settings, char ***ret_environment, struct error *error)
{
	cleanup_strings char **from_file = NULL;
	if (settings->environment_file != NULL && environment_read(settings->environment_file, &from_file, error) < 0)
		return -1;
	char **environment = environment_base();
	for (size_t i = 0; from_file != NULL && from_file[i] != NULL; i++) {
		char *equals = strchr(from_file[i], '=');
		*equals = '\0';
		if (!restic_is_reserved_name(from_file[i]))
			environment_set(&environment, from_file[i], equals + 1);
	}
	environment_set(&environment, "RESTIC_REPOSITORY_FILE", settings->repository_file);
	environment_set(&environment, "RESTIC_PASSWORD_FILE", settings->password_file);
	environment_set(&environment, "RESTIC_CACHE_DIR", settings->cache_directory);
	environment_set(&environment, "RESTIC_PROGRESS_FPS", "2");
	*ret_environment = environment;
	return 0;
}

static void
add_limit(char ***options, const char *option, int64_t kib)
{
	if (kib <= 0)
		return;
	cleanup_free char *argument = xasprintf("%s=%lld", option, (long long)kib);
	strings_add(options, argument);
}

void *
restic_call_new(size_t size, const struct restic_operation *operation, struct event_base *base,
    const struct restic_settings *settings, struct error *error)
{
	char **environment;
	if (make_environment(settings, &environment, error) < 0)
		return NULL;
	struct restic_call *call = xcalloc(1, size);
	*call = (struct restic_call){
	    .operation = operation,
	    .base = base,
	    .program = xstrdup(settings->program),
	    .environment = environment,
	    .nice = (int)settings->nice,
	    .io_class = (int)settings->io_class,
	    .io_level = (int)settings->io_level,
	};
	add_limit(&call->options, "--limit-upload", settings->upload_kib);
	add_limit(&call->options, "--limit-download", settings->download_kib);
	return call;
}

void
restic_call_free(struct restic_call *call)
{
	if (call->operation->release != NULL)
		call->operation->release(call);
	free(call->program);
	strings_free(call->environment);
	strings_free(call->options);
	text_clear(&call->words);
	free(call);
}

void
restic_call_keep_words(struct restic_call *call, const char *line, size_t length)
{
	cleanup_free char *printable = text_printable_bytes(line, restic_mask_cut(line, length, WORDS_LINE_LIMIT));
	text_add(&call->words, printable);
	text_add(&call->words, "\n");
	if (call->words.length <= WORDS_LIMIT)
		return;
	const char *middle = strchr(call->words.string + WORDS_LIMIT / 2, '\n') + 1;
	size_t kept = call->words.length - (size_t)(middle - call->words.string);
	memmove(call->words.string, middle, kept + 1);
	call->words.length = kept;
}

void
restic_call_take_stdout(void *context, const char *line, size_t length, bool cut)
{
	struct restic_call *call = context;
	if (call->operation->take_stdout != NULL)
		call->operation->take_stdout(call, line, length, cut);
}

void
restic_call_take_stderr(void *context, const char *line, size_t length, bool cut)
{
	struct restic_call *call = context;
	(void)cut;
	/* 0.14 would be at it for 15 minutes, with the service stopped. It exits at once, but may leave its own lock.
	 */
	if (call->child != NULL && restic_waits_for_lost_lock(line)) {
		call->lock_vanished = true;
		child_stop(call->child);
	}
	if (call->operation->take_stderr != NULL)
		call->operation->take_stderr(call, line, length);
	else
		restic_call_keep_words(call, line, length);
}

void
restic_call_process_ended(void *context, const struct child_exit *exit)
{
	struct restic_call *call = context;
	cleanup_error struct error error = {.code = ERROR_NONE};
	const char *words = call->words.string == NULL ? "" : call->words.string;

	call->child = NULL;
	restic_classify(exit->signalled ? -1 : exit->number, exit->signalled ? exit->number : 0, exit->stopped_by_us,
	    words, &error);
	if (call->lock_vanished && error.code == ERROR_CANCELLED && !call->stopped) {
		error_set(
		    &error, ERROR_RESTIC_KILLED, "restic was ended because it kept looking for a lock that is gone");
		error_hint(&error, "nothing to do: it is tried again; restic 0.18 does not hang there");
	}
	call->operation->ended(call, exit, &error);
	if (call->child == NULL)
		restic_call_free(call);
}

int
restic_call_run(struct restic_call *call, const struct restic_step *step, struct error *error)
{
	if (call->stopped)
		return error_set(error, ERROR_CANCELLED, "restic was stopped");
	if (restic_check_program(call->program, error) < 0)
		return -1;
	cleanup_strings char **arguments = NULL;
	strings_add(&arguments, call->program);
	for (size_t i = 0; step->arguments[i] != NULL; i++)
		strings_add(&arguments, step->arguments[i]);
	for (size_t i = 0; call->options != NULL && call->options[i] != NULL; i++)
		strings_add(&arguments, call->options[i]);

	const struct child_spec spec = {
	    .name = step->name,
	    .arguments = (const char *const *)arguments,
	    .environment = (const char *const *)call->environment,
	    .input = step->input,
	    .input_length = step->input_length,
	    .nice = call->nice,
	    .io_class = call->io_class,
	    .io_level = call->io_level,
	    /* 0.14 dies of SIGTERM at once and leaves its lock. */
	    .death_signal = SIGINT,
	    .stop_signal = SIGINT,
	    .stop_grace = STOP_GRACE,
	    .binds = step->binds,
	    .bind_count = step->bind_count,
	    .line_limit = call->operation->line_limit,
	    .on_stdout = restic_call_take_stdout,
	    .on_stderr = restic_call_take_stderr,
	    .on_spawned = step->on_spawned,
	    .on_exit = restic_call_process_ended,
	    .context = call,
	};
	text_clear(&call->words);
	call->lock_vanished = false;
	call->child = child_start(call->base, &spec, error);
	return call->child == NULL ? -1 : 0;
}

struct restic_call *
restic_call_begin(struct restic_call *call, const struct restic_step *step, struct error *error)
{
	if (restic_call_run(call, step, error) == 0)
		return call;
	restic_call_free(call);
	return NULL;
}

void
restic_call_stop(struct restic_call *call)
{
	call->stopped = true;
	if (call->child != NULL)
		child_stop(call->child);
}

void
restic_call_abandon(struct restic_call *call)
{
	/* From within its own last callback there is nothing left to kill, and the call is about to be freed.
	 */
	if (call->child == NULL)
		return;
	child_abandon(call->child);
	restic_call_free(call);
}
