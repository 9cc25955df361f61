#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "adapters/filesystem.h"
#include "core/alloc.h"

static char *directory;

static int
setup(void **state)
{
	(void)state;
	const char *temporary = getenv("TMPDIR");
	directory = xasprintf("%s/filesystem-test-XXXXXX", temporary != NULL ? temporary : "/tmp");
	return mkdtemp(directory) != NULL ? 0 : -1;
}

static int
remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status, (void)type, (void)walk;
	return remove(path);
}

static int
teardown(void **state)
{
	(void)state;
	nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(directory);
	return 0;
}

static char *
path_of(const char *name)
{
	return xasprintf("%s/%s", directory, name);
}

static void
make_file(const char *path)
{
	cleanup_close int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(descriptor >= 0);
}

static void
assert_refused(const char *path, enum error_code code, const char *words, const char *hint)
{
	cleanup_error struct error error = {0};
	assert_int_equal(filesystem_check_source(path, &error), -1);
	assert_string_equal(error_code_word(error.code), error_code_word(code));
	if (strstr(error.message, words) == NULL || strstr(error.message, path) == NULL)
		fail_msg("\"%s\" or the path is not in \"%s\"", words, error.message);
	assert_non_null(error.hint);
	if (strstr(error.hint, hint) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", hint, error.hint);
}

static void
test_a_directory_or_a_file_is_a_source(void **state)
{
	(void)state;
	cleanup_free char *file = path_of("file");
	make_file(file);
	cleanup_free char *empty = path_of("empty");
	assert_int_equal(mkdir(empty, 0700), 0);
	cleanup_error struct error error = {0};
	assert_int_equal(filesystem_check_source(directory, &error), 0);
	assert_int_equal(filesystem_check_source(file, &error), 0);
	assert_int_equal(filesystem_check_source(empty, &error), 0);
	assert_false(error_is_set(&error));
}

static void
assert_look(const char *path, bool empty)
{
	cleanup_error struct error error = {0};
	struct source_look look = {.empty = !empty};
	assert_int_equal(filesystem_look_at_source(path, &look, &error), 0);
	assert_int_equal(look.empty, empty);
}

static void
test_a_source_without_anything_in_it_is_empty(void **state)
{
	(void)state;
	cleanup_free char *file = path_of("file");
	cleanup_free char *hidden = path_of("below/.keep");
	cleanup_free char *below = path_of("below");
	assert_look(directory, true);
	make_file(file);
	assert_look(directory, false);
	assert_look(file, true);
	assert_int_equal(truncate(file, 1), 0);
	assert_look(file, false);
	assert_int_equal(mkdir(below, 0700), 0);
	assert_look(below, true);
	make_file(hidden);
	assert_look(below, false);

	cleanup_free char *missing = path_of("missing");
	cleanup_error struct error error = {0};
	struct source_look untouched = {.empty = true};
	assert_int_equal(filesystem_look_at_source(missing, &untouched, &error), -1);
	assert_int_equal(error.code, ERROR_SOURCE_MISSING);
	assert_true(untouched.empty);
}

/* ---- what /etc/fstab promises ---- */

static char *
write_table(const char *name, const char *content)
{
	char *path = path_of(name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(content, file) >= 0);
	assert_int_equal(fclose(file), 0);
	return path;
}

/* `point` is what is not mounted, NULL where nothing is wrong. */
static void
assert_promise(const char *fstab, const char *mounts, const char *path, const char *point)
{
	cleanup_error struct error error = {0};
	cleanup_free char *promised = write_table("fstab", fstab);
	cleanup_free char *mounted = write_table("mounts", mounts);
	int result = filesystem_check_mounted(path, promised, mounted, &error);
	if ((result < 0) != (point != NULL))
		fail_msg("%s with %s: %s", path, fstab, result < 0 ? error.message : "nothing was said");
	if (point == NULL)
		return;
	assert_int_equal(error.code, ERROR_SOURCE_NOT_MOUNTED);
	cleanup_free char *words = xasprintf("%s is on the mount point %s, ", path, point);
	assert_int_equal(strncmp(error.message, words, strlen(words)), 0);
	cleanup_free char *remedy = xasprintf("mount %s", point);
	assert_non_null(strstr(error.hint, remedy));
}

static const struct {
	const char *fstab, *mounts, *path, *point;
} promises[] = {
    {"/dev/sdb1 /srv-x ext4 defaults 0 2\n", "", "/srv-x", "/srv-x"},
    {"/dev/sdb1 /srv-x ext4 defaults 0 2\n", "", "/srv-x/photos/2026", "/srv-x"},
    {"/dev/sdb1 /srv-x ext4 defaults 0 2\n", "", "/srv-xy", NULL},
    {"/dev/sdb1 /srv-x ext4 defaults 0 2\n", "", "/", NULL},
    {"/dev/sdb1 /srv-x/photos ext4 defaults 0 2\n", "", "/srv-x", NULL},
    {"/dev/sdb1 /srv-x ext4 defaults 0 2\n", "/dev/sdb1 /srv-x ext4 rw 0 0\n", "/srv-x/photos", NULL},
    /* another one than the promised one: somebody put it there */
    {"/dev/sdb1 /srv-x ext4 defaults 0 2\n", "tmpfs /srv-x tmpfs rw 0 0\n", "/srv-x", NULL},
    {"/dev/sdb1 /srv-x ext4 defaults 0 2\n", "/dev/sdb1 /srv-xy ext4 rw 0 0\n", "/srv-x", "/srv-x"},
    {"", "", "/srv-x", NULL},
    /* the nearest one counts */
    {"/dev/sdb1 /srv-x ext4 defaults\n/dev/sdc1 /srv-x/photos ext4 defaults\n", "/dev/sdb1 /srv-x ext4 rw 0 0\n",
	"/srv-x/photos/1", "/srv-x/photos"},
    {"/dev/sdc1 /srv-x/photos ext4 defaults\n/dev/sdb1 /srv-x ext4 defaults\n", "/dev/sdb1 /srv-x ext4 rw 0 0\n",
	"/srv-x/photos/1", "/srv-x/photos"},
    {"/dev/sdb1 /srv-x ext4 defaults\n", "/dev/sdc1 /srv-x/photos ext4 rw 0 0\n", "/srv-x/photos/1", NULL},
    {"/dev/sdb1 /srv-x ext4 defaults\n", "/dev/sdc1 /srv-x/photos ext4 rw 0 0\n", "/srv-x/music", "/srv-x"},
    /* how it is mounted */
    {"/dev/sdb1 /srv-x ext4 rw,nofail,x-systemd.device-timeout=5 0 0\n", "", "/srv-x", "/srv-x"},
    {"server:/export /srv-x nfs _netdev 0 0\n", "", "/srv-x", "/srv-x"},
    {"/data /srv-x none bind 0 0\n", "", "/srv-x", "/srv-x"},
    {"/dev/sdb1 /srv-x ext4 rw,noauto 0 0\n", "", "/srv-x", NULL},
    {"/dev/sdb1 /srv-x ext4 rw,noautomatic 0 0\n", "", "/srv-x", "/srv-x"},
    {"/dev/sdb1 /srv-x ext4 noauto,x-systemd.automount 0 0\n", "", "/srv-x", "/srv-x"},
    {"/dev/sdb1 /srv-x ext4 noauto,x-systemd.automount 0 0\n", "systemd-1 /srv-x autofs rw,fd=51 0 0\n", "/srv-x/a",
	NULL},
    /* what is no mount */
    {"/dev/sdb2 none swap sw 0 0\n/swapfile swap swap defaults 0 0\n/dev/sdc /srv-x swap sw 0 0\n", "", "/srv-x",
	NULL},
    {"/dev/sdb1 none ext4 defaults 0 0\n/dev/sdb1 srv-x ext4 defaults 0 0\n", "", "/srv-x", NULL},
    {"/dev/sda1 / ext4 defaults 0 1\n", "", "/srv-x", NULL},
    {"# /dev/sdb1 /srv-x ext4 defaults 0 2\n\n   \nnonsense\n", "", "/srv-x", NULL},
    /* how it is written */
    {"LABEL=x\t/srv-x/\text4\tdefaults\n", "", "/srv-x/a", "/srv-x"},
    {"LABEL=x /srv-x/photos/../music ext4 defaults\n", "", "/srv-x/music", NULL},
    {"LABEL=x /srv-x/my\\040photos ext4 defaults\n", "", "/srv-x/my photos/1", "/srv-x/my photos"},
    {"LABEL=x /srv-x/my\\040photos ext4 defaults\n", "/dev/sdb1 /srv-x/my\\040photos ext4 rw 0 0\n",
	"/srv-x/my photos/1", NULL},
    {"LABEL=x /srv-x ext4", "", "/srv-x", "/srv-x"},
};

static void
test_what_fstab_promises_has_to_be_mounted(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(promises); i++)
		assert_promise(promises[i].fstab, promises[i].mounts, promises[i].path, promises[i].point);
}

