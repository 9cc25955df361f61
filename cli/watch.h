/* `status --watch`: the status and the unfinished jobs, live. */
#ifndef ATELIER_CLI_WATCH_H
#define ATELIER_CLI_WATCH_H

#include <stdint.h>
#include <stdio.h>

#include "cli/command.h"
#include "jobs/control.h"

/* Prints what is below the jobs: the table of services, and what needs attention. -1 with an error. */
typedef int watch_print_fn(void *context, FILE *file, struct error *error);

enum exit_code watch(const struct invocation *invocation, watch_print_fn *print, void *context);

/* A line about an unfinished job. `speed` is bytes per second, 0: not known yet. The caller owns it. */
char *watch_job_line(const struct live_job *job, uint64_t speed, int64_t now);

#endif
