#include "cli/problems.h"

#include "cli/terminal.h"

#include <stdlib.h>
#include <string.h>

static bool
belongs_after(const struct problem *a, const struct problem *b)
{
	if (a->severity != b->severity)
		return a->severity > b->severity;
	return strcmp(a->place, b->place) > 0;
}

void
problems_sort(struct problem_list *problems)
{
	for (size_t i = 1; i < problems->count; i++) {
		struct problem problem = problems->items[i];
		size_t place = i;
		for (; place > 0 && belongs_after(&problems->items[place - 1], &problem); place--)
			problems->items[place] = problems->items[place - 1];
		problems->items[place] = problem;
	}
}

static enum tone
tone_of(enum problem_severity severity)
{
	switch (severity) {
	case PROBLEM_ERROR:
		return TONE_BAD;
	case PROBLEM_WARNING:
		return TONE_WARNING;
	case PROBLEM_NOTE:
		break;
	}
	return TONE_FAINT;
}

void
problems_print(const struct problem_list *problems, FILE *file)
{
	for (size_t i = 0; i < problems->count; i++) {
		const struct problem *problem = &problems->items[i];
		enum tone tone = tone_of(problem->severity);
		fprintf(file, "%s%s%s: %s: %s\n", terminal_tone(file, tone), problem_severity_word(problem->severity),
		    terminal_end(file, tone), problem->place, problem->message);
		if (problem->remedy != NULL)
			fprintf(file, "  %s\n", problem->remedy);
	}
}

void
problems_print_count(const struct problem_list *problems, FILE *file)
{
	size_t errors = problem_count(problems, PROBLEM_ERROR);
	size_t warnings = problem_count(problems, PROBLEM_WARNING);
	fprintf(
	    file, "%zu error%s, %zu warning%s\n", errors, errors == 1 ? "" : "s", warnings, warnings == 1 ? "" : "s");
}
