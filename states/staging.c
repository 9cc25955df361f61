#include "states/staging.h"

#include <errno.h>
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

void
staging_sweep(const struct journal *journal)
{
	cleanup_free char *root = root_path(journal);
	cleanup_error struct error error = {0};
	if (tree_remove(root, &error) < 0)
		log_warning("%s", error.message);
}
