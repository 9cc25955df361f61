/* The schema, its history, and whether the questions that are asked all the time are answered from indexes.
 */
#include "journal_fixture.h"

#include "jobs/journal_internal.h"

static void
a_new_journal_has_the_newest_version(void **state)
{
	struct fixture *fixture = *state;
	fixture_open(fixture);
	cleanup_free char *version = xasprintf("%d", journal_migrations.count);
	assert_peek(fixture, "PRAGMA user_version", version);
	assert_peek(fixture, "PRAGMA application_id", "1098138226"); /* "AtBr" */
	/* All tables are strict. */
	assert_peek(fixture,
	    "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
	    " AND strict = 0 AND name NOT LIKE 'sqlite_%'",
	    "0");
	/* An empty file is a new journal as well: somebody has died between making and filling it. */
	fixture_close(fixture);
	remove_tree(fixture->state);
	assert_int_equal(mkdir(fixture->state, 0700), 0);
	write_state(fixture, "journal.sqlite", "", 0);
	fixture_open(fixture);
	assert_peek(fixture, "PRAGMA user_version", version);
}

static void
assert_refused(const struct fixture *fixture, const char *sql, const char *expected)
{
	cleanup_free char *path = state_path(fixture, "journal.sqlite");
	sqlite3 *database;
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	char *message = NULL;
	assert_int_not_equal(sqlite3_exec(database, sql, NULL, NULL, &message), SQLITE_OK);
	if (strstr(message, expected) == NULL)
		fail_msg("%s: %s", sql, message);
	sqlite3_free(message);
	sqlite3_close(database);
}

static void
history_is_append_only(void **state)
{
	struct fixture *fixture = *state;
	int64_t id = submit_one(fixture_open(fixture), RUN_MANUAL, NULL, "web");
	cleanup_job struct job_record job = load_job(fixture->journal, id);
	move_job(fixture->journal, &job, JOB_DELAYING);
	assert_refused(fixture, "UPDATE transition SET to_state = 'pruned'", "append-only");
	assert_refused(fixture, "DELETE FROM transition", "append-only");
	struct error error = {.code = ERROR_NONE};
	assert_success(journal_quarantine(fixture->journal, QUARANTINE_JOB, id, "a test", &error), &error);
	assert_refused(fixture, "UPDATE quarantine SET reason = ''", "stays");
	assert_refused(fixture, "DELETE FROM quarantine", "stays");
	assert_refused(fixture, "UPDATE job SET attempt = x'00'", "cannot store BLOB");
}

/* ---- versions ---- */

static void
load_dump(struct fixture *fixture, const char *name)
{
	cleanup_free char *path = xasprintf("%s/tests/unit/jobs/%s", TEST_SOURCE_DIR, name);
	cleanup_fclose FILE *file = fopen(path, "r");
	if (file == NULL)
		fail_msg("%s: %s", path, strerror(errno));
	cleanup_free char *sql = xcalloc(1, 262144);
	assert_in_range(fread(sql, 1, 262143, file), 1, 262142);
	assert_int_equal(mkdir(fixture->state, 0700), 0);
	meddle(fixture, sql);
}

static const char schema_query[] = "SELECT group_concat(type || ' ' || name || ' ' || coalesce(sql, ''), char(10))"
				   " FROM (SELECT * FROM sqlite_schema ORDER BY type, name)";

/* Migrated or made new: the schema is the same. */
static void
assert_same_schema_as_new(struct fixture *fixture)
{
	cleanup_free char *migrated = peek(fixture, schema_query);
	fixture_close(fixture);
	remove_tree(fixture->state);
	fixture_open(fixture);
	assert_peek(fixture, schema_query, migrated);
}

