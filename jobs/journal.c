/* Opening and closing the journal. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"
#include "core/file.h"
#include "core/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define BUSY_PATIENCE_MSEC 10000
#define BUSY_PAUSE_MSEC    20

/* Above this size the check of the whole file would be felt; damage then shows where it is read. */
#define QUICK_CHECK_LIMIT (INT64_C(64) << 20)

/* The WAL is cut to this size when it begins anew. */
#define WAL_SIZE_LIMIT "4194304"

/* In KiB (negative means that). A reader goes through a page once; 2 MiB of pages would only be more memory to clear.
 */
#define READER_CACHE "-256"

static struct journal *
journal_new(const char *state_directory, const struct clock *clock, bool read_only)
{
	struct journal *journal = xmalloc(sizeof(*journal));
	*journal = (struct journal){
	    .directory = xstrdup(state_directory),
	    .path = xasprintf("%s/" JOURNAL_FILE, state_directory),
	    .clock = clock,
	    .read_only = read_only,
	    .lock_descriptor = -1,
	};
	return journal;
}

void
journal_close(struct journal *journal)
{
	if (journal == NULL)
		return;
	if (journal->lock_descriptor >= 0)
		close(journal->lock_descriptor);
	journal_drop_statements(journal);
	sqlite3_close(journal->guard);
	sqlite3_close(journal->database);
	free(journal->path);
	free(journal->directory);
	free(journal);
}

const char *
journal_directory(const struct journal *journal)
{
	return journal->directory;
}

bool
journal_is_file(const struct journal *journal, const char *path)
{
	struct stat own, other;
	return stat(journal->path, &own) == 0 && lstat(path, &other) == 0 && own.st_dev == other.st_dev &&
	       own.st_ino == other.st_ino;
}

const char *
journal_identity(const struct journal *journal)
{
	return journal->identity;
}

/* The size of the main file or, with a suffix, of one beside it; 0 if there is none, -1 with an error.
 * Never by opening it: closing a descriptor of a database drops this process's POSIX locks on it. */
static int64_t
size_of(const struct journal *journal, const char *suffix, bool *ret_exists, struct error *error)
{
	cleanup_free char *path = xasprintf("%s%s", journal->path, suffix);
	struct stat status;
	if (stat(path, &status) == 0) {
		*ret_exists = true;
		return status.st_size;
	}
	if (errno == ENOENT) {
		*ret_exists = false;
		return 0;
	}
	error_set(error, errno == EACCES ? ERROR_PERMISSION : ERROR_JOURNAL, "cannot look at the journal %s: %s",
	    path, strerror(errno));
	return error_hint(error, "run as the owner of %s", journal->directory);
}

/* ---- what both ways of opening have in common ---- */

static int
remember_frames(void *context, sqlite3 *database, const char *name, int frames)
{
	(void)database;
	(void)name;
	((struct journal *)context)->wal_frames = frames;
	return SQLITE_OK;
}

/* Runs a pragma and compares what it answers. A lock held by another process is waited for here: SQLite's
 * busy handler is not asked while the journal mode changes. */
static int
pragma_answers(struct journal *journal, const char *pragma, const char *expected, struct error *error)
{
	sqlite3_stmt *handle = NULL;
	int code = SQLITE_OK;
	for (int waited = 0;; waited += BUSY_PAUSE_MSEC) {
		code = sqlite3_prepare_v2(journal->database, pragma, -1, &handle, NULL);
		if (code == SQLITE_OK)
			code = sqlite3_step(handle);
		if ((code & 0xff) != SQLITE_BUSY || waited >= BUSY_PATIENCE_MSEC)
			break;
		sqlite3_finalize(handle);
		nanosleep(&(struct timespec){.tv_nsec = BUSY_PAUSE_MSEC * 1000000}, NULL);
	}
	int result = 0;
	if (code != SQLITE_ROW && code != SQLITE_DONE) {
		result = journal_error(journal, code, "open", error);
	} else if (expected != NULL) {
		const unsigned char *text = code == SQLITE_ROW ? sqlite3_column_text(handle, 0) : NULL;
		const char *answer = text == NULL ? "" : (const char *)text;
		if (strcmp(answer, expected) != 0) {
			error_set(error, ERROR_JOURNAL, "cannot open the journal %s: %s answers '%s' instead of '%s'",
			    journal->path, pragma, answer, expected);
			result = error_hint(
			    error, "the state directory must be on a local file system with shared memory maps");
		}
	}
	sqlite3_finalize(handle);
	return result;
}

