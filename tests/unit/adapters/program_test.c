#include "adapters/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"

static void
expect_answer(const char *script, const char *answer, bool good)
{
	const char *const arguments[] = {"/bin/sh", "-c", script, NULL};
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *found = NULL;
	bool found_good = !good;
	assert_int_equal(program_ask("a test", arguments, &found, &found_good, &error), 0);
	assert_string_equal(found, answer);
	assert_int_equal(found_good, good);
}

static void
the_first_line_is_the_answer(void **state)
{
	(void)state;
	expect_answer("echo one 1.0; echo two", "one 1.0", true);
	expect_answer("echo; echo two", "two", true);
	expect_answer("printf cut", "cut", true);
	expect_answer("echo nothing of this >&2", "", true);
	expect_answer("echo one; exit 3", "one", false);
	expect_answer("echo one; kill -9 $$", "one", false);
	expect_answer("echo $LC_ALL", "C.UTF-8", true);
}

static void
nothing_else_of_our_environment_is_passed_on(void **state)
{
	(void)state;
	setenv("PGHOST", "elsewhere", 1);
	expect_answer("echo \"<$PGHOST>\"", "<>", true);
	unsetenv("PGHOST");
}

static void
a_program_that_is_not_there(void **state)
{
	(void)state;
	static const char *const arguments[] = {"/nonexistent/program", NULL};
	cleanup_error struct error error = {.code = ERROR_NONE};
	char *answer = NULL;
	bool good = false;
	assert_int_equal(program_ask("a test", arguments, &answer, &good, &error), -1);
	assert_int_equal(error.code, ERROR_SYSTEM);
	assert_null(answer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_line_is_the_answer),
	    cmocka_unit_test(nothing_else_of_our_environment_is_passed_on),
	    cmocka_unit_test(a_program_that_is_not_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
