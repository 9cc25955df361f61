/* Copies of databases that are in use: what is in them, what is left beside the database, and what happens when there
 * is none. The copies stand where only root may go. */
#include "tests/integration/adapters/sqlite_fixture.h"

#include "core/clock.h"
#include "core/digest.h"
#include "core/file.h"

#include <dirent.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>

/* ---- the place of the copies ---- */

static char *staging, *target;

static int
setup_copy(void **state)
{
	setup(state);
	const struct fixture *fixture = *state;
	staging = xasprintf("%s.staging", fixture->directory);
	target = xasprintf("%s/copy", staging);
	assert_int_equal(mkdir(staging, 0700), 0);
	return 0;
}

static int
teardown_copy(void **state)
{
	nftw(staging, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(staging);
	free(target);
	return teardown(state);
}

static size_t
count_entries(const char *path)
{
	size_t count = 0;
	DIR *directory = opendir(path);
	assert_non_null(directory);
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count - 2;
}

/* ---- calls ---- */

struct progress {
	struct sqlite_call *call;
	size_t count;
	uint64_t done, total;
	struct child_identity helper;
	bool kill, abandon; /* at the first one */
	bool abandoned;
};

/* Both callbacks of a copy have the same context. */
struct copying {
	struct outcome outcome;
	struct progress progress;
};

static void
copying_clear(struct copying *copying)
{
	outcome_clear(&copying->outcome);
}

#define cleanup_copying __attribute__((cleanup(copying_clear)))

static int
take_spawned(void *context, const struct child_identity *identity, struct error *error)
{
	struct copying *copying = context;
	(void)error;
	copying->progress.helper = *identity;
	return 0;
}

static void
take_progress(void *context, uint64_t done, uint64_t total)
{
	struct progress *progress = &((struct copying *)context)->progress;
	assert_true(done >= progress->done && done <= total);
	progress->count++;
	progress->done = done;
	progress->total = total;
	if (progress->kill)
		kill(progress->helper.pid, SIGKILL);
	if (progress->abandon) {
		sqlite_call_abandon(progress->call);
		progress->abandoned = true;
	}
}

static void
start_copy(const struct fixture *fixture, const char *helper, const char *path, struct copying *copying)
{
	cleanup_error struct error error = {0};
	const struct sqlite_copy_request request = {
	    .path = path,
	    .target = target,
	    .on_spawned = take_spawned,
	    .on_progress = take_progress,
	    .context = copying,
	};
	/* take_outcome takes the same pointer. */
	_Static_assert(offsetof(struct copying, outcome) == 0, "the outcome is not first");
	copying->progress.call = sqlite_copy_start(fixture->base, helper, &request, take_outcome, &error);
	if (copying->progress.call == NULL)
		fail_msg("%s", error.message);
}

static void
copy_path(const struct fixture *fixture, const char *path, struct copying *copying)
{
	start_copy(fixture, HELPER, path, copying);
	run_until(fixture->base, &copying->outcome.came);
}

/* Is what stands at the target all that was promised of it? Removes it, so that there is room for the next one. */
static void
expect_good_copy(const struct fixture *fixture, const struct copying *copying)
{
	const struct sqlite_result *result = &copying->outcome.result;
	struct stat copy, database;
	cleanup_free char *content = NULL;
	size_t length;
	assert_good(&copying->outcome);
	assert_int_equal(stat(target, &copy), 0);
	assert_int_equal(stat(fixture->path, &database), 0);
	assert_int_equal(copy.st_uid, SERVICE_UID);
	assert_int_equal(copy.st_gid, SERVICE_GID);
	assert_int_equal(copy.st_mode, database.st_mode);
	assert_int_equal(copy.st_size, result->bytes);
	assert_int_equal(copy.st_size, result->pages * 4096);
	assert_int_equal(file_read(target, 1 << 28, &content, &length, NULL), 0);
	cleanup_free char *sha256 = digest_sha256(content, length);
	assert_string_equal(result->sha256, sha256);
	assert_memory_equal(content + 18, "\1\1", 2);
	assert_int_equal(
	    ask_path(target, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check='ok'"), 1);
	assert_int_equal(ask_path(target, "SELECT count(*) FROM sqlite_schema WHERE type='table'"), result->tables);
	assert_int_equal(count_entries(staging), 1);
}

static void
expect_failed(const struct copying *copying, enum error_code code, const char *words)
{
	assert_code(&copying->outcome.result.error, code, words);
	assert_null(copying->outcome.result.sha256);
	assert_int_equal(count_entries(staging), 0);
}

/* ---- at rest ---- */

static void
expect_untouched(const struct fixture *fixture, const struct stat *before)
{
	struct stat after;
	assert_int_equal(stat(fixture->path, &after), 0);
	assert_int_equal(after.st_ino, before->st_ino);
	assert_int_equal(after.st_size, before->st_size);
	assert_memory_equal(&after.st_mtim, &before->st_mtim, sizeof(after.st_mtim));
}

static void
test_a_wal_database_at_rest_is_left_without_side_files(void **state)
{
	struct fixture *fixture = *state;
	struct stat before;
	make_with(fixture, WAL_MODE TABLE ROWS("3000"));
	assert_int_equal(chmod(fixture->path, 0640), 0);
	assert_int_equal(stat(fixture->path, &before), 0);
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, fixture->path, &copying);
	expect_good_copy(fixture, &copying);
	assert_string_equal(copying.outcome.result.journal_mode, "wal");
	assert_int_equal(copying.outcome.result.tables, 1);
	assert_int_equal(ask_path(target, "SELECT count(*) FROM t"), 3000);
	assert_no_side_files(fixture);
	expect_untouched(fixture, &before);
	make_with(fixture, "INSERT INTO t VALUES(6000,'after');");
}

static void
test_a_database_without_a_wal_at_rest(void **state)
{
	struct fixture *fixture = *state;
	struct stat before;
	make_with(fixture, TABLE "CREATE TABLE u(v); CREATE INDEX w ON u(v);" ROWS("3000"));
	make_with(fixture, "CREATE TABLE gone AS SELECT * FROM t; DROP TABLE gone;");
	assert_int_equal(stat(fixture->path, &before), 0);
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, fixture->path, &copying);
	expect_good_copy(fixture, &copying);
	assert_string_equal(copying.outcome.result.journal_mode, "delete");
	assert_int_equal(copying.outcome.result.tables, 2);
	assert_int_equal(ask_path(target, "PRAGMA freelist_count"), copying.outcome.result.free_pages);
	assert_true(copying.outcome.result.free_pages > 0);
	assert_int_equal(ask_path(target, "SELECT count(*) FROM t"), 3000);
	assert_no_side_files(fixture);
	expect_untouched(fixture, &before);
}

/* As faithful as it gets: SQLite would make a page of it. */
static void
test_an_empty_database_stays_empty(void **state)
{
	struct fixture *fixture = *state;
	write_file(fixture->path, "", 0);
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, fixture->path, &copying);
	assert_good(&copying.outcome);
	struct stat status;
	assert_int_equal(stat(target, &status), 0);
	assert_int_equal(status.st_size, 0);
	assert_int_equal(copying.outcome.result.bytes, 0);
	assert_int_equal(copying.outcome.result.pages, 0);
	assert_int_equal(copying.outcome.result.tables, 0);
	assert_string_equal(copying.outcome.result.sha256, DIGEST);
	assert_no_side_files(fixture);
}

