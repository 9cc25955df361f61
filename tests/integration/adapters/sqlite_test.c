/* Folding against real SQLite, real other processes, real kernels' idea of owners. */
#include "tests/integration/adapters/sqlite_fixture.h"

#include <sched.h>
#include <sys/mount.h>

static void
test_fold_brings_the_wal_of_a_killed_service_home(void **state)
{
	struct fixture *fixture = *state;
	leave_with(fixture, WAL_MODE "PRAGMA wal_autocheckpoint=0;" TABLE ROWS("5000"));
	assert_true(side_exists(fixture, "-wal"));
	assert_true(side_exists(fixture, "-shm"));
	cleanup_outcome struct outcome outcome = {0};
	fold_path(fixture, fixture->path, &outcome);
	assert_good(&outcome);
	assert_true(outcome.result.wal_folded);
	assert_string_equal(outcome.result.journal_mode, "wal");
	assert_no_side_files(fixture);
	struct stat status;
	assert_int_equal(stat(fixture->path, &status), 0);
	assert_int_equal(status.st_uid, SERVICE_UID);
	assert_int_equal(outcome.result.bytes, status.st_size);
	assert_int_equal(outcome.result.pages * 4096, status.st_size);
	assert_int_equal(ask_copy(fixture, "SELECT count(*) FROM t"), 5000);
	assert_int_equal(ask_copy(fixture, "SELECT count(*) FROM pragma_quick_check WHERE quick_check='ok'"), 1);
	/* The service goes on where it was. */
	make_with(fixture, "INSERT INTO t VALUES(6000,'after');");
}

static void
test_fold_tells_what_the_database_holds(void **state)
{
	struct fixture *fixture = *state;
	leave_with(fixture, WAL_MODE "PRAGMA wal_autocheckpoint=0;" TABLE "CREATE TABLE u(v);" ROWS("5000"));
	cleanup_outcome struct outcome full = {0}, emptied = {0};
	fold_path(fixture, fixture->path, &full);
	assert_good(&full);
	assert_int_equal(full.result.tables, 2);
	assert_int_equal(full.result.free_pages, 0);
	/* Its file is as long as before. */
	make_with(fixture, "DELETE FROM t; DROP TABLE u;");
	fold_path(fixture, fixture->path, &emptied);
	assert_good(&emptied);
	assert_int_equal(emptied.result.pages, full.result.pages);
	assert_int_equal(emptied.result.tables, 1);
	assert_true(emptied.result.free_pages > full.result.pages * 9 / 10);
}

