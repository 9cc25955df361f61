/* The runner's side of its socket: accepts clients on the loop, answers their requests, tells followers what happens.
 *
 * No client can hold anything up. What is written to a client that does not read is kept up to a limit; beyond it,
 * progress is dropped first, then the client. A client that sends nothing and follows nothing, half a frame, or
 * rubbish costs a connection and is dropped after a minute, ten seconds, or at once; there are at most
 * CONTROL_MOST_CLIENTS, of which CONTROL_KEPT_FOR_ROOT are kept for root. */
#ifndef ATELIER_JOBS_CONTROL_SERVER_H
#define ATELIER_JOBS_CONTROL_SERVER_H

#include <event2/event.h>

#include "core/clock.h"
#include "jobs/control.h"
#include "jobs/engine.h"

#define CONTROL_MOST_CLIENTS  64
#define CONTROL_KEPT_FOR_ROOT 8

/* Bytes that may wait for a client that does not read, beside one reply. */
#define CONTROL_MOST_UNSENT (1024 * 1024)

struct control_server;

/* What the runner does for its clients. `error` set: that is the answer. */
struct control_handler {
	int (*submit)(void *context, const struct control_submission *submission,
	    struct control_submitted *ret_submitted, struct error *error);
	int (*cancel)(void *context, int64_t job_id, const char *why, struct error *error);
	int (*retry)(
	    void *context, int64_t job_id, const struct service *spec, int64_t *ret_job, struct error *error);
	/* 0 with `error` set: the first that could not be paid. */
	int (*recover)(void *context, int64_t *ret_tried, int64_t *ret_paid, struct error *error);
	/* A client came or went: the runner looks whether it still has something to do. */
	void (*clients_changed)(void *context);
	void *context;
};

struct control_server_settings {
	struct event_base *base;
	const struct clock *clock;
	struct journal *journal;
	const char *status_group; /* NULL: nobody but root */
	struct control_handler handler;
};

/* Makes the socket RUNTIME_DIRECTORY/control.sock (directory 0755 if it has to be made; socket 0666: who may ask what
 * is decided by credentials), removing one that nobody listens on; longer paths than a socket address holds work.
 * Called by the holder of the runner lock only. The caller owns the descriptor. -1 with an error. */
int control_listen(const char *runtime_directory, struct error *error);

/* Takes over the listening descriptor. Clients are answered once control_server_attach has given it an engine; until
 * then they are accepted and wait. */
struct control_server *
control_server_new(const struct control_server_settings *settings, int descriptor, struct error *error);
void control_server_attach(struct control_server *server, struct engine *engine);

/* Connections of those who were let in. */
size_t control_server_clients(const struct control_server *server);

/* To be called for what the engine's observer is told. */
struct engine_observer control_server_observer(struct control_server *server);
void control_server_notice(struct control_server *server, const char *words);

/* Tells followers the end (`lost` NULL) or that jobs cannot go on, sends what is still unsent as far as that does not
 * block, closes. Accepts NULL. */
void control_server_free(struct control_server *server, const struct error *lost);

#endif
