#include "tests/unit/core/child_fixture.h"

static void
lines_and_exit_code_arrive(void **state)
{
	struct fixture *fixture = *state;
	start(fixture, "lines", "3");
	finish(fixture);
	assert_string_equal(fixture->output.string, "one||three|");
	assert_string_equal(fixture->errors.string, "complaint|");
	assert_exited_with(fixture, 3);
	assert_false(fixture->exit.stopped_by_us);
	assert_false(fixture->exit.killed_by_us);
	assert_true(fixture->exit.elapsed > 0 && fixture->exit.elapsed < DEADLINE);
}

static void
a_signal_is_told_from_an_exit_code(void **state)
{
	struct fixture *fixture = *state;
	start(fixture, "die", "10");
	finish(fixture);
	assert_killed_by(fixture, SIGUSR1);
	assert_false(fixture->exit.stopped_by_us);
}

static void
nul_bytes_and_an_unfinished_line_arrive(void **state)
{
	struct fixture *fixture = *state;
	start(fixture, "nul", "");
	finish(fixture);
	assert_int_equal(fixture->output.length, 10);
	assert_memory_equal(fixture->output.string, "a\0b|tail\0~", 10);
}

static void
a_line_beyond_the_limit_is_cut(void **state)
{
	struct fixture *fixture = *state;
	fixture->spec.line_limit = 5;
	start(fixture, "huge", "200000");
	finish(fixture);
	assert_string_equal(fixture->output.string, "xxxxx~after|");
}

static void
a_line_of_just_the_limit_is_whole(void **state)
{
	struct fixture *fixture = *state;
	fixture->spec.line_limit = 200000;
	start(fixture, "huge", "200000");
	finish(fixture);
	assert_int_equal(fixture->longest, 200000);
	assert_int_equal(fixture->output.string[200000], '|');
}

static void
the_default_limit_is_a_mebibyte(void **state)
{
	struct fixture *fixture = *state;
	start(fixture, "huge", "3000000");
	finish(fixture);
	assert_int_equal(fixture->longest, 1024 * 1024);
	assert_string_equal(fixture->output.string + 1024 * 1024, "~after|");
}

static void
all_output_is_drained(void **state)
{
	struct fixture *fixture = *state;
	start(fixture, "flood", "50000");
	finish(fixture);
	assert_true(text_ends_with(fixture->output.string, "|line 49999 of the output|"));
	assert_true(text_ends_with(fixture->errors.string, "|line 49999 of the complaints|"));
}

static void
output_nobody_wants_is_drained_too(void **state)
{
	struct fixture *fixture = *state;
	fixture->spec.on_stdout = NULL;
	fixture->spec.on_stderr = NULL;
	start(fixture, "flood", "50000");
	finish(fixture);
	assert_exited_with(fixture, 0);
}

static void
a_child_that_obeys_is_stopped(void **state)
{
	struct fixture *fixture = *state;
	start_and_wait_for_line(fixture, "wait", "");
	child_stop(fixture->child);
	child_stop(fixture->child);
	finish(fixture);
	assert_killed_by(fixture, SIGTERM);
	assert_true(fixture->exit.stopped_by_us);
	assert_false(fixture->exit.killed_by_us);
}

static void
the_first_rung_is_the_signal_asked_for(void **state)
{
	struct fixture *fixture = *state;
	fixture->spec.stop_signal = SIGINT;
	start_and_wait_for_line(fixture, "polite", "");
	child_stop(fixture->child);
	finish(fixture);
	assert_exited_with(fixture, 42);
	assert_true(fixture->exit.stopped_by_us);
	assert_false(fixture->exit.killed_by_us);
}

