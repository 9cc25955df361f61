/* snapshot: restic reads the data, from the stopped service's own files or from a frozen copy. The databases
 * are proven readable beside the upload, so the proof makes the window no longer. */
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "states/live.h"
#include "states/metadata.h"
#include "states/staging.h"

/* Names the snapshot of this attempt in every repository: a job's number alone would repeat after a lost
 * journal. */
static char *
attempt_tag(const struct job *job)
{
	return xasprintf("job:%s-%lld.%lld", journal_identity(engine_journal(job->engine)), (long long)job->record.id,
	    (long long)job->record.attempt);
}

/* What restic is given: what the service declares, and what was made for it. */
static char **
snapshot_paths(const struct job *job)
{
	const struct service *spec = &job->record.spec;
	char **paths = service_sources(spec);
	cleanup_free char *metadata = staging_path(job, METADATA_NAME);
	cleanup_free char *dumps = staging_path(job, "postgres");
	strings_add(&paths, metadata);
	if (strings_count(spec->postgres) > 0)
		strings_add(&paths, dumps);
	return paths;
}

/* ---- a snapshot finished just before a crash is found again ---- */

static bool
same_paths(char *const *left, char *const *right)
{
	if (strings_count(left) != strings_count(right))
		return false;
	for (size_t i = 0; left != NULL && left[i] != NULL; i++)
		if (!strings_contain(right, left[i]))
			return false;
	return true;
}

/* At boot the network may come later than we do. */
#define LISTING_TRIES 10
#define LISTING_PAUSE (30 * USEC_PER_SEC)

/* Had somebody replaced the journal while restic read, this job would not stand in it. */
static bool
reads_journal_alone(const struct job *job)
{
	const struct service *spec = &job->record.spec;
	return spec->own && journal_is_file(engine_journal(job->engine), spec->databases[0]);
}

/* The exit code died with the runner. That restic complained was journaled as it came, so it is not lost with it. */
static void
adopt(struct job *job, const struct restic_snapshot *snapshot, struct error *failure)
{
	cleanup_strings char **sources = snapshot_paths(job);
	replace_string(&job->record.snapshot_id, snapshot->id);
	job->record.unindexed = false;
	job->record.files = snapshot->files;
	job->record.bytes = snapshot->bytes;
	job->record.bytes_added = snapshot->bytes_added;
	job_note(job, "restic", "found the snapshot that was finished just before the crash");
	if (!same_paths(snapshot->paths, sources))
		error_set(failure, ERROR_SNAPSHOT_MISMATCH,
		    "the snapshot that was found does not hold every declared path");
	else if (live_service(&job->record.spec) && !reads_journal_alone(job))
		error_set(failure, ERROR_DATABASE_UNPROVEN,
		    "the program died while restic was reading: nobody has seen whether a live database was "
		    "replaced");
	else if (job->record.missing_count > 0)
		error_set(failure, ERROR_SOURCE_PARTLY_UNREADABLE,
		    "restic complained, and its exit code died with the program: `atelier-backup show %lld`",
		    (long long)job->record.id);
}

static void
snapshots_listed(void *context, const struct restic_snapshot *snapshots, size_t count, const struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->restic = NULL;
	cleanup_error struct error failure = {0};
	error_copy(&failure, error);
	if (error_class_of(failure.code) == ERROR_CLASS_TRANSIENT && ++work->listing_tries < LISTING_TRIES) {
		/* Without the answer, the same snapshot might be made twice. */
		job_note(job, "restic", failure.message);
		job_step_again(job, LISTING_PAUSE);
		return;
	}
	if (!error_is_set(&failure) && count > 0)
		adopt(job, &snapshots[count - 1], &failure);
	else if (!error_is_set(&failure) && !job->frozen)
		error_set(&failure, ERROR_INTERRUPTED,
		    "the program died while restic was reading; no snapshot was finished");
	job_step_finished(job, &failure);
}

static enum step_result
find_finished_snapshot(struct job *job, struct error *error)
{
	if (!job->taken_over || job->record.snapshot_id != NULL)
		return STEP_DONE;
	if (!job->record.snapshot_begun) {
		/* Died before restic was started: what was stopped runs again by now. */
		error_set(error, ERROR_INTERRUPTED, "the program died before restic began to read");
		return STEP_FAILED;
	}
	cleanup_free char *tag = attempt_tag(job);
	work_of(job)->restic =
	    restic_snapshots_start(world_of(job)->base, &job->record.spec.restic, tag, snapshots_listed, job, error);
	return work_of(job)->restic != NULL ? STEP_WAITING : STEP_FAILED;
}

/* ---- restic ---- */

/* From here on an upload that is cut is worth a repair of the index: uploaded packs count only once an index names
 * them, and restic writes one every ten minutes. What is read need not be new, so this asks for one too often. */
#define WORTH_A_REPAIR (UINT64_C(64) * 1024 * 1024)

static void
restic_progressed(void *context, const struct restic_progress *progress)
{
	struct job *job = context;
	job_progress(job, progress);
	if (progress->bytes_done < WORTH_A_REPAIR || job->record.unindexed || job->record.state != JOB_SNAPSHOT)
		return;
	job->record.unindexed = true;
	cleanup_error struct error error = {0};
	if (job_save(job, &error) < 0)
		engine_lose_journal(job->engine, &error);
}

static void
restic_says(void *context, const char *line)
{
	struct job *job = context;
	job_note(job, "restic", line);
	if (job->record.missing_count > 0 || job->record.state != JOB_SNAPSHOT)
		return;
	/* Until restic has told its result: if we die before that, a snapshot that is found is not taken for
	 * complete. */
	job->record.missing_count = 1;
	cleanup_error struct error error = {0};
	if (job_save(job, &error) < 0)
		engine_lose_journal(job->engine, &error);
}

