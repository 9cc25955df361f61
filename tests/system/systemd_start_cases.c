#include "tests/system/systemd_cases.h"

#include "core/alloc.h"
#include "tests/system/lab_calls.h"
#include "tests/system/lab_units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void
add(struct unit_list *list, const char *name)
{
	cleanup_free char *copy = xstrdup(name);
	const struct unit unit = {.name = copy, .role = UNIT_ROLE_MAIN, .active = true, .settles = true};
	unit_list_add(list, &unit);
}

static struct unit_list
only(const char *name)
{
	struct unit_list list = {0};
	add(&list, name);
	return list;
}

static void
assert_complaint(const struct lab_start *start, const char *words)
{
	assert_int_equal(start->error.code, ERROR_UNIT_START_FAILED);
	assert_non_null(start->error.hint);
	if (strstr(start->error.message, words) == NULL)
		fail_msg("%s", start->error.message);
}

/* Writes a service, starts it and expects the words. */
static void
assert_start_complains(struct lab *lab, const char *text, const char *words)
{
	cleanup_units struct unit_list list = only("t-bad.service");
	cleanup_start struct lab_start start = {0};
	lab_unit("t-bad.service", "%s", text);
	lab_reload();
	lab_start(lab, &list, &start);
	assert_complaint(&start, words);
}

void
a_failing_start_is_told_and_the_others_run(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_start struct lab_start start = {0};

	lab_unit("t-good.service", SLEEPER);
	lab_unit("t-bad.service", "[Service]\nType=forking\nExecStart=/bin/false\n");
	lab_unit("t-last.timer", "[Timer]\nOnCalendar=2099-01-01\nUnit=t-good.service\n");
	lab_reload();
	add(&list, "t-bad.service");
	add(&list, "t-last.timer");
	add(&list, "t-nowhere.service");
	add(&list, "t-good.service");
	lab_start(lab, &list, &start);
	assert_complaint(&start, "t-bad.service: failed (exit-code)");
	assert_complaint(&start, "t-nowhere.service: Unit t-nowhere.service not found");
	assert_null(strstr(start.error.message, "t-good"));
	assert_active("t-good.service");
	assert_active("t-last.timer");
	assert_int_equal(strings_count(start.started), 2);
	assert_string_equal(start.started[0], "t-good.service");
	assert_string_equal(start.started[1], "t-last.timer");
}

void
a_service_that_dies_soon_is_told(void **state)
{
	struct lab *lab = *state;
	cleanup_start struct lab_start start = {0};
	cleanup_units struct unit_list list = only("t-bad.service");

	lab_unit("t-bad.service", "[Service]\nExecStart=/bin/sh -c 'sleep 0.1; exit 3'\n");
	lab_reload();
	lab_start(lab, &list, &start);
	assert_complaint(&start, "t-bad.service: ended again soon after its start (exit-code)");
	assert_true(strings_contain(start.started, "t-bad.service"));

	assert_start_complains(lab, "[Service]\nExecStart=/bin/sleep 0.1\n", "ended again soon after its start");
	assert_start_complains(lab, "[Service]\nExecStart=-/nowhere/at/all\n", "t-bad.service: ");
}

void
a_service_that_crashes_once_settles(void **state)
{
	struct lab *lab = *state;
	cleanup_start struct lab_start start = {0};
	cleanup_units struct unit_list list = only("t-once.service");

	lab_unit("t-once.service",
	    "[Service]\nRestart=always\nRestartSec=300ms\nRuntimeDirectory=t-once\nRuntimeDirectoryPreserve=yes\n"
	    "ExecStart=/bin/sh -c 'mkdir /run/t-once/second && exit 1; exec sleep infinity'\n");
	lab_reload();
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_active("t-once.service");
	assert_true(start.elapsed >= 300 * USEC_PER_MSEC + LAB_SETTLE);
	lab_shell("rm -r /run/t-once");
}