static void
a_journal_of_version_1_is_still_read(void **state)
{
	struct fixture *fixture = *state;
	load_dump(fixture, "journal_version_1.sql");
	struct journal *journal = fixture_open(fixture);
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_string_equal(journal_identity(journal), "5ec0de5ec0de5ec0");

	cleanup_job struct job_record job = load_job(journal, 1);
	assert_string_equal(job.service, "web");
	assert_int_equal(job.state, JOB_PRUNED);
	assert_int_equal(job.outcome, OUTCOME_COMPLETE);
	assert_string_equal(job.snapshot_id, "0123456789abcdef");
	assert_string_equal(job.spec.stop_units[0], "web.service");
	/* What that program did not know. */
	assert_int_equal(job.spec.retention.last, 3);
	assert_int_equal(job.spec.retention.daily, 7);
	assert_int_equal(job.spec.retention.weekly, 5);
	assert_int_equal(job.spec.retention.monthly, 12);
	assert_int_equal(job.spec.retention.yearly, 0);
	assert_false(job.spec.keep_all);
	assert_int_equal(job.spec.max_shrink, 100);
	cleanup_job struct job_record other = load_job(journal, 2);
	assert_int_equal(other.state, JOB_STOPPING);
	assert_int_equal(other.error.code, ERROR_DEADLINE);
	struct last_good good;
	assert_int_equal(journal_last_good(journal, "web", &good, &error), 1);
	assert_int_equal(good.job_id, 1);
	last_good_clear(&good);
	cleanup_obligations struct obligation_list owed = {.count = 0};
	assert_success(journal_obligations(journal, 0, true, &owed, &error), &error);
	assert_int_equal(owed.count, 1);
	assert_string_equal(owed.items[0].subject, "mail.service");
	int64_t quarantined;
	assert_success(journal_quarantine_count(journal, &quarantined, &error), &error);
	assert_int_equal(quarantined, 0);

	assert_same_schema_as_new(fixture);
}

static void
a_journal_of_version_2_is_still_read(void **state)
{
	struct fixture *fixture = *state;
	load_dump(fixture, "journal_version_2.sql");
	struct journal *journal = fixture_open(fixture);
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_string_equal(journal_identity(journal), "5ec0de5ec0de5ec2");

	cleanup_job struct job_record job = load_job(journal, 1);
	assert_string_equal(job.service, "web");
	assert_int_equal(job.outcome, OUTCOME_COMPLETE);
	assert_int_equal(job.spec.retention.daily, 14);
	assert_true(job.spec.keep_all);
	/* What that program did not know. */
	assert_int_equal(job.spec.max_shrink, 100);
	assert_null(job.sources_filled);
	/* It refused dumps; this one makes them. */
	cleanup_job struct job_record waiting = load_job(journal, 2);
	assert_int_equal(waiting.state, JOB_DELAYING);
	assert_int_equal(waiting.attempt, 3);
	assert_int_equal(waiting.busy, 1);
	assert_true(waiting.unindexed);
	assert_string_equal(waiting.waiting, "the repository is locked");
	assert_string_equal(waiting.spec.postgres[0], "shop");
	cleanup_job struct job_record retention = load_job(journal, 3);
	assert_int_equal(retention.kind, JOB_KIND_RETENTION);
	assert_string_equal(retention.summary, "2 of 9 snapshots are removed");

	struct last_good good;
	assert_int_equal(journal_last_good(journal, "web", &good, &error), 1);
	assert_int_equal(good.job_id, 1);
	assert_string_equal(good.snapshot_id, "0123456789abcdef");
	assert_int_equal(good.files, 3);
	assert_null(good.sources);
	last_good_clear(&good);
	assert_same_schema_as_new(fixture);
}

static void
a_journal_of_version_3_is_still_read(void **state)
{
	struct fixture *fixture = *state;
	load_dump(fixture, "journal_version_3.sql");
	struct journal *journal = fixture_open(fixture);
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_string_equal(journal_identity(journal), "5ec0de5ec0de5ec3");

	cleanup_job struct job_record job = load_job(journal, 1);
	assert_int_equal(job.outcome, OUTCOME_COMPLETE);
	assert_string_equal(job.sources_filled[0], "/srv/web");
	cleanup_last_good struct last_good good = {.job_id = 0};
	assert_int_equal(journal_last_good(journal, "web", &good, &error), 1);
	assert_int_equal(good.files, 3);
	assert_string_equal(good.sources[0], "/srv/web");
	/* What that program did not know. */
	assert_int_equal(job.data.count, 0);
	assert_int_equal(good.data.count, 0);
	assert_same_schema_as_new(fixture);
}

static void
a_newer_journal_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	submit_one(fixture_open(fixture), RUN_MANUAL, NULL, "web");
	fixture_close(fixture);
	meddle(fixture, "PRAGMA user_version = 4711; CREATE TABLE future (x) ; PRAGMA journal_mode = DELETE");
	size_t length_before, length_after;
	cleanup_free char *before = read_state(fixture, "journal.sqlite", &length_before);
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct journal *journal = NULL;
	assert_fails_with(
	    journal_open(fixture->state, &fixture->clock, &journal, &error), &error, ERROR_JOURNAL_NEWER);
	assert_fails_with(
	    journal_open_readonly(fixture->state, &fixture->clock, &journal, &error), &error, ERROR_JOURNAL_NEWER);
	assert_null(journal);
	cleanup_free char *after = read_state(fixture, "journal.sqlite", &length_after);
	assert_int_equal(length_after, length_before);
	assert_memory_equal(after, before, length_before);
}

