/* What every job does that needs the repository, while everything is still up: it answers, it is the one we know, it
 * can be written, nobody has it alone. A lock of somebody else is met here and not after a stop. */
#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/digest.h"
#include "core/log.h"
#include "core/problem.h"
#include "core/text.h"
#include "states/work.h"

/* One answer of the repository serves all jobs that begin within this time. */
#define ANSWER_LASTS (2 * USEC_PER_MIN)

/* Two jobs that both found no repository would both make one, each spoiling the other's. So one asks, and the
 * others wait for its answer. */
#define ASKING_PAUSE (100 * USEC_PER_MSEC)

/* A dead restic whose pid is still taken. */
#define REAPING_PATIENCE (15 * USEC_PER_SEC)
#define REAPING_PAUSE    (200 * USEC_PER_MSEC)

/* After this, a lock that was in the way may have become stale in restic's eyes. */
#define UNLOCK_PAUSE (30 * USEC_PER_MIN)

int
repository_place(const struct restic_settings *settings, char **ret_place, struct error *error)
{
	/* Without the password that may stand in it: a new password is no new place. */
	cleanup_free char *location = restic_repository_words(settings);
	if (location == NULL || *location == '\0')
		return error_set(error, ERROR_SECRET, "%s does not name a repository", settings->repository_file);
	*ret_place = digest_sha256(location, strlen(location));
	return 0;
}

enum step_result
step_check_restic(struct job *job, struct error *error)
{
	return restic_version(job->record.spec.restic.program, error) == NULL ? STEP_FAILED : STEP_DONE;
}

enum step_result
step_check_secrets(struct job *job, struct error *error)
{
	cleanup_problems struct problem_list problems = {0};
	restic_check_secrets(&job->record.spec.restic, &problems);
	for (size_t i = 0; i < problems.count; i++) {
		const struct problem *problem = &problems.items[i];
		if (problem->severity != PROBLEM_ERROR)
			continue;
		error_set(error, problem->code, "%s", problem->message);
		if (problem->remedy != NULL)
			error_hint(error, "%s", problem->remedy);
		return STEP_FAILED;
	}
	return STEP_DONE;
}

enum step_result
step_check_journal(struct job *job, struct error *error)
{
	return journal_check_writable(engine_journal(job->engine), error) < 0 ? STEP_FAILED : STEP_DONE;
}

/* ---- restic processes that hold a lock ---- */

int
repository_child_spawned(void *context, const struct child_identity *child, struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work_forget_child(job, &work->holder_child); /* the process before it, of the same call */
	work->holder_pid = child->pid;
	return work_record_child(job, "restic", child, &work->holder_child, error);
}

enum step_result
repository_call_begun(struct job *job, struct restic_call *call)
{
	work_of(job)->holder = call;
	if (call == NULL)
		return STEP_FAILED;
	job->reading = true;
	return STEP_WAITING;
}

/* One that went wrong may have left its lock. Whether it did is looked up by the next job. */
static void
remember_dead(struct job *job)
{
	struct work *work = work_of(job);
	struct world *world = world_of(job);
	world->dead = xreallocarray(world->dead, world->dead_count + 1, sizeof(*world->dead));
	world->dead[world->dead_count++] =
	    (struct dead_child){.child_id = work->holder_child, .pid = work->holder_pid};
	work->holder_child = 0;
}

bool
repository_call_ended(struct job *job, const struct error *error)
{
	struct work *work = work_of(job);
	work->holder = NULL;
	job->reading = false;
	if (work->holder_child != 0 && error_is_set(error) && restic_may_leave_lock(error->code))
		remember_dead(job);
	work_forget_child(job, &work->holder_child);
	if (job->record.state != JOB_STARTING)
		return true;
	/* The service came back first, and restic was ended after it: the attempt has failed already. */
	if (work->ending_holder)
		job_step_again(job, 0);
	work->ending_holder = false;
	return false;
}

void
repository_abandon_call(struct job *job)
{
	struct work *work = work_of(job);
	struct world *world = world_of(job);
	if (work->restic != NULL)
		restic_call_abandon(work->restic);
	work->restic = NULL;
	if (world->unlocking_job == job->record.id)
		world->unlocking_job = 0;
	if (world->asking_job == job->record.id && work->holder == NULL)
		world->asking_job = 0;
}

