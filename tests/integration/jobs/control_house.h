/* A real runner in a child process, with jobs that do nothing outside: what a service does is told by its name.
 *   quick...  ends well at once
 *   still...  stays in `snapshot` until somebody ends it
 *   noisy...  says NOISE things and ends well
 *   owing...  owes the start of a unit, and stays in `stopping` */
#ifndef ATELIER_TESTS_INTEGRATION_JOBS_CONTROL_HOUSE_H
#define ATELIER_TESTS_INTEGRATION_JOBS_CONTROL_HOUSE_H

#include "tests/unit/jobs/journal_fixture.h"

#include <event2/event.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "jobs/control_client.h"
#include "jobs/control_server.h"
#include "jobs/runner.h"
#include "states/machine.h"

#define NOISE        10000
#define NOISE_A_TURN 100
#define PATIENCE     (30 * USEC_PER_SEC)

/* What the runner's process exits with. */
#define RUNNER_EXIT_INTERRUPTED 10
#define RUNNER_EXIT_FAILED      11

struct house {
	struct fixture *fixture;
	char *runtime;
	char *socket;
	const char *status_group;
	int64_t idle_patience;
	bool until_paid;
	pid_t runner; /* 0: none */
};

/* ---- the machine ---- */

static inline bool
is_called(const struct job *job, const char *prefix)
{
	return strncmp(job->record.service, prefix, strlen(prefix)) == 0;
}

static inline enum step_result
house_look(struct job *job, struct error *error)
{
	(void)error;
	job->to_stop = is_called(job, "owing");
	return STEP_DONE;
}

static inline enum step_result
house_stop(struct job *job, struct error *error)
{
	struct obligation unit = {
	    .kind = OBLIGATION_START_UNIT, .subject = job->record.service, .role = UNIT_ROLE_MAIN};
	return job_owe(job, &unit, 1, error) < 0 ? STEP_FAILED : STEP_WAITING;
}

static inline enum step_result
house_read(struct job *job, struct error *error)
{
	(void)error;
	if (is_called(job, "still") || is_called(job, "owing"))
		return STEP_WAITING;
	if (is_called(job, "noisy") && job->record.missing_count < NOISE) {
		for (int i = 0; i < NOISE_A_TURN; i++) {
			uint64_t said = ++job->record.missing_count;
			cleanup_free char *line = xasprintf(
			    "line %llu of many, each of which has its length: %0200d", (unsigned long long)said, 0);
			job_note(job, "restic", line);
			job_progress(job, &(struct restic_progress){.fraction = 0.5, .files_done = said});
		}
		job_step_again(job, USEC_PER_MSEC);
		return STEP_WAITING;
	}
	job->record.missing_count = 0;
	replace_string(&job->record.snapshot_id, "0123abcd");
	return STEP_DONE;
}

static inline enum step_result
house_start(struct job *job, struct error *error)
{
	(void)error;
	while (job->owed.count > 0)
		job_settle(job, 0, RESULT_PAID, NULL);
	return STEP_DONE;
}

static inline void
house_machine(struct machine *ret_machine)
{
	static const struct step look[] = {{"looking", house_look}, {NULL, NULL}};
	static const struct step stop[] = {{"stopping", house_stop}, {NULL, NULL}};
	static const struct step read[] = {{"reading", house_read}, {NULL, NULL}};
	static const struct step start[] = {{"starting", house_start}, {NULL, NULL}};
	static struct state states[JOB_STATE_COUNT];
	static const struct step *const steps[JOB_STATE_COUNT] = {
	    [JOB_CHECKPOINT] = look, [JOB_STOPPING] = stop, [JOB_SNAPSHOT] = read, [JOB_STARTING] = start};
	for (int i = 0; i < JOB_STATE_COUNT; i++)
		states[i] = (struct state){
		    .state = (enum job_state)i,
		    .steps = {[JOB_KIND_BACKUP] = steps[i]},
		    .loses_work = i == JOB_CHECKPOINT || i == JOB_STOPPING,
		};
	*ret_machine = (struct machine){.states = states};
	ret_machine->rows = machine_rows(&ret_machine->row_count);
}

