#include "core/text.h"

#include "core/alloc.h"
#include "core/clock.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

/* Room for nearly every size and duration. */
#define LONGEST_QUANTITY 24

static void
text_reserve(struct text *text, size_t more)
{
	size_t needed = text->length + more + 1;
	if (needed <= text->room)
		return;
	size_t room = text->room * 2 > needed ? text->room * 2 : needed;
	text->string = xreallocarray(text->string, room, 1);
	text->room = room;
	text->string[text->length] = '\0';
}

void
text_add_bytes(struct text *text, const void *bytes, size_t length)
{
	text_reserve(text, length);
	if (length > 0)
		memcpy(text->string + text->length, bytes, length);
	text->length += length;
	text->string[text->length] = '\0';
}

void
text_add(struct text *text, const char *string)
{
	text_add_bytes(text, string, strlen(string));
}

void
text_add_number(struct text *text, uint64_t number)
{
	char digits[sizeof("18446744073709551615") - 1];
	size_t first = sizeof(digits);
	do
		digits[--first] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	text_add_bytes(text, digits + first, sizeof(digits) - first);
}

void
text_printf(struct text *text, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	cleanup_free char *string = xvasprintf(format, arguments);
	va_end(arguments);
	text_add(text, string);
}

void
text_clear(struct text *text)
{
	free(text->string);
	*text = (struct text){.string = NULL};
}

char *
text_take(struct text *text)
{
	char *string = text->string == NULL ? xstrdup("") : text->string;
	*text = (struct text){.string = NULL};
	return string;
}

/* Decodes one character of well-formed UTF-8 (no overlong form, no surrogate). Returns its length, or 0. */
static size_t
utf8_decode(const unsigned char *bytes, size_t length, uint32_t *ret_character)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};

	if (bytes[0] < 0x80) {
		*ret_character = bytes[0];
		return 1;
	}
	size_t size = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
	if (bytes[0] < 0xc0 || bytes[0] >= 0xf8 || size > length)
		return 0;
	uint32_t character = bytes[0] & (0x7fU >> size);
	for (size_t i = 1; i < size; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | (bytes[i] & 0x3fU);
	}
	if (character < smallest[size] || character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff))
		return 0;
	*ret_character = character;
	return size;
}

static bool
character_is_safe(uint32_t character)
{
	bool control = character < 0x20 || (character >= 0x7f && character <= 0x9f);
	bool override = (character >= 0x202a && character <= 0x202e) || (character >= 0x2066 && character <= 0x2069);
	return !control && !override;
}

/* The length of the safe character at `bytes`; 0 if there is none, and then *ret_skip bytes become one '?'.
 */
static size_t
safe_length(const char *bytes, size_t length, size_t *ret_skip)
{
	uint32_t character;
	size_t size = utf8_decode((const unsigned char *)bytes, length, &character);
	if (size > 0 && character_is_safe(character))
		return size;
	*ret_skip = size > 0 ? size : 1;
	return 0;
}

/* How much is plain ASCII at the beginning: nearly all there is. */
static size_t
plain_length(const char *bytes, size_t length)
{
	size_t plain = 0;
	while (plain < length && bytes[plain] >= 0x20 && bytes[plain] < 0x7f)
		plain++;
	return plain;
}

static void
add_printable(struct text *text, const char *bytes, size_t length)
{
	size_t safe = 0; /* where the safe characters begin that are not in the text yet */
	for (size_t i = plain_length(bytes, length); i < length;) {
		size_t skip;
		size_t size = safe_length(bytes + i, length - i, &skip);
		if (size > 0) {
			i += size;
			continue;
		}
		text_add_bytes(text, bytes + safe, i - safe);
		text_add_bytes(text, "?", 1);
		i += skip;
		safe = i;
	}
	text_add_bytes(text, bytes + safe, length - safe);
}

void
text_add_printable(struct text *text, const char *string)
{
	add_printable(text, string, strlen(string));
}

char *
text_printable_bytes(const char *bytes, size_t length)
{
	cleanup_text struct text result = {.string = NULL};
	text_reserve(&result, length);
	add_printable(&result, bytes, length);
	return text_take(&result);
}

char *
text_printable(const char *string)
{
	return text_printable_bytes(string, strlen(string));
}

bool
text_is_printable(const char *string)
{
	size_t length = strlen(string);
	for (size_t i = plain_length(string, length); i < length;) {
		size_t skip;
		size_t size = safe_length(string + i, length - i, &skip);
		if (size == 0)
			return false;
		i += size;
	}
	return true;
}

bool
text_starts_with(const char *string, const char *prefix)
{
	return strncmp(string, prefix, strlen(prefix)) == 0;
}

bool
text_ends_with(const char *string, const char *suffix)
{
	size_t length = strlen(string);
	size_t suffix_length = strlen(suffix);
	return length >= suffix_length && strcmp(string + length - suffix_length, suffix) == 0;
}

