/* The child's side: `sqlite-helper fold|prove PATH`. */
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

static int
refuse_held(const char *path, const char *holders, struct error *error)
{
	error_set(error, ERROR_DATABASE_HELD, "the database %s is held by %s", path, holders);
	return error_hint(
	    error, "the service runs more than the units it names, or something else has the file open");
}

static int
work(const char *verb, const char *path, struct sqlite_result *result, struct error *error)
{
	pid_t parent = getppid();
	bool folding = strcmp(verb, "fold") == 0;
	if (!folding && strcmp(verb, "prove") != 0)
		return error_set(error, ERROR_USAGE, "sqlite-helper cannot %s", verb);
	cleanup_free char *real = NULL;
	if (resolve_directory(path, &real, error) != 0)
		return -1;
	cleanup_free char *holders = sqlite_holders(real);
	if (folding && holders != NULL)
		return refuse_held(path, holders, error);
	if (sqlite_become_owner(real, error) != 0 || die_with(parent, error) != 0)
		return -1;
	return folding ? sqlite_fold(real, result, error) : sqlite_prove(real, holders != NULL, result, error);
}

static int
answer(const struct sqlite_result *result)
{
	json_t *object = json_pack("{s:s, s:s*, s:s*, s:s*, s:I, s:b}", "code", error_code_word(result->error.code),
	    "message", result->error.message, "hint", result->error.hint, "journal_mode", result->journal_mode,
	    "bytes", (json_int_t)result->bytes, "wal_folded", (int)result->wal_folded);
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
	if (argument_count == 3)
		work(arguments[1], arguments[2], &result, &result.error);
	else
		error_set(&result.error, ERROR_USAGE, "usage: sqlite-helper fold|prove PATH");
	int code = answer(&result);
	error_clear(&result.error);
	free(result.journal_mode);
	return code;
}
