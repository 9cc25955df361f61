/* What `status` makes of the facts, at a time of our choice. */
#include "cli/status_report.h"

#include "core/alloc.h"
#include "core/clock.h"

#include <setjmp.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Mon 2026-11-23 12:00:00 UTC */
#define NOW      (INT64_C(1795435200) * USEC_PER_SEC)
#define MIDNIGHT (NOW - 12 * USEC_PER_HOUR)

static char web_name[] = "web", forum_name[] = "forum", snapshot_id[] = "abcdef01", unit_name[] = "web.service";
static char reason[] = "the disk is gone", advice[] = "buy another one";
static const struct service web = {.name = web_name, .overdue_after = 30 * USEC_PER_HOUR};
static const struct service forum = {.name = forum_name, .overdue_after = 30 * USEC_PER_HOUR};
static const struct obligation_list nothing;

static const struct status_house quiet = {
    .now = NOW,
    .kickoff = 2 * USEC_PER_HOUR,
    .max_delay = 2 * USEC_PER_HOUR,
    .owed = &nothing,
    .given_up = &nothing,
};

/* Facts of these tests own nothing: their jobs lie here, and no test has more of them. */
static struct job_record *
keep(struct job_record job)
{
	static struct job_record jobs[16];
	static size_t next;
	struct job_record *kept = &jobs[next++ % ARRAY_LENGTH(jobs)];
	*kept = job;
	return kept;
}

static struct service_facts
good_facts(const struct service *service, int64_t age)
{
	return (struct service_facts){
	    .name = service->name,
	    .has_good = true,
	    .good = {.job_id = 1, .at = NOW - age, .snapshot_id = snapshot_id},
	};
}

static struct job_record
ended_job(enum job_outcome outcome)
{
	return (struct job_record){
	    .id = 7,
	    .service = web_name,
	    .state = outcome == OUTCOME_FAILED || outcome == OUTCOME_CANCELLED ? JOB_FAILED : JOB_PRUNED,
	    .outcome = outcome,
	    .away = 3 * USEC_PER_SEC,
	};
}

static void
end_with(struct service_facts *facts, enum job_outcome outcome)
{
	facts->current = keep(ended_job(outcome));
	facts->current->error = (struct error){.code = ERROR_NO_SPACE, .message = reason, .hint = advice};
}

static void
stand_in(struct service_facts *facts, enum job_state state)
{
	if (facts->current != NULL && job_state_is_terminal(facts->current->state))
		facts->earlier = facts->current;
	facts->current = keep((struct job_record){
	    .id = 8,
	    .service = web_name,
	    .state = state,
	    .submitted_at = NOW - USEC_PER_HOUR,
	    .due_at = NOW + USEC_PER_HOUR,
	});
}

/* With the services that the facts are about. */
static void
make_report(const struct status_house *house, const struct service_facts *facts, size_t count,
    struct status_report *ret_report)
{
	const struct service *services[2] = {NULL};
	assert_true(count <= ARRAY_LENGTH(services));
	for (size_t i = 0; i < count; i++)
		services[i] = strcmp(facts[i].name, web_name) == 0 ? &web : &forum;
	status_report_make(house, services, facts, count, ret_report);
}

static void
expect_code(const struct status_house *house, const struct service_facts *facts, size_t count, enum exit_code code)
{
	cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
	make_report(house, facts, count, &report);
	assert_int_equal(report.line_count, count);
	assert_int_equal(status_report_code(&report), code);
}

static void
expect_attention(
    const struct status_report *report, size_t index, const char *subject, const char *message, const char *hint)
{
	assert_true(index < report->attention_count);
	const struct status_attention *attention = &report->attention[index];
	assert_string_equal(attention->subject, subject);
	if (strstr(attention->message, message) == NULL)
		fail_msg("'%s' does not say '%s'", attention->message, message);
	if (attention->hint == NULL || strstr(attention->hint, hint) == NULL)
		fail_msg("'%s' does not advise '%s'", attention->hint, hint);
}

