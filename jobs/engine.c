#include "jobs/engine.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/text.h"
#include "jobs/backoff.h"

enum message_kind { MESSAGE_EVENT, MESSAGE_STEP_FINISHED, MESSAGE_STEP_AGAIN };

struct message {
	enum message_kind kind;
	int64_t job_id;
	uint64_t generation;
	enum job_event event;
	int64_t delay;
	struct error error;
	TAILQ_ENTRY(message) entry;
};

struct engine {
	struct engine_settings settings;
	struct engine_observer observer;
	TAILQ_HEAD(job_queue, job) jobs;
	TAILQ_HEAD(message_queue, message) messages;
	struct event *work; /* made active when there are messages */
	void (*idle)(void *context);
	void *idle_context;
	struct error journal_error;
	bool closed;
};

static const struct {
	const char *word, *text;
} events[] = {
#define X(name, word, text) [EVENT_##name] = {word, text},
    JOB_EVENT_LIST(X)
#undef X
};

static const struct {
	const char *word, *text;
} guards[] = {
#define X(name, text) [GUARD_##name] = {#name, text},
    JOB_GUARD_LIST(X)
#undef X
};

const char *
job_event_word(enum job_event event)
{
	return events[event].word;
}

const char *
job_event_text(enum job_event event)
{
	return events[event].text;
}

const char *
job_guard_word(enum job_guard guard)
{
	return guards[guard].word;
}

const char *
job_guard_text(enum job_guard guard)
{
	return guards[guard].text;
}

/* ---- what the guards ask ---- */

bool
job_owes(const struct job *job)
{
	return job->owed.count > 0;
}

bool
job_has_failed(const struct job *job)
{
	enum error_class class = error_class_of(job->record.error.code);
	return class != ERROR_CLASS_NONE && class != ERROR_CLASS_PARTIAL;
}

/* A locked repository is no failure of ours and uses up no attempt, but a lock that outlives this is
 * nobody's. */
#define BUSY_PATIENCE (6 * USEC_PER_HOUR)

static bool
may_retry(const struct job *job)
{
	const struct engine *engine = job->engine;
	if (error_is_set(&engine->journal_error))
		return false;
	switch (error_class_of(job->record.error.code)) {
	case ERROR_CLASS_TRANSIENT:
		return job->record.attempt < job->record.spec.attempts;
	case ERROR_CLASS_BUSY:
		return clock_wall(engine->settings.clock) - job->record.started_at < BUSY_PATIENCE;
	case ERROR_CLASS_NONE:
	case ERROR_CLASS_PARTIAL:
	case ERROR_CLASS_PERMANENT:
	case ERROR_CLASS_CANCELLED:
	case ERROR_CLASS_BUG:
		return false;
	}
	return false;
}

bool
job_guard_holds(const struct job *job, enum job_guard guard)
{
	switch (guard) {
	case GUARD_ALWAYS:
		return true;
	case GUARD_OWES:
		return job_owes(job) || job->reading;
	case GUARD_TO_STOP:
		return job->to_stop;
	case GUARD_FROZEN:
		return job->frozen;
	case GUARD_UNSURE:
		return !job_has_failed(job) && job->record.snapshot_id == NULL;
	case GUARD_GOOD:
		return !job_has_failed(job) && job->record.snapshot_id != NULL;
	case GUARD_RETRY:
		return may_retry(job);
	}
	return false;
}

const struct transition_row *
machine_row(const struct machine *machine, const struct job *job, enum job_event event)
{
	for (size_t i = 0; i < machine->row_count; i++) {
		const struct transition_row *row = &machine->rows[i];
		if (row->state == job->record.state && row->event == event && job_guard_holds(job, row->guard))
			return row;
	}
	return NULL;
}

static enum job_event
event_of_error(const struct error *error)
{
	switch (error_class_of(error->code)) {
	case ERROR_CLASS_NONE:
	case ERROR_CLASS_PARTIAL:
		return EVENT_DONE;
	case ERROR_CLASS_TRANSIENT:
		return error->code == ERROR_DEADLINE ? EVENT_DEADLINE : EVENT_TRANSIENT;
	case ERROR_CLASS_BUSY:
		return EVENT_BUSY;
	case ERROR_CLASS_CANCELLED:
		return EVENT_CANCEL;
	case ERROR_CLASS_PERMANENT:
	case ERROR_CLASS_BUG:
		return EVENT_PERMANENT;
	}
	return EVENT_PERMANENT;
}

