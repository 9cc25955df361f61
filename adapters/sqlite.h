/* Other people's SQLite databases. All work on them happens in a child process that becomes the file's owner first:
 * POSIX locks die when any descriptor of the file is closed in a process, and a side file owned by root would lock
 * the service out. The child is this program again with the hidden command `sqlite-helper` (sqlite_helper_main).
 *
 * Each start function returns NULL with an error when the child could not be started; otherwise the callback comes
 * exactly once from the loop, unless sqlite_call_abandon is called. */
#ifndef ATELIER_ADAPTERS_SQLITE_H
#define ATELIER_ADAPTERS_SQLITE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/child.h"
#include "core/error.h"

struct sqlite_call;

struct sqlite_result {
	struct error error;
	char *journal_mode;  /* "wal", "delete", ...; NULL when not learned */
	uint64_t bytes;      /* size of the main file; of a copy: of the copy */
	bool wal_folded;     /* a WAL with frames was folded into the main file */
	uint64_t pages;      /* of the main file, from its header; of a copy: of the copy */
	uint64_t free_pages; /* of a folded database and of a copy: pages that hold nothing */
	uint64_t tables;     /* ... and tables in its schema */
	char *sha256;        /* of a copy: 64 hex digits; else NULL */
};
typedef void sqlite_fn(void *context, const struct sqlite_result *result);

/* Looks at the file without changing anything and without opening it as a database: exists, regular file, no symbolic
 * link, SQLite magic, header's page count fits the size, file system not read-only nor network; for `check` and
 * preflight. Cheap, in this process (reads 100 bytes; never use it while this process has the database open). */
int sqlite_inspect(const char *path, struct error *error);

/* Words about the processes that have the database or a side file open ("sqlite3 (pid 123, uid 1000)"), from /proc;
 * NULL if there are none. The caller owns it. Needs root to see other users' processes. */
char *sqlite_holders(const char *path);

/* After the service has stopped: makes sure that nobody holds the file (ERROR_DATABASE_HELD names them), then as the
 * file's owner folds the WAL in (wal_checkpoint(TRUNCATE) must answer 0,0,0) or rolls a hot journal back, leaves no
 * side file behind, and compares the header's page count with the file's size. Never creates a database. */
struct sqlite_call *sqlite_fold_start(struct event_base *base, const char *helper, const char *path,
    child_spawned_fn *on_spawned, sqlite_fn *done, void *context, struct error *error);

/* PRAGMA quick_check in a read transaction, as the file's owner. Good on a stopped database beside the upload
 * (nothing is made beside the file then) and on a live one; a live writer without a WAL waits meanwhile, so prefer
 * its copy. ERROR_DATABASE_DAMAGED with SQLite's first finding, ERROR_DATABASE_HELD when it could not be read for a
 * lock. */
struct sqlite_call *sqlite_prove_start(struct event_base *base, const char *helper, const char *path, sqlite_fn *done,
    void *context, struct error *error);

struct sqlite_copy_request {
	const char *path;             /* the live database */
	const char *target;           /* made anew; in an existing directory that nobody but root may enter */
	child_spawned_fn *on_spawned; /* may be NULL */
	void (*on_progress)(void *context, uint64_t done, uint64_t total); /* in pages; may be NULL */
	void *context;                                                     /* of all callbacks */
};

/* Copies a live database as its owner by the online backup API, under one read transaction, so that writers restart
 * nothing (and a writer without a WAL waits: it is told how long by the journal_mode of the result); the live file is
 * never checkpointed, and gets no side file of root's. The copy is one file in rollback mode, synced, with owner,
 * group and mode of the database, proven by quick_check and by its page count. On failure nothing is left at
 * `target`. ERROR_DATABASE_HELD where somebody keeps it locked (locking_mode=EXCLUSIVE), ERROR_NO_SPACE,
 * ERROR_DATABASE_DAMAGED for what the proof finds, and what sqlite_inspect says. A death of ours ends it. */
struct sqlite_call *sqlite_copy_start(struct event_base *base, const char *helper,
    const struct sqlite_copy_request *request, sqlite_fn *done, struct error *error);

/* Kills the child and forgets the call; no callback comes. Accepts NULL. */
void sqlite_call_abandon(struct sqlite_call *call);

/* The child's side: `sqlite-helper fold|prove PATH`, `sqlite-helper copy PATH TARGET` (arguments[0] is the command's
 * name). One JSON object on stdout. Returns the exit code. */
int sqlite_helper_main(int argument_count, char **arguments);

/* The helper program of this process: /proc/self/exe, which stays this very program while it is being upgraded, or
 * $ATELIER_BACKUP_HELPER for tests. */
const char *sqlite_default_helper(void);

#endif
