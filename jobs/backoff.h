/* When a job is due: the random spread of a kickoff, the wait before another attempt, and what a clock that
 * was set means for both. */
#ifndef ATELIER_JOBS_BACKOFF_H
#define ATELIER_JOBS_BACKOFF_H

#include <stdint.h>

#include "jobs/job.h"

/* Microseconds to wait before the attempt after `job`'s current one, judged by its error: transient failures
 * and locked repositories wait spec.retry_delay, doubled with each attempt, at most 1 h, with up to a quarter more by
 * chance so that many jobs do not come back at once; an attempt that only our own death cut is taken up at once. */
int64_t backoff_delay(const struct job_record *job);

/* The due time that counts: a time further ahead than any delay this program draws is left over from a clock
 * that was wrong, and means now. */
int64_t backoff_due(const struct job_record *job, int64_t now);

/* A random number of microseconds in [0, span]. */
int64_t backoff_spread(int64_t span);

#endif
