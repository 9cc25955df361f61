/* data.postgres: which databases are taken, and the words that the adapter reads for them. */
#include "jobs/manifest_internal.h"
#include "manifest_parsing.h"

/* A manifest of version 2 with one service, web. */
static struct parsed
parse_postgres(const char *value)
{
	cleanup_free char *content =
	    xasprintf("{\"version\":2,\"services\":{\"web\":{\"data\":{\"postgres\":%s}}}}", value);
	return parse(content);
}

static void
expect_words(const char *value, const char *const *words)
{
	cleanup_parsed struct parsed parsed = parse_postgres(value);
	assert_int_equal(parsed.result, 0);
	assert_int_equal(parsed.problems.count, 0);
	expect_list(parsed.manifest.services[0].postgres, words);
	assert_string_equal(parsed.manifest.services[0].type, "postgres");
}

static void
names_stay_names(void **state)
{
	(void)state;
	expect_words("\"web\"", LIST("web"));
	expect_words("[\"web\",\"two words\"]", LIST("web", "two words"));
	expect_words("[\"o'hara\",\"back\\\\slash\"]", LIST("o'hara", "back\\slash"));
	cleanup_parsed struct parsed parsed = parse(
	    "{\"services\":{\"web\":{\"data\":{\"postgres\":[\"b\",\"a\"]}},"
	    "\"one\":{\"data\":{\"postgres\":\"c\"}},\"none\":{\"paths\":\"/a\",\"data\":{\"postgres\":null}}}}");
	assert_int_equal(parsed.result, 0);
	assert_int_equal(parsed.problems.count, 0);
	expect_list(manifest_find(&parsed.manifest, "web")->postgres, LIST("b", "a"));
	expect_list(manifest_find(&parsed.manifest, "one")->postgres, LIST("c"));
	assert_int_equal(strings_count(manifest_find(&parsed.manifest, "none")->postgres), 0);
}

/* What adapters/postgres.h reads: a change here has to be one there. */
static void
objects_become_conninfo_strings(void **state)
{
	(void)state;
	expect_words("{\"database\":\"web\"}", LIST("dbname='web'"));
	expect_words("{\"passfile\":\"/p\",\"user\":\"u\",\"port\":5433,\"host\":\"h\",\"database\":\"d\"}",
	    LIST("dbname='d' host='h' port='5433' user='u' passfile='/p'"));
	expect_words("{\"database\":\"web\",\"port\":\"6432\",\"user\":null}", LIST("dbname='web' port='6432'"));
	expect_words("{\"database\":\"a=b\"}", LIST("dbname='a=b'"));
	expect_words("{\"database\":\"o'h \\\\x'\"}", LIST("dbname='o\\'h \\\\x\\''"));
	expect_words("{\"database\":\"d\",\"user\":\"'\",\"passfile\":\"/p q\"}",
	    LIST("dbname='d' user='\\'' passfile='/p q'"));
	expect_words(
	    "[\"web\",{\"database\":\"mail\",\"host\":\"/run/pg\"}]", LIST("web", "dbname='mail' host='/run/pg'"));
}

static void
hosts_are_names_addresses_or_directories(void **state)
{
	(void)state;
	static const char *const hosts[] = {
	    "db.example.org", "localhost", "10.0.0.1", "::1", "fe80::1%eth0", "/run/pg"};
	for (size_t i = 0; i < ARRAY_LENGTH(hosts); i++) {
		cleanup_free char *value = xasprintf("{\"database\":\"d\",\"host\":\"%s\"}", hosts[i]);
		cleanup_free char *words = xasprintf("dbname='d' host='%s'", hosts[i]);
		expect_words(value, LIST(words));
	}
}

static void
expect_bad(const char *value, const char *place, const char *words)
{
	cleanup_free char *content =
	    xasprintf("{\"version\":2,\"services\":{\"web\":{\"data\":{\"postgres\":%s}}}}", value);
	cleanup_free char *full_place = xasprintf("m.json: services.web.data.postgres%s", place);
	expect_refusal(content, full_place, words);
}

static void
everything_else_is_refused(void **state)
{
	(void)state;
	expect_bad("7", "", "expected a name, an object, or a list of them, found a whole number");
	expect_bad("[\"a\",[\"b\"]]", "[1]", "found a list");
	expect_bad("\"\"", "", "is empty");
	expect_bad("\"a\\nb\"", "", "control characters");
	expect_bad("{}", "", "\"database\" is missing");
	expect_bad("{\"host\":\"h\"}", "", "\"database\" is missing");
	expect_bad("[{\"database\":null}]", "[0]", "\"database\" is missing");
	expect_bad("{\"database\":\"\"}", ".database", "is empty");
	expect_bad("{\"database\":[\"a\"]}", ".database", "expected a name, found a list");
	expect_bad("{\"database\":\"d\",\"dbname\":\"d\"}", ".dbname", "unknown key");
	expect_bad("{\"database\":\"d\",\"password\":\"secret\"}", ".password", "unknown key");
	expect_bad("[\"a\",{\"database\":\"d\",\"Passfile\":\"/p\"}]", "[1].Passfile", "unknown key");
	expect_bad("{\"database\":\"d\",\"port\":0}", ".port", "out of range");
	expect_bad("{\"database\":\"d\",\"port\":65536}", ".port", "out of range");
	expect_bad("{\"database\":\"d\",\"port\":99999999999}", ".port", "out of range");
	expect_bad("{\"database\":\"d\",\"port\":-1}", ".port", "no number");
	expect_bad("{\"database\":\"d\",\"port\":\"\"}", ".port", "is empty");
	expect_bad("{\"database\":\"d\",\"port\":\"5432 \"}", ".port", "no number");
	expect_bad("{\"database\":\"d\",\"port\":5432.0}", ".port", "found a number with a fraction");
	expect_bad("{\"database\":\"d\",\"host\":\"run/pg\"}", ".host", "characters");
	expect_bad("{\"database\":\"d\",\"host\":\"a,b\"}", ".host", "characters");
	expect_bad("{\"database\":\"d\",\"host\":\"::g\"}", ".host", "characters");
	expect_bad("{\"database\":\"d\",\"host\":\"fe80::1%\"}", ".host", "characters");
	expect_bad("{\"database\":\"d\",\"host\":\"/run/../pg\"}", ".host", "'..'");
	expect_bad("{\"database\":\"d\",\"host\":\"\"}", ".host", "is empty");
	expect_bad("{\"database\":\"d\",\"user\":\"\"}", ".user", "is empty");
	expect_bad("{\"database\":\"d\",\"passfile\":\"pgpass\"}", ".passfile", "not absolute");
}

