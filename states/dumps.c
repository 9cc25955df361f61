/* Dumps: while the service runs, as the server sees each database at one instant. */
#include "states/dumps.h"

#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/text.h"
#include "states/live.h"
#include "states/staging.h"

struct database_dump *
dumps_of(struct job *job)
{
	struct work *work = work_of(job);
	if (work->dumps == NULL)
		work->dumps = xcalloc(strings_count(job->record.spec.postgres) + 1, sizeof(*work->dumps));
	return work->dumps;
}

static void
dump_clear(struct database_dump *dump)
{
	postgres_source_clear(&dump->source);
	free(dump->dump);
	free(dump->roles);
	free(dump->owner);
	free(dump->encoding);
	free(dump->client_version);
	free(dump->sha256);
	strings_free(dump->extensions);
	*dump = (struct database_dump){.dump = NULL};
}

void
dumps_release(struct job *job)
{
	struct work *work = job->work;
	for (size_t i = 0; work->dumps != NULL && i < strings_count(job->record.spec.postgres); i++)
		dump_clear(&work->dumps[i]);
	free(work->dumps);
	work->dumps = NULL;
}

/* ---- is it there? ---- */

static enum step_result
inspect(struct job *job, size_t index, postgres_facts_fn *done, struct error *error)
{
	struct database_dump *dump = &dumps_of(job)[index];
	postgres_source_clear(&dump->source);
	if (postgres_source_read(job->record.spec.postgres[index], &dump->source, error) < 0)
		return STEP_FAILED;
	work_of(job)->postgres = postgres_inspect_start(world_of(job)->base, &dump->source, done, job, error);
	return work_of(job)->postgres != NULL ? STEP_WAITING : STEP_FAILED;
}

static void
answered(void *context, const struct postgres_facts *facts, const struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->postgres = NULL;
	cleanup_error struct error failure = {0};
	cleanup_free char *client = NULL;
	error_copy(&failure, error);
	if (!error_is_set(&failure))
		client = postgres_client("pg_dump", facts->server_version, &failure);
	if (error_is_set(&failure)) {
		job_step_finished(job, &failure);
		return;
	}
	work->asked++;
	job_step_again(job, 0);
}

enum step_result
step_ask_postgres(struct job *job, struct error *error)
{
	struct work *work = work_of(job);
	if (work->asked >= strings_count(job->record.spec.postgres))
		return STEP_DONE;
	return inspect(job, work->asked, answered, error);
}

/* ---- the dump ---- */

static int
dump_spawned(void *context, const struct child_identity *child, struct error *error)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work_forget_child(job, &work->child_id); /* the process before it, of the same call */
	return work_record_child(job, "pg_dump", child, &work->child_id, error);
}

static void
dump_progressed(void *context, uint64_t done, uint64_t expected)
{
	const struct restic_progress progress = {
	    .fraction = -1,
	    .bytes_done = done,
	    .bytes_total = expected,
	    .seconds_left = -1,
	};
	job_progress(context, &progress);
}

static void
dump_says(void *context, const char *line)
{
	job_note(context, "pg_dump", line);
}

static void
dumped(void *context, const struct postgres_dump_result *result)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->postgres = NULL;
	work_forget_child(job, &work->child_id);
	if (error_is_set(&result->error)) {
		job_step_finished(job, &result->error);
		return;
	}
	struct database_dump *dump = &dumps_of(job)[work->dumping];
	dump->dump = xstrdup(result->dump);
	dump->roles = xstrdup_null(result->roles);
	dump->client_version = xstrdup_null(result->client_version);
	dump->sha256 = xstrdup_null(result->sha256);
	dump->bytes = result->bytes;
	dump->tables = result->tables;
	work->dumping++;
	job_step_again(job, 0);
}

/* Two servers may each have a database of the same name. */
static char *
directory_of_dump(struct job *job, size_t index)
{
	const struct database_dump *dumps = dumps_of(job);
	for (size_t i = 0; i < index; i++)
		if (strcmp(dumps[i].source.database, dumps[index].source.database) == 0) {
			cleanup_free char *name = xasprintf("postgres/%zu", index + 1);
			return staging_path(job, name);
		}
	return staging_path(job, "postgres");
}

static int
begin_dump(struct job *job, const struct postgres_facts *facts, struct error *error)
{
	struct work *work = work_of(job);
	struct database_dump *dump = &dumps_of(job)[work->dumping];
	cleanup_free char *directory = directory_of_dump(job, work->dumping);
	/* Its size is with indexes and dead rows: a dump was 0.4 of it where it was measured. */
	if (directory_make_private(directory, error) < 0 || live_check_room(job, facts->bytes / 2, error) < 0)
		return -1;
	dump->taken_at = clock_wall(engine_clock(job->engine));
	dump->server_version = facts->server_version;
	dump->large_objects = facts->large_objects;
	dump->owner = xstrdup_null(facts->owner);
	dump->encoding = xstrdup_null(facts->encoding);
	dump->extensions = strings_copy(facts->extensions);
	const struct postgres_dump_request request = {
	    .source = &dump->source,
	    .facts = facts,
	    .directory = directory,
	    .on_spawned = dump_spawned,
	    .on_progress = dump_progressed,
	    .on_words = dump_says,
	    .context = job,
	};
	work->postgres = postgres_dump_start(world_of(job)->base, &request, dumped, error);
	return work->postgres != NULL ? 0 : -1;
}

static void
ready_to_dump(void *context, const struct postgres_facts *facts, const struct error *error)
{
	struct job *job = context;
	work_of(job)->postgres = NULL;
	cleanup_error struct error failure = {0};
	error_copy(&failure, error);
	if (error_is_set(&failure) || begin_dump(job, facts, &failure) < 0)
		job_step_finished(job, &failure);
}

enum step_result
step_dump_postgres(struct job *job, struct error *error)
{
	struct work *work = work_of(job);
	if (work->dumping >= strings_count(job->record.spec.postgres))
		return STEP_DONE;
	work_begin_taking(job);
	return inspect(job, work->dumping, ready_to_dump, error);
}