/* ---- the runner ---- */

static inline int
house_recover(void *context, int64_t *ret_tried, int64_t *ret_paid, struct error *error)
{
	(void)context;
	*ret_tried = 2;
	*ret_paid = 1;
	error_set(error, ERROR_UNIT_START_FAILED, "one of them does not start");
	return 0;
}

static inline int
house_be_runner(const struct house *house)
{
	struct error error = {.code = ERROR_NONE};
	struct journal *journal;
	bool held;
	if (journal_open(house->fixture->state, clock_system(), &journal, &error) < 0 ||
	    journal_lock_runner(journal, &held, NULL, &error) < 0)
		return RUNNER_EXIT_FAILED;
	/* Another one is still on its way out. */
	for (int i = 0; !held && i < 1000; i++) {
		poll(NULL, 0, 10);
		journal_lock_runner(journal, &held, NULL, &error);
	}
	int listener = control_listen(house->runtime, &error);
	struct machine machine;
	house_machine(&machine);
	struct runner_settings settings = {
	    .base = event_base_new(),
	    .journal = journal,
	    .clock = clock_system(),
	    .machine = &machine,
	    .parallel = 2,
	    .listener = listener,
	    .status_group = house->status_group,
	    .recover = house_recover,
	    .idle_patience = house->idle_patience,
	    .until_paid = house->until_paid,
	};
	enum runner_end end = RUNNER_DONE;
	int result = held && listener >= 0 ? runner_run(&settings, &end, &error) : -1;
	if (result < 0)
		fprintf(stderr, "runner: %s\n", error.message);
	error_clear(&error);
	event_base_free(settings.base);
	journal_unlock_runner(journal);
	journal_close(journal);
	if (result < 0)
		return RUNNER_EXIT_FAILED;
	return end == RUNNER_INTERRUPTED ? RUNNER_EXIT_INTERRUPTED : 0;
}

static inline void
house_start_runner(struct house *house)
{
	fflush(NULL);
	house->runner = fork();
	assert_true(house->runner >= 0);
	if (house->runner == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		exit(house_be_runner(house)); /* the sanitizers look for leaks on the way out */
	}
}

