#include "adapters/systemd_internal.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"

#include <signal.h>
#include <string.h>

/* Processes that a stop leaves behind on purpose (KillMode=process) often end a moment later. */
#define LEFTOVER_GRACE (2 * USEC_PER_SEC)
#define LEFTOVER_POLL  (100 * USEC_PER_MSEC)

/* survey: nothing is stopped before all units have been read once
 * wakers: what would wake the others during the rest */
enum stage { STAGE_SURVEY, STAGE_WAKERS, STAGE_REST, STAGE_END };

struct stopping {
	struct followed followed;
	struct unit unit;
	enum stage stage;        /* in which it is stopped */
	bool requested;          /* its stop job was accepted */
	bool affected;           /* systemd stops it in one of our transactions */
	bool extra;              /* ... and nobody had recorded it */
	char *result;            /* of a service whose stop was seen: it may be unloaded before it can be read */
	bool processes_known;    /* the manager has said which processes are left */
	char *processes;         /* "sleep (1234)", or NULL: none */
	int64_t leftovers_since; /* 0: none seen */
};

struct stop {
	struct systemd_call call;
	enum stage stage;
	struct unit_stop_result result;
	struct text unclean;
	systemd_stop_fn *done;
	void *context;
};

static struct stopping *
follow(struct stop *stop, const struct unit *unit)
{
	struct stopping *stopping = followed_add(&stop->call, unit->name, sizeof(*stopping));
	unit_copy(&stopping->unit, unit);
	stopping->stage = unit->role == UNIT_ROLE_TRIGGER || unit_name_wakes(unit->name) ? STAGE_WAKERS : STAGE_REST;
	return stopping;
}

/* Dependants fall with the others; asking for it would be refused where they have RefuseManualStop=. */
static bool
is_asked_for(const struct stopping *stopping)
{
	return stopping->unit.active && stopping->unit.role != UNIT_ROLE_DEPENDANT;
}

static void
complain(struct stopping *stopping, enum error_code code, const char *words)
{
	struct stop *stop = (struct stop *)stopping->followed.call;
	if (error_is_set(&stop->result.error))
		return;
	error_set(&stop->result.error, code, "%s %s", stopping->unit.name, words);
	error_hint(&stop->result.error, "systemctl status %s", stopping->unit.name);
}

static void
add_unclean(struct stopping *stopping, const char *words)
{
	struct stop *stop = (struct stop *)stopping->followed.call;
	text_printf(&stop->unclean, "%s%s %s", stop->unclean.length == 0 ? "" : "; ", stopping->unit.name, words);
}

static void
survey(struct stopping *stopping)
{
	/* Not recorded as active, so nobody would bring it back. */
	if (!stopping->unit.active && stopping->unit.role != UNIT_ROLE_DEPENDANT &&
	    unit_reading_is_up(&stopping->followed.reading))
		complain(stopping, ERROR_UNIT_RETURNED, "was started by somebody before the stop began");
	/* What upholds it would start it again at once. */
	for (size_t i = 0; i < strings_count(stopping->followed.reading.upheld_by); i++) {
		struct stopping *upholder = (struct stopping *)followed_find(
		    stopping->followed.call, stopping->followed.reading.upheld_by[i]);
		if (upholder != NULL)
			upholder->stage = STAGE_WAKERS;
	}
	stopping->followed.finished = true;
}

static void
note_affected(struct stop *stop, const char *name)
{
	struct stopping *stopping = (struct stopping *)followed_find(&stop->call, name);
	if (stopping == NULL) {
		char *copy = xstrdup(name);
		const struct unit unit = {.name = copy, .role = UNIT_ROLE_DEPENDANT, .settles = true};
		stopping = follow(stop, &unit);
		free(copy);
	}
	if (!stopping->unit.active) {
		stopping->unit.active = true;
		stopping->extra = true;
		unit_list_add(&stop->result.extra, &stopping->unit);
	}
	/* One that belongs to a later stage falls now, and is looked at there. */
	if (!stopping->affected && stopping->stage <= stop->stage)
		stopping->followed.finished = false;
	stopping->affected = true;
}

