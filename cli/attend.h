/* Seeing jobs to their end: as the runner where nobody else is, else by following the journal until the
 * runner is done or dead and then taking its place. */
#ifndef ATELIER_CLI_ATTEND_H
#define ATELIER_CLI_ATTEND_H

#include <stdint.h>

#include "cli/command.h"
#include "jobs/journal.h"

struct attendance {
	const struct invocation *invocation;
	struct journal *journal;
	int64_t parallel;
	const int64_t *job_ids; /* these have to end ... */
	size_t job_count;
	bool all; /* ... or all there are */
};

/* Returns the exit code that the jobs asked for come to, after a line (or a JSON document) about each. */
enum exit_code attend(const struct attendance *attendance);

/* The exit code of one outcome, and the graver of two. */
enum exit_code attend_code_of(enum job_outcome outcome);
enum exit_code attend_graver(enum exit_code a, enum exit_code b);

#endif
