/* Everything restic writes, of all versions and of whatever calls itself restic. An input is a run that is played to
 * the adapter without a process: the first line says what was asked and how it ended ("backup exit 3", "snapshots
 * signal 9 stopped"), each further one is a line of stdout, or of stderr if it begins with "2>". */
#include "adapters/restic_internal.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <math.h>

#include "core/alloc.h"

#define MISSING_LISTED 100

/* Nothing else in a run has a tilde. */
#define PASSWORD "~~~~~~~~~~~~~~~~~~~~~~~~"
#define SECRET   " rest:https://bob:" PASSWORD "@host/ "

static struct restic_settings settings = {
    .program = (char[]){"restic"},
    .repository_file = (char[]){"/r"},
    .password_file = (char[]){"/p"},
    .cache_directory = (char[]){"/c"},
    .host = (char[]){"cellar"},
};

/* What a run came to. */
struct played {
	struct child_exit exit;
	int calls;
	bool good;
};

static void
check_words(const char *words)
{
	assert(text_is_printable(words) && strchr(words, '~') == NULL);
}

/* ---- the pieces, line by line ---- */

static void
check_count(const json_t *object, const char *key)
{
	uint64_t count;
	fuzz_mark(&count, sizeof(count));
	if (restic_output_count(object, key, &count))
		assert(count <= INT64_MAX);
	else
		fuzz_expect_untouched(&count, sizeof(count));
}

static void
check_progress(const struct restic_progress *progress)
{
	assert(!isnan(progress->fraction) && progress->fraction <= 1);
	assert(progress->seconds_left >= -1);
}

static void
check_object(const json_t *object)
{
	struct restic_progress progress;
	struct restic_summary summary;
	const char *key;
	json_t *value;
	assert(json_is_object(object));
	json_object_foreach ((json_t *)(uintptr_t)object, key, value)
		check_count(object, key);
	restic_output_progress(object, &progress);
	check_progress(&progress);
	restic_output_summary(object, &summary);
	assert(summary.present);
	assert(summary.snapshot_id == NULL || restic_is_id(summary.snapshot_id, 8) ||
	       restic_is_id(summary.snapshot_id, 64));
	free(summary.snapshot_id);
	cleanup_free char *reason = restic_output_reason(object);
	assert(reason != NULL);
}

/* Nothing that a URL may hold as a password gets through. */
static void
check_mask(const char *line)
{
	cleanup_free char *password = xstrdup(line);
	for (char *c = password; *c != '\0'; c++)
		if (!isgraph((unsigned char)*c) || strchr("/\"<>", *c) != NULL)
			*c = '.';
	cleanup_free char *url = xasprintf("Fatal: rest:https://bob:%s@host/repository: refused", password);
	cleanup_free char *masked = restic_mask(url);
	assert(strcmp(masked, "Fatal: rest:https://bob:***@host/repository: refused") == 0);
}

/* Nor does a part of one, wherever a long line is cut. */
static void
check_cut(const char *line)
{
	cleanup_free char *said = xasprintf("%s" SECRET, line);
	cleanup_free char *words = restic_output_words(said, strlen(said));
	check_words(words);
}

static void
check_line(const char *line, size_t length)
{
	cleanup_json json_t *object = restic_output_object(line, length);
	cleanup_free char *words = restic_output_words(line, length);
	check_words(words);
	check_mask(line);
	check_cut(line);
	if (object != NULL)
		check_object(object);
}

/* ---- the verdict over exit code and words ---- */

static void
check_verdict(const struct child_exit *exit, const struct error *error)
{
	static const struct {
		int exit_code;
		enum error_code code;
	} definite[] = {
	    {3, ERROR_SOURCE_PARTLY_UNREADABLE},
	    {10, ERROR_REPOSITORY_MISSING},
	    {11, ERROR_REPOSITORY_LOCKED},
	    {12, ERROR_REPOSITORY_PASSWORD},
	    {130, ERROR_RESTIC_KILLED},
	};
	assert((error->code == ERROR_CANCELLED) ==
	       (exit->stopped_by_us && (exit->signalled || (exit->number != 0 && exit->number != 3))));
	if (error->code == ERROR_CANCELLED)
		return;
	assert(error->hint != NULL);
	if (exit->signalled)
		assert(error->code == ERROR_RESTIC_KILLED);
	for (size_t i = 0; i < ARRAY_LENGTH(definite) && !exit->signalled; i++)
		assert(exit->number != definite[i].exit_code || error->code == definite[i].code);
}

static void
check_classify(const struct child_exit *exit, const char *words)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	int result = restic_classify(exit->signalled ? -1 : exit->number, exit->signalled ? exit->number : 0,
	    exit->stopped_by_us, words, &error);
	if (!exit->signalled && exit->number == 0) {
		fuzz_expect_success(result, &error);
		return;
	}
	fuzz_expect_error(result, &error);
	check_words(error.message);
	check_verdict(exit, &error);
	if (error_class_of(error.code) == ERROR_CLASS_PARTIAL)
		assert(!exit->signalled && exit->number == 3);
}

/* ---- a backup ---- */

static void
take_progress(void *context, const struct restic_progress *progress)
{
	(void)context;
	check_progress(progress);
}

static void
take_words(void *context, const char *line)
{
	(void)context;
	assert(line[0] != '\0');
	check_words(line);
}

