/* The file with restic's credentials, in the syntax of systemd's EnvironmentFile=. */
#include "adapters/environment.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <jansson.h>

#include "core/alloc.h"

/* All that an error may say besides the number of the line: the text of the line may be a secret. */
static void
check_discretion(const struct error *error)
{
	static const char *const sayings[] = {
	    "is no assignment",
	    "does not set a variable: the part before \"=\" is no name",
	    "opens a quote that is never closed",
	    "contains a NUL byte",
	    "is not valid UTF-8",
	};
	assert(error->code == ERROR_SECRET && error->hint != NULL);
	assert(text_starts_with(error->message, "line "));
	const char *words = error->message + strlen("line ");
	size_t digits = strspn(words, "0123456789");
	assert(digits > 0 && words[digits] == ' ');
	size_t said = 0;
	while (said < ARRAY_LENGTH(sayings) && strcmp(words + digits + 1, sayings[said]) != 0)
		said++;
	assert(said < ARRAY_LENGTH(sayings));
}

static void
check_assignment(char *const *environment, const char *assignment)
{
	const char *equals = strchr(assignment, '=');
	assert(equals != NULL && equals != assignment && !isdigit((unsigned char)assignment[0]));
	for (const char *c = assignment; c < equals; c++)
		assert(isalnum((unsigned char)*c) || *c == '_');
	json_t *value = json_string(equals + 1);
	assert(value != NULL); /* UTF-8 */
	json_decref(value);
	/* A second one of the same name would be the one that counts for some programs. */
	cleanup_free char *name = xstrndup(assignment, (size_t)(equals - assignment));
	assert(environment_get(environment, name) == equals + 1);
}

/* Written down with everything quoted, it reads as the same. */
static void
check_written(char *const *environment)
{
	cleanup_text struct text file = {.string = NULL};
	for (size_t i = 0; i < strings_count(environment); i++) {
		const char *value = strchr(environment[i], '=') + 1;
		text_add_bytes(&file, environment[i], (size_t)(value - environment[i]));
		text_add(&file, "\"");
		for (const char *c = value; *c != '\0'; c++) {
			if (strchr("\"\\`$", *c) != NULL)
				text_add(&file, "\\");
			text_add_bytes(&file, c, 1);
		}
		text_add(&file, "\"\n");
	}
	cleanup_strings char **again = NULL;
	struct error error = {.code = ERROR_NONE};
	fuzz_expect_success(environment_parse(file.string, file.length, &again, &error), &error);
	assert(strings_count(again) == strings_count(environment));
	for (size_t i = 0; i < strings_count(environment); i++)
		assert(strcmp(again[i], environment[i]) == 0);
}

/* Into a list that is not empty: what was there stays unless it is set anew, and stays as it is if the file is bad.
 */
static void
check_added(const char *content, size_t size, int result, char *const *environment)
{
	static const char kept[] = "what was there";
	cleanup_strings char **list = NULL;
	environment_set(&list, "HOME", kept);
	assert(environment_parse(content, size, &list, NULL) == result);
	const char *home = result < 0 ? NULL : environment_get(environment, "HOME");
	assert(strcmp(environment_get(list, "HOME"), home == NULL ? kept : home) == 0);
	assert(strings_count(list) == (result < 0 ? 1 : strings_count(environment) + (home == NULL)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *content = (const char *)data;
	cleanup_strings char **environment = NULL;
	cleanup_error struct error error = {.code = ERROR_NONE};
	int result = environment_parse(content, size, &environment, &error);
	fuzz_verdict(result == 0);
	check_added(content, size, result, environment);
	if (result < 0) {
		fuzz_expect_error(result, &error);
		check_discretion(&error);
		assert(environment == NULL);
		return 0;
	}
	fuzz_expect_success(result, &error);
	for (size_t i = 0; i < strings_count(environment); i++)
		check_assignment(environment, environment[i]);
	check_written(environment);
	return 0;
}
