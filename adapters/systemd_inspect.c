#include "adapters/systemd_internal.h"

#include "core/alloc.h"
#include "core/text.h"

#include <string.h>
#include <systemd/sd-login.h>

struct inspected {
	struct followed followed;
	struct unit unit;
	bool listed;    /* part of the answer; others are read because one of those asks what state they are in */
	bool expanded;  /* what falls with it, wakes it or upholds it is followed too */
	char *job_type; /* of the job it had when it was read: "start", "stop", ...; NULL: none */
	bool fatal;     /* our own process would end with it */
};

struct inspection {
	struct systemd_call call;
	systemd_inspect_fn *done;
	void *context;
};

static struct inspected *
inspected_at(const struct systemd_call *call, size_t index)
{
	return (struct inspected *)call->units[index];
}

static struct inspected *
follow(struct systemd_call *call, const char *name)
{
	struct inspected *inspected = (struct inspected *)followed_find(call, name);
	return inspected != NULL ? inspected : followed_add(call, name, sizeof(struct inspected));
}

static void
follow_listed(struct systemd_call *call, const char *name, enum unit_role role)
{
	struct inspected *inspected = follow(call, name);
	if (!inspected->listed) {
		inspected->listed = true;
		inspected->unit.role = role;
		/* It may have been read already for another reason: what hangs on it comes now. */
		inspected->followed.finished = false;
		systemd_call_poke(call);
	} else if (role == UNIT_ROLE_TRIGGER && inspected->unit.role == UNIT_ROLE_DEPENDANT) {
		inspected->unit.role = role;
	}
}

static void
expand(struct inspected *inspected)
{
	struct systemd_call *call = inspected->followed.call;
	const struct unit_reading *reading = &inspected->followed.reading;

	inspected->expanded = true;
	for (size_t i = 0; i < strings_count(reading->falls); i++)
		follow_listed(call, reading->falls[i], UNIT_ROLE_DEPENDANT);
	for (size_t i = 0; i < strings_count(reading->triggered_by); i++)
		follow_listed(call, reading->triggered_by[i], UNIT_ROLE_TRIGGER);
	for (size_t i = 0; i < strings_count(reading->upheld_by); i++)
		follow(call, reading->upheld_by[i]);
}

static void
take_job_type(struct followed *followed, sd_bus_message *reply, const sd_bus_error *refusal)
{
	struct inspected *inspected = (struct inspected *)followed;
	const char *type;

	if (refusal == NULL && sd_bus_message_read(reply, "v", "s", &type) >= 0)
		replace_string(&inspected->job_type, type);
	else
		followed->stale = true; /* the job has ended meanwhile */
}

static void
inspect_step(struct followed *followed)
{
	struct inspected *inspected = (struct inspected *)followed;

	if (followed->reading.job == 0) {
		replace_string(&inspected->job_type, NULL);
	} else if (inspected->job_type == NULL) {
		followed_ask_property(
		    followed, followed->reading.job_path, SYSTEMD_INTERFACE("Job"), "JobType", take_job_type);
		return;
	}
	if (inspected->listed && !inspected->expanded && followed->refused == NULL)
		expand(inspected);
	followed->finished = true;
}

/* What a job is about to do counts more than how the unit is: one in the middle of a restart is wanted, one
 * that somebody is stopping is not. */
static bool
is_wanted(const struct inspected *inspected)
{
	static const char *const starting[] = {"start", "restart", "try-restart", "reload-or-start"};
	if (inspected->job_type == NULL)
		return unit_reading_is_up(&inspected->followed.reading);
	for (size_t i = 0; i < ARRAY_LENGTH(starting); i++)
		if (strcmp(inspected->job_type, starting[i]) == 0)
			return true;
	return strcmp(inspected->job_type, "stop") != 0 && unit_reading_is_up(&inspected->followed.reading);
}

static void
describe(struct inspected *inspected)
{
	const struct unit_reading *reading = &inspected->followed.reading;
	struct unit *unit = &inspected->unit;

	unit->name = xstrdup(inspected->followed.name);
	unit->invocation_id = xstrdup(reading->invocation_id == NULL ? "" : reading->invocation_id);
	unit->stop_timeout = reading->stop_timeout > INT64_MAX ? INT64_MAX : (int64_t)reading->stop_timeout;
	unit->settles = !unit_reading_is_crash_looping(reading);
	if (inspected->followed.refused == NULL) {
		unit->active = is_wanted(inspected);
		unit_judge(unit, reading);
	} else if (unit_name_is_template(unit->name)) {
		unit_refuse(unit, "name an instance, such as name@instance.service", "it is a template, not a unit");
	} else {
		unit_refuse(
		    unit, "give the full name of a unit, such as name.service", "%s", inspected->followed.refused);
	}
}