static void
test_progress_is_told_in_pages(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, WAL_MODE TABLE ROWS("50000"));
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, fixture->path, &copying);
	expect_good_copy(fixture, &copying);
	assert_true(copying.progress.count > 0);
	assert_true(copying.progress.done > 0);
	assert_int_equal(copying.progress.total, copying.outcome.result.pages);
}

static void
test_a_strange_name_is_copied(void **state)
{
	struct fixture *fixture = *state;
	free(fixture->path);
	fixture->path = xasprintf("%s/50%%20 of? me#1&mode=rwc \xc3\xa4.db", fixture->directory);
	make_with(fixture, WAL_MODE TABLE ROWS("10"));
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, fixture->path, &copying);
	expect_good_copy(fixture, &copying);
	assert_int_equal(count_entries(fixture->directory), 1);
}

/* ---- left by a service that was killed ---- */

static void
expect_owner_of_side_file(const struct fixture *fixture, const char *suffix)
{
	cleanup_free char *side = xasprintf("%s%s", fixture->path, suffix);
	struct stat status;
	if (lstat(side, &status) == 0)
		assert_int_equal(status.st_uid, SERVICE_UID);
}

static off_t
wal_size(const struct fixture *fixture)
{
	cleanup_free char *wal = xasprintf("%s-wal", fixture->path);
	struct stat status;
	assert_int_equal(stat(wal, &status), 0);
	return status.st_size;
}

