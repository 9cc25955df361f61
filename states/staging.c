#include "states/staging.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "adapters/tree.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/log.h"
#include "states/work.h"

static char *
root_path(const struct journal *journal)
{
	return xasprintf("%s/staging", journal_directory(journal));
}

char *
staging_path(const struct job *job, const char *name)
{
	cleanup_free char *root = root_path(engine_journal(job->engine));
	return xasprintf("%s/%s%s%s", root, job->record.spec.name, *name != '\0' ? "/" : "", name);
}

enum step_result
step_prepare_staging(struct job *job, struct error *error)
{
	cleanup_free char *root = root_path(engine_journal(job->engine));
	cleanup_free char *place = staging_path(job, "");
	work_of(job)->staged = true;
	if (directory_make_private(root, error) < 0 || tree_remove(place, error) < 0 ||
	    directory_make_private(place, error) < 0)
		return STEP_FAILED;
	return STEP_DONE;
}

void
staging_release(const struct job *job)
{
	cleanup_free char *root = root_path(engine_journal(job->engine));
	cleanup_free char *place = staging_path(job, "");
	cleanup_error struct error error = {0};
	if (tree_remove(place, &error) < 0)
		log_warning("%s", error.message);
	/* The last one takes the directory along. */
	if (rmdir(root) < 0 && errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT)
		log_warning("cannot remove %s: %s", root, strerror(errno));
}

/* ---- what a dead runner has left ---- */

/* More than one if earlier runners have died before they could remove it. */
#define MOST_LEFTOVERS 1000

static char *
leftovers_path(const struct journal *journal)
{
	return xasprintf("%s/staging.old", journal_directory(journal));
}

/* Returns the errno; EEXIST if that place is taken. */
static int
move_to(const char *root, const char *leftovers, int number)
{
	cleanup_free char *place = xasprintf("%s/%d", leftovers, number);
	if (rename(root, place) == 0)
		return 0;
	return errno == ENOTEMPTY ? EEXIST : errno;
}

void
staging_set_aside(const struct journal *journal)
{
	cleanup_free char *root = root_path(journal);
	cleanup_free char *leftovers = leftovers_path(journal);
	cleanup_error struct error error = {0};
	if (access(root, F_OK) < 0)
		return;
	if (directory_make_private(leftovers, &error) < 0) {
		log_warning("%s", error.message);
		return;
	}
	int failure = EEXIST;
	for (int number = 0; failure == EEXIST && number < MOST_LEFTOVERS; number++)
		failure = move_to(root, leftovers, number);
	if (failure != 0)
		log_warning("cannot move %s away: %s", root, strerror(failure));
}

void
staging_sweep(const struct journal *journal)
{
	cleanup_free char *leftovers = leftovers_path(journal);
	cleanup_error struct error error = {0};
	if (tree_remove(leftovers, &error) < 0)
		log_warning("%s", error.message);
}
