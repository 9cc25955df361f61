/* What is told to sudo. */
#include "cli/sudo.h"

#include "core/alloc.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static void
variables_become_options_before_what_was_typed(void **state)
{
	(void)state;
	static char program[] = "atelier-backup", command[] = "backup", option[] = "--state-dir=/typed",
		    operand[] = "web";
	char *const line[] = {program, command, option, operand, NULL};
	setenv("ATELIER_BACKUP_STATE_DIR", "/from/the environment", 1);
	cleanup_strings char **arguments = sudo_arguments("/opt/atelier-backup", 4, line);
	static const char *const expected[] = {"sudo", "--", "/opt/atelier-backup",
	    "--state-dir=/from/the environment", "backup", "--state-dir=/typed", "web"};
	assert_int_equal(strings_count(arguments), ARRAY_LENGTH(expected));
	for (size_t i = 0; i < ARRAY_LENGTH(expected); i++)
		assert_string_equal(arguments[i], expected[i]);
}

static void
a_command_that_needs_no_root_is_left_alone(void **state)
{
	(void)state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	const struct command command = {.name = "status"};
	char *const line[] = {NULL};
	assert_int_equal(sudo_if_needed(&command, 0, line, &error), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(variables_become_options_before_what_was_typed),
	    cmocka_unit_test(a_command_that_needs_no_root_is_left_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