/* Such words may have a password in them. */
static void
connection_strings_are_refused_and_not_repeated(void **state)
{
	(void)state;
	static const char *const values[] = {"\"dbname=web password=geheim\"", "\"postgresql://web:geheim@db/web\"",
	    "[\"postgres://web:geheim@db/web\"]", "{\"database\":\"web\",\"password\":\"geheim\"}"};
	for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
		cleanup_parsed struct parsed parsed = parse_postgres(values[i]);
		assert_int_equal(parsed.result, -1);
		assert_int_equal(parsed.problems.count, 1);
		assert_null(strstr(parsed.problems.items[0].message, "geheim"));
		assert_null(strstr(parsed.problems.items[0].remedy, "geheim"));
		assert_null(strstr(parsed.problems.items[0].place, "geheim"));
	}
}

/* ---- the same one twice ---- */

static void
one_database_is_named_once(void **state)
{
	(void)state;
	expect_bad("[\"a\",\"b\",\"a\"]", "", "twice: dbname='a'");
	expect_bad("[\"a\",{\"database\":\"a\"}]", "", "twice");
	expect_bad("[{\"database\":\"a\",\"user\":\"x\"},{\"database\":\"a\",\"passfile\":\"/p\"}]", "", "twice");
	expect_bad("[\"a\",{\"database\":\"a\",\"port\":5432}]", "", "twice");
	expect_bad(
	    "[{\"database\":\"a\",\"host\":\"h\",\"port\":1},{\"database\":\"a\",\"host\":\"h\",\"port\":\"01\"}]",
	    "", "twice");
	expect_words("[\"a\",{\"database\":\"a\",\"host\":\"h\"},{\"database\":\"a\",\"port\":5433}]",
	    LIST("a", "dbname='a' host='h'", "dbname='a' port='5433'"));
	/* A value that looks like a keyword is none. */
	expect_words("[\"a\",{\"database\":\"a' user='x\"}]", LIST("a", "dbname='a\\' user=\\'x'"));
	expect_words("[{\"database\":\"a' port='5432\"},\"a\"]", LIST("dbname='a\\' port=\\'5432'", "a"));
	expect_words("[\"a\\\\\",\"a\\\\\\\\\"]", LIST("a\\", "a\\\\"));
	expect_refusal("{\"services\":{\"web\":{\"data\":{\"postgres\":[\"a\",\"a\"]}}}}",
	    "m.json: services.web.data.postgres", "twice");
}

static void
two_services_that_dump_one_database_are_a_warning(void **state)
{
	(void)state;
	cleanup_parsed struct parsed parsed =
	    parse("{\"version\":2,\"services\":{\"b\":{\"data\":{\"postgres\":[\"x\",\"only\"]}},"
		  "\"a\":{\"data\":{\"postgres\":{\"database\":\"x\",\"user\":\"u\"}}},"
		  "\"c\":{\"data\":{\"postgres\":{\"database\":\"x\",\"host\":\"h\"}}}}}");
	assert_int_equal(parsed.result, 0);
	assert_int_equal(parsed.problems.count, 1);
	const struct problem *problem = expect_problem(&parsed, "m.json: services.b.data.postgres", "the service a");
	assert_int_equal(problem->severity, PROBLEM_WARNING);
	assert_non_null(strstr(problem->message, "dbname='x'"));
}

static void
a_thousand_databases_are_judged_at_once(void **state)
{
	(void)state;
	cleanup_text struct text value = {.string = NULL};
	for (int i = 0; i < 1000; i++)
		text_printf(&value, "%s\"d%d\"", i == 0 ? "[" : ",", i);
	text_add(&value, "]");
	cleanup_parsed struct parsed parsed = parse_postgres(value.string);
	assert_int_equal(parsed.result, 0);
	assert_int_equal(strings_count(parsed.manifest.services[0].postgres), 1000);
	value.string[value.length - 1] = ',';
	text_add(&value, "\"e\"]");
	expect_bad(value.string, "", "1001 entries");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_stay_names),
	    cmocka_unit_test(objects_become_conninfo_strings),
	    cmocka_unit_test(hosts_are_names_addresses_or_directories),
	    cmocka_unit_test(everything_else_is_refused),
	    cmocka_unit_test(connection_strings_are_refused_and_not_repeated),
	    cmocka_unit_test(one_database_is_named_once),
	    cmocka_unit_test(two_services_that_dump_one_database_are_a_warning),
	    cmocka_unit_test(a_thousand_databases_are_judged_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
