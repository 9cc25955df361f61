#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/alloc.h"
#include "jobs/job.h"

static void
words_are_those_of_the_design(void **state)
{
	(void)state;
	static const char *const expected[] = {
	    "pending", "delaying", "checkpoint", "stopping", "snapshot", "starting", "pruned", "failed"};
	assert_int_equal(JOB_STATE_COUNT, ARRAY_LENGTH(expected));
	for (int i = 0; i < JOB_STATE_COUNT; i++) {
		assert_string_equal(job_state_word((enum job_state)i), expected[i]);
		assert_true(strlen(job_state_text((enum job_state)i)) > 0);
	}
}

/* Every word of a list leads back to its value, and no other word does. */
#define assert_round_trip(LIST, prefix, type, word_of, from_word)                                                    \
	do {                                                                                                         \
		static const enum type values[] = {LIST(prefix)};                                                    \
		for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {                                                  \
			enum type value = values[(i + 1) % ARRAY_LENGTH(values)];                                    \
			assert_true(from_word(word_of(values[i]), &value));                                          \
			assert_int_equal(value, values[i]);                                                          \
		}                                                                                                    \
		enum type untouched = values[ARRAY_LENGTH(values) - 1];                                              \
		static const char *const strangers[] = {"", "Pending", "pendin", "pendingg", "none", "\xff"};        \
		for (size_t i = 0; i < ARRAY_LENGTH(strangers); i++)                                                 \
			assert_false(from_word(strangers[i], &untouched));                                           \
		assert_int_equal(untouched, values[ARRAY_LENGTH(values) - 1]);                                       \
	} while (0)

#define STATE_VALUE(name, word, text) JOB_##name,
#define OUTCOME_VALUE(name, word)     OUTCOME_##name,
#define JOB_KIND_VALUE(name, word)    JOB_KIND_##name,
#define RUN_KIND_VALUE(name, word)    RUN_##name,
#define OBLIGATION_VALUE(name, word)  OBLIGATION_##name,
#define RESULT_VALUE(name, word)      RESULT_##name,

static void
words_lead_back_to_their_values(void **state)
{
	(void)state;
	assert_round_trip(JOB_STATE_LIST, STATE_VALUE, job_state, job_state_word, job_state_from_word);
	assert_round_trip(JOB_OUTCOME_LIST, OUTCOME_VALUE, job_outcome, job_outcome_word, job_outcome_from_word);
	assert_round_trip(JOB_KIND_LIST, JOB_KIND_VALUE, job_kind, job_kind_word, job_kind_from_word);
	assert_round_trip(RUN_KIND_LIST, RUN_KIND_VALUE, run_kind, run_kind_word, run_kind_from_word);
	assert_round_trip(
	    OBLIGATION_KIND_LIST, OBLIGATION_VALUE, obligation_kind, obligation_kind_word, obligation_kind_from_word);
	assert_round_trip(OBLIGATION_RESULT_LIST, RESULT_VALUE, obligation_result, obligation_result_word,
	    obligation_result_from_word);
}

static void
only_pruned_and_failed_are_ends(void **state)
{
	(void)state;
	for (int i = 0; i < JOB_STATE_COUNT; i++)
		assert_int_equal(job_state_is_terminal((enum job_state)i), i == JOB_PRUNED || i == JOB_FAILED);
}

static void
clearing_releases_everything_and_may_be_repeated(void **state)
{
	(void)state;
	struct job_record job = {.id = 7, .service = xstrdup("web"), .snapshot_id = xstrdup("abcd")};
	error_set(&job.error, ERROR_DEADLINE, "too late");
	job.spec.name = xstrdup("web");
	job_record_clear(&job);
	assert_int_equal(job.id, 0);
	assert_null(job.service);
	assert_null(job.spec.name);
	job_record_clear(&job);

	struct obligation_list list = {.items = xcalloc(1, sizeof(*list.items)), .count = 1};
	list.items[0].subject = xstrdup("web.service");
	list.items[0].message = xstrdup("refuses");
	obligation_list_clear(&list);
	assert_int_equal(list.count, 0);
	obligation_list_clear(&list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(words_are_those_of_the_design),
	    cmocka_unit_test(words_lead_back_to_their_values),
	    cmocka_unit_test(only_pruned_and_failed_are_ends),
	    cmocka_unit_test(clearing_releases_everything_and_may_be_repeated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
