/* `status`, `show` and `check` on journals that a crash left behind. */
#include "tests/integration/cli/cli_world.h"

#include "jobs/journal.h"
#include "jobs/manifest.h"

#include <sqlite3.h>

/* What a runner wrote before it died, written by this test. */
struct past {
	struct manifest manifest;
	struct journal *journal;
	struct job_record job;
};

static void
past_open(const struct world *world, struct past *past)
{
	cleanup_free char *manifest = world_path(world, "manifest.json");
	cleanup_free char *directory = world_path(world, "state");
	cleanup_problems struct problem_list problems = {.count = 0};
	cleanup_error struct error error = {.code = ERROR_NONE};
	const struct manifest_overrides overrides = {.restic_program = world->restic, .cache_directory = "/nowhere"};
	*past = (struct past){.journal = NULL};
	assert_int_equal(manifest_load(manifest, &overrides, &past->manifest, &problems), 0);
	if (journal_open(directory, clock_system(), &past->journal, &error) < 0)
		fail_msg("%s", error.message);

	const struct submission submission = {.service = &past->manifest.services[0]};
	int64_t run, id;
	bool added;
	assert_int_equal(
	    journal_submit(past->journal, RUN_MANUAL, NULL, &submission, 1, &run, &added, &id, &error), 0);
	assert_int_equal(journal_job(past->journal, id, &past->job, &error), 1);
}

static void
past_move(struct past *past, enum job_state state, enum job_outcome outcome)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	enum job_state from = past->job.state;
	past->job.state = state;
	past->job.outcome = outcome;
	if (job_state_is_terminal(state))
		past->job.ended_at = clock_wall(clock_system());
	if (journal_update_job(past->journal, &past->job, from, true, "take", "told\033[31m by a test", &error) < 0)
		fail_msg("%s", error.message);
}

static int64_t
past_owe(struct past *past, const char *unit)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *subject = xstrdup(unit);
	struct obligation owed = {.kind = OBLIGATION_START_UNIT, .subject = subject, .settles = true};
	past->job.away_since = clock_wall(clock_system());
	owed.job_id = past->job.id;
	if (journal_owe(past->journal, &past->job, &owed, 1, &error) < 0)
		fail_msg("%s", error.message);
	return owed.id;
}

static void
past_close(struct past *past)
{
	job_record_clear(&past->job);
	journal_close(past->journal);
	manifest_clear(&past->manifest);
}

static void
an_interrupted_job_is_told_with_what_to_do(void **state)
{
	struct world *world = *state;
	struct past past;
	past_open(world, &past);
	past_move(&past, JOB_SNAPSHOT, OUTCOME_RUNNING);
	past_owe(&past, "web.service");
	expect_run(world, "status", 1);
	expect_words(world->out, "web.service: was stopped for a backup and does not run again");
	expect_words(world->out, "atelier-backup recover");
	expect_words(world->out, "snapshot (interrupted)");
	expect_run(world, "show 1", 0);
	expect_words(world->out, "start-unit  web.service  owed");
	expect_words(world->out, "told?[31m by a test");
	past_close(&past);
}

static void
a_living_runner_interrupts_nothing(void **state)
{
	struct world *world = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct past past;
	bool held;
	past_open(world, &past);
	past_move(&past, JOB_SNAPSHOT, OUTCOME_RUNNING);
	past_owe(&past, "web.service");
	assert_int_equal(journal_lock_runner(past.journal, &held, NULL, &error), 0);
	assert_true(held);
	/* 5: it has no good backup yet. */
	expect_run(world, "status", 5);
	assert_null(strstr(world->out, "interrupted"));
	assert_null(strstr(world->out, "web.service"));
	json_t *document = expect_json(world, "status --json", 5);
	assert_true(json_is_true(json_object_get(document, "runner")));
	json_decref(document);
	past_close(&past);
}

static void
a_unit_that_was_given_up_is_a_failure(void **state)
{
	struct world *world = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct past past;
	past_open(world, &past);
	int64_t owed = past_owe(&past, "web.service");
	assert_int_equal(journal_settle(past.journal, owed, RESULT_GIVEN_UP, "start\033 limit hit", &error), 0);
	past_move(&past, JOB_PRUNED, OUTCOME_COMPLETE);
	expect_run(world, "status", 1);
	expect_words(
	    world->out, "web.service: was stopped for a backup and does not run again (job 1): start? limit hit");
	expect_run(world, "show 1", 0);
	expect_words(world->out, "given-up");
	past_close(&past);
}