static void
the_database_of_another_program_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	static const char *const strangers[] = {
	    "CREATE TABLE cookies (x)",
	    "PRAGMA application_id = 42; PRAGMA user_version = 1; CREATE TABLE cookies (x)",
	    "PRAGMA user_version = 1",
	};
	for (size_t i = 0; i < ARRAY_LENGTH(strangers); i++) {
		remove_tree(fixture->state);
		assert_int_equal(mkdir(fixture->state, 0700), 0);
		meddle(fixture, strangers[i]);
		size_t length_before, length_after;
		cleanup_free char *before = read_state(fixture, "journal.sqlite", &length_before);
		cleanup_error struct error error = {.code = ERROR_NONE};
		struct journal *journal = NULL;
		assert_fails_with(
		    journal_open(fixture->state, &fixture->clock, &journal, &error), &error, ERROR_JOURNAL);
		assert_fails_with(
		    journal_open_readonly(fixture->state, &fixture->clock, &journal, &error), &error, ERROR_JOURNAL);
		cleanup_free char *after = read_state(fixture, "journal.sqlite", &length_after);
		assert_int_equal(length_after, length_before);
		assert_memory_equal(after, before, length_before);
	}
}

static void
steps_are_taken_in_order_and_together(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	int64_t id = submit_one(journal, RUN_MANUAL, NULL, "web");
	cleanup_error struct error error = {.code = ERROR_NONE};

	const char *const broken[] = {journal_migrations.steps[0], journal_migrations.steps[1],
	    journal_migrations.steps[2], journal_migrations.steps[3], "ALTER TABLE job ADD COLUMN colour TEXT",
	    "CREATE TABLE more (x INTEGER) STRICT; ALTER TABLE nowhere ADD COLUMN y TEXT"};
	assert_fails_with(
	    journal_migrate(journal, &(struct migration_list){broken, 6}, &error), &error, ERROR_JOURNAL);
	assert_peek(fixture, "PRAGMA user_version", "4");
	assert_peek(fixture, "SELECT count(*) FROM pragma_table_info('job') WHERE name = 'colour'", "0");
	assert_peek(fixture, "SELECT count(*) FROM sqlite_schema WHERE name = 'more'", "0");

	const char *const good[] = {journal_migrations.steps[0], journal_migrations.steps[1],
	    journal_migrations.steps[2], journal_migrations.steps[3], "ALTER TABLE job ADD COLUMN colour TEXT",
	    "UPDATE job SET colour = 'blue'"};
	assert_success(journal_migrate(journal, &(struct migration_list){good, 6}, &error), &error);
	assert_success(journal_migrate(journal, &(struct migration_list){good, 6}, &error), &error);
	assert_peek(fixture, "PRAGMA user_version", "6");
	assert_peek(fixture, "SELECT colour FROM job", "blue");
	cleanup_job struct job_record job = load_job(journal, id);
	assert_string_equal(job.spec.name, "web");

	/* What this program made is now newer than what it knows. */
	fixture_close(fixture);
	assert_fails_with(
	    journal_open(fixture->state, &fixture->clock, &journal, &error), &error, ERROR_JOURNAL_NEWER);
}

/* ---- speed ---- */

#define SERVICES 20 /* the SQL below counts on it */

static void
fill(struct fixture *fixture)
{
	for (int i = 0; i < SERVICES; i++) {
		cleanup_free char *name = xasprintf("service%d", i);
		submit_one(fixture->journal, RUN_MANUAL, NULL, name);
	}
	meddle(fixture,
	    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
	    " INSERT INTO job (run_id, kind, service, state, outcome, due_at, submitted_at, state_since, "
	    "spec)"
	    " SELECT 1, 'backup', service, 'failed', 'failed', 1, 1, 1, spec"
	    " FROM n JOIN job ON id = 1 + i % 20;"
	    "INSERT INTO obligation (job_id, kind, subject, role, settles, created_at, settled_at, result)"
	    " SELECT id, 'start-unit', service, 'main', 1, 1, 1, 'paid' FROM job;"
	    "INSERT INTO transition (job_id, attempt, at, from_state, to_state, event)"
	    " SELECT id, 1, 1, 'pending', 'failed', 'x' FROM job;"
	    "INSERT INTO child (job_id, command, pid, start_ticks, boot_id, begun_at, ended_at)"
	    " SELECT id, 'x', 2, 1, 'x', 1, 1 FROM job;"
	    "INSERT INTO note (job_id, at, source, text) SELECT id, 1, 'x', 'x' FROM job");
}

