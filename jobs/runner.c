#include "jobs/runner.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/fault.h"
#include "jobs/control_server.h"

/* Somebody knocks at the moment we want to go: he will be let in before the next look. */
#define LEAST_IDLE_PATIENCE (100 * USEC_PER_MSEC)

struct runner {
	const struct runner_settings *settings;
	struct engine *engine;
	struct control_server *server; /* NULL: no clients */
	int listener;                  /* -1: the server's, or none */
	struct engine_observer clients;
	struct event *timer;      /* deadlines and parked steps */
	struct wall_alarm *alarm; /* due times */
	struct event *idle;
	struct event *signals[2];
	struct event *watchdog;
	enum runner_end end;
	bool paid;     /* nothing is owed of what was owed in the beginning */
	bool finished; /* event_base_loopbreak is forgotten by a loop that begins after it */
};

static void
add_timer(struct event *event, int64_t span)
{
	struct timeval value = {.tv_sec = span / USEC_PER_SEC, .tv_usec = span % USEC_PER_SEC};
	event_add(event, &value);
}

/* ---- when it ends ---- */

static void
tell_manager(const struct runner *runner)
{
	sd_notifyf(0, "STATUS=%zu running, %zu waiting", engine_placed(runner->engine),
	    engine_unfinished(runner->engine) - engine_placed(runner->engine));
}

static void
arm_timers(struct runner *runner)
{
	int64_t wall, monotonic;
	engine_next(runner->engine, &wall, &monotonic);
	if (wall != 0)
		wall_alarm_set(runner->alarm, wall);
	else
		wall_alarm_disarm(runner->alarm);
	event_del(runner->timer);
	if (monotonic != 0) {
		int64_t left = monotonic - clock_monotonic(runner->settings->clock);
		add_timer(runner->timer, left > 0 ? left : 0);
	}
}

static void
finish(struct runner *runner)
{
	runner->finished = true;
	event_base_loopbreak(runner->settings->base);
}

static bool
has_nothing_to_do(const struct runner *runner)
{
	return engine_unfinished(runner->engine) == 0 &&
	       (runner->server == NULL || control_server_clients(runner->server) == 0);
}

/* Nobody is there to hand jobs in or to ask. */
static void
look_whether_idle(struct runner *runner)
{
	if (!has_nothing_to_do(runner))
		event_del(runner->idle);
	else if (runner->server == NULL)
		finish(runner);
	else if (!event_pending(runner->idle, EV_TIMEOUT, NULL))
		add_timer(runner->idle, runner->settings->idle_patience);
}

static bool
somebody_knocks(const struct runner *runner)
{
	struct pollfd listener = {.fd = runner->settings->listener, .events = POLLIN};
	return poll(&listener, 1, 0) > 0;
}

static void
on_idle_for_long(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	struct runner *runner = context;
	if (!has_nothing_to_do(runner))
		return;
	if (somebody_knocks(runner))
		add_timer(runner->idle, LEAST_IDLE_PATIENCE);
	else
		finish(runner);
}

static void
see_job(void *context, const struct job *job)
{
	bool *owes = context;
	*owes |= job_owes(job);
}

static bool
something_is_owed(const struct runner *runner)
{
	bool owes = false;
	engine_each(runner->engine, see_job, &owes);
	return owes;
}

/* Jobs that are under way are seen to their end; those that wait stay for the next runner. */
static bool
is_ending(const struct runner *runner)
{
	return runner->end == RUNNER_INTERRUPTED || error_is_set(engine_journal_error(runner->engine));
}

static void
look_whether_paid(struct runner *runner)
{
	if (runner->paid || something_is_owed(runner))
		return;
	runner->paid = true;
	if (runner->settings->paid != NULL)
		runner->settings->paid(runner->settings->context);
}

static void
on_idle(void *context)
{
	struct runner *runner = context;
	look_whether_paid(runner);
	if (!runner->settings->until_paid)
		tell_manager(runner);
	if (is_ending(runner))
		engine_close(runner->engine);
	arm_timers(runner);
	if (runner->settings->until_paid ? !something_is_owed(runner)
					 : is_ending(runner) && engine_placed(runner->engine) == 0)
		finish(runner);
	else
		look_whether_idle(runner);
}

static void
tick(struct runner *runner)
{
	engine_tick(runner->engine);
	on_idle(runner);
}

/* From the loop, not from under whoever asks. */
static void
tick_soon(struct runner *runner)
{
	event_active(runner->timer, EV_TIMEOUT, 0);
}

static void
on_timer(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	tick(context);
}

static void
on_alarm(void *context)
{
	tick(context);
}

/* ---- what clients ask ---- */

