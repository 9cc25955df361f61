#include "tests/unit/core/child_fixture.h"

#include "core/file.h"

#include <grp.h>

static void
describe(struct fixture *fixture)
{
	start(fixture, "describe", "");
	finish(fixture);
	assert_exited_with(fixture, 0);
}

static void
assert_said(const struct fixture *fixture, const char *words)
{
	if (strstr(fixture->output.string, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, fixture->output.string);
}

static void
nothing_of_ours_is_inherited(void **state)
{
	struct fixture *fixture = *state;
	sigset_t some, before;
	int inheritable = dup(STDOUT_FILENO);
	sigemptyset(&some);
	sigaddset(&some, SIGTERM);
	sigaddset(&some, SIGUSR2);
	sigprocmask(SIG_BLOCK, &some, &before);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	describe(fixture);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(inheritable);

	assert_null(strstr(fixture->output.string, "descriptor"));
	assert_said(fixture, "SigBlk:\t0000000000000000|");
	assert_said(fixture, "SigIgn:\t0000000000000000|");
	assert_said(fixture, "input /dev/null|");
	assert_said(fixture, "directory /|");
	assert_said(fixture, "leader yes|");
}

static void
our_own_signal_mask_is_as_before(void **state)
{
	struct fixture *fixture = *state;
	sigset_t before, after;
	sigprocmask(SIG_SETMASK, NULL, &before);
	start(fixture, "lines", "0");
	finish(fixture);
	sigprocmask(SIG_SETMASK, NULL, &after);
	for (int signal = 1; signal < NSIG; signal++)
		assert_int_equal(sigismember(&before, signal), sigismember(&after, signal));
}

static void
directory_and_priorities_are_set(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *directory = xasprintf("directory %s|", fixture->directory);
	cleanup_free char *nice = xasprintf("nice %d|", getpriority(PRIO_PROCESS, 0) + 3);
	fixture->spec.directory = fixture->directory;
	fixture->spec.nice = 3;
	fixture->spec.io_class = 2;
	fixture->spec.io_level = 6;
	describe(fixture);
	assert_said(fixture, directory);
	assert_said(fixture, nice);
	assert_said(fixture, "io 16390|"); /* 2 << 13 | 6 */
}

static void
the_environment_is_what_was_given(void **state)
{
	struct fixture *fixture = *state;
	fixture->spec.environment = (const char *const[]){"A=1", "B=two words", NULL};
	start(fixture, "environment", "");
	finish(fixture);
	assert_string_equal(fixture->output.string, "A=1|B=two words|");
}

static void
an_empty_environment_is_possible(void **state)
{
	struct fixture *fixture = *state;
	fixture->spec.environment = (const char *const[]){NULL};
	start(fixture, "environment", "");
	finish(fixture);
	assert_int_equal(fixture->output.length, 0);
	assert_exited_with(fixture, 0);
}

static void
stdin_holds_the_input(void **state)
{
	struct fixture *fixture = *state;
	fixture->spec.input = "first\nsec\0ond\n";
	fixture->spec.input_length = 14;
	start(fixture, "copy", "");
	finish(fixture);
	assert_memory_equal(fixture->output.string, "first|sec\0ond|", 14);
}

static void
an_input_larger_than_a_pipe_arrives(void **state)
{
	struct fixture *fixture = *state;
	size_t length = 1000000;
	cleanup_free char *input = xmalloc(length);
	memset(input, 'i', length);
	fixture->spec.input = input;
	fixture->spec.input_length = length;
	start(fixture, "copy", "");
	finish(fixture);
	assert_int_equal(fixture->longest, length);
}

static void
an_ignored_input_does_not_hold_us_up(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *input = xcalloc(1, 1000000);
	fixture->spec.input = input;
	fixture->spec.input_length = 1000000;
	start(fixture, "lines", "0");
	finish(fixture);
	assert_exited_with(fixture, 0);
}

static void
privileges_are_dropped_for_good(void **state)
{
	struct fixture *fixture = *state;
	if (geteuid() != 0)
		skip(); /* nothing to drop */
	fixture->spec.drop_privileges = true;
	fixture->spec.user = 65534;
	fixture->spec.group = 65533;
	gid_t before[64], extra = 65532;
	int count = getgroups(ARRAY_LENGTH(before), before);
	assert_true(count >= 0);
	assert_int_equal(setgroups(1, &extra), 0);
	describe(fixture);
	assert_int_equal(setgroups((size_t)count, before), 0);
	assert_said(fixture, "user 65534 65534 group 65533 65533 groups 0|");
}

static void
dropping_to_ourselves_needs_no_rights(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *expected = xasprintf("user %u %u group %u %u", getuid(), geteuid(), getgid(), getegid());
	fixture->spec.drop_privileges = true;
	fixture->spec.user = geteuid();
	fixture->spec.group = getegid();
	describe(fixture);
	assert_said(fixture, expected);
}

static bool
set_oom_score(const char *score)
{
	cleanup_close int descriptor = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	return file_write_all(descriptor, score, strlen(score)) == 0;
}

static void
protection_from_the_oom_killer_is_not_inherited(void **state)
{
	struct fixture *fixture = *state;
	/* Without the right to protect ourselves there is nothing to inherit, and the rest still holds. */
	bool protected = set_oom_score("-100");
	start(fixture, "oom", "");
	if (protected)
		assert_true(set_oom_score("0"));
	finish(fixture);
	assert_false(text_starts_with(fixture->output.string, "-"));
}

static void
a_parent_without_standard_descriptors_has_children(void **state)
{
	struct fixture *fixture = *state;
	start(fixture, "bare", "");
	finish(fixture);
	assert_exited_with(fixture, 0);
}

static void
assert_cannot_start(struct fixture *fixture, const char *program, const char *words)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture->spec.arguments = (const char *const[]){program, NULL};
	assert_null(child_start(fixture->base, &fixture->spec, &error));
	assert_int_equal(error.code, ERROR_SYSTEM);
	if (strstr(error.message, program) == NULL || strstr(error.message, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error.message, words);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_int_equal(fixture->exits, 0);
}

static void
what_cannot_be_executed_is_an_error_of_start(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *file = xasprintf("%s/file", fixture->directory);
	assert_int_equal(file_replace(file, "#!/bin/sh\n", 10, NULL), 0);
	assert_cannot_start(fixture, "/nonexistent/program", "No such file or directory");
	assert_cannot_start(fixture, "no-such-program-in-path", "no such program in PATH");
	assert_cannot_start(fixture, file, "Permission denied");
	assert_cannot_start(fixture, fixture->directory, "Permission denied");
}

static void
a_missing_directory_is_an_error_of_start(void **state)
{
	struct fixture *fixture = *state;
	fixture->spec.directory = "/nonexistent";
	assert_cannot_start(fixture, SELF, "in the directory /nonexistent");
}

static void
a_user_we_may_not_become_is_an_error_of_start(void **state)
{
	struct fixture *fixture = *state;
	fixture->spec.drop_privileges = true;
	fixture->spec.user = geteuid() == 0 ? (uid_t)-1 : 0;
	assert_cannot_start(fixture, SELF, "as user");
}

static void
want_of_descriptors_is_transient(void **state)
{
	struct fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct rlimit before, none;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = (rlim_t)count_open_descriptors() + 1;
	fixture->spec.arguments = (const char *const[]){SELF, "lines", "0", NULL};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	struct child *child = child_start(fixture->base, &fixture->spec, &error);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_null(child);
	assert_int_equal(error.code, ERROR_SYSTEM_BUSY);
}

static void
a_program_is_found_in_path(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *before = xstrdup(getenv("PATH"));
	cleanup_free char *link = xasprintf("%s/some-program", fixture->directory);
	char self[4096] = "";
	assert_true(readlink(SELF, self, sizeof(self) - 1) > 0);
	assert_int_equal(symlink(self, link), 0);
	setenv("PATH", fixture->directory, 1);
	fixture->spec.arguments = (const char *const[]){"some-program", "lines", "0", NULL};
	fixture->child = child_start(fixture->base, &fixture->spec, NULL);
	setenv("PATH", before, 1);
	assert_non_null(fixture->child);
	finish(fixture);
	assert_string_equal(fixture->output.string, "one||three|");
}

static int
on_spawned(void *context, const struct child_identity *identity, struct error *error)
{
	struct fixture *fixture = context;
	fixture->spawned = *identity;
	if (fixture->spawned_result != 0)
		error_set(error, ERROR_JOURNAL, "the row could not be written");
	return fixture->spawned_result;
}

static bool
program_ran(const char *path)
{
	return access(path, F_OK) == 0;
}

static int
spawned_before_it_runs(void *context, const struct child_identity *identity, struct error *error)
{
	struct fixture *fixture = context;
	cleanup_free char *path = xasprintf("%s/ran", fixture->directory);
	assert_true(child_identity_alive(identity));
	assert_false(program_ran(path));
	return on_spawned(context, identity, error);
}

static void
the_owner_knows_the_process_before_it_runs(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *path = xasprintf("%s/ran", fixture->directory);
	fixture->spec.on_spawned = spawned_before_it_runs;
	start(fixture, "touch", path);
	assert_int_equal(child_identity_of(fixture->child).pid, fixture->spawned.pid);
	assert_int_equal(child_identity_of(fixture->child).start_ticks, fixture->spawned.start_ticks);
	finish(fixture);
	assert_exited_with(fixture, 0);
	assert_true(program_ran(path));
}

static void
a_program_whose_owner_objects_never_runs(void **state)
{
	struct fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *path = xasprintf("%s/ran", fixture->directory);
	fixture->spec.on_spawned = on_spawned;
	fixture->spawned_result = -1;
	fixture->spec.arguments = (const char *const[]){SELF, "touch", path, NULL};
	assert_null(child_start(fixture->base, &fixture->spec, &error));
	assert_int_equal(error.code, ERROR_JOURNAL);
	assert_false(child_identity_alive(&fixture->spawned));
	assert_false(program_ran(path));
	assert_int_equal(fixture->exits, 0);
}

static void
a_program_whose_owner_dies_first_never_runs(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *path = xasprintf("%s/ran", fixture->directory);
	start(fixture, "die-while-spawning", path);
	finish(fixture);
	assert_killed_by(fixture, SIGKILL);
	assert_gone((pid_t)atol(fixture->output.string));
	assert_false(program_ran(path));
}

static void
a_child_dies_with_its_owner(void **state)
{
	struct fixture *fixture = *state;
	start_and_wait_for_line(fixture, "parent", "");
	pid_t grandchild = (pid_t)atol(fixture->output.string);
	struct child_identity identity;
	assert_int_equal(child_identity_read(grandchild, &identity), 0);
	/* The owner alone, not its process group: the grandchild has its own, and only the kernel tells it.
	 */
	assert_int_equal(kill(child_identity_of(fixture->child).pid, SIGKILL), 0);
	finish(fixture);
	assert_killed_by(fixture, SIGKILL);
	assert_false(fixture->exit.stopped_by_us);
	assert_gone(grandchild);
}

int
main(int argc, char **argv)
{
	if (argc == 3)
		return behave(argv[1], argv[2]);
	const struct CMUnitTest tests[] = {
	    child_test(nothing_of_ours_is_inherited),
	    child_test(our_own_signal_mask_is_as_before),
	    child_test(directory_and_priorities_are_set),
	    child_test(the_environment_is_what_was_given),
	    child_test(an_empty_environment_is_possible),
	    child_test(stdin_holds_the_input),
	    child_test(an_input_larger_than_a_pipe_arrives),
	    child_test(an_ignored_input_does_not_hold_us_up),
	    child_test(privileges_are_dropped_for_good),
	    child_test(dropping_to_ourselves_needs_no_rights),
	    child_test(protection_from_the_oom_killer_is_not_inherited),
	    child_test(a_parent_without_standard_descriptors_has_children),
	    child_test(what_cannot_be_executed_is_an_error_of_start),
	    child_test(a_missing_directory_is_an_error_of_start),
	    child_test(a_user_we_may_not_become_is_an_error_of_start),
	    child_test(want_of_descriptors_is_transient),
	    child_test(a_program_is_found_in_path),
	    child_test(the_owner_knows_the_process_before_it_runs),
	    child_test(a_program_whose_owner_objects_never_runs),
	    child_test(a_program_whose_owner_dies_first_never_runs),
	    child_test(a_child_dies_with_its_owner),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
