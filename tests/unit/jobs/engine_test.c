/* The engine under more than 100,000 seeded random events, deaths of the runner among them: the real table, a
 * real journal, a simulated clock, and a world of one unit per service that can be seen to be up or down. The
 * services are in two repositories; retention and prune concern the first of them. */
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
#include "jobs/engine_internal.h"
#include "jobs/maintenance.h"
#include "states/machine.h"

#define SERVICES 3

/* ... and a retention and a prune. */
#define JOBS (SERVICES + 2)

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

/* What the fake states do to the outside world. */
struct simulation {
	uint64_t random;
	struct simulated_clock clock;
	bool up[SERVICES];     /* the unit of each service runs */
	bool was_up[SERVICES]; /* ... and did before its job */
	unsigned snapshots[SERVICES];
	char directory[64];
	struct event_base *base;
	struct journal *journal;
	struct machine machine;
	struct state states[JOB_STATE_COUNT];
	struct engine *engine;
	uint64_t events;
	uint64_t ended[OUTCOME_FAILED + 1];
	uint64_t maintained[JOB_KIND_COUNT], beside_others; /* how often there was something to get wrong */
	bool calm;                                          /* nothing goes wrong any more: everything has to end */
};

static struct simulation *simulation;

/* xorshift64*: the same run for the same seed on every machine. */
static uint64_t
draw(uint64_t bound)
{
	uint64_t x = simulation->random;
	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	simulation->random = x;
	return (x * UINT64_C(2685821657736338717)) % bound;
}

static size_t
index_of(const struct job *job)
{
	return (size_t)(job->record.service[0] - 'a');
}

static enum error_code
draw_error(void)
{
	static const enum error_code codes[] = {ERROR_REPOSITORY_UNREACHABLE, ERROR_REPOSITORY_LOCKED,
	    ERROR_SOURCE_MISSING, ERROR_SOURCE_PARTLY_UNREADABLE, ERROR_DEADLINE, ERROR_CANCELLED,
	    ERROR_UNIT_RETURNED, ERROR_INTERNAL};
	return codes[draw(ARRAY_LENGTH(codes))];
}

/* A step does its work and is done, waits for a callback, or fails. */
static enum step_result
chance(struct error *error)
{
	if (simulation->calm)
		return STEP_DONE;
	switch (draw(8)) {
	case 0:
		error_set(error, draw_error(), "drawn");
		return STEP_FAILED;
	case 1:
	case 2:
	case 3:
		return STEP_WAITING;
	default:
		return STEP_DONE;
	}
}

static enum step_result
fake_preflight(struct job *job, struct error *error)
{
	job->to_stop = draw(3) > 0;
	return chance(error);
}

static enum step_result
fake_hook(struct job *job, struct error *error)
{
	if (draw(2) == 0)
		return STEP_DONE;
	struct obligation hook = {
	    .kind = OBLIGATION_POST_BACKUP, .subject = job->record.service, .role = UNIT_ROLE_MAIN};
	if (job_owe(job, &hook, 1, error) < 0)
		return STEP_FAILED;
	return chance(error);
}

static enum step_result
fake_stop(struct job *job, struct error *error)
{
	size_t index = index_of(job);
	if (simulation->up[index]) {
		struct obligation unit = {
		    .kind = OBLIGATION_START_UNIT, .subject = job->record.service, .role = UNIT_ROLE_MAIN};
		if (job_owe(job, &unit, 1, error) < 0)
			return STEP_FAILED;
	}
	simulation->up[index] = false;
	return chance(error);
}

static enum step_result
fake_freeze(struct job *job, struct error *error)
{
	job->frozen = draw(3) == 0;
	return chance(error);
}

static void
have_snapshot(struct job *job)
{
	assert_null(job->record.sources_filled);
	strings_add(&job->record.sources_filled, "/srv");
	assert_int_equal(job->record.data.count, 0);
	datum_list_add(&job->record.data, &(struct datum){.name = (char *)"/srv/db"});
	replace_string(&job->record.snapshot_id, "0123abcd");
}

static enum step_result
fake_upload(struct job *job, struct error *error)
{
	if (job->record.snapshot_id != NULL)
		return STEP_DONE;
	if (job->taken_over && job->record.snapshot_begun && draw(2) == 0) {
		error_set(error, ERROR_INTERRUPTED, "no snapshot was finished");
		return STEP_FAILED;
	}
	job->record.snapshot_begun = true;
	enum step_result result = chance(error);
	if (result == STEP_DONE || (result == STEP_FAILED && error_class_of(error->code) == ERROR_CLASS_PARTIAL)) {
		have_snapshot(job);
		simulation->snapshots[index_of(job)]++;
	}
	return result;
}

