/* This program as another process of its own: the guardian that a command starts, the runner that the guardian
 * starts. */
#ifndef ATELIER_CLI_OWN_PROCESS_H
#define ATELIER_CLI_OWN_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "cli/command.h"
#include "core/error.h"

/* "atelier-backup COMMAND" with the common options of this invocation, so that it means the same house. The caller
 * adds to it and owns it. */
char **own_process_arguments(const struct invocation *invocation, const char *command);

struct own_process {
	char *const *arguments;
	int output; /* becomes stdout and stderr; -1: ours */
	int kept;   /* the one descriptor above 2 that it inherits, under its number; -1: none */
	bool orphan;
};

/* Starts it in a session of its own: what reaches our terminal, process group or session does not reach it. stdin is
 * /dev/null, the directory "/"; signals are as a program expects them, and no variable of a service manager is passed
 * on. An orphan is no child of ours (0 is returned), so nobody has to wait for it. Else its pid, a child to wait for.
 * -1 with an error if it could not be started; that the program itself could not be executed is seen by exit code
 * 127. */
pid_t own_process_start(const struct own_process *process, struct error *error);

/* The name under which `ps` and `top` show a program that was executed as /proc/self/exe. */
void own_process_take_name(void);

/* A descriptor that becomes readable when the process has ended, -1 if there is none (any more). */
int own_process_descriptor(pid_t pid);

#endif
