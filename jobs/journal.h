/* The journal: a SQLite file that knows every job, where it is, what it owes, and what the last good backup
 * of each service was. Durable against power loss (WAL with synchronous=FULL; a commit that returned is on
 * the disk). Any process that may open it can read; only the runner, which holds journal_lock_runner, takes
 * jobs in and advances them.
 *
 * Schema and its history: docs/journal.md. All functions return 0, or -1 with ERROR_JOURNAL,
 * ERROR_JOURNAL_NEWER, ERROR_JOURNAL_DAMAGED, ERROR_NO_SPACE or ERROR_PERMISSION and a hint. A row that
 * cannot be read (unknown word, bad spec) is copied to the table `quarantine` with the reason and taken out
 * of the way, never deleted, and the call goes on with the others; in a read-only journal it is skipped.
 * journal_quarantine_count tells. */
#ifndef ATELIER_JOBS_JOURNAL_H
#define ATELIER_JOBS_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/child.h"
#include "core/clock.h"
#include "core/error.h"
#include "jobs/job.h"

struct journal;

/* Its file in the state directory. */
#define JOURNAL_FILE "journal.sqlite"

/* Opens STATE_DIR/journal.sqlite, making directory (0700) and file (0600) if missing, migrating an older
 * schema in one transaction. Refuses a file of another application, a newer schema (ERROR_JOURNAL_NEWER), a
 * read-only place, and to begin anew where a lost journal has left the file `owed` (ERROR_JOURNAL_DAMAGED). */
int journal_open(
    const char *state_directory, const struct clock *clock, struct journal **ret_journal, struct error *error);

/* For `status` and the like: never writes, makes nothing; a journal that does not exist yet is an empty one
 * (`*ret_journal` is NULL and 0 is returned). */
int journal_open_readonly(
    const char *state_directory, const struct clock *clock, struct journal **ret_journal, struct error *error);

void journal_close(struct journal *journal); /* accepts NULL */

/* Proves before anything is stopped that the journal can still be written: commits a row of a page or more.
 */
int journal_check_writable(struct journal *journal, struct error *error);

/* 16 hex digits drawn when the journal was made: makes job ids unique across lost journals and hosts. */
const char *journal_identity(const struct journal *journal);

/* The state directory. */
const char *journal_directory(const struct journal *journal);

/* Is it the journal's own file that stands at this path? No process that has the journal open may open it once more
 * but through SQLite: closing any descriptor of it drops the locks that the process holds on it. */
bool journal_is_file(const struct journal *journal, const char *path);

/* ---- the runner's lock on STATE_DIR/runner.lock, released by the kernel when its holder dies ---- */

/* `*ret_held` is false if another process holds it. `ret_holder` (may be NULL) gets its pid, 0 if unknown. A
 * read-only journal does not take the lock but looks at it: `*ret_held` then says that it is free. */
int journal_lock_runner(struct journal *journal, bool *ret_held, pid_t *ret_holder, struct error *error);
void journal_unlock_runner(struct journal *journal);

/* ---- submitting ---- */

struct submission {
	enum job_kind kind;
	const struct service *service; /* of a retention or prune: see maintenance_spec */
	int64_t due_at;
};

/* One run with its jobs, in one transaction. `night` ("2026-11-22") is given for a nightly run: if there is
 * one of that night already, nothing is added, *ret_run is its id and *ret_added is false. A manual backup of
 * a service that has an unfinished job is not added either, nor a second prune: the existing job counts as part
 * of the answer (*ret_run is its run if nothing at all was added). `job_ids` (may be NULL) receives one id per
 * submission: the new job's, the unfinished one's, or for an old night that night's job of the service or 0. */
int
journal_submit(struct journal *journal, enum run_kind kind, const char *night, const struct submission *submissions,
    size_t count, int64_t *ret_run, bool *ret_added, int64_t *job_ids, struct error *error);

/* A job that waits (pending or delaying) is due now. */
int journal_hasten(struct journal *journal, int64_t job_id, struct error *error);

struct run_record {
	int64_t id;
	enum run_kind kind;
	char *night; /* NULL for a manual one */
	int64_t created_at;
	size_t jobs, unfinished, complete, partial, cancelled, failed;
};
void run_record_clear(struct run_record *run);
int journal_run(struct journal *journal, int64_t run_id, struct run_record *ret_run, struct error *error);

/* ---- jobs ---- */

typedef void journal_job_fn(void *context, const struct job_record *job);

/* 1: there is one; 0: there is none; -1: error. */
int journal_job(struct journal *journal, int64_t job_id, struct job_record *ret_job, struct error *error);

struct job_filter {
	const char *service; /* NULL: all */
	int64_t run_id;      /* 0: all */
	int64_t after_id;    /* only jobs with a greater id */
	bool unfinished;     /* only those in no terminal state */
	int64_t limit;       /* newest first if set, else oldest first and all */
};
int journal_jobs(struct journal *journal, const struct job_filter *filter, journal_job_fn *each, void *context,
    struct error *error);

