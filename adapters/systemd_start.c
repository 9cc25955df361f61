#include "adapters/systemd_internal.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"

#include <inttypes.h>
#include <string.h>

/* A unit with Restart= that crashes once while something it needs still comes up is no failure; one that goes
 * on crashing is. */
#define RESTARTS_ALLOWED 3

/* Sockets before their services: the other way round systemd refuses the socket. Timers and paths last: they
 * may start a service at once. */
enum stage { STAGE_SOCKETS, STAGE_SERVICES, STAGE_ALARMS, STAGE_END };

struct starting {
	struct followed followed;
	struct unit unit;
	enum stage stage;
	bool requested;     /* its start job was accepted */
	bool reset;         /* its start limit was reset once */
	bool skipped;       /* a condition of it did not hold */
	bool cleared;       /* its stop was asked for, because a socket of it has to be up first */
	bool begun;         /* it runs, or has done its work */
	bool told;          /* ... and the caller knows */
	char *invocation;   /* the one whose settling is watched, or NULL */
	int64_t settled_at; /* monotonic */
	unsigned int restarts;
	char *job_result; /* of the last job that ended */
	char *complaint;  /* why it does not run, or NULL */
};

struct start {
	struct systemd_call call;
	enum stage stage;
	int64_t settle;
	systemd_started_fn *started;
	systemd_start_fn *done;
	void *context;
};

static enum stage
stage_of(const char *name)
{
	if (text_ends_with(name, ".socket") || text_ends_with(name, ".automount"))
		return STAGE_SOCKETS;
	if (text_ends_with(name, ".timer") || text_ends_with(name, ".path"))
		return STAGE_ALARMS;
	return STAGE_SERVICES;
}

static void __attribute__((format(printf, 2, 3)))
give_up(struct starting *starting, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	free(starting->complaint);
	starting->complaint = xvasprintf(format, arguments);
	va_end(arguments);
	starting->followed.finished = true;
}

static bool
word_is(const char *word, const char *expected)
{
	return word != NULL && strcmp(word, expected) == 0;
}

static bool
is_oneshot(const struct starting *starting)
{
	return word_is(starting->followed.reading.type, "oneshot") && !starting->followed.reading.remains;
}

static void
take_job(struct followed *followed, sd_bus_message *reply, const sd_bus_error *refusal)
{
	struct starting *starting = (struct starting *)followed;

	(void)reply;
	if (refusal != NULL) {
		give_up(starting, "%s", refusal->message == NULL ? refusal->name : refusal->message);
		return;
	}
	starting->requested = true;
	followed->stale = true;
	/* It crashed before we came and nobody knows whether it will stop crashing: one more try is all it
	 * gets. */
	if (!starting->unit.settles)
		starting->begun = followed->finished = true;
}

static void
take_reset(struct followed *followed, sd_bus_message *reply, const sd_bus_error *refusal)
{
	struct starting *starting = (struct starting *)followed;

	(void)reply;
	(void)refusal; /* then the next start fails the same way, and that is told */
	starting->requested = false;
	followed->stale = true;
}

static void
take_clearing(struct followed *followed, sd_bus_message *reply, const sd_bus_error *refusal)
{
	(void)reply;
	(void)refusal; /* then systemd refuses the socket, too, and that is told */
	followed->stale = true;
}

/* A stop that was cut short has taken down the socket and not the service, and systemd starts no socket whose service
 * runs: the service goes down once more. True while it is on its way. */
static bool
clears_the_way(const struct starting *socket)
{
	bool waits = false;
	for (size_t i = 0; i < socket->followed.call->count; i++) {
		struct starting *other = (struct starting *)socket->followed.call->units[i];
		struct followed *service = &other->followed;
		if (other->stage != STAGE_SERVICES)
			continue;
		if (service->stale || service->request != NULL) {
			waits = true;
		} else if (strings_contain(socket->followed.reading.triggers, service->name) &&
			   !unit_reading_is_down(&service->reading)) {
			waits |=
			    !other->cleared || service->reading.job != 0 || !unit_reading_is_up(&service->reading);
			if (!other->cleared)
				followed_enqueue(service, "stop", take_clearing);
			other->cleared = true;
		}
	}
	return waits;
}

static void
request(struct starting *starting)
{
	replace_string(&starting->job_result, NULL);
	starting->skipped = false;
	followed_enqueue(&starting->followed, "start", take_job);
}

