/* Backups of a live SQLite database beside a writer that never rests. The number of the last transaction it has
 * committed is written down, durably, before each backup begins; then plain restic restores every snapshot, and each
 * has to open, pass integrity_check, and hold that transaction and all before it.
 *
 * CI makes a few backups. The full measure, whose result is in docs/bad-data.md, takes some minutes:
 *
 *   ATELIER_TEST_RESTIC_014=$(tests/lab/restic 0.14) ATELIER_TEST_RESTIC_018=$(tests/lab/restic 0.18) \
 *       build/asan/tests/integration-cli-eager_writer_test --count 100 */
#include "tests/integration/cli/repository_world.h"

#include <sys/prctl.h>

#define WRITER TEST_BINARY_DIR "/atelier-eager-writer"

static unsigned wanted = 3;

/* ---- the writer ---- */

static bool
has_committed(const struct world *world)
{
	struct stat status;
	cleanup_free char *path = world_path(world, "told");
	return stat(path, &status) == 0 && status.st_size > 0;
}

static pid_t
begin_writer(const struct world *world, const char *mode)
{
	cleanup_free char *database = world_path(world, "data/app.db");
	cleanup_free char *told = world_path(world, "told");
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(WRITER, WRITER, mode, database, told, NULL);
		_exit(127);
	}
	assert_true(child > 0);
	until_true(has_committed(world));
	return child;
}

static void
end_writer(pid_t writer)
{
	int status;
	assert_true(is_alive(writer));
	kill(writer, SIGTERM);
	assert_int_equal(waitpid(writer, &status, 0), writer);
	assert_int_equal(status, 0);
}

/* What it has told is on our disk, too, before anything is begun. */
static int64_t
last_committed(const struct world *world)
{
	cleanup_free char *words = world_read(world, "told");
	world_write(world, "committed-before", words);
	return strtoll(words, NULL, 10);
}

/* ---- the backups ---- */

struct snapshot {
	char *id;
	int64_t committed_before;
};

static void
write_live_manifest(const struct world *world)
{
	cleanup_free char *services = xasprintf("\"web\": {\"data\": {\"sqlite\": \"%s/data/app.db\"},"
						" \"stopForBackup\": false}",
	    world->directory);
	write_manifest(world, ONE_ATTEMPT ", \"retention\": \"keep-all\"", services);
}

static struct snapshot
back_up(struct world *world)
{
	struct snapshot snapshot = {.committed_before = last_committed(world)};
	expect_run(world, "backup web", 0);
	json_t *shown = show_newest(world, "web");
	expect_job(shown, "pruned", "complete");
	assert_int_equal(job_number(shown, "attempt"), 1);
	snapshot.id = xstrdup(job_text(shown, "snapshot"));
	json_decref(shown);
	return snapshot;
}

/* By restic and SQLite alone. Returns the number of the last transaction in it. */
static int64_t
judge(const struct world *world, const char *id)
{
	cleanup_free char *target = world_path(world, "restored");
	cleanup_free char *remove = xasprintf("rm -rf %s", target);
	cleanup_free char *check =
	    xasprintf("%s --check %s%s/data/app.db >%s/last", WRITER, target, world->directory, world->directory);
	restic(world, "restore", id, "--target", target);
	assert_int_equal(system(check), 0);
	assert_int_equal(system(remove), 0);
	cleanup_free char *last = world_read(world, "last");
	return strtoll(last, NULL, 10);
}

static void
every_copy_is_whole(struct world *world, const char *mode, unsigned count)
{
	struct snapshot *snapshots = xcalloc(count, sizeof(*snapshots));
	write_live_manifest(world);
	pid_t writer = begin_writer(world, mode);
	int64_t begun = clock_monotonic(clock_system()), first = last_committed(world);
	for (unsigned i = 0; i < count; i++)
		snapshots[i] = back_up(world);
	int64_t seconds = (clock_monotonic(clock_system()) - begun) / USEC_PER_SEC;
	int64_t last = last_committed(world);
	end_writer(writer);
	assert_true(last > first);
	for (unsigned i = 0; i < count; i++) {
		int64_t found = judge(world, snapshots[i].id);
		if (found < snapshots[i].committed_before)
			fail_msg("backup %u ends with transaction %lld, and %lld had been committed before it began",
			    i + 1, (long long)found, (long long)snapshots[i].committed_before);
		free(snapshots[i].id);
	}
	free(snapshots);
	assert_false(world_has(world, "state/staging"));
	print_message("%s: %u backups in %lld s, beside %lld transactions (%lld in a second)\n", mode, count,
	    (long long)seconds, (long long)(last - first), (long long)((last - first) / (seconds > 0 ? seconds : 1)));
}

static void
beside_a_writer_with_a_wal(void **state)
{
	every_copy_is_whole(*state, "wal", wanted);
}

/* Its writer has to wait for each copy, and each copy for a moment between two of its transactions. */
static void
beside_a_writer_with_a_rollback_journal(void **state)
{
	every_copy_is_whole(*state, "delete", (wanted + 1) / 2);
}

/* A copy that cannot be begun, or would have to begin again, is a failure that is worth another attempt: the job
 * ends. */
static void
what_cannot_be_copied_ends(void **state)
{
	struct world *world = *state;
	write_live_manifest(world);
	restic(world, "init", "--quiet");
	pid_t writer = begin_writer(world, "exclusive");
	expect_run(world, "backup web", 1);
	json_t *shown = show_newest(world, "web");
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, "database-held");
	json_decref(shown);
	assert_int_equal(count_snapshots(world, NULL), 0);
	assert_false(world_has(world, "state/staging"));
	end_writer(writer);
}

int
main(int count, char **arguments)
{
	static const struct CMUnitTest tests[] = {
	    repository_test(beside_a_writer_with_a_wal),
	    repository_test(beside_a_writer_with_a_rollback_journal),
	    repository_test(what_cannot_be_copied_ends),
	};
	if (count == 3 && strcmp(arguments[1], "--count") == 0)
		wanted = (unsigned)strtoul(arguments[2], NULL, 10);
	if (wanted == 0 || count == 2 || count > 3) {
		fprintf(stderr, "usage: %s [--count BACKUPS]\n", arguments[0]);
		return 2;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
