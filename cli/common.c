#include "cli/command.h"

#include "cli/json_output.h"
#include "core/nearest.h"
#include "cli/problems.h"
#include "cli/terminal.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

enum exit_code
cli_fail(const struct invocation *invocation, const struct error *error, enum exit_code code)
{
	if (invocation->json) {
		json_t *document = json_output_new();
		json_object_set_new(document, "error", json_output_error(error));
		json_output_print(document);
		return code;
	}
	fprintf(stderr, "%satelier-backup: %s%s\n", terminal_tone(stderr, TONE_BAD), error->message,
	    terminal_end(stderr, TONE_BAD));
	if (error->hint != NULL)
		fprintf(stderr, "  %s\n", error->hint);
	return code;
}

enum exit_code
cli_code_of(enum error_code code)
{
	if (code == ERROR_USAGE || code == ERROR_MANIFEST || code == ERROR_SECRET)
		return CODE_USAGE;
	return error_class_of(code) == ERROR_CLASS_CANCELLED ? CODE_CANCELLED : CODE_FAILED;
}

static void
fail_with_problems(
    const struct invocation *invocation, struct problem_list *problems, enum error_code code, const char *what)
{
	problems_sort(problems);
	if (!invocation->json) {
		problems_print(problems, stderr);
		problems_print_count(problems, stderr);
		return;
	}
	cleanup_error struct error error = {.code = ERROR_NONE};
	error_set(&error, code, "%s cannot be used", what);
	error_hint(&error, "correct what is listed as problems");
	json_t *document = json_output_new();
	json_object_set_new(document, "error", json_output_error(&error));
	json_object_set_new(document, "problems", json_output_problems(problems));
	json_output_print(document);
}

int
cli_read_manifest(const struct invocation *invocation, struct manifest *ret_manifest, struct problem_list *problems)
{
	cleanup_free char *cache = xasprintf("%s/cache", invocation->state_directory);
	cleanup_free char *state = path_resolve(invocation->state_directory);
	const struct manifest_overrides overrides = {
	    .restic_program = invocation->restic_program,
	    .cache_directory = cache,
	    .state_directory = state,
	};
	return manifest_load(invocation->manifest_path, &overrides, ret_manifest, problems);
}

int
cli_load_manifest(const struct invocation *invocation, struct manifest *ret_manifest)
{
	cleanup_problems struct problem_list problems = {.count = 0};
	if (cli_read_manifest(invocation, ret_manifest, &problems) == 0)
		return 0;
	fail_with_problems(invocation, &problems, ERROR_MANIFEST, invocation->manifest_path);
	return -1;
}

int
cli_check_secrets(const struct invocation *invocation, const struct restic_settings *settings)
{
	cleanup_problems struct problem_list problems = {.count = 0};
	restic_check_secrets(settings, &problems);
	if (problem_count(&problems, PROBLEM_ERROR) == 0)
		return 0;
	fail_with_problems(invocation, &problems, ERROR_SECRET, "the secrets of the repository");
	return -1;
}

int
cli_open_journal(const struct invocation *invocation, struct journal **ret_journal)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (journal_open(invocation->state_directory, clock_system(), ret_journal, &error) == 0)
		return 0;
	cli_fail(invocation, &error, CODE_FAILED);
	return -1;
}

int
cli_open_journal_readonly(const struct invocation *invocation, struct journal **ret_journal)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (journal_open_readonly(invocation->state_directory, clock_system(), ret_journal, &error) == 0)
		return 0;
	cli_fail(invocation, &error, CODE_FAILED);
	return -1;
}

int
cli_unknown_service(const struct manifest *manifest, const char *name, struct error *error)
{
	cleanup_free const char **names = xcalloc(manifest->service_count + 1, sizeof(*names));
	size_t count = 0;
	for (size_t i = 0; i < manifest->service_count; i++)
		names[count++] = manifest->services[i].name;
	if (manifest->own != NULL)
		names[count++] = manifest->own->name;
	error_set(error, ERROR_USAGE, "there is no service '%s' in %s", name, manifest->path);
	const char *nearest = nearest_word(name, names, count);
	if (strcmp(name, SERVICE_OWN_NAME) == 0)
		error_hint(error, "the manifest switches it off: \"ownState\" is false");
	else if (nearest != NULL)
		error_hint(error, "did you mean '%s'?", nearest);
	return -1;
}

int
cli_job_id(const char *word, int64_t *ret_job, struct error *error)
{
	char *end;
	errno = 0;
	long long id = strtoll(word, &end, 10);
	if (errno == 0 && end != word && *end == '\0' && id > 0) {
		*ret_job = id;
		return 0;
	}
	error_set(error, ERROR_USAGE, "'%s' is no job number", word);
	return error_hint(error, "'atelier-backup jobs' lists the jobs with their numbers");
}

static bool
is_selected(const struct service *const *services, size_t count, const struct service *service)
{
	for (size_t i = 0; i < count; i++)
		if (services[i] == service)
			return true;
	return false;
}

int
cli_select_services(const struct invocation *invocation, const struct manifest *manifest, bool default_all,
    const struct service ***ret_services, size_t *ret_count)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	bool named = invocation->operand_count > 0;
	if (invocation->all && named) {
		error_set(&error, ERROR_USAGE, "--all and the names of services exclude each other");
		cli_fail(invocation, &error, CODE_USAGE);
		return -1;
	}
	if (!named && !invocation->all && !default_all) {
		error_set(&error, ERROR_USAGE, "which services?");
		error_hint(&error, "name them, or say --all");
		cli_fail(invocation, &error, CODE_USAGE);
		return -1;
	}
	cleanup_free const struct service **services =
	    xcalloc((named ? invocation->operand_count : manifest->service_count) + 1, sizeof(struct service *));
	size_t count = 0;
	for (size_t i = 0; !named && i < manifest->service_count; i++)
		services[count++] = &manifest->services[i];
	if (!named && manifest->own != NULL)
		services[count++] = manifest->own;
	for (size_t i = 0; named && i < invocation->operand_count; i++) {
		const struct service *service = manifest_find(manifest, invocation->operands[i]);
		if (service == NULL) {
			cli_unknown_service(manifest, invocation->operands[i], &error);
			cli_fail(invocation, &error, CODE_USAGE);
			return -1;
		}
		if (!is_selected(services, count, service))
			services[count++] = service;
	}
	*ret_services = take_pointer(services);
	*ret_count = count;
	return 0;
}
