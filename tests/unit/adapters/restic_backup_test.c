/* The verdict over a backup, against a restic that plays back what 0.14, 0.18 and 0.19 wrote, and worse. */
#include "tests/unit/adapters/restic_fake.h"

#include "core/clock.h"

#include <unistd.h>

#define ID         "27f7c058f83e0716edf442d0aeab18fb8976366a23e8e04fb96640b0a0719826"
#define COUNTERS   "\"files_new\":2,\"files_changed\":0,\"files_unmodified\":1,\"dirs_new\":3,\"data_added\":2463"
#define TOTALS     "\"total_files_processed\":3,\"total_bytes_processed\":5"
#define SUMMARY    "{\"message_type\":\"summary\"," COUNTERS "," TOTALS ",\"snapshot_id\":\"" ID "\"}\n"
#define PARTLY_014 "Warning: at least one source file could not be read\n"
#define PARTLY_019                                                                                                   \
	"{\"message_type\":\"exit_error\",\"code\":3,\"message\":\"Warning: at least one source file could "         \
	"not be read\"}\n"

static char *const asked_for[] = {(char[]){"/srv/a"}, (char[]){"/srv/b"}, NULL};

#define ITEM_ERROR(item)                                                                                             \
	"{\"message_type\":\"error\",\"error\":{\"message\":\"open " item ": permission denied\"},\"during\":"       \
	"\"archival\",\"item\":\"" item "\"}\n"

