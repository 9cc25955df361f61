#include "jobs/manifest_internal.h"
#include "manifest_parsing.h"

/* ---- JSON that is none ---- */

static void
expect_syntax_error(const char *content, size_t length, const char *place, const char *words)
{
	cleanup_parsed struct parsed parsed = parse_bytes(content, length);
	assert_int_equal(parsed.result, -1);
	assert_int_equal(parsed.problems.count, 1);
	const struct problem *problem = expect_problem(&parsed, place, words);
	assert_int_equal(problem->code, ERROR_MANIFEST);
	assert_non_null(problem->remedy);
	assert_true(text_is_printable(problem->message));
}

#define SYNTAX_ERROR(content, place, words) expect_syntax_error(content, sizeof(content) - 1, place, words)

static void
syntax_errors_have_line_and_column(void **state)
{
	(void)state;
	SYNTAX_ERROR("", "m.json:1:0", "end of file");
	SYNTAX_ERROR("{\n  \"services\": {\n    \"web\": {,}\n}}", "m.json:3:13", "near ','");
	SYNTAX_ERROR("{\"services\": {}} trailing", "m.json:1:25", "end of file expected");
	SYNTAX_ERROR("\xef\xbb\xbf{}", "m.json:1:1", "expected near");
	SYNTAX_ERROR("# no JSON\n{}", "m.json:1:1", "expected near '#'");
	SYNTAX_ERROR("{\"services\": {\"web\": {}, }}", "m.json:1:26", "string or '}' expected");
}

static void
characters_that_no_text_has_are_refused(void **state)
{
	(void)state;
	SYNTAX_ERROR("{\"services\":{\"web\":{\"paths\":[\"/a\\u0000b\"]}}}", "m.json:1:40", "\\u0000");
	SYNTAX_ERROR("{\"services\":{\"we\\u0000b\":{}}}", "m.json:1:24", "NUL");
	SYNTAX_ERROR("{\"services\":{\"we\0b\":{}}}", "m.json:1:16", "control character");
	SYNTAX_ERROR("{\"services\":{\"we\nb\":{}}}", "m.json:1:16", "unexpected newline");
	SYNTAX_ERROR("{\"services\":{\"we\x1b[2Jb\":{}}}", "m.json:1:16", "control character");
	SYNTAX_ERROR("{\"services\":{\"\xff\xfe\":{}}}", "m.json:1:14", "unable to decode byte");
	SYNTAX_ERROR("{\"services\":{\"\xc0\xaf\":{}}}", "m.json:1:14", "unable to decode byte");
	SYNTAX_ERROR("{\"services\":{\"\xed\xa0\x80\":{}}}", "m.json:1:14", "unable to decode byte");
}

static void
duplicates_are_refused(void **state)
{
	(void)state;
	SYNTAX_ERROR("{\"services\":{\"web\":{\"paths\":[\"/a\"]},\"web\":{\"paths\":[\"/b\"]}}}", "m.json:1:41",
	    "duplicate object key");
	SYNTAX_ERROR("{\"services\":{},\"services\":{}}", "m.json:1:25", "duplicate object key");
	SYNTAX_ERROR("{\"services\":{\"web\":{\"manual\":true,\"manual\":false}}}", "m.json:1:42", "duplicate");
}

static void
numbers_have_an_end(void **state)
{
	(void)state;
	SYNTAX_ERROR("{\"version\":99999999999999999999,\"services\":{}}", "m.json:1:31", "too big integer");
	SYNTAX_ERROR("{\"version\":1e999,\"services\":{}}", "m.json:1:16", "overflow");
}

static void
deep_nesting_is_refused(void **state)
{
	(void)state;
	cleanup_text struct text deep = {.string = NULL};
	for (int i = 0; i < 100000; i++)
		text_add(&deep, "{\"services\":");
	cleanup_parsed struct parsed parsed = parse(deep.string);
	assert_int_equal(parsed.result, -1);
	assert_int_equal(parsed.problems.count, 1);
	assert_non_null(strstr(parsed.problems.items[0].message, "depth"));
}

