#include "core/clock.h"

#include "core/alloc.h"
#include "core/file.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

static int64_t
read_clock(clockid_t id)
{
	struct timespec now;
	clock_gettime(id, &now);
	return (int64_t)now.tv_sec * USEC_PER_SEC + now.tv_nsec / 1000;
}

static int64_t
system_wall(const struct clock *clock)
{
	(void)clock;
	return read_clock(CLOCK_REALTIME);
}

static int64_t
system_monotonic(const struct clock *clock)
{
	(void)clock;
	return read_clock(CLOCK_BOOTTIME);
}

const struct clock *
clock_system(void)
{
	static const struct clock system = {.wall = system_wall, .monotonic = system_monotonic};
	return &system;
}

int64_t
clock_wall(const struct clock *clock)
{
	return clock->wall(clock);
}

int64_t
clock_monotonic(const struct clock *clock)
{
	return clock->monotonic(clock);
}

/* Copies the hex digits of a UUID. Returns false if there are not 32 of them. */
static bool
digits_of_uuid(const char *uuid, char digits[static 33])
{
	size_t count = 0;
	for (; *uuid != '\0' && *uuid != '\n'; uuid++) {
		if (*uuid == '-')
			continue;
		if (!isxdigit((unsigned char)*uuid) || count == 32)
			return false;
		digits[count++] = *uuid;
	}
	digits[count] = '\0';
	return count == 32;
}

const char *
clock_boot_id(void)
{
	static char boot_id[33];

	if (boot_id[0] != '\0')
		return boot_id;
	cleanup_free char *content = NULL;
	size_t length;
	if (file_read("/proc/sys/kernel/random/boot_id", 64, &content, &length, NULL) < 0 ||
	    !digits_of_uuid(content, boot_id))
		strcpy(boot_id, "unknown");
	return boot_id;
}

struct wall_alarm {
	int descriptor;
	struct event *event;
	wall_alarm_fn *fire;
	void *context;
};

static void
alarm_ready(evutil_socket_t descriptor, short what, void *context)
{
	struct wall_alarm *alarm = context;
	uint64_t expirations;
	(void)what;

	/* ECANCELED: somebody set the clock. EAGAIN: it was re-armed after the loop had seen it. */
	if (read(descriptor, &expirations, sizeof(expirations)) < 0 && errno != ECANCELED)
		return;
	wall_alarm_disarm(alarm);
	alarm->fire(alarm->context); /* may free the alarm */
}

struct wall_alarm *
wall_alarm_new(struct event_base *base, wall_alarm_fn *fire, void *context, struct error *error)
{
	cleanup_close int descriptor = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (descriptor < 0) {
		error_set(error, ERROR_SYSTEM, "cannot make a timer: %s", strerror(errno));
		return NULL;
	}
	struct wall_alarm *alarm = xcalloc(1, sizeof(*alarm));
	*alarm = (struct wall_alarm){.descriptor = descriptor, .fire = fire, .context = context};
	alarm->event = event_new(base, descriptor, EV_READ | EV_PERSIST, alarm_ready, alarm);
	if (alarm->event == NULL) {
		free(alarm);
		error_set(error, ERROR_SYSTEM, "cannot make a timer on the loop");
		return NULL;
	}
	descriptor = -1;
	return alarm;
}

void
wall_alarm_set(struct wall_alarm *alarm, int64_t wall_microseconds)
{
	/* A zero would disarm. */
	int64_t time = wall_microseconds > 0 ? wall_microseconds : 1;
	struct itimerspec when = {.it_value = {
				      .tv_sec = (time_t)(time / USEC_PER_SEC),
				      .tv_nsec = (long)(time % USEC_PER_SEC) * 1000,
				  }};

	event_add(alarm->event, NULL);
	if (timerfd_settime(alarm->descriptor, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL) == 0)
		return;
	/* ECANCELED: the clock was set since the owner looked at it. Let it look again. */
	when.it_value = (struct timespec){.tv_nsec = 1};
	timerfd_settime(alarm->descriptor, TFD_TIMER_ABSTIME, &when, NULL);
}

void
wall_alarm_disarm(struct wall_alarm *alarm)
{
	static const struct itimerspec never;
	timerfd_settime(alarm->descriptor, 0, &never, NULL);
	event_del(alarm->event);
}

void
wall_alarm_free(struct wall_alarm *alarm)
{
	if (alarm == NULL)
		return;
	event_free(alarm->event);
	close(alarm->descriptor);
	free(alarm);
}
