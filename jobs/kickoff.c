#include "jobs/kickoff.h"

#include <time.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "jobs/backoff.h"

/* How early a kickoff may be and still count for the night that is about to begin. */
#define EARLY USEC_PER_HOUR

static struct tm
local_time(int64_t wall)
{
	time_t seconds = (time_t)(wall / USEC_PER_SEC);
	struct tm local;
	localtime_r(&seconds, &local);
	return local;
}

static int64_t
microseconds_of_day(const struct tm *local)
{
	return ((int64_t)local->tm_hour * 60 + local->tm_min) * USEC_PER_MIN + local->tm_sec * USEC_PER_SEC;
}

char *
kickoff_night(int64_t wall, int64_t kickoff)
{
	struct tm local = local_time(wall);
	int64_t of_day = ((int64_t)local.tm_hour * 60 + local.tm_min) * USEC_PER_MIN + local.tm_sec * USEC_PER_SEC;
	int64_t begins = kickoff - EARLY;
	/* Noon exists once on every day, whatever the clocks do at night. */
	struct tm day = {.tm_year = local.tm_year,
	    .tm_mon = local.tm_mon,
	    .tm_mday = local.tm_mday,
	    .tm_hour = 12,
	    .tm_isdst = -1};
	if (begins < 0 && of_day >= begins + USEC_PER_DAY)
		day.tm_mday++;
	else if (of_day < begins)
		day.tm_mday--;
	mktime(&day);
	char name[sizeof("-2147483648-12-31")];
	strftime(name, sizeof(name), "%Y-%m-%d", &day);
	return xstrdup(name);
}

int64_t
kickoff_next(int64_t wall, int64_t kickoff)
{
	struct tm local = local_time(wall);
	/* By the clock on the wall: a 02:00 that is there twice counts once. */
	for (int days = microseconds_of_day(&local) >= kickoff ? 1 : 0;; days++) {
		struct tm next = {
		    .tm_year = local.tm_year,
		    .tm_mon = local.tm_mon,
		    .tm_mday = local.tm_mday + days,
		    .tm_hour = (int)(kickoff / USEC_PER_HOUR),
		    .tm_min = (int)(kickoff % USEC_PER_HOUR / USEC_PER_MIN),
		    .tm_isdst = -1,
		};
		int64_t at = (int64_t)mktime(&next) * USEC_PER_SEC;
		if (at > wall)
			return at;
	}
}

static int64_t
draw_delay(const struct submission *submission, int64_t max_delay)
{
	if (submission->kind != JOB_KIND_BACKUP)
		return 0;
	return submission->service->own ? max_delay : backoff_spread(max_delay);
}

void
kickoff_spread(struct submission *submissions, size_t count, int64_t wall, int64_t max_delay)
{
	for (size_t i = 0; i < count; i++)
		submissions[i].due_at = wall + draw_delay(&submissions[i], max_delay);
}
