#include "cli/attend.h"

#include <string.h>

#include "cli/engage.h"
#include "cli/json_output.h"
#include "cli/outcome.h"
#include "cli/progress.h"
#include "core/alloc.h"
#include "core/clock.h"

/* Of a runner that dies whenever somebody comes, one has to be told. */
#define MOST_FAILURES 5

/* What has been shown of one job. The runner's events and the journal's transitions tell the same in the same order,
 * so what was missed while there was no connection is what the journal has beyond the events that came. */
struct shown {
	int64_t job_id;
	int64_t journaled; /* the last transition that is accounted for */
	size_t events;     /* transitions that came as events since */
	enum job_state from, to;
	bool from_journal; /* the last one was shown from the journal: its event may still come */
};

struct attending {
	const struct attendance *wish;
	struct control_client *client;
	struct progress *progress;
	struct interrupt *interrupt;
	struct shown *shown;
	size_t shown_count;
	bool detached;
	bool lost;         /* the runner could not go on */
	unsigned failures; /* connections, one after the other, that came to nothing */
};

static bool
is_wanted(const struct attendance *wish, int64_t job_id)
{
	for (size_t i = 0; i < wish->job_count; i++)
		if (wish->job_ids[i] == job_id)
			return true;
	return wish->all;
}

static struct shown *
shown_of(struct attending *attending, int64_t job_id)
{
	for (size_t i = 0; i < attending->shown_count; i++)
		if (attending->shown[i].job_id == job_id)
			return &attending->shown[i];
	attending->shown = xreallocarray(attending->shown, attending->shown_count + 1, sizeof(*attending->shown));
	struct shown *shown = &attending->shown[attending->shown_count++];
	*shown = (struct shown){.job_id = job_id, .journaled = attending->wish->seen};
	return shown;
}

/* ---- what the runner tells ---- */

/* Only the journal knows until when. */
static void
show_due(struct attending *attending, int64_t job_id)
{
	cleanup_job struct job_record job = {0};
	if (attending->wish->journal == NULL || journal_job(attending->wish->journal, job_id, &job, NULL) <= 0)
		return;
	if (job.state == JOB_DELAYING && job.due_at > clock_wall(clock_system()))
		progress_due(attending->progress, job_id, job.service, job.due_at);
}

static void
show_event(struct attending *attending, const struct control_event *event)
{
	if (event->kind == CONTROL_EVENT_TRANSITION) {
		struct shown *shown = shown_of(attending, event->job_id);
		bool twice = shown->from_journal && shown->from == event->from && shown->to == event->to;
		shown->from_journal = false;
		if (twice)
			return;
		shown->events++;
		shown->from = event->from;
		shown->to = event->to;
	}
	progress_event(attending->progress, event);
	if (event->kind == CONTROL_EVENT_TRANSITION && event->to == JOB_DELAYING)
		show_due(attending, event->job_id);
}

/* ---- what the journal tells ---- */

static void
show_transition(void *context, const struct transition *transition)
{
	struct attending *attending = context;
	if (!is_wanted(attending->wish, transition->job_id))
		return;
	struct shown *shown = shown_of(attending, transition->job_id);
	if (transition->id <= shown->journaled)
		return;
	shown->journaled = transition->id;
	if (shown->events > 0) {
		shown->events--;
		return;
	}
	cleanup_job struct job_record job = {0};
	if (journal_job(attending->wish->journal, transition->job_id, &job, NULL) <= 0)
		return;
	progress_transition(attending->progress, job.id, job.service, transition->from, transition->to,
	    transition->event, transition->message);
	shown->from = transition->from;
	shown->to = transition->to;
	shown->from_journal = true;
}

static int
show_missed(struct attending *attending, struct error *error)
{
	const struct attendance *wish = attending->wish;
	if (wish->journal == NULL)
		return 0;
	return journal_transitions(wish->journal, 0, wish->seen, show_transition, attending, error);
}

struct unfinished {
	const struct attendance *wish;
	bool any;
};

static void
see_unfinished(void *context, const struct job_record *job)
{
	struct unfinished *unfinished = context;
	unfinished->any |= is_wanted(unfinished->wish, job->id);
}

/* 1, 0 or -1. Without a journal the runner has to be asked. */
static int
is_unfinished(const struct attendance *wish, struct error *error)
{
	struct unfinished unfinished = {.wish = wish, .any = wish->journal == NULL};
	const struct job_filter filter = {.unfinished = true};
	if (wish->journal != NULL && journal_jobs(wish->journal, &filter, see_unfinished, &unfinished, error) < 0)
		return -1;
	return unfinished.any;
}

/* ---- asking ---- */

