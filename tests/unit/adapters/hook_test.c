#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "adapters/hook.h"
#include "core/alloc.h"
#include "core/clock.h"

#define DEADLINE_SEC 60

struct fixture {
	struct event_base *base;
	struct hook_call *call;
	char **lines;
	bool came;
	struct error error;
	const char *stop_at; /* hook_call_stop when this line comes */
	struct child_identity identity;
};

static int
setup(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->base = event_base_new();
	*state = fixture;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *fixture = *state;
	event_base_free(fixture->base);
	strings_free(fixture->lines);
	error_clear(&fixture->error);
	free(fixture);
	return 0;
}

static void
take_line(void *context, const char *line)
{
	struct fixture *fixture = context;
	strings_add(&fixture->lines, line);
	if (fixture->stop_at != NULL && strcmp(line, fixture->stop_at) == 0)
		hook_call_stop(fixture->call);
}

static void
take_end(void *context, const struct error *error)
{
	struct fixture *fixture = context;
	assert_false(fixture->came);
	fixture->came = true;
	error_copy(&fixture->error, error);
}

static int
take_identity(void *context, const struct child_identity *identity, struct error *error)
{
	struct fixture *fixture = context;
	(void)error;
	fixture->identity = *identity;
	return 0;
}

static void
give_up(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor, (void)what, (void)context;
	fail_msg("the hook did not end within %d s", DEADLINE_SEC);
}

static void
start(struct fixture *fixture, const char *command)
{
	struct hook_request request = {
	    .kind = "preBackup",
	    .command = command,
	    .service = "web",
	    .job = 42,
	    .on_spawned = take_identity,
	    .on_words = take_line,
	    .context = fixture,
	};
	cleanup_error struct error error = {0};
	fixture->call = hook_start(fixture->base, &request, take_end, &error);
	assert_non_null(fixture->call);
	assert_false(fixture->came);
}

static void
run(struct fixture *fixture, const char *command)
{
	start(fixture, command);
	struct event *deadline = evtimer_new(fixture->base, give_up, NULL);
	struct timeval patience = {.tv_sec = DEADLINE_SEC};
	evtimer_add(deadline, &patience);
	while (!fixture->came)
		event_base_loop(fixture->base, EVLOOP_ONCE);
	event_free(deadline);
}

