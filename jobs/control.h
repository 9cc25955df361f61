/* The runner's socket: what its clients and it say to each other.
 *
 * A frame is a length of four bytes (big endian) and so many bytes of msgpack: one map. A client sends requests, one
 * after the other; each is answered by one reply that carries its number. Events of jobs that are followed come in
 * between. The words of states, kinds, outcomes and errors are those of the journal. Format: docs/control.md.
 *
 * Nothing that comes in is trusted: a frame that is too long, cut, no map, or lacks a key ends that connection and
 * nothing else. Who the other side is, the kernel says (SO_PEERCRED): root and whoever the runner runs as may ask for
 * anything, members of the status group for `status` and `follow`, everybody else for nothing. No secret is in any
 * frame: specs name the files that hold them. */
#ifndef ATELIER_JOBS_CONTROL_H
#define ATELIER_JOBS_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "adapters/restic.h"
#include "core/error.h"
#include "jobs/job.h"
#include "jobs/journal.h"

#define CONTROL_VERSION     2
#define CONTROL_SOCKET_NAME "control.sock"

/* Bytes of one frame. A submission of a thousand services has to fit into the large one. */
#define CONTROL_LARGEST_FROM_ROOT   (16 * 1024 * 1024)
#define CONTROL_LARGEST_FROM_OTHERS (64 * 1024)

/* X(name, word, who may ask) */
#define CONTROL_REQUEST_LIST(X)                                                                                      \
	X(SUBMIT, "submit", ROOT)   /* new jobs */                                                                   \
	X(FOLLOW, "follow", STATUS) /* tell what happens to these jobs, until they have ended */                     \
	X(CANCEL, "cancel", ROOT)   /* end this job, through `starting` if anything is owed */                       \
	X(RETRY, "retry", ROOT)     /* a waiting job is due now; an ended one is submitted again */                  \
	X(STATUS, "status", STATUS) /* the running jobs, live, and what the journal knows of services */             \
	X(RECOVER, "recover", ROOT) /* try again what was given up */

enum control_request {
#define X(name, word, who) CONTROL_##name,
	CONTROL_REQUEST_LIST(X)
#undef X
};
#define CONTROL_REQUEST_COUNT ((int)CONTROL_RECOVER + 1)

/* X(name, word) */
#define CONTROL_EVENT_LIST(X)                                                                                        \
	X(TRANSITION, "transition")                                                                                  \
	X(STEP, "step")                                                                                              \
	X(PROGRESS, "progress")                                                                                      \
	X(WORDS, "words")                                                                                            \
	X(NOTICE,                                                                                                    \
	    "notice")   /* words of the runner itself, about no job: what a signal leads to, what it took over */    \
	X(END, "end")   /* the last of the followed jobs has ended */                                                \
	X(LOST, "lost") /* the runner could not go on with jobs: `message`; they stay in the journal */

enum control_event_kind {
#define X(name, word) CONTROL_EVENT_##name,
	CONTROL_EVENT_LIST(X)
#undef X
};

/* Something that happened. Strings are owned by whoever owns the struct, NULL where they do not apply. */
struct control_event {
	enum control_event_kind kind;
	int64_t job_id; /* 0: of no job */
	char *service;
	enum job_state from, to; /* TRANSITION */
	char *word;              /* TRANSITION: the event; STEP: the step; WORDS: who speaks */
	char *message;           /* TRANSITION, WORDS, NOTICE, LOST */
	struct restic_progress progress;
};
void control_event_clear(struct control_event *event);

/* ---- what is asked and answered ---- */

struct control_submission {
	enum run_kind kind;
	char *night;      /* of a nightly run */
	int64_t parallel; /* jobs at once from now on, 0: as it is */
	struct submission *jobs;
	size_t count;
};

struct control_submitted {
	int64_t run_id;
	bool added;
	int64_t *job_ids; /* one per submission; see journal_submit */
	size_t count;
};

/* A job that has not ended, as the runner has it in memory. */
struct live_job {
	int64_t id;
	int64_t run_id;
	enum job_kind kind;
	char *service;
	enum job_state state;
	int64_t attempt;
	int64_t due_at;
	int64_t state_since;
	int64_t away_since;
	char *step;    /* what it is doing, or NULL */
	char *waiting; /* why it waits, in words, or NULL */
	bool has_progress;
	struct restic_progress progress;
};
struct live_job_list {
	struct live_job *items;
	size_t count;
};
void live_job_list_clear(struct live_job_list *list);

#endif
