/* What restic's filter takes away, by the words of its own tests and documentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "adapters/restic.h"
#include "core/alloc.h"

static void
patterns_match_as_restic_has_it(void **state)
{
	static const struct {
		const char *pattern, *path;
		bool taken;
	} cases[] = {
	    {"cache", "/var/cache/web", true},
	    {"cache", "/var/lib/web", false},
	    {"cache", "/var/lib/web/cache2", false},
	    {"*.db", "/var/lib/web/app.db", true},
	    {"*.db", "/var/lib/app.db/data", true},
	    {"/var/cache", "/var/cache/web", true},
	    {"/cache", "/var/cache/web", false},
	    {"/var/*/web", "/var/lib/web", true},
	    {"/var/*", "/var", false},
	    {"lib/web", "/var/lib/web", true},
	    {"lib/web", "/var/lib/x/web", false},
	    {"/var/**/web", "/var/lib/x/web", true},
	    {"/var/**/web", "/var/web", true},
	    {"**/.git", "/srv/code/.git", true},
	    {"[cd]ache", "/var/dache", true},
	    {"\\*", "/var/lib", false},
	    {"cache/", "/var/cache", true},
	    {"*", "/anything", true},
	    {"", "/anything", false},
	    {"/", "/anything", false},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		char *const patterns[] = {(char *)(uintptr_t)cases[i].pattern, NULL};
		if ((restic_excluded_by(patterns, cases[i].path) != NULL) != cases[i].taken)
			fail_msg("'%s' and %s", cases[i].pattern, cases[i].path);
	}
}

static void
the_last_that_matches_decides(void **state)
{
	(void)state;
	char *const back[] = {(char[]){"cache"}, (char[]){"!/var/cache/web"}, NULL};
	assert_null(restic_excluded_by(back, "/var/cache/web"));
	assert_string_equal(restic_excluded_by(back, "/var/cache/forum"), "cache");
	char *const again[] = {(char[]){"!cache"}, (char[]){"cache"}, NULL};
	assert_string_equal(restic_excluded_by(again, "/var/cache"), "cache");
	assert_null(restic_excluded_by(NULL, "/var/cache"));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(patterns_match_as_restic_has_it),
	    cmocka_unit_test(the_last_that_matches_decides),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
