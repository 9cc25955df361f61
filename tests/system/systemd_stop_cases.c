#include "tests/system/systemd_cases.h"

#include "core/alloc.h"
#include "tests/system/lab_calls.h"
#include "tests/system/lab_units.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void
assert_unclean(const struct lab_stop *stop, const char *words)
{
	if (stop->result.unclean == NULL || strstr(stop->result.unclean, words) == NULL)
		fail_msg("unclean: %s", stop->result.unclean == NULL ? "nothing" : stop->result.unclean);
}

/* Inspects, stops and starts; `names` were active and are so again. */
static void
assert_round_trip(struct lab *lab, const struct unit_list *list)
{
	cleanup_stop struct lab_stop stop = {0};
	cleanup_start struct lab_start start = {0};

	lab_stop(lab, list, &stop);
	assert_stopped(&stop);
	assert_null(stop.result.unclean);
	assert_int_equal(stop.result.extra.count, 0);
	for (size_t i = 0; i < list->count; i++)
		assert_not_active(list->items[i].name);
	lab_start(lab, list, &start);
	assert_started(&start);
	for (size_t i = 0; i < list->count; i++) {
		assert_int_equal(lab_is_active(list->items[i].name), list->items[i].active);
		assert_int_equal(strings_contain(start.started, list->items[i].name), list->items[i].active);
	}
}

void
a_service_stops_and_comes_back(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_start_unit("t-simple.service", SLEEPER);
	list = lab_inspect(lab, "t-simple.service");
	assert_round_trip(lab, &list);
	assert_false(lab_property_is("t-simple.service", "InvocationID", list.items[0].invocation_id));
}

void
an_inactive_unit_stays_inactive(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-on.service", SLEEPER);
	lab_unit("t-off.service", SLEEPER);
	lab_unit("t-failed.service", "[Service]\nExecStart=/bin/false\n");
	lab_unit("t-off.timer", "[Timer]\nOnCalendar=2099-01-01\n");
	lab_reload();
	lab_shell("systemctl start t-on.service t-failed.service");
	lab_wait_property("t-failed.service", "ActiveState", "failed");
	list = lab_inspect(lab, "t-on.service", "t-off.service", "t-failed.service");
	assert_round_trip(lab, &list);
	assert_not_active("t-off.timer");
}

void
triggered_services_stay_down_and_come_back(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};
	cleanup_start struct lab_start start = {0};

	lab_unit("t-sock.service", SLEEPER);
	lab_unit("t-sock.socket", "[Socket]\nListenStream=/run/t-sock.sock\nExecStopPre=/bin/sleep 2\n");
	lab_unit("t-tick.service", SLEEPER);
	lab_unit("t-tick.timer", "[Timer]\nOnCalendar=*:*:*\nAccuracySec=1ms\n");
	lab_unit("t-path.service", SLEEPER);
	lab_unit("t-path.path", "[Path]\nPathExists=/run/systemd\n");
	lab_reload();
	lab_shell("systemctl start t-sock.socket t-sock.service t-tick.timer t-path.path");
	lab_wait_property("t-tick.service", "ActiveState", "active");
	lab_wait_property("t-path.service", "ActiveState", "active");

	list = lab_inspect(lab, "t-sock.service", "t-tick.service", "t-path.service");
	assert_int_equal(list.count, 6);
	lab_stop_begin(lab, &list, &stop);
	/* As long as one of them could wake a service, all services run. */
	lab_run_until_property(lab, "t-sock.socket", "SubState", "stop-pre");
	lab_run_until_property(lab, "t-path.path", "ActiveState", "inactive");
	assert_active("t-sock.service");
	assert_active("t-path.service");
	lab_stop_end(lab, &stop);
	assert_stopped(&stop);
	assert_null(stop.result.unclean);
	assert_int_equal(stop.result.extra.count, 0);
	/* More than one tick of the timer. */
	lab_run_for(lab, 1200 * USEC_PER_MSEC);
	for (size_t i = 0; i < list.count; i++)
		assert_not_active(list.items[i].name);

	lab_start(lab, &list, &start);
	assert_started(&start);
	for (size_t i = 0; i < list.count; i++)
		assert_active(list.items[i].name);
	assert_string_equal(start.started[0], "t-sock.socket");
}