void
repository_release(struct job *job)
{
	struct work *work = work_of(job);
	struct world *world = world_of(job);
	/* Only at the end of the program, and of the journal: killed as it is, and its row in the journal stays. */
	if (work->holder != NULL)
		restic_call_abandon(work->holder);
	work->holder = NULL;
	if (world->asking_job == job->record.id)
		world->asking_job = 0;
	if (world->alone_job == job->record.id)
		world->alone_job = 0;
	if (work->inside)
		world->readers--;
	work->inside = false;
	error_clear(&work->locked);
}

/* ---- locks ---- */

/* Not of those that died since the locks were looked at. */
static void
forget_asked_dead(struct job *job)
{
	struct world *world = world_of(job);
	for (size_t i = 0; i < world->dead_asked; i++)
		work_forget_child(job, &world->dead[i].child_id);
	world->dead_count -= world->dead_asked;
	memmove(world->dead, world->dead + world->dead_asked, world->dead_count * sizeof(*world->dead));
}

static void
dead_unlocked(void *context, size_t found, const struct error *error)
{
	struct job *job = context;
	struct world *world = world_of(job);
	work_of(job)->restic = NULL;
	world->unlocking_job = 0;
	if (error_is_set(error)) {
		job_note(job, "restic", error->message);
	} else {
		if (found > 0)
			job_note(job, "restic", "removed the lock of a restic that died");
		forget_asked_dead(job);
	}
	job_step_finished(job, NULL);
}

/* To restic's `unlock` a process lives as long as its pid is taken, and an orphan's is until whoever takes its
 * father's place has taken note, which may need some seconds. Its lock would be in the way of the job itself. */
static bool
may_wait_for_reaping(struct job *job)
{
	struct work *work = work_of(job);
	struct world *world = world_of(job);
	int64_t now = clock_monotonic(engine_clock(job->engine));
	size_t i = 0;
	while (i < world->dead_count && !child_pid_is_unreaped(world->dead[i].pid))
		i++;
	if (i == world->dead_count)
		return false;
	if (work->reaping_since == 0)
		work->reaping_since = now;
	return now - work->reaping_since < REAPING_PATIENCE;
}

enum step_result
step_unlock_dead(struct job *job, struct error *error)
{
	struct world *world = world_of(job);
	/* One is enough, and a stale lock that is not exclusive keeps nobody from going on meanwhile. */
	if (world->dead_count == 0 || world->unlocking_job != 0)
		return STEP_DONE;
	if (may_wait_for_reaping(job)) {
		job_step_again(job, REAPING_PAUSE);
		return STEP_WAITING;
	}
	cleanup_free pid_t *pids = xcalloc(world->dead_count, sizeof(*pids));
	for (size_t i = 0; i < world->dead_count; i++)
		pids[i] = world->dead[i].pid;
	work_of(job)->restic = restic_unlock_own_start(
	    world->base, &job->record.spec.restic, pids, world->dead_count, dead_unlocked, job, error);
	if (work_of(job)->restic != NULL) {
		world->unlocking_job = job->record.id;
		world->dead_asked = world->dead_count;
		return STEP_WAITING;
	}
	job_note(job, "restic", error->message);
	error_clear(error);
	return STEP_DONE;
}

static void
stale_unlocked(void *context, const struct restic_unlock_result *result, const struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->restic = NULL;
	if (error_is_set(error))
		job_note(job, "restic", error->message);
	if (!error_is_set(error) && result->removed == 0 && result->remaining == 0) {
		job_step_again(job, 0); /* its holder has let go meanwhile */
		return;
	}
	if (result->removed > 0) {
		cleanup_free char *line = xasprintf("removed %zu stale lock%s of others (plain `restic unlock`)",
		    result->removed, result->removed == 1 ? "" : "s");
		job_note(job, "restic", line);
		job_step_again(job, 0);
		return;
	}
	if (result->first != NULL)
		error_set(&work->locked, ERROR_REPOSITORY_LOCKED, "the repository is locked: %s", result->first);
	error_hint(&work->locked, "nothing was stopped for it; a holder that is dead for certain is removed by "
				  "`restic unlock` on its own host");
	job_step_finished(job, &work->locked);
}

bool
repository_try_unlock(struct job *job, const struct error *locked)
{
	struct world *world = world_of(job);
	int64_t now = clock_monotonic(engine_clock(job->engine));
	repository_forget_answer(job);
	int64_t *tried_at = &world->unlock_tried_at[job->record.kind];
	if (*tried_at != 0 && now - *tried_at < UNLOCK_PAUSE)
		return false;
	*tried_at = now;
	cleanup_error struct error problem = {0};
	error_copy(&work_of(job)->locked, locked);
	work_of(job)->restic =
	    restic_unlock_stale_start(world->base, &job->record.spec.restic, NULL, 0, stale_unlocked, job, &problem);
	if (work_of(job)->restic == NULL)
		job_note(job, "restic", problem.message);
	return work_of(job)->restic != NULL;
}