/* ---- messages ---- */

static void
post(struct engine *engine, struct message *message)
{
	TAILQ_INSERT_TAIL(&engine->messages, message, entry);
	event_active(engine->work, 0, 0);
}

static struct message *
message_new(const struct job *job, enum message_kind kind)
{
	struct message *message = xcalloc(1, sizeof(*message));
	message->kind = kind;
	message->job_id = job->record.id;
	message->generation = job->generation;
	return message;
}

static void
message_free(struct message *message)
{
	error_clear(&message->error);
	free(message);
}

void
job_step_finished(struct job *job, const struct error *error)
{
	struct message *message = message_new(job, MESSAGE_STEP_FINISHED);
	if (error != NULL)
		error_copy(&message->error, error);
	post(job->engine, message);
}

void
job_step_again(struct job *job, int64_t delay)
{
	struct message *message = message_new(job, MESSAGE_STEP_AGAIN);
	message->delay = delay;
	post(job->engine, message);
}

void
job_post(struct job *job, enum job_event event, const struct error *error)
{
	struct message *message = message_new(job, MESSAGE_EVENT);
	message->event = event;
	if (error != NULL)
		error_copy(&message->error, error);
	post(job->engine, message);
}

/* ---- the journal, and what happens when it is lost ---- */

void
engine_lose_journal(struct engine *engine, const struct error *error)
{
	if (error_is_set(&engine->journal_error))
		return;
	error_copy(&engine->journal_error, error);
	log_error("the journal cannot be written: %s; stopped services are brought back, then the run ends",
	    error->message);
	struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	job_post(job, EVENT_PERMANENT, error);
}

int
job_save(struct job *job, struct error *error)
{
	if (error_is_set(&job->engine->journal_error)) {
		error_copy(error, &job->engine->journal_error);
		return -1;
	}
	return journal_update_job(
	    job->engine->settings.journal, &job->record, job->record.state, false, NULL, NULL, error);
}

static void
keep_owed(struct job *job, const struct obligation *rows, size_t count)
{
	job->owed.items = xreallocarray(job->owed.items, job->owed.count + count, sizeof(*rows));
	for (size_t i = 0; i < count; i++) {
		struct obligation *owed = &job->owed.items[job->owed.count++];
		*owed = rows[i];
		owed->job_id = job->record.id;
		owed->result = RESULT_OWED;
		owed->subject = xstrdup(rows[i].subject);
		owed->message = NULL;
	}
}

int
job_owe(struct job *job, const struct obligation *obligations, size_t count, struct error *error)
{
	if (count == 0)
		return 0;
	if (error_is_set(&job->engine->journal_error)) {
		error_copy(error, &job->engine->journal_error);
		return -1;
	}
	int64_t away_since = job->record.away_since;
	if (away_since == 0)
		job->record.away_since = clock_wall(job->engine->settings.clock);
	cleanup_free struct obligation *rows = xmemdup(obligations, count * sizeof(*obligations));
	if (journal_owe(job->engine->settings.journal, &job->record, rows, count, error) < 0) {
		job->record.away_since = away_since;
		return -1;
	}
	keep_owed(job, rows, count);
	return 0;
}

void
job_owe_late(struct job *job, const struct obligation *obligations, size_t count)
{
	cleanup_error struct error error = {0};
	if (count == 0 || job_owe(job, obligations, count, &error) == 0)
		return;
	engine_lose_journal(job->engine, &error);
	keep_owed(job, obligations, count); /* their id is 0: there is no row to cross off */
}

static void
end_absence(struct job *job)
{
	if (job->record.away_since == 0)
		return;
	int64_t until = job->back_at != 0 ? job->back_at : clock_wall(job->engine->settings.clock);
	int64_t away = until - job->record.away_since;
	job->record.away += away > 0 ? away : 0;
	job->record.away_since = 0;
	job->back_at = 0;
}

void
job_settle(struct job *job, size_t index, enum obligation_result result, const char *message)
{
	assert(index < job->owed.count);
	struct obligation *owed = &job->owed.items[index];
	cleanup_error struct error error = {0};
	if (owed->id != 0 && !error_is_set(&job->engine->journal_error) &&
	    journal_settle(job->engine->settings.journal, owed->id, result, message, &error) < 0)
		engine_lose_journal(job->engine, &error);
	free(owed->subject);
	free(owed->message);
	memmove(owed, owed + 1, (job->owed.count - index - 1) * sizeof(*owed));
	if (--job->owed.count == 0)
		end_absence(job);
}