static void
test_fold_keeps_its_hands_off_a_held_database(void **state)
{
	struct fixture *fixture = *state;
	pid_t holder = hold_with(fixture, WAL_MODE "PRAGMA wal_autocheckpoint=0;" TABLE ROWS("10"));
	cleanup_free char *wal = xasprintf("%s-wal", fixture->path);
	struct stat before, after;
	assert_int_equal(stat(wal, &before), 0);
	cleanup_outcome struct outcome outcome = {0};
	fold_path(fixture, fixture->path, &outcome);
	cleanup_free char *words = xasprintf(WRITER_NAME " (pid %d, uid %u)", holder, SERVICE_UID);
	assert_code(&outcome.result.error, ERROR_DATABASE_HELD, words);
	assert_int_equal(error_class_of(outcome.result.error.code), ERROR_CLASS_TRANSIENT);
	assert_non_null(outcome.result.error.hint);
	assert_false(outcome.result.wal_folded);
	assert_int_equal(stat(wal, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	kill_and_reap(holder);
	cleanup_outcome struct outcome again = {0};
	fold_path(fixture, fixture->path, &again);
	assert_good(&again);
}

/* Somebody who has a side file open, and not the database, holds it too. */
static void
test_fold_sees_the_holder_of_a_side_file(void **state)
{
	struct fixture *fixture = *state;
	leave_with(fixture, WAL_MODE TABLE ROWS("10"));
	cleanup_free char *wal = xasprintf("%s-wal", fixture->path);
	cleanup_close int descriptor = open(wal, O_RDONLY | O_CLOEXEC);
	assert_true(descriptor >= 0);
	cleanup_outcome struct outcome outcome = {0};
	fold_path(fixture, fixture->path, &outcome);
	cleanup_free char *words = xasprintf("(pid %d,", getpid());
	assert_code(&outcome.result.error, ERROR_DATABASE_HELD, words);
}

/* A process may be in no /proc that we see; the lock of its connection shows nevertheless. Here it is the
 * helper that stands in a PID namespace of its own. */
static void
test_fold_finds_a_holder_that_proc_does_not_show(void **state)
{
	struct fixture *fixture = *state;
	if (geteuid() != 0) {
		print_message("needs root for a PID namespace\n");
		skip();
	}
	pid_t holder = hold_with(fixture, WAL_MODE TABLE ROWS("10"));
	char self[4096] = "";
	assert_true(readlink(HELPER, self, sizeof(self) - 1) > 0);
	cleanup_free char *command =
	    xasprintf("unshare --mount --pid --fork --mount-proc '%s' sqlite-helper fold '%s' > '%s/answer'; "
		      "grep -q '\"database-held\"' '%s/answer'",
		self, fixture->path, fixture->directory, fixture->directory);
	assert_int_equal(system(command), 0);
	assert_true(side_exists(fixture, "-wal"));
	kill_and_reap(holder);
}

/* As long as what was there: the pages stay where they are. */
#define TORN "replace(hex(zeroblob(100)),'0','T')"

static void
test_fold_rolls_a_hot_journal_back(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE ROWS("20000"));
	leave_with(fixture, "PRAGMA cache_size=5; BEGIN; UPDATE t SET words=" TORN);
	assert_true(side_exists(fixture, "-journal"));
	assert_int_not_equal(ask_copy(fixture, "SELECT count(*) FROM t WHERE words=" TORN), 0);
	cleanup_outcome struct outcome outcome = {0};
	fold_path(fixture, fixture->path, &outcome);
	assert_good(&outcome);
	assert_false(outcome.result.wal_folded);
	assert_string_equal(outcome.result.journal_mode, "delete");
	assert_no_side_files(fixture);
	assert_int_equal(ask_copy(fixture, "SELECT count(*) FROM t WHERE words<>" TORN), 20000);
}

static void
test_fold_leaves_a_clean_database_as_it_is(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE ROWS("100"));
	struct stat before, after;
	assert_int_equal(stat(fixture->path, &before), 0);
	cleanup_outcome struct outcome outcome = {0};
	fold_path(fixture, fixture->path, &outcome);
	assert_good(&outcome);
	assert_false(outcome.result.wal_folded);
	assert_int_equal(stat(fixture->path, &after), 0);
	assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
	assert_int_equal(before.st_ino, after.st_ino);
}

/* PERSIST leaves a journal whose header is zeros: nothing to roll back, nothing to complain of. */
static void
test_fold_accepts_a_persistent_journal(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, "PRAGMA journal_mode=PERSIST;" TABLE ROWS("100") "UPDATE t SET words='x';");
	assert_true(side_exists(fixture, "-journal"));
	cleanup_outcome struct outcome outcome = {0};
	fold_path(fixture, fixture->path, &outcome);
	assert_good(&outcome);
	assert_int_equal(ask_copy(fixture, "SELECT count(*) FROM t WHERE words='x'"), 100);
}

static void
test_a_missing_database_stays_missing(void **state)
{
	struct fixture *fixture = *state;
	cleanup_outcome struct outcome folded = {0}, proven = {0}, nowhere = {0};
	fold_path(fixture, fixture->path, &folded);
	prove_path(fixture, fixture->path, &proven);
	cleanup_free char *deep = xasprintf("%s/no/app.db", fixture->directory);
	fold_path(fixture, deep, &nowhere);
	assert_code(&folded.result.error, ERROR_DATABASE_MISSING, fixture->path);
	assert_code(&proven.result.error, ERROR_DATABASE_MISSING, fixture->path);
	assert_code(&nowhere.result.error, ERROR_DATABASE_MISSING, deep);
	assert_int_equal(access(fixture->path, F_OK), -1);
	assert_no_side_files(fixture);
}