static void
a_child_that_sleeps_by_sigstop_obeys_as_well(void **state)
{
	struct fixture *fixture = *state;
	fixture->spec.stop_signal = SIGINT;
	start_and_wait_for_line(fixture, "polite", "");
	siginfo_t info;
	pid_t pid = child_identity_of(fixture->child).pid;
	assert_int_equal(kill(pid, SIGSTOP), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
	child_stop(fixture->child);
	finish(fixture);
	assert_exited_with(fixture, 42);
	assert_false(fixture->exit.killed_by_us);
}

static void
a_child_that_does_not_obey_is_killed_after_the_grace(void **state)
{
	struct fixture *fixture = *state;
	fixture->spec.stop_grace = 150 * USEC_PER_MSEC;
	start_and_wait_for_line(fixture, "stubborn", "");
	int64_t before = clock_monotonic(clock_system());
	child_stop(fixture->child);
	finish(fixture);
	assert_true(clock_monotonic(clock_system()) - before >= 140 * USEC_PER_MSEC);
	assert_killed_by(fixture, SIGKILL);
	assert_true(fixture->exit.stopped_by_us);
	assert_true(fixture->exit.killed_by_us);
}

static void
killing_does_not_wait_for_the_grace(void **state)
{
	struct fixture *fixture = *state;
	start_and_wait_for_line(fixture, "stubborn", "");
	child_stop(fixture->child);
	child_kill(fixture->child);
	child_kill(fixture->child);
	finish(fixture);
	assert_killed_by(fixture, SIGKILL);
	assert_true(fixture->exit.killed_by_us);
}

static void
the_family_of_a_stopped_child_is_gone_with_it(void **state)
{
	struct fixture *fixture = *state;
	start_and_wait_for_line(fixture, "family", "");
	pid_t grandchild = (pid_t)atol(fixture->output.string);
	child_stop(fixture->child);
	finish(fixture);
	assert_killed_by(fixture, SIGTERM);
	assert_gone(grandchild);
}

static void
stopping_what_has_ended_says_nothing_about_us(void **state)
{
	struct fixture *fixture = *state;
	start(fixture, "lines", "0");
	struct pollfd ended = {
	    .fd = (int)syscall(SYS_pidfd_open, child_identity_of(fixture->child).pid, 0), .events = POLLIN};
	assert_int_equal(poll(&ended, 1, (int)(DEADLINE / USEC_PER_MSEC)), 1);
	close(ended.fd);
	child_stop(fixture->child);
	child_kill(fixture->child);
	finish(fixture);
	assert_exited_with(fixture, 0);
	assert_false(fixture->exit.stopped_by_us);
	assert_false(fixture->exit.killed_by_us);
	assert_string_equal(fixture->output.string, "one||three|");
}

static void
a_grandchild_that_holds_the_output_is_waited_for_a_moment(void **state)
{
	struct fixture *fixture = *state;
	int64_t before = clock_monotonic(clock_system());
	start(fixture, "leave", "");
	finish(fixture);
	int64_t took = clock_monotonic(clock_system()) - before;
	assert_exited_with(fixture, 0);
	assert_true(fixture->exit.elapsed < took);
	assert_in_range(took, 1900 * USEC_PER_MSEC, 20 * USEC_PER_SEC);
	pid_t grandchild = (pid_t)atol(fixture->output.string);
	/* It was not asked to end, so it lives. */
	assert_int_equal(kill(grandchild, SIGKILL), 0);
	assert_gone(grandchild);
}

static void
stop_it(struct fixture *fixture)
{
	child_stop(fixture->child);
}

static void
kill_it(struct fixture *fixture)
{
	child_kill(fixture->child);
}

static void
abandon_it(struct fixture *fixture)
{
	child_abandon(fixture->child);
	child_abandon(fixture->child);
	fixture->child = NULL;
	event_base_loopbreak(fixture->base);
}

static void
a_line_callback_may_stop_the_child(void **state)
{
	struct fixture *fixture = *state;
	fixture->on_first_line = stop_it;
	start(fixture, "wait", "");
	finish(fixture);
	assert_killed_by(fixture, SIGTERM);
}

static void
a_line_callback_may_kill_the_child(void **state)
{
	struct fixture *fixture = *state;
	fixture->on_first_line = kill_it;
	start(fixture, "stubborn", "");
	finish(fixture);
	assert_killed_by(fixture, SIGKILL);
}

static void
a_line_callback_may_abandon_the_child(void **state)
{
	struct fixture *fixture = *state;
	fixture->on_first_line = abandon_it;
	start(fixture, "flood", "50000");
	struct child_identity identity = child_identity_of(fixture->child);
	run_loop(fixture);
	assert_string_equal(fixture->output.string, "line 0 of the output|");
	assert_int_equal(fixture->exits, 0);
	assert_gone(identity.pid);
}

static void
abandon_kill_and_stop_it(struct fixture *fixture)
{
	child_stop(fixture->child);
	child_kill(fixture->child);
	child_abandon(fixture->child);
}

static void
the_exit_callback_may_do_what_it_likes(void **state)
{
	struct fixture *fixture = *state;
	fixture->in_on_exit = abandon_kill_and_stop_it;
	start(fixture, "lines", "0");
	finish(fixture);
	assert_exited_with(fixture, 0);
}

static void
an_abandoned_child_is_gone_and_silent(void **state)
{
	struct fixture *fixture = *state;
	start_and_wait_for_line(fixture, "stubborn", "");
	struct child_identity identity = child_identity_of(fixture->child);
	child_abandon(fixture->child);
	assert_gone(identity.pid);
	/* Nothing of it is left on the loop but the deadline of run_loop. */
	assert_int_equal(event_base_loop(fixture->base, EVLOOP_NONBLOCK), 0);
	assert_int_equal(fixture->exits, 0);
}

static void
many_children_run_side_by_side(void **state)
{
	struct fixture *fixture = *state;
	fixture->expected_exits = 40;
	for (int i = 0; i < fixture->expected_exits; i++)
		start(fixture, "lines", "7");
	finish(fixture);
	assert_exited_with(fixture, 7);
	assert_int_equal(fixture->output.length, 40 * strlen("one||three|"));
	assert_int_equal(fixture->errors.length, 40 * strlen("complaint|"));
}

static void
the_words_of_an_end(void **state)
{
	(void)state;
	static const struct {
		struct child_exit exit;
		const char *words;
	} ends[] = {
	    {{.number = 0}, "exited with 0"},
	    {{.number = 3}, "exited with 3"},
	    {{.signalled = true, .number = SIGKILL}, "was killed by SIGKILL (9)"},
	    {{.signalled = true, .number = SIGSEGV}, "was killed by SIGSEGV (11)"},
	    {{.signalled = true, .number = 40}, "was killed by signal 40"},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(ends); i++) {
		cleanup_free char *words = child_exit_words(&ends[i].exit);
		assert_string_equal(words, ends[i].words);
	}
}

int
main(int argc, char **argv)
{
	if (argc == 3)
		return behave(argv[1], argv[2]);
	const struct CMUnitTest tests[] = {
	    child_test(lines_and_exit_code_arrive),
	    child_test(a_signal_is_told_from_an_exit_code),
	    child_test(nul_bytes_and_an_unfinished_line_arrive),
	    child_test(a_line_beyond_the_limit_is_cut),
	    child_test(a_line_of_just_the_limit_is_whole),
	    child_test(the_default_limit_is_a_mebibyte),
	    child_test(all_output_is_drained),
	    child_test(output_nobody_wants_is_drained_too),
	    child_test(a_child_that_obeys_is_stopped),
	    child_test(the_first_rung_is_the_signal_asked_for),
	    child_test(a_child_that_sleeps_by_sigstop_obeys_as_well),
	    child_test(a_child_that_does_not_obey_is_killed_after_the_grace),
	    child_test(killing_does_not_wait_for_the_grace),
	    child_test(the_family_of_a_stopped_child_is_gone_with_it),
	    child_test(stopping_what_has_ended_says_nothing_about_us),
	    child_test(a_grandchild_that_holds_the_output_is_waited_for_a_moment),
	    child_test(a_line_callback_may_stop_the_child),
	    child_test(a_line_callback_may_kill_the_child),
	    child_test(a_line_callback_may_abandon_the_child),
	    child_test(the_exit_callback_may_do_what_it_likes),
	    child_test(an_abandoned_child_is_gone_and_silent),
	    child_test(many_children_run_side_by_side),
	    child_test(the_words_of_an_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
