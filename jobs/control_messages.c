#include "jobs/control_messages.h"

#include <assert.h>
#include <string.h>

#include "core/alloc.h"
#include "core/record.h"
#include "jobs/control_frame.h"

/* ---- words ---- */

enum asker { ASKER_ROOT, ASKER_STATUS };

static const struct {
	const char *word;
	enum asker asker;
} requests[] = {
#define X(name, word, who) [CONTROL_##name] = {word, ASKER_##who},
    CONTROL_REQUEST_LIST(X)
#undef X
};
_Static_assert(ARRAY_LENGTH(requests) == CONTROL_REQUEST_COUNT, "the last request of the list gives the count");

static const char *const events[] = {
#define X(name, word) [CONTROL_EVENT_##name] = word,
    CONTROL_EVENT_LIST(X)
#undef X
};

const char *
control_request_word(enum control_request request)
{
	return requests[request].word;
}

const char *
control_event_word(enum control_event_kind kind)
{
	return events[kind];
}

bool
control_needs_root(enum control_request request)
{
	return requests[request].asker == ASKER_ROOT;
}

static bool
find_request(const char *word, enum control_request *ret_request)
{
	for (size_t i = 0; i < ARRAY_LENGTH(requests); i++)
		if (strcmp(requests[i].word, word) == 0) {
			*ret_request = (enum control_request)i;
			return true;
		}
	return false;
}

static bool
find_event(const char *word, enum control_event_kind *ret_kind)
{
	for (size_t i = 0; i < ARRAY_LENGTH(events); i++)
		if (strcmp(events[i], word) == 0) {
			*ret_kind = (enum control_event_kind)i;
			return true;
		}
	return false;
}

RECORD_WORDS(state_words, job_state);
RECORD_WORDS(kind_words, job_kind);
RECORD_WORDS(run_words, run_kind);

/* core/pack.h speaks of what is stored. */
static int
cannot_read(const char *what, struct error *error)
{
	if (error == NULL)
		return -1;
	cleanup_error struct error reason = {.code = ERROR_NONE};
	error_move(&reason, error);
	error_set(error, ERROR_UNSUPPORTED, "%s cannot be read: %s", what, reason.message);
	return error_hint(error, "is the runner of another version? It ends when its jobs have ended");
}

/* ---- specs: the bytes that the journal keeps, so that there is one way to read them ---- */

static void
pack_service(const void *value, struct packer *packer)
{
	const struct service *service = *(const struct service *const *)value;
	if (service == NULL) {
		pack_text(packer, NULL);
		return;
	}
	struct packer inner;
	packer_init(&inner);
	service_pack(service, &inner);
	if (msgpack_pack_bin(&packer->packer, inner.buffer.size) != 0 ||
	    msgpack_pack_bin_body(&packer->packer, inner.buffer.data, inner.buffer.size) != 0)
		abort();
	packer_release(&inner);
}

static int
unpack_service(const msgpack_object *object, const char *key, void *value, struct error *error)
{
	if (object->type != MSGPACK_OBJECT_BIN)
		return error_set(error, ERROR_JOURNAL_DAMAGED, "\"%s\" is not packed bytes", key);
	cleanup_free struct service *service = xcalloc(1, sizeof(*service));
	if (service_unpack(object->via.bin.ptr, object->via.bin.size, service, error) < 0)
		return error_prefix(error, "\"%s\"", key);
	*(struct service **)value = take_pointer(service);
	return 0;
}

static int
unpack_service_or_nil(const msgpack_object *object, const char *key, void *value, struct error *error)
{
	return object->type == MSGPACK_OBJECT_NIL ? 0 : unpack_service(object, key, value, error);
}

static void
clear_service(void *value)
{
	struct service *service = *(struct service **)value;
	if (service == NULL)
		return;
	service_clear(service);
	free(service);
	*(struct service **)value = NULL;
}

static const struct record_codec service_codec = {pack_service, unpack_service, clear_service};
static const struct record_codec service_or_nil_codec = {pack_service, unpack_service_or_nil, clear_service};

/* ---- the greeting ---- */

