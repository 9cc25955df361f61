/* Databases of a service that goes on running: each is copied, at one instant of its own, before restic begins, and
 * restic finds the copy in the place of the database, without the files beside it. A database that somebody still
 * holds after the stop is copied the same way. */
#include "states/live.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/filesystem.h"
#include "adapters/sqlite.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/text.h"
#include "states/staging.h"

/* Room that is left beside the copies: for the journal, and for what grows meanwhile. */
#define SPARE_ROOM ((uint64_t)64 << 20)

static const char *const side_suffixes[] = {"-wal", "-shm", "-journal"};

bool
live_service(const struct service *spec)
{
	bool stopped_by_hook = spec->stop_for_backup && spec->pre_backup != NULL;
	return strings_count(spec->databases) > 0 && strings_count(spec->stop_units) == 0 && !stopped_by_hook;
}

static struct database_copy *
copies_new(size_t count)
{
	struct database_copy *copies = xcalloc(count + 1, sizeof(*copies));
	for (size_t i = 0; i < count; i++)
		copies[i].place = -1;
	return copies;
}

struct database_copy *
live_copies(struct job *job)
{
	struct work *work = work_of(job);
	if (work->copies == NULL)
		work->copies = copies_new(strings_count(job->record.spec.databases));
	return work->copies;
}

static void
copy_clear(struct database_copy *copy)
{
	free(copy->path);
	free(copy->journal_mode);
	free(copy->sha256);
	if (copy->place >= 0)
		close(copy->place);
	*copy = (struct database_copy){.place = -1};
}

void
live_release(struct job *job)
{
	struct work *work = job->work;
	for (size_t i = 0; work->copies != NULL && i < strings_count(job->record.spec.databases); i++)
		copy_clear(&work->copies[i]);
	free(work->copies);
	work->copies = NULL;
}

/* With what is in its WAL; 0 for what is not there. */
static uint64_t
size_of_database(const char *path)
{
	cleanup_free char *wal = xasprintf("%s-wal", path);
	struct stat main_file = {0}, wal_file = {0};
	uint64_t size = stat(path, &main_file) == 0 ? (uint64_t)main_file.st_size : 0;
	return size + (stat(wal, &wal_file) == 0 ? (uint64_t)wal_file.st_size : 0);
}

/* ---- one copy ---- */

static int
copy_spawned(void *context, const struct child_identity *child, struct error *error)
{
	struct job *job = context;
	return work_record_child(job, "sqlite copy", child, &work_of(job)->child_id, error);
}

static void
copy_progressed(void *context, uint64_t done, uint64_t total)
{
	const struct restic_progress progress = {
	    .fraction = total > 0 ? (double)done / (double)total : -1,
	    .seconds_left = -1,
	};
	job_progress(context, &progress);
}

void
live_note_size(struct database_copy *copy, const struct sqlite_result *result)
{
	copy->bytes = result->bytes;
	copy->pages = result->pages;
	copy->free_pages = result->free_pages;
	copy->tables = result->tables;
}

static void
database_copied(void *context, const struct sqlite_result *result)
{
	struct job *job = context;
	struct work *work = work_of(job);
	work->fold = NULL;
	work_forget_child(job, &work->child_id);
	struct database_copy *copy = &live_copies(job)[work->copying];
	if (error_is_set(&result->error)) {
		copy_clear(copy);
		job_step_finished(job, &result->error);
		return;
	}
	live_note_size(copy, result);
	copy->journal_mode = xstrdup_null(result->journal_mode);
	copy->sha256 = xstrdup_null(result->sha256);
	job_step_again(job, 0);
}

static bool
is_in_its_place(const struct database_copy *copy, const char *path)
{
	struct stat now, then;
	return copy->place >= 0 && fstat(copy->place, &then) == 0 && lstat(path, &now) == 0 && then.st_nlink > 0 &&
	       now.st_dev == then.st_dev && now.st_ino == then.st_ino;
}

