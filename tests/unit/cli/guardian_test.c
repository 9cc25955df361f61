/* How long a guardian waits before it starts a runner again. */
#include "cli/guardian.h"

#include "core/clock.h"

#include <setjmp.h>

#include <cmocka.h>

static void
the_first_death_costs_no_time(void **state)
{
	(void)state;
	assert_int_equal(guardian_pause(0), 0);
	assert_int_equal(guardian_pause(1), 0);
}

static void
pauses_grow_up_to_a_minute(void **state)
{
	(void)state;
	for (unsigned crashes = 2; crashes < 5; crashes++)
		assert_true(guardian_pause(crashes) < guardian_pause(crashes + 1));
	assert_int_equal(guardian_pause(5), USEC_PER_MIN);
	assert_int_equal(guardian_pause(1000), USEC_PER_MIN);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_death_costs_no_time),
	    cmocka_unit_test(pauses_grow_up_to_a_minute),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
