#include "jobs/datum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"

static const struct datum database = {
    .kind = DATUM_SQLITE, .name = (char *)"/srv/\"web\"/\xc3\xa4.db", .bytes = 8192, .used = 4096, .tables = 3};
static const struct datum dump = {
    .kind = DATUM_POSTGRES, .name = (char *)"dbname=shop host=db", .bytes = INT64_MAX, .used = INT64_MAX};

#define DATABASE                                                                                                     \
	"{\"kind\":\"sqlite\",\"name\":\"/srv/\\\"web\\\"/\xc3\xa4.db\",\"bytes\":8192,\"used\":4096,\"tables\":3}"
#define DUMP                                                                                                         \
	"{\"kind\":\"postgres\",\"name\":\"dbname=shop "                                                             \
	"host=db\",\"bytes\":9223372036854775807,\"used\":9223372036854775807,\"tables\":0}"

static void
assert_datum(const struct datum *datum, const struct datum *expected)
{
	assert_int_equal(datum->kind, expected->kind);
	assert_string_equal(datum->name, expected->name);
	assert_true(datum->bytes == expected->bytes);
	assert_true(datum->used == expected->used);
	assert_true(datum->tables == expected->tables);
}

static void
a_list_comes_back_from_its_json(void **state)
{
	(void)state;
	cleanup_data struct datum_list list = {.items = NULL}, back = {.items = NULL};
	datum_list_add(&list, &database);
	datum_list_add(&list, &dump);
	cleanup_free char *packed = datum_list_pack(&list);
	assert_string_equal(packed, "[" DATABASE "," DUMP "]");
	datum_list_unpack(packed, &back);
	assert_int_equal(back.count, 2);
	assert_datum(&back.items[0], &database);
	assert_datum(&back.items[1], &dump);
}

static void
what_is_not_known_is_an_empty_list(void **state)
{
	(void)state;
	static const char *const nonsense[] = {"", "{}", "null", "[]", "[[]]", "[{}]", "[7]", "[" DATABASE,
	    "[" DATABASE "] x", "[" DATABASE ",{}]",
	    "[{\"kind\":\"mysql\",\"name\":\"a\",\"bytes\":1,\"used\":1,\"tables\":1}]",
	    "[{\"kind\":\"sqlite\",\"name\":7,\"bytes\":1,\"used\":1,\"tables\":1}]",
	    "[{\"kind\":\"sqlite\",\"name\":\"a\",\"bytes\":-1,\"used\":-1,\"tables\":1}]",
	    "[{\"kind\":\"sqlite\",\"name\":\"a\",\"bytes\":1,\"used\":2,\"tables\":1}]",
	    "[{\"kind\":\"sqlite\",\"name\":\"a\",\"bytes\":1,\"used\":-1,\"tables\":1}]",
	    "[{\"kind\":\"sqlite\",\"name\":\"a\",\"bytes\":1,\"used\":1,\"tables\":-1}]",
	    "[{\"kind\":\"sqlite\",\"name\":\"a\",\"bytes\":1.0,\"used\":1,\"tables\":1}]",
	    "[{\"kind\":\"sqlite\",\"name\":\"a\",\"bytes\":1,\"used\":1}]",
	    "[{\"kind\":\"sqlite\",\"name\":\"a\",\"bytes\":1,\"used\":1,\"tables\":1,\"rows\":1}]"};
	for (size_t i = 0; i < ARRAY_LENGTH(nonsense); i++) {
		struct datum_list list;
		datum_list_unpack(nonsense[i], &list);
		if (list.count != 0 || list.items != NULL)
			fail_msg("'%s' was read", nonsense[i]);
	}
	struct datum_list none;
	datum_list_unpack(NULL, &none);
	assert_int_equal(none.count, 0);
	assert_null(datum_list_pack(&none));
	cleanup_data struct datum_list no_text = {.items = NULL};
	datum_list_add(&no_text, &(struct datum){.kind = DATUM_SQLITE, .name = (char *)"/\xff"});
	assert_null(datum_list_pack(&no_text));
}

static void
a_datum_is_found_by_kind_and_name(void **state)
{
	(void)state;
	cleanup_data struct datum_list list = {.items = NULL};
	assert_null(datum_list_find(&list, &database));
	datum_list_add(&list, &dump);
	datum_list_add(&list, &database);
	assert_ptr_equal(datum_list_find(&list, &database), &list.items[1]);
	struct datum other = database;
	other.kind = DATUM_POSTGRES;
	assert_null(datum_list_find(&list, &other));
	other = database;
	other.name = (char *)"/srv/web.db";
	assert_null(datum_list_find(&list, &other));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_list_comes_back_from_its_json),
	    cmocka_unit_test(what_is_not_known_is_an_empty_list),
	    cmocka_unit_test(a_datum_is_found_by_kind_and_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