static enum step_result
fake_start(struct job *job, struct error *error)
{
	(void)error;
	while (job->owed.count > 0) {
		if (!simulation->calm && draw(4) == 0) {
			/* Not yet: comes back to this step. */
			job_step_again(job, USEC_PER_SEC);
			return STEP_WAITING;
		}
		if (job->owed.items[0].kind == OBLIGATION_START_UNIT)
			simulation->up[index_of(job)] = true;
		job_settle(job, 0, RESULT_PAID, NULL);
	}
	return STEP_DONE;
}

static int64_t
fake_deadline(const struct job *job)
{
	(void)job;
	return USEC_PER_HOUR;
}

/* One that the runner's death has cut begins anew. While it waits for restic, restic is ended in `starting` first. */
static enum step_result
fake_maintenance(struct job *job, struct error *error)
{
	if (job->taken_over) {
		error_set(error, ERROR_INTERRUPTED, "drawn");
		return STEP_FAILED;
	}
	enum step_result result = chance(error);
	job->reading = result == STEP_WAITING;
	return result;
}

static enum step_result
fake_look(struct job *job, struct error *error)
{
	(void)job;
	return chance(error);
}

static enum step_result
fake_end_restic(struct job *job, struct error *error)
{
	(void)error;
	if (!simulation->calm && job->reading && draw(2) == 0) {
		job_step_again(job, USEC_PER_SEC);
		return STEP_WAITING;
	}
	job->reading = false;
	return STEP_DONE;
}

static const struct step checkpoint_steps[] = {{"preflight", fake_preflight}, {"hook", fake_hook}, {NULL, NULL}};
static const struct step stopping_steps[] = {{"stop", fake_stop}, {"freeze", fake_freeze}, {NULL, NULL}};
static const struct step snapshot_steps[] = {{"upload", fake_upload}, {NULL, NULL}};
static const struct step starting_steps[] = {{"start", fake_start}, {NULL, NULL}};
static const struct step look_steps[] = {{"look", fake_look}, {NULL, NULL}};
static const struct step maintenance_steps[] = {{"maintenance", fake_maintenance}, {NULL, NULL}};
static const struct step ending_steps[] = {{"end restic", fake_end_restic}, {NULL, NULL}};

static const struct step *const backup_work[JOB_STATE_COUNT] = {
    [JOB_CHECKPOINT] = checkpoint_steps,
    [JOB_STOPPING] = stopping_steps,
    [JOB_SNAPSHOT] = snapshot_steps,
    [JOB_STARTING] = starting_steps,
};
static const struct step *const maintenance_work[JOB_STATE_COUNT] = {
    [JOB_CHECKPOINT] = look_steps,
    [JOB_SNAPSHOT] = maintenance_steps,
    [JOB_STARTING] = ending_steps,
};

/* ---- who works beside whom ---- */

static bool
is_maintenance(const struct job *job)
{
	return job->record.kind != JOB_KIND_BACKUP;
}

struct neighbours {
	const struct job *job;
	size_t count;    /* at work in the same repository */
	size_t before;   /* of its run that have to end first */
	size_t anywhere; /* at work */
};

static void
look_at_neighbour(void *context, const struct job *other)
{
	struct neighbours *neighbours = context;
	const struct job *job = neighbours->job;
	if (other == job)
		return;
	neighbours->before += other->record.run_id == job->record.run_id && other->record.kind < job->record.kind;
	if (!job_takes_a_place(other))
		return;
	neighbours->anywhere++;
	neighbours->count +=
	    strcmp(other->record.spec.restic.repository_file, job->record.spec.restic.repository_file) == 0;
}

/* Nobody is at work beside a retention or a prune in the same repository, whatever was loaded, woken or cancelled. */
static void
check_place(void *context, const struct job *job)
{
	(void)context;
	if (!is_maintenance(job) || !job_takes_a_place(job))
		return;
	struct neighbours neighbours = {.job = job};
	engine_each(simulation->engine, look_at_neighbour, &neighbours);
	assert_int_equal(neighbours.count, 0);
	assert_int_equal(neighbours.before, 0);
	simulation->beside_others += neighbours.anywhere > 0;
}

static void
count_transition(void *context, const struct job *job, enum job_state from, enum job_event event, const char *message)
{
	(void)context;
	(void)from;
	(void)event;
	(void)message;
	simulation->events++;
	enum job_state state = job->record.state;
	engine_each(simulation->engine, check_place, NULL);
	if (job_state_is_terminal(state) && is_maintenance(job))
		simulation->maintained[job->record.kind] += job->record.outcome == OUTCOME_COMPLETE;
	if (is_maintenance(job))
		return;
	if (state == JOB_DELAYING || state == JOB_PRUNED || state == JOB_FAILED) {
		assert_int_equal(job->owed.count, 0);
		assert_true(simulation->up[index_of(job)] || !simulation->was_up[index_of(job)]);
	}
	if (state == JOB_PRUNED) {
		assert_non_null(job->record.snapshot_id);
		assert_true(strings_contain(job->record.sources_filled, "/srv"));
	}
	/* The next attempt looks again. */
	if (state == JOB_DELAYING)
		assert_true(job->record.sources_filled == NULL && job->record.data.count == 0);
	if (job_state_is_terminal(state))
		simulation->ended[job->record.outcome]++;
}