/* Of these there are thousands on a screen, which is why they do without printf. */
static void
add_quantity(struct text *text, uint64_t number, const char *unit)
{
	text_add_number(text, number);
	text_add(text, " ");
	text_add(text, unit);
}

/* With one digit behind the point. */
static void
add_rough_quantity(struct text *text, double number, const char *unit)
{
	uint64_t tenths = (uint64_t)(number * 10 + 0.5);
	text_add_number(text, tenths / 10);
	text_add(text, ".");
	add_quantity(text, tenths % 10, unit);
}

char *
text_size(uint64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	struct text text = {.string = NULL};

	text_reserve(&text, LONGEST_QUANTITY);
	if (bytes < 1024) {
		add_quantity(&text, bytes, "B");
		return text_take(&text);
	}
	double value = (double)bytes / 1024;
	size_t unit = 0;
	/* 1023.95 would be told as "1024.0". */
	while (value >= 1023.95 && unit + 1 < ARRAY_LENGTH(units)) {
		value /= 1024;
		unit++;
	}
	add_rough_quantity(&text, value, units[unit]);
	return text_take(&text);
}

static void
add_two_units(struct text *text, uint64_t large, const char *large_unit, uint64_t small, const char *small_unit)
{
	add_quantity(text, large, large_unit);
	if (small == 0)
		return;
	text_add(text, " ");
	add_quantity(text, small, small_unit);
}

static void
add_duration(struct text *text, uint64_t length)
{
	if (length < 100 * (uint64_t)USEC_PER_MSEC) {
		add_quantity(text, length / (uint64_t)USEC_PER_MSEC, "ms");
		return;
	}
	/* 9.95 s would be told as "10.0 s". */
	if (length < 9950 * (uint64_t)USEC_PER_MSEC) {
		add_rough_quantity(text, (double)length / (double)USEC_PER_SEC, "s");
		return;
	}
	uint64_t seconds = (length + (uint64_t)USEC_PER_SEC / 2) / (uint64_t)USEC_PER_SEC;
	if (seconds < 60)
		add_quantity(text, seconds, "s");
	else if (seconds < 60 * 60)
		add_two_units(text, seconds / 60, "min", seconds % 60, "s");
	else if (seconds < 24 * 60 * 60)
		add_two_units(text, seconds / (60 * 60), "h", seconds / 60 % 60, "min");
	else
		add_two_units(text, seconds / (24 * 60 * 60), "d", seconds / (60 * 60) % 24, "h");
}

void
text_add_duration(struct text *text, int64_t microseconds)
{
	text_reserve(text, LONGEST_QUANTITY);
	if (microseconds < 0)
		text_add(text, "-");
	add_duration(text, microseconds < 0 ? -(uint64_t)microseconds : (uint64_t)microseconds);
}

char *
text_duration(int64_t microseconds)
{
	struct text text = {.string = NULL};
	text_add_duration(&text, microseconds);
	return text_take(&text);
}

static int64_t
duration_unit(char letter)
{
	switch (letter) {
	case 's':
		return USEC_PER_SEC;
	case 'm':
		return USEC_PER_MIN;
	case 'h':
		return USEC_PER_HOUR;
	case 'd':
		return USEC_PER_DAY;
	default:
		return 0;
	}
}

/* Reads decimal digits at *cursor, at least one, and moves the cursor behind them. */
static bool
parse_digits(const char **cursor, int64_t *ret_number)
{
	const char *start = *cursor;
	int64_t number = 0;
	while (isdigit((unsigned char)**cursor)) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, **cursor - '0', &number))
			return false;
		(*cursor)++;
	}
	if (*cursor == start)
		return false;
	*ret_number = number;
	return true;
}

bool
text_parse_duration(const char *string, int64_t *ret_microseconds)
{
	int64_t sum = 0;
	const char *cursor = string;
	do {
		int64_t number;
		bool first = cursor == string;
		if (!parse_digits(&cursor, &number))
			return false;
		int64_t unit = first && *cursor == '\0' ? USEC_PER_SEC : duration_unit(*cursor);
		if (unit == 0)
			return false;
		if (__builtin_mul_overflow(number, unit, &number) || __builtin_add_overflow(sum, number, &sum))
			return false;
		if (*cursor != '\0')
			cursor++;
	} while (*cursor != '\0');
	*ret_microseconds = sum;
	return true;
}

bool
text_parse_size(const char *string, int64_t *ret_bytes)
{
	static const struct {
		const char *unit;
		int64_t bytes;
	} units[] = {
	    {"", 1},
	    {"B", 1},
	    {"KiB", INT64_C(1) << 10},
	    {"MiB", INT64_C(1) << 20},
	    {"GiB", INT64_C(1) << 30},
	    {"TiB", INT64_C(1) << 40},
	};
	int64_t number;
	if (!parse_digits(&string, &number))
		return false;
	for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
		if (strcmp(string, units[i].unit) != 0)
			continue;
		if (number > INT64_MAX / units[i].bytes)
			return false;
		*ret_bytes = number * units[i].bytes;
		return true;
	}
	return false;
}

