#include "tests/system/systemd_cases.h"

#include "core/alloc.h"
#include "tests/system/lab_calls.h"
#include "tests/system/lab_units.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <systemd/sd-login.h>

#include <cmocka.h>

static void
assert_listed(const struct unit_list *list, const char *name, enum unit_role role, bool active)
{
	const struct unit *unit = unit_list_find(list, name);
	if (unit == NULL)
		fail_msg("%s is not listed", name);
	if (unit->role != role || unit->active != active)
		fail_msg("%s: role %d, active %d", name, (int)unit->role, unit->active);
	if (unit->refusal != NULL)
		fail_msg("%s: %s", name, unit->refusal);
}

static void
assert_refused(struct lab *lab, const char *name, const char *words)
{
	cleanup_units struct unit_list list = {0};
	const struct unit *unit = lab_inspect_one(lab, name, &list);
	if (unit->refusal == NULL || strstr(unit->refusal, words) == NULL)
		fail_msg("%s: %s", name, unit->refusal == NULL ? "not refused" : unit->refusal);
	assert_non_null(unit->remedy);
}

void
inspect_lists_what_falls_and_what_wakes(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-base.service", "[Unit]\nPropagatesStopTo=t-propagated.service\n" SLEEPER "TimeoutStopSec=7\n");
	lab_unit("t-requires.service", "[Unit]\nRequires=t-base.service\n" SLEEPER);
	lab_unit("t-requisite.service", "[Unit]\nRequisite=t-base.service\nAfter=t-base.service\n" SLEEPER);
	lab_unit("t-binds.service", "[Unit]\nBindsTo=t-base.service\nAfter=t-base.service\n" SLEEPER);
	lab_unit("t-part.service", "[Unit]\nPartOf=t-base.service\n" SLEEPER);
	lab_unit("t-propagated.service", SLEEPER);
	lab_unit("t-chain.service", "[Unit]\nRequires=t-requires.service\n" SLEEPER);
	lab_unit("t-wants.service", "[Unit]\nWants=t-base.service\n" SLEEPER);
	lab_unit("t-idle.service", "[Unit]\nPartOf=t-base.service\n" SLEEPER);
	lab_unit("t-base.socket", "[Socket]\nListenStream=/run/t-base.sock\n");
	lab_unit("t-base.timer", "[Timer]\nOnCalendar=2099-01-01\n");
	lab_unit("t-base.path", "[Path]\nPathExists=/run/t-base.path\n");
	lab_unit("t-chain.timer", "[Timer]\nOnCalendar=2099-01-01\n");
	lab_reload();
	lab_shell("systemctl start t-base.socket t-base.timer t-chain.timer t-base.service t-requires.service "
		  "t-binds.service t-part.service t-propagated.service t-chain.service t-wants.service");
	lab_shell("systemctl start t-requisite.service");
	/* What nobody refers to is not in memory, and then systemd does not know whom it belongs to. */
	lab_shell("systemctl start t-idle.service t-base.path && systemctl kill -s KILL t-idle.service");
	lab_shell("systemctl stop t-base.path");
	lab_wait_property("t-idle.service", "ActiveState", "failed");

	list = lab_inspect(lab, "t-base.service");
	assert_listed(&list, "t-base.service", UNIT_ROLE_MAIN, true);
	assert_listed(&list, "t-requires.service", UNIT_ROLE_DEPENDANT, true);
	assert_listed(&list, "t-requisite.service", UNIT_ROLE_DEPENDANT, true);
	assert_listed(&list, "t-binds.service", UNIT_ROLE_DEPENDANT, true);
	assert_listed(&list, "t-part.service", UNIT_ROLE_DEPENDANT, true);
	assert_listed(&list, "t-propagated.service", UNIT_ROLE_DEPENDANT, true);
	assert_listed(&list, "t-chain.service", UNIT_ROLE_DEPENDANT, true);
	assert_listed(&list, "t-idle.service", UNIT_ROLE_DEPENDANT, false);
	assert_listed(&list, "t-base.socket", UNIT_ROLE_TRIGGER, true);
	assert_listed(&list, "t-base.timer", UNIT_ROLE_TRIGGER, true);
	assert_listed(&list, "t-chain.timer", UNIT_ROLE_TRIGGER, true);
	assert_null(unit_list_find(&list, "t-wants.service"));
	cleanup_free char *invocation = lab_property("t-base.service", "InvocationID");
	assert_string_equal(list.items[0].invocation_id, invocation);
	assert_int_equal(list.items[0].stop_timeout, 7 * USEC_PER_SEC);
	assert_true(list.items[0].settles);
	/* Nothing was changed by looking. */
	assert_active("t-base.service");
	assert_not_active("t-base.path");
}