/* What is in the WAL is in the copy, and the WAL is where it was. */
static void
test_a_leftover_wal_is_not_folded_in(void **state)
{
	struct fixture *fixture = *state;
	struct stat before;
	leave_with(fixture, WAL_MODE "PRAGMA wal_autocheckpoint=0;" TABLE ROWS("5000"));
	off_t wal = wal_size(fixture);
	assert_int_equal(stat(fixture->path, &before), 0);
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, fixture->path, &copying);
	expect_good_copy(fixture, &copying);
	assert_int_equal(ask_path(target, "SELECT count(*) FROM t"), 5000);
	assert_int_equal(wal_size(fixture), wal);
	expect_untouched(fixture, &before);
	expect_owner_of_side_file(fixture, "-wal");
	expect_owner_of_side_file(fixture, "-shm");
	make_with(fixture, "INSERT INTO t VALUES(6000,'after');");
}

#define TORN "replace(hex(zeroblob(100)),'0','T')"

static void
test_a_hot_journal_is_not_in_the_copy(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE ROWS("20000"));
	leave_with(fixture, "PRAGMA cache_size=5; BEGIN; UPDATE t SET words=" TORN);
	assert_true(side_exists(fixture, "-journal"));
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, fixture->path, &copying);
	expect_good_copy(fixture, &copying);
	assert_int_equal(ask_path(target, "SELECT count(*) FROM t WHERE words<>" TORN), 20000);
}

/* ---- in use ---- */

static void
test_a_service_that_does_nothing_keeps_its_wal(void **state)
{
	struct fixture *fixture = *state;
	struct stat before;
	pid_t holder = hold_with(fixture, WAL_MODE "PRAGMA wal_autocheckpoint=0;" TABLE ROWS("3000"));
	off_t wal = wal_size(fixture);
	assert_int_equal(stat(fixture->path, &before), 0);
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, fixture->path, &copying);
	expect_good_copy(fixture, &copying);
	assert_int_equal(ask_path(target, "SELECT count(*) FROM t"), 3000);
	assert_int_equal(wal_size(fixture), wal);
	expect_untouched(fixture, &before);
	kill_and_reap(holder);
}

/* Number of the last transaction that the writer knows to be committed. */
static atomic_llong *committed;

/* A service that commits as fast as it can. Each transaction touches three tables, and only u grows. */
static pid_t
start_writer(const struct fixture *fixture, const char *pragmas)
{
	committed = mmap(NULL, sizeof(*committed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(committed != MAP_FAILED);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid != 0)
		return pid;
	sqlite3 *database;
	prctl(PR_SET_NAME, WRITER_NAME);
	become_service();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sqlite3_open(fixture->path, &database) != SQLITE_OK)
		_exit(7);
	must(database, pragmas);
	for (long long number = 1;; number++) {
		cleanup_free char *sql =
		    xasprintf("BEGIN IMMEDIATE; INSERT INTO u VALUES(%lld); UPDATE last SET n=%lld;"
			      "UPDATE t SET words=hex(randomblob(100)) WHERE n=%lld; COMMIT;",
			number, number, 1 + number * 7919 % 40000);
		must(database, sql);
		atomic_store(committed, number);
	}
}

