/* What the files of the journal share: the handle, the statement cache, transactions, and words for SQLite's
 * errors. The public contract is jobs/journal.h. */
#ifndef ATELIER_JOBS_JOURNAL_INTERNAL_H
#define ATELIER_JOBS_JOURNAL_INTERNAL_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/clock.h"
#include "core/error.h"
#include "jobs/journal.h"

struct statement;

struct journal {
	char *directory;
	char *path;
	const struct clock *clock;
	bool read_only;
	sqlite3 *database;
	sqlite3 *guard; /* holds the write lock while `database` checkpoints; opened when first needed */
	struct statement *statements;
	bool relaxed;   /* the transaction at hand need not be on the disk when it returns */
	int wal_frames; /* after the last commit */
	char identity[17];
	int lock_descriptor; /* -1: not open */
};

/* ---- errors ---- */

/* Makes an error of a SQLite result code. `doing` is the verb before "the journal": "open", "read", "write".
 */
int journal_error(const struct journal *journal, int code, const char *doing, struct error *error);

/* Adds what to do about a journal that cannot be read: the units it may owe are in the file `owed`. Returns
 * -1. */
int journal_damaged(const struct journal *journal, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- statements: prepared once, kept with the journal ---- */

struct statement {
	struct statement *next;
	char *sql;
	sqlite3_stmt *handle;
	bool in_use;
};

struct value {
	enum { VALUE_INTEGER, VALUE_TEXT, VALUE_BLOB } type;
	int64_t integer;
	const void *bytes; /* a NULL text is SQL's NULL */
	size_t length;
};

static inline struct value
integer_value(int64_t integer)
{
	return (struct value){.type = VALUE_INTEGER, .integer = integer};
}

static inline struct value
text_value(const char *text)
{
	return (struct value){.type = VALUE_TEXT, .bytes = text};
}

static inline struct value
blob_value(const void *bytes, size_t length)
{
	return (struct value){.type = VALUE_BLOB, .bytes = bytes, .length = length};
}

/* Two arguments: the values for the statement's parameters in order, and their count. */
#define VALUES(...)                                                                                                  \
	(const struct value[]){__VA_ARGS__}, (sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value))
#define NO_VALUES NULL, 0

/* A statement ready to be stepped. The texts and blobs of `values` must outlive it. The caller gives it back
 * with statement_release (or cleanup_statement). The same SQL may be in use several times. */
int journal_query(struct journal *journal, const char *sql, const struct value *values, size_t count,
    struct statement **ret_statement, struct error *error);

/* 1: there is a row; 0: no more; -1: error. */
int journal_step(struct journal *journal, struct statement *statement, struct error *error);

void statement_release(struct statement *statement); /* accepts NULL */
void journal_drop_statements(struct journal *journal);

/* A statement without rows, from beginning to end. */
int journal_execute(
    struct journal *journal, const char *sql, const struct value *values, size_t count, struct error *error);

/* The first column of the first row. 1, 0 (no row), -1. */
int journal_integer(struct journal *journal, const char *sql, const struct value *values, size_t count,
    int64_t *ret_integer, struct error *error);

/* The first column of all rows. Lists are read as ids first and then row by row, so that no statement is open
 * while a caller's function runs: it may use the journal. The caller frees *ret_ids. */
int journal_ids(struct journal *journal, const char *sql, const struct value *values, size_t count, int64_t **ret_ids,
    size_t *ret_count, struct error *error);

/* A column's text; never NULL. Valid until the next step. */
const char *column_text(const struct statement *statement, int column);

/* A copy; NULL where the column is NULL. */
char *column_copy(const struct statement *statement, int column);

static inline void
cleanup_statement_function(struct statement **statement)
{
	statement_release(*statement);
}
#define cleanup_statement __attribute__((cleanup(cleanup_statement_function)))

/* ---- transactions ---- */

/* BEGIN IMMEDIATE. What is committed by journal_end is on the disk. */
int journal_begin(struct journal *journal, struct error *error);

/* The same, but the commit may be lost when the machine loses power (not when we are killed) until the next
 * one of the other kind: for words that nobody's safety depends on. */
int journal_begin_relaxed(struct journal *journal, struct error *error);

/* Commits if `result` is 0, else rolls back. Returns 0, or -1 after a rollback. */
int journal_end(struct journal *journal, int result, struct error *error);

/* ---- schema ---- */

#define JOURNAL_APPLICATION_ID 0x41744272 /* "AtBr" */

