#include "jobs/retention.h"

#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "adapters/restic.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"
#include "jobs/job.h"

#define LIST(...) ((char *[]){__VA_ARGS__, NULL})

/* ---- snapshots by their times ---- */

struct set {
	struct retention_snapshot *snapshots;
	size_t count;
};

static void
set_clear(struct set *set)
{
	for (size_t i = 0; i < set->count; i++) {
		union {
			const char *borrowed;
			char *owned;
		} id = {.borrowed = set->snapshots[i].id};
		free(id.owned);
	}
	free(set->snapshots);
}

#define cleanup_set __attribute__((cleanup(set_clear)))

static void
add(struct set *set, int64_t time, int32_t zone_offset)
{
	set->snapshots = xreallocarray(set->snapshots, set->count + 1, sizeof(*set->snapshots));
	set->snapshots[set->count] = (struct retention_snapshot){
	    .id = xasprintf("%016zx%048d", (set->count + 1) * 0x9e3779b97f4a7c15, 0),
	    .time = time,
	    .zone_offset = zone_offset,
	};
	set->count++;
}

/* RFC 3339, as restic writes them. */
static struct set
set_of(const char *const *times)
{
	struct set set = {.count = 0};
	for (size_t i = 0; times[i] != NULL; i++) {
		int64_t time;
		assert_true(text_parse_rfc3339(times[i], &time));
		int hours = 0, minutes = 0;
		size_t length = strlen(times[i]);
		if (times[i][length - 1] != 'Z')
			assert_int_equal(sscanf(times[i] + length - 5, "%d:%d", &hours, &minutes), 2);
		int sign = times[i][length - 6] == '-' ? -1 : 1;
		add(&set, time, sign * (hours * 3600 + minutes * 60));
	}
	return set;
}

#define TIMES(...) set_of((const char *const[]){__VA_ARGS__, NULL})

static struct retention_plan
plan_of(const struct retention_policy *policy, const struct set *set, const char *last_good)
{
	struct retention_plan plan;
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (retention_plan_make(policy, set->snapshots, set->count, last_good, &plan, &error) < 0)
		fail_msg("%s", error.message);
	return plan;
}

/* The reasons in the order in which the snapshots were named, newest first in these tests; "" for one that goes. */
static void
expect_reasons(struct retention_policy policy, const struct set *set, const char *last_good, char *const *expected)
{
	cleanup_plan struct retention_plan plan = plan_of(&policy, set, last_good);
	size_t removed = 0;
	assert_int_equal(plan.count, strings_count(expected));
	for (size_t i = 0; i < plan.count; i++) {
		cleanup_strings char **words = retention_reason_words(plan.verdicts[i].reasons);
		cleanup_free char *joined = text_join(words, ", ");
		assert_ptr_equal(plan.verdicts[i].snapshot.id, set->snapshots[i].id);
		if (strcmp(joined, expected[i]) != 0)
			fail_msg("snapshot %zu: '%s', expected '%s'", i, joined, expected[i]);
		removed += *expected[i] == '\0';
	}
	assert_int_equal(plan.removed, removed);
}

#define KEEP(...) ((struct retention_policy){__VA_ARGS__})

static void
the_newest_of_each_bucket_stays(void **state)
{
	(void)state;
	cleanup_set struct set set = TIMES("2026-11-23T12:00:00Z", "2026-11-23T02:00:00Z", "2026-11-22T02:00:00Z",
	    "2026-11-20T23:59:59Z", "2026-11-20T00:00:00Z", "2026-10-31T02:00:00Z", "2025-12-31T02:00:00Z");
	expect_reasons(KEEP(.last = 2), &set, NULL, LIST("last snapshot", "last snapshot", "", "", "", "", ""));
	expect_reasons(
	    KEEP(.daily = 3), &set, NULL, LIST("daily snapshot", "", "daily snapshot", "daily snapshot", "", "", ""));
	expect_reasons(
	    KEEP(.monthly = 2), &set, NULL, LIST("monthly snapshot", "", "", "", "", "monthly snapshot", ""));
	expect_reasons(KEEP(.last = 1, .yearly = 2), &set, NULL,
	    LIST("last snapshot, yearly snapshot", "", "", "", "", "", "yearly snapshot"));
}

