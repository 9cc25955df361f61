/* What is wrong with the repository is found while the service is up, and a job that is cancelled there leaves
 * nothing behind. */
#include "tests/integration/cli/repository_world.h"
#include "tests/integration/own_mounts.h"

#include <errno.h>

#define IMPATIENT ONE_ATTEMPT ", \"deadlines\": {\"preflight\": \"2s\"}"

/* The only job that was made ended without having touched anything. */
static void
expect_untouched(struct world *world, const char *code)
{
	expect_run(world, "backup web", 1);
	json_t *shown = show_job(world, 1);
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, code);
	assert_true(json_is_string(json_object_get(json_object_get(json_object_get(shown, "job"), "error"), "hint")));
	json_decref(shown);
	assert_false(world_has(world, "stopped"));
	assert_false(world_has(world, "started"));
}

/* ---- it cannot be reached ---- */

static void
an_unreachable_repository(void **state)
{
	struct world *world = *state;
	use_restic(world, "ATELIER_TEST_RESTIC_014");
	world_write(world, "repository", "rest:http://127.0.0.1:1/");
	expect_untouched(world, "repository-unreachable");
}

/* restic itself would try for a quarter of an hour. */
static void
an_unreachable_repository_that_restic_does_not_give_up(void **state)
{
	struct world *world = *state;
	write_web_manifest(world, IMPATIENT);
	world_write(world, "repository", "rest:http://127.0.0.1:1/");
	int64_t begin = clock_monotonic(clock_system());
	expect_untouched(world, "deadline");
	assert_true(clock_monotonic(clock_system()) - begin < 20 * USEC_PER_SEC);
}

static void
a_wrong_password(void **state)
{
	struct world *world = *state;
	restic(world, "init", "--quiet");
	world_write(world, "password", "another\n");
	expect_untouched(world, "repository-password");
}

static void
a_path_that_is_not_there(void **state)
{
	struct world *world = *state;
	restic(world, "init", "--quiet");
	world_rename(world, "data", "elsewhere");
	expect_untouched(world, "source-missing");
	assert_int_equal(count_locks(world), 0);
}

/* ---- it is full ---- */

static void
fill(const struct world *world, const char *name)
{
	static const char zeros[4096];
	cleanup_free char *path = world_path(world, name);
	int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(descriptor >= 0);
	while (write(descriptor, zeros, sizeof(zeros)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	close(descriptor);
}

static void
a_full_repository(void **state)
{
	struct world *world = *state;
	cleanup_free char *location = world_path(world, "repo");
	have_own_mounts();
	assert_int_equal(mkdir(location, 0700), 0);
	assert_int_equal(mount("tmpfs", location, "tmpfs", 0, "size=4m,mode=0700"), 0);
	restic(world, "init", "--quiet");
	fill(world, "repo/ballast");
	expect_untouched(world, "repository-full");
	world_end_runner(world);
	assert_int_equal(umount2(location, MNT_DETACH), 0);
}

/* ---- a disk that is not there ---- */

/* Its mount point is there, and what a person wrote into it while nobody was looking. */
static void
a_source_on_a_disk_that_is_not_mounted(void **state)
{
	struct world *world = *state;
	cleanup_free char *point = world_path(world, "data");
	cleanup_free char *table = world_path(world, "fstab");
	cleanup_free char *line = xasprintf("/dev/disk/by-label/data %s ext4 defaults,nofail 0 2\n", point);
	have_own_mounts();
	world_write(world, "fstab", line);
	assert_int_equal(mount(table, "/etc/fstab", NULL, MS_BIND, NULL), 0);
	restic(world, "init", "--quiet");
	expect_untouched(world, "source-not-mounted");
	world_end_runner(world);
	expect_run(world, "check", 1);
	expect_words(world->out, "nothing is mounted there");

	assert_int_equal(mount(point, point, NULL, MS_BIND, NULL), 0);
	expect_run(world, "backup web", 0);
	world_end_runner(world);
	assert_int_equal(umount2(point, MNT_DETACH), 0);
	assert_int_equal(umount2("/etc/fstab", MNT_DETACH), 0);
}

/* ---- a job that is cancelled while it asks ---- */

static void
cancelled_while_it_asks(void **state)
{
	static const char halting[] = "case \" $* \" in *' cat config '*) " STAND_BY " ;; esac";
	struct world *world = *state;
	restic(world, "init", "--quiet");
	wrap_restic(world, halting);
	expect_run(world, "backup web --detach", 0);
	halt_with_lock(world);
	assert_true(job_is_in(world, 1, "checkpoint"));
	assert_int_equal(count_locks(world), 1);
	/* What was begun is woken and ended in good order, so that it takes its lock along. */
	expect_run(world, "cancel 1", 0);
	json_t *shown = show_job(world, 1);
	expect_job(shown, "failed", "cancelled");
	json_decref(shown);
	assert_false(world_has(world, "stopped"));
	assert_int_equal(count_locks(world), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    repository_test(an_unreachable_repository),
	    repository_test(an_unreachable_repository_that_restic_does_not_give_up),
	    repository_test(a_wrong_password),
	    repository_test(a_path_that_is_not_there),
	    repository_test(cancelled_while_it_asks),
	    /* last: the mounts are their own from then on */
	    repository_test(a_source_on_a_disk_that_is_not_mounted),
	    repository_test(a_full_repository),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
