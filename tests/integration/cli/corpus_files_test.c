/* Declared files and directories that are not as they should be, and what a backup of them comes to: a path that
 * cannot be saved as it is declared fails, something below it makes the backup partial. docs/bad-data.md has the
 * table.
 *
 * Root may read everything, so what cannot be read is tried without that right (CAP_DAC_OVERRIDE and
 * CAP_DAC_READ_SEARCH), as in a unit that takes it away. */
#include "tests/integration/cli/repository_world.h"
#include "tests/integration/own_mounts.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SOMEBODY 4321

/* ---- how paths go bad; `path` is what the service declares, its directory is there ---- */

static void
put_file(const char *path, const char *content)
{
	cleanup_close int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(descriptor >= 0);
	assert_int_equal(file_write_all(descriptor, content, strlen(content)), 0);
}

static void
make_directory(const char *path)
{
	cleanup_free char *file = xasprintf("%s/file", path);
	assert_int_equal(mkdir(path, 0755), 0);
	put_file(file, "content");
}

static void
make_file(const char *path)
{
	put_file(path, "content");
}

static void
make_missing(const char *path)
{
	(void)path;
}

static void
make_below_a_file(const char *path)
{
	cleanup_free char *parent = xstrdup(path);
	*strrchr(parent, '/') = '\0';
	assert_int_equal(rmdir(parent), 0);
	put_file(parent, "no directory");
}

static void
make_link(const char *path)
{
	cleanup_free char *real = xasprintf("%s.real", path);
	make_directory(real);
	assert_int_equal(symlink(real, path), 0);
}

static void
make_dangling_link(const char *path)
{
	assert_int_equal(symlink("nowhere", path), 0);
}

static void
make_fifo(const char *path)
{
	assert_int_equal(mkfifo(path, 0644), 0);
}

static void
make_empty(const char *path)
{
	assert_int_equal(mkdir(path, 0755), 0);
}

static void
make_closed(const char *path)
{
	make_directory(path);
	assert_int_equal(chown(path, SOMEBODY, SOMEBODY), 0);
	assert_int_equal(chmod(path, 0700), 0);
}

static void
make_closed_file_below(const char *path)
{
	cleanup_free char *file = xasprintf("%s/closed", path);
	make_directory(path);
	put_file(file, "nobody reads this");
	assert_int_equal(chown(file, SOMEBODY, SOMEBODY), 0);
	assert_int_equal(chmod(file, 0600), 0);
}

static void
make_closed_directory_below(const char *path)
{
	cleanup_free char *below = xasprintf("%s/closed", path);
	make_directory(path);
	make_closed(below);
}

static void
make_file_of_root(const char *path)
{
	cleanup_free char *file = xasprintf("%s/of-root", path);
	make_directory(path);
	put_file(file, "for root alone");
	assert_int_equal(chmod(file, 0600), 0);
}

/* Opening works, reading does not. */
static void
make_defect_below(const char *path)
{
	cleanup_free char *file = xasprintf("%s/defect", path);
	make_directory(path);
	put_file(file, "");
	assert_int_equal(mount("/proc/self/mem", file, NULL, MS_BIND, NULL), 0);
}

/* ---- the cases ---- */

struct bad_files {
	const char *words;
	void (*make)(const char *path);
	const char *outcome, *code; /* NULL: complete */
};

static const struct bad_files cases[] = {
    {"a directory", make_directory, "complete", NULL},
    {"a file", make_file, "complete", NULL},
    {"missing", make_missing, "failed", "source-missing"},
    {"below what is no directory", make_below_a_file, "failed", "source-missing"},
    {"a symbolic link", make_link, "failed", "source-unreadable"},
    {"a symbolic link that leads nowhere", make_dangling_link, "failed", "source-unreadable"},
    {"neither a file nor a directory", make_fifo, "failed", "source-unreadable"},
    {"with a file that cannot be read for a defect", make_defect_below, "partial", "source-partly-unreadable"},
    {"empty, when it held something", make_empty, "failed", "source-emptied"},
};

static const struct bad_files cases_without_rights[] = {
    {"a directory", make_directory, "complete", NULL},
    {"with a file of root", make_file_of_root, "complete", NULL},
    {"closed to us", make_closed, "failed", "source-unreadable"},
    {"with a file that is closed to us", make_closed_file_below, "partial", "source-partly-unreadable"},
    {"with a directory that is closed to us", make_closed_directory_below, "partial", "source-partly-unreadable"},
};

static void
check_case(struct world *world, const struct bad_files *bad)
{
	char *parent = world_path(world, "case");
	cleanup_free char *path = world_path(world, "case/path");
	cleanup_free char *defect = world_path(world, "case/path/defect");
	assert_int_equal(mkdir(parent, 0755), 0);
	bad->make(path);
	world_run(world, "backup web");
	json_t *shown = show_newest(world, "web");
	const json_t *error = json_object_get(json_object_get(shown, "job"), "error");
	const char *found = json_string_value(json_object_get(error, "code"));
	const char *outcome = job_text(shown, "outcome");
	if (strcmp(outcome, bad->outcome) != 0 || (found == NULL) != (bad->code == NULL) ||
	    (found != NULL && strcmp(found, bad->code) != 0))
		fail_msg("%s: %s, %s\n%s", bad->words, outcome, found != NULL ? found : "no error", world->err);
	if (strcmp(outcome, "partial") == 0)
		expect_note(shown, "not in the snapshot: ", true);
	json_decref(shown);
	umount2(defect, MNT_DETACH);
	temporary_directory_remove(parent);
}

static void
check_cases(struct world *world, const struct bad_files *bad, size_t count)
{
	cleanup_free char *services =
	    xasprintf("\"web\": {\"data\": {\"files\": [\"%s/case/path\"]}}", world->directory);
	write_manifest(world, ONE_ATTEMPT ", \"maxShrink\": 100", services);
	for (size_t i = 0; i < count; i++)
		check_case(world, &bad[i]);
}

static void
no_bad_path_is_called_complete(void **state)
{
	check_cases(*state, cases, ARRAY_LENGTH(cases));
}

/* Its files go away while restic reads. */
static void
a_path_that_is_missing_afterwards(void **state)
{
	static const char halting[] = "case \" $* \" in *' backup '*) " STAND_BY " ;; esac";
	struct world *world = *state;
	cleanup_free char *services = xasprintf(
	    "\"web\": {\"data\": {\"files\": [\"%s/data\", \"%s/password\"]}}", world->directory, world->directory);
	write_manifest(world, ONE_ATTEMPT, services);
	wrap_restic(world, halting);
	expect_run(world, "backup web --detach", 0);
	restic_that_stands_by(world);
	world_rename(world, "data", "elsewhere");
	world_write(world, "go", "");
	expect_run(world, "follow 1", 1);
	json_t *shown = show_job(world, 1);
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, "source-missing");
	json_decref(shown);
}

/* The last one: what is taken away here does not come back, for the programs that this one begins. */
static void
no_closed_path_is_called_complete(void **state)
{
	assert_int_equal(prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE), 0);
	assert_int_equal(prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH), 0);
	check_cases(*state, cases_without_rights, ARRAY_LENGTH(cases_without_rights));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    repository_test(no_bad_path_is_called_complete),
	    repository_test(a_path_that_is_missing_afterwards),
	    repository_test(no_closed_path_is_called_complete),
	};
	have_own_mounts();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
