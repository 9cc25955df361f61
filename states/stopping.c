/* stopping: the service goes down. What was active is recorded durably before the first unit is stopped;
 * afterwards nobody has the databases open, so their WAL is folded in. One that somebody still holds is copied live.
 */
#include <string.h>

#include "core/alloc.h"
#include "states/live.h"

static enum step_result
begin_absence(struct job *job, struct error *error)
{
	(void)error;
	struct work *work = work_of(job);
	unit_list_clear(&work->units);
	work->stop_begun = false;
	work->folded = 0;
	work->copying_until = 0;
	return STEP_DONE;
}

/* ---- what is active now ---- */

/* A unit that another job has stopped is inactive, but it was active before: it is owed by both, and started
 * when the last of them is through. */
static bool
unit_is_owed(const struct job *job, const struct unit *unit)
{
	return unit->active || job_shares_unit(job, unit->name);
}

/* The rows for what has to run again, unwritten; the subjects stay the list's. */
static struct obligation *
collect_owed(const struct job *job, const struct unit_list *units, size_t *ret_count)
{
	struct obligation *owed = xcalloc(units->count, sizeof(*owed));
	size_t count = 0;
	for (size_t i = 0; i < units->count; i++) {
		const struct unit *unit = &units->items[i];
		if (unit_is_owed(job, unit))
			owed[count++] = (struct obligation){
			    .kind = OBLIGATION_START_UNIT,
			    .subject = unit->name,
			    .role = unit->role,
			    .settles = unit->settles,
			};
	}
	*ret_count = count;
	return owed;
}

static int
owe_units(struct job *job, const struct unit_list *units, struct error *error)
{
	size_t count;
	cleanup_free struct obligation *owed = collect_owed(job, units, &count);
	return job_owe(job, owed, count, error);
}

/* These are down already, so they are owed even where the journal cannot be written any more. */
static void
owe_extra_units(struct job *job, const struct unit_list *extra)
{
	size_t count;
	cleanup_free struct obligation *owed = collect_owed(job, extra, &count);
	job_owe_late(job, owed, count);
}

static void
units_seen(void *context, const struct unit_list *units, const struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->systemd = NULL;
	cleanup_error struct error failure = {0};
	error_copy(&failure, error);
	for (size_t i = 0; !error_is_set(&failure) && i < units->count; i++)
		if (units->items[i].refusal != NULL && units->items[i].active)
			error_set(&failure, ERROR_UNIT_UNSTOPPABLE, "%s: %s", units->items[i].name,
			    units->items[i].refusal);
	if (!error_is_set(&failure) && owe_units(job, units, &failure) == 0)
		for (size_t i = 0; i < units->count; i++)
			unit_list_add(&work->units, &units->items[i]);
	job_step_finished(job, &failure);
}

static enum step_result
record_units(struct job *job, struct error *error)
{
	char **names = job->record.spec.stop_units;
	if (strings_count(names) == 0)
		return STEP_DONE;
	struct systemd *systemd = world_systemd(world_of(job), error);
	if (systemd == NULL)
		return STEP_FAILED;
	work_of(job)->systemd = systemd_inspect(systemd, names, units_seen, job);
	return STEP_WAITING;
}

/* ---- the stop ---- */

static void
unit_returned(void *context, const char *name)
{
	struct job *job = context;
	cleanup_error struct error error = {0};
	unit_returned_error(&error, name);
	job_post(job, EVENT_TRANSIENT, &error);
}

static void
units_stopped(void *context, const struct unit_stop_result *result)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->systemd = NULL;
	work->stop_begun = false;
	cleanup_error struct error failure = {0};
	/* systemd took more down than its dependencies told: that has to be on record before anything else is
	 * done. */
	owe_extra_units(job, &result->extra);
	for (size_t i = 0; i < result->extra.count; i++)
		unit_list_add(&work->units, &result->extra.items[i]);
	if (error_is_set(&result->error))
		error_copy(&failure, &result->error);
	if (!error_is_set(&failure) && result->unclean != NULL) {
		error_set(
		    &failure, ERROR_UNCLEAN_STOP, "%s: the copy is only as good as after a crash", result->unclean);
		error_hint(
		    &failure, "give the unit more time to stop (TimeoutStopSec=), or find out why it does not end");
	}
	if (!job_has_failed(job) && (!error_is_set(&failure) || error_class_of(failure.code) == ERROR_CLASS_PARTIAL))
		work->watch = systemd_watch(world_of(job)->systemd, &work->units, unit_returned, job);
	job_step_finished(job, &failure);
}

