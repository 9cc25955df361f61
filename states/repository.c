#include <string.h>

#include "core/alloc.h"
#include "core/digest.h"
#include "core/file.h"
#include "states/machine.h"

int
repository_place(const struct restic_settings *settings, char **ret_place, struct error *error)
{
	cleanup_free char *location = NULL;
	size_t length;
	if (file_read(settings->repository_file, 64 * 1024, &location, &length, error) < 0)
		return -1;
	while (length > 0 && strchr(" \t\r\n", location[length - 1]) != NULL)
		length--;
	if (length == 0)
		return error_set(error, ERROR_SECRET, "%s is empty", settings->repository_file);
	*ret_place = digest_sha256(location, length);
	return 0;
}