int
live_check_places(struct job *job, struct error *error)
{
	char **databases = job->record.spec.databases;
	const struct database_copy *copies = live_copies(job);
	for (size_t i = 0; databases != NULL && databases[i] != NULL; i++) {
		if (copies[i].path == NULL || is_in_its_place(&copies[i], databases[i]))
			continue;
		error_set(error, ERROR_DATABASE_REPLACED,
		    "the database %s was replaced by another file while it was backed up", databases[i]);
		return error_hint(error, "the next attempt copies the new one");
	}
	return 0;
}

enum step_result
live_copy_begin(struct job *job, size_t index, struct error *error)
{
	struct work *work = work_of(job);
	cleanup_free char *directory = staging_path(job, "sqlite");
	if (directory_make_private(directory, error) < 0 ||
	    live_check_room(job, size_of_database(job->record.spec.databases[index]), error) < 0)
		return STEP_FAILED;
	struct database_copy *copy = &live_copies(job)[index];
	copy->path = xasprintf("%s/%zu", directory, index);
	copy->place = open(job->record.spec.databases[index], O_PATH | O_NOFOLLOW | O_CLOEXEC);
	copy->taken_at = clock_wall(engine_clock(job->engine));
	work->copying = index;
	const struct sqlite_copy_request request = {
	    .path = job->record.spec.databases[index],
	    .target = copy->path,
	    .on_spawned = copy_spawned,
	    .on_progress = copy_progressed,
	    .context = job,
	};
	work->fold =
	    sqlite_copy_start(world_of(job)->base, world_of(job)->sqlite_helper, &request, database_copied, error);
	return work->fold != NULL ? STEP_WAITING : STEP_FAILED;
}

/* ---- all of a service that is not stopped ---- */

int
live_check_room(const struct job *job, uint64_t bytes, struct error *error)
{
	cleanup_free char *place = staging_path(job, "");
	int64_t room = filesystem_free_bytes(place, error);
	if (room < 0)
		return -1;
	if ((uint64_t)room >= bytes + SPARE_ROOM)
		return 0;
	cleanup_free char *needed_words = text_size(bytes + SPARE_ROOM);
	cleanup_free char *room_words = text_size((uint64_t)room);
	error_set(error, ERROR_NO_SPACE, "copies of its data need up to %s in %s, where %s are left", needed_words,
	    place, room_words);
	return error_hint(error, "make room there; the journal lies there, too");
}

static uint64_t
size_of_databases(const struct service *spec)
{
	uint64_t size = 0;
	for (size_t i = 0; spec->databases[i] != NULL; i++)
		size += size_of_database(spec->databases[i]);
	return size;
}

enum step_result
step_copy_live(struct job *job, struct error *error)
{
	const struct service *spec = &job->record.spec;
	const struct database_copy *copies = live_copies(job);
	if (!live_service(spec))
		return STEP_DONE;
	size_t next = 0;
	while (spec->databases[next] != NULL && copies[next].path != NULL)
		next++;
	if (spec->databases[next] == NULL)
		return STEP_DONE;
	if (next == 0 && live_check_room(job, size_of_databases(spec), error) < 0)
		return STEP_FAILED;
	work_begin_taking(job);
	return live_copy_begin(job, next, error);
}

/* ---- what restic finds ---- */

void
live_view(struct job *job, struct live_view *ret_view)
{
	char **databases = job->record.spec.databases;
	const struct database_copy *copies = live_copies(job);
	struct live_view view = {.binds = xcalloc(strings_count(databases) + 1, sizeof(*view.binds))};
	for (size_t i = 0; databases != NULL && databases[i] != NULL; i++) {
		if (copies[i].path == NULL)
			continue;
		view.binds[view.count++] = (struct child_bind){.source = copies[i].path, .target = databases[i]};
		for (size_t side = 0; side < ARRAY_LENGTH(side_suffixes); side++) {
			cleanup_free char *beside = xasprintf("%s%s", databases[i], side_suffixes[side]);
			strings_add(&view.left_out, beside);
		}
	}
	*ret_view = view;
}

void
live_view_clear(struct live_view *view)
{
	free(view->binds);
	strings_free(view->left_out);
	*view = (struct live_view){.binds = NULL};
}