static void
weeks_begin_on_monday(void **state)
{
	(void)state;
	/* A Monday, the Sunday before it, the Monday before that; then the turn of a year within one ISO week. */
	cleanup_set struct set set =
	    TIMES("2026-11-23T00:00:00Z", "2026-11-22T23:59:59Z", "2026-11-16T00:00:00Z", "2026-01-01T12:00:00Z",
		"2025-12-29T00:00:00Z", "2025-12-28T23:59:59Z", "1969-12-29T00:00:00Z", "1969-12-28T23:59:59.999Z");
	expect_reasons(KEEP(.weekly = 6), &set, NULL,
	    LIST("weekly snapshot", "weekly snapshot", "", "weekly snapshot", "", "weekly snapshot",
		"weekly snapshot", "weekly snapshot"));
}

static void
the_oldest_stays_while_there_is_room(void **state)
{
	(void)state;
	cleanup_set struct set set =
	    TIMES("2026-11-23T12:00:00Z", "2026-11-23T02:00:00Z", "2026-11-22T12:00:00Z", "2026-11-22T02:00:00Z");
	expect_reasons(
	    KEEP(.daily = 3), &set, NULL, LIST("daily snapshot", "", "daily snapshot", "oldest daily snapshot"));
	expect_reasons(KEEP(.daily = 2), &set, NULL, LIST("daily snapshot", "", "daily snapshot", ""));
	expect_reasons(KEEP(.daily = 3, .monthly = 2), &set, NULL,
	    LIST("daily snapshot, monthly snapshot", "", "daily snapshot",
		"oldest daily snapshot, oldest monthly snapshot"));
	/* It is the first of its own bucket, and the oldest only by the way. */
	expect_reasons(
	    KEEP(.last = 9), &set, NULL, LIST("last snapshot", "last snapshot", "last snapshot", "last snapshot"));
}

static void
the_calendar_is_that_of_the_place(void **state)
{
	(void)state;
	/* The same day in UTC, but not in Auckland; and the other way round. */
	cleanup_set struct set auckland =
	    TIMES("2026-11-24T01:30:00+13:00", "2026-11-23T23:30:00+13:00", "2026-11-23T01:00:00+13:00");
	expect_reasons(KEEP(.daily = 2), &auckland, NULL, LIST("daily snapshot", "daily snapshot", ""));
	cleanup_set struct set york = TIMES("2026-11-23T20:00:00-05:00", "2026-11-23T18:00:00-05:00");
	expect_reasons(KEEP(.daily = 1), &york, NULL, LIST("daily snapshot", ""));
	/* The hour that comes twice when summer time ends. */
	cleanup_set struct set berlin =
	    TIMES("2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00+02:00", "2026-10-24T23:30:00+02:00");
	expect_reasons(KEEP(.daily = 2), &berlin, NULL, LIST("daily snapshot", "", "daily snapshot"));
	/* A zone that changes back and forth: the day comes twice. */
	cleanup_set struct set travel =
	    TIMES("2026-11-23T23:00:00+00:00", "2026-11-24T02:00:00+05:00", "2026-11-23T19:00:00+00:00");
	expect_reasons(KEEP(.daily = 3), &travel, NULL, LIST("daily snapshot", "daily snapshot", "daily snapshot"));
}

/* ---- what is never removed ---- */

static void
the_last_good_one_stays(void **state)
{
	(void)state;
	cleanup_set struct set set = TIMES("2026-11-23T12:00:00Z", "2026-11-22T12:00:00Z", "2026-11-21T12:00:00Z");
	const char *good = set.snapshots[1].id;
	cleanup_free char *brief = xstrndup(good, 8);
	expect_reasons(KEEP(.last = 1), &set, NULL, LIST("last snapshot", "", ""));
	expect_reasons(KEEP(.last = 1), &set, good, LIST("last snapshot", "last good backup", ""));
	expect_reasons(KEEP(.last = 1), &set, brief, LIST("last snapshot", "last good backup", ""));
	expect_reasons(KEEP(.last = 2), &set, good, LIST("last snapshot", "last snapshot, last good backup", ""));
}

static void
expect_no_plan(struct retention_policy policy, const struct set *set, const char *last_good, enum error_code code)
{
	struct retention_plan plan = {.count = 4711};
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(retention_plan_make(&policy, set->snapshots, set->count, last_good, &plan, &error), -1);
	assert_int_equal(error.code, code);
	assert_non_null(error.hint);
	assert_int_equal(plan.count, 4711);
}

