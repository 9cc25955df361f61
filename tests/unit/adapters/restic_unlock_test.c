/* When `unlock` is run, and above all when it is not. */
#include "tests/unit/adapters/restic_fake.h"

#include "core/clock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* A pid that nobody has: of a process that has just ended. */
static pid_t
dead_pid(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return pid;
}

static void
play_lock(const struct restic_fixture *fixture, const char *id, const char *hostname, pid_t pid, int64_t age)
{
	char machine[256] = "";
	gethostname(machine, sizeof(machine) - 1);
	cleanup_free char *time = text_time_rfc3339(clock_wall(clock_system()) - age);
	cleanup_free char *key = xasprintf("cat-lock-%s", id);
	cleanup_free char *lock =
	    xasprintf("{\n  \"time\": \"%s\",\n  \"exclusive\": false,\n  \"hostname\": \"%s\",\n  "
		      "\"username\": \"root\",\n  \"pid\": %ld\n}\n",
		time, hostname == NULL ? machine : hostname, (long)pid);
	restic_fake_plays(fixture, key, lock, NULL, 0);
}

static bool
unlock_was_run(const struct restic_fixture *fixture)
{
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_null(strstr(calls, "--remove-all"));
	return strstr(calls, "\nunlock\n") != NULL;
}

static void
test_our_dead_process(void **state)
{
	struct restic_fixture *fixture = *state;
	pid_t pids[] = {dead_pid(), dead_pid()};
	restic_fake_plays(fixture, "list", "warming up\n" ID_A "\n" ID_B "\n", NULL, 0);
	play_lock(fixture, ID_A, "elsewhere", pids[1], 0);
	play_lock(fixture, ID_B, NULL, pids[1], 0);
	fixture_unlock(fixture, pids, 2);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->locks_found, 1);
	assert_true(unlock_was_run(fixture));
}

static void
test_no_locks(void **state)
{
	struct restic_fixture *fixture = *state;
	pid_t pid = dead_pid();
	restic_fake_plays(fixture, "list", NULL, NULL, 0);
	fixture_unlock(fixture, &pid, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->locks_found, 0);
	assert_false(unlock_was_run(fixture));
}

static void
test_locks_of_others(void **state)
{
	struct restic_fixture *fixture = *state;
	pid_t pids[] = {dead_pid(), dead_pid()};
	restic_fake_plays(fixture, "list", ID_A "\n" ID_B "\n", NULL, 0);
	play_lock(fixture, ID_A, "elsewhere", pids[0], 0); /* our pid on another machine */
	play_lock(fixture, ID_B, NULL, pids[1], 0);        /* our machine, somebody else's pid */
	fixture_unlock(fixture, pids, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->locks_found, 0);
	assert_false(unlock_was_run(fixture));
}

