#include "adapters/restic_internal.h"

#include "core/alloc.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static json_t *
object_of(const char *line)
{
	json_t *object = restic_output_object(line, strlen(line));
	assert_non_null(object);
	return object;
}

static void
test_only_whole_objects_are_objects(void **state)
{
	static const char *const junk[] = {
	    "",
	    "signal interrupt received",
	    "[1]",
	    "{",
	    "{\"message_type\":\"summary\"",
	    "{\"message_type\":\"summary\"} trailing",
	    "{\"message_type\":\"sum\\u0000mary\"}",
	    "{\"message_type\":\"\xff\xfe\"}",
	    "{\"message_type\":\"summary\",\"files_new\":99999999999999999999999999}",
	    "{\"message_type\":\"summary\",\"files_new\":1e999}",
	    "\xef\xbb\xbf{}",
	    " {}",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(junk); i++)
		assert_null(restic_output_object(junk[i], strlen(junk[i])));
	assert_null(restic_output_object("{\"a\":\"b\0c\"}", 11));
}

static void
test_unknown_types_have_their_word(void **state)
{
	(void)state;
	cleanup_json json_t *known = object_of("{\"message_type\":\"status\"}");
	cleanup_json json_t *unknown = object_of("{\"message_type\":\"excluded_item\",\"new\":{}}");
	cleanup_json json_t *none = object_of("{\"struct_type\":\"node\"}");
	cleanup_json json_t *number = object_of("{\"message_type\":7}");
	assert_string_equal(restic_output_type(known), "status");
	assert_string_equal(restic_output_type(unknown), "excluded_item");
	assert_string_equal(restic_output_type(none), "");
	assert_string_equal(restic_output_type(number), "");
	assert_string_equal(restic_output_type(NULL), "");
}

static void
test_counts(void **state)
{
	uint64_t count = 7;
	(void)state;
	cleanup_json json_t *object =
	    object_of("{\"ok\":12,\"big\":9223372036854775807,\"minus\":-1,\"half\":0.5,\"real\":2.0,\"word\":\"3\","
		      "\"null\":null,\"list\":[]}");
	assert_true(restic_output_count(object, "ok", &count));
	assert_int_equal(count, 12);
	assert_true(restic_output_count(object, "big", &count));
	assert_true(count == INT64_MAX);
	static const char *const wrong[] = {"minus", "half", "real", "word", "null", "list"};
	for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
		count = 7;
		assert_false(restic_output_count(object, wrong[i], &count));
		assert_int_equal(count, 7);
	}
	assert_true(restic_output_count(object, "absent", &count));
	assert_int_equal(count, 0);
}

static void
test_progress(void **state)
{
	struct restic_progress progress;
	(void)state;
	cleanup_json json_t *full =
	    object_of("{\"message_type\":\"status\",\"seconds_elapsed\":1,\"seconds_remaining\":2,\"percent_done\":0."
		      "4667,"
		      "\"total_files\":150,\"files_done\":69,\"total_bytes\":150000000,\"bytes_done\":70000000,"
		      "\"error_count\":1,\"current_files\":[\"/pr/f070\"]}");
	restic_output_progress(full, &progress);
	assert_float_equal(progress.fraction, 0.4667, 1e-9);
	assert_int_equal(progress.bytes_done, 70000000);
	assert_int_equal(progress.bytes_total, 150000000);
	assert_int_equal(progress.files_done, 69);
	assert_int_equal(progress.files_total, 150);
	assert_int_equal(progress.errors, 1);
	assert_int_equal(progress.seconds_left, 2);

	cleanup_json json_t *early = object_of("{\"message_type\":\"status\",\"total_bytes\":3}");
	restic_output_progress(early, &progress);
	assert_float_equal(progress.fraction, 0, 1e-9);
	assert_int_equal(progress.seconds_left, -1);
}

static void
test_hostile_progress_is_not_known(void **state)
{
	static const char *const hostile[] = {
	    "{}",
	    "{\"percent_done\":-1}",
	    "{\"percent_done\":1.0001}",
	    "{\"percent_done\":1e300}",
	    "{\"percent_done\":\"0.5\"}",
	    "{\"percent_done\":null,\"bytes_done\":-5,\"total_bytes\":1.5,\"seconds_remaining\":-"
	    "9223372036854775808}",
	    "{\"percent_done\":[],\"seconds_remaining\":1e18,\"files_done\":{}}",
	    "{\"percent_done\":-1,\"seconds_remaining\":9938368242149}",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(hostile); i++) {
		struct restic_progress progress;
		cleanup_json json_t *object = object_of(hostile[i]);
		restic_output_progress(object, &progress);
		assert_true(progress.fraction < 0);
		assert_int_equal(progress.seconds_left, -1);
		assert_int_equal(progress.bytes_done, 0);
		assert_int_equal(progress.bytes_total, 0);
	}
}

