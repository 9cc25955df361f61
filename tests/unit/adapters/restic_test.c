/* The settings, the environment of a call, version, probe, init and listing, against a restic that plays
 * back. */
#include "tests/unit/adapters/restic_fake.h"

#include "core/clock.h"
#include "core/problem.h"

#include <signal.h>
#include <unistd.h>

#define ID "1dd6987d03fad3fd34eafbcdec5357601c808a4aeba7cc91b075e4c079111c75"

static const char config[] =
    "{\n  \"version\": 2,\n  \"id\": \"" ID "\",\n  \"chunker_polynomial\": \"2fc4df2b3cc09f\"\n}\n";

/* ---- how restic is called ---- */

static void
test_environment_is_ours(void **state)
{
	struct restic_fixture *fixture = *state;
	fixture->settings.environment_file = fixture_path(fixture, "envfile");
	fixture_write(fixture, "envfile",
	    "B2_ACCOUNT_KEY=from the file\nRESTIC_PACK_SIZE=64\nRESTIC_REST_USERNAME=bob\nTZ=Mars\n"
	    "RESTIC_REPOSITORY=/elsewhere\nRESTIC_REPOSITORY_FILE=/elsewhere\nRESTIC_PASSWORD=p\n"
	    "RESTIC_PASSWORD_COMMAND=c\nRESTIC_PASSWORD_FILE=/elsewhere\nRESTIC_CACHE_DIR=/elsewhere\n"
	    "RESTIC_PROGRESS_FPS=60\n");
	setenv("RESTIC_HOST", "left over", 1);
	setenv("SOME_SECRET", "left over", 1);
	restic_fake_plays(fixture, "cat-config", config, NULL, 0);
	fixture_probe(fixture);
	assert_fixture_code(fixture, ERROR_NONE);

	cleanup_free char *environment = fixture_read(fixture, "env");
	cleanup_free char *location = xasprintf("RESTIC_REPOSITORY_FILE=%s\n", fixture->settings.repository_file);
	cleanup_free char *password = xasprintf("RESTIC_PASSWORD_FILE=%s\n", fixture->settings.password_file);
	cleanup_free char *cache = xasprintf("RESTIC_CACHE_DIR=%s\n", fixture->settings.cache_directory);
	assert_non_null(strstr(environment, location));
	assert_non_null(strstr(environment, password));
	assert_non_null(strstr(environment, cache));
	assert_non_null(strstr(environment, "RESTIC_PROGRESS_FPS=2\n"));
	assert_non_null(strstr(environment, "B2_ACCOUNT_KEY=from the file\n"));
	assert_non_null(strstr(environment, "RESTIC_PACK_SIZE=64\n"));
	assert_non_null(strstr(environment, "RESTIC_REST_USERNAME=bob\n"));
	assert_non_null(strstr(environment, "TZ=Mars\n"));
	assert_null(strstr(environment, "elsewhere"));
	assert_null(strstr(environment, "left over"));
	assert_null(strstr(environment, "RESTIC_PASSWORD="));
	assert_null(strstr(environment, "RESTIC_PASSWORD_COMMAND="));
}

static void
test_no_secret_in_the_arguments(void **state)
{
	struct restic_fixture *fixture = *state;
	fixture_write(fixture, "location", "rest:https://bob:s3cret@host/\n");
	fixture->settings.upload_kib = 500;
	fixture->settings.download_kib = 700;
	restic_fake_plays(fixture, "cat-config", config, NULL, 0);
	fixture_probe(fixture);
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_string_equal(calls, "cat config --no-lock --json --limit-upload=500 --limit-download=700\n");
	cleanup_free char *words = restic_repository_words(&fixture->settings);
	assert_string_equal(words, "rest:https://bob:***@host/");
}

static void
test_bad_environment_file_starts_nothing(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture->settings.environment_file = fixture_path(fixture, "envfile");
	fixture_write(fixture, "envfile", "B2_ACCOUNT_KEY=\"open\n");
	assert_null(restic_probe_start(fixture->base, &fixture->settings, fixture_on_probe, fixture, &error));
	assert_int_equal(error.code, ERROR_SECRET);
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_string_equal(calls, "");
}

static void
test_missing_program(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	unlink(fixture->settings.program);
	assert_null(restic_probe_start(fixture->base, &fixture->settings, fixture_on_probe, fixture, &error));
	assert_int_equal(error.code, ERROR_RESTIC_MISSING);
	assert_non_null(error.hint);
	assert_null(restic_version(fixture->settings.program, &error));
	assert_int_equal(error.code, ERROR_RESTIC_MISSING);
}

