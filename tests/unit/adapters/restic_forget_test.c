/* Snapshots are forgotten by id, in batches, and a listing says that they are gone unless restic has left no doubt.
 */
#include "tests/unit/adapters/restic_fake.h"

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ID_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

#define SNAPSHOT(id) "{\"time\":\"2026-11-23T09:00:00Z\",\"hostname\":\"web1\",\"id\":\"" id "\"}"

static const char *const both[] = {ID_B, ID_A};

static void
test_gone(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "forget", "[0:00] 100.00%  2 / 2 files deleted\n\n", "Ignoring nothing\n", 0);
	restic_fake_plays(fixture, "snapshots", "[" SNAPSHOT(ID_C) "]\n", NULL, 0);
	fixture_forget(fixture, both, 2);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_true(fixture->forgotten.verified);
	assert_int_equal(fixture->forgotten.gone, 2);
	assert_int_equal(fixture->forgotten.remaining, 0);
	assert_true(fixture->spawned.pid > 0);
	assert_string_equal(fixture->words.string, "Ignoring nothing|");
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_string_equal(calls, "forget " ID_A " " ID_B "\nsnapshots --json --no-lock\n");
}

/* No word of complaint, and it has counted: nothing is left to look for. */
static void
test_no_doubt(void **state)
{
	static const struct {
		const char *output, *complaint;
		bool doubt;
	} cases[] = {
	    {"[0:00] 0.00%  0 / 2 files deleted\n[0:00] 100.00%  2 / 2 files deleted\n\n", NULL, false},
	    {"[0:00] 100.00%  2 / 2 files deleted\n", "warning\n", true},
	    {"[0:00] 100.00%  1 / 1 files deleted\n", NULL, true},
	    {"[0:00] 50.00%  1 / 2 files deleted\n", NULL, true},
	    {"[0:00] 100.00%  2 / 2 files found\n", NULL, true},
	    {"2 / 2 files deleted\n", NULL, true},
	    {"", NULL, true},
	};
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "snapshots", "[" SNAPSHOT(ID_C) "]\n", NULL, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		fixture_write(fixture, "calls", "");
		restic_fake_plays(fixture, "forget", cases[i].output, cases[i].complaint, 0);
		fixture_forget(fixture, both, 2);
		assert_fixture_code(fixture, ERROR_NONE);
		assert_int_equal(fixture->forgotten.verified, cases[i].doubt);
		assert_int_equal(fixture->forgotten.gone, 2);
		cleanup_free char *calls = fixture_read(fixture, "calls");
		assert_int_equal(strstr(calls, "snapshots") != NULL, cases[i].doubt);
	}
}

/* 0.18 says so on stderr only. */
static void
test_exit_0_and_still_there(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "forget", NULL,
	    "unable to remove <snapshot/bbbbbbbbbb> from the repository: unexpected HTTP response (403): 403 "
	    "Forbidden\n",
	    0);
	restic_fake_plays(fixture, "snapshots", "[" SNAPSHOT(ID_C) "," SNAPSHOT(ID_B) "]\n", NULL, 0);
	fixture_forget(fixture, both, 2);
	assert_fixture_code(fixture, ERROR_REPOSITORY_RIGHTS);
	assert_true(text_starts_with(fixture->error.message, "1 of 2 snapshots could not be removed: "));
	assert_true(fixture->forgotten.verified);
	assert_int_equal(fixture->forgotten.gone, 1);
	assert_int_equal(fixture->forgotten.remaining, 1);

	restic_fake_plays(fixture, "forget", NULL, NULL, 0);
	fixture_forget(fixture, both, 2);
	assert_fixture_code(fixture, ERROR_RESTIC_FAILED);
	assert_true(text_starts_with(fixture->error.message, "1 of 2 snapshots could not be removed: "));
	assert_non_null(fixture->error.hint);
}

/* 0.19 exits with 3, which means sources to a backup. */
static void
test_exit_3_is_not_about_sources(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "forget", NULL,
	    "unable to remove <snapshot/bbbbbbbbbb> from the repository: permission denied\n", 3);
	restic_fake_plays(fixture, "snapshots", "[" SNAPSHOT(ID_B) "]\n", NULL, 0);
	fixture_forget(fixture, both, 2);
	assert_fixture_code(fixture, ERROR_REPOSITORY_RIGHTS);
	assert_true(text_starts_with(fixture->error.message, "1 of 2 snapshots could not be removed: "));
}