/* ---- does it answer, and is it the one we know? ---- */

static void
end_asking(struct job *job)
{
	struct world *world = world_of(job);
	if (world->asking_job == job->record.id)
		world->asking_job = 0;
}

static void
remember_answer(struct job *job, const char *place)
{
	struct world *world = world_of(job);
	replace_string(&world->answered_place, place);
	world->answered_at = clock_monotonic(engine_clock(job->engine));
}

void
repository_forget_answer(const struct job *job)
{
	replace_string(&world_of(job)->answered_place, NULL);
}

/* A repository was found: is it the one we know at this place? */
static int
judge_repository(struct job *job, const char *repository_id, struct error *error)
{
	cleanup_free char *place = NULL;
	cleanup_free char *known = NULL;
	struct journal *journal = engine_journal(job->engine);
	if (repository_place(&job->record.spec.restic, &place, error) < 0)
		return -1;
	int seen = journal_repository_seen(journal, place, &known, error);
	if (seen < 0)
		return -1;
	if (seen > 0 && strcmp(known, repository_id) != 0) {
		error_set(error, ERROR_REPOSITORY_MISSING,
		    "another repository is at this place (%.8s instead of %.8s)", repository_id, known);
		error_hint(
		    error, "is the right target mounted? if the new repository is meant, run `atelier-backup init`");
		return -1;
	}
	if (seen == 0 && journal_repository_remember(journal, place, repository_id, error) < 0)
		return -1;
	remember_answer(job, place);
	return 0;
}

static void
repository_made(void *context, const char *repository_id, const struct error *error)
{
	struct job *job = context;
	work_of(job)->restic = NULL;
	end_asking(job);
	if (error_is_set(error) && error->code == ERROR_USAGE) {
		/* Another host was faster: look again. */
		job_step_again(job, 0);
		return;
	}
	cleanup_error struct error failure = {0};
	error_copy(&failure, error);
	if (!error_is_set(&failure)) {
		job_note(job, "restic", "made the repository");
		judge_repository(job, repository_id, &failure);
	}
	job_step_finished(job, &failure);
}

/* Missing: made only if that was asked for and no repository was ever seen at this place, because an
 * unmounted target looks the same. Returns true when the repository is being made. */
static bool
may_make_repository(struct job *job, struct error *error)
{
	cleanup_free char *place = NULL;
	cleanup_free char *known = NULL;
	cleanup_error struct error problem = {0};
	if (!job->record.spec.initialize)
		return false;
	int seen = -1;
	if (repository_place(&job->record.spec.restic, &place, &problem) == 0)
		seen = journal_repository_seen(engine_journal(job->engine), place, &known, &problem);
	if (seen > 0) {
		error_set(error, ERROR_REPOSITORY_MISSING, "the repository was used before and is missing now");
		error_hint(
		    error, "is its target mounted? `atelier-backup init` makes a new one where it is really gone");
	}
	if (seen != 0)
		return false;
	work_of(job)->restic =
	    restic_init_start(world_of(job)->base, &job->record.spec.restic, repository_made, job, error);
	return work_of(job)->restic != NULL;
}

static void
repository_answered(void *context, const char *repository_id, const struct error *error)
{
	struct job *job = context;
	if (!repository_call_ended(job, error)) {
		end_asking(job);
		return;
	}
	cleanup_error struct error failure = {0};
	error_copy(&failure, error);
	if (failure.code == ERROR_REPOSITORY_MISSING && may_make_repository(job, &failure))
		return;
	if (failure.code == ERROR_REPOSITORY_LOCKED && repository_try_unlock(job, &failure))
		return;
	end_asking(job);
	if (!error_is_set(&failure))
		judge_repository(job, repository_id, &failure);
	job_step_finished(job, &failure);
}

/* Whoever waits for one that has the repository alone has his own time before him when that one is through. */
static enum step_result
wait_for_repair(struct job *job)
{
	job_set_deadline(job, job->record.spec.deadlines.preflight);
	job_step_again(job, ASKING_PAUSE);
	return STEP_WAITING;
}

