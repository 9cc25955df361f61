/* The child's side: `sqlite-helper fold|prove PATH`, `sqlite-helper copy PATH TARGET`. */
#include "adapters/sqlite_internal.h"

#include "core/alloc.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

/* SQLite refuses any symbolic link in the path (NOFOLLOW): those on the way, which the administrator made,
 * are resolved; the last component is not. The caller owns *ret_path. */
static int
resolve_directory(const char *path, char **ret_path, struct error *error)
{
	const char *slash = strrchr(path, '/');
	if (slash == NULL || slash[1] == '\0')
		return error_set(error, ERROR_USAGE, "%s is not the path of a file", path);
	cleanup_free char *given = slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
	cleanup_free char *directory = realpath(given, NULL);
	if (directory == NULL) {
		enum error_code code = errno == ENOENT || errno == ENOTDIR ? ERROR_DATABASE_MISSING
				       : errno == EACCES                   ? ERROR_PERMISSION
									   : ERROR_SYSTEM;
		return error_set(error, code, "there is no database %s: its directory: %s", path, strerror(errno));
	}
	*ret_path = xasprintf("%s%s", strcmp(directory, "/") == 0 ? "" : directory, slash);
	return 0;
}

/* The kernel forgets the death signal when we change the user. A fold must not go on when its runner is dead:
 * the next runner may start the service at any time. */
static int
die_with(pid_t parent, struct error *error)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent)
		return 0;
	return error_set(error, ERROR_SYSTEM, "the process that wanted this has ended");
}

/* What is asked for, and what is known of it before we become the database's owner. */
struct errand {
	const char *path; /* as it was given */
	const char *target;
	char *real;     /* the path without a symbolic link on the way */
	char *holders;  /* words about them; or NULL */
	int descriptor; /* of the target; or -1 */
};

static int
begin_fold(struct errand *errand, struct error *error)
{
	errand->holders = sqlite_holders(errand->real);
	if (errand->holders == NULL)
		return 0;
	error_set(error, ERROR_DATABASE_HELD, "the database %s is held by %s", errand->path, errand->holders);
	return error_hint(
	    error, "the service runs more than the units it names, or something else has the file open");
}

static int
fold(const struct errand *errand, struct sqlite_result *result, struct error *error)
{
	return sqlite_fold(errand->real, result, error);
}

static int
begin_prove(struct errand *errand, struct error *error)
{
	(void)error;
	errand->holders = sqlite_holders(errand->real);
	return 0;
}

static int
prove(const struct errand *errand, struct sqlite_result *result, struct error *error)
{
	return sqlite_prove(errand->real, errand->holders != NULL, result, error);
}

static int
begin_copy(struct errand *errand, struct error *error)
{
	return sqlite_copy_open(errand->real, errand->target, &errand->descriptor, error);
}

static int
copy(const struct errand *errand, struct sqlite_result *result, struct error *error)
{
	return sqlite_copy(errand->real, errand->target, errand->descriptor, result, error);
}

static const struct verb {
	const char *word;
	int argument_count; /* with the word */
	int (*begin)(struct errand *errand, struct error *error);
	int (*work)(
	    const struct errand *errand, struct sqlite_result *result, struct error *error); /* as the owner */
} verbs[] = {
    {"fold", 2, begin_fold, fold},
    {"prove", 2, begin_prove, prove},
    {"copy", 3, begin_copy, copy},
};

static const struct verb *
find_verb(int argument_count, char **arguments)
{
	for (size_t i = 0; i < ARRAY_LENGTH(verbs); i++)
		if (argument_count == verbs[i].argument_count && strcmp(arguments[0], verbs[i].word) == 0)
			return &verbs[i];
	return NULL;
}

static int
run(const struct verb *verb, struct errand *errand, struct sqlite_result *result, struct error *error)
{
	pid_t parent = getppid();
	if (resolve_directory(errand->path, &errand->real, error) != 0 || verb->begin(errand, error) != 0 ||
	    sqlite_become_owner(errand->real, error) != 0 || die_with(parent, error) != 0)
		return -1;
	return verb->work(errand, result, error);
}

static int
work(int argument_count, char **arguments, struct sqlite_result *result, struct error *error)
{
	const struct verb *verb = find_verb(argument_count, arguments);
	if (verb == NULL)
		return error_set(
		    error, ERROR_USAGE, "usage: sqlite-helper fold|prove PATH, or sqlite-helper copy PATH TARGET");
	struct errand errand = {
	    .path = arguments[1],
	    .target = arguments[argument_count - 1],
	    .descriptor = -1,
	};
	int code = run(verb, &errand, result, error);
	cleanup_close_function(&errand.descriptor);
	free(errand.real);
	free(errand.holders);
	return code;
}

static int
answer(const struct sqlite_result *result)
{
	json_t *object = json_pack("{s:s, s:s*, s:s*, s:s*, s:I, s:b, s:I, s:I, s:I, s:s*}", "code",
	    error_code_word(result->error.code), "message", result->error.message, "hint", result->error.hint,
	    "journal_mode", result->journal_mode, "bytes", (json_int_t)result->bytes, "wal_folded",
	    (int)result->wal_folded, "pages", (json_int_t)result->pages, "free_pages", (json_int_t)result->free_pages,
	    "tables", (json_int_t)result->tables, "sha256", result->sha256);
	int code = object == NULL ? -1 : json_dumpf(object, stdout, JSON_COMPACT);
	json_decref(object);
	if (code != 0 || putchar('\n') == EOF || fflush(stdout) != 0)
		return 2;
	return error_is_set(&result->error) ? 1 : 0;
}

int
sqlite_helper_main(int argument_count, char **arguments)
{
	struct sqlite_result result = {.bytes = 0};
	prctl(PR_SET_NAME, "sqlite-helper");
	work(argument_count - 1, arguments + 1, &result, &result.error);
	int code = answer(&result);
	error_clear(&result.error);
	free(result.journal_mode);
	free(result.sha256);
	return code;
}
