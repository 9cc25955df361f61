/* What is owed: recorded before the effect, kept in words beside the journal, crossed off after. */
#include "journal_fixture.h"

#include "core/fault.h"
#include "core/text.h"

static struct obligation
owed_unit(const char *name, enum unit_role role)
{
	static char subjects[8][64];
	static size_t next;
	char *subject = subjects[next++ % ARRAY_LENGTH(subjects)];
	snprintf(subject, sizeof(subjects[0]), "%s", name);
	return (struct obligation){
	    .kind = OBLIGATION_START_UNIT, .subject = subject, .role = role, .settles = role != UNIT_ROLE_TRIGGER};
}

static int64_t
owe_unit(struct journal *journal, int64_t job_id, const char *name)
{
	struct error error = {.code = ERROR_NONE};
	cleanup_job struct job_record job = load_job(journal, job_id);
	struct obligation owed = owed_unit(name, UNIT_ROLE_MAIN);
	assert_success(journal_owe(journal, &job, &owed, 1, &error), &error);
	return owed.id;
}

static void
settle(struct journal *journal, int64_t id, enum obligation_result result, const char *message)
{
	struct error error = {.code = ERROR_NONE};
	assert_success(journal_settle(journal, id, result, message, &error), &error);
}

/* The lines of the file `owed` without its explanation. */
static void
assert_owed_file(struct fixture *fixture, const char *expected)
{
	cleanup_free char *content = read_state(fixture, "owed", NULL);
	const char *line = content;
	while (*line == '#')
		line = strchr(line, '\n') + 1;
	assert_string_equal(line, expected);
}

static void
what_is_owed_is_found_again(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	int64_t id = submit_one(journal, RUN_MANUAL, NULL, "web");
	cleanup_job struct job_record job = load_job(journal, id);
	job.away_since = NOW + 77;
	struct obligation owed[] = {
	    owed_unit("web.socket", UNIT_ROLE_TRIGGER),
	    owed_unit("web.service", UNIT_ROLE_MAIN),
	    {.kind = OBLIGATION_POST_BACKUP, .subject = owed_unit("web", UNIT_ROLE_MAIN).subject},
	};
	assert_success(journal_owe(journal, &job, owed, 3, &error), &error);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(owed[i].id, (int64_t)i + 1);
		assert_int_equal(owed[i].job_id, id);
		assert_int_equal(owed[i].result, RESULT_OWED);
		assert_int_equal(owed[i].created_at, NOW);
	}
	fixture_reopen(fixture);
	cleanup_job struct job_record found = load_job(fixture->journal, id);
	assert_int_equal(found.away_since, NOW + 77);
	cleanup_obligations struct obligation_list list = {.count = 0};
	assert_success(journal_obligations(fixture->journal, id, true, &list, &error), &error);
	assert_int_equal(list.count, 3);
	assert_int_equal(list.items[0].kind, OBLIGATION_START_UNIT);
	assert_string_equal(list.items[0].subject, "web.socket");
	assert_int_equal(list.items[0].role, UNIT_ROLE_TRIGGER);
	assert_false(list.items[0].settles);
	assert_int_equal(list.items[1].role, UNIT_ROLE_MAIN);
	assert_true(list.items[1].settles);
	assert_int_equal(list.items[2].kind, OBLIGATION_POST_BACKUP);
	assert_int_equal(list.items[2].settled_at, 0);
	assert_null(list.items[2].message);
}