static void
test_summary_of_014(void **state)
{
	struct restic_summary summary;
	(void)state;
	cleanup_json json_t *object =
	    object_of("{\"message_type\":\"summary\",\"files_new\":2,\"files_changed\":1,\"files_unmodified\":4,"
		      "\"dirs_new\":5,\"dirs_changed\":1,\"dirs_unmodified\":2,\"data_blobs\":2,\"tree_blobs\":6,"
		      "\"data_added\":2463,\"total_files_processed\":7,\"total_bytes_processed\":5,"
		      "\"total_duration\":0.209351249,\"snapshot_id\":\"205b03ef\"}");
	restic_output_summary(object, &summary);
	assert_true(summary.present);
	assert_true(summary.readable);
	assert_false(summary.dry_run);
	assert_string_equal(summary.snapshot_id, "205b03ef");
	assert_int_equal(summary.files, 7);
	assert_int_equal(summary.directories, 8);
	assert_int_equal(summary.bytes, 5);
	assert_int_equal(summary.bytes_added, 2463);
	free(summary.snapshot_id);
}

static void
test_summary_of_later_versions(void **state)
{
	struct restic_summary summary;
	(void)state;
	cleanup_json json_t *object =
	    object_of("{\"message_type\":\"summary\",\"dry_run\":true,\"data_added\":2463,\"data_added_packed\":2007,"
		      "\"total_duration\":-9223372036.85,\"snapshot_id\":"
		      "\"27f7c058f83e0716edf442d0aeab18fb8976366a23e8e04fb96640b0a0719826\"}");
	restic_output_summary(object, &summary);
	assert_true(summary.readable);
	assert_true(summary.dry_run);
	assert_int_equal(summary.bytes_added, 2007);
	assert_int_equal(strlen(summary.snapshot_id), 64);
	free(summary.snapshot_id);
}

static void
test_summaries_that_cannot_be_read(void **state)
{
	static const char *const unreadable[] = {
	    "{\"files_new\":-1}",
	    "{\"files_new\":1.0}",
	    "{\"total_files_processed\":\"2\"}",
	    "{\"total_bytes_processed\":null}",
	    "{\"data_added_packed\":{}}",
	    "{\"data_added\":0.1}",
	    "{\"dirs_changed\":-3}",
	};
	static const char *const without_id[] = {
	    "{\"snapshot_id\":\"\"}",
	    "{\"snapshot_id\":\"205b03e\"}",
	    "{\"snapshot_id\":\"205b03eff\"}",
	    "{\"snapshot_id\":\"205b03eg\"}",
	    "{\"snapshot_id\":\"205B03EF\"}",
	    "{\"snapshot_id\":12345678}",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(unreadable); i++) {
		struct restic_summary summary;
		cleanup_json json_t *object = object_of(unreadable[i]);
		restic_output_summary(object, &summary);
		assert_false(summary.readable);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(without_id); i++) {
		struct restic_summary summary;
		cleanup_json json_t *object = object_of(without_id[i]);
		restic_output_summary(object, &summary);
		assert_null(summary.snapshot_id);
	}
}

static const struct {
	const char *line;
	const char *words;
} spoken[] = {
    {"Warning: at least one source file could not be read", "Warning: at least one source file could not be read"},
    {"\033[2Ksignal interrupt received, cleaning up", "signal interrupt received, cleaning up"},
    {"\r\033[2K\rsignal", "signal"},
    {"{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"Fatal: a\\n\\tgithub.com/x\"}", "Fatal: a"},
    {"{\"message_type\":\"error\",\"error\":{\"message\":\"open /a: permission denied\"},\"item\":\"/a\"}",
	"/a: open /a: permission denied"},
    {"{\"message_type\":\"error\",\"error\":{},\"during\":\"scan\",\"item\":\"/a\"}", "/a: it cannot be read"},
    {"{\"message_type\":\"error\",\"error\":{\"Op\":\"open\",\"Path\":\"/a\",\"Err\":13},\"item\":\"/a\"}",
	"/a: open: Permission denied"},
    {"{\"message_type\":\"error\",\"error\":{\"Op\":\"open\",\"Err\":-13},\"item\":\"/a\"}", "/a: it cannot be read"},
    {"{\"message_type\":\"error\",\"message\":\"pack ab: broken\"}", "pack ab: broken"},
    {"{\"message_type\":\"error\",\"error\":{\"message\":\"x\"},\"item\":\"/a\\u001b[31m\\u202e\"}", "/a?[31m?: x"},
    {"{\"message_type\":\"news\"}", "{\"message_type\":\"news\"}"},
    {"{\"cut\":", "{\"cut\":"},
    {"bad \xff\x01 bytes", "bad ?? bytes"},
    {"see https://bob:secret@host/x", "see https://bob:***@host/x"},
    {"{\"message_type\":\"error\",\"error\":{\"message\":\"at https://bob:secret@host/x\"},\"item\":\"/a\"}",
	"/a: at https://bob:***@host/x"},
    {"", ""},
};