struct greeting {
	int64_t version;
	struct error error;
	char *program;
	int64_t pid;
	char *journal;
};

static const struct record_field greeting_fields[] = {
    RECORD_FIELD("version", INTEGER, struct greeting, version),
    RECORD_FIELD("error", ERROR, struct greeting, error),
    RECORD_FIELD("program", NAME, struct greeting, program),
    RECORD_FIELD("pid", INTEGER, struct greeting, pid),
    RECORD_FIELD("journal", NAME, struct greeting, journal),
};
static const struct record_shape greeting_shape = RECORD_SHAPE(struct greeting, greeting_fields);

void
control_hello_pack(const struct control_hello *hello, const struct error *refusal, struct packer *packer)
{
	struct greeting greeting = {
	    .version = hello->version,
	    .program = hello->program,
	    .pid = hello->pid,
	    .journal = hello->journal,
	};
	if (refusal != NULL)
		greeting.error = *refusal;
	frame_begin(packer);
	record_pack(&greeting_shape, &greeting, packer);
	frame_end(packer);
}

/* The version is looked at first: what else another version says is its own affair. */
static int
read_greeting(const msgpack_object *map, struct greeting *greeting, struct error *error)
{
	int64_t version;
	if (unpack_int(map, "version", &version, error) < 0)
		return cannot_read("the runner's greeting", error);
	if (version != CONTROL_VERSION) {
		error_set(error, ERROR_UNSUPPORTED, "the runner speaks version %lld of its protocol, not %d",
		    (long long)version, CONTROL_VERSION);
		return error_hint(error, "it ends when its jobs have ended; try again then");
	}
	if (record_unpack(&greeting_shape, map, greeting, error) < 0)
		return cannot_read("the runner's greeting", error);
	return 0;
}

int
control_hello_unpack(const void *bytes, size_t length, struct control_hello *ret_hello, struct error *error)
{
	struct unpacked unpacked;
	if (unpack_map(bytes, length, &unpacked, error) < 0)
		return cannot_read("the runner's greeting", error);
	struct greeting greeting = {.version = 0};
	int result = read_greeting(unpack_root(&unpacked), &greeting, error);
	unpack_release(&unpacked);
	if (result == 0 && error_is_set(&greeting.error)) {
		error_copy(error, &greeting.error);
		result = -1;
	}
	if (result == 0) {
		*ret_hello = (struct control_hello){.version = greeting.version, .pid = (pid_t)greeting.pid};
		ret_hello->program = take_pointer(greeting.program);
		ret_hello->journal = take_pointer(greeting.journal);
	}
	record_clear(&greeting_shape, &greeting);
	return result;
}

void
control_hello_clear(struct control_hello *hello)
{
	free(hello->program);
	free(hello->journal);
	*hello = (struct control_hello){.program = NULL};
}

/* ---- requests ---- */

static const struct record_field submission_fields[] = {
    RECORD_FIELD("kind", WORD, struct submission, kind, .words = &kind_words),
    RECORD_FIELD("dueAt", INTEGER, struct submission, due_at),
    RECORD_FIELD("spec", OWN, struct submission, service, .codec = &service_codec),
};
static const struct record_shape submission_shape = RECORD_SHAPE(struct submission, submission_fields);

static const struct record_field submit_fields[] = {
    RECORD_FIELD("kind", WORD, struct control_call, submission.kind, .words = &run_words),
    RECORD_FIELD("night", TEXT, struct control_call, submission.night),
    RECORD_FIELD("parallel", INTEGER, struct control_call, submission.parallel),
    RECORD_FIELD("jobs", LIST, struct control_call, submission.jobs,
	.other = offsetof(struct control_call, submission.count), .shape = &submission_shape),
};

static const struct record_field follow_fields[] = {
    RECORD_FIELD("jobs", INTEGERS, struct control_call, job_ids, .other = offsetof(struct control_call, job_count)),
};

static const struct record_field cancel_fields[] = {
    RECORD_FIELD("job", INTEGER, struct control_call, job_id),
    RECORD_FIELD("why", NAME, struct control_call, why),
};

