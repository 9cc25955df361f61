/* The table itself: every pair of state and event under every valuation of the guards, what can be reached,
 * and that the architecture document shows it as it is (ATELIER_UPDATE_DOCS=1 writes it there). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/text.h"
#include "states/machine.h"

/* A job in which every guard can be set. */
struct valuation {
	bool owes, reading, to_stop, frozen, snapshot, attempts_left;
	enum error_code verdict;
};

static int64_t
fixed_clock(const struct clock *clock)
{
	(void)clock;
	return 1000 * USEC_PER_SEC;
}

struct fixture {
	struct event_base *base;
	struct world world;
	struct machine machine;
	struct clock clock;
	struct engine *engine;
};

static int
set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->base = event_base_new();
	world_init(&fixture->world, fixture->base);
	fixture->machine = machine_for(&fixture->world);
	fixture->clock = (struct clock){.wall = fixed_clock, .monotonic = fixed_clock};
	struct engine_settings settings = {
	    .base = fixture->base,
	    .clock = &fixture->clock,
	    .machine = &fixture->machine,
	    .parallel = 1,
	};
	fixture->engine = engine_new(&settings);
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;
	engine_free(fixture->engine);
	world_release(&fixture->world);
	event_base_free(fixture->base);
	free(fixture);
	return 0;
}

static struct job
job_of(const struct fixture *fixture, enum job_state state, const struct valuation *valuation)
{
	static char snapshot[] = "0123456789abcdef";
	static struct obligation owed = {.kind = OBLIGATION_START_UNIT};
	struct job job = {
	    .engine = fixture->engine,
	    .to_stop = valuation->to_stop,
	    .frozen = valuation->frozen,
	    .reading = valuation->reading,
	};
	job.record.state = state;
	job.record.attempt = 1;
	job.record.started_at = 1000 * USEC_PER_SEC;
	job.record.spec.attempts = valuation->attempts_left ? 2 : 1;
	job.record.snapshot_id = valuation->snapshot ? snapshot : NULL;
	job.record.error.code = valuation->verdict;
	if (valuation->owes)
		job.owed = (struct obligation_list){.items = &owed, .count = 1};
	return job;
}

static const enum error_code verdicts[] = {
    ERROR_NONE,
    ERROR_SOURCE_PARTLY_UNREADABLE,
    ERROR_REPOSITORY_UNREACHABLE,
    ERROR_REPOSITORY_LOCKED,
    ERROR_SOURCE_MISSING,
    ERROR_CANCELLED,
    ERROR_INTERNAL,
};

static struct valuation
valuation_of(unsigned bits, size_t verdict)
{
	return (struct valuation){
	    .owes = bits & 1,
	    .reading = bits & 2,
	    .to_stop = bits & 4,
	    .frozen = bits & 8,
	    .snapshot = bits & 16,
	    .attempts_left = bits & 32,
	    .verdict = verdicts[verdict],
	};
}

/* Which events a state must answer; every other pair is a bug of ours and answered by no row. */
static bool
is_foreseen(enum job_state state, enum job_event event)
{
	if (job_state_is_terminal(state))
		return false;
	if (event == EVENT_PERMANENT || event == EVENT_CANCEL)
		return true;
	if (state == JOB_PENDING)
		return event == EVENT_TAKE;
	if (state == JOB_DELAYING)
		return event == EVENT_DUE || event == EVENT_RECOVER;
	return event != EVENT_TAKE && event != EVENT_DUE;
}

static void
every_pair_is_answered_or_unforeseen(void **state)
{
	const struct fixture *fixture = *state;
	for (int s = 0; s < JOB_STATE_COUNT; s++)
		for (int e = 0; e < JOB_EVENT_COUNT; e++)
			for (unsigned bits = 0; bits < 64; bits++)
				for (size_t v = 0; v < ARRAY_LENGTH(verdicts); v++) {
					struct valuation valuation = valuation_of(bits, v);
					struct job job = job_of(fixture, (enum job_state)s, &valuation);
					const struct transition_row *row =
					    machine_row(&fixture->machine, &job, (enum job_event)e);
					assert_int_equal(
					    row != NULL, is_foreseen((enum job_state)s, (enum job_event)e));
				}
}

