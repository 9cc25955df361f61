#include "tests/system/systemd_cases.h"

#include "adapters/systemd_internal.h"
#include "core/alloc.h"
#include "tests/system/lab_calls.h"
#include "tests/system/lab_units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SLOW_STOP SLEEPER "ExecStop=/bin/sleep 2\n"
#define SLOW_START                                                                                                   \
	"[Service]\nType=notify\nNotifyAccess=all\n"                                                                 \
	"ExecStart=/bin/sh -c 'sleep 2; systemd-notify --ready; exec sleep infinity'\n"

/* Stops a service and one that depends on it; `disturbance` is a shell command that runs in the middle of it. */
static void
assert_stop_survives(struct lab *lab, const char *disturbance)
{
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};

	lab_unit("t-slow.service", SLOW_STOP);
	lab_unit("t-dependant.service", "[Unit]\nRequires=t-slow.service\nAfter=t-slow.service\n" SLOW_STOP);
	lab_reload();
	lab_shell("systemctl start t-slow.service t-dependant.service");
	list = lab_inspect(lab, "t-slow.service");
	lab_stop_begin(lab, &list, &stop);
	lab_run_until_property(lab, "t-dependant.service", "ActiveState", "deactivating");
	assert_true(lab_property_is("t-slow.service", "ActiveState", "active"));
	lab_shell("%s", disturbance);
	lab_stop_end(lab, &stop);
	assert_stopped(&stop);
	assert_null(stop.result.unclean);
	assert_true(stop.elapsed >= 4 * USEC_PER_SEC);
	assert_true(lab_property_is("t-slow.service", "ActiveState", "inactive"));
	assert_true(lab_property_is("t-dependant.service", "ActiveState", "inactive"));
}

static void
assert_start_survives(struct lab *lab, const char *disturbance)
{
	cleanup_units struct unit_list list = {0};
	cleanup_start struct lab_start start = {0};
	const struct unit units[] = {
	    {.name = (char[]){"t-slow.service"}, .active = true, .settles = true},
	    {.name = (char[]){"t-after.service"}, .active = true, .settles = true},
	    {.name = (char[]){"t-last.timer"}, .active = true, .settles = true},
	};

	lab_unit("t-slow.service", SLOW_START);
	lab_unit("t-after.service", "[Unit]\nRequires=t-slow.service\nAfter=t-slow.service\n" SLEEPER);
	lab_unit("t-last.timer", "[Timer]\nOnCalendar=2099-01-01\nUnit=t-after.service\n");
	lab_reload();
	for (size_t i = 0; i < ARRAY_LENGTH(units); i++)
		unit_list_add(&list, &units[i]);
	lab_start_begin(lab, &list, &start);
	lab_run_until_property(lab, "t-slow.service", "ActiveState", "activating");
	lab_shell("%s", disturbance);
	lab_start_end(lab, &start);
	assert_started(&start);
	assert_int_equal(strings_count(start.started), 3);
	for (size_t i = 0; i < ARRAY_LENGTH(units); i++)
		assert_active(units[i].name);
}

void
a_stop_survives_a_reload(void **state)
{
	assert_stop_survives(*state, "systemctl daemon-reload");
}

void
a_stop_survives_a_reexec(void **state)
{
	assert_stop_survives(*state, "systemctl daemon-reexec");
}

void
a_start_survives_a_reload(void **state)
{
	assert_start_survives(*state, "systemctl daemon-reload");
}

void
a_start_survives_a_reexec(void **state)
{
	assert_start_survives(*state, "systemctl daemon-reexec");
}

void
a_reload_and_a_reexec_are_survived_on_the_bus(void **state)
{
	struct lab *lab = *state;
	lab_use_system_bus(lab);
	assert_stop_survives(lab, "systemctl daemon-reload; systemctl daemon-reexec");
	lab_forget_units();
	assert_start_survives(lab, "systemctl daemon-reload; systemctl daemon-reexec");
}

