/* What the state snapshot does in a retention: one listing of the repository, one plan for each service that has a
 * new good backup, one removal for all of them. */
#include <string.h>

#include "core/alloc.h"
#include "core/text.h"
#include "jobs/maintenance.h"
#include "jobs/retention.h"
#include "states/work.h"

/* Enough to find, behind cancelled jobs, the newest that came to something. */
#define JOBS_LOOKED_AT 20

/* ---- which services ---- */

struct newest {
	struct job_record job;
	bool found;
	struct last_good good;
};

static void
newest_clear(struct newest *newest)
{
	job_record_clear(&newest->job);
	last_good_clear(&newest->good);
}

#define cleanup_newest __attribute__((cleanup(newest_clear)))

static void
see_job(void *context, const struct job_record *job)
{
	struct newest *newest = context;
	if (newest->found || job->kind != JOB_KIND_BACKUP || job->outcome == OUTCOME_CANCELLED)
		return;
	newest->found = true;
	newest->job = (struct job_record){.id = job->id, .state = job->state, .outcome = job->outcome};
	service_copy(&newest->job.spec, &job->spec);
}

static void
add_name(void *context, const char *name)
{
	if (*name != '(')
		strings_add(context, name);
}

/* Those with a good backup that no complete retention has seen yet. */
static int
find_services(struct job *job, char ***ret_names, struct error *error)
{
	struct journal *journal = engine_journal(job->engine);
	struct last_good last = {0};
	cleanup_job struct job_record complete = {0};
	int found = journal_last_good(journal, maintenance_name(JOB_KIND_RETENTION), &last, error);
	if (found > 0)
		found = journal_job(journal, last.job_id, &complete, error);
	last_good_clear(&last);
	return found < 0 ? -1 : journal_good_since(journal, complete.started_at, add_name, ret_names, error);
}

static enum step_result
choose_services(struct job *job, struct error *error)
{
	struct work *work = work_of(job);
	strings_free(take_pointer(work->services));
	return find_services(job, &work->services, error) < 0 ? STEP_FAILED : STEP_DONE;
}

/* ---- what goes ---- */

struct tally {
	size_t services, left_alone, snapshots;
};

static void
leave_alone(struct job *job, const char *service, const char *reason)
{
	cleanup_free char *line = xasprintf("%s is left alone: %s", service, reason);
	job_note(job, "retention", line);
}

static void
take_plan(struct job *job, const char *service, const struct retention_plan *plan)
{
	struct work *work = work_of(job);
	for (size_t i = 0; i < plan->count; i++)
		if (plan->verdicts[i].reasons == 0)
			strings_add(&work->going, plan->verdicts[i].snapshot.id);
	cleanup_free char *line = xasprintf("%s: %zu of %zu snapshots go", service, plan->removed, plan->count);
	if (plan->removed > 0)
		job_note(job, "retention", line);
}

/* What is wrong with one service is told, and the others go on. */
static void
plan_service(struct job *job, const struct service *spec, const char *last_good,
    const struct restic_snapshot *listing, size_t count, struct tally *tally)
{
	if (spec->keep_all || strcmp(spec->restic.repository_file, job->record.spec.restic.repository_file) != 0)
		return; /* everything is to be kept, or it is kept elsewhere */
	cleanup_free struct retention_snapshot *snapshots = NULL;
	size_t own = retention_service_snapshots(listing, count, spec->name, spec->restic.host, &snapshots);
	cleanup_plan struct retention_plan plan = {0};
	cleanup_error struct error problem = {0};
	if (retention_plan_make(&spec->retention, snapshots, own, last_good, &plan, &problem) == 0) {
		take_plan(job, spec->name, &plan);
		tally->services++;
		tally->snapshots += plan.count;
		return;
	}
	leave_alone(job, spec->name, problem.message);
	tally->left_alone++;
	cleanup_error struct error skipped = {0};
	error_set(&skipped, ERROR_RETENTION_SKIPPED, "nothing was removed of %s: %s", spec->name, problem.message);
	job_judge(job, &skipped);
}