struct migration_list {
	const char *const *steps; /* steps[n] brings version n to n + 1 */
	int count;
};
extern const struct migration_list journal_migrations;

/* Brings the schema to the newest version in one transaction, and reads the version again inside it: another
 * process may have been faster. ERROR_JOURNAL_NEWER for a version it does not know. */
int journal_migrate(struct journal *journal, const struct migration_list *migrations, struct error *error);

/* Is this ours, and which version? 0 for a file without any content. ERROR_JOURNAL if it is another
 * application's. */
int journal_version(struct journal *journal, int64_t *ret_version, struct error *error);

int journal_newer(const struct journal *journal, int64_t version, int64_t known, struct error *error);

/* ---- rows of jobs ---- */

/* The columns of a job in the order they are selected; the spec, the sources and the data come last, where they are
 * wanted. */
enum job_column {
	COLUMN_ID,
	COLUMN_RUN_ID,
	COLUMN_KIND,
	COLUMN_SERVICE,
	COLUMN_STATE,
	COLUMN_OUTCOME,
	COLUMN_ATTEMPT,
	COLUMN_BUSY,
	COLUMN_DUE_AT,
	COLUMN_SUBMITTED_AT,
	COLUMN_STARTED_AT,
	COLUMN_ENDED_AT,
	COLUMN_STATE_SINCE,
	COLUMN_SNAPSHOT_BEGUN,
	COLUMN_SNAPSHOT_ID,
	COLUMN_FILES,
	COLUMN_BYTES,
	COLUMN_BYTES_ADDED,
	COLUMN_MISSING_COUNT,
	COLUMN_UNINDEXED,
	COLUMN_AWAY_SINCE,
	COLUMN_AWAY,
	COLUMN_WAITING,
	COLUMN_SUMMARY,
	COLUMN_ERROR_CODE,
	COLUMN_ERROR_MESSAGE,
	COLUMN_ERROR_HINT,
	COLUMN_SPEC,
	COLUMN_SOURCES,
	COLUMN_DATA,
};

#define JOB_COLUMNS                                                                                                  \
	"id, run_id, kind, service, state, outcome, attempt, busy, due_at, submitted_at, started_at, ended_at,"      \
	" state_since, snapshot_begun, snapshot_id, files, bytes, bytes_added, missing_count, unindexed, "           \
	"away_since, away,"                                                                                          \
	" waiting, summary, error_code, error_message, error_hint"

/* A job from a row of JOB_COLUMNS, without its spec, its sources and its data. -1 with the reason why the row cannot
 * be read; *ret_job is then untouched. */
int journal_read_columns(const struct statement *row, struct job_record *ret_job, struct error *reason);

/* The last good backups of the services whose names lie between two of them, as strcmp has it, without their sources
 * and data. `each` gets what is in *good. */
typedef void journal_good_fn(void *context, const char *service, struct last_good *good);
int journal_last_goods(struct journal *journal, const char *first, const char *last, journal_good_fn *each,
    void *context, struct error *error);

/* ---- rows that cannot be read ---- */

/* The tables whose rows can be set aside. The flag says whether the table has a column `quarantined`; the
 * rows of the others are recognised as bad each time they are read. X(name, table, has the column) */
#define QUARANTINE_TABLE_LIST(X)                                                                                     \
	X(RUN, "run", false)                                                                                         \
	X(JOB, "job", true)                                                                                          \
	X(TRANSITION, "transition", false)                                                                           \
	X(OBLIGATION, "obligation", true)                                                                            \
	X(CHILD, "child", false)

enum quarantine_table {
#define X(name, table, marked) QUARANTINE_##name,
	QUARANTINE_TABLE_LIST(X)
#undef X
};

/* Copies the row to the table `quarantine` and marks it, in its own transaction. Does nothing in a read-only
 * journal. No statement that reads the row may be open. */
int journal_quarantine(
    struct journal *journal, enum quarantine_table table, int64_t id, const char *reason, struct error *error);

/* ---- the file `owed` ---- */

/* Writes the file anew from the open obligations as this connection sees them, or removes it if there are
 * none. */
int journal_write_owed(struct journal *journal, struct error *error);

/* The same after a change that has been made: a file that cannot follow names too much, never too little, so
 * that is only logged. */
void journal_follow_owed(struct journal *journal);

/* Refuses to go on without the journal that a leftover `owed` belongs to. */
int journal_check_orphan(const struct journal *journal, struct error *error);

#endif
