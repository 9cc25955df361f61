/* Statements of the journal, and SQLite's errors in our words. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"

#include <errno.h>
#include <string.h>

/* ---- errors ---- */

int
journal_damaged(const struct journal *journal, struct error *error, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	error_vset(error, ERROR_JOURNAL_DAMAGED, format, arguments);
	va_end(arguments);
	return error_hint(error,
	    "if there is a file %s/owed, do first what it says: it names the units that may be stopped; then "
	    "move "
	    "%s with its -wal and -shm out of the way, or put a copy from a backup in its place (without a "
	    "journal the next command begins a new one; snapshots are not touched)",
	    journal->directory, journal->path);
}

static int
no_space(const struct journal *journal, const char *doing, struct error *error)
{
	error_set(
	    error, ERROR_NO_SPACE, "cannot %s the journal %s: no space left on the device", doing, journal->path);
	return error_hint(error, "make room on the file system (or quota) of %s", journal->directory);
}

static int
no_permission(const struct journal *journal, const char *doing, const char *reason, struct error *error)
{
	error_set(error, ERROR_PERMISSION, "cannot %s the journal %s: %s", doing, journal->path, reason);
	return error_hint(error,
	    "run as the owner of %s, and see that it and its files are writable and on a writable file "
	    "system",
	    journal->directory);
}

static bool
is_out_of_space(int number)
{
	return number == ENOSPC || number == EDQUOT || number == EFBIG;
}

static bool
is_forbidden(int number)
{
	return number == EROFS || number == EACCES || number == EPERM;
}

/* The errno behind a failure of the file system. sqlite3_system_errno knows nothing of one in COMMIT; the WAL's own
 * file does. */
static int
errno_of_database(sqlite3 *database)
{
	sqlite3_file *wal = NULL;
	int number = 0;
	if (sqlite3_file_control(database, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal) == SQLITE_OK && wal != NULL &&
	    wal->pMethods != NULL)
		wal->pMethods->xFileControl(wal, SQLITE_FCNTL_LAST_ERRNO, &number);
	return number != 0 ? number : sqlite3_system_errno(database);
}

int
journal_error(const struct journal *journal, int code, const char *doing, struct error *error)
{
	/* The connection's own words say more, if they are about this failure. */
	const char *reason = sqlite3_errstr(code);
	int system = 0;
	if (journal->database != NULL && sqlite3_extended_errcode(journal->database) == code) {
		reason = sqlite3_errmsg(journal->database);
		system = errno_of_database(journal->database);
	}
	int class = code & 0xff;
	bool touches_files = class == SQLITE_IOERR || class == SQLITE_CANTOPEN;
	if (class == SQLITE_FULL || (touches_files && is_out_of_space(system)))
		return no_space(journal, doing, error);
	if (class == SQLITE_READONLY || class == SQLITE_PERM || class == SQLITE_AUTH || class == SQLITE_CANTOPEN ||
	    (touches_files && is_forbidden(system)))
		return no_permission(journal, doing, touches_files && system != 0 ? strerror(system) : reason, error);
	if (class == SQLITE_CORRUPT || class == SQLITE_NOTADB || class == SQLITE_FORMAT)
		return journal_damaged(journal, error, "the journal %s is damaged: %s", journal->path, reason);

	error_set(error, ERROR_JOURNAL, "cannot %s the journal %s: %s", doing, journal->path, reason);
	if (class == SQLITE_BUSY || class == SQLITE_LOCKED)
		return error_hint(error, "another process holds the journal; see who with: fuser %s", journal->path);
	if (class == SQLITE_IOERR)
		return error_hint(error, "look for errors of the disk in the kernel's log (dmesg)");
	return error_hint(error, "see what is in it with: sqlite3 -readonly %s", journal->path);
}

/* ---- statements ---- */

static struct statement *
find_free(struct journal *journal, const char *sql)
{
	for (struct statement *statement = journal->statements; statement != NULL; statement = statement->next)
		if (!statement->in_use && strcmp(statement->sql, sql) == 0)
			return statement;
	return NULL;
}

