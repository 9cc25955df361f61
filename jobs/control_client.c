#include "jobs/control_client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "jobs/control_frame.h"
#include "jobs/control_messages.h"
#include "jobs/control_socket.h"

/* For an answer that needs no more than a look into the journal. A runner that brings services back before anything
 * else may be busy for a while. */
#define ANSWER_PATIENCE (2 * USEC_PER_MIN)
#define FOREVER         INT64_MAX

/* Between two tries where too many others are knocking. */
#define KNOCK_PAUSE_NS (20 * 1000 * 1000L)

struct waiting_event {
	struct control_event event;
	STAILQ_ENTRY(waiting_event) entry;
};

STAILQ_HEAD(event_queue, waiting_event);

struct control_client {
	int descriptor;
	struct control_hello hello;
	struct frame_reader reader;
	struct event_queue events; /* that came while an answer was waited for */
	int64_t number;            /* of the last request */
	bool broken;               /* the connection has ended, or is out of step */
};

static int64_t
now(void)
{
	return clock_monotonic(clock_system());
}

static int64_t
deadline_after(int64_t patience)
{
	int64_t start = now();
	return patience >= INT64_MAX - start ? FOREVER : start + (patience > 0 ? patience : 0);
}

static int
gone(struct control_client *client, struct error *error)
{
	client->broken = true;
	error_set(error, ERROR_RUNNER_GONE, "the runner has ended the connection");
	return error_hint(error, "its jobs are in the journal: `atelier-backup recover` goes on with them");
}

static int
too_late(struct control_client *client, struct error *error)
{
	client->broken = true;
	error_set(error, ERROR_SYSTEM_BUSY, "the runner does not answer");
	return error_hint(error, "it may be busy bringing services back; try again");
}

/* ---- bytes ---- */

enum ready { READY_NOT, READY_YES, READY_SIGNAL };

/* Waits until there is something to read or, with `to_write`, room to write. */
static enum ready
wait_until_ready(const struct control_client *client, bool to_write, int64_t deadline)
{
	for (;;) {
		int64_t left = deadline == FOREVER ? FOREVER : deadline - now();
		left = left > 0 ? left : 0;
		struct pollfd wanted = {
		    .fd = client->descriptor,
		    .events = (short)(POLLIN | (to_write ? POLLOUT : 0)),
		};
		struct timespec span = {
		    .tv_sec = (time_t)(left / USEC_PER_SEC), .tv_nsec = (long)(left % USEC_PER_SEC) * 1000};
		int ready = ppoll(&wanted, 1, deadline == FOREVER ? NULL : &span, NULL);
		if (ready > 0)
			return READY_YES;
		if (ready < 0 && errno == EINTR)
			return READY_SIGNAL;
		if (ready == 0 && left == 0)
			return READY_NOT;
	}
}

/* 1: a frame is complete; 0: nothing (more) is there; -1: the end. */
static int
receive(struct control_client *client)
{
	for (;;) {
		void *place;
		size_t wanted = frame_reader_wants(&client->reader, &place);
		ssize_t received = recv(client->descriptor, place, wanted, MSG_DONTWAIT);
		if (received < 0 && errno == EINTR)
			continue;
		if (received < 0 && errno == EAGAIN)
			return 0;
		if (received <= 0)
			return -1;
		int complete = frame_reader_took(&client->reader, (size_t)received);
		if (complete != 0)
			return complete;
	}
}

/* ---- frames ---- */

static void
keep_event(struct control_client *client, struct control_event *event)
{
	struct waiting_event *waiting = xcalloc(1, sizeof(*waiting));
	waiting->event = *event;
	*event = (struct control_event){.job_id = 0};
	STAILQ_INSERT_TAIL(&client->events, waiting, entry);
}

/* Takes in what is there. 1: `ret_reply` answers the request that is under way; 0: no answer yet; -1. With
 * `ret_reply` NULL none is waited for, and it stops after an event. */
static int
take_in(
    struct control_client *client, enum control_request request, struct control_reply *ret_reply, struct error *error)
{
	for (;;) {
		int complete = receive(client);
		if (complete < 0)
			return gone(client, error);
		if (complete == 0)
			return 0;
		struct control_event event;
		struct control_reply reply = {.number = 0};
		int is_event =
		    control_answer_unpack(client->reader.body, client->reader.length, request, &event, &reply, error);
		frame_reader_next(&client->reader);
		if (is_event < 0) {
			client->broken = true;
			return -1;
		}
		if (is_event > 0) {
			keep_event(client, &event);
			if (ret_reply == NULL)
				return 0;
			continue;
		}
		if (ret_reply == NULL || reply.number != client->number) {
			control_reply_clear(&reply);
			client->broken = true;
			return error_set(error, ERROR_UNSUPPORTED, "the runner answers what was not asked");
		}
		*ret_reply = reply;
		return 1;
	}
}

