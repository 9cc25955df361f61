/* Becoming the owner of a database: a side file that root leaves behind would lock the service out. */
#include "adapters/sqlite_internal.h"

#include "core/alloc.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FIRST_GROUP_ROOM 64

/* Those the owner is a member of; the file's own group (a group-shared database needs it) becomes the primary one. */
static int
set_groups(uid_t owner)
{
	const struct passwd *entry = getpwuid(owner);
	if (entry == NULL)
		return setgroups(0, NULL);
	int count = FIRST_GROUP_ROOM;
	cleanup_free gid_t *groups = xcalloc(FIRST_GROUP_ROOM, sizeof(gid_t));
	while (getgrouplist(entry->pw_name, entry->pw_gid, groups, &count) < 0)
		groups = xreallocarray(groups, (size_t)count, sizeof(gid_t));
	return setgroups((size_t)count, groups);
}

/* Of root's capabilities keeps those in `mask` and makes them effective. */
static int
keep_capabilities(uint32_t mask)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{.effective = mask, .permitted = mask}};
	return (int)syscall(SYS_capset, &header, data);
}

/* DynamicUser= services have their state below /var/lib/private, which only root may enter. Passing through
 * is the one right that is kept then: it lets us read, and create nothing but as the owner. */
static int
drop_rights(const char *path, const struct stat *status)
{
	if (prctl(PR_SET_KEEPCAPS, 1) != 0 || set_groups(status->st_uid) != 0 ||
	    setresgid(status->st_gid, status->st_gid, status->st_gid) != 0 ||
	    setresuid(status->st_uid, status->st_uid, status->st_uid) != 0)
		return -1;
	if (status->st_uid == 0)
		return 0;
	struct stat ignored;
	bool closed = lstat(path, &ignored) != 0 && errno == EACCES;
	return keep_capabilities(closed ? UINT32_C(1) << CAP_DAC_READ_SEARCH : 0);
}

int
sqlite_become_owner(const char *path, struct error *error)
{
	struct stat status;
	if (lstat(path, &status) != 0)
		/* sqlite_look finds the words for it. */
		return 0;
	if (geteuid() == 0) {
		if (drop_rights(path, &status) == 0)
			return 0;
		int number = errno;
		error_set(error, ERROR_PERMISSION, "cannot become the owner (uid %u) of %s: %s", status.st_uid, path,
		    strerror(number));
		return error_hint(error, "a unit of ours needs CAP_SETUID, CAP_SETGID and CAP_DAC_READ_SEARCH");
	}
	if (geteuid() == status.st_uid)
		return 0;
	error_set(error, ERROR_PERMISSION, "the database %s belongs to uid %u: only it or root may open it", path,
	    status.st_uid);
	return error_hint(error, "run as root");
}