static void
the_file_follows_what_is_owed(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	submit_one(journal, RUN_MANUAL, NULL, "web");
	submit_one(journal, RUN_MANUAL, NULL, "mail");
	assert_false(state_has(fixture, "owed"));
	int64_t web = owe_unit(journal, 1, "web.service");
	assert_owed_file(fixture, "start-unit web.service  job 1\n");
	int64_t mail = owe_unit(journal, 2, "mail.service");
	cleanup_job struct job_record job = load_job(journal, 2);
	struct obligation hook = {.kind = OBLIGATION_POST_BACKUP, .subject = owed_unit("mail", 0).subject};
	assert_success(journal_owe(journal, &job, &hook, 1, &error), &error);
	assert_owed_file(
	    fixture, "start-unit web.service  job 1\nstart-unit mail.service  job 2\npost-backup mail  job 2\n");
	cleanup_free char *path = state_path(fixture, "owed");
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	cleanup_free char *content = read_state(fixture, "owed", NULL);
	assert_non_null(strstr(content, "systemctl start UNIT"));

	settle(journal, web, RESULT_PAID, NULL);
	assert_owed_file(fixture, "start-unit mail.service  job 2\npost-backup mail  job 2\n");
	settle(journal, mail, RESULT_HANDED_OVER, NULL);
	settle(journal, hook.id, RESULT_GIVEN_UP, "it fails");
	assert_false(state_has(fixture, "owed"));
	/* One that is owed again is in the file again. */
	settle(journal, hook.id, RESULT_OWED, NULL);
	assert_owed_file(fixture, "post-backup mail  job 2\n");
}

/* Its owner may die between the commit and the file, and the next runner would find nothing to cross off. */
static void
the_next_runner_corrects_the_file(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	bool held;
	submit_one(journal, RUN_MANUAL, NULL, "web");
	owe_unit(journal, 1, "web.service");
	meddle(fixture, "UPDATE obligation SET result = 'paid'");
	assert_true(state_has(fixture, "owed"));
	assert_success(journal_lock_runner(journal, &held, NULL, &error), &error);
	assert_true(held);
	assert_false(state_has(fixture, "owed"));
}

static void
a_list_that_was_being_written_goes_with_the_next_runner(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	bool held;
	cleanup_free char *path = xasprintf("%s/.owed.new", fixture->state);
	cleanup_fclose FILE *half = fopen(path, "we");
	assert_non_null(half);
	assert_true(state_has(fixture, ".owed.new"));
	assert_success(journal_lock_runner(journal, &held, NULL, &error), &error);
	assert_false(state_has(fixture, ".owed.new"));
}

static void
nothing_is_owed_if_the_file_cannot_be_written(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	cleanup_error struct error error = {.code = ERROR_NONE};
	int64_t id = submit_one(journal, RUN_MANUAL, NULL, "web");
	/* A directory in the file's place is not replaced. */
	cleanup_free char *path = state_path(fixture, "owed");
	assert_int_equal(mkdir(path, 0700), 0);
	cleanup_job struct job_record job = load_job(journal, id);
	struct obligation owed = owed_unit("web.service", UNIT_ROLE_MAIN);
	assert_fails_with(journal_owe(journal, &job, &owed, 1, &error), &error, ERROR_JOURNAL);
	assert_int_equal(owed.id, 0);
	assert_peek(fixture, "SELECT count(*) FROM obligation", "0");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(owe_unit(journal, id, "web.service"), 1);
}

static void
settling_says_how_it_ended(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	cleanup_error struct error error = {.code = ERROR_NONE};
	submit_one(journal, RUN_MANUAL, NULL, "web");
	submit_one(journal, RUN_MANUAL, NULL, "mail");
	int64_t first = owe_unit(journal, 1, "web.service");
	int64_t second = owe_unit(journal, 2, "mail.service");
	fixture->now = NOW + 5;
	settle(journal, first, RESULT_GIVEN_UP, "it refuses");

	cleanup_obligations struct obligation_list all = {.count = 0}, open = {.count = 0}, web = {.count = 0};
	assert_success(journal_obligations(journal, 0, false, &all, &error), &error);
	assert_int_equal(all.count, 2);
	assert_int_equal(all.items[0].result, RESULT_GIVEN_UP);
	assert_int_equal(all.items[0].settled_at, NOW + 5);
	assert_string_equal(all.items[0].message, "it refuses");
	assert_success(journal_obligations(journal, 0, true, &open, &error), &error);
	assert_int_equal(open.count, 1);
	assert_int_equal(open.items[0].id, second);
	assert_success(journal_obligations(journal, 1, false, &web, &error), &error);
	assert_int_equal(web.count, 1);
	obligation_list_clear(&web);
	assert_success(journal_obligations(journal, 1, true, &web, &error), &error);
	assert_int_equal(web.count, 0);

	assert_int_equal(journal_settle(journal, 4711, RESULT_PAID, NULL, &error), -1);
	assert_int_equal(error.code, ERROR_JOURNAL);
}

