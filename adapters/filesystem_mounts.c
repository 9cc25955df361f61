/* Whether a path is on the file system that /etc/fstab promises there. */
#include "adapters/filesystem.h"

#include "core/alloc.h"
#include "core/file.h"

#include <errno.h>
#include <mntent.h>
#include <string.h>

/* The options of a line may be long (overlayfs); what does not fit is cut off behind the mount point. */
#define LONGEST_LINE 65536

/* The longest mount point that a path is at or below. */
struct search {
	const char *path, *resolved;
	char *found; /* resolved */
};

typedef void entry_fn(struct search *search, const struct mntent *entry);

/* ---- paths as the kernel names them ---- */

/* Everything but the last component, and of that only what is there, with links followed. The caller owns it. */
static char *
resolve(const char *path)
{
	cleanup_free char *place = xstrdup(path);
	char *slash = strrchr(place, '/');
	while (slash != NULL && slash != place) {
		*slash = '\0';
		cleanup_free char *real = realpath(place, NULL);
		if (real != NULL)
			return xasprintf("%s%s", strcmp(real, "/") == 0 ? "" : real, path + (slash - place));
		slash = strrchr(place, '/');
	}
	return xstrdup(path);
}

/* fstab(5) minds neither a slash at the end nor two in a row. NULL for what is no path. */
static char *
mount_point_of(const struct mntent *entry)
{
	cleanup_free char *path = xstrdup(entry->mnt_dir);
	size_t length = strlen(path);
	while (length > 1 && path[length - 1] == '/')
		path[--length] = '\0';
	if (!path_is_clean(path))
		return path[0] == '/' ? realpath(path, NULL) : NULL;
	return take_pointer(path);
}

/* ---- the two tables ---- */

static int
read_table(const char *table, entry_fn *each, struct search *search, struct error *error)
{
	FILE *file = setmntent(table, "re");
	if (file == NULL)
		return error_set(error, ERROR_SYSTEM, "cannot read %s: %s", table, strerror(errno));
	cleanup_free char *line = xmalloc(LONGEST_LINE);
	struct mntent entry;
	errno = 0;
	while (getmntent_r(file, &entry, line, LONGEST_LINE) != NULL)
		each(search, &entry);
	int result = ferror(file) ? error_set(error, ERROR_SYSTEM, "cannot read %s: %s", table, strerror(errno)) : 0;
	endmntent(file);
	return result;
}

static void
keep_longest(struct search *search, const char *point)
{
	if (path_is_below(search->resolved, point) &&
	    (search->found == NULL || strlen(point) > strlen(search->found)))
		replace_string(&search->found, point);
}

/* Swap is mounted nowhere, and what waits for a person to mount it is promised by nobody. systemd mounts its
 * automounts when they are looked at, and has an autofs there until then. */
static bool
is_promise(const struct mntent *entry)
{
	if (strcmp(entry->mnt_type, MNTTYPE_SWAP) == 0 || strcmp(entry->mnt_type, MNTTYPE_IGNORE) == 0)
		return false;
	return hasmntopt(entry, MNTOPT_NOAUTO) == NULL || hasmntopt(entry, "x-systemd.automount") != NULL;
}

static void
see_promise(struct search *search, const struct mntent *entry)
{
	cleanup_free char *point = is_promise(entry) ? mount_point_of(entry) : NULL;
	/* Only what lies above the path anyway is looked at: a dead server somewhere else would hold us up. */
	if (point == NULL || (!path_is_below(search->path, point) && !path_is_below(search->resolved, point)))
		return;
	cleanup_free char *resolved = resolve(point);
	keep_longest(search, resolved);
}

static void
see_mount(struct search *search, const struct mntent *entry)
{
	keep_longest(search, entry->mnt_dir);
}

static int
compare_tables(struct search *promised, const char *fstab, const char *mounts, struct error *error)
{
	if (read_table(fstab, see_promise, promised, error) < 0)
		return -1;
	if (promised->found == NULL)
		return 0;
	struct search mounted = *promised;
	/* The root is there, also where it is no mount of its own (chroot). */
	mounted.found = xstrdup("/");
	int result = read_table(mounts, see_mount, &mounted, error);
	if (result == 0 && strlen(mounted.found) < strlen(promised->found)) {
		error_set(error, ERROR_SOURCE_NOT_MOUNTED,
		    "%s is on the mount point %s, and nothing is mounted there", promised->path, promised->found);
		result = error_hint(error,
		    "mount it (mount %s); if it need not be there, write noauto into its line in %s", promised->found,
		    fstab);
	}
	free(mounted.found);
	return result;
}

int
filesystem_check_mounted(const char *path, const char *fstab, const char *mounts, struct error *error)
{
	if (access(fstab, F_OK) < 0 && errno == ENOENT)
		return 0;
	cleanup_free char *resolved = resolve(path);
	struct search promised = {.path = path, .resolved = resolved};
	int result = compare_tables(&promised, fstab, mounts, error);
	free(promised.found);
	return result;
}
