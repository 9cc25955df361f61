#include "adapters/environment.h"

#include "core/alloc.h"
#include "core/file.h"
#include "tests/unit/core/temporary.h"

#include <setjmp.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* ---- the syntax, as systemd reads it ---- */

static const struct {
	const char *content;
	const char *name;
	const char *value;
} assignments[] = {
    {"A=1", "A", "1"},
    {"A=1\n", "A", "1"},
    {"A=1\r\n", "A", "1"},
    {"  A=1  \n", "A", "1"},
    {"A =1\n", "A", "1"},
    {"A= 1\n", "A", "1"},
    {"A=\n", "A", ""},
    {"A=", "A", ""},
    {"A=b c  d \t\n", "A", "b c  d"},
    {"A=b=c\n", "A", "b=c"},
    {"A=\"b c \"\n", "A", "b c "},
    {"A='b c '\n", "A", "b c "},
    {"A=\"b\" 'c'\n", "A", "bc"},
    {"A=\"b\"c\n", "A", "bc"},
    {"A=b\"c\"\n", "A", "b\"c\""},
    {"A=\"b\nc\"\n", "A", "b\nc"},
    {"A='b\nc'\n", "A", "b\nc"},
    {"A=\"\\\"\\\\\\$\\`\"\n", "A", "\"\\$`"},
    {"A=\"b\\nc\"\n", "A", "b\\nc"},
    {"A=\"b\\\nc\"\n", "A", "bc"},
    {"A='b\\c'\n", "A", "b\\c"},
    {"A=b\\ \n", "A", "b "},
    {"A=b\\\nc\n", "A", "bc"},
    {"A=b\\", "A", "b"},
    {"A=$HOME ${X} `id` $(id)\n", "A", "$HOME ${X} `id` $(id)"},
    {"A=1 # no comment\n", "A", "1 # no comment"},
    {"# B=2\n; C=3\n\n\t\nA=1\n", "A", "1"},
    {"# ends in a backslash \\\nA=1\n", "A", "1"},
    {"A=1\nA=2\n", "A", "2"},
    {"_a9=ü\n", "_a9", "ü"},
};

static void
test_reads_what_systemd_reads(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(assignments); i++) {
		cleanup_strings char **environment = NULL;
		cleanup_error struct error error = {.code = ERROR_NONE};
		const char *content = assignments[i].content;
		if (environment_parse(content, strlen(content), &environment, &error) < 0)
			fail_msg("%s: %s", content, error.message);
		assert_int_equal(strings_count(environment), 1);
		assert_string_equal(environment_get(environment, assignments[i].name), assignments[i].value);
	}
}

static const struct {
	const char *content;
	size_t length; /* 0: the string's */
	const char *message;
} refused[] = {
    {"secret-words\n", 0, "line 1 is no assignment"},
    {"A=1\nsecret-words", 0, "line 2 is no assignment"},
    {"export A=secret\n", 0, "line 1 does not set a variable: the part before \"=\" is no name"},
    {"=secret\n", 0, "line 1 does not set a variable: the part before \"=\" is no name"},
    {"1A=secret\n", 0, "line 1 does not set a variable: the part before \"=\" is no name"},
    {"A-B=secret\n", 0, "line 1 does not set a variable: the part before \"=\" is no name"},
    {"\xef\xbb\xbf"
     "A=secret\n",
	0, "line 1 does not set a variable: the part before \"=\" is no name"},
    {"# one\n\nA=\"secret\nB=2\n", 0, "line 3 opens a quote that is never closed"},
    {"A='secret\n", 0, "line 1 opens a quote that is never closed"},
    {"A=\"secret\\", 0, "line 1 opens a quote that is never closed"},
    {"A=1\nB=se\0cret\n", 14, "line 2 contains a NUL byte"},
    {"A=1\n# c\xff\n", 0, "line 2 is not valid UTF-8"},
    {"A=secret\xc3\n", 0, "line 1 is not valid UTF-8"},
};

static void
test_refuses_with_the_line_and_not_its_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(refused); i++) {
		cleanup_strings char **environment = NULL;
		cleanup_error struct error error = {.code = ERROR_NONE};
		size_t length = refused[i].length == 0 ? strlen(refused[i].content) : refused[i].length;
		assert_int_equal(environment_parse(refused[i].content, length, &environment, &error), -1);
		assert_int_equal(error.code, ERROR_SECRET);
		assert_string_equal(error.message, refused[i].message);
		assert_non_null(error.hint);
		assert_null(strstr(error.hint, "secret"));
		/* Not half of it. */
		assert_null(environment);
	}
}

/* Every prefix of a file, and every byte of it replaced by every other: no crash, and no text of it in a
 * message. */