/* The contract of struct restic_backup_result: good is only what is good. */
static void
take_result(void *context, const struct restic_backup_result *result)
{
	struct played *played = context;
	const char *id = result->snapshot_id;
	size_t listed = strings_count(result->missing);
	played->calls++;
	played->good = result->error.code == ERROR_NONE;
	assert(result->exit_code == (played->exit.signalled ? -1 : played->exit.number));
	assert(id == NULL || restic_is_id(id, 8) || restic_is_id(id, 64));
	assert(listed == (result->missing_count < MISSING_LISTED ? result->missing_count : MISSING_LISTED));
	for (size_t i = 0; i < listed; i++)
		check_words(result->missing[i]);
	if (played->good) {
		assert(result->exit_code == 0 && id != NULL && result->missing_count == 0);
		assert(result->error.message == NULL);
	} else {
		fuzz_expect_error(-1, &result->error);
		check_words(result->error.message);
	}
	if (error_class_of(result->error.code) == ERROR_CLASS_PARTIAL)
		assert(id != NULL && (result->exit_code == 0 || result->exit_code == 3));
}

static struct restic_call *
begin_backup(struct played *played)
{
	char *paths[] = {(char[]){"/srv/web"}, (char[]){"/etc/web.conf"}, NULL};
	const struct restic_backup_request request = {
	    .paths = paths,
	    .on_progress = take_progress,
	    .on_words = take_words,
	    .context = played,
	};
	return restic_backup_new(NULL, &settings, &request, take_result, NULL);
}

/* ---- a listing ---- */

static void
check_snapshot(const struct restic_snapshot *snapshot)
{
	assert(restic_is_id(snapshot->id, 64) && text_is_printable(snapshot->hostname));
	for (size_t i = 0; i < strings_count(snapshot->paths); i++)
		assert(text_is_printable(snapshot->paths[i]));
	for (size_t i = 0; i < strings_count(snapshot->tags); i++)
		assert(text_is_printable(snapshot->tags[i]));
	/* Whoever shows or compares it can do so. */
	cleanup_free char *time = text_time_rfc3339(snapshot->time);
	int64_t again;
	if (text_parse_rfc3339(time, &again))
		assert(again / 1000000 == snapshot->time / 1000000 || snapshot->time < 0);
	if (!snapshot->has_summary)
		assert(snapshot->files == 0 && snapshot->bytes == 0 && snapshot->bytes_added == 0);
}

/* All of it or nothing: "no snapshots" is an answer, "cannot read them" another. */
static void
take_snapshots(void *context, const struct restic_snapshot *snapshots, size_t count, const struct error *error)
{
	struct played *played = context;
	played->calls++;
	played->good = !error_is_set(error);
	if (!played->good) {
		fuzz_expect_error(-1, error);
		assert(snapshots == NULL && count == 0);
		return;
	}
	assert(!played->exit.signalled && played->exit.number == 0);
	for (size_t i = 0; i < count; i++) {
		check_snapshot(&snapshots[i]);
		assert(i == 0 || snapshots[i - 1].time <= snapshots[i].time);
	}
}

/* ---- a run ---- */

/* A copy of a line of the input, with a password in it where the input says so. */
static char *
write_line(const char *bytes, size_t length, size_t *ret_length)
{
	static const char placeholder[] = "SECRET";
	struct text line = {.string = NULL};
	text_add(&line, "");
	for (size_t i = 0; i < length; i++) {
		if (length - i >= strlen(placeholder) && memcmp(bytes + i, placeholder, strlen(placeholder)) == 0) {
			text_add(&line, SECRET);
			i += strlen(placeholder) - 1;
		} else {
			text_add_bytes(&line, bytes[i] == '~' ? "-" : &bytes[i], 1);
		}
	}
	*ret_length = line.length;
	/* Ends with its last byte, so that reading further is noticed. */
	char *exact = xmemdup(line.string, line.length + 1);
	text_clear(&line);
	return exact;
}

static bool
take_line(const char **content, size_t *size, char **ret_line, size_t *ret_length, bool *ret_cut)
{
	if (*size == 0)
		return false;
	const char *newline = memchr(*content, '\n', *size);
	size_t length = newline == NULL ? *size : (size_t)(newline - *content);
	*ret_cut = newline == NULL;
	*ret_line = write_line(*content, length, ret_length);
	*content += length + !*ret_cut;
	*size -= length + !*ret_cut;
	return true;
}

static struct restic_call *
begin(const char *heading, struct played *played)
{
	const char *number = heading + strcspn(heading, "0123456789");
	played->exit.signalled = strstr(heading, "signal") != NULL;
	played->exit.stopped_by_us = strstr(heading, "stopped") != NULL;
	played->exit.number = (int)(strtoul(number, NULL, 10) % 256);
	if (played->exit.signalled)
		played->exit.number = 1 + played->exit.number % 64;
	if (strstr(heading, "snapshots") != NULL)
		return restic_snapshots_new(NULL, &settings, take_snapshots, played, NULL);
	return begin_backup(played);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *content = (const char *)data;
	struct played played = {.calls = 0};
	char *line;
	size_t length;
	bool cut;
	if (!take_line(&content, &size, &line, &length, &cut))
		return 0;
	struct restic_call *call = begin(line, &played);
	assert(call != NULL);
	free(line);
	cleanup_text struct text words = {.string = NULL};
	while (take_line(&content, &size, &line, &length, &cut)) {
		check_line(line, length);
		if (text_starts_with(line, "2>")) {
			restic_call_take_stderr(call, line + 2, length - 2, cut);
			text_printf(&words, "%s\n", line + 2);
		} else {
			restic_call_take_stdout(call, line, length, cut);
		}
		free(line);
	}
	check_classify(&played.exit, words.string == NULL ? "" : words.string);
	restic_call_process_ended(call, &played.exit);
	assert(played.calls == 1);
	fuzz_verdict(played.good);
	return 0;
}
