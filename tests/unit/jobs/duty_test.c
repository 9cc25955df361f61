/* Verdicts, late requests and shared units: what outweighs what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "jobs/engine_internal.h"
#include "states/machine.h"

static void
judge(struct job *job, enum error_code code)
{
	cleanup_error struct error error = {0};
	error_set(&error, code, "%s", error_code_word(code));
	job_judge(job, &error);
}

static void
expect_verdict(enum error_code first, enum error_code second, enum error_code verdict)
{
	struct job job = {0};
	judge(&job, first);
	judge(&job, second);
	assert_int_equal(job.record.error.code, verdict);
	error_clear(&job.record.error);
}

static void
the_graver_verdict_stays(void **state)
{
	(void)state;
	expect_verdict(ERROR_SOURCE_PARTLY_UNREADABLE, ERROR_REPOSITORY_UNREACHABLE, ERROR_REPOSITORY_UNREACHABLE);
	expect_verdict(ERROR_REPOSITORY_UNREACHABLE, ERROR_SOURCE_PARTLY_UNREADABLE, ERROR_REPOSITORY_UNREACHABLE);
	/* A service that could not be started again is not forgotten over the network failure before it. */
	expect_verdict(ERROR_REPOSITORY_UNREACHABLE, ERROR_UNIT_START_FAILED, ERROR_UNIT_START_FAILED);
	expect_verdict(ERROR_CANCELLED, ERROR_UNIT_START_FAILED, ERROR_UNIT_START_FAILED);
	/* A job that is cancelled while it waits for its next attempt has none. */
	expect_verdict(ERROR_RESTIC_KILLED, ERROR_CANCELLED, ERROR_CANCELLED);
	expect_verdict(ERROR_SOURCE_MISSING, ERROR_CANCELLED, ERROR_SOURCE_MISSING);
	/* Of two alike the first. */
	expect_verdict(ERROR_SOURCE_MISSING, ERROR_DATABASE_DAMAGED, ERROR_SOURCE_MISSING);
	expect_verdict(ERROR_UNCLEAN_STOP, ERROR_DATABASE_UNPROVEN, ERROR_UNCLEAN_STOP);
}

struct fixture {
	struct event_base *base;
	struct machine machine;
	struct engine *engine;
};

static int
set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->base = event_base_new();
	fixture->machine.rows = machine_rows(&fixture->machine.row_count);
	struct engine_settings settings = {
	    .base = fixture->base,
	    .clock = clock_system(),
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
	event_base_free(fixture->base);
	free(fixture);
	return 0;
}

static void
a_unit_is_shared_with_a_job_that_the_engine_has(void **state)
{
	struct fixture *fixture = *state;
	char unit[] = "shared.service";
	struct obligation owed = {.kind = OBLIGATION_START_UNIT, .subject = unit};
	struct obligation hook = {.kind = OBLIGATION_POST_BACKUP, .subject = unit};
	struct job one = {.engine = fixture->engine, .owed = {.items = &owed, .count = 1}};
	struct job two = {.engine = fixture->engine};
	TAILQ_INSERT_TAIL(&fixture->engine->jobs, &one, entry);
	TAILQ_INSERT_TAIL(&fixture->engine->jobs, &two, entry);
	assert_false(job_shares_unit(&one, unit)); /* its own does not count */
	assert_true(job_shares_unit(&two, unit));
	assert_false(job_shares_unit(&two, "other.service"));
	one.owed.items = &hook;
	assert_false(job_shares_unit(&two, unit)); /* a service of the same name is no unit */
	TAILQ_REMOVE(&fixture->engine->jobs, &one, entry);
	TAILQ_REMOVE(&fixture->engine->jobs, &two, entry);
}

static void
a_request_to_end_does_not_undo_a_good_backup(void **state)
{
	struct fixture *fixture = *state;
	static const enum error_code requests[] = {ERROR_CANCELLED, ERROR_INTERRUPTED};
	for (size_t i = 0; i < ARRAY_LENGTH(requests); i++) {
		char snapshot[] = "0123abcd";
		struct job job = {.engine = fixture->engine};
		job.record.state = JOB_STARTING;
		job.record.snapshot_id = snapshot;
		cleanup_error struct error request = {0};
		error_set(&request, requests[i], "asked to end");
		enum job_event event = requests[i] == ERROR_CANCELLED ? EVENT_CANCEL : EVENT_TRANSIENT;
		engine_handle_event(&job, event, &request);
		assert_int_equal(job.record.state, JOB_STARTING);
		assert_false(error_is_set(&job.record.error));
		/* Before there is a snapshot it counts. */
		job.record.snapshot_id = NULL;
		engine_handle_event(&job, event, &request);
		assert_int_equal(job.record.error.code, requests[i]);
		error_clear(&job.record.error);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_graver_verdict_stays),
	    cmocka_unit_test_setup_teardown(a_unit_is_shared_with_a_job_that_the_engine_has, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_request_to_end_does_not_undo_a_good_backup, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