static int
may_take_jobs(const struct runner *runner, struct error *error)
{
	if (error_is_set(engine_journal_error(runner->engine))) {
		error_copy(error, engine_journal_error(runner->engine));
		return -1;
	}
	if (!is_ending(runner) && !runner->finished)
		return 0;
	error_set(error, ERROR_RUNNER_GONE, "the runner is ending and takes no jobs any more");
	return error_hint(error, "ask again when it has ended");
}

static bool
waits(const struct job *job)
{
	return job->record.state == JOB_PENDING || job->record.state == JOB_DELAYING;
}

/* A job that waits has its turn now. In the journal first; a job that is not with the engine yet is loaded from it.
 */
static int
hasten(struct runner *runner, int64_t job_id, struct error *error)
{
	struct job *job = engine_find(runner->engine, job_id);
	int64_t now = clock_wall(runner->settings->clock);
	if (job == NULL || !waits(job) || job->record.due_at <= now)
		return 0;
	if (journal_hasten(runner->settings->journal, job_id, error) < 0)
		return -1;
	job->record.due_at = now;
	return 0;
}

static int
take_in_jobs(struct runner *runner, const struct control_submission *submission, struct control_submitted *submitted,
    struct error *error)
{
	if (journal_submit(runner->settings->journal, submission->kind, submission->night, submission->jobs,
		submission->count, &submitted->run_id, &submitted->added, submitted->job_ids, error) < 0)
		return -1;
	submitted->count = submission->count;
	/* A service that waits for its nightly turn has it now. */
	for (size_t i = 0; submission->kind == RUN_MANUAL && i < submitted->count; i++)
		if (hasten(runner, submitted->job_ids[i], error) < 0)
			return -1;
	if (engine_load(runner->engine, error) == 0)
		return 0;
	engine_lose_journal(runner->engine, error);
	return -1;
}

static int
submit(void *context, const struct control_submission *submission, struct control_submitted *ret_submitted,
    struct error *error)
{
	struct runner *runner = context;
	if (may_take_jobs(runner, error) < 0)
		return -1;
	if (submission->kind == RUN_MANUAL && submission->count == 0)
		return error_set(error, ERROR_USAGE, "a run without jobs");
	struct control_submitted submitted = {
	    .job_ids = xcalloc(submission->count + 1, sizeof(*submitted.job_ids)),
	};
	int result = take_in_jobs(runner, submission, &submitted, error);
	if (submission->parallel > 0)
		engine_set_parallel(runner->engine, submission->parallel);
	tick_soon(runner);
	if (result < 0)
		free(submitted.job_ids);
	else
		*ret_submitted = submitted;
	return result;
}

/* 0 with the job's row; -1 with ERROR_USAGE. */
static int
find_row(struct runner *runner, int64_t job_id, struct job_record *ret_row, struct error *error)
{
	int found = journal_job(runner->settings->journal, job_id, ret_row, error);
	if (found != 0)
		return found < 0 ? -1 : 0;
	error_set(error, ERROR_USAGE, "there is no job %lld", (long long)job_id);
	return error_hint(error, "`atelier-backup jobs` lists them");
}

static int
cancel(void *context, int64_t job_id, const char *why, struct error *error)
{
	struct runner *runner = context;
	if (engine_find(runner->engine, job_id) != NULL) {
		engine_cancel(runner->engine, job_id, why);
		return 0;
	}
	cleanup_job struct job_record row = {.id = 0};
	if (find_row(runner, job_id, &row, error) < 0)
		return -1;
	error_set(
	    error, ERROR_USAGE, "job %lld has ended already: %s", (long long)job_id, job_outcome_word(row.outcome));
	return error_hint(error, "`atelier-backup show %lld` tells how", (long long)job_id);
}

static int
submit_again(struct runner *runner, int64_t job_id, const struct service *spec, int64_t *ret_job, struct error *error)
{
	cleanup_job struct job_record row = {.id = 0};
	if (find_row(runner, job_id, &row, error) < 0)
		return -1;
	if (spec != NULL && strcmp(spec->name, row.service) != 0)
		return error_set(error, ERROR_USAGE, "job %lld is one of '%s', not of '%s'", (long long)job_id,
		    row.service, spec->name);
	struct submission again = {.kind = row.kind,
	    .service = spec != NULL ? spec : &row.spec,
	    .due_at = clock_wall(runner->settings->clock)};
	struct control_submission submission = {.kind = RUN_MANUAL, .jobs = &again, .count = 1};
	struct control_submitted submitted;
	if (submit(runner, &submission, &submitted, error) < 0)
		return -1;
	*ret_job = submitted.job_ids[0];
	free(submitted.job_ids);
	return 0;
}