static void
test_an_empty_file_is_an_empty_database(void **state)
{
	struct fixture *fixture = *state;
	write_file(fixture->path, "", 0);
	cleanup_outcome struct outcome outcome = {0}, proven = {0};
	fold_path(fixture, fixture->path, &outcome);
	assert_good(&outcome);
	assert_int_equal(outcome.result.bytes, 0);
	assert_int_equal(outcome.result.pages, 0);
	prove_path(fixture, fixture->path, &proven);
	assert_good(&proven);
	struct stat status;
	assert_int_equal(stat(fixture->path, &status), 0);
	assert_int_equal(status.st_size, 0);
	assert_no_side_files(fixture);
}

/* SQLite itself would delete the WAL and with it all that was in it. */
static void
test_fold_saves_the_wal_beside_an_emptied_database(void **state)
{
	struct fixture *fixture = *state;
	leave_with(fixture, WAL_MODE TABLE ROWS("10"));
	assert_int_equal(truncate(fixture->path, 0), 0);
	cleanup_outcome struct outcome outcome = {0};
	fold_path(fixture, fixture->path, &outcome);
	assert_code(&outcome.result.error, ERROR_DATABASE_DAMAGED, "empty");
	assert_true(side_exists(fixture, "-wal"));
}

/* What inspect, fold and prove say of the same file, all three. */
static void
assert_refused(const struct fixture *fixture, const char *path, enum error_code code, const char *words)
{
	cleanup_error struct error error = {0};
	cleanup_outcome struct outcome folded = {0}, proven = {0};
	assert_int_equal(sqlite_inspect(path, &error), -1);
	assert_code(&error, code, words);
	fold_path(fixture, path, &folded);
	assert_code(&folded.result.error, code, words);
	prove_path(fixture, path, &proven);
	assert_code(&proven.result.error, code, words);
}

static void
test_what_is_no_database_is_refused(void **state)
{
	struct fixture *fixture = *state;
	unsigned char noise[8192];
	uint32_t seed = 12345;
	for (size_t i = 0; i < sizeof(noise); i++) {
		seed = seed * 1664525 + 1013904223;
		noise[i] = (unsigned char)(seed >> 24);
	}
	write_file(fixture->path, noise, sizeof(noise));
	assert_refused(fixture, fixture->path, ERROR_DATABASE_UNSUPPORTED, "encrypted");
	memset(noise, 0, sizeof(noise));
	write_file(fixture->path, noise, sizeof(noise));
	assert_refused(fixture, fixture->path, ERROR_DATABASE_DAMAGED, "zeros");
	write_file(fixture->path, "SQLite format 3", 16);
	assert_refused(fixture, fixture->path, ERROR_DATABASE_DAMAGED, "cut off");
	write_file(fixture->path, "no", 2);
	assert_refused(fixture, fixture->path, ERROR_DATABASE_UNSUPPORTED, NULL);
	assert_refused(fixture, fixture->directory, ERROR_DATABASE_UNSUPPORTED, "directory");
}

static void
test_a_link_is_refused_with_what_it_leads_to(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE);
	cleanup_free char *name = xasprintf("%s/link.db", fixture->directory);
	assert_int_equal(symlink("app.db", name), 0);
	assert_refused(fixture, name, ERROR_DATABASE_UNSUPPORTED, "symbolic link");
	cleanup_error struct error error = {0};
	sqlite_inspect(name, &error);
	assert_non_null(strstr(error.hint, fixture->path));
	assert_int_equal(unlink(name), 0);
	assert_int_equal(link(fixture->path, name), 0);
	assert_refused(fixture, fixture->path, ERROR_DATABASE_UNSUPPORTED, "hard links");
}