/* The kernel has no links in its table. */
static void
test_a_mount_is_found_behind_links(void **state)
{
	(void)state;
	cleanup_free char *real = path_of("real");
	cleanup_free char *disk = path_of("real/disk");
	cleanup_free char *link = path_of("link");
	cleanup_free char *path = path_of("link/disk/data");
	cleanup_free char *base = realpath(directory, NULL);
	assert_int_equal(mkdir(real, 0700) | mkdir(disk, 0700), 0);
	assert_int_equal(symlink("real", link), 0);
	cleanup_free char *point = xasprintf("%s/real/disk", base);
	cleanup_free char *mounts = xasprintf("/dev/sdb1 %s ext4 rw 0 0\n", point);
	cleanup_free char *through_link = xasprintf("/dev/sdb1 %s/disk ext4 defaults 0 2\n", link);
	cleanup_free char *direct = xasprintf("/dev/sdb1 %s ext4 defaults 0 2\n", point);
	assert_promise(through_link, mounts, path, NULL);
	assert_promise(through_link, "", path, point);
	assert_promise(direct, mounts, path, NULL);
	assert_promise(direct, "", path, point);
}

static void
test_tables_that_cannot_be_read_are_told(void **state)
{
	(void)state;
	cleanup_free char *missing = path_of("missing");
	cleanup_free char *fstab = write_table("fstab", "/dev/sdb1 /srv-x ext4 defaults 0 2\n");
	cleanup_error struct error error = {0};
	assert_int_equal(filesystem_check_mounted("/srv-x", missing, missing, &error), 0);
	assert_int_equal(filesystem_check_mounted("/elsewhere", fstab, missing, &error), 0);
	assert_int_equal(filesystem_check_mounted("/srv-x", fstab, missing, &error), -1);
	assert_int_equal(error.code, ERROR_SYSTEM);
	assert_non_null(strstr(error.message, missing));
	error_clear(&error);
	assert_int_equal(filesystem_check_mounted("/srv-x", directory, missing, &error), -1);
	assert_int_equal(error.code, ERROR_SYSTEM);
	assert_non_null(strstr(error.message, directory));
}

