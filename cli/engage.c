#include "cli/engage.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "cli/guardian.h"
#include "cli/interrupt.h"
#include "core/alloc.h"
#include "core/clock.h"

#define HELLO_PATIENCE (5 * USEC_PER_SEC)
#define PAUSE_NS       (50 * 1000 * 1000L)

/* Nobody gives the night's command a second time. At boot the runner's unit waits for the network, and one that takes
 * over from a dead runner may need all the time that its unit gives it to begin. */
#define KICKOFF_PATIENCE (20 * USEC_PER_MIN)

#define READY_LINE_MOST 4096

char *
engage_socket(const struct invocation *invocation)
{
	return xasprintf("%s/" CONTROL_SOCKET_NAME, invocation->runtime_directory);
}

static int
check_journal(const struct invocation *invocation, const char *journal, const struct control_client *client,
    struct error *error)
{
	const struct control_hello *hello = control_client_hello(client);
	if (journal == NULL || strcmp(journal, hello->journal) == 0)
		return 0;
	error_set(error, ERROR_USAGE, "the runner at %s/" CONTROL_SOCKET_NAME " (pid %d) has another journal than %s",
	    invocation->runtime_directory, (int)hello->pid, invocation->state_directory);
	return error_hint(error, "give this house a --runtime-dir of its own, or the --state-dir of that runner");
}

/* 1: connected; 0: nobody there, or somebody who is just ending; -1 */
static int
try_to_connect(const struct invocation *invocation, const char *journal, int64_t patience,
    struct control_client **ret_client, struct error *error)
{
	cleanup_free char *path = engage_socket(invocation);
	struct control_client *client = NULL;
	int result = control_client_connect(path, patience, &client, error);
	if (result < 0 && error->code == ERROR_RUNNER_GONE) {
		error_clear(error);
		return 0;
	}
	if (result <= 0)
		return result;
	if (check_journal(invocation, journal, client, error) < 0) {
		control_client_close(client);
		return -1;
	}
	*ret_client = client;
	return 1;
}

int
engage_running(
    const struct invocation *invocation, const char *journal, struct control_client **ret_client, struct error *error)
{
	return try_to_connect(invocation, journal, HELLO_PATIENCE, ret_client, error);
}

/* ---- beginning one ---- */

/* What the runner says about its beginning, up to the newline; "" if it ended without a word. */
static void
read_ready_line(int descriptor, int64_t deadline, char *ret_line, size_t size)
{
	size_t length = 0;
	ret_line[0] = '\0';
	while (length + 1 < size) {
		struct pollfd input = {.fd = descriptor, .events = POLLIN};
		int64_t left = (deadline - clock_monotonic(clock_system())) / USEC_PER_MSEC;
		int count = left > 0 ? poll(&input, 1, (int)left) : 0;
		if (count < 0 && errno == EINTR)
			continue;
		ssize_t got = count > 0 ? read(descriptor, ret_line + length, size - 1 - length) : 0;
		if (got <= 0)
			return;
		length += (size_t)got;
		ret_line[length] = '\0';
		if (ret_line[length - 1] == '\n')
			return;
	}
}

/* The line of cli/runner.c. */
static int
judge_ready_line(const char *line, struct error *error)
{
	json_t *document = json_loads(line, 0, NULL);
	const json_t *reason = json_object_get(document, "error");
	const char *code = json_string_value(json_object_get(reason, "code"));
	const char *message = json_string_value(json_object_get(reason, "message"));
	const char *hint = json_string_value(json_object_get(reason, "hint"));
	int result = 0;
	if (code != NULL && message != NULL) {
		result = error_set(error, error_code_from_word(code), "%s", message);
		if (hint != NULL)
			error_hint(error, "%s", hint);
	}
	json_decref(document);
	return result;
}

/* Starts a guardian with its runner and waits until it listens, or has left it to another one. */
static int
begin_runner(const struct invocation *invocation, int64_t deadline, struct error *error)
{
	if (geteuid() != 0) {
		error_set(error, ERROR_PERMISSION, "no runner is at work, and only root can start one");
		return error_hint(error, "sudo atelier-backup follow");
	}
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_set(error, ERROR_SYSTEM_BUSY, "no pipe can be made: %s", strerror(errno));
	cleanup_close int input = ends[0];
	int result = guardian_start(invocation, ends[1], error);
	close(ends[1]);
	if (result < 0)
		return -1;
	char line[READY_LINE_MOST];
	read_ready_line(input, deadline, line, sizeof(line));
	return judge_ready_line(line, error);
}

int
engage(const struct invocation *invocation, const char *journal, int64_t patience, struct control_client **ret_client,
    struct error *error)
{
	int64_t deadline = clock_monotonic(clock_system()) + patience;
	/* A runner that is being started by systemd has not answered yet, but has let us in: it is waited for. */
	for (int64_t left = patience; left > 0; left = deadline - clock_monotonic(clock_system())) {
		int result = try_to_connect(invocation, journal, left, ret_client, error);
		if (result != 0)
			return result < 0 ? -1 : 0;
		if (begin_runner(invocation, deadline, error) < 0)
			return -1;
		result = try_to_connect(invocation, journal, left, ret_client, error);
		if (result != 0)
			return result < 0 ? -1 : 0;
		/* Another one holds the journal and does not listen: it is beginning, or ending. */
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
	}
	cleanup_free char *path = engage_socket(invocation);
	error_set(error, ERROR_RUNNER_GONE, "no runner answers at %s", path);
	return error_hint(error,
	    "%s/runner.lock names the process that holds the journal; %s/runner.log may say more",
	    invocation->state_directory, invocation->state_directory);
}

int
engage_submit(const struct invocation *invocation, const char *journal, const struct control_submission *submission,
    struct control_client **ret_client, struct control_submitted *ret_submitted, struct error *error)
{
	int64_t patience = submission->kind == RUN_NIGHTLY ? KICKOFF_PATIENCE : ENGAGE_PATIENCE;
	int64_t deadline = clock_monotonic(clock_system()) + patience;
	for (;;) {
		struct control_client *client = NULL;
		if (engage(invocation, journal, patience, &client, error) < 0)
			return -1;
		interrupt_hold();
		if (control_client_submit(client, submission, ret_submitted, error) == 0) {
			*ret_client = client;
			return 0;
		}
		control_client_close(client);
		/* One that is ending takes no jobs; the next one will. */
		if (error->code != ERROR_RUNNER_GONE || clock_monotonic(clock_system()) > deadline)
			return -1;
		nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
	}
}