static int
consider_service(struct job *job, const char *service, const struct restic_snapshot *listing, size_t count,
    struct tally *tally, struct error *error)
{
	struct journal *journal = engine_journal(job->engine);
	cleanup_newest struct newest newest = {0};
	const struct job_filter filter = {.service = service, .limit = JOBS_LOOKED_AT};
	if (journal_jobs(journal, &filter, see_job, &newest, error) < 0 ||
	    journal_last_good(journal, service, &newest.good, error) < 0)
		return -1;
	const char *obstacle = retention_obstacle(newest.found ? &newest.job : NULL);
	if (obstacle == NULL && newest.good.snapshot_id == NULL)
		obstacle = "it is not known which snapshot is its last good one";
	if (obstacle == NULL) {
		plan_service(job, &newest.job.spec, newest.good.snapshot_id, listing, count, tally);
	} else {
		leave_alone(job, service, obstacle);
		tally->left_alone++;
	}
	return 0;
}

static void
summarise(struct job *job, const struct tally *tally)
{
	cleanup_text struct text words = {0};
	text_printf(&words, "removed %zu of %zu snapshots of %zu service%s", strings_count(work_of(job)->going),
	    tally->snapshots, tally->services, tally->services == 1 ? "" : "s");
	if (tally->left_alone > 0)
		text_printf(&words, "; %zu left alone", tally->left_alone);
	replace_string(&work_of(job)->summary, words.string);
}

static void
snapshots_listed(void *context, const struct restic_snapshot *snapshots, size_t count, const struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->restic = NULL;
	cleanup_error struct error failure = {0};
	error_copy(&failure, error);
	struct tally tally = {0};
	for (size_t i = 0; !error_is_set(&failure) && work->services != NULL && work->services[i] != NULL; i++)
		consider_service(job, work->services[i], snapshots, count, &tally, &failure);
	if (!error_is_set(&failure))
		summarise(job, &tally);
	job_step_finished(job, &failure);
}

static enum step_result
list_snapshots(struct job *job, struct error *error)
{
	struct work *work = work_of(job);
	strings_free(take_pointer(work->going));
	if (strings_count(work->services) == 0) {
		replace_string(&work->summary, "nothing to do: there is no new good backup");
		return STEP_DONE;
	}
	work->restic =
	    restic_snapshots_start(world_of(job)->base, &job->record.spec.restic, NULL, snapshots_listed, job, error);
	return work->restic != NULL ? STEP_WAITING : STEP_FAILED;
}

/* ---- it goes ---- */

static void
forget_says(void *context, const char *line)
{
	job_note(context, "restic", line);
}

static void
forgotten(void *context, const struct restic_forget_result *result)
{
	struct job *job = context;
	const struct error *error = &result->error;
	if (!repository_call_ended(job, error))
		return;
	if (error_class_of(error->code) == ERROR_CLASS_BUSY && repository_try_unlock(job, error))
		return;
	job_step_finished(job, error);
}

static enum step_result
forget_snapshots(struct job *job, struct error *error)
{
	char **going = work_of(job)->going;
	if (strings_count(going) == 0)
		return STEP_DONE;
	struct restic_listener listener = {
	    .on_spawned = repository_child_spawned, .on_words = forget_says, .context = job};
	return repository_call_begun(
	    job, restic_forget_start(world_of(job)->base, &job->record.spec.restic, (const char *const *)going,
		     strings_count(going), &listener, forgotten, error));
}

static enum step_result
tell_what_went(struct job *job, struct error *error)
{
	(void)error;
	replace_string(&job->record.summary, work_of(job)->summary);
	return STEP_DONE;
}

const struct step retention_steps[] = {
    {"beginning", step_begin_anew},
    {"choosing the services", choose_services},
    {"listing the snapshots", list_snapshots},
    {"removing what the policies no longer keep", forget_snapshots},
    {"telling what went", tell_what_went},
    {NULL, NULL},
};
