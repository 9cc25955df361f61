#include "core/text.h"

#include "core/alloc.h"
#include "core/clock.h"

#include <setjmp.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define SECONDS(number) ((number) * USEC_PER_SEC)

static void
assert_owned_string(char *actual, const char *expected)
{
	assert_string_equal(actual, expected);
	free(actual);
}

static void
a_text_grows(void **state)
{
	(void)state;
	cleanup_text struct text text = {.string = NULL};
	for (int i = 0; i < 1000; i++)
		text_printf(&text, "%d,", i % 10);
	text_add(&text, "end");
	assert_int_equal(text.length, 2003);
	assert_int_equal(strlen(text.string), 2003);
	assert_true(text_ends_with(text.string, "8,9,end"));
}

static void
a_text_holds_nul(void **state)
{
	(void)state;
	cleanup_text struct text text = {.string = NULL};
	text_add_bytes(&text, "a\0b", 3);
	text_add_bytes(&text, NULL, 0);
	assert_int_equal(text.length, 3);
	assert_memory_equal(text.string, "a\0b", 4);
}

static void
taking_leaves_the_empty_text(void **state)
{
	(void)state;
	struct text text = {.string = NULL};
	assert_owned_string(text_take(&text), "");
	text_add(&text, "one");
	assert_owned_string(text_take(&text), "one");
	assert_null(text.string);
	assert_int_equal(text.length, 0);
	text_add(&text, "two");
	assert_owned_string(text_take(&text), "two");
}

static const struct {
	const char *raw;
	const char *printable;
} printables[] = {
    {"", ""},
    {"plain words", "plain words"},
    {"Grüße, 東京, 🦀", "Grüße, 東京, 🦀"},
    {"a\nb\tc\rd", "a?b?c?d"},
    {"\x1b[31mred\x1b[0m", "?[31mred?[0m"},
    {"bell\a del\x7f", "bell? del?"},
    {"C1 \xc2\x9b"
     "31m \xc2\x80\xc2\x9f",
	"C1 ?31m ??"},
    {"\xc2\xa0 is no control", "\xc2\xa0 is no control"},
    {"override \xe2\x80\xae gpj.exe", "override ? gpj.exe"},
    {"\xe2\x80\xaa\xe2\x80\xab\xe2\x80\xac\xe2\x80\xad\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9", "????????"},
    {"latin1 \xe9t\xe9", "latin1 ?t?"},
    {"lone \x80 continuation", "lone ? continuation"},
    {"cut \xe2\x82", "cut ??"},
    {"overlong \xc0\xaf \xe0\x80\xaf", "overlong ?? ???"},
    {"surrogate \xed\xa0\x80", "surrogate ???"},
    {"beyond \xf4\x90\x80\x80 \xf8\x88\x80\x80\x80 \xff", "beyond ???? ????? ?"},
    {"last \xf4\x8f\xbf\xbf", "last \xf4\x8f\xbf\xbf"},
};

static void
nothing_drives_a_terminal(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(printables); i++) {
		assert_owned_string(text_printable(printables[i].raw), printables[i].printable);
		assert_int_equal(
		    text_is_printable(printables[i].raw), strcmp(printables[i].raw, printables[i].printable) == 0);
	}
}

static void
printable_bytes_replace_nul(void **state)
{
	(void)state;
	assert_owned_string(text_printable_bytes("a\0b\xe2\x82", 5), "a?b??");
}

static void
every_byte_sequence_becomes_printable(void **state)
{
	(void)state;
	unsigned seed = 20261123;
	for (int round = 0; round < 20000; round++) {
		char bytes[12];
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (char)rand_r(&seed);
		cleanup_free char *printable = text_printable_bytes(bytes, sizeof(bytes));
		assert_true(text_is_printable(printable));
	}
}

static void
prefix_and_suffix(void **state)
{
	(void)state;
	assert_true(text_starts_with("service:web", "service:"));
	assert_true(text_starts_with("x", ""));
	assert_false(text_starts_with("ser", "service:"));
	assert_true(text_ends_with("a.service", ".service"));
	assert_true(text_ends_with("x", ""));
	assert_false(text_ends_with("e", ".service"));
	assert_false(text_ends_with("a.socket", ".service"));
}

