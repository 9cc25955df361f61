/* Which pg_dump is taken. The programs here are small scripts; their names are ours, so that none of the machine's
 * gets in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/postgres_internal.h"
#include "core/alloc.h"
#include "tests/unit/core/temporary.h"

#define PROGRAM "pg_dump_of_a_test"

struct fixture {
	char *directory;
	char *path; /* that of before */
};

static int
setup(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->directory = temporary_directory_make();
	fixture->path = xstrdup(getenv("PATH"));
	cleanup_free char *path = xasprintf("%s:%s", fixture->directory, fixture->path);
	setenv("PATH", path, 1);
	*state = fixture;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *fixture = *state;
	setenv("PATH", fixture->path, 1);
	temporary_directory_remove(fixture->directory);
	free(fixture->path);
	free(fixture);
	return 0;
}

static void
install(const struct fixture *fixture, const char *name, const char *body)
{
	cleanup_free char *path = xasprintf("%s/%s", fixture->directory, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", body);
	fclose(file);
	assert_int_equal(chmod(path, 0755), 0);
}

static void
test_versions(void **state)
{
	(void)state;
	static const struct {
		const char *words, *version;
		int major;
	} cases[] = {
	    {"pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)", "15.20", 1500},
	    {"pg_dump (PostgreSQL) 17.2", "17.2", 1700},
	    {"pg_dump (PostgreSQL) 18beta1", "18beta1", 1800},
	    {"pg_dump (PostgreSQL) 19devel", "19devel", 1900},
	    {"pg_dump (PostgreSQL) 9.6.24", "9.6.24", 906},
	    {"pg_dump (PostgreSQL) ", NULL, 0},
	    {"pg_dump (PostgreSQL) x", NULL, 0},
	    {"pg_dump 17.2", NULL, 0},
	    {"", NULL, 0},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		cleanup_free char *version = NULL;
		int major = 0;
		assert_int_equal(postgres_client_version(cases[i].words, &version, &major), cases[i].version != NULL);
		assert_int_equal(major, cases[i].major);
		if (cases[i].version != NULL)
			assert_string_equal(version, cases[i].version);
	}
	assert_int_equal(postgres_major(170002), 1700);
	assert_int_equal(postgres_major(100023), 1000);
	assert_int_equal(postgres_major(90624), 906);
	cleanup_free char *new = postgres_major_words(1700), *old = postgres_major_words(906);
	assert_string_equal(new, "17");
	assert_string_equal(old, "9.6");
}

static void
test_takes_one_of_the_same_version(void **state)
{
	const struct fixture *fixture = *state;
	install(fixture, PROGRAM, "[ \"$1\" = --version ] && echo 'pg_dump (PostgreSQL) 15.20'");
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *path = NULL, *version = NULL;
	assert_int_equal(postgres_client_find(PROGRAM, 150003, &path, &version, &error), 0);
	cleanup_free char *expected = xasprintf("%s/" PROGRAM, fixture->directory);
	assert_string_equal(path, expected);
	assert_string_equal(version, "15.20");
	cleanup_free char *alone = postgres_client(PROGRAM, 150003, &error);
	assert_string_equal(alone, expected);
}

static void
test_a_newer_one_will_do(void **state)
{
	const struct fixture *fixture = *state;
	install(fixture, PROGRAM, "echo 'pg_dump (PostgreSQL) 17.2'");
	cleanup_free char *path = postgres_client(PROGRAM, 90624, NULL);
	assert_non_null(path);
}

static void
assert_none(int64_t server_version, const char *words, const char *hint)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_null(postgres_client(PROGRAM, server_version, &error));
	assert_string_equal(error_code_word(error.code), "postgres-client");
	if (strstr(error.message, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, error.message);
	assert_non_null(strstr(error.hint, hint));
}

static void
test_an_older_one_is_named_with_what_to_install(void **state)
{
	const struct fixture *fixture = *state;
	install(fixture, PROGRAM, "echo 'pg_dump (PostgreSQL) 15.20'");
	assert_none(170002, "is 15.20", "postgresql-client-17");
}

static void
test_there_is_none(void **state)
{
	(void)state;
	assert_none(170002, "there is no " PROGRAM, "postgresql-client-17");
}

static void
test_what_does_not_run_or_is_something_else_is_none(void **state)
{
	const struct fixture *fixture = *state;
	static const char *const bodies[] = {"exit 1", "echo 'pg_dump (PostgreSQL) 17.2'; exit 1", "echo hello",
	    "kill -9 $$", "head -c 3000000 /dev/zero", "echo >&2 'pg_dump (PostgreSQL) 17.2'"};
	for (size_t i = 0; i < ARRAY_LENGTH(bodies); i++) {
		install(fixture, PROGRAM, bodies[i]);
		assert_none(170002, "there is no " PROGRAM, "postgresql-client-17");
	}
}

/* Debian's takes another version with other arguments. */
static void
test_the_wrapper_is_passed_by(void **state)
{
	const struct fixture *fixture = *state;
	install(fixture, "pg_wrapper", "echo 'pg_dump (PostgreSQL) 17.2'");
	cleanup_free char *link = xasprintf("%s/" PROGRAM, fixture->directory);
	assert_int_equal(symlink("pg_wrapper", link), 0);
	assert_none(170002, "there is no " PROGRAM, "postgresql-client-17");
}

/* A real one, where this machine has it beside PATH. */
static void
test_finds_those_beside_path(void **state)
{
	(void)state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *path = postgres_client("pg_dump", 100000, &error);
	if (path == NULL)
		fail_msg("%s (scripts/setup test installs it)", error.message);
	assert_int_equal(access(path, X_OK), 0);
	cleanup_free char *target = realpath(path, NULL);
	assert_false(text_ends_with(target, "pg_wrapper"));
}

int
main(void)
{
#define client_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
	    client_test(test_versions),
	    client_test(test_takes_one_of_the_same_version),
	    client_test(test_a_newer_one_will_do),
	    client_test(test_an_older_one_is_named_with_what_to_install),
	    client_test(test_there_is_none),
	    client_test(test_what_does_not_run_or_is_something_else_is_none),
	    client_test(test_the_wrapper_is_passed_by),
	    client_test(test_finds_those_beside_path),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
