/* What the parts of the SQLite adapter share. All but sqlite_look and sqlite_side_path belong to the child's
 * side. */
#ifndef ATELIER_ADAPTERS_SQLITE_INTERNAL_H
#define ATELIER_ADAPTERS_SQLITE_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "adapters/sqlite.h"
#include "core/error.h"

#define SQLITE_SIDE_COUNT 3

/* "-wal", "-shm", "-journal". */
extern const char *const sqlite_side_suffixes[SQLITE_SIDE_COUNT];

/* The name of a side file; the caller owns it. */
char *sqlite_side_path(const char *path, const char *suffix);

/* A database as it can be known without opening it as one. */
struct sqlite_look {
	uid_t owner;
	gid_t group;
	uint64_t bytes;
	uint64_t pages;           /* as the header says, or by the size where it says nothing */
	const char *journal_mode; /* what the header says: "wal" or "delete" */
	bool wal_frames;          /* the -wal is longer than its header; the frames may have been folded in already */
	bool hot_journal;         /* the -journal has a header: an unfinished transaction, or one going on now */
};

/* See sqlite_inspect. With frames in the WAL or a hot journal the header proves nothing about the size and is
 * not compared with it. */
int sqlite_look(const char *path, struct sqlite_look *ret_look, struct error *error);

/* Is the -wal longer than its header? */
bool sqlite_has_wal_frames(const char *path);

/* Is the copy of the database at `path` one of so many pages, by its header and its size? */
int sqlite_look_at_copy(const char *path, int descriptor, uint64_t pages, uint64_t *ret_bytes, struct error *error);

/* ---- the child's side, as the file's owner ---- */

/* Becomes the owner of the file for good if we are root, with its group and the owner's supplementary groups.
 * Refuses if we are neither. Keeps the right to pass directories that are closed to the owner, if one is on
 * the way. */
int sqlite_become_owner(const char *path, struct error *error);

#define SQLITE_CONNECTION_FLAGS (SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE)

/* Opens a database of somebody else: nothing in its schema is trusted, nothing is mapped into memory. `name`
 * is a path, or a URI with SQLITE_OPEN_URI in `flags`. The path in `path` is for the error message. */
int
sqlite_connection_open(const char *name, int flags, const char *path, sqlite3 **ret_database, struct error *error);
/* Waits from now on so long for each lock that somebody else has, and looks for it once in a millisecond; opened, a
 * connection waits for two seconds. */
void sqlite_connection_be_patient(sqlite3 *database, unsigned msec);
void sqlite_connection_close(sqlite3 **database); /* for errors: what close says is not asked */
#define cleanup_sqlite __attribute__((cleanup(sqlite_connection_close)))

/* Runs one statement to its first row and gives the columns of that row joined by commas ("0,0,0"), "" if
 * there was none. The caller owns *ret_row; it may be NULL. */
int sqlite_connection_ask(sqlite3 *database, const char *sql, const char *path, char **ret_row, struct error *error);

/* Asks for `tables` and `free_pages` of the result. */
int sqlite_connection_measure(sqlite3 *database, const char *path, struct sqlite_result *result, struct error *error);

/* The error record for what `code` (of the connection, or SQLite's own) says about the database at `path`. */
int sqlite_connection_error(sqlite3 *database, int code, const char *path, struct error *error);

/* The kinds of work. `path` has no symbolic link in it. */
int sqlite_fold(const char *path, struct sqlite_result *result, struct error *error);
int sqlite_prove(const char *path, bool held, struct sqlite_result *result, struct error *error);

/* Opens the target of a copy, an empty file of ours, and gives it owner, group and mode of the database. To be called
 * before we become the owner: the target is where only root may enter. The caller closes *ret_descriptor. */
int sqlite_copy_open(const char *path, const char *target, int *ret_descriptor, struct error *error);

/* Copies into that. Writes lines of progress to stdout. The path in `target` is for error messages. */
int
sqlite_copy(const char *path, const char *target, int descriptor, struct sqlite_result *result, struct error *error);

/* quick_check of what `name` and `flags` open (see sqlite_connection_open), in a read transaction; measures it into
 * `result`, which may be NULL. */
int sqlite_check(const char *name, int flags, const char *path, struct sqlite_result *result, struct error *error);

/* ---- a file without a name (sqlite_descriptor.c) ---- */

/* From now on SQLITE_DESCRIPTOR_NAME, with SQLITE_OPEN_URI, opens this descriptor, which stays the caller's. There
 * are no locks and no other files: a database that nobody else has, and whose journal is in memory. */
int sqlite_descriptor_register(int descriptor, struct error *error);
#define SQLITE_DESCRIPTOR_NAME "file:descriptor?vfs=atelier-descriptor"

/* The errno of the first write to it that failed; 0: none did. */
int sqlite_descriptor_failure(void);

#endif
