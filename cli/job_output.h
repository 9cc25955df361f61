/* How a job is shown, the same in every command. */
#ifndef ATELIER_CLI_JOB_OUTPUT_H
#define ATELIER_CLI_JOB_OUTPUT_H

#include <jansson.h>

#include "cli/terminal.h"
#include "jobs/job.h"

json_t *job_output_json(const struct job_record *job);
enum tone job_output_tone(enum job_outcome outcome);

/* How long the job has worked, from its first checkpoint until it ended (or until `now`). The caller owns it;
 * NULL before it began. */
char *job_output_duration(const struct job_record *job, int64_t now);

/* Why it failed, why it waits, or what it did; NULL: there is nothing to say. */
const char *job_output_remark(const struct job_record *job);

#endif