/* Seconds since the epoch, rounded down also before it. */
static time_t
floor_seconds(int64_t microseconds)
{
	int64_t seconds = microseconds / USEC_PER_SEC;
	return (time_t)(microseconds % USEC_PER_SEC < 0 ? seconds - 1 : seconds);
}

static char *
format_local(int64_t microseconds, const char *format, struct tm *ret_local)
{
	time_t seconds = floor_seconds(microseconds);
	char string[64];
	localtime_r(&seconds, ret_local);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* both callers pass a literal */
	strftime(string, sizeof(string), format, ret_local);
#pragma GCC diagnostic pop
	return xstrdup(string);
}

char *
text_time_local(int64_t microseconds)
{
	struct tm local;
	return format_local(microseconds, "%Y-%m-%d %H:%M:%S", &local);
}

char *
text_time_rfc3339(int64_t microseconds)
{
	struct tm local;
	cleanup_free char *time = format_local(microseconds, "%Y-%m-%dT%H:%M:%S", &local);
	long minutes = local.tm_gmtoff / 60;
	long ahead = minutes < 0 ? -minutes : minutes;
	return xasprintf("%s%c%02ld:%02ld", time, minutes < 0 ? '-' : '+', ahead / 60, ahead % 60);
}

/* Reads exactly `width` digits and then `after`, unless that is NUL. */
static bool
parse_field(const char **cursor, int width, char after, int lowest, int highest, int *ret_value)
{
	int value = 0;
	for (int i = 0; i < width; i++) {
		if (!isdigit((unsigned char)(*cursor)[0]))
			return false;
		value = value * 10 + (*(*cursor)++ - '0');
	}
	if (value < lowest || value > highest)
		return false;
	if (after != '\0' && *(*cursor)++ != after)
		return false;
	*ret_value = value;
	return true;
}

/* Go writes up to nine digits; what is finer than a microsecond is cut. */
static bool
parse_fraction(const char **cursor, int64_t *ret_microseconds)
{
	int64_t microseconds = 0;
	int64_t weight = USEC_PER_SEC / 10;
	if (**cursor != '.') {
		*ret_microseconds = 0;
		return true;
	}
	(*cursor)++;
	if (!isdigit((unsigned char)**cursor))
		return false;
	for (; isdigit((unsigned char)**cursor); (*cursor)++, weight /= 10)
		microseconds += (**cursor - '0') * weight;
	*ret_microseconds = microseconds;
	return true;
}

static bool
parse_offset(const char **cursor, int32_t *ret_seconds)
{
	int hours, minutes;
	char sign = *(*cursor)++;
	if (sign == 'Z') {
		*ret_seconds = 0;
		return true;
	}
	if (sign != '+' && sign != '-')
		return false;
	if (!parse_field(cursor, 2, ':', 0, 23, &hours) || !parse_field(cursor, 2, '\0', 0, 59, &minutes))
		return false;
	int32_t seconds = (hours * 60 + minutes) * 60;
	*ret_seconds = sign == '-' ? -seconds : seconds;
	return true;
}

bool
text_parse_rfc3339(const char *string, int64_t *ret_microseconds)
{
	int32_t zone_offset;
	return text_parse_rfc3339_zone(string, ret_microseconds, &zone_offset);
}

bool
text_parse_rfc3339_zone(const char *string, int64_t *ret_microseconds, int32_t *ret_zone_offset)
{
	const char *cursor = string;
	struct tm parts = {.tm_isdst = 0};
	int64_t fraction;
	int32_t offset;
	int year, month;
	if (!parse_field(&cursor, 4, '-', 0, 9999, &year) || !parse_field(&cursor, 2, '-', 1, 12, &month) ||
	    !parse_field(&cursor, 2, 'T', 1, 31, &parts.tm_mday) ||
	    !parse_field(&cursor, 2, ':', 0, 23, &parts.tm_hour) ||
	    !parse_field(&cursor, 2, ':', 0, 59, &parts.tm_min) ||
	    !parse_field(&cursor, 2, '\0', 0, 59, &parts.tm_sec) || !parse_fraction(&cursor, &fraction) ||
	    !parse_offset(&cursor, &offset) || *cursor != '\0')
		return false;
	int day = parts.tm_mday;
	parts.tm_year = year - 1900;
	parts.tm_mon = month - 1;
	int64_t seconds = timegm(&parts);
	/* timegm turns a 30th of February into a day of March. */
	if (parts.tm_mday != day)
		return false;
	*ret_microseconds = (seconds - offset) * USEC_PER_SEC + fraction;
	*ret_zone_offset = offset;
	return true;
}

char *
text_join(char *const *list, const char *separator)
{
	cleanup_text struct text result = {.string = NULL};
	for (size_t i = 0; list != NULL && list[i] != NULL; i++) {
		if (i > 0)
			text_add(&result, separator);
		text_add(&result, list[i]);
	}
	return text_take(&result);
}