static void
a_list_is_no_manifest(void **state)
{
	(void)state;
	expect_refusal("[]", "m.json", "expected an object, found a list");
}

/* ---- what keys may be called ---- */

static void
expect_unknown(const char *content, const char *place, const char *remedy)
{
	cleanup_parsed struct parsed parsed = parse(content);
	assert_int_equal(parsed.result, -1);
	assert_int_equal(problem_count(&parsed.problems, PROBLEM_ERROR), 1);
	assert_string_equal(expect_problem(&parsed, place, "unknown key")->remedy, remedy);
}

static void
unknown_keys_are_refused_with_the_nearest(void **state)
{
	(void)state;
	expect_unknown("{\"services\":{\"web\":{\"paths\":\"/a\",\"datadir\":\"/a\"}}}",
	    "m.json: services.web.datadir", "did you mean \"dataDir\"?");
	expect_unknown("{\"services\":{\"web\":{\"paths\":\"/a\",\"data_dir\":\"/a\"}}}",
	    "m.json: services.web.data_dir", "did you mean \"dataDir\"?");
	expect_unknown("{\"services\":{\"web\":{\"paths\":\"/a\",\"data\":{\"sqlte\":1}}}}",
	    "m.json: services.web.data.sqlte", "did you mean \"sqlite\"?");
	expect_unknown("{\"services\":{\"web\":{\"paths\":\"/a\",\"data\":{\"colour\":1}}}}",
	    "m.json: services.web.data.colour", "known here: sqlite, postgres, files, exclude");
	expect_unknown("{\"version\":2,\"services\":{},\"retry\":{\"attemps\":3}}", "m.json: retry.attemps",
	    "did you mean \"attempts\"?");
	expect_unknown("{\"version\":2,\"services\":{\"web\":{\"paths\":\"/a\",\"description\":\"x\"}}}",
	    "m.json: services.web.description",
	    "known here: dataDir, data, paths, exclude, manual, mkService, tags, preBackup, postBackup, "
	    "stopForBackup, stopUnits, overdueAfter, maxShrink, deadlines, retention");
	/* Also where the value is null. */
	expect_unknown("{\"services\":{},\"comment\":null}", "m.json: comment", "known here: version, services");
	expect_unknown("{\"services\":{},\"\":1}", "m.json", "known here: version, services");
}

static void
a_retention_keeps_something(void **state)
{
	(void)state;
	expect_refusal(
	    "{\"version\":2,\"services\":{},\"retention\":{\"last\":0,\"daily\":0,\"weekly\":0,\"monthly\":0}}",
	    "m.json: retention", "keeps nothing");
	/* Together with what it takes from the top level. */
	expect_refusal("{\"version\":2,\"retention\":{\"last\":0,\"daily\":2,\"weekly\":0,\"monthly\":0},"
		       "\"services\":{\"web\":{\"paths\":\"/a\",\"retention\":{\"daily\":0}}}}",
	    "m.json: services.web.retention", "keeps nothing");
	expect_refusal(
	    "{\"version\":2,\"services\":{},\"retention\":\"keepall\"}", "m.json: retention", "found a string");
	expect_refusal("{\"version\":2,\"services\":{},\"retention\":false}", "m.json: retention", "found false");
	expect_refusal("{\"version\":2,\"services\":{},\"retention\":{\"last\":10001}}", "m.json: retention.last",
	    "out of range");
	expect_refusal(
	    "{\"version\":2,\"services\":{},\"retention\":{\"last\":-1}}", "m.json: retention.last", "out of range");
	expect_refusal("{\"version\":2,\"services\":{},\"retention\":{\"last\":\"3\"}}", "m.json: retention.last",
	    "found a string");
	expect_unknown("{\"version\":2,\"services\":{},\"retention\":{\"hourly\":3}}", "m.json: retention.hourly",
	    "known here: last, daily, weekly, monthly, yearly");
	expect_refusal("{\"services\":{\"web\":{\"paths\":\"/a\",\"retention\":{\"last\":3}}}}",
	    "m.json: services.web.retention", "version 1");
}

