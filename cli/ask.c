#include "cli/ask.h"

#include "core/alloc.h"
#include "core/text.h"

#include <event2/event.h>
#include <signal.h>

/* How long a restic that was asked to end may take before it is killed. */
#define STOP_PATIENCE (5 * USEC_PER_SEC)

struct question {
	struct event_base *base;
	struct event *deadline, *interrupt, *terminate;
	struct restic_call *call;
	bool expired, cancelled, answered;
	struct error error;
	char *repository_id;
	ask_snapshot_fn *each;
	void *context;
};

static void
set_deadline(struct question *question, int64_t patience)
{
	struct timeval wait = {.tv_sec = patience / USEC_PER_SEC, .tv_usec = patience % USEC_PER_SEC};
	evtimer_add(question->deadline, &wait);
}

static void
end_question(struct question *question)
{
	question->call = NULL;
	question->answered = true;
	event_base_loopbreak(question->base);
}

static void
on_deadline(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor, (void)what;
	struct question *question = context;
	if (!question->expired && !question->cancelled) {
		question->expired = true;
		restic_call_stop(question->call);
		set_deadline(question, STOP_PATIENCE);
		return;
	}
	restic_call_abandon(question->call);
	end_question(question);
}

static void
on_signal(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor, (void)what;
	struct question *question = context;
	if (question->cancelled)
		return;
	question->cancelled = true;
	restic_call_stop(question->call);
	set_deadline(question, STOP_PATIENCE);
}

static void
on_repository(void *context, const char *repository_id, const struct error *error)
{
	struct question *question = context;
	error_copy(&question->error, error);
	question->repository_id = xstrdup_null(repository_id);
	end_question(question);
}

static void
on_snapshots(void *context, const struct restic_snapshot *snapshots, size_t count, const struct error *error)
{
	struct question *question = context;
	error_copy(&question->error, error);
	bool wanted = !error_is_set(error) && !question->expired && !question->cancelled;
	for (size_t i = 0; wanted && i < count; i++)
		question->each(question->context, &snapshots[i]);
	end_question(question);
}

static void
question_open(struct question *question)
{
	question->base = event_base_new();
	question->deadline = evtimer_new(question->base, on_deadline, question);
	question->interrupt = evsignal_new(question->base, SIGINT, on_signal, question);
	question->terminate = evsignal_new(question->base, SIGTERM, on_signal, question);
	event_add(question->interrupt, NULL);
	event_add(question->terminate, NULL);
}

static void
question_close(struct question *question)
{
	event_free(question->deadline);
	event_free(question->interrupt);
	event_free(question->terminate);
	event_base_free(question->base);
	error_clear(&question->error);
	free(question->repository_id);
}

#define cleanup_question __attribute__((cleanup(question_close)))

/* Waits for the call that was started, or takes over the error of one that was not. */
static int
question_wait(struct question *question, int64_t patience, struct error *error)
{
	if (question->call == NULL) {
		error_move(error, &question->error);
		return -1;
	}
	set_deadline(question, patience);
	while (!question->answered)
		event_base_dispatch(question->base);
	if (question->cancelled)
		return error_set(error, ERROR_CANCELLED, "cancelled");
	if (question->expired) {
		cleanup_free char *waited = text_duration(patience);
		error_set(error, ERROR_REPOSITORY_UNREACHABLE, "the repository gave no answer within %s", waited);
		return error_hint(error, "see whether the network and the storage behind the repository answer");
	}
	if (error_is_set(&question->error)) {
		error_move(error, &question->error);
		return -1;
	}
	return 0;
}

int
ask_probe(const struct restic_settings *settings, int64_t patience, char **ret_id, struct error *error)
{
	cleanup_question struct question question = {.answered = false};
	question_open(&question);
	question.call = restic_probe_start(question.base, settings, on_repository, &question, &question.error);
	if (question_wait(&question, patience, error) < 0)
		return -1;
	*ret_id = take_pointer(question.repository_id);
	return 0;
}

int
ask_init(const struct restic_settings *settings, int64_t patience, char **ret_id, struct error *error)
{
	cleanup_question struct question question = {.answered = false};
	question_open(&question);
	question.call = restic_init_start(question.base, settings, on_repository, &question, &question.error);
	if (question_wait(&question, patience, error) < 0)
		return -1;
	*ret_id = take_pointer(question.repository_id);
	return 0;
}

int
ask_snapshots(const struct restic_settings *settings, int64_t patience, const char *tag, ask_snapshot_fn *each,
    void *context, struct error *error)
{
	cleanup_question struct question question = {.each = each, .context = context};
	question_open(&question);
	question.call =
	    restic_snapshots_start(question.base, settings, tag, on_snapshots, &question, &question.error);
	return question_wait(&question, patience, error);
}
