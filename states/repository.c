#include <string.h>

#include "core/alloc.h"
#include "core/digest.h"
#include "states/machine.h"

int
repository_place(const struct restic_settings *settings, char **ret_place, struct error *error)
{
	/* Without the password that may stand in it: a new password is no new place. */
	cleanup_free char *location = restic_repository_words(settings);
	if (location == NULL || *location == '\0')
		return error_set(error, ERROR_SECRET, "%s does not name a repository", settings->repository_file);
	*ret_place = digest_sha256(location, strlen(location));
	return 0;
}
