/* Text: a growing buffer, words that are safe for a terminal, sizes and durations as people write them. */
#ifndef ATELIER_CORE_TEXT_H
#define ATELIER_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing string. A zeroed struct is the empty text; `string` is always NUL-terminated once anything was added.
 * text_take hands the string over (never NULL) and leaves the empty text. */
struct text {
	char *string;
	size_t length;
	size_t room;
};

void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const void *bytes, size_t length);
void text_add_number(struct text *text, uint64_t number); /* in decimal, without a printf */
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_clear(struct text *text); /* releases */
char *text_take(struct text *text);

#define cleanup_text __attribute__((cleanup(text_clear)))

/* A copy in which every control character (C0, DEL, C1), every bidirectional override and every byte that is not
 * UTF-8 is replaced by '?': what comes from outside cannot drive a terminal. Newlines and tabs are control
 * characters too. The caller owns the copy. */
char *text_printable(const char *string);
char *text_printable_bytes(const char *bytes, size_t length);
void text_add_printable(struct text *text, const char *string);

/* True if text_printable would change nothing. */
bool text_is_printable(const char *string);

bool text_starts_with(const char *string, const char *prefix);
bool text_ends_with(const char *string, const char *suffix);

/* "999 B", "1.5 KiB", "12.3 GiB" (binary units). The caller owns the result. */
char *text_size(uint64_t bytes);

/* Reads "4096" (bytes), "512MiB", "2GiB" (B, KiB, MiB, GiB, TiB). Returns false on anything else and on overflow;
 * `ret_bytes` is then untouched. */
bool text_parse_size(const char *string, int64_t *ret_bytes);

/* "12 ms", "0.4 s", "42 s", "3 min 5 s", "2 h 10 min", "3 d 4 h"; from microseconds. The caller owns the result. */
char *text_duration(int64_t microseconds);
void text_add_duration(struct text *text, int64_t microseconds);

/* Reads "90", "90s", "10m", "2h", "1d" or sums such as "1h30m"; a bare number is seconds. Returns false on
 * anything else, on overflow and on a negative value; `ret_microseconds` is then untouched. */
bool text_parse_duration(const char *string, int64_t *ret_microseconds);

/* RFC 3339 in local time with its offset ("2026-11-23T02:00:00+01:00") from microseconds since the epoch. */
char *text_time_rfc3339(int64_t microseconds);

/* "2026-11-23 02:00:00" in local time. */
char *text_time_local(int64_t microseconds);

/* Parses the RFC 3339 times restic writes (fraction and offset or 'Z'). Returns false if it is none. */
bool text_parse_rfc3339(const char *string, int64_t *ret_microseconds);

/* The same, and its offset in seconds east of UTC. */
bool text_parse_rfc3339_zone(const char *string, int64_t *ret_microseconds, int32_t *ret_zone_offset);

/* Joins a NULL-terminated list. The caller owns the result. */
char *text_join(char *const *list, const char *separator);

#endif