/* I2: nothing that is owed is left behind by a job that waits again or ends; and an upload is ended first. */
static void
no_row_leaves_an_obligation_behind(void **state)
{
	const struct fixture *fixture = *state;
	for (int s = JOB_CHECKPOINT; s <= JOB_STARTING; s++)
		for (int e = 0; e < JOB_EVENT_COUNT; e++)
			for (unsigned bits = 0; bits < 64; bits++)
				for (size_t v = 0; v < ARRAY_LENGTH(verdicts); v++) {
					struct valuation valuation = valuation_of(bits, v);
					/* `starting` is done only when everything is paid or given up: its
					 * steps see to it. */
					if ((!valuation.owes && !valuation.reading) ||
					    (s == JOB_STARTING && e == EVENT_DONE))
						continue;
					struct job job = job_of(fixture, (enum job_state)s, &valuation);
					const struct transition_row *row =
					    machine_row(&fixture->machine, &job, (enum job_event)e);
					if (row == NULL)
						continue;
					assert_int_not_equal(row->next, JOB_PENDING);
					assert_int_not_equal(row->next, JOB_DELAYING);
					assert_int_not_equal(row->next, JOB_PRUNED);
					assert_int_not_equal(row->next, JOB_FAILED);
				}
}

static void
only_what_is_good_is_pruned_and_only_what_may_be_repeated_waits(void **state)
{
	const struct fixture *fixture = *state;
	for (int s = JOB_CHECKPOINT; s <= JOB_STARTING; s++)
		for (int e = 0; e < JOB_EVENT_COUNT; e++)
			for (unsigned bits = 0; bits < 64; bits++)
				for (size_t v = 0; v < ARRAY_LENGTH(verdicts); v++) {
					struct valuation valuation = valuation_of(bits, v);
					struct job job = job_of(fixture, (enum job_state)s, &valuation);
					const struct transition_row *row =
					    machine_row(&fixture->machine, &job, (enum job_event)e);
					if (row == NULL)
						continue;
					enum error_class class = error_class_of(valuation.verdict);
					if (row->next == JOB_PRUNED) {
						assert_true(valuation.snapshot);
						assert_true(
						    class == ERROR_CLASS_NONE || class == ERROR_CLASS_PARTIAL);
					}
					if (row->next == JOB_DELAYING)
						assert_true(
						    (class == ERROR_CLASS_TRANSIENT && valuation.attempts_left) ||
						    class == ERROR_CLASS_BUSY);
				}
}

static void
mark_reachable(const struct transition_row *rows, size_t count, enum job_state from, bool *reached)
{
	reached[from] = true;
	for (size_t i = 0; i < count; i++)
		if (rows[i].state == from && !reached[rows[i].next])
			mark_reachable(rows, count, rows[i].next, reached);
}

static void
every_state_is_reached_and_every_state_has_an_end(void **state)
{
	(void)state;
	size_t count;
	const struct transition_row *rows = machine_rows(&count);
	bool from_start[JOB_STATE_COUNT] = {false};
	mark_reachable(rows, count, JOB_PENDING, from_start);
	for (int s = 0; s < JOB_STATE_COUNT; s++) {
		bool reached[JOB_STATE_COUNT] = {false};
		mark_reachable(rows, count, (enum job_state)s, reached);
		assert_true(from_start[s]);
		assert_true(reached[JOB_FAILED] || s == JOB_PRUNED);
		assert_true(reached[JOB_PRUNED] || s == JOB_FAILED);
	}
}

static bool
has_row(enum job_state from, enum job_event event, enum job_state to)
{
	size_t count;
	const struct transition_row *rows = machine_rows(&count);
	for (size_t i = 0; i < count; i++)
		if (rows[i].state == from && rows[i].event == event && rows[i].next == to && !rows[i].stay)
			return true;
	return false;
}

static void
both_roads_are_in_the_table(void **state)
{
	(void)state;
	/* cold: the data is read while the service is down */
	assert_true(has_row(JOB_CHECKPOINT, EVENT_DONE, JOB_STOPPING));
	assert_true(has_row(JOB_STOPPING, EVENT_DONE, JOB_SNAPSHOT));
	assert_true(has_row(JOB_SNAPSHOT, EVENT_DONE, JOB_STARTING));
	assert_true(has_row(JOB_STARTING, EVENT_DONE, JOB_PRUNED));
	/* frozen: the service is up again before restic reads the copy */
	assert_true(has_row(JOB_STOPPING, EVENT_DONE, JOB_STARTING));
	assert_true(has_row(JOB_STARTING, EVENT_DONE, JOB_SNAPSHOT));
	assert_true(has_row(JOB_SNAPSHOT, EVENT_DONE, JOB_PRUNED));
}

