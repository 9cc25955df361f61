/* What clients of the runner ask, and the answers. */
#include "core/alloc.h"
#include "core/log.h"
#include "jobs/control_server_internal.h"

/* Of others than root: each costs a look into the journal. */
#define MOST_NAMES 2000

static int
answer_submit(
    struct server_client *client, const struct control_call *call, struct control_reply *reply, struct error *error)
{
	const struct control_handler *handler = &client->server->settings.handler;
	return handler->submit(handler->context, &call->submission, &reply->submitted, error);
}

static int
answer_follow(
    struct server_client *client, const struct control_call *call, struct control_reply *reply, struct error *error)
{
	(void)error;
	client_follow(client, call->job_ids, call->job_count, &reply->jobs);
	return 0;
}

static int
answer_cancel(
    struct server_client *client, const struct control_call *call, struct control_reply *reply, struct error *error)
{
	(void)reply;
	const struct control_handler *handler = &client->server->settings.handler;
	return handler->cancel(handler->context, call->job_id, call->why, error);
}

static int
answer_retry(
    struct server_client *client, const struct control_call *call, struct control_reply *reply, struct error *error)
{
	const struct control_handler *handler = &client->server->settings.handler;
	return handler->retry(handler->context, call->job_id, call->spec, &reply->job_id, error);
}

struct collection {
	const struct control_server *server;
	struct live_job_list *jobs;
};

static void
collect(void *context, const struct job *job)
{
	const struct collection *collection = context;
	struct live_job_list *jobs = collection->jobs;
	jobs->items = xreallocarray(jobs->items, jobs->count + 1, sizeof(*jobs->items));
	jobs->items[jobs->count++] = server_live_job(collection->server, job);
}

static int
answer_status(
    struct server_client *client, const struct control_call *call, struct control_reply *reply, struct error *error)
{
	const struct control_server *server = client->server;
	if (!client->root && strings_count(call->names) > MOST_NAMES) {
		error_set(error, ERROR_USAGE, "more than %d services at once", MOST_NAMES);
		return error_hint(error, "ask for fewer, or as root");
	}
	if (call->with_facts && journal_facts_read(server->settings.journal, call->names, &reply->facts, error) < 0)
		return -1;
	reply->has_facts = call->with_facts;
	engine_each(server->engine, collect, &(struct collection){.server = server, .jobs = &reply->jobs});
	return 0;
}

static int
answer_recover(
    struct server_client *client, const struct control_call *call, struct control_reply *reply, struct error *error)
{
	(void)call;
	const struct control_handler *handler = &client->server->settings.handler;
	struct control_recovered *recovered = &reply->recovered;
	cleanup_error struct error failure = {.code = ERROR_NONE};
	int result = handler->recover(handler->context, &recovered->tried, &recovered->paid, &failure);
	error_move(result < 0 ? error : &recovered->failure, &failure);
	return result;
}

typedef int answer_fn(
    struct server_client *client, const struct control_call *call, struct control_reply *reply, struct error *error);

static answer_fn *const answers[CONTROL_REQUEST_COUNT] = {
    [CONTROL_SUBMIT] = answer_submit,
    [CONTROL_FOLLOW] = answer_follow,
    [CONTROL_CANCEL] = answer_cancel,
    [CONTROL_RETRY] = answer_retry,
    [CONTROL_STATUS] = answer_status,
    [CONTROL_RECOVER] = answer_recover,
};

static int
may_ask(const struct server_client *client, const struct control_call *call, struct error *error)
{
	if (client->root || !control_needs_root(call->request))
		return 0;
	error_set(error, ERROR_PERMISSION, "only root may ask the runner to %s", control_request_word(call->request));
	return error_hint(error, "run the command as root, for example with sudo");
}

/* A list of many thousand jobs may be too much for a frame; the client would take it for rubbish. */
static void
send_reply(struct server_client *client, enum control_request request, struct control_reply *reply)
{
	struct packer packer;
	control_reply_pack(request, reply, &packer);
	if (packer.buffer.size - FRAME_HEAD > CONTROL_LARGEST_FROM_ROOT) {
		packer_release(&packer);
		error_set(&reply->error, ERROR_UNSUPPORTED, "the answer is larger than a frame may be");
		error_hint(&reply->error, "ask for fewer services at once");
		control_reply_pack(request, reply, &packer);
	}
	client_reply(client, &packer);
}

static void
answer_call(struct server_client *client, const struct control_call *call)
{
	struct control_reply reply = {.number = call->number};
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (may_ask(client, call, &error) < 0 || answers[call->request](client, call, &reply, &error) < 0)
		error_move(&reply.error, &error);
	send_reply(client, call->request, &reply);
	if (call->request == CONTROL_FOLLOW && !error_is_set(&reply.error))
		client_end_if_through(client);
	control_reply_clear(&reply);
}

void
client_request(struct server_client *client, const void *bytes, size_t length)
{
	struct control_call call;
	cleanup_error struct error error = {.code = ERROR_NONE};
	int known = control_call_unpack(bytes, length, &call, &error);
	if (known < 0) {
		log_debug("a client that sends rubbish is let go: %s", error.message);
		client_drop(client);
	} else if (known == 0) {
		struct control_reply reply = {.number = call.number};
		error_set(&reply.error, ERROR_UNSUPPORTED, "the runner does not know this request");
		error_hint(&reply.error, "it is of an older version, and ends when its jobs have ended");
		send_reply(client, CONTROL_CANCEL, &reply);
		control_reply_clear(&reply);
	} else {
		answer_call(client, &call);
		control_call_clear(&call);
	}
}