static void
test_survives_any_bytes(void **state)
{
	static const char content[] = "# c\nA=\"b\\\"\n\" 'x' y\\\nB = \\ z\n;d\nC='\n'\n";
	(void)state;
	for (size_t length = 0; length < sizeof(content); length++)
		for (int byte = 0; byte < 256; byte++) {
			cleanup_strings char **environment = NULL;
			char changed[sizeof(content)];
			memcpy(changed, content, sizeof(content));
			changed[length / 2] = (char)byte;
			if (environment_parse(changed, length, &environment, NULL) == 0)
				for (size_t i = 0; i < strings_count(environment); i++)
					assert_non_null(strchr(environment[i], '='));
		}
}

/* ---- the list ---- */

static void
test_sets_and_replaces(void **state)
{
	cleanup_strings char **environment = NULL;
	(void)state;
	assert_null(environment_get(environment, "A"));
	environment_set(&environment, "AB", "1");
	environment_set(&environment, "A", "2");
	environment_set(&environment, "AB", "3");
	assert_int_equal(strings_count(environment), 2);
	assert_string_equal(environment_get(environment, "AB"), "3");
	assert_string_equal(environment_get(environment, "A"), "2");
	assert_null(environment_get(environment, "B"));
}

static void
test_base_passes_on_only_what_is_listed(void **state)
{
	(void)state;
	setenv("RESTIC_PASSWORD", "left over", 1);
	setenv("RESTIC_REPOSITORY", "left over", 1);
	setenv("PGPASSWORD", "left over", 1);
	setenv("AWS_SECRET_ACCESS_KEY", "left over", 1);
	setenv("LD_PRELOAD_NOT", "left over", 1);
	setenv("LC_TIME", "C.UTF-8", 1);
	setenv("https_proxy", "http://proxy:3128", 1);
	setenv("TMPDIR", "/tmp", 1);
	cleanup_strings char **environment = environment_base();
	assert_null(environment_get(environment, "RESTIC_PASSWORD"));
	assert_null(environment_get(environment, "RESTIC_REPOSITORY"));
	assert_null(environment_get(environment, "PGPASSWORD"));
	assert_null(environment_get(environment, "AWS_SECRET_ACCESS_KEY"));
	assert_null(environment_get(environment, "LD_PRELOAD_NOT"));
	assert_string_equal(environment_get(environment, "LC_TIME"), "C.UTF-8");
	assert_string_equal(environment_get(environment, "https_proxy"), "http://proxy:3128");
	assert_string_equal(environment_get(environment, "TMPDIR"), "/tmp");
	assert_string_equal(environment_get(environment, "PATH"), getenv("PATH"));
}

static void
test_base_has_a_path_without_one(void **state)
{
	cleanup_free char *before = xstrdup(getenv("PATH"));
	(void)state;
	unsetenv("PATH");
	cleanup_strings char **environment = environment_base();
	setenv("PATH", before, 1);
	assert_non_null(strstr(environment_get(environment, "PATH"), "/usr/bin"));
}

/* ---- the file ---- */

static void
test_reads_a_private_file_only(void **state)
{
	char *directory = temporary_directory_make();
	cleanup_free char *path = xasprintf("%s/env", directory);
	cleanup_strings char **environment = NULL;
	cleanup_error struct error error = {.code = ERROR_NONE};
	(void)state;

	assert_int_equal(environment_read(path, &environment, &error), -1);
	assert_non_null(strstr(error.message, path));

	assert_int_equal(file_replace(path, "B2_ACCOUNT_KEY=k\n", 17, NULL), 0);
	assert_int_equal(environment_read(path, &environment, &error), 0);
	assert_string_equal(environment_get(environment, "B2_ACCOUNT_KEY"), "k");

	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(environment_read(path, &environment, &error), -1);
	assert_int_equal(error.code, ERROR_PERMISSION);
	assert_non_null(error.hint);

	assert_int_equal(file_replace(path, "nothing\n", 8, NULL), 0);
	assert_int_equal(environment_read(path, &environment, &error), -1);
	assert_int_equal(error.code, ERROR_SECRET);
	assert_non_null(strstr(error.message, path));
	assert_non_null(strstr(error.message, "line 1"));
	temporary_directory_remove(directory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_reads_what_systemd_reads),
	    cmocka_unit_test(test_refuses_with_the_line_and_not_its_text),
	    cmocka_unit_test(test_survives_any_bytes),
	    cmocka_unit_test(test_sets_and_replaces),
	    cmocka_unit_test(test_base_passes_on_only_what_is_listed),
	    cmocka_unit_test(test_base_has_a_path_without_one),
	    cmocka_unit_test(test_reads_a_private_file_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