/* All of them are asked for even if one has just ended. */
static int
cancel_all(struct attending *attending, struct error *error)
{
	static const char why[] = "cancelled by the user";
	progress_say(attending->progress, "cancelled; what was stopped is started again first");
	struct live_job_list jobs = {0};
	if (control_client_status(attending->client, NULL, &jobs, NULL, error) < 0)
		return -1;
	int result = 0;
	for (size_t i = 0; i < jobs.count && result == 0; i++) {
		cleanup_error struct error refused = {0};
		if (!is_wanted(attending->wish, jobs.items[i].id) ||
		    control_client_cancel(attending->client, jobs.items[i].id, why, &refused) == 0)
			continue;
		if (refused.code == ERROR_USAGE)
			continue;
		error_move(error, &refused);
		result = -1;
	}
	live_job_list_clear(&jobs);
	return result;
}

/* 1: go on; 0: it is over; -1: an error, ERROR_RUNNER_GONE among others */
static int
take_wish(struct attending *attending, enum interrupt_wish wish, struct error *error)
{
	if (wish == INTERRUPT_NONE)
		return 1;
	if (wish == INTERRUPT_CANCEL)
		return cancel_all(attending, error) < 0 ? -1 : 1;
	attending->detached = true;
	return 0;
}

/* The same answers. */
static int
take_events(struct attending *attending, struct error *error)
{
	for (;;) {
		struct control_event event = {0};
		int result = control_client_next(attending->client, 0, &event, error);
		if (result <= 0)
			return result < 0 ? -1 : 1;
		show_event(attending, &event);
		bool over = event.kind == CONTROL_EVENT_END || event.kind == CONTROL_EVENT_LOST;
		if (event.kind == CONTROL_EVENT_LOST) {
			attending->lost = true;
			progress_say(attending->progress, "%s", event.message);
		}
		control_event_clear(&event);
		if (over)
			return 0;
	}
}

/* ---- following ---- */

static int
begin_to_follow(struct attending *attending, struct error *error)
{
	const struct attendance *wish = attending->wish;
	struct live_job_list jobs = {0};
	size_t count = 0;
	cleanup_free int64_t *ids = xcalloc(wish->job_count + 1, sizeof(*ids));
	for (size_t i = 0; i < wish->job_count; i++)
		if (wish->job_ids[i] != 0)
			ids[count++] = wish->job_ids[i];
	if (count == 0 && !wish->all)
		return 0;
	if (control_client_follow(attending->client, ids, count, &jobs, error) < 0)
		return -1;
	attending->failures = 0;
	int result = show_missed(attending, error) < 0 ? -1 : jobs.count > 0;
	for (size_t i = 0; i < jobs.count; i++)
		progress_live(attending->progress, &jobs.items[i]);
	live_job_list_clear(&jobs);
	return result;
}

/* One connection, to its end: 0 when it is over; -1. */
static int
follow_once(struct attending *attending, struct error *error)
{
	const struct attendance *wish = attending->wish;
	const char *journal = wish->journal != NULL ? journal_identity(wish->journal) : NULL;
	if (attending->client == NULL &&
	    engage(wish->invocation, journal, ENGAGE_PATIENCE, &attending->client, error) < 0)
		return -1;
	int result = begin_to_follow(attending, error);
	while (result > 0) {
		result = take_events(attending, error);
		if (result > 0)
			result = take_wish(attending,
			    interrupt_wait(attending->interrupt, control_client_descriptor(attending->client),
				attending->progress),
			    error);
	}
	control_client_close(attending->client);
	attending->client = NULL;
	return result;
}

static int
follow_to_the_end(struct attending *attending, struct error *error)
{
	for (;;) {
		if (follow_once(attending, error) == 0)
			return attending->detached ? 0 : show_missed(attending, error);
		/* One that systemd is about to start again has let us in and does not answer yet. */
		bool may_come = error->code == ERROR_RUNNER_GONE || error->code == ERROR_SYSTEM_BUSY;
		if (!may_come || ++attending->failures > MOST_FAILURES)
			return -1;
		int unfinished = is_unfinished(attending->wish, NULL);
		if (unfinished < 0)
			return -1;
		error_clear(error);
		if (unfinished == 0)
			return show_missed(attending, error);
		progress_say(attending->progress, "the runner is gone; looking for another one");
	}
}

/* ---- the end ---- */

static enum exit_code
report_detached(const struct attendance *wish)
{
	if (!wish->invocation->json)
		fputs("detached; the jobs go on, and `atelier-backup follow` comes back to them\n", stderr);
	else
		attend_print_detached(wish->invocation, wish->journal, wish->job_ids, wish->job_count);
	return CODE_FAILED;
}

