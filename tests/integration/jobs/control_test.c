/* The runner and its clients: what is asked, what is told, and when the runner ends. */
#include "tests/integration/jobs/control_house.h"

#include <limits.h>

static void
a_job_is_submitted_followed_and_seen_in_the_facts(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	assert_int_equal(control_client_hello(client)->pid, house->runner);
	assert_int_equal(strlen(control_client_hello(client)->journal), 16);

	int64_t waiting = submit_named(client, RUN_NIGHTLY, "2026-11-22", "still-web", USEC_PER_HOUR);
	assert_int_equal(follow_jobs(client, &waiting, 1), 1);
	struct control_client *other = house_connect(house);
	int64_t id = submit_named(other, RUN_MANUAL, NULL, "quick-forum", 0);
	assert_int_not_equal(id, waiting);

	/* Whatever has happened by now, the end comes. */
	follow_jobs(other, &id, 1);
	await_end(other);
	assert_int_equal(outcome_of(house, id), OUTCOME_COMPLETE);

	char *names[] = {(char[]){"quick-forum"}, (char[]){"still-web"}, (char[]){"never"}, NULL};
	struct error error = {.code = ERROR_NONE};
	struct live_job_list jobs = {.items = NULL};
	struct journal_facts facts;
	assert_success(control_client_status(other, names, &jobs, &facts, &error), &error);
	assert_int_equal(jobs.count, 1);
	assert_int_equal(jobs.items[0].id, waiting);
	assert_int_equal(jobs.items[0].state, JOB_DELAYING);
	assert_int_equal(facts.count, 3);
	assert_true(facts.services[0].has_good && facts.services[0].good.job_id == id);
	assert_string_equal(service_facts_verdict(&facts.services[0])->snapshot_id, "0123abcd");
	assert_true(facts.services[1].current != NULL && facts.services[1].earlier == NULL);
	assert_int_equal(facts.services[1].current->id, waiting);
	assert_null(facts.services[2].current);
	assert_string_equal(facts.services[2].name, "never");
	live_job_list_clear(&jobs);
	journal_facts_clear(&facts);
	control_client_close(other);
	control_client_close(client);
}

static void
followers_are_told_of_every_step_until_the_end(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	int64_t id = submit_named(client, RUN_NIGHTLY, "2026-11-22", "quick-web", USEC_PER_HOUR);
	assert_int_equal(follow_jobs(client, &id, 1), 1);
	struct error error = {.code = ERROR_NONE};
	int64_t again = 0;
	assert_success(control_client_retry(client, id, NULL, &again, &error), &error);
	assert_int_equal(again, id);

	static const enum job_state path[] = {JOB_CHECKPOINT, JOB_SNAPSHOT, JOB_PRUNED};
	static const char *const words[] = {"due", "done", "done"};
	for (size_t i = 0; i < ARRAY_LENGTH(path); i++) {
		struct control_event event = await_event(client, CONTROL_EVENT_TRANSITION);
		assert_int_equal(event.job_id, id);
		assert_int_equal(event.to, path[i]);
		assert_string_equal(event.service, "quick-web");
		assert_string_equal(event.word, words[i]);
		control_event_clear(&event);
		if (path[i] == JOB_PRUNED)
			break;
		event = await_event(client, CONTROL_EVENT_STEP);
		assert_string_equal(event.word, path[i] == JOB_CHECKPOINT ? "looking" : "reading");
		control_event_clear(&event);
	}
	struct control_event event;
	assert_int_equal(control_client_next(client, PATIENCE, &event, &error), 1);
	assert_int_equal(event.kind, CONTROL_EVENT_END);

	/* What has ended has nothing to be followed: the end comes at once. */
	assert_int_equal(follow_jobs(client, &id, 1), 0);
	await_end(client);
	assert_int_equal(follow_jobs(client, NULL, 0), 0);
	await_end(client);
	control_client_close(client);
}

static void
all_are_followed_until_none_is_left(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house), *follower = house_connect(house);
	int64_t first = submit_named(client, RUN_MANUAL, NULL, "still-a", 0);
	assert_int_equal(follow_jobs(follower, NULL, 0), 1);
	int64_t second = submit_named(client, RUN_MANUAL, NULL, "still-b", 0);
	await_state(follower, second, JOB_SNAPSHOT);
	struct error error = {.code = ERROR_NONE};
	assert_success(control_client_cancel(client, first, "for the test", &error), &error);
	await_state(follower, first, JOB_FAILED);
	assert_success(control_client_cancel(client, second, "for the test", &error), &error);
	await_end(follower);
	assert_int_equal(outcome_of(house, second), OUTCOME_CANCELLED);
	control_client_close(client);
	control_client_close(follower);
	assert_int_equal(house_await_end(house), 0);
}

