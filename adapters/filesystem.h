/* The paths a service declares: is each there, readable, what it says it is. */
#ifndef ATELIER_ADAPTERS_FILESYSTEM_H
#define ATELIER_ADAPTERS_FILESYSTEM_H

#include <stdbool.h>
#include <stdint.h>

#include "core/error.h"

/* A declared source: must exist (a symbolic link is not followed: restic would store the link alone, so it is refused
 * with what it leads to as the hint), be a directory or a regular file, be readable by us. An empty directory is
 * fine. A path at or below a mount point of /etc/fstab that is not mounted (ERROR_SOURCE_NOT_MOUNTED, names the mount
 * point), else ERROR_SOURCE_MISSING or ERROR_SOURCE_UNREADABLE with path and remedy. */
int filesystem_check_source(const char *path, struct error *error);

/* The part about the mount: `fstab` is a table as in fstab(5) (missing: nothing is promised), `mounts` one of what is
 * mounted (/proc/self/mounts). Lines with noauto promise nothing, unless systemd mounts them when they are looked at
 * (x-systemd.automount; its autofs counts as mounted), nor do swap and lines without a mount point. ERROR_SYSTEM for
 * a table that cannot be read. */
int filesystem_check_mounted(const char *path, const char *fstab, const char *mounts, struct error *error);

/* What a source was found to be, once it has passed filesystem_check_source. */
struct source_look {
	bool empty; /* a directory without an entry, or a file without a byte */
};
int filesystem_look_at_source(const char *path, struct source_look *ret_look, struct error *error);

/* Bytes free for root on the file system that holds the path (or its nearest existing parent). -1 with an error. */
int64_t filesystem_free_bytes(const char *path, struct error *error);

/* Can a file be made, written and removed in this directory? */
int filesystem_check_writable(const char *directory, struct error *error);

#endif
