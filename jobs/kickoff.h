/* The nightly kickoff: which night it is, and one job per service with its own random delay. */
#ifndef ATELIER_JOBS_KICKOFF_H
#define ATELIER_JOBS_KICKOFF_H

#include <stddef.h>
#include <stdint.h>

#include "jobs/journal.h"

/* The name of the night that `wall` belongs to, the local date on which it began ("2026-11-22"). A night
 * lasts from one hour before the kickoff time (so that a timer that is early counts for the coming night) to
 * the same hour of the next day: the kickoff, a second call, and the catching up of a missed one within the
 * day are the same night, the next kickoff is not. `kickoff` is in microseconds since local midnight; clock
 * times are compared, so a change of daylight saving time neither doubles nor loses a night. The caller owns
 * the result. */
char *kickoff_night(int64_t wall, int64_t kickoff);

/* The next local kickoff time after `wall`. */
int64_t kickoff_next(int64_t wall, int64_t kickoff);

/* Draws the due times of a night's submissions, here and once: each backup after its own random delay of 0 to
 * max_delay, that of the built-in service at the end of it, what follows the backups at once (it waits for them). */
void kickoff_spread(struct submission *submissions, size_t count, int64_t wall, int64_t max_delay);

#endif