static void
ignore_job(void *context, const struct job_record *job)
{
	(void)context;
	(void)job;
}

static void
ignore_transition(void *context, const struct transition *transition)
{
	(void)context;
	(void)transition;
}

static void
ignore_note(void *context, int64_t at, const char *source, const char *text)
{
	(void)context;
	(void)at;
	(void)source;
	(void)text;
}

static void
ignore_child(void *context, const struct child_record *child)
{
	(void)context;
	(void)child;
}

static void
ask_everything(struct journal *journal)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_obligations struct obligation_list open = {.count = 0}, of_job = {.count = 0},
						   given_up = {.count = 0};
	struct job_filter last = {.service = "service7", .limit = 1};
	struct job_filter unfinished = {.unfinished = true};
	struct job_filter newest = {.limit = 20};
	struct last_good good;
	submit_one(journal, RUN_MANUAL, NULL, "service7");
	assert_success(journal_jobs(journal, &last, ignore_job, NULL, &error), &error);
	assert_success(journal_jobs(journal, &unfinished, ignore_job, NULL, &error), &error);
	assert_success(journal_jobs(journal, &newest, ignore_job, NULL, &error), &error);
	assert_success(journal_transitions(journal, 7, 0, ignore_transition, NULL, &error), &error);
	assert_success(journal_transitions(journal, 0, 19990, ignore_transition, NULL, &error), &error);
	int64_t last_transition;
	assert_success(journal_last_transition(journal, &last_transition, &error), &error);
	assert_success(journal_notes(journal, 7, ignore_note, NULL, &error), &error);
	assert_success(journal_add_note(journal, 7, "x", "y", &error), &error);
	assert_success(journal_children(journal, ignore_child, NULL, &error), &error);
	assert_success(journal_obligations(journal, 0, true, &open, &error), &error);
	assert_success(journal_obligations(journal, 7, false, &of_job, &error), &error);
	assert_success(journal_given_up(journal, &given_up, &error), &error);
	assert_success(journal_last_good(journal, "service7", &good, &error), &error);
	cleanup_job struct job_record job = load_job(journal, 8);
	struct obligation owed = {.kind = OBLIGATION_START_UNIT, .subject = job.service};
	assert_success(journal_owe(journal, &job, &owed, 1, &error), &error);
	assert_success(journal_settle(journal, owed.id, RESULT_PAID, NULL, &error), &error);
}

static void
no_question_reads_a_whole_table(void **state)
{
	struct fixture *fixture = *state;
	fixture_open(fixture);
	fill(fixture);
	ask_everything(fixture_reopen(fixture));
	size_t asked = 0;
	for (struct statement *statement = fixture->journal->statements; statement != NULL;
	    statement = statement->next, asked++) {
		int steps = sqlite3_stmt_status(statement->handle, SQLITE_STMTSTATUS_FULLSCAN_STEP, 0);
		int sorts = sqlite3_stmt_status(statement->handle, SQLITE_STMTSTATUS_SORT, 0);
		/* The schema, the check of the file and the short list of the unfinished are read whole. */
		if (strstr(statement->sql, "sqlite_schema") != NULL || strstr(statement->sql, "PRAGMA") != NULL)
			continue;
		if (steps > 50 || (sorts > 0 && strstr(statement->sql, "job_unfinished") == NULL))
			fail_msg("%d rows and %d sorts for: %s", steps, sorts, statement->sql);
	}
	assert_true(asked > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    fixture_test(a_new_journal_has_the_newest_version),
	    fixture_test(history_is_append_only),
	    fixture_test(a_journal_of_version_1_is_still_read),
	    fixture_test(a_journal_of_version_2_is_still_read),
	    fixture_test(a_journal_of_version_3_is_still_read),
	    fixture_test(a_newer_journal_is_left_alone),
	    fixture_test(the_database_of_another_program_is_left_alone),
	    fixture_test(steps_are_taken_in_order_and_together),
	    fixture_test(no_question_reads_a_whole_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
