/* What followers are told of the jobs. */
#include <string.h>

#include "core/alloc.h"
#include "core/text.h"
#include "jobs/control_server_internal.h"

/* ---- the progress of the jobs under way ---- */

static struct live_progress *
find_progress(const struct control_server *server, int64_t job_id)
{
	struct live_progress *live;
	TAILQ_FOREACH(live, &server->progress, entry)
	if (live->job_id == job_id)
		return live;
	return NULL;
}

void
server_forget_progress(struct control_server *server, int64_t job_id)
{
	struct live_progress *live, *following;
	for (live = TAILQ_FIRST(&server->progress); live != NULL; live = following) {
		following = TAILQ_NEXT(live, entry);
		if (job_id != 0 && live->job_id != job_id)
			continue;
		TAILQ_REMOVE(&server->progress, live, entry);
		free(live);
	}
}

static void
keep_progress(struct control_server *server, int64_t job_id, const struct restic_progress *progress)
{
	struct live_progress *live = find_progress(server, job_id);
	if (live == NULL) {
		live = xcalloc(1, sizeof(*live));
		live->job_id = job_id;
		TAILQ_INSERT_TAIL(&server->progress, live, entry);
	}
	live->progress = *progress;
	live->sequence = ++server->sequence;
}

struct live_job
server_live_job(const struct control_server *server, const struct job *job)
{
	const struct job_record *record = &job->record;
	const struct live_progress *live = find_progress(server, record->id);
	struct live_job answer = {
	    .id = record->id,
	    .run_id = record->run_id,
	    .kind = record->kind,
	    .service = xstrdup(record->service),
	    .state = record->state,
	    .attempt = record->attempt,
	    .due_at = record->due_at,
	    .state_since = record->state_since,
	    .away_since = record->away_since,
	    .step = xstrdup_null(job->step != NULL ? job->step->word : NULL),
	    .waiting = xstrdup_null(record->waiting),
	    .has_progress = live != NULL,
	};
	if (live != NULL)
		answer.progress = live->progress;
	return answer;
}

/* ---- who follows what ---- */

static int
compare_ids(const void *left, const void *right)
{
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
	return (a > b) - (a < b);
}

static int64_t *
find_id(const struct following *following, int64_t job_id)
{
	if (following->count == 0)
		return NULL;
	return bsearch(&job_id, following->job_ids, following->count, sizeof(*following->job_ids), compare_ids);
}

static bool
follows(const struct server_client *client, int64_t job_id)
{
	const struct following *following = &client->following;
	return following->on && (following->all || find_id(following, job_id) != NULL);
}

static void
forget_id(struct following *following, int64_t job_id)
{
	int64_t *found = find_id(following, job_id);
	if (found == NULL)
		return;
	size_t behind = following->count - (size_t)(found - following->job_ids) - 1;
	memmove(found, found + 1, behind * sizeof(*found));
	following->count--;
}

struct survey {
	struct server_client *client;
	struct live_job_list *jobs;
};

static void
take_job(void *context, const struct job *job)
{
	const struct survey *survey = context;
	struct live_job_list *jobs = survey->jobs;
	struct following *following = &survey->client->following;
	if (!following->all && find_id(following, job->record.id) == NULL)
		return;
	jobs->items = xreallocarray(jobs->items, jobs->count + 1, sizeof(*jobs->items));
	jobs->items[jobs->count++] = server_live_job(survey->client->server, job);
}

void
client_follow(struct server_client *client, const int64_t *job_ids, size_t count, struct live_job_list *ret_jobs)
{
	struct following *following = &client->following;
	free(following->job_ids);
	*following = (struct following){.on = true, .all = count == 0, .count = count};
	if (count > 0) {
		following->job_ids = xmemdup(job_ids, count * sizeof(*job_ids));
		qsort(following->job_ids, count, sizeof(*job_ids), compare_ids);
	}
	engine_each(client->server->engine, take_job, &(struct survey){.client = client, .jobs = ret_jobs});

	/* What is left of the wish is what has not ended. */
	for (size_t i = 0; !following->all && i < ret_jobs->count; i++)
		following->job_ids[i] = ret_jobs->items[i].id;
	following->count = following->all ? 0 : ret_jobs->count;
	if (following->count > 0)
		qsort(following->job_ids, following->count, sizeof(*job_ids), compare_ids);
}

/* ---- telling ---- */

static bool
anybody_follows(const struct control_server *server, int64_t job_id)
{
	const struct server_client *client;
	TAILQ_FOREACH(client, &server->clients, entry)
	if (follows(client, job_id))
		return true;
	return false;
}

/* Packed once for all who want it. `job_id` 0: whoever follows anything. */
static void
tell(struct control_server *server, int64_t job_id, const struct control_event *event)
{
	struct packer packer;
	control_event_pack(event, &packer);
	struct server_client *client = NULL;
	TAILQ_FOREACH(client, &server->clients, entry)
	if (job_id == 0 ? client->following.on : follows(client, job_id))
		client_tell(client, &packer);
	packer_release(&packer);
}

static void
tell_client(struct server_client *client, const struct control_event *event)
{
	struct packer packer;
	control_event_pack(event, &packer);
	client_tell(client, &packer);
	packer_release(&packer);
}

