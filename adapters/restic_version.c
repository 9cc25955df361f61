#include "adapters/restic_internal.h"

#include "adapters/environment.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"

#include <string.h>

#define VERSION_PATIENCE_SECONDS 20

static const char hint[] = "install restic 0.14 or newer, or set the path of the restic program";

/* What was asked before: a handful of programs at most. */
static struct known_version {
	char *program;
	char *version;
} *known;
static size_t known_count;

int
restic_check_program(const char *program, struct error *error)
{
	cleanup_free char *found = program_find(program);
	if (found != NULL)
		return 0;
	error_set(error, ERROR_RESTIC_MISSING, "there is no program %s", program);
	return error_hint(error, "%s", hint);
}

struct version_question {
	struct event_base *base;
	struct child *child;
	struct text answer; /* the first line */
	bool ended;
	struct child_exit exit;
};

static void
take_answer(void *context, const char *line, size_t length, bool cut)
{
	struct version_question *question = context;
	(void)cut;
	if (question->answer.length == 0)
		text_add_bytes(&question->answer, line, length);
}

static void
version_ended(void *context, const struct child_exit *exit)
{
	struct version_question *question = context;
	question->ended = true;
	question->exit = *exit;
	event_base_loopbreak(question->base);
}

static void
version_overdue(evutil_socket_t descriptor, short what, void *context)
{
	struct version_question *question = context;
	(void)descriptor;
	(void)what;
	child_kill(question->child);
}

static int
run_version(struct version_question *question, const char *program, struct error *error)
{
	const char *const arguments[] = {program, "version", NULL};
	cleanup_strings char **environment = environment_base();
	const struct child_spec spec = {
	    .name = "restic version",
	    .arguments = arguments,
	    .environment = (const char *const *)environment,
	    .on_stdout = take_answer,
	    .on_exit = version_ended,
	    .context = question,
	};
	question->child = child_start(question->base, &spec, error);
	if (question->child == NULL)
		return -1;
	struct event *deadline = evtimer_new(question->base, version_overdue, question);
	const struct timeval patience = {.tv_sec = VERSION_PATIENCE_SECONDS};
	if (deadline != NULL)
		event_add(deadline, &patience);
	while (!question->ended)
		event_base_dispatch(question->base);
	if (deadline != NULL)
		event_free(deadline);
	return 0;
}

/* "restic 0.18.0 compiled with go1.24.4 on linux/amd64"; NULL if that is not what it says. */
static char *
read_version(const char *answer)
{
	char version[32];
	if (sscanf(answer, "restic %31[0-9.]", version) != 1)
		return NULL;
	int major, minor;
	char after;
	if (sscanf(version, "%5d.%5d%c", &major, &minor, &after) < 2)
		return NULL;
	return xstrdup(version);
}

static int
unsupported(struct error *error, const char *program, const char *answer)
{
	error_set(error, ERROR_RESTIC_UNSUPPORTED, "%s is no restic we can work with: it answers \"%.100s\"", program,
	    answer);
	return error_hint(error, "%s", hint);
}

static int
ask_version(struct version_question *question, const char *program, char **ret_version, struct error *error)
{
	if (run_version(question, program, error) < 0)
		return -1;
	const char *answer = question->answer.string == NULL ? "" : question->answer.string;
	cleanup_free char *version = read_version(answer);
	if (version == NULL || question->exit.signalled || question->exit.number != 0)
		return unsupported(error, program, answer);
	if (!restic_version_at_least(version, 0, 14))
		return unsupported(error, program, answer);
	*ret_version = take_pointer(version);
	return 0;
}

const char *
restic_version(const char *program, struct error *error)
{
	for (size_t i = 0; i < known_count; i++)
		if (strcmp(known[i].program, program) == 0)
			return known[i].version;
	if (restic_check_program(program, error) < 0)
		return NULL;

	struct version_question question = {.base = event_base_new()};
	char *version = NULL;
	int result = question.base == NULL ? error_set(error, ERROR_SYSTEM, "cannot make an event loop")
					   : ask_version(&question, program, &version, error);
	text_clear(&question.answer);
	if (question.base != NULL)
		event_base_free(question.base);
	if (result < 0)
		return NULL;
	known = xreallocarray(known, known_count + 1, sizeof(*known));
	known[known_count++] = (struct known_version){.program = xstrdup(program), .version = version};
	return version;
}

bool
restic_version_at_least(const char *version, int major, int minor)
{
	int actual_major, actual_minor;
	if (sscanf(version, "%5d.%5d", &actual_major, &actual_minor) != 2)
		return false;
	return actual_major > major || (actual_major == major && actual_minor >= minor);
}