/* Sends as much as goes at once. */
static int
send_some(struct control_client *client, const struct packer *frame, size_t *sent)
{
	while (*sent < frame->buffer.size) {
		ssize_t count = send(client->descriptor, frame->buffer.data + *sent, frame->buffer.size - *sent,
		    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return errno == EAGAIN ? 0 : -1;
		*sent += (size_t)count;
	}
	return 0;
}

/* Reads while it writes: a runner whose events nobody takes reads no requests. */
static int
converse(struct control_client *client, enum control_request request, const struct packer *frame, int64_t deadline,
    struct control_reply *ret_reply, struct error *error)
{
	size_t sent = 0;
	for (;;) {
		/* Of a runner that has closed, the last words still count. */
		bool closed = send_some(client, frame, &sent) < 0;
		int answered = take_in(client, request, ret_reply, error);
		if (answered != 0)
			return answered < 0 ? -1 : 0;
		if (closed)
			return gone(client, error);
		if (wait_until_ready(client, sent < frame->buffer.size, deadline) == READY_NOT)
			return too_late(client, error);
	}
}

static int
ask(struct control_client *client, struct control_call *call, int64_t patience, struct control_reply *ret_reply,
    struct error *error)
{
	if (client->broken)
		return gone(client, error);
	call->number = ++client->number;
	struct packer packer;
	control_call_pack(call, &packer);
	int result = 0;
	if (packer.buffer.size - FRAME_HEAD > CONTROL_LARGEST_FROM_ROOT) {
		error_set(error, ERROR_USAGE, "the request is larger than the runner takes");
		result = error_hint(error, "ask for fewer services at once");
	}
	struct control_reply reply = {.number = 0};
	if (result == 0)
		result = converse(client, call->request, &packer, deadline_after(patience), &reply, error);
	packer_release(&packer);
	if (result == 0 && error_is_set(&reply.error)) {
		error_move(error, &reply.error);
		control_reply_clear(&reply);
		return -1;
	}
	if (result == 0)
		*ret_reply = reply;
	return result;
}

/* ---- connecting ---- */

/* 1, 0 (nobody listens), -1. */
static int
knock(const char *path, int64_t deadline, int *ret_descriptor, struct error *error)
{
	for (;;) {
		int descriptor = control_socket_connect(path);
		if (descriptor >= 0) {
			*ret_descriptor = descriptor;
			return 1;
		}
		if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
			return 0;
		if (errno == EACCES || errno == EPERM) {
			error_set(error, ERROR_PERMISSION, "may not connect to the runner at %s", path);
			return error_hint(error, "run the command as root, for example with sudo");
		}
		if (errno != EAGAIN && errno != EINTR) {
			error_set(
			    error, ERROR_SYSTEM, "cannot connect to the runner at %s: %s", path, strerror(errno));
			return error_hint(error, "is the runtime directory (--runtime-dir) the right one?");
		}
		if (now() >= deadline) {
			error_set(error, ERROR_SYSTEM_BUSY, "too many others want to talk to the runner at %s", path);
			return error_hint(error, "try again later");
		}
		nanosleep(&(struct timespec){.tv_nsec = KNOCK_PAUSE_NS}, NULL);
	}
}

static int
await_hello(struct control_client *client, int64_t deadline, struct error *error)
{
	for (;;) {
		int complete = receive(client);
		if (complete < 0)
			return gone(client, error);
		if (complete > 0)
			break;
		if (wait_until_ready(client, false, deadline) == READY_NOT)
			return too_late(client, error);
	}
	int result = control_hello_unpack(client->reader.body, client->reader.length, &client->hello, error);
	frame_reader_next(&client->reader);
	return result;
}

int
control_client_connect(
    const char *socket_path, int64_t patience, struct control_client **ret_client, struct error *error)
{
	int64_t deadline = deadline_after(patience);
	int descriptor = -1;
	int found = knock(socket_path, deadline, &descriptor, error);
	if (found <= 0)
		return found;
	struct control_client *client = xcalloc(1, sizeof(*client));
	client->descriptor = descriptor;
	client->reader.largest = CONTROL_LARGEST_FROM_ROOT;
	STAILQ_INIT(&client->events);
	if (await_hello(client, deadline, error) < 0) {
		control_client_close(client);
		return -1;
	}
	*ret_client = client;
	return 1;
}

void
control_client_close(struct control_client *client)
{
	if (client == NULL)
		return;
	struct waiting_event *waiting;
	while ((waiting = STAILQ_FIRST(&client->events)) != NULL) {
		STAILQ_REMOVE_HEAD(&client->events, entry);
		control_event_clear(&waiting->event);
		free(waiting);
	}
	close(client->descriptor);
	control_hello_clear(&client->hello);
	frame_reader_release(&client->reader);
	free(client);
}

const struct control_hello *
control_client_hello(const struct control_client *client)
{
	return &client->hello;
}

int
control_client_descriptor(const struct control_client *client)
{
	return client->descriptor;
}

/* ---- asking ---- */

int
control_client_submit(struct control_client *client, const struct control_submission *submission,
    struct control_submitted *ret_submitted, struct error *error)
{
	struct control_call call = {.request = CONTROL_SUBMIT, .submission = *submission};
	struct control_reply reply;
	if (ask(client, &call, ANSWER_PATIENCE, &reply, error) < 0)
		return -1;
	*ret_submitted = reply.submitted;
	return 0;
}

int
control_client_follow(struct control_client *client, const int64_t *job_ids, size_t count,
    struct live_job_list *ret_jobs, struct error *error)
{
	cleanup_free int64_t *copy = count > 0 ? xmemdup(job_ids, count * sizeof(*job_ids)) : NULL;
	struct control_call call = {.request = CONTROL_FOLLOW, .job_ids = copy, .job_count = count};
	struct control_reply reply;
	if (ask(client, &call, ANSWER_PATIENCE, &reply, error) < 0)
		return -1;
	*ret_jobs = reply.jobs;
	return 0;
}

static bool
next_waiting(struct control_client *client, struct control_event *ret_event)
{
	struct waiting_event *waiting = STAILQ_FIRST(&client->events);
	if (waiting == NULL)
		return false;
	STAILQ_REMOVE_HEAD(&client->events, entry);
	*ret_event = waiting->event;
	free(waiting);
	return true;
}

int
control_client_next(
    struct control_client *client, int64_t patience, struct control_event *ret_event, struct error *error)
{
	int64_t deadline = deadline_after(patience);
	for (;;) {
		if (next_waiting(client, ret_event))
			return 1;
		if (client->broken)
			return gone(client, error);
		if (take_in(client, CONTROL_CANCEL, NULL, error) < 0)
			return -1;
		if (next_waiting(client, ret_event))
			return 1;
		if (wait_until_ready(client, false, deadline) != READY_YES)
			return 0;
	}
}

int
control_client_cancel(struct control_client *client, int64_t job_id, const char *why, struct error *error)
{
	cleanup_free char *words = xstrdup(why);
	struct control_call call = {.request = CONTROL_CANCEL, .job_id = job_id, .why = words};
	struct control_reply reply;
	return ask(client, &call, ANSWER_PATIENCE, &reply, error);
}

int
control_client_retry(
    struct control_client *client, int64_t job_id, const struct service *spec, int64_t *ret_job, struct error *error)
{
	struct control_call call = {.request = CONTROL_RETRY, .job_id = job_id, .spec = spec};
	struct control_reply reply;
	if (ask(client, &call, ANSWER_PATIENCE, &reply, error) < 0)
		return -1;
	*ret_job = reply.job_id;
	return 0;
}

int
control_client_status(struct control_client *client, char *const *names, struct live_job_list *ret_jobs,
    struct journal_facts *ret_facts, struct error *error)
{
	cleanup_strings char **copy = strings_copy(names);
	struct control_call call = {.request = CONTROL_STATUS, .names = copy, .with_facts = names != NULL};
	struct control_reply reply;
	if (ask(client, &call, ANSWER_PATIENCE, &reply, error) < 0)
		return -1;
	*ret_jobs = reply.jobs;
	reply.jobs = (struct live_job_list){.items = NULL};
	if (names != NULL) {
		*ret_facts = reply.facts;
		reply.facts = (struct journal_facts){.services = NULL};
	}
	control_reply_clear(&reply);
	return 0;
}

int
control_client_recover(struct control_client *client, struct control_recovered *ret_recovered, struct error *error)
{
	struct control_call call = {.request = CONTROL_RECOVER};
	struct control_reply reply;
	if (ask(client, &call, FOREVER, &reply, error) < 0)
		return -1;
	*ret_recovered = reply.recovered;
	return 0;
}