static void
test_a_link_on_the_way_is_followed(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE);
	cleanup_free char *link_path = xasprintf("%s/way", fixture->directory);
	cleanup_free char *path = xasprintf("%s/app.db", link_path);
	assert_int_equal(symlink(fixture->directory, link_path), 0);
	cleanup_outcome struct outcome folded = {0}, proven = {0};
	fold_path(fixture, path, &folded);
	assert_good(&folded);
	prove_path(fixture, path, &proven);
	assert_good(&proven);
}

static void
test_a_cut_off_database_is_damaged(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE ROWS("5000"));
	struct stat status;
	assert_int_equal(stat(fixture->path, &status), 0);
	assert_int_equal(truncate(fixture->path, status.st_size - 4096), 0);
	assert_refused(fixture, fixture->path, ERROR_DATABASE_DAMAGED, "4096 bytes");
}

static void
test_an_unknown_format_is_refused(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE);
	write_at(fixture->path, 18, "\3\3", 2);
	assert_refused(fixture, fixture->path, ERROR_DATABASE_UNSUPPORTED, "3/3");
}

/* In a mount namespace of its own: nothing is mounted where others could see it. */
static void
test_a_read_only_mount_is_refused(void **state)
{
	struct fixture *fixture = *state;
	if (geteuid() != 0) {
		print_message("needs root for a mount\n");
		skip();
	}
	make_with(fixture, TABLE);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		cleanup_error struct error error = {0};
		if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
		    mount(fixture->directory, fixture->directory, NULL, MS_BIND, NULL) != 0 ||
		    mount(NULL, fixture->directory, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) != 0)
			_exit(2);
		bool refused = sqlite_inspect(fixture->path, &error) != 0 &&
			       error.code == ERROR_DATABASE_UNSUPPORTED && strstr(error.message, "read-only") != NULL;
		_exit(refused ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* /var/lib/private: DynamicUser= keeps the state of its services where only root may enter. */
static void
test_fold_reaches_a_database_behind_a_closed_directory(void **state)
{
	struct fixture *fixture = *state;
	if (geteuid() != 0) {
		print_message("needs root to close a directory to the service\n");
		skip();
	}
	leave_with(fixture, WAL_MODE TABLE ROWS("10"));
	cleanup_free char *private = xasprintf("%s.private", fixture->directory);
	cleanup_free char *inner = xasprintf("%s/state", private);
	cleanup_free char *path = xasprintf("%s/app.db", inner);
	assert_int_equal(mkdir(private, 0700), 0);
	assert_int_equal(rename(fixture->directory, inner), 0);
	cleanup_outcome struct outcome folded = {0}, proven = {0};
	fold_path(fixture, path, &folded);
	prove_path(fixture, path, &proven);
	assert_int_equal(rename(inner, fixture->directory), 0);
	assert_int_equal(rmdir(private), 0);
	assert_good(&folded);
	assert_true(folded.result.wal_folded);
	assert_good(&proven);
	assert_no_side_files(fixture);
}

/* uid of one, group of many: side files carry the database's owner and group. */
static void
test_fold_of_a_group_shared_database(void **state)
{
	struct fixture *fixture = *state;
	if (geteuid() != 0) {
		print_message("needs root to give a file away\n");
		skip();
	}
	leave_with(fixture, WAL_MODE TABLE ROWS("10"));
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
		cleanup_free char *name = xasprintf("%s%s", fixture->path, suffixes[i]);
		assert_int_equal(chown(name, 1000, 4242), 0);
		assert_int_equal(chmod(name, 0660), 0);
	}
	/* Only the group may write the directory. */
	assert_int_equal(chown(fixture->directory, 0, 4242), 0);
	assert_int_equal(chmod(fixture->directory, 0770), 0);
	cleanup_outcome struct outcome outcome = {0};
	fold_path(fixture, fixture->path, &outcome);
	assert_good(&outcome);
	assert_no_side_files(fixture);
	struct stat status;
	assert_int_equal(stat(fixture->path, &status), 0);
	assert_int_equal(status.st_gid, 4242);
}