static void
stop_writer(pid_t writer)
{
	int status;
	/* It has met no error. */
	assert_int_equal(waitpid(writer, &status, WNOHANG), 0);
	kill_and_reap(writer);
	assert_int_equal(munmap(committed, sizeof(*committed)), 0);
}

static void
wait_for_commits(long long number)
{
	int64_t deadline = clock_monotonic(clock_system()) + DEADLINE_SEC * USEC_PER_SEC;
	while (atomic_load(committed) < number) {
		assert_true(clock_monotonic(clock_system()) < deadline);
		poll(NULL, 0, 1);
	}
}

/* Copies again and again beside the writer. Returns how many transactions were committed while a copy was made. */
static long long
copy_beside_writer(const struct fixture *fixture, int rounds)
{
	long long meanwhile = 0;
	for (int round = 0; round < rounds; round++) {
		long long before = atomic_load(committed);
		cleanup_copying struct copying copying = {0};
		copy_path(fixture, fixture->path, &copying);
		long long after = atomic_load(committed);
		expect_good_copy(fixture, &copying);
		long long last = ask_path(target, "SELECT n FROM last");
		assert_true(last >= before);
		assert_true(last <= after + 1);
		/* All of them, and none by half. */
		assert_int_equal(ask_path(target, "SELECT max(n) FROM u"), last);
		assert_int_equal(ask_path(target, "SELECT count(*) FROM u"), last);
		assert_int_equal(unlink(target), 0);
		meanwhile += after - before;
		wait_for_commits(after + 1);
	}
	return meanwhile;
}

#define THREE_TABLES                                                                                                 \
	TABLE ROWS("40000") "CREATE TABLE u(n INTEGER PRIMARY KEY); CREATE TABLE last(n); INSERT INTO last "         \
			    "VALUES(0);"

/* It has no patience at all: one SQLITE_BUSY, and it ends. */
static void
test_a_writer_with_a_wal_goes_on(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, WAL_MODE THREE_TABLES);
	pid_t writer = start_writer(fixture, "PRAGMA wal_autocheckpoint=50; PRAGMA synchronous=OFF;");
	wait_for_commits(1);
	long long meanwhile = copy_beside_writer(fixture, 15);
	assert_true(meanwhile > 15);
	expect_owner_of_side_file(fixture, "-wal");
	expect_owner_of_side_file(fixture, "-shm");
	stop_writer(writer);
	cleanup_outcome struct outcome folded = {0};
	fold_path(fixture, fixture->path, &folded);
	assert_good(&folded);
	assert_int_equal(
	    ask_copy(fixture, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check='ok'"), 1);
}

static void
test_a_writer_without_a_wal_waits(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, THREE_TABLES);
	pid_t writer = start_writer(fixture, "PRAGMA busy_timeout=30000; PRAGMA synchronous=OFF;");
	wait_for_commits(1);
	copy_beside_writer(fixture, 8);
	stop_writer(writer);
	cleanup_outcome struct outcome folded = {0};
	fold_path(fixture, fixture->path, &folded);
	assert_good(&folded);
	assert_int_equal(
	    ask_copy(fixture, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check='ok'"), 1);
}

/* Three times in two seconds, and for three milliseconds only, nobody has it locked. */
static pid_t
start_greedy_holder(const struct fixture *fixture)
{
	int ready[2];
	sqlite3 *database;
	char byte;
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid != 0) {
		close(ready[1]);
		assert_int_equal(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		return pid;
	}
	become_service();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sqlite3_open(fixture->path, &database) != SQLITE_OK)
		_exit(7);
	must(database, "PRAGMA busy_timeout=30000; BEGIN EXCLUSIVE");
	if (write(ready[1], "r", 1) != 1)
		_exit(6);
	for (;;) {
		poll(NULL, 0, 650);
		must(database, "COMMIT");
		poll(NULL, 0, 3);
		must(database, "BEGIN EXCLUSIVE");
	}
}

static void
test_a_short_moment_between_two_locks_is_met(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, THREE_TABLES);
	pid_t holder = start_greedy_holder(fixture);
	for (int round = 0; round < 3; round++) {
		cleanup_copying struct copying copying = {0};
		copy_path(fixture, fixture->path, &copying);
		expect_good_copy(fixture, &copying);
		assert_int_equal(unlink(target), 0);
	}
	kill_and_reap(holder);
}

