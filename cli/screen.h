/* A terminal taken over as a whole: what is drawn replaces what was there, line by line, without flicker, and what
 * the terminal showed before comes back at the end, whatever ends it. */
#ifndef ATELIER_CLI_SCREEN_H
#define ATELIER_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct screen;

/* ERROR_USAGE if stdin or stdout is no terminal that can do it. */
struct screen *screen_open(struct error *error);
void screen_close(struct screen *screen); /* accepts NULL */

/* Shows these lines, cut to the terminal's width and height, the last line of which is `footer`. Only if they differ
 * from what is shown; in one write. Colours may be in the text; nothing else that drives a terminal. */
void screen_draw(struct screen *screen, const char *text, const char *footer);

/* Waits for at most `patience` microseconds, less if the size has changed. False when somebody wants the end: q,
 * Ctrl-C, a signal, or the terminal is gone. */
bool screen_wait(struct screen *screen, int64_t patience);

/* The longest beginning of a line that takes at most so many columns, sequences of colour included and ended. The
 * caller owns it. */
char *screen_cut(const char *line, size_t length, size_t columns);

#endif
