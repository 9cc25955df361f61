#include "tests/system/lab_calls.h"
#include "tests/system/systemd_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

int
main(int count, char **arguments)
{
	static const struct CMUnitTest tests[] = {
#define X(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown),
	    INSPECT_CASES(X) STOP_CASES(X) START_CASES(X) SURVIVAL_CASES(X)
#undef X
	};
	/* One case by its name, for whoever looks for a mistake in it. */
	if (count > 1)
		cmocka_set_test_filter(arguments[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
