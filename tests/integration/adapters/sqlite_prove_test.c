/* quick_check of databases at rest, in use, damaged, and of kinds that only their service understands. */
#include "tests/integration/adapters/sqlite_fixture.h"

#include <dirent.h>

static void
test_a_database_at_rest_is_proven_without_a_trace(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, WAL_MODE TABLE ROWS("3000"));
	/* A directory in which nothing can be made: any -wal or -shm would be refused. */
	assert_int_equal(chmod(fixture->directory, 0500), 0);
	struct stat before, after;
	assert_int_equal(stat(fixture->directory, &before), 0);
	cleanup_outcome struct outcome outcome = {0};
	prove_path(fixture, fixture->path, &outcome);
	assert_int_equal(stat(fixture->directory, &after), 0);
	assert_int_equal(chmod(fixture->directory, 0700), 0);
	assert_good(&outcome);
	assert_string_equal(outcome.result.journal_mode, "wal");
	assert_true(outcome.result.bytes > 0);
	assert_int_equal(outcome.result.pages * 4096, outcome.result.bytes);
	assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
	assert_no_side_files(fixture);
}

static void
test_a_flipped_page_is_found(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE ROWS("5000"));
	unsigned char page[4096];
	memset(page, 0xaa, sizeof(page));
	write_at(fixture->path, 20 * (off_t)sizeof(page), page, sizeof(page));
	cleanup_outcome struct outcome outcome = {0};
	prove_path(fixture, fixture->path, &outcome);
	assert_code(&outcome.result.error, ERROR_DATABASE_DAMAGED, fixture->path);
	assert_non_null(outcome.result.error.hint);
	/* The fold reads the header only, which is good: telling is the proof's work. */
	cleanup_outcome struct outcome folded = {0};
	fold_path(fixture, fixture->path, &folded);
	assert_good(&folded);
}

static void
test_a_leftover_wal_is_proven_with_the_database(void **state)
{
	struct fixture *fixture = *state;
	leave_with(fixture, WAL_MODE "PRAGMA wal_autocheckpoint=0;" TABLE ROWS("5000"));
	cleanup_outcome struct outcome outcome = {0};
	prove_path(fixture, fixture->path, &outcome);
	assert_good(&outcome);
	make_with(fixture, "INSERT INTO t VALUES(6000,'after');");
}

static void
test_an_exclusive_holder_is_told(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE ROWS("10"));
	pid_t holder = hold_with(fixture, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM t;");
	cleanup_outcome struct outcome outcome = {0};
	prove_path(fixture, fixture->path, &outcome);
	kill_and_reap(holder);
	assert_code(&outcome.result.error, ERROR_DATABASE_HELD, NULL);
}

/* A writer that gives up at the first SQLITE_BUSY: it commits as fast as it can and says how often on the
 * pipe. */
static pid_t
start_impatient_writer(const struct fixture *fixture, int *ret_commits)
{
	int commits[2];
	assert_int_equal(pipe(commits), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		sqlite3 *database;
		close(commits[0]);
		prctl(PR_SET_NAME, WRITER_NAME);
		become_service();
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (sqlite3_open(fixture->path, &database) != SQLITE_OK)
			_exit(7);
		must(database, "PRAGMA wal_autocheckpoint=20; PRAGMA synchronous=OFF;");
		for (;;) {
			must(database, "INSERT INTO t(words) VALUES(hex(randomblob(500)));");
			if (write(commits[1], "c", 1) != 1)
				_exit(0);
			nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
		}
	}
	close(commits[1]);
	*ret_commits = commits[0];
	return pid;
}

/* Reads what has been written to the pipe until now; blocks only for the first byte. */
static size_t
drain(int descriptor)
{
	char bytes[65536];
	ssize_t count = read(descriptor, bytes, sizeof(bytes));
	assert_true(count >= 0);
	return (size_t)count;
}

static void
test_a_live_writer_is_not_disturbed(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, WAL_MODE TABLE ROWS("20000"));
	cleanup_close int commits = -1;
	pid_t writer = start_impatient_writer(fixture, &commits);
	for (int round = 0; round < 5; round++) {
		/* It writes before, meanwhile and after. */
		assert_int_not_equal(drain(commits), 0);
		cleanup_outcome struct outcome outcome = {0};
		prove_path(fixture, fixture->path, &outcome);
		assert_good(&outcome);
		assert_true(drain(commits) > 1);
	}
	assert_int_not_equal(drain(commits), 0);
	int status;
	assert_int_equal(waitpid(writer, &status, WNOHANG), 0);
	kill_and_reap(writer);
	cleanup_outcome struct outcome folded = {0};
	fold_path(fixture, fixture->path, &folded);
	assert_good(&folded);
	assert_int_equal(ask_copy(fixture, "SELECT count(*) FROM pragma_quick_check WHERE quick_check='ok'"), 1);
}

static void
answer_one(sqlite3_context *context, int count, sqlite3_value **values)
{
	(void)count, (void)values;
	sqlite3_result_int(context, 1);
}

static int
compare_backwards(void *context, int left_length, const void *left, int right_length, const void *right)
{
	(void)context;
	int common = left_length < right_length ? left_length : right_length;
	int order = memcmp(right, left, (size_t)common);
	return order != 0 ? order : right_length - left_length;
}

/* A schema with all that can be a service's own: collation, functions, in each place where SQLite accepts
 * them. */
