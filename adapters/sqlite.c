#include "adapters/sqlite.h"

#include "core/alloc.h"
#include "core/text.h"

#include <jansson.h>
#include <signal.h>
#include <string.h>

#define ANSWER_LIMIT ((size_t)64 * 1024)

struct sqlite_call {
	struct child *child;
	char *path;
	char *answer;    /* the first line of stdout */
	bool more;       /* there was a second one */
	char *complaint; /* the last line of stderr */
	child_spawned_fn *on_spawned;
	sqlite_fn *done;
	void *context;
};

static void
call_free(struct sqlite_call *call)
{
	free(call->path);
	free(call->answer);
	free(call->complaint);
	free(call);
}

const char *
sqlite_default_helper(void)
{
	const char *given = getenv("ATELIER_BACKUP_HELPER");
	return given != NULL && given[0] != '\0' ? given : "/proc/self/exe";
}

static void
take_answer(void *context, const char *line, size_t length, bool cut)
{
	struct sqlite_call *call = context;
	if (call->answer == NULL && !cut && strlen(line) == length)
		call->answer = xstrdup(line);
	else
		call->more = true;
}

static void
take_complaint(void *context, const char *line, size_t length, bool cut)
{
	struct sqlite_call *call = context;
	(void)cut;
	if (length == 0)
		return;
	free(call->complaint);
	call->complaint = text_printable_bytes(line, length);
}

static int
answer_misunderstood(struct error *error)
{
	return error_set(error, ERROR_SYSTEM, "its answer is not understood");
}

static int
read_answer(json_t *object, struct sqlite_result *result)
{
	const char *word, *message = NULL, *hint = NULL, *journal_mode = NULL;
	json_int_t bytes;
	int wal_folded;
	if (json_unpack(object, "{s:s, s?:s, s?:s, s?:s, s:I, s:b}", "code", &word, "message", &message, "hint",
		&hint, "journal_mode", &journal_mode, "bytes", &bytes, "wal_folded", &wal_folded) != 0 ||
	    bytes < 0)
		return answer_misunderstood(&result->error);
	enum error_code code = error_code_from_word(word);
	if (code == ERROR_INTERNAL)
		return answer_misunderstood(&result->error);
	if (code != ERROR_NONE) {
		error_set(&result->error, code, "%s", message != NULL ? message : word);
		if (hint != NULL)
			error_hint(&result->error, "%s", hint);
	}
	result->journal_mode = journal_mode != NULL ? text_printable(journal_mode) : NULL;
	result->bytes = (uint64_t)bytes;
	result->wal_folded = wal_folded != 0;
	return 0;
}

/* Good only if the answer and the exit code say so, both. */
static int
judge(const struct sqlite_call *call, const struct child_exit *exit, struct sqlite_result *result)
{
	json_t *object = call->answer == NULL || call->more || exit->signalled
			     ? NULL
			     : json_loads(call->answer, JSON_REJECT_DUPLICATES, NULL);
	int code = object == NULL ? answer_misunderstood(&result->error) : read_answer(object, result);
	json_decref(object);
	if (code == 0 && exit->number != (error_is_set(&result->error) ? 1 : 0))
		code = answer_misunderstood(&result->error);
	return code;
}

static void
helper_ended(void *context, const struct child_exit *exit)
{
	struct sqlite_call *call = context;
	struct sqlite_result result = {.bytes = 0};
	if (judge(call, exit, &result) != 0) {
		free(result.journal_mode);
		error_clear(&result.error);
		result = (struct sqlite_result){.bytes = 0};
		cleanup_free char *words = child_exit_words(exit);
		error_set(&result.error, ERROR_SYSTEM, "the process that handles the database %s %s%s%s", call->path,
		    words, call->complaint != NULL ? ": " : "", call->complaint != NULL ? call->complaint : "");
	}
	call->done(call->context, &result);
	error_clear(&result.error);
	free(result.journal_mode);
	call_free(call);
}

static int
helper_spawned(void *context, const struct child_identity *identity, struct error *error)
{
	const struct sqlite_call *call = context;
	return call->on_spawned != NULL ? call->on_spawned(call->context, identity, error) : 0;
}

static struct sqlite_call *
call_start(struct event_base *base, const char *helper, const char *verb, const char *path,
    child_spawned_fn *on_spawned, sqlite_fn *done, void *context, struct error *error)
{
	static const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
	const char *const arguments[] = {helper, "sqlite-helper", verb, path, NULL};
	struct sqlite_call *call = xcalloc(1, sizeof(*call));
	struct child_spec spec = {
	    .name = strcmp(verb, "fold") == 0 ? "sqlite fold" : "sqlite prove",
	    .arguments = arguments,
	    .environment = environment,
	    .death_signal = SIGKILL,
	    .line_limit = ANSWER_LIMIT,
	    .on_stdout = take_answer,
	    .on_stderr = take_complaint,
	    .on_spawned = helper_spawned,
	    .on_exit = helper_ended,
	    .context = call,
	};
	call->path = xstrdup(path);
	call->on_spawned = on_spawned;
	call->done = done;
	call->context = context;
	call->child = child_start(base, &spec, error);
	if (call->child != NULL)
		return call;
	call_free(call);
	return NULL;
}

struct sqlite_call *
sqlite_fold_start(struct event_base *base, const char *helper, const char *path, child_spawned_fn *on_spawned,
    sqlite_fn *done, void *context, struct error *error)
{
	return call_start(base, helper, "fold", path, on_spawned, done, context, error);
}

struct sqlite_call *
sqlite_prove_start(struct event_base *base, const char *helper, const char *path, sqlite_fn *done, void *context,
    struct error *error)
{
	return call_start(base, helper, "prove", path, NULL, done, context, error);
}

void
sqlite_call_abandon(struct sqlite_call *call)
{
	if (call == NULL)
		return;
	child_abandon(call->child);
	call_free(call);
}
