/* Programs that are asked who they are. */
#ifndef ATELIER_ADAPTERS_PROGRAM_H
#define ATELIER_ADAPTERS_PROGRAM_H

#include <stdbool.h>

#include "core/error.h"

/* Runs a program that is to say something about itself ("--version") and to end. `name` is for log lines; the
 * environment is environment_base's, the language English. Gives the first line of stdout that is not empty, "" if
 * there was none, which the caller owns, and whether it exited with 0. -1 if it could not be started.
 *
 * Blocks, on a loop of its own: some milliseconds, and at most 10 s, when a program that hangs is killed. What the
 * kernel itself does not end, as on a network file system whose server is gone, is waited for. */
int
program_ask(const char *name, const char *const *arguments, char **ret_answer, bool *ret_good, struct error *error);

#endif