void
inspect_finds_what_requires_an_inactive_unit(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-base.service", SLEEPER);
	lab_unit("t-part.service", "[Unit]\nPartOf=t-base.service\n" SLEEPER);
	lab_reload();
	lab_shell("systemctl start t-part.service");
	list = lab_inspect(lab, "t-base.service", "t-part.service");
	assert_int_equal(list.count, 2);
	assert_listed(&list, "t-base.service", UNIT_ROLE_MAIN, false);
	assert_listed(&list, "t-part.service", UNIT_ROLE_MAIN, true);
}

void
inspect_resolves_an_alias(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-real.service", SLEEPER);
	lab_shell("ln -s t-real.service /run/systemd/system/t-alias.service");
	lab_reload();
	lab_shell("systemctl start t-real.service");
	list = lab_inspect(lab, "t-alias.service", "t-real.service");
	lab_shell("rm /run/systemd/system/t-alias.service");
	assert_int_equal(list.count, 1);
	assert_listed(&list, "t-real.service", UNIT_ROLE_MAIN, true);
}

void
inspect_marks_a_crash_looping_unit(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_start_unit("t-crash.service", "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=60\n");
	lab_wait_property("t-crash.service", "SubState", "auto-restart");
	const struct unit *unit = lab_inspect_one(lab, "t-crash.service", &list);
	assert_true(unit->active);
	assert_false(unit->settles);
	assert_null(unit->refusal);
}

void
inspect_takes_a_restarting_unit_for_active(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_start_unit("t-slow.service", SLEEPER "ExecStop=/bin/sleep 2\n");
	lab_shell("systemctl restart --no-block t-slow.service");
	lab_wait_property("t-slow.service", "ActiveState", "deactivating");
	assert_true(lab_inspect_one(lab, "t-slow.service", &list)->active);
}

void
inspect_takes_a_stopping_unit_for_inactive(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-base.service", SLEEPER);
	lab_unit("t-slow.service",
	    "[Unit]\nRequires=t-base.service\nAfter=t-base.service\n" SLEEPER "ExecStop=/bin/sleep 2\n");
	lab_reload();
	lab_shell("systemctl start t-slow.service && systemctl stop --no-block t-base.service");
	lab_wait_property("t-slow.service", "ActiveState", "deactivating");
	/* It waits for the other and is active meanwhile. */
	assert_active("t-base.service");
	list = lab_inspect(lab, "t-base.service");
	assert_listed(&list, "t-base.service", UNIT_ROLE_MAIN, false);
	assert_listed(&list, "t-slow.service", UNIT_ROLE_DEPENDANT, false);
}

void
inspect_refuses_names_that_are_no_units(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-template@.service", SLEEPER);
	lab_reload();
	assert_refused(lab, "t-template@.service", "template");
	assert_refused(lab, "no-suffix", "");
	assert_refused(lab, "../../etc/passwd", "");
	assert_refused(lab, "", "");
	assert_true(lab_inspect_one(lab, "t-nowhere.service", &list)->missing);
	assert_refused(lab, "t-nowhere.service", "no such unit");
}