static void
sizes_as_people_write_them(void **state)
{
	(void)state;
	assert_owned_string(text_size(0), "0 B");
	assert_owned_string(text_size(999), "999 B");
	assert_owned_string(text_size(1023), "1023 B");
	assert_owned_string(text_size(1024), "1.0 KiB");
	assert_owned_string(text_size(1536), "1.5 KiB");
	assert_owned_string(text_size(1024 * 1024 - 1), "1.0 MiB");
	assert_owned_string(text_size(UINT64_C(13207024435)), "12.3 GiB");
	assert_owned_string(text_size(UINT64_MAX), "16.0 EiB");
}

static void
durations_as_people_write_them(void **state)
{
	(void)state;
	assert_owned_string(text_duration(0), "0 ms");
	assert_owned_string(text_duration(12 * USEC_PER_MSEC), "12 ms");
	assert_owned_string(text_duration(400 * USEC_PER_MSEC), "0.4 s");
	assert_owned_string(text_duration(9949 * USEC_PER_MSEC), "9.9 s");
	assert_owned_string(text_duration(9950 * USEC_PER_MSEC), "10 s");
	assert_owned_string(text_duration(SECONDS(42)), "42 s");
	assert_owned_string(text_duration(59700 * USEC_PER_MSEC), "1 min");
	assert_owned_string(text_duration(SECONDS(185)), "3 min 5 s");
	assert_owned_string(text_duration(SECONDS(7800)), "2 h 10 min");
	assert_owned_string(text_duration(3 * USEC_PER_DAY + 4 * USEC_PER_HOUR), "3 d 4 h");
	assert_owned_string(text_duration(-SECONDS(42)), "-42 s");
	cleanup_free char *longest = text_duration(INT64_MIN);
	assert_true(text_starts_with(longest, "-106751991 d"));
}

static void
sizes_are_read(void **state)
{
	(void)state;
	static const struct {
		const char *string;
		int64_t bytes;
	} good[] = {
	    {"0", 0},
	    {"4096", 4096},
	    {"7B", 7},
	    {"3KiB", 3072},
	    {"512MiB", INT64_C(512) << 20},
	    {"2GiB", INT64_C(2) << 30},
	    {"5TiB", INT64_C(5) << 40},
	    {"8388607TiB", INT64_C(8388607) << 40},
	    {"9223372036854775807", INT64_MAX},
	};
	static const char *const bad[] = {"", "B", "MiB", "-1", "+1", " 1", "1 ", "1 MiB", "1.5GiB", "1GB", "1M",
	    "1mib", "1MiB2", "1MiBB", "0x10", "8388608TiB", "9223372036854775808", "99999999999999999999"};
	int64_t bytes;
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
		assert_true(text_parse_size(good[i].string, &bytes));
		assert_int_equal(bytes, good[i].bytes);
	}
	bytes = -7;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		if (text_parse_size(bad[i], &bytes))
			fail_msg("'%s' was taken for a size", bad[i]);
		assert_int_equal(bytes, -7);
	}
}

static void
durations_are_read(void **state)
{
	(void)state;
	static const struct {
		const char *string;
		int64_t seconds;
	} good[] = {{"0", 0}, {"90", 90}, {"90s", 90}, {"10m", 600}, {"2h", 7200}, {"1d", 86400}, {"1h30m", 5400},
	    {"1d2h3m4s", 93784}};
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
		int64_t microseconds = -1;
		assert_true(text_parse_duration(good[i].string, &microseconds));
		assert_int_equal(microseconds, SECONDS(good[i].seconds));
	}
}

static void
what_is_no_duration_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", " ", "-1", "+1", "1 h", "h", "1h30", "1.5h", "1w", "1hh", "10ms", "1h ",
	    "9223372036854775807", "9223372036854775808", "99999999999999999999999", "106751992d",
	    "106751991d106751991d"};
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		int64_t microseconds = 4711;
		assert_false(text_parse_duration(bad[i], &microseconds));
		assert_int_equal(microseconds, 4711);
	}
}

static void
times_are_local_with_their_offset(void **state)
{
	(void)state;
	const int64_t winter = SECONDS(INT64_C(1795395600)); /* 2026-11-23T01:00:00Z */
	const int64_t summer = SECONDS(INT64_C(1783731600)); /* 2026-07-11T01:00:00Z */
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	assert_owned_string(text_time_rfc3339(winter), "2026-11-23T02:00:00+01:00");
	assert_owned_string(text_time_rfc3339(summer), "2026-07-11T03:00:00+02:00");
	assert_owned_string(text_time_local(winter), "2026-11-23 02:00:00");
	assert_owned_string(text_time_local(-1), "1970-01-01 00:59:59");
	setenv("TZ", "NST3:30", 1);
	tzset();
	assert_owned_string(text_time_rfc3339(winter), "2026-11-22T21:30:00-03:30");
	unsetenv("TZ");
	tzset();
}