/* restic would send SIGHUP to whoever has the pid now. */
static void
test_a_pid_that_was_given_to_another_program(void **state)
{
	struct restic_fixture *fixture = *state;
	pid_t innocent = fork();
	if (innocent == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when an assertion ends this test early */
		execlp("sleep", "sleep", "1000", (char *)NULL);
		_exit(127);
	}
	pid_t ours = dead_pid();
	pid_t pids[] = {innocent, ours};

	restic_fake_plays(fixture, "list", ID_A "\n", NULL, 0);
	play_lock(fixture, ID_A, NULL, innocent, 0);
	fixture_unlock(fixture, pids, 1);
	assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
	assert_non_null(fixture->error.hint);
	assert_int_equal(fixture->locks_found, 1);
	assert_false(unlock_was_run(fixture));

	/* The same with a lock that is not ours beside one that is. */
	restic_fake_plays(fixture, "list", ID_A "\n" ID_B "\n", NULL, 0);
	play_lock(fixture, ID_B, NULL, ours, 0);
	fixture_unlock(fixture, &ours, 1);
	assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
	assert_false(unlock_was_run(fixture));

	/* After 30 minutes restic asks nobody. */
	play_lock(fixture, ID_A, NULL, innocent, 32 * USEC_PER_MIN);
	fixture_unlock(fixture, pids, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_true(unlock_was_run(fixture));

	kill(innocent, SIGKILL);
	waitpid(innocent, NULL, 0);
}

static void
test_a_lock_that_went_away_meanwhile(void **state)
{
	struct restic_fixture *fixture = *state;
	pid_t pid = dead_pid();
	restic_fake_plays(fixture, "list", ID_A "\n" ID_B "\n", NULL, 0);
	restic_fake_plays(fixture, "cat-lock-" ID_A, NULL, "open /r/locks/aa: no such file or directory\n", 1);
	play_lock(fixture, ID_B, NULL, pid, 0);
	fixture_unlock(fixture, &pid, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_true(unlock_was_run(fixture));
}

/* 0.14 does not give up by itself for 15 minutes. */
static void
test_a_lock_that_is_looked_for_again_and_again(void **state)
{
	struct restic_fixture *fixture = *state;
	pid_t pid = dead_pid();
	restic_fake_plays(fixture, "list", ID_A "\n" ID_B "\n", NULL, 0);
	restic_fake_plays(fixture, "cat-lock-" ID_A, NULL,
	    "Load(<lock/aaaaaaaaaa>, 0, 0) returned error, retrying after 552.330144ms: open /r/locks/aa: no such "
	    "file or "
	    "directory\n",
	    0);
	fixture_write(fixture, "cat-lock-" ID_A ".hang", "");
	play_lock(fixture, ID_B, NULL, pid, 0);
	fixture_unlock(fixture, &pid, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->locks_found, 1);
	assert_true(unlock_was_run(fixture));
}

static void
test_a_lock_that_cannot_be_understood(void **state)
{
	static const char *const locks[] = {"", "{}", "[]", "{\"hostname\":\"h\",\"pid\":4294967297,\"time\":\"x\"}"};
	struct restic_fixture *fixture = *state;
	pid_t pid = dead_pid();
	restic_fake_plays(fixture, "list", ID_A "\n" ID_B "\n", NULL, 0);
	play_lock(fixture, ID_B, NULL, pid, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(locks); i++) {
		restic_fake_plays(fixture, "cat-lock-" ID_A, locks[i], NULL, 0);
		fixture_unlock(fixture, &pid, 1);
		assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
		assert_false(unlock_was_run(fixture));
	}
}

static void
test_failures_on_the_way(void **state)
{
	struct restic_fixture *fixture = *state;
	pid_t pid = dead_pid();
	restic_fake_plays(fixture, "list", NULL, "Fatal: wrong password or no key found\n", 12);
	fixture_unlock(fixture, &pid, 1);
	assert_fixture_code(fixture, ERROR_REPOSITORY_PASSWORD);

	restic_fake_plays(fixture, "list", ID_A "\n", NULL, 0);
	restic_fake_plays(fixture, "cat-lock-" ID_A, NULL, "Fatal: connection refused\n", 1);
	fixture_unlock(fixture, &pid, 1);
	assert_fixture_code(fixture, ERROR_REPOSITORY_UNREACHABLE);
	assert_false(unlock_was_run(fixture));

	play_lock(fixture, ID_A, NULL, pid, 0);
	restic_fake_plays(fixture, "unlock", NULL, "Fatal: permission denied\n", 1);
	fixture_unlock(fixture, &pid, 1);
	assert_fixture_code(fixture, ERROR_REPOSITORY_RIGHTS);
	assert_int_equal(fixture->locks_found, 1);
}

/* ---- any dead holder ---- */

static pid_t
start_program(const char *path)
{
	int running[2];
	assert_int_equal(pipe2(running, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when an assertion ends this test early */
		execlp(path, path, "1000", (char *)NULL);
		_exit(127);
	}
	close(running[1]);
	char byte;
	assert_int_equal(read(running[0], &byte, 1), 0); /* closed by exec */
	close(running[0]);
	return pid;
}

static void
end_program(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void
test_stale_locks_of_anybody(void **state)
{
	struct restic_fixture *fixture = *state;
	pid_t pids[] = {dead_pid()};
	restic_fake_plays(fixture, "list", ID_A "\n" ID_B "\n" ID_C "\n", NULL, 0);
	fixture_write(fixture, "list.after", ID_C "\n");
	play_lock(fixture, ID_A, "elsewhere", 1, 31 * USEC_PER_MIN);
	play_lock(fixture, ID_B, NULL, pids[0], 0);
	play_lock(fixture, ID_C, "elsewhere", 4711, 3 * USEC_PER_MIN);
	fixture_unlock_stale(fixture, pids, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_true(unlock_was_run(fixture));
	assert_int_equal(fixture->unlocked.own, 1);
	assert_int_equal(fixture->unlocked.removed, 2);
	assert_int_equal(fixture->unlocked.remaining, 1);
	assert_true(text_starts_with(fixture->first_lock, "shared, PID 4711 on elsewhere by root, since 20"));
	assert_non_null(strstr(fixture->first_lock, "(3 min"));
}

static void
test_nothing_stale(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "list", NULL, NULL, 0);
	fixture_unlock_stale(fixture, NULL, 0);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->unlocked.remaining, 0);

	restic_fake_plays(fixture, "list", ID_A "\n", NULL, 0);
	play_lock(fixture, ID_A, "elsewhere", 4711, 29 * USEC_PER_MIN);
	fixture_unlock_stale(fixture, NULL, 0);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->unlocked.remaining, 1);
	assert_int_equal(fixture->unlocked.removed, 0);
	assert_false(unlock_was_run(fixture));
}

/* A live restic of this host minds no SIGHUP, and restic leaves its lock alone. */
static void
test_a_live_restic_keeps_its_lock(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_free char *restic = fixture_path(fixture, "restic-0.18");
	assert_int_equal(symlink("/bin/sleep", restic), 0);
	pid_t live = start_program(restic);
	restic_fake_plays(fixture, "list", ID_A "\n" ID_B "\n", NULL, 0);
	fixture_write(fixture, "list.after", ID_A "\n");
	play_lock(fixture, ID_A, NULL, live, 0);
	play_lock(fixture, ID_B, NULL, dead_pid(), 0);
	fixture_unlock_stale(fixture, NULL, 0);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_true(unlock_was_run(fixture));
	assert_int_equal(fixture->unlocked.removed, 1);
	assert_int_equal(fixture->unlocked.remaining, 1);
	end_program(live);
}

/* A wrapper that is called like restic is none: it would die of the SIGHUP. */
static void
test_stale_with_an_innocent_process(void **state)
{
	static const char *const names[] = {"sleep", "resticprofile", "my-restic"};
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "list", ID_A "\n" ID_B "\n", NULL, 0);
	play_lock(fixture, ID_A, NULL, dead_pid(), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		cleanup_free char *program = fixture_path(fixture, names[i]);
		assert_int_equal(symlink("/bin/sleep", program), 0);
		pid_t innocent = start_program(program);
		play_lock(fixture, ID_B, NULL, innocent, USEC_PER_MIN);
		fixture_unlock_stale(fixture, NULL, 0);
		assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
		assert_non_null(strstr(fixture->error.message, "another program"));
		assert_non_null(fixture->error.hint);
		assert_false(unlock_was_run(fixture));
		assert_int_equal(fixture->unlocked.remaining, 2);
		assert_int_equal(fixture->unlocked.removed, 0);
		end_program(innocent);
	}
}

static void
test_stale_failures_on_the_way(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "list", NULL, "Fatal: connection refused\n", 1);
	fixture_unlock_stale(fixture, NULL, 0);
	assert_fixture_code(fixture, ERROR_REPOSITORY_UNREACHABLE);
	assert_int_equal(fixture->unlocked.remaining, 0);

	restic_fake_plays(fixture, "list", ID_A "\n", NULL, 0);
	play_lock(fixture, ID_A, NULL, dead_pid(), 0);
	restic_fake_plays(fixture, "unlock", NULL, "Fatal: permission denied\n", 1);
	fixture_unlock_stale(fixture, NULL, 0);
	assert_fixture_code(fixture, ERROR_REPOSITORY_RIGHTS);
	assert_int_equal(fixture->unlocked.remaining, 1);
	assert_int_equal(fixture->unlocked.removed, 0);
}