static int
retry(void *context, int64_t job_id, const struct service *spec, int64_t *ret_job, struct error *error)
{
	struct runner *runner = context;
	if (may_take_jobs(runner, error) < 0)
		return -1;
	const struct job *job = engine_find(runner->engine, job_id);
	if (job == NULL)
		return submit_again(runner, job_id, spec, ret_job, error);
	if (!waits(job)) {
		error_set(error, ERROR_USAGE, "job %lld is at work: %s", (long long)job_id,
		    job_state_text(job->record.state));
		return error_hint(error, "`atelier-backup follow %lld` shows it", (long long)job_id);
	}
	if (hasten(runner, job_id, error) < 0)
		return -1;
	*ret_job = job_id;
	tick_soon(runner);
	return 0;
}

static int
recover(void *context, int64_t *ret_tried, int64_t *ret_paid, struct error *error)
{
	struct runner *runner = context;
	const struct runner_settings *settings = runner->settings;
	if (engine_placed(runner->engine) > 0) {
		error_set(error, ERROR_SYSTEM_BUSY, "%zu jobs are at work", engine_placed(runner->engine));
		return error_hint(error, "try again when they have ended");
	}
	*ret_tried = *ret_paid = 0;
	if (settings->recover == NULL)
		return 0;
	int result = settings->recover(settings->context, ret_tried, ret_paid, error);
	tick_soon(runner);
	return result;
}

static void
on_clients_changed(void *context)
{
	look_whether_idle(context);
}

/* ---- what clients and the log are told ---- */

#define TELL_BOTH(member, ...)                                                                                       \
	do {                                                                                                         \
		const struct engine_observer *own_ = runner->settings->observer;                                     \
		if (runner->clients.member != NULL)                                                                  \
			runner->clients.member(runner->clients.context, __VA_ARGS__);                                \
		if (own_ != NULL && own_->member != NULL)                                                            \
			own_->member(own_->context, __VA_ARGS__);                                                    \
	} while (0)

static void
on_transition(void *context, const struct job *job, enum job_state from, enum job_event event, const char *message)
{
	const struct runner *runner = context;
	TELL_BOTH(transition, job, from, event, message);
}

static void
on_step(void *context, const struct job *job, const char *word)
{
	const struct runner *runner = context;
	TELL_BOTH(step, job, word);
}

static void
on_progress(void *context, const struct job *job, const struct restic_progress *progress)
{
	const struct runner *runner = context;
	TELL_BOTH(progress, job, progress);
}

static void
on_words(void *context, const struct job *job, const char *source, const char *line)
{
	const struct runner *runner = context;
	TELL_BOTH(words, job, source, line);
}

static void
tell(const struct runner *runner, const char *words)
{
	if (runner->server != NULL)
		control_server_notice(runner->server, words);
	if (runner->settings->notice != NULL)
		runner->settings->notice(runner->settings->context, words);
}

/* ---- signals and the service manager ---- */

static void
on_signal(evutil_socket_t number, short what, void *context)
{
	(void)number;
	(void)what;
	struct runner *runner = context;
	if (runner->end != RUNNER_DONE) {
		tell(runner, "already ending; what was stopped is being started again");
		return;
	}
	tell(runner, "asked to end; what was stopped is being started again, unfinished jobs stay in the journal");
	runner->end = RUNNER_INTERRUPTED;
	engine_interrupt(runner->engine, "the program was asked to end");
	on_idle(runner);
}

static void
on_watchdog(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	(void)context;
	sd_notify(0, "WATCHDOG=1");
}

static void
arm_watchdog(struct runner *runner)
{
	uint64_t interval;
	if (sd_watchdog_enabled(0, &interval) <= 0)
		return;
	runner->watchdog = event_new(runner->settings->base, -1, EV_PERSIST, on_watchdog, runner);
	struct timeval half = {
	    .tv_sec = (time_t)(interval / 2 / (uint64_t)USEC_PER_SEC),
	    .tv_usec = (suseconds_t)(interval / 2 % (uint64_t)USEC_PER_SEC),
	};
	event_add(runner->watchdog, &half);
}

