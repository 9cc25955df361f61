/* Commands are clients of one runner: they hand jobs over, follow, come back, cancel and try again. */
#include "tests/integration/cli/held_world.h"

#include <grp.h>

#define NOBODY 65534

/* ---- handing over ---- */

static void
a_runner_with_nothing_to_do_ends(void **state)
{
	struct world *world = *state;
	expect_run(world, "backup wiki", 0);
	assert_true(world_runner(world) > 0);
	until_true(world_runner(world) == 0);
}

static void
a_second_command_hands_its_jobs_over(void **state)
{
	struct world *world = *state;
	pid_t first = held_begin_backup(world, "backup web");
	pid_t runner = world_runner(world);
	assert_true(runner > 0);
	expect_run(world, "backup wiki --detach", 0);
	expect_words(world->out, "wiki: job 3"); /* the second is the retention that follows the first */
	assert_int_equal(world_runner(world), runner);
	held_release(world);
	world_end(world, first);
	assert_int_equal(world->code, 0);
	expect_run(world, "follow 1", 0);
	expect_words(world->out, "web: complete");
	expect_run(world, "follow 3", 0);
	expect_words(world->out, "wiki: complete");
}

/* The service has an unfinished job already: it is that one that is followed. */
static void
the_same_service_gets_no_second_job(void **state)
{
	struct world *world = *state;
	pid_t first = held_begin_backup(world, "backup web");
	expect_run(world, "backup web --detach", 0);
	expect_words(world->out, "web: job 1");
	held_release(world);
	world_end(world, first);
	assert_int_equal(world->code, 0);
}

static void
detached_jobs_are_told_in_json(void **state)
{
	struct world *world = *state;
	json_t *document = expect_json(world, "backup wiki --detach --json", 0);
	const json_t *job = json_array_get(json_object_get(document, "jobs"), 0);
	assert_string_equal(json_string_value(json_object_get(document, "event")), "detached");
	assert_int_equal(json_integer_value(json_object_get(job, "job")), 1);
	assert_string_equal(json_string_value(json_object_get(job, "service")), "wiki");
	json_decref(document);
}

static void
a_runner_of_another_journal_is_refused(void **state)
{
	struct world *world = *state;
	pid_t first = held_begin_backup(world, "backup web");
	cleanup_free char *line = xasprintf("backup wiki --state-dir=%s/other", world->directory);
	expect_run(world, line, 2);
	expect_words(world->err, "has another journal than");
	expect_words(world->err, "--runtime-dir");
	held_release(world);
	world_end(world, first);
	assert_int_equal(world->code, 0);
}

static void
a_runner_that_cannot_begin_says_why(void **state)
{
	struct world *world = *state;
	world_write(world, "runtime", "this is no directory");
	expect_run(world, "backup wiki", 1);
	expect_words(world->err, "/runtime");
	assert_null(strstr(world->err, "no runner answers"));
}

/* ---- coming back ---- */

static void
follow_comes_back_to_jobs(void **state)
{
	struct world *world = *state;
	expect_run(world, "follow", 0);
	expect_words(world->out, "nothing to follow");
	held_hold(world);
	expect_run(world, "backup web wiki --detach", 0);
	until_true(world_has(world, "reading"));
	pid_t follower = held_begin(world, "follow");
	held_release(world);
	world_end(world, follower);
	assert_int_equal(world->code, 0);
	expect_words(world->out, "web: complete");
	expect_words(world->out, "wiki: complete");
	expect_run(world, "follow 1", 0);
	expect_words(world->out, "web: complete");
	expect_run(world, "follow 7", 2);
	expect_words(world->err, "there is no job 7");
	expect_run(world, "follow one", 2);
}

/* ---- cancel and retry ---- */

static void
a_job_at_work_is_cancelled_through_starting(void **state)
{
	struct world *world = *state;
	pid_t first = held_begin_backup(world, "backup web");
	expect_run(world, "retry 1", 2);
	expect_words(world->err, "is at work");
	expect_run(world, "cancel 1", 0);
	expect_words(world->out, "web: cancelled");
	assert_false(world_has(world, "down"));
	world_end(world, first);
	assert_int_equal(world->code, 4);
	expect_run(world, "cancel 1", 2);
	expect_words(world->err, "has ended already");
	expect_run(world, "cancel 7", 2);
	expect_run(world, "cancel", 2);
}

/* Nobody is at work on it: a runner takes it over, and ends it. */
static void
a_waiting_job_is_cancelled_without_a_runner(void **state)
{
	struct world *world = *state;
	expect_run(world, "run --detach", 0);
	world_end_runner(world);
	expect_run(world, "cancel 2 1", 0);
	expect_words(world->out, "web: cancelled");
	expect_words(world->out, "wiki: cancelled");
}

static void
retry_submits_an_ended_job_again(void **state)
{
	struct world *world = *state;
	held_hold(world);
	expect_run(world, "backup web --detach", 0);
	expect_run(world, "cancel 1", 0);
	held_release(world);
	expect_run(world, "retry 1", 0);
	expect_words(world->out, "web: complete");
	expect_run(world, "show 2", 0);
	/* What is gone from the manifest is done as it was. */
	world_usual_manifest(world);
	json_decref(expect_json(world, "retry --detach --json 1", 0));
	expect_run(world, "follow 3", 0);
	expect_run(world, "retry 9", 2);
}

