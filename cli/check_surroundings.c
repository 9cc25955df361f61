#include "cli/check_surroundings.h"

#include "adapters/filesystem.h"
#include "cli/ask.h"
#include "core/alloc.h"
#include "states/machine.h"

#include <errno.h>
#include <string.h>

void
surroundings_clear(struct surroundings *surroundings)
{
	free(surroundings->restic_version);
	free(surroundings->repository);
	free(surroundings->repository_id);
	*surroundings = (struct surroundings){.restic_version = NULL};
}

static void
check_restic(const struct restic_settings *settings, struct problem_list *problems, struct surroundings *surroundings)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	const char *version = restic_version(settings->program, &error);
	if (version == NULL) {
		problem_add_error(problems, settings->program, &error);
		return;
	}
	surroundings->restic_version = xstrdup(version);
	problem_add(problems, PROBLEM_NOTE, ERROR_NONE, settings->program, NULL, "restic %s", version);
}

/* A directory that is made when it is first needed: the nearest one that exists has to let us. */
static int
check_future_directory(const char *path, struct error *error)
{
	cleanup_free char *parent = xstrdup(path);
	while (access(parent, F_OK) < 0 && errno == ENOENT && strcmp(parent, "/") != 0) {
		char *slash = strrchr(parent, '/');
		slash[slash == parent ? 1 : 0] = '\0';
	}
	if (strcmp(parent, path) == 0)
		return filesystem_check_writable(path, error);
	if (access(parent, W_OK | X_OK) == 0)
		return 0;
	error_set(
	    error, ERROR_PERMISSION, "it does not exist, and nothing can be made in %s: %s", parent, strerror(errno));
	return error_hint(error, "make the directory, or choose another one");
}

static void
check_directory(const char *what, const char *path, struct problem_list *problems)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *place = xasprintf("%s %s", what, path);
	if (check_future_directory(path, &error) < 0)
		problem_add_error(problems, place, &error);
}

/* Opened for reading: `check` leaves no trace. *ret_journal stays NULL where there is none. */
static void
check_journal(const struct invocation *invocation, struct problem_list *problems, struct journal **ret_journal)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	int64_t quarantined = 0;
	if (journal_open_readonly(invocation->state_directory, clock_system(), ret_journal, &error) < 0 ||
	    (*ret_journal != NULL && journal_quarantine_count(*ret_journal, &quarantined, &error) < 0))
		problem_add_error(problems, "journal", &error);
	else if (quarantined > 0)
		problem_add(problems, PROBLEM_WARNING, ERROR_JOURNAL_DAMAGED, "journal",
		    "they are kept in its table 'quarantine'; docs/journal.md says how to look at them",
		    "%lld damaged row%s set aside", (long long)quarantined, quarantined == 1 ? " is" : "s are");
}

/* Is this the repository that was at this place the last time? */
static void
compare_with_known(const struct restic_settings *settings, struct journal *journal, const char *place,
    const char *repository_id, struct problem_list *problems)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *where = NULL, *known = NULL;
	if (journal == NULL)
		return;
	if (repository_place(settings, &where, &error) < 0 ||
	    journal_repository_seen(journal, where, &known, &error) < 0)
		problem_add_error(problems, place, &error);
	else if (known != NULL && strcmp(known, repository_id) != 0)
		problem_add(problems, PROBLEM_ERROR, ERROR_REPOSITORY_MISSING, place,
		    "see that the right target is mounted there; 'atelier-backup init' is for beginning anew",
		    "another repository is at this place (%.8s instead of %.8s)", repository_id, known);
}

/* Missing is fine only before the first backup: an unmounted target looks the same. */
static void
judge_missing(const struct manifest *manifest, struct journal *journal, const char *place,
    const struct error *missing, struct problem_list *problems)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *where = NULL, *known = NULL;
	int seen = 0;
	if (repository_place(&manifest->restic, &where, &error) == 0 && journal != NULL)
		seen = journal_repository_seen(journal, where, &known, &error);
	if (error_is_set(&error))
		problem_add_error(problems, place, &error);
	else if (seen > 0)
		problem_add(problems, PROBLEM_ERROR, ERROR_REPOSITORY_MISSING, place,
		    "see that the target is mounted; if it is really gone, 'atelier-backup init' begins anew",
		    "there was a repository here (%.8s), and it is gone", known);
	else if (manifest->initialize)
		problem_add(problems, PROBLEM_NOTE, ERROR_REPOSITORY_MISSING, place, NULL,
		    "there is no repository yet: the first backup makes it");
	else
		problem_add_error(problems, place, missing);
}

static void
check_repository(const struct manifest *manifest, struct journal *journal, struct problem_list *problems,
    struct surroundings *surroundings)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *place =
	    xasprintf("repository %s", surroundings->repository != NULL ? surroundings->repository : "");
	if (ask_probe(&manifest->restic, ASK_PROBE_PATIENCE, &surroundings->repository_id, &error) == 0) {
		problem_add(
		    problems, PROBLEM_NOTE, ERROR_NONE, place, NULL, "answers (%.8s)", surroundings->repository_id);
		compare_with_known(&manifest->restic, journal, place, surroundings->repository_id, problems);
	} else if (error.code == ERROR_REPOSITORY_MISSING) {
		judge_missing(manifest, journal, place, &error, problems);
	} else {
		problem_add_error(problems, place, &error);
	}
}

void
check_surroundings(const struct invocation *invocation, const struct manifest *manifest,
    struct problem_list *problems, struct surroundings *surroundings)
{
	const struct restic_settings *settings = &manifest->restic;
	cleanup_journal struct journal *journal = NULL;
	size_t before = problem_count(problems, PROBLEM_ERROR);
	check_restic(settings, problems, surroundings);
	restic_check_secrets(settings, problems);
	check_directory("state directory", invocation->state_directory, problems);
	check_directory("cache directory", settings->cache_directory, problems);
	check_directory("runtime directory", invocation->runtime_directory, problems);
	bool askable = problem_count(problems, PROBLEM_ERROR) == before;
	check_journal(invocation, problems, &journal);
	surroundings->repository = restic_repository_words(settings);
	if (invocation->offline)
		problem_add(problems, PROBLEM_NOTE, ERROR_NONE, "repository", NULL, "left out because of --offline");
	else if (!askable)
		problem_add(problems, PROBLEM_NOTE, ERROR_NONE, "repository", NULL,
		    "not asked, because of the errors with restic, its secrets or its directories");
	else
		check_repository(manifest, journal, problems, surroundings);
}
