#include "adapters/systemd_internal.h"

#include "core/alloc.h"
#include "core/clock.h"

#include <setjmp.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static void
a_list_copies_what_is_added(void **state)
{
	cleanup_units struct unit_list list = {0};
	char name[] = "web.service";
	const struct unit unit = {
	    .name = name,
	    .role = UNIT_ROLE_TRIGGER,
	    .active = true,
	    .stop_timeout = 90 * USEC_PER_SEC,
	    .refusal = (char[]){"it is frozen"},
	};

	(void)state;
	unit_list_add(&list, &unit);
	name[0] = 'x';
	assert_int_equal(list.count, 1);
	assert_string_equal(list.items[0].name, "web.service");
	assert_int_equal(list.items[0].role, UNIT_ROLE_TRIGGER);
	assert_true(list.items[0].active);
	assert_int_equal(list.items[0].stop_timeout, 90 * USEC_PER_SEC);
	assert_string_equal(list.items[0].refusal, "it is frozen");
	assert_null(list.items[0].remedy);
	assert_string_equal(list.items[0].invocation_id, "");
}

static void
an_item_of_a_list_can_be_added_to_it(void **state)
{
	cleanup_units struct unit_list list = {0};
	const struct unit unit = {.name = (char[]){"web.service"}};

	(void)state;
	unit_list_add(&list, &unit);
	for (int i = 0; i < 100; i++)
		unit_list_add(&list, &list.items[0]);
	assert_int_equal(list.count, 101);
	assert_string_equal(list.items[100].name, "web.service");
}

static void
units_are_found_by_their_name(void **state)
{
	cleanup_units struct unit_list list = {0};
	const struct unit one = {.name = (char[]){"one.service"}};
	const struct unit two = {.name = (char[]){"two.service"}};

	(void)state;
	assert_null(unit_list_find(&list, "one.service"));
	unit_list_add(&list, &one);
	unit_list_add(&list, &two);
	assert_ptr_equal(unit_list_find(&list, "two.service"), &list.items[1]);
	assert_null(unit_list_find(&list, "two"));
}

static void
a_cleared_list_is_empty_and_usable(void **state)
{
	cleanup_units struct unit_list list = {0};
	const struct unit unit = {.name = (char[]){"web.service"}};

	(void)state;
	unit_list_clear(&list);
	unit_list_add(&list, &unit);
	unit_list_clear(&list);
	assert_int_equal(list.count, 0);
	assert_null(list.items);
	unit_list_add(&list, &unit);
	assert_int_equal(list.count, 1);
}

static void
templates_and_wakers_are_told_by_their_names(void **state)
{
	(void)state;
	assert_true(unit_name_is_template("web@.service"));
	assert_false(unit_name_is_template("web@one.service"));
	assert_false(unit_name_is_template("web.service"));
	assert_false(unit_name_is_template("@"));
	assert_true(unit_name_wakes("web.socket"));
	assert_true(unit_name_wakes("web@a.timer"));
	assert_true(unit_name_wakes("web.path"));
	assert_true(unit_name_wakes("srv.automount"));
	assert_false(unit_name_wakes("web.socket.service"));
	assert_false(unit_name_wakes("web.target"));
}

/* A unit that may be stopped; the cases below each spoil one property of it. */
static const struct unit_reading good = {
    .activity = UNIT_ACTIVITY_ACTIVE,
    .load_state = (char[]){"loaded"},
    .unit_file_state = (char[]){"enabled"},
    .freezer_state = (char[]){"running"},
    .can_start = true,
    .can_stop = true,
};

static void
assert_judged(const struct unit_reading *reading, bool active, enum unit_role role, const char *words)
{
	struct unit unit = {.active = active, .role = role};
	unit_judge(&unit, reading);
	if (words == NULL && unit.refusal != NULL)
		fail_msg("%s", unit.refusal);
	if (words != NULL && (unit.refusal == NULL || strstr(unit.refusal, words) == NULL))
		fail_msg("%s: %s", words, unit.refusal == NULL ? "not refused" : unit.refusal);
	assert_int_equal(unit.remedy == NULL, unit.refusal == NULL);
	unit_clear(&unit);
}

