/* The WAL of a stopped service goes into the main file, or a hot journal is rolled back. */
#include "adapters/sqlite_internal.h"

#include "core/alloc.h"

#include <string.h>
#include <sys/stat.h>

/* Our last statement is over; what close says about the checkpoint it may do counts. */
static int
close_checked(sqlite3 **database, const char *path, struct error *error)
{
	int code = sqlite3_close(*database);
	if (code != SQLITE_OK)
		return sqlite_connection_error(*database, code, path, error);
	*database = NULL;
	return 0;
}

static int
check_checkpoint(const char *row, const char *path, struct error *error)
{
	/* "busy, frames in the WAL, frames folded in": 0,-1,-1 is the answer of a database without a WAL. */
	if (strcmp(row, "0,0,0") == 0 || strcmp(row, "0,-1,-1") == 0)
		return 0;
	error_set(
	    error, ERROR_DATABASE_HELD, "the WAL of %s could not be folded in whole (SQLite says %s)", path, row);
	return error_hint(error, "stop what has it open (fuser -v %s)", path);
}

/* Exclusive locking keeps the service out should it come back, and finds a connection that /proc does not
 * show (in another PID namespace, or not ours to see): an open WAL database is locked even while idle. The
 * first read rolls a hot journal back. */
static int
fold_alone(const char *path, struct sqlite_result *measured, struct error *error)
{
	static const char *const statements[] = {
	    "PRAGMA locking_mode = EXCLUSIVE",
	    "PRAGMA synchronous = FULL",
	    "SELECT count(*) FROM sqlite_schema",
	};
	cleanup_sqlite sqlite3 *database = NULL;
	if (sqlite_connection_open(path, SQLITE_OPEN_READWRITE, path, &database, error) != 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LENGTH(statements); i++)
		if (sqlite_connection_ask(database, statements[i], path, NULL, error) != 0)
			return -1;
	cleanup_free char *row = NULL;
	if (sqlite_connection_ask(database, "PRAGMA wal_checkpoint(TRUNCATE)", path, &row, error) != 0 ||
	    check_checkpoint(row, path, error) != 0 ||
	    sqlite_connection_measure(database, path, measured, error) != 0)
		return -1;
	return close_checked(&database, path, error);
}

/* A connection with exclusive locking knows no -shm: one that a killed service has left is deleted by the
 * next ordinary connection that is the last to close. */
static int
drop_wal_index(const char *path, struct error *error)
{
	cleanup_free char *index = sqlite_side_path(path, "-shm");
	struct stat status;
	if (lstat(index, &status) != 0)
		return 0;
	cleanup_sqlite sqlite3 *database = NULL;
	if (sqlite_connection_open(path, SQLITE_OPEN_READWRITE, path, &database, error) != 0 ||
	    sqlite_connection_ask(database, "SELECT count(*) FROM sqlite_schema", path, NULL, error) != 0)
		return -1;
	return close_checked(&database, path, error);
}

static int
check_side_file(const char *path, const char *suffix, uid_t owner, struct error *error)
{
	cleanup_free char *side = sqlite_side_path(path, suffix);
	struct stat status;
	if (lstat(side, &status) != 0 || status.st_uid == owner)
		return 0;
	error_set(error, ERROR_PERMISSION, "%s belongs to uid %u, its database to uid %u: the service cannot use it",
	    side, status.st_uid, owner);
	return error_hint(error, "chown --reference=%s %s", path, side);
}

/* Is the main file all there is of it now? */
static int
check_alone(const char *path, const struct sqlite_look *look, struct error *error)
{
	for (size_t i = 0; i < SQLITE_SIDE_COUNT; i++)
		if (check_side_file(path, sqlite_side_suffixes[i], look->owner, error) != 0)
			return -1;
	if (!look->wal_frames && !look->hot_journal)
		return 0;
	error_set(error, ERROR_DATABASE_HELD, "the database %s was opened again while its WAL was folded in", path);
	return error_hint(error, "find out what started it (fuser -v %s)", path);
}

int
sqlite_fold(const char *path, struct sqlite_result *result, struct error *error)
{
	struct sqlite_look before, after;
	struct sqlite_result measured = {.bytes = 0};
	if (sqlite_look(path, &before, error) != 0 || fold_alone(path, &measured, error) != 0 ||
	    drop_wal_index(path, error) != 0 || sqlite_look(path, &after, error) != 0 ||
	    check_alone(path, &after, error) != 0)
		return -1;
	replace_string(&result->journal_mode, after.journal_mode);
	result->bytes = after.bytes;
	result->pages = after.pages;
	result->free_pages = measured.free_pages;
	result->tables = measured.tables;
	result->wal_folded = before.wal_frames;
	return 0;
}