static void
expect_held(struct fixture *fixture, const char *sql)
{
	pid_t holder = hold_with(fixture, sql);
	int64_t before = clock_monotonic(clock_system());
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, fixture->path, &copying);
	assert_true(clock_monotonic(clock_system()) - before < 20 * USEC_PER_SEC);
	kill_and_reap(holder);
	expect_failed(&copying, ERROR_DATABASE_HELD, fixture->path);
	assert_non_null(copying.outcome.result.error.hint);
}

static void
test_an_exclusive_holder_is_told(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE ROWS("10"));
	expect_held(fixture, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM t;");
}

static void
test_an_exclusive_holder_with_a_wal_is_told(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, WAL_MODE TABLE ROWS("10"));
	expect_held(fixture, "PRAGMA locking_mode=EXCLUSIVE; DELETE FROM t;");
}

/* /var/lib/private: DynamicUser= keeps the state of its services where only root may enter. */
static void
test_a_database_behind_a_closed_directory(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *private = xasprintf("%s.private", fixture->directory);
	cleanup_free char *inner = xasprintf("%s/state", private);
	cleanup_free char *path = xasprintf("%s/app.db", inner);
	if (geteuid() != 0) {
		print_message("needs root to close a directory to the service\n");
		skip();
	}
	make_with(fixture, WAL_MODE TABLE ROWS("10"));
	assert_int_equal(mkdir(private, 0700), 0);
	assert_int_equal(rename(fixture->directory, inner), 0);
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, path, &copying);
	assert_int_equal(rename(inner, fixture->directory), 0);
	assert_int_equal(rmdir(private), 0);
	expect_good_copy(fixture, &copying);
	assert_no_side_files(fixture);
}

/* ---- what is no copy ---- */

static void
expect_refused(const struct fixture *fixture, const char *path, enum error_code code, const char *words)
{
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, path, &copying);
	expect_failed(&copying, code, words);
}

static void
test_what_is_no_database_is_refused(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *deep = xasprintf("%s/no/app.db", fixture->directory);
	expect_refused(fixture, fixture->path, ERROR_DATABASE_MISSING, fixture->path);
	expect_refused(fixture, deep, ERROR_DATABASE_MISSING, deep);
	assert_int_equal(count_entries(fixture->directory), 0);
	unsigned char noise[8192];
	uint32_t seed = 12345;
	for (size_t i = 0; i < sizeof(noise); i++) {
		seed = seed * 1664525 + 1013904223;
		noise[i] = (unsigned char)(seed >> 24);
	}
	write_file(fixture->path, noise, sizeof(noise));
	expect_refused(fixture, fixture->path, ERROR_DATABASE_UNSUPPORTED, "encrypted");
	memset(noise, 0, sizeof(noise));
	write_file(fixture->path, noise, sizeof(noise));
	expect_refused(fixture, fixture->path, ERROR_DATABASE_DAMAGED, "zeros");
	expect_refused(fixture, fixture->directory, ERROR_DATABASE_UNSUPPORTED, "directory");
	assert_int_equal(count_entries(fixture->directory), 1);
}

static void
test_a_link_is_refused(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE);
	cleanup_free char *name = xasprintf("%s/link.db", fixture->directory);
	assert_int_equal(symlink("app.db", name), 0);
	expect_refused(fixture, name, ERROR_DATABASE_UNSUPPORTED, "symbolic link");
	assert_int_equal(unlink(name), 0);
	assert_int_equal(link(fixture->path, name), 0);
	expect_refused(fixture, fixture->path, ERROR_DATABASE_UNSUPPORTED, "hard links");
}

static void
test_damage_is_found_in_the_copy(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE ROWS("5000"));
	unsigned char page[4096];
	memset(page, 0xaa, sizeof(page));
	write_at(fixture->path, 20 * (off_t)sizeof(page), page, sizeof(page));
	expect_refused(fixture, fixture->path, ERROR_DATABASE_DAMAGED, fixture->path);
	struct stat status;
	assert_int_equal(stat(fixture->path, &status), 0);
	assert_int_equal(truncate(fixture->path, status.st_size - 4096), 0);
	expect_refused(fixture, fixture->path, ERROR_DATABASE_DAMAGED, "4096 bytes");
}

