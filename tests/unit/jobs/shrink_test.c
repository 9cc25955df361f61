#include "jobs/shrink.h"

#include <setjmp.h>
#include <stddef.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"

#define MEBIBYTE (UINT64_C(1) << 20)

/* What is said is NULL where nothing is wrong. */
static const struct {
	struct backup_size before, now;
	int64_t max_shrink;
	const char *said;
} cases[] = {
    /* nothing is gone */
    {{0, 0}, {0, 0}, 50, NULL},
    {{0, 0}, {100, 100 * MEBIBYTE}, 1, NULL},
    {{100, 100 * MEBIBYTE}, {100, 100 * MEBIBYTE}, 1, NULL},
    {{100, 100 * MEBIBYTE}, {UINT64_MAX, UINT64_MAX}, 1, NULL},
    /* the border of files */
    {{100, 0}, {50, 0}, 50, NULL},
    {{100, 0}, {49, 0}, 50, "of the files are gone"},
    {{101, 0}, {51, 0}, 50, NULL},
    {{101, 0}, {50, 0}, 50, "of the files are gone"},
    {{100, 0}, {99, 0}, 1, NULL},
    {{100, 0}, {98, 0}, 1, "more than 1 per cent of the files"},
    {{100, 0}, {1, 0}, 99, NULL},
    {{100, 0}, {0, 0}, 99, "more than 99 per cent of the files"},
    {{20, 0}, {0, 0}, 50, "of the files are gone"},
    {{19, 0}, {0, 0}, 50, NULL},
    {{20, 0}, {19, 0}, 4, "of the files are gone"},
    {{20, 0}, {19, 0}, 5, NULL},
    /* the border of bytes */
    {{0, 2 * MEBIBYTE}, {0, MEBIBYTE}, 50, NULL},
    {{0, 2 * MEBIBYTE}, {0, MEBIBYTE - 1}, 50, "of the bytes are gone"},
    {{0, MEBIBYTE}, {0, 0}, 50, "of the bytes are gone"},
    {{0, MEBIBYTE - 1}, {0, 0}, 50, NULL},
    /* each for itself */
    {{19, 8 * MEBIBYTE}, {0, 0}, 50, "of the bytes are gone"},
    {{200, MEBIBYTE - 1}, {3, 0}, 50, "of the files are gone"},
    {{200, 8 * MEBIBYTE}, {300, MEBIBYTE}, 50, "of the bytes are gone"},
    {{200, 8 * MEBIBYTE}, {10, 9 * MEBIBYTE}, 50, "of the files are gone"},
    {{200, 8 * MEBIBYTE}, {0, 0}, 50, "of the files and of the bytes are gone"},
    {{19, MEBIBYTE - 1}, {0, 0}, 1, NULL},
    /* what is never an alarm */
    {{200, 8 * MEBIBYTE}, {0, 0}, 100, NULL},
    {{200, 8 * MEBIBYTE}, {0, 0}, 0, NULL},
    {{200, 8 * MEBIBYTE}, {0, 0}, -1, NULL},
    {{200, 8 * MEBIBYTE}, {0, 0}, INT64_MIN, NULL},
    {{200, 8 * MEBIBYTE}, {0, 0}, INT64_MAX, NULL},
    /* a product of these would overflow */
    {{UINT64_MAX, UINT64_MAX}, {UINT64_MAX, UINT64_MAX / 2 + 1}, 50, NULL},
    {{UINT64_MAX, UINT64_MAX}, {UINT64_MAX, UINT64_MAX / 2}, 50, "of the bytes are gone"},
    {{UINT64_MAX, 0}, {UINT64_MAX / 100, 0}, 99, "of the files are gone"},
    {{UINT64_MAX, 0}, {UINT64_MAX / 100 + 1, 0}, 99, NULL},
    {{UINT64_MAX, UINT64_MAX}, {0, 0}, 99, "of the files and of the bytes are gone"},
};

static void
more_than_allowed_is_an_alarm(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		int result = shrink_judge(&cases[i].before, &cases[i].now, cases[i].max_shrink, &error);
		if ((result < 0) != (cases[i].said != NULL))
			fail_msg("case %zu: %s", i, result < 0 ? error.message : "nothing was said");
		assert_int_equal(error.code, result < 0 ? ERROR_DATA_SHRUNK : ERROR_NONE);
		if (result < 0 && strstr(error.message, cases[i].said) == NULL)
			fail_msg("case %zu: '%s' does not say '%s'", i, error.message, cases[i].said);
	}
}

