/* Years of nights in seconds: the real queue, kickoff and journal under a simulated clock, with uploads that take
 * hours, locks of others, networks that fail, machines that are off and clocks that jump. Asked of every moment:
 * restic's lock rules are kept; and of every year: no service waits longer for its next backup than a night and the
 * spread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/text.h"
#include "jobs/engine.h"
#include "jobs/kickoff.h"
#include "jobs/maintenance.h"
#include "states/machine.h"

#define SERVICES  6
#define KICKOFF   (2 * USEC_PER_HOUR)
#define MAX_DELAY (2 * USEC_PER_HOUR)
#define FIRST_DAY (INT64_C(1767225600) * USEC_PER_SEC) /* 2026-01-01 in UTC */

struct simulated_clock {
	struct clock clock;
	int64_t wall, monotonic;
};

static int64_t
simulated_wall(const struct clock *clock)
{
	return ((const struct simulated_clock *)(const void *)clock)->wall;
}

static int64_t
simulated_monotonic(const struct clock *clock)
{
	return ((const struct simulated_clock *)(const void *)clock)->monotonic;
}

/* What may happen in a year. */
struct year {
	const char *zone;
	int64_t longest_upload;
	int64_t parallel;
	unsigned failing; /* one step of so many fails in a way that passes; 0: none */
	unsigned off;     /* the machine is off for some days, in one night of so many; 0: never */
	unsigned jumps;   /* the clock is set by up to two hours, in one night of so many; 0: never */
};

static struct world_of_nights {
	uint64_t random;
	struct year year;
	struct simulated_clock clock;
	char directory[64];
	struct event_base *base;
	struct journal *journal;
	struct machine machine;
	struct state states[JOB_STATE_COUNT];
	struct engine *engine;
	struct manifest manifest;
	int64_t kickoff_at; /* of the last run that was not cut, and of the one before it */
	int64_t kickoff_before;
	int64_t began[SERVICES]; /* the first attempt of the last backup, for the gaps */
	int64_t longest_break;   /* between two kickoffs that made a run */
	int64_t longest_gap;     /* between the beginnings of two backups of a service */
	size_t backups, retentions, prunes, busy;
	size_t nights, doubled;
	const struct job *at_work[64];
	size_t at_work_count;
} *nights;

static uint64_t
draw(uint64_t bound)
{
	uint64_t x = nights->random;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	nights->random = x;
	return (x * UINT64_C(2685821657736338717)) % bound;
}

/* ---- the fake states: a look at the repository, then hours of work ---- */

static enum step_result
fake_preflight(struct job *job, struct error *error)
{
	job->to_stop = false;
	if (nights->year.failing == 0 || draw(nights->year.failing) > 0)
		return STEP_DONE;
	if (draw(2) == 0)
		error_set(error, ERROR_REPOSITORY_LOCKED, "locked by somebody else");
	else
		error_set(error, ERROR_REPOSITORY_UNREACHABLE, "no network");
	return STEP_FAILED;
}

static enum step_result
fake_work(struct job *job, struct error *error)
{
	(void)error;
	if (!job->frozen) {
		job->frozen = true; /* begun */
		job_step_again(job, 1 + (int64_t)draw((uint64_t)nights->year.longest_upload));
		return STEP_WAITING;
	}
	if (job->record.kind == JOB_KIND_BACKUP)
		replace_string(&job->record.snapshot_id, "0123abcd");
	return STEP_DONE;
}

static const struct step checkpoint_steps[] = {{"preflight", fake_preflight}, {NULL, NULL}};
static const struct step snapshot_steps[] = {{"work", fake_work}, {NULL, NULL}};

/* ---- what must hold at every moment ---- */

static bool
is_backup(const struct job *job)
{
	return job->record.kind == JOB_KIND_BACKUP;
}

static void
refuse_earlier_kind(void *context, const struct job_record *record)
{
	const struct job *job = context;
	assert_false(record->kind < job->record.kind);
}