static void
test_a_missing_source_is_told(void **state)
{
	(void)state;
	cleanup_free char *file = path_of("file");
	make_file(file);
	cleanup_free char *missing = path_of("missing/deeper");
	cleanup_free char *below = path_of("file/below");
	assert_refused(missing, ERROR_SOURCE_MISSING, "does not exist", "correct the path");
	assert_refused(below, ERROR_SOURCE_MISSING, "does not exist", "correct the path");
}

static void
test_a_link_is_refused_with_what_it_leads_to(void **state)
{
	(void)state;
	cleanup_free char *file = path_of("file");
	make_file(file);
	cleanup_free char *good = path_of("good");
	cleanup_free char *dangling = path_of("dangling");
	assert_int_equal(symlink("file", good), 0);
	assert_int_equal(symlink("nowhere", dangling), 0);
	assert_refused(good, ERROR_SOURCE_UNREADABLE, "symbolic link", file);
	assert_refused(dangling, ERROR_SOURCE_UNREADABLE, "symbolic link", "leads nowhere");
}

static void
test_special_files_are_refused(void **state)
{
	(void)state;
	cleanup_free char *fifo = path_of("fifo");
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_refused(fifo, ERROR_SOURCE_UNREADABLE, "a FIFO", "regular file");
	assert_refused("/dev/null", ERROR_SOURCE_UNREADABLE, "a device", "regular file");
	cleanup_free char *name = path_of("socket");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	assert_true(strlen(name) < sizeof(address.sun_path));
	strcpy(address.sun_path, name);
	cleanup_close int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(descriptor, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_refused(name, ERROR_SOURCE_UNREADABLE, "a socket", "regular file");
}

/* Runs a check in a child that may change what it is; 0 is good. */
static void
assert_in_child(int (*check)(void))
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(check());
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
skip_without_root(void)
{
	if (geteuid() == 0)
		return;
	print_message("needs root\n");
	skip();
}

static int
check_source_as_nobody(void)
{
	cleanup_error struct error file_error = {0}, directory_error = {0}, write_error = {0};
	cleanup_free char *file = path_of("file");
	cleanup_free char *closed = path_of("closed");
	if (setgid(65534) != 0 || setuid(65534) != 0)
		return 2;
	filesystem_check_source(file, &file_error);
	filesystem_check_source(closed, &directory_error);
	filesystem_check_writable(directory, &write_error);
	return file_error.code == ERROR_SOURCE_UNREADABLE && directory_error.code == ERROR_SOURCE_UNREADABLE &&
		       write_error.code == ERROR_PERMISSION
		   ? 0
		   : 1;
}

static void
test_what_we_may_not_read_is_told(void **state)
{
	(void)state;
	skip_without_root();
	cleanup_free char *file = path_of("file");
	make_file(file);
	cleanup_free char *closed = path_of("closed");
	assert_int_equal(mkdir(closed, 0711), 0);
	assert_int_equal(chmod(directory, 0755), 0);
	assert_in_child(check_source_as_nobody);
}

static void
test_free_bytes_of_what_does_not_exist_yet(void **state)
{
	(void)state;
	cleanup_error struct error error = {0};
	cleanup_free char *later = path_of("later/and/deeper");
	assert_true(filesystem_free_bytes(directory, &error) > 0);
	assert_true(filesystem_free_bytes(later, &error) > 0);
	assert_true(filesystem_free_bytes("/no-such-directory-here", &error) > 0);
	assert_int_equal(filesystem_free_bytes("/proc", &error), 0);
	assert_false(error_is_set(&error));
	assert_int_equal(filesystem_free_bytes("relative/and/missing", &error), -1);
	assert_int_equal(error.code, ERROR_SYSTEM);
}

static void
test_a_writable_directory_stays_as_it_was(void **state)
{
	(void)state;
	cleanup_error struct error error = {0};
	assert_int_equal(filesystem_check_writable(directory, &error), 0);
	/* rmdir refuses if anything is left. */
	assert_int_equal(rmdir(directory), 0);
	assert_int_equal(filesystem_check_writable(directory, &error), -1);
	assert_int_equal(error.code, ERROR_SYSTEM);
	assert_non_null(strstr(error.hint, "make the directory"));
}

static int
check_full_and_read_only(void)
{
	cleanup_error struct error full = {0}, read_only = {0};
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", directory, "tmpfs", 0, "size=64k") != 0)
		return 2;
	cleanup_free char *filler = path_of("filler");
	cleanup_close int descriptor = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char block[4096] = {0};
	while (write(descriptor, block, sizeof(block)) > 0)
		;
	int64_t room = filesystem_free_bytes(directory, &full);
	filesystem_check_writable(directory, &full);
	if (ftruncate(descriptor, 0) != 0)
		return 3;
	int64_t room_again = filesystem_free_bytes(directory, &read_only);
	cleanup_close_function(&descriptor);
	descriptor = -1;
	if (mount(NULL, directory, NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
		return 4;
	filesystem_check_writable(directory, &read_only);
	bool good = room == 0 && full.code == ERROR_NO_SPACE && room_again == 65536 &&
		    read_only.code == ERROR_SYSTEM && strstr(read_only.hint, "read-only") != NULL;
	return good ? 0 : 1;
}

static void
test_a_full_or_read_only_file_system_is_told(void **state)
{
	(void)state;
	skip_without_root();
	assert_in_child(check_full_and_read_only);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(test_a_directory_or_a_file_is_a_source),
	    TEST(test_a_source_without_anything_in_it_is_empty),
	    TEST(test_what_fstab_promises_has_to_be_mounted),
	    TEST(test_a_mount_is_found_behind_links),
	    TEST(test_tables_that_cannot_be_read_are_told),
	    TEST(test_a_missing_source_is_told),
	    TEST(test_a_link_is_refused_with_what_it_leads_to),
	    TEST(test_special_files_are_refused),
	    TEST(test_what_we_may_not_read_is_told),
	    TEST(test_free_bytes_of_what_does_not_exist_yet),
	    TEST(test_a_writable_directory_stays_as_it_was),
	    TEST(test_a_full_or_read_only_file_system_is_told),
#undef TEST
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