static const struct record_field retry_fields[] = {
    RECORD_FIELD("job", INTEGER, struct control_call, job_id),
    RECORD_FIELD("spec", OWN, struct control_call, spec, .codec = &service_or_nil_codec),
};

static const struct record_field status_fields[] = {
    RECORD_FIELD("names", STRINGS, struct control_call, names),
    RECORD_FIELD("facts", BOOL, struct control_call, with_facts),
};

static const struct record_shape call_shapes[CONTROL_REQUEST_COUNT] = {
    [CONTROL_SUBMIT] = RECORD_SHAPE(struct control_call, submit_fields),
    [CONTROL_FOLLOW] = RECORD_SHAPE(struct control_call, follow_fields),
    [CONTROL_CANCEL] = RECORD_SHAPE(struct control_call, cancel_fields),
    [CONTROL_RETRY] = RECORD_SHAPE(struct control_call, retry_fields),
    [CONTROL_STATUS] = RECORD_SHAPE(struct control_call, status_fields),
    [CONTROL_RECOVER] = {.size = sizeof(struct control_call)},
};

void
control_call_pack(const struct control_call *call, struct packer *packer)
{
	const struct record_shape *shape = &call_shapes[call->request];
	frame_begin(packer);
	pack_map(packer, 2 + shape->count);
	pack_key_text(packer, "request", control_request_word(call->request));
	pack_key_int(packer, "number", call->number);
	record_pack_pairs(shape, call, packer);
	frame_end(packer);
}

static int
read_call(const msgpack_object *map, struct control_call *call, struct error *error)
{
	cleanup_free char *word = NULL;
	if (unpack_int(map, "number", &call->number, error) < 0 || unpack_text(map, "request", &word, error) < 0)
		return -1;
	if (word == NULL || !find_request(word, &call->request))
		return 0;
	return record_unpack(&call_shapes[call->request], map, call, error) < 0 ? -1 : 1;
}

int
control_call_unpack(const void *bytes, size_t length, struct control_call *ret_call, struct error *error)
{
	struct unpacked unpacked;
	if (unpack_map(bytes, length, &unpacked, error) < 0)
		return cannot_read("the request", error);
	struct control_call call = {.number = 0};
	int result = read_call(unpack_root(&unpacked), &call, error);
	unpack_release(&unpacked);
	if (result < 0)
		return cannot_read("the request", error);
	*ret_call = call;
	return result;
}

void
control_call_clear(struct control_call *call)
{
	record_clear(&call_shapes[call->request], call);
}

/* ---- replies ---- */

static const struct record_field progress_fields[] = {
    RECORD_FIELD("fraction", REAL, struct restic_progress, fraction),
    RECORD_FIELD("bytesDone", COUNT, struct restic_progress, bytes_done),
    RECORD_FIELD("bytesTotal", COUNT, struct restic_progress, bytes_total),
    RECORD_FIELD("filesDone", COUNT, struct restic_progress, files_done),
    RECORD_FIELD("filesTotal", COUNT, struct restic_progress, files_total),
    RECORD_FIELD("errors", COUNT, struct restic_progress, errors),
    RECORD_FIELD("secondsLeft", INTEGER, struct restic_progress, seconds_left),
};
static const struct record_shape progress_shape = RECORD_SHAPE(struct restic_progress, progress_fields);

static const struct record_field live_fields[] = {
    RECORD_FIELD("job", INTEGER, struct live_job, id),
    RECORD_FIELD("run", INTEGER, struct live_job, run_id),
    RECORD_FIELD("kind", WORD, struct live_job, kind, .words = &kind_words),
    RECORD_FIELD("service", NAME, struct live_job, service),
    RECORD_FIELD("state", WORD, struct live_job, state, .words = &state_words),
    RECORD_FIELD("attempt", INTEGER, struct live_job, attempt),
    RECORD_FIELD("dueAt", INTEGER, struct live_job, due_at),
    RECORD_FIELD("stateSince", INTEGER, struct live_job, state_since),
    RECORD_FIELD("awaySince", INTEGER, struct live_job, away_since),
    RECORD_FIELD("step", TEXT, struct live_job, step),
    RECORD_FIELD("waiting", TEXT, struct live_job, waiting),
    RECORD_FIELD("progress", OPTIONAL, struct live_job, progress, .other = offsetof(struct live_job, has_progress),
	.shape = &progress_shape),
};
static const struct record_shape live_shape = RECORD_SHAPE(struct live_job, live_fields);

