#include "cli/status_report.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"
#include "jobs/kickoff.h"

/* Between the submission of a job and the moment its runner holds the lock. */
#define HAND_OVER_PATIENCE (10 * USEC_PER_SEC)

const char *
status_condition_word(enum status_condition condition)
{
	static const char *const words[] = {
#define X(name, word, code) [STATUS_##name] = word,
	    STATUS_CONDITION_LIST(X)
#undef X
	};
	return words[condition];
}

enum exit_code
status_report_code(const struct status_report *report)
{
	static const enum exit_code codes[] = {
#define X(name, word, code) [STATUS_##name] = CODE_##code,
	    STATUS_CONDITION_LIST(X)
#undef X
	};
	return codes[report->condition];
}

static void __attribute__((format(printf, 5, 6)))
add_attention(struct status_report *report, enum status_condition condition, const char *subject, const char *hint,
    const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *message = xvasprintf(format, arguments);
	va_end(arguments);
	report->attention = xreallocarray(report->attention, report->attention_count + 1, sizeof(*report->attention));
	report->attention[report->attention_count++] = (struct status_attention){
	    .condition = condition,
	    .subject = xstrdup(subject),
	    .message = message,
	    .hint = xstrdup_null(hint),
	};
	if (condition > report->condition)
		report->condition = condition;
}

static const char *
obligation_text(enum obligation_kind kind)
{
	switch (kind) {
	case OBLIGATION_START_UNIT:
		return "was stopped for a backup and does not run again";
	case OBLIGATION_POST_BACKUP:
		return "preBackup ran, and its postBackup did not";
	}
	return "";
}

static void
judge_given_up(struct status_report *report, const struct obligation_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct obligation *owed = &list->items[i];
		add_attention(report, STATUS_FAILED, owed->subject,
		    "remove what prevents it, then run 'atelier-backup recover' to try again", "%s (job %lld): %s",
		    obligation_text(owed->kind), (long long)owed->job_id,
		    owed->message != NULL ? owed->message : "tried as often as allowed");
	}
}

static void
judge_owed(struct status_report *report, const struct obligation_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct obligation *owed = &list->items[i];
		add_attention(report, STATUS_FAILED, owed->subject, "run 'atelier-backup recover' now",
		    "%s (job %lld): the backup was interrupted", obligation_text(owed->kind),
		    (long long)owed->job_id);
	}
}

static bool
is_interrupted(const struct status_house *house, const struct service_facts *facts)
{
	if (house->runner_alive || facts->current == NULL || job_state_is_terminal(facts->current->state))
		return false;
	bool fresh = house->now - facts->current->submitted_at < HAND_OVER_PATIENCE;
	return facts->current->state != JOB_PENDING || !fresh;
}

static int64_t
age_of(int64_t now, int64_t then)
{
	return now > then ? now - then : 0;
}

/* The job whose window people ask about: the one that is on, else the last that came to something. */
static int64_t
away_of(const struct status_house *house, const struct service_facts *facts)
{
	if (facts->current != NULL && !job_state_is_terminal(facts->current->state) &&
	    facts->current->away_since != 0)
		return facts->current->away + age_of(house->now, facts->current->away_since);
	const struct job_record *verdict = service_facts_verdict(facts);
	return verdict != NULL ? verdict->away : 0;
}

static void
foresee_next(
    const struct status_house *house, int64_t kickoff, const struct service_facts *facts, struct status_line *line)
{
	const struct job_record *job = facts->current;
	if (job == NULL || job_state_is_terminal(job->state)) {
		line->next_from = kickoff + (line->service->own ? house->max_delay : 0);
		line->next_until = kickoff + house->max_delay;
	} else if (job->state == JOB_PENDING || job->state == JOB_DELAYING) {
		line->next_from = line->next_until = job->due_at != 0 ? job->due_at : job->submitted_at;
	}
}

/* Nobody declared the built-in service: that it has no backup says something only when one has been tried. */
static bool
awaits_first_run(const struct service *service, const struct job_record *verdict)
{
	return service->own && verdict == NULL;
}

static struct status_line
judge_service(const struct status_house *house, int64_t kickoff, const struct service *service,
    const struct service_facts *facts)
{
	struct status_line line = {
	    .service = service,
	    .facts = facts,
	    .interrupted = is_interrupted(house, facts),
	    .good_age = facts->has_good ? age_of(house->now, facts->good.at) : -1,
	    .away = away_of(house, facts),
	};
	const struct job_record *verdict = service_facts_verdict(facts);
	line.overdue = facts->has_good ? line.good_age > service->overdue_after : !awaits_first_run(service, verdict);
	foresee_next(house, kickoff, facts, &line);
	if (line.interrupted || (verdict != NULL && verdict->outcome == OUTCOME_FAILED))
		line.condition = STATUS_FAILED;
	else if (line.overdue)
		line.condition = STATUS_OVERDUE;
	else if (verdict != NULL && verdict->outcome == OUTCOME_PARTIAL)
		line.condition = STATUS_PARTIAL;
	return line;
}

static void
explain_interrupted(struct status_report *report, const struct status_line *line)
{
	if (!line->interrupted)
		return;
	const struct job_record *job = line->facts->current;
	add_attention(report, STATUS_FAILED, line->service->name,
	    "run 'atelier-backup recover': it resumes or undoes the job",
	    "interrupted: job %lld stands in %s, and nobody works on it", (long long)job->id,
	    job_state_word(job->state));
}