void
dependants_come_back(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-base.service", SLEEPER);
	lab_unit("t-requires.service", "[Unit]\nRequires=t-base.service\n" SLEEPER "Restart=always\n");
	lab_unit("t-binds.service", "[Unit]\nBindsTo=t-base.service\nAfter=t-base.service\n" SLEEPER);
	lab_unit("t-part.service", "[Unit]\nPartOf=t-base.service\nRefuseManualStop=yes\n" SLEEPER);
	lab_unit("t-chain.service", "[Unit]\nRequires=t-requires.service\nAfter=t-requires.service\n" SLEEPER);
	lab_unit("t-chain2.service", "[Unit]\nRequires=t-chain.service\n" SLEEPER);
	lab_unit("t-group.target", "[Unit]\nRequires=t-base.service\n");
	lab_unit("t-idle.service", "[Unit]\nPartOf=t-base.service\nWants=t-base.service\n" SLEEPER);
	lab_reload();
	lab_shell("systemctl start t-binds.service t-part.service t-chain2.service t-group.target");
	list = lab_inspect(lab, "t-base.service");
	assert_int_equal(list.count - (unit_list_find(&list, "t-idle.service") != NULL), 7);
	assert_round_trip(lab, &list);
	assert_not_active("t-idle.service");
}

void
unrecorded_dependants_are_extra(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};
	cleanup_start struct lab_start start = {0};

	lab_unit("t-base.service", SLEEPER);
	lab_unit("t-late.service", "[Unit]\nRequires=t-base.service\nAfter=t-base.service\n" SLEEPER);
	lab_unit("t-idle.service", "[Unit]\nRequires=t-base.service\n" SLEEPER);
	lab_reload();
	lab_shell("systemctl start t-base.service");
	list = lab_inspect(lab, "t-base.service");
	lab_shell("systemctl start t-late.service");
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	assert_int_equal(stop.result.extra.count, 1);
	assert_string_equal(stop.result.extra.items[0].name, "t-late.service");
	assert_true(stop.result.extra.items[0].active);
	assert_int_equal(stop.result.extra.items[0].role, UNIT_ROLE_DEPENDANT);
	assert_not_active("t-late.service");
	lab_start(lab, &stop.result.extra, &start);
	assert_started(&start);
	assert_active("t-late.service");
}

void
restart_always_stays_down(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_start_unit("t-always.service", SLEEPER "Restart=always\nRestartSec=0\n");
	list = lab_inspect(lab, "t-always.service");
	assert_round_trip(lab, &list);
}

void
a_slow_stop_is_waited_for(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};

	lab_start_unit("t-slow.service", SLEEPER "ExecStop=/bin/sleep 3\n");
	list = lab_inspect(lab, "t-slow.service");
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	assert_null(stop.result.unclean);
	assert_true(stop.elapsed >= 3 * USEC_PER_SEC);
	assert_not_active("t-slow.service");
}

/* Debian's postgresql.service is such a dummy: its own job ends at once. */
void
a_dependant_that_stops_slowly_is_waited_for(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};

	lab_unit("t-dummy.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n");
	lab_unit("t-cluster.service", "[Unit]\nPartOf=t-dummy.service\n" SLEEPER "ExecStop=/bin/sleep 1\n");
	lab_reload();
	lab_shell("systemctl start t-dummy.service t-cluster.service");
	list = lab_inspect(lab, "t-dummy.service");
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	assert_true(stop.elapsed >= USEC_PER_SEC);
	assert_true(lab_property_is("t-cluster.service", "ActiveState", "inactive"));
}

#define DEAF "[Service]\nExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'\n"

void
a_killed_service_is_unclean(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};

	lab_unit("t-deaf.service", DEAF "TimeoutStopSec=1\n");
	/* Unloaded as soon as it has failed: nobody can read afterwards how it ended. */
	lab_unit("t-deaf2.service", "[Unit]\nCollectMode=inactive-or-failed\n" DEAF "TimeoutStopSec=1\n");
	lab_reload();
	lab_shell("systemctl start t-deaf.service t-deaf2.service");
	list = lab_inspect(lab, "t-deaf.service", "t-deaf2.service");
	/* The shell has to have set its trap. */
	lab_run_for(lab, 300 * USEC_PER_MSEC);
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	assert_unclean(&stop, "t-deaf.service did not stop in time and was killed");
	assert_unclean(&stop, "t-deaf2.service did not stop in time and was killed");
	assert_not_active("t-deaf.service");
}

void
a_failing_exit_is_clean(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};

	lab_start_unit("t-java.service",
	    "[Service]\nType=notify\nNotifyAccess=all\n"
	    "ExecStart=/bin/sh -c 'trap \"exit 143\" TERM; systemd-notify --ready; while :; do sleep 0.1; done'\n");
	list = lab_inspect(lab, "t-java.service");
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	assert_null(stop.result.unclean);
	assert_true(lab_property_is("t-java.service", "ActiveState", "failed"));
}

