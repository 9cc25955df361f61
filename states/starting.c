/* starting: the service comes back, whatever happened before. This state has no deadline and cannot fail: it
 * tries each thing that is owed for several rounds, and what still does not work is given up loudly, for a
 * person to see to. */
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "states/work.h"

#define ROUNDS 4

/* The pause before the round after `failed` failed ones: 1, 5, 25 s. */
static int64_t
pause_after(unsigned failed)
{
	int64_t pause = USEC_PER_SEC;
	while (--failed > 0)
		pause *= 5;
	return pause;
}

static void
end_watch(struct job *job)
{
	struct work *work = work_of(job);
	systemd_watch_free(work->watch);
	work->watch = NULL;
}

static enum step_result
begin(struct job *job, struct error *error)
{
	(void)error;
	/* From here on, units that run are what we want. */
	end_watch(job);
	error_clear(&work_of(job)->start_error);
	work_of(job)->judging_start = false;
	job->start_rounds = 0;
	return STEP_DONE;
}

/* ---- units ---- */

/* I3: a unit that another job still holds is started by the last of them. */
static void
hand_over_held_units(struct job *job)
{
	for (size_t i = 0; i < job->owed.count;) {
		const struct obligation *owed = &job->owed.items[i];
		if (owed->kind == OBLIGATION_START_UNIT && job_shares_unit(job, owed->subject))
			job_settle(job, i, RESULT_HANDED_OVER, NULL);
		else
			i++;
	}
}

static void
list_owed_units(const struct job *job, struct unit_list *ret_units)
{
	for (size_t i = 0; i < job->owed.count; i++) {
		const struct obligation *owed = &job->owed.items[i];
		if (owed->kind != OBLIGATION_START_UNIT)
			continue;
		char empty[] = "";
		struct unit unit = {
		    .name = owed->subject,
		    .role = owed->role,
		    .active = true,
		    .settles = owed->settles,
		    .invocation_id = empty,
		};
		unit_list_add(ret_units, &unit);
	}
}

static void
settle_units(struct job *job, const struct unit_list *running, const char *why_not)
{
	for (size_t i = 0; i < job->owed.count;) {
		const struct obligation *owed = &job->owed.items[i];
		if (owed->kind != OBLIGATION_START_UNIT) {
			i++;
			continue;
		}
		const struct unit *unit = running == NULL ? NULL : unit_list_find(running, owed->subject);
		bool runs = running == NULL ? why_not == NULL : unit != NULL && unit->active;
		job_settle(job, i, runs ? RESULT_PAID : RESULT_GIVEN_UP, runs ? NULL : why_not);
	}
}

static void
unit_started(void *context, const char *name)
{
	struct job *job = context;
	(void)name;
	job->back_at = clock_wall(engine_clock(job->engine));
}

static void
units_started(void *context, const struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->systemd = NULL;
	if (!error_is_set(error)) {
		settle_units(job, NULL, NULL);
		job->start_rounds = 0;
		job_step_finished(job, NULL);
		return;
	}
	error_copy(&work->start_error, error);
	job_note(job, "systemd", error->message);
	job_step_again(job, ++job->start_rounds < ROUNDS ? pause_after(job->start_rounds) : 0);
}

/* A service that is down is a permanent failure, whatever kept us from starting it. */
static void
judge_given_up(struct job *job, const struct error *error)
{
	cleanup_error struct error failure = {0};
	error_copy(&failure, error);
	if (failure.code != ERROR_UNIT_START_FAILED) {
		error_set(
		    &failure, ERROR_UNIT_START_FAILED, "what was stopped could not be started: %s", error->message);
		error_hint(&failure, "see to the reason, then run `atelier-backup recover`");
	}
	job_judge(job, &failure);
}

/* After the last round: those that run are paid, the others are given up, and the job says so. */
static void
last_look(void *context, const struct unit_list *units, const struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->systemd = NULL;
	struct unit_list none = {0};
	settle_units(job, error_is_set(error) ? &none : units, work->start_error.message);
	judge_given_up(job, &work->start_error);
	job->start_rounds = 0;
	job_step_finished(job, NULL);
}

static void
give_up_units(struct job *job, const struct error *error)
{
	struct unit_list none = {0};
	settle_units(job, &none, error->message);
	judge_given_up(job, error);
}