/* Frames in a WAL hide from the header what the main file has lost. */
static void
test_a_main_file_cut_off_under_its_wal_is_damaged(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, WAL_MODE TABLE ROWS("5000"));
	leave_with(fixture, "PRAGMA wal_autocheckpoint=0; INSERT INTO t VALUES(6000,'more');");
	struct stat status;
	assert_int_equal(stat(fixture->path, &status), 0);
	assert_int_equal(truncate(fixture->path, status.st_size / 2 / 4096 * 4096), 0);
	expect_refused(fixture, fixture->path, ERROR_DATABASE_DAMAGED, fixture->path);
}

static void
expect_not_started(const struct fixture *fixture, const char *helper, enum error_code code, const char *words)
{
	cleanup_error struct error error = {0};
	const struct sqlite_copy_request request = {.path = fixture->path, .target = target};
	assert_null(sqlite_copy_start(fixture->base, helper, &request, forget_outcome, &error));
	assert_code(&error, code, words);
}

static void
test_what_is_at_the_target_stays(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE);
	write_file(target, "of somebody", 11);
	expect_not_started(fixture, HELPER, ERROR_SYSTEM, "File exists");
	cleanup_free char *content = NULL;
	size_t length;
	assert_int_equal(file_read(target, 100, &content, &length, NULL), 0);
	assert_string_equal(content, "of somebody");
	assert_int_equal(unlink(target), 0);
	expect_not_started(fixture, "/nonexistent/helper", ERROR_SYSTEM, "/nonexistent/helper");
	assert_int_equal(count_entries(staging), 0);
	assert_int_equal(rmdir(staging), 0);
	expect_not_started(fixture, HELPER, ERROR_SYSTEM, target);
	assert_int_equal(mkdir(staging, 0700), 0);
}

/* The mount is in a namespace of this program's own. */
static void
test_a_full_disk_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	if (geteuid() != 0) {
		print_message("needs root for a mount\n");
		skip();
	}
	make_with(fixture, WAL_MODE TABLE ROWS("20000"));
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mount("none", staging, "tmpfs", 0, "size=1m,mode=0700"), 0);
	cleanup_copying struct copying copying = {0};
	copy_path(fixture, fixture->path, &copying);
	size_t left = count_entries(staging);
	assert_int_equal(umount2(staging, MNT_DETACH), 0);
	assert_int_equal(left, 0);
	expect_failed(&copying, ERROR_NO_SPACE, target);
	assert_no_side_files(fixture);
}

/* ---- a helper that ends too soon ---- */

static void
test_a_killed_helper_does_no_harm(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, WAL_MODE TABLE ROWS("100000"));
	cleanup_copying struct copying copying = {.progress.kill = true};
	copy_path(fixture, fixture->path, &copying);
	expect_failed(&copying, ERROR_SYSTEM, "SIGKILL");
	expect_owner_of_side_file(fixture, "-wal");
	expect_owner_of_side_file(fixture, "-shm");
	make_with(fixture, "INSERT INTO t VALUES(600000,'after');");
	assert_no_side_files(fixture);
}

static void
test_an_abandoned_copy_says_nothing_and_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	make_with(fixture, TABLE ROWS("100000"));
	cleanup_copying struct copying copying = {.progress.abandon = true};
	start_copy(fixture, HELPER, fixture->path, &copying);
	run_until(fixture->base, &copying.progress.abandoned);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_false(copying.outcome.came);
	assert_int_equal(copying.progress.count, 1);
	assert_false(child_identity_alive(&copying.progress.helper));
	assert_int_equal(count_entries(staging), 0);
}

static void
begin_copy(struct event_base *base, const struct fixture *fixture)
{
	const struct sqlite_copy_request request = {.path = fixture->path, .target = target};
	sqlite_copy_start(base, HELPER, &request, forget_outcome, NULL);
}

