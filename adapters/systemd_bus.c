#include "adapters/systemd_internal.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#define PRIVATE_ADDRESS "unix:path=/run/systemd/private"

#define BACK_OFF_FIRST (50 * USEC_PER_MSEC)
#define BACK_OFF_LAST  (2 * USEC_PER_SEC)

/* How long calls wait for a connection. A daemon-reexec takes a fraction of a second, but a daemon-reload of
 * a large or busy machine has been seen to take the better part of a minute, and nothing is answered during
 * it. */
#define PATIENCE (90 * USEC_PER_SEC)

struct systemd {
	struct event_base *base;
	sd_bus *bus;             /* NULL while there is no connection */
	bool private;            /* it is the manager's own socket */
	bool answered;           /* it has given an answer */
	bool distrusted;         /* to be replaced as soon as sd-bus has returned */
	bool private_is_useless; /* the last try of the private socket gave no answer */
	bool lost;               /* there was a connection before */
	struct event *io;        /* the descriptor and the timeout of the connection */
	struct event *reconnect;
	struct event *patience;
	int64_t back_off;
	int64_t patience_time;
	struct systemd_call *calls;
};

bool
systemd_is_running(void)
{
	return sd_booted() > 0;
}

sd_bus *
systemd_connection(struct systemd *systemd)
{
	return systemd->bus;
}

struct event_base *
systemd_event_base(struct systemd *systemd)
{
	return systemd->base;
}

static void
add_timer(struct event *event, int64_t delay)
{
	struct timeval time = {.tv_sec = delay / USEC_PER_SEC, .tv_usec = delay % USEC_PER_SEC};
	event_add(event, &time);
}

static int
note_job_removed(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
	struct systemd *systemd = userdata;
	const char *unit;
	const char *result;
	struct systemd_call *call;

	(void)ret_error;
	if (sd_bus_message_read(message, "uoss", NULL, NULL, &unit, &result) < 0)
		return 0;
	for (call = systemd->calls; call != NULL; call = call->next)
		systemd_call_job_removed(call, unit, result);
	return 0;
}

static int
note_properties_changed(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
	struct systemd *systemd = userdata;
	cleanup_reading struct unit_reading partial = {0};
	cleanup_free char *unit = NULL;
	struct systemd_call *call;

	(void)ret_error;
	if (sd_bus_path_decode(sd_bus_message_get_path(message), SYSTEMD_UNIT_PATH, &unit) <= 0)
		return 0;
	if (sd_bus_message_skip(message, "s") < 0 || unit_reading_parse(message, &partial) < 0)
		return 0;
	for (call = systemd->calls; call != NULL; call = call->next)
		systemd_call_unit_changed(call, unit, &partial);
	return 0;
}

static int
note_reloading(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
	struct systemd *systemd = userdata;
	int begins;
	struct systemd_call *call;

	(void)ret_error;
	if (sd_bus_message_read_basic(message, 'b', &begins) < 0 || begins)
		return 0;
	for (call = systemd->calls; call != NULL; call = call->next)
		systemd_call_look_again(call);
	return 0;
}

static int
ignore_answer(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
	(void)message;
	(void)userdata;
	(void)ret_error;
	return 0;
}

static int
subscribe(struct systemd *systemd, sd_bus *bus)
{
	/* On the private socket messages have no sender, so a match that asks for one matches nothing. */
	const char *sender = systemd->private ? NULL : SYSTEMD_NAME;
	const char *properties = systemd->private
				     ? "type='signal',interface='" DBUS_PROPERTIES "',member='PropertiesChanged',"
				       "path_namespace='" SYSTEMD_UNIT_PATH "'"
				     : "type='signal',sender='" SYSTEMD_NAME "',interface='" DBUS_PROPERTIES
				       "',member='PropertiesChanged',"
				       "path_namespace='" SYSTEMD_UNIT_PATH "'";
	int r = sd_bus_match_signal_async(bus, NULL, sender, SYSTEMD_PATH, SYSTEMD_INTERFACE("Manager"), "JobRemoved",
	    note_job_removed, NULL, systemd);
	if (r >= 0)
		r = sd_bus_match_signal_async(bus, NULL, sender, SYSTEMD_PATH, SYSTEMD_INTERFACE("Manager"),
		    "Reloading", note_reloading, NULL, systemd);
	if (r >= 0)
		r = sd_bus_add_match_async(bus, NULL, properties, note_properties_changed, NULL, systemd);
	if (r >= 0)
		r = sd_bus_call_method_async(bus, NULL, SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_INTERFACE("Manager"),
		    "Subscribe", ignore_answer, NULL, NULL);
	return r;
}