static void
what_could_not_come_back_is_refused(void **state)
{
	struct unit_reading reading;

	(void)state;
	assert_judged(&good, true, UNIT_ROLE_MAIN, NULL);
#define SPOILED(member, value, words)                                                                                \
	reading = good;                                                                                              \
	reading.member = (value);                                                                                    \
	assert_judged(&reading, true, UNIT_ROLE_MAIN, words)
	SPOILED(load_state, (char[]){"not-found"}, "gone");
	SPOILED(load_state, (char[]){"masked"}, "masked");
	SPOILED(load_state, (char[]){"bad-setting"}, "bad-setting");
	SPOILED(load_state, NULL, "could not load");
	SPOILED(unit_file_state, (char[]){"bad"}, "masked or gone");
	SPOILED(unit_file_state, (char[]){"masked-runtime"}, "masked or gone");
	SPOILED(unit_file_state, NULL, NULL);
	SPOILED(freezer_state, (char[]){"frozen"}, "frozen");
	SPOILED(freezer_state, NULL, NULL);
	SPOILED(transient, true, "transient");
	SPOILED(can_start, false, "refuse to start");
	SPOILED(can_stop, false, "refuses to stop");
#undef SPOILED
}

static void
what_is_not_stopped_is_not_refused(void **state)
{
	struct unit_reading reading = good;

	(void)state;
	reading.load_state = (char[]){"masked"};
	assert_judged(&reading, false, UNIT_ROLE_MAIN, NULL);
	/* Nobody asks for the stop of a dependant. */
	reading = good;
	reading.can_stop = false;
	assert_judged(&reading, true, UNIT_ROLE_DEPENDANT, NULL);
	assert_judged(&reading, true, UNIT_ROLE_TRIGGER, "refuses to stop");
}

static void
a_missing_unit_is_missing(void **state)
{
	struct unit_reading reading = good;
	struct unit unit = {.role = UNIT_ROLE_MAIN};

	(void)state;
	reading.load_state = (char[]){"not-found"};
	unit_judge(&unit, &reading);
	assert_true(unit.missing);
	assert_non_null(unit.refusal);
	unit_clear(&unit);
}