void
calls_begun_during_a_reexec_end_well(void **state)
{
	struct lab *lab = *state;

	lab_unit("t-base.service", SLEEPER);
	lab_unit("t-part.service", "[Unit]\nPartOf=t-base.service\n" SLEEPER);
	lab_reload();
	lab_shell("systemctl start t-base.service t-part.service");
	/* Each round meets another moment of it: before, during and after the request. */
	for (int64_t delay = 0; delay < 200; delay += 40) {
		cleanup_units struct unit_list list = lab_inspect(lab, "t-base.service");
		cleanup_stop struct lab_stop stop = {0};
		cleanup_start struct lab_start start = {0};

		lab_shell("systemctl reset-failed; (systemctl daemon-reexec; touch /run/t-reexec) &");
		lab_run_for(lab, delay * USEC_PER_MSEC);
		lab_stop(lab, &list, &stop);
		assert_stopped(&stop);
		assert_true(lab_property_is("t-base.service", "ActiveState", "inactive"));
		assert_true(lab_property_is("t-part.service", "ActiveState", "inactive"));
		lab_shell("until test -e /run/t-reexec; do :; done; rm /run/t-reexec");

		lab_shell("(systemctl daemon-reexec; touch /run/t-reexec) &");
		lab_run_for(lab, delay * USEC_PER_MSEC);
		lab_start(lab, &list, &start);
		assert_started(&start);
		assert_active("t-base.service");
		assert_active("t-part.service");
		lab_shell("until test -e /run/t-reexec; do :; done; rm /run/t-reexec");
	}
}

static void
kill_bus_daemon(void)
{
	lab_shell("pid=$(systemctl show -P MainPID dbus.service) && test \"$pid\" -gt 1 && kill -KILL \"$pid\"");
	lab_wait_property("dbus.service", "ActiveState", "failed");
	lab_shell("systemctl reset-failed dbus.service");
}

void
a_stop_survives_the_death_of_the_bus_daemon(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};
	cleanup_start struct lab_start start = {0};

	lab_shell("systemctl start dbus.service");
	lab_use_system_bus(lab);
	lab_start_unit("t-slow.service", SLOW_STOP);
	list = lab_inspect(lab, "t-slow.service");
	lab_stop_begin(lab, &list, &stop);
	lab_run_until_property(lab, "t-slow.service", "ActiveState", "deactivating");
	kill_bus_daemon();
	lab_stop_end(lab, &stop);
	assert_stopped(&stop);
	assert_true(stop.elapsed >= 2 * USEC_PER_SEC);
	assert_true(lab_property_is("t-slow.service", "ActiveState", "inactive"));
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_active("t-slow.service");
	lab_shell("systemctl start dbus.service");
}

void
the_private_socket_needs_no_bus_daemon(void **state)
{
	lab_shell("systemctl stop dbus.socket dbus.service");
	assert_stop_survives(*state, "! systemctl is-active --quiet dbus.socket dbus.service");
	lab_shell("systemctl start dbus.socket dbus.service");
}

void
a_call_ends_when_the_connection_stays_away(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};
	cleanup_start struct lab_start start = {0};

	lab_shell("systemctl start dbus.service");
	lab_use_system_bus(lab);
	lab_start_unit("t-slow.service", SLOW_STOP);
	list = lab_inspect(lab, "t-slow.service");
	systemd_set_patience(lab->systemd, 2 * USEC_PER_SEC);
	lab_stop_begin(lab, &list, &stop);
	lab_run_until_property(lab, "t-slow.service", "ActiveState", "deactivating");
	lab_shell("systemctl stop dbus.socket dbus.service; mv /run/systemd/private /run/systemd/private.hidden");
	lab_stop_end(lab, &stop);
	/* One that begins only now has patience of its own. */
	lab_start_begin(lab, &list, &start);
	lab_run_for(lab, USEC_PER_SEC);
	bool early = start.done;
	lab_start_end(lab, &start);
	lab_shell("mv /run/systemd/private.hidden /run/systemd/private; systemctl start dbus.socket dbus.service");
	assert_int_equal(stop.result.error.code, ERROR_BUS_LOST);
	assert_int_equal(start.error.code, ERROR_BUS_LOST);
	assert_false(early);

	/* And it comes back by itself. */
	cleanup_start struct lab_start again = {0};
	lab_start(lab, &list, &again);
	assert_started(&again);
	assert_active("t-slow.service");
}