static const struct record_field submitted_fields[] = {
    RECORD_FIELD("run", INTEGER, struct control_reply, submitted.run_id),
    RECORD_FIELD("added", BOOL, struct control_reply, submitted.added),
    RECORD_FIELD("jobs", INTEGERS, struct control_reply, submitted.job_ids,
	.other = offsetof(struct control_reply, submitted.count)),
};

static const struct record_field followed_fields[] = {
    RECORD_FIELD("jobs", LIST, struct control_reply, jobs.items, .other = offsetof(struct control_reply, jobs.count),
	.shape = &live_shape),
};

static const struct record_field retried_fields[] = {
    RECORD_FIELD("job", INTEGER, struct control_reply, job_id),
};

static const struct record_field state_of_things_fields[] = {
    RECORD_FIELD("jobs", LIST, struct control_reply, jobs.items, .other = offsetof(struct control_reply, jobs.count),
	.shape = &live_shape),
    RECORD_FIELD("facts", OPTIONAL, struct control_reply, facts, .other = offsetof(struct control_reply, has_facts),
	.shape = &journal_facts_shape),
};

static const struct record_field recovered_fields[] = {
    RECORD_FIELD("tried", INTEGER, struct control_reply, recovered.tried),
    RECORD_FIELD("paid", INTEGER, struct control_reply, recovered.paid),
    RECORD_FIELD("failure", ERROR, struct control_reply, recovered.failure),
};

static const struct record_shape reply_shapes[CONTROL_REQUEST_COUNT] = {
    [CONTROL_SUBMIT] = RECORD_SHAPE(struct control_reply, submitted_fields),
    [CONTROL_FOLLOW] = RECORD_SHAPE(struct control_reply, followed_fields),
    [CONTROL_CANCEL] = {.size = sizeof(struct control_reply)},
    [CONTROL_RETRY] = RECORD_SHAPE(struct control_reply, retried_fields),
    [CONTROL_STATUS] = RECORD_SHAPE(struct control_reply, state_of_things_fields),
    [CONTROL_RECOVER] = RECORD_SHAPE(struct control_reply, recovered_fields),
};

static const struct record_field error_fields[] = {
    RECORD_FIELD("error", ERROR, struct control_reply, error),
};
static const struct record_shape error_shape = RECORD_SHAPE(struct control_reply, error_fields);

void
control_reply_pack(enum control_request request, const struct control_reply *reply, struct packer *packer)
{
	const struct record_shape *shape = error_is_set(&reply->error) ? NULL : &reply_shapes[request];
	frame_begin(packer);
	pack_map(packer, 2 + (shape != NULL ? shape->count : 0));
	pack_key_int(packer, "reply", reply->number);
	record_pack_pairs(&error_shape, reply, packer);
	if (shape != NULL)
		record_pack_pairs(shape, reply, packer);
	frame_end(packer);
}

void
control_reply_clear(struct control_reply *reply)
{
	error_clear(&reply->error);
	for (size_t i = 0; i < ARRAY_LENGTH(reply_shapes); i++)
		record_clear(&reply_shapes[i], reply);
}

void
live_job_list_clear(struct live_job_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		record_clear(&live_shape, &list->items[i]);
	free(list->items);
	*list = (struct live_job_list){.items = NULL};
}

/* ---- events ---- */

static const struct record_field transition_fields[] = {
    RECORD_FIELD("job", INTEGER, struct control_event, job_id),
    RECORD_FIELD("service", NAME, struct control_event, service),
    RECORD_FIELD("from", WORD, struct control_event, from, .words = &state_words),
    RECORD_FIELD("to", WORD, struct control_event, to, .words = &state_words),
    RECORD_FIELD("word", NAME, struct control_event, word),
    RECORD_FIELD("message", TEXT, struct control_event, message),
};

