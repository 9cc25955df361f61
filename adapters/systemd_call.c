#include "adapters/systemd_internal.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/fault.h"

#include <string.h>

/* How long a unit goes without a look when no signal asks for one: signals are not promised to arrive. */
#define PATROL (5 * USEC_PER_SEC)

static int64_t
now(void)
{
	return clock_monotonic(clock_system());
}

static void
arm_next_look(struct systemd_call *call)
{
	int64_t earliest = INT64_MAX;
	for (size_t i = 0; i < call->count; i++) {
		const struct followed *followed = call->units[i];
		if (!followed->finished && followed->request == NULL && followed->look_at < earliest)
			earliest = followed->look_at;
	}
	if (earliest == INT64_MAX)
		return;
	int64_t delay = earliest - now();
	if (delay < 0)
		delay = 0;
	struct timeval time = {.tv_sec = delay / USEC_PER_SEC, .tv_usec = delay % USEC_PER_SEC};
	event_add(call->turn, &time);
}

static void
take_reading(struct followed *followed, sd_bus_message *reply, const sd_bus_error *refusal)
{
	followed->look_at = now() + PATROL;
	free(followed->refused);
	followed->refused = NULL;
	if (refusal != NULL) {
		followed->refused = xstrdup(refusal->message == NULL ? refusal->name : refusal->message);
		return;
	}
	if (unit_reading_parse(reply, &followed->reading) < 0) {
		followed->refused = xstrdup("systemd answered something unreadable");
		return;
	}
	if (followed->reading.id != NULL)
		replace_string(&followed->name, followed->reading.id);
}

/* No answer of systemd's, but words about the way to it. */
static bool
is_connection_trouble(const sd_bus_error *refusal)
{
	static const char *const names[] = {
	    SD_BUS_ERROR_NO_REPLY,
	    SD_BUS_ERROR_DISCONNECTED,
	    SD_BUS_ERROR_TIMEOUT,
	    SD_BUS_ERROR_SERVICE_UNKNOWN,
	    SD_BUS_ERROR_NAME_HAS_NO_OWNER,
	    SD_BUS_ERROR_NO_SERVER,
	    "org.freedesktop.DBus.Error.TimedOut",
	    "System.Error.ETIMEDOUT",
	    "System.Error.ECONNRESET",
	    "System.Error.ENOTCONN",
	};
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
		if (sd_bus_error_has_name(refusal, names[i]))
			return true;
	return false;
}

static int
on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct followed *followed = userdata;
	const sd_bus_error *refusal = sd_bus_message_get_error(reply);

	(void)ret_error;
	if (refusal != NULL && is_connection_trouble(refusal)) {
		systemd_distrust(followed->call->systemd);
		return 0;
	}
	systemd_answered(followed->call->systemd);
	followed->request = sd_bus_slot_unref(followed->request);
	followed->answer(followed, reply, refusal);
	systemd_call_poke(followed->call);
	return 0;
}

static void
read_unit(struct followed *followed)
{
	cleanup_free char *path = NULL;
	if (sd_bus_path_encode(SYSTEMD_UNIT_PATH, followed->name, &path) < 0) {
		followed->stale = false;
		replace_string(&followed->refused, "this is no name of a unit");
		systemd_call_poke(followed->call);
		return;
	}
	followed->stale = false;
	followed->answer = take_reading;
	/* The empty interface means all of them. */
	int r = sd_bus_call_method_async(systemd_connection(followed->call->systemd), &followed->request,
	    SYSTEMD_NAME, path, DBUS_PROPERTIES, "GetAll", on_answer, followed, "s", "");
	if (r < 0)
		followed->stale = true;
	systemd_sent(followed->call->systemd, r);
}

void
followed_ask(struct followed *followed, const char *member, followed_answer_fn *answer, const char *types, ...)
{
	va_list arguments;
	va_start(arguments, types);
	followed->answer = answer;
	int r = sd_bus_call_method_asyncv(systemd_connection(followed->call->systemd), &followed->request,
	    SYSTEMD_NAME, SYSTEMD_PATH, SYSTEMD_INTERFACE("Manager"), member, on_answer, followed, types, arguments);
	va_end(arguments);
	systemd_sent(followed->call->systemd, r);
}

void
followed_enqueue(struct followed *followed, const char *job, followed_answer_fn *answer)
{
	followed_ask(followed, "EnqueueUnitJob", answer, "sss", followed->name, job, "replace");
	fault_effect(job);
}

void
followed_ask_property(struct followed *followed, const char *path, const char *interface, const char *property,
    followed_answer_fn *answer)
{
	followed->answer = answer;
	int r = sd_bus_call_method_async(systemd_connection(followed->call->systemd), &followed->request,
	    SYSTEMD_NAME, path, DBUS_PROPERTIES, "Get", on_answer, followed, "ss", interface, property);
	systemd_sent(followed->call->systemd, r);
}

