/* A restic that is killed: its lock does not stay, and what it had stored is not sent again. */
#include "tests/integration/cli/repository_world.h"

#include <ftw.h>
#include <sys/random.h>

#define MIB ((size_t)1024 * 1024)

/* Some more than what makes a repair worth while (states/snapshot.c), and what of it is stored when it is cut. */
#define UPLOAD (112 * MIB)
#define STORED (72 * MIB)

#define SLOW(attempts, kib)                                                                                          \
	"\"retry\": {\"attempts\": " attempts ", \"delay\": \"1s\"}, \"limits\": {\"uploadKiB\": " kib "}"

/* Tells its pid; the backup of wiki stands still while the file `hold` is there. */
static const char telling[] =
    "case \" $* \" in\n"
    "*' backup '*=service:web' '*) echo $$ >$at/pid.new; mv $at/pid.new $at/pid ;;\n"
    "*' backup '*=service:wiki' '*) : >$at/reading; while [ -e $at/hold ]; do sleep 0.02; done ;;\n"
    "esac";

static void
write_noise(const struct world *world, const char *name, size_t size)
{
	static unsigned char noise[MIB];
	cleanup_free char *path = world_path(world, name);
	FILE *file = fopen(path, "we");
	for (size_t done = 0; done < size; done += sizeof(noise)) {
		for (size_t at = 0; at < sizeof(noise); at += 256)
			assert_int_equal(getrandom(noise + at, 256, 0), 256);
		assert_int_equal(fwrite(noise, 1, sizeof(noise), file), sizeof(noise));
	}
	fclose(file);
}

static pid_t
uploading_restic(const struct world *world, const char *name)
{
	until_true(world_has(world, name));
	cleanup_free char *digits = world_read(world, name);
	cleanup_free char *path = world_path(world, name);
	unlink(path);
	return (pid_t)strtol(digits, NULL, 10);
}

/* What is in the data directory of the repository under its final name. */
static size_t stored;

static int
add_size(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	if (type == FTW_F && strstr(path + walk->base, "-tmp-") == NULL)
		stored += (size_t)status->st_size;
	return 0;
}

static size_t
stored_bytes(const struct world *world)
{
	cleanup_free char *path = world_path(world, "repo/data");
	stored = 0;
	nftw(path, add_size, 16, FTW_PHYS);
	return stored;
}

/* Whether the runner has heard of so much that it will ask for a repair. */
static bool
is_worth_a_repair(const struct world *world, int64_t job_id)
{
	cleanup_free char *directory = world_path(world, "state");
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct journal *journal = NULL;
	cleanup_job struct job_record job = {0};
	if (journal_open_readonly(directory, clock_system(), &journal, &error) < 0 ||
	    journal_job(journal, job_id, &job, &error) < 0)
		fail_msg("%s", error.message);
	journal_close(journal);
	return job.unindexed;
}

/* Kills the upload of a job where more is stored than is worth a repair, and its runner too if asked for. */
static void
cut_upload(struct world *world, int64_t job_id, bool runner_too)
{
	pid_t uploading = uploading_restic(world, "pid");
	until_true(stored_bytes(world) > STORED && is_worth_a_repair(world, job_id));
	pid_t runner = world_runner(world);
	assert_true(is_alive(uploading));
	if (runner_too)
		kill(runner, SIGKILL);
	kill(uploading, SIGKILL);
}

static void
begin_cut_test(struct world *world)
{
	wrap_restic(world, telling);
	write_noise(world, "data/noise", UPLOAD);
	restic(world, "init", "--quiet");
}

static void
cut_with_the_runner(struct world *world)
{
	begin_cut_test(world);
	write_web_manifest(world, SLOW("2", "20000"));
	expect_run(world, "backup web --detach", 0);
	cut_upload(world, 1, true);
	expect_run(world, "follow 1", 0);
	json_t *shown = show_job(world, 1);
	expect_job(shown, "pruned", "complete");
	assert_int_equal(job_number(shown, "attempt"), 2);
	expect_note(shown, "repaired the index", true);
	assert_in_range(job_number(shown, "bytes_added"), 1, UPLOAD - STORED + 8 * MIB);
	json_decref(shown);
	assert_int_equal(count_snapshots(world, "web"), 1);
	assert_int_equal(count_locks(world), 0);
}

static void
what_a_cut_upload_stored_is_not_sent_again(void **state)
{
	cut_with_the_runner(*state);
}

static void
what_a_cut_upload_stored_is_not_sent_again_by_an_old_restic(void **state)
{
	use_restic(*state, "ATELIER_TEST_RESTIC_014");
	cut_with_the_runner(*state);
}

/* The index is not repaired beside others: they would have to wait, or be waited for. */
static void
no_repair_beside_another_backup(void **state)
{
	struct world *world = *state;
	const char *at = world->directory;
	begin_cut_test(world);
	cleanup_free char *services = xasprintf(WEB ", \"wiki\": {\"paths\": \"%s/password\"}", at, at, at, at);
	write_manifest(world, SLOW("2", "40000"), services);
	world_write(world, "hold", "");
	expect_run(world, "backup wiki --detach", 0);
	until_true(world_has(world, "reading"));
	expect_run(world, "backup web --detach", 0);
	cut_upload(world, 3, false);
	expect_run(world, "follow 3", 0);
	world_rename(world, "hold", "go-on");
	json_t *shown = show_job(world, 3);
	assert_string_equal(job_text(shown, "service"), "web");
	expect_job(shown, "pruned", "complete");
	expect_note(shown, "the index is not repaired while other backups run", true);
	expect_note(shown, "repaired the index", false);
	json_decref(shown);
	expect_run(world, "follow 1", 0);
}

