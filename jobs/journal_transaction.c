/* Transactions of the journal, and folding its WAL in. */
#include "jobs/journal_internal.h"

#include "core/fault.h"

#include <assert.h>

/* Fold the WAL in when a commit left it with so many frames (4 MiB). */
#define FOLD_FRAMES 1000

static int
begin(struct journal *journal, bool relaxed, struct error *error)
{
	if (journal->read_only) {
		error_set(error, ERROR_PERMISSION, "the journal %s was opened for reading only", journal->path);
		return error_hint(error, "run as the owner of %s", journal->directory);
	}
	assert(sqlite3_get_autocommit(journal->database));
	if (journal->relaxed != relaxed) {
		int code = sqlite3_exec(journal->database,
		    relaxed ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL", NULL, NULL, NULL);
		if (code != SQLITE_OK)
			return journal_error(journal, code, "set up", error);
		journal->relaxed = relaxed;
	}
	return journal_execute(journal, "BEGIN IMMEDIATE", NO_VALUES, error);
}

int
journal_begin(struct journal *journal, struct error *error)
{
	return begin(journal, false, error);
}

int
journal_begin_relaxed(struct journal *journal, struct error *error)
{
	return begin(journal, true, error);
}

static int
commit(struct journal *journal, struct error *error)
{
	if (fault_fails_commit())
		return journal_error(journal, SQLITE_FULL, "write", error);
	int code = sqlite3_exec(journal->database, "COMMIT", NULL, NULL, NULL);
	return code == SQLITE_OK ? 0 : journal_error(journal, code, "write", error);
}

/* SQLite has rolled back by itself after the worst errors; then there is nothing left to do. */
static void
roll_back(struct journal *journal)
{
	if (!sqlite3_get_autocommit(journal->database))
		sqlite3_exec(journal->database, "ROLLBACK", NULL, NULL, NULL);
}

static int
open_guard(struct journal *journal)
{
	int code = sqlite3_open_v2(journal->path, &journal->guard, SQLITE_OPEN_READWRITE, NULL);
	if (code == SQLITE_OK)
		return 0;
	sqlite3_close(journal->guard);
	journal->guard = NULL;
	return -1;
}

/* Moves the WAL's content into the main file. SQLite before 3.51.3 can lose commits when another process
 * writes while a checkpoint begins (the WAL-reset bug), so a second connection holds the write lock
 * meanwhile: nobody writes, and nobody else folds. A failure costs nothing, the next commit tries again. */
static void
fold_wal(struct journal *journal)
{
	if (journal->guard == NULL && open_guard(journal) < 0)
		return;
	if (sqlite3_exec(journal->guard, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return;
	int frames, folded;
	int code = sqlite3_wal_checkpoint_v2(journal->database, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &folded);
	if (code == SQLITE_OK && frames == folded)
		journal->wal_frames = 0;
	sqlite3_exec(journal->guard, "ROLLBACK", NULL, NULL, NULL);
}

int
journal_end(struct journal *journal, int result, struct error *error)
{
	if (result < 0 || commit(journal, error) < 0) {
		roll_back(journal);
		return -1;
	}
	fault_committed();
	if (journal->wal_frames >= FOLD_FRAMES)
		fold_wal(journal);
	return 0;
}
