#include "core/problem.h"

#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

static void
problems_are_collected_in_order(void **state)
{
	(void)state;
	cleanup_problems struct problem_list list = {.items = NULL};
	problem_add(&list, PROBLEM_ERROR, ERROR_MANIFEST, "manifest.json: services.web", "write %s as a list",
	    "has %d keys", 3);
	problem_add(&list, PROBLEM_NOTE, ERROR_NONE, "services.web", NULL, "left out");
	problem_add(&list, PROBLEM_ERROR, ERROR_UNIT_MISSING, "unit web.service", NULL, "is not there");

	assert_int_equal(list.count, 3);
	assert_int_equal(problem_count(&list, PROBLEM_ERROR), 2);
	assert_int_equal(problem_count(&list, PROBLEM_WARNING), 0);
	assert_int_equal(problem_count(&list, PROBLEM_NOTE), 1);
	assert_string_equal(list.items[0].place, "manifest.json: services.web");
	assert_string_equal(list.items[0].message, "has 3 keys");
	assert_string_equal(list.items[0].remedy, "write %s as a list");
	assert_null(list.items[1].remedy);
	assert_int_equal(list.items[2].code, ERROR_UNIT_MISSING);
}

static void
an_error_becomes_a_problem(void **state)
{
	(void)state;
	cleanup_problems struct problem_list list = {.items = NULL};
	cleanup_error struct error error = {.code = ERROR_NONE};
	error_set(&error, ERROR_SECRET, "100%% empty");
	problem_add_error(&list, "/run/password", &error);
	error_hint(&error, "fill it");
	problem_add_error(&list, "/run/password", &error);
	error_clear(&error);

	assert_int_equal(problem_count(&list, PROBLEM_ERROR), 2);
	assert_int_equal(list.items[0].code, ERROR_SECRET);
	assert_string_equal(list.items[0].message, "100% empty");
	assert_null(list.items[0].remedy);
	assert_string_equal(list.items[1].remedy, "fill it");
}

static void
words_from_outside_are_made_printable(void **state)
{
	(void)state;
	cleanup_problems struct problem_list list = {.items = NULL};
	problem_add(&list, PROBLEM_WARNING, ERROR_MANIFEST, "services.\x1b[2J", "rm \n", "name is '%s'", "\a");
	assert_string_equal(list.items[0].place, "services.?[2J");
	assert_string_equal(list.items[0].remedy, "rm ?");
	assert_string_equal(list.items[0].message, "name is '?'");
}

static void
clearing_leaves_the_empty_list(void **state)
{
	(void)state;
	struct problem_list list = {.items = NULL};
	problem_list_clear(&list);
	problem_add(&list, PROBLEM_NOTE, ERROR_NONE, "here", NULL, "x");
	problem_list_clear(&list);
	assert_int_equal(list.count, 0);
	assert_null(list.items);
	problem_add(&list, PROBLEM_NOTE, ERROR_NONE, "here", NULL, "x");
	assert_int_equal(list.count, 1);
	problem_list_clear(&list);
}

static void
severities_have_words(void **state)
{
	(void)state;
	assert_string_equal(problem_severity_word(PROBLEM_ERROR), "error");
	assert_string_equal(problem_severity_word(PROBLEM_WARNING), "warning");
	assert_string_equal(problem_severity_word(PROBLEM_NOTE), "note");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(problems_are_collected_in_order),
	    cmocka_unit_test(an_error_becomes_a_problem),
	    cmocka_unit_test(words_from_outside_are_made_printable),
	    cmocka_unit_test(clearing_leaves_the_empty_list),
	    cmocka_unit_test(severities_have_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