static void
nothing_backed_up_yet_is_overdue(void **state)
{
	(void)state;
	const struct service_facts facts = {.name = web_name};
	cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
	make_report(&quiet, &facts, 1, &report);
	assert_int_equal(report.lines[0].condition, STATUS_OVERDUE);
	assert_true(report.lines[0].good_age < 0);
	assert_int_equal(status_report_code(&report), CODE_OVERDUE);
	assert_int_equal(report.attention_count, 1);
	expect_attention(&report, 0, "web", "no good backup yet", "atelier-backup backup web");
}

/* Nobody asked for it, and nobody has to look for it before it was tried. */
static void
the_built_in_service_is_missed_from_its_first_job_on(void **state)
{
	(void)state;
	static const struct service own_service = {
	    .name = web_name, .own = true, .overdue_after = 30 * USEC_PER_HOUR};
	const struct service *const services[] = {&own_service};
	struct service_facts facts[4] = {{.name = web_name}, {.name = web_name}, {.name = web_name}};
	stand_in(&facts[1], JOB_DELAYING);
	end_with(&facts[2], OUTCOME_PARTIAL);
	facts[3] = good_facts(&web, 31 * USEC_PER_HOUR);
	static const enum exit_code codes[] = {CODE_COMPLETE, CODE_COMPLETE, CODE_OVERDUE, CODE_OVERDUE};
	struct status_house house = quiet;
	house.runner_alive = true;
	for (size_t i = 0; i < ARRAY_LENGTH(codes); i++) {
		cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
		status_report_make(&house, services, &facts[i], 1, &report);
		assert_int_equal(status_report_code(&report), codes[i]);
		assert_int_equal(report.lines[0].overdue, codes[i] == CODE_OVERDUE);
	}
	cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
	status_report_make(&house, services, facts, 1, &report);
	assert_int_equal(report.lines[0].next_from, report.lines[0].next_until);
}

static void
a_young_good_backup_is_all_well(void **state)
{
	(void)state;
	struct service_facts facts = good_facts(&web, 30 * USEC_PER_HOUR);
	end_with(&facts, OUTCOME_COMPLETE);
	cleanup_status_report struct status_report report = {.condition = STATUS_FAILED};
	make_report(&quiet, &facts, 1, &report);
	assert_int_equal(status_report_code(&report), CODE_COMPLETE);
	assert_int_equal(report.attention_count, 0);
	assert_int_equal(report.lines[0].good_age, 30 * USEC_PER_HOUR);
	assert_int_equal(report.lines[0].away, 3 * USEC_PER_SEC);
}

static void
a_good_backup_grows_old(void **state)
{
	(void)state;
	struct service_facts facts = good_facts(&web, 30 * USEC_PER_HOUR + 1);
	end_with(&facts, OUTCOME_COMPLETE);
	cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
	make_report(&quiet, &facts, 1, &report);
	assert_int_equal(status_report_code(&report), CODE_OVERDUE);
	expect_attention(&report, 0, "web", "more than 1 d 6 h", "timer or cron");
}

static void
a_backup_from_the_future_is_new(void **state)
{
	(void)state;
	struct service_facts facts = good_facts(&web, -USEC_PER_DAY);
	cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
	make_report(&quiet, &facts, 1, &report);
	assert_int_equal(report.lines[0].good_age, 0);
	assert_int_equal(status_report_code(&report), CODE_COMPLETE);
}

static void
a_failure_says_why_and_what_to_do(void **state)
{
	(void)state;
	struct service_facts facts = {.name = web_name};
	end_with(&facts, OUTCOME_FAILED);
	cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
	make_report(&quiet, &facts, 1, &report);
	assert_int_equal(report.lines[0].condition, STATUS_FAILED);
	assert_true(report.lines[0].overdue);
	assert_int_equal(status_report_code(&report), CODE_FAILED);
	assert_int_equal(report.attention_count, 2);
	expect_attention(&report, 0, "web", "failed: the disk is gone", "buy another one");
	expect_attention(&report, 1, "web", "overdue", "backup web");
}

static void
a_failure_without_advice_points_to_show(void **state)
{
	(void)state;
	struct service_facts facts = good_facts(&web, USEC_PER_HOUR);
	end_with(&facts, OUTCOME_FAILED);
	facts.current->error = (struct error){.code = ERROR_NONE};
	cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
	make_report(&quiet, &facts, 1, &report);
	expect_attention(&report, 0, "web", "no reason was recorded", "atelier-backup show 7");
}