static int
open_connection(struct journal *journal, const char *name, int flags, struct error *error)
{
	int code =
	    sqlite3_open_v2(name, &journal->database, flags | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOMUTEX, NULL);
	if (code != SQLITE_OK)
		return journal_error(journal, code, "open", error);
	sqlite3_busy_timeout(journal->database, BUSY_PATIENCE_MSEC);
	sqlite3_db_config(journal->database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(journal->database, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return pragma_answers(journal, "PRAGMA cell_size_check = ON", NULL, error);
}

static int
read_identity(struct journal *journal, struct error *error)
{
	cleanup_statement struct statement *statement = NULL;
	if (journal_query(journal, "SELECT value FROM meta WHERE key = 'identity'", NO_VALUES, &statement, error) < 0)
		return -1;
	int found = journal_step(journal, statement, error);
	if (found < 0)
		return -1;
	const char *identity = found > 0 ? column_text(statement, 0) : "";
	if (strspn(identity, "0123456789abcdef") != sizeof(journal->identity) - 1 ||
	    strlen(identity) != sizeof(journal->identity) - 1)
		return journal_damaged(
		    journal, error, "the journal %s is damaged: it has lost its identity", journal->path);
	memcpy(journal->identity, identity, sizeof(journal->identity));
	return 0;
}

/* ---- for writing ---- */

static int
quick_check(struct journal *journal, int64_t size, struct error *error)
{
	if (size >= QUICK_CHECK_LIMIT)
		return 0;
	cleanup_statement struct statement *statement = NULL;
	if (journal_query(journal, "PRAGMA quick_check(1)", NO_VALUES, &statement, error) < 0)
		return -1;
	int found = journal_step(journal, statement, error);
	if (found < 0)
		return -1;
	const char *finding = found > 0 ? column_text(statement, 0) : "no answer";
	if (strcmp(finding, "ok") == 0)
		return 0;
	return journal_damaged(journal, error, "the journal %s is damaged: %s", journal->path, finding);
}

/* The journal's directory entry has to be as durable as what is written into it. */
static int
sync_directory(const struct journal *journal, struct error *error)
{
	cleanup_close int descriptor = open(journal->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (descriptor >= 0 && fsync(descriptor) == 0)
		return 0;
	return error_set(error, ERROR_JOURNAL, "cannot write the directory %s to the disk: %s", journal->directory,
	    strerror(errno));
}

static int
open_for_writing(struct journal *journal, struct error *error)
{
	bool exists;
	int64_t size = size_of(journal, "", &exists, error);
	if (size < 0 || (size == 0 && journal_check_orphan(journal, error) < 0))
		return -1;
	/* An old file may have been copied in with other rights; -wal and -shm get theirs from it. */
	if (exists && chmod(journal->path, 0600) < 0 && errno != EROFS) {
		error_set(error, ERROR_PERMISSION, "cannot set the mode of the journal %s: %s", journal->path,
		    strerror(errno));
		return error_hint(error, "chown %u %s", (unsigned)geteuid(), journal->path);
	}
	if (open_connection(journal, journal->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, error) < 0)
		return -1;
	/* Whose it is comes before the first change. */
	int64_t version;
	if (journal_version(journal, &version, error) < 0)
		return -1;
	if (version > journal_migrations.count)
		return journal_newer(journal, version, journal_migrations.count, error);
	/* SQLite opens a file that it may not write for reading, without a word. */
	if (sqlite3_db_readonly(journal->database, "main") == 1)
		return journal_error(journal, SQLITE_READONLY, "write", error);

	/* -wal and -shm stay when the last process closes, so that a reader never has to make them. */
	int persist = 1;
	sqlite3_file_control(journal->database, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
	if (pragma_answers(journal, "PRAGMA journal_mode = WAL", "wal", error) < 0 ||
	    pragma_answers(journal, "PRAGMA synchronous = FULL", NULL, error) < 0 ||
	    pragma_answers(journal, "PRAGMA synchronous", "2", error) < 0 ||
	    pragma_answers(journal, "PRAGMA foreign_keys = ON", NULL, error) < 0 ||
	    pragma_answers(journal, "PRAGMA foreign_keys", "1", error) < 0 ||
	    pragma_answers(journal, "PRAGMA journal_size_limit = " WAL_SIZE_LIMIT, WAL_SIZE_LIMIT, error) < 0)
		return -1;
	/* Takes the place of SQLite's own automatic checkpoint; see fold_wal. */
	sqlite3_wal_hook(journal->database, remember_frames, journal);

	if ((version > 0 && quick_check(journal, size, error) < 0) ||
	    journal_migrate(journal, &journal_migrations, error) < 0)
		return -1;
	if (version == 0 && sync_directory(journal, error) < 0)
		return -1;
	return read_identity(journal, error);
}

int
journal_open(
    const char *state_directory, const struct clock *clock, struct journal **ret_journal, struct error *error)
{
	if (directory_make_private(state_directory, error) < 0)
		return -1;
	struct journal *journal = journal_new(state_directory, clock, false);
	mode_t mask = umask(0077);
	int result = open_for_writing(journal, error);
	umask(mask);
	if (result < 0) {
		journal_close(journal);
		return -1;
	}
	*ret_journal = journal;
	return 0;
}

int
journal_check_writable(struct journal *journal, struct error *error)
{
	if (journal_begin(journal, error) < 0)
		return -1;
	/* As much as a whole job writes; random, so that no file system compresses it away. */
	int result = journal_execute(journal,
	    "INSERT INTO probe (id, filler) VALUES (1, randomblob(65536))"
	    " ON CONFLICT (id) DO UPDATE SET filler = excluded.filler",
	    NO_VALUES, error);
	return journal_end(journal, result, error);
}

/* ---- for reading ---- */

/* file:/path?immutable=1 with everything escaped that means something in a URI. */
static char *
immutable_uri(const char *path)
{
	struct text uri = {.string = NULL};
	text_add(&uri, "file:");
	for (const char *byte = path; *byte != '\0'; byte++) {
		if (isalnum((unsigned char)*byte) || strchr("/-._~", *byte) != NULL)
			text_add_bytes(&uri, byte, 1);
		else
			text_printf(&uri, "%%%02X", (unsigned)(unsigned char)*byte);
	}
	text_add(&uri, "?immutable=1");
	return text_take(&uri);
}

/* A reader of a WAL database needs -wal and -shm. Our own writers leave both behind for it. Where they are
 * gone (a copy of the main file alone) everything is in the main file and it is read as it is, so that
 * nothing has to be made. With a WAL that has content but no -shm (a copy of two files) SQLite has to make
 * the latter. */
static int
connect_reader(struct journal *journal, struct error *error)
{
	bool has_wal, has_index;
	int64_t wal = size_of(journal, "-wal", &has_wal, error);
	if (wal < 0 || size_of(journal, "-shm", &has_index, error) < 0)
		return -1;
	if (has_wal && (wal > 0 || has_index))
		return open_connection(journal, journal->path, SQLITE_OPEN_READONLY, error);
	cleanup_free char *uri = immutable_uri(journal->path);
	return open_connection(journal, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, error);
}

/* 1: it is open; 0: there is nothing in it yet; -1. */
static int
open_for_reading(struct journal *journal, struct error *error)
{
	bool exists;
	int64_t size = size_of(journal, "", &exists, error);
	if (size < 0)
		return -1;
	if (size == 0)
		return journal_check_orphan(journal, error);
	int64_t version;
	if (connect_reader(journal, error) < 0 ||
	    pragma_answers(journal, "PRAGMA cache_size = " READER_CACHE, NULL, error) < 0 ||
	    journal_version(journal, &version, error) < 0)
		return -1;
	if (version == 0)
		return 0;
	if (version > journal_migrations.count)
		return journal_newer(journal, version, journal_migrations.count, error);
	if (version < journal_migrations.count) {
		error_set(
		    error, ERROR_JOURNAL, "the journal %s was written by an older atelier-backup", journal->path);
		return error_hint(error, "a command that writes brings it up to date: atelier-backup recover");
	}
	return read_identity(journal, error) < 0 ? -1 : 1;
}

int
journal_open_readonly(
    const char *state_directory, const struct clock *clock, struct journal **ret_journal, struct error *error)
{
	struct journal *journal = journal_new(state_directory, clock, true);
	int found = open_for_reading(journal, error);
	if (found <= 0) {
		journal_close(journal);
		if (found == 0)
			*ret_journal = NULL;
		return found;
	}
	*ret_journal = journal;
	return 0;
}