static void
control_characters_do_not_reach_a_terminal(void **state)
{
	(void)state;
	cleanup_parsed struct parsed parsed =
	    parse("{\"\\u001b[2J\":1,\"services\":{\"\\u009b1m\":{\"paths\":[\"\\u202ex\",\"/\\u0007\"]}}}");
	assert_int_equal(parsed.result, -1);
	assert_int_equal(parsed.problems.count, 4);
	for (size_t i = 0; i < parsed.problems.count; i++) {
		assert_true(text_is_printable(parsed.problems.items[i].place));
		assert_true(text_is_printable(parsed.problems.items[i].message));
		assert_true(text_is_printable(parsed.problems.items[i].remedy));
	}
}

static void
services_that_cannot_be_units_are_refused(void **state)
{
	(void)state;
	expect_refusal("{\"services\":{\"../x\":{\"paths\":[\"/a\"]}}}", "m.json: services.../x", "begins with");
	expect_refusal("{\"services\":{\"a b\":{\"paths\":[\"/a\"]}}}", "m.json: services.a b", "characters");
	expect_refusal("{\"services\":{\"\":{\"paths\":[\"/a\"]}}}", "m.json: services.", "empty");
}

/* ---- values ---- */

static void
versions_are_1_and_2(void **state)
{
	(void)state;
	expect_refusal("{\"version\":3,\"services\":{},\"future\":1}", "m.json: version", "version 3");
	expect_refusal("{\"version\":0,\"services\":{}}", "m.json: version", "version 0");
	expect_refusal("{\"version\":-1,\"services\":{}}", "m.json: version", "version -1");
	/* The rest is read as the newest. */
	expect_refusal("{\"version\":\"2\",\"services\":{},\"settle\":1}", "m.json: version", "found a string");
	cleanup_parsed struct parsed parsed = parse("{\"version\":1,\"services\":{}}");
	assert_int_equal(parsed.result, 0);
}

static void
services_are_required(void **state)
{
	(void)state;
	expect_refusal("{}", "m.json", "\"services\" is missing");
	expect_refusal("{\"services\":null}", "m.json", "\"services\" is missing");
	expect_refusal("{\"services\":[]}", "m.json: services", "found a list");
	expect_refusal("{\"services\":{\"web\":null}}", "m.json: services.web", "found null");
	expect_refusal("{\"services\":{\"web\":\"/a\"}}", "m.json: services.web", "found a string");
}

/* A value of one key of version 2. */
static void
expect_bad_value(const char *key, const char *value, const char *place, const char *words)
{
	cleanup_free char *content = xasprintf("{\"version\":2,\"services\":{},%s%s}", key, value);
	expect_refusal(content, place, words);
}