static void
the_times_of_restic_are_read(void **state)
{
	(void)state;
	static const struct {
		const char *string;
		int64_t microseconds;
		int32_t zone_offset;
	} good[] = {
	    {"1970-01-01T00:00:00Z", 0, 0},
	    {"2026-11-23T02:00:00+01:00", SECONDS(INT64_C(1795395600)), 3600},
	    {"2026-11-22T21:30:00-03:30", SECONDS(INT64_C(1795395600)), -12600},
	    {"2026-11-23T02:00:00.123456789+01:00", SECONDS(INT64_C(1795395600)) + 123456, 3600},
	    {"2026-11-23T01:00:00.5Z", SECONDS(INT64_C(1795395600)) + 500000, 0},
	    {"2024-02-29T00:00:00Z", SECONDS(INT64_C(1709164800)), 0},
	    {"1969-12-31T23:59:59.25Z", -750000, 0},
	    {"0001-01-01T00:00:00Z", SECONDS(INT64_C(-62135596800)), 0},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
		int64_t microseconds = 4711;
		assert_true(text_parse_rfc3339(good[i].string, &microseconds));
		assert_int_equal(microseconds, good[i].microseconds);
		int32_t zone_offset = 4711;
		assert_true(text_parse_rfc3339_zone(good[i].string, &microseconds, &zone_offset));
		assert_int_equal(microseconds, good[i].microseconds);
		assert_int_equal(zone_offset, good[i].zone_offset);
	}
}

static void
what_is_no_time_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "2026", "2026-11-23", "2026-11-23T02:00:00", "2026-11-23 02:00:00Z",
	    "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-30T00:00:00Z", "2025-02-29T00:00:00Z",
	    "2026-11-23T24:00:00Z", "2026-11-23T02:60:00Z", "2026-11-23T02:00:61Z", "2026-11-23T02:00:00.Z",
	    "2026-11-23T02:00:00Zx", "2026-11-23T02:00:00+0100", "2026-11-23T02:00:00+01:0",
	    "2026-11-23T02:00:00*01:00", "2026-11-23T02:00:00+24:00", "+026-11-23T02:00:00Z", "2026-11-23T 2:00:00Z",
	    "2026-11-23T02:00:00+"};
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		int64_t microseconds = 4711;
		int32_t zone_offset = 4711;
		assert_false(text_parse_rfc3339(bad[i], &microseconds));
		assert_false(text_parse_rfc3339_zone(bad[i], &microseconds, &zone_offset));
		assert_int_equal(microseconds, 4711);
		assert_int_equal(zone_offset, 4711);
	}
}

static void
times_survive_the_round_trip(void **state)
{
	(void)state;
	for (int64_t day = -20000; day < 40000; day += 97) {
		int64_t microseconds = day * USEC_PER_DAY + SECONDS(day % 86400);
		int64_t parsed;
		cleanup_free char *string = text_time_rfc3339(microseconds);
		assert_true(text_parse_rfc3339(string, &parsed));
		assert_int_equal(parsed, microseconds);
	}
}

static void
lists_are_joined(void **state)
{
	(void)state;
	cleanup_strings char **list = NULL;
	assert_owned_string(text_join(NULL, ", "), "");
	strings_add(&list, "one");
	assert_owned_string(text_join(list, ", "), "one");
	strings_add(&list, "");
	strings_add(&list, "three");
	assert_owned_string(text_join(list, ", "), "one, , three");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_text_grows),
	    cmocka_unit_test(a_text_holds_nul),
	    cmocka_unit_test(taking_leaves_the_empty_text),
	    cmocka_unit_test(nothing_drives_a_terminal),
	    cmocka_unit_test(printable_bytes_replace_nul),
	    cmocka_unit_test(every_byte_sequence_becomes_printable),
	    cmocka_unit_test(prefix_and_suffix),
	    cmocka_unit_test(sizes_as_people_write_them),
	    cmocka_unit_test(durations_as_people_write_them),
	    cmocka_unit_test(sizes_are_read),
	    cmocka_unit_test(durations_are_read),
	    cmocka_unit_test(what_is_no_duration_is_refused),
	    cmocka_unit_test(times_are_local_with_their_offset),
	    cmocka_unit_test(the_times_of_restic_are_read),
	    cmocka_unit_test(what_is_no_time_is_refused),
	    cmocka_unit_test(times_survive_the_round_trip),
	    cmocka_unit_test(lists_are_joined),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
