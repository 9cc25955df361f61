/* A directory with a database of some service in it, a live process that writes to it, and the adapter's
 * calls run to their end. Each test program that uses it is its own helper: sqlite_fixture_main. */
#ifndef ATELIER_TESTS_SQLITE_FIXTURE_H
#define ATELIER_TESTS_SQLITE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "adapters/sqlite.h"
#include "core/alloc.h"

#define HELPER       "/proc/self/exe"
#define WRITER_NAME  "live-writer"
#define DEADLINE_SEC 60

/* The service's user: somebody else where we may become somebody else. */
#define SERVICE_UID (geteuid() == 0 ? (uid_t)1000 : geteuid())
#define SERVICE_GID (geteuid() == 0 ? (gid_t)1000 : getegid())

struct fixture {
	struct event_base *base;
	char *directory;
	char *path; /* directory/app.db */
};

static inline int
setup(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	const char *temporary = getenv("TMPDIR");
	fixture->directory = xasprintf("%s/sqlite-test-XXXXXX", temporary != NULL ? temporary : "/tmp");
	assert_non_null(mkdtemp(fixture->directory));
	assert_int_equal(chown(fixture->directory, SERVICE_UID, SERVICE_GID), 0);
	fixture->path = xasprintf("%s/app.db", fixture->directory);
	fixture->base = event_base_new();
	assert_non_null(fixture->base);
	*state = fixture;
	return 0;
}

static inline int
remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status, (void)type, (void)walk;
	return remove(path);
}

static inline int
teardown(void **state)
{
	struct fixture *fixture = *state;
	nftw(fixture->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	event_base_free(fixture->base);
	free(fixture->directory);
	free(fixture->path);
	free(fixture);
	return 0;
}

static inline void
become_service(void)
{
	gid_t group = SERVICE_GID;
	if (geteuid() != 0)
		return;
	if (setgroups(1, &group) != 0 || setgid(group) != 0 || setuid(1000) != 0)
		_exit(9);
}

static inline void
must(sqlite3 *database, const char *sql)
{
	if (sqlite3_exec(database, sql, NULL, NULL, NULL) == SQLITE_OK)
		return;
	fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(database));
	_exit(8);
}

