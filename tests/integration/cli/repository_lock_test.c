/* Locks of others: who waits for them, who goes on, and which of them go. */
#include "tests/integration/cli/forged_lock.h"

#define POLICY ONE_ATTEMPT ", \"retention\": {\"last\": 1, \"daily\": 0, \"weekly\": 0, \"monthly\": 0}"

static const char *const restics[] = {
    "ATELIER_TEST_RESTIC_014", "ATELIER_TEST_RESTIC_018", "ATELIER_TEST_RESTIC_019"};

/* Who holds it, and that this is waited for: said again between any two attempts. */
static bool
names_the_holder(struct world *world, const char *line)
{
	world_run(world, line);
	return strstr(world->out, " locked") != NULL && strstr(world->out, "exclusive") != NULL &&
	       strstr(world->out, "PID 4711 on attic by eve") != NULL;
}

/* Somebody else has the repository alone: nothing is stopped, and the job waits as long as it takes. */
static void
wait_for_somebody_else(struct world *world)
{
	struct lock_template template = forge_begin(world);
	forge_lock(world, &template, &(struct forged_lock){.exclusive = true, .host = "attic", .pid = 4711});
	expect_run(world, "backup web --detach", 0);
	until_true(job_waits_again(world, 1));
	until_true(names_the_holder(world, "jobs --json"));
	until_true(names_the_holder(world, "show 1 --json"));
	until_true(names_the_holder(world, "jobs"));
	until_true(names_the_holder(world, "show 1"));
	until_true(names_the_holder(world, "status"));
	assert_int_equal(count_locks(world), 1);
	assert_false(world_has(world, "stopped"));

	remove_first_lock(world);
	expect_run(world, "follow 1", 0);
	json_t *shown = show_job(world, 1);
	expect_job(shown, "pruned", "complete");
	assert_in_range(job_number(shown, "attempt"), 2, 9);
	json_decref(shown);
	expect_run(world, "show 1", 0);
	expect_words(world->out, "1 of 1, not counting ");
	expect_words(world->out, " that only met a lock\n");
	cleanup_free char *stops = world_read(world, "stopped");
	assert_string_equal(stops, "stop\n");
	assert_int_equal(count_locks(world), 0);
}

static void
nothing_is_stopped_for_a_lock_of_somebody_else(void **state)
{
	struct world *world = *state;
	for (size_t i = 0; i < ARRAY_LENGTH(restics); i++) {
		use_restic(world, restics[i]);
		wait_for_somebody_else(world);
		if (i + 1 == ARRAY_LENGTH(restics))
			break;
		void *next = NULL;
		world_teardown(state);
		assert_int_equal(repository_setup(&next), 0);
		*state = world = next;
	}
}

static void
a_stale_lock_of_another_host_is_removed(void **state)
{
	struct world *world = *state;
	for (size_t i = 0; i < 2; i++) {
		use_restic(world, restics[i]);
		struct lock_template template = forge_begin(world);
		const struct forged_lock lock = {
		    .exclusive = true, .host = "attic", .pid = 4711, .age = 31 * USEC_PER_MIN};
		forge_lock(world, &template, &lock);
		expect_run(world, "backup web", 0);
		json_t *shown = show_job(world, 1);
		assert_int_equal(job_number(shown, "attempt"), 1);
		expect_note(shown, "removed 1 stale lock of others", true);
		json_decref(shown);
		assert_int_equal(count_locks(world), 0);
		if (i == 1)
			break;
		void *next = NULL;
		world_teardown(state);
		assert_int_equal(repository_setup(&next), 0);
		*state = world = next;
	}
}

/* restic would send it SIGHUP. */
static void
a_lock_of_a_process_that_is_no_restic_stays(void **state)
{
	struct world *world = *state;
	struct lock_template template = forge_begin(world);
	char host[256] = "";
	gethostname(host, sizeof(host) - 1);
	forge_lock(world, &template, &(struct forged_lock){.exclusive = true, .host = host, .pid = getpid()});
	expect_run(world, "backup web --detach", 0);
	until_true(job_waits_again(world, 1));
	json_t *shown = show_job(world, 1);
	expect_note(shown, "is another program by now", true);
	expect_note(shown, "removed", false);
	json_decref(shown);
	assert_int_equal(count_locks(world), 1);
	assert_false(world_has(world, "stopped"));
	remove_first_lock(world);
	expect_run(world, "follow 1", 0);
}

/* ---- those that are not exclusive ---- */

static void
a_stale_shared_lock_keeps_nobody_waiting(void **state)
{
	struct world *world = *state;
	struct lock_template template = forge_begin(world);
	write_web_manifest(world, POLICY);
	expect_run(world, "backup web", 0);
	expect_run(world, "follow 2", 0);
	forge_lock(world, &template, &(struct forged_lock){.host = "attic", .pid = 4711, .age = 31 * USEC_PER_MIN});
	expect_run(world, "backup web", 0);
	expect_run(world, "follow 4", 0);
	json_t *shown = show_job(world, 4);
	assert_string_equal(job_text(shown, "kind"), "retention");
	expect_job(shown, "pruned", "complete");
	assert_int_equal(job_number(shown, "attempt"), 1);
	expect_note(shown, "removed 1 stale lock of others", true);
	json_decref(shown);
	assert_int_equal(count_snapshots(world, "web"), 1);
	assert_int_equal(count_locks(world), 0);
}

static void
a_shared_lock_keeps_retention_waiting_and_no_backup(void **state)
{
	struct world *world = *state;
	int input[2];
	write_web_manifest(world, POLICY);
	expect_run(world, "backup web", 0);
	expect_run(world, "follow 2", 0);
	expect_run(world, "follow 2", 0);
	assert_int_equal(pipe2(input, O_CLOEXEC), 0);
	assert_int_equal(write(input[1], "x", 1), 1);
	pid_t reader = begin_restic(world, (const char *const[]){"restic", "backup", "--stdin", NULL}, input[0]);
	until_true(count_locks(world) == 1);

	expect_run(world, "backup web --detach", 0);
	until_true(job_waits_again(world, 4));
	json_t *shown = show_job(world, 4);
	assert_string_equal(job_text(shown, "kind"), "retention");
	cleanup_free char *holder = xasprintf("PID %ld on ", (long)reader);
	expect_words(job_text(shown, "waiting"), holder);
	json_decref(shown);
	assert_true(job_is_in(world, 3, "pruned"));
	expect_run(world, "backup web --detach", 0);
	until_true(job_is_in(world, 5, "pruned"));
	until_true(job_waits_again(world, 6));
	assert_int_equal(count_snapshots(world, "web"), 3);

	close(input[0]);
	close(input[1]);
	assert_int_equal(waitpid(reader, NULL, 0), reader);
	assert_int_equal(count_locks(world), 0);
	/* The one that looks first does it for both. */
	until_true(job_is_in(world, 4, "pruned") && job_is_in(world, 6, "pruned"));
	assert_int_equal(count_snapshots(world, "web"), 1);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    repository_test(nothing_is_stopped_for_a_lock_of_somebody_else),
	    repository_test(a_stale_lock_of_another_host_is_removed),
	    repository_test(a_lock_of_a_process_that_is_no_restic_stays),
	    repository_test(a_stale_shared_lock_keeps_nobody_waiting),
	    repository_test(a_shared_lock_keeps_retention_waiting_and_no_backup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