static void
the_gravest_decides_the_exit_code(void **state)
{
	(void)state;
	struct service_facts facts[2] = {good_facts(&web, USEC_PER_HOUR), good_facts(&forum, USEC_PER_HOUR)};
	end_with(&facts[0], OUTCOME_PARTIAL);
	expect_code(&quiet, facts, 2, CODE_PARTIAL);
	facts[0].good.at = NOW - 31 * USEC_PER_HOUR;
	expect_code(&quiet, facts, 2, CODE_OVERDUE);
	facts[0].good.at = NOW;
	facts[1].has_good = false;
	expect_code(&quiet, facts, 2, CODE_OVERDUE);
	end_with(&facts[1], OUTCOME_FAILED);
	expect_code(&quiet, facts, 2, CODE_FAILED);
	expect_code(&quiet, facts, 0, CODE_COMPLETE);
}

static void
a_job_that_nobody_works_on_is_interrupted(void **state)
{
	(void)state;
	struct status_house house = quiet;
	for (enum job_state at = JOB_PENDING; at <= JOB_FAILED; at++) {
		struct service_facts facts = good_facts(&web, USEC_PER_HOUR);
		stand_in(&facts, at);
		cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
		make_report(&quiet, &facts, 1, &report);
		assert_int_equal(report.lines[0].interrupted, !job_state_is_terminal(at));
		if (report.lines[0].interrupted)
			expect_attention(&report, 0, "web", job_state_word(at), "atelier-backup recover");
		assert_int_equal(
		    status_report_code(&report), job_state_is_terminal(at) ? CODE_COMPLETE : CODE_FAILED);
		house.runner_alive = true;
		expect_code(&house, &facts, 1, CODE_COMPLETE);
	}
}

static void
a_job_submitted_just_now_waits_for_its_runner(void **state)
{
	(void)state;
	struct service_facts facts = good_facts(&web, USEC_PER_HOUR);
	stand_in(&facts, JOB_PENDING);
	facts.current->submitted_at = NOW - USEC_PER_SEC;
	expect_code(&quiet, &facts, 1, CODE_COMPLETE);
	facts.current->submitted_at = NOW - USEC_PER_MIN;
	expect_code(&quiet, &facts, 1, CODE_FAILED);
}

static void
what_is_owed_comes_first(void **state)
{
	(void)state;
	struct obligation start = {.job_id = 7, .kind = OBLIGATION_START_UNIT, .subject = unit_name};
	struct obligation hook = {
	    .job_id = 9, .kind = OBLIGATION_POST_BACKUP, .subject = web_name, .message = reason};
	const struct obligation_list owed = {.items = &start, .count = 1}, given_up = {.items = &hook, .count = 1};
	struct status_house house = quiet;
	struct service_facts facts = {.name = web_name};
	house.owed = &owed;
	house.given_up = &given_up;
	cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
	make_report(&house, &facts, 1, &report);
	assert_int_equal(report.attention_count, 3);
	expect_attention(&report, 0, "web", "postBackup did not (job 9): the disk is gone", "atelier-backup recover");
	expect_attention(&report, 1, "web.service", "does not run again (job 7)", "run 'atelier-backup recover' now");
	expect_attention(&report, 2, "web", "overdue", "backup web");
	assert_int_equal(status_report_code(&report), CODE_FAILED);
}

static void
what_a_living_runner_owes_is_its_business(void **state)
{
	(void)state;
	struct obligation start = {.job_id = 7, .kind = OBLIGATION_START_UNIT, .subject = unit_name};
	const struct obligation_list owed = {.items = &start, .count = 1};
	struct status_house house = quiet;
	struct service_facts facts = good_facts(&web, USEC_PER_HOUR);
	house.owed = &owed;
	house.runner_alive = true;
	expect_code(&house, &facts, 1, CODE_COMPLETE);
	house.given_up = &owed;
	expect_code(&house, &facts, 1, CODE_FAILED);
}

static void
damaged_rows_are_told_of(void **state)
{
	(void)state;
	struct status_house house = quiet;
	struct service_facts facts = good_facts(&web, USEC_PER_HOUR);
	house.quarantined = 2;
	cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
	make_report(&house, &facts, 1, &report);
	expect_attention(&report, 0, "journal", "2 damaged rows are set aside", "quarantine");
	assert_int_equal(status_report_code(&report), CODE_COMPLETE);
}

