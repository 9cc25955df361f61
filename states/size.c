/* Is a backup as large as the last good one? The whole of it, and each database: one that has collapsed is hidden by
 * what is beside it. */
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "jobs/shrink.h"
#include "states/dumps.h"
#include "states/live.h"

/* ---- what there is ---- */

/* In pages: a file that somebody writes to may be longer. */
static struct datum
datum_of_database(const struct database_copy *copy, char *path)
{
	uint64_t page_size = copy->pages > 0 ? copy->bytes / copy->pages : 0;
	return (struct datum){
	    .kind = DATUM_SQLITE,
	    .name = path,
	    .bytes = copy->bytes,
	    .used = copy->bytes - copy->free_pages * page_size,
	    .tables = copy->tables,
	};
}

/* Who asks, and by which password, makes no other database of it. */
static char *
name_of_dump(const struct database_dump *dump)
{
	const struct postgres_source place = {
	    .database = dump->source.database,
	    .host = dump->source.host,
	    .port = dump->source.port,
	};
	return postgres_source_words(&place);
}

void
size_note_data(struct job *job)
{
	struct job_record *record = &job->record;
	const struct database_copy *copies = live_copies(job);
	const struct database_dump *dumps = dumps_of(job);
	datum_list_clear(&record->data);
	for (size_t i = 0; i < strings_count(record->spec.databases); i++) {
		struct datum datum = datum_of_database(&copies[i], record->spec.databases[i]);
		datum_list_add(&record->data, &datum);
	}
	for (size_t i = 0; i < strings_count(record->spec.postgres); i++) {
		cleanup_free char *name = name_of_dump(&dumps[i]);
		struct datum datum = {
		    .kind = DATUM_POSTGRES,
		    .name = name,
		    .bytes = dumps[i].bytes,
		    .used = dumps[i].bytes,
		    .tables = dumps[i].tables,
		};
		datum_list_add(&record->data, &datum);
	}
}

/* ---- against what there was ---- */

/* The first is the verdict, all of them are told. */
static void
judge_shrunk(struct job *job, const struct error *shrunk)
{
	job_note(job, "size", shrunk->message);
	job_judge(job, shrunk);
}

/* One that the manifest does not name any more is none that has collapsed. */
static void
judge_data(struct job *job, const struct datum_list *before)
{
	const struct job_record *record = &job->record;
	for (size_t i = 0; i < record->data.count; i++) {
		const struct datum *now = &record->data.items[i], *then = datum_list_find(before, now);
		cleanup_error struct error shrunk = {0};
		if (then != NULL && shrink_judge_datum(then, now, record->spec.max_shrink, &shrunk) < 0)
			judge_shrunk(job, &shrunk);
	}
}

static bool
is_in_a_source(const char *path, char *const *sources)
{
	for (size_t i = 0; sources != NULL && sources[i] != NULL; i++)
		if (path_is_below(path, sources[i]))
			return true;
	return false;
}

/* The bytes of databases that the manifest named then and does not name now. A SQLite database whose directory is
 * still declared is in the snapshot like any other file. */
static uint64_t
bytes_let_go(const struct job *job, const struct datum_list *before)
{
	cleanup_strings char **sources = service_sources(&job->record.spec);
	uint64_t bytes = 0;
	for (size_t i = 0; i < before->count; i++) {
		const struct datum *datum = &before->items[i];
		bool stays = datum->kind == DATUM_SQLITE && is_in_a_source(datum->name, sources);
		if (!stays && datum_list_find(&job->record.data, datum) == NULL)
			bytes += datum->bytes;
	}
	return bytes;
}

static void
judge_total(struct job *job, const struct last_good *good)
{
	const struct job_record *record = &job->record;
	uint64_t gone = bytes_let_go(job, &good->data);
	const struct backup_size before = {
	    .files = good->files,
	    .bytes = good->bytes > gone ? good->bytes - gone : 0,
	};
	const struct backup_size now = {.files = record->files, .bytes = record->bytes};
	cleanup_error struct error shrunk = {0};
	if (shrink_judge(&before, &now, record->spec.max_shrink, &shrunk) < 0)
		judge_shrunk(job, &shrunk);
}

enum step_result
step_judge_size(struct job *job, struct error *error)
{
	const struct job_record *record = &job->record;
	if (record->snapshot_id == NULL)
		return STEP_DONE;
	cleanup_last_good struct last_good good = {0};
	int found = journal_last_good(engine_journal(job->engine), record->service, &good, error);
	if (found <= 0)
		return found < 0 ? STEP_FAILED : STEP_DONE;
	judge_data(job, &good.data);
	/* Before 0.17 a snapshot that was found again does not tell its size. */
	if (!job->taken_over || record->files > 0)
		judge_total(job, &good);
	return STEP_DONE;
}
