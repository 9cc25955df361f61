#include "adapters/program.h"

#include <event2/event.h>

#include "adapters/environment.h"
#include "core/alloc.h"
#include "core/child.h"
#include "core/text.h"

#define PATIENCE_SECONDS 10

struct question {
	struct event_base *base;
	struct child *child;
	struct text answer; /* the first line */
	bool ended;
	bool good;
};

static void
take_line(void *context, const char *line, size_t length, bool cut)
{
	struct question *question = context;
	(void)cut;
	if (question->answer.length == 0)
		text_add_bytes(&question->answer, line, length);
}

static void
program_ended(void *context, const struct child_exit *exit)
{
	struct question *question = context;
	question->ended = true;
	question->good = !exit->signalled && exit->number == 0;
	event_base_loopbreak(question->base);
}

static void
answer_overdue(evutil_socket_t descriptor, short what, void *context)
{
	struct question *question = context;
	(void)descriptor;
	(void)what;
	child_kill(question->child);
}

static void
wait_for_end(struct question *question)
{
	const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
	struct event *deadline = evtimer_new(question->base, answer_overdue, question);
	if (deadline != NULL)
		event_add(deadline, &patience);
	while (!question->ended)
		event_base_dispatch(question->base);
	if (deadline != NULL)
		event_free(deadline);
}

static int
ask(struct question *question, const char *name, const char *const *arguments, struct error *error)
{
	cleanup_strings char **environment = environment_base();
	environment_set(&environment, "LC_ALL", "C.UTF-8");
	const struct child_spec spec = {
	    .name = name,
	    .arguments = arguments,
	    .environment = (const char *const *)environment,
	    .on_stdout = take_line,
	    .on_exit = program_ended,
	    .context = question,
	};
	question->child = child_start(question->base, &spec, error);
	if (question->child == NULL)
		return -1;
	wait_for_end(question);
	return 0;
}

int
program_ask(const char *name, const char *const *arguments, char **ret_answer, bool *ret_good, struct error *error)
{
	struct question question = {.base = event_base_new()};
	if (question.base == NULL)
		return error_set(error, ERROR_SYSTEM, "cannot make an event loop");
	int result = ask(&question, name, arguments, error);
	event_base_free(question.base);
	if (result == 0) {
		*ret_answer = xstrdup(question.answer.string == NULL ? "" : question.answer.string);
		*ret_good = question.good;
	}
	text_clear(&question.answer);
	return result;
}