static void
nothing_is_planned_on_bad_grounds(void **state)
{
	(void)state;
	cleanup_set struct set set = TIMES("2026-11-23T12:00:00Z", "2026-11-22T12:00:00Z");
	expect_no_plan(KEEP(.last = 0), &set, NULL, ERROR_MANIFEST);
	expect_no_plan(KEEP(.last = 3, .daily = -1), &set, NULL, ERROR_MANIFEST);
	expect_no_plan(KEEP(.last = -1), &set, NULL, ERROR_MANIFEST);
	static const char unknown[] = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";
	expect_no_plan(KEEP(.last = 1), &set, unknown, ERROR_SNAPSHOT_MISMATCH);
	expect_no_plan(KEEP(.last = 1), &set, "", ERROR_SNAPSHOT_MISMATCH);
	expect_no_plan(KEEP(.last = 1), &set, "0", ERROR_SNAPSHOT_MISMATCH);
	const struct set none = {.count = 0};
	expect_no_plan(KEEP(.last = 1), &none, unknown, ERROR_SNAPSHOT_MISMATCH);
	expect_reasons(KEEP(.last = 1), &none, NULL, (char *[]){NULL});
}

static void
the_order_of_the_listing_is_nothing(void **state)
{
	(void)state;
	cleanup_set struct set set =
	    TIMES("2026-11-21T12:00:00Z", "2026-11-23T12:00:00Z", "2026-11-22T12:00:00Z", "2026-11-22T12:00:00Z");
	const struct retention_policy policy = {.last = 2};
	cleanup_plan struct retention_plan plan = plan_of(&policy, &set, NULL);
	assert_ptr_equal(plan.verdicts[0].snapshot.id, set.snapshots[1].id);
	assert_ptr_equal(plan.verdicts[3].snapshot.id, set.snapshots[0].id);
	/* Of two at the same time, the same one goes every time. */
	assert_true(strcmp(plan.verdicts[1].snapshot.id, plan.verdicts[2].snapshot.id) < 0);
	assert_int_equal(plan.removed, 2);
}

/* ---- random sets, and a second opinion ---- */

/* The rules read literally and slowly: for each snapshot and each kind, count what is newer. The calendar is
 * strftime's. */
static void
calendar_word(const struct retention_snapshot *snapshot, enum retention_kind kind, size_t position, char word[32])
{
	static const char *const formats[] = {
	    [RETENTION_DAILY] = "%Y-%m-%d",
	    [RETENTION_WEEKLY] = "%G-%V",
	    [RETENTION_MONTHLY] = "%Y-%m",
	    [RETENTION_YEARLY] = "%Y",
	};
	time_t seconds = (time_t)(snapshot->time / USEC_PER_SEC) + snapshot->zone_offset;
	struct tm date;
	gmtime_r(&seconds, &date);
	snprintf(word, 32, "%zu", position);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats above */
	if (kind != RETENTION_LAST)
		strftime(word, 32, formats[kind], &date);
#pragma GCC diagnostic pop
}

static int64_t
number_of(const struct retention_policy *policy, enum retention_kind kind)
{
	const int64_t numbers[] = {policy->last, policy->daily, policy->weekly, policy->monthly, policy->yearly};
	return numbers[kind];
}

/* For each snapshot and kind, whether the next newer one is in another bucket. */
struct calendar {
	bool (*begins)[RETENTION_KIND_COUNT];
};

static struct calendar
calendar_of(const struct retention_plan *plan)
{
	struct calendar calendar = {.begins = xcalloc(plan->count + 1, sizeof(*calendar.begins))};
	for (enum retention_kind kind = RETENTION_LAST; kind <= RETENTION_YEARLY; kind++) {
		char newer[32] = "";
		for (size_t i = 0; i < plan->count; i++) {
			char here[32];
			calendar_word(&plan->verdicts[i].snapshot, kind, i, here);
			calendar.begins[i][kind] = strcmp(here, newer) != 0;
			memcpy(newer, here, sizeof(newer));
		}
	}
	return calendar;
}

