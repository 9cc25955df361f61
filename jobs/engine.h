/* The engine advances jobs: one event at a time, one table, one setter.
 *
 * It knows what a state machine is, not what this program's states do: the machine (table, records of the
 * states) is given to it by states/machine.h, and by tests. Adapters' callbacks never move a job; they post
 * one event that names job and generation, and an event for a job or a generation that is gone finds nothing
 * and is logged.
 *
 * Every transition is journaled before the new state's work begins. If the journal can no longer be written,
 * the engine goes on in memory only: every job gets the error as a permanent failure, which brings its
 * service back, and no new job is begun; recovery reads the rest from the journal later. */
#ifndef ATELIER_JOBS_ENGINE_H
#define ATELIER_JOBS_ENGINE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "adapters/restic.h"
#include "core/clock.h"
#include "core/error.h"
#include "jobs/job.h"
#include "jobs/journal.h"

struct engine;
struct job;

/* X(name, word in the journal, what happened) */
#define JOB_EVENT_LIST(X)                                                                                            \
	X(TAKE, "take", "the runner takes the job up")                                                               \
	X(DUE, "due", "its time has come and there is a free place")                                                 \
	X(DONE, "done", "the state's work is finished")                                                              \
	X(TRANSIENT, "transient", "the work failed and is worth another try")                                        \
	X(BUSY, "busy", "the repository is locked by somebody else")                                                 \
	X(PERMANENT, "permanent", "the work failed and will fail again")                                             \
	X(DEADLINE, "deadline", "the state took too long")                                                           \
	X(CANCEL, "cancel", "somebody asked for the end")                                                            \
	X(RECOVER, "recover", "the runner died in this state; a new one takes over")

enum job_event {
#define X(name, word, text) EVENT_##name,
	JOB_EVENT_LIST(X)
#undef X
};
#define JOB_EVENT_COUNT ((int)EVENT_RECOVER + 1)

const char *job_event_word(enum job_event event);
const char *job_event_text(enum job_event event);

/* What a row may ask about the job; the first row of (state, event) whose guard holds is taken. */
#define JOB_GUARD_LIST(X)                                                                                            \
	X(ALWAYS, "")                                                                                                \
	X(OWES, "something is owed (a unit's start, postBackup), or an upload still has to be ended")                \
	X(TO_STOP, "there are units to stop or databases to fold")                                                   \
	X(FROZEN, "a frozen copy was taken")                                                                         \
	X(UNSURE, "nothing failed, and no snapshot is known yet")                                                    \
	X(GOOD, "nothing failed, and the snapshot is known (a backup's; the others make none)")                      \
	X(RETRY, "the failure is transient and attempts are left, or the lock may still go away")

enum job_guard {
#define X(name, text) GUARD_##name,
	JOB_GUARD_LIST(X)
#undef X
};
#define JOB_GUARD_COUNT ((int)GUARD_RETRY + 1)

const char *job_guard_word(enum job_guard guard);
const char *job_guard_text(enum job_guard guard);
bool job_guard_holds(const struct job *job, enum job_guard guard);

/* One row. `stay` takes note of the event without leaving the state (its work goes on); otherwise `next` is
 * entered, also when it is the same state. */
struct transition_row {
	enum job_state state;
	enum job_event event;
	enum job_guard guard;
	enum job_state next;
	bool stay;
};

/* A piece of a state's work. done: go on with the next; waiting: job_step_finished or job_step_again will be
 * called from the loop; failed: `error` says why (class partial: noted, and the work goes on). */
enum step_result { STEP_DONE, STEP_WAITING, STEP_FAILED };

struct step {
	const char *word; /* for people: "reaching the repository" */
	enum step_result (*begin)(struct job *job, struct error *error);
};

/* A state is a record: the steps from top to bottom are its story. */
struct state {
	enum job_state state;
	/* Of each kind of job, up to one without `begin`; NULL: it waits for events only. */
	const struct step *steps[JOB_KIND_COUNT];
	void (*leave)(struct job *job);          /* lets go of what the next state may not own; may be NULL */
	int64_t (*deadline)(const struct job *); /* microseconds for the whole state; NULL or 0: none */
	bool loses_work;                         /* a runner's death here is a transient failure of the attempt */
};

struct machine {
	const struct state *states; /* JOB_STATE_COUNT of them, in the order of enum job_state */
	const struct transition_row *rows;
	size_t row_count;
	void (*release)(struct job *job); /* frees job->work when the attempt or the job is over; may be NULL */
	void *context;                    /* the states' own world */
	void (*dead_restic)(void *context, int64_t child_id, pid_t pid); /* left by a dead runner; may be NULL */
};

/* The row that an event takes in a job's state, or NULL: such an event is a bug of ours. */
const struct transition_row *machine_row(const struct machine *machine, const struct job *job, enum job_event event);

/* A job while the engine has it. */
struct job {
	struct job_record record;
	struct obligation_list owed; /* what is open, as in the journal */
	struct engine *engine;
	const struct step *step; /* the step that is under way */
	uint64_t generation;     /* counts states and steps begun: tells late events apart */
	int64_t deadline_at;     /* monotonic, 0: none */
	int64_t wake_at;         /* monotonic: a parked step goes on, 0: not parked */
	int64_t back_at;         /* wall: when the last unit was up again, before it was seen to stay up; 0: not */
	unsigned start_rounds;   /* rounds of bringing the service back that failed */
	bool reading;            /* set while restic reads: it has to be ended before the job waits or ends */
	bool to_stop;            /* set by checkpoint */
	bool frozen;             /* set by stopping */
	bool taken_over;         /* was half done when this runner began */
	void *work;              /* the states' own data of this attempt */
	TAILQ_ENTRY(job) entry;
};