static void
begin_runner(void)
{
	struct error error = {0};
	if (journal_open(simulation->directory, &simulation->clock.clock, &simulation->journal, &error) < 0)
		fail_msg("%s", error.message);
	struct engine_settings settings = {
	    .base = simulation->base,
	    .journal = simulation->journal,
	    .clock = &simulation->clock.clock,
	    .machine = &simulation->machine,
	    .parallel = 3,
	};
	simulation->engine = engine_new(&settings);
	struct engine_observer observer = {.transition = count_transition};
	engine_observe(simulation->engine, &observer);
	assert_int_equal(engine_load(simulation->engine, &error), 0);
}

static void
kill_runner(void)
{
	engine_free(simulation->engine);
	journal_close(simulation->journal);
}

/* The last service alone is in the second repository. */
static struct service
draw_service(char *name, bool second)
{
	static char none[] = "", repositories[][4] = {"one", "two"};
	return (struct service){
	    .name = name,
	    .type = none,
	    .attempts = 1 + (int64_t)draw(3),
	    .retry_delay = USEC_PER_MIN,
	    .restic = {.program = none,
		.repository_file = repositories[second],
		.password_file = none,
		.cache_directory = none,
		.host = none},
	};
}

/* A run of all services with the retention after them, and now and then with a prune. */
static void
submit_run(void)
{
	struct service services[JOBS];
	struct submission submissions[JOBS];
	char names[JOBS][16];
	size_t count = draw(2) == 0 ? JOBS : JOBS - 1;
	for (size_t i = 0; i < count; i++) {
		enum job_kind kind =
		    i < SERVICES ? JOB_KIND_BACKUP : JOB_KIND_RETENTION + (enum job_kind)(i - SERVICES);
		if (kind == JOB_KIND_BACKUP)
			snprintf(names[i], sizeof(names[i]), "%c", (char)('a' + i));
		else
			snprintf(names[i], sizeof(names[i]), "%s", maintenance_name(kind));
		services[i] = draw_service(names[i], i == SERVICES - 1);
		submissions[i] = (struct submission){
		    .kind = kind,
		    .service = &services[i],
		    .due_at = simulation->clock.wall + (int64_t)draw((uint64_t)USEC_PER_HOUR),
		};
	}
	struct error error = {0};
	int64_t run;
	bool added;
	if (journal_submit(simulation->journal, RUN_MANUAL, NULL, submissions, count, &run, &added, NULL, &error) < 0)
		fail_msg("%s", error.message);
	assert_int_equal(engine_load(simulation->engine, &error), 0);
}

/* I1: a unit that is down because of us is owed in the journal, whatever dies next. */
static void
check_that_the_journal_knows_what_is_down(void)
{
	struct obligation_list owed = {0};
	struct error error = {0};
	assert_int_equal(journal_obligations(simulation->journal, 0, true, &owed, &error), 0);
	for (size_t i = 0; i < SERVICES; i++) {
		bool is_owed = false;
		for (size_t k = 0; k < owed.count; k++)
			is_owed |= owed.items[k].kind == OBLIGATION_START_UNIT &&
				   owed.items[k].subject[0] == (char)('a' + i);
		if (simulation->was_up[i] && !simulation->up[i])
			assert_true(is_owed);
		/* I4 */
		if (!simulation->was_up[i])
			assert_false(simulation->up[i]);
	}
	obligation_list_clear(&owed);
}

struct pick {
	int64_t ids[JOBS * 4];
	size_t count;
};

static void
pick_job(void *context, const struct job_record *record)
{
	struct pick *pick = context;
	if (pick->count < ARRAY_LENGTH(pick->ids))
		pick->ids[pick->count++] = record->id;
}

static struct job *
draw_job(void)
{
	struct pick pick = {.count = 0};
	struct error error = {0};
	struct job_filter filter = {.unfinished = true};
	assert_int_equal(journal_jobs(simulation->journal, &filter, pick_job, &pick, &error), 0);
	return pick.count == 0 ? NULL : engine_find(simulation->engine, pick.ids[draw(pick.count)]);
}

static void
work_off(void)
{
	event_base_loop(simulation->base, EVLOOP_NONBLOCK);
}