/* ---- version ---- */

static void
test_version_is_asked_once(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	restic_fake_plays(
	    fixture, "version", "restic 0.18.1-dev (compiled manually) compiled with go1.24\n", NULL, 0);
	const char *version = restic_version(fixture->settings.program, &error);
	assert_string_equal(version, "0.18.1");
	assert_ptr_equal(restic_version(fixture->settings.program, &error), version);
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_string_equal(calls, "version\n");
}

static void
test_versions_that_will_not_do(void **state)
{
	static const struct {
		const char *out;
		int exit_code;
	} answers[] = {
	    {"restic 0.13.1 compiled with go1.17\n", 0},
	    {"restic 0.8 compiled\n", 0},
	    {"restic nonsense\n", 0},
	    {"restic \n", 0},
	    {"borg 1.2.3\n", 0},
	    {"\033[31mrestic 0.18.0", 0},
	    {"", 0},
	    {"restic 0.18.0 compiled with go1.24\n", 1},
	};
	struct restic_fixture *fixture = *state;
	for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		restic_fake_plays(fixture, "version", answers[i].out, NULL, answers[i].exit_code);
		assert_null(restic_version(fixture->settings.program, &error));
		assert_int_equal(error.code, ERROR_RESTIC_UNSUPPORTED);
		assert_true(text_is_printable(error.message));
		assert_non_null(error.hint);
	}
	/* A failure is not kept: it can be repaired while we run. */
	restic_fake_plays(fixture, "version", "restic 0.14.0 compiled with go1.19.8 on linux/amd64\n", NULL, 0);
	assert_string_equal(restic_version(fixture->settings.program, NULL), "0.14.0");
}

static void
test_version_at_least(void **state)
{
	(void)state;
	assert_true(restic_version_at_least("0.14.0", 0, 14));
	assert_true(restic_version_at_least("0.19.1", 0, 14));
	assert_true(restic_version_at_least("1.0.0", 0, 14));
	assert_false(restic_version_at_least("0.13.9", 0, 14));
	assert_false(restic_version_at_least("0.9", 0, 14));
	assert_false(restic_version_at_least("", 0, 14));
}

/* ---- probe and init ---- */

static void
test_probe_tells_the_id(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "cat-config", config, "unable to open cache: warning\n", 0);
	fixture_probe(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_string_equal(fixture->repository_id, ID);
}

static void
test_probe_that_takes_the_lock(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "cat-config", config, NULL, 0);
	fixture_probe_locked(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_string_equal(fixture->repository_id, ID);
	assert_true(fixture->spawned.pid > 0);
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_string_equal(calls, "cat config --json\n");

	restic_fake_plays(fixture, "cat-config", NULL,
	    "Fatal: unable to create lock in backend: write /r/locks/a-tmp-1: no space left on device\n", 1);
	fixture_probe_locked(fixture);
	assert_fixture_code(fixture, ERROR_REPOSITORY_FULL);
}

static void
test_probe_without_an_id_fails(void **state)
{
	static const char *const answers[] = {
	    "", "{}", "{\"id\":\"abc\"}", "{\"id\":7}", "[]", "{\"id\":\"" ID "\"", "junk\n{\"id\":\"" ID "\"}"};
	struct restic_fixture *fixture = *state;
	for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
		restic_fake_plays(fixture, "cat-config", answers[i], NULL, 0);
		fixture_probe(fixture);
		assert_fixture_code(fixture, ERROR_RESTIC_FAILED);
	}
}

static void
test_probe_fails_with_the_words(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "cat-config", config, "Fatal: wrong password or no key found\n", 1);
	fixture_probe(fixture);
	assert_fixture_code(fixture, ERROR_REPOSITORY_PASSWORD);
	assert_non_null(fixture->error.hint);
}

/* The reason comes last, however much came before it. */
static void
test_a_flood_of_words_keeps_its_end(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_text struct text flood = {.string = NULL};
	for (int i = 0; i < 20000; i++)
		text_printf(&flood, "Load(<config/>) returned error, retrying after %d.2s: EOF\n", i);
	text_add(&flood, "Fatal: config file has zero size\n");
	restic_fake_plays(fixture, "cat-config", NULL, flood.string, 1);
	fixture_probe(fixture);
	assert_fixture_code(fixture, ERROR_REPOSITORY_DAMAGED);
}

