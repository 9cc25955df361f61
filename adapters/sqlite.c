#include "adapters/sqlite.h"

#include "core/alloc.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>

#define ANSWER_LIMIT ((size_t)64 * 1024)

struct sqlite_call {
	struct child *child;
	char *path;
	char *target;    /* of a copy; else NULL */
	char *answer;    /* the first line of stdout that is no progress */
	bool more;       /* there was one after it */
	char *complaint; /* the last line of stderr */
	child_spawned_fn *on_spawned;
	void (*on_progress)(void *context, uint64_t done, uint64_t total);
	sqlite_fn *done;
	void *context;
};

static void
call_free(struct sqlite_call *call)
{
	free(call->path);
	free(call->target);
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

/* Returns false for a line that is something else. */
static bool
take_progress(const struct sqlite_call *call, const char *line, size_t length)
{
	json_int_t done = 0, total = 0;
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	bool is_progress =
	    json_unpack_ex(object, NULL, JSON_STRICT, "{s:I, s:I}", "done", &done, "total", &total) == 0;
	json_decref(object);
	if (!is_progress || done < 0 || total < done)
		return false;
	if (call->on_progress != NULL)
		call->on_progress(call->context, (uint64_t)done, (uint64_t)total);
	return true;
}

static void
take_answer(void *context, const char *line, size_t length, bool cut)
{
	struct sqlite_call *call = context;
	if (call->target != NULL && call->answer == NULL && !cut && take_progress(call, line, length))
		return;
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

static bool
is_digest(const char *word)
{
	return strlen(word) == 64 && strspn(word, "0123456789abcdef") == 64;
}

/* A copy that is good has a digest, and nothing else has one. */
static int
read_digest(const char *sha256, bool wanted, struct sqlite_result *result)
{
	if ((sha256 != NULL) != wanted || (wanted && !is_digest(sha256)))
		return answer_misunderstood(&result->error);
	result->sha256 = xstrdup_null(sha256);
	return 0;
}

static int
read_answer(json_t *object, bool copying, struct sqlite_result *result)
{
	const char *word, *message = NULL, *hint = NULL, *journal_mode = NULL, *sha256 = NULL;
	json_int_t bytes, pages, free_pages, tables;
	int wal_folded;
	if (json_unpack(object, "{s:s, s?:s, s?:s, s?:s, s:I, s:b, s:I, s:I, s:I, s?:s}", "code", &word, "message",
		&message, "hint", &hint, "journal_mode", &journal_mode, "bytes", &bytes, "wal_folded", &wal_folded,
		"pages", &pages, "free_pages", &free_pages, "tables", &tables, "sha256", &sha256) != 0 ||
	    bytes < 0 || pages < 0 || free_pages < 0 || free_pages > pages || tables < 0)
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
	result->pages = (uint64_t)pages;
	result->free_pages = (uint64_t)free_pages;
	result->tables = (uint64_t)tables;
	return read_digest(sha256, copying && code == ERROR_NONE, result);
}

/* Good only if the answer and the exit code say so, both. */
static int
judge(const struct sqlite_call *call, const struct child_exit *exit, struct sqlite_result *result)
{
	json_t *object = call->answer == NULL || call->more || exit->signalled
			     ? NULL
			     : json_loads(call->answer, JSON_REJECT_DUPLICATES, NULL);
	int code =
	    object == NULL ? answer_misunderstood(&result->error) : read_answer(object, call->target != NULL, result);
	json_decref(object);
	if (code == 0 && exit->number != (error_is_set(&result->error) ? 1 : 0))
		code = answer_misunderstood(&result->error);
	return code;
}

static void
result_clear(struct sqlite_result *result)
{
	error_clear(&result->error);
	free(result->journal_mode);
	free(result->sha256);
	*result = (struct sqlite_result){.bytes = 0};
}

/* The process that copies could not: it is the database's owner, and the directory is ours. */
static void
remove_target(const struct sqlite_call *call)
{
	if (call->target != NULL)
		unlink(call->target);
}

static void
helper_ended(void *context, const struct child_exit *exit)
{
	struct sqlite_call *call = context;
	struct sqlite_result result = {.bytes = 0};
	if (judge(call, exit, &result) != 0) {
		result_clear(&result);
		cleanup_free char *words = child_exit_words(exit);
		error_set(&result.error, ERROR_SYSTEM, "the process that handles the database %s %s%s%s", call->path,
		    words, call->complaint != NULL ? ": " : "", call->complaint != NULL ? call->complaint : "");
	}
	if (error_is_set(&result.error))
		remove_target(call);
	call->done(call->context, &result);
	result_clear(&result);
	call_free(call);
}

static int
helper_spawned(void *context, const struct child_identity *identity, struct error *error)
{
	const struct sqlite_call *call = context;
	return call->on_spawned != NULL ? call->on_spawned(call->context, identity, error) : 0;
}

/* What is asked for; the paths are copied. */
static struct sqlite_call *
call_new(const char *path, const char *target, child_spawned_fn *on_spawned, sqlite_fn *done, void *context)
{
	struct sqlite_call *call = xcalloc(1, sizeof(*call));
	*call = (struct sqlite_call){
	    .path = xstrdup(path),
	    .target = xstrdup_null(target),
	    .on_spawned = on_spawned,
	    .done = done,
	    .context = context,
	};
	return call;
}

/* Frees the call and returns NULL if its process cannot be started. */
static struct sqlite_call *
call_start(
    struct sqlite_call *call, struct event_base *base, const char *helper, const char *verb, struct error *error)
{
	static const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
	const char *const arguments[] = {helper, "sqlite-helper", verb, call->path, call->target, NULL};
	cleanup_free char *name = xasprintf("sqlite %s", verb);
	struct child_spec spec = {
	    .name = name,
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
	return call_start(call_new(path, NULL, on_spawned, done, context), base, helper, "fold", error);
}

struct sqlite_call *
sqlite_prove_start(struct event_base *base, const char *helper, const char *path, sqlite_fn *done, void *context,
    struct error *error)
{
	return call_start(call_new(path, NULL, NULL, done, context), base, helper, "prove", error);
}

/* By us, who remove it as well: what was there before is neither written nor removed. */
static int
make_target(const char *target, struct error *error)
{
	cleanup_close int descriptor = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (descriptor >= 0)
		return 0;
	int number = errno;
	enum error_code code = number == ENOSPC || number == EDQUOT  ? ERROR_NO_SPACE
			       : number == EACCES || number == EPERM ? ERROR_PERMISSION
								     : ERROR_SYSTEM;
	return error_set(error, code, "cannot make the copy %s: %s", target, strerror(number));
}

struct sqlite_call *
sqlite_copy_start(struct event_base *base, const char *helper, const struct sqlite_copy_request *request,
    sqlite_fn *done, struct error *error)
{
	if (make_target(request->target, error) < 0)
		return NULL;
	struct sqlite_call *call =
	    call_new(request->path, request->target, request->on_spawned, done, request->context);
	call->on_progress = request->on_progress;
	call = call_start(call, base, helper, "copy", error);
	if (call == NULL)
		unlink(request->target);
	return call;
}

void
sqlite_call_abandon(struct sqlite_call *call)
{
	if (call == NULL)
		return;
	child_abandon(call->child);
	remove_target(call);
	call_free(call);
}
