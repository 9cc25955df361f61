#include "adapters/tree.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>

#define OPEN_DIRECTORIES 16

static int
remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	(void)status;
	(void)kind;
	(void)place;
	return remove(path);
}

/* Not FTW_MOUNT: on overlayfs a file may tell another device than its directory, and would be left. */
int
tree_remove(const char *path, struct error *error)
{
	if (nftw(path, remove_entry, OPEN_DIRECTORIES, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT)
		return 0;
	return error_set(error, errno == EACCES || errno == EPERM ? ERROR_PERMISSION : ERROR_SYSTEM,
	    "cannot remove %s: %s", path, strerror(errno));
}
