/* A real restic that is stopped, killed, abandoned or locked out, and what it leaves behind. */
#include "tests/integration/adapters/restic_world.h"

#include "core/clock.h"

#include <signal.h>
#include <sys/random.h>

/* Enough, with this limit, to be uploading for some seconds. */
static void
make_slow_upload(const struct world *world)
{
	size_t length = 6 << 20;
	cleanup_free char *noise = xmalloc(length);
	for (size_t done = 0; done < length;) {
		ssize_t count = getrandom(noise + done, length - done, 0);
		assert_true(count > 0);
		done += (size_t)count;
	}
	fixture_write_bytes(world->fixture, "source/noise", noise, length);
	world->fixture->settings.upload_kib = 1024;
}

static void
stop_once_uploading(struct restic_fixture *fixture)
{
	if (fixture->progress.bytes_done > 0)
		restic_call_stop(fixture->call);
}

static void
test_stopped_while_uploading(void **state)
{
	cleanup_world struct world world = make_world(state);
	make_slow_upload(&world);
	world.fixture->on_progress = stop_once_uploading;
	backup_one(&world, world.source);
	assert_true(world.fixture->progress_count > 0);
	assert_fixture_code(world.fixture, ERROR_CANCELLED);
	assert_null(world.fixture->snapshot_id);
	/* It had the time to clean up. */
	assert_int_equal(count_locks(world.fixture), 0);
	fixture_list(world.fixture, NULL);
	assert_fixture_code(world.fixture, ERROR_NONE);
	assert_int_equal(world.fixture->snapshot_count, 0);
}

static void
kill_once_uploading(struct restic_fixture *fixture)
{
	if (fixture->progress.bytes_done > 0)
		kill(fixture->spawned.pid, SIGKILL);
}

static void
test_the_lock_of_a_killed_process(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	make_slow_upload(&world);
	fixture->on_progress = kill_once_uploading;
	backup_one(&world, world.source);
	assert_fixture_code(fixture, ERROR_RESTIC_KILLED);
	assert_int_equal(fixture->result.exit_code, -1);
	assert_int_equal(count_locks(fixture), 1);

	pid_t pid = fixture->spawned.pid;
	pid_t stranger = 1;
	fixture_unlock(fixture, &stranger, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->locks_found, 0);
	assert_int_equal(count_locks(fixture), 1);

	fixture_unlock(fixture, &pid, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->locks_found, 1);
	assert_int_equal(count_locks(fixture), 0);

	fixture_unlock(fixture, &pid, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->locks_found, 0);
}

static void
test_locked_by_somebody_else(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	pid_t holder = leave_exclusive_lock(fixture);
	backup_one(&world, world.source);
	assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
	assert_int_equal(error_class_of(fixture->error.code), ERROR_CLASS_BUSY);
	cleanup_free char *who = xasprintf("PID %ld", (long)holder);
	assert_non_null(strstr(fixture->error.message, who));
	/* Listing takes no lock and minds none. */
	fixture_list(fixture, NULL);
	assert_fixture_code(fixture, ERROR_NONE);

	fixture_unlock(fixture, &holder, 1);
	assert_int_equal(fixture->locks_found, 1);
	backup_one(&world, world.source);
	assert_fixture_code(fixture, ERROR_NONE);
}

static void
test_abandoned_while_uploading(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	make_slow_upload(&world);
	fixture_start_backup(fixture, (struct restic_backup_request){.paths = (char *[]){world.source, NULL}});
	while (count_locks(fixture) == 0)
		event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	restic_call_abandon(fixture->call);
	assert_int_equal(fixture->callbacks, 0);
	int64_t deadline = clock_monotonic(clock_system()) + 10 * USEC_PER_SEC;
	while (child_identity_alive(&fixture->spawned))
		assert_true(clock_monotonic(clock_system()) < deadline);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    world_test(test_stopped_while_uploading),
	    world_test(test_the_lock_of_a_killed_process),
	    world_test(test_locked_by_somebody_else),
	    world_test(test_abandoned_while_uploading),
	};
	return world_run(tests);
}