/* Only what begins a bucket counts, but for the oldest of all. */
static bool
oracle_keeps_for(
    const struct calendar *calendar, size_t count, size_t index, enum retention_kind kind, int64_t number)
{
	int64_t begun = 0;
	for (size_t i = 0; i <= index; i++)
		begun += calendar->begins[i][kind];
	if (calendar->begins[index][kind])
		return begun <= number;
	return index + 1 == count && begun < number;
}

static bool
oracle_keeps(const struct calendar *calendar, size_t count, size_t index, const struct retention_policy *policy)
{
	for (enum retention_kind kind = RETENTION_LAST; kind <= RETENTION_YEARLY; kind++)
		if (oracle_keeps_for(calendar, count, index, kind, number_of(policy, kind)))
			return true;
	return false;
}

static int64_t
up_to(int64_t highest)
{
	return random() % (highest + 1);
}

/* Snapshots close together and far apart, all over eight years, in zones that change. */
static struct set
random_set(void)
{
	static const int32_t offsets[] = {0, 3600, 7200, -18000, -14400, 46800, 20700};
	struct set set = {.count = 0};
	int64_t time = INT64_C(1483228800) * USEC_PER_SEC;
	int32_t offset = offsets[up_to(ARRAY_LENGTH(offsets) - 1)];
	int64_t pace = 1 + up_to(40);
	for (int64_t count = up_to(120); count > 0; count--) {
		time += up_to(pace * 6 * 3600) * USEC_PER_SEC;
		if (up_to(9) == 0)
			offset = offsets[up_to(ARRAY_LENGTH(offsets) - 1)];
		add(&set, time, offset);
	}
	return set;
}

static struct retention_policy
random_policy(void)
{
	struct retention_policy policy = {up_to(4), up_to(9), up_to(7), up_to(14), up_to(4)};
	for (int64_t zeros = up_to(3); zeros > 0; zeros--) {
		int64_t *const members[] = {
		    &policy.last, &policy.daily, &policy.weekly, &policy.monthly, &policy.yearly};
		*members[up_to(4)] = 0;
	}
	if (!retention_policy_keeps_something(&policy))
		policy.last = 1;
	return policy;
}

static struct retention_policy
bigger_policy(const struct retention_policy *policy)
{
	return (struct retention_policy){policy->last + up_to(2), policy->daily + up_to(2), policy->weekly + up_to(2),
	    policy->monthly + up_to(2), policy->yearly + up_to(2)};
}

static void
judge_random_set(void)
{
	cleanup_set struct set set = random_set();
	const struct retention_policy policy = random_policy();
	const struct retention_policy bigger = bigger_policy(&policy);
	const char *last_good =
	    set.count > 0 && up_to(1) == 0 ? set.snapshots[up_to((int64_t)set.count - 1)].id : NULL;
	cleanup_plan struct retention_plan plan = plan_of(&policy, &set, last_good);
	cleanup_plan struct retention_plan more = plan_of(&bigger, &set, last_good);

	const struct calendar calendar = calendar_of(&plan);
	size_t kept[RETENTION_KIND_COUNT] = {0}, removed = 0;
	assert_int_equal(plan.count, set.count);
	for (size_t i = 0; i < plan.count; i++) {
		unsigned reasons = plan.verdicts[i].reasons;
		bool is_good = last_good != NULL && strcmp(plan.verdicts[i].snapshot.id, last_good) == 0;
		assert_int_equal((reasons & REASON_LAST_GOOD) != 0, is_good);
		assert_int_equal((reasons & ~REASON_LAST_GOOD) != 0, oracle_keeps(&calendar, plan.count, i, &policy));
		assert_int_equal(more.verdicts[i].snapshot.time, plan.verdicts[i].snapshot.time);
		assert_true(reasons == 0 || more.verdicts[i].reasons != 0);
		for (size_t kind = 0; kind < RETENTION_KIND_COUNT; kind++)
			kept[kind] += (reasons & (REASON_KIND(kind) | REASON_OLDEST(kind))) != 0;
		removed += reasons == 0;
	}
	free(calendar.begins);
	assert_int_equal(plan.removed, removed);
	assert_true(plan.count == 0 || plan.verdicts[0].reasons != 0);
	for (enum retention_kind kind = RETENTION_LAST; kind <= RETENTION_YEARLY; kind++)
		assert_true((int64_t)kept[kind] <= number_of(&policy, kind));
	assert_int_equal(kept[RETENTION_LAST], plan.count < (size_t)policy.last ? plan.count : (size_t)policy.last);
}