void
followed_look_after(struct followed *followed, int64_t delay)
{
	int64_t at = now() + delay;
	if (at < followed->look_at)
		followed->look_at = at;
}

struct followed *
followed_find(const struct systemd_call *call, const char *name)
{
	for (size_t i = 0; i < call->count; i++)
		if (strcmp(call->units[i]->name, name) == 0)
			return call->units[i];
	return NULL;
}

void *
followed_add(struct systemd_call *call, const char *name, size_t size)
{
	struct followed *followed = xcalloc(1, size);
	followed->call = call;
	followed->name = xstrdup(name);
	followed->stale = true;
	followed->look_at = INT64_MAX;
	call->units = xreallocarray(call->units, call->count + 1, sizeof(*call->units));
	call->units[call->count++] = followed;
	return followed;
}

static void
followed_free(struct followed *followed)
{
	if (followed->call->kind->release_unit != NULL)
		followed->call->kind->release_unit(followed);
	sd_bus_slot_unref(followed->request);
	unit_reading_clear(&followed->reading);
	free(followed->refused);
	free(followed->name);
	free(followed);
}

static void
go_round(struct systemd_call *call)
{
	/* A step may add units. */
	for (size_t i = 0; i < call->count; i++) {
		struct followed *followed = call->units[i];
		if (followed->finished || followed->request != NULL)
			continue;
		if (followed->stale || followed->look_at <= now())
			read_unit(followed);
		else
			call->kind->step(followed);
	}
}

static void
on_turn(evutil_socket_t descriptor, short what, void *context)
{
	struct systemd_call *call = context;
	enum turn turn;

	(void)descriptor;
	(void)what;
	if (call->given_up && call->kind->lost != NULL) {
		cleanup_error struct error error = {0};
		error_set(&error, ERROR_BUS_LOST, "the connection to systemd is lost and does not come back");
		error_hint(&error, "check that systemctl works on this machine");
		call->kind->lost(call, &error);
		return;
	}
	if (systemd_connection(call->systemd) == NULL)
		return;
	do {
		go_round(call);
		turn = call->kind->advance(call);
	} while (turn == TURN_AGAIN);
	if (turn == TURN_WAIT)
		arm_next_look(call);
}

void
systemd_call_poke(struct systemd_call *call)
{
	event_active(call->turn, EV_TIMEOUT, 0);
}

void *
systemd_call_new(struct systemd *systemd, const struct systemd_call_kind *kind, size_t size)
{
	struct systemd_call *call = xcalloc(1, size);
	call->systemd = systemd;
	call->kind = kind;
	call->turn = event_new(systemd_event_base(systemd), -1, 0, on_turn, call);
	systemd_add_call(systemd, call);
	systemd_call_poke(call);
	return call;
}

void
systemd_call_end(struct systemd_call *call)
{
	event_del(call->turn);
	systemd_remove_call(call->systemd, call);
	for (size_t i = 0; i < call->count; i++)
		call->units[i]->request = sd_bus_slot_unref(call->units[i]->request);
	call->ended = true;
}

void
systemd_call_free(struct systemd_call *call)
{
	if (!call->ended)
		systemd_call_end(call);
	for (size_t i = 0; i < call->count; i++)
		followed_free(call->units[i]);
	if (call->kind->release != NULL)
		call->kind->release(call);
	event_free(call->turn);
	free(call->units);
	free(call);
}

void
systemd_call_abandon(struct systemd_call *call)
{
	/* From inside its own last callback there is nothing left to forget. */
	if (!call->ended)
		systemd_call_free(call);
}

void
systemd_call_disconnected(struct systemd_call *call)
{
	for (size_t i = 0; i < call->count; i++)
		call->units[i]->request = sd_bus_slot_unref(call->units[i]->request);
}

void
systemd_call_look_again(struct systemd_call *call)
{
	for (size_t i = 0; i < call->count; i++)
		call->units[i]->stale = true;
	systemd_call_poke(call);
}

void
systemd_call_unit_changed(struct systemd_call *call, const char *name, const struct unit_reading *partial)
{
	struct followed *followed = followed_find(call, name);
	if (followed == NULL)
		return;
	followed->stale = true;
	if (call->kind->changed != NULL)
		call->kind->changed(followed, partial);
	systemd_call_poke(call);
}

void
systemd_call_job_removed(struct systemd_call *call, const char *name, const char *result)
{
	struct followed *followed = followed_find(call, name);
	if (followed == NULL)
		return;
	followed->stale = true;
	if (call->kind->job_removed != NULL)
		call->kind->job_removed(followed, result);
	systemd_call_poke(call);
}