/* What the faces may watch. Any function may be NULL. */
struct engine_observer {
	void (*transition)(
	    void *context, const struct job *job, enum job_state from, enum job_event event, const char *message);
	void (*step)(void *context, const struct job *job, const char *word);
	void (*progress)(void *context, const struct job *job, const struct restic_progress *progress);
	void (*words)(void *context, const struct job *job, const char *source, const char *line);
	void *context;
};

struct engine_settings {
	struct event_base *base;
	struct journal *journal;
	const struct clock *clock;
	const struct machine *machine;
	int64_t parallel; /* jobs between checkpoint and starting at the same time */
};

struct engine *engine_new(const struct engine_settings *settings);
void engine_free(struct engine *engine); /* accepts NULL */
void engine_observe(struct engine *engine, const struct engine_observer *observer);

/* Called whenever the engine has worked off all its events: the runner looks what to wait for next. */
void engine_on_idle(struct engine *engine, void (*idle)(void *context), void *context);

/* Loads every unfinished job of the journal that the engine does not have yet. Jobs past `pending` were left by a
 * dead runner and are taken over with the event RECOVER. */
int engine_load(struct engine *engine, struct error *error);

/* Only those that owe something, for one who pays and leaves the rest to the next runner. */
int engine_load_owing(struct engine *engine, struct error *error);

/* Gives the jobs that are due their places, fires deadlines and parked steps. Called by the runner's timers.
 */
void engine_tick(struct engine *engine);

/* When to call engine_tick again: the earliest due time (wall clock) and the earliest deadline (monotonic);
 * 0: none. */
void engine_next(const struct engine *engine, int64_t *ret_wall, int64_t *ret_monotonic);

/* Unfinished jobs the engine has. Terminal ones are let go of after their transition was told to the
 * observer. */
size_t engine_unfinished(const struct engine *engine);

struct job *engine_find(struct engine *engine, int64_t job_id);

/* Every unfinished job, in the order they came. `each` may not move jobs. */
void engine_each(const struct engine *engine, void (*each)(void *context, const struct job *job), void *context);

/* From now on so many jobs between checkpoint and starting. Call engine_tick afterwards. */
void engine_set_parallel(struct engine *engine, int64_t parallel);

/* Asks all jobs, or one (job_id > 0), to end: through `starting` if anything is owed. */
void engine_cancel(struct engine *engine, int64_t job_id, const char *why);

/* Gives no more places. Jobs that have one go on to their end. */
void engine_close(struct engine *engine);

/* Ends the attempts under way in good order, as transient failures: services come back, the jobs wait in the
 * journal for the next runner. Implies engine_close. */
void engine_interrupt(struct engine *engine, const char *why);

/* Jobs between checkpoint and starting. */
size_t engine_placed(const struct engine *engine);

/* Tells the engine that the journal cannot be used any more: see above. */
void engine_lose_journal(struct engine *engine, const struct error *error);

/* The journal's failure, if it could not be written any more. */
const struct error *engine_journal_error(const struct engine *engine);

struct event_base *engine_base(const struct engine *engine);
struct journal *engine_journal(const struct engine *engine);
const struct clock *engine_clock(const struct engine *engine);
void *engine_machine_context(const struct engine *engine);

/* ---- for the states ---- */

/* Ends the step that is under way; posted, so it may be called from any callback. `error` NULL or NONE: the
 * next step begins. Class partial: noted in the verdict, the next step begins. Else the event of the error's
 * class. Copied. */
void job_step_finished(struct job *job, const struct error *error);

/* Begins the same step again (it has more to do), after `delay` microseconds (0: at once). */
void job_step_again(struct job *job, int64_t delay);

/* The state's deadline is `span` from now: for a step that has a time of its own. */
void job_set_deadline(struct job *job, int64_t span);

/* Posts an event from outside the steps (a unit that came back to life). */
void job_post(struct job *job, enum job_event event, const struct error *error);

/* Takes an error into the verdict. The graver one stays, of two alike the first: partial, then what may be tried
 * again, then cancelled, then permanent. */
void job_judge(struct job *job, const struct error *error);

/* Is another backup at work in the same repository? */
bool job_has_company(const struct job *job);

/* Does another job of this engine owe the start of the unit? Only such a job will start it. */
bool job_shares_unit(const struct job *job, const char *unit);

bool job_owes(const struct job *job);
bool job_has_failed(const struct job *job); /* the verdict is worse than partial */

/* Records obligations durably before the effect, and in job->owed. */
int job_owe(struct job *job, const struct obligation *obligations, size_t count, struct error *error);

/* For what is owed already because it has happened: kept in memory even if the journal cannot be written any
 * more. */
void job_owe_late(struct job *job, const struct obligation *obligations, size_t count);

/* Crosses off job->owed.items[index]. A journal that cannot be written does not keep it from being crossed
 * off in memory. */
void job_settle(struct job *job, size_t index, enum obligation_result result, const char *message);

/* Words for the journal and the observer. */
void job_note(struct job *job, const char *source, const char *line);
void job_progress(struct job *job, const struct restic_progress *progress);

/* Writes the row without a transition (snapshot_begun, sizes). */
int job_save(struct job *job, struct error *error);

#endif