static const struct {
	const char *what;
	const char *out;
	const char *err;
	int exit_code;
	enum error_code code;
	bool has_snapshot;
	uint64_t missing;
} verdicts[] = {
    {"good", SUMMARY, NULL, 0, ERROR_NONE, true, 0},
    {"good of 0.14",
	"{\"message_type\":\"status\",\"percent_done\":0}\n{\"message_type\":\"summary\"," COUNTERS "," TOTALS
	",\"snapshot_id\":\"205b03ef\"}\n",
	NULL, 0, ERROR_NONE, true, 0},
    {"good without the last newline",
	"{\"message_type\":\"summary\"," COUNTERS "," TOTALS ",\"snapshot_id\":\"" ID "\"}", NULL, 0, ERROR_NONE,
	true, 0},
    {"good among junk",
	"junk\n\n{\n[]\n{\"message_type\":\"new\"}\n\xff\xfe\n" SUMMARY "{\"message_type\":\"tail\"}\n",
	"unable to open cache: x\n", 0, ERROR_NONE, true, 0},
    {"only directories", "{\"message_type\":\"summary\",\"dirs_new\":2,\"snapshot_id\":\"" ID "\"}\n", NULL, 0,
	ERROR_NONE, true, 0},
    {"a file came and went before it was archived", SUMMARY,
	"{\"message_type\":\"error\",\"error\":{},\"during\":\"scan\",\"item\":\"/srv/a/tmp\"}\n", 0, ERROR_NONE,
	true, 0},

    /* no summary, or one that is none */
    {"silent", NULL, NULL, 0, ERROR_RESTIC_FAILED, false, 0},
    {"cut", "{\"message_type\":\"summary\"," COUNTERS "," TOTALS ",\"snapshot_id\":\"" ID "\"", NULL, 0,
	ERROR_RESTIC_FAILED, false, 0},
    {"no snapshot", "{\"message_type\":\"summary\"," COUNTERS "," TOTALS "}\n", NULL, 0, ERROR_RESTIC_FAILED, false,
	0},
    {"dry run",
	"{\"message_type\":\"summary\",\"dry_run\":true," COUNTERS "," TOTALS ",\"snapshot_id\":\"" ID "\"}\n", NULL,
	0, ERROR_RESTIC_FAILED, false, 0},
    {"a summary on stderr", NULL, SUMMARY, 0, ERROR_RESTIC_FAILED, false, 0},
    {"a number too large",
	"{\"message_type\":\"summary\",\"files_new\":99999999999999999999,\"snapshot_id\":\"" ID "\"}\n", NULL, 0,
	ERROR_RESTIC_FAILED, false, 0},

    /* a summary that does not add up */
    {"one file short",
	"{\"message_type\":\"summary\"," COUNTERS ",\"total_files_processed\":2,\"snapshot_id\":\"" ID "\"}\n", NULL,
	0, ERROR_SNAPSHOT_MISMATCH, true, 0},
    {"a negative count",
	"{\"message_type\":\"summary\",\"files_new\":-2,\"files_changed\":5,\"total_files_processed\":3,"
	"\"snapshot_id\":\"" ID "\"}\n",
	NULL, 0, ERROR_SNAPSHOT_MISMATCH, true, 0},
    {"a count in words",
	"{\"message_type\":\"summary\",\"files_new\":\"3\",\"total_files_processed\":3,\"snapshot_id\":\"" ID "\"}\n",
	NULL, 0, ERROR_SNAPSHOT_MISMATCH, true, 0},
    {"counts that overflow",
	"{\"message_type\":\"summary\",\"files_new\":9223372036854775807,\"files_changed\":"
	"9223372036854775807,"
	"\"files_unmodified\":5,\"dirs_new\":5,\"total_files_processed\":3,\"snapshot_id\":\"" ID "\"}\n",
	NULL, 0, ERROR_SNAPSHOT_MISMATCH, true, 0},

    /* nothing in it */
    {"empty", "{\"message_type\":\"summary\",\"snapshot_id\":\"" ID "\"}\n", NULL, 0, ERROR_SNAPSHOT_EMPTY, true, 0},
    {"only the parents of what an exclude swallowed",
	"{\"message_type\":\"summary\",\"dirs_changed\":1,\"snapshot_id\":\"" ID "\"}\n", NULL, 0,
	ERROR_SNAPSHOT_EMPTY, true, 0},

    /* a path is not there */
    {"missing in 0.14 and 0.18", SUMMARY, "/srv/b does not exist, skipping\n", 0, ERROR_SOURCE_MISSING, true, 1},
    {"missing in 0.19", SUMMARY, "/srv/b does not exist, skipping\n" PARTLY_019, 3, ERROR_SOURCE_MISSING, true, 1},
    {"all missing", NULL,
	"/srv/a does not exist, skipping\n/srv/b does not exist, skipping\nFatal: all target "
	"directories/files do not exist\n",
	1, ERROR_SOURCE_MISSING, false, 2},
    {"not to be looked at in 0.19", NULL,
	"/srv/b cannot be accessed, "
	"skipping\n{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"Fatal: all source "
	"directories/files do not exist\"}\n",
	1, ERROR_SOURCE_UNREADABLE, false, 1},

    /* something cannot be read */
    {"a declared path", SUMMARY, ITEM_ERROR("/srv/b") PARTLY_019, 3, ERROR_SOURCE_UNREADABLE, true, 1},
    {"above a declared path", SUMMARY, ITEM_ERROR("/srv") PARTLY_019, 3, ERROR_SOURCE_UNREADABLE, true, 1},
    {"below a declared path", SUMMARY, ITEM_ERROR("/srv/b/c") PARTLY_019, 3, ERROR_SOURCE_PARTLY_UNREADABLE, true, 1},
    {"beside a declared path", SUMMARY, ITEM_ERROR("/srv/bc") PARTLY_019, 3, ERROR_SOURCE_PARTLY_UNREADABLE, true, 1},
    {"the same item twice", SUMMARY, ITEM_ERROR("/srv/b/c") ITEM_ERROR("/srv/b/c") PARTLY_019, 3,
	ERROR_SOURCE_PARTLY_UNREADABLE, true, 1},
    {"0.14, scan and archival", SUMMARY,
	"{\"message_type\":\"error\",\"error\":{},\"during\":\"scan\",\"item\":\"/srv/b/c\"}\n"
	"{\"message_type\":\"error\",\"error\":{},\"during\":\"archival\",\"item\":\"/srv/b/c\"}\n"
	"{\"message_type\":\"error\",\"error\":{\"Op\":\"open\",\"Path\":\"/srv/b/"
	"d\",\"Err\":13},\"during\":\"archival\",\"item\":"
	"\"/srv/b/d\"}\n" PARTLY_014,
	3, ERROR_SOURCE_PARTLY_UNREADABLE, true, 2},
    {"an error without an item", SUMMARY, "{\"message_type\":\"error\",\"error\":{\"message\":\"blob lost\"}}\n", 3,
	ERROR_SOURCE_PARTLY_UNREADABLE, true, 1},
    {"3 without a word", SUMMARY, NULL, 3, ERROR_SOURCE_PARTLY_UNREADABLE, true, 0},
    {"an error and yet 0", SUMMARY, ITEM_ERROR("/srv/b/c"), 0, ERROR_SOURCE_PARTLY_UNREADABLE, true, 1},
    {"3 without a summary", NULL, PARTLY_014, 3, ERROR_RESTIC_FAILED, false, 0},
    {"3 and nothing in it", "{\"message_type\":\"summary\",\"snapshot_id\":\"" ID "\"}\n", PARTLY_014, 3,
	ERROR_SNAPSHOT_EMPTY, true, 0},

    /* it failed, whatever the summary says */
    {"locked", NULL, "unable to create lock in backend: repository is already locked by PID 1 on h by root\n", 11,
	ERROR_REPOSITORY_LOCKED, false, 0},
    {"failed after the summary", SUMMARY, "Fatal: odd\n", 1, ERROR_RESTIC_FAILED, true, 0},
    {"an exit code nobody knows", SUMMARY, NULL, 99, ERROR_RESTIC_FAILED, true, 0},
    {"no room", NULL, ITEM_ERROR("/srv/b/c") "Fatal: unable to save snapshot: no space left on device\n", 1,
	ERROR_REPOSITORY_FULL, false, 1},
};

