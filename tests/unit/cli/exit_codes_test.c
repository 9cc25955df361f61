/* docs/exit-codes.md says what the program does. */
#include "cli/command.h"

#include "core/alloc.h"
#include "core/file.h"
#include "core/text.h"

#include <ctype.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#define TABLE_HEAD "| code | name | meaning |\n|---|---|---|\n"

static void
add_row(struct text *table, const char *name, int number, const char *meaning)
{
	cleanup_free char *word = xstrdup(name);
	for (char *at = word; *at != '\0'; at++)
		*at = (char)tolower((unsigned char)*at);
	text_printf(table, "| %d | %s | %s |\n", number, word, meaning);
}

static void
the_document_has_the_table_of_the_code(void **state)
{
	(void)state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_text struct text table = {.string = NULL};
	cleanup_free char *document = NULL;
	size_t length;
	text_add(&table, TABLE_HEAD);
#define X(name, number, text) add_row(&table, #name, number, text);
	EXIT_CODE_LIST(X)
#undef X
	text_add(&table, "\n");
	if (file_read(TEST_SOURCE_DIR "/docs/exit-codes.md", 65536, &document, &length, &error) < 0)
		fail_msg("%s", error.message);
	if (strstr(document, table.string) == NULL)
		fail_msg("docs/exit-codes.md does not have this table:\n%s", table.string);
}

static void
errors_lead_to_their_codes(void **state)
{
	(void)state;
	assert_int_equal(cli_code_of(ERROR_USAGE), CODE_USAGE);
	assert_int_equal(cli_code_of(ERROR_MANIFEST), CODE_USAGE);
	assert_int_equal(cli_code_of(ERROR_SECRET), CODE_USAGE);
	assert_int_equal(cli_code_of(ERROR_CANCELLED), CODE_CANCELLED);
	assert_int_equal(cli_code_of(ERROR_REPOSITORY_UNREACHABLE), CODE_FAILED);
	assert_int_equal(cli_code_of(ERROR_JOURNAL), CODE_FAILED);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_document_has_the_table_of_the_code),
	    cmocka_unit_test(errors_lead_to_their_codes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
