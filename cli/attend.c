#include "cli/attend.h"

#include <event2/event.h>
#include <signal.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "cli/job_output.h"
#include "cli/json_output.h"
#include "cli/log_observer.h"
#include "cli/progress.h"
#include "core/alloc.h"
#include "core/log.h"
#include "core/text.h"
#include "jobs/runner.h"
#include "states/given_up.h"
#include "states/machine.h"

/* How often a follower looks at the journal. */
#define FOLLOW_INTERVAL_NS    (250 * 1000 * 1000L)
#define FOLLOW_TURNS_PER_PING 4

struct attending {
	const struct attendance *wish;
	struct progress *progress;
	struct event_base *base;
	int64_t seen; /* the last transition a follower has shown */
};

enum exit_code
attend_code_of(enum job_outcome outcome)
{
	switch (outcome) {
	case OUTCOME_COMPLETE:
		return CODE_COMPLETE;
	case OUTCOME_PARTIAL:
		return CODE_PARTIAL;
	case OUTCOME_CANCELLED:
		return CODE_CANCELLED;
	case OUTCOME_RUNNING:
	case OUTCOME_FAILED:
		return CODE_FAILED;
	}
	return CODE_FAILED;
}

enum exit_code
attend_graver(enum exit_code a, enum exit_code b)
{
	static const enum exit_code order[] = {CODE_FAILED, CODE_PARTIAL, CODE_CANCELLED};
	for (size_t i = 0; i < ARRAY_LENGTH(order); i++)
		if (a == order[i] || b == order[i])
			return order[i];
	return CODE_COMPLETE;
}

/* ---- as the runner ---- */

static void
tell_notice(void *context, const char *words)
{
	struct attending *attending = context;
	progress_say(attending->progress, "%s", words);
}

static void
tell_recovery(void *context, const struct recovery_report *report)
{
	struct attending *attending = context;
	if (report->obligations == 0 && report->children == 0)
		return;
	progress_say(attending->progress,
	    "taking over from a runner that died: %zu unfinished jobs, %zu things owed, %zu processes ended",
	    report->jobs, report->obligations, report->children);
}

/* What a job owes that was set aside as damaged: nobody else will pay it. */
static int
pay_for_damaged_jobs(struct world *world, struct journal *journal, struct error *error)
{
	size_t orphans;
	struct given_up_report report = {0};
	if (recovery_give_up_orphans(journal, &orphans, error) < 0)
		return -1;
	int result = orphans > 0 ? given_up_retry(world, journal, &report, error) : 0;
	error_clear(&report.error);
	return result;
}

static int
run_as_runner(struct attending *attending, enum runner_end *ret_end, struct error *error)
{
	struct world world;
	world_init(&world, attending->base);
	struct machine machine = machine_for(&world);
	struct engine_observer observer = log_is_journal() && !attending->wish->invocation->json
					      ? log_observer()
					      : progress_observer(attending->progress);
	struct runner_settings settings = {
	    .base = attending->base,
	    .journal = attending->wish->journal,
	    .clock = clock_system(),
	    .machine = &machine,
	    .parallel = attending->wish->parallel,
	    .observer = &observer,
	    .notice = tell_notice,
	    .recovered = tell_recovery,
	    .context = attending,
	    .job_ids = attending->wish->job_ids,
	    .job_count = attending->wish->job_count,
	    .all = attending->wish->all,
	};
	int result = pay_for_damaged_jobs(&world, attending->wish->journal, error);
	if (result == 0)
		result = runner_run(&settings, ret_end, error);
	world_release(&world);
	return result;
}

/* ---- as a follower ---- */

struct unfinished {
	const struct attendance *wish;
	bool any;
};

static bool
is_wanted(const struct attendance *wish, int64_t job_id)
{
	for (size_t i = 0; i < wish->job_count; i++)
		if (wish->job_ids[i] == job_id)
			return true;
	return wish->all;
}

static void
see_unfinished(void *context, const struct job_record *job)
{
	struct unfinished *unfinished = context;
	unfinished->any |= is_wanted(unfinished->wish, job->id);
}

static void
show_transition(void *context, const struct transition *transition)
{
	struct attending *attending = context;
	attending->seen = transition->id;
	if (!is_wanted(attending->wish, transition->job_id))
		return;
	cleanup_job struct job_record job = {0};
	cleanup_error struct error error = {0};
	if (journal_job(attending->wish->journal, transition->job_id, &job, &error) > 0)
		progress_transition(attending->progress, job.id, job.service, transition->from, transition->to,
		    transition->event, transition->message);
}

/* Shows what has happened; 1 while a wanted job is unfinished, 0 when none is, -1 with an error. */
static int
follow(struct attending *attending, struct error *error)
{
	if (journal_transitions(attending->wish->journal, 0, attending->seen, show_transition, attending, error) < 0)
		return -1;
	struct unfinished unfinished = {.wish = attending->wish};
	struct job_filter filter = {.unfinished = true};
	if (journal_jobs(attending->wish->journal, &filter, see_unfinished, &unfinished, error) < 0)
		return -1;
	return unfinished.any;
}