static int
open_private(sd_bus **ret_bus)
{
	sd_bus *bus = NULL;
	int r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, PRIVATE_ADDRESS);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0) {
		sd_bus_unref(bus);
		return r;
	}
	*ret_bus = bus;
	return 0;
}

/* Opens one of the two; requests may be made at once, sd-bus queues them until it is connected. */
static int
open_connection(struct systemd *systemd, bool private)
{
	sd_bus *bus;
	int r = private ? open_private(&bus) : sd_bus_open_system(&bus);
	if (r < 0)
		return r;
	systemd->private = private;
	r = subscribe(systemd, bus);
	if (r < 0) {
		sd_bus_close_unref(bus);
		return r;
	}
	systemd->bus = bus;
	systemd->answered = false;
	systemd->distrusted = false;
	return 0;
}

static int
connect_somehow(struct systemd *systemd)
{
	int r = -ENOENT;
	if (geteuid() == 0 && !systemd->private_is_useless)
		r = open_connection(systemd, true);
	if (r < 0)
		r = open_connection(systemd, false);
	systemd->private_is_useless = false;
	return r;
}

static void
connect_later(struct systemd *systemd)
{
	add_timer(systemd->reconnect, systemd->back_off);
	systemd->back_off = systemd->back_off * 2 < BACK_OFF_LAST ? systemd->back_off * 2 : BACK_OFF_LAST;
}

static void arm(struct systemd *systemd);

static void
lose_connection(struct systemd *systemd, int reason)
{
	struct systemd_call *call;

	/* Only the first loss is news; while nothing answers, each new try is one more. */
	if (systemd->answered)
		log_warning("the connection to systemd is lost (%s), connecting again", strerror(reason));
	else
		log_debug("no connection to systemd (%s), trying again", strerror(reason));
	systemd->lost = systemd->lost || systemd->answered;
	systemd->private_is_useless = systemd->private && !systemd->answered;
	systemd->answered = false;
	event_del(systemd->io);
	for (call = systemd->calls; call != NULL; call = call->next)
		systemd_call_disconnected(call);
	systemd->bus = sd_bus_close_unref(systemd->bus);
	if (!event_pending(systemd->patience, EV_TIMEOUT, NULL))
		add_timer(systemd->patience, systemd->patience_time);
	connect_later(systemd);
}

static void
on_reconnect(evutil_socket_t descriptor, short what, void *context)
{
	struct systemd *systemd = context;
	struct systemd_call *call;

	(void)descriptor;
	(void)what;
	int r = connect_somehow(systemd);
	if (r < 0) {
		log_debug("no connection to systemd (%s), trying again", strerror(-r));
		connect_later(systemd);
		return;
	}
	for (call = systemd->calls; call != NULL; call = call->next)
		systemd_call_look_again(call);
	arm(systemd);
}

static void
on_patience_over(evutil_socket_t descriptor, short what, void *context)
{
	struct systemd *systemd = context;
	struct systemd_call *call;

	(void)descriptor;
	(void)what;
	for (call = systemd->calls; call != NULL; call = call->next) {
		call->given_up = true;
		systemd_call_poke(call);
	}
}

static void
on_io(evutil_socket_t descriptor, short what, void *context)
{
	struct systemd *systemd = context;
	int r;

	(void)descriptor;
	(void)what;
	do
		r = sd_bus_process(systemd->bus, NULL);
	while (r > 0 && !systemd->distrusted);
	if (r < 0)
		lose_connection(systemd, -r);
	else if (systemd->distrusted)
		lose_connection(systemd, ECONNRESET);
	else
		arm(systemd);
}

