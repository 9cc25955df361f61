/* What a server, and libpq, say when they say no; and libpq where there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "adapters/postgres_internal.h"
#include "core/alloc.h"

static const struct postgres_place place = {
    .source = {.database = (char *)"app",
	.host = (char *)"/run/postgresql",
	.port = (char *)"5432",
	.user = (char *)"u"},
};

static void
test_codes(void **state)
{
	(void)state;
	static const struct {
		const char *sqlstate, *words, *code;
	} cases[] = {
	    {"3D000", "database \"app\" does not exist", "database-missing"},
	    {"57P04", "database \"app\" was dropped", "database-missing"},
	    {"28000", "Peer authentication failed for user \"u\"", "postgres-rights"},
	    {"28P01", "password authentication failed for user \"u\"", "postgres-rights"},
	    {"42501", "permission denied for table t", "postgres-rights"},
	    {"55000", "database \"app\" is not currently accepting connections", "postgres-rights"},
	    {"57P01", "terminating connection due to administrator command", "postgres-unreachable"},
	    {"57P03", "the database system is starting up", "postgres-unreachable"},
	    {"57014", "canceling statement due to statement timeout", "postgres-unreachable"},
	    {"08006", "connection failure", "postgres-unreachable"},
	    {"53300", "sorry, too many clients already", "postgres-unreachable"},
	    {"53200", "out of memory", "postgres-unreachable"},
	    {"40001", "canceling statement due to conflict with recovery", "postgres-unreachable"},
	    {"58030", "could not read block 0: Input/output error", "system"},
	    {"XX001", "invalid page in block 0", "system"},
	    {NULL,
		"connection to server on socket \"/run/postgresql/.s.PGSQL.5432\" failed: Connection refused\n\tIs?",
		"postgres-unreachable"},
	    {NULL, "connection to server failed: fe_sendauth: no password supplied", "postgres-rights"},
	    {NULL, "connection to server on socket \"/x\" failed: Permission denied", "postgres-rights"},
	    {NULL, "server closed the connection unexpectedly\n\tThis probably means", "postgres-unreachable"},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		assert_int_equal(postgres_error_set(&error, &place, cases[i].sqlstate, cases[i].words), -1);
		assert_string_equal(error_code_word(error.code), cases[i].code);
		assert_non_null(strstr(error.message, "the database app at /run/postgresql:5432"));
		assert_null(strchr(error.message, '?'));
		assert_non_null(error.hint);
	}
}

static void
test_finds_the_sqlstate_in_any_language(void **state)
{
	(void)state;
	static const struct {
		const char *line, *sqlstate, *rest;
	} cases[] = {
	    {"connection to server on socket \"/a/.s.PGSQL.5432\" failed: FATAL:  3D000: database \"x\" does not "
	     "exist\n"
	     "LOCATION:  InitPostgres",
		"3D000",
		"connection to server on socket \"/a/.s.PGSQL.5432\" failed: FATAL:  database \"x\" does not exist"},
	    {"FATAL:  28P01: Passwort-Authentifizierung fehlgeschlagen", "28P01",
		"FATAL:  Passwort-Authentifizierung fehlgeschlagen"},
	    {"ВАЖНО:  57P03: система запускается", "57P03", "ВАЖНО:  система запускается"},
	    {"failed:  Abc: FATAL:  08P01: x", "08P01", "failed:  Abc: FATAL:  x"},
	    {"could not connect to server: Connection refused\n:  3D000: x", NULL,
		"could not connect to server: Connection refused"},
	    {"FATAL:  3D00", NULL, "FATAL:  3D00"},
	    {"FATAL:  3D000:", NULL, "FATAL:  3D000:"},
	    {"", NULL, ""},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		cleanup_free char *line = xstrdup(cases[i].line);
		char sqlstate[6] = "";
		bool found = postgres_error_split(line, sqlstate);
		assert_int_equal(found, cases[i].sqlstate != NULL);
		if (found)
			assert_string_equal(sqlstate, cases[i].sqlstate);
		assert_string_equal(line, cases[i].rest);
	}
}

/* A name that a server or a manifest brings along drives no terminal. */
static void
test_messages_are_printable(void **state)
{
	(void)state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	postgres_error_set(&error, &place, "42501", "permission denied for table \x1b[31mred\xff");
	assert_true(text_is_printable(error.message));
}

static void
test_says_what_to_install_without_libpq(void **state)
{
	(void)state;
	struct postgres_library library;
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(postgres_library_load("libpq-that-is-not-there.so.5", &library, &error), -1);
	assert_string_equal(error_code_word(error.code), "postgres-client");
	assert_non_null(strstr(error.message, "libpq-that-is-not-there.so.5"));
	assert_non_null(strstr(error.hint, "libpq5"));
}

static void
test_a_library_that_is_something_else_is_no_libpq(void **state)
{
	(void)state;
	struct postgres_library library;
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(postgres_library_load("libm.so.6", &library, &error), -1);
	assert_string_equal(error_code_word(error.code), "postgres-client");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_codes),
	    cmocka_unit_test(test_finds_the_sqlstate_in_any_language),
	    cmocka_unit_test(test_messages_are_printable),
	    cmocka_unit_test(test_says_what_to_install_without_libpq),
	    cmocka_unit_test(test_a_library_that_is_something_else_is_no_libpq),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
