/* Connections to databases of somebody else, and what SQLite's answers mean for us. */
#include "adapters/sqlite_internal.h"

#include "core/alloc.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define NSEC_PER_MSEC 1000000

/* Long enough for a commit, short enough for a window in which a service is away. */
#define PATIENCE_MSEC 2000

/* SQLite's own way of waiting looks ten times a second in the end. Beside a service with a rollback journal that
 * commits all the while, that did not always meet the moment between two commits within five seconds. */
static int
wait_for_moment(void *most, int times)
{
	if ((uintptr_t)times >= (uintptr_t)most)
		return 0;
	nanosleep(&(struct timespec){.tv_nsec = NSEC_PER_MSEC}, NULL);
	return 1;
}

void
sqlite_connection_be_patient(sqlite3 *database, unsigned msec)
{
	sqlite3_busy_handler(database, wait_for_moment, (void *)(uintptr_t)msec);
}

void
sqlite_connection_close(sqlite3 **database)
{
	sqlite3_close(*database);
}

int
sqlite_connection_open(const char *name, int flags, const char *path, sqlite3 **ret_database, struct error *error)
{
	cleanup_sqlite sqlite3 *database = NULL;
	int code = sqlite3_open_v2(name, &database, flags | SQLITE_CONNECTION_FLAGS, NULL);
	if (code != SQLITE_OK)
		return sqlite_connection_error(database, code, path, error);
	sqlite3_extended_result_codes(database, 1);
	sqlite_connection_be_patient(database, PATIENCE_MSEC);
	sqlite3_db_config(database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	/* Mapped, a file that is cut off under us would be a SIGBUS instead of an error. */
	if (sqlite_connection_ask(database, "PRAGMA mmap_size = 0", path, NULL, error) != 0 ||
	    sqlite_connection_ask(database, "PRAGMA temp_store = MEMORY", path, NULL, error) != 0)
		return -1;
	*ret_database = take_pointer(database);
	return 0;
}

static char *
row_words(sqlite3_stmt *statement)
{
	cleanup_text struct text row = {0};
	for (int i = 0; i < sqlite3_column_count(statement); i++) {
		const char *value = (const char *)sqlite3_column_text(statement, i);
		text_printf(&row, "%s%s", i > 0 ? "," : "", value != NULL ? value : "");
	}
	return text_take(&row);
}

int
sqlite_connection_ask(sqlite3 *database, const char *sql, const char *path, char **ret_row, struct error *error)
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);
	if (code != SQLITE_OK)
		return sqlite_connection_error(database, code, path, error);
	code = sqlite3_step(statement);
	cleanup_free char *row = code == SQLITE_ROW ? row_words(statement) : xstrdup("");
	if (code == SQLITE_ROW)
		code = SQLITE_OK;
	int finalized = sqlite3_finalize(statement);
	if (code != SQLITE_OK && code != SQLITE_DONE)
		return sqlite_connection_error(database, code, path, error);
	if (finalized != SQLITE_OK)
		return sqlite_connection_error(database, finalized, path, error);
	if (ret_row != NULL)
		*ret_row = take_pointer(row);
	return 0;
}

static int
ask_number(sqlite3 *database, const char *sql, const char *path, uint64_t *ret_number, struct error *error)
{
	cleanup_free char *row = NULL;
	if (sqlite_connection_ask(database, sql, path, &row, error) != 0 || row == NULL)
		return -1;
	*ret_number = strtoull(row, NULL, 10);
	return 0;
}

int
sqlite_connection_measure(sqlite3 *database, const char *path, struct sqlite_result *result, struct error *error)
{
	uint64_t tables, free_pages;
	if (ask_number(database, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'", path, &tables, error) !=
		0 ||
	    ask_number(database, "PRAGMA freelist_count", path, &free_pages, error) != 0)
		return -1;
	result->tables = tables;
	result->free_pages = free_pages;
	return 0;
}

/* The words SQLite has for the connection's last failure, or for the bare code. */
static const char *
sqlite_words(sqlite3 *database, int code)
{
	if (database != NULL && sqlite3_errcode(database) != SQLITE_OK)
		return sqlite3_errmsg(database);
	return sqlite3_errstr(code);
}

static int
io_error(sqlite3 *database, const char *path, const char *words, struct error *error)
{
	int number = database != NULL ? sqlite3_system_errno(database) : 0;
	if (number == ENOSPC || number == EDQUOT)
		return error_set(error, ERROR_NO_SPACE, "no space left for the database %s", path);
	if (number != EIO)
		return error_set(error, ERROR_SYSTEM, "the database %s: %s (%s)", path, words, strerror(number));
	error_set(error, ERROR_DATABASE_DAMAGED, "the database %s cannot be read from its disk: %s", path, words);
	return error_hint(error, "look into the kernel's log: the disk may be dying");
}

int
sqlite_connection_error(sqlite3 *database, int code, const char *path, struct error *error)
{
	cleanup_free char *words = xstrdup(sqlite_words(database, code));
	switch (code & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		error_set(error, ERROR_DATABASE_HELD, "the database %s is held by another process: %s", path, words);
		return error_hint(error, "stop what has it open (fuser -v %s)", path);
	case SQLITE_CORRUPT:
		error_set(error, ERROR_DATABASE_DAMAGED, "the database %s is damaged: %s", path, words);
		return error_hint(error, "restore it from a snapshot, or try sqlite3's .recover on a copy");
	case SQLITE_NOTADB:
		error_set(error, ERROR_DATABASE_UNSUPPORTED, "%s is no SQLite database, or an encrypted one", path);
		return error_hint(error, "list its directory under files instead");
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_CANTOPEN:
	case SQLITE_AUTH:
		error_set(
		    error, ERROR_PERMISSION, "its owner cannot open the database %s for writing: %s", path, words);
		return error_hint(error, "compare owner and mode of the file, its -wal, -shm and -journal, and its "
					 "directory (ls -la): the service has the same trouble");
	case SQLITE_FULL:
		return error_set(error, ERROR_NO_SPACE, "no space left for the database %s", path);
	case SQLITE_IOERR:
		return io_error(database, path, words, error);
	case SQLITE_NOMEM:
		return error_set(error, ERROR_SYSTEM_BUSY, "no memory left for the database %s", path);
	default:
		error_set(error, ERROR_DATABASE_UNSUPPORTED, "SQLite %s cannot handle the database %s: %s",
		    sqlite3_libversion(), path, words);
		return error_hint(error, "it may need a newer SQLite; or list its directory under files instead");
	}
}