static void
each_activity_is_up_or_down_or_between(void **state)
{
	static const struct {
		enum unit_activity activity;
		bool up;
		bool down;
	} rows[] = {
	    {UNIT_ACTIVITY_UNKNOWN, false, false},
	    {UNIT_ACTIVITY_INACTIVE, false, true},
	    {UNIT_ACTIVITY_FAILED, false, true},
	    {UNIT_ACTIVITY_ACTIVE, true, false},
	    {UNIT_ACTIVITY_RELOADING, true, false},
	    {UNIT_ACTIVITY_REFRESHING, true, false},
	    {UNIT_ACTIVITY_ACTIVATING, true, false},
	    {UNIT_ACTIVITY_DEACTIVATING, false, false},
	    {UNIT_ACTIVITY_MAINTENANCE, false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		const struct unit_reading reading = {.activity = rows[i].activity};
		assert_int_equal(unit_reading_is_up(&reading), rows[i].up);
		assert_int_equal(unit_reading_is_down(&reading), rows[i].down);
	}
	const struct unit_reading looping = {
	    .activity = UNIT_ACTIVITY_ACTIVATING, .sub_state = (char[]){"auto-restart-queued"}};
	const struct unit_reading starting = {.activity = UNIT_ACTIVITY_ACTIVATING, .sub_state = (char[]){"start"}};
	assert_true(unit_reading_is_crash_looping(&looping));
	assert_false(unit_reading_is_crash_looping(&starting));
}

/* A message of a connection that leads nowhere: enough to write properties and read them again. */
struct fixture {
	sd_bus *bus;
	int other_end;
	sd_bus_message *message;
};

static int
make_message(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	fixture->other_end = ends[1];
	assert_true(sd_bus_new(&fixture->bus) >= 0);
	assert_true(sd_bus_set_fd(fixture->bus, ends[0], ends[0]) >= 0);
	assert_true(sd_bus_start(fixture->bus) >= 0);
	assert_true(sd_bus_message_new_signal(fixture->bus, &fixture->message, "/", "t.t", "t") >= 0);
	*state = fixture;
	return 0;
}

static int
drop_message(void **state)
{
	struct fixture *fixture = *state;
	sd_bus_message_unref(fixture->message);
	sd_bus_close_unref(fixture->bus);
	close(fixture->other_end);
	free(fixture);
	return 0;
}

static int
parse(sd_bus_message *message, struct unit_reading *ret_reading)
{
	assert_true(sd_bus_message_seal(message, 1, 0) >= 0);
	return unit_reading_parse(message, ret_reading);
}

static void
properties_are_read(void **state)
{
	struct fixture *fixture = *state;
	cleanup_reading struct unit_reading reading = {0};

	assert_true(sd_bus_message_append(fixture->message, "a{sv}", 11, "Id", "s", "web.service", "ActiveState", "s",
			"deactivating", "Unheard", "(sa{sv})", "of", 1, "by", "s", "us", "Job", "(uo)", (uint32_t)7,
			"/job/7", "InvocationID", "ay", 3, 0x0a, 0xff, 0x00, "CanStart", "b", 1, "TimeoutStopUSec",
			"t", UINT64_MAX, "ExecMainStatus", "i", 15, "RequiredBy", "as", 2, "a.service", "b.service",
			"ConsistsOf", "as", 2, "b.service", "c.service", "TriggeredBy", "as", 1, "web.socket") >= 0);
	assert_int_equal(parse(fixture->message, &reading), 0);
	assert_string_equal(reading.id, "web.service");
	assert_int_equal(reading.activity, UNIT_ACTIVITY_DEACTIVATING);
	assert_int_equal(reading.job, 7);
	assert_string_equal(reading.job_path, "/job/7");
	assert_string_equal(reading.invocation_id, "0aff00");
	assert_true(reading.can_start);
	assert_false(reading.can_stop);
	assert_true(reading.stop_timeout == UINT64_MAX);
	assert_int_equal(reading.main_status, 15);
	assert_int_equal(strings_count(reading.falls), 3);
	assert_string_equal(reading.falls[2], "c.service");
	assert_string_equal(reading.triggered_by[0], "web.socket");
	assert_null(reading.upheld_by);
	assert_null(reading.result);
}

static void
properties_of_unexpected_types_are_passed_over(void **state)
{
	struct fixture *fixture = *state;
	cleanup_reading struct unit_reading reading = {0};

	assert_true(sd_bus_message_append(fixture->message, "a{sv}", 6, "Id", "u", 7, "Job", "s", "none", "CanStart",
			"s", "yes", "InvocationID", "as", 1, "x", "ActiveState", "s", "of a later systemd", "Result",
			"s", "success") >= 0);
	assert_int_equal(parse(fixture->message, &reading), 0);
	assert_null(reading.id);
	assert_int_equal(reading.job, 0);
	assert_false(reading.can_start);
	assert_null(reading.invocation_id);
	assert_int_equal(reading.activity, UNIT_ACTIVITY_UNKNOWN);
	assert_string_equal(reading.result, "success");
}

static void
something_else_is_no_reading(void **state)
{
	struct fixture *fixture = *state;
	struct unit_reading reading = {.job = 5};

	assert_true(sd_bus_message_append(fixture->message, "s", "nothing of this kind") >= 0);
	assert_int_equal(parse(fixture->message, &reading), -1);
	assert_int_equal(reading.job, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_list_copies_what_is_added),
	    cmocka_unit_test(an_item_of_a_list_can_be_added_to_it),
	    cmocka_unit_test(units_are_found_by_their_name),
	    cmocka_unit_test(a_cleared_list_is_empty_and_usable),
	    cmocka_unit_test(templates_and_wakers_are_told_by_their_names),
	    cmocka_unit_test(what_could_not_come_back_is_refused),
	    cmocka_unit_test(what_is_not_stopped_is_not_refused),
	    cmocka_unit_test(a_missing_unit_is_missing),
	    cmocka_unit_test(each_activity_is_up_or_down_or_between),
	    cmocka_unit_test_setup_teardown(properties_are_read, make_message, drop_message),
	    cmocka_unit_test_setup_teardown(
		properties_of_unexpected_types_are_passed_over, make_message, drop_message),
	    cmocka_unit_test_setup_teardown(something_else_is_no_reading, make_message, drop_message),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