static void
values_have_bounds(void **state)
{
	(void)state;
	expect_bad_value("\"limits\":{\"parallel\":", "0}", "m.json: limits.parallel", "0 is out of range");
	expect_bad_value("\"limits\":{\"parallel\":", "65}", "m.json: limits.parallel", "65 is out of range");
	expect_bad_value("\"limits\":{\"nice\":", "-1}", "m.json: limits.nice", "out of range");
	expect_bad_value("\"limits\":{\"ioLevel\":", "8}", "m.json: limits.ioLevel", "out of range");
	expect_bad_value("\"limits\":{\"uploadKiB\":", "-1}", "m.json: limits.uploadKiB", "out of range");
	expect_bad_value("\"limits\":{\"ioClass\":", "\"realtime\"}", "m.json: limits.ioClass", "no I/O class");
	expect_bad_value("\"schedule\":{\"maxDelay\":", "\"25h\"}", "m.json: schedule.maxDelay", "out of range");
	expect_bad_value("\"schedule\":{\"time\":", "\"2:00\"}", "m.json: schedule.time", "no time of day");
	expect_bad_value("\"deadlines\":{\"stop\":", "0}", "m.json: deadlines.stop", "out of range");
	expect_bad_value("\"deadlines\":{\"stop\":", "\"soon\"}", "m.json: deadlines.stop", "no duration");
	expect_bad_value("\"deadlines\":{\"stop\":", "\"\"}", "m.json: deadlines.stop", "no duration");
	expect_bad_value("\"settle\":", "-1", "m.json: settle", "no duration");
	expect_bad_value("\"maxShrink\":", "0", "m.json: maxShrink", "0 is out of range");
	expect_bad_value("\"maxShrink\":", "101", "m.json: maxShrink", "101 is out of range");
	expect_bad_value("\"maxShrink\":", "0.5", "m.json: maxShrink", "a number with a fraction");
	expect_bad_value("\"maxShrink\":", "\"50%\"", "m.json: maxShrink", "found a string");
	expect_bad_value("\"prune\":{\"every\":", "\"always\"}", "m.json: prune.every", "no duration");
	expect_bad_value("\"prune\":{\"every\":", "0}", "m.json: prune.every", "out of range");
	expect_bad_value("\"prune\":{\"every\":", "false}", "m.json: prune.every", "found false");
	expect_bad_value("\"prune\":{\"maxDuration\":", "\"never\"}", "m.json: prune.maxDuration", "no duration");
	expect_bad_value("\"prune\":{\"maxRepackSize\":", "\"1GB\"}", "m.json: prune.maxRepackSize", "no size");
	expect_bad_value("\"prune\":{\"maxRepackSize\":", "-1}", "m.json: prune.maxRepackSize", "no size");
	expect_bad_value("\"prune\":{\"maxRepackSize\":", "0}", "m.json: prune.maxRepackSize", "out of range");
	expect_bad_value("\"prune\":{\"maxRepackSize\":", "\"2TiB\"}", "m.json: prune.maxRepackSize", "2.0 TiB");
	expect_bad_value("\"prune\":{\"maxRepackSize\":", "[]}", "m.json: prune.maxRepackSize", "found a list");
	expect_bad_value("\"statusGroup\":", "\"\"", "m.json: statusGroup", "is empty");
	expect_bad_value("\"statusGroup\":", "1000", "m.json: statusGroup", "found a whole number");
	expect_bad_value("\"settle\":", "9223372036854775807", "m.json: settle", "no duration");
	expect_bad_value("\"retry\":{\"attempts\":", "0}", "m.json: retry.attempts", "out of range");
	expect_bad_value("\"host\":", "\"two words\"", "m.json: host", "characters");
	expect_bad_value("\"repository\":{\"file\":", "\"repo\"}", "m.json: repository.file", "not absolute");
	expect_bad_value("\"repository\":{\"program\":", "\"./r\"}", "m.json: repository.program", "not absolute");
}

static void
expect_bad_entry(const char *key, const char *value, const char *place, const char *words)
{
	cleanup_free char *content =
	    xasprintf("{\"version\":2,\"services\":{\"web\":{\"dataDir\":\"/a\",%s%s}}}", key, value);
	cleanup_free char *full_place = xasprintf("m.json: services.web.%s", place);
	expect_refusal(content, full_place, words);
}