static void
note_result(struct job *job, const struct restic_backup_result *result)
{
	replace_string(&job->record.snapshot_id, result->snapshot_id);
	if (result->snapshot_id != NULL)
		job->record.unindexed = false;
	if (error_class_of(result->error.code) == ERROR_CLASS_BUSY)
		repository_forget_answer(job); /* the next one looks before it stops anything */
	job->record.files = result->files;
	job->record.bytes = result->bytes;
	job->record.bytes_added = result->bytes_added;
	job->record.missing_count = result->missing_count;
	for (size_t i = 0; result->missing != NULL && result->missing[i] != NULL; i++) {
		cleanup_free char *line = xasprintf("not in the snapshot: %s", result->missing[i]);
		job_note(job, "restic", line);
	}
}

static void
restic_finished(void *context, const struct restic_backup_result *result)
{
	struct job *job = context;
	if (!repository_call_ended(job, &result->error))
		return;
	note_result(job, result);
	job_step_finished(job, &result->error);
}

static enum step_result
write_metadata(struct job *job, struct error *error)
{
	return job->record.snapshot_id != NULL ? STEP_DONE : step_write_metadata(job, error);
}

static enum step_result
run_restic(struct job *job, struct error *error)
{
	struct work *work = work_of(job);
	if (job->record.snapshot_id != NULL)
		return STEP_DONE;
	job->record.snapshot_begun = true;
	job->record.missing_count = 0;
	size_note_data(job);
	if (job_save(job, error) < 0)
		return STEP_FAILED;

	cleanup_strings char **sources = snapshot_paths(job);
	cleanup_live_view struct live_view view = {0};
	live_view(job, &view);
	cleanup_free char *staging = staging_path(job, "");
	cleanup_strings char **tags = service_tags(&job->record.spec);
	cleanup_free char *tag = attempt_tag(job);
	strings_add(&tags, tag);
	struct restic_backup_request request = {
	    .paths = sources,
	    .excludes = job->record.spec.excludes,
	    .tags = tags,
	    .own_files = 1,
	    .kept = (char *const[]){staging, NULL},
	    .left_out = view.left_out,
	    .binds = view.binds,
	    .bind_count = view.count,
	    .on_spawned = repository_child_spawned,
	    .on_progress = restic_progressed,
	    .on_words = restic_says,
	    .context = job,
	};
	enum step_result result = repository_call_begun(job,
	    restic_backup_start(world_of(job)->base, &job->record.spec.restic, &request, restic_finished, error));
	work->proved = 0;
	if (result == STEP_WAITING && job->to_stop)
		proof_begin_beside(job);
	return result;
}

/* ---- did the service stay down? ---- */

static void
units_seen_again(void *context, const struct unit_list *units, const struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->systemd = NULL;
	cleanup_error struct error failure = {0};
	error_copy(&failure, error);
	for (size_t i = 0; !error_is_set(&failure) && i < units->count; i++) {
		const struct unit *unit = &units->items[i];
		if (unit->active && unit_list_find(&work->units, unit->name) != NULL)
			unit_returned_error(&failure, unit->name);
	}
	job_step_finished(job, &failure);
}

/* The watch has told of every unit that came back, but for a signal that is still under way: one last look, while a
 * unit that runs can only be one that came back. */
static enum step_result
look_again(struct job *job, struct error *error)
{
	(void)error;
	struct work *work = work_of(job);
	if (work->watch == NULL)
		return STEP_DONE;
	cleanup_strings char **names = NULL;
	for (size_t i = 0; i < work->units.count; i++)
		strings_add(&names, work->units.items[i].name);
	work->systemd = systemd_inspect(world_of(job)->systemd, names, units_seen_again, job);
	return STEP_WAITING;
}

/* ---- is it what it should be? ---- */

/* A path that went away meanwhile is not what restic was asked for. */
static enum step_result
check_sources_again(struct job *job, struct error *error)
{
	cleanup_strings char **sources = service_sources(&job->record.spec);
	if (job->record.snapshot_id == NULL || job->taken_over)
		return STEP_DONE;
	for (size_t i = 0; sources != NULL && sources[i] != NULL; i++)
		if (work_check_source(job, sources[i], error) < 0)
			return STEP_FAILED;
	return live_check_places(job, error) < 0 ? STEP_FAILED : STEP_DONE;
}

static void
leave(struct job *job)
{
	/* The upload is not ended here: where it has to be, the service comes back first. */
	work_abandon_calls(job);
	proof_abandon(job);
}

static int64_t
deadline(const struct job *job)
{
	return job->record.spec.deadlines.snapshot;
}

static const struct step steps[] = {
    {"removing the lock of a dead restic", step_unlock_dead},
    {"looking for a finished snapshot", find_finished_snapshot},
    {"writing down what was taken", write_metadata},
    {"restic is reading", run_restic},
    {"looking whether the service stayed down", look_again},
    {"looking at the paths again", check_sources_again},
    {"comparing the size with the last good backup", step_judge_size},
    {"proving the databases readable", step_prove_databases},
    {NULL, NULL},
};

const struct state state_snapshot = {
    .state = JOB_SNAPSHOT,
    .steps =
	{
	    [JOB_KIND_BACKUP] = steps,
	    [JOB_KIND_RETENTION] = retention_steps,
	    [JOB_KIND_PRUNE] = prune_steps,
	},
    .leave = leave,
    .deadline = deadline,
};