void
job_note(struct job *job, const char *source, const char *line)
{
	struct engine *engine = job->engine;
	cleanup_error struct error error = {0};
	if (!error_is_set(&engine->journal_error) &&
	    journal_add_note(engine->settings.journal, job->record.id, source, line, &error) < 0)
		engine_lose_journal(engine, &error);
	if (engine->observer.words != NULL)
		engine->observer.words(engine->observer.context, job, source, line);
}

void
job_progress(struct job *job, const struct restic_progress *progress)
{
	if (job->engine->observer.progress != NULL)
		job->engine->observer.progress(job->engine->observer.context, job, progress);
}

void
job_judge(struct job *job, const struct error *error)
{
	if (!error_is_set(error) || job_has_failed(job))
		return;
	bool noted = error_is_set(&job->record.error);
	bool partial = error_class_of(error->code) == ERROR_CLASS_PARTIAL;
	if (!noted || !partial)
		error_copy(&job->record.error, error);
}

/* ---- the setter ---- */

static void begin_step(struct job *job);

/* What a new state means for the row. The verdict of a failed attempt is kept in the transition's message
 * only: the next attempt begins with a clean one. */
static void
prepare_record(struct job *job, enum job_state next, int64_t now)
{
	struct job_record *record = &job->record;
	switch (next) {
	case JOB_PENDING:
	case JOB_STOPPING:
	case JOB_STARTING:
		break;
	case JOB_DELAYING:
		if (record->state == JOB_PENDING || record->state == JOB_DELAYING)
			break;
		record->due_at = now + backoff_delay(record);
		if (error_class_of(record->error.code) != ERROR_CLASS_BUSY)
			record->attempt++;
		record->snapshot_begun = false;
		replace_string(&record->snapshot_id, NULL);
		error_clear(&record->error);
		job->to_stop = job->frozen = false;
		job->start_rounds = 0;
		break;
	case JOB_CHECKPOINT:
		if (record->started_at == 0)
			record->started_at = now;
		job->taken_over = false; /* this attempt is our own from its beginning */
		break;
	case JOB_SNAPSHOT:
		break;
	case JOB_PRUNED:
		record->outcome = error_is_set(&record->error) ? OUTCOME_PARTIAL : OUTCOME_COMPLETE;
		record->ended_at = now;
		break;
	case JOB_FAILED:
		record->outcome =
		    error_class_of(record->error.code) == ERROR_CLASS_CANCELLED ? OUTCOME_CANCELLED : OUTCOME_FAILED;
		record->ended_at = now;
		break;
	}
	if (next != record->state)
		record->state_since = now;
}

/* The only place that changes a job's state. */
static void
set_state(struct job *job, enum job_state next, enum job_event event)
{
	struct engine *engine = job->engine;
	enum job_state from = job->record.state;
	const struct state *old = &engine->settings.machine->states[from];

	/* I2: what is owed is paid before a job waits again or ends. */
	assert(!job_owes(job) ||
	       (next != JOB_DELAYING && next != JOB_PRUNED && next != JOB_FAILED && next != JOB_PENDING));

	if (old->leave != NULL)
		old->leave(job);
	job->generation++;
	job->step = NULL;
	job->deadline_at = job->wake_at = 0;

	cleanup_free char *message = error_is_set(&job->record.error) ? xstrdup(job->record.error.message) : NULL;
	prepare_record(job, next, clock_wall(engine->settings.clock));
	job->record.state = next;
	if (next == JOB_DELAYING || job_state_is_terminal(next)) {
		if (engine->settings.machine->release != NULL)
			engine->settings.machine->release(job);
	}

	cleanup_error struct error error = {0};
	if (!error_is_set(&engine->journal_error) && journal_update_job(engine->settings.journal, &job->record, from,
							 true, job_event_word(event), message, &error) < 0)
		engine_lose_journal(engine, &error);
	if (engine->observer.transition != NULL)
		engine->observer.transition(engine->observer.context, job, from, event, message);
}

static void
job_free(struct job *job)
{
	const struct machine *machine = job->engine->settings.machine;
	if (machine->release != NULL)
		machine->release(job);
	obligation_list_clear(&job->owed);
	job_record_clear(&job->record);
	free(job);
}

