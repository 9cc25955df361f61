/* A copy of a database that is in use, by the online backup API.
 *
 * One read transaction of ours spans it: without one, each commit of another process makes the copy begin again, and
 * beside a busy service it is never done. A writer with a WAL goes on meanwhile (and its WAL grows); one with a
 * rollback journal waits.
 *
 * What our opening does beside the database, all of it as its owner:
 *   rollback journal     Nothing: a reader makes no file. A hot journal of a killed service is rolled back, as by any
 *                        reader.
 *   WAL, in use          Nothing: -wal and -shm are there, and they stay.
 *   WAL, at rest         An empty -wal and a -shm are made, and deleted at our close, which SQLite does under an
 *                        exclusive lock and only for the last one to close.
 *   WAL, left by a       It stays as it is; there may be a new -shm. What the last one to close would do, folding it
 *   killed service       in, is switched off: a live database is never checkpointed from our process. */
#include "adapters/sqlite_internal.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* For a lock of somebody who commits; who keeps it for longer keeps it. */
#define PATIENCE (5 * USEC_PER_SEC)

#define PAGES_AT_ONCE     256
#define PROGRESS_INTERVAL (250 * USEC_PER_MSEC)
#define BUSY_WAIT_NSEC    10000000
#define DIGEST_CHUNK      ((size_t)1 << 20)

/* https://sqlite.org/fileformat2.html: write and read version, 1 for a rollback journal. */
#define VERSIONS_PLACE 18
static const unsigned char rollback_versions[2] = {1, 1};

/* ---- the target ---- */

static int
target_error(const char *target, int number, struct error *error)
{
	if (number == ENOSPC || number == EDQUOT)
		return error_set(error, ERROR_NO_SPACE, "no space left for the copy %s", target);
	return error_set(error, number == EACCES || number == EPERM ? ERROR_PERMISSION : ERROR_SYSTEM,
	    "cannot write the copy %s: %s", target, strerror(number));
}

static int
make_alike(int descriptor, const struct stat *database)
{
	struct stat status;
	if (fstat(descriptor, &status) != 0)
		return -1;
	errno = EEXIST;
	if (!S_ISREG(status.st_mode) || status.st_size != 0 || status.st_uid != geteuid() || status.st_nlink != 1)
		return -1;
	/* The mode last: a change of the owner takes away from it. */
	if (fchown(descriptor, database->st_uid, database->st_gid) != 0)
		return -1;
	return fchmod(descriptor, database->st_mode & 0777);
}

