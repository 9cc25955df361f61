/* Jobs come into the engine from the journal. */
#include "core/alloc.h"
#include "jobs/engine_internal.h"

struct id_list {
	int64_t *items;
	size_t count;
};

static void
collect_id(void *context, const struct job_record *record)
{
	struct id_list *ids = context;
	ids->items = xreallocarray(ids->items, ids->count + 1, sizeof(*ids->items));
	ids->items[ids->count++] = record->id;
}

/* The dead runner had crossed off the last thing it owed, and died before it wrote how long that took. */
static int
end_former_absence(struct job *job, struct error *error)
{
	if (job->record.away_since == 0 || job_owes(job))
		return 0;
	cleanup_obligations struct obligation_list settled = {0};
	if (journal_obligations(job->engine->settings.journal, job->record.id, false, &settled, error) < 0)
		return -1;
	for (size_t i = 0; i < settled.count; i++)
		if (settled.items[i].settled_at > job->back_at)
			job->back_at = settled.items[i].settled_at;
	job_end_absence(job);
	return 0;
}

static int
load_job(struct engine *engine, int64_t id, struct error *error)
{
	cleanup_job struct job_record record = {0};
	int found = journal_job(engine->settings.journal, id, &record, error);
	if (found <= 0)
		return found;
	cleanup_obligations struct obligation_list owed = {0};
	if (journal_obligations(engine->settings.journal, id, true, &owed, error) < 0)
		return -1;
	struct job *job = xcalloc(1, sizeof(*job));
	job->engine = engine;
	job->record = record;
	record = (struct job_record){0};
	job->owed = owed;
	owed = (struct obligation_list){0};
	TAILQ_INSERT_TAIL(&engine->jobs, job, entry);
	if (end_former_absence(job, error) < 0)
		return -1;
	if (job->record.state == JOB_PENDING) {
		engine_post_loaded(job, EVENT_TAKE, NULL);
		return 0;
	}
	cleanup_error struct error interrupted = {0};
	if (engine->settings.machine->states[job->record.state].loses_work)
		error_set(&interrupted, ERROR_INTERRUPTED, "the program died in state %s",
		    job_state_word(job->record.state));
	job->taken_over = true;
	engine_post_loaded(job, EVENT_RECOVER, &interrupted);
	return 0;
}

static int
load(struct engine *engine, bool only_owing, struct error *error)
{
	if (error_is_set(&engine->journal_error))
		return 0; /* what it says now would be taken for work */
	struct id_list ids = {0};
	struct job_filter filter = {.unfinished = true};
	int result = journal_jobs(engine->settings.journal, &filter, collect_id, &ids, error);
	for (size_t i = 0; result == 0 && i < ids.count; i++) {
		if (engine_find(engine, ids.items[i]) != NULL)
			continue;
		cleanup_obligations struct obligation_list owed = {0};
		if (only_owing)
			result = journal_obligations(engine->settings.journal, ids.items[i], true, &owed, error);
		if (result == 0 && (!only_owing || owed.count > 0))
			result = load_job(engine, ids.items[i], error);
	}
	free(ids.items);
	return result;
}

int
engine_load(struct engine *engine, struct error *error)
{
	return load(engine, false, error);
}

int
engine_load_owing(struct engine *engine, struct error *error)
{
	return load(engine, true, error);
}