/* Begins the work of the state a job has just entered. */
static void
enter(struct job *job)
{
	struct engine *engine = job->engine;
	const struct state *state = &engine->settings.machine->states[job->record.state];
	if (job_state_is_terminal(job->record.state)) {
		TAILQ_REMOVE(&engine->jobs, job, entry);
		job_free(job);
		return;
	}
	if (state->deadline != NULL) {
		int64_t span = state->deadline(job);
		job->deadline_at = span > 0 ? clock_monotonic(engine->settings.clock) + span : 0;
	}
	job->step = state->steps;
	begin_step(job);
}

static void
handle_event(struct job *job, enum job_event event, const struct error *error)
{
	const struct machine *machine = job->engine->settings.machine;
	if (error_is_set(error))
		job_judge(job, error);
	const struct transition_row *row = machine_row(machine, job, event);
	if (row == NULL) {
		/* Our own bug: end the job in good order rather than leave it where nothing moves it. */
		log_error("job %lld: the event %s has no row in state %s", (long long)job->record.id,
		    job_event_word(event), job_state_word(job->record.state));
		cleanup_error struct error bug = {0};
		error_set(&bug, ERROR_INTERNAL, "the event %s is not foreseen in state %s", job_event_word(event),
		    job_state_word(job->record.state));
		job_judge(job, &bug);
		row = machine_row(machine, job, EVENT_PERMANENT);
		assert(row != NULL);
	}
	if (row->stay)
		return;
	set_state(job, row->next, event);
	enter(job);
}

/* Runs steps until one has to wait. */
static void
begin_step(struct job *job)
{
	if (job->step == NULL)
		return;
	while (job->step->begin != NULL) {
		if (job->engine->observer.step != NULL)
			job->engine->observer.step(job->engine->observer.context, job, job->step->word);
		cleanup_error struct error error = {0};
		switch (job->step->begin(job, &error)) {
		case STEP_DONE:
			job->step++;
			continue;
		case STEP_WAITING:
			return;
		case STEP_FAILED:
			if (error_class_of(error.code) == ERROR_CLASS_PARTIAL) {
				job_judge(job, &error);
				job->step++;
				continue;
			}
			handle_event(job, event_of_error(&error), &error);
			return;
		}
	}
	job->step = NULL;
	static const struct error none = {0};
	handle_event(job, EVENT_DONE, &none);
}

static void
handle_message(struct engine *engine, const struct message *message)
{
	struct job *job = engine_find(engine, message->job_id);
	if (job == NULL || job->generation != message->generation) {
		log_debug("a late event for job %lld finds nothing", (long long)message->job_id);
		return;
	}
	switch (message->kind) {
	case MESSAGE_EVENT:
		handle_event(job, message->event, &message->error);
		return;
	case MESSAGE_STEP_AGAIN:
		if (message->delay > 0) {
			job->wake_at = clock_monotonic(engine->settings.clock) + message->delay;
		} else {
			job->wake_at = 0;
			begin_step(job);
		}
		return;
	case MESSAGE_STEP_FINISHED:
		if (event_of_error(&message->error) != EVENT_DONE) {
			handle_event(job, event_of_error(&message->error), &message->error);
			return;
		}
		job_judge(job, &message->error);
		job->wake_at = 0;
		if (job->step != NULL) {
			job->step++;
			begin_step(job);
		}
		return;
	}
}

static void
work_off(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	struct engine *engine = context;
	struct message *message;
	while ((message = TAILQ_FIRST(&engine->messages)) != NULL) {
		TAILQ_REMOVE(&engine->messages, message, entry);
		handle_message(engine, message);
		message_free(message);
		if (TAILQ_EMPTY(&engine->messages))
			engine_tick(engine);
	}
	if (engine->idle != NULL)
		engine->idle(engine->idle_context);
}

/* ---- places ---- */

static bool
takes_a_place(const struct job *job)
{
	return job->record.state > JOB_DELAYING && !job_state_is_terminal(job->record.state);
}

static bool
service_is_busy(const struct engine *engine, const char *service)
{
	const struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	if (takes_a_place(job) && strcmp(job->record.service, service) == 0)
		return true;
	return false;
}

size_t
engine_placed(const struct engine *engine)
{
	size_t taken = 0;
	const struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	taken += takes_a_place(job);
	return taken;
}

