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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(more_than_allowed_is_an_alarm),
	    cmocka_unit_test(it_says_how_much_there_was_and_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