static void
test_a_side_file_of_root_is_named_as_the_trouble(void **state)
{
	struct fixture *fixture = *state;
	if (geteuid() != 0) {
		print_message("needs root to take a file away\n");
		skip();
	}
	leave_with(fixture, WAL_MODE TABLE ROWS("10"));
	cleanup_free char *wal = xasprintf("%s-wal", fixture->path);
	assert_int_equal(chown(wal, 0, 0), 0);
	assert_int_equal(chmod(wal, 0600), 0);
	cleanup_outcome struct outcome outcome = {0};
	fold_path(fixture, fixture->path, &outcome);
	assert_code(&outcome.result.error, ERROR_PERMISSION, fixture->path);
	struct stat status;
	assert_int_equal(stat(wal, &status), 0);
	assert_true(status.st_size > 0);
}

static void
test_holders_are_named(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE);
	assert_null(sqlite_holders(fixture->path));
	pid_t first = hold_with(fixture, "SELECT 1 FROM t"), second = hold_with(fixture, "SELECT 1 FROM t");
	cleanup_free char *holders = sqlite_holders(fixture->path);
	cleanup_free char *one = xasprintf(WRITER_NAME " (pid %d, uid %u)", first, SERVICE_UID);
	cleanup_free char *two = xasprintf(WRITER_NAME " (pid %d, uid %u)", second, SERVICE_UID);
	assert_non_null(holders);
	assert_non_null(strstr(holders, one));
	assert_non_null(strstr(holders, two));
	kill_and_reap(first);
	kill_and_reap(second);
	assert_null(sqlite_holders(fixture->path));
}

static void
fold_with_helper(const struct fixture *fixture, const char *script, struct outcome *outcome)
{
	cleanup_free char *helper = make_helper(fixture, script);
	cleanup_error struct error error = {0};
	assert_non_null(sqlite_fold_start(fixture->base, helper, fixture->path, NULL, take_outcome, outcome, &error));
	run_until(fixture->base, &outcome->came);
}

#define GOOD_ANSWER ANSWER("none", NUMBERS)

static void
test_a_helper_that_does_not_answer_is_no_success(void **state)
{
	struct fixture *fixture = *state;
	static const struct {
		const char *script, *words;
	} cases[] = {
	    {"exit 0", "exited with 0"},
	    {"echo out of luck >&2; exit 3", "exited with 3: out of luck"},
	    {"kill -9 $$", "SIGKILL"},
	    {"echo '" GOOD_ANSWER "'; kill -9 $$", "SIGKILL"},
	    {"echo '" GOOD_ANSWER "'; exit 1", "exited with 1"},
	    {"echo '" GOOD_ANSWER "'; echo '" GOOD_ANSWER "'", "exited with 0"},
	    {"echo '{\"code\":\"none\"}'", "exited with 0"},
	    {"echo '" ANSWER("rumour", NUMBERS) "'; exit 1", "exited with 1"},
	    {"echo '" ANSWER("none", "\"bytes\":-1,\"pages\":1,\"free_pages\":0,\"tables\":0") "'", "exited with 0"},
	    {"echo '" ANSWER("none", "\"bytes\":1,\"pages\":-1,\"free_pages\":0,\"tables\":0") "'", "exited with 0"},
	    {"echo '" ANSWER("none", "\"bytes\":1,\"pages\":1,\"free_pages\":-1,\"tables\":0") "'", "exited with 0"},
	    {"echo '" ANSWER("none", "\"bytes\":1,\"pages\":1,\"free_pages\":2,\"tables\":0") "'", "exited with 0"},
	    {"echo '" ANSWER("none", "\"bytes\":1,\"pages\":1,\"free_pages\":0,\"tables\":-1") "'", "exited with 0"},
	    {"echo '" ANSWER("none", "\"bytes\":1,\"pages\":1,\"tables\":0") "'", "exited with 0"},
	    {"echo '" ANSWER("none", "\"bytes\":1,\"pages\":1,\"free_pages\":0") "'", "exited with 0"},
	    {"echo '" ANSWER("none", NUMBERS ",\"sha256\":\"" DIGEST "\"") "'", "exited with 0"},
	    {"echo '" PROGRESS "'; echo '" GOOD_ANSWER "'", "exited with 0"},
	    {"printf '%s' '" GOOD_ANSWER "' | cut -c1-40", "exited with 0"},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		cleanup_outcome struct outcome outcome = {0};
		fold_with_helper(fixture, cases[i].script, &outcome);
		assert_code(&outcome.result.error, ERROR_SYSTEM, cases[i].words);
		assert_false(outcome.result.wal_folded);
	}
	cleanup_outcome struct outcome good = {0};
	fold_with_helper(fixture, "echo '" GOOD_ANSWER "'", &good);
	assert_good(&good);
	assert_true(good.result.wal_folded);
}