static void
test_init_asks_for_the_id(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "init", "created restic repository 1dd6987d03 at x\n\nPlease note\n", NULL, 0);
	restic_fake_plays(fixture, "cat-config", config, NULL, 0);
	fixture_init(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_string_equal(fixture->repository_id, ID);
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_string_equal(calls, "init --json\ncat config --no-lock --json\n");
}

static void
test_init_of_what_is_there(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(
	    fixture, "init", NULL, "Fatal: create repository at  failed: config file already exists\n", 1);
	fixture_init(fixture);
	assert_fixture_code(fixture, ERROR_USAGE);
}

/* ---- stopping ---- */

/* 0.14 would look for it for 15 minutes. */
static void
test_a_lock_that_vanishes_while_restic_looks(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "cat-config", NULL,
	    "Load(<lock/aaaaaaaaaa>, 0, 0) returned error, retrying after 552ms: open /r/locks/aa: no such file or "
	    "directory\n",
	    0);
	fixture_write(fixture, "cat-config.hang", "");
	fixture_probe_locked(fixture);
	assert_fixture_code(fixture, ERROR_RESTIC_KILLED);
	assert_int_equal(error_class_of(fixture->error.code), ERROR_CLASS_TRANSIENT);
	assert_non_null(strstr(fixture->error.message, "a lock that is gone"));
	assert_true(restic_may_leave_lock(fixture->error.code));
}

static void
test_which_endings_may_leave_a_lock(void **state)
{
	(void)state;
	assert_true(restic_may_leave_lock(ERROR_CANCELLED));
	assert_true(restic_may_leave_lock(ERROR_RESTIC_KILLED));
	assert_true(restic_may_leave_lock(ERROR_REPOSITORY_UNREACHABLE));
	assert_false(restic_may_leave_lock(ERROR_NONE));
	assert_false(restic_may_leave_lock(ERROR_REPOSITORY_LOCKED));
	assert_false(restic_may_leave_lock(ERROR_REPOSITORY_PASSWORD));
	assert_false(restic_may_leave_lock(ERROR_SOURCE_PARTLY_UNREADABLE));
}

static void
test_stop_calls_back_cancelled(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture_write(fixture, "cat-config.hang", "");
	fixture->call = restic_probe_start(fixture->base, &fixture->settings, fixture_on_probe, fixture, &error);
	assert_non_null(fixture->call);
	restic_call_stop(fixture->call);
	restic_call_stop(fixture->call);
	fixture_wait(fixture, &error);
	assert_fixture_code(fixture, ERROR_CANCELLED);
}

static void
test_abandon_never_calls_back(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture_write(fixture, "cat-config.hang", "");
	struct restic_call *call =
	    restic_probe_start(fixture->base, &fixture->settings, fixture_on_probe, fixture, &error);
	assert_non_null(call);
	restic_call_abandon(call);
	assert_int_equal(event_base_loop(fixture->base, EVLOOP_NONBLOCK), 1); /* no event is left */
	assert_int_equal(fixture->callbacks, 0);
}

/* ---- snapshots ---- */

#define SNAPSHOT(id, time, more)                                                                                     \
	"{\"time\":\"" time                                                                                          \
	"\",\"tree\":\"35cb\",\"paths\":[\"/srv/a\",\"/srv/b\"],\"hostname\":\"web1\",\"username\":"                 \
	"\"root\",\"id\":\"" id "\",\"short_id\":\"205b03ef\"" more "}"
#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void
test_snapshots_are_read_and_sorted(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "snapshots",
	    "[" SNAPSHOT(ID_B, "2026-11-23T12:00:00.5+02:00",
		",\"tags\":[\"service:web\",\"\\u001b[2J\"],\"summary\":{\"total_files_processed\":2,"
		"\"total_bytes_processed\":5,\"data_added\":2463,\"data_added_packed\":2007}") "," SNAPSHOT(ID_A,
		"2026-11-23T09:00:00Z", "") "]\n",
	    NULL, 0);
	fixture_list(fixture, "service:web");
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->snapshot_count, 2);
	const struct restic_snapshot *older = &fixture->snapshots[0], *newer = &fixture->snapshots[1];
	assert_string_equal(older->id, ID_A);
	assert_false(older->has_summary);
	assert_int_equal(strings_count(older->tags), 0);
	assert_string_equal(newer->id, ID_B);
	assert_int_equal(newer->time - older->time, USEC_PER_HOUR + 500 * USEC_PER_MSEC);
	assert_int_equal(older->zone_offset, 0);
	assert_int_equal(newer->zone_offset, 7200);
	assert_string_equal(newer->hostname, "web1");
	assert_string_equal(newer->paths[1], "/srv/b");
	assert_string_equal(newer->tags[1], "?[2J");
	assert_true(newer->has_summary);
	assert_int_equal(newer->files, 2);
	assert_int_equal(newer->bytes, 5);
	assert_int_equal(newer->bytes_added, 2007);
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_string_equal(calls, "snapshots --json --no-lock --tag=service:web\n");
}

