/* checkpoint: everything that can be found wrong, is found wrong here, while the service is up. Nothing has
 * been touched when it fails, unless preBackup was begun, and then postBackup is owed. */
#include <string.h>

#include "adapters/filesystem.h"
#include "core/alloc.h"
#include "core/problem.h"
#include "states/work.h"

/* One answer of the repository serves all jobs that begin within this time. */
#define ANSWER_LASTS (2 * USEC_PER_MIN)

static enum step_result
check_what_is_declared(struct job *job, struct error *error)
{
	const struct service *spec = &job->record.spec;
	if (spec->refused == NULL)
		return STEP_DONE;
	error_set(error, ERROR_UNSUPPORTED, "%s: %s", spec->name, spec->refused);
	if (spec->refused_hint != NULL)
		error_hint(error, "%s", spec->refused_hint);
	return STEP_FAILED;
}

static enum step_result
check_restic(struct job *job, struct error *error)
{
	return restic_version(job->record.spec.restic.program, error) == NULL ? STEP_FAILED : STEP_DONE;
}

static enum step_result
check_secrets(struct job *job, struct error *error)
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

/* ---- the repository ---- */

/* Two jobs that both found no repository would both make one, each spoiling the other's. So one asks, and the
 * others wait for its answer. */
#define ASKING_PAUSE (100 * USEC_PER_MSEC)

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
	work_of(job)->restic = NULL;
	cleanup_error struct error failure = {0};
	error_copy(&failure, error);
	if (failure.code == ERROR_REPOSITORY_MISSING && may_make_repository(job, &failure))
		return;
	end_asking(job);
	if (!error_is_set(&failure))
		judge_repository(job, repository_id, &failure);
	job_step_finished(job, &failure);
}

static enum step_result
reach_repository(struct job *job, struct error *error)
{
	struct world *world = world_of(job);
	cleanup_free char *place = NULL;
	if (repository_place(&job->record.spec.restic, &place, error) < 0)
		return STEP_FAILED;
	if (world->answered_place != NULL && strcmp(world->answered_place, place) == 0 &&
	    clock_monotonic(engine_clock(job->engine)) - world->answered_at < ANSWER_LASTS)
		return STEP_DONE;
	if (world->asking_job != 0) {
		job_step_again(job, ASKING_PAUSE);
		return STEP_WAITING;
	}
	work_of(job)->restic =
	    restic_probe_start(world->base, &job->record.spec.restic, repository_answered, job, error);
	if (work_of(job)->restic == NULL)
		return STEP_FAILED;
	world->asking_job = job->record.id;
	return STEP_WAITING;
}

/* ---- the service ---- */

static enum step_result
check_sources(struct job *job, struct error *error)
{
	cleanup_strings char **sources = service_sources(&job->record.spec);
	for (size_t i = 0; sources != NULL && sources[i] != NULL; i++)
		if (filesystem_check_source(sources[i], error) < 0)
			return STEP_FAILED;
	return STEP_DONE;
}

static enum step_result
check_databases(struct job *job, struct error *error)
{
	char **databases = job->record.spec.databases;
	for (size_t i = 0; databases != NULL && databases[i] != NULL; i++)
		if (sqlite_inspect(databases[i], error) < 0)
			return STEP_FAILED;
	return STEP_DONE;
}

static void
units_seen(void *context, const struct unit_list *units, const struct error *error)
{
	struct job *job = context;
	work_of(job)->systemd = NULL;
	cleanup_error struct error failure = {0};
	error_copy(&failure, error);
	for (size_t i = 0; !error_is_set(&failure) && i < units->count; i++) {
		const struct unit *unit = &units->items[i];
		if (unit->refusal == NULL || (!unit->active && !unit->missing))
			continue;
		error_set(&failure, unit->missing ? ERROR_UNIT_MISSING : ERROR_UNIT_UNSTOPPABLE, "%s: %s", unit->name,
		    unit->refusal);
		if (unit->remedy != NULL)
			error_hint(&failure, "%s", unit->remedy);
	}
	job_step_finished(job, &failure);
}

static enum step_result
look_at_units(struct job *job, struct error *error)
{
	char **names = job->record.spec.stop_units;
	job->to_stop = strings_count(names) > 0 || strings_count(job->record.spec.databases) > 0;
	if (strings_count(names) == 0)
		return STEP_DONE;
	struct systemd *systemd = world_systemd(world_of(job), error);
	if (systemd == NULL)
		return STEP_FAILED;
	work_of(job)->systemd = systemd_inspect(systemd, names, units_seen, job);
	return STEP_WAITING;
}

static enum step_result
check_journal(struct job *job, struct error *error)
{
	return journal_check_writable(engine_journal(job->engine), error) < 0 ? STEP_FAILED : STEP_DONE;
}

/* ---- preBackup ---- */

static int
hook_spawned(void *context, const struct child_identity *child, struct error *error)
{
	struct job *job = context;
	return work_record_child(job, "preBackup", child, &work_of(job)->child_id, error);
}

static void
hook_says(void *context, const char *line)
{
	job_note(context, "preBackup", line);
}

static void
hook_done(void *context, const struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->hook = NULL;
	work_forget_child(job, &work->child_id);
	job_step_finished(job, error);
}

static enum step_result
run_pre_backup(struct job *job, struct error *error)
{
	const struct service *spec = &job->record.spec;
	/* postBackup is owed from the moment preBackup may have done anything; alone, it is due after every backup.
	 */
	struct obligation post = {.kind = OBLIGATION_POST_BACKUP, .subject = spec->name, .role = UNIT_ROLE_MAIN};
	if (spec->post_backup != NULL && job_owe(job, &post, 1, error) < 0)
		return STEP_FAILED;
	if (spec->pre_backup == NULL)
		return STEP_DONE;
	job_set_deadline(job, spec->deadlines.hook);
	struct hook_request request = {
	    .kind = "preBackup",
	    .command = spec->pre_backup,
	    .service = spec->name,
	    .job = job->record.id,
	    .on_spawned = hook_spawned,
	    .on_words = hook_says,
	    .context = job,
	};
	work_of(job)->hook = hook_start(world_of(job)->base, &request, hook_done, error);
	return work_of(job)->hook != NULL ? STEP_WAITING : STEP_FAILED;
}

static int64_t
deadline(const struct job *job)
{
	return job->record.spec.deadlines.preflight;
}

static void
leave(struct job *job)
{
	end_asking(job);
	work_abandon_calls(job);
}

static const struct step steps[] = {
    {"checking what is declared", check_what_is_declared},
    {"looking for restic", check_restic},
    {"reading the secrets", check_secrets},
    {"reaching the repository", reach_repository},
    {"removing the lock of a dead restic", step_unlock_dead},
    {"checking the paths", check_sources},
    {"checking the databases", check_databases},
    {"asking systemd about the units", look_at_units},
    {"checking the journal", check_journal},
    {"running preBackup", run_pre_backup},
    {NULL, NULL},
};

const struct state state_checkpoint = {
    .state = JOB_CHECKPOINT,
    .steps = steps,
    .leave = leave,
    .deadline = deadline,
    .loses_work = true,
};
