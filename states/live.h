/* Copies of databases that may not be read where they are, and how restic finds them. */
#ifndef ATELIER_STATES_LIVE_H
#define ATELIER_STATES_LIVE_H

#include "core/child.h"
#include "states/work.h"

/* Of one database of the spec, in its order. */
struct database_copy {
	char *path; /* in the staging place; NULL: it is read where it is, and once folded the sizes are its own */
	int place;  /* the database as it was when its copy was begun: held open, so that its inode stays its own; -1:
		       none */
	int64_t taken_at; /* wall clock */
	uint64_t bytes, pages, free_pages, tables;
	char *journal_mode; /* of the database */
	char *sha256;
};

/* Are its databases copied while it runs? Not if a unit or preBackup stops it. */
bool live_service(const struct service *spec);

/* As many as the spec has databases, made when first asked for. */
struct database_copy *live_copies(struct job *job);

/* What was told of its size by a fold or a copy. */
void live_note_size(struct database_copy *copy, const struct sqlite_result *result);

/* Is there room for so many bytes more in the staging place, and for the journal beside them? ERROR_NO_SPACE. */
int live_check_room(const struct job *job, uint64_t bytes, struct error *error);

/* Copies one, proven; goes on with the step that is under way, from its beginning. */
enum step_result live_copy_begin(struct job *job, size_t index, struct error *error);

/* The step that copies all databases of such a service. */
enum step_result step_copy_live(struct job *job, struct error *error);

/* Whoever replaces a database while restic reads takes the copy from its place. -1 with ERROR_DATABASE_REPLACED if
 * that has happened to one. */
int live_check_places(struct job *job, struct error *error);

/* What restic is given: copies in the place of their databases, and nothing of what stands beside these. Points into
 * the job's copies and spec. */
struct live_view {
	struct child_bind *binds;
	size_t count;
	char **left_out;
};
void live_view(struct job *job, struct live_view *ret_view);
void live_view_clear(struct live_view *view);
void live_release(struct job *job);

#define cleanup_live_view __attribute__((cleanup(live_view_clear)))

#endif