static int
prepare(struct journal *journal, const char *sql, struct statement **ret_statement, struct error *error)
{
	sqlite3_stmt *handle;
	int code = sqlite3_prepare_v3(journal->database, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, NULL);
	if (code != SQLITE_OK)
		return journal_error(journal, code, "read", error);
	struct statement *statement = xmalloc(sizeof(*statement));
	*statement = (struct statement){
	    .next = journal->statements,
	    .sql = xstrdup(sql),
	    .handle = handle,
	};
	journal->statements = statement;
	*ret_statement = statement;
	return 0;
}

static int
bind_value(sqlite3_stmt *handle, int position, const struct value *value)
{
	switch (value->type) {
	case VALUE_INTEGER:
		return sqlite3_bind_int64(handle, position, value->integer);
	case VALUE_TEXT:
		return sqlite3_bind_text(handle, position, value->bytes, -1, SQLITE_STATIC);
	case VALUE_BLOB:
		return sqlite3_bind_blob64(handle, position, value->bytes, value->length, SQLITE_STATIC);
	}
	return SQLITE_MISUSE;
}

int
journal_query(struct journal *journal, const char *sql, const struct value *values, size_t count,
    struct statement **ret_statement, struct error *error)
{
	struct statement *statement = find_free(journal, sql);
	if (statement == NULL && prepare(journal, sql, &statement, error) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		int code = bind_value(statement->handle, (int)i + 1, &values[i]);
		if (code != SQLITE_OK)
			return journal_error(journal, code, "use", error);
	}
	statement->in_use = true;
	*ret_statement = statement;
	return 0;
}

int
journal_step(struct journal *journal, struct statement *statement, struct error *error)
{
	int code = sqlite3_step(statement->handle);
	if (code == SQLITE_ROW)
		return 1;
	if (code == SQLITE_DONE)
		return 0;
	return journal_error(journal, code, sqlite3_stmt_readonly(statement->handle) ? "read" : "write", error);
}

void
statement_release(struct statement *statement)
{
	if (statement == NULL)
		return;
	/* The failure of the last step, if any, was reported by it. */
	sqlite3_reset(statement->handle);
	sqlite3_clear_bindings(statement->handle);
	statement->in_use = false;
}

void
journal_drop_statements(struct journal *journal)
{
	struct statement *next;
	for (struct statement *statement = journal->statements; statement != NULL; statement = next) {
		next = statement->next;
		sqlite3_finalize(statement->handle);
		free(statement->sql);
		free(statement);
	}
	journal->statements = NULL;
}

int
journal_execute(
    struct journal *journal, const char *sql, const struct value *values, size_t count, struct error *error)
{
	cleanup_statement struct statement *statement = NULL;
	if (journal_query(journal, sql, values, count, &statement, error) < 0)
		return -1;
	int more;
	do
		more = journal_step(journal, statement, error);
	while (more > 0);
	return more;
}

int
journal_integer(struct journal *journal, const char *sql, const struct value *values, size_t count,
    int64_t *ret_integer, struct error *error)
{
	cleanup_statement struct statement *statement = NULL;
	if (journal_query(journal, sql, values, count, &statement, error) < 0)
		return -1;
	int found = journal_step(journal, statement, error);
	if (found > 0)
		*ret_integer = sqlite3_column_int64(statement->handle, 0);
	return found;
}

int
journal_ids(struct journal *journal, const char *sql, const struct value *values, size_t count, int64_t **ret_ids,
    size_t *ret_count, struct error *error)
{
	cleanup_statement struct statement *statement = NULL;
	if (journal_query(journal, sql, values, count, &statement, error) < 0)
		return -1;
	cleanup_free int64_t *ids = NULL;
	size_t length = 0, room = 0;
	int more;
	while ((more = journal_step(journal, statement, error)) > 0) {
		if (length == room) {
			room = room == 0 ? 64 : 2 * room;
			ids = xreallocarray(ids, room, sizeof(*ids));
		}
		ids[length++] = sqlite3_column_int64(statement->handle, 0);
	}
	if (more < 0)
		return -1;
	*ret_ids = take_pointer(ids);
	*ret_count = length;
	return 0;
}

const char *
column_text(const struct statement *statement, int column)
{
	const unsigned char *text = sqlite3_column_text(statement->handle, column);
	return text == NULL ? "" : (const char *)text;
}

char *
column_copy(const struct statement *statement, int column)
{
	return xstrdup_null((const char *)sqlite3_column_text(statement->handle, column));
}