static enum step_result
stop_units(struct job *job, struct error *error)
{
	(void)error;
	struct work *work = work_of(job);
	if (work->units.count == 0)
		return STEP_DONE;
	job_note_units(job, "stopping", &work->units);
	work->systemd = systemd_stop(world_of(job)->systemd, &work->units, units_stopped, job);
	work->stop_begun = true;
	return STEP_WAITING;
}

/* ---- the databases ---- */

static int
fold_spawned(void *context, const struct child_identity *child, struct error *error)
{
	struct job *job = context;
	return work_record_child(job, "sqlite fold", child, &work_of(job)->child_id, error);
}

/* The deadline of the stop is short, and a copy may be long. All copies of this window together have the time that
 * the upload has, which a service in its window may wait for as well. Returns what is left of it. */
static int64_t
time_for_copies(struct job *job)
{
	struct work *work = work_of(job);
	int64_t now = clock_monotonic(engine_clock(job->engine));
	if (work->copying_until == 0)
		work->copying_until = now + job->record.spec.deadlines.snapshot;
	return work->copying_until > now ? work->copying_until - now : 1;
}

/* Somebody who is none of the units has it open: as it is, it is a live database. What else he may write to is as he
 * left it at that moment, so the backup is partial. */
static void
copy_held_database(struct job *job, const struct error *held)
{
	cleanup_error struct error partial = {0}, failure = {0};
	error_set(&partial, ERROR_UNCLEAN_STOP, "%s, so it was copied live", held->message);
	error_hint(&partial, "%s", held->hint != NULL ? held->hint : "find out what has it open");
	job_judge(job, &partial);
	job_note(job, "sqlite", held->message);
	if (live_copy_begin(job, work_of(job)->folded, &failure) == STEP_FAILED) {
		job_step_finished(job, &failure);
		return;
	}
	job_set_deadline(job, 0);
	/* Comes back to the step when the time is over, unless the copy is faster. */
	job_step_again(job, time_for_copies(job));
}

/* Permanent: another attempt would take the service away for as long, and end the same way. */
static enum step_result
give_up_copy(struct job *job, struct error *error)
{
	error_set(error, ERROR_UNIT_UNSTOPPABLE,
	    "the database %s is held by somebody whom the stop does not end, and a live copy took longer than "
	    "allowed",
	    job->record.spec.databases[work_of(job)->copying]);
	error_hint(error,
	    "`atelier-backup show %lld` names it: add its unit to stopUnits, or set stopForBackup to false",
	    (long long)job->record.id);
	return STEP_FAILED;
}

static void
database_folded(void *context, const struct sqlite_result *result)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->fold = NULL;
	work_forget_child(job, &work->child_id);
	if (result->error.code == ERROR_DATABASE_HELD) {
		copy_held_database(job, &result->error);
		return;
	}
	if (error_is_set(&result->error)) {
		job_step_finished(job, &result->error);
		return;
	}
	live_note_size(&live_copies(job)[work->folded], result);
	work->folded++;
	job_step_again(job, 0);
}

static enum step_result
fold_databases(struct job *job, struct error *error)
{
	struct work *work = work_of(job);
	char **databases = job->record.spec.databases;
	const struct database_copy *copies = live_copies(job);
	if (work->fold != NULL)
		return give_up_copy(job, error);
	while (work->folded < strings_count(databases) && copies[work->folded].path != NULL)
		work->folded++;
	if (work->folded == strings_count(databases))
		return STEP_DONE;
	if (work->copying_until != 0)
		job_set_deadline(job, job->record.spec.deadlines.stop);
	work->fold = sqlite_fold_start(world_of(job)->base, world_of(job)->sqlite_helper, databases[work->folded],
	    fold_spawned, database_folded, job, error);
	return work->fold != NULL ? STEP_WAITING : STEP_FAILED;
}

static void
leave(struct job *job)
{
	struct work *work = work_of(job);
	/* A stop that is given up half-way has taken down by then what nobody had recorded. */
	if (work->stop_begun)
		owe_extra_units(job, systemd_stop_extra(work->systemd));
	work->stop_begun = false;
	work_abandon_calls(job);
}

static int64_t
deadline(const struct job *job)
{
	return job->record.spec.deadlines.stop;
}

static const struct step steps[] = {
    {"beginning", begin_absence},
    {"recording what is active", record_units},
    {"stopping the units", stop_units},
    {"folding the databases' WAL in", fold_databases},
    {NULL, NULL},
};

const struct state state_stopping = {
    .state = JOB_STOPPING,
    .steps = {[JOB_KIND_BACKUP] = steps},
    .leave = leave,
    .deadline = deadline,
    .loses_work = true,
};
