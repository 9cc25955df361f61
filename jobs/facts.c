#include "jobs/facts.h"

#include "core/alloc.h"

/* ---- one service ---- */

static bool
gives_verdict(const struct job_record *job)
{
	return job != NULL && job_state_is_terminal(job->state) && job->outcome != OUTCOME_CANCELLED;
}

const struct job_record *
service_facts_verdict(const struct service_facts *facts)
{
	return gives_verdict(facts->current) ? facts->current : facts->earlier;
}

bool
service_facts_learn(struct service_facts *facts, struct job_record *job)
{
	struct job_record **place = facts->current == NULL ? &facts->current : &facts->earlier;
	if (service_facts_verdict(facts) == NULL && (place == &facts->current || gives_verdict(job))) {
		*place = xmemdup(job, sizeof(*job));
		*job = (struct job_record){.id = 0};
	}
	return service_facts_verdict(facts) == NULL;
}

static void
free_job(struct job_record *job)
{
	if (job != NULL)
		job_record_clear(job);
	free(job);
}

void
service_facts_clear(struct service_facts *facts)
{
	free(facts->name);
	free_job(facts->current);
	free_job(facts->earlier);
	last_good_clear(&facts->good);
	*facts = (struct service_facts){.name = NULL};
}

/* ---- all of them ---- */

void
journal_facts_clear(struct journal_facts *facts)
{
	for (size_t i = 0; i < facts->count; i++)
		service_facts_clear(&facts->services[i]);
	free(facts->services);
	obligation_list_clear(&facts->owed);
	obligation_list_clear(&facts->given_up);
	*facts = (struct journal_facts){.services = NULL};
}

static bool
learn(void *context, size_t index, struct job_record *job)
{
	struct journal_facts *facts = context;
	return service_facts_learn(&facts->services[index], job);
}

static int
read_services(struct journal *journal, struct journal_facts *facts, struct error *error)
{
	cleanup_free const char **names = xcalloc(facts->count + 1, sizeof(*names));
	cleanup_free struct last_good *goods = xcalloc(facts->count + 1, sizeof(*goods));
	for (size_t i = 0; i < facts->count; i++)
		names[i] = facts->services[i].name;
	int result = journal_survey(journal, names, facts->count, learn, facts, goods, error);
	for (size_t i = 0; i < facts->count; i++) {
		facts->services[i].good = goods[i];
		facts->services[i].has_good = goods[i].job_id != 0;
	}
	return result;
}

static int
read_journal(struct journal *journal, struct journal_facts *facts, struct error *error)
{
	if (read_services(journal, facts, error) < 0 ||
	    journal_obligations(journal, 0, true, &facts->owed, error) < 0 ||
	    journal_given_up(journal, &facts->given_up, error) < 0)
		return -1;
	return journal_quarantine_count(journal, &facts->quarantined, error);
}

int
journal_facts_read(struct journal *journal, char *const *names, struct journal_facts *ret_facts, struct error *error)
{
	size_t count = strings_count(names);
	cleanup_journal_facts struct journal_facts facts = {
	    .services = xcalloc(count + 1, sizeof(*facts.services)),
	    .count = count,
	};
	for (size_t i = 0; i < count; i++)
		facts.services[i].name = xstrdup(names[i]);
	if (journal != NULL && read_journal(journal, &facts, error) < 0)
		return -1;
	*ret_facts = facts;
	facts = (struct journal_facts){.services = NULL};
	return 0;
}

/* ---- packed ---- */

RECORD_WORDS(kind_words, job_kind);
RECORD_WORDS(state_words, job_state);
RECORD_WORDS(outcome_words, job_outcome);
RECORD_WORDS(obligation_words, obligation_kind);
RECORD_WORDS(result_words, obligation_result);
RECORD_WORDS(role_words, unit_role);

