#include "jobs/engine.h"

#include <assert.h>

#include "core/alloc.h"
#include "core/log.h"
#include "jobs/backoff.h"
#include "jobs/engine_internal.h"

/* What steps say counts only while that step is under way, what a loaded job begins with only where it was loaded; an
 * event from outside counts whatever state the job is in by now. */
enum message_kind { MESSAGE_EVENT, MESSAGE_LOADED, MESSAGE_STEP_FINISHED, MESSAGE_STEP_AGAIN };

struct message {
	enum message_kind kind;
	int64_t job_id;
	uint64_t generation;
	enum job_event event;
	int64_t delay;
	struct error error;
	TAILQ_ENTRY(message) entry;
};

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
job_set_deadline(struct job *job, int64_t span)
{
	job->deadline_at = span > 0 ? clock_monotonic(job->engine->settings.clock) + span : 0;
}

void
engine_post_loaded(struct job *job, enum job_event event, const struct error *error)
{
	struct message *message = message_new(job, MESSAGE_LOADED);
	message->event = event;
	error_copy(&message->error, error);
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

/* ---- the setter ---- */

static void begin_step(struct job *job);

/* A prune that found no room between the locks of others is put off to the next night: nothing has failed. */
static enum job_outcome
ends_as(const struct job_record *record)
{
	enum error_class class = error_class_of(record->error.code);
	bool put_off = record->kind == JOB_KIND_PRUNE && class == ERROR_CLASS_BUSY;
	return class == ERROR_CLASS_CANCELLED || put_off ? OUTCOME_CANCELLED : OUTCOME_FAILED;
}

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
		record->attempt++;
		record->busy += error_class_of(record->error.code) == ERROR_CLASS_BUSY;
		replace_string(&record->waiting, record->error.message);
		record->snapshot_begun = false;
		replace_string(&record->snapshot_id, NULL);
		strings_free(record->sources_filled);
		record->sources_filled = NULL;
		datum_list_clear(&record->data);
		error_clear(&record->error);
		job->to_stop = job->frozen = false;
		job->start_rounds = 0;
		break;
	case JOB_CHECKPOINT:
		if (record->started_at == 0)
			record->started_at = now;
		replace_string(&record->waiting, NULL);
		job->taken_over = false; /* this attempt is our own from its beginning */
		break;
	case JOB_SNAPSHOT:
		break;
	case JOB_PRUNED:
		record->outcome = error_is_set(&record->error) ? OUTCOME_PARTIAL : OUTCOME_COMPLETE;
		record->ended_at = now;
		break;
	case JOB_FAILED:
		record->outcome = ends_as(record);
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
	if (state->deadline != NULL)
		job_set_deadline(job, state->deadline(job));
	job->step = state->steps[job->record.kind];
	begin_step(job);
}

/* The service is being brought back after a good backup: the job is at its end anyway, and its snapshot is worth
 * keeping. */
static bool
comes_too_late(const struct job *job, const struct error *error)
{
	return job->record.state == JOB_STARTING && job_guard_holds(job, GUARD_GOOD) && error_is_set(error) &&
	       (error_class_of(error->code) == ERROR_CLASS_CANCELLED || error->code == ERROR_INTERRUPTED);
}

void
engine_handle_event(struct job *job, enum job_event event, const struct error *error)
{
	const struct machine *machine = job->engine->settings.machine;
	if (error_is_set(error) && !comes_too_late(job, error))
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
		job->generation++;
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
			engine_handle_event(job, event_of_error(&error), &error);
			return;
		}
	}
	job->step = NULL;
	static const struct error none = {0};
	engine_handle_event(job, EVENT_DONE, &none);
}

static void
handle_posted_event(struct job *job, const struct message *message)
{
	/* A job that waits again has nothing to be interrupted. */
	if (machine_row(job->engine->settings.machine, job, message->event) == NULL)
		log_debug("job %lld: %s comes too late", (long long)job->record.id, job_event_word(message->event));
	else
		engine_handle_event(job, message->event, &message->error);
}

static void
handle_message(struct engine *engine, const struct message *message)
{
	struct job *job = engine_find(engine, message->job_id);
	if (job == NULL || (message->kind != MESSAGE_EVENT && job->generation != message->generation)) {
		log_debug("a late event for job %lld finds nothing", (long long)message->job_id);
		return;
	}
	switch (message->kind) {
	case MESSAGE_EVENT:
		handle_posted_event(job, message);
		return;
	case MESSAGE_LOADED:
		engine_handle_event(job, message->event, &message->error);
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
			engine_handle_event(job, event_of_error(&message->error), &message->error);
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

/* ---- the engine ---- */

struct job *
engine_find(struct engine *engine, int64_t job_id)
{
	struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	if (job->record.id == job_id)
		return job;
	return NULL;
}

void
engine_each(const struct engine *engine, void (*each)(void *context, const struct job *job), void *context)
{
	const struct job *job;
	TAILQ_FOREACH(job, &engine->jobs, entry)
	each(context, job);
}

void
engine_set_parallel(struct engine *engine, int64_t parallel)
{
	engine->settings.parallel = parallel;
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
	if (job_takes_a_place(job))
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
