/* What goes through the runner's socket, packed and unpacked by the same tables on both sides. */
#ifndef ATELIER_JOBS_CONTROL_MESSAGES_H
#define ATELIER_JOBS_CONTROL_MESSAGES_H

#include "jobs/control.h"
#include "jobs/control_client.h"
#include "jobs/facts.h"

const char *control_request_word(enum control_request request);
const char *control_event_word(enum control_event_kind kind);
bool control_needs_root(enum control_request request);

/* ---- the greeting ---- */

/* With `refusal` set: the connection ends, and that is why. */
void control_hello_pack(const struct control_hello *hello, const struct error *refusal, struct packer *packer);

/* 0; -1 with the refusal, or ERROR_UNSUPPORTED for what cannot be read or is of another version. */
int control_hello_unpack(const void *bytes, size_t length, struct control_hello *ret_hello, struct error *error);
void control_hello_clear(struct control_hello *hello);

/* ---- requests ---- */

/* What of it counts depends on `request`. */
struct control_call {
	enum control_request request;
	int64_t number;
	struct control_submission submission; /* SUBMIT */
	int64_t *job_ids;                     /* FOLLOW */
	size_t job_count;
	int64_t job_id;             /* CANCEL, RETRY */
	char *why;                  /* CANCEL */
	const struct service *spec; /* RETRY, or NULL */
	char **names;               /* STATUS */
	bool with_facts;
};

/* A frame. The caller releases the packer. */
void control_call_pack(const struct control_call *call, struct packer *packer);

/* 1: a call, all of whose pointers it owns: control_call_clear. 0: a request that is not known; `number` is set.
 * -1: this is no request. */
int control_call_unpack(const void *bytes, size_t length, struct control_call *ret_call, struct error *error);
void control_call_clear(struct control_call *call);

/* ---- replies and events ---- */

/* What of it counts depends on what was asked, and on `error`. */
struct control_reply {
	int64_t number;
	struct error error;
	struct control_submitted submitted; /* SUBMIT */
	struct live_job_list jobs;          /* FOLLOW, STATUS */
	bool has_facts;                     /* STATUS */
	struct journal_facts facts;
	int64_t job_id;                     /* RETRY */
	struct control_recovered recovered; /* RECOVER */
};
void control_reply_pack(enum control_request request, const struct control_reply *reply, struct packer *packer);
void control_reply_clear(struct control_reply *reply);

void control_event_pack(const struct control_event *event, struct packer *packer);

/* What comes from the runner after the greeting: 1: an event; 0: a reply to `request`; -1 with ERROR_UNSUPPORTED. */
int control_answer_unpack(const void *bytes, size_t length, enum control_request request,
    struct control_event *ret_event, struct control_reply *ret_reply, struct error *error);

#endif