static void
give_places(struct engine *engine)
{
	static const struct error none = {0};
	int64_t now = clock_wall(engine->settings.clock);
	size_t taken = engine_placed(engine);
	for (;;) {
		if (engine->closed || error_is_set(&engine->journal_error) ||
		    (int64_t)taken >= engine->settings.parallel)
			return;
		/* The one that waits longest goes first. */
		struct job *job, *next = NULL;
		TAILQ_FOREACH(job, &engine->jobs, entry)
		if (job->record.state == JOB_DELAYING && backoff_due(&job->record, now) <= now &&
		    !service_is_busy(engine, job->record.service) &&
		    (next == NULL || job->record.due_at < next->record.due_at))
			next = job;
		if (next == NULL)
			return;
		handle_event(next, EVENT_DUE, &none);
		taken = engine_placed(engine);
	}
}

static void
fire_timers(struct engine *engine)
{
	int64_t now = clock_monotonic(engine->settings.clock);
	struct job *job, *following;
	for (job = TAILQ_FIRST(&engine->jobs); job != NULL; job = following) {
		following = TAILQ_NEXT(job, entry);
		if (job->deadline_at != 0 && job->deadline_at <= now) {
			job->deadline_at = 0;
			cleanup_error struct error error = {0};
			error_set(&error, ERROR_DEADLINE, "%s took longer than allowed%s%s",
			    job_state_word(job->record.state), job->step != NULL ? " while " : "",
			    job->step != NULL ? job->step->word : "");
			error_hint(&error,
			    "see what it waited for with `atelier-backup show %lld`; the manifest's "
			    "deadlines.* set the limits",
			    (long long)job->record.id);
			job_post(job, EVENT_DEADLINE, &error);
		} else if (job->wake_at != 0 && job->wake_at <= now) {
			job->wake_at = 0;
			job_step_again(job, 0);
		}
	}
}

void
engine_tick(struct engine *engine)
{
	fire_timers(engine);
	give_places(engine);
}

static int64_t
earlier(int64_t a, int64_t b)
{
	if (a == 0 || b == 0)
		return a == 0 ? b : a;
	return a < b ? a : b;
}

void
engine_next(const struct engine *engine, int64_t *ret_wall, int64_t *ret_monotonic)
{
	int64_t wall = 0, monotonic = 0;
	int64_t now = clock_wall(engine->settings.clock);
	bool full = engine->closed || (int64_t)engine_placed(engine) >= engine->settings.parallel;
	const struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	{
		monotonic = earlier(monotonic, earlier(job->deadline_at, job->wake_at));
		/* A job whose time has come waits for a place, and the end of another job gives it one. */
		if (job->record.state == JOB_DELAYING && !full && !service_is_busy(engine, job->record.service))
			wall = earlier(wall, backoff_due(&job->record, now));
	}
	*ret_wall = wall;
	*ret_monotonic = monotonic;
}

/* ---- jobs in, jobs out ---- */

struct job *
engine_find(struct engine *engine, int64_t job_id)
{
	struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	if (job->record.id == job_id)
		return job;
	return NULL;
}

size_t
engine_unfinished(const struct engine *engine)
{
	size_t count = 0;
	const struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	count++;
	return count;
}

struct id_list {
	int64_t *items;
	size_t count;
};

static void
collect_id(void *context, const struct job_record *record)
{
	struct id_list *ids = context;
	ids->items = xreallocarray(ids->items, ids->count + 1, sizeof(*ids->items));
	ids->items[ids->count++] = record->id;
}

/* The dead runner had crossed off the last thing it owed, and died before it wrote how long that took. */
static int
end_former_absence(struct job *job, struct error *error)
{
	if (job->record.away_since == 0 || job_owes(job))
		return 0;
	cleanup_obligations struct obligation_list settled = {0};
	if (journal_obligations(job->engine->settings.journal, job->record.id, false, &settled, error) < 0)
		return -1;
	for (size_t i = 0; i < settled.count; i++)
		if (settled.items[i].settled_at > job->back_at)
			job->back_at = settled.items[i].settled_at;
	end_absence(job);
	return 0;
}