/* A unit that an active one upholds is started again the moment it stops. */
static void
refuse_upheld(struct inspected *inspected)
{
	char **upholders = inspected->followed.reading.upheld_by;
	for (size_t i = 0; inspected->unit.active && i < strings_count(upholders); i++) {
		const struct inspected *upholder =
		    (const struct inspected *)followed_find(inspected->followed.call, upholders[i]);
		if (upholder == NULL || upholder->listed || !unit_reading_is_up(&upholder->followed.reading))
			continue;
		cleanup_free char *remedy = xasprintf("name %s in stopUnits too, or end its Upholds=", upholders[i]);
		unit_refuse(
		    &inspected->unit, remedy, "%s upholds it: it would be started again at once", upholders[i]);
		return;
	}
}

static bool
falls_with_us(const struct systemd_call *call, const struct inspected *inspected)
{
	for (size_t i = 0; i < strings_count(inspected->followed.reading.falls); i++) {
		const struct inspected *other =
		    (const struct inspected *)followed_find(call, inspected->followed.reading.falls[i]);
		if (other != NULL && other->fatal)
			return true;
	}
	return false;
}

/* Whoever stops the unit we run in, or one that it requires, ends us in the middle of the work. */
static void
refuse_own_unit(struct systemd_call *call)
{
	cleanup_free char *own = NULL;
	struct inspected *inspected;
	bool spreads = true;

	if (sd_pid_get_unit(0, &own) < 0 || (inspected = (struct inspected *)followed_find(call, own)) == NULL)
		return;
	inspected->fatal = true;
	unit_refuse(&inspected->unit, "run this program in a unit that requires none of these",
	    "it is the unit that this program runs in");
	while (spreads) {
		spreads = false;
		for (size_t i = 0; i < call->count; i++) {
			inspected = inspected_at(call, i);
			if (inspected->fatal || !falls_with_us(call, inspected))
				continue;
			inspected->fatal = spreads = true;
			unit_refuse(&inspected->unit,
			    "remove Requires=, BindsTo= or PartOf= from the unit of this program",
			    "%s, in which this program runs, would be stopped with it", own);
		}
	}
}

static enum turn
inspect_advance(struct systemd_call *call)
{
	struct inspection *inspection = (struct inspection *)call;
	cleanup_units struct unit_list list = {0};

	for (size_t i = 0; i < call->count; i++)
		if (!call->units[i]->finished)
			return TURN_WAIT;
	for (size_t i = 0; i < call->count; i++)
		describe(inspected_at(call, i));
	for (size_t i = 0; i < call->count; i++)
		refuse_upheld(inspected_at(call, i));
	refuse_own_unit(call);
	/* Two names may be aliases of one unit. */
	for (size_t i = 0; i < call->count; i++)
		if (inspected_at(call, i)->listed && unit_list_find(&list, call->units[i]->name) == NULL)
			unit_list_add(&list, &inspected_at(call, i)->unit);
	systemd_call_end(call);
	inspection->done(inspection->context, &list, NULL);
	systemd_call_free(call);
	return TURN_OVER;
}

static void
inspect_lost(struct systemd_call *call, const struct error *error)
{
	struct inspection *inspection = (struct inspection *)call;
	const struct unit_list none = {0};

	systemd_call_end(call);
	inspection->done(inspection->context, &none, error);
	systemd_call_free(call);
}

static void
inspect_release_unit(struct followed *followed)
{
	struct inspected *inspected = (struct inspected *)followed;
	unit_clear(&inspected->unit);
	free(inspected->job_type);
}

static const struct systemd_call_kind kind_inspect = {
    .step = inspect_step,
    .advance = inspect_advance,
    .lost = inspect_lost,
    .release_unit = inspect_release_unit,
};

struct systemd_call *
systemd_inspect(struct systemd *systemd, char *const *names, systemd_inspect_fn *done, void *context)
{
	struct inspection *inspection = systemd_call_new(systemd, &kind_inspect, sizeof(*inspection));
	inspection->done = done;
	inspection->context = context;
	for (size_t i = 0; i < strings_count(names); i++)
		follow_listed(&inspection->call, names[i], UNIT_ROLE_MAIN);
	return &inspection->call;
}
