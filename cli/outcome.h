/* How jobs ended: a line or a JSON document about each, and the exit code they come to. */
#ifndef ATELIER_CLI_OUTCOME_H
#define ATELIER_CLI_OUTCOME_H

#include <stddef.h>
#include <stdint.h>

#include "cli/command.h"

/* The exit code of one outcome, and the graver of two. */
enum exit_code outcome_code(enum job_outcome outcome);
enum exit_code outcome_graver(enum exit_code a, enum exit_code b);

/* Prints the result of each job (0: none) as the journal has it, and returns the gravest exit code. */
enum exit_code
outcome_report(const struct invocation *invocation, struct journal *journal, const int64_t *job_ids, size_t count);

#endif