static void
test_verdicts(void **state)
{
	struct restic_fixture *fixture = *state;
	for (size_t i = 0; i < ARRAY_LENGTH(verdicts); i++) {
		restic_fake_plays(fixture, "backup", verdicts[i].out, verdicts[i].err, verdicts[i].exit_code);
		fixture_backup(fixture, (struct restic_backup_request){.paths = asked_for});
		if (fixture->error.code != verdicts[i].code ||
		    (fixture->snapshot_id != NULL) != verdicts[i].has_snapshot ||
		    fixture->result.missing_count != verdicts[i].missing)
			fail_msg("%s: %s, %s, snapshot %s, %llu missing", verdicts[i].what,
			    error_code_word(fixture->error.code), fixture->error.message, fixture->snapshot_id,
			    (unsigned long long)fixture->result.missing_count);
		assert_int_equal(fixture->result.exit_code, verdicts[i].exit_code);
		assert_true(fixture->error.code == ERROR_NONE || fixture->error.hint != NULL);
	}
}

static void
test_result_of_a_good_one(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "backup", SUMMARY, NULL, 0);
	fixture_backup(fixture, (struct restic_backup_request){.paths = asked_for});
	assert_string_equal(fixture->snapshot_id, ID);
	assert_int_equal(fixture->result.files, 3);
	assert_int_equal(fixture->result.bytes, 5);
	assert_int_equal(fixture->result.bytes_added, 2463);
	assert_true(fixture->spawned.pid > 0);
}

static void
test_what_restic_is_asked(void **state)
{
	struct restic_fixture *fixture = *state;
	char *const paths[] = {(char[]){"/srv/with space"}, (char[]){"/srv/new\nline #*[\xff"}, NULL};
	char *const excludes[] = {(char[]){"$HOME/*.tmp"}, (char[]){"-x"}, NULL};
	char *const tags[] = {(char[]){"service:web"}, (char[]){"type:nightly"}, NULL};
	char *const left_out[] = {(char[]){"/srv/a/db-wal"}, (char[]){"/srv/[1]/*\\?"}, NULL};
	restic_fake_plays(fixture, "backup", SUMMARY, NULL, 0);
	fixture_backup(fixture,
	    (struct restic_backup_request){.paths = paths, .excludes = excludes, .tags = tags, .left_out = left_out});
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_string_equal(calls,
	    "backup --json --files-from-raw=- --host=web1 --tag=service:web --tag=type:nightly "
	    "--exclude=$HOME/*.tmp --exclude=-x --exclude=/srv/a/db-wal --exclude=/srv/\\[1\\]/\\*\\\\\\?\n");
	cleanup_free char *input = fixture_read(fixture, "stdin");
	static const char expected[] = "/srv/with space\0/srv/new\nline #*[\xff";
	assert_memory_equal(input, expected, sizeof(expected));
}