static void
texts_are_judged_one_by_one(void **state)
{
	(void)state;
	expect_bad_entry("\"paths\":", "\"a\"", "paths", "not absolute");
	expect_bad_entry("\"paths\":", "[\"/a\",\"b\"]", "paths[1]", "not absolute");
	expect_bad_entry("\"paths\":", "[\"/a\",\"/b/../c\"]", "paths[1]", "'..'");
	expect_bad_entry("\"paths\":", "[\"/a\",null]", "paths[1]", "found null");
	expect_bad_entry("\"paths\":", "[[\"/a\"]]", "paths[0]", "found a list");
	expect_bad_entry("\"data\":{\"sqlite\":", "\"app.db\"}", "data.sqlite", "not absolute");
	expect_bad_entry("\"data\":{\"postgres\":", "[\"\"]}", "data.postgres[0]", "empty");
	expect_bad_entry("\"data\":{\"exclude\":", "[\"\"]}", "data.exclude[0]", "empty");
	expect_bad_entry("\"exclude\":", "[\"a\",\"b\\nc\"]", "exclude[1]", "control");
	expect_bad_entry("\"tags\":", "[\"a,b\"]", "tags[0]", "comma");
	expect_bad_entry("\"tags\":", "[\"service:x\"]", "tags[0]", "own tags");
	expect_bad_entry("\"stopUnits\":", "[\"web\"]", "stopUnits[0]", "suffix");
	expect_bad_entry("\"stopUnits\":", "[\"web@.service\"]", "stopUnits[0]", "template");
	expect_bad_entry("\"preBackup\":", "\"a\\u001bb\"", "preBackup", "control");
}

static void
everything_is_said_at_once(void **state)
{
	(void)state;
	cleanup_parsed struct parsed parsed =
	    parse("{\"version\":2,\"hots\":\"x\",\"settle\":\"long\",\"services\":{"
		  "\"a\":{\"paths\":[\"x\",\"/y/\"],\"tags\":[\"a,b\",7]},"
		  "\"b\":{\"data\":{\"sqlite\":true,\"postgres\":{\"database\":\"b\",\"password\":\"x\"}}},\"c\":{},"
		  "\"d\":{\"data\":{\"sqlite\":\"/d/d\"},\"stopUnits\":[]}}}");
	assert_int_equal(parsed.result, -1);
	assert_int_equal(parsed.problems.count, 10);
	expect_problem(&parsed, "m.json: hots", "unknown");
	expect_problem(&parsed, "m.json: settle", "no duration");
	expect_problem(&parsed, "m.json: services.a.paths[0]", "absolute");
	expect_problem(&parsed, "m.json: services.a.paths[1]", "slash");
	expect_problem(&parsed, "m.json: services.a.tags[0]", "comma");
	expect_problem(&parsed, "m.json: services.a.tags[1]", "a whole number");
	expect_problem(&parsed, "m.json: services.b.data.sqlite", "found true");
	expect_problem(&parsed, "m.json: services.b.data.postgres.password", "unknown key");
	expect_problem(&parsed, "m.json: services.c", "nothing");
	expect_problem(&parsed, "m.json: services.d.stopUnits", "nothing stops the service");
}

/* ---- each key of the tables with each wrong type ---- */

static const struct {
	const char *json;
	const char *words;
} samples[] = {{"{}", "an object"}, {"[]", "a list"}, {"\"\"", "a string"}, {"7", "a whole number"},
    {"1.5", "a number with a fraction"}, {"true", "true"}, {"false", "false"}};

/* Written down anew and not taken from the reader. */
static bool
type_takes(enum manifest_type type, char first)
{
	switch (type) {
	case MANIFEST_OBJECT:
	case MANIFEST_SERVICES:
	case MANIFEST_RETENTION: /* of all texts only one */
		return first == '{';
	case MANIFEST_VERSION:
	case MANIFEST_NUMBER:
		return first == '7';
	case MANIFEST_SWITCH:
		return first == 't' || first == 'f';
	case MANIFEST_DURATION:
	case MANIFEST_INTERVAL:
	case MANIFEST_SIZE:
	case MANIFEST_PORT:
		return first == '7' || first == '"';
	case MANIFEST_TIME:
	case MANIFEST_IO_CLASS:
	case MANIFEST_HOST:
	case MANIFEST_GROUP:
	case MANIFEST_PROGRAM:
	case MANIFEST_SHELL:
	case MANIFEST_PATH:
	case MANIFEST_ONE_PATH:
	case MANIFEST_NAME:
	case MANIFEST_SERVER:
		return first == '"';
	case MANIFEST_DATABASES: /* not each list */
		return first == '"' || first == '[' || first == '{';
	case MANIFEST_PATHS:
	case MANIFEST_NAMES:
		return first == '"' || first == '[';
	case MANIFEST_PATTERNS:
	case MANIFEST_TAGS:
	case MANIFEST_UNITS:
		return first == '[';
	}
	return false;
}