/* Where the journal cannot be read: how far each job was seen to come. */
static enum exit_code
code_of_events(const struct attending *attending)
{
	enum exit_code code = attending->lost ? CODE_FAILED : CODE_COMPLETE;
	for (size_t i = 0; i < attending->shown_count; i++)
		if (attending->shown[i].to != JOB_PRUNED)
			code = CODE_FAILED;
	return code;
}

static enum exit_code
report(const struct attending *attending)
{
	const struct attendance *wish = attending->wish;
	if (attending->detached)
		return report_detached(wish);
	if (wish->journal == NULL)
		return code_of_events(attending);
	if (!wish->all)
		return outcome_report(wish->invocation, wish->journal, wish->job_ids, wish->job_count);
	cleanup_free int64_t *ids = xcalloc(attending->shown_count + 1, sizeof(*ids));
	for (size_t i = 0; i < attending->shown_count; i++)
		ids[i] = attending->shown[i].job_id;
	return outcome_report(wish->invocation, wish->journal, ids, attending->shown_count);
}

enum exit_code
attend(const struct attendance *attendance)
{
	cleanup_error struct error error = {0};
	struct attending attending = {.wish = attendance, .client = attendance->client};
	attending.progress =
	    progress_new(clock_system(), attendance->invocation->json, attendance->invocation->verbose);
	attending.interrupt = interrupt_new(attendance->on_interrupt);
	int result = follow_to_the_end(&attending, &error);
	if (attendance->ret_left != NULL)
		*attendance->ret_left = result < 0 || attending.detached || attending.lost;
	control_client_close(attending.client);
	interrupt_free(attending.interrupt);
	progress_free(attending.progress);
	enum exit_code code =
	    result < 0 ? cli_fail(attendance->invocation, &error, cli_code_of(error.code)) : report(&attending);
	free(attending.shown);
	return code;
}

/* ---- submitting ---- */

static const char *
service_of(struct journal *journal, int64_t job_id, struct job_record *job)
{
	return journal != NULL && journal_job(journal, job_id, job, NULL) > 0 ? job->service : NULL;
}

void
attend_print_detached(
    const struct invocation *invocation, struct journal *journal, const int64_t *job_ids, size_t count)
{
	json_t *array = json_array();
	for (size_t i = 0; i < count; i++) {
		if (job_ids[i] == 0)
			continue;
		cleanup_job struct job_record job = {0};
		const char *service = service_of(journal, job_ids[i], &job);
		if (!invocation->json) {
			printf("%s: job %lld\n", service != NULL ? service : "?", (long long)job_ids[i]);
			continue;
		}
		json_t *object = json_object();
		json_object_set_new(object, "job", json_integer(job_ids[i]));
		json_object_set_new(object, "service", json_output_text(service));
		json_array_append_new(array, object);
	}
	if (!invocation->json) {
		json_decref(array);
		puts("`atelier-backup follow` shows how far they are");
		return;
	}
	json_t *document = json_output_new();
	json_object_set_new(document, "event", json_string("detached"));
	json_object_set_new(document, "jobs", array);
	json_output_print(document);
}

enum exit_code
attend_submission(
    const struct invocation *invocation, struct journal *journal, const struct control_submission *submission)
{
	cleanup_error struct error error = {0};
	struct attendance attendance = {
	    .invocation = invocation,
	    .journal = journal,
	    .on_interrupt = INTERRUPT_CANCEL,
	};
	struct control_submitted submitted = {0};
	if (journal_last_transition(journal, &attendance.seen, &error) < 0 ||
	    engage_submit(invocation, journal_identity(journal), submission, &attendance.client, &submitted, &error) <
		0)
		return cli_fail(invocation, &error, cli_code_of(error.code));
	if (submission->night != NULL && !submitted.added && !invocation->json) {
		printf("the night of %s has its run already (run %lld); nothing is added\n", submission->night,
		    (long long)submitted.run_id);
		fflush(stdout);
	}
	/* What follows a backup by hand is the runner's own affair: it may have to wait for hours. */
	for (size_t i = 0; submission->kind == RUN_MANUAL && i < submitted.count; i++)
		if (submission->jobs[i].kind != JOB_KIND_BACKUP)
			submitted.job_ids[i] = 0;
	attendance.job_ids = submitted.job_ids;
	attendance.job_count = submitted.count;
	enum exit_code code = CODE_COMPLETE;
	if (invocation->detach) {
		control_client_close(attendance.client);
		attend_print_detached(invocation, journal, submitted.job_ids, submitted.count);
	} else {
		code = attend(&attendance);
	}
	free(submitted.job_ids);
	return code;
}