/* The one way to change a job: writes all fields of `job` but its spec, and if `from` differs from job->state
 * or `force` is set appends the transition row; at once, in one transaction. `event` is the word of what
 * happened, `message` words for people or NULL. With job->state terminal and the outcome complete, `last
 * good` of the service is written too; with `files` 0, as of a snapshot that does not tell, the files and bytes in it
 * stay those of the backup before. */
int journal_update_job(struct journal *journal, const struct job_record *job, enum job_state from, bool force,
    const char *event, const char *message, struct error *error);

struct transition {
	int64_t id;
	int64_t job_id;
	int64_t attempt;
	int64_t at;
	enum job_state from, to;
	const char *event;
	const char *message; /* or NULL */
};
typedef void journal_transition_fn(void *context, const struct transition *transition);

/* Of one job (job_id > 0), or of all jobs, with id > after, oldest first. */
int journal_transitions(struct journal *journal, int64_t job_id, int64_t after, journal_transition_fn *each,
    void *context, struct error *error);

/* The id of the newest transition, 0 if there is none: for followers, who show what happens from now on. */
int journal_last_transition(struct journal *journal, int64_t *ret_id, struct error *error);

/* Words for `show`: what restic, hooks and systemd said. `source` is "restic", "preBackup", "systemd", ... At
 * most 500 lines are kept per job; more are counted in a last line. */
int
journal_add_note(struct journal *journal, int64_t job_id, const char *source, const char *text, struct error *error);
typedef void journal_note_fn(void *context, int64_t at, const char *source, const char *text);
int journal_notes(struct journal *journal, int64_t job_id, journal_note_fn *each, void *context, struct error *error);

/* ---- obligations ---- */

/* Records what is owed, all in one durable transaction together with job->away_since, before the effect.
 * Fills the ids. */
int journal_owe(struct journal *journal, const struct job_record *job, struct obligation *obligations, size_t count,
    struct error *error);

/* Crosses one off. */
int journal_settle(struct journal *journal, int64_t obligation_id, enum obligation_result result, const char *message,
    struct error *error);

/* Of one job, or with job_id 0 of all; `open_only`: owed ones only. Oldest first. */
int journal_obligations(
    struct journal *journal, int64_t job_id, bool open_only, struct obligation_list *ret_list, struct error *error);

/* Those given up (a person is needed), not tried again since. */
int journal_given_up(struct journal *journal, struct obligation_list *ret_list, struct error *error);

/* ---- children: what a dead runner may have left running ---- */

int journal_child_begin(struct journal *journal, int64_t job_id, const char *command,
    const struct child_identity *child, int64_t *ret_child_id, struct error *error);
int journal_child_end(struct journal *journal, int64_t child_id, struct error *error);
struct child_record {
	int64_t id;
	int64_t job_id;
	char *command;
	struct child_identity identity;
	bool this_boot; /* begun in this boot: only then can the process still exist */
	bool ended;
};
typedef void journal_child_fn(void *context, const struct child_record *child);
/* All that were not crossed off, of all jobs. */
int journal_children(struct journal *journal, journal_child_fn *each, void *context, struct error *error);

/* ---- what the house knows ---- */

struct last_good {
	int64_t job_id;
	int64_t at; /* when the job ended */
	char *snapshot_id;
	uint64_t files, bytes, bytes_added;
	char **sources;         /* the job's sources_filled; NULL: not known */
	struct datum_list data; /* the job's; none: not known, or it has none */
};
/* 1, 0 (never), -1. */
int journal_last_good(struct journal *journal, const char *service, struct last_good *ret_good, struct error *error);
void last_good_clear(struct last_good *good);

#define cleanup_last_good __attribute__((cleanup(last_good_clear)))

/* The services with a last good backup that is newer than `since`, by name. */
typedef void journal_name_fn(void *context, const char *name);
int
journal_good_since(struct journal *journal, int64_t since, journal_name_fn *each, void *context, struct error *error);

/* By what services (each named once) are judged, all of it as of one instant: the jobs of each, newest first, as long
 * as `each` (which may take what is in the job, and may not use the journal) answers true, and its last good backup,
 * with job_id 0 if there is none. `index` is that of the service; `ret_goods` has room for `count`, is zeroed, and is
 * the caller's to clear, after a failure too. The jobs come without their specs, which are not looked at: a row that
 * only its spec makes unreadable is among them, any other unreadable row is skipped. Jobs and last good backups come
 * without their sources and data. No transaction may be open. */
typedef bool journal_survey_fn(void *context, size_t index, struct job_record *job);
int journal_survey(struct journal *journal, const char *const *services, size_t count, journal_survey_fn *each,
    void *context, struct last_good *ret_goods, struct error *error);

/* Repositories seen: `place` is a hash of the location (never the location: it may hold a password). */
int journal_repository_seen(
    struct journal *journal, const char *place, char **ret_repository_id, struct error *error); /* 1, 0, -1 */
int journal_repository_remember(
    struct journal *journal, const char *place, const char *repository_id, struct error *error);

int journal_quarantine_count(struct journal *journal, int64_t *ret_count, struct error *error);

#endif
