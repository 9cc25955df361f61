/* prune and the repair of the index: how they are called, and what their endings mean. */
#include "tests/unit/adapters/restic_fake.h"

#include "core/clock.h"

static void
test_prune(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "prune",
	    "loading indexes...\n[0:00] 100.00%  2 / 2 packs processed\n\nto delete: 3 blobs / 677 B\n",
	    "a warning\n", 0);
	fixture_prune(fixture, UINT64_C(5) << 30, "10%");
	assert_fixture_code(fixture, ERROR_NONE);
	assert_true(fixture->spawned.pid > 0);
	assert_non_null(strstr(fixture->words.string, "loading indexes...|to delete: 3 blobs / 677 B|"));
	assert_non_null(strstr(fixture->words.string, "a warning|"));
	fixture_prune(fixture, 0, NULL);
	assert_fixture_code(fixture, ERROR_NONE);
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_string_equal(calls, "prune --max-repack-size=5368709120 --max-unused=10%\nprune\n");
}

static void
test_endings(void **state)
{
	static const struct {
		int exit_code;
		const char *words;
		enum error_code code;
	} endings[] = {
	    {11, "", ERROR_REPOSITORY_LOCKED},
	    {1, "unable to create lock in backend: repository is already locked by PID 7 on h\n",
		ERROR_REPOSITORY_LOCKED},
	    {1, "Fatal: write /r/data/aa-tmp-1: no space left on device\n", ERROR_REPOSITORY_FULL},
	    {1, "Fatal: packs from index missing in repo\n", ERROR_REPOSITORY_DAMAGED},
	    {1, "unknown flag: --max-unused\n", ERROR_RESTIC_UNSUPPORTED},
	    {3, "failed to remove\n", ERROR_RESTIC_FAILED},
	    {1, "", ERROR_RESTIC_FAILED},
	};
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "version", "restic 0.18.0 compiled with go1.24\n", NULL, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(endings); i++) {
		restic_fake_plays(fixture, "prune", NULL, endings[i].words, endings[i].exit_code);
		fixture_prune(fixture, 1, NULL);
		assert_fixture_code(fixture, endings[i].code);
		assert_non_null(fixture->error.hint);
		restic_fake_plays(fixture, "repair", NULL, endings[i].words, endings[i].exit_code);
		fixture_repair_index(fixture);
		assert_fixture_code(fixture, endings[i].code);
	}
}

/* The way a caller bounds its time. */
static void
test_prune_is_stopped(void **state)
{
	struct restic_fixture *fixture = *state;
	fixture_write(fixture, "prune.hang", "");
	restic_fake_plays(fixture, "prune", "loading indexes...\n", NULL, 0);
	fixture->on_words_stop = true;
	fixture_prune(fixture, 1, NULL);
	assert_fixture_code(fixture, ERROR_CANCELLED);
}

static void
assert_repairs_with(struct restic_fixture *fixture, const char *version, const char *call)
{
	restic_fake_plays(fixture, "version", version, NULL, 0);
	fixture_repair_index(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_string_equal(calls, call);
}

static void
test_repair_of_today(void **state)
{
	assert_repairs_with(*state, "restic 0.16.0 compiled with go1.20\n", "version\nrepair index\n");
}

static void
test_repair_of_old(void **state)
{
	assert_repairs_with(*state, "restic 0.15.2 compiled with go1.20\n", "version\nrebuild-index\n");
}

static void
test_no_version_no_repair(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	const struct restic_listener listener = {.context = fixture};
	restic_fake_plays(fixture, "version", "nonsense\n", NULL, 0);
	assert_null(restic_repair_index_start(fixture->base, &fixture->settings, &listener, fixture_on_done, &error));
	assert_int_equal(error.code, ERROR_RESTIC_UNSUPPORTED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    restic_fake_test(test_prune),
	    restic_fake_test(test_endings),
	    restic_fake_test(test_prune_is_stopped),
	    restic_fake_test(test_repair_of_today),
	    restic_fake_test(test_repair_of_old),
	    restic_fake_test(test_no_version_no_repair),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
