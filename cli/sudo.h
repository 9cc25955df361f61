/* Becoming root where root is needed. */
#ifndef ATELIER_CLI_SUDO_H
#define ATELIER_CLI_SUDO_H

#include "cli/command.h"

/* Returns 0 if `command` may run as we are. Else runs this program again through sudo and does not return, if
 * a person sits at a terminal to be asked for the password; otherwise -1 with ERROR_PERMISSION. */
int sudo_if_needed(const struct command *command, int argc, char *const *argv, struct error *error);

/* The arguments of that: sudo drops the environment, so our variables become options. The caller owns the
 * list. */
char **sudo_arguments(const char *program, int argc, char *const *argv);

#endif
