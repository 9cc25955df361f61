/* A manifest parsed from memory together with everything that was said about it. */
#ifndef ATELIER_TESTS_UNIT_JOBS_MANIFEST_PARSING_H
#define ATELIER_TESTS_UNIT_JOBS_MANIFEST_PARSING_H

#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "jobs/manifest.h"

struct parsed {
	int result;
	struct manifest manifest;
	struct problem_list problems;
};

static inline void
parsed_clear(struct parsed *parsed)
{
	if (parsed->result == 0)
		manifest_clear(&parsed->manifest);
	problem_list_clear(&parsed->problems);
}

#define cleanup_parsed __attribute__((cleanup(parsed_clear)))

static inline struct parsed
parse_bytes(const char *content, size_t length)
{
	struct parsed parsed = {.result = 0};
	/* A copy that ends with its last byte, so that reading further is noticed. */
	cleanup_free char *exact = xmemdup(content, length);
	parsed.result = manifest_parse("m.json", exact, length, NULL, &parsed.manifest, &parsed.problems);
	return parsed;
}

static inline struct parsed
parse(const char *content)
{
	return parse_bytes(content, strlen(content));
}

static inline const struct problem *
find_problem(const struct parsed *parsed, const char *place, const char *words)
{
	for (size_t i = 0; i < parsed->problems.count; i++)
		if (strcmp(parsed->problems.items[i].place, place) == 0 &&
		    strstr(parsed->problems.items[i].message, words) != NULL)
			return &parsed->problems.items[i];
	return NULL;
}

/* The problem at a place whose message contains the words; fails the test if there is none. */
static inline const struct problem *
expect_problem(const struct parsed *parsed, const char *place, const char *words)
{
	const struct problem *problem = find_problem(parsed, place, words);
	if (problem != NULL)
		return problem;
	for (size_t i = 0; i < parsed->problems.count; i++)
		print_error("found: %s: %s\n", parsed->problems.items[i].place, parsed->problems.items[i].message);
	fail_msg("no problem at '%s' with the words '%s'", place, words);
	return NULL;
}

/* The content is refused, with a remedy, and for this reason only. */
static inline void
expect_refusal(const char *content, const char *place, const char *words)
{
	cleanup_parsed struct parsed parsed = parse(content);
	const struct problem *problem = expect_problem(&parsed, place, words);
	assert_int_equal(parsed.result, -1);
	assert_int_equal(problem->severity, PROBLEM_ERROR);
	assert_int_equal(problem->code, ERROR_MANIFEST);
	assert_non_null(problem->remedy);
	assert_int_equal(problem_count(&parsed.problems, PROBLEM_ERROR), 1);
}

static inline void
expect_list(char *const *list, const char *const *expected)
{
	size_t count = 0;
	while (expected[count] != NULL)
		count++;
	assert_int_equal(strings_count(list), count);
	for (size_t i = 0; i < count; i++)
		assert_string_equal(list[i], expected[i]);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

#endif
