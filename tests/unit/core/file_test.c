#include "core/file.h"

#include "core/text.h"
#include "tests/unit/core/temporary.h"

#include <setjmp.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct fixture {
	char *directory;
	char *path; /* of a file that is not there yet */
	size_t descriptors;
};

static int
set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->directory = temporary_directory_make();
	fixture->path = xasprintf("%s/file", fixture->directory);
	fixture->descriptors = count_open_descriptors();
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;
	int result = fixture->descriptors == count_open_descriptors() ? 0 : -1;
	temporary_directory_remove(fixture->directory);
	free(fixture->path);
	free(fixture);
	return result;
}

static void
write_file(const char *path, const char *content, mode_t mode)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(content, file);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

static mode_t
mode_of(const char *path)
{
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	return status.st_mode & 07777;
}

static void
a_file_is_replaced_and_read(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *content = NULL;
	size_t length;
	write_file(fixture->path, "old and longer", 0644);
	assert_int_equal(file_replace(fixture->path, "a\0b", 3, NULL), 0);
	assert_int_equal(file_read(fixture->path, 3, &content, &length, NULL), 0);
	assert_int_equal(length, 3);
	assert_memory_equal(content, "a\0b", 4);
	assert_int_equal(mode_of(fixture->path), 0600);
}

static void
nothing_is_left_beside_a_replaced_file(void **state)
{
	struct fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(file_replace(fixture->path, "x", 1, NULL), 0);
	assert_int_equal(unlink(fixture->path), 0);
	/* A directory cannot be replaced by a file. */
	assert_int_equal(mkdir(fixture->path, 0700), 0);
	assert_int_equal(file_replace(fixture->path, "x", 1, &error), -1);
	assert_int_equal(error.code, ERROR_SYSTEM);
	assert_non_null(strstr(error.message, fixture->path));
	assert_int_equal(rmdir(fixture->path), 0);
	assert_int_equal(rmdir(fixture->directory), 0); /* fails unless empty */
}

static void
replacing_needs_the_directory(void **state)
{
	struct fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *path = xasprintf("%s/missing/file", fixture->directory);
	assert_int_equal(file_replace(path, "x", 1, &error), -1);
	assert_int_equal(error.code, ERROR_SYSTEM);
}

static void
reading_says_what_is_wrong(void **state)
{
	struct fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	char *content = NULL;
	size_t length = 4711;

	assert_int_equal(file_read(fixture->path, 100, &content, &length, &error), -1);
	assert_int_equal(error.code, ERROR_SYSTEM);
	assert_non_null(strstr(error.message, fixture->path));
	write_file(fixture->path, "1234", 0600);
	assert_int_equal(file_read(fixture->path, 3, &content, &length, &error), -1);
	assert_non_null(strstr(error.message, "larger than 3 bytes"));
	assert_int_equal(file_read(fixture->directory, 100, &content, &length, &error), -1);
	assert_non_null(strstr(error.message, "not a regular file"));
	assert_null(content);
	assert_int_equal(length, 4711);
}

static void
reading_a_fifo_does_not_wait(void **state)
{
	struct fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	char *content;
	size_t length;
	assert_int_equal(mkfifo(fixture->path, 0600), 0);
	assert_int_equal(file_read(fixture->path, 100, &content, &length, &error), -1);
	assert_non_null(strstr(error.message, "not a regular file"));
}

static void
files_of_proc_have_no_size_and_are_read(void **state)
{
	(void)state;
	cleanup_free char *content = NULL;
	size_t length;
	assert_int_equal(file_read("/proc/self/status", 65536, &content, &length, NULL), 0);
	assert_true(text_starts_with(content, "Name:"));
}

static void
an_empty_file_is_the_empty_string(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *content = NULL;
	size_t length = 1;
	write_file(fixture->path, "", 0600);
	assert_int_equal(file_read(fixture->path, 0, &content, &length, NULL), 0);
	assert_int_equal(length, 0);
	assert_string_equal(content, "");
}

