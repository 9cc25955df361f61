#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "adapters/postgres_internal.h"
#include "core/alloc.h"

static void
assert_text(const char *actual, const char *expected)
{
	if (expected == NULL)
		assert_null(actual);
	else
		assert_string_equal(actual, expected);
}

static void
assert_same(const struct postgres_source *one, const struct postgres_source *other)
{
	assert_text(one->database, other->database);
	assert_text(one->host, other->host);
	assert_text(one->port, other->port);
	assert_text(one->user, other->user);
	assert_text(one->passfile, other->passfile);
}

static const struct {
	const char *words;
	struct postgres_source source;
} good[] = {
    {"app", {.database = (char *)"app"}},
    {"Größe, Maß und 'Zahl'", {.database = (char *)"Größe, Maß und 'Zahl'"}},
    {"-h", {.database = (char *)"-h"}},
    {"postgres:/x", {.database = (char *)"postgres:/x"}},
    {"dbname='a=b'", {.database = (char *)"a=b"}},
    {"dbname='postgres://x'", {.database = (char *)"postgres://x"}},
    {"dbname='app' host='/run/other'", {.database = (char *)"app", .host = (char *)"/run/other"}},
    {"dbname='it\\'s \\\\' port='65535'", {.database = (char *)"it's \\", .port = (char *)"65535"}},
    {"dbname='app' host='db-1.example.org' port='6432' user='O\\'Neil' passfile='/etc/keys/pass file'",
	{(char *)"app", (char *)"db-1.example.org", (char *)"6432", (char *)"O'Neil", (char *)"/etc/keys/pass file"}},
    {"dbname='app' host='fe80::1%eth0'", {.database = (char *)"app", .host = (char *)"fe80::1%eth0"}},
};

static void
test_reads_what_it_writes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		cleanup_postgres_source struct postgres_source source = {.database = NULL};
		if (postgres_source_read(good[i].words, &source, &error) < 0)
			fail_msg("%s: %s", good[i].words, error.message);
		assert_same(&source, &good[i].source);
		cleanup_free char *written = postgres_source_words(&source);
		/* What needs no conninfo string gets none. */
		if (strcmp(written, good[i].words) != 0) {
			cleanup_postgres_source struct postgres_source again = {.database = NULL};
			assert_int_equal(postgres_source_read(written, &again, &error), 0);
			assert_same(&again, &source);
			fail_msg("%s was written as %s", good[i].words, written);
		}
	}
}

static void
test_keywords_come_in_any_order(void **state)
{
	(void)state;
	cleanup_postgres_source struct postgres_source source = {.database = NULL};
	assert_int_equal(postgres_source_read("user='u' dbname='d'", &source, NULL), 0);
	cleanup_free char *written = postgres_source_words(&source);
	assert_string_equal(written, "dbname='d' user='u'");
}

static void
test_a_name_alone_is_a_conninfo_for_a_program(void **state)
{
	(void)state;
	const struct postgres_source source = {.database = (char *)"app"};
	cleanup_free char *conninfo = postgres_source_conninfo(&source);
	assert_string_equal(conninfo, "dbname='app'");
}

static const char *const bad[] = {
    "",
    "postgres://app:secret@db/app",
    "postgresql://app:secret@db/app?sslmode=require",
    "a\nb",
    "a\x1b[31m",
    "\xff",
    "name-of-64-bytes-is-cut-by-the-server-and-then-it-is-another-one",
    "=",
    "dbname=app",
    "dbname=secret",
    "dbname='app",
    "dbname='app\\",
    "dbname='app\\'",
    "dbname='app' ",
    " dbname='app'",
    "dbname='app'  host='h'",
    "dbname='app'host='h'",
    "dbname='app'\nhost='h'",
    "dbname = 'app'",
    "dbname=''",
    "dbname='app' dbname='other'",
    "host='h'",
    "DBNAME='app'",
    "dbname='app' host=''",
    "dbname='app' host='one,two'",
    "dbname='app' host='/run/../tmp'",
    "dbname='app' host='/run/one,/run/two'",
    "dbname='app' host='@abstract'",
    "dbname='app' host='-h'",
    "dbname='app' host='a b'",
    "dbname='app' port=''",
    "dbname='app' port='0'",
    "dbname='app' port='65536'",
    "dbname='app' port='99999999999'",
    "dbname='app' port='+5'",
    "dbname='app' port='5432,5433'",
    "dbname='app' user=''",
    "dbname='app' user='a\tb'",
    "dbname='app' passfile='.pgpass'",
    "dbname='app' passfile='/etc/../pass'",
    "dbname='app' passfile=''",
    "dbname='app' password='secret'",
    "password='secret' dbname='app'",
    "password=secret dbname='app'",
    "dbname='app' sslpassword='secret'",
    "dbname='app' options='-c secret=1'",
    "dbname='app' service='secret'",
    "dbname='app' hostaddr='10.0.0.1'",
    "dbname='app' =secret",
    "dbname='app' secret",
    "dbname='a\x01pp'",
};