void
inspect_refuses_a_masked_or_deleted_unit(void **state)
{
	struct lab *lab = *state;

	lab_start_unit("t-lost.service", SLEEPER);
	lab_shell("rm /run/systemd/system/t-lost.service");
	assert_refused(lab, "t-lost.service", "could not be started again");
	lab_reload();
	assert_refused(lab, "t-lost.service", "gone");

	lab_shell("ln -s /dev/null /run/systemd/system/t-lost.service");
	assert_refused(lab, "t-lost.service", "could not be started again");
	lab_reload();
	assert_refused(lab, "t-lost.service", "masked");
	assert_active("t-lost.service");
}

void
inspect_refuses_a_transient_unit(void **state)
{
	struct lab *lab = *state;

	lab_shell("systemd-run --quiet --unit=t-transient.service sleep infinity");
	assert_refused(lab, "t-transient.service", "transient");
	assert_active("t-transient.service");
	lab_shell("systemctl stop t-transient.service");
}

void
inspect_refuses_what_systemd_would_refuse(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-nostop.service", "[Unit]\nRefuseManualStop=yes\nPartOf=t-frozen.service\n" SLEEPER);
	lab_unit("t-target.service", SLEEPER);
	lab_unit("t-nostart.service", "[Unit]\nRefuseManualStart=yes\n" SLEEPER);
	lab_unit("t-puller.service", "[Unit]\nWants=t-nostart.service\n" SLEEPER);
	lab_unit("t-frozen.service", SLEEPER);
	lab_reload();
	lab_shell("systemctl start t-nostop.service t-puller.service t-frozen.service");
	assert_refused(lab, "t-nostop.service", "refuses to stop");
	assert_refused(lab, "t-nostart.service", "refuse to start");
	lab_shell("systemctl freeze t-frozen.service");
	assert_refused(lab, "t-frozen.service", "frozen");
	lab_shell("systemctl thaw t-frozen.service");

	/* As a dependant nobody asks for its stop. */
	list = lab_inspect(lab, "t-frozen.service");
	assert_listed(&list, "t-nostop.service", UNIT_ROLE_DEPENDANT, true);
	lab_shell("systemctl stop t-frozen.service");
}

void
inspect_refuses_an_upheld_unit(void **state)
{
	struct lab *lab = *state;
	cleanup_units struct unit_list list = {0};

	lab_unit("t-upheld.service", SLEEPER);
	lab_unit("t-upholder.service", "[Unit]\nUpholds=t-upheld.service\n" SLEEPER);
	lab_reload();
	lab_shell("systemctl start t-upheld.service t-upholder.service");
	assert_refused(lab, "t-upheld.service", "t-upholder.service upholds it");
	list = lab_inspect(lab, "t-upheld.service", "t-upholder.service");
	assert_listed(&list, "t-upheld.service", UNIT_ROLE_MAIN, true);
	assert_listed(&list, "t-upholder.service", UNIT_ROLE_MAIN, true);
}

void
inspect_refuses_what_our_own_unit_requires(void **state)
{
	struct lab *lab = *state;
	cleanup_free char *own = NULL;
	cleanup_units struct unit_list list = {0};

	assert_true(sd_pid_get_unit(0, &own) >= 0);
	assert_refused(lab, own, "this program runs in");

	cleanup_free char *drop_in = xasprintf("%s.d/t-requires.conf", own);
	lab_shell("mkdir -p /run/systemd/system/%s.d", own);
	lab_unit(drop_in, "[Unit]\nRequires=t-middle.service\n");
	lab_unit("t-middle.service", "[Unit]\nBindsTo=t-needed.service\nAfter=t-needed.service\n" SLEEPER);
	lab_unit("t-needed.service", SLEEPER);
	lab_reload();
	lab_shell("systemctl start t-middle.service");
	assert_refused(lab, "t-needed.service", "would be stopped with it");
	list = lab_inspect(lab, "t-middle.service");
	assert_non_null(unit_list_find(&list, own));
	/* Before the units are cleaned away, or that would end this program indeed. */
	lab_shell("rm -r /run/systemd/system/%s.d", own);
	lab_reload();
}