static void
judge_beginning(struct job *job)
{
	for (size_t i = 0; i < nights->at_work_count; i++) {
		assert_string_not_equal(job->record.service, nights->at_work[i]->record.service);
		assert_true(is_backup(job) && is_backup(nights->at_work[i]));
	}
	assert_true((int64_t)nights->at_work_count < nights->year.parallel);
	/* What follows the backups of a run waits for them. */
	struct job_filter filter = {.run_id = job->record.run_id, .unfinished = true};
	struct error error = {0};
	if (!is_backup(job))
		assert_int_equal(journal_jobs(nights->journal, &filter, refuse_earlier_kind, job, &error), 0);
}

static void
note_gap(const struct job *job)
{
	size_t index = (size_t)(job->record.service[0] - 'a');
	int64_t began = job->record.started_at;
	if (nights->began[index] != 0 && job->record.attempt == 1 &&
	    began - nights->began[index] > nights->longest_gap)
		nights->longest_gap = began - nights->began[index];
	if (job->record.attempt == 1)
		nights->began[index] = began;
}

static void
see_transition(void *context, const struct job *job, enum job_state from, enum job_event event, const char *message)
{
	(void)context;
	(void)event;
	(void)message;
	enum job_state state = job->record.state;
	bool worked = from > JOB_DELAYING, works = state > JOB_DELAYING && !job_state_is_terminal(state);
	if (!worked && works) {
		judge_beginning(engine_find(nights->engine, job->record.id));
		nights->at_work[nights->at_work_count++] = job;
		if (is_backup(job))
			note_gap(job);
	}
	for (size_t i = 0; worked && !works && i < nights->at_work_count; i++)
		if (nights->at_work[i] == job)
			nights->at_work[i] = nights->at_work[--nights->at_work_count];
	if (job->record.waiting != NULL && strstr(job->record.waiting, "locked") != NULL)
		nights->busy++;
	if (!job_state_is_terminal(state))
		return;
	nights->backups += is_backup(job) && job->record.outcome == OUTCOME_COMPLETE;
	nights->retentions += job->record.kind == JOB_KIND_RETENTION && job->record.outcome == OUTCOME_COMPLETE;
	nights->prunes += job->record.kind == JOB_KIND_PRUNE && job->record.outcome == OUTCOME_COMPLETE;
}

/* ---- the runner, the timer and the calendar ---- */

static void
begin_runner(void)
{
	struct error error = {0};
	if (journal_open(nights->directory, &nights->clock.clock, &nights->journal, &error) < 0)
		fail_msg("%s", error.message);
	struct engine_settings settings = {
	    .base = nights->base,
	    .journal = nights->journal,
	    .clock = &nights->clock.clock,
	    .machine = &nights->machine,
	    .parallel = nights->year.parallel,
	};
	nights->engine = engine_new(&settings);
	engine_observe(nights->engine, &(struct engine_observer){.transition = see_transition});
	assert_int_equal(engine_load(nights->engine, &error), 0);
}

static void
end_runner(void)
{
	engine_free(nights->engine);
	journal_close(nights->journal);
	nights->at_work_count = 0;
}

/* What `atelier-backup run` does. */
static void
kick_off(void)
{
	const struct service *services[SERVICES];
	for (size_t i = 0; i < SERVICES; i++)
		services[i] = &nights->manifest.services[i];
	struct error error = {0};
	struct maintenance_run run;
	int64_t now = nights->clock.wall, run_id;
	bool added;
	if (maintenance_run_make(
		&nights->manifest, RUN_NIGHTLY, services, SERVICES, nights->journal, now, &run, &error) < 0)
		fail_msg("%s", error.message);
	kickoff_spread(run.jobs, run.count, now, MAX_DELAY);
	cleanup_free char *night = kickoff_night(now, KICKOFF);
	if (journal_submit(nights->journal, RUN_NIGHTLY, night, run.jobs, run.count, &run_id, &added, NULL, &error) <
	    0)
		fail_msg("%s", error.message);
	maintenance_run_clear(&run);
	nights->nights += added;
	nights->doubled += !added;
	if (added && nights->kickoff_at != 0 && now - nights->kickoff_at > nights->longest_break)
		nights->longest_break = now - nights->kickoff_at;
	if (added) {
		nights->kickoff_before = nights->kickoff_at;
		nights->kickoff_at = now;
	}
	assert_int_equal(engine_load(nights->engine, &error), 0);
	engine_tick(nights->engine);
	event_base_loop(nights->base, EVLOOP_NONBLOCK);
}

