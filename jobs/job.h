/* What a job is: the words of the journal and the in-memory form of its rows. */
#ifndef ATELIER_JOBS_JOB_H
#define ATELIER_JOBS_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "adapters/systemd.h"
#include "core/error.h"
#include "jobs/datum.h"
#include "jobs/service.h"

/* X(name, word, what a person reads) */
#define JOB_STATE_LIST(X)                                                                                            \
	X(PENDING, "pending", "waits for its turn")                                                                  \
	X(DELAYING, "delaying", "waits until it is due")                                                             \
	X(CHECKPOINT, "checkpoint", "checks everything before anything is stopped")                                  \
	X(STOPPING, "stopping", "stops the service")                                                                 \
	X(SNAPSHOT, "snapshot", "restic is at work")                                                                 \
	X(STARTING, "starting", "brings the service back")                                                           \
	X(PRUNED, "pruned", "done")                                                                                  \
	X(FAILED, "failed", "ended without success")

enum job_state {
#define X(name, word, text) JOB_##name,
	JOB_STATE_LIST(X)
#undef X
};
#define JOB_STATE_COUNT ((int)JOB_FAILED + 1)

/* running is what a job has until it ends. */
#define JOB_OUTCOME_LIST(X)                                                                                          \
	X(RUNNING, "running")                                                                                        \
	X(COMPLETE, "complete")                                                                                      \
	X(PARTIAL, "partial")                                                                                        \
	X(CANCELLED, "cancelled")                                                                                    \
	X(FAILED, "failed")

enum job_outcome {
#define X(name, word) OUTCOME_##name,
	JOB_OUTCOME_LIST(X)
#undef X
};

/* Retention and prune concern the whole repository. restic's locks let backups share it; the others need it alone. */
#define JOB_KIND_LIST(X)                                                                                             \
	X(BACKUP, "backup")                                                                                          \
	X(RETENTION, "retention") /* forgets the snapshots that the policies no longer keep */                       \
	X(PRUNE, "prune")         /* frees what no snapshot needs */

enum job_kind {
#define X(name, word) JOB_KIND_##name,
	JOB_KIND_LIST(X)
#undef X
};

#define JOB_KIND_COUNT ((int)JOB_KIND_PRUNE + 1)

#define RUN_KIND_LIST(X)                                                                                             \
	X(NIGHTLY, "nightly")                                                                                        \
	X(MANUAL, "manual")

enum run_kind {
#define X(name, word) RUN_##name,
	RUN_KIND_LIST(X)
#undef X
};

#define OBLIGATION_KIND_LIST(X)                                                                                      \
	X(START_UNIT, "start-unit")   /* subject: the unit's name */                                                 \
	X(POST_BACKUP, "post-backup") /* subject: the service's name */

enum obligation_kind {
#define X(name, word) OBLIGATION_##name,
	OBLIGATION_KIND_LIST(X)
#undef X
};

/* given-up is the bad end: tried as often as allowed, a person is needed; `recover` tries those again. */
#define OBLIGATION_RESULT_LIST(X)                                                                                    \
	X(OWED, "owed")                                                                                              \
	X(PAID, "paid")                                                                                              \
	X(HANDED_OVER, "handed-over") /* another job holds the same unit and owes its start */                       \
	X(GIVEN_UP, "given-up")

enum obligation_result {
#define X(name, word) RESULT_##name,
	OBLIGATION_RESULT_LIST(X)
#undef X
};

const char *job_state_word(enum job_state state);
const char *job_state_text(enum job_state state);
const char *job_outcome_word(enum job_outcome outcome);
const char *job_kind_word(enum job_kind kind);
const char *run_kind_word(enum run_kind kind);
const char *obligation_kind_word(enum obligation_kind kind);
const char *obligation_result_word(enum obligation_result result);
const char *unit_role_word(enum unit_role role);

/* Each returns false for a word this version does not know. */
bool job_state_from_word(const char *word, enum job_state *ret_state);
bool job_outcome_from_word(const char *word, enum job_outcome *ret_outcome);
bool job_kind_from_word(const char *word, enum job_kind *ret_kind);
bool run_kind_from_word(const char *word, enum run_kind *ret_kind);
bool obligation_kind_from_word(const char *word, enum obligation_kind *ret_kind);
bool obligation_result_from_word(const char *word, enum obligation_result *ret_result);
bool unit_role_from_word(const char *word, enum unit_role *ret_role);

bool job_state_is_terminal(enum job_state state);

/* A job's row. Times are wall-clock microseconds, 0: not yet. */
struct job_record {
	int64_t id;
	int64_t run_id;
	enum job_kind kind;
	char *service;
	enum job_state state;
	enum job_outcome outcome;
	int64_t attempt; /* 1 is the first */
	int64_t busy;    /* attempts that only met a lock of somebody else: they do not use up the tries */
	int64_t due_at;
	int64_t submitted_at;
	int64_t started_at; /* first entry into checkpoint */
	int64_t ended_at;
	int64_t state_since;
	bool snapshot_begun; /* restic may have made a snapshot in this attempt: look before making another */
	char *snapshot_id;   /* NULL until known */
	uint64_t files;
	uint64_t bytes;
	uint64_t bytes_added;
	uint64_t missing_count;
	char **sources_filled; /* the declared sources that hold something in this attempt (jobs/sources.h); NULL: not
				* known, and not read by journal_survey */
	struct datum_list data; /* the databases as this attempt has taken them, from the moment restic begins; not
				 * read by journal_survey */
	bool unindexed;         /* an upload was cut that may have stored much: see step_repair_index */
	int64_t away_since;     /* when the first obligation of this attempt was recorded */
	int64_t away;           /* microseconds the service was away in all attempts, as far as it is over */
	char *waiting;          /* why it waits for another attempt, in words; NULL: it does not */
	char *summary;          /* what a retention or prune did, in words; NULL: nothing yet, or a backup */
	struct error error;     /* the verdict so far: why it failed or what is missing; NONE while all is well */
	struct service spec;    /* frozen when submitted */
};

void job_record_clear(struct job_record *job);

struct obligation {
	int64_t id;
	int64_t job_id;
	enum obligation_kind kind;
	char *subject;
	enum unit_role role; /* of a unit; UNIT_ROLE_MAIN otherwise */
	bool settles;        /* see struct unit */
	int64_t created_at;
	int64_t settled_at; /* 0 while owed */
	enum obligation_result result;
	char *message; /* why it was given up, or NULL */
};

struct obligation_list {
	struct obligation *items;
	size_t count;
};
void obligation_list_clear(struct obligation_list *list);

#define cleanup_job         __attribute__((cleanup(job_record_clear)))
#define cleanup_obligations __attribute__((cleanup(obligation_list_clear)))

#endif
