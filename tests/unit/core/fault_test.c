/* Who counts, and who has the fault. Without crash points there is none, and nothing happens. */
#include "core/fault.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/file.h"
#include "tests/unit/core/temporary.h"

#define QUIET_END 7

#ifdef ATELIER_CRASH_POINTS
#	define THE_FAULT SIGKILL
#else
#	define THE_FAULT 0
#endif

static char *directory;

/* Three effects in a process of its own. Returns the signal that ended it, or 0. */
static int
have_effects(const char *process)
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fault_arm(process);
		for (int i = 0; i < 3; i++)
			fault_effect("an effect");
		_exit(QUIET_END);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), QUIET_END);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
the_process_dies_after_the_chosen_effect(void **state)
{
	(void)state;
	setenv("ATELIER_BACKUP_CRASH_AFTER_EFFECT", "3", 1);
	assert_int_equal(have_effects("runner"), THE_FAULT);
	setenv("ATELIER_BACKUP_CRASH_AFTER_EFFECT", "4", 1);
	assert_int_equal(have_effects("runner"), 0);
}

static void
only_the_kind_of_process_that_is_meant_counts(void **state)
{
	(void)state;
	setenv("ATELIER_BACKUP_CRASH_AFTER_EFFECT", "1", 1);
	assert_int_equal(have_effects("command"), 0);
	setenv("ATELIER_BACKUP_FAULT_IN", "command", 1);
	assert_int_equal(have_effects("command"), THE_FAULT);
	assert_int_equal(have_effects("runner"), 0);
}

static void
a_process_that_is_forked_off_does_not_count(void **state)
{
	(void)state;
	setenv("ATELIER_BACKUP_CRASH_AFTER_EFFECT", "1", 1);
	fault_arm("runner");
	assert_int_equal(have_effects("another"), 0);
}

static void
only_one_process_has_the_fault(void **state)
{
	(void)state;
	cleanup_free char *once = xasprintf("%s/once", directory);
	setenv("ATELIER_BACKUP_CRASH_AFTER_EFFECT", "2", 1);
	setenv("ATELIER_BACKUP_FAULT_ONCE", once, 1);
	assert_int_equal(have_effects("runner"), THE_FAULT);
	assert_int_equal(have_effects("runner"), 0);
#ifdef ATELIER_CRASH_POINTS
	cleanup_free char *words = NULL;
	size_t length;
	assert_int_equal(file_read(once, 1024, &words, &length, NULL), 0);
	assert_string_equal(words, "ATELIER_BACKUP_CRASH_AFTER_EFFECT 2: an effect\n");
#endif
}

static void
a_full_disk_stays_full_and_the_rest_fails_once(void **state)
{
	(void)state;
	bool fails = THE_FAULT != 0;
	setenv("ATELIER_BACKUP_FAIL_COMMIT", "2", 1);
	setenv("ATELIER_BACKUP_FAIL_FORK", "2", 1);
	fault_arm("runner");
	assert_false(fault_fails_commit());
	assert_int_equal(fault_fails_commit(), fails);
	assert_int_equal(fault_fails_commit(), fails);
	assert_false(fault_fails_fork());
	assert_int_equal(fault_fails_fork(), fails);
	assert_false(fault_fails_fork());
}

static int
set_up(void **state)
{
	(void)state;
	directory = temporary_directory_make();
	return 0;
}

static int
tear_down(void **state)
{
	static const char *const variables[] = {"ATELIER_BACKUP_CRASH_AFTER_EFFECT", "ATELIER_BACKUP_FAIL_COMMIT",
	    "ATELIER_BACKUP_FAIL_FORK", "ATELIER_BACKUP_FAULT_IN", "ATELIER_BACKUP_FAULT_ONCE"};
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(variables); i++)
		unsetenv(variables[i]);
	fault_arm("runner");
	temporary_directory_remove(directory);
	return 0;
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
	    TEST(the_process_dies_after_the_chosen_effect),
	    TEST(only_the_kind_of_process_that_is_meant_counts),
	    TEST(a_process_that_is_forked_off_does_not_count),
	    TEST(only_one_process_has_the_fault),
	    TEST(a_full_disk_stays_full_and_the_rest_fails_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