static enum step_result
start_units(struct job *job, struct error *error)
{
	(void)error;
	struct work *work = work_of(job);
	if (work->systemd != NULL) {
		/* The time for this round is over and systemd has not answered. */
		systemd_call_abandon(work->systemd);
		work->systemd = NULL;
		if (!work->judging_start) {
			error_set(&work->start_error, ERROR_UNIT_START_FAILED, "the units were not up in time");
			error_hint(&work->start_error, "see `systemctl status` for what they wait for, then "
						       "run `atelier-backup recover`");
			job_note(job, "systemd", work->start_error.message);
			job->start_rounds++;
		}
	}
	hand_over_held_units(job);
	cleanup_units struct unit_list units = {0};
	list_owed_units(job, &units);
	if (units.count == 0)
		return STEP_DONE;
	cleanup_error struct error problem = {0};
	struct systemd *systemd = world_systemd(world_of(job), &problem);
	if (systemd == NULL && problem.code != ERROR_SYSTEMD_UNAVAILABLE && ++job->start_rounds < ROUNDS) {
		job_note(job, "systemd", problem.message);
		job_step_again(job, pause_after(job->start_rounds));
		return STEP_WAITING;
	}
	if (systemd == NULL || work->judging_start) {
		give_up_units(job, systemd == NULL ? &problem : &work->start_error);
		return STEP_DONE;
	}
	if (job->start_rounds < ROUNDS) {
		job_note_units(job, "starting", &units);
		work->systemd =
		    systemd_start(systemd, &units, job->record.spec.settle, unit_started, units_started, job);
	} else {
		cleanup_strings char **names = NULL;
		for (size_t i = 0; i < units.count; i++)
			strings_add(&names, units.items[i].name);
		work->judging_start = true;
		work->systemd = systemd_inspect(systemd, names, last_look, job);
	}
	/* Comes back here when the time is over, unless the callback ends the step first. */
	job_step_again(job, job->record.spec.deadlines.start);
	return STEP_WAITING;
}

/* ---- postBackup ---- */

static int
hook_spawned(void *context, const struct child_identity *child, struct error *error)
{
	struct job *job = context;
	return work_record_child(job, "postBackup", child, &work_of(job)->child_id, error);
}

static void
hook_says(void *context, const char *line)
{
	job_note(context, "postBackup", line);
}

static size_t
find_owed_hook(const struct job *job)
{
	size_t i = 0;
	while (i < job->owed.count && job->owed.items[i].kind != OBLIGATION_POST_BACKUP)
		i++;
	return i;
}

static void
hook_done(void *context, const struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->hook = NULL;
	work_forget_child(job, &work->child_id);
	if (!error_is_set(error)) {
		job_settle(job, find_owed_hook(job), RESULT_PAID, NULL);
		job_step_finished(job, NULL);
		return;
	}
	job_note(job, "postBackup", error->message);
	if (++job->start_rounds < ROUNDS) {
		job_step_again(job, pause_after(job->start_rounds));
		return;
	}
	job_settle(job, find_owed_hook(job), RESULT_GIVEN_UP, error->message);
	cleanup_error struct error failure = {0};
	error_copy(&failure, error);
	if (failure.code != ERROR_HOOK_FAILED)
		error_set(&failure, ERROR_HOOK_FAILED, "postBackup: %s", error->message);
	job_judge(job, &failure);
	job_step_finished(job, NULL);
}

static enum step_result
run_post_backup(struct job *job, struct error *error)
{
	(void)error;
	struct work *work = work_of(job);
	if (work->hook != NULL) {
		/* Too slow: asked to end, and hook_done counts the round. */
		hook_call_stop(work->hook);
		return STEP_WAITING;
	}
	if (find_owed_hook(job) == job->owed.count)
		return STEP_DONE;
	struct hook_request request = {
	    .kind = "postBackup",
	    .command = job->record.spec.post_backup,
	    .service = job->record.spec.name,
	    .job = job->record.id,
	    .on_spawned = hook_spawned,
	    .on_words = hook_says,
	    .context = job,
	};
	cleanup_error struct error problem = {0};
	work->hook = hook_start(world_of(job)->base, &request, hook_done, &problem);
	if (work->hook != NULL) {
		job_step_again(job, job->record.spec.deadlines.hook);
	} else {
		job_note(job, "postBackup", problem.message);
		if (++job->start_rounds < ROUNDS) {
			job_step_again(job, pause_after(job->start_rounds));
		} else {
			job_settle(job, find_owed_hook(job), RESULT_GIVEN_UP, problem.message);
			job_judge(job, &problem);
			return STEP_DONE;
		}
	}
	return STEP_WAITING;
}

/* ---- what is left to do once the service is back ---- */

/* The upload of an attempt that was given up: asked to end by SIGINT, so that it takes its lock along. */
static enum step_result
end_restic(struct job *job, struct error *error)
{
	(void)error;
	struct work *work = work_of(job);
	if (work->holder == NULL)
		return STEP_DONE;
	restic_call_stop(work->holder);
	work->ending_holder = true;
	return STEP_WAITING;
}

static void
leave(struct job *job)
{
	work_abandon_calls(job);
	proof_abandon(job);
}

static const struct step steps[] = {
    {"beginning", begin},
    {"starting the units", start_units},
    {"running postBackup", run_post_backup},
    {"ending restic", end_restic},
    {"proving the databases readable", step_prove_databases},
    {NULL, NULL},
};

/* Nothing is ever stopped for these. */
static const struct step maintenance_steps[] = {
    {"ending restic", end_restic},
    {NULL, NULL},
};

const struct state state_starting = {
    .state = JOB_STARTING,
    .steps =
	{
	    [JOB_KIND_BACKUP] = steps,
	    [JOB_KIND_RETENTION] = maintenance_steps,
	    [JOB_KIND_PRUNE] = maintenance_steps,
	},
    .leave = leave,
};