static void
what_cannot_be_done_is_refused(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	int64_t ended = submit_named(client, RUN_MANUAL, NULL, "quick-web", 0);
	follow_jobs(client, &ended, 1);
	await_end(client);
	int64_t busy = submit_named(client, RUN_MANUAL, NULL, "still-web", 0);
	poll_state(client, busy, JOB_SNAPSHOT);

	struct error error = {.code = ERROR_NONE};
	int64_t id = 0;
	assert_fails_with(control_client_cancel(client, ended, "why", &error), &error, ERROR_USAGE);
	assert_fails_with(control_client_cancel(client, 4711, "why", &error), &error, ERROR_USAGE);
	assert_fails_with(control_client_retry(client, 4711, NULL, &id, &error), &error, ERROR_USAGE);
	assert_fails_with(control_client_retry(client, busy, NULL, &id, &error), &error, ERROR_USAGE);
	struct service other = make_service("other");
	assert_int_equal(control_client_retry(client, ended, &other, &id, &error), -1);
	assert_int_equal(error.code, ERROR_USAGE);
	service_clear(&other);
	struct control_recovered recovered = {.tried = 0};
	assert_fails_with(control_client_recover(client, &recovered, &error), &error, ERROR_SYSTEM_BUSY);

	/* None of this was more than words. */
	assert_success(control_client_cancel(client, busy, "why", &error), &error);
	follow_jobs(client, &busy, 1);
	await_end(client);
	assert_success(control_client_recover(client, &recovered, &error), &error);
	assert_int_equal(recovered.tried, 2);
	assert_int_equal(recovered.paid, 1);
	assert_int_equal(recovered.failure.code, ERROR_UNIT_START_FAILED);
	error_clear(&recovered.failure);
	error_clear(&error);
	control_client_close(client);
}

static void
an_ended_job_is_submitted_again(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	int64_t first = submit_named(client, RUN_MANUAL, NULL, "quick-web", 0), second = 0, third = 0;
	follow_jobs(client, &first, 1);
	await_end(client);
	struct error error = {.code = ERROR_NONE};
	assert_success(control_client_retry(client, first, NULL, &second, &error), &error);
	assert_true(second > first);
	follow_jobs(client, &second, 1);
	await_end(client);
	struct service changed = make_service("quick-web");
	changed.attempts = 7;
	assert_success(control_client_retry(client, first, &changed, &third, &error), &error);
	service_clear(&changed);
	assert_true(third > second);
	follow_jobs(client, &third, 1);
	await_end(client);
	cleanup_free char *query = xasprintf("SELECT outcome FROM job WHERE id = %lld", (long long)third);
	assert_peek(house->fixture, query, "complete");
	control_client_close(client);
}

static void
a_manual_submission_hastens_the_job_that_waits(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	int64_t nightly = submit_named(client, RUN_NIGHTLY, "2026-11-22", "quick-web", USEC_PER_HOUR);
	poll_state(client, nightly, JOB_DELAYING);
	follow_jobs(client, &nightly, 1);
	assert_int_equal(submit_named(client, RUN_MANUAL, NULL, "quick-web", 0), nightly);
	await_end(client);
	/* The night has its run; a second kickoff adds nothing and hastens nothing. */
	assert_int_equal(submit_named(client, RUN_NIGHTLY, "2026-11-22", "quick-web", 0), nightly);
	control_client_close(client);
	assert_int_equal(house_await_end(house), 0);
	assert_int_equal(outcome_of(house, nightly), OUTCOME_COMPLETE);
}

static void
parallel_is_what_the_last_submission_said(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	struct error error = {.code = ERROR_NONE};
	struct service services[3] = {make_service("still-a"), make_service("still-b"), make_service("still-c")};
	struct submission jobs[3] = {{.service = &services[0]}, {.service = &services[1]}, {.service = &services[2]}};
	struct control_submission submission = {.kind = RUN_MANUAL, .parallel = 3, .jobs = jobs, .count = 3};
	struct control_submitted submitted;
	assert_success(control_client_submit(client, &submission, &submitted, &error), &error);
	assert_true(submitted.added);
	for (size_t i = 0; i < 3; i++) {
		poll_state(client, submitted.job_ids[i], JOB_SNAPSHOT);
		service_clear(&services[i]);
	}
	free(submitted.job_ids);
	control_client_close(client);
}