static void
test_requests_that_are_refused(void **state)
{
	struct restic_fixture *fixture = *state;
	char *const none[] = {NULL};
	char *const relative[] = {(char[]){"srv"}, NULL};
	char *const comma[] = {(char[]){"a,b"}, NULL};
	const struct restic_backup_request refused[] = {
	    {.paths = NULL},
	    {.paths = none},
	    {.paths = relative},
	    {.paths = asked_for, .left_out = relative},
	    {.paths = asked_for, .tags = comma},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(refused); i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		assert_null(
		    restic_backup_start(fixture->base, &fixture->settings, &refused[i], fixture_on_backup, &error));
		assert_int_equal(error.code, ERROR_USAGE);
	}
}

static int
refuse_to_spawn(void *context, const struct child_identity *identity, struct error *error)
{
	(void)context;
	(void)identity;
	return error_set(error, ERROR_JOURNAL, "the disk is full");
}

static void
test_spawning_can_be_refused(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	const struct restic_backup_request request = {.paths = asked_for, .on_spawned = refuse_to_spawn};
	assert_null(restic_backup_start(fixture->base, &fixture->settings, &request, fixture_on_backup, &error));
	assert_int_equal(error.code, ERROR_JOURNAL);
	cleanup_free char *calls = fixture_read(fixture, "calls");
	assert_string_equal(calls, "");
}

/* ---- on the way ---- */

static void
test_progress_is_throttled(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_text struct text out = {.string = NULL};
	for (int i = 0; i < 5000; i++)
		text_printf(&out,
		    "{\"message_type\":\"status\",\"percent_done\":0.25,\"bytes_done\":%d,\"total_bytes\":"
		    "5000}\n",
		    i);
	text_add(&out, SUMMARY);
	restic_fake_plays(fixture, "backup", out.string, NULL, 0);
	int64_t before = clock_monotonic(clock_system());
	fixture_backup(fixture, (struct restic_backup_request){.paths = asked_for});
	int64_t elapsed = clock_monotonic(clock_system()) - before;
	assert_fixture_code(fixture, ERROR_NONE);
	assert_true(fixture->progress_count >= 1);
	assert_true(fixture->progress_count <= 1 + elapsed / (250 * USEC_PER_MSEC));
	assert_float_equal(fixture->progress.fraction, 0.25, 1e-9);
	assert_int_equal(fixture->progress.bytes_total, 5000);
}

static void
test_words_are_for_people(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "backup", SUMMARY,
	    "\033[2Ksignal received\nHead \"https://bob:s3cret@h/\": EOF, will retry\n" ITEM_ERROR("/srv/a/b")
		ITEM_ERROR("/srv/a/b") "\n\x07\n{\"message_type\":\"exit_error\",\"message\":\"Fatal: x\\ny\"}\n",
	    3);
	fixture_backup(fixture, (struct restic_backup_request){.paths = asked_for});
	assert_string_equal(fixture->words.string, "signal received|Head \"https://bob:***@h/\": EOF, will retry|"
						   "/srv/a/b: open /srv/a/b: permission denied|?|Fatal: x|");
}

static void
test_a_thousand_items_are_counted_and_a_hundred_listed(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_text struct text errors = {.string = NULL};
	for (int i = 0; i < 1000; i++)
		text_printf(&errors,
		    "{\"message_type\":\"error\",\"error\":{\"message\":\"gone\"},\"during\":\"archival\","
		    "\"item\":\"/srv/a/%d\\u001b\"}\n",
		    i);
	restic_fake_plays(fixture, "backup", SUMMARY, errors.string, 3);
	fixture_backup(fixture, (struct restic_backup_request){.paths = asked_for});
	assert_fixture_code(fixture, ERROR_SOURCE_PARTLY_UNREADABLE);
	assert_int_equal(fixture->result.missing_count, 1000);
	assert_int_equal(strings_count(fixture->missing), 100);
	assert_string_equal(fixture->missing[99], "/srv/a/99?");
}