static size_t
count_given_up(struct journal *journal)
{
	struct error error = {.code = ERROR_NONE};
	cleanup_obligations struct obligation_list list = {.count = 0};
	assert_success(journal_given_up(journal, &list, &error), &error);
	return list.count;
}

static void
what_was_given_up_stays_known_until_it_is_tried_again(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	submit_one(journal, RUN_MANUAL, NULL, "web");
	submit_one(journal, RUN_MANUAL, NULL, "mail");
	assert_int_equal(count_given_up(journal), 0);
	settle(journal, owe_unit(journal, 1, "web.service"), RESULT_GIVEN_UP, "it refuses");
	assert_int_equal(count_given_up(journal), 1);
	/* Another unit changes nothing. */
	settle(journal, owe_unit(journal, 2, "mail.service"), RESULT_PAID, NULL);
	assert_int_equal(count_given_up(journal), 1);
	int64_t again = owe_unit(journal, 2, "web.service");
	assert_int_equal(count_given_up(journal), 0);
	settle(journal, again, RESULT_GIVEN_UP, "it still refuses");
	assert_int_equal(count_given_up(journal), 1);
	settle(journal, again, RESULT_PAID, NULL);
	assert_int_equal(count_given_up(journal), 0);
}

#ifdef ATELIER_CRASH_POINTS

static void
fail_to_owe(struct fixture *fixture, int argument)
{
	(void)argument;
	struct journal *journal;
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	child_requires(setenv("ATELIER_BACKUP_FAIL_COMMIT", "1", 1) == 0);
	fault_arm("runner");
	cleanup_job struct job_record job = load_job(journal, 1);
	struct obligation owed = owed_unit("web.service", UNIT_ROLE_MAIN);
	cleanup_error struct error error = {.code = ERROR_NONE};
	child_requires(journal_owe(journal, &job, &owed, 1, &error) == -1);
	child_requires(error.code == ERROR_NO_SPACE);
	child_requires(owed.id == 0);
	journal_close(journal);
}

static void
a_commit_that_fails_leaves_no_trace(void **state)
{
	struct fixture *fixture = *state;
	submit_one(fixture_open(fixture), RUN_MANUAL, NULL, "web");
	fixture_close(fixture);
	run_child(fixture, fail_to_owe, 0);
	assert_false(state_has(fixture, "owed"));
	assert_peek(fixture, "SELECT count(*) FROM obligation", "0");
}

static void
die_while_owing(struct fixture *fixture, int argument)
{
	(void)argument;
	struct journal *journal;
	/* The first commit makes the journal, the second submits, the third owes. */
	child_requires(setenv("ATELIER_BACKUP_CRASH_AFTER_COMMIT", "3", 1) == 0);
	fault_arm("runner");
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	submit_one(journal, RUN_MANUAL, NULL, "web");
	owe_unit(journal, 1, "web.service");
}

static void
whoever_dies_while_owing_has_left_the_file(void **state)
{
	struct fixture *fixture = *state;
	int status = wait_child(start_child(fixture, die_while_owing, 0));
	assert_true(WIFSIGNALED(status));
	assert_owed_file(fixture, "start-unit web.service  job 1\n");
	cleanup_obligations struct obligation_list list = {.count = 0};
	struct error error = {.code = ERROR_NONE};
	assert_success(journal_obligations(fixture_open(fixture), 0, true, &list, &error), &error);
	assert_int_equal(list.count, 1);
}

#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef ATELIER_CRASH_POINTS
	    fixture_test(whoever_dies_while_owing_has_left_the_file),
	    fixture_test(a_commit_that_fails_leaves_no_trace),
#endif
	    fixture_test(what_is_owed_is_found_again),
	    fixture_test(the_file_follows_what_is_owed),
	    fixture_test(the_next_runner_corrects_the_file),
	    fixture_test(a_list_that_was_being_written_goes_with_the_next_runner),
	    fixture_test(nothing_is_owed_if_the_file_cannot_be_written),
	    fixture_test(settling_says_how_it_ended),
	    fixture_test(what_was_given_up_stays_known_until_it_is_tried_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
