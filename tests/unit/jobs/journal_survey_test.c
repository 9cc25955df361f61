/* The survey of the services' newest jobs. */
#include "journal_fixture.h"

#define SERVICE_COUNT 3

/* More jobs than the sweep looks at for so few services. */
#define MANY 40

struct seen {
	int64_t ids[SERVICE_COUNT][MANY + 4];
	size_t counts[SERVICE_COUNT];
	enum job_state until; /* that one is the last that is wanted */
};

static bool
see_job(void *context, size_t index, struct job_record *job)
{
	struct seen *seen = context;
	assert_null(job->spec.name);
	seen->ids[index][seen->counts[index]++] = job->id;
	return job->state != seen->until;
}

static int64_t
add_ended(struct journal *journal, const char *name, enum job_state state, enum job_outcome outcome)
{
	int64_t id = submit_one(journal, RUN_MANUAL, NULL, name);
	end_job(journal, id, state, outcome);
	return id;
}

/* The names are not in their order on purpose. */
static const char *const names[SERVICE_COUNT] = {"web", "forum", "mail"};

static void
survey(struct journal *journal, struct seen *seen, struct last_good *goods)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_success(journal_survey(journal, names, SERVICE_COUNT, see_job, seen, goods, &error), &error);
}

static void
jobs_come_newest_first_until_they_are_not_wanted(void **state)
{
	struct journal *journal = fixture_open(*state);
	add_ended(journal, "web", JOB_FAILED, OUTCOME_FAILED);
	int64_t good = add_ended(journal, "web", JOB_PRUNED, OUTCOME_COMPLETE);
	int64_t other = add_ended(journal, "mail", JOB_PRUNED, OUTCOME_PARTIAL);
	int64_t pending = submit_one(journal, RUN_MANUAL, NULL, "web");

	struct seen seen = {.until = JOB_PRUNED};
	struct last_good goods[SERVICE_COUNT] = {{.job_id = 0}};
	survey(journal, &seen, goods);
	assert_int_equal(seen.counts[0], 2);
	assert_int_equal(seen.ids[0][0], pending);
	assert_int_equal(seen.ids[0][1], good);
	assert_int_equal(seen.counts[1], 0);
	assert_int_equal(seen.counts[2], 1);
	assert_int_equal(seen.ids[2][0], other);
	assert_int_equal(goods[0].job_id, good);
	assert_int_equal(goods[1].job_id, 0);
	assert_int_equal(goods[2].job_id, 0);
	last_good_clear(&goods[0]);
}

static void
a_service_whose_jobs_are_all_old_is_found(void **state)
{
	struct journal *journal = fixture_open(*state);
	int64_t older = add_ended(journal, "forum", JOB_PRUNED, OUTCOME_COMPLETE);
	int64_t newer = add_ended(journal, "forum", JOB_FAILED, OUTCOME_FAILED);
	int64_t first = 0, last = 0;
	for (int i = 0; i < MANY; i++) {
		last = add_ended(journal, "mail", JOB_FAILED, OUTCOME_FAILED);
		first = i == 0 ? last : first;
	}

	struct seen seen = {.until = JOB_PRUNED};
	struct last_good goods[SERVICE_COUNT] = {{.job_id = 0}};
	survey(journal, &seen, goods);
	assert_int_equal(seen.counts[1], 2);
	assert_int_equal(seen.ids[1][0], newer);
	assert_int_equal(seen.ids[1][1], older);
	assert_int_equal(goods[1].job_id, older);
	/* What the sweep has shown does not come again. */
	assert_int_equal(seen.counts[2], MANY);
	assert_int_equal(seen.ids[2][0], last);
	assert_int_equal(seen.ids[2][MANY - 1], first);
	last_good_clear(&goods[1]);
}

static void
an_unreadable_row_is_skipped_and_a_bad_spec_is_not_looked_at(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	int64_t old = add_ended(journal, "web", JOB_PRUNED, OUTCOME_COMPLETE);
	int64_t bad_spec = add_ended(journal, "web", JOB_FAILED, OUTCOME_FAILED);
	int64_t bad_word = add_ended(journal, "web", JOB_FAILED, OUTCOME_FAILED);
	cleanup_free char *sql = xasprintf("UPDATE job SET spec = x'00' WHERE id = %lld;"
					   "UPDATE job SET outcome = 'lovely' WHERE id = %lld",
	    (long long)bad_spec, (long long)bad_word);
	meddle(fixture, sql);

	struct seen seen = {.until = JOB_PRUNED};
	struct last_good goods[SERVICE_COUNT] = {{.job_id = 0}};
	survey(journal, &seen, goods);
	assert_int_equal(seen.counts[0], 2);
	assert_int_equal(seen.ids[0][0], bad_spec);
	assert_int_equal(seen.ids[0][1], old);
	last_good_clear(&goods[0]);
	/* Nothing is left open: the journal can be written. */
	submit_one(journal, RUN_MANUAL, NULL, "web");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    fixture_test(jobs_come_newest_first_until_they_are_not_wanted),
	    fixture_test(a_service_whose_jobs_are_all_old_is_found),
	    fixture_test(an_unreadable_row_is_skipped_and_a_bad_spec_is_not_looked_at),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
