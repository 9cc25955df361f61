/* Declared sources on real mounts, and on mount points where nothing is mounted. */
#include "tests/integration/own_mounts.h"

#include <sys/stat.h>

#include "adapters/filesystem.h"
#include "core/file.h"
#include "tests/unit/core/temporary.h"

/* A promised mount point with a source below it, and /etc/fstab of our own. */
struct place {
	char *directory, *point, *source, *fstab;
};

static int
set_up(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));
	place->directory = temporary_directory_make();
	place->point = xasprintf("%s/disk one", place->directory);
	place->source = xasprintf("%s/photos", place->point);
	place->fstab = xasprintf("%s/fstab", place->directory);
	assert_int_equal(mkdir(place->point, 0755) | mkdir(place->source, 0755), 0);
	*state = place;
	return 0;
}

static int
tear_down(void **state)
{
	struct place *place = *state;
	umount2("/etc/fstab", MNT_DETACH);
	umount2(place->point, MNT_DETACH);
	temporary_directory_remove(place->directory);
	free(place->point);
	free(place->source);
	free(place->fstab);
	free(place);
	return 0;
}

/* A line of fstab(5) with these options. */
static void
promise(const struct place *place, const char *options)
{
	cleanup_error struct error error = {0};
	cleanup_free char *line = xasprintf("LABEL=one %s/disk\\040one ext4 %s 0 2\n", place->directory, options);
	assert_int_equal(file_replace(place->fstab, line, strlen(line), &error), 0);
	umount2("/etc/fstab", MNT_DETACH);
	assert_int_equal(mount(place->fstab, "/etc/fstab", NULL, MS_BIND, NULL), 0);
}

static void
assert_found(const char *path, enum error_code code)
{
	cleanup_error struct error error = {0};
	assert_int_equal(filesystem_check_source(path, &error), code == ERROR_NONE ? 0 : -1);
	assert_string_equal(error_code_word(error.code), error_code_word(code));
}

static void
a_source_needs_the_mount_that_is_promised(void **state)
{
	const struct place *place = *state;
	assert_found(place->source, ERROR_NONE);
	promise(place, "defaults");
	/* There is a directory of that name, on the wrong disk. */
	assert_found(place->source, ERROR_SOURCE_NOT_MOUNTED);
	assert_found(place->point, ERROR_SOURCE_NOT_MOUNTED);
	assert_found(place->directory, ERROR_NONE);

	assert_int_equal(mount("tmpfs", place->point, "tmpfs", 0, "size=1m,mode=0755"), 0);
	assert_found(place->point, ERROR_NONE);
	assert_found(place->source, ERROR_SOURCE_MISSING);
	assert_int_equal(mkdir(place->source, 0755), 0);
	assert_found(place->source, ERROR_NONE);

	assert_int_equal(umount(place->point), 0);
	assert_found(place->source, ERROR_SOURCE_NOT_MOUNTED);
	promise(place, "noauto,user");
	assert_found(place->source, ERROR_NONE);
	promise(place, "noauto,x-systemd.automount");
	assert_found(place->source, ERROR_SOURCE_NOT_MOUNTED);
}

/* It lies on a mount of its own, whatever is missing above. */
static void
a_source_that_is_a_mount_needs_no_other(void **state)
{
	const struct place *place = *state;
	promise(place, "defaults");
	assert_int_equal(mount("tmpfs", place->source, "tmpfs", 0, "size=1m"), 0);
	assert_found(place->source, ERROR_NONE);
	assert_found(place->point, ERROR_SOURCE_NOT_MOUNTED);
	assert_int_equal(umount(place->source), 0);
	assert_found(place->source, ERROR_SOURCE_NOT_MOUNTED);
}

static void
a_mount_point_without_its_mount_is_missing_what_is_below(void **state)
{
	const struct place *place = *state;
	promise(place, "defaults");
	assert_int_equal(rmdir(place->source), 0);
	/* Why it is missing says more than that it is. */
	assert_found(place->source, ERROR_SOURCE_NOT_MOUNTED);
	assert_int_equal(rmdir(place->point), 0);
	assert_found(place->source, ERROR_SOURCE_NOT_MOUNTED);
}

static int
enter(void **state)
{
	(void)state;
	have_own_mounts();
	return 0;
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(a_source_needs_the_mount_that_is_promised),
	    TEST(a_source_that_is_a_mount_needs_no_other),
	    TEST(a_mount_point_without_its_mount_is_missing_what_is_below),
	};
	return cmocka_run_group_tests(tests, enter, NULL);
}