static void
explain_verdict(struct status_report *report, const struct status_line *line, enum job_outcome outcome,
    enum status_condition condition)
{
	const struct job_record *job = service_facts_verdict(line->facts);
	if (job == NULL || job->outcome != outcome)
		return;
	cleanup_free char *hint = job->error.hint != NULL
				      ? xstrdup(job->error.hint)
				      : xasprintf("'atelier-backup show %lld' tells all of it", (long long)job->id);
	add_attention(report, condition, line->service->name, hint, "%s: %s", job_outcome_word(outcome),
	    job->error.message != NULL ? job->error.message : "no reason was recorded");
}

/* Nothing is wrong yet, and nobody has to wonder why nothing happens. */
static void
explain_waiting(struct status_report *report, const char *subject, const struct service_facts *facts)
{
	const struct job_record *job = facts->current;
	if (job == NULL || job->state != JOB_DELAYING || job->waiting == NULL)
		return;
	cleanup_free char *hint =
	    xasprintf("'atelier-backup retry %lld' tries at once, 'atelier-backup cancel %lld' gives "
		      "it up",
		(long long)job->id, (long long)job->id);
	add_attention(
	    report, STATUS_GOOD, subject, hint, "waits for attempt %lld: %s", (long long)job->attempt, job->waiting);
}

/* Stays until one has succeeded. */
static void
explain_maintenance(struct status_report *report, enum job_kind kind, const struct service_facts *facts)
{
	const struct job_record *job = service_facts_verdict(facts);
	if (job != NULL && job->outcome == OUTCOME_FAILED) {
		cleanup_free char *hint =
		    job->error.hint != NULL
			? xstrdup(job->error.hint)
			: xasprintf("'atelier-backup show %lld' tells all of it", (long long)job->id);
		add_attention(report, STATUS_FAILED, job_kind_word(kind), hint, "failed: %s",
		    job->error.message != NULL ? job->error.message : "no reason was recorded");
	} else if (job != NULL && job->outcome == OUTCOME_PARTIAL) {
		add_attention(report, STATUS_PARTIAL, job_kind_word(kind), job->error.hint, "%s",
		    job->error.message != NULL ? job->error.message : "no reason was recorded");
	}
	explain_waiting(report, job_kind_word(kind), facts);
}

static void
explain_overdue(struct status_report *report, const struct status_line *line)
{
	if (!line->overdue)
		return;
	const char *name = line->service->name;
	cleanup_free char *hint = xasprintf("run 'atelier-backup backup %s', and see that the timer or cron runs "
					    "'atelier-backup run' every night",
	    name);
	if (line->good_age < 0) {
		add_attention(report, STATUS_OVERDUE, name, hint, "overdue: there is no good backup yet");
		return;
	}
	cleanup_free char *age = text_duration(line->good_age);
	cleanup_free char *allowed = text_duration(line->service->overdue_after);
	add_attention(report, STATUS_OVERDUE, name, hint, "overdue: the last good backup is %s old, more than %s",
	    age, allowed);
}

void
status_report_make(const struct status_house *house, const struct service *const *services,
    const struct service_facts *facts, size_t count, struct status_report *ret_report)
{
	struct status_report report = {.lines = xcalloc(count + 1, sizeof(*report.lines)), .line_count = count};
	int64_t kickoff = kickoff_next(house->now, house->kickoff);
	for (size_t i = 0; i < count; i++)
		report.lines[i] = judge_service(house, kickoff, services[i], &facts[i]);

	judge_given_up(&report, house->given_up);
	if (!house->runner_alive)
		judge_owed(&report, house->owed);
	for (size_t i = 0; i < count; i++)
		explain_interrupted(&report, &report.lines[i]);
	for (size_t i = 0; i < count; i++)
		explain_verdict(&report, &report.lines[i], OUTCOME_FAILED, STATUS_FAILED);
	for (size_t i = 0; i < count; i++)
		explain_overdue(&report, &report.lines[i]);
	for (size_t i = 0; i < count; i++)
		explain_verdict(&report, &report.lines[i], OUTCOME_PARTIAL, STATUS_PARTIAL);
	for (size_t i = 0; house->maintenance != NULL && i < STATUS_MAINTENANCE_COUNT; i++)
		explain_maintenance(&report, status_maintenance_kinds[i], &house->maintenance[i]);
	for (size_t i = 0; i < count; i++)
		explain_waiting(&report, services[i]->name, &facts[i]);
	if (house->quarantined > 0)
		add_attention(&report, STATUS_GOOD, "journal",
		    "they are kept in its table 'quarantine'; docs/journal.md says how to look at them",
		    "%lld damaged row%s set aside", (long long)house->quarantined,
		    house->quarantined == 1 ? " is" : "s are");
	*ret_report = report;
}

void
status_report_clear(struct status_report *report)
{
	for (size_t i = 0; i < report->attention_count; i++) {
		free(report->attention[i].subject);
		free(report->attention[i].message);
		free(report->attention[i].hint);
	}
	free(report->attention);
	free(report->lines);
	*report = (struct status_report){.condition = STATUS_GOOD};
}