/* A backup that takes nothing down has nothing to lose where the repository does not answer: its own restic will say
 * so, as the next attempt does. Only a repository that is known: it may have to be made. */
static bool
may_go_on_without_answer(const struct job *job, const char *place, struct error *error)
{
	const struct service *spec = &job->record.spec;
	if (job->record.kind != JOB_KIND_BACKUP || job->record.attempt > 1 || job->record.busy > 0 ||
	    strings_count(spec->stop_units) > 0 || strings_count(spec->databases) > 0 || spec->pre_backup != NULL)
		return false;
	cleanup_free char *known = NULL;
	return journal_repository_seen(engine_journal(job->engine), place, &known, error) > 0;
}

enum step_result
step_reach_repository(struct job *job, struct error *error)
{
	struct world *world = world_of(job);
	cleanup_free char *place = NULL;
	if (repository_place(&job->record.spec.restic, &place, error) < 0)
		return STEP_FAILED;
	assert(place != NULL);
	if (world->answered_place != NULL && strcmp(world->answered_place, place) == 0 &&
	    clock_monotonic(engine_clock(job->engine)) - world->answered_at < ANSWER_LASTS)
		return STEP_DONE;
	/* One that has the repository alone is no stranger: its lock is not asked about. */
	if (world->alone_job != 0 && world->alone_job != job->record.id)
		return wait_for_repair(job);
	if (world->asking_job != 0 && world->asking_job != job->record.id) {
		if (may_go_on_without_answer(job, place, error))
			return STEP_DONE;
		if (error_is_set(error))
			return STEP_FAILED;
		job_step_again(job, ASKING_PAUSE);
		return STEP_WAITING;
	}
	world->asking_job = job->record.id;
	return repository_call_begun(job, restic_probe_locked_start(world->base, &job->record.spec.restic,
					      repository_child_spawned, repository_answered, job, error));
}

/* ---- what a cut upload had stored ---- */

static void
index_repaired(void *context, const struct error *error)
{
	struct job *job = context;
	struct world *world = world_of(job);
	bool awaited = repository_call_ended(job, error);
	world->alone_job = 0;
	if (!awaited)
		return;
	job_set_deadline(job, job->record.spec.deadlines.preflight);
	if (error_is_set(error)) {
		/* It only saves traffic. The mark stays for the next attempt. */
		job_note(job, "restic", error->message);
	} else {
		world->repaired_at = clock_monotonic(engine_clock(job->engine));
		job->record.unindexed = false;
		job_note(job, "restic", "repaired the index: what the cut upload had stored is not sent again");
	}
	cleanup_error struct error failure = {0};
	job_save(job, &failure);
	job_step_finished(job, &failure);
}

enum step_result
step_repair_index(struct job *job, struct error *error)
{
	struct work *work = work_of(job);
	struct world *world = world_of(job);
	if (!job->record.unindexed)
		return STEP_DONE;
	if (work->holder != NULL) {
		job_note(job, "restic", "repairing the index takes too long: it is ended");
		restic_call_stop(work->holder);
		return STEP_WAITING;
	}
	if (world->alone_job != 0) {
		if (work->repair_awaited_since == 0)
			work->repair_awaited_since = clock_monotonic(engine_clock(job->engine));
		return wait_for_repair(job);
	}
	if (work->repair_awaited_since != 0 && world->repaired_at >= work->repair_awaited_since) {
		job->record.unindexed = false;
		return job_save(job, error) < 0 ? STEP_FAILED : STEP_DONE;
	}
	if (world->readers > 0) {
		job_note(job, "restic",
		    "the index is not repaired while other backups run: what the cut upload had stored is sent "
		    "again");
		return STEP_DONE;
	}
	struct restic_listener listener = {.on_spawned = repository_child_spawned, .context = job};
	world->alone_job = job->record.id;
	enum step_result result = repository_call_begun(
	    job, restic_repair_index_start(world->base, &job->record.spec.restic, &listener, index_repaired, error));
	if (result == STEP_WAITING) {
		/* Its end has to be awaited, however late: comes back here when the time is over. */
		job_set_deadline(job, 0);
		job_step_again(job, job->record.spec.deadlines.preflight);
	}
	return result;
}

enum step_result
step_enter_repository(struct job *job, struct error *error)
{
	(void)error;
	struct work *work = work_of(job);
	struct world *world = world_of(job);
	if (work->inside)
		return STEP_DONE;
	if (world->alone_job != 0)
		return wait_for_repair(job);
	work->inside = true;
	world->readers++;
	return STEP_DONE;
}
