/* Signals and the question they lead to, for commands that only follow: their end ends no job. */
#ifndef ATELIER_CLI_INTERRUPT_H
#define ATELIER_CLI_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/progress.h"

struct interrupt;

enum interrupt_wish { INTERRUPT_NONE, INTERRUPT_DETACH, INTERRUPT_CANCEL };

/* From now on these signals wait for an interrupt_new: what is handed over in between is followed, or detached from,
 * in good order. */
void interrupt_hold(void);

/* SIGINT, SIGTERM and SIGHUP are taken note of from now on, and end nothing by themselves. `unasked` is what SIGINT
 * means where nobody can be asked, because stdin or the screen is no terminal. */
struct interrupt *interrupt_new(enum interrupt_wish unasked);
void interrupt_free(struct interrupt *interrupt); /* accepts NULL; restores signals and terminal */

/* Waits until the descriptor is readable (INTERRUPT_NONE) or somebody wants something. SIGINT at a terminal asks, in
 * the place of the live line, while the descriptor is still waited for; once more means to detach. SIGTERM and SIGHUP
 * detach. */
enum interrupt_wish interrupt_wait(struct interrupt *interrupt, int descriptor, struct progress *progress);

#endif
