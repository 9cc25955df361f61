/* Nights and due times under clocks as they are: daylight saving, jumps, missed nights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "jobs/backoff.h"
#include "jobs/kickoff.h"

#define KICKOFF (2 * USEC_PER_HOUR)

static int
use_berlin(void **state)
{
	(void)state;
	/* CET/CEST spelled out: needs no zone files. */
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	return 0;
}

static int64_t
local(int year, int month, int day, int hour, int minute)
{
	struct tm tm = {.tm_year = year - 1900,
	    .tm_mon = month - 1,
	    .tm_mday = day,
	    .tm_hour = hour,
	    .tm_min = minute,
	    .tm_isdst = -1};
	return (int64_t)mktime(&tm) * USEC_PER_SEC;
}

static void
expect_night(int64_t wall, int64_t kickoff, const char *night)
{
	cleanup_free char *found = kickoff_night(wall, kickoff);
	assert_string_equal(found, night);
}

static void
a_night_lasts_from_an_hour_before_its_kickoff(void **state)
{
	(void)state;
	expect_night(local(2026, 11, 23, 2, 0), KICKOFF, "2026-11-23");
	expect_night(local(2026, 11, 23, 1, 0), KICKOFF, "2026-11-23");
	expect_night(local(2026, 11, 23, 0, 59), KICKOFF, "2026-11-22");
	expect_night(local(2026, 11, 23, 23, 59), KICKOFF, "2026-11-23");
	/* A night that was missed is caught up once, and the next kickoff is another night. */
	expect_night(local(2026, 11, 23, 14, 0), KICKOFF, "2026-11-23");
	expect_night(local(2026, 11, 24, 2, 0), KICKOFF, "2026-11-24");
}

static void
a_kickoff_around_midnight_is_one_night(void **state)
{
	(void)state;
	int64_t late = 23 * USEC_PER_HOUR + 55 * USEC_PER_MIN;
	expect_night(local(2026, 11, 23, 23, 55), late, "2026-11-23");
	expect_night(local(2026, 11, 24, 0, 1), late, "2026-11-23");
	int64_t early = 30 * USEC_PER_MIN;
	expect_night(local(2026, 11, 23, 0, 30), early, "2026-11-23");
	expect_night(local(2026, 11, 22, 23, 45), early, "2026-11-23");
	expect_night(local(2026, 12, 31, 23, 45), early, "2027-01-01");
	expect_night(local(2027, 1, 1, 0, 15), KICKOFF, "2026-12-31");
}

static void
daylight_saving_neither_doubles_nor_loses_a_night(void **state)
{
	(void)state;
	/* 2026-03-29: 02:00 does not exist; 2026-10-25: 02:30 is there twice. */
	int64_t spring = local(2026, 3, 29, 1, 59) + USEC_PER_MIN;
	expect_night(spring, KICKOFF, "2026-03-29");
	int64_t autumn = local(2026, 10, 25, 1, 30) + USEC_PER_HOUR;
	expect_night(autumn, KICKOFF, "2026-10-25");
	expect_night(autumn + USEC_PER_HOUR, KICKOFF, "2026-10-25");
	/* A year of kickoffs is a year of nights, each another one. */
	char last[16] = "";
	int64_t wall = local(2026, 1, 1, 12, 0);
	for (int i = 0; i < 366; i++) {
		wall = kickoff_next(wall, KICKOFF);
		cleanup_free char *night = kickoff_night(wall, KICKOFF);
		assert_string_not_equal(night, last);
		assert_true(strcmp(night, last) > 0);
		snprintf(last, sizeof(last), "%s", night);
	}
	assert_string_equal(last, "2027-01-02");
}

static void
the_next_kickoff_is_ahead(void **state)
{
	(void)state;
	assert_int_equal(kickoff_next(local(2026, 11, 23, 1, 59), KICKOFF), local(2026, 11, 23, 2, 0));
	assert_int_equal(kickoff_next(local(2026, 11, 23, 2, 0), KICKOFF), local(2026, 11, 24, 2, 0));
	int64_t wall = local(2026, 3, 28, 3, 0);
	for (int i = 0; i < 400; i++) {
		int64_t next = kickoff_next(wall, KICKOFF);
		assert_true(next > wall);
		assert_true(next - wall <= 25 * USEC_PER_HOUR);
		wall = next;
	}
}

