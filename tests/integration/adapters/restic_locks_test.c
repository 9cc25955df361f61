/* A real restic that meets the locks of others, and what becomes of its own. */
#include "tests/integration/adapters/restic_world.h"

/* ---- the probe that takes the lock ---- */

static void
test_probe_meets_an_exclusive_lock(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	fixture_probe_locked(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(strlen(fixture->repository_id), 64);
	assert_int_equal(count_locks(fixture), 0);

	pid_t holder = leave_exclusive_lock(fixture);
	fixture_probe(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
	fixture_probe_locked(fixture);
	assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
	char machine[256] = "";
	gethostname(machine, sizeof(machine) - 1);
	cleanup_free char *who = xasprintf("locked exclusively by PID %ld on %s by ", (long)holder, machine);
	assert_non_null(strstr(fixture->error.message, who));
	assert_non_null(strstr(fixture->error.message, ", since 20"));
	assert_non_null(strstr(fixture->error.message, " ago)"));

	fixture_locks(fixture);
	assert_int_equal(strings_count(fixture->lock_words), 1);
	assert_true(text_starts_with(fixture->lock_words[0], "exclusive, PID "));
	assert_int_equal(fixture->last_lock.pid, holder);
	assert_true(fixture->last_lock.this_host);
	assert_false(fixture->last_lock.alive);

	fixture_unlock_stale(fixture, NULL, 0);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->unlocked.removed, 1);
	assert_int_equal(fixture->unlocked.remaining, 0);
	fixture_probe_locked(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
}

static void
deadline_passed(evutil_socket_t descriptor, short what, void *context)
{
	struct restic_fixture *fixture = context;
	(void)descriptor;
	(void)what;
	restic_call_stop(fixture->call);
}

/* What can be read and not be written: the probe without a lock is content. 0.14 tries for 48 seconds. */
static void
test_probe_of_what_cannot_be_written(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	cleanup_free char *locks = fixture_path(fixture, "repository/locks");
	become_unprivileged(fixture);
	assert_int_equal(chmod(locks, 0500), 0);
	fixture_probe(fixture);
	assert_fixture_code(fixture, ERROR_NONE);

	struct event *deadline = evtimer_new(fixture->base, deadline_passed, fixture);
	const struct timeval patience = {.tv_sec = current->minor == 14 ? 6 : 90};
	event_add(deadline, &patience);
	fixture_probe_locked(fixture);
	event_free(deadline);
	assert_fixture_code(fixture, current->minor == 14 ? ERROR_CANCELLED : ERROR_REPOSITORY_RIGHTS);
	assert_non_null(strstr(fixture->error.message, "permission denied"));
	assert_int_equal(chmod(locks, 0700), 0);
}

/* ---- locks ---- */

static void
test_a_live_lock_stays(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	int input[2];
	assert_int_equal(pipe2(input, O_CLOEXEC), 0);
	pid_t dead = leave_exclusive_lock(fixture);
	fixture_unlock(fixture, &dead, 1);
	pid_t live = start_restic(fixture, (const char *[]){"restic", "backup", "--stdin", NULL}, input[0]);
	wait_for_locks(fixture, live, 1);
	pid_t other = start_restic(fixture, (const char *[]){"restic", "backup", "--stdin", NULL}, input[0]);
	wait_for_locks(fixture, other, 2);
	kill_restic(other);

	fixture_unlock_stale(fixture, &other, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->unlocked.own, 1);
	assert_int_equal(fixture->unlocked.removed, 1);
	assert_int_equal(fixture->unlocked.remaining, 1);
	cleanup_free char *who = xasprintf("shared, PID %ld on ", (long)live);
	assert_true(text_starts_with(fixture->first_lock, who));
	fixture_locks(fixture);
	assert_true(fixture->last_lock.alive);
	assert_false(fixture->last_lock.exclusive);

	/* Backups do not mind it; what needs the repository for itself does, and says who it is. */
	fixture_probe_locked(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
	fixture_prune(fixture, 0, NULL);
	assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
	assert_null(strstr(fixture->error.message, "exclusively"));

	assert_int_equal(waitpid(live, NULL, WNOHANG), 0);
	kill_restic(live);
	close(input[0]);
	close(input[1]);
}

/* Asked to end while it looks for a lock that was listed and is gone, 0.14 exits at once and leaves its own. A link
 * to nowhere is such a lock; it must come between restic's first look and its second, which may take a few tries. */
static void
test_ended_while_a_lock_vanishes(void **state)
{
	static const char unknown[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	const char *const ids[] = {unknown};
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	cleanup_free char *link = xasprintf("%s/repository/locks/%s", fixture->directory, unknown);
	const struct restic_listener listener = fixture_listener(fixture);
	bool met = false;
	fixture->on_words_stop = current->minor != 14;
	for (int tries = 0; tries < 20 && !met; tries++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		fixture_reset(fixture);
		fixture->call = restic_forget_start(
		    fixture->base, &fixture->settings, ids, 1, &listener, fixture_on_forget, &error);
		while (count_locks(fixture) == 0 && fixture->callbacks == 0)
			event_base_loop(fixture->base, EVLOOP_NONBLOCK);
		assert_int_equal(symlink("/nonexistent", link), 0);
		if (fixture->callbacks == 0)
			fixture_wait(fixture, &error);
		met = fixture->words.string != NULL && text_starts_with(fixture->words.string, "Load(<lock/");
		assert_int_equal(unlink(link), 0);
	}
	assert_true(met);
	assert_fixture_code(fixture, current->minor == 14 ? ERROR_RESTIC_KILLED : ERROR_CANCELLED);
	assert_true(restic_may_leave_lock(fixture->error.code));
	pid_t pid = fixture->spawned.pid;
	assert_int_equal(count_locks(fixture), current->minor == 14 ? 1 : 0);

	fixture->on_words_stop = false;
	fixture_unlock_stale(fixture, &pid, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->unlocked.own, current->minor == 14 ? 1 : 0);
	assert_int_equal(fixture->unlocked.remaining, 0);
	fixture_probe_locked(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    world_test(test_probe_meets_an_exclusive_lock),
	    world_test(test_probe_of_what_cannot_be_written),
	    world_test(test_a_live_lock_stays),
	    world_test(test_ended_while_a_lock_vanishes),
	};
	return world_run(tests);
}