static const struct {
	mode_t mode;
	bool trusted;
	bool trusted_as_secret;
} modes[] = {
    {0600, true, true},
    {0400, true, true},
    {0700, true, true},
    {0644, true, false},
    {0640, true, false},
    {0604, true, false},
    {0620, false, false},
    {0602, false, false},
    {0666, false, false},
};

static void
trust_is_a_matter_of_modes(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *link = xasprintf("%s/link", fixture->directory);
	write_file(fixture->path, "secret", 0600);
	assert_int_equal(symlink("file", link), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(modes); i++) {
		assert_int_equal(chmod(fixture->path, modes[i].mode), 0);
		for (int secret = 0; secret < 2; secret++) {
			cleanup_error struct error error = {.code = ERROR_NONE};
			bool trusted = secret != 0 ? modes[i].trusted_as_secret : modes[i].trusted;
			int expected = trusted ? 0 : -1;
			assert_int_equal(file_check_trust(fixture->path, secret != 0, &error), expected);
			assert_int_equal(file_check_trust(link, secret != 0, &error), expected);
			if (trusted)
				continue;
			assert_int_equal(error.code, ERROR_PERMISSION);
			assert_true(text_starts_with(error.hint, "chmod go-"));
		}
	}
}

static void
the_file_of_another_user_is_not_trusted(void **state)
{
	struct fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (geteuid() != 0)
		skip(); /* only root can give a file away */
	write_file(fixture->path, "", 0600);
	assert_int_equal(chown(fixture->path, 65534, 65534), 0);
	assert_int_equal(file_check_trust(fixture->path, false, &error), -1);
	assert_int_equal(error.code, ERROR_PERMISSION);
	assert_true(text_starts_with(error.hint, "chown root"));
}

static void
what_is_not_there_is_not_trusted(void **state)
{
	struct fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(file_check_trust(fixture->path, false, &error), -1);
	assert_int_equal(error.code, ERROR_SYSTEM);
	assert_non_null(strstr(error.message, fixture->path));
}

static void
clean_paths(void **state)
{
	(void)state;
	static const char *const clean[] = {"/", "/a", "/a/b.c", "/a/...", "/.a/..b", "/with space/ü"};
	static const char *const unclean[] = {"", "a", "./a", "//", "/a/", "/a//b", "/.", "/..", "/a/.", "/a/../b",
	    "/./a", "/a\nb", "/a\x7f", "/a\xc2\x9b", "/\x1b"};
	for (size_t i = 0; i < ARRAY_LENGTH(clean); i++)
		assert_true(path_is_clean(clean[i]));
	for (size_t i = 0; i < ARRAY_LENGTH(unclean); i++)
		assert_false(path_is_clean(unclean[i]));
}

static void
paths_below(void **state)
{
	(void)state;
	assert_true(path_is_below("/srv", "/srv"));
	assert_true(path_is_below("/srv/web/data", "/srv"));
	assert_true(path_is_below("/srv", "/"));
	assert_true(path_is_below("/", "/"));
	assert_false(path_is_below("/srvx", "/srv"));
	assert_false(path_is_below("/", "/srv"));
	assert_false(path_is_below("/sr", "/srv"));
}

static void
paths_are_resolved(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *real = realpath(fixture->directory, NULL);
	cleanup_free char *link = xasprintf("%s/link", real);
	cleanup_free char *below = xasprintf("%s/below", real);
	assert_int_equal(mkdir(below, 0700), 0);
	assert_int_equal(symlink(below, link), 0);
	static const struct {
		const char *path, *expected;
	} cases[] = {
	    {"", ""},
	    {"/below", "/below"},
	    {"/link", "/below"},
	    {"/link/..", ""},
	    {"//below/./", "/below"},
	    {"/below/../link/not/there", "/below/not/there"},
	    {"/not/../below", "/below"},
	    {"/not//there/./../here/", "/not/here"},
	    {"/not/there/../../..", "/.."},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		cleanup_free char *path = xasprintf("%s%s", real, cases[i].path);
		cleanup_free char *wanted = xasprintf("%s%s", real, cases[i].expected);
		cleanup_free char *expected = realpath(wanted, NULL);
		cleanup_free char *resolved = path_resolve(path);
		assert_string_equal(resolved, expected != NULL ? expected : wanted);
		assert_true(path_is_clean(resolved));
	}
	cleanup_free char *root = path_resolve("/");
	cleanup_free char *above = path_resolve("/not-there/../..");
	cleanup_free char *missing = path_resolve("/not-there");
	assert_string_equal(root, "/");
	assert_string_equal(above, "/");
	assert_string_equal(missing, "/not-there");
}

