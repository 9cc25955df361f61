/* Who may go next: places between checkpoint and starting, due times, deadlines and parked steps. */
#include <string.h>

#include "core/alloc.h"
#include "jobs/backoff.h"
#include "jobs/engine_internal.h"

bool
job_takes_a_place(const struct job *job)
{
	return job->record.state > JOB_DELAYING && !job_state_is_terminal(job->record.state);
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

/* ---- who may work beside whom ---- */

/* Past this, a job that needs the repository alone holds back backups that come after it: they would keep it waiting
 * for ever where one follows the other. Until then it steps back, because some uploads take hours. */
#define MAINTENANCE_PATIENCE (12 * USEC_PER_HOUR)

static bool
needs_repository_alone(const struct job *job)
{
	return job->record.kind != JOB_KIND_BACKUP;
}

static bool
same_repository(const struct job *job, const struct job *other)
{
	return strcmp(job->record.spec.restic.repository_file, other->record.spec.restic.repository_file) == 0;
}

/* restic's own rule: backups share the repository, forget and prune have it alone. */
static bool
keep_each_other_out(const struct job *job, const struct job *other)
{
	return same_repository(job, other) && (needs_repository_alone(job) || needs_repository_alone(other));
}

bool
job_has_company(const struct job *job)
{
	const struct job *other;
	TAILQ_FOREACH(other, &job->engine->jobs, entry)
	if (other != job && job_takes_a_place(other) && same_repository(job, other))
		return true;
	return false;
}

/* Retention follows the backups of its run, prune follows both. */
static bool
follows_another(const struct job *job)
{
	const struct job *other;
	TAILQ_FOREACH(other, &job->engine->jobs, entry)
	if (other->record.run_id == job->record.run_id && other->record.kind < job->record.kind)
		return true;
	return false;
}

/* The jobs that say something about when others may begin; most of a thousand waiting ones do not. */
struct rivals {
	const struct job **items;
	size_t count;
};

static bool
is_rival(const struct job *job, int64_t now)
{
	if (job_takes_a_place(job))
		return true;
	return needs_repository_alone(job) && job->record.state == JOB_DELAYING &&
	       now - job->record.due_at > MAINTENANCE_PATIENCE && !follows_another(job);
}

static void
find_rivals(const struct engine *engine, struct rivals *ret_rivals)
{
	int64_t now = clock_wall(engine->settings.clock);
	const struct job *job;
	size_t count = 0;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	count += is_rival(job, now);
	ret_rivals->items = xcalloc(count + 1, sizeof(struct job *));
	ret_rivals->count = 0;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	if (is_rival(job, now))
		ret_rivals->items[ret_rivals->count++] = job;
}

static bool
is_hindered_by(const struct job *job, const struct job *rival)
{
	if (rival == job)
		return false;
	if (!job_takes_a_place(rival))
		return !needs_repository_alone(job) && same_repository(job, rival);
	return strcmp(job->record.service, rival->record.service) == 0 || keep_each_other_out(job, rival);
}

/* Nothing but its time keeps the job from beginning. */
static bool
may_begin(const struct job *job, const struct rivals *rivals)
{
	if (job->record.state != JOB_DELAYING)
		return false;
	for (size_t i = 0; i < rivals->count; i++)
		if (is_hindered_by(job, rivals->items[i]))
			return false;
	return !needs_repository_alone(job) || !follows_another(job);
}

/* The one that waits longest goes first. */
static struct job *
next_job(struct engine *engine)
{
	int64_t now = clock_wall(engine->settings.clock);
	struct rivals rivals;
	find_rivals(engine, &rivals);
	struct job *job, *next = NULL;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	if (job->record.state == JOB_DELAYING && backoff_due(&job->record, now) <= now &&
	    (next == NULL || job->record.due_at < next->record.due_at) && may_begin(job, &rivals))
		next = job;
	free(rivals.items);
	return next;
}

static void
give_places(struct engine *engine)
{
	static const struct error none = {0};
	while (!engine->closed && !error_is_set(&engine->journal_error) &&
	       (int64_t)engine_placed(engine) < engine->settings.parallel) {
		struct job *job = next_job(engine);
		if (job == NULL)
			return;
		engine_handle_event(job, EVENT_DUE, &none);
	}
}

static const char *
limit_hint(const struct job *job)
{
	switch (job->record.kind) {
	case JOB_KIND_BACKUP:
		return "the manifest's deadlines.* set the limits";
	case JOB_KIND_RETENTION:
		return "the next run of backups does it again";
	case JOB_KIND_PRUNE:
		return "the next night goes on with it; the manifest's prune.maxDuration sets the limit";
	}
	return "";
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
			error_hint(&error, "see what it waited for with `atelier-backup show %lld`; %s",
			    (long long)job->record.id, limit_hint(job));
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
	struct rivals rivals;
	find_rivals(engine, &rivals);
	const struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	{
		/* cppcheck-suppress uninitvar ; TAILQ_FOREACH sets it, which cppcheck does not see */
		monotonic = earlier(monotonic, earlier(job->deadline_at, job->wake_at));
		/* Who waits for others is given a place when they end. */
		if (!full && may_begin(job, &rivals))
			wall = earlier(wall, backoff_due(&job->record, now));
	}
	free(rivals.items);
	*ret_wall = wall;
	*ret_monotonic = monotonic;
}