static int64_t
least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Lets the queue work until the wall clock says `until`. */
static void
live_until(int64_t until)
{
	for (;;) {
		event_base_loop(nights->base, EVLOOP_NONBLOCK);
		int64_t wall, monotonic, span = until - nights->clock.wall;
		engine_next(nights->engine, &wall, &monotonic);
		if (wall != 0)
			span = least(span, wall > nights->clock.wall ? wall - nights->clock.wall : 0);
		if (monotonic != 0)
			span = least(
			    span, monotonic > nights->clock.monotonic ? monotonic - nights->clock.monotonic : 0);
		nights->clock.wall += span;
		nights->clock.monotonic += span;
		if (nights->clock.wall >= until)
			return;
		engine_tick(nights->engine);
	}
}

/* The machine is off: the runner dies, both clocks are further on when it is back. Who had not begun then has waited
 * since the run before. */
static void
be_off(int64_t span)
{
	if (engine_unfinished(nights->engine) > 0)
		nights->kickoff_at = nights->kickoff_before;
	end_runner();
	nights->clock.wall += span;
	nights->clock.monotonic = USEC_PER_MIN;
	begin_runner();
}

static void
live_for_a_year(void)
{
	int64_t end = FIRST_DAY + 365 * USEC_PER_DAY;
	while (kickoff_next(nights->clock.wall, KICKOFF) < end) {
		live_until(kickoff_next(nights->clock.wall, KICKOFF));
		if (nights->year.off > 0 && draw(nights->year.off) == 0)
			be_off((int64_t)draw(3 * (uint64_t)USEC_PER_DAY));
		if (nights->year.jumps > 0 && draw(nights->year.jumps) == 0)
			nights->clock.wall += (int64_t)draw(4 * (uint64_t)USEC_PER_HOUR) - 2 * USEC_PER_HOUR;
		kick_off();
		/* A timer that fires twice, cron beside it, a person who makes sure. */
		if (draw(7) == 0) {
			live_until(nights->clock.wall + (int64_t)draw(3 * (uint64_t)USEC_PER_HOUR));
			kick_off();
		}
	}
	live_until(nights->clock.wall + 2 * USEC_PER_DAY);
	assert_int_equal(engine_unfinished(nights->engine), 0);
}

static void
begin_year(const struct year *year, uint64_t seed)
{
	nights = xcalloc(1, sizeof(*nights));
	nights->year = *year;
	nights->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	setenv("TZ", year->zone, 1);
	tzset();
	nights->clock = (struct simulated_clock){
	    .clock = {.wall = simulated_wall, .monotonic = simulated_monotonic},
	    .wall = FIRST_DAY,
	    .monotonic = USEC_PER_HOUR,
	};
	strcpy(nights->directory, "/dev/shm/nights-test-XXXXXX");
	assert_non_null(mkdtemp(nights->directory));
	nights->base = event_base_new();
	for (int i = 0; i < JOB_STATE_COUNT; i++) {
		nights->states[i] = (struct state){.state = (enum job_state)i, .loses_work = i == JOB_CHECKPOINT};
		for (int kind = 0; kind < JOB_KIND_COUNT; kind++)
			nights->states[i].steps[kind] = i == JOB_CHECKPOINT ? checkpoint_steps
							: i == JOB_SNAPSHOT ? snapshot_steps
									    : NULL;
	}
	nights->machine.states = nights->states;
	nights->machine.rows = machine_rows(&nights->machine.row_count);
	static char none[] = "";
	nights->manifest = (struct manifest){
	    .restic =
		{
		    .program = none,
		    .repository_file = none,
		    .password_file = none,
		    .cache_directory = none,
		    .host = none,
		},
	    .retry = {.attempts = 3, .delay = 5 * USEC_PER_MIN},
	    .prune = {.every = 7 * USEC_PER_DAY, .max_repack_bytes = 1, .max_duration = USEC_PER_HOUR},
	    .service_count = SERVICES,
	};
	nights->manifest.services = xcalloc(SERVICES, sizeof(struct service));
	for (size_t i = 0; i < SERVICES; i++) {
		char name[2] = {(char)('a' + i), '\0'};
		service_copy(&nights->manifest.services[i], &(struct service){
								.name = name,
								.type = none,
								.attempts = 3,
								.retry_delay = 5 * USEC_PER_MIN,
								.restic = nights->manifest.restic,
							    });
	}
	begin_runner();
}

