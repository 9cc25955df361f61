/* `init`: makes the repository. */
#include "cli/ask.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "core/alloc.h"
#include "core/problem.h"
#include "states/machine.h"

#include <string.h>

struct answer {
	char *repository_id;
	char *known_id; /* of the repository that the journal knows at this place, or NULL */
	bool created;
};

static void
answer_clear(struct answer *answer)
{
	free(answer->repository_id);
	free(answer->known_id);
}

#define cleanup_answer __attribute__((cleanup(answer_clear)))

static void
print_answer(const struct invocation *invocation, const struct restic_settings *settings, const struct answer *answer)
{
	cleanup_free char *location = restic_repository_words(settings);
	if (invocation->json) {
		json_t *document = json_output_new();
		json_object_set_new(document, "created", json_boolean(answer->created));
		json_object_set_new(document, "repository", json_output_text(location));
		json_object_set_new(document, "repository_id", json_output_text(answer->repository_id));
		json_output_print(document);
		return;
	}
	printf("%s %s (%.8s)\n", answer->created ? "made the repository" : "there already, and known to the journal:",
	    location != NULL ? location : "", answer->repository_id);
	if (answer->created && answer->known_id != NULL)
		fprintf(stderr, "atelier-backup: the repository that was at this place before (%.8s) is not in it\n",
		    answer->known_id);
}

/* Refused because something is there: fine only if it is what the journal knows. */
static int
look_at_existing(const struct restic_settings *settings, struct answer *answer, struct error *error)
{
	if (ask_probe(settings, ASK_PROBE_PATIENCE, &answer->repository_id, error) < 0) {
		error_prefix(error, "there is a repository already");
		return -1;
	}
	if (answer->known_id != NULL && strcmp(answer->known_id, answer->repository_id) == 0)
		return 0;
	error_set(error, ERROR_USAGE, "the repository is there already (%.8s), and this journal did not make it",
	    answer->repository_id);
	return error_hint(
	    error, "nothing has to be done: it answers to our password, and the next backup goes into it");
}

static int
make_repository(
    const struct restic_settings *settings, struct journal *journal, struct answer *answer, struct error *error)
{
	cleanup_free char *place = NULL;
	if (repository_place(settings, &place, error) < 0 ||
	    journal_repository_seen(journal, place, &answer->known_id, error) < 0)
		return -1;
	if (ask_init(settings, ASK_INIT_PATIENCE, &answer->repository_id, error) == 0) {
		answer->created = true;
		return journal_repository_remember(journal, place, answer->repository_id, error);
	}
	if (error->code != ERROR_USAGE)
		return -1;
	error_clear(error);
	return look_at_existing(settings, answer, error);
}

static enum exit_code
run_init(const struct invocation *invocation)
{
	cleanup_manifest struct manifest manifest = {.path = NULL};
	cleanup_journal struct journal *journal = NULL;
	cleanup_answer struct answer answer = {.created = false};
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (cli_load_manifest(invocation, &manifest) < 0 || cli_check_secrets(invocation, &manifest.restic) < 0)
		return CODE_USAGE;
	if (cli_open_journal(invocation, &journal) < 0)
		return CODE_FAILED;
	if (make_repository(&manifest.restic, journal, &answer, &error) < 0)
		return cli_fail(
		    invocation, &error, error.code == ERROR_USAGE ? CODE_FAILED : cli_code_of(error.code));
	print_answer(invocation, &manifest.restic, &answer);
	return CODE_COMPLETE;
}

const struct command command_init = {
    .name = "init",
    .operands = "",
    .summary = "make the repository at the place that the manifest names",
    .help =
	"The first backup does this by itself. Needed only where the manifest says \"initialize\": false, and to "
	"begin\n"
	"anew at a place whose repository is gone: a backup never does that, because an unmounted target looks the\n"
	"same.\n"
	"\n"
	"  atelier-backup init",
    .needs_root = true,
    .run = run_init,
};