static void
test_locked(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(
	    fixture, "forget", NULL, "repository is already locked by PID 7 on h by u (UID 0, GID 0)\n", 11);
	fixture_forget(fixture, both, 2);
	assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
	assert_non_null(strstr(fixture->error.message, "by PID 7 on h by u"));
	assert_false(fixture->forgotten.verified);
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_null(strstr(calls, "snapshots"));
}

static void
test_not_verified(void **state)
{
	static const char *const listings[] = {"", "[{}]\n", "[" SNAPSHOT(ID_C)};
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "forget", NULL, NULL, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(listings); i++) {
		restic_fake_plays(fixture, "snapshots", listings[i], NULL, 0);
		fixture_forget(fixture, both, 2);
		assert_fixture_code(fixture, ERROR_RESTIC_FAILED);
		assert_false(fixture->forgotten.verified);
		assert_int_equal(fixture->forgotten.gone + fixture->forgotten.remaining, 0);
	}
	restic_fake_plays(fixture, "snapshots", "[]\n", "connection refused\n", 1);
	fixture_forget(fixture, both, 2);
	assert_fixture_code(fixture, ERROR_REPOSITORY_UNREACHABLE);
	assert_false(fixture->forgotten.verified);
}

/* Whatever the listing shows: restic said that something went wrong. */
static void
test_a_failure_stays_one(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "forget", NULL, "Fatal: something else\n", 1);
	restic_fake_plays(fixture, "snapshots", "[]\n", NULL, 0);
	fixture_forget(fixture, both, 2);
	assert_fixture_code(fixture, ERROR_RESTIC_FAILED);
	assert_int_equal(fixture->forgotten.gone, 2);
}

static void
test_batches(void **state)
{
	struct restic_fixture *fixture = *state;
	size_t count = 1201;
	cleanup_strings char **ids = xcalloc(count + 1, sizeof(*ids));
	for (size_t i = 0; i < count; i++)
		ids[i] = xasprintf("%064zx", i);
	restic_fake_plays(fixture, "forget", NULL, NULL, 0);
	restic_fake_plays(fixture, "snapshots", "[]\n", NULL, 0);
	fixture_forget(fixture, (const char *const *)ids, count);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->forgotten.gone, count);

	cleanup_free char *calls = fixture_read(fixture, "calls");
	size_t processes = 0, given = 0;
	for (const char *at = calls; (at = strstr(at, "forget ")) != NULL; at++)
		processes++;
	for (size_t i = 0; i < count; i++)
		given += strstr(calls, ids[i]) != NULL;
	assert_int_equal(processes, 3);
	assert_int_equal(given, count);

	/* The first that fails is the last. */
	fixture_write(fixture, "calls", "");
	restic_fake_plays(fixture, "forget", NULL, "repository is already locked by PID 7 on h\n", 11);
	fixture_forget(fixture, (const char *const *)ids, count);
	assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
	cleanup_free char *again = fixture_read(fixture, "calls");
	assert_null(strstr(strstr(again, "forget ") + 1, "forget "));
}

static void
test_only_full_ids(void **state)
{
	static const char *const bad[] = {"", "abcd1234", "latest", ID_A "a", "--prune", ID_A " "};
	struct restic_fixture *fixture = *state;
	const struct restic_listener listener = fixture_listener(fixture);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		const char *const ids[] = {ID_A, bad[i]};
		assert_null(restic_forget_start(
		    fixture->base, &fixture->settings, ids, 2, &listener, fixture_on_forget, &error));
		assert_int_equal(error.code, ERROR_INTERNAL);
	}
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_null(
	    restic_forget_start(fixture->base, &fixture->settings, both, 0, &listener, fixture_on_forget, &error));
	assert_int_equal(error.code, ERROR_INTERNAL);
}

static void
test_stopped(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	const struct restic_listener listener = fixture_listener(fixture);
	fixture_write(fixture, "forget.hang", "");
	fixture->call =
	    restic_forget_start(fixture->base, &fixture->settings, both, 2, &listener, fixture_on_forget, &error);
	restic_call_stop(fixture->call);
	fixture_wait(fixture, &error);
	assert_fixture_code(fixture, ERROR_CANCELLED);
	assert_true(restic_may_leave_lock(fixture->error.code));
	assert_false(fixture->forgotten.verified);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    restic_fake_test(test_gone),
	    restic_fake_test(test_no_doubt),
	    restic_fake_test(test_exit_0_and_still_there),
	    restic_fake_test(test_exit_3_is_not_about_sources),
	    restic_fake_test(test_locked),
	    restic_fake_test(test_not_verified),
	    restic_fake_test(test_a_failure_stays_one),
	    restic_fake_test(test_batches),
	    restic_fake_test(test_only_full_ids),
	    restic_fake_test(test_stopped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