static void
a_due_time_from_a_wrong_clock_means_now(void **state)
{
	(void)state;
	int64_t now = local(2026, 11, 23, 2, 0);
	struct job_record job = {.due_at = now + 2 * USEC_PER_HOUR};
	assert_int_equal(backoff_due(&job, now), job.due_at);
	job.due_at = now + 365 * USEC_PER_DAY;
	assert_int_equal(backoff_due(&job, now), now);
	job.due_at = now - USEC_PER_DAY;
	assert_int_equal(backoff_due(&job, now), job.due_at);
}

static void
retries_wait_longer_each_time_and_not_for_ever(void **state)
{
	(void)state;
	struct job_record job = {
	    .attempt = 1, .spec = {.retry_delay = 5 * USEC_PER_MIN}, .error = {.code = ERROR_REPOSITORY_UNREACHABLE}};
	for (int64_t base = 5 * USEC_PER_MIN; job.attempt < 20; job.attempt++, base *= 2) {
		int64_t least = base < USEC_PER_HOUR && job.attempt < 10 ? base : USEC_PER_HOUR;
		int64_t delay = backoff_delay(&job);
		assert_in_range(delay, least, least + least / 4);
	}
	job.attempt = 1;
	job.error.code = ERROR_REPOSITORY_LOCKED;
	assert_in_range(backoff_delay(&job), 5 * USEC_PER_MIN, 7 * USEC_PER_MIN);
	job.error.code = ERROR_INTERRUPTED;
	assert_int_equal(backoff_delay(&job), 0);
}

static void
the_spread_uses_its_whole_span(void **state)
{
	(void)state;
	int64_t least = INT64_MAX, most = 0;
	for (int i = 0; i < 10000; i++) {
		int64_t drawn = backoff_spread(2 * USEC_PER_HOUR);
		assert_in_range(drawn, 0, 2 * USEC_PER_HOUR);
		least = drawn < least ? drawn : least;
		most = drawn > most ? drawn : most;
	}
	assert_true(least < USEC_PER_MIN * 2);
	assert_true(most > USEC_PER_HOUR * 2 - 2 * USEC_PER_MIN);
	assert_int_equal(backoff_spread(0), 0);
}

/* What is backed up last knows of everything before it. */
static void
the_built_in_service_has_its_turn_at_the_end(void **state)
{
	(void)state;
	const int64_t now = 1000 * USEC_PER_DAY, most = 2 * USEC_PER_HOUR;
	const struct service web = {.name = NULL}, own = {.own = true};
	struct submission submissions[] = {
	    {.kind = JOB_KIND_BACKUP, .service = &web},
	    {.kind = JOB_KIND_BACKUP, .service = &own},
	    {.kind = JOB_KIND_RETENTION, .service = &web},
	};
	for (int i = 0; i < 100; i++) {
		kickoff_spread(submissions, ARRAY_LENGTH(submissions), now, most);
		assert_in_range(submissions[0].due_at, now, now + most);
		assert_int_equal(submissions[1].due_at, now + most);
		assert_int_equal(submissions[2].due_at, now);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_night_lasts_from_an_hour_before_its_kickoff),
	    cmocka_unit_test(a_kickoff_around_midnight_is_one_night),
	    cmocka_unit_test(daylight_saving_neither_doubles_nor_loses_a_night),
	    cmocka_unit_test(the_next_kickoff_is_ahead),
	    cmocka_unit_test(a_due_time_from_a_wrong_clock_means_now),
	    cmocka_unit_test(retries_wait_longer_each_time_and_not_for_ever),
	    cmocka_unit_test(the_spread_uses_its_whole_span),
	    cmocka_unit_test(the_built_in_service_has_its_turn_at_the_end),
	};
	return cmocka_run_group_tests(tests, use_berlin, NULL);
}
