/* "Did you mean ...?" */
#include "core/nearest.h"

#include "core/alloc.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *const words[] = {"backup", "check", "status", "web", "vaultwarden", "wiki"};

static const struct {
	const char *typed;
	const char *meant;
} cases[] = {
    {"statsu", "status"},
    {"stats", "status"},
    {"chekc", "check"},
    {"wbe", "web"},
    {"bakcup", "backup"},
    {"valtwarden", "vaultwarden"},
    {"vault", "vaultwarden"},
    {"w", NULL},
    {"", NULL},
    {"zebra", NULL},
    {"completely-different", NULL},
};

static void
the_nearest_word_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		const char *found = nearest_word(cases[i].typed, words, ARRAY_LENGTH(words));
		if (cases[i].meant == NULL)
			assert_null(found);
		else if (found == NULL)
			fail_msg("nothing is near '%s'", cases[i].typed);
		else
			assert_string_equal(found, cases[i].meant);
	}
	assert_null(nearest_word("web", words, 0));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_nearest_word_is_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