static int
load_job(struct engine *engine, int64_t id, struct error *error)
{
	cleanup_job struct job_record record = {0};
	int found = journal_job(engine->settings.journal, id, &record, error);
	if (found <= 0)
		return found;
	cleanup_obligations struct obligation_list owed = {0};
	if (journal_obligations(engine->settings.journal, id, true, &owed, error) < 0)
		return -1;
	struct job *job = xcalloc(1, sizeof(*job));
	job->engine = engine;
	job->record = record;
	record = (struct job_record){0};
	job->owed = owed;
	owed = (struct obligation_list){0};
	TAILQ_INSERT_TAIL(&engine->jobs, job, entry);
	if (end_former_absence(job, error) < 0)
		return -1;
	if (job->record.state == JOB_PENDING) {
		job_post(job, EVENT_TAKE, NULL);
		return 0;
	}
	cleanup_error struct error interrupted = {0};
	if (engine->settings.machine->states[job->record.state].loses_work)
		error_set(&interrupted, ERROR_INTERRUPTED, "the program died in state %s",
		    job_state_word(job->record.state));
	job->taken_over = true;
	job_post(job, EVENT_RECOVER, &interrupted);
	return 0;
}

/* Somebody may have asked for it sooner (journal_hasten). */
static int
refresh_due_time(struct job *job, struct error *error)
{
	cleanup_job struct job_record record = {0};
	int found = journal_job(job->engine->settings.journal, job->record.id, &record, error);
	if (found > 0)
		job->record.due_at = record.due_at;
	return found < 0 ? -1 : 0;
}

int
engine_load(struct engine *engine, struct error *error)
{
	if (error_is_set(&engine->journal_error))
		return 0; /* what it says now would be taken for work */
	struct id_list ids = {0};
	struct job_filter filter = {.unfinished = true};
	int result = journal_jobs(engine->settings.journal, &filter, collect_id, &ids, error);
	for (size_t i = 0; result == 0 && i < ids.count; i++) {
		struct job *job = engine_find(engine, ids.items[i]);
		if (job == NULL)
			result = load_job(engine, ids.items[i], error);
		else if (job->record.state == JOB_DELAYING)
			result = refresh_due_time(job, error);
	}
	free(ids.items);
	return result;
}

void
engine_cancel(struct engine *engine, int64_t job_id, const char *why)
{
	cleanup_error struct error error = {0};
	error_set(&error, ERROR_CANCELLED, "%s", why);
	struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	if (job_id == 0 || job->record.id == job_id)
		job_post(job, EVENT_CANCEL, &error);
}

void
engine_close(struct engine *engine)
{
	engine->closed = true;
}

void
engine_interrupt(struct engine *engine, const char *why)
{
	engine_close(engine);
	cleanup_error struct error error = {0};
	error_set(&error, ERROR_INTERRUPTED, "%s", why);
	struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	if (takes_a_place(job))
		job_post(job, EVENT_TRANSIENT, &error);
}

struct engine *
engine_new(const struct engine_settings *settings)
{
	struct engine *engine = xcalloc(1, sizeof(*engine));
	engine->settings = *settings;
	TAILQ_INIT(&engine->jobs);
	TAILQ_INIT(&engine->messages);
	engine->work = event_new(settings->base, -1, 0, work_off, engine);
	if (engine->work == NULL)
		abort();
	return engine;
}

void
engine_free(struct engine *engine)
{
	if (engine == NULL)
		return;
	struct job *job;
	while ((job = TAILQ_FIRST(&engine->jobs)) != NULL) {
		TAILQ_REMOVE(&engine->jobs, job, entry);
		const struct state *state = &engine->settings.machine->states[job->record.state];
		if (state->leave != NULL)
			state->leave(job);
		job_free(job);
	}
	struct message *message;
	while ((message = TAILQ_FIRST(&engine->messages)) != NULL) {
		TAILQ_REMOVE(&engine->messages, message, entry);
		message_free(message);
	}
	event_free(engine->work);
	error_clear(&engine->journal_error);
	free(engine);
}

void
engine_observe(struct engine *engine, const struct engine_observer *observer)
{
	engine->observer = *observer;
}

void
engine_on_idle(struct engine *engine, void (*idle)(void *context), void *context)
{
	engine->idle = idle;
	engine->idle_context = context;
}

const struct error *
engine_journal_error(const struct engine *engine)
{
	return &engine->journal_error;
}

struct event_base *
engine_base(const struct engine *engine)
{
	return engine->settings.base;
}

struct journal *
engine_journal(const struct engine *engine)
{
	return engine->settings.journal;
}

const struct clock *
engine_clock(const struct engine *engine)
{
	return engine->settings.clock;
}

void *
engine_machine_context(const struct engine *engine)
{
	return engine->settings.machine->context;
}