static void
take_job(struct followed *followed, sd_bus_message *reply, const sd_bus_error *refusal)
{
	struct stopping *stopping = (struct stopping *)followed;
	struct stop *stop = (struct stop *)followed->call;
	const char *name;
	const char *type;

	stopping->requested = true;
	if (refusal != NULL) {
		cleanup_free char *words =
		    xasprintf("cannot be stopped: %s", refusal->message == NULL ? refusal->name : refusal->message);
		complain(stopping, ERROR_UNIT_STOP_FAILED, words);
		followed->finished = true;
		return;
	}
	if (sd_bus_message_skip(reply, "uosos") >= 0 && sd_bus_message_enter_container(reply, 'a', "(uosos)") >= 0)
		while (sd_bus_message_read(reply, "(uosos)", NULL, NULL, &name, NULL, &type) > 0)
			if (strcmp(type, "stop") == 0)
				note_affected(stop, name);
	/* What was read before this job existed says nothing about what it does. */
	systemd_call_look_again(followed->call);
}

static void
take_processes(struct followed *followed, sd_bus_message *reply, const sd_bus_error *refusal)
{
	struct stopping *stopping = (struct stopping *)followed;
	cleanup_text struct text words = {0};
	uint32_t pid;
	const char *command;

	/* A unit that is not loaded any more has none. */
	if (refusal == NULL && sd_bus_message_enter_container(reply, 'a', "(sus)") >= 0)
		while (sd_bus_message_read(reply, "(sus)", NULL, &pid, &command) > 0)
			text_printf(&words, "%s%s (%u)", words.length == 0 ? "" : ", ", command, pid);
	free(stopping->processes);
	stopping->processes = words.length == 0 ? NULL : text_take(&words);
	stopping->processes_known = true;
}

/* True while it is worth waiting for processes that the stopped unit left behind. */
static bool
has_leftovers(struct stopping *stopping)
{
	int64_t now = clock_monotonic(clock_system());

	if (stopping->processes == NULL)
		return false;
	if (stopping->leftovers_since == 0)
		stopping->leftovers_since = now;
	if (now - stopping->leftovers_since < LEFTOVER_GRACE)
		return true;
	cleanup_free char *words = xasprintf("left processes behind: %s", stopping->processes);
	add_unclean(stopping, words);
	return false;
}

/* Results of a service that did not end by itself. A failing exit code is an end of its own making, and so is
 * SIGTERM, which systemd calls a failure where a oneshot dies of it. */
static void
judge_end(struct stopping *stopping)
{
	static const struct {
		const char *result;
		const char *words;
	} ends[] = {
	    {"timeout", "did not stop in time and was killed"},
	    {"signal", "was killed by a signal"},
	    {"core-dump", "crashed"},
	    {"watchdog", "was killed by its watchdog"},
	    {"oom-kill", "was killed for want of memory"},
	};
	const char *result = stopping->followed.reading.result;
	if (result == NULL || strcmp(result, "success") == 0)
		result = stopping->result;
	if (result != NULL && strcmp(result, "signal") == 0 && stopping->followed.reading.main_status == SIGTERM)
		return;
	for (size_t i = 0; result != NULL && i < ARRAY_LENGTH(ends); i++)
		if (strcmp(result, ends[i].result) == 0)
			add_unclean(stopping, ends[i].words);
}

static void
finish_stopped(struct stopping *stopping)
{
	if (!stopping->processes_known) {
		followed_ask(&stopping->followed, "GetUnitProcesses", take_processes, "s", stopping->followed.name);
		return;
	}
	stopping->processes_known = false;
	if (has_leftovers(stopping)) {
		followed_look_after(&stopping->followed, LEFTOVER_POLL);
		return;
	}
	judge_end(stopping);
	stopping->followed.finished = true;
}

static bool
requests_are_open(const struct stop *stop)
{
	for (size_t i = 0; i < stop->call.count; i++) {
		const struct stopping *other = (const struct stopping *)stop->call.units[i];
		if (other->stage == stop->stage && is_asked_for(other) && !other->requested &&
		    !other->followed.finished)
			return true;
	}
	return false;
}