/* Each invocation has the whole settle time before it. */
static void
note_invocation(struct starting *starting)
{
	const struct start *start = (const struct start *)starting->followed.call;
	const char *invocation = starting->followed.reading.invocation_id;

	if (invocation == NULL)
		invocation = "";
	if (word_is(starting->invocation, invocation))
		return;
	if (starting->invocation != NULL)
		starting->restarts++;
	replace_string(&starting->invocation, invocation);
	starting->settled_at = clock_monotonic(clock_system()) + start->settle;
	if (starting->restarts > RESTARTS_ALLOWED)
		give_up(starting, "keeps crashing: systemd restarted it %u times", starting->restarts);
}

static void
settle(struct starting *starting)
{
	note_invocation(starting);
	int64_t left = starting->settled_at - clock_monotonic(clock_system());
	if (left > 0) {
		followed_look_after(&starting->followed, left);
		return;
	}
	starting->begun = true;
	starting->followed.finished = true;
}

static bool
needs_reset(const struct starting *starting)
{
	return word_is(starting->followed.reading.result, "start-limit-hit") && !starting->reset;
}

static void
reset(struct starting *starting)
{
	starting->reset = true;
	followed_ask(&starting->followed, "ResetFailedUnit", take_reset, "s", starting->followed.name);
}

static void
explain_failure(struct starting *starting)
{
	const struct unit_reading *reading = &starting->followed.reading;
	const char *result = reading->result == NULL ? "unknown" : reading->result;
	const char *job = starting->job_result;

	if (starting->begun)
		give_up(starting, "ended again soon after its start (%s)", result);
	else if (word_is(job, "dependency"))
		give_up(starting, "a unit that it requires failed");
	else if (word_is(job, "canceled"))
		give_up(starting, "somebody else cancelled its start");
	else if (word_is(job, "timeout"))
		give_up(starting, "its start job timed out");
	else if (word_is(job, "assert"))
		give_up(starting, "an assertion (Assert*=) of it does not hold");
	else if (starting->skipped)
		give_up(starting, "systemd skipped it: a condition (Condition*=) of it does not hold");
	else
		give_up(starting, "failed (%s)", result);
}

static void
judge_down(struct starting *starting)
{
	const struct unit_reading *reading = &starting->followed.reading;
	bool done = starting->job_result == NULL || strcmp(starting->job_result, "done") == 0;

	if (is_oneshot(starting) && reading->activity == UNIT_ACTIVITY_INACTIVE && done && !starting->skipped) {
		starting->begun = true;
		starting->followed.finished = true;
	} else if (needs_reset(starting)) {
		reset(starting);
	} else {
		explain_failure(starting);
	}
}

/* It crashed before we came, and nobody knows whether it will stop crashing: a new try is all it gets. */
static void
judge_crash_looping(struct starting *starting)
{
	if (needs_reset(starting)) {
		reset(starting);
		return;
	}
	starting->begun = true;
	starting->followed.finished = true;
}

/* The job of a oneshot ends with its work, and that may take hours: it runs when it is still at it. */
static bool
is_at_work(const struct starting *starting)
{
	const struct unit_reading *reading = &starting->followed.reading;
	return is_oneshot(starting) && reading->activity == UNIT_ACTIVITY_ACTIVATING &&
	       !unit_reading_is_crash_looping(reading);
}

static void
start_step(struct followed *followed)
{
	struct starting *starting = (struct starting *)followed;
	const struct start *start = (const struct start *)followed->call;
	const struct unit_reading *reading = &followed->reading;
	bool runs = unit_reading_is_up(reading) && reading->activity != UNIT_ACTIVITY_ACTIVATING;

	if (starting->stage > start->stage)
		return;
	if (followed->refused != NULL) {
		give_up(starting, "%s", followed->refused);
	} else if (!starting->requested && (!runs || reading->job != 0)) {
		/* One that runs and has a job may be about to stop. */
		if (starting->stage != STAGE_SOCKETS || !clears_the_way(starting))
			request(starting);
	} else if (!starting->unit.settles && (reading->job == 0 || unit_reading_is_up(reading))) {
		judge_crash_looping(starting);
	} else if (is_at_work(starting)) {
		settle(starting);
	} else if (reading->job != 0) {
		return;
	} else if (runs) {
		starting->begun = true;
		settle(starting);
	} else if (unit_reading_is_down(reading)) {
		judge_down(starting);
	} else if (reading->activity == UNIT_ACTIVITY_ACTIVATING) {
		/* Between two tries of Restart=. */
		note_invocation(starting);
	}
}

