/* Bad data of every sort, and what a backup of it comes to. Nothing of this is ever called complete; what is good all
 * the same is among the cases too, so that "failed" is no answer to everything. docs/bad-data.md is this table. */
#include "tests/integration/cli/repository_world.h"

#include <sqlite3.h>

#define OWNER 4321
#define PAGE  4096

/* ---- how data goes bad ---- */

static void
run_sql(const char *path, const char *sql)
{
	sqlite3 *database;
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(database), SQLITE_OK);
}

/* Some hundred pages, with an index. */
#define FILLED                                                                                                       \
	"CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); CREATE INDEX i ON t(b);"                                     \
	"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000)"                             \
	" INSERT INTO t SELECT x, hex(randomblob(100)) FROM n;"

static void
make_good(const char *path)
{
	run_sql(path, FILLED);
}

static void
make_missing(const char *path)
{
	(void)path;
}

static void
make_directory(const char *path)
{
	assert_int_equal(mkdir(path, 0700), 0);
}

static void
overwrite(const char *path, off_t offset, const void *bytes, size_t length)
{
	cleanup_close int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(descriptor >= 0);
	assert_int_equal(pwrite(descriptor, bytes, length, offset), (ssize_t)length);
}

static void
make_empty(const char *path)
{
	overwrite(path, 0, "", 0);
}

static void
make_noise(const char *path)
{
	unsigned char noise[3 * PAGE];
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (unsigned char)(i * 2654435761U >> 13);
	overwrite(path, 0, noise, sizeof(noise));
}

static void
make_truncated(const char *path)
{
	make_good(path);
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(truncate(path, status.st_size / 2 / PAGE * PAGE), 0);
}

/* A page in the middle that was never written. */
static void
make_torn(const char *path)
{
	static const unsigned char zeros[PAGE];
	make_good(path);
	overwrite(path, 20 * PAGE, zeros, sizeof(zeros));
}

static void
make_future(const char *path)
{
	make_good(path);
	overwrite(path, 18, "\7\7", 2);
}

static void
make_symlink(const char *path)
{
	cleanup_free char *elsewhere = xasprintf("%s.real", path);
	make_good(elsewhere);
	assert_int_equal(symlink(elsewhere, path), 0);
}

static void
make_second_name(const char *path)
{
	cleanup_free char *other = xasprintf("%s.second", path);
	make_good(path);
	assert_int_equal(link(path, other), 0);
}

/* Its service was killed: what it had committed is in the WAL, or a transaction stands half in the database. */
static void
leave_by_kill(const char *path, const char *sql)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		sqlite3 *database;
		if (sqlite3_open(path, &database) != SQLITE_OK ||
		    sqlite3_exec(database, sql, NULL, NULL, NULL) != SQLITE_OK)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
}

static void
make_left_wal(const char *path)
{
	leave_by_kill(path, "PRAGMA journal_mode = WAL;" FILLED);
}

static void
make_hot(const char *path)
{
	make_good(path);
	leave_by_kill(
	    path, "PRAGMA cache_size = 5; PRAGMA cache_spill = 1; BEGIN; UPDATE t SET b = hex(randomblob(100));");
}

static void
give_away(const char *path)
{
	assert_int_equal(chown(path, OWNER, OWNER), 0);
}

static void
make_foreign(const char *path)
{
	make_left_wal(path);
	cleanup_free char *wal = xasprintf("%s-wal", path);
	cleanup_free char *shm = xasprintf("%s-shm", path);
	give_away(path);
	give_away(wal);
	give_away(shm);
}

static void
make_closed(const char *path)
{
	make_good(path);
	give_away(path);
	assert_int_equal(chmod(path, 0), 0);
}

/* Somebody has looked into it as root, and was killed. */
static void
make_side_file_of_root(const char *path)
{
	make_left_wal(path);
	cleanup_free char *wal = xasprintf("%s-wal", path);
	assert_int_equal(chmod(wal, 0600), 0);
	give_away(path);
}