void
a_service_that_keeps_crashing_is_told(void **state)
{
	struct lab *lab = *state;
	assert_start_complains(lab,
	    "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=100ms\n"
	    "ExecStart=/bin/sh -c 'sleep 0.1; exit 1'\n",
	    "keeps crashing");
}

void
a_notify_service_is_waited_for(void **state)
{
	struct lab *lab = *state;
	cleanup_start struct lab_start start = {0};
	cleanup_units struct unit_list list = only("t-notify.service");

	lab_unit("t-notify.service",
	    "[Service]\nType=notify\nNotifyAccess=all\n"
	    "ExecStart=/bin/sh -c 'sleep 1.5; systemd-notify --ready; exec sleep infinity'\n");
	lab_reload();
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_active("t-notify.service");
	assert_true(start.elapsed >= 1500 * USEC_PER_MSEC + LAB_SETTLE);

	assert_start_complains(lab, "[Service]\nType=notify\nExecStart=/bin/sleep infinity\nTimeoutStartSec=500ms\n",
	    "t-bad.service: failed (timeout)");
}

void
a_oneshot_that_remains_runs_again(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};
	cleanup_start struct lab_start start = {0};

	lab_start_unit("t-remains.service",
	    "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
	    "ExecStart=/bin/sh -c 'sleep 1; touch /run/t-remains'\nExecStop=/bin/rm /run/t-remains\n");
	list = lab_inspect(lab, "t-remains.service");
	assert_true(list.items[0].active);
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	lab_shell("test ! -e /run/t-remains");
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_active("t-remains.service");
	lab_shell("test -e /run/t-remains");
}

void
a_oneshot_at_work_counts_as_running(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};
	cleanup_start struct lab_start start = {0};

	lab_unit("t-work.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep infinity\n");
	lab_reload();
	lab_shell("systemctl start --no-block t-work.service");
	lab_wait_property("t-work.service", "ActiveState", "activating");
	list = lab_inspect(lab, "t-work.service");
	assert_true(list.items[0].active);
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	assert_null(stop.result.unclean);
	/* It died of SIGTERM, and for a oneshot systemd calls that a failure. */
	assert_true(lab_property_is("t-work.service", "ActiveState", "failed"));
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_true(lab_property_is("t-work.service", "ActiveState", "activating"));
}

void
a_short_oneshot_counts_as_started(void **state)
{
	struct lab *lab = *state;
	cleanup_start struct lab_start start = {0};
	cleanup_units struct unit_list list = only("t-short.service");

	lab_unit("t-short.service", "[Service]\nType=oneshot\nExecStart=/bin/touch /run/t-short\n");
	lab_reload();
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_int_equal(strings_count(start.started), 1);
	lab_shell("rm /run/t-short");

	assert_start_complains(
	    lab, "[Service]\nType=oneshot\nExecStart=/bin/false\n", "t-bad.service: failed (exit-code)");
}

void
a_skipped_start_is_told(void **state)
{
	struct lab *lab = *state;
	assert_start_complains(lab, "[Unit]\nConditionPathExists=/nowhere\n" SLEEPER, "condition");
	assert_start_complains(lab, "[Unit]\nAssertPathExists=/nowhere\n" SLEEPER, "assertion");
}

void
a_failing_requirement_is_told(void **state)
{
	struct lab *lab = *state;
	lab_unit("t-needed.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n");
	assert_start_complains(lab, "[Unit]\nRequires=t-needed.service\nAfter=t-needed.service\n" SLEEPER,
	    "a unit that it requires failed");
}

void
a_masked_unit_is_told(void **state)
{
	struct lab *lab = *state;
	cleanup_start struct lab_start start = {0};
	cleanup_units struct unit_list list = only("t-masked.service");

	lab_unit("t-masked.service", SLEEPER);
	lab_shell("ln -sf /dev/null /run/systemd/system/t-masked.service");
	lab_reload();
	lab_start(lab, &list, &start);
	assert_complaint(&start, "t-masked.service: Unit t-masked.service is masked");
	assert_null(start.started);
}