int
sqlite_copy_open(const char *path, const char *target, int *ret_descriptor, struct error *error)
{
	struct stat status;
	cleanup_close int descriptor = open(target, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	/* sqlite_look finds the words for what is wrong with the database. */
	if (descriptor < 0 || (lstat(path, &status) == 0 && make_alike(descriptor, &status) != 0))
		return target_error(target, errno, error);
	*ret_descriptor = descriptor;
	descriptor = -1;
	return 0;
}

/* ---- the source ---- */

struct source {
	sqlite3 *database;
	const char *path;
	uint64_t pages;
};

static void
source_close(struct source *source)
{
	/* Without frames there is nothing to fold in, and the two files go that our opening has made. */
	if (source->database != NULL)
		sqlite3_db_config(source->database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,
		    (int)sqlite_has_wal_frames(source->path), NULL);
	sqlite_connection_close(&source->database);
	source->database = NULL;
}

#define cleanup_source __attribute__((cleanup(source_close)))

/* Opens it and begins the read transaction. */
static int
source_open(struct source *source, struct error *error)
{
	static const char *const statements[] = {
	    "PRAGMA query_only = ON",
	    "BEGIN",
	    "SELECT count(*) FROM sqlite_schema",
	};
	const char *path = source->path;
	if (sqlite_connection_open(path, SQLITE_OPEN_READWRITE, path, &source->database, error) != 0)
		return -1;
	sqlite3_db_config(source->database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite_connection_be_patient(source->database, PATIENCE / USEC_PER_MSEC);
	for (size_t i = 0; i < ARRAY_LENGTH(statements); i++)
		if (sqlite_connection_ask(source->database, statements[i], path, NULL, error) != 0)
			return -1;
	cleanup_free char *row = NULL;
	if (sqlite_connection_ask(source->database, "PRAGMA page_count", path, &row, error) != 0)
		return -1;
	source->pages = strtoull(row, NULL, 10);
	return 0;
}

/* ---- from one to the other ---- */

struct copying {
	sqlite3_backup *backup;
	int64_t told;  /* when progress was told; monotonic */
	int64_t until; /* when waiting has an end; 0: nobody has waited */
};

static void
tell_progress(struct copying *copying)
{
	int64_t now = clock_monotonic(clock_system());
	int total = sqlite3_backup_pagecount(copying->backup), left = sqlite3_backup_remaining(copying->backup);
	if (copying->told != 0 && now - copying->told < PROGRESS_INTERVAL)
		return;
	copying->told = now;
	printf("{\"done\":%d,\"total\":%d}\n", total - left, total);
	fflush(stdout);
}

/* Waits for a lock, which our read transaction makes improbable. Returns false when it has waited long enough. */
static bool
wait_for_lock(struct copying *copying)
{
	int64_t now = clock_monotonic(clock_system());
	if (copying->until == 0)
		copying->until = now + PATIENCE;
	nanosleep(&(struct timespec){.tv_nsec = BUSY_WAIT_NSEC}, NULL);
	return now < copying->until;
}

static bool
is_locked(int code)
{
	return (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED;
}

/* To the end, or to SQLite's code of what went wrong. A copy that begins again, for which our read transaction leaves
 * no reason, counts as busy. */
static int
step_to_end(struct copying *copying)
{
	int left = INT32_MAX;
	for (;;) {
		int code = sqlite3_backup_step(copying->backup, PAGES_AT_ONCE);
		if (code == SQLITE_DONE)
			return SQLITE_OK;
		if (is_locked(code) && wait_for_lock(copying))
			continue;
		if (code != SQLITE_OK)
			return code;
		if (sqlite3_backup_remaining(copying->backup) >= left)
			return SQLITE_BUSY;
		left = sqlite3_backup_remaining(copying->backup);
		tell_progress(copying);
	}
}

static int
copy_error(sqlite3 *source, int code, const char *path, const char *target, struct error *error)
{
	if (sqlite_descriptor_failure() != 0)
		return target_error(target, sqlite_descriptor_failure(), error);
	return sqlite_connection_error(source, code, path, error);
}

/* Its journal would have nothing in it, for there was nothing before; its syncs are done once, at the end. */
static int
copy_pages(const struct source *source, const char *target, struct error *error)
{
	static const char *const statements[] = {"PRAGMA journal_mode = MEMORY", "PRAGMA synchronous = OFF"};
	cleanup_sqlite sqlite3 *copy = NULL;
	if (sqlite_connection_open(
		SQLITE_DESCRIPTOR_NAME, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, target, &copy, error) != 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LENGTH(statements); i++)
		if (sqlite_connection_ask(copy, statements[i], target, NULL, error) != 0)
			return -1;
	struct copying copying = {.backup = sqlite3_backup_init(copy, "main", source->database, "main")};
	if (copying.backup == NULL)
		return sqlite_connection_error(copy, sqlite3_extended_errcode(copy), target, error);
	int code = step_to_end(&copying);
	int finished = sqlite3_backup_finish(copying.backup);
	if (code == SQLITE_OK)
		code = finished;
	return code == SQLITE_OK ? 0 : copy_error(source->database, code, source->path, target, error);
}

/* An empty file is an empty database, and stays one: SQLite would make a page of it. */
static int
copy_whole(const char *path, const char *target, uint64_t *ret_pages, struct error *error)
{
	cleanup_source struct source source = {.path = path};
	if (source_open(&source, error) != 0)
		return -1;
	if (source.pages > 0 && copy_pages(&source, target, error) != 0)
		return -1;
	*ret_pages = source.pages;
	return 0;
}

/* ---- the copy ---- */

/* Its header says WAL if the source's does, but there is none: everything is in the one file. */
static int
finish_file(const char *target, int descriptor, uint64_t pages, struct error *error)
{
	const size_t length = sizeof(rollback_versions);
	if (pages > 0 && pwrite(descriptor, rollback_versions, length, VERSIONS_PLACE) != (ssize_t)length)
		return target_error(target, errno, error);
	return fsync(descriptor) == 0 ? 0 : target_error(target, errno, error);
}

static int
digest_file(const char *target, int descriptor, char **ret_sha256, struct error *error)
{
	cleanup_free char *chunk = xmalloc(DIGEST_CHUNK);
	struct digest digest;
	ssize_t count;
	off_t place = 0;
	digest_begin(&digest);
	while ((count = pread(descriptor, chunk, DIGEST_CHUNK, place)) > 0) {
		digest_add(&digest, chunk, (size_t)count);
		place += count;
	}
	if (count < 0)
		return error_set(error, ERROR_SYSTEM, "cannot read the copy %s: %s", target, strerror(errno));
	*ret_sha256 = digest_end(&digest);
	return 0;
}

int
sqlite_copy(const char *path, const char *target, int descriptor, struct sqlite_result *result, struct error *error)
{
	struct sqlite_look look;
	struct sqlite_result measured = {.bytes = 0};
	uint64_t pages = 0, bytes = 0;
	cleanup_free char *sha256 = NULL;
	if (sqlite_look(path, &look, error) != 0 || sqlite_descriptor_register(descriptor, error) != 0 ||
	    copy_whole(path, target, &pages, error) != 0 || finish_file(target, descriptor, pages, error) != 0 ||
	    sqlite_look_at_copy(path, descriptor, pages, &bytes, error) != 0 ||
	    sqlite_check(SQLITE_DESCRIPTOR_NAME, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, path, &measured, error) !=
		0 ||
	    digest_file(target, descriptor, &sha256, error) != 0)
		return -1;
	replace_string(&result->journal_mode, look.journal_mode);
	replace_string(&result->sha256, sha256);
	result->bytes = bytes;
	result->pages = pages;
	result->free_pages = measured.free_pages;
	result->tables = measured.tables;
	return 0;
}
