#include "jobs/sources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"

#define LIST(...) ((char *[]){__VA_ARGS__, NULL})

static char *const nothing[] = {NULL};

/* ---- judging ---- */

static void
expect_emptied(char *const *filled, const struct source_found *found, size_t count, const char *path)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(sources_judge(filled, found, count, &error), path == NULL ? 0 : -1);
	assert_int_equal(error.code, path == NULL ? ERROR_NONE : ERROR_SOURCE_EMPTIED);
	if (path == NULL)
		return;
	cleanup_free char *words = xasprintf("%s is empty", path);
	assert_int_equal(strncmp(error.message, words, strlen(words)), 0);
	assert_non_null(strstr(error.hint, "mounted"));
	assert_non_null(strstr(error.hint, "manifest"));
	assert_non_null(strstr(error.hint, ".keep"));
}

static void
a_source_that_held_something_may_not_be_empty(void **state)
{
	(void)state;
	const struct source_found found[] = {{"/a", false}, {"/b", true}, {"/c", true}};
	expect_emptied(LIST("/a", "/b"), found, 3, "/b");
	expect_emptied(LIST("/c", "/b", "/a"), found, 3, "/b");
	expect_emptied(LIST("/c"), found, 3, "/c");
	expect_emptied(LIST("/a"), found, 3, NULL);
	expect_emptied(LIST("/a", "/b", "/c"), found, 1, NULL);
	expect_emptied(LIST("/a", "/b", "/c"), NULL, 0, NULL);
}

static void
what_is_not_known_is_no_alarm(void **state)
{
	(void)state;
	const struct source_found found[] = {{"/a", true}};
	expect_emptied(NULL, found, 1, NULL);
	expect_emptied(nothing, found, 1, NULL);
}

/* A manifest that now names the directory above has lost nothing, if it is there. */
static void
what_lay_below_an_empty_directory_is_gone_too(void **state)
{
	(void)state;
	const struct source_found found[] = {{"/srv/web", true}};
	expect_emptied(LIST("/srv/web/uploads"), found, 1, "/srv/web");
	expect_emptied(LIST("/srv/website"), found, 1, NULL);
	expect_emptied(LIST("/srv"), found, 1, NULL);
}

/* ---- the list ---- */

static void
expect_list(char *const *list, char *const *expected)
{
	assert_int_equal(strings_count(list), strings_count(expected));
	for (size_t i = 0; i < strings_count(expected); i++)
		assert_string_equal(list[i], expected[i]);
}

static void
the_filled_ones_are_remembered(void **state)
{
	(void)state;
	const struct source_found found[] = {{"/a", false}, {"/b", true}, {"/c", false}};
	cleanup_strings char **some = sources_filled(found, 3);
	expect_list(some, LIST("/a", "/c"));
	cleanup_strings char **none = sources_filled(&found[1], 1);
	assert_non_null(none);
	assert_int_equal(strings_count(none), 0);
}

static void
expect_round_trip(char *const *list, const char *packed)
{
	cleanup_free char *words = sources_pack(list);
	assert_string_equal(words, packed);
	cleanup_strings char **back = sources_unpack(words);
	assert_non_null(back);
	expect_list(back, list);
}

static void
a_list_is_a_json_array(void **state)
{
	(void)state;
	expect_round_trip(nothing, "[]");
	expect_round_trip(LIST("/"), "[\"/\"]");
	expect_round_trip(LIST("/srv/web", "/a b/\"c\"",
			      "/gr\xc3\xb6\xc3\x9f"
			      "e"),
	    "[\"/srv/web\",\"/a b/\\\"c\\\"\",\"/gr\xc3\xb6\xc3\x9f"
	    "e\"]");
	assert_null(sources_pack(NULL));
	assert_null(sources_pack(LIST("/a", "/\xff")));
}

static void
nonsense_is_not_known(void **state)
{
	(void)state;
	static const char *const nonsense[] = {"", "/a", "null", "{}", "\"/a\"", "7", "[7]", "[null]", "[\"/a\",[]]",
	    "[\"a\"]", "[\"/a/../b\"]", "[\"/a/\"]", "[\"/a\\u0000\"]", "[\"/a\\u001b[2J\"]", "[\"/a\"", "[\"/a\"] x",
	    "[\"/\xff\"]"};
	for (size_t i = 0; i < ARRAY_LENGTH(nonsense); i++) {
		cleanup_strings char **list = sources_unpack(nonsense[i]);
		if (list != NULL)
			fail_msg("'%s' was read", nonsense[i]);
	}
	assert_null(sources_unpack(NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_source_that_held_something_may_not_be_empty),
	    cmocka_unit_test(what_is_not_known_is_no_alarm),
	    cmocka_unit_test(what_lay_below_an_empty_directory_is_gone_too),
	    cmocka_unit_test(the_filled_ones_are_remembered),
	    cmocka_unit_test(a_list_is_a_json_array),
	    cmocka_unit_test(nonsense_is_not_known),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