static void
ignore_signals(void)
{
	/* A terminal that hangs up ends nothing, nor does a client that does. */
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	/* Stopped by the terminal, we could not bring anything back. */
	signal(SIGTSTP, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
}

/* ---- from beginning to end ---- */

static int
set_up_server(struct runner *runner, struct error *error)
{
	const struct runner_settings *settings = runner->settings;
	if (runner->listener < 0 || settings->until_paid)
		return 0;
	struct control_server_settings server_settings = {
	    .base = settings->base,
	    .clock = settings->clock,
	    .journal = settings->journal,
	    .status_group = settings->status_group,
	    .handler =
		{
		    .submit = submit,
		    .cancel = cancel,
		    .retry = retry,
		    .recover = recover,
		    .clients_changed = on_clients_changed,
		    .context = runner,
		},
	};
	runner->server = control_server_new(&server_settings, runner->listener, error);
	runner->listener = -1;
	if (runner->server == NULL)
		return -1;
	runner->clients = control_server_observer(runner->server);
	control_server_attach(runner->server, runner->engine);
	return 0;
}

static void
set_up_engine(struct runner *runner)
{
	const struct runner_settings *settings = runner->settings;
	struct engine_settings engine_settings = {
	    .base = settings->base,
	    .journal = settings->journal,
	    .clock = settings->clock,
	    .machine = settings->machine,
	    .parallel = settings->parallel,
	};
	runner->engine = engine_new(&engine_settings);
	struct engine_observer observer = {
	    .transition = on_transition,
	    .step = on_step,
	    .progress = on_progress,
	    .words = on_words,
	    .context = runner,
	};
	engine_observe(runner->engine, &observer);
	engine_on_idle(runner->engine, on_idle, runner);
}

static int
set_up(struct runner *runner, struct error *error)
{
	const struct runner_settings *settings = runner->settings;
	set_up_engine(runner);
	runner->timer = event_new(settings->base, -1, 0, on_timer, runner);
	runner->idle = event_new(settings->base, -1, 0, on_idle_for_long, runner);
	runner->alarm = wall_alarm_new(settings->base, on_alarm, runner, error);
	if (runner->alarm == NULL || set_up_server(runner, error) < 0)
		return -1;
	static const int numbers[] = {SIGINT, SIGTERM};
	for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
		runner->signals[i] = evsignal_new(settings->base, numbers[i], on_signal, runner);
		event_add(runner->signals[i], NULL);
	}
	ignore_signals();
	arm_watchdog(runner);
	return 0;
}

/* What followers hear when jobs are left to the next runner. */
static void
say_why_lost(const struct runner *runner, int result, const struct error *error, struct error *lost)
{
	if (result < 0)
		error_copy(lost, error);
	else if (runner->end == RUNNER_INTERRUPTED && engine_unfinished(runner->engine) > 0)
		error_set(
		    lost, ERROR_INTERRUPTED, "the runner was asked to end; unfinished jobs stay in the journal");
}

static void
tear_down(struct runner *runner, const struct error *lost)
{
	engine_free(runner->engine);
	control_server_free(runner->server, error_is_set(lost) ? lost : NULL);
	if (runner->listener >= 0)
		close(runner->listener);
	for (size_t i = 0; i < ARRAY_LENGTH(runner->signals); i++)
		if (runner->signals[i] != NULL)
			event_free(runner->signals[i]);
	if (runner->watchdog != NULL)
		event_free(runner->watchdog);
	wall_alarm_free(runner->alarm);
	event_free(runner->idle);
	event_free(runner->timer);
}

static int
take_over(struct runner *runner, struct error *error)
{
	struct recovery_report report = {0};
	const struct runner_settings *settings = runner->settings;
	const struct machine *machine = settings->machine;
	if (recovery_end_children(
		settings->journal, machine->dead_restic, machine->context, &report.children, error) < 0)
		return -1;
	cleanup_obligations struct obligation_list owed = {0};
	if (journal_obligations(settings->journal, 0, true, &owed, error) < 0)
		return -1;
	report.obligations = owed.count;
	/* Jobs that owe nothing are not even looked at by one who only pays. */
	if (settings->until_paid)
		engine_close(runner->engine);
	int result =
	    settings->until_paid ? engine_load_owing(runner->engine, error) : engine_load(runner->engine, error);
	if (result < 0)
		return -1;
	report.jobs = engine_unfinished(runner->engine);
	if (settings->recovered != NULL)
		settings->recovered(settings->context, &report);
	return 0;
}

static int
run(struct runner *runner, struct error *error)
{
	const struct runner_settings *settings = runner->settings;
	if (!settings->until_paid)
		sd_notify(0, "READY=1");
	tick(runner);
	if (!runner->finished)
		event_base_dispatch(settings->base);
	if (!settings->until_paid)
		sd_notify(0, "STOPPING=1");
	if (!error_is_set(engine_journal_error(runner->engine)))
		return 0;
	error_copy(error, engine_journal_error(runner->engine));
	return -1;
}

int
runner_run(const struct runner_settings *settings, enum runner_end *ret_end, struct error *error)
{
	fault_arm("runner");
	struct runner runner = {.settings = settings, .listener = settings->listener};
	int result = set_up(&runner, error);
	if (result == 0)
		result = take_over(&runner, error);
	if (result == 0)
		result = run(&runner, error);
	*ret_end = runner.end;
	cleanup_error struct error lost = {.code = ERROR_NONE};
	say_why_lost(&runner, result, error, &lost);
	tear_down(&runner, &lost);
	return result;
}
