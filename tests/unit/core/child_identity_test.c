#include "tests/unit/core/child_fixture.h"

static void
an_identity_is_more_than_a_pid(void **state)
{
	(void)state;
	struct child_identity self;
	assert_int_equal(child_identity_read(getpid(), &self), 0);
	assert_int_equal(self.pid, getpid());
	assert_true(self.start_ticks > 0);
	assert_true(child_identity_alive(&self));
	self.start_ticks++;
	assert_false(child_identity_alive(&self));
}

static void
there_are_pids_without_a_process(void **state)
{
	(void)state;
	struct child_identity identity = {.pid = 4711, .start_ticks = 1};
	assert_int_equal(child_identity_read(0, &identity), -1);
	assert_int_equal(child_identity_read(-1, &identity), -1);
	assert_int_equal(child_identity_read(0x7fffffff, &identity), -1);
	assert_int_equal(identity.pid, 4711);
}

static void
a_zombie_is_not_alive(void **state)
{
	(void)state;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	struct child_identity identity;
	assert_int_equal(child_identity_read(pid, &identity), -1);
	assert_true(child_pid_is_unreaped(pid));
	assert_false(child_pid_is_unreaped(getpid()));
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(child_pid_is_unreaped(pid));
}

static void
a_process_of_a_former_run_is_ended(void **state)
{
	struct fixture *fixture = *state;
	start(fixture, "orphan", "");
	finish(fixture);
	struct child_identity identity;
	assert_int_equal(child_identity_read((pid_t)atol(fixture->output.string), &identity), 0);

	/* Somebody else who has the same pid today. */
	struct child_identity other = {.pid = identity.pid, .start_ticks = identity.start_ticks - 1};
	assert_true(child_identity_end(&other, DEADLINE));
	assert_true(child_identity_alive(&identity));

	assert_true(child_identity_end(&identity, DEADLINE));
	assert_false(child_identity_alive(&identity));
	assert_true(child_identity_end(&identity, DEADLINE));
}

int
main(int argc, char **argv)
{
	if (argc == 3)
		return behave(argv[1], argv[2]);
	const struct CMUnitTest tests[] = {
	    child_test(an_identity_is_more_than_a_pid),
	    child_test(there_are_pids_without_a_process),
	    child_test(a_zombie_is_not_alive),
	    child_test(a_process_of_a_former_run_is_ended),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