/* Whoever puts a password where none belongs does not find it in a log. */
static void
test_refuses_everything_else_and_shows_no_value(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		struct postgres_source source = {.port = (char *)"untouched"};
		int result = postgres_source_read(bad[i], &source, &error);
		if (result == 0)
			fail_msg("\"%s\" was read", bad[i]);
		assert_string_equal(error_code_word(error.code), "manifest");
		assert_non_null(error.hint);
		assert_null(strstr(error.message, "secret"));
		assert_null(strstr(error.hint, "secret"));
		assert_string_equal(source.port, "untouched");
	}
}

static void
test_names_the_passfile_to_who_writes_a_password(void **state)
{
	(void)state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct postgres_source source;
	assert_int_equal(postgres_source_read("dbname='a' password='x'", &source, &error), -1);
	assert_non_null(strstr(error.message, "password"));
	assert_non_null(strstr(error.hint, "passfile"));
}

/* Every value that may be comes back, whatever is in it. */
static void
test_any_name_comes_back(void **state)
{
	(void)state;
	static const char alphabet[] = "ab'\\\"= %;$`&|<>(){}[]*?!#~/.:,-_09Z";
	unsigned seed = 20261123;
	for (int round = 0; round < 20000; round++) {
		char database[64] = "", user[64] = "";
		int length = 1 + rand_r(&seed) % 20;
		for (int i = 0; i < length; i++) {
			database[i] = alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
			user[i] = alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
		}
		const struct postgres_source source = {.database = database, .user = round % 2 ? user : NULL};
		cleanup_free char *words = postgres_source_words(&source);
		cleanup_postgres_source struct postgres_source again = {.database = NULL};
		cleanup_error struct error error = {.code = ERROR_NONE};
		if (postgres_source_read(words, &again, &error) < 0)
			fail_msg("%s: %s", words, error.message);
		assert_same(&again, &source);
	}
}

/* Pieces of good words, cut and put together: nothing may crash, and what is read is what is written. */
static void
test_hostile_words(void **state)
{
	(void)state;
	static const char *const pieces[] = {"dbname=", "host=", "'", "\\", " ", "=", "app", "port=", "5432", "''",
	    "/tmp", "passfile=", "user=", "\xc3", "\n", "password=", "'a'", "dbname='d'"};
	unsigned seed = 4;
	for (int round = 0; round < 50000; round++) {
		cleanup_text struct text words = {.string = NULL};
		text_add(&words, "");
		for (int i = rand_r(&seed) % 12; i >= 0; i--)
			text_add(&words, pieces[(size_t)rand_r(&seed) % ARRAY_LENGTH(pieces)]);
		cleanup_postgres_source struct postgres_source source = {.database = NULL},
							       again = {.database = NULL};
		if (postgres_source_read(words.string, &source, NULL) < 0)
			continue;
		cleanup_free char *written = postgres_source_words(&source);
		assert_int_equal(postgres_source_read(written, &again, NULL), 0);
		assert_same(&again, &source);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_reads_what_it_writes),
	    cmocka_unit_test(test_keywords_come_in_any_order),
	    cmocka_unit_test(test_a_name_alone_is_a_conninfo_for_a_program),
	    cmocka_unit_test(test_refuses_everything_else_and_shows_no_value),
	    cmocka_unit_test(test_names_the_passfile_to_who_writes_a_password),
	    cmocka_unit_test(test_any_name_comes_back),
	    cmocka_unit_test(test_hostile_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