/* Waits for its end; the code it exits with. */
static inline int
house_await_end(struct house *house)
{
	int status = wait_child(house->runner);
	house->runner = 0;
	if (WIFSIGNALED(status))
		fail_msg("the runner died of signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static inline int
house_end_runner(struct house *house)
{
	kill(house->runner, SIGTERM);
	return house_await_end(house);
}

/* ---- clients ---- */

/* Connects to the runner that was started just now. */
static inline struct control_client *
house_connect(const struct house *house)
{
	struct error error = {.code = ERROR_NONE};
	struct control_client *client = NULL;
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	int found;
	while ((found = control_client_connect(house->socket, PATIENCE, &client, &error)) == 0) {
		if (clock_monotonic(clock_system()) > deadline)
			fail_msg("no runner came up");
		poll(NULL, 0, 5);
	}
	if (found < 0)
		fail_msg("%s: %s", error_code_word(error.code), error.message);
	return client;
}

static inline int64_t
submit_named(struct control_client *client, enum run_kind kind, const char *night, const char *name, int64_t due_in)
{
	struct error error = {.code = ERROR_NONE};
	struct service service = make_service(name);
	struct submission job = {.service = &service, .due_at = clock_wall(clock_system()) + due_in};
	cleanup_free char *copy = xstrdup_null(night);
	struct control_submission submission = {.kind = kind, .night = copy, .jobs = &job, .count = 1};
	struct control_submitted submitted = {.count = 0};
	int result = control_client_submit(client, &submission, &submitted, &error);
	service_clear(&service);
	assert_success(result, &error);
	assert_int_equal(submitted.count, 1);
	int64_t id = submitted.job_ids[0];
	free(submitted.job_ids);
	return id;
}

/* How many jobs are followed. */
static inline size_t
follow_jobs(struct control_client *client, const int64_t *ids, size_t count)
{
	struct error error = {.code = ERROR_NONE};
	struct live_job_list jobs = {.items = NULL};
	assert_success(control_client_follow(client, ids, count, &jobs, &error), &error);
	size_t followed = jobs.count;
	live_job_list_clear(&jobs);
	return followed;
}

/* The next event of this kind; others before it are let go. The caller clears it. */
static inline struct control_event
await_event(struct control_client *client, enum control_event_kind kind)
{
	struct error error = {.code = ERROR_NONE};
	for (;;) {
		struct control_event event;
		int found = control_client_next(client, PATIENCE, &event, &error);
		assert_success(found, &error);
		if (found == 0)
			fail_msg("the runner says nothing more");
		if (event.kind == kind)
			return event;
		control_event_clear(&event);
	}
}

static inline void
await_end(struct control_client *client)
{
	struct control_event event = await_event(client, CONTROL_EVENT_END);
	control_event_clear(&event);
}

static inline void
await_state(struct control_client *client, int64_t job_id, enum job_state state)
{
	for (;;) {
		struct control_event event = await_event(client, CONTROL_EVENT_TRANSITION);
		bool there = event.job_id == job_id && event.to == state;
		control_event_clear(&event);
		if (there)
			return;
	}
}

/* Asks until the job stands there. */
static inline void
poll_state(struct control_client *client, int64_t job_id, enum job_state state)
{
	struct error error = {.code = ERROR_NONE};
	for (int turns = 0; turns < 3000; turns++) {
		struct live_job_list jobs = {.items = NULL};
		assert_success(control_client_status(client, NULL, &jobs, NULL, &error), &error);
		bool there = false;
		for (size_t i = 0; i < jobs.count; i++)
			there |= jobs.items[i].id == job_id && jobs.items[i].state == state;
		live_job_list_clear(&jobs);
		if (there)
			return;
		poll(NULL, 0, 10);
	}
	fail_msg("job %lld does not get to %s", (long long)job_id, job_state_word(state));
}

/* Job and outcome as the journal has them now. */
static inline enum job_outcome
outcome_of(const struct house *house, int64_t job_id)
{
	struct journal *journal;
	struct error error = {.code = ERROR_NONE};
	assert_success(journal_open_readonly(house->fixture->state, clock_system(), &journal, &error), &error);
	struct job_record job = load_job(journal, job_id);
	enum job_outcome outcome = job.outcome;
	job_record_clear(&job);
	journal_close(journal);
	return outcome;
}

/* ---- set up and torn down ---- */

static inline int
house_set_up(void **state)
{
	struct house *house = xcalloc(1, sizeof(*house));
	void *fixture;
	if (fixture_set_up(&fixture) < 0)
		return -1;
	house->fixture = fixture;
	house->runtime = xasprintf("%s/run", house->fixture->root);
	house->socket = xasprintf("%s/%s", house->runtime, CONTROL_SOCKET_NAME);
	house->idle_patience = 100 * USEC_PER_MSEC;
	chmod(house->fixture->root, 0755);
	*state = house;
	return 0;
}

static inline int
house_tear_down(void **state)
{
	struct house *house = *state;
	/* Asked to end, not killed: a runner that a sanitizer has ended would not be told from one that was. */
	if (house->runner > 0) {
		int code = house_end_runner(house);
		if (code != 0 && code != RUNNER_EXIT_INTERRUPTED)
			fail_msg("the runner ended with %d", code);
	}
	free(house->runtime);
	free(house->socket);
	void *fixture = house->fixture;
	fixture_tear_down(&fixture);
	free(house);
	return 0;
}

#define house_test(function) cmocka_unit_test_setup_teardown(function, house_set_up, house_tear_down)

#endif