static void
end_year(void)
{
	end_runner();
	event_base_free(nights->base);
	for (size_t i = 0; i < SERVICES; i++)
		service_clear(&nights->manifest.services[i]);
	free(nights->manifest.services);
	cleanup_free char *command = xasprintf("rm -rf %s", nights->directory);
	assert_int_equal(system(command), 0);
	free(nights);
}

/* Nothing goes wrong: the beginnings of two backups of a service are never further apart than the kickoffs and the
 * spread. On the night the clocks go back, the kickoffs are 25 hours apart. */
static void
no_gap_is_longer_than_a_night_and_the_spread(void **state)
{
	(void)state;
	static const struct {
		const char *zone;
		int64_t period;
	} cases[] = {{"UTC0", USEC_PER_DAY}, {"CET-1CEST,M3.5.0,M10.5.0/3", USEC_PER_DAY + USEC_PER_HOUR}};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		begin_year(
		    &(struct year){.zone = cases[i].zone, .longest_upload = USEC_PER_HOUR, .parallel = SERVICES},
		    i + 1);
		live_for_a_year();
		assert_int_equal(nights->nights, 365);
		assert_int_equal(nights->backups, 365 * SERVICES);
		assert_int_equal(nights->retentions, 365);
		assert_in_range(nights->prunes, 52, 53);
		print_message("%s: %zu backups, longest gap %.2f h\n", cases[i].zone, nights->backups,
		    (double)nights->longest_gap / (double)USEC_PER_HOUR);
		assert_true(nights->longest_gap <= cases[i].period + MAX_DELAY);
		end_year();
	}
}

/* Uploads of hours, two at a time, locks and a bad network: everything ends, in its order, and nothing is lost that
 * would have passed. */
static void
a_bad_year_keeps_the_lock_rules_and_ends_every_job(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 2; seed++) {
		begin_year(
		    &(struct year){.zone = "UTC0", .longest_upload = 90 * USEC_PER_MIN, .parallel = 2, .failing = 10},
		    seed);
		live_for_a_year();
		assert_int_equal(nights->nights, 365);
		assert_true(nights->busy > 0);
		/* One of twenty attempts fails for the network, and three of them end a job. */
		assert_true(nights->backups > 365 * SERVICES * 99 / 100);
		assert_true(nights->retentions > 355);
		assert_in_range(nights->prunes, 48, 53);
		end_year();
	}
}

/* A machine that was off, a clock that was set: one run catches up, and no night has two. */
static void
a_missed_night_is_caught_up_once(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 2; seed++) {
		begin_year(&(struct year){.zone = "CET-1CEST,M3.5.0,M10.5.0/3",
			       .longest_upload = USEC_PER_HOUR,
			       .parallel = 4,
			       .off = 10,
			       .jumps = 15},
		    seed);
		live_for_a_year();
		assert_true(nights->doubled > 0);
		assert_in_range(nights->nights, 300, 366);
		assert_true(nights->backups >= nights->nights * SERVICES);
		/* However long it was off: after the kickoff, nobody waits longer than the spread, the clock that was
		 * set, and an upload for whose place he has to wait. */
		assert_true(nights->longest_gap <= nights->longest_break + 2 * MAX_DELAY + 2 * USEC_PER_HOUR);
		end_year();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_gap_is_longer_than_a_night_and_the_spread),
	    cmocka_unit_test(a_bad_year_keeps_the_lock_rules_and_ends_every_job),
	    cmocka_unit_test(a_missed_night_is_caught_up_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