static void
it_says_how_much_there_was_and_is(void **state)
{
	(void)state;
	const struct backup_size before = {1204, 3 * MEBIBYTE}, now = {17, 2048};
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(shrink_judge(&before, &now, 50, &error), -1);
	assert_string_equal(error.message, "17 files with 2.0 KiB, where the last good backup has 1204 with 3.0 MiB: "
					   "more than 50 per cent of the files "
					   "and of the bytes are gone");
	assert_non_null(strstr(error.hint, "\"maxShrink\""));
	assert_int_equal(error_class_of(error.code), ERROR_CLASS_PARTIAL);
}

/* ---- one datum ---- */

#define KIBIBYTE (UINT64_C(1) << 10)

static const struct {
	struct {
		uint64_t used, tables;
	} before, now;
	int64_t max_shrink;
	const char *said;
} data[] = {
    {{0, 0}, {0, 0}, 50, NULL},
    {{0, 0}, {4 * KIBIBYTE, 1}, 1, NULL},
    {{MEBIBYTE, 9}, {MEBIBYTE, 9}, 1, NULL},
    /* the border of bytes */
    {{64 * KIBIBYTE, 1}, {32 * KIBIBYTE, 1}, 50, NULL},
    {{64 * KIBIBYTE, 1}, {32 * KIBIBYTE - 1, 1}, 50, "of the bytes are gone"},
    {{64 * KIBIBYTE - 1, 1}, {0, 1}, 50, NULL},
    {{MEBIBYTE, 1}, {4 * KIBIBYTE, 1}, 50, "more than 50 per cent of the bytes are gone"},
    {{UINT64_MAX, 1}, {UINT64_MAX / 2, 1}, 50, "of the bytes are gone"},
    /* the border of tables */
    {{0, 1}, {0, 0}, 99, "more than 99 per cent of the tables are gone"},
    {{0, 2}, {0, 1}, 50, NULL},
    {{0, 3}, {0, 1}, 50, "of the tables are gone"},
    {{4 * KIBIBYTE, 3}, {4 * KIBIBYTE, 1}, 50, "of the tables are gone"},
    {{MEBIBYTE, 30}, {2 * MEBIBYTE, 14}, 50, "of the tables are gone"},
    {{MEBIBYTE, 30}, {100, 14}, 50, "of the tables and of the bytes are gone"},
    /* what is never an alarm */
    {{MEBIBYTE, 30}, {0, 0}, 100, NULL},
    {{MEBIBYTE, 30}, {0, 0}, 0, NULL},
};

static void
a_datum_that_collapsed_is_an_alarm(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(data); i++) {
		const struct datum before = {
		    .name = (char *)"/x", .used = data[i].before.used, .tables = data[i].before.tables};
		const struct datum now = {
		    .name = (char *)"/x", .used = data[i].now.used, .tables = data[i].now.tables};
		cleanup_error struct error error = {.code = ERROR_NONE};
		int result = shrink_judge_datum(&before, &now, data[i].max_shrink, &error);
		if ((result < 0) != (data[i].said != NULL))
			fail_msg("case %zu: %s", i, result < 0 ? error.message : "nothing was said");
		assert_int_equal(error.code, result < 0 ? ERROR_DATA_SHRUNK : ERROR_NONE);
		if (result < 0 && strstr(error.message, data[i].said) == NULL)
			fail_msg("case %zu: '%s' does not say '%s'", i, error.message, data[i].said);
	}
}

static void
the_datum_is_named_with_both_sizes(void **state)
{
	(void)state;
	const struct datum before = {
	    .kind = DATUM_POSTGRES, .name = (char *)"shop", .bytes = 9, .used = 3 * MEBIBYTE, .tables = 12};
	const struct datum now = {
	    .kind = DATUM_POSTGRES, .name = (char *)"shop", .bytes = 9, .used = 2048, .tables = 11};
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(shrink_judge_datum(&before, &now, 50, &error), -1);
	assert_string_equal(error.message,
	    "the dump of shop: 11 tables with 2.0 KiB, where the last good backup has 12 with 3.0 MiB: more than 50 "
	    "per cent of the bytes are gone");
	assert_non_null(strstr(error.hint, "\"maxShrink\""));
	const struct datum held = {.name = (char *)"/srv/app.db", .used = MEBIBYTE};
	const struct datum empty = {.name = (char *)"/srv/app.db"};
	assert_int_equal(shrink_judge_datum(&held, &empty, 50, &error), -1);
	assert_non_null(strstr(error.message, "the database /srv/app.db: 0 tables with 0 B"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(more_than_allowed_is_an_alarm),
	    cmocka_unit_test(it_says_how_much_there_was_and_is),
	    cmocka_unit_test(a_datum_that_collapsed_is_an_alarm),
	    cmocka_unit_test(the_datum_is_named_with_both_sizes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