static int
refuse_spawn(void *context, const struct child_identity *identity, struct error *error)
{
	assert_non_null(context);
	assert_true(identity->pid > 0);
	return error_set(error, ERROR_JOURNAL, "no room in the journal");
}

static void
test_fold_does_not_begin_unrecorded(void **state)
{
	struct fixture *fixture = *state;
	leave_with(fixture, WAL_MODE TABLE ROWS("10"));
	cleanup_outcome struct outcome outcome = {0};
	cleanup_error struct error error = {0};
	assert_null(
	    sqlite_fold_start(fixture->base, HELPER, fixture->path, refuse_spawn, take_outcome, &outcome, &error));
	assert_code(&error, ERROR_JOURNAL, NULL);
	assert_false(outcome.came);
	assert_true(side_exists(fixture, "-wal"));
}

static void
test_an_abandoned_fold_says_nothing(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE);
	cleanup_outcome struct outcome outcome = {0};
	cleanup_error struct error error = {0};
	struct sqlite_call *call =
	    sqlite_fold_start(fixture->base, HELPER, fixture->path, NULL, take_outcome, &outcome, &error);
	assert_non_null(call);
	sqlite_call_abandon(call);
	sqlite_call_abandon(NULL);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_false(outcome.came);
}

int
main(int argument_count, char **arguments)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(test_fold_brings_the_wal_of_a_killed_service_home),
	    TEST(test_fold_tells_what_the_database_holds),
	    TEST(test_fold_keeps_its_hands_off_a_held_database),
	    TEST(test_fold_sees_the_holder_of_a_side_file),
	    TEST(test_fold_finds_a_holder_that_proc_does_not_show),
	    TEST(test_fold_rolls_a_hot_journal_back),
	    TEST(test_fold_leaves_a_clean_database_as_it_is),
	    TEST(test_fold_accepts_a_persistent_journal),
	    TEST(test_a_missing_database_stays_missing),
	    TEST(test_an_empty_file_is_an_empty_database),
	    TEST(test_fold_saves_the_wal_beside_an_emptied_database),
	    TEST(test_what_is_no_database_is_refused),
	    TEST(test_a_link_is_refused_with_what_it_leads_to),
	    TEST(test_a_link_on_the_way_is_followed),
	    TEST(test_a_cut_off_database_is_damaged),
	    TEST(test_an_unknown_format_is_refused),
	    TEST(test_a_read_only_mount_is_refused),
	    TEST(test_fold_reaches_a_database_behind_a_closed_directory),
	    TEST(test_fold_of_a_group_shared_database),
	    TEST(test_a_side_file_of_root_is_named_as_the_trouble),
	    TEST(test_holders_are_named),
	    TEST(test_a_helper_that_does_not_answer_is_no_success),
	    TEST(test_fold_does_not_begin_unrecorded),
	    TEST(test_an_abandoned_fold_says_nothing),
#undef TEST
	};
	return sqlite_fixture_main(argument_count, arguments, tests, ARRAY_LENGTH(tests));
}
