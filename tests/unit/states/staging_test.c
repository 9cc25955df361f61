/* What a dead runner has left is out of the way at once, and removed later. */
#include "states/staging.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "tests/unit/core/temporary.h"

struct fixture {
	char *directory;
	struct journal *journal;
};

static int
setup(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->directory = temporary_directory_make();
	*state = fixture;
	return journal_open(fixture->directory, clock_system(), &fixture->journal, NULL);
}

static int
teardown(void **state)
{
	struct fixture *fixture = *state;
	journal_close(fixture->journal);
	temporary_directory_remove(fixture->directory);
	free(fixture);
	return 0;
}

#define staging_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

static bool
has(const struct fixture *fixture, const char *name)
{
	cleanup_free char *path = xasprintf("%s/%s", fixture->directory, name);
	return access(path, F_OK) == 0;
}

/* As an attempt that was cut does. */
static void
leave_something(const struct fixture *fixture)
{
	cleanup_free char *command = xasprintf("mkdir -p -m 700 %s/staging/web/postgres && echo dump "
					       ">%s/staging/web/postgres/web.dump",
	    fixture->directory, fixture->directory);
	assert_int_equal(system(command), 0);
}

static void
what_is_left_is_moved_away_and_then_removed(void **state)
{
	struct fixture *fixture = *state;
	leave_something(fixture);
	staging_set_aside(fixture->journal);
	assert_false(has(fixture, "staging"));
	assert_true(has(fixture, "staging.old/0/web/postgres/web.dump"));
	/* A new attempt is not touched any more. */
	leave_something(fixture);
	staging_sweep(fixture->journal);
	assert_false(has(fixture, "staging.old"));
	assert_true(has(fixture, "staging/web/postgres/web.dump"));
}

static void
runners_may_die_before_they_remove_it(void **state)
{
	struct fixture *fixture = *state;
	for (int i = 0; i < 3; i++) {
		leave_something(fixture);
		staging_set_aside(fixture->journal);
	}
	assert_false(has(fixture, "staging"));
	assert_true(has(fixture, "staging.old/2/web/postgres/web.dump"));
	staging_sweep(fixture->journal);
	assert_false(has(fixture, "staging.old"));
}

static void
where_nothing_is_left_nothing_is_made(void **state)
{
	struct fixture *fixture = *state;
	staging_set_aside(fixture->journal);
	assert_false(has(fixture, "staging.old"));
	staging_sweep(fixture->journal);
	assert_false(has(fixture, "staging"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    staging_test(what_is_left_is_moved_away_and_then_removed),
	    staging_test(runners_may_die_before_they_remove_it),
	    staging_test(where_nothing_is_left_nothing_is_made),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