static void
test_no_snapshots_is_an_empty_list(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "snapshots", "[]\n", NULL, 0);
	fixture_list(fixture, NULL);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->snapshot_count, 0);
}

/* "Nothing" and "I could not tell" are not the same. */
static void
test_a_listing_that_cannot_be_read_is_no_empty_list(void **state)
{
	static const char *const answers[] = {
	    "",
	    "null\n",
	    "{}\n",
	    "[",
	    "[7]\n",
	    "[{}]\n",
	    "[" SNAPSHOT(ID_A, "2026-11-23T09:00:00Z", ""),
	    "[" SNAPSHOT("205b03ef", "2026-11-23T09:00:00Z", "") "]\n",
	    "[" SNAPSHOT(ID_A, "yesterday", "") "]\n",
	    "[" SNAPSHOT(ID_A, "2026-11-23T09:00:00Z", ",\"tags\":\"a\"") "]\n",
	    "[" SNAPSHOT(ID_A, "2026-11-23T09:00:00Z", ",\"tags\":[1]") "]\n",
	    "[" SNAPSHOT(ID_A, "2026-11-23T09:00:00Z", ",\"summary\":{\"total_files_processed\":-1}") "]\n",
	    "[" SNAPSHOT(ID_A, "2026-11-23T09:00:00Z", "") "," SNAPSHOT(ID_B, "", "") "]\n",
	};
	struct restic_fixture *fixture = *state;
	for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
		restic_fake_plays(fixture, "snapshots", answers[i], NULL, 0);
		fixture_list(fixture, NULL);
		assert_fixture_code(fixture, ERROR_RESTIC_FAILED);
		assert_int_equal(fixture->snapshot_count, 0);
	}
	restic_fake_plays(fixture, "snapshots", "[]\n", "Fatal: unable to open config file: i/o timeout\n", 1);
	fixture_list(fixture, NULL);
	assert_fixture_code(fixture, ERROR_REPOSITORY_UNREACHABLE);
}

static void
test_a_listing_of_many_megabytes(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_text struct text listing = {.string = NULL};
	text_add(&listing, "[");
	for (int i = 0; i < 20000; i++)
		text_printf(&listing,
		    "%s{\"time\":\"2026-11-23T09:00:00Z\",\"hostname\":\"web1\",\"id\":\"%064x\",\"tags\":"
		    "[\"%0200d\"]}",
		    i == 0 ? "" : ",", (unsigned)i, 0);
	text_add(&listing, "]\n");
	assert_true(listing.length > 6000000);
	restic_fake_plays(fixture, "snapshots", listing.string, NULL, 0);
	fixture_list(fixture, NULL);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->snapshot_count, 20000);
}

/* ---- secrets ---- */

static void
assert_one_problem(const struct restic_fixture *fixture, const char *part)
{
	cleanup_problems struct problem_list problems = {.items = NULL};
	restic_check_secrets(&fixture->settings, &problems);
	assert_int_equal(problems.count, 1);
	assert_int_equal(problems.items[0].severity, PROBLEM_ERROR);
	assert_non_null(problems.items[0].place);
	assert_non_null(problems.items[0].remedy);
	if (strstr(problems.items[0].message, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", problems.items[0].message, part);
	assert_null(strstr(problems.items[0].message, "s3cret"));
}

static void
test_good_secrets(void **state)
{
	struct restic_fixture *fixture = *state;
	static const char *const good[] = {"/srv/repo", "local:/srv/repo", "rest:https://bob:s3cret@h/\n",
	    "s3:https://h/b", "b2:bucket:path", "sftp:bob@h:/r", "rclone:remote:path", "  /srv/repo \n\n"};
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
		cleanup_problems struct problem_list problems = {.items = NULL};
		fixture_write(fixture, "location", good[i]);
		restic_check_secrets(&fixture->settings, &problems);
		assert_int_equal(problems.count, 0);
	}
}

static void
test_bad_locations(void **state)
{
	static const struct {
		const char *content;
		const char *part;
	} bad[] = {
	    {"", "empty"},
	    {" \n\t", "empty"},
	    {"srv/repo", "neither"},
	    {"local:repo", "neither"},
	    {"ftp://bob:s3cret@h/", "neither"},
	    {"/srv/repo\n/srv/other\n", "one line"},
	    {"/srv/\033[2J", "one line"},
	    {"/srv/\xff", "one line"},
	};
	struct restic_fixture *fixture = *state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		fixture_write(fixture, "location", bad[i].content);
		assert_one_problem(fixture, bad[i].part);
	}
	fixture_write_bytes(fixture, "location", "/srv\0x", 6);
	assert_one_problem(fixture, "NUL");
	unlink(fixture->settings.repository_file);
	assert_one_problem(fixture, "location");
	assert_null(restic_repository_words(&fixture->settings));
}

