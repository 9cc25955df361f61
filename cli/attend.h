/* Seeing jobs to their end, as a client of the runner that advances them. Whatever ends the command ends no job. */
#ifndef ATELIER_CLI_ATTEND_H
#define ATELIER_CLI_ATTEND_H

#include <stdint.h>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "jobs/control_client.h"
#include "jobs/journal.h"

struct attendance {
	const struct invocation *invocation;
	struct journal *journal;       /* NULL: may not be read here; what the runner tells has to do */
	struct control_client *client; /* connected; closed by attend. NULL: a runner is looked for */
	const int64_t *job_ids;        /* these have to end (0: none) ... */
	size_t job_count;
	bool all;     /* ... or all there are */
	int64_t seen; /* the newest transition that was there before the jobs were: what follows is shown */
	enum interrupt_wish on_interrupt; /* what SIGINT means where nobody can be asked */
	bool *ret_left; /* may be NULL: left before the end, by wish or because the runner could not go on */
};

/* Returns the exit code that the jobs come to, after a line (or a JSON document) about each; CODE_FAILED when it was
 * told to detach. A runner that dies is looked for again, or started. */
enum exit_code attend(const struct attendance *attendance);

/* Hands jobs to a runner and sees them to their end, or with --detach prints their numbers. */
enum exit_code attend_submission(
    const struct invocation *invocation, struct journal *journal, const struct control_submission *submission);

/* "web: job 12", or a JSON document, for each job that somebody else sees to. */
void attend_print_detached(
    const struct invocation *invocation, struct journal *journal, const int64_t *job_ids, size_t count);

#endif