void
a_start_limit_is_reset_once(void **state)
{
	struct lab *lab = *state;
	cleanup_start struct lab_start start = {0};
	cleanup_units struct unit_list list = only("t-limit.service");

	/* Referred to by a unit that runs, so that its counter is kept while it is down. */
	lab_unit("t-keeper.service", "[Unit]\nAfter=t-limit.service\n" SLEEPER);
	lab_unit("t-limit.service", "[Unit]\nStartLimitBurst=2\nStartLimitIntervalSec=1h\n" SLEEPER);
	lab_reload();
	lab_shell("systemctl start t-keeper.service");
	lab_shell("for n in 1 2; do systemctl start t-limit.service && systemctl stop t-limit.service; done");
	lab_shell("! systemctl start t-limit.service 2>/dev/null");
	assert_true(lab_property_is("t-limit.service", "Result", "start-limit-hit"));
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_active("t-limit.service");
}

void
a_crash_looping_unit_gets_another_try(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_stop struct lab_stop stop = {0};
	cleanup_start struct lab_start start = {0};

	lab_start_unit("t-crash.service", "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=60\n");
	lab_wait_property("t-crash.service", "SubState", "auto-restart");
	list = lab_inspect(lab, "t-crash.service");
	lab_stop(lab, &list, &stop);
	assert_stopped(&stop);
	assert_true(lab_property_is("t-crash.service", "ActiveState", "inactive"));
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_int_equal(strings_count(start.started), 1);
	lab_wait_property("t-crash.service", "SubState", "auto-restart");
}

void
an_active_unit_counts_as_started(void **state)
{
	struct lab *lab = *state;
	cleanup_start struct lab_start start = {0};
	cleanup_units struct unit_list list = only("t-up.service");

	lab_start_unit("t-up.service", SLEEPER);
	cleanup_free char *invocation = lab_property("t-up.service", "InvocationID");
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_int_equal(strings_count(start.started), 1);
	assert_true(lab_property_is("t-up.service", "InvocationID", invocation));
}

void
an_inactive_entry_is_not_started(void **state)
{
	struct lab *lab = *state;
	cleanup_start struct lab_start start = {0};
	cleanup_units struct unit_list list = only("t-off.service");
	const struct unit_list none = {0};

	lab_unit("t-off.service", SLEEPER);
	lab_reload();
	list.items[0].active = false;
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_null(start.started);
	assert_not_active("t-off.service");

	cleanup_start struct lab_start empty = {0};
	lab_start(lab, &none, &empty);
	assert_started(&empty);
}

void
a_socket_starts_before_its_service(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_start struct lab_start start = {0};

	lab_unit("t-sock.service", SLEEPER);
	lab_unit("t-sock.socket", "[Socket]\nListenStream=/run/t-sock.sock\n");
	lab_reload();
	add(&list, "t-sock.service");
	add(&list, "t-sock.socket");
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_active("t-sock.service");
	assert_active("t-sock.socket");
	assert_string_equal(start.started[0], "t-sock.socket");
}

/* A stop that was cut short between the two leaves it so, and systemd refuses the socket of a service that runs. */
void
a_socket_whose_service_runs_comes_back(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};
	cleanup_start struct lab_start start = {0};

	lab_unit("t-sock.service", SLEEPER);
	lab_unit("t-sock.socket", "[Socket]\nListenStream=/run/t-sock.sock\n");
	lab_reload();
	lab_shell("systemctl start t-sock.service");
	add(&list, "t-sock.service");
	add(&list, "t-sock.socket");
	lab_start(lab, &list, &start);
	assert_started(&start);
	assert_active("t-sock.service");
	assert_active("t-sock.socket");
	assert_string_equal(start.started[0], "t-sock.socket");
}
