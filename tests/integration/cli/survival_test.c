/* Without any unit: whatever is killed, what was stopped runs again, and the job comes to its end. */
#include "tests/integration/cli/held_world.h"

#include <dirent.h>

/* The issue allows a second beside the service's own start; this is the program with its sanitizers, on a machine
 * with others at work. tests/system measures the second. */
#define PATIENCE (5 * USEC_PER_SEC)

static void
expect_back(const struct world *world, int64_t since)
{
	until_true(!world_has(world, "down"));
	int64_t took = clock_monotonic(clock_system()) - since;
	print_message("back after %lld ms\n", (long long)(took / USEC_PER_MSEC));
	assert_true(took < PATIENCE);
}

static pid_t
parent_of(pid_t pid)
{
	cleanup_free char *path = xasprintf("/proc/%d/stat", (int)pid);
	cleanup_free char *stat = NULL;
	size_t length;
	if (file_read(path, 4096, &stat, &length, NULL) < 0)
		return 0;
	return (pid_t)strtol(strrchr(stat, ')') + 4, NULL, 10);
}

/* The process among whose arguments this one is; 0: there is none. */
static pid_t
process_with(const char *argument)
{
	DIR *processes = opendir("/proc");
	pid_t found = 0;
	for (const struct dirent *entry; found == 0 && (entry = readdir(processes)) != NULL;) {
		cleanup_free char *path = xasprintf("/proc/%s/cmdline", entry->d_name);
		cleanup_free char *words = NULL;
		size_t length;
		if (strtol(entry->d_name, NULL, 10) <= 0 || file_read(path, 65536, &words, &length, NULL) < 0)
			continue;
		for (size_t at = 0; at < length; at += strlen(words + at) + 1)
			if (strcmp(words + at, argument) == 0)
				found = (pid_t)strtol(entry->d_name, NULL, 10);
	}
	closedir(processes);
	return found;
}

static pid_t
guardian_of(pid_t runner)
{
	cleanup_free char *argument = xasprintf("--adopt=%d", (int)runner);
	pid_t adopted = process_with(argument);
	return adopted != 0 ? adopted : parent_of(runner);
}

/* Kills, waits until the service is back, releases restic, and sees the job to its good end by whoever follows it. */
static void
expect_recovery(struct world *world, pid_t victim, pid_t command)
{
	int64_t since = clock_monotonic(clock_system());
	kill(victim, SIGKILL);
	expect_back(world, since);
	held_release(world);
	if (command > 0) {
		world_end(world, command);
		assert_int_equal(world->code, 0);
		expect_words(world->out, "the runner is gone");
	}
	expect_run(world, "follow 1", 0);
	expect_words(world->out, "web: complete");
	assert_false(world_has(world, "down"));
}

static void
a_killed_runner_comes_back(void **state)
{
	struct world *world = *state;
	pid_t command = held_begin_backup(world, "backup web");
	expect_recovery(world, world_runner(world), command);
	/* One snapshot, not two. */
	json_t *document = expect_json(world, "list web --json", 0);
	assert_int_equal(json_array_size(json_object_get(document, "snapshots")), 1);
	json_decref(document);
}

/* What the dead one had made for its snapshot may be large: it is removed when the service is back. */
static void
what_a_killed_runner_left_is_removed_when_nothing_is_owed(void **state)
{
	struct world *world = *state;
	const char *at = world->directory;
	cleanup_free char *services = xasprintf("\"web\": {\"data\": {\"files\": [\"%s/data\"]}, \"stopUnits\": [],"
						" \"preBackup\": \": >%s/down\","
						" \"postBackup\": \"ls %s/state >>%s/listed; rm -f %s/down\"}",
	    at, at, at, at, at);
	world_manifest(world, services);
	pid_t command = held_begin_backup(world, "backup web");
	assert_true(world_has(world, "state/staging/web/metadata.json"));
	expect_recovery(world, world_runner(world), command);
	cleanup_free char *listed = world_read(world, "listed");
	expect_words(listed, "staging.old\n");
	assert_false(world_has(world, "state/staging.old"));
	assert_false(world_has(world, "state/staging"));
}

/* Nobody calls anything, and nobody is connected. */
static void
a_killed_runner_of_a_detached_job_comes_back(void **state)
{
	struct world *world = *state;
	held_hold(world);
	expect_run(world, "backup web --detach", 0);
	until_true(world_has(world, "reading") && world_has(world, "down"));
	expect_recovery(world, world_runner(world), 0);
}

static void
a_killed_guardian_is_replaced(void **state)
{
	struct world *world = *state;
	pid_t command = held_begin_backup(world, "backup web");
	pid_t runner = world_runner(world);
	for (int turn = 0; turn < 2; turn++) {
		pid_t guardian = guardian_of(runner);
		assert_true(guardian > 1);
		kill(guardian, SIGKILL);
		cleanup_free char *argument = xasprintf("--adopt=%d", (int)runner);
		until_true(process_with(argument) != guardian && process_with(argument) != 0);
	}
	assert_int_equal(world_runner(world), runner);
	assert_true(world_has(world, "down"));
	expect_recovery(world, runner, command);
}