/* It only saves traffic: where it takes longer than the preflight may, the backup does without. */
static void
a_slow_repair_fails_no_backup(void **state)
{
	struct world *world = *state;
	begin_cut_test(world);
	wrap_restic(world, "case \" $* \" in\n"
			   "*' repair index '*) trap 'exit 130' INT; while :; do sleep 0.1; done ;;\n"
			   "*' backup '*) echo $$ >$at/pid.new; mv $at/pid.new $at/pid ;;\n"
			   "esac");
	write_web_manifest(world, SLOW("2", "20000") ", \"deadlines\": {\"preflight\": \"8s\"}");
	expect_run(world, "backup web --detach", 0);
	cut_upload(world, 1, false);
	expect_run(world, "follow 1", 0);
	json_t *shown = show_job(world, 1);
	expect_job(shown, "pruned", "complete");
	assert_int_equal(job_number(shown, "attempt"), 2);
	expect_note(shown, "repairing the index takes too long", true);
	json_decref(shown);
}

/* restic alone dies, with its lock in the repository. */
static void
the_lock_of_a_dead_restic_goes(void **state)
{
	struct world *world = *state;
	wrap_restic(world, telling);
	write_noise(world, "data/noise", MIB);
	restic(world, "init", "--quiet");
	write_web_manifest(
	    world, SLOW("2", "256") ", \"retention\": {\"last\": 1, \"daily\": 0, \"weekly\": 0, \"monthly\": 0}");
	expect_run(world, "backup web --detach", 0);
	pid_t uploading = uploading_restic(world, "pid");
	until_true(count_locks(world) == 1);
	kill(uploading, SIGKILL);
	expect_run(world, "follow 1", 0);
	json_t *shown = show_job(world, 1);
	assert_int_equal(job_number(shown, "attempt"), 2);
	expect_note(shown, "removed the lock of a restic that died", true);
	json_decref(shown);
	/* Which would have kept retention from its work for ever. */
	expect_run(world, "backup web", 0);
	expect_run(world, "follow 4", 0);
	assert_int_equal(count_snapshots(world, "web"), 1);
	assert_int_equal(count_locks(world), 0);
	cleanup_free char *starts = world_read(world, "started");
	assert_string_equal(starts, "start\nstart\nstart\n");
}

/* A second one dies while the lock of the first is being removed, too late for that `restic unlock`. */
static void
the_lock_of_one_that_dies_meanwhile_goes_too(void **state)
{
	static const char holding[] =
	    "case \" $* \" in\n"
	    "*' backup '*=service:web' '*) echo $$ >$at/pid.new; mv $at/pid.new $at/pid ;;\n"
	    "*' backup '*=service:wiki' '*) echo $$ >$at/second.new; mv $at/second.new $at/second ;;\n"
	    "*' unlock '*) $real \"$@\"; : >$at/unlocking; while [ -e $at/hold ]; do sleep 0.02; done; exit 0 ;;\n"
	    "esac";
	struct world *world = *state;
	const char *at = world->directory;
	cleanup_free char *services = xasprintf(WEB ", \"wiki\": {\"paths\": \"%s/data\"}", at, at, at, at);
	wrap_restic(world, holding);
	write_noise(world, "data/noise", MIB);
	restic(world, "init", "--quiet");
	write_manifest(world, SLOW("2", "256"), services);
	world_write(world, "hold", "");
	expect_run(world, "backup web wiki --detach", 0);
	pid_t first = uploading_restic(world, "pid"), second = uploading_restic(world, "second");
	until_true(count_locks(world) == 2);
	kill(second, SIGSTOP);
	kill(first, SIGKILL);
	until_true(world_has(world, "unlocking"));
	kill(second, SIGKILL);
	until_true(job_is_in(world, 2, "pruned"));
	world_rename(world, "hold", "go-on");
	expect_run(world, "follow", 0);
	/* It looks again before it uploads. */
	json_t *shown = show_job(world, 1);
	size_t index, removals = 0;
	const json_t *note;
	json_array_foreach (json_object_get(shown, "notes"), index, note)
		removals += strcmp(json_string_value(json_object_get(note, "text")),
				"removed the lock of a restic that died") == 0;
	assert_int_equal(removals, 2);
	json_decref(shown);
	assert_int_equal(count_locks(world), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    repository_test(what_a_cut_upload_stored_is_not_sent_again),
	    repository_test(what_a_cut_upload_stored_is_not_sent_again_by_an_old_restic),
	    repository_test(no_repair_beside_another_backup),
	    repository_test(a_slow_repair_fails_no_backup),
	    repository_test(the_lock_of_a_dead_restic_goes),
	    repository_test(the_lock_of_one_that_dies_meanwhile_goes_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
