/* What the state snapshot does in a prune: restic frees what no snapshot needs, within a budget. It is valid to end
 * it at any time; the repository is only bigger then until the next one. */
#include "core/alloc.h"
#include "states/work.h"

enum step_result
step_begin_anew(struct job *job, struct error *error)
{
	if (!job->taken_over)
		return STEP_DONE;
	error_set(error, ERROR_INTERRUPTED, "the program died while restic was at work");
	return STEP_FAILED;
}

static void
prune_says(void *context, const char *line)
{
	job_note(context, "restic", line);
}

static void
pruned(void *context, const struct error *error)
{
	struct job *job = context;
	if (!repository_call_ended(job, error))
		return;
	if (error_is_set(error) && error_class_of(error->code) == ERROR_CLASS_BUSY &&
	    repository_try_unlock(job, error))
		return;
	if (!error_is_set(error))
		replace_string(&job->record.summary, "freed what no snapshot needs");
	job_step_finished(job, error);
}

static enum step_result
run_prune(struct job *job, struct error *error)
{
	const struct service *spec = &job->record.spec;
	struct restic_prune_request request = {
	    /* restic takes 0 for nothing, the adapter for no limit. */
	    .max_repack_bytes = spec->max_repack_bytes > 0 ? (uint64_t)spec->max_repack_bytes : 1,
	    .listener = {.on_spawned = repository_child_spawned, .on_words = prune_says, .context = job},
	};
	return repository_call_begun(
	    job, restic_prune_start(world_of(job)->base, &spec->restic, &request, pruned, error));
}

const struct step prune_steps[] = {
    {"beginning", step_begin_anew},
    {"freeing what no snapshot needs", run_prune},
    {NULL, NULL},
};