/* `before` and `after` are the document around the key. Returns how many wrong values were tried. */
static size_t
try_wrong_types(const struct manifest_key *key, const char *before, const char *after, const char *place)
{
	size_t tried = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(samples); i++) {
		if (type_takes(key->type, samples[i].json[0]))
			continue;
		cleanup_free char *content = xasprintf("%s\"%s\":%s%s", before, key->name, samples[i].json, after);
		cleanup_free char *words =
		    xasprintf("expected %s, found %s", manifest_types[key->type].words, samples[i].words);
		cleanup_parsed struct parsed parsed = parse(content);
		assert_int_equal(parsed.result, -1);
		assert_non_null(strstr(expect_problem(&parsed, place, words)->remedy, key->name));
		tried++;
	}
	return tried;
}

static size_t
try_table(const struct manifest_key *keys, int version, const char *before, const char *after, const char *place)
{
	size_t tried = 0;
	for (const struct manifest_key *key = keys; key->name != NULL; key++) {
		if (version < key->since || (key->until != 0 && version > key->until))
			continue;
		cleanup_free char *key_place =
		    xasprintf("%s%s%s", place, text_ends_with(place, " ") ? "" : ".", key->name);
		/* "version" is in the document already, but then it is this one that is tried. */
		const char *start = key->type == MANIFEST_VERSION ? "{" : before;
		tried += try_wrong_types(key, start, after, key_place);
		if (key->keys == NULL)
			continue;
		bool services = key->type == MANIFEST_SERVICES;
		cleanup_free char *inner_before =
		    xasprintf("%s\"%s\":{%s", before, key->name, services ? "\"web\":{" : "");
		cleanup_free char *inner_after = xasprintf("%s}%s", services ? "}" : "", after);
		cleanup_free char *inner_place = xasprintf("%s%s", key_place, services ? ".web" : "");
		tried += try_table(key->keys, version, inner_before, inner_after, inner_place);
	}
	return tried;
}

static void
every_key_refuses_every_wrong_type(void **state)
{
	(void)state;
	assert_true(try_table(manifest_keys, 1, "{\"version\":1,", "}", "m.json: ") > 60);
	assert_true(try_table(manifest_keys, 2, "{\"version\":2,", "}", "m.json: ") > 200);
}

/* ---- too much of everything ---- */

static void
lists_have_an_end(void **state)
{
	(void)state;
	cleanup_text struct text content = {.string = NULL};
	text_add(&content, "{\"services\":{\"web\":{\"paths\":[\"/a\"");
	for (int i = 0; i < 1000; i++)
		text_printf(&content, ",\"/%d\"", i);
	text_add(&content, "]}}}");
	expect_refusal(content.string, "m.json: services.web.paths", "1001 entries");
}

/* Two hundred warnings come first; the refusal of the other service is listed all the same. */
static void
warnings_crowd_no_error_out(void **state)
{
	(void)state;
	cleanup_text struct text content = {.string = NULL};
	text_add(&content, "{\"version\":2,\"services\":{\"a\":{\"dataDir\":\"/d\",\"data\":{\"sqlite\":[\"/x/a\"");
	for (int i = 0; i < 300; i++)
		text_printf(&content, ",\"/x/%d\"", i);
	text_add(&content, "]}},\"z\":{\"paths\":\"z\"}}}");
	cleanup_parsed struct parsed parsed = parse(content.string);
	assert_int_equal(parsed.result, -1);
	const struct problem *problem = expect_problem(&parsed, "m.json: services.z.paths", "not absolute");
	assert_int_equal(problem->severity, PROBLEM_ERROR);
	expect_problem(&parsed, "m.json", "101 more problems");
}

