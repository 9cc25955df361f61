/* The table of contents of a dump, and the name of its file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "adapters/postgres_internal.h"
#include "core/alloc.h"

static char *names[] = {(char *)"public.a", (char *)"public.a b", (char *)"x.y\nz", NULL};
static uint32_t oids[] = {16500, 16386, 4294967295};
static const struct postgres_facts facts = {.tables = names, .table_oids = oids};

static void
take(struct postgres_archive *archive, const char *const *lines)
{
	postgres_archive_expect(archive, &facts);
	for (size_t i = 0; lines[i] != NULL; i++)
		postgres_archive_take(archive, lines[i]);
}

static void
test_knows_tables_by_their_oids(void **state)
{
	(void)state;
	struct postgres_archive archive;
	take(&archive,
	    (const char *const[]){";", "; Archive created at 2026-11-23 02:00:00 CET", ";     dbname: app",
		"217; 1259 16500 TABLE public a postgres", "3401; 0 16386 TABLE DATA public a b postgres",
		"3400; 0 16500 TABLE DATA public a postgres", "3402; 0 4294967295 TABLE DATA x y z postgres",
		"3403; 0 99999 TABLE DATA public new app", "3404; 0 0 SEQUENCE SET public s postgres", "", NULL});
	assert_int_equal(archive.tables, 4);
	assert_null(postgres_archive_missing(&archive, &facts, NULL));
	postgres_archive_clear(&archive);
}

/* "public a b" is no proof of "public a", and neither is a table in a schema called DATA. */
static void
test_is_not_fooled_by_names(void **state)
{
	(void)state;
	struct postgres_archive archive;
	take(&archive,
	    (const char *const[]){"3401; 0 16386 TABLE DATA public a b postgres", "217; 1259 16500 TABLE DATA a app",
		"; 3400; 0 16500 TABLE DATA public a postgres", " 3400; 0 16500 TABLE DATA",
		"3402; 0 4294967295 TABLE ATTACH x y z postgres", "16500", NULL});
	assert_int_equal(archive.tables, 1);
	cleanup_strings char **missing = postgres_archive_missing(&archive, &facts, NULL);
	assert_int_equal(strings_count(missing), 2);
	assert_true(strings_contain(missing, "public.a"));
	assert_true(strings_contain(missing, "x.y\nz"));
	postgres_archive_clear(&archive);
}

static void
test_a_table_that_was_dropped_is_not_missing(void **state)
{
	(void)state;
	char *left[] = {(char *)"public.a", NULL};
	uint32_t left_oids[] = {16500};
	const struct postgres_facts now = {.tables = left, .table_oids = left_oids};
	const struct postgres_facts nothing = {.tables = NULL};
	struct postgres_archive archive;
	take(&archive, (const char *const[]){NULL});
	cleanup_strings char **missing = postgres_archive_missing(&archive, &facts, &now);
	assert_int_equal(strings_count(missing), 1);
	assert_string_equal(missing[0], "public.a");
	assert_null(postgres_archive_missing(&archive, &facts, &nothing));
	postgres_archive_clear(&archive);
}

/* Made again under its name it has another oid: the rows that were expected are gone for good. */
static void
test_a_table_that_was_made_again_is_another_one(void **state)
{
	(void)state;
	char *left[] = {(char *)"public.a", NULL};
	uint32_t left_oids[] = {17000};
	const struct postgres_facts now = {.tables = left, .table_oids = left_oids};
	struct postgres_archive archive;
	take(&archive, (const char *const[]){NULL});
	assert_null(postgres_archive_missing(&archive, &facts, &now));
	postgres_archive_clear(&archive);
}

static void
test_an_empty_database_expects_nothing(void **state)
{
	(void)state;
	const struct postgres_facts empty = {.tables = NULL};
	struct postgres_archive archive;
	postgres_archive_expect(&archive, &empty);
	postgres_archive_take(&archive, "3400; 0 16500 TABLE DATA public a postgres");
	assert_null(postgres_archive_missing(&archive, &empty, NULL));
	postgres_archive_clear(&archive);
}

static void
test_names_of_files(void **state)
{
	(void)state;
	static const struct {
		const char *database, *name;
	} cases[] = {
	    {"app", "app"},
	    {"App_1.x-y", "App_1.x-y"},
	    {".app", "%2Eapp"},
	    {"..", "%2E."},
	    {"-app", "%2Dapp"},
	    {"_app", "_app"},
	    {"a/b", "a%2Fb"},
	    {"it's 100%", "it%27s%20100%25"},
	    {"größe", "gr%C3%B6%C3%9Fe"},
	    {"a=b", "a%3Db"},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		cleanup_free char *name = postgres_dump_name(cases[i].database);
		assert_string_equal(name, cases[i].name);
	}
}

static void
test_facts_are_copied_whole(void **state)
{
	(void)state;
	char *extensions[] = {(char *)"hstore 1.8", NULL};
	const struct postgres_facts whole = {
	    .server_version = 170002,
	    .bytes = 1,
	    .large_objects = 2,
	    .owner = (char *)"o",
	    .encoding = (char *)"UTF8",
	    .collate = (char *)"C",
	    .character_type = (char *)"C.UTF-8",
	    .locale_provider = (char *)"libc",
	    .extensions = extensions,
	    .tables = names,
	    .table_oids = oids,
	};
	cleanup_postgres_facts struct postgres_facts copy;
	postgres_facts_copy(&whole, &copy);
	assert_int_equal(copy.server_version, 170002);
	assert_int_equal(copy.bytes, 1);
	assert_int_equal(copy.large_objects, 2);
	assert_string_equal(copy.owner, "o");
	assert_string_equal(copy.encoding, "UTF8");
	assert_string_equal(copy.collate, "C");
	assert_string_equal(copy.character_type, "C.UTF-8");
	assert_string_equal(copy.locale_provider, "libc");
	assert_string_equal(copy.extensions[0], "hstore 1.8");
	assert_int_equal(strings_count(copy.tables), 3);
	assert_string_equal(copy.tables[2], "x.y\nz");
	assert_memory_equal(copy.table_oids, oids, sizeof(oids));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_knows_tables_by_their_oids),
	    cmocka_unit_test(test_is_not_fooled_by_names),
	    cmocka_unit_test(test_a_table_that_was_dropped_is_not_missing),
	    cmocka_unit_test(test_a_table_that_was_made_again_is_another_one),
	    cmocka_unit_test(test_an_empty_database_expects_nothing),
	    cmocka_unit_test(test_names_of_files),
	    cmocka_unit_test(test_facts_are_copied_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
