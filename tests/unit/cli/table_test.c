/* Columns that stand under each other whatever is in them. */
#include "cli/table.h"

#include "core/alloc.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static const struct table_column columns[] = {{"NAME", false}, {"SIZE", true}, {"WORDS", false}};

static char *
printed(const struct table *table)
{
	char *text = NULL;
	size_t length;
	FILE *file = open_memstream(&text, &length);
	assert_non_null(file);
	table_print(table, file);
	fclose(file);
	return text;
}

static void
expect_table(const struct table *table, const char *expected)
{
	cleanup_free char *text = printed(table);
	assert_string_equal(text, expected);
}

static void
columns_are_as_wide_as_their_widest_word(void **state)
{
	(void)state;
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	table_add(&table, "web");
	table_printf(&table, "%d B", 7);
	table_add(&table, "all well");
	table_add(&table, "vaultwarden");
	table_take(&table, xstrdup("12.5 GiB"));
	table_add(&table, "x");
	expect_table(&table, "NAME             SIZE  WORDS\n"
			     "web               7 B  all well\n"
			     "vaultwarden  12.5 GiB  x\n");
}

static void
nothing_shows_as_a_dash(void **state)
{
	(void)state;
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	table_add(&table, NULL);
	table_take(&table, NULL);
	table_add(&table, "");
	expect_table(&table, "NAME  SIZE  WORDS\n"
			     "-        -  -\n");
}

static void
wide_and_combining_characters_keep_the_columns(void **state)
{
	(void)state;
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	table_add(&table, "写真");
	table_add(&table, "1");
	table_add(&table, "a");
	table_add(&table, "cafe\xcc\x81");
	table_add(&table, "2");
	table_add(&table, "b");
	expect_table(&table, "NAME  SIZE  WORDS\n"
			     "写真     1  a\n"
			     "cafe\xcc\x81     2  b\n");
}

static void
control_characters_do_not_reach_the_screen(void **state)
{
	(void)state;
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	table_add(&table, "a\033[2J");
	table_add(&table, "1\n2");
	table_add(&table, "\xff\xe2\x80\xae");
	expect_table(&table, "NAME   SIZE  WORDS\n"
			     "a?[2J   1?2  ??\n");
}

static void
a_tone_is_no_colour_without_a_terminal(void **state)
{
	(void)state;
	cleanup_table struct table table = {.columns = columns, .column_count = 1};
	table_add_toned(&table, TONE_BAD, "failed");
	expect_table(&table, "NAME\nfailed\n");
}

static void
a_table_without_rows_is_its_headings(void **state)
{
	(void)state;
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	expect_table(&table, "NAME  SIZE  WORDS\n");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(columns_are_as_wide_as_their_widest_word),
	    cmocka_unit_test(nothing_shows_as_a_dash),
	    cmocka_unit_test(wide_and_combining_characters_keep_the_columns),
	    cmocka_unit_test(control_characters_do_not_reach_the_screen),
	    cmocka_unit_test(a_tone_is_no_colour_without_a_terminal),
	    cmocka_unit_test(a_table_without_rows_is_its_headings),
	};
	terminal_choose_locale();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
