#include "core/clock.h"

#include "core/alloc.h"
#include "tests/unit/core/temporary.h"

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>

#include <cmocka.h>

struct fixture {
	struct event_base *base;
	struct wall_alarm *alarm;
	int fired;
	int again;      /* how often the callback still re-arms */
	bool free_self; /* the callback frees the alarm */
	size_t descriptors;
};

static void
on_alarm(void *context)
{
	struct fixture *fixture = context;
	fixture->fired++;
	if (fixture->again > 0) {
		fixture->again--;
		wall_alarm_set(fixture->alarm, clock_wall(clock_system()) + 5 * USEC_PER_MSEC);
	}
	if (fixture->free_self) {
		wall_alarm_free(fixture->alarm);
		fixture->alarm = NULL;
	}
}

static int
set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->descriptors = count_open_descriptors();
	fixture->base = event_base_new();
	fixture->alarm = wall_alarm_new(fixture->base, on_alarm, fixture, NULL);
	*state = fixture;
	return fixture->alarm == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;
	wall_alarm_free(fixture->alarm);
	event_base_free(fixture->base);
	int result = fixture->descriptors == count_open_descriptors() ? 0 : -1;
	free(fixture);
	return result;
}

/* Runs the loop until nothing is armed any more; an alarm that never fires would run into the test's timeout.
 */
static void
run(struct fixture *fixture)
{
	assert_int_not_equal(event_base_dispatch(fixture->base), -1);
}

static void
the_clocks_of_the_machine_go(void **state)
{
	(void)state;
	const struct clock *clock = clock_system();
	int64_t wall = clock_wall(clock);
	assert_true(wall / USEC_PER_SEC - (int64_t)time(NULL) <= 1);
	assert_true((int64_t)time(NULL) - wall / USEC_PER_SEC <= 1);
	int64_t before = clock_monotonic(clock);
	int64_t after = clock_monotonic(clock);
	assert_true(before > 0 && after >= before && after - before < USEC_PER_MIN);
}

static int64_t
fixed_wall(const struct clock *clock)
{
	(void)clock;
	return 17;
}

static int64_t
fixed_monotonic(const struct clock *clock)
{
	(void)clock;
	return 4;
}

static void
a_test_brings_its_own_clock(void **state)
{
	(void)state;
	const struct clock clock = {.wall = fixed_wall, .monotonic = fixed_monotonic};
	assert_int_equal(clock_wall(&clock), 17);
	assert_int_equal(clock_monotonic(&clock), 4);
}

static void
the_boot_id_is_32_hex_digits(void **state)
{
	(void)state;
	const char *id = clock_boot_id();
	assert_int_equal(strlen(id), 32);
	assert_int_equal(strspn(id, "0123456789abcdef"), 32);
	assert_ptr_equal(clock_boot_id(), id);
}

static void
a_time_gone_by_fires_at_once(void **state)
{
	struct fixture *fixture = *state;
	static const int64_t gone[] = {INT64_MIN, -1, 0, 1, 1000000};
	for (size_t i = 0; i < ARRAY_LENGTH(gone); i++) {
		wall_alarm_set(fixture->alarm, gone[i]);
		run(fixture);
		assert_int_equal(fixture->fired, (int)i + 1);
	}
}

static void
an_alarm_fires_once_and_not_early(void **state)
{
	struct fixture *fixture = *state;
	int64_t when = clock_wall(clock_system()) + 60 * USEC_PER_MSEC;
	wall_alarm_set(fixture->alarm, when);
	run(fixture);
	assert_true(clock_wall(clock_system()) >= when);
	assert_int_equal(fixture->fired, 1);
}

static void
the_last_setting_counts(void **state)
{
	struct fixture *fixture = *state;
	wall_alarm_set(fixture->alarm, clock_wall(clock_system()) + USEC_PER_DAY);
	wall_alarm_set(fixture->alarm, clock_wall(clock_system()) + 5 * USEC_PER_MSEC);
	run(fixture);
	assert_int_equal(fixture->fired, 1);
}

static void
a_disarmed_alarm_wakes_nobody(void **state)
{
	struct fixture *fixture = *state;
	/* No event: the loop has nothing to wait for. */
	assert_int_equal(event_base_dispatch(fixture->base), 1);
	wall_alarm_set(fixture->alarm, 1);
	wall_alarm_disarm(fixture->alarm);
	assert_int_equal(event_base_dispatch(fixture->base), 1);
	assert_int_equal(fixture->fired, 0);
	wall_alarm_set(fixture->alarm, INT64_MAX);
	assert_int_equal(event_base_loop(fixture->base, EVLOOP_NONBLOCK), 0);
	assert_int_equal(fixture->fired, 0);
}

static void
the_owner_re_arms_in_the_callback(void **state)
{
	struct fixture *fixture = *state;
	fixture->again = 3;
	wall_alarm_set(fixture->alarm, 1);
	run(fixture);
	assert_int_equal(fixture->fired, 4);
}

static void
the_owner_frees_in_the_callback(void **state)
{
	struct fixture *fixture = *state;
	fixture->free_self = true;
	wall_alarm_set(fixture->alarm, 1);
	run(fixture);
	assert_int_equal(fixture->fired, 1);
}

/* Moves the clock of the whole machine by a microsecond, which is a jump to the kernel. */
static int
nudge_the_clock(void)
{
	struct timex change = {.modes = ADJ_SETOFFSET, .time = {.tv_usec = 1}};
	return adjtimex(&change) < 0 ? -1 : 0;
}

static void
setting_the_clock_fires(void **state)
{
	struct fixture *fixture = *state;
	if (getenv("ATELIER_TEST_MAY_SET_CLOCK") == NULL)
		skip(); /* the machine's clock is not ours; the lab's is */
	wall_alarm_set(fixture->alarm, clock_wall(clock_system()) + USEC_PER_DAY);
	assert_int_equal(nudge_the_clock(), 0);
	run(fixture);
	assert_int_equal(fixture->fired, 1);
	/* Set while the alarm was not armed: the owner looks, re-arms, and then it holds. */
	assert_int_equal(nudge_the_clock(), 0);
	fixture->again = 1;
	wall_alarm_set(fixture->alarm, clock_wall(clock_system()) + 5 * USEC_PER_MSEC);
	run(fixture);
	assert_int_equal(fixture->fired, 3);
}

static void
freeing_nothing_is_fine(void **state)
{
	(void)state;
	wall_alarm_free(NULL);
}

#define alarm_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_clocks_of_the_machine_go),
	    cmocka_unit_test(a_test_brings_its_own_clock),
	    cmocka_unit_test(the_boot_id_is_32_hex_digits),
	    cmocka_unit_test(freeing_nothing_is_fine),
	    alarm_test(a_time_gone_by_fires_at_once),
	    alarm_test(an_alarm_fires_once_and_not_early),
	    alarm_test(the_last_setting_counts),
	    alarm_test(a_disarmed_alarm_wakes_nobody),
	    alarm_test(the_owner_re_arms_in_the_callback),
	    alarm_test(the_owner_frees_in_the_callback),
	    alarm_test(setting_the_clock_fires),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
