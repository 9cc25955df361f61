/* Time: one source for wall clock, monotonic clock and boot id, replaceable in tests, and a wall-clock alarm for
 * the loop that notices when somebody sets the clock. All times are microseconds in int64_t. */
#ifndef ATELIER_CORE_CLOCK_H
#define ATELIER_CORE_CLOCK_H

#include <event2/event.h>
#include <stdint.h>

#include "core/error.h"

#define USEC_PER_MSEC INT64_C(1000)
#define USEC_PER_SEC  INT64_C(1000000)
#define USEC_PER_MIN  (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MIN)
#define USEC_PER_DAY  (24 * USEC_PER_HOUR)

/* `wall` is since the epoch, `monotonic` since some start of this boot, time asleep included (CLOCK_BOOTTIME). */
struct clock {
	int64_t (*wall)(const struct clock *clock);
	int64_t (*monotonic)(const struct clock *clock);
};

/* The machine's own clock. */
const struct clock *clock_system(void);

int64_t clock_wall(const struct clock *clock);
int64_t clock_monotonic(const struct clock *clock);

/* The kernel's id of this boot (32 hex digits), read once; "unknown" where /proc does not tell. */
const char *clock_boot_id(void);

/* An alarm at a wall-clock time: it survives suspend, and it also fires when the clock is set (timerfd with
 * TFD_TIMER_CANCEL_ON_SET), so the owner looks at the clock and re-arms. While it is not armed it wakes nobody. */
struct wall_alarm;
typedef void wall_alarm_fn(void *context);

/* NULL and an error where the kernel gives no timer. The loop must outlive the alarm. */
struct wall_alarm *wall_alarm_new(struct event_base *base, wall_alarm_fn *fire, void *context, struct error *error);
void wall_alarm_set(struct wall_alarm *alarm, int64_t wall_microseconds); /* a time gone by fires at once */
void wall_alarm_disarm(struct wall_alarm *alarm);
void wall_alarm_free(struct wall_alarm *alarm);

#endif
