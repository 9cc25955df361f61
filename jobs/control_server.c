/* Clients of the runner: who is let in, what may come and wait. */
#include "jobs/control_server.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "core/alloc.h"
#include "core/log.h"
#include "jobs/control_server_internal.h"

#define HALF_FRAME_PATIENCE 10 /* seconds */
#define SILENCE_PATIENCE    60
#define ACCEPT_PAUSE        1

/* No request is read while more than this waits for the client. */
#define UNSENT_TO_READ_ON (64 * 1024)

/* A quarter of the time at most for others than root. */
#define REST_FACTOR 3
#define LEAST_REST  USEC_PER_MSEC

#define IOVECS 8

/* ---- frames out ---- */

static ssize_t
send_bytes(int descriptor, const void *bytes, size_t length)
{
	ssize_t sent;
	do
		sent = send(descriptor, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent;
}

static ssize_t
send_unsent(struct server_client *client)
{
	struct evbuffer_iovec found[IOVECS];
	struct iovec pieces[IOVECS];
	int count = evbuffer_peek(client->unsent, -1, NULL, found, IOVECS);
	size_t used = (size_t)count < IOVECS ? (size_t)count : IOVECS;
	for (size_t i = 0; i < used; i++)
		pieces[i] = (struct iovec){.iov_base = found[i].iov_base, .iov_len = found[i].iov_len};
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = used};
	ssize_t sent;
	do
		sent = sendmsg(client->descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	if (sent > 0)
		evbuffer_drain(client->unsent, (size_t)sent);
	return sent;
}

/* What others than root ask may cost so much, together. */
static bool
has_to_rest(const struct server_client *client)
{
	const struct control_server *server = client->server;
	return !client->root && clock_monotonic(server->settings.clock) < server->rest_until;
}

static void
read_on_or_wait(struct server_client *client)
{
	if (client->server->engine != NULL && !has_to_rest(client) &&
	    evbuffer_get_length(client->unsent) <= UNSENT_TO_READ_ON)
		event_add(client->readable, NULL);
	else
		event_del(client->readable);
}

static void
add_frame(struct server_client *client, const struct packer *frame)
{
	const char *bytes = frame->buffer.data;
	size_t length = frame->buffer.size;
	ssize_t sent = 0;
	if (evbuffer_get_length(client->unsent) == 0) {
		sent = send_bytes(client->descriptor, bytes, length);
		if (sent < 0 && errno != EAGAIN) {
			client_drop(client);
			return;
		}
		sent = sent < 0 ? 0 : sent;
	}
	if ((size_t)sent == length)
		return;
	if (evbuffer_add(client->unsent, bytes + sent, length - (size_t)sent) < 0)
		abort();
	event_add(client->writable, NULL);
	read_on_or_wait(client);
}

void
client_reply(struct server_client *client, struct packer *frame)
{
	if (client->descriptor >= 0) {
		add_frame(client, frame);
		client->room = evbuffer_get_length(client->unsent) + CONTROL_MOST_UNSENT;
	}
	packer_release(frame);
}

void
client_tell(struct server_client *client, const struct packer *frame)
{
	if (client->descriptor < 0)
		return;
	if (evbuffer_get_length(client->unsent) + frame->buffer.size > client->room) {
		log_debug("a client that does not read is let go");
		client_drop(client);
		return;
	}
	add_frame(client, frame);
}

static void
on_writable(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	struct server_client *client = context;
	if (send_unsent(client) < 0 && errno != EAGAIN) {
		client_drop(client);
		return;
	}
	if (evbuffer_get_length(client->unsent) == 0) {
		event_del(client->writable);
		client->room = CONTROL_MOST_UNSENT;
		client_catch_up(client);
	}
	if (client->descriptor >= 0)
		read_on_or_wait(client);
}

/* ---- frames in ---- */

static void
arm(struct event *event, time_t seconds)
{
	event_add(event, &(struct timeval){.tv_sec = seconds});
}

void
client_arm_patience(struct server_client *client)
{
	client->waits_for_rest = false;
	if (client->following.on)
		event_del(client->patience);
	else
		arm(client->patience, SILENCE_PATIENCE);
}

/* The time for a frame runs from its first byte on. */
static void
wait_for_rest(struct server_client *client)
{
	if (client->waits_for_rest)
		return;
	client->waits_for_rest = true;
	arm(client->patience, HALF_FRAME_PATIENCE);
}

static void
on_patience(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	struct server_client *client = context;
	log_debug("a client that sends %s is let go", client->waits_for_rest ? "half a frame" : "nothing");
	client_drop(client);
}

/* What the frame at hand still lacks and nothing of the next one: the rest stays with the kernel until the others had
 * their turn, so that nobody's flood holds anybody up. 1: there is a whole frame; 0: not yet; -1: no more. */
static int
receive_some(struct server_client *client)
{
	for (;;) {
		void *place;
		size_t wanted = frame_reader_wants(&client->reader, &place);
		ssize_t received = recv(client->descriptor, place, wanted, MSG_DONTWAIT);
		if (received < 0 && errno == EINTR)
			continue;
		if (received < 0)
			return errno == EAGAIN ? 0 : -1;
		if (received == 0)
			return -1;
		bool head = client->reader.got < FRAME_HEAD;
		int complete = frame_reader_took(&client->reader, (size_t)received);
		if (complete != 0 || !head)
			return complete;
	}
}

static void
on_rested(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	struct control_server *server = context;
	server->rest_until = 0;
	struct server_client *client;
	TAILQ_FOREACH(client, &server->clients, entry)
	if (client->descriptor >= 0 && !client->root)
		read_on_or_wait(client);
}

/* The loop belongs to the jobs: after a request that took its time, others than root wait for a multiple of it. */
static void
rest_after(const struct server_client *client, int64_t start)
{
	struct control_server *server = client->server;
	int64_t now = clock_monotonic(server->settings.clock);
	int64_t rest = REST_FACTOR * (now - start);
	if (client->root || rest < LEAST_REST)
		return;
	server->rest_until = now + rest;
	event_add(server->rest, &(struct timeval){.tv_sec = rest / USEC_PER_SEC, .tv_usec = rest % USEC_PER_SEC});
}

static void
on_readable(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	struct server_client *client = context;
	if (has_to_rest(client)) {
		event_del(client->readable);
		return;
	}
	int complete = receive_some(client);
	if (complete < 0) {
		client_drop(client);
	} else if (complete == 0) {
		if (frame_reader_is_half(&client->reader))
			wait_for_rest(client);
	} else {
		int64_t start = clock_monotonic(client->server->settings.clock);
		client_request(client, client->reader.body, client->reader.length);
		rest_after(client, start);
		frame_reader_next(&client->reader);
		if (client->descriptor >= 0)
			client_arm_patience(client);
	}
}

/* ---- coming and going ---- */

static void
client_free(struct server_client *client)
{
	event_free(client->readable);
	event_free(client->writable);
	event_free(client->patience);
	if (client->descriptor >= 0)
		close(client->descriptor);
	evbuffer_free(client->unsent);
	frame_reader_release(&client->reader);
	free(client->following.job_ids);
	free(client);
}

void
client_drop(struct server_client *client)
{
	if (client->descriptor < 0)
		return;
	event_del(client->readable);
	event_del(client->writable);
	event_del(client->patience);
	close(client->descriptor);
	client->descriptor = -1;
	client->following.on = false;
	event_active(client->server->sweep, 0, 0);
}

static void
on_sweep(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	struct control_server *server = context;
	struct server_client *client, *following;
	for (client = TAILQ_FIRST(&server->clients); client != NULL; client = following) {
		following = TAILQ_NEXT(client, entry);
		if (client->descriptor >= 0)
			continue;
		TAILQ_REMOVE(&server->clients, client, entry);
		client_free(client);
	}
	server->settings.handler.clients_changed(server->settings.handler.context);
}

size_t
control_server_clients(const struct control_server *server)
{
	size_t count = 0;
	const struct server_client *client;
	TAILQ_FOREACH(client, &server->clients, entry)
	count += client->descriptor >= 0;
	return count;
}

static void
admit(struct control_server *server, int descriptor, bool root)
{
	struct server_client *client = xcalloc(1, sizeof(*client));
	client->server = server;
	client->descriptor = descriptor;
	client->root = root;
	client->reader.largest = root ? CONTROL_LARGEST_FROM_ROOT : CONTROL_LARGEST_FROM_OTHERS;
	client->room = CONTROL_MOST_UNSENT;
	client->unsent = evbuffer_new();
	client->readable = event_new(server->settings.base, descriptor, EV_READ | EV_PERSIST, on_readable, client);
	client->writable = event_new(server->settings.base, descriptor, EV_WRITE | EV_PERSIST, on_writable, client);
	client->patience = event_new(server->settings.base, -1, 0, on_patience, client);
	if (client->unsent == NULL || client->readable == NULL || client->writable == NULL ||
	    client->patience == NULL)
		abort();
	TAILQ_INSERT_TAIL(&server->clients, client, entry);
	if (server->engine != NULL) {
		event_add(client->readable, NULL);
		client_arm_patience(client);
	}
}

/* Fits into any socket's buffer: a client cannot hold this up. */
static void
greet(const struct control_server *server, int descriptor, const struct error *refusal)
{
	static char program[] = ATELIER_VERSION;
	const struct journal *journal = server->settings.journal;
	cleanup_free char *identity = xstrdup(journal != NULL && refusal == NULL ? journal_identity(journal) : "");
	struct control_hello hello = {
	    .version = CONTROL_VERSION, .program = program, .pid = getpid(), .journal = identity};
	struct packer packer;
	control_hello_pack(&hello, refusal, &packer);
	send_bytes(descriptor, packer.buffer.data, packer.buffer.size);
	packer_release(&packer);
}

static bool
is_member(const struct control_server *server, int descriptor, const struct ucred *peer)
{
	if (!server->has_group)
		return false;
	if (peer->gid == server->group)
		return true;
	socklen_t size = 0;
	if (getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
		return false;
	cleanup_free gid_t *groups = xmalloc(size);
	if (getsockopt(descriptor, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(*groups); i++)
		if (groups[i] == server->group)
			return true;
	return false;
}

/* Who it is, says the kernel. */
static int
judge_peer(const struct control_server *server, int descriptor, bool *ret_root, struct error *refusal)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return error_set(refusal, ERROR_PERMISSION, "the kernel does not tell who asks");
	*ret_root = peer.uid == 0 || peer.uid == geteuid();
	if (!*ret_root && !is_member(server, descriptor, &peer)) {
		error_set(refusal, ERROR_PERMISSION, "user %u may not ask the runner for anything", peer.uid);
		return error_hint(refusal, "run as root, or as a member of the group that may see the status");
	}
	size_t most = *ret_root ? CONTROL_MOST_CLIENTS : CONTROL_MOST_CLIENTS - CONTROL_KEPT_FOR_ROOT;
	if (control_server_clients(server) >= most) {
		error_set(refusal, ERROR_SYSTEM_BUSY, "the runner has %zu clients already", most);
		return error_hint(refusal, "try again later");
	}
	return 0;
}

static void
let_in(struct control_server *server, int descriptor)
{
	bool root = false;
	cleanup_error struct error refusal = {.code = ERROR_NONE};
	if (judge_peer(server, descriptor, &root, &refusal) < 0) {
		greet(server, descriptor, &refusal);
		close(descriptor);
		return;
	}
	greet(server, descriptor, NULL);
	admit(server, descriptor, root);
	server->settings.handler.clients_changed(server->settings.handler.context);
}

/* One at a time: the others have their turn in between. */
static void
on_knock(evutil_socket_t listener, short what, void *context)
{
	(void)what;
	struct control_server *server = context;
	int descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (descriptor >= 0) {
		let_in(server, descriptor);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
		log_warning("nobody can be let in for the moment: %s", strerror(errno));
		event_del(server->knock);
		arm(server->pause, ACCEPT_PAUSE);
	}
}

static void
on_pause(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	struct control_server *server = context;
	event_add(server->knock, NULL);
}

/* ---- the server ---- */

static void
look_up_group(struct control_server *server)
{
	const char *name = server->settings.status_group;
	if (name == NULL)
		return;
	const struct group *group = getgrnam(name);
	if (group == NULL) {
		log_warning("there is no group '%s': nobody but root may see the status", name);
		return;
	}
	server->has_group = true;
	server->group = group->gr_gid;
}

struct control_server *
control_server_new(const struct control_server_settings *settings, int descriptor, struct error *error)
{
	struct control_server *server = xcalloc(1, sizeof(*server));
	server->settings = *settings;
	server->listener = descriptor;
	TAILQ_INIT(&server->clients);
	TAILQ_INIT(&server->progress);
	look_up_group(server);
	server->knock = event_new(settings->base, descriptor, EV_READ | EV_PERSIST, on_knock, server);
	server->pause = event_new(settings->base, -1, 0, on_pause, server);
	server->sweep = event_new(settings->base, -1, 0, on_sweep, server);
	server->rest = event_new(settings->base, -1, 0, on_rested, server);
	if (server->knock == NULL || server->pause == NULL || server->sweep == NULL || server->rest == NULL)
		abort();
	if (evutil_make_socket_nonblocking(descriptor) < 0 || event_add(server->knock, NULL) < 0) {
		error_set(error, ERROR_SYSTEM, "the loop cannot wait for clients: %s", strerror(errno));
		control_server_free(server, NULL);
		return NULL;
	}
	return server;
}

void
control_server_attach(struct control_server *server, struct engine *engine)
{
	server->engine = engine;
	struct server_client *client;
	TAILQ_FOREACH(client, &server->clients, entry)
	if (client->descriptor >= 0) {
		event_add(client->readable, NULL);
		client_arm_patience(client);
	}
}

void
control_server_free(struct control_server *server, const struct error *lost)
{
	if (server == NULL)
		return;
	server_tell_lost(server, lost);
	struct server_client *client;
	while ((client = TAILQ_FIRST(&server->clients)) != NULL) {
		TAILQ_REMOVE(&server->clients, client, entry);
		if (client->descriptor >= 0 && evbuffer_get_length(client->unsent) > 0)
			send_unsent(client);
		client_free(client);
	}
	server_forget_progress(server, 0);
	event_free(server->knock);
	event_free(server->pause);
	event_free(server->sweep);
	event_free(server->rest);
	close(server->listener);
	free(server);
}