static void
test_a_location_is_secret_if_a_password_is_in_it(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_problems struct problem_list problems = {.items = NULL};
	assert_int_equal(chmod(fixture->settings.repository_file, 0644), 0);
	restic_check_secrets(&fixture->settings, &problems);
	assert_int_equal(problems.count, 0);
	fixture_write(fixture, "location", "rest:https://bob:s3cret@h/");
	assert_int_equal(chmod(fixture->settings.repository_file, 0644), 0);
	assert_one_problem(fixture, "can be read by others");
	fixture_write(fixture, "location", "/srv/repo");
	assert_int_equal(chmod(fixture->settings.repository_file, 0666), 0);
	assert_one_problem(fixture, "can be written by others");
}

static void
test_bad_passwords(void **state)
{
	struct restic_fixture *fixture = *state;
	fixture_write(fixture, "password", "\n");
	assert_one_problem(fixture, "empty");
	fixture_write(fixture, "password", "s3cret");
	assert_int_equal(chmod(fixture->settings.password_file, 0640), 0);
	assert_one_problem(fixture, "can be read by others");
	unlink(fixture->settings.password_file);
	assert_one_problem(fixture, "password");
}

static void
test_environment_file_problems(void **state)
{
	struct restic_fixture *fixture = *state;
	fixture->settings.environment_file = fixture_path(fixture, "envfile");
	assert_one_problem(fixture, "envfile");
	fixture_write(fixture, "envfile", "A=1\ns3cret\n");
	assert_one_problem(fixture, "line 2");

	cleanup_problems struct problem_list problems = {.items = NULL};
	fixture_write(fixture, "envfile", "RESTIC_PASSWORD=s3cret\nRESTIC_REPOSITORY=/r\nRESTIC_PACK_SIZE=64\n");
	restic_check_secrets(&fixture->settings, &problems);
	assert_int_equal(problems.count, 2);
	for (size_t i = 0; i < problems.count; i++) {
		assert_int_equal(problems.items[i].severity, PROBLEM_WARNING);
		assert_null(strstr(problems.items[i].message, "s3cret"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    restic_fake_test(test_environment_is_ours),
	    restic_fake_test(test_no_secret_in_the_arguments),
	    restic_fake_test(test_bad_environment_file_starts_nothing),
	    restic_fake_test(test_missing_program),
	    restic_fake_test(test_version_is_asked_once),
	    restic_fake_test(test_versions_that_will_not_do),
	    cmocka_unit_test(test_version_at_least),
	    restic_fake_test(test_probe_tells_the_id),
	    restic_fake_test(test_probe_that_takes_the_lock),
	    restic_fake_test(test_probe_without_an_id_fails),
	    restic_fake_test(test_probe_fails_with_the_words),
	    restic_fake_test(test_a_flood_of_words_keeps_its_end),
	    restic_fake_test(test_init_asks_for_the_id),
	    restic_fake_test(test_init_of_what_is_there),
	    restic_fake_test(test_a_lock_that_vanishes_while_restic_looks),
	    cmocka_unit_test(test_which_endings_may_leave_a_lock),
	    restic_fake_test(test_stop_calls_back_cancelled),
	    restic_fake_test(test_abandon_never_calls_back),
	    restic_fake_test(test_snapshots_are_read_and_sorted),
	    restic_fake_test(test_no_snapshots_is_an_empty_list),
	    restic_fake_test(test_a_listing_that_cannot_be_read_is_no_empty_list),
	    restic_fake_test(test_a_listing_of_many_megabytes),
	    restic_fake_test(test_good_secrets),
	    restic_fake_test(test_bad_locations),
	    restic_fake_test(test_a_location_is_secret_if_a_password_is_in_it),
	    restic_fake_test(test_bad_passwords),
	    restic_fake_test(test_environment_file_problems),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