static void
the_runner_ends_when_it_has_nothing_to_do_and_nobody_is_there(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	struct control_event event;
	struct error error = {.code = ERROR_NONE};
	/* Five times its patience. */
	assert_int_equal(control_client_next(client, 5 * house->idle_patience, &event, &error), 0);
	assert_int_equal(waitpid(house->runner, NULL, WNOHANG), 0);
	control_client_close(client);
	assert_int_equal(house_await_end(house), 0);
	assert_int_equal(control_client_connect(house->socket, 0, &client, &error), 0);
}

static uint64_t
wake_ups_of(pid_t pid)
{
	cleanup_free char *path = xasprintf("/proc/%d/status", (int)pid);
	cleanup_fclose FILE *file = fopen(path, "r");
	assert_non_null(file);
	char line[256];
	unsigned long long count;
	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &count) == 1)
			return count;
	fail_msg("%s does not tell", path);
	return 0;
}

static void
nothing_wakes_it_while_every_job_waits(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	int64_t id = submit_named(client, RUN_NIGHTLY, "2026-11-22", "quick-web", USEC_PER_HOUR);
	poll_state(client, id, JOB_DELAYING);
	follow_jobs(client, &id, 1);
	struct control_event event;
	struct error error = {.code = ERROR_NONE};
	assert_int_equal(control_client_next(client, USEC_PER_SEC / 2, &event, &error), 0);
	uint64_t before = wake_ups_of(house->runner);
	assert_int_equal(control_client_next(client, 2 * USEC_PER_SEC, &event, &error), 0);
	assert_int_equal(wake_ups_of(house->runner), before);
	control_client_close(client);
}

static void
a_runner_that_is_asked_to_end_says_so_and_leaves_the_jobs(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	int64_t id = submit_named(client, RUN_MANUAL, NULL, "still-web", 0);
	poll_state(client, id, JOB_SNAPSHOT);
	follow_jobs(client, &id, 1);
	kill(house->runner, SIGHUP); /* a terminal that hangs up ends nothing */
	kill(house->runner, SIGTERM);
	struct control_event event = await_event(client, CONTROL_EVENT_NOTICE);
	assert_non_null(strstr(event.message, "asked to end"));
	control_event_clear(&event);
	event = await_event(client, CONTROL_EVENT_LOST);
	assert_non_null(event.message);
	control_event_clear(&event);
	struct error error = {.code = ERROR_NONE};
	assert_fails_with(control_client_next(client, PATIENCE, &event, &error), &error, ERROR_RUNNER_GONE);
	error_clear(&error);
	control_client_close(client);
	assert_int_equal(house_await_end(house), RUNNER_EXIT_INTERRUPTED);
	assert_int_equal(outcome_of(house, id), OUTCOME_RUNNING);
}

static void
what_is_owed_is_paid_and_nothing_else(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	int64_t owing = submit_named(client, RUN_MANUAL, NULL, "owing-web", 0);
	int64_t waiting = submit_named(client, RUN_NIGHTLY, "2026-11-22", "quick-forum", 0);
	follow_jobs(client, &waiting, 1);
	await_end(client);
	waiting = submit_named(client, RUN_NIGHTLY, "2026-11-23", "quick-forum", USEC_PER_HOUR);
	poll_state(client, owing, JOB_STOPPING);
	poll_state(client, waiting, JOB_DELAYING);
	kill(house->runner, SIGKILL);
	wait_child(house->runner);
	house->runner = 0;
	control_client_close(client);
	assert_peek(house->fixture, "SELECT count(*) FROM obligation WHERE result = 'owed'", "1");
	meddle(house->fixture, "UPDATE job SET due_at = 1 WHERE state = 'delaying'");

	house->until_paid = true;
	house_start_runner(house);
	assert_int_equal(house_await_end(house), 0);
	assert_peek(house->fixture, "SELECT count(*) FROM obligation WHERE result = 'owed'", "0");
	assert_int_equal(outcome_of(house, owing), OUTCOME_RUNNING);
	assert_int_equal(outcome_of(house, waiting), OUTCOME_RUNNING);
	assert_peek(house->fixture, "SELECT count(*) FROM job WHERE state IN ('pruned', 'failed')", "1");
}