static void
random_sets_are_judged_alike(void **state)
{
	(void)state;
	srandom(3);
	for (int round = 0; round < 3000; round++)
		judge_random_set();
}

/* A second run finds nothing more to do. */
static void
what_was_kept_stays_kept(void **state)
{
	(void)state;
	srandom(4);
	for (int round = 0; round < 1000; round++) {
		cleanup_set struct set set = random_set();
		const struct retention_policy policy = random_policy();
		cleanup_plan struct retention_plan plan = plan_of(&policy, &set, NULL);
		cleanup_free struct retention_snapshot *left = xcalloc(plan.count + 1, sizeof(*left));
		size_t count = 0;
		for (size_t i = 0; i < plan.count; i++)
			if (plan.verdicts[i].reasons != 0)
				left[count++] = plan.verdicts[i].snapshot;
		cleanup_plan struct retention_plan again = plan_of(&policy, &(const struct set){left, count}, NULL);
		assert_int_equal(again.removed, 0);
	}
}

/* ---- whose, and whether ---- */

static void
a_service_has_its_own_snapshots(void **state)
{
	(void)state;
	struct restic_snapshot listing[] = {
	    {.id = "1",
		.hostname = "cellar",
		.tags = LIST("service:web", "type:files"),
		.time = 1,
		.zone_offset = 60},
	    {.id = "2", .hostname = "cellar", .tags = LIST("service:web2")},
	    {.id = "3", .hostname = "attic", .tags = LIST("service:web")},
	    {.id = "4", .hostname = "cellar", .tags = NULL},
	    {.id = "5", .hostname = NULL, .tags = LIST("service:web")},
	    {.id = "6", .hostname = "cellar", .tags = LIST("job:1", "service:web"), .time = 6, .zone_offset = -60},
	    {.id = "7", .hostname = "cellar.example", .tags = LIST("service:web")},
	    {.id = "8", .hostname = "cellar", .tags = LIST("web")},
	};
	struct retention_snapshot *snapshots;
	assert_int_equal(retention_service_snapshots(listing, ARRAY_LENGTH(listing), "web", "cellar", &snapshots), 2);
	assert_string_equal(snapshots[0].id, "1");
	assert_int_equal(snapshots[0].time, 1);
	assert_int_equal(snapshots[0].zone_offset, 60);
	assert_string_equal(snapshots[1].id, "6");
	assert_int_equal(snapshots[1].zone_offset, -60);
	free(snapshots);
	assert_int_equal(
	    retention_service_snapshots(listing, ARRAY_LENGTH(listing), "mail", "cellar", &snapshots), 0);
	assert_null(snapshots);
}

static void
only_a_good_newest_backup_lets_anything_go(void **state)
{
	(void)state;
	struct job_record job = {.state = JOB_PRUNED, .outcome = OUTCOME_COMPLETE};
	assert_null(retention_obstacle(&job));
	assert_non_null(strstr(retention_obstacle(NULL), "no backup"));
	for (int word = OUTCOME_RUNNING; word <= OUTCOME_FAILED; word++) {
		job.outcome = (enum job_outcome)word;
		for (int where = 0; where < JOB_STATE_COUNT; where++) {
			job.state = (enum job_state)where;
			bool good = word == OUTCOME_COMPLETE && job_state_is_terminal(job.state);
			assert_int_equal(retention_obstacle(&job) == NULL, good);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_newest_of_each_bucket_stays),
	    cmocka_unit_test(weeks_begin_on_monday),
	    cmocka_unit_test(the_oldest_stays_while_there_is_room),
	    cmocka_unit_test(the_calendar_is_that_of_the_place),
	    cmocka_unit_test(the_last_good_one_stays),
	    cmocka_unit_test(nothing_is_planned_on_bad_grounds),
	    cmocka_unit_test(the_order_of_the_listing_is_nothing),
	    cmocka_unit_test(random_sets_are_judged_alike),
	    cmocka_unit_test(what_was_kept_stays_kept),
	    cmocka_unit_test(a_service_has_its_own_snapshots),
	    cmocka_unit_test(only_a_good_newest_backup_lets_anything_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