/* What a new runner does with a job it finds in each state. */
static void
every_state_has_its_recovery(void **state)
{
	const struct fixture *fixture = *state;
	static const struct {
		enum job_state state;
		struct valuation valuation;
		enum job_state next;
	} cases[] = {
	    {JOB_DELAYING, {.attempts_left = true}, JOB_DELAYING},
	    {JOB_CHECKPOINT, {.attempts_left = true, .verdict = ERROR_INTERRUPTED}, JOB_DELAYING},
	    {JOB_CHECKPOINT, {.verdict = ERROR_INTERRUPTED}, JOB_FAILED},
	    {JOB_CHECKPOINT, {.owes = true, .verdict = ERROR_INTERRUPTED}, JOB_STARTING},
	    {JOB_STOPPING, {.owes = true, .verdict = ERROR_INTERRUPTED}, JOB_STARTING},
	    {JOB_STOPPING, {.attempts_left = true, .verdict = ERROR_INTERRUPTED}, JOB_DELAYING},
	    {JOB_SNAPSHOT, {.owes = true}, JOB_STARTING},
	    {JOB_SNAPSHOT, {.owes = false}, JOB_SNAPSHOT},
	    {JOB_STARTING, {.owes = true}, JOB_STARTING},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct job job = job_of(fixture, cases[i].state, &cases[i].valuation);
		const struct transition_row *row = machine_row(&fixture->machine, &job, EVENT_RECOVER);
		assert_non_null(row);
		assert_int_equal(row->next, cases[i].next);
		assert_false(row->stay);
	}
	assert_true(fixture->machine.states[JOB_CHECKPOINT].loses_work);
	assert_true(fixture->machine.states[JOB_STOPPING].loses_work);
	assert_false(fixture->machine.states[JOB_SNAPSHOT].loses_work);
	assert_false(fixture->machine.states[JOB_STARTING].loses_work);
}

/* ---- the document ---- */

#define BEGIN_MARK "<!-- transition table: begin -->\n"
#define END_MARK   "<!-- transition table: end -->\n"

static char *
table_as_markdown(void)
{
	size_t count;
	const struct transition_row *rows = machine_rows(&count);
	struct text text = {0};
	text_add(&text, "| in state | event | and if | goes to |\n|---|---|---|---|\n");
	for (size_t i = 0; i < count; i++)
		text_printf(&text, "| %s | %s | %s | %s |\n", job_state_word(rows[i].state),
		    job_event_word(rows[i].event), job_guard_text(rows[i].guard),
		    rows[i].stay ? "(stays)" : job_state_word(rows[i].next));
	text_add(&text, "\n| event | what happened |\n|---|---|\n");
	for (int e = 0; e < JOB_EVENT_COUNT; e++)
		text_printf(
		    &text, "| %s | %s |\n", job_event_word((enum job_event)e), job_event_text((enum job_event)e));
	return text_take(&text);
}

static void
the_architecture_document_shows_the_table(void **state)
{
	(void)state;
	static const char path[] = TEST_SOURCE_DIR "/docs/architecture.md";
	cleanup_free char *document = NULL;
	size_t length;
	struct error error = {0};
	assert_int_equal(file_read(path, 1 << 20, &document, &length, &error), 0);
	char *begin = strstr(document, BEGIN_MARK);
	char *end = strstr(document, END_MARK);
	assert_non_null(begin);
	assert_non_null(end);
	begin += strlen(BEGIN_MARK);
	cleanup_free char *table = table_as_markdown();
	cleanup_free char *shown = xstrndup(begin, (size_t)(end - begin));
	const char *update = getenv("ATELIER_UPDATE_DOCS");
	if (update != NULL && strcmp(shown, table) != 0) {
		cleanup_fclose FILE *file = fopen(path, "w");
		assert_non_null(file);
		fprintf(file, "%.*s%s%s", (int)(begin - document), document, table, end);
		return;
	}
	assert_string_equal(shown, table);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_pair_is_answered_or_unforeseen),
	    cmocka_unit_test(no_row_leaves_an_obligation_behind),
	    cmocka_unit_test(only_what_is_good_is_pruned_and_only_what_may_be_repeated_waits),
	    cmocka_unit_test(every_state_is_reached_and_every_state_has_an_end),
	    cmocka_unit_test(both_roads_are_in_the_table),
	    cmocka_unit_test(every_state_has_its_recovery),
	    cmocka_unit_test(the_architecture_document_shows_the_table),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