/* Jobs that have ended only in memory, because the journal cannot be written, have not: what follows is the event
 * of the runner's own end, which says why. */
static void
end_following(struct server_client *client)
{
	if (error_is_set(engine_journal_error(client->server->engine)))
		return;
	tell_client(client, &(struct control_event){.kind = CONTROL_EVENT_END});
	client->following.on = false;
	if (client->descriptor >= 0)
		client_arm_patience(client);
}

void
client_end_if_through(struct server_client *client)
{
	const struct following *following = &client->following;
	size_t left = following->all ? engine_unfinished(client->server->engine) : following->count;
	if (following->on && left == 0)
		end_following(client);
}

static void
job_has_ended(struct control_server *server, const struct job *job)
{
	/* The engine lets go of it when we return. */
	size_t left = engine_unfinished(server->engine) - 1;
	struct server_client *client = NULL;
	TAILQ_FOREACH(client, &server->clients, entry)
	{
		struct following *following = &client->following;
		forget_id(following, job->record.id);
		if (following->on && (following->all ? left : following->count) == 0)
			end_following(client);
	}
}

static void
on_transition(void *context, const struct job *job, enum job_state from, enum job_event event, const char *message)
{
	struct control_server *server = context;
	const struct job_record *record = &job->record;
	server_forget_progress(server, record->id);
	if (anybody_follows(server, record->id)) {
		cleanup_free char *word = xstrdup(job_event_word(event));
		cleanup_free char *words = xstrdup_null(message);
		tell(server, record->id,
		    &(struct control_event){
			.kind = CONTROL_EVENT_TRANSITION,
			.job_id = record->id,
			.service = record->service,
			.from = from,
			.to = record->state,
			.word = word,
			.message = words,
		    });
	}
	if (job_state_is_terminal(record->state))
		job_has_ended(server, job);
}

static void
on_step(void *context, const struct job *job, const char *word)
{
	struct control_server *server = context;
	if (!anybody_follows(server, job->record.id))
		return;
	cleanup_free char *copy = xstrdup(word);
	tell(server, job->record.id,
	    &(struct control_event){
		.kind = CONTROL_EVENT_STEP,
		.job_id = job->record.id,
		.service = job->record.service,
		.word = copy,
	    });
}

static void
on_words(void *context, const struct job *job, const char *source, const char *line)
{
	struct control_server *server = context;
	if (!anybody_follows(server, job->record.id))
		return;
	cleanup_free char *word = xstrdup(source);
	cleanup_free char *message = xstrdup(line);
	tell(server, job->record.id,
	    &(struct control_event){
		.kind = CONTROL_EVENT_WORDS,
		.job_id = job->record.id,
		.service = job->record.service,
		.word = word,
		.message = message,
	    });
}

static void
tell_progress(struct server_client *client, const struct job *job, const struct restic_progress *progress)
{
	tell_client(client, &(struct control_event){
				.kind = CONTROL_EVENT_PROGRESS,
				.job_id = job->record.id,
				.service = job->record.service,
				.progress = *progress,
			    });
}

/* A client that is slow gets the newest of each job when it has caught up. */
static void
on_progress(void *context, const struct job *job, const struct restic_progress *progress)
{
	struct control_server *server = context;
	keep_progress(server, job->record.id, progress);
	struct server_client *client = NULL;
	TAILQ_FOREACH(client, &server->clients, entry)
	{
		if (!follows(client, job->record.id))
			continue;
		if (evbuffer_get_length(client->unsent) == 0)
			tell_progress(client, job, progress);
		else if (client->following.behind_since == 0)
			client->following.behind_since = server->sequence;
	}
}

void
client_catch_up(struct server_client *client)
{
	uint64_t since = client->following.behind_since;
	client->following.behind_since = 0;
	if (since == 0 || !client->following.on)
		return;
	const struct live_progress *live = NULL;
	TAILQ_FOREACH(live, &client->server->progress, entry)
	{
		const struct job *job = engine_find(client->server->engine, live->job_id);
		if (live->sequence >= since && job != NULL && follows(client, live->job_id))
			tell_progress(client, job, &live->progress);
	}
}

struct engine_observer
control_server_observer(struct control_server *server)
{
	return (struct engine_observer){
	    .transition = on_transition,
	    .step = on_step,
	    .progress = on_progress,
	    .words = on_words,
	    .context = server,
	};
}

void
control_server_notice(struct control_server *server, const char *words)
{
	cleanup_free char *message = xstrdup(words);
	tell(server, 0, &(struct control_event){.kind = CONTROL_EVENT_NOTICE, .message = message});
}

void
server_tell_lost(struct control_server *server, const struct error *lost)
{
	cleanup_text struct text message = {0};
	text_add(&message, lost != NULL ? lost->message : "");
	if (lost != NULL && lost->hint != NULL)
		text_printf(&message, "; %s", lost->hint);
	tell(server, 0,
	    &(struct control_event){
		.kind = lost != NULL ? CONTROL_EVENT_LOST : CONTROL_EVENT_END,
		.message = message.string,
	    });
}