static void
a_job_that_waits_for_its_night_has_its_turn_now(void **state)
{
	struct world *world = *state;
	expect_run(world, "run --detach", 0);
	expect_run(world, "retry 1 2 3", 0);
	expect_words(world->out, "web: complete");
	expect_words(world->out, "wiki: complete");
	expect_words(world->out, "atelier-backup: complete");
	/* The night has had its run. */
	expect_run(world, "run", 0);
	expect_words(world->out, "nothing is added");
}

/* ---- signals and questions ---- */

static void
without_a_terminal_sigint_cancels(void **state)
{
	struct world *world = *state;
	pid_t command = held_begin_backup(world, "backup web");
	kill(command, SIGINT);
	world_end(world, command);
	assert_int_equal(world->code, 4);
	expect_words(world->out, "web: cancelled");
	assert_false(world_has(world, "down"));
}

static void
a_follower_only_detaches(void **state)
{
	struct world *world = *state;
	pid_t command = held_begin_backup(world, "backup web");
	pid_t follower = held_begin(world, "follow --json");
	/* It has taken note of signals when it has connected; before, it just ends. */
	kill(follower, SIGTERM);
	int status;
	assert_int_equal(waitpid(follower, &status, 0), follower);
	held_release(world);
	world_end(world, command);
	assert_int_equal(world->code, 0);
}

static void
signals_detach(void **state)
{
	struct world *world = *state;
	static const int numbers[] = {SIGHUP, SIGTERM};
	for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
		pid_t command = held_begin_backup(world, "backup web");
		kill(command, numbers[i]);
		world_end(world, command);
		assert_int_equal(world->code, 1);
		expect_words(world->err, "atelier-backup follow");
		assert_true(world_has(world, "down"));
		held_release(world);
		cleanup_free char *line = xasprintf("follow %zu", 2 * i + 1);
		expect_run(world, line, 0);
		expect_words(world->out, "web: complete");
	}
}

static void
on_a_terminal_ctrl_c_asks(void **state)
{
	struct world *world = *state;
	static const struct {
		const char *keys;
		int code;
		const char *words;
	} answers[] = {{"d", 1, "detached"}, {"\003", 1, "detached"}, {"c", 4, "cancelled"}};
	for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
		struct terminal terminal;
		held_hold(world);
		terminal_begin(&terminal, "backup web");
		until_true(terminal_has(&terminal, "snapshot") && world_has(world, "reading"));
		/* Enter: nothing has happened, and it can be asked again. */
		terminal_type(&terminal, "\003");
		until_true(terminal_has(&terminal, "[d]etach"));
		text_clear(&terminal.seen);
		terminal_type(&terminal, "\n");
		until_true(terminal_has(&terminal, "\033[K"));
		text_clear(&terminal.seen);
		terminal_type(&terminal, "\003");
		until_true(terminal_has(&terminal, "[d]etach"));
		terminal_type(&terminal, answers[i].keys);
		assert_int_equal(terminal_end_of(&terminal), answers[i].code);
		expect_words(terminal.seen.string, answers[i].words);
		text_clear(&terminal.seen);
		held_release(world);
		cleanup_free char *line = xasprintf("follow %zu", 2 * i + 1);
		expect_run(world, line, answers[i].code == 4 ? 4 : 0);
	}
}

/* The runner tells members of the group what is in a journal that they may not read. */
static void
members_of_the_status_group_see_the_status(void **state)
{
	struct world *world = *state;
	if (geteuid() != 0)
		fail_msg("this needs root, to be somebody else");
	const struct group *group = getgrgid(NOBODY);
	assert_non_null(group);
	cleanup_free char *services =
	    xasprintf("\"web\": {\"data\": {\"files\": [\"%s/data\"]}}}, \"statusGroup\": \"%s\", \"schedule\": {",
		world->directory, group->gr_name);
	world_manifest(world, services);
	assert_int_equal(chmod(world->directory, 0777), 0);
	world_chmod(world, "manifest.json", 0644);
	held_hold(world);
	expect_run(world, "backup web --detach", 0);
	until_true(world_has(world, "reading"));
	world->user = NOBODY;
	expect_run(world, "status", 5);
	expect_words(world->out, "snapshot");
	json_t *document = expect_json(world, "status --json", 5);
	assert_true(json_is_true(json_object_get(document, "runner")));
	json_decref(document);
	expect_run(world, "cancel 1", 2);
	world->user = 0;
	held_release(world);
	expect_run(world, "follow 1", 0);
	until_true(world_runner(world) == 0);

	/* Nobody is there to tell. */
	world->user = NOBODY;
	expect_run(world, "status", 1);
	expect_words(world->err, "journal");
	world->user = 0;
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    held_test(a_runner_with_nothing_to_do_ends),
	    held_test(a_second_command_hands_its_jobs_over),
	    held_test(the_same_service_gets_no_second_job),
	    held_test(detached_jobs_are_told_in_json),
	    held_test(a_runner_of_another_journal_is_refused),
	    held_test(a_runner_that_cannot_begin_says_why),
	    held_test(follow_comes_back_to_jobs),
	    held_test(a_job_at_work_is_cancelled_through_starting),
	    held_test(a_waiting_job_is_cancelled_without_a_runner),
	    held_test(retry_submits_an_ended_job_again),
	    held_test(a_job_that_waits_for_its_night_has_its_turn_now),
	    held_test(without_a_terminal_sigint_cancels),
	    held_test(a_follower_only_detaches),
	    held_test(signals_detach),
	    held_test(on_a_terminal_ctrl_c_asks),
	    held_test(members_of_the_status_group_see_the_status),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