static void
problems_have_an_end(void **state)
{
	(void)state;
	cleanup_text struct text content = {.string = NULL};
	text_add(&content, "{\"services\":{}");
	for (int i = 0; i < 1000; i++)
		text_printf(&content, ",\"key%d\":1", i);
	text_add(&content, "}");
	cleanup_parsed struct parsed parsed = parse(content.string);
	assert_int_equal(parsed.result, -1);
	/* 200 errors, the warning that no service is declared, and how many are left out. */
	assert_int_equal(parsed.problems.count, 202);
	expect_problem(&parsed, "m.json", "800 more problems");
}

static void
services_have_an_end(void **state)
{
	(void)state;
	cleanup_text struct text content = {.string = NULL};
	text_add(&content, "{\"services\":{\"a\":{}");
	for (int i = 0; i < 10000; i++)
		text_printf(&content, ",\"s%d\":{}", i);
	text_add(&content, "}}");
	expect_refusal(content.string, "m.json: services", "10001 services");
}

static void
ten_megabytes_of_text_are_judged(void **state)
{
	(void)state;
	const size_t length = 10 * 1024 * 1024;
	cleanup_free char *path = xcalloc(length + 1, 1);
	memset(path, 'a', length);
	path[0] = '/';
	cleanup_free char *value = xasprintf("{\"services\":{\"web\":{\"paths\":\"%s\"}}}", path);
	expect_refusal(value, "m.json: services.web.paths", "longer than a path");
	cleanup_free char *key = xasprintf("{\"services\":{},\"%s\":1}", path);
	cleanup_parsed struct parsed parsed = parse(key);
	assert_int_equal(parsed.problems.count, 2);
	for (size_t i = 0; i < parsed.problems.count; i++)
		assert_true(strlen(parsed.problems.items[i].place) < 300);
	cleanup_free char *name = xasprintf("{\"services\":{\"%s\":{\"paths\":\"/a\"}}}", path);
	cleanup_parsed struct parsed named = parse(name);
	assert_int_equal(named.result, -1);
	assert_int_equal(named.problems.count, 1);
	assert_true(strlen(named.problems.items[0].place) < 300);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(syntax_errors_have_line_and_column),
	    cmocka_unit_test(characters_that_no_text_has_are_refused),
	    cmocka_unit_test(duplicates_are_refused),
	    cmocka_unit_test(numbers_have_an_end),
	    cmocka_unit_test(deep_nesting_is_refused),
	    cmocka_unit_test(a_list_is_no_manifest),
	    cmocka_unit_test(unknown_keys_are_refused_with_the_nearest),
	    cmocka_unit_test(a_retention_keeps_something),
	    cmocka_unit_test(control_characters_do_not_reach_a_terminal),
	    cmocka_unit_test(services_that_cannot_be_units_are_refused),
	    cmocka_unit_test(versions_are_1_and_2),
	    cmocka_unit_test(services_are_required),
	    cmocka_unit_test(values_have_bounds),
	    cmocka_unit_test(texts_are_judged_one_by_one),
	    cmocka_unit_test(everything_is_said_at_once),
	    cmocka_unit_test(every_key_refuses_every_wrong_type),
	    cmocka_unit_test(lists_have_an_end),
	    cmocka_unit_test(warnings_crowd_no_error_out),
	    cmocka_unit_test(problems_have_an_end),
	    cmocka_unit_test(services_have_an_end),
	    cmocka_unit_test(ten_megabytes_of_text_are_judged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
