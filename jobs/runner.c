#include "jobs/runner.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/fault.h"

struct runner {
	const struct runner_settings *settings;
	struct engine *engine;
	struct event *timer;       /* deadlines and parked steps */
	struct wall_alarm *alarm;  /* due times */
	struct event *submissions; /* another process submitted jobs */
	struct event *signals[3];
	struct event *watchdog;
	enum runner_end end;
	bool finished; /* event_base_loopbreak is forgotten by a loop that begins after it */
};

static bool
is_finished(struct runner *runner)
{
	const struct runner_settings *settings = runner->settings;
	if (settings->all)
		return engine_unfinished(runner->engine) == 0;
	for (size_t i = 0; i < settings->job_count; i++)
		if (engine_find(runner->engine, settings->job_ids[i]) != NULL)
			return false;
	return true;
}

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
		left = left > 0 ? left : 0;
		struct timeval span = {.tv_sec = left / USEC_PER_SEC, .tv_usec = left % USEC_PER_SEC};
		event_add(runner->timer, &span);
	}
}

static void
on_idle(void *context)
{
	struct runner *runner = context;
	tell_manager(runner);
	if (is_finished(runner) || runner->end == RUNNER_INTERRUPTED ||
	    error_is_set(engine_journal_error(runner->engine)))
		engine_close(runner->engine);
	else {
		arm_timers(runner);
		return;
	}
	/* Other jobs that are under way are seen to their end; those that wait stay for the next runner. */
	runner->finished = engine_placed(runner->engine) == 0;
	if (runner->finished)
		event_base_loopbreak(runner->settings->base);
	else
		arm_timers(runner);
}

static void
tick(struct runner *runner)
{
	engine_tick(runner->engine);
	on_idle(runner);
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

static void
on_submission(evutil_socket_t descriptor, short what, void *context)
{
	(void)what;
	struct runner *runner = context;
	char ignored[4096];
	while (read(descriptor, ignored, sizeof(ignored)) > 0)
		continue;
	cleanup_error struct error error = {0};
	if (engine_load(runner->engine, &error) < 0)
		engine_lose_journal(runner->engine, &error);
	tick(runner);
}

static void
tell(const struct runner *runner, const char *words)
{
	if (runner->settings->notice != NULL)
		runner->settings->notice(runner->settings->context, words);
}

static void
cancel(struct runner *runner)
{
	const struct runner_settings *settings = runner->settings;
	static const char why[] = "cancelled by the user";
	tell(runner, "cancelled; what was stopped is being started again");
	runner->end = RUNNER_CANCELLED;
	if (settings->all)
		engine_cancel(runner->engine, 0, why);
	for (size_t i = 0; !settings->all && i < settings->job_count; i++)
		if (engine_find(runner->engine, settings->job_ids[i]) != NULL)
			engine_cancel(runner->engine, settings->job_ids[i], why);
}

static void
on_signal(evutil_socket_t number, short what, void *context)
{
	(void)what;
	struct runner *runner = context;
	if (runner->end != RUNNER_DONE) {
		tell(runner, "already ending; what was stopped is being started again");
	} else if (number == SIGINT) {
		cancel(runner);
	} else {
		tell(runner,
		    "asked to end; what was stopped is being started again, unfinished jobs stay in the journal");
		runner->end = RUNNER_INTERRUPTED;
		engine_interrupt(runner->engine, "the program was asked to end");
		on_idle(runner);
	}
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

static int
set_up(struct runner *runner, struct error *error)
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
	if (settings->observer != NULL)
		engine_observe(runner->engine, settings->observer);
	engine_on_idle(runner->engine, on_idle, runner);
	runner->timer = event_new(settings->base, -1, 0, on_timer, runner);
	runner->alarm = wall_alarm_new(settings->base, on_alarm, runner, error);
	if (runner->alarm == NULL)
		return -1;
	int descriptor = journal_submission_descriptor(settings->journal, error);
	if (descriptor < 0)
		return -1;
	runner->submissions = event_new(settings->base, descriptor, EV_READ | EV_PERSIST, on_submission, runner);
	event_add(runner->submissions, NULL);
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
		runner->signals[i] = evsignal_new(settings->base, numbers[i], on_signal, runner);
		event_add(runner->signals[i], NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	/* Stopped by the terminal, we could not bring anything back. */
	signal(SIGTSTP, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	arm_watchdog(runner);
	return 0;
}

static void
tear_down(struct runner *runner)
{
	if (runner->engine != NULL)
		engine_free(runner->engine);
	for (size_t i = 0; i < ARRAY_LENGTH(runner->signals); i++)
		if (runner->signals[i] != NULL)
			event_free(runner->signals[i]);
	if (runner->watchdog != NULL)
		event_free(runner->watchdog);
	if (runner->submissions != NULL)
		event_free(runner->submissions);
	wall_alarm_free(runner->alarm);
	if (runner->timer != NULL)
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
	if (engine_load(runner->engine, error) < 0)
		return -1;
	report.jobs = engine_unfinished(runner->engine);
	if (settings->recovered != NULL)
		settings->recovered(settings->context, &report);
	return 0;
}

int
runner_run(const struct runner_settings *settings, enum runner_end *ret_end, struct error *error)
{
	fault_arm("runner");
	struct runner runner = {.settings = settings};
	int result = set_up(&runner, error);
	if (result == 0)
		result = take_over(&runner, error);
	if (result == 0) {
		sd_notify(0, "READY=1");
		tick(&runner);
		if (!runner.finished)
			event_base_dispatch(settings->base);
		if (error_is_set(engine_journal_error(runner.engine))) {
			error_copy(error, engine_journal_error(runner.engine));
			result = -1;
		}
		sd_notify(0, "STOPPING=1");
	}
	*ret_end = runner.end;
	tear_down(&runner);
	return result;
}