/* ---- the cases ---- */

struct bad_data {
	const char *words;
	void (*make)(const char *path);
	const char *stopped, *live; /* what is wrong; NULL: it is complete */
};

static const struct bad_data cases[] = {
    {"a good database", make_good, NULL, NULL},
    {"left by a killed service, with a WAL", make_left_wal, NULL, NULL},
    {"the same, of another user", make_foreign, NULL, NULL},
    {"left in the middle of a transaction (hot journal)", make_hot, NULL, NULL},
    {"missing", make_missing, "database-missing", "database-missing"},
    {"a directory", make_directory, "database-unsupported", "database-unsupported"},
    {"without a byte", make_empty, "database-empty", "database-empty"},
    {"noise, or encrypted", make_noise, "database-unsupported", "database-unsupported"},
    {"cut off", make_truncated, "database-damaged", "database-damaged"},
    {"a page in the middle was never written", make_torn, "database-damaged", "database-damaged"},
    {"of a version to come", make_future, "database-unsupported", "database-unsupported"},
    {"a symbolic link", make_symlink, "database-unsupported", "database-unsupported"},
    {"with a second name", make_second_name, "database-unsupported", "database-unsupported"},
    {"closed to its own owner", make_closed, "permission", "permission"},
    {"with a WAL that belongs to root", make_side_file_of_root, "permission", "permission"},
};

static void
write_case_manifest(const struct world *world, bool live)
{
	cleanup_free char *services =
	    xasprintf("\"web\": {\"data\": {\"sqlite\": \"%s/case/app.db\"}, %s}", world->directory,
		live ? "\"stopForBackup\": false"
		     : "\"stopUnits\": [], \"preBackup\": \"true\", \"postBackup\": \"true\"");
	write_manifest(world, ONE_ATTEMPT, services);
}

static void
check_case(struct world *world, const struct bad_data *bad, bool live)
{
	cleanup_free char *directory = world_path(world, "case");
	cleanup_free char *database = world_path(world, "case/app.db");
	cleanup_free char *command = xasprintf("rm -rf %s", directory);
	const char *code = live ? bad->live : bad->stopped;
	assert_int_equal(system(command), 0);
	assert_int_equal(mkdir(directory, 0777), 0);
	assert_int_equal(chmod(directory, 0777), 0);
	world_write(world, "case/other", "so that the directory is never empty");
	bad->make(database);
	bool there = access(database, F_OK) == 0;
	world_run(world, "backup web");
	json_t *shown = show_newest(world, "web");
	const char *outcome = job_text(shown, "outcome");
	const json_t *error = json_object_get(json_object_get(shown, "job"), "error");
	const char *found = json_string_value(json_object_get(error, "code"));
	const char *expected = code == NULL ? "complete" : strcmp(code, "database-empty") == 0 ? "partial" : "failed";
	bool right = strcmp(outcome, expected) == 0 &&
		     (code == NULL ? found == NULL : found != NULL && strcmp(found, code) == 0);
	if (!right)
		fail_msg("%s, %s: %s, %s\n%s", bad->words, live ? "live" : "stopped", outcome,
		    found != NULL ? found : "no error", world->err);
	json_decref(shown);
	/* Never a new empty database. */
	assert_int_equal(access(database, F_OK) == 0, there);
	assert_false(world_has(world, "state/staging"));
}

static void
check_cases(struct world *world, bool live)
{
	world_chmod(world, "", 0711);
	write_case_manifest(world, live);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
		check_case(world, &cases[i], live);
}

static void
no_bad_database_is_called_complete(void **state)
{
	check_cases(*state, false);
}

static void
no_bad_live_database_is_called_complete(void **state)
{
	check_cases(*state, true);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    repository_test(no_bad_database_is_called_complete),
	    repository_test(no_bad_live_database_is_called_complete),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
