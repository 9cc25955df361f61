/* `check`: everything that is wrong, all at once, each with the place and the remedy. */
#include "cli/check_surroundings.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/problems.h"

static void
print_json(
    const struct invocation *invocation, const struct problem_list *problems, const struct surroundings *surroundings)
{
	size_t errors = problem_count(problems, PROBLEM_ERROR);
	json_t *document = json_output_new();
	json_object_set_new(document, "ok", json_boolean(errors == 0));
	json_object_set_new(document, "offline", json_boolean(invocation->offline));
	json_object_set_new(document, "errors", json_output_count(errors));
	json_object_set_new(document, "warnings", json_output_count(problem_count(problems, PROBLEM_WARNING)));
	json_object_set_new(document, "restic_version", json_output_text(surroundings->restic_version));
	json_object_set_new(document, "repository", json_output_text(surroundings->repository));
	json_object_set_new(document, "repository_id", json_output_text(surroundings->repository_id));
	json_object_set_new(document, "problems", json_output_problems(problems));
	json_output_print(document);
}

static void
print_answer(
    const struct invocation *invocation, struct problem_list *problems, const struct surroundings *surroundings)
{
	problems_sort(problems);
	if (invocation->json) {
		print_json(invocation, problems, surroundings);
		return;
	}
	problems_print(problems, stdout);
	problems_print_count(problems, stdout);
}

static enum exit_code
run_check(const struct invocation *invocation)
{
	cleanup_problems struct problem_list problems = {.count = 0};
	cleanup_surroundings struct surroundings surroundings = {.restic_version = NULL};
	cleanup_manifest struct manifest manifest = {.path = NULL};
	bool usable = cli_read_manifest(invocation, &manifest, &problems) == 0;
	if (usable) {
		check_surroundings(invocation, &manifest, &problems, &surroundings);
		for (size_t i = 0; i < manifest.service_count; i++)
			cli_check_service(&manifest.services[i], &problems);
		if (manifest.own != NULL)
			cli_check_service(manifest.own, &problems);
	}
	print_answer(invocation, &problems, &surroundings);
	if (!usable)
		return CODE_USAGE;
	return problem_count(&problems, PROBLEM_ERROR) == 0 ? CODE_COMPLETE : CODE_FAILED;
}

const struct command command_check = {
    .name = "check",
    .operands = "",
    .summary = "everything that would keep a backup from working, with the remedies",
    .help =
	"Looks at the manifest, restic, the secrets, the repository, and each service's paths, databases, units and\n"
	"hooks, and changes nothing. Exits with 0 only if a backup would work; with 2 if the manifest cannot be "
	"used.\n"
	"\n"
	"  atelier-backup check\n"
	"  atelier-backup check --offline",
    .options = OPTION_OFFLINE,
    .needs_root = true,
    .run = run_check,
};