/* A runner that ends in good order is not brought back by the guardian that it started itself. */
static void
a_replaced_guardian_ends_with_its_runner(void **state)
{
	struct world *world = *state;
	pid_t command = held_begin_backup(world, "backup web");
	pid_t runner = world_runner(world);
	cleanup_free char *argument = xasprintf("--adopt=%d", (int)runner);
	kill(guardian_of(runner), SIGKILL);
	until_true(process_with(argument) != 0);
	kill(runner, SIGTERM);
	world_end(world, command);
	assert_int_equal(world->code, 1);
	until_true(!is_alive(runner));
	assert_int_equal(process_with(argument), 0);
	assert_int_equal(world_runner(world), 0);
	assert_false(world_has(world, "down"));
}

static void
sigterm_to_the_guardian_ends_both_in_good_order(void **state)
{
	struct world *world = *state;
	pid_t command = held_begin_backup(world, "backup web");
	pid_t runner = world_runner(world);
	pid_t guardian = guardian_of(runner);
	kill(guardian, SIGTERM);
	world_end(world, command);
	assert_int_equal(world->code, 1);
	expect_words(world->out, "unfinished jobs stay in the journal");
	until_true(!is_alive(runner) && !is_alive(guardian));
	assert_false(world_has(world, "down"));
	held_release(world);
	expect_run(world, "recover", 0);
	expect_words(world->out, "web: complete");
}

static void
a_killed_command_ends_nothing(void **state)
{
	struct world *world = *state;
	pid_t command = held_begin_backup(world, "backup web");
	pid_t runner = world_runner(world);
	/* All that the terminal's group and session hold. */
	kill(-command, SIGKILL);
	int status;
	assert_int_equal(waitpid(command, &status, 0), command);
	assert_int_equal(world_runner(world), runner);
	assert_true(is_alive(runner));
	held_release(world);
	expect_run(world, "follow 1", 0);
	expect_words(world->out, "web: complete");
}

/* The kernel sends SIGHUP to the foreground group when the session's leader is gone. */
static void
a_terminal_that_is_gone_ends_nothing(void **state)
{
	struct world *world = *state;
	struct terminal terminal;
	held_hold(world);
	terminal_begin(&terminal, "backup web");
	until_true(terminal_has(&terminal, "snapshot") && world_has(world, "reading"));
	close(terminal.descriptor);
	int status;
	assert_int_equal(waitpid(terminal.child, &status, 0), terminal.child);
	text_clear(&terminal.seen);
	assert_true(world_has(world, "down"));
	held_release(world);
	expect_run(world, "follow 1", 0);
	expect_words(world->out, "web: complete");
}

/* The one that is started in its place finds that nobody can listen where the clients look. */
static void
a_runner_that_cannot_begin_leaves_nothing_stopped(void **state)
{
	struct world *world = *state;
	held_hold(world);
	expect_run(world, "backup web --detach", 0);
	until_true(world_has(world, "reading") && world_has(world, "down"));
	pid_t runner = world_runner(world), guardian = guardian_of(runner);
	cleanup_free char *socket = world_path(world, "runtime/control.sock");
	assert_int_equal(unlink(socket), 0);
	assert_int_equal(mkdir(socket, 0700), 0);
	kill(runner, SIGKILL);
	until_true(!is_alive(guardian));
	assert_false(world_has(world, "down"));
	assert_int_equal(rmdir(socket), 0);
	held_release(world);
	expect_run(world, "recover", 0);
	expect_words(world->out, "web: complete");
}

/* Both at once: the one case in which somebody has to call something, here the next command. */
static void
the_next_command_recovers_when_both_were_killed(void **state)
{
	struct world *world = *state;
	held_hold(world);
	expect_run(world, "backup web --detach", 0);
	until_true(world_has(world, "reading") && world_has(world, "down"));
	pid_t runner = world_runner(world), guardian = guardian_of(runner);
	/* A guardian that is halted cannot be seen to be dead. */
	kill(guardian, SIGSTOP);
	kill(runner, SIGKILL);
	kill(guardian, SIGKILL);
	until_true(!is_alive(runner) && !is_alive(guardian));
	assert_true(world_has(world, "down"));
	expect_run(world, "recover --owed", 0);
	assert_false(world_has(world, "down"));
	assert_int_equal(world_runner(world), 0);
	/* It leaves the job where it is. */
	expect_run(world, "status", 1);
	held_release(world);
	expect_run(world, "recover", 0);
	expect_words(world->out, "web: complete");
}

static void
nothing_owed_makes_no_journal(void **state)
{
	struct world *world = *state;
	expect_run(world, "recover --owed", 0);
	assert_false(world_has(world, "state"));
	expect_run(world, "backup wiki", 0);
	expect_run(world, "recover --owed", 0);
	assert_string_equal(world->out, "");
	assert_string_equal(world->err, "");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    held_test(a_killed_runner_comes_back),
	    held_test(what_a_killed_runner_left_is_removed_when_nothing_is_owed),
	    held_test(a_killed_runner_of_a_detached_job_comes_back),
	    held_test(a_killed_guardian_is_replaced),
	    held_test(a_replaced_guardian_ends_with_its_runner),
	    held_test(sigterm_to_the_guardian_ends_both_in_good_order),
	    held_test(a_killed_command_ends_nothing),
	    held_test(a_terminal_that_is_gone_ends_nothing),
	    held_test(a_runner_that_cannot_begin_leaves_nothing_stopped),
	    held_test(the_next_command_recovers_when_both_were_killed),
	    held_test(nothing_owed_makes_no_journal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
