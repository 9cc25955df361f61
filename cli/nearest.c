#include "cli/nearest.h"

#include "core/alloc.h"
#include "core/text.h"

#include <string.h>

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Insertions, deletions, replacements. */
static size_t
distance(const char *a, const char *b)
{
	size_t length = strlen(b);
	cleanup_free size_t *row = xcalloc(length + 1, sizeof(*row));
	for (size_t j = 0; j <= length; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= length; j++) {
			size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
		}
	}
	return row[length];
}

const char *
nearest_word(const char *typed, const char *const *words, size_t count)
{
	const size_t typed_length = strlen(typed);
	/* One slip in three letters still looks like the word. */
	size_t best = least(typed_length / 3, 3) + 1;
	const char *found = NULL;
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(words[i]);
		if (length > typed_length + 3 || typed_length > length + 3)
			continue;
		size_t away = distance(typed, words[i]);
		if (away < best) {
			best = away;
			found = words[i];
		}
	}
	if (found != NULL || typed_length < 2)
		return found;
	for (size_t i = 0; i < count; i++)
		if (text_starts_with(words[i], typed))
			return words[i];
	return NULL;
}