static void
something_happens(void)
{
	struct job *job = draw_job();
	if (job == NULL) {
		for (size_t i = 0; i < SERVICES; i++)
			simulation->was_up[i] = simulation->up[i] = draw(4) > 0;
		submit_run();
		return;
	}
	/* Another run while one is on: its retention is one more. */
	if (!simulation->calm && engine_unfinished(simulation->engine) < 2 * JOBS && draw(40) == 0)
		submit_run();
	struct error error = {0};
	switch (simulation->calm ? 8 : draw(12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		if (job->step == NULL)
			break;
		/* The callbacks of the real states: an upload brings its snapshot, `starting` looks again at
		 * what is owed. */
		if (job->record.state == JOB_SNAPSHOT)
			job->reading = false;
		if (job->record.state == JOB_SNAPSHOT && job->record.snapshot_id == NULL && !is_maintenance(job))
			have_snapshot(job);
		if (job->record.state == JOB_STARTING)
			job_step_again(job, 0);
		else
			job_step_finished(job, NULL);
		break;
	case 4:
		if (job->step != NULL) {
			error_set(&error, draw_error(), "drawn");
			/* `starting` cannot fail: its steps never answer with an error. */
			if (job->record.state != JOB_STARTING)
				job_step_finished(job, &error);
		}
		break;
	case 5:
		engine_cancel(simulation->engine, job->record.id, "drawn");
		break;
	case 6:
		if (job->record.state >= JOB_CHECKPOINT) {
			error_set(&error, ERROR_UNIT_RETURNED, "drawn");
			job_post(job, EVENT_TRANSIENT, &error);
		}
		break;
	case 7:
		kill_runner();
		begin_runner();
		break;
	default: {
		int64_t span = (int64_t)draw((uint64_t)USEC_PER_HOUR * 2);
		simulation->clock.monotonic += span;
		/* Now and then somebody sets the clock. */
		simulation->clock.wall += draw(50) == 0 ? span - USEC_PER_DAY : span;
		engine_tick(simulation->engine);
	}
	}
	error_clear(&error);
	simulation->events++;
}

static void
run_simulation(uint64_t seed, uint64_t events)
{
	simulation = xcalloc(1, sizeof(*simulation));
	simulation->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	simulation->clock = (struct simulated_clock){
	    .clock = {.wall = simulated_wall, .monotonic = simulated_monotonic},
	    .wall = INT64_C(1790000000) * USEC_PER_SEC,
	    .monotonic = USEC_PER_HOUR,
	};
	strcpy(simulation->directory, "/dev/shm/engine-test-XXXXXX");
	assert_non_null(mkdtemp(simulation->directory));
	simulation->base = event_base_new();
	for (int i = 0; i < JOB_STATE_COUNT; i++)
		simulation->states[i] = (struct state){
		    .state = (enum job_state)i,
		    .steps = {[JOB_KIND_BACKUP] = backup_work[i],
			[JOB_KIND_RETENTION] = maintenance_work[i],
			[JOB_KIND_PRUNE] = maintenance_work[i]},
		    .deadline = i == JOB_CHECKPOINT || i == JOB_STOPPING || i == JOB_SNAPSHOT ? fake_deadline : NULL,
		    .loses_work = i == JOB_CHECKPOINT || i == JOB_STOPPING,
		};
	simulation->machine.states = simulation->states;
	simulation->machine.rows = machine_rows(&simulation->machine.row_count);

	begin_runner();
	while (simulation->events < events) {
		something_happens();
		work_off();
		check_that_the_journal_knows_what_is_down();
	}
	/* When nothing goes wrong any more, every job ends. */
	simulation->calm = true;
	kill_runner();
	begin_runner();
	for (int i = 0; i < 1000 && engine_unfinished(simulation->engine) > 0; i++) {
		work_off();
		simulation->clock.monotonic += USEC_PER_HOUR;
		simulation->clock.wall += USEC_PER_HOUR;
		engine_tick(simulation->engine);
	}
	assert_int_equal(engine_unfinished(simulation->engine), 0);
	for (size_t i = 0; i < SERVICES; i++)
		assert_int_equal(simulation->up[i], simulation->was_up[i]);
	/* The draws reach every kind of end, or the test proves little. */
	assert_true(simulation->ended[OUTCOME_COMPLETE] > 0);
	assert_true(simulation->ended[OUTCOME_PARTIAL] > 0);
	assert_true(simulation->ended[OUTCOME_CANCELLED] > 0);
	assert_true(simulation->ended[OUTCOME_FAILED] > 0);
	assert_true(simulation->maintained[JOB_KIND_RETENTION] > 0);
	assert_true(simulation->maintained[JOB_KIND_PRUNE] > 0);
	assert_true(simulation->beside_others > 0);
	kill_runner();
	event_base_free(simulation->base);
	cleanup_free char *command = xasprintf("rm -rf %s", simulation->directory);
	assert_int_equal(system(command), 0);
	free(simulation);
}

static void
what_is_owed_is_paid_under_random_events(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++)
		run_simulation(seed, 11000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_owed_is_paid_under_random_events),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
