/* What a terminal can show: colour where it is wanted, and how wide a text is on the screen. */
#ifndef ATELIER_CLI_TERMINAL_H
#define ATELIER_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Colour never says anything that the words beside it do not say. */
enum tone { TONE_PLAIN, TONE_GOOD, TONE_WARNING, TONE_BAD, TONE_FAINT };

/* Chooses UTF-8 for widths whatever the environment says: all we print is UTF-8. Numbers keep the point. */
void terminal_choose_locale(void);

/* A terminal, and neither NO_COLOR nor TERM=dumb. A stream into memory (open_memstream) counts as stdout. */
bool terminal_has_colour(FILE *file);

/* The sequence that begins a tone, and the one that ends it; "" for TONE_PLAIN and where there is no colour.
 */
const char *terminal_tone(FILE *file, enum tone tone);
const char *terminal_end(FILE *file, enum tone tone);

/* Columns of a printable text. */
size_t terminal_width(const char *text);

#endif
