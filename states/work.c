#include "states/work.h"

#include "core/alloc.h"
#include "core/log.h"
#include "core/text.h"

struct world *
world_of(const struct job *job)
{
	return engine_machine_context(job->engine);
}

struct work *
work_of(struct job *job)
{
	if (job->work == NULL)
		job->work = xcalloc(1, sizeof(struct work));
	return job->work;
}

void
work_abandon_calls(struct job *job)
{
	struct work *work = job->work;
	if (work == NULL)
		return;
	if (world_of(job)->unlocking_job == job->record.id)
		world_of(job)->unlocking_job = 0;
	if (work->restic != NULL)
		restic_call_abandon(work->restic);
	if (work->systemd != NULL)
		systemd_call_abandon(work->systemd);
	hook_call_abandon(work->hook);
	sqlite_call_abandon(work->fold);
	work->restic = NULL;
	work->systemd = NULL;
	work->hook = NULL;
	work->fold = NULL;
	work_forget_child(job, &work->child_id);
}

void
work_release(struct job *job)
{
	struct work *work = job->work;
	if (work == NULL)
		return;
	work_abandon_calls(job);
	if (work->backup != NULL)
		restic_call_abandon(work->backup);
	work_forget_child(job, &work->backup_child);
	sqlite_call_abandon(work->proof);
	systemd_watch_free(work->watch);
	unit_list_clear(&work->units);
	error_clear(&work->start_error);
	free(work);
	job->work = NULL;
}

int
work_record_child(struct job *job, const char *command, const struct child_identity *child, int64_t *ret_child_id,
    struct error *error)
{
	if (error_is_set(engine_journal_error(job->engine))) {
		/* Nothing can be recorded any more: only what brings the service back may still run. */
		if (job->record.state == JOB_STARTING)
			return 0;
		error_copy(error, engine_journal_error(job->engine));
		return -1;
	}
	return journal_child_begin(engine_journal(job->engine), job->record.id, command, child, ret_child_id, error);
}

void
work_forget_child(struct job *job, int64_t *child_id)
{
	if (*child_id == 0)
		return;
	cleanup_error struct error error = {0};
	if (journal_child_end(engine_journal(job->engine), *child_id, &error) < 0)
		log_warning("job %lld: %s", (long long)job->record.id, error.message);
	*child_id = 0;
}

void
unit_returned_error(struct error *error, const char *unit)
{
	error_set(error, ERROR_UNIT_RETURNED, "%s came back to life while its data was being copied", unit);
	error_hint(error, "find out what starts it (`systemctl status %s`) and add that unit to stopUnits", unit);
}

void
job_note_units(struct job *job, const char *verb, const struct unit_list *units)
{
	cleanup_text struct text line = {0};
	for (size_t i = 0; i < units->count; i++)
		if (units->items[i].active)
			text_printf(&line, "%s%s", line.length > 0 ? ", " : "", units->items[i].name);
	if (line.length == 0)
		return;
	cleanup_free char *words = xasprintf("%s %s", verb, line.string);
	job_note(job, "systemd", words);
}

static void
dead_unlocked(void *context, size_t found, const struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	struct world *world = world_of(job);
	work->restic = NULL;
	world->unlocking_job = 0;
	if (error_is_set(error)) {
		job_note(job, "restic", error->message);
	} else {
		if (found > 0)
			job_note(job, "restic", "removed the lock of a restic that died with its runner");
		for (size_t i = 0; i < world->dead_count; i++)
			work_forget_child(job, &world->dead[i].child_id);
		world->dead_count = 0;
	}
	job_step_finished(job, NULL);
}

enum step_result
step_unlock_dead(struct job *job, struct error *error)
{
	struct world *world = world_of(job);
	/* One is enough, and a stale lock that is not exclusive keeps nobody from going on meanwhile. */
	if (world->dead_count == 0 || world->unlocking_job != 0)
		return STEP_DONE;
	cleanup_free pid_t *pids = xcalloc(world->dead_count, sizeof(*pids));
	for (size_t i = 0; i < world->dead_count; i++)
		pids[i] = world->dead[i].pid;
	work_of(job)->restic = restic_unlock_own_start(
	    world->base, &job->record.spec.restic, pids, world->dead_count, dead_unlocked, job, error);
	if (work_of(job)->restic != NULL) {
		world->unlocking_job = job->record.id;
		return STEP_WAITING;
	}
	job_note(job, "restic", error->message);
	error_clear(error);
	return STEP_DONE;
}