/* ---- the end ---- */

static void
print_result(const struct attendance *wish, const struct job_record *job)
{
	if (wish->invocation->json) {
		json_t *document = json_output_new();
		json_object_set_new(document, "event", json_string("result"));
		json_object_set_new(document, "job", job_output_json(job));
		json_output_print(document);
		return;
	}
	enum tone tone = job_output_tone(job->outcome);
	cleanup_text struct text words = {0};
	text_printf(&words, "%s: %s", job->service, job_outcome_word(job->outcome));
	if (job->snapshot_id != NULL) {
		cleanup_free char *size = text_size(job->bytes);
		cleanup_free char *added = text_size(job->bytes_added);
		text_printf(&words, ", snapshot %.8s, %s in %llu files, %s added", job->snapshot_id, size,
		    (unsigned long long)job->files, added);
	}
	if (job->away > 0) {
		cleanup_free char *away = text_duration(job->away);
		text_printf(&words, ", away for %s", away);
	}
	printf("%s%s%s\n", terminal_tone(stdout, tone), words.string, terminal_end(stdout, tone));
	if (error_is_set(&job->error))
		printf("  %s (job %lld)\n", job->error.message, (long long)job->id);
	if (job->error.hint != NULL)
		printf("  %s\n", job->error.hint);
	if (job->outcome == OUTCOME_RUNNING)
		printf(
		    "  it goes on with the next `atelier-backup recover` or `run` (job %lld)\n", (long long)job->id);
}

static enum exit_code
report(const struct attendance *wish)
{
	enum exit_code code = CODE_COMPLETE;
	for (size_t i = 0; i < wish->job_count; i++) {
		cleanup_job struct job_record job = {0};
		cleanup_error struct error error = {0};
		int found = wish->job_ids[i] == 0 ? 0 : journal_job(wish->journal, wish->job_ids[i], &job, &error);
		if (found < 0)
			return cli_fail(wish->invocation, &error, CODE_FAILED);
		if (found == 0 && wish->job_ids[i] != 0) {
			error_set(&error, ERROR_JOURNAL_DAMAGED, "the row of job %lld cannot be read any more",
			    (long long)wish->job_ids[i]);
			error_hint(&error, "docs/journal.md tells where it was put; back the service up again");
			code = attend_graver(code, cli_fail(wish->invocation, &error, CODE_FAILED));
		}
		if (found == 0)
			continue;
		print_result(wish, &job);
		code = attend_graver(code, attend_code_of(job.outcome));
	}
	fflush(stdout);
	return code;
}

/* Under a service manager: following is being up and alive. */
static void
tell_manager(unsigned turn, pid_t holder)
{
	if (turn == 0)
		sd_notifyf(0, "READY=1\nSTATUS=following atelier-backup (pid %d)", (int)holder);
	if (turn % FOLLOW_TURNS_PER_PING == 0)
		sd_notify(0, "WATCHDOG=1");
}

static int
see_to_the_end(struct attending *attending, struct error *error)
{
	for (unsigned turn = 0;; turn++) {
		bool held;
		pid_t holder = 0;
		if (journal_lock_runner(attending->wish->journal, &held, &holder, error) < 0)
			return -1;
		if (held) {
			enum runner_end end;
			int result = run_as_runner(attending, &end, error);
			journal_unlock_runner(attending->wish->journal);
			return result;
		}
		if (turn == 0)
			progress_say(attending->progress,
			    "another atelier-backup (pid %d) runs the jobs; following it", (int)holder);
		tell_manager(turn, holder);
		int unfinished = follow(attending, error);
		if (unfinished <= 0)
			return unfinished;
		nanosleep(&(struct timespec){.tv_nsec = FOLLOW_INTERVAL_NS}, NULL);
	}
}

enum exit_code
attend(const struct attendance *attendance)
{
	cleanup_error struct error error = {0};
	struct attending attending = {.wish = attendance};
	attending.base = event_base_new();
	if (attending.base == NULL) {
		error_set(&error, ERROR_SYSTEM, "no event loop can be made");
		return cli_fail(attendance->invocation, &error, CODE_FAILED);
	}
	attending.progress =
	    progress_new(clock_system(), attendance->invocation->json, attendance->invocation->verbose);
	/* A follower shows what happens from now on. */
	int result = journal_last_transition(attendance->journal, &attending.seen, &error);
	if (result == 0)
		result = see_to_the_end(&attending, &error);
	progress_free(attending.progress);
	event_base_free(attending.base);
	if (result < 0)
		return cli_fail(attendance->invocation, &error, CODE_FAILED);
	return report(attendance);
}