/* Microseconds until the time sd-bus wants to be called, -1: never. */
static int64_t
delay_until(uint64_t due)
{
	struct timespec now;

	if (due == UINT64_MAX)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t microseconds = (uint64_t)now.tv_sec * (uint64_t)USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
	return due <= microseconds ? 0 : (int64_t)(due - microseconds);
}

/* What sd-bus waits for changes with every message, and so may its descriptor while it connects. */
static void
arm(struct systemd *systemd)
{
	uint64_t due;
	int descriptor = sd_bus_get_fd(systemd->bus);
	int events = descriptor < 0 ? descriptor : sd_bus_get_events(systemd->bus);
	int r = events < 0 ? events : sd_bus_get_timeout(systemd->bus, &due);
	if (r < 0) {
		lose_connection(systemd, -r);
		return;
	}

	int64_t delay = delay_until(due);
	short what = (short)((events & POLLIN ? EV_READ : 0) | (events & POLLOUT ? EV_WRITE : 0));
	event_del(systemd->io);
	event_assign(systemd->io, systemd->base, what == 0 ? -1 : descriptor, what, on_io, systemd);
	if (delay >= 0)
		add_timer(systemd->io, delay);
	else
		event_add(systemd->io, NULL);
}

void
systemd_sent(struct systemd *systemd, int result)
{
	if (result < 0)
		systemd->distrusted = true;
	event_active(systemd->io, EV_TIMEOUT, 0);
}

void
systemd_answered(struct systemd *systemd)
{
	if (systemd->answered)
		return;
	systemd->answered = true;
	systemd->back_off = BACK_OFF_FIRST;
	event_del(systemd->patience);
	if (systemd->lost)
		log_notice("the connection to systemd is back");
	systemd->lost = false;
}

void
systemd_distrust(struct systemd *systemd)
{
	systemd->distrusted = true;
}

void
systemd_add_call(struct systemd *systemd, struct systemd_call *call)
{
	call->next = systemd->calls;
	systemd->calls = call;
	/* Those that were there when it ran out have been given up; a new one gets patience of its own. */
	if (!systemd->answered && !event_pending(systemd->patience, EV_TIMEOUT, NULL))
		add_timer(systemd->patience, systemd->patience_time);
}

void
systemd_remove_call(struct systemd *systemd, struct systemd_call *call)
{
	struct systemd_call **link = &systemd->calls;
	while (*link != call)
		link = &(*link)->next;
	*link = call->next;
}

void
systemd_set_patience(struct systemd *systemd, int64_t time)
{
	systemd->patience_time = time;
}

struct systemd *
systemd_open(struct event_base *base, struct error *error)
{
	if (!systemd_is_running()) {
		error_set(error, ERROR_SYSTEMD_UNAVAILABLE, "systemd is not the service manager of this machine");
		error_hint(error, "stop and start the service in preBackup and postBackup instead of stopUnits");
		return NULL;
	}

	struct systemd *systemd = xcalloc(1, sizeof(*systemd));
	systemd->base = base;
	systemd->back_off = BACK_OFF_FIRST;
	systemd->patience_time = PATIENCE;
	int r = connect_somehow(systemd);
	if (r < 0) {
		free(systemd);
		error_set(error, ERROR_BUS_LOST, "no connection to systemd: %s", strerror(-r));
		error_hint(error, "check that systemctl works on this machine");
		return NULL;
	}
	systemd->io = event_new(base, -1, 0, on_io, systemd);
	systemd->reconnect = event_new(base, -1, 0, on_reconnect, systemd);
	systemd->patience = event_new(base, -1, 0, on_patience_over, systemd);
	arm(systemd);
	return systemd;
}

void
systemd_close(struct systemd *systemd)
{
	if (systemd == NULL)
		return;
	while (systemd->calls != NULL)
		systemd_call_free(systemd->calls);
	event_free(systemd->io);
	event_free(systemd->reconnect);
	event_free(systemd->patience);
	sd_bus_close_unref(systemd->bus);
	free(systemd);
}
