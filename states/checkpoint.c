/* checkpoint: everything that can be found wrong, is found wrong here, while the service is up. Nothing has
 * been touched when it fails, unless preBackup was begun, and then postBackup is owed. Then what can be taken while
 * it runs is taken. */
#include <string.h>
#include <sys/stat.h>

#include "adapters/filesystem.h"
#include "core/alloc.h"
#include "jobs/sources.h"
#include "states/dumps.h"
#include "states/live.h"
#include "states/staging.h"

/* ---- the service ---- */

static int
look_at_source(const struct job *job, const char *path, struct source_look *ret_look, struct error *error)
{
	*ret_look = (struct source_look){.empty = false};
	if (work_check_source(job, path, error) < 0)
		return -1;
	/* The journal never is. */
	return journal_is_file(engine_journal(job->engine), path) ? 0
								  : filesystem_look_at_source(path, ret_look, error);
}

/* Each is there and readable, and none is empty that held something when the last good backup was made. */
static int
judge_sources(struct job *job, char *const *sources, struct source_found *found, struct error *error)
{
	size_t count = strings_count(sources);
	for (size_t i = 0; i < count; i++) {
		struct source_look look;
		if (look_at_source(job, sources[i], &look, error) < 0)
			return -1;
		found[i] = (struct source_found){.path = sources[i], .empty = look.empty};
	}
	cleanup_last_good struct last_good good = {0};
	int known = journal_last_good(engine_journal(job->engine), job->record.service, &good, error);
	return known > 0 ? sources_judge(good.sources, found, count, error) : known;
}

static enum step_result
check_sources(struct job *job, struct error *error)
{
	cleanup_strings char **sources = service_sources(&job->record.spec);
	cleanup_free struct source_found *found = xcalloc(strings_count(sources), sizeof(*found));
	if (service_check_excludes(&job->record.spec, error) < 0 || judge_sources(job, sources, found, error) < 0)
		return STEP_FAILED;
	strings_free(job->record.sources_filled);
	job->record.sources_filled = sources_filled(found, strings_count(sources));
	return STEP_DONE;
}

/* To SQLite a file without a byte is a database without a table. To us it is one whose data may be gone. */
static void
judge_empty_database(struct job *job, const char *path)
{
	struct stat status;
	cleanup_error struct error empty = {0};
	if (stat(path, &status) < 0 || status.st_size > 0)
		return;
	error_set(&empty, ERROR_DATABASE_EMPTY, "the database %s is empty: it has not a single byte", path);
	error_hint(
	    &empty, "see whether the service has its data elsewhere; take it out of the manifest if it is not used");
	job_judge(job, &empty);
}

static enum step_result
check_databases(struct job *job, struct error *error)
{
	char **databases = job->record.spec.databases;
	for (size_t i = 0; databases != NULL && databases[i] != NULL; i++) {
		if (journal_is_file(engine_journal(job->engine), databases[i]))
			continue; /* copying it will show */
		if (sqlite_inspect(databases[i], error) < 0)
			return STEP_FAILED;
		judge_empty_database(job, databases[i]);
	}
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
	bool cold = strings_count(job->record.spec.databases) > 0 && !live_service(&job->record.spec);
	job->to_stop = strings_count(names) > 0 || cold;
	if (strings_count(names) == 0)
		return STEP_DONE;
	struct systemd *systemd = world_systemd(world_of(job), error);
	if (systemd == NULL)
		return STEP_FAILED;
	work_of(job)->systemd = systemd_inspect(systemd, names, units_seen, job);
	return STEP_WAITING;
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

static const struct step backup_steps[] = {
    {"looking for restic", step_check_restic},
    {"reading the secrets", step_check_secrets},
    {"removing the lock of a dead restic", step_unlock_dead},
    {"reaching the repository", step_reach_repository},
    {"checking the paths", check_sources},
    {"checking the databases", check_databases},
    {"asking PostgreSQL", step_ask_postgres},
    {"asking systemd about the units", look_at_units},
    {"checking the journal", step_check_journal},
    {"taking up what a cut upload had stored", step_repair_index},
    {"entering the repository", step_enter_repository},
    {"making the place for copies", step_prepare_staging},
    {"running preBackup", run_pre_backup},
    {"dumping PostgreSQL", step_dump_postgres},
    {"copying the live databases", step_copy_live},
    {NULL, NULL},
};

static const struct step maintenance_steps[] = {
    {"looking for restic", step_check_restic},
    {"reading the secrets", step_check_secrets},
    {"removing the lock of a dead restic", step_unlock_dead},
    {"reaching the repository", step_reach_repository},
    {"checking the journal", step_check_journal},
    {NULL, NULL},
};

const struct state state_checkpoint = {
    .state = JOB_CHECKPOINT,
    .steps =
	{
	    [JOB_KIND_BACKUP] = backup_steps,
	    [JOB_KIND_RETENTION] = maintenance_steps,
	    [JOB_KIND_PRUNE] = maintenance_steps,
	},
    .leave = work_abandon_calls,
    .deadline = deadline,
    .loses_work = true,
};
