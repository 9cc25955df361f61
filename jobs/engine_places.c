/* Who may go next: places between checkpoint and starting, due times, deadlines and parked steps. */
#include <string.h>

#include "jobs/backoff.h"
#include "jobs/engine_internal.h"

bool
job_takes_a_place(const struct job *job)
{
	return job->record.state > JOB_DELAYING && !job_state_is_terminal(job->record.state);
}

static bool
service_is_busy(const struct engine *engine, const char *service)
{
	const struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	if (job_takes_a_place(job) && strcmp(job->record.service, service) == 0)
		return true;
	return false;
}

size_t
engine_placed(const struct engine *engine)
{
	size_t taken = 0;
	const struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	taken += job_takes_a_place(job);
	return taken;
}

static void
give_places(struct engine *engine)
{
	static const struct error none = {0};
	int64_t now = clock_wall(engine->settings.clock);
	size_t taken = engine_placed(engine);
	for (;;) {
		if (engine->closed || error_is_set(&engine->journal_error) ||
		    (int64_t)taken >= engine->settings.parallel)
			return;
		/* The one that waits longest goes first. */
		struct job *job, *next = NULL;
		TAILQ_FOREACH(job, &engine->jobs, entry)
		if (job->record.state == JOB_DELAYING && backoff_due(&job->record, now) <= now &&
		    !service_is_busy(engine, job->record.service) &&
		    (next == NULL || job->record.due_at < next->record.due_at))
			next = job;
		if (next == NULL)
			return;
		engine_handle_event(next, EVENT_DUE, &none);
		taken = engine_placed(engine);
	}
}

static void
fire_timers(struct engine *engine)
{
	int64_t now = clock_monotonic(engine->settings.clock);
	struct job *job, *following;
	for (job = TAILQ_FIRST(&engine->jobs); job != NULL; job = following) {
		following = TAILQ_NEXT(job, entry);
		if (job->deadline_at != 0 && job->deadline_at <= now) {
			job->deadline_at = 0;
			cleanup_error struct error error = {0};
			error_set(&error, ERROR_DEADLINE, "%s took longer than allowed%s%s",
			    job_state_word(job->record.state), job->step != NULL ? " while " : "",
			    job->step != NULL ? job->step->word : "");
			error_hint(&error,
			    "see what it waited for with `atelier-backup show %lld`; the manifest's "
			    "deadlines.* set the limits",
			    (long long)job->record.id);
			engine_handle_event(job, EVENT_DEADLINE, &error);
		} else if (job->wake_at != 0 && job->wake_at <= now) {
			job->wake_at = 0;
			job_step_again(job, 0);
		}
	}
}

void
engine_tick(struct engine *engine)
{
	fire_timers(engine);
	give_places(engine);
}

static int64_t
earlier(int64_t a, int64_t b)
{
	if (a == 0 || b == 0)
		return a == 0 ? b : a;
	return a < b ? a : b;
}

void
engine_next(const struct engine *engine, int64_t *ret_wall, int64_t *ret_monotonic)
{
	int64_t wall = 0, monotonic = 0;
	int64_t now = clock_wall(engine->settings.clock);
	bool full = engine->closed || (int64_t)engine_placed(engine) >= engine->settings.parallel;
	const struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	{
		/* cppcheck-suppress uninitvar ; TAILQ_FOREACH sets it, which cppcheck does not see */
		monotonic = earlier(monotonic, earlier(job->deadline_at, job->wake_at));
		/* A job whose time has come waits for a place, and the end of another job gives it one. */
		if (job->record.state == JOB_DELAYING && !full && !service_is_busy(engine, job->record.service))
			wall = earlier(wall, backoff_due(&job->record, now));
	}
	*ret_wall = wall;
	*ret_monotonic = monotonic;
}
