/* A directory goes with all that is in it, and with nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/tree.h"
#include "core/alloc.h"
#include "core/file.h"
#include "tests/unit/core/temporary.h"

static void
touch(const char *directory, const char *name)
{
	cleanup_free char *path = xasprintf("%s/%s", directory, name);
	cleanup_close int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(descriptor >= 0);
}

static void
all_of_it_goes_and_no_more(void **state)
{
	(void)state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	char *top = temporary_directory_make();
	cleanup_free char *tree = xasprintf("%s/tree", top);
	cleanup_free char *deep = xasprintf("%s/tree/a/b", top);
	cleanup_free char *link = xasprintf("%s/tree/a/link", top);
	cleanup_free char *kept = xasprintf("%s/kept", top);
	assert_int_equal(directory_make_private(deep, &error), 0);
	touch(top, "kept");
	touch(deep, "file");
	touch(tree, ".hidden");
	assert_int_equal(symlink(top, link), 0);
	assert_int_equal(tree_remove(tree, &error), 0);
	assert_int_equal(access(tree, F_OK), -1);
	assert_int_equal(access(kept, F_OK), 0);
	assert_int_equal(tree_remove(tree, &error), 0); /* it is gone already */
	temporary_directory_remove(top);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_of_it_goes_and_no_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