static void
make_with_own_words(const struct fixture *fixture)
{
	sqlite3 *database;
	assert_int_equal(sqlite3_open(fixture->path, &database), SQLITE_OK);
	sqlite3_create_function(
	    database, "house_rule", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, answer_one, NULL, NULL);
	sqlite3_create_function(
	    database, "other_rule", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, answer_one, NULL, NULL);
	sqlite3_create_collation(database, "backwards", SQLITE_UTF8, NULL, compare_backwards);
	must(database,
	    "CREATE TABLE t(a TEXT COLLATE backwards, b CHECK(house_rule(b)), c NOT NULL AS (other_rule(a)));"
	    "CREATE INDEX by_a ON t(a); CREATE INDEX by_rule ON t(house_rule(a));"
	    "CREATE INDEX part ON t(b) WHERE other_rule(b)=1;"
	    "CREATE TABLE p(k TEXT COLLATE backwards PRIMARY KEY, v) WITHOUT ROWID;"
	    "INSERT INTO t(a,b) VALUES('x',1),('y',2); INSERT INTO p VALUES('a',1),('b',2),('c',3);"
	    "CREATE TABLE filler(x); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE "
	    "n<2000) INSERT INTO filler SELECT randomblob(300) FROM c;");
	assert_int_equal(sqlite3_close(database), SQLITE_OK);
	assert_int_equal(chown(fixture->path, SERVICE_UID, SERVICE_GID), 0);
}

static void
test_a_schema_with_the_services_own_functions_is_proven(void **state)
{
	struct fixture *fixture = *state;
	make_with_own_words(fixture);
	cleanup_outcome struct outcome outcome = {0};
	prove_path(fixture, fixture->path, &outcome);
	assert_good(&outcome);
}

static void
test_damage_is_found_in_spite_of_stand_ins(void **state)
{
	struct fixture *fixture = *state;
	make_with_own_words(fixture);
	static const char noise[64] = "page header that is none";
	write_at(fixture->path, 40 * 4096, noise, sizeof(noise));
	cleanup_outcome struct outcome outcome = {0};
	prove_path(fixture, fixture->path, &outcome);
	assert_code(&outcome.result.error, ERROR_DATABASE_DAMAGED, NULL);
}

/* Without stand-ins, what quick_check says of values counts as well. */
static void
test_values_that_break_the_schema_are_found(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, "CREATE TABLE t(a); INSERT INTO t VALUES(NULL); PRAGMA writable_schema=ON;"
			   "UPDATE sqlite_schema SET sql='CREATE TABLE t(a NOT NULL)';");
	cleanup_outcome struct outcome outcome = {0};
	prove_path(fixture, fixture->path, &outcome);
	assert_code(&outcome.result.error, ERROR_DATABASE_DAMAGED, "NULL value in t.a");
}

/* The path becomes part of a URI. */
static void
test_a_strange_name_is_proven(void **state)
{
	struct fixture *fixture = *state;
	free(fixture->path);
	fixture->path = xasprintf("%s/50%%20 of? me#1&mode=rwc \xc3\xa4.db", fixture->directory);
	make_with(fixture, TABLE ROWS("10"));
	cleanup_outcome struct outcome outcome = {0};
	prove_path(fixture, fixture->path, &outcome);
	assert_good(&outcome);
	struct stat status;
	assert_int_equal(stat(fixture->path, &status), 0);
	assert_int_equal(outcome.result.bytes, status.st_size);
	DIR *directory = opendir(fixture->directory);
	assert_non_null(directory);
	size_t entries = 0;
	while (readdir(directory) != NULL)
		entries++;
	closedir(directory);
	assert_int_equal(entries, 3);
}

static void
test_a_stranger_may_not_open_the_database(void **state)
{
	struct fixture *fixture = *state;
	if (geteuid() != 0) {
		print_message("needs root to become a stranger\n");
		skip();
	}
	make_with(fixture, TABLE);
	assert_int_equal(chmod(fixture->directory, 0777), 0);
	assert_int_equal(chmod(fixture->path, 0666), 0);
	char self[4096] = "";
	assert_true(readlink(HELPER, self, sizeof(self) - 1) > 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char *arguments[] = {(char[]){"sqlite-helper"}, (char[]){"prove"}, fixture->path, NULL};
		cleanup_free char *answer = xasprintf("%s/answer", fixture->directory);
		if (setgroups(0, NULL) != 0 || setgid(4343) != 0 || setuid(4343) != 0 ||
		    freopen(answer, "w", stdout) == NULL)
			_exit(9);
		_exit(sqlite_helper_main(3, arguments));
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 1);
	cleanup_free char *command = xasprintf("grep -q '\"code\":\"permission\"' '%s/answer'", fixture->directory);
	assert_int_equal(system(command), 0);
	assert_no_side_files(fixture);
}

static void
begin_proof(struct event_base *base, const struct fixture *fixture)
{
	sqlite_prove_start(base, HELPER, fixture->path, forget_outcome, NULL, NULL);
}

static void
test_the_helper_dies_with_its_runner(void **state)
{
	expect_helper_dies_with_runner(*state, begin_proof);
}

int
main(int argument_count, char **arguments)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(test_a_database_at_rest_is_proven_without_a_trace),
	    TEST(test_a_flipped_page_is_found),
	    TEST(test_a_leftover_wal_is_proven_with_the_database),
	    TEST(test_an_exclusive_holder_is_told),
	    TEST(test_a_live_writer_is_not_disturbed),
	    TEST(test_a_schema_with_the_services_own_functions_is_proven),
	    TEST(test_damage_is_found_in_spite_of_stand_ins),
	    TEST(test_values_that_break_the_schema_are_found),
	    TEST(test_a_strange_name_is_proven),
	    TEST(test_a_stranger_may_not_open_the_database),
	    TEST(test_the_helper_dies_with_its_runner),
#undef TEST
	};
	return sqlite_fixture_main(argument_count, arguments, tests, ARRAY_LENGTH(tests));
}
