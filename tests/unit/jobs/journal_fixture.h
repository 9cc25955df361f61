/* What the tests of the journal share: a state directory of their own, a clock that stands still, services,
 * children. */
#ifndef ATELIER_TESTS_UNIT_JOBS_JOURNAL_FIXTURE_H
#define ATELIER_TESTS_UNIT_JOBS_JOURNAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/alloc.h"
#include "jobs/journal.h"

#define NOW (INT64_C(1795000000) * USEC_PER_SEC)

struct fixture {
	struct clock clock; /* first: its functions find the fixture through it */
	int64_t now;
	char *root;
	char *state;
	struct journal *journal;
};

static inline int64_t
fixture_time(const struct clock *clock)
{
	return ((const struct fixture *)(const void *)clock)->now;
}

static inline int
fixture_remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)status;
	(void)kind;
	(void)walk;
	return remove(path);
}

static inline void
remove_tree(const char *path)
{
	nftw(path, fixture_remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static inline int
fixture_set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->clock = (struct clock){.wall = fixture_time, .monotonic = fixture_time};
	fixture->now = NOW;
	const char *temporary = getenv("TMPDIR");
	fixture->root = xasprintf("%s/atelier-journal-XXXXXX", temporary != NULL ? temporary : "/tmp");
	if (mkdtemp(fixture->root) == NULL)
		return -1;
	fixture->state = xasprintf("%s/state", fixture->root);
	*state = fixture;
	return 0;
}

static inline int
fixture_tear_down(void **state)
{
	struct fixture *fixture = *state;
	journal_close(fixture->journal);
	remove_tree(fixture->root);
	free(fixture->state);
	free(fixture->root);
	free(fixture);
	return 0;
}

#define fixture_test(function) cmocka_unit_test_setup_teardown(function, fixture_set_up, fixture_tear_down)

/* Fails the test with the error's words. */
#define assert_success(call, error)                                                                                  \
	do {                                                                                                         \
		if ((call) < 0)                                                                                      \
			fail_msg("%s: %s: %s", #call, error_code_word((error)->code), (error)->message);             \
	} while (0)

static inline void
assert_fails_with(int result, const struct error *error, enum error_code code)
{
	assert_int_equal(result, -1);
	if (error->code != code)
		fail_msg(
		    "got %s (%s) instead of %s", error_code_word(error->code), error->message, error_code_word(code));
	assert_non_null(error->message);
	assert_non_null(error->hint);
}

static inline struct journal *
fixture_open(struct fixture *fixture)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_null(fixture->journal);
	assert_success(journal_open(fixture->state, &fixture->clock, &fixture->journal, &error), &error);
	return fixture->journal;
}

static inline void
fixture_close(struct fixture *fixture)
{
	journal_close(fixture->journal);
	fixture->journal = NULL;
}

static inline struct journal *
fixture_reopen(struct fixture *fixture)
{
	fixture_close(fixture);
	return fixture_open(fixture);
}

static inline char *
state_path(const struct fixture *fixture, const char *name)
{
	return xasprintf("%s/%s", fixture->state, name);
}

static inline bool
state_has(const struct fixture *fixture, const char *name)
{
	cleanup_free char *path = state_path(fixture, name);
	return access(path, F_OK) == 0;
}

/* The whole of a file of the state directory, NUL-terminated. */
static inline char *
read_state(const struct fixture *fixture, const char *name, size_t *ret_length)
{
	cleanup_free char *path = state_path(fixture, name);
	cleanup_fclose FILE *file = fopen(path, "r");
	assert_non_null(file);
	struct stat status;
	assert_int_equal(fstat(fileno(file), &status), 0);
	char *content = xmalloc((size_t)status.st_size + 1);
	assert_int_equal(fread(content, 1, (size_t)status.st_size, file), (size_t)status.st_size);
	content[status.st_size] = '\0';
	if (ret_length != NULL)
		*ret_length = (size_t)status.st_size;
	return content;
}

static inline void
write_state(const struct fixture *fixture, const char *name, const void *content, size_t length)
{
	cleanup_free char *path = state_path(fixture, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
}

/* Somebody else's hands on the file: SQL through another connection. */
static inline void
meddle(const struct fixture *fixture, const char *sql)
{
	cleanup_free char *path = state_path(fixture, "journal.sqlite");
	sqlite3 *database;
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	sqlite3_busy_timeout(database, 10000);
	char *message = NULL;
	if (sqlite3_exec(database, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	sqlite3_close(database);
}

/* The first column of the first row, as text; the caller owns it. */
static inline char *
peek(const struct fixture *fixture, const char *sql)
{
	cleanup_free char *path = state_path(fixture, "journal.sqlite");
	sqlite3 *database;
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	sqlite3_busy_timeout(database, 10000);
	sqlite3_stmt *statement;
	if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(database));
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	char *text = xstrdup((const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	sqlite3_close(database);
	return text;
}

static inline void
assert_peek(const struct fixture *fixture, const char *sql, const char *expected)
{
	cleanup_free char *text = peek(fixture, sql);
	assert_string_equal(text, expected);
}

static inline struct service
make_service(const char *name)
{
	struct service service = {
	    .name = xstrdup(name),
	    .type = xstrdup("files"),
	    .stop_for_backup = true,
	    .restic =
		{
		    .program = xstrdup("restic"),
		    .repository_file = xstrdup("/run/secrets/repo"),
		    .password_file = xstrdup("/run/secrets/password"),
		    .cache_directory = xstrdup("/var/cache/atelier-backup"),
		    .host = xstrdup("house"),
		},
	    .attempts = 3,
	};
	cleanup_free char *unit = xasprintf("%s.service", name);
	cleanup_free char *path = xasprintf("/srv/%s", name);
	strings_add(&service.stop_units, unit);
	strings_add(&service.files, path);
	return service;
}

/* Submits one job and gives its id; 0 if the night had none of this service. */
static inline int64_t
submit_one(struct journal *journal, enum run_kind kind, const char *night, const char *name)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct service service = make_service(name);
	struct submission submission = {.service = &service, .due_at = NOW + USEC_PER_MIN};
	int64_t run, id = -1;
	bool added;
	int result = journal_submit(journal, kind, night, &submission, 1, &run, &added, &id, &error);
	service_clear(&service);
	assert_success(result, &error);
	return id;
}

static inline struct job_record
load_job(struct journal *journal, int64_t id)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct job_record job;
	int found = journal_job(journal, id, &job, &error);
	assert_success(found, &error);
	assert_int_equal(found, 1);
	return job;
}

/* Moves a job and writes it. */
static inline void
move_job(struct journal *journal, struct job_record *job, enum job_state state)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	enum job_state from = job->state;
	job->state = state;
	assert_success(journal_update_job(journal, job, from, false, "moved", NULL, &error), &error);
}

static inline void
end_job(struct journal *journal, int64_t id, enum job_state state, enum job_outcome outcome)
{
	cleanup_job struct job_record job = load_job(journal, id);
	job.outcome = outcome;
	job.ended_at = NOW + id;
	move_job(journal, &job, state);
}

/* ---- children: their checks end them with a code, because cmocka's asserts belong to the parent ---- */

#define child_requires(condition)                                                                                    \
	do {                                                                                                         \
		if (!(condition)) {                                                                                  \
			fprintf(stderr, "%s:%d: child: %s does not hold\n", __FILE__, __LINE__, #condition);         \
			_exit(99);                                                                                   \
		}                                                                                                    \
	} while (0)

typedef void child_body_fn(struct fixture *fixture, int argument);

static inline pid_t
start_child(struct fixture *fixture, child_body_fn *body, int argument)
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		body(fixture, argument);
		_exit(0);
	}
	return pid;
}

static inline int
wait_child(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	return status;
}

static inline void
run_child(struct fixture *fixture, child_body_fn *body, int argument)
{
	int status = wait_child(start_child(fixture, body, argument));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