static void
note_returned(void *context, const char *name)
{
	(void)name;
	*(bool *)context = true;
}

void
a_watch_survives_a_reexec(void **state)
{
	struct lab *lab = *state;
	bool returned = false;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-down.service", SLEEPER);
	lab_reload();
	list = lab_inspect(lab, "t-down.service");
	struct systemd_watch *watch = systemd_watch(lab->systemd, &list, note_returned, &returned);
	lab_run_for(lab, 200 * USEC_PER_MSEC);
	lab_shell("systemctl daemon-reexec");
	lab_run_for(lab, 500 * USEC_PER_MSEC);
	assert_false(returned);
	lab_shell("systemctl start t-down.service");
	lab_run_until(lab, &returned);
	systemd_watch_free(watch);
}

struct closing {
	struct lab *lab;
	struct systemd_call *call;
	struct systemd_watch *watch;
	bool done;
};

static void
close_all_on_start(void *context, const struct error *error)
{
	struct closing *closing = context;
	assert_null(error);
	systemd_call_abandon(closing->call);
	systemd_close(closing->lab->systemd);
	closing->lab->systemd = NULL;
	closing->done = true;
}

static void
abandon_on_unit(void *context, const char *name)
{
	struct closing *closing = context;
	(void)name;
	systemd_call_abandon(closing->call);
	closing->done = true;
}

static void
free_watch_on_return(void *context, const char *name)
{
	struct closing *closing = context;
	assert_string_equal(name, "t-up.service");
	systemd_watch_free(closing->watch);
	closing->done = true;
}

static void
never_done(void *context, const struct error *error)
{
	(void)context;
	(void)error;
	fail_msg("an abandoned call called back");
}

void
callbacks_may_end_everything(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	struct closing closing = {.lab = lab};

	lab_start_unit("t-up.service", SLEEPER);
	list = lab_inspect(lab, "t-up.service");
	unit_list_add(&list, &list.items[0]);

	closing.watch = systemd_watch(lab->systemd, &list, free_watch_on_return, &closing);
	lab_run_until(lab, &closing.done);
	closing.done = false;
	closing.call = systemd_start(lab->systemd, &list, LAB_SETTLE, abandon_on_unit, never_done, &closing);
	lab_run_until(lab, &closing.done);
	closing.done = false;
	systemd_start(lab->systemd, &list, 10 * LAB_SETTLE, NULL, never_done, NULL);
	closing.call = systemd_start(lab->systemd, &list, LAB_SETTLE, NULL, close_all_on_start, &closing);
	lab_run_until(lab, &closing.done);
	lab_run_for(lab, 100 * USEC_PER_MSEC);
}

static void
never_stopped(void *context, const struct unit_stop_result *result)
{
	(void)context;
	(void)result;
	fail_msg("an abandoned call called back");
}

void
an_abandoned_stop_goes_on_without_us(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-slow.service", SLOW_STOP);
	lab_unit("t-late.service", "[Unit]\nRequires=t-slow.service\nAfter=t-slow.service\n" SLOW_STOP);
	lab_reload();
	lab_shell("systemctl start t-slow.service");
	list = lab_inspect(lab, "t-slow.service");
	lab_shell("systemctl start t-late.service");
	struct systemd_call *call = systemd_stop(lab->systemd, &list, never_stopped, NULL);
	lab_run_until_property(lab, "t-late.service", "ActiveState", "deactivating");
	lab_run_for(lab, 100 * USEC_PER_MSEC);
	/* Whoever abandons it has to know what will be down. */
	assert_int_equal(systemd_stop_extra(call)->count, 1);
	assert_string_equal(systemd_stop_extra(call)->items[0].name, "t-late.service");
	systemd_call_abandon(call);
	lab_wait_property("t-slow.service", "ActiveState", "inactive");
	lab_run_for(lab, 100 * USEC_PER_MSEC);
}
