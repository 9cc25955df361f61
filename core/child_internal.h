/* The half of child_start that forks; for child.c only. */
#ifndef ATELIER_CORE_CHILD_INTERNAL_H
#define ATELIER_CORE_CHILD_INTERNAL_H

#include "core/child.h"

/* A forked process that is ready to execute its program and waits for the word. If we die it ends by itself.
 */
struct child_spawned {
	pid_t pid;
	int control;         /* ours: the gate and the reports of the new process; -1 once it executes */
	int standard_output; /* reading ends, non-blocking; -1: the output is the owner's */
	int standard_error;
	char *program; /* for the words of an error */
};

/* Errors as child_start. On failure nothing is left behind. */
int child_spawn(const struct child_spec *spec, struct child_spawned *ret_spawned, struct error *error);

/* Opens the gate and waits until the program is executed or could not be. On failure the caller still has to
 * call child_spawn_undo. */
int child_spawn_execute(struct child_spawned *spawned, const struct child_spec *spec, struct error *error);

/* Kills and reaps the process and releases everything. */
void child_spawn_undo(struct child_spawned *spawned);

#endif
