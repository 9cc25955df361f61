/* docs/manifest.md has one row for each key, word for word what the tables say, and no other. */
#include "jobs/manifest_internal.h"

#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/file.h"

static const char *
versions_of(const struct manifest_key *key)
{
	if (key->since == 1)
		return key->until == 1 ? "1" : "1, 2";
	return "2";
}

/* What a service leaves out comes from the top level, so its rows have no value of their own. */
static void
add_rows(char ***rows, const struct manifest_key *keys, const char *prefix, bool in_service)
{
	for (const struct manifest_key *key = keys; key->name != NULL; key++) {
		cleanup_free char *path = xasprintf("%s%s", prefix, key->name);
		bool has_initial = key->initial != NULL && !in_service;
		cleanup_free char *initial = has_initial ? xasprintf(" `%s`", key->initial) : xstrdup("");
		cleanup_free char *row = xasprintf("| `%s` | %s | %s |%s | %s |", path,
		    manifest_types[key->type].words, versions_of(key), initial, key->doc);
		strings_add(rows, row);
		if (key->keys == NULL)
			continue;
		bool services = key->type == MANIFEST_SERVICES;
		cleanup_free char *below = xasprintf("%s%s", path, services ? ".NAME." : ".");
		add_rows(rows, key->keys, below, in_service || services);
	}
}

static char **
rows_of_tables(void)
{
	char **rows = NULL;
	add_rows(&rows, manifest_keys, "", false);
	return rows;
}

static char *
read_document(void)
{
	char *content = NULL;
	size_t length;
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (file_read(TEST_SOURCE_DIR "/docs/manifest.md", 1 << 20, &content, &length, &error) < 0)
		fail_msg("%s", error.message);
	return content;
}

static char **
rows_of_document(void)
{
	char **rows = NULL;
	cleanup_free char *content = read_document();
	char *rest = content;
	for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n"))
		if (text_starts_with(line, "| `"))
			strings_add(&rows, line);
	return rows;
}

/* Prints what `left` has and `right` has not; returns how many these are. */
static size_t
report_missing(char *const *left, char *const *right, const char *words)
{
	size_t missing = 0;
	for (size_t i = 0; left != NULL && left[i] != NULL; i++) {
		if (strings_contain(right, left[i]))
			continue;
		print_error("%s:\n%s\n", words, left[i]);
		missing++;
	}
	return missing;
}

static void
the_document_says_what_the_tables_say(void **state)
{
	(void)state;
	cleanup_strings char **tables = rows_of_tables();
	cleanup_strings char **document = rows_of_document();
	size_t missing = report_missing(tables, document, "docs/manifest.md lacks");
	missing += report_missing(document, tables, "no such key, but in docs/manifest.md");
	assert_int_equal(missing, 0);
	assert_int_equal(strings_count(tables), strings_count(document));
	assert_true(strings_count(tables) > 50);
}

static void
the_examples_of_the_document_are_good(void **state)
{
	(void)state;
	cleanup_free char *document = read_document();
	size_t examples = 0;
	for (char *start = strstr(document, "```json\n"); start != NULL; start = strstr(start, "```json\n")) {
		start += strlen("```json\n");
		size_t length = (size_t)(strstr(start, "```") - start);
		cleanup_problems struct problem_list problems = {.items = NULL};
		struct manifest manifest;
		assert_int_equal(manifest_parse("example", start, length, NULL, &manifest, &problems), 0);
		assert_int_equal(problems.count, 0);
		assert_int_equal(manifest.service_count, 2);
		manifest_clear(&manifest);
		examples++;
	}
	assert_int_equal(examples, 2);
}

static void
assert_initials(const struct manifest_key *keys)
{
	for (; keys->name != NULL; keys++) {
		if (keys->keys != NULL)
			assert_initials(keys->keys);
		if (keys->initial == NULL)
			continue;
		json_t *value = json_loads(keys->initial, JSON_DECODE_ANY, NULL);
		assert_non_null(value);
		json_decref(value);
	}
}

/* Each default passes the judgement that a written value has to pass. */
static void
initial_values_are_valid(void **state)
{
	(void)state;
	struct manifest_draft draft = {.host = NULL};
	cleanup_problems struct problem_list problems = {.items = NULL};
	struct manifest_reader reader = {.path = "initials", .version = 1, .problems = &problems};
	assert_initials(manifest_keys);
	manifest_read_initials(&reader, manifest_keys, &draft);
	assert_int_equal(reader.failures, 0);
	assert_int_equal(problems.count, 0);
	assert_string_equal(draft.repository.file, "/run/agenix/restic/repo");
	manifest_release(manifest_keys, &draft);
	assert_null(draft.repository.file);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_document_says_what_the_tables_say),
	    cmocka_unit_test(the_examples_of_the_document_are_good),
	    cmocka_unit_test(initial_values_are_valid),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