static void
private_directories_are_made(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *parent = xasprintf("%s/a", fixture->directory);
	cleanup_free char *path = xasprintf("%s/a/b/c", fixture->directory);
	mode_t before = umask(0);
	assert_int_equal(directory_make_private(path, NULL), 0);
	assert_int_equal(mode_of(parent), 0700);
	assert_int_equal(mode_of(path), 0700);
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(directory_make_private(path, NULL), 0);
	assert_int_equal(mode_of(path), 0700);
	umask(0177);
	cleanup_free char *masked = xasprintf("%s/masked", path);
	assert_int_equal(directory_make_private(masked, NULL), 0);
	assert_int_equal(mode_of(masked), 0700);
	umask(before);
}

static void
a_directory_of_another_user_is_refused(void **state)
{
	struct fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (geteuid() != 0)
		skip(); /* only root can give a directory away */
	assert_int_equal(mkdir(fixture->path, 0755), 0);
	assert_int_equal(chown(fixture->path, 65534, 65534), 0);
	assert_int_equal(directory_make_private(fixture->path, &error), -1);
	assert_int_equal(error.code, ERROR_PERMISSION);
	assert_int_equal(mode_of(fixture->path), 0755);
}

static void
a_file_in_the_way_is_an_error(void **state)
{
	struct fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *below = xasprintf("%s/below", fixture->path);
	write_file(fixture->path, "", 0600);
	assert_int_equal(directory_make_private(fixture->path, &error), -1);
	assert_int_equal(error.code, ERROR_SYSTEM);
	assert_int_equal(directory_make_private(below, &error), -1);
	assert_int_equal(error.code, ERROR_SYSTEM);
}

static void
programs_are_found_as_execvp_does(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *before = xstrdup(getenv("PATH"));
	cleanup_free char *search = xasprintf("/nonexistent:%s", fixture->directory);
	setenv("PATH", search, 1);
	write_file(fixture->path, "", 0644);
	assert_null(program_find("file"));
	assert_int_equal(chmod(fixture->path, 0755), 0);
	cleanup_free char *found = program_find("file");
	assert_string_equal(found, fixture->path);
	cleanup_free char *given = program_find(fixture->path);
	assert_string_equal(given, fixture->path);
	assert_null(program_find(fixture->directory));
	assert_null(program_find(""));
	assert_null(program_find("no-such-program"));
	setenv("PATH", before, 1);
}

static void
without_a_path_the_standard_one_counts(void **state)
{
	(void)state;
	cleanup_free char *before = xstrdup(getenv("PATH"));
	unsetenv("PATH");
	cleanup_free char *shell = program_find("sh");
	setenv("PATH", before, 1);
	assert_non_null(shell);
}

#define test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    test(a_file_is_replaced_and_read),
	    test(nothing_is_left_beside_a_replaced_file),
	    test(replacing_needs_the_directory),
	    test(reading_says_what_is_wrong),
	    test(reading_a_fifo_does_not_wait),
	    test(files_of_proc_have_no_size_and_are_read),
	    test(an_empty_file_is_the_empty_string),
	    test(trust_is_a_matter_of_modes),
	    test(the_file_of_another_user_is_not_trusted),
	    test(what_is_not_there_is_not_trusted),
	    test(clean_paths),
	    test(paths_below),
	    test(paths_are_resolved),
	    test(private_directories_are_made),
	    test(a_directory_of_another_user_is_refused),
	    test(a_file_in_the_way_is_an_error),
	    test(programs_are_found_as_execvp_does),
	    test(without_a_path_the_standard_one_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
