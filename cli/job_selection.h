/* The jobs that a command line names by their numbers. */
#ifndef ATELIER_CLI_JOB_SELECTION_H
#define ATELIER_CLI_JOB_SELECTION_H

#include <stddef.h>
#include <stdint.h>

#include "cli/command.h"

struct job_selection {
	int64_t *ids;
	size_t count;
};

/* The operands, each once. ERROR_USAGE for what is no number. */
int job_selection_parse(const struct invocation *invocation, struct job_selection *ret_jobs, struct error *error);

/* ERROR_USAGE if one of them is not in the journal (NULL: an empty one). No operands: all unfinished jobs. */
int job_selection_complete(struct journal *journal, struct job_selection *jobs, struct error *error);

void job_selection_clear(struct job_selection *jobs);

#define cleanup_job_selection __attribute__((cleanup(job_selection_clear)))

#endif