static enum turn
tell_started(struct start *start, struct starting *starting)
{
	cleanup_free char *name = xstrdup(starting->unit.name);
	starting->told = true;
	/* The caller may abandon the call in its callback: the rest comes in another turn. */
	systemd_call_poke(&start->call);
	if (start->started != NULL)
		start->started(start->context, name);
	return TURN_OVER;
}

static void
collect_complaints(const struct start *start, struct error *error)
{
	cleanup_text struct text complaints = {0};
	cleanup_text struct text status = {0};
	cleanup_text struct text journal = {0};

	for (size_t i = 0; i < start->call.count; i++) {
		const struct starting *starting = (const struct starting *)start->call.units[i];
		if (starting->complaint == NULL)
			continue;
		text_printf(&complaints, "%s%s: %s", complaints.length == 0 ? "" : "; ", starting->unit.name,
		    starting->complaint);
		text_printf(&status, " %s", starting->unit.name);
		text_printf(&journal, " -u %s", starting->unit.name);
	}
	if (complaints.length == 0)
		return;
	error_set(error, ERROR_UNIT_START_FAILED, "not running after the start: %s", complaints.string);
	error_hint(error, "systemctl status%s; journalctl -e%s", status.string, journal.string);
}

static void
end_start(struct start *start, const struct error *error)
{
	systemd_call_end(&start->call);
	start->done(start->context, error);
	systemd_call_free(&start->call);
}

static bool
stage_is_over(const struct start *start)
{
	for (size_t i = 0; i < start->call.count; i++) {
		const struct starting *starting = (const struct starting *)start->call.units[i];
		if (starting->stage == start->stage && !starting->begun && !starting->followed.finished)
			return false;
	}
	return true;
}

static enum turn
start_advance(struct systemd_call *call)
{
	struct start *start = (struct start *)call;
	cleanup_error struct error error = {0};
	bool finished = true;

	for (size_t i = 0; i < call->count; i++) {
		struct starting *starting = (struct starting *)call->units[i];
		if (starting->begun && !starting->told)
			return tell_started(start, starting);
		finished = finished && starting->followed.finished;
	}
	if (start->stage < STAGE_END && stage_is_over(start)) {
		start->stage++;
		return TURN_AGAIN;
	}
	if (!finished)
		return TURN_WAIT;
	collect_complaints(start, &error);
	end_start(start, error_is_set(&error) ? &error : NULL);
	return TURN_OVER;
}

static void
start_lost(struct systemd_call *call, const struct error *error)
{
	end_start((struct start *)call, error);
}

/* Such a unit is unloaded at once if nobody refers to it: only the signal tells why it does not run. */
static void
start_changed(struct followed *followed, const struct unit_reading *partial)
{
	struct starting *starting = (struct starting *)followed;
	if (partial->condition_time != 0)
		starting->skipped = !partial->condition_met;
}

static void
start_job_removed(struct followed *followed, const char *result)
{
	replace_string(&((struct starting *)followed)->job_result, result);
}

static void
start_release_unit(struct followed *followed)
{
	struct starting *starting = (struct starting *)followed;
	unit_clear(&starting->unit);
	free(starting->invocation);
	free(starting->job_result);
	free(starting->complaint);
}

static const struct systemd_call_kind kind_start = {
    .step = start_step,
    .advance = start_advance,
    .lost = start_lost,
    .changed = start_changed,
    .job_removed = start_job_removed,
    .release_unit = start_release_unit,
};

struct systemd_call *
systemd_start(struct systemd *systemd, const struct unit_list *units, int64_t settle, systemd_started_fn *started,
    systemd_start_fn *done, void *context)
{
	struct start *start = systemd_call_new(systemd, &kind_start, sizeof(*start));
	start->settle = settle;
	start->started = started;
	start->done = done;
	start->context = context;
	for (size_t i = 0; i < units->count; i++) {
		if (!units->items[i].active)
			continue;
		struct starting *starting = followed_add(&start->call, units->items[i].name, sizeof(*starting));
		unit_copy(&starting->unit, &units->items[i]);
		starting->stage = stage_of(units->items[i].name);
	}
	return &start->call;
}