static void
a_long_path_and_a_stale_socket_do_not_matter(void **state)
{
	struct house *house = *state;
	char deep[160];
	memset(deep, 'd', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	free(house->runtime);
	free(house->socket);
	house->runtime = xasprintf("%s/%s/%s", house->fixture->root, deep, "run");
	house->socket = xasprintf("%s/%s", house->runtime, CONTROL_SOCKET_NAME);
	for (int i = 0; i < 2; i++) {
		house_start_runner(house);
		control_client_close(house_connect(house));
		/* Killed, it leaves its socket behind. */
		if (i == 0) {
			kill(house->runner, SIGKILL);
			wait_child(house->runner);
			house->runner = 0;
		}
	}
	struct stat status;
	assert_int_equal(stat(house->socket, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0666);
	assert_int_equal(stat(house->runtime, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0755);
	assert_int_equal(house_await_end(house), 0);
}

static void
the_socket_of_another_runner_is_left_alone(void **state)
{
	struct house *house = *state;
	struct error error = {.code = ERROR_NONE};
	int listener = control_listen(house->runtime, &error);
	assert_success(listener, &error);
	assert_fails_with(control_listen(house->runtime, &error), &error, ERROR_SYSTEM_BUSY);
	error_clear(&error);
	close(listener);
	listener = control_listen(house->runtime, &error);
	assert_success(listener, &error);
	close(listener);
}

/* A runner with no patience goes as fast as it comes. What was answered is in the journal; what was not can be handed
 * in again. */
static void
a_submission_is_answered_or_not_done(void **state)
{
	struct house *house = *state;
	house->idle_patience = 0;
	unsigned restarts = 0;
	for (int round = 0; round < 40; round++) {
		/* It is met on its way out, or gone, or not yet. */
		if (round % 5 == 4 && house->runner > 0)
			assert_int_equal(house_await_end(house), 0);
		poll(NULL, 0, round % 8);
		cleanup_free char *name = xasprintf("quick-%d", round);
		struct service service = make_service(name);
		struct submission job = {.service = &service};
		struct control_submission submission = {.kind = RUN_MANUAL, .jobs = &job, .count = 1};
		for (bool done = false; !done;) {
			if (house->runner > 0 && waitpid(house->runner, NULL, WNOHANG) == house->runner)
				house->runner = 0;
			if (house->runner == 0) {
				house_start_runner(house);
				restarts++;
			}
			struct error error = {.code = ERROR_NONE};
			struct control_client *client;
			struct control_submitted submitted;
			int found = control_client_connect(house->socket, PATIENCE, &client, &error);
			if (found > 0) {
				done = control_client_submit(client, &submission, &submitted, &error) == 0;
				if (done) {
					outcome_of(house, submitted.job_ids[0]);
					free(submitted.job_ids);
				}
				control_client_close(client);
			}
			if (!done && error_is_set(&error))
				assert_int_equal(error.code, ERROR_RUNNER_GONE);
			error_clear(&error);
		}
		service_clear(&service);
	}
	assert_true(restarts > 1);
	assert_int_equal(house->runner == 0 ? 0 : house_await_end(house), 0);
	assert_peek(house->fixture, "SELECT count(*) FROM job", "40");
	assert_peek(house->fixture, "SELECT count(*) FROM job WHERE outcome = 'complete'", "40");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    house_test(a_job_is_submitted_followed_and_seen_in_the_facts),
	    house_test(followers_are_told_of_every_step_until_the_end),
	    house_test(all_are_followed_until_none_is_left),
	    house_test(what_cannot_be_done_is_refused),
	    house_test(an_ended_job_is_submitted_again),
	    house_test(a_manual_submission_hastens_the_job_that_waits),
	    house_test(parallel_is_what_the_last_submission_said),
	    house_test(the_runner_ends_when_it_has_nothing_to_do_and_nobody_is_there),
	    house_test(nothing_wakes_it_while_every_job_waits),
	    house_test(a_runner_that_is_asked_to_end_says_so_and_leaves_the_jobs),
	    house_test(what_is_owed_is_paid_and_nothing_else),
	    house_test(a_long_path_and_a_stale_socket_do_not_matter),
	    house_test(the_socket_of_another_runner_is_left_alone),
	    house_test(a_submission_is_answered_or_not_done),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