void
left_processes_are_unclean(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};

	lab_unit("t-leaves.service",
	    "[Service]\nKillMode=process\nExecStart=/bin/sh -c '(trap \"\" TERM; sleep 60) & exec sleep infinity'\n");
	/* One that is gone a moment later is none. */
	lab_unit("t-lingers.service",
	    "[Service]\nKillMode=process\nExecStart=/bin/sleep infinity\nExecStopPost=/bin/sh -c 'sleep 1 &'\n");
	lab_reload();
	lab_shell("systemctl start t-leaves.service t-lingers.service");
	list = lab_inspect(lab, "t-leaves.service", "t-lingers.service");
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	assert_unclean(&stop, "t-leaves.service left processes behind: ");
	assert_unclean(&stop, "sleep");
	assert_null(strstr(stop.result.unclean, "t-lingers.service"));
}

void
a_stop_timeout_may_be_extended(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};

	lab_start_unit("t-extends.service",
	    SLEEPER "NotifyAccess=all\nTimeoutStopSec=1\n"
		    "ExecStop=/bin/sh -c 'systemd-notify EXTEND_TIMEOUT_USEC=5000000; sleep 2'\n");
	list = lab_inspect(lab, "t-extends.service");
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	assert_null(stop.result.unclean);
	assert_true(stop.elapsed >= 2 * USEC_PER_SEC);
}

static void
assert_does_not_stop(struct lab *lab, const char *name, const char *words)
{
	cleanup_units struct unit_list list = lab_inspect(lab, name);
	cleanup_stop struct lab_stop stop = {0};
	lab_stop(lab, &list, &stop);
	assert_int_equal(stop.result.error.code, ERROR_UNIT_STOP_FAILED);
	if (strstr(stop.result.error.message, name) == NULL || strstr(stop.result.error.message, words) == NULL)
		fail_msg("%s", stop.result.error.message);
}

static void
note_returned(void *context, const char *name)
{
	strings_add(context, name);
}

void
an_upheld_unit_does_not_stop(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};
	cleanup_strings char **returned = NULL;

	lab_unit("t-upheld.service", SLEEPER);
	lab_unit("t-upholder.service", "[Unit]\nUpholds=t-upheld.service\n" SLEEPER);
	lab_reload();
	lab_shell("systemctl start t-upheld.service t-upholder.service");
	list = lab_inspect(lab, "t-upheld.service");
	lab_stop(lab, &list, &stop);
	/* systemd may start it after the stop has been seen: then the watch tells of it. */
	if (!error_is_set(&stop.result.error)) {
		struct systemd_watch *watch = systemd_watch(lab->systemd, &list, note_returned, &returned);
		lab_wait_property("t-upheld.service", "ActiveState", "active");
		lab_run_for(lab, 500 * USEC_PER_MSEC);
		systemd_watch_free(watch);
		assert_true(strings_contain(returned, "t-upheld.service"));
	} else {
		assert_int_equal(stop.result.error.code, ERROR_UNIT_STOP_FAILED);
	}

	lab_wait_property("t-upheld.service", "ActiveState", "active");
}

void
a_unit_stops_after_what_upholds_it(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};
	cleanup_start struct lab_start start = {0};

	lab_unit("t-upheld.service", SLEEPER);
	lab_unit("t-upholder.service", "[Unit]\nUpholds=t-upheld.service\n" SLEEPER "ExecStop=/bin/sleep 2\n");
	lab_reload();
	lab_shell("systemctl start t-upheld.service t-upholder.service");
	list = lab_inspect(lab, "t-upheld.service", "t-upholder.service");
	lab_stop_begin(lab, &list, &stop);
	lab_run_until_property(lab, "t-upholder.service", "ActiveState", "deactivating");
	lab_run_for(lab, 200 * USEC_PER_MSEC);
	assert_active("t-upheld.service");
	lab_stop_end(lab, &stop);
	assert_stopped(&stop);
	assert_not_active("t-upheld.service");
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_active("t-upheld.service");
	assert_active("t-upholder.service");
}

void
a_frozen_unit_does_not_stop(void **state)
{
	struct lab *lab = *state;
	lab_start_unit("t-frozen.service", SLEEPER);
	lab_shell("systemctl freeze t-frozen.service");
	assert_does_not_stop(lab, "t-frozen.service", "is active again, or still");
}

void
a_unit_that_refuses_does_not_stop(void **state)
{
	struct lab *lab = *state;
	lab_start_unit("t-nostop.service", "[Unit]\nRefuseManualStop=yes\n" SLEEPER);
	assert_does_not_stop(lab, "t-nostop.service", "refused");
	assert_active("t-nostop.service");
}

void
a_unit_started_before_the_stop_is_left_alone(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};

	lab_unit("t-on.service", SLEEPER);
	lab_unit("t-off.service", SLEEPER);
	lab_reload();
	lab_shell("systemctl start t-on.service");
	list = lab_inspect(lab, "t-on.service", "t-off.service");
	lab_shell("systemctl start t-off.service");
	lab_stop(lab, &list, &stop);
	assert_int_equal(stop.result.error.code, ERROR_UNIT_RETURNED);
	assert_active("t-on.service");
	assert_active("t-off.service");
}