static void
test_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(spoken); i++) {
		cleanup_free char *words = restic_output_words(spoken[i].line, strlen(spoken[i].line));
		assert_string_equal(words, spoken[i].words);
	}
	cleanup_free char *with_nul = restic_output_words("a\0b", 3);
	assert_string_equal(with_nul, "a?b");
	cleanup_free char *endless = xmalloc(10 << 20);
	memset(endless, 'x', 10 << 20);
	cleanup_free char *words = restic_output_words(endless, 10 << 20);
	assert_true(strlen(words) < 10000);
}

static void
test_no_password_in_the_reason_of_an_item(void **state)
{
	(void)state;
	cleanup_json json_t *object = object_of("{\"error\":{\"message\":\"at https://bob:secret@host/x\\u001b\"}}");
	cleanup_free char *reason = restic_output_reason(object);
	assert_string_equal(reason, "at https://bob:***@host/x?");
}

/* Wherever the line is cut, no part of the password is left. */
static void
test_no_half_password_where_a_long_line_is_cut(void **state)
{
	static const char url[] = " rest:https://bob:~://~~@host/";
	(void)state;
	for (size_t before = 1900; before < 2100; before++) {
		cleanup_free char *filler = xmalloc(before + 1);
		memset(filler, 'x', before);
		filler[before] = '\0';
		cleanup_free char *line = xasprintf("%s%s%s", filler, url, filler);
		cleanup_free char *words = restic_output_words(line, strlen(line));
		assert_null(strchr(words, '~'));
		assert_true(strlen(words) >= 1900);
	}
}

static const struct {
	const char *plain;
	const char *masked;
} locations[] = {
    {"/srv/repo", "/srv/repo"},
    {"rest:https://host:8000/repo", "rest:https://host:8000/repo"},
    {"rest:https://bob:secret@host:8000/repo", "rest:https://bob:***@host:8000/repo"},
    {"rest:https://bob@host/repo", "rest:https://bob@host/repo"},
    {"rest:https://bob:@host/repo", "rest:https://bob:***@host/repo"},
    {"rest:https://bob:p@ss@host/repo", "rest:https://bob:***@host/repo"},
    {"rest:https://bob:pa/ss@host/repo", "rest:https://bob:***@host/repo"},
    {"rest:https://bob:it's@host/repo", "rest:https://bob:***@host/repo"},
    {"rest:http://host:8000/a@b", "rest:http://host:8000/a@b"},
    {"rest:http://[::1]:8000/a", "rest:http://[::1]:8000/a"},
    {"s3:https://s3.example.org/bucket", "s3:https://s3.example.org/bucket"},
    {"sftp:bob@host:/repo", "sftp:bob@host:/repo"},
    {"two https://a:b@c/ and \"ftp://d:e@f\"", "two https://a:***@c/ and \"ftp://d:***@f\""},
    {"://", "://"},
    {"", ""},
};

static void
test_passwords_are_masked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(locations); i++) {
		cleanup_free char *masked = restic_mask(locations[i].plain);
		assert_string_equal(masked, locations[i].masked);
	}
}

static void
test_snapshots_from_bytes(void **state)
{
	static const char listing[] = "[{\"time\":\"2026-11-23T02:30:00.5-03:30\",\"id\":"
				      "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","
				      "\"tags\":[\"service:web\"]}]trailing";
	size_t length = sizeof(listing) - 1 - strlen("trailing");
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct restic_snapshot *snapshots;
	size_t count;
	(void)state;
	assert_int_equal(restic_output_snapshots(listing, length, &snapshots, &count, &error), 0);
	assert_int_equal(count, 1);
	assert_int_equal(snapshots[0].zone_offset, -12600);
	assert_string_equal(snapshots[0].tags[0], "service:web");
	restic_snapshots_free(snapshots, count);
	assert_int_equal(restic_output_snapshots("[]", 2, &snapshots, &count, &error), 0);
	assert_int_equal(count, 0);
	restic_snapshots_free(snapshots, count);
	/* Cut anywhere, it is no list. */
	for (size_t cut = 0; cut < length; cut++)
		assert_int_equal(restic_output_snapshots(listing, cut, &snapshots, &count, &error), -1);
	assert_int_equal(error.code, ERROR_RESTIC_FAILED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_only_whole_objects_are_objects),
	    cmocka_unit_test(test_unknown_types_have_their_word),
	    cmocka_unit_test(test_counts),
	    cmocka_unit_test(test_progress),
	    cmocka_unit_test(test_hostile_progress_is_not_known),
	    cmocka_unit_test(test_summary_of_014),
	    cmocka_unit_test(test_summary_of_later_versions),
	    cmocka_unit_test(test_summaries_that_cannot_be_read),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_no_password_in_the_reason_of_an_item),
	    cmocka_unit_test(test_no_half_password_where_a_long_line_is_cut),
	    cmocka_unit_test(test_passwords_are_masked),
	    cmocka_unit_test(test_snapshots_from_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