static struct status_line
line_of(const struct status_house *house, const struct service_facts *facts)
{
	cleanup_status_report struct status_report report = {.condition = STATUS_GOOD};
	make_report(house, facts, 1, &report);
	return report.lines[0];
}

static void
the_next_backup_is_foreseen(void **state)
{
	(void)state;
	struct status_house house = quiet;
	struct service_facts facts = good_facts(&web, USEC_PER_HOUR);
	assert_int_equal(line_of(&house, &facts).next_from, MIDNIGHT + 26 * USEC_PER_HOUR);
	assert_int_equal(line_of(&house, &facts).next_until, MIDNIGHT + 28 * USEC_PER_HOUR);
	house.kickoff = 13 * USEC_PER_HOUR + 30 * USEC_PER_MIN;
	assert_int_equal(line_of(&house, &facts).next_from, MIDNIGHT + house.kickoff);
	stand_in(&facts, JOB_DELAYING);
	assert_int_equal(line_of(&house, &facts).next_from, NOW + USEC_PER_HOUR);
	assert_int_equal(line_of(&house, &facts).next_until, NOW + USEC_PER_HOUR);
	stand_in(&facts, JOB_SNAPSHOT);
	assert_int_equal(line_of(&house, &facts).next_from, 0);
}

static void
the_open_window_counts_as_away(void **state)
{
	(void)state;
	struct service_facts facts = good_facts(&web, USEC_PER_HOUR);
	end_with(&facts, OUTCOME_COMPLETE);
	stand_in(&facts, JOB_SNAPSHOT);
	assert_int_equal(line_of(&quiet, &facts).away, 3 * USEC_PER_SEC);
	facts.current->away = USEC_PER_SEC;
	facts.current->away_since = NOW - 4 * USEC_PER_SEC;
	assert_int_equal(line_of(&quiet, &facts).away, 5 * USEC_PER_SEC);
}

static void
a_cancelled_job_hides_no_failure(void **state)
{
	(void)state;
	struct job_record cancelled = ended_job(OUTCOME_CANCELLED), failed = ended_job(OUTCOME_FAILED),
			  complete = ended_job(OUTCOME_COMPLETE);
	cancelled.service = xstrdup(web_name);
	failed.service = xstrdup(web_name);
	struct service_facts facts = {.name = NULL};
	service_facts_learn(&facts, &cancelled);
	assert_non_null(facts.current);
	assert_null(service_facts_verdict(&facts));
	service_facts_learn(&facts, &failed);
	service_facts_learn(&facts, &complete);
	assert_null(failed.service); /* taken */
	assert_string_equal(complete.service, web_name);
	assert_int_equal(facts.current->outcome, OUTCOME_CANCELLED);
	assert_int_equal(service_facts_verdict(&facts)->outcome, OUTCOME_FAILED);
	service_facts_clear(&facts);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_backed_up_yet_is_overdue),
	    cmocka_unit_test(the_built_in_service_is_missed_from_its_first_job_on),
	    cmocka_unit_test(a_young_good_backup_is_all_well),
	    cmocka_unit_test(a_good_backup_grows_old),
	    cmocka_unit_test(a_backup_from_the_future_is_new),
	    cmocka_unit_test(a_failure_says_why_and_what_to_do),
	    cmocka_unit_test(a_failure_without_advice_points_to_show),
	    cmocka_unit_test(the_gravest_decides_the_exit_code),
	    cmocka_unit_test(a_job_that_nobody_works_on_is_interrupted),
	    cmocka_unit_test(a_job_submitted_just_now_waits_for_its_runner),
	    cmocka_unit_test(what_is_owed_comes_first),
	    cmocka_unit_test(what_a_living_runner_owes_is_its_business),
	    cmocka_unit_test(damaged_rows_are_told_of),
	    cmocka_unit_test(the_next_backup_is_foreseen),
	    cmocka_unit_test(the_open_window_counts_as_away),
	    cmocka_unit_test(a_cancelled_job_hides_no_failure),
	};
	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