void
a_template_instance_comes_back(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-template@.service", SLEEPER);
	lab_reload();
	lab_shell("systemctl start 't-template@a\\x2db.service'");
	list = lab_inspect(lab, "t-template@a\\x2db.service");
	assert_int_equal(list.count, 1);
	assert_true(list.items[0].active);
	assert_null(list.items[0].refusal);

	cleanup_stop struct lab_stop stop = {0};
	cleanup_start struct lab_start start = {0};
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	assert_not_active("'t-template@a\\x2db.service'");
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_active("'t-template@a\\x2db.service'");
	lab_shell("systemctl stop 't-template@a\\x2db.service'");
}

/* Journals of an earlier day may name a unit by what has become an alias. */
void
an_alias_comes_back(void **state)
{
	struct lab *lab = *state;
	const struct unit unit = {.name = (char[]){"t-alias.service"}, .active = true, .settles = true};
	cleanup_units struct unit_list list = {0};

	lab_unit("t-real.service", SLEEPER);
	lab_shell("ln -s t-real.service /run/systemd/system/t-alias.service");
	lab_reload();
	lab_shell("systemctl start t-real.service");
	unit_list_add(&list, &unit);
	assert_round_trip(lab, &list);
	assert_active("t-real.service");
	lab_shell("rm /run/systemd/system/t-alias.service");
}

void
fifty_units_stop_and_come_back(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};
	cleanup_start struct lab_start start = {0};

	for (int i = 0; i < 50; i++) {
		cleanup_free char *name = xasprintf("t-many-%d.service", i);
		lab_unit(name, SLEEPER);
	}
	lab_reload();
	lab_shell("systemctl start $(seq -f t-many-%%.0f.service 0 49)");
	for (int i = 0; i < 50; i++) {
		cleanup_free char *name = xasprintf("t-many-%d.service", i);
		const struct unit unit = {.name = name, .active = true, .settles = true};
		unit_list_add(&list, &unit);
	}
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	assert_null(stop.result.unclean);
	lab_shell("test $(systemctl is-active $(seq -f t-many-%%.0f.service 0 49) | grep -c inactive) = 50");
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_int_equal(strings_count(start.started), 50);
	lab_shell("test $(systemctl is-active $(seq -f t-many-%%.0f.service 0 49) | grep -cx active) = 50");
}

void
a_watch_tells_of_a_unit_that_returns(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};
	cleanup_strings char **returned = NULL;

	lab_unit("t-one.service", SLEEPER);
	lab_unit("t-two.service", SLEEPER);
	lab_reload();
	lab_shell("systemctl start t-one.service t-two.service");
	list = lab_inspect(lab, "t-one.service", "t-two.service");
	lab_stop(lab, &list, &stop);
	struct systemd_watch *watch = systemd_watch(lab->systemd, &list, note_returned, &returned);
	lab_run_for(lab, 300 * USEC_PER_MSEC);
	assert_null(returned);
	lab_shell("systemctl start t-two.service && systemctl restart t-two.service");
	lab_run_for(lab, 300 * USEC_PER_MSEC);
	assert_int_equal(strings_count(returned), 1);
	assert_string_equal(returned[0], "t-two.service");
	systemd_watch_free(watch);
	lab_shell("systemctl start t-one.service");
	lab_run_for(lab, 300 * USEC_PER_MSEC);
	assert_int_equal(strings_count(returned), 1);
}

void
a_watch_tells_of_a_run_too_short_to_see(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_strings char **returned = NULL;

	lab_unit("t-flash.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
	lab_reload();
	list = lab_inspect(lab, "t-flash.service");
	struct systemd_watch *watch = systemd_watch(lab->systemd, &list, note_returned, &returned);
	lab_run_for(lab, 300 * USEC_PER_MSEC);
	/* Our loop stands still: only what was left behind can tell. */
	lab_shell("systemctl start t-flash.service");
	assert_not_active("t-flash.service");
	lab_run_for(lab, 300 * USEC_PER_MSEC);
	systemd_watch_free(watch);
	assert_int_equal(strings_count(returned), 1);
}

void
a_watch_tells_of_a_unit_that_is_active_at_once(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_strings char **returned = NULL;

	lab_start_unit("t-up.service", SLEEPER);
	list = lab_inspect(lab, "t-up.service");
	struct systemd_watch *watch = systemd_watch(lab->systemd, &list, note_returned, &returned);
	assert_null(returned);
	lab_run_for(lab, 300 * USEC_PER_MSEC);
	systemd_watch_free(watch);
	assert_int_equal(strings_count(returned), 1);
	systemd_watch_free(NULL);
}