static void
assert_failure(const struct fixture *fixture, enum error_code code, const char *words)
{
	assert_string_equal(error_code_word(fixture->error.code), error_code_word(code));
	if (strstr(fixture->error.message, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, fixture->error.message);
}

static void
test_output_comes_line_by_line(void **state)
{
	struct fixture *fixture = *state;
	run(fixture, "echo one; echo two >&2; printf 'a\\033[31mb'; cat");
	assert_false(error_is_set(&fixture->error));
	assert_int_equal(strings_count(fixture->lines), 3);
	assert_true(strings_contain(fixture->lines, "one"));
	assert_true(strings_contain(fixture->lines, "two"));
	assert_true(strings_contain(fixture->lines, "a?[31mb"));
}

static void
test_a_failure_carries_the_last_words(void **state)
{
	struct fixture *fixture = *state;
	run(fixture, "echo beginning; echo cannot reach the queue >&2; echo >&2; exit 3");
	assert_failure(fixture, ERROR_HOOK_FAILED, "preBackup exited with 3: cannot reach the queue");
	assert_non_null(fixture->error.hint);
}

static void
test_the_first_failing_command_ends_it(void **state)
{
	struct fixture *fixture = *state;
	run(fixture, "false; echo went on");
	assert_failure(fixture, ERROR_HOOK_FAILED, "exited with 1");
	assert_false(strings_contain(fixture->lines, "went on"));
}

static void
test_a_signal_is_a_failure(void **state)
{
	struct fixture *fixture = *state;
	run(fixture, "kill -KILL $$");
	assert_failure(fixture, ERROR_HOOK_FAILED, "SIGKILL");
}

static void
test_a_syntax_error_is_a_failure(void **state)
{
	struct fixture *fixture = *state;
	run(fixture, "if then");
	assert_failure(fixture, ERROR_HOOK_FAILED, "exited with 2");
}

static void
test_stop_ends_it_with_all_it_started(void **state)
{
	struct fixture *fixture = *state;
	fixture->stop_at = "ready";
	run(fixture, "sleep 1000 & echo pid $!; echo ready; wait");
	assert_failure(fixture, ERROR_CANCELLED, "preBackup was stopped");
	assert_true(strings_count(fixture->lines) >= 2);
	int pid = 0;
	assert_int_equal(sscanf(fixture->lines[0], "pid %d", &pid), 1);
	struct child_identity identity;
	if (child_identity_read(pid, &identity) == 0)
		assert_true(child_identity_end(&identity, 10 * USEC_PER_SEC));
}

/* Its own clean end does not make a cancelled hook a good one. */
static void
test_a_stopped_hook_that_exits_0_is_cancelled(void **state)
{
	struct fixture *fixture = *state;
	fixture->stop_at = "ready";
	run(fixture, "trap 'echo bye; exit 0' TERM; sleep 1000 & echo ready; wait");
	assert_failure(fixture, ERROR_CANCELLED, "exited with 0");
	assert_true(strings_contain(fixture->lines, "bye"));
}

static void
test_a_background_process_that_holds_the_pipe_is_not_waited_for(void **state)
{
	struct fixture *fixture = *state;
	int64_t before = clock_monotonic(clock_system());
	run(fixture, "sleep 1000 & echo $!");
	int64_t elapsed = clock_monotonic(clock_system()) - before;
	assert_false(error_is_set(&fixture->error));
	pid_t pid = (pid_t)atol(fixture->lines[0]);
	assert_true(pid > 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(elapsed < 30 * USEC_PER_SEC);
}

static void
test_the_environment_is_ours_to_choose(void **state)
{
	struct fixture *fixture = *state;
	setenv("RESTIC_PASSWORD", "hunter2", 1);
	setenv("PGPASSWORD", "hunter2", 1);
	setenv("HOUSE_TOKEN", "hunter2", 1);
	setenv("TZ", "Europe/Berlin", 1);
	run(fixture, "env; pwd");
	unsetenv("RESTIC_PASSWORD");
	unsetenv("PGPASSWORD");
	unsetenv("HOUSE_TOKEN");
	unsetenv("TZ");
	assert_false(error_is_set(&fixture->error));
	assert_true(strings_contain(fixture->lines, "ATELIER_SERVICE=web"));
	assert_true(strings_contain(fixture->lines, "ATELIER_JOB=42"));
	assert_true(strings_contain(fixture->lines, "ATELIER_HOOK=preBackup"));
	assert_true(strings_contain(fixture->lines, "TZ=Europe/Berlin"));
	assert_true(strings_contain(fixture->lines, "/"));
	bool path = false;
	for (size_t i = 0; fixture->lines[i] != NULL; i++) {
		assert_null(strstr(fixture->lines[i], "hunter2"));
		path = path || strncmp(fixture->lines[i], "PATH=/", 6) == 0;
	}
	assert_true(path);
}

/* Recovery ends what a dead runner left by its process group. */
static void
test_it_leads_its_own_process_group(void **state)
{
	struct fixture *fixture = *state;
	run(fixture, "read pid comm status parent group rest < /proc/$$/stat; echo $pid $group");
	cleanup_free char *expected = xasprintf("%ld %ld", (long)fixture->identity.pid, (long)fixture->identity.pid);
	assert_string_equal(fixture->lines[0], expected);
}

static int
refuse_spawn(void *context, const struct child_identity *identity, struct error *error)
{
	(void)context, (void)identity;
	return error_set(error, ERROR_JOURNAL, "no room in the journal");
}

static void
test_it_does_not_begin_unrecorded(void **state)
{
	struct fixture *fixture = *state;
	char marker[] = "/tmp/hook-test-XXXXXX";
	cleanup_close int descriptor = mkstemp(marker);
	assert_true(descriptor >= 0);
	cleanup_free char *command = xasprintf("rm '%s'", marker);
	struct hook_request request = {
	    .kind = "preBackup",
	    .command = command,
	    .service = "web",
	    .job = 42,
	    .on_spawned = refuse_spawn,
	    .context = fixture,
	};
	cleanup_error struct error error = {0};
	assert_null(hook_start(fixture->base, &request, take_end, &error));
	assert_int_equal(error.code, ERROR_JOURNAL);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_false(fixture->came);
	assert_int_equal(unlink(marker), 0);
}

static void
test_abandoned_it_is_killed_and_says_nothing(void **state)
{
	struct fixture *fixture = *state;
	start(fixture, "sleep 1000");
	hook_call_abandon(fixture->call);
	hook_call_abandon(NULL);
	assert_true(child_identity_end(&fixture->identity, 10 * USEC_PER_SEC));
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_false(fixture->came);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(test_output_comes_line_by_line),
	    TEST(test_a_failure_carries_the_last_words),
	    TEST(test_the_first_failing_command_ends_it),
	    TEST(test_a_signal_is_a_failure),
	    TEST(test_a_syntax_error_is_a_failure),
	    TEST(test_stop_ends_it_with_all_it_started),
	    TEST(test_a_stopped_hook_that_exits_0_is_cancelled),
	    TEST(test_a_background_process_that_holds_the_pipe_is_not_waited_for),
	    TEST(test_the_environment_is_ours_to_choose),
	    TEST(test_it_leads_its_own_process_group),
	    TEST(test_it_does_not_begin_unrecorded),
	    TEST(test_abandoned_it_is_killed_and_says_nothing),
#undef TEST
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
