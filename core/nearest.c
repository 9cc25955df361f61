#include "core/nearest.h"

#include "core/alloc.h"
#include "core/text.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool
same_letter(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Insertions, deletions, replacements, and neighbours that changed places. */
static size_t
distance(const char *a, const char *b)
{
	size_t width = strlen(b) + 1;
	cleanup_free size_t *cells = xcalloc(3 * width, sizeof(*cells));
	size_t *before = cells, *above = cells + width, *row = cells + 2 * width;
	for (size_t j = 0; j < width; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		size_t *oldest = before;
		before = above, above = row, row = oldest;
		row[0] = i;
		for (size_t j = 1; j < width; j++) {
			row[j] =
			    least(above[j - 1] + !same_letter(a[i - 1], b[j - 1]), least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
	}
	return row[width - 1];
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