/* A process of the service that has run `sql` and holds the database open, until it is killed. */
static inline pid_t
hold_with(const struct fixture *fixture, const char *sql)
{
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		sqlite3 *database;
		close(ready[0]);
		prctl(PR_SET_NAME, WRITER_NAME);
		become_service();
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (sqlite3_open(fixture->path, &database) != SQLITE_OK)
			_exit(7);
		must(database, sql);
		if (write(ready[1], "r", 1) != 1)
			_exit(6);
		for (;;)
			pause();
	}
	close(ready[1]);
	char byte;
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static inline void
kill_and_reap(pid_t pid)
{
	int status;
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* The database after the service ran `sql` and was killed without closing it. */
static inline void
leave_with(const struct fixture *fixture, const char *sql)
{
	kill_and_reap(hold_with(fixture, sql));
}

/* ... and after it closed it in order. */
static inline void
make_with(const struct fixture *fixture, const char *sql)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		sqlite3 *database;
		become_service();
		if (sqlite3_open(fixture->path, &database) != SQLITE_OK)
			_exit(7);
		must(database, sql);
		_exit(sqlite3_close(database));
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define ROWS(number)                                                                                                 \
	"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<" number ") "                          \
	"INSERT INTO t SELECT n, hex(randomblob(100)) FROM c;"
#define TABLE    "CREATE TABLE t(n INTEGER PRIMARY KEY, words TEXT);"
#define WAL_MODE "PRAGMA journal_mode=WAL;"

/* What a call came to; cleared by outcome_clear. */
struct outcome {
	bool came;
	struct sqlite_result result;
};

static inline void
outcome_clear(struct outcome *outcome)
{
	error_clear(&outcome->result.error);
	free(outcome->result.journal_mode);
	free(outcome->result.sha256);
}

#define cleanup_outcome __attribute__((cleanup(outcome_clear)))

static inline void
take_outcome(void *context, const struct sqlite_result *result)
{
	struct outcome *outcome = context;
	assert_false(outcome->came);
	outcome->came = true;
	error_copy(&outcome->result.error, &result->error);
	outcome->result.journal_mode = xstrdup_null(result->journal_mode);
	outcome->result.bytes = result->bytes;
	outcome->result.wal_folded = result->wal_folded;
	outcome->result.pages = result->pages;
	outcome->result.free_pages = result->free_pages;
	outcome->result.tables = result->tables;
	outcome->result.sha256 = xstrdup_null(result->sha256);
}

static inline void
give_up(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor, (void)what, (void)context;
	fail_msg("no answer within %d s", DEADLINE_SEC);
}

static inline void
run_until(struct event_base *base, const bool *flag)
{
	struct event *deadline = evtimer_new(base, give_up, NULL);
	struct timeval patience = {.tv_sec = DEADLINE_SEC};
	evtimer_add(deadline, &patience);
	while (!*flag)
		event_base_loop(base, EVLOOP_ONCE);
	event_free(deadline);
}

static inline void
fold_path(const struct fixture *fixture, const char *path, struct outcome *outcome)
{
	cleanup_error struct error error = {0};
	assert_non_null(sqlite_fold_start(fixture->base, HELPER, path, NULL, take_outcome, outcome, &error));
	run_until(fixture->base, &outcome->came);
}

static inline void
prove_path(const struct fixture *fixture, const char *path, struct outcome *outcome)
{
	cleanup_error struct error error = {0};
	assert_non_null(sqlite_prove_start(fixture->base, HELPER, path, take_outcome, outcome, &error));
	run_until(fixture->base, &outcome->came);
}

static inline void
assert_good(const struct outcome *outcome)
{
	if (error_is_set(&outcome->result.error))
		fail_msg("%s: %s", error_code_word(outcome->result.error.code), outcome->result.error.message);
}

static inline void
assert_code(const struct error *error, enum error_code code, const char *words)
{
	assert_string_equal(error_code_word(error->code), error_code_word(code));
	if (words != NULL && strstr(error->message, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, error->message);
}

static inline bool
side_exists(const struct fixture *fixture, const char *suffix)
{
	cleanup_free char *side = xasprintf("%s%s", fixture->path, suffix);
	struct stat status;
	return lstat(side, &status) == 0;
}

static inline void
assert_no_side_files(const struct fixture *fixture)
{
	assert_false(side_exists(fixture, "-wal"));
	assert_false(side_exists(fixture, "-shm"));
	assert_false(side_exists(fixture, "-journal"));
}

/* One number from a database that nobody else uses. */
static inline int64_t
ask_path(const char *path, const char *sql)
{
	sqlite3 *database;
	sqlite3_stmt *statement;
	assert_int_equal(sqlite3_open_v2(path, &database, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(database, sql, -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	int64_t number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	sqlite3_close(database);
	return number;
}

/* One number from the main file alone: a copy of it in a place without any side file. */
static inline int64_t
ask_copy(const struct fixture *fixture, const char *sql)
{
	cleanup_free char *copy = xasprintf("%s/alone.copy", fixture->directory);
	cleanup_free char *command = xasprintf("cp '%s' '%s'", fixture->path, copy);
	assert_int_equal(system(command), 0);
	int64_t number = ask_path(copy, sql);
	assert_int_equal(unlink(copy), 0);
	return number;
}

static inline void
write_file(const char *path, const void *content, size_t length)
{
	cleanup_close int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	assert_true(descriptor >= 0);
	assert_int_equal(write(descriptor, content, length), (ssize_t)length);
	assert_int_equal(fchown(descriptor, SERVICE_UID, SERVICE_GID), 0);
}

static inline void
write_at(const char *path, off_t place, const void *bytes, size_t length)
{
	cleanup_close int descriptor = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(descriptor >= 0);
	assert_int_equal(pwrite(descriptor, bytes, length, place), (ssize_t)length);
}

/* ---- helpers that are scripts: what they may answer ---- */

#define ANSWER(code, numbers) "{\"code\":\"" code "\",\"journal_mode\":\"wal\",\"wal_folded\":true," numbers "}"
#define NUMBERS               "\"bytes\":1,\"pages\":1,\"free_pages\":0,\"tables\":0"
#define DIGEST                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define PROGRESS              "{\"done\":1,\"total\":2}"

/* The path of a program that runs the script. The caller owns it. */
static inline char *
make_helper(const struct fixture *fixture, const char *script)
{
	char *helper = xasprintf("%s/helper", fixture->directory);
	cleanup_free char *content = xasprintf("#!/bin/sh\n%s\n", script);
	write_file(helper, content, strlen(content));
	assert_int_equal(chmod(helper, 0755), 0);
	return helper;
}

/* ---- a helper and its runner ---- */

static inline void
forget_outcome(void *context, const struct sqlite_result *result)
{
	(void)context, (void)result;
}

typedef void begin_fn(struct event_base *base, const struct fixture *fixture);

/* A runner that begins something and waits for the answer for ever. */
static inline pid_t
start_runner(const struct fixture *fixture, begin_fn *begin)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct event_base *base = event_base_new();
	begin(base, fixture);
	event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	_exit(1);
}

/* Waits until a helper has the database open, as its owner. */
static inline struct child_identity
find_helper(const struct fixture *fixture)
{
	struct child_identity identity = {.pid = 0};
	for (int i = 0; identity.pid == 0 && i < 10000; i++) {
		cleanup_free char *holders = sqlite_holders(fixture->path);
		const char *found = holders != NULL ? strstr(holders, "sqlite-helper (pid ") : NULL;
		unsigned uid;
		if (found != NULL) {
			assert_int_equal(sscanf(found, "sqlite-helper (pid %d, uid %u)", &identity.pid, &uid), 2);
			assert_int_equal(uid, SERVICE_UID);
		}
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	assert_int_not_equal(identity.pid, 0);
	assert_int_equal(child_identity_read(identity.pid, &identity), 0);
	return identity;
}

/* A helper that outlived its runner would work on the database of a service that has been started again. Changing the
 * user makes the kernel forget the death signal. The helper waits for a lock meanwhile, for seconds. */
static inline void
expect_helper_dies_with_runner(const struct fixture *fixture, begin_fn *begin)
{
	make_with(fixture, TABLE ROWS("10"));
	pid_t holder = hold_with(fixture, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM t;");
	pid_t runner = start_runner(fixture, begin);
	struct child_identity helper = find_helper(fixture);
	kill_and_reap(runner);
	bool gone = false;
	for (int i = 0; !gone && i < 1000; i++) {
		gone = !child_identity_alive(&helper);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	kill_and_reap(holder);
	assert_true(gone);
}

/* The helper program of a test is the test itself. */
static inline int
sqlite_fixture_main(int argument_count, char **arguments, const struct CMUnitTest *tests, size_t count)
{
	if (argument_count > 1 && strcmp(arguments[1], "sqlite-helper") == 0)
		return sqlite_helper_main(argument_count - 1, arguments + 1);
	return _cmocka_run_group_tests("sqlite", tests, count, NULL, NULL);
}

#endif
