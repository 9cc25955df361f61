#include "tests/system/lab_calls.h"

#include "core/alloc.h"
#include "tests/system/lab_units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE (30 * USEC_PER_SEC)

int
lab_setup(void **state)
{
	struct lab *lab = xcalloc(1, sizeof(*lab));
	struct error error = {0};
	lab->base = event_base_new();
	assert_non_null(lab->base);
	lab->systemd = systemd_open(lab->base, &error);
	if (lab->systemd == NULL)
		fail_msg("%s", error.message);
	*state = lab;
	return 0;
}

int
lab_teardown(void **state)
{
	struct lab *lab = *state;
	systemd_close(lab->systemd);
	event_base_free(lab->base);
	free(lab);
	lab_forget_units();
	return 0;
}

void
lab_use_system_bus(struct lab *lab)
{
	systemd_close(lab->systemd);
	lab_shell("mv /run/systemd/private /run/systemd/private.hidden");
	struct error error = {0};
	lab->systemd = systemd_open(lab->base, &error);
	lab_shell("mv /run/systemd/private.hidden /run/systemd/private");
	if (lab->systemd == NULL)
		fail_msg("%s", error.message);
}

static void
set_flag(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	*(bool *)context = true;
}

static struct event *
alarm_in(struct lab *lab, int64_t delay, bool *flag)
{
	struct timeval time = {.tv_sec = delay / USEC_PER_SEC, .tv_usec = delay % USEC_PER_SEC};
	struct event *alarm = event_new(lab->base, -1, 0, set_flag, flag);
	event_add(alarm, &time);
	return alarm;
}

void
lab_run_until(struct lab *lab, const bool *flag)
{
	bool late = false;
	struct event *alarm = alarm_in(lab, PATIENCE, &late);
	while (!*flag && !late)
		assert_int_equal(event_base_loop(lab->base, EVLOOP_ONCE), 0);
	event_free(alarm);
	if (!*flag)
		fail_msg("nothing came within 30 s");
}

void
lab_run_for(struct lab *lab, int64_t microseconds)
{
	bool over = false;
	struct event *alarm = alarm_in(lab, microseconds, &over);
	while (!over)
		assert_int_equal(event_base_loop(lab->base, EVLOOP_ONCE), 0);
	event_free(alarm);
}

void
lab_run_until_property(struct lab *lab, const char *unit, const char *property, const char *value)
{
	int64_t end = clock_monotonic(clock_system()) + PATIENCE;
	while (!lab_property_is(unit, property, value)) {
		if (clock_monotonic(clock_system()) > end)
			fail_msg("%s: %s does not become %s", unit, property, value);
		lab_run_for(lab, 10 * USEC_PER_MSEC);
	}
}

struct inspection {
	bool done;
	struct unit_list units;
};

static void
on_inspected(void *context, const struct unit_list *units, const struct error *error)
{
	struct inspection *inspection = context;
	if (error != NULL)
		fail_msg("%s", error->message);
	for (size_t i = 0; i < units->count; i++)
		unit_list_add(&inspection->units, &units->items[i]);
	inspection->done = true;
}

struct unit_list
lab_inspect_names(struct lab *lab, const char *const *names)
{
	struct inspection inspection = {0};
	cleanup_strings char **copy = NULL;
	for (size_t i = 0; names[i] != NULL; i++)
		strings_add(&copy, names[i]);
	systemd_inspect(lab->systemd, copy, on_inspected, &inspection);
	assert_false(inspection.done);
	lab_run_until(lab, &inspection.done);
	return inspection.units;
}

const struct unit *
lab_inspect_one(struct lab *lab, const char *name, struct unit_list *ret_list)
{
	*ret_list = lab_inspect(lab, name);
	assert_true(ret_list->count >= 1);
	return &ret_list->items[0];
}

static void
on_stopped(void *context, const struct unit_stop_result *result)
{
	struct lab_stop *stop = context;
	assert_false(stop->done);
	error_copy(&stop->result.error, &result->error);
	stop->result.unclean = xstrdup_null(result->unclean);
	for (size_t i = 0; i < result->extra.count; i++)
		unit_list_add(&stop->result.extra, &result->extra.items[i]);
	stop->elapsed += clock_monotonic(clock_system());
	stop->done = true;
}

void
lab_stop_begin(struct lab *lab, const struct unit_list *units, struct lab_stop *stop)
{
	stop->elapsed = -clock_monotonic(clock_system());
	systemd_stop(lab->systemd, units, on_stopped, stop);
	assert_false(stop->done);
}

void
lab_stop_end(struct lab *lab, struct lab_stop *stop)
{
	lab_run_until(lab, &stop->done);
}

void
lab_stop(struct lab *lab, const struct unit_list *units, struct lab_stop *stop)
{
	lab_stop_begin(lab, units, stop);
	lab_stop_end(lab, stop);
}

void
lab_stop_clear(struct lab_stop *stop)
{
	error_clear(&stop->result.error);
	unit_list_clear(&stop->result.extra);
	free(stop->result.unclean);
	*stop = (struct lab_stop){0};
}

static void
on_unit_started(void *context, const char *name)
{
	struct lab_start *start = context;
	assert_false(strings_contain(start->started, name));
	strings_add(&start->started, name);
}

static void
on_started(void *context, const struct error *error)
{
	struct lab_start *start = context;
	assert_false(start->done);
	if (error != NULL)
		error_copy(&start->error, error);
	start->elapsed += clock_monotonic(clock_system());
	start->done = true;
}

void
lab_start_begin(struct lab *lab, const struct unit_list *units, struct lab_start *start)
{
	start->elapsed = -clock_monotonic(clock_system());
	systemd_start(lab->systemd, units, LAB_SETTLE, on_unit_started, on_started, start);
	assert_false(start->done);
}

void
lab_start_end(struct lab *lab, struct lab_start *start)
{
	lab_run_until(lab, &start->done);
}

void
lab_start(struct lab *lab, const struct unit_list *units, struct lab_start *start)
{
	lab_start_begin(lab, units, start);
	lab_start_end(lab, start);
}

void
lab_start_clear(struct lab_start *start)
{
	error_clear(&start->error);
	strings_free(start->started);
	*start = (struct lab_start){0};
}
