#include "core/alloc.h"

#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

static char **
list_of(const char *first, const char *second)
{
	char **list = NULL;
	strings_add(&list, first);
	strings_add(&list, second);
	return list;
}

static void
strings_move_without_repeating(void **state)
{
	(void)state;
	cleanup_strings char **list = list_of("a", "b");
	char **more = list_of("b", "c");
	const char *moved = more[1];
	strings_move(&list, &more);
	assert_null(more);
	assert_int_equal(strings_count(list), 3);
	assert_string_equal(list[1], "b");
	assert_ptr_equal(list[2], moved);

	more = list_of("d", "d");
	strings_move(&list, &more);
	assert_int_equal(strings_count(list), 4);
}

static void
strings_move_from_and_to_nothing(void **state)
{
	(void)state;
	cleanup_strings char **list = NULL;
	char **more = NULL;
	strings_move(&list, &more);
	assert_null(list);

	more = xcalloc(1, sizeof(*more));
	strings_move(&list, &more);
	assert_null(list);
	assert_null(more);

	more = list_of("a", "b");
	strings_move(&list, &more);
	assert_int_equal(strings_count(list), 2);
	strings_move(&list, &more);
	assert_int_equal(strings_count(list), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(strings_move_without_repeating),
	    cmocka_unit_test(strings_move_from_and_to_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
