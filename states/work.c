#include "adapters/filesystem.h"
#include "states/dumps.h"
#include "states/live.h"
#include "states/staging.h"

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
	repository_abandon_call(job);
	if (work->systemd != NULL)
		systemd_call_abandon(work->systemd);
	hook_call_abandon(work->hook);
	sqlite_call_abandon(work->fold);
	postgres_call_abandon(work->postgres);
	work->postgres = NULL;
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
	repository_release(job);
	sqlite_call_abandon(work->proof);
	systemd_watch_free(work->watch);
	unit_list_clear(&work->units);
	error_clear(&work->start_error);
	live_release(job);
	dumps_release(job);
	if (work->staged)
		staging_release(job);
	strings_free(work->services);
	strings_free(work->going);
	free(work->summary);
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

int
work_check_source(const struct job *job, const char *path, struct error *error)
{
	return journal_is_file(engine_journal(job->engine), path) ? 0 : filesystem_check_source(path, error);
}

void
work_begin_taking(struct job *job)
{
	struct work *work = work_of(job);
	if (!work->taking)
		job_set_deadline(job, job->record.spec.deadlines.snapshot);
	work->taking = true;
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