/* ---- hostile output ---- */

static void
test_a_line_of_ten_megabytes(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_text struct text out = {.string = NULL};
	cleanup_free char *endless = xmalloc(10 << 20);
	memset(endless, 'x', 10 << 20);
	text_add(&out, "{\"message_type\":\"status\",\"current_files\":[\"");
	text_add_bytes(&out, endless, 10 << 20);
	text_add(&out, "\"]}\n" SUMMARY);
	restic_fake_plays(fixture, "backup", out.string, out.string, 0);
	fixture_backup(fixture, (struct restic_backup_request){.paths = asked_for});
	assert_fixture_code(fixture, ERROR_NONE);
	assert_string_equal(fixture->snapshot_id, ID);
	assert_true(fixture->words.length < 10000);
}

static void
test_nul_bytes_and_no_utf8(void **state)
{
	static const char noise[] =
	    "\0\0\n{\"message_type\":\"summary\"\0}\n\xff\xfe{\n{\"message_type\":\"\xc0\x80\"}\n";
	struct restic_fixture *fixture = *state;
	cleanup_text struct text out = {.string = NULL};
	text_add_bytes(&out, noise, sizeof(noise) - 1);
	text_add(&out, SUMMARY);
	text_add_bytes(&out, noise, sizeof(noise) - 1);
	restic_fake_plays(fixture, "backup", NULL, NULL, 0);
	fixture_write_bytes(fixture, "backup.out", out.string, out.length);
	fixture_write_bytes(fixture, "backup.err", out.string, out.length);
	fixture_backup(fixture, (struct restic_backup_request){.paths = asked_for});
	assert_fixture_code(fixture, ERROR_NONE);
	assert_non_null(fixture->words.string);
}

/* Cut at every byte, a good run is good only with the whole summary. */
static void
test_a_cut_summary_is_never_a_success(void **state)
{
	struct restic_fixture *fixture = *state;
	for (size_t length = 0; length < strlen(SUMMARY); length += 7) {
		restic_fake_plays(fixture, "backup", NULL, NULL, 0);
		fixture_write_bytes(fixture, "backup.out", SUMMARY, length);
		fixture_backup(fixture, (struct restic_backup_request){.paths = asked_for});
		bool whole = length >= strlen(SUMMARY) - 1;
		assert_int_equal(fixture->error.code == ERROR_NONE, whole);
	}
}

/* ---- stopping ---- */

static void
test_stopped_after_the_first_words(void **state)
{
	struct restic_fixture *fixture = *state;
	restic_fake_plays(fixture, "backup", NULL, "uploading\n", 0);
	fixture_write(fixture, "backup.hang", "");
	fixture->on_words_stop = true;
	fixture_backup(fixture, (struct restic_backup_request){.paths = asked_for});
	assert_fixture_code(fixture, ERROR_CANCELLED);
	assert_null(fixture->snapshot_id);
	assert_int_equal(fixture->result.exit_code, -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    restic_fake_test(test_verdicts),
	    restic_fake_test(test_result_of_a_good_one),
	    restic_fake_test(test_what_restic_is_asked),
	    restic_fake_test(test_requests_that_are_refused),
	    restic_fake_test(test_spawning_can_be_refused),
	    restic_fake_test(test_progress_is_throttled),
	    restic_fake_test(test_words_are_for_people),
	    restic_fake_test(test_a_thousand_items_are_counted_and_a_hundred_listed),
	    restic_fake_test(test_a_line_of_ten_megabytes),
	    restic_fake_test(test_nul_bytes_and_no_utf8),
	    restic_fake_test(test_a_cut_summary_is_never_a_success),
	    restic_fake_test(test_stopped_after_the_first_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
