#include "jobs/backoff.h"

#include <sys/random.h>

#include "core/clock.h"

#define LONGEST_RETRY_DELAY USEC_PER_HOUR

/* maxDelay is at most a day (the manifest says so) and retries wait less. */
#define LONGEST_DELAY (USEC_PER_DAY + USEC_PER_HOUR)

int64_t
backoff_spread(int64_t span)
{
	if (span <= 0)
		return 0;
	uint64_t number;
	if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
		number = (uint64_t)clock_monotonic(clock_system());
	return (int64_t)(number % ((uint64_t)span + 1));
}

int64_t
backoff_delay(const struct job_record *job)
{
	if (job->error.code == ERROR_INTERRUPTED)
		return 0; /* nothing outside failed: there is nothing to wait for */
	int64_t delay = job->spec.retry_delay;
	for (int64_t attempt = 1; attempt < job->attempt && delay < LONGEST_RETRY_DELAY; attempt++)
		delay *= 2;
	if (delay > LONGEST_RETRY_DELAY)
		delay = LONGEST_RETRY_DELAY;
	return delay + backoff_spread(delay / 4);
}

int64_t
backoff_due(const struct job_record *job, int64_t now)
{
	return job->due_at - now > LONGEST_DELAY ? now : job->due_at;
}