static const struct record_field job_fields[] = {
    RECORD_FIELD("job", INTEGER, struct job_record, id),
    RECORD_FIELD("run", INTEGER, struct job_record, run_id),
    RECORD_FIELD("kind", WORD, struct job_record, kind, .words = &kind_words),
    RECORD_FIELD("service", NAME, struct job_record, service),
    RECORD_FIELD("state", WORD, struct job_record, state, .words = &state_words),
    RECORD_FIELD("outcome", WORD, struct job_record, outcome, .words = &outcome_words),
    RECORD_FIELD("attempt", INTEGER, struct job_record, attempt),
    RECORD_FIELD("dueAt", INTEGER, struct job_record, due_at),
    RECORD_FIELD("submittedAt", INTEGER, struct job_record, submitted_at),
    RECORD_FIELD("startedAt", INTEGER, struct job_record, started_at),
    RECORD_FIELD("endedAt", INTEGER, struct job_record, ended_at),
    RECORD_FIELD("stateSince", INTEGER, struct job_record, state_since),
    RECORD_FIELD("snapshotBegun", BOOL, struct job_record, snapshot_begun),
    RECORD_FIELD("snapshot", TEXT, struct job_record, snapshot_id),
    RECORD_FIELD("files", COUNT, struct job_record, files),
    RECORD_FIELD("bytes", COUNT, struct job_record, bytes),
    RECORD_FIELD("bytesAdded", COUNT, struct job_record, bytes_added),
    RECORD_FIELD("missing", COUNT, struct job_record, missing_count),
    RECORD_FIELD("awaySince", INTEGER, struct job_record, away_since),
    RECORD_FIELD("away", INTEGER, struct job_record, away),
    RECORD_FIELD("waiting", TEXT, struct job_record, waiting),
    RECORD_FIELD("summary", TEXT, struct job_record, summary),
    RECORD_FIELD("error", ERROR, struct job_record, error),
};
static const struct record_shape job_shape = RECORD_SHAPE(struct job_record, job_fields);

static const struct record_field good_fields[] = {
    RECORD_FIELD("job", INTEGER, struct last_good, job_id),
    RECORD_FIELD("at", INTEGER, struct last_good, at),
    RECORD_FIELD("snapshot", TEXT, struct last_good, snapshot_id),
    RECORD_FIELD("files", COUNT, struct last_good, files),
    RECORD_FIELD("bytes", COUNT, struct last_good, bytes),
    RECORD_FIELD("bytesAdded", COUNT, struct last_good, bytes_added),
};
static const struct record_shape good_shape = RECORD_SHAPE(struct last_good, good_fields);

static const struct record_field service_fields[] = {
    RECORD_FIELD("service", NAME, struct service_facts, name),
    RECORD_FIELD("current", POINTER, struct service_facts, current, .shape = &job_shape),
    RECORD_FIELD("earlier", POINTER, struct service_facts, earlier, .shape = &job_shape),
    RECORD_FIELD("good", OPTIONAL, struct service_facts, good, .other = offsetof(struct service_facts, has_good),
	.shape = &good_shape),
};
static const struct record_shape service_shape = RECORD_SHAPE(struct service_facts, service_fields);

static const struct record_field obligation_fields[] = {
    RECORD_FIELD("id", INTEGER, struct obligation, id),
    RECORD_FIELD("job", INTEGER, struct obligation, job_id),
    RECORD_FIELD("kind", WORD, struct obligation, kind, .words = &obligation_words),
    RECORD_FIELD("subject", NAME, struct obligation, subject),
    RECORD_FIELD("role", WORD, struct obligation, role, .words = &role_words),
    RECORD_FIELD("settles", BOOL, struct obligation, settles),
    RECORD_FIELD("createdAt", INTEGER, struct obligation, created_at),
    RECORD_FIELD("settledAt", INTEGER, struct obligation, settled_at),
    RECORD_FIELD("result", WORD, struct obligation, result, .words = &result_words),
    RECORD_FIELD("message", TEXT, struct obligation, message),
};
static const struct record_shape obligation_shape = RECORD_SHAPE(struct obligation, obligation_fields);

static const struct record_field journal_fields[] = {
    RECORD_FIELD("services", LIST, struct journal_facts, services, .other = offsetof(struct journal_facts, count),
	.shape = &service_shape),
    RECORD_FIELD("owed", LIST, struct journal_facts, owed.items, .other = offsetof(struct journal_facts, owed.count),
	.shape = &obligation_shape),
    RECORD_FIELD("givenUp", LIST, struct journal_facts, given_up.items,
	.other = offsetof(struct journal_facts, given_up.count), .shape = &obligation_shape),
    RECORD_FIELD("quarantined", INTEGER, struct journal_facts, quarantined),
};
const struct record_shape journal_facts_shape = RECORD_SHAPE(struct journal_facts, journal_fields);
