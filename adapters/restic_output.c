#include "adapters/restic_internal.h"

#include "core/alloc.h"

#include <string.h>

#define WORDS_LENGTH      ((size_t)2000)
#define MOST_SECONDS_LEFT (INT64_C(365) * 24 * 3600)

json_t *
restic_output_object(const char *line, size_t length)
{
	if (length == 0 || line[0] != '{')
		return NULL;
	/* jansson refuses NUL, what is not UTF-8 and numbers out of range: such a line is junk. */
	return json_loadb(line, length, 0, NULL);
}

const char *
restic_output_type(const json_t *object)
{
	const char *type = json_string_value(json_object_get(object, "message_type"));
	return type == NULL ? "" : type;
}

bool
restic_output_count(const json_t *object, const char *key, uint64_t *ret_count)
{
	const json_t *value = json_object_get(object, key);
	if (value == NULL) {
		*ret_count = 0;
		return true;
	}
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*ret_count = (uint64_t)json_integer_value(value);
	return true;
}

static uint64_t
count_or_zero(const json_t *object, const char *key)
{
	uint64_t count = 0;
	restic_output_count(object, key, &count);
	return count;
}

static double
progress_fraction(const json_t *object, uint64_t bytes_total)
{
	const json_t *value = json_object_get(object, "percent_done");
	if (value == NULL)
		return bytes_total > 0 ? 0 : -1;
	double fraction = json_number_value(value);
	return json_is_number(value) && fraction >= 0 && fraction <= 1 ? fraction : -1;
}

/* While hardly a byte has gone, restic computes ages from it (seen: 9938368242149). */
static int64_t
progress_seconds_left(const json_t *object)
{
	const json_t *left = json_object_get(object, "seconds_remaining");
	int64_t seconds = json_is_integer(left) ? json_integer_value(left) : -1;
	return seconds >= 0 && seconds <= MOST_SECONDS_LEFT ? seconds : -1;
}

void
restic_output_progress(const json_t *object, struct restic_progress *ret_progress)
{
	struct restic_progress progress = {
	    .bytes_done = count_or_zero(object, "bytes_done"),
	    .bytes_total = count_or_zero(object, "total_bytes"),
	    .files_done = count_or_zero(object, "files_done"),
	    .files_total = count_or_zero(object, "total_files"),
	    .errors = count_or_zero(object, "error_count"),
	    .seconds_left = progress_seconds_left(object),
	};
	progress.fraction = progress_fraction(object, progress.bytes_total);
	*ret_progress = progress;
}

bool
restic_is_id(const char *string, size_t digits)
{
	return strspn(string, "0123456789abcdef") == digits && string[digits] == '\0';
}

static char *
read_snapshot_id(const json_t *object)
{
	const char *id = json_string_value(json_object_get(object, "snapshot_id"));
	/* 0.14 gives the short form. */
	if (id == NULL || !(restic_is_id(id, 64) || restic_is_id(id, 8)))
		return NULL;
	return xstrdup(id);
}

static bool
read_directories(const json_t *object, uint64_t *ret_directories)
{
	static const char *const keys[] = {"dirs_new", "dirs_changed", "dirs_unmodified"};
	uint64_t sum = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
		uint64_t count;
		if (!restic_output_count(object, keys[i], &count) || __builtin_add_overflow(sum, count, &sum))
			return false;
	}
	*ret_directories = sum;
	return true;
}

void
restic_output_summary(const json_t *object, struct restic_summary *ret_summary)
{
	struct restic_summary summary = {
	    .present = true,
	    .dry_run = json_is_true(json_object_get(object, "dry_run")),
	    .snapshot_id = read_snapshot_id(object),
	};
	/* 0.14 does not tell what compression made of it. */
	const char *added = json_object_get(object, "data_added_packed") != NULL ? "data_added_packed" : "data_added";
	summary.readable = restic_output_count(object, "files_new", &summary.files_new) &&
			   restic_output_count(object, "files_changed", &summary.files_changed) &&
			   restic_output_count(object, "files_unmodified", &summary.files_unmodified) &&
			   restic_output_count(object, "total_files_processed", &summary.files) &&
			   restic_output_count(object, "total_bytes_processed", &summary.bytes) &&
			   restic_output_count(object, added, &summary.bytes_added) &&
			   read_directories(object, &summary.directories);
	*ret_summary = summary;
}

/* 0.17.1 and newer give the message; before, it is whatever Go made of the error: {"Op","Path","Err"} or
 * nothing. */
static char *
unmasked_reason(const json_t *object)
{
	const json_t *error = json_object_get(object, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	if (message == NULL)
		message = json_string_value(json_object_get(object, "message"));
	if (message != NULL)
		return xstrdup(message);
	const json_t *number = json_object_get(error, "Err");
	const char *doing = json_string_value(json_object_get(error, "Op"));
	if (!json_is_integer(number) || json_integer_value(number) <= 0 || json_integer_value(number) > 4095)
		return xstrdup("it cannot be read");
	const char *reason = strerror((int)json_integer_value(number));
	return doing == NULL ? xstrdup(reason) : xasprintf("%s: %s", doing, reason);
}

char *
restic_output_reason(const json_t *object)
{
	cleanup_free char *reason = unmasked_reason(object);
	cleanup_free char *printable = text_printable(reason);
	return restic_mask(printable);
}

/* NULL for an object that is no message to people. */
static char *
object_words(const json_t *object)
{
	const char *item = json_string_value(json_object_get(object, "item"));
	if (strcmp(restic_output_type(object), "error") != 0)
		return xstrdup_null(json_string_value(json_object_get(object, "message")));
	cleanup_free char *reason = unmasked_reason(object);
	return item == NULL ? take_pointer(reason) : xasprintf("%s: %s", item, reason);
}

/* Where restic blanks its own progress line first: ESC[2K (0.14, 0.18) or CR (0.19). */
static size_t
skip_blanking(const char *line, size_t length)
{
	size_t skipped = 0;
	for (;;) {
		if (length - skipped >= 4 && memcmp(line + skipped, "\033[2K", 4) == 0)
			skipped += 4;
		else if (length > skipped && line[skipped] == '\r')
			skipped++;
		else
			return skipped;
	}
}

char *
restic_output_words(const char *line, size_t length)
{
	cleanup_json json_t *object = restic_output_object(line, length);
	cleanup_free char *unwrapped = object == NULL ? NULL : object_words(object);
	if (unwrapped != NULL) {
		line = unwrapped;
		length = strlen(unwrapped);
	}
	size_t skipped = skip_blanking(line, length);
	line += skipped;
	length -= skipped;
	/* 0.19 appends stack traces to some messages; the first line is the message. */
	const char *newline = memchr(line, '\n', length);
	if (newline != NULL)
		length = (size_t)(newline - line);
	cleanup_free char *printable = text_printable_bytes(line, restic_mask_cut(line, length, WORDS_LENGTH));
	return restic_mask(printable);
}