/* A hook that was given up, at a time that stands in the journal. */
static void
give_up_hook(struct past *past, const struct world *world, const char *settled_at)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *subject = xstrdup(past->job.service);
	struct obligation owed = {.kind = OBLIGATION_POST_BACKUP, .subject = subject};
	assert_int_equal(journal_owe(past->journal, &past->job, &owed, 1, &error), 0);
	assert_int_equal(journal_settle(past->journal, owed.id, RESULT_GIVEN_UP, "refused", &error), 0);
	past_move(past, JOB_FAILED, OUTCOME_FAILED);
	past_close(past);
	cleanup_free char *path = world_path(world, "state/journal.sqlite");
	cleanup_free char *sql = xasprintf("UPDATE obligation SET settled_at = %s", settled_at);
	sqlite3 *database;
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(database);
}

/* What a service manager refused because it was going down, comes back with the machine. */
static void
what_was_given_up_before_the_boot_is_paid_after_it(void **state)
{
	struct world *world = *state;
	cleanup_free char *data = world_path(world, "data");
	cleanup_free char *paid = world_path(world, "paid");
	cleanup_free char *services =
	    xasprintf("\"web\": {\"paths\": [\"%s\"], \"postBackup\": \"touch %s\"}", data, paid);
	world_manifest(world, services);
	struct past past;
	past_open(world, &past);
	give_up_hook(&past, world, "settled_at"); /* in this boot: a person is needed */
	expect_run(world, "recover --owed", 0);
	assert_false(world_has(world, "paid"));
	past_open(world, &past);
	give_up_hook(&past, world, "1000000");
	expect_run(world, "recover --owed", 0);
	assert_true(world_has(world, "paid"));
	expect_run(world, "show 2", 0);
	assert_null(strstr(world->out, "given-up"));
}

static void
partial_and_failed_have_their_exit_codes(void **state)
{
	struct world *world = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct past past;
	past_open(world, &past);
	past_move(&past, JOB_PRUNED, OUTCOME_COMPLETE);
	expect_run(world, "status", 0);

	/* The same service again: the last one counts. */
	const struct submission again = {.service = &past.manifest.services[0]};
	int64_t run, id;
	bool added;
	assert_int_equal(journal_submit(past.journal, RUN_MANUAL, NULL, &again, 1, &run, &added, &id, &error), 0);
	job_record_clear(&past.job);
	assert_int_equal(journal_job(past.journal, id, &past.job, &error), 1);
	error_set(&past.job.error, ERROR_SOURCE_PARTLY_UNREADABLE, "2 files could not be read");
	past_move(&past, JOB_PRUNED, OUTCOME_PARTIAL);
	expect_run(world, "status", 3);
	expect_words(world->out, "partial: 2 files could not be read");
	past_close(&past);
}

/* The program was replaced while the runner was dead. */
static void
an_older_journal_is_no_obstacle_to_paying(void **state)
{
	struct world *world = *state;
	cleanup_free char *dump = NULL;
	cleanup_free char *directory = world_path(world, "state");
	cleanup_free char *path = world_path(world, "state/journal.sqlite");
	cleanup_error struct error error = {.code = ERROR_NONE};
	size_t length;
	if (file_read(TEST_SOURCE_DIR "/tests/unit/jobs/journal_version_1.sql", 1 << 20, &dump, &length, &error) < 0)
		fail_msg("%s", error.message);
	mkdir(directory, 0700);
	sqlite3 *database;
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, dump, NULL, NULL, NULL), SQLITE_OK);
	/* By hooks alone: no unit of this machine is meant. */
	static const char paid[] = "UPDATE obligation SET result = 'paid'";
	assert_int_equal(sqlite3_exec(database, paid, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(database);
	expect_run(world, "status", 1);
	expect_words(world->err, "older");
	expect_run(world, "recover --owed", 0);
	world_run(world, "status");
	assert_string_equal(world->err, "");
}

static void
a_damaged_journal_is_an_error_and_no_empty_one(void **state)
{
	struct world *world = *state;
	static const char *const lines[] = {"status", "jobs", "show 1", "init"};
	cleanup_free char *directory = world_path(world, "state");
	mkdir(directory, 0700);
	world_write(world, "state/journal.sqlite", "this is no database, whatever its name says");
	for (size_t i = 0; i < ARRAY_LENGTH(lines); i++) {
		expect_run(world, lines[i], 1);
		assert_string_equal(world->out, "");
		expect_words(world->err, "journal");
	}
	expect_run(world, "check", 1);
	expect_words(world->out, "error: journal: ");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    world_test(an_interrupted_job_is_told_with_what_to_do),
	    world_test(a_living_runner_interrupts_nothing),
	    world_test(a_unit_that_was_given_up_is_a_failure),
	    world_test(what_was_given_up_before_the_boot_is_paid_after_it),
	    world_test(partial_and_failed_have_their_exit_codes),
	    world_test(an_older_journal_is_no_obstacle_to_paying),
	    world_test(a_damaged_journal_is_an_error_and_no_empty_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
