#include "jobs/job.h"

#include "core/alloc.h"

#include <string.h>

static const struct {
	const char *word;
	const char *text;
} states[] = {
#define X(name, word, text) [JOB_##name] = {word, text},
    JOB_STATE_LIST(X)
#undef X
};

static const char *const outcomes[] = {
#define X(name, word) [OUTCOME_##name] = word,
    JOB_OUTCOME_LIST(X)
#undef X
};

static const char *const job_kinds[] = {
#define X(name, word) [JOB_KIND_##name] = word,
    JOB_KIND_LIST(X)
#undef X
};

static const char *const run_kinds[] = {
#define X(name, word) [RUN_##name] = word,
    RUN_KIND_LIST(X)
#undef X
};

static const char *const obligation_kinds[] = {
#define X(name, word) [OBLIGATION_##name] = word,
    OBLIGATION_KIND_LIST(X)
#undef X
};

static const char *const obligation_results[] = {
#define X(name, word) [RESULT_##name] = word,
    OBLIGATION_RESULT_LIST(X)
#undef X
};

static const char *const unit_roles[] = {
#define X(name, word) [UNIT_ROLE_##name] = word,
    UNIT_ROLE_LIST(X)
#undef X
};

_Static_assert(ARRAY_LENGTH(states) == JOB_STATE_COUNT, "the last state of the list gives the count");

static bool
find_word(const char *const *words, size_t count, const char *word, size_t *ret_index)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(words[i], word) == 0) {
			*ret_index = i;
			return true;
		}
	}
	return false;
}

const char *
job_state_word(enum job_state state)
{
	return states[state].word;
}

const char *
job_state_text(enum job_state state)
{
	return states[state].text;
}

const char *
job_outcome_word(enum job_outcome outcome)
{
	return outcomes[outcome];
}

const char *
job_kind_word(enum job_kind kind)
{
	return job_kinds[kind];
}

const char *
run_kind_word(enum run_kind kind)
{
	return run_kinds[kind];
}

const char *
obligation_kind_word(enum obligation_kind kind)
{
	return obligation_kinds[kind];
}

const char *
obligation_result_word(enum obligation_result result)
{
	return obligation_results[result];
}

bool
job_state_from_word(const char *word, enum job_state *ret_state)
{
	for (size_t i = 0; i < ARRAY_LENGTH(states); i++) {
		if (strcmp(states[i].word, word) == 0) {
			*ret_state = (enum job_state)i;
			return true;
		}
	}
	return false;
}

bool
job_outcome_from_word(const char *word, enum job_outcome *ret_outcome)
{
	size_t index;
	if (!find_word(outcomes, ARRAY_LENGTH(outcomes), word, &index))
		return false;
	*ret_outcome = (enum job_outcome)index;
	return true;
}

bool
job_kind_from_word(const char *word, enum job_kind *ret_kind)
{
	size_t index;
	if (!find_word(job_kinds, ARRAY_LENGTH(job_kinds), word, &index))
		return false;
	*ret_kind = (enum job_kind)index;
	return true;
}

const char *
unit_role_word(enum unit_role role)
{
	return unit_roles[role];
}

bool
unit_role_from_word(const char *word, enum unit_role *ret_role)
{
	size_t index;
	if (!find_word(unit_roles, ARRAY_LENGTH(unit_roles), word, &index))
		return false;
	*ret_role = (enum unit_role)index;
	return true;
}

bool
run_kind_from_word(const char *word, enum run_kind *ret_kind)
{
	size_t index;
	if (!find_word(run_kinds, ARRAY_LENGTH(run_kinds), word, &index))
		return false;
	*ret_kind = (enum run_kind)index;
	return true;
}

bool
obligation_kind_from_word(const char *word, enum obligation_kind *ret_kind)
{
	size_t index;
	if (!find_word(obligation_kinds, ARRAY_LENGTH(obligation_kinds), word, &index))
		return false;
	*ret_kind = (enum obligation_kind)index;
	return true;
}

bool
obligation_result_from_word(const char *word, enum obligation_result *ret_result)
{
	size_t index;
	if (!find_word(obligation_results, ARRAY_LENGTH(obligation_results), word, &index))
		return false;
	*ret_result = (enum obligation_result)index;
	return true;
}

bool
job_state_is_terminal(enum job_state state)
{
	return state == JOB_PRUNED || state == JOB_FAILED;
}

void
job_record_clear(struct job_record *job)
{
	free(job->service);
	free(job->snapshot_id);
	strings_free(job->sources_filled);
	datum_list_clear(&job->data);
	free(job->waiting);
	free(job->summary);
	error_clear(&job->error);
	/* A spec is there as a whole or not at all, and there are lists of a thousand jobs without one. */
	if (job->spec.name != NULL)
		service_clear(&job->spec);
	*job = (struct job_record){.id = 0};
}

void
obligation_list_clear(struct obligation_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].subject);
		free(list->items[i].message);
	}
	free(list->items);
	*list = (struct obligation_list){.items = NULL};
}