static void
go_down(struct stopping *stopping)
{
	struct followed *followed = &stopping->followed;
	const struct stop *stop = (const struct stop *)followed->call;
	const struct unit_reading *reading = &followed->reading;

	if (is_asked_for(stopping) && !stopping->requested && !unit_reading_is_down(reading)) {
		followed_enqueue(followed, "stop", take_job);
		return;
	}
	if (reading->job != 0)
		return;
	if (unit_reading_is_down(reading)) {
		if (stopping->unit.active)
			finish_stopped(stopping);
		else
			followed->finished = true;
	} else if (unit_reading_is_up(reading) && (stopping->requested || stopping->affected)) {
		complain(stopping, ERROR_UNIT_STOP_FAILED, "is active again, or still, after its stop");
		followed->finished = true;
	} else if (unit_reading_is_up(reading) && stopping->unit.role != UNIT_ROLE_DEPENDANT) {
		complain(stopping, ERROR_UNIT_RETURNED, "was started by somebody during the stop");
		followed->finished = true;
	} else if (unit_reading_is_up(reading) && !requests_are_open(stop)) {
		/* A dependant that no transaction touches: what it depends on was down before. */
		followed->finished = true;
	}
}

static void
stop_step(struct followed *followed)
{
	struct stopping *stopping = (struct stopping *)followed;
	struct stop *stop = (struct stop *)followed->call;

	if (followed->refused != NULL) {
		cleanup_free char *words = xasprintf("cannot be read: %s", followed->refused);
		complain(stopping, ERROR_UNIT_STOP_FAILED, words);
		followed->finished = true;
	} else if (stop->stage == STAGE_SURVEY) {
		survey(stopping);
	} else {
		go_down(stopping);
	}
}

static void
end_stop(struct stop *stop)
{
	systemd_call_end(&stop->call);
	if (stop->unclean.length > 0)
		stop->result.unclean = text_take(&stop->unclean);
	stop->done(stop->context, &stop->result);
	systemd_call_free(&stop->call);
}

static enum turn
stop_advance(struct systemd_call *call)
{
	struct stop *stop = (struct stop *)call;

	for (size_t i = 0; i < call->count; i++)
		if (!call->units[i]->finished)
			return TURN_WAIT;
	if (stop->stage < STAGE_END)
		stop->stage++;
	if (stop->stage == STAGE_END || error_is_set(&stop->result.error)) {
		end_stop(stop);
		return TURN_OVER;
	}
	for (size_t i = 0; i < call->count; i++) {
		struct stopping *stopping = (struct stopping *)call->units[i];
		if (stopping->stage != stop->stage)
			continue;
		stopping->followed.finished = false;
		stopping->followed.stale = true;
	}
	return TURN_AGAIN;
}

static void
stop_changed(struct followed *followed, const struct unit_reading *partial)
{
	struct stopping *stopping = (struct stopping *)followed;
	if (partial->result != NULL && strcmp(partial->result, "success") != 0)
		replace_string(&stopping->result, partial->result);
}

static void
stop_lost(struct systemd_call *call, const struct error *error)
{
	struct stop *stop = (struct stop *)call;
	error_copy(&stop->result.error, error);
	end_stop(stop);
}

static void
stop_release_unit(struct followed *followed)
{
	struct stopping *stopping = (struct stopping *)followed;
	unit_clear(&stopping->unit);
	free(stopping->result);
	free(stopping->processes);
}

static void
stop_release(struct systemd_call *call)
{
	struct stop *stop = (struct stop *)call;
	error_clear(&stop->result.error);
	unit_list_clear(&stop->result.extra);
	free(stop->result.unclean);
	text_clear(&stop->unclean);
}

static const struct systemd_call_kind kind_stop = {
    .step = stop_step,
    .advance = stop_advance,
    .lost = stop_lost,
    .changed = stop_changed,
    .release_unit = stop_release_unit,
    .release = stop_release,
};

struct systemd_call *
systemd_stop(struct systemd *systemd, const struct unit_list *units, systemd_stop_fn *done, void *context)
{
	struct stop *stop = systemd_call_new(systemd, &kind_stop, sizeof(*stop));
	stop->done = done;
	stop->context = context;
	for (size_t i = 0; i < units->count; i++)
		follow(stop, &units->items[i]);
	return &stop->call;
}

const struct unit_list *
systemd_stop_extra(const struct systemd_call *call)
{
	return &((const struct stop *)call)->result.extra;
}