static const struct record_field step_fields[] = {
    RECORD_FIELD("job", INTEGER, struct control_event, job_id),
    RECORD_FIELD("service", NAME, struct control_event, service),
    RECORD_FIELD("word", NAME, struct control_event, word),
};

static const struct record_field progress_event_fields[] = {
    RECORD_FIELD("job", INTEGER, struct control_event, job_id),
    RECORD_FIELD("service", NAME, struct control_event, service),
    RECORD_FIELD("progress", STRUCT, struct control_event, progress, .shape = &progress_shape),
};

static const struct record_field words_fields[] = {
    RECORD_FIELD("job", INTEGER, struct control_event, job_id),
    RECORD_FIELD("service", NAME, struct control_event, service),
    RECORD_FIELD("word", NAME, struct control_event, word),
    RECORD_FIELD("message", NAME, struct control_event, message),
};

static const struct record_field message_fields[] = {
    RECORD_FIELD("message", NAME, struct control_event, message),
};

static const struct record_shape event_shapes[] = {
    [CONTROL_EVENT_TRANSITION] = RECORD_SHAPE(struct control_event, transition_fields),
    [CONTROL_EVENT_STEP] = RECORD_SHAPE(struct control_event, step_fields),
    [CONTROL_EVENT_PROGRESS] = RECORD_SHAPE(struct control_event, progress_event_fields),
    [CONTROL_EVENT_WORDS] = RECORD_SHAPE(struct control_event, words_fields),
    [CONTROL_EVENT_NOTICE] = RECORD_SHAPE(struct control_event, message_fields),
    [CONTROL_EVENT_END] = {.size = sizeof(struct control_event)},
    [CONTROL_EVENT_LOST] = RECORD_SHAPE(struct control_event, message_fields),
};
_Static_assert(ARRAY_LENGTH(event_shapes) == ARRAY_LENGTH(events), "every event has its shape");

void
control_event_pack(const struct control_event *event, struct packer *packer)
{
	const struct record_shape *shape = &event_shapes[event->kind];
	frame_begin(packer);
	pack_map(packer, 1 + shape->count);
	pack_key_text(packer, "event", control_event_word(event->kind));
	record_pack_pairs(shape, event, packer);
	frame_end(packer);
}

void
control_event_clear(struct control_event *event)
{
	free(event->service);
	free(event->word);
	free(event->message);
	*event = (struct control_event){.job_id = 0};
}

/* ---- what comes from the runner ---- */

static int
read_event(const msgpack_object *map, struct control_event *ret_event, struct error *error)
{
	cleanup_free char *word = NULL;
	struct control_event event = {.job_id = 0};
	if (unpack_text(map, "event", &word, error) < 0)
		return -1;
	if (word == NULL || !find_event(word, &event.kind))
		return error_set(error, ERROR_JOURNAL_DAMAGED, "the event is not known");
	if (record_unpack(&event_shapes[event.kind], map, &event, error) < 0)
		return -1;
	*ret_event = event;
	return 1;
}

static int
read_reply(
    const msgpack_object *map, enum control_request request, struct control_reply *ret_reply, struct error *error)
{
	struct control_reply reply = {.number = 0};
	if (unpack_int(map, "reply", &reply.number, error) < 0 || record_unpack(&error_shape, map, &reply, error) < 0)
		return -1;
	if (!error_is_set(&reply.error) && record_unpack(&reply_shapes[request], map, &reply, error) < 0)
		return -1;
	*ret_reply = reply;
	return 0;
}

int
control_answer_unpack(const void *bytes, size_t length, enum control_request request, struct control_event *ret_event,
    struct control_reply *ret_reply, struct error *error)
{
	struct unpacked unpacked;
	if (unpack_map(bytes, length, &unpacked, error) < 0)
		return cannot_read("what the runner said", error);
	const msgpack_object *map = unpack_root(&unpacked);
	int result = unpack_find(map, "event") != NULL ? read_event(map, ret_event, error)
						       : read_reply(map, request, ret_reply, error);
	unpack_release(&unpacked);
	return result < 0 ? cannot_read("what the runner said", error) : result;
}