static void
test_the_helper_dies_with_its_runner(void **state)
{
	expect_helper_dies_with_runner(*state, begin_copy);
}

/* ---- what a helper answers ---- */

static void
copy_with_helper(const struct fixture *fixture, const char *script, struct copying *copying)
{
	cleanup_free char *helper = make_helper(fixture, script);
	start_copy(fixture, helper, fixture->path, copying);
	run_until(fixture->base, &copying->outcome.came);
}

#define GOOD_ANSWER ANSWER("none", NUMBERS ",\"sha256\":\"" DIGEST "\"")

static void
test_an_answer_that_is_none_is_no_success(void **state)
{
	struct fixture *fixture = *state;
	static const char *const scripts[] = {
	    "exit 0",
	    "echo '" PROGRESS "'",
	    "echo '" ANSWER("none", NUMBERS) "'",
	    "echo '" ANSWER("none", NUMBERS ",\"sha256\":\"" DIGEST "0\"") "'",
	    "echo '" ANSWER("none", NUMBERS ",\"sha256\":\"x\"") "'",
	    "echo '" GOOD_ANSWER "'; echo '" PROGRESS "'",
	    "echo '" GOOD_ANSWER "'; echo '" GOOD_ANSWER "'",
	    "echo '" GOOD_ANSWER "'; exit 1",
	    "echo '" GOOD_ANSWER "'; kill -9 $$",
	    "echo '{\"done\":3,\"total\":2}'; echo '" GOOD_ANSWER "'",
	    "echo '{\"done\":1,\"total\":2,\"more\":3}'; echo '" GOOD_ANSWER "'",
	    "echo hello; echo '" GOOD_ANSWER "'",
	};
	for (size_t i = 0; i < ARRAY_LENGTH(scripts); i++) {
		cleanup_copying struct copying copying = {0};
		copy_with_helper(fixture, scripts[i], &copying);
		expect_failed(&copying, ERROR_SYSTEM, fixture->path);
	}
	cleanup_copying struct copying good = {0};
	copy_with_helper(fixture, "echo '" PROGRESS "'; echo '" GOOD_ANSWER "'", &good);
	assert_good(&good.outcome);
	assert_int_equal(good.progress.count, 1);
	assert_string_equal(good.outcome.result.sha256, DIGEST);
}

int
main(int argument_count, char **arguments)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_copy, teardown_copy)
	    TEST(test_a_wal_database_at_rest_is_left_without_side_files),
	    TEST(test_a_database_without_a_wal_at_rest),
	    TEST(test_an_empty_database_stays_empty),
	    TEST(test_progress_is_told_in_pages),
	    TEST(test_a_strange_name_is_copied),
	    TEST(test_a_leftover_wal_is_not_folded_in),
	    TEST(test_a_hot_journal_is_not_in_the_copy),
	    TEST(test_a_service_that_does_nothing_keeps_its_wal),
	    TEST(test_a_writer_with_a_wal_goes_on),
	    TEST(test_a_writer_without_a_wal_waits),
	    TEST(test_a_short_moment_between_two_locks_is_met),
	    TEST(test_an_exclusive_holder_is_told),
	    TEST(test_an_exclusive_holder_with_a_wal_is_told),
	    TEST(test_a_database_behind_a_closed_directory),
	    TEST(test_what_is_no_database_is_refused),
	    TEST(test_a_link_is_refused),
	    TEST(test_damage_is_found_in_the_copy),
	    TEST(test_a_main_file_cut_off_under_its_wal_is_damaged),
	    TEST(test_what_is_at_the_target_stays),
	    TEST(test_a_full_disk_leaves_nothing),
	    TEST(test_a_killed_helper_does_no_harm),
	    TEST(test_an_abandoned_copy_says_nothing_and_leaves_nothing),
	    TEST(test_the_helper_dies_with_its_runner),
	    TEST(test_an_answer_that_is_none_is_no_success),
#undef TEST
	};
	return sqlite_fixture_main(argument_count, arguments, tests, ARRAY_LENGTH(tests));
}
