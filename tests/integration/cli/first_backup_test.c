/* The first night: several services, and no repository yet. */
#include "core/alloc.h"
#include "core/text.h"
#include "tests/unit/core/temporary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>

#include <cmocka.h>

#define SERVICES 4

/* Runs a shell command in the test's directory, D. Returns its exit code. */
static int __attribute__((format(printf, 2, 3)))
shell(const char *directory, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	cleanup_free char *command = xvasprintf(format, arguments);
	va_end(arguments);
	assert_int_equal(setenv("D", directory, 1), 0);
	int status = system(command);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void
write_manifest(const char *directory)
{
	cleanup_text struct text services = {.string = NULL};
	for (int i = 0; i < SERVICES; i++) {
		text_printf(
		    &services, "%s\"s%d\": {\"paths\": [\"%s/data/%d\"]}", i > 0 ? ", " : "", i, directory, i);
		assert_int_equal(shell(directory, "mkdir -p $D/data/%d && echo %d > $D/data/%d/file", i, i, i), 0);
	}
	cleanup_free char *path = xasprintf("%s/manifest.json", directory);
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fprintf(file,
	    "{\"version\": 2, \"limits\": {\"parallel\": %d}, \"ownState\": false, \"services\": {%s},"
	    " \"repository\": {\"file\": \"%s/location\", \"passwordFile\": \"%s/password\"}}",
	    SERVICES, services.string, directory, directory);
	assert_int_equal(fclose(file), 0);
}

/* Jobs that looked at the same time each found nothing and each made one; they then overwrote each other's key. */
static void
services_that_begin_together_make_one_repository(void **state)
{
	const char *directory = *state;
	assert_int_equal(
	    shell(directory, "umask 077; echo $D/repository > $D/location; echo secret > $D/password"), 0);
	write_manifest(directory);
	int code = shell(directory,
	    "chmod 600 $D/manifest.json && " TEST_BINARY_DIR "/atelier-backup --restic \"$ATELIER_TEST_RESTIC_014\" "
	    "--manifest $D/manifest.json --state-dir $D/state --runtime-dir $D/run backup --all > $D/out 2>&1");
	if (code != 0)
		shell(directory, "cat $D/out >&2");
	assert_int_equal(code, 0);
	assert_int_equal(shell(directory, "test $(ls $D/repository/keys | wc -l) = 1"), 0);
	assert_int_equal(shell(directory, "test $(ls $D/repository/snapshots | wc -l) = %d", SERVICES), 0);
}

static int
setup(void **state)
{
	if (getenv("ATELIER_TEST_RESTIC_014") == NULL) {
		print_error("ATELIER_TEST_RESTIC_014 must name a restic 0.14 (scripts/test sets it)\n");
		return -1;
	}
	*state = temporary_directory_make();
	return 0;
}

static int
teardown(void **state)
{
	/* The runner that the command has started would stay a little longer. */
	assert_int_equal(
	    shell(*state, "read -r pid < $D/state/runner.lock; kill $pid 2>&-; i=0;"
			  " while kill -0 $pid 2>&-; do i=$((i + 1)); [ $i -lt 600 ] || exit 1; sleep 0.05; done"),
	    0);
	temporary_directory_remove(*state);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(services_that_begin_together_make_one_repository, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