/* 0.14 would look for it for 15 minutes; it is begun again, but not for ever. */
static void
test_a_lock_that_vanishes_from_under_unlock(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "list", ID_A "\n", NULL, 0);
	play_lock(fixture, ID_A, NULL, dead_pid(), 0);
	restic_fake_plays(fixture, "unlock", NULL,
	    "Load(<lock/aaaaaaaaaa>, 0, 0) returned error, retrying after 552ms: open /r/locks/aa: no such file or "
	    "directory\n",
	    0);
	fixture_write(fixture, "unlock.hang", "");
	fixture_unlock_stale(fixture, NULL, 0);
	assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
	cleanup_free char *calls = fixture_read(fixture, "calls");
	size_t count = 0;
	for (const char *at = calls; (at = strstr(at, "unlock\n")) != NULL; at++)
		count++;
	assert_int_equal(count, 5);
}

/* ---- the listing ---- */

static void
test_locks_are_listed(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "list", ID_A "\n" ID_B "\n" ID_C "\n", NULL, 0);
	play_lock(fixture, ID_A, NULL, getpid(), 0);
	restic_fake_plays(fixture, "cat-lock-" ID_B,
	    "{\"time\":\"2026-11-23T09:00:00.5Z\",\"exclusive\":true,"
	    "\"hostname\":\"\\u001b[2J\",\"username\":\"bob\",\"pid\":77}\n",
	    NULL, 0);
	restic_fake_plays(fixture, "cat-lock-" ID_C, "junk\n", NULL, 0);
	fixture_locks(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(strings_count(fixture->lock_words), 3);
	/* Oldest first; what cannot be understood has no time. */
	assert_string_equal(fixture->lock_words[0], "lock cccccccc, which cannot be understood");
	assert_true(text_starts_with(fixture->lock_words[1], "exclusive, PID 77 on ?[2J by bob, since 2026-11-23T"));
	assert_true(text_starts_with(fixture->lock_words[2], "shared, PID "));
	assert_true(fixture->last_lock.this_host);
	assert_true(fixture->last_lock.alive);
	assert_int_equal(fixture->last_lock.pid, getpid());

	play_lock(fixture, ID_A, NULL, dead_pid(), 0);
	fixture_locks(fixture);
	assert_true(fixture->last_lock.this_host);
	assert_false(fixture->last_lock.alive);

	restic_fake_plays(fixture, "list", NULL, "Fatal: wrong password or no key found\n", 12);
	fixture_locks(fixture);
	assert_fixture_code(fixture, ERROR_REPOSITORY_PASSWORD);
	assert_null(fixture->lock_words);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    restic_fake_test(test_our_dead_process),
	    restic_fake_test(test_no_locks),
	    restic_fake_test(test_locks_of_others),
	    restic_fake_test(test_a_pid_that_was_given_to_another_program),
	    restic_fake_test(test_a_lock_that_went_away_meanwhile),
	    restic_fake_test(test_a_lock_that_is_looked_for_again_and_again),
	    restic_fake_test(test_a_lock_that_cannot_be_understood),
	    restic_fake_test(test_failures_on_the_way),
	    restic_fake_test(test_stale_locks_of_anybody),
	    restic_fake_test(test_nothing_stale),
	    restic_fake_test(test_a_live_restic_keeps_its_lock),
	    restic_fake_test(test_stale_with_an_innocent_process),
	    restic_fake_test(test_stale_failures_on_the_way),
	    restic_fake_test(test_a_lock_that_vanishes_from_under_unlock),
	    restic_fake_test(test_locks_are_listed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
