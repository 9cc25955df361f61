/* What the parts of the server share: clients and their limits (control_server.c), what they ask
 * (control_requests.c), what followers are told (control_followers.c). */
#ifndef ATELIER_JOBS_CONTROL_SERVER_INTERNAL_H
#define ATELIER_JOBS_CONTROL_SERVER_INTERNAL_H

#include <event2/buffer.h>
#include <sys/queue.h>

#include "jobs/control_frame.h"
#include "jobs/control_messages.h"
#include "jobs/control_server.h"

struct control_server;

/* What of the jobs a client follows. */
struct following {
	bool on;
	bool all;
	int64_t *job_ids; /* those that have not ended */
	size_t count;
	uint64_t behind_since; /* progress from here on was kept back; 0: none */
};

struct server_client {
	struct control_server *server;
	int descriptor; /* -1: dropped, and freed soon */
	bool root;
	struct event *readable, *writable;
	struct event *patience; /* runs out for half a frame, and for silence */
	bool waits_for_rest;    /* the patience is that for half a frame */
	struct frame_reader reader;
	struct evbuffer *unsent;
	size_t room; /* bytes `unsent` may have before the client is dropped */
	struct following following;
	TAILQ_ENTRY(server_client) entry;
};

TAILQ_HEAD(client_queue, server_client);

/* The last that restic said of a job that is under way. */
struct live_progress {
	int64_t job_id;
	uint64_t sequence;
	struct restic_progress progress;
	TAILQ_ENTRY(live_progress) entry;
};

TAILQ_HEAD(progress_queue, live_progress);

struct control_server {
	struct control_server_settings settings;
	struct engine *engine; /* NULL until attached */
	int listener;
	struct event *knock; /* somebody connects */
	struct event *pause; /* until the next try where there were no descriptors left */
	struct event *sweep; /* frees the dropped */
	struct event *rest;  /* others than root are read again */
	int64_t rest_until;  /* monotonic */
	struct client_queue clients;
	bool has_group;
	gid_t group;
	struct progress_queue progress;
	uint64_t sequence; /* of the last progress */
};

/* The client is gone from here on: it gets and sends nothing, and is freed from the loop. */
void client_drop(struct server_client *client);

/* Sends a frame as far as that does not block, keeps the rest. A reply always finds room; a client for whose event
 * there is none is dropped. Releases the packer. */
void client_reply(struct server_client *client, struct packer *frame);
void client_tell(struct server_client *client, const struct packer *frame);

/* Silence is measured from now on, unless it follows. */
void client_arm_patience(struct server_client *client);

/* One frame that has come in whole. */
void client_request(struct server_client *client, const void *bytes, size_t length);

/* How the job stands, as a copy that the caller owns. */
struct live_job server_live_job(const struct control_server *server, const struct job *job);

/* Begins to follow these jobs (0: all), fills `ret_jobs` with how they stand. */
void
client_follow(struct server_client *client, const int64_t *job_ids, size_t count, struct live_job_list *ret_jobs);

/* Nothing (more) to follow: tells the END. */
void client_end_if_through(struct server_client *client);

/* Everything was sent: what was kept back follows. */
void client_catch_up(struct server_client *client);

void server_tell_lost(struct control_server *server, const struct error *lost);
void server_forget_progress(struct control_server *server, int64_t job_id); /* 0: of all */

#endif
