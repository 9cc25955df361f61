#include "adapters/filesystem.h"

#include "core/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* One block: a full disk or a spent quota refuses it, an empty file would pass. */
#define PROBE_BYTES 4096

static const char *
kind_words(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
	case S_IFBLK:
		return "a device";
	default:
		return "neither a file nor a directory";
	}
}

static int
source_error(struct error *error, const char *path)
{
	int number = errno;
	if (number == ENOENT || number == ENOTDIR) {
		error_set(error, ERROR_SOURCE_MISSING, "%s does not exist", path);
		return error_hint(
		    error, "correct the path, or take it out of the manifest if the service has no such data");
	}
	error_set(error, ERROR_SOURCE_UNREADABLE, "%s cannot be read: %s", path, strerror(number));
	if (number == EACCES || number == EPERM)
		return error_hint(error, "run as root, or let this user read it; a FUSE mount needs allow_root");
	if (number == ENOTCONN || number == ESTALE)
		return error_hint(error, "its mount is dead: unmount it (umount -l) and mount it again");
	return error_hint(error, "look into the kernel's log: the disk or its mount has a problem");
}

static int
refuse_link(struct error *error, const char *path)
{
	cleanup_free char *target = realpath(path, NULL);
	error_set(error, ERROR_SOURCE_UNREADABLE, "%s is a symbolic link: only the link would be saved", path);
	if (target == NULL)
		return error_hint(error, "the link leads nowhere: name the directory or file itself");
	return error_hint(error, "name what it leads to: %s", target);
}

/* Opening alone does not show that a directory's disk or server answers. */
static int
read_directory(const char *path, int descriptor, bool *ret_empty, struct error *error)
{
	int copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
	DIR *directory = copy < 0 ? NULL : fdopendir(copy);
	if (directory == NULL) {
		source_error(error, path);
		if (copy >= 0)
			close(copy);
		return -1;
	}
	const struct dirent *entry;
	do {
		errno = 0;
		entry = readdir(directory);
	} while (entry != NULL && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
	int result = entry == NULL && errno != 0 ? source_error(error, path) : 0;
	if (result == 0)
		*ret_empty = entry == NULL;
	closedir(directory);
	return result;
}

static int
look_at_source(const char *path, bool *ret_empty, struct error *error)
{
	struct stat status;
	if (lstat(path, &status) != 0)
		return source_error(error, path);
	if (S_ISLNK(status.st_mode))
		return refuse_link(error, path);
	if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) {
		error_set(error, ERROR_SOURCE_UNREADABLE, "%s is %s", path, kind_words(status.st_mode));
		return error_hint(error, "name a directory or a regular file");
	}
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (descriptor < 0)
		return source_error(error, path);
	if (S_ISDIR(status.st_mode))
		return read_directory(path, descriptor, ret_empty, error);
	*ret_empty = status.st_size == 0;
	return 0;
}

int
filesystem_check_source(const char *path, struct error *error)
{
	bool empty;
	if (filesystem_check_mounted(path, _PATH_MNTTAB, "/proc/self/mounts", error) < 0)
		return -1;
	return look_at_source(path, &empty, error);
}

int
filesystem_look_at_source(const char *path, struct source_look *ret_look, struct error *error)
{
	bool empty;
	if (look_at_source(path, &empty, error) < 0)
		return -1;
	*ret_look = (struct source_look){.empty = empty};
	return 0;
}

int64_t
filesystem_free_bytes(const char *path, struct error *error)
{
	cleanup_free char *place = xstrdup(path);
	struct statvfs status;
	while (statvfs(place, &status) != 0) {
		char *slash = strrchr(place, '/');
		if ((errno != ENOENT && errno != ENOTDIR) || slash == NULL || strcmp(place, "/") == 0)
			return error_set(error, ERROR_SYSTEM, "cannot see how much room there is for %s: %s", path,
			    strerror(errno));
		/* "/a" has the parent "/". */
		slash[slash == place ? 1 : 0] = '\0';
	}
	uint64_t bytes;
	if (__builtin_mul_overflow((uint64_t)status.f_bfree, (uint64_t)status.f_frsize, &bytes) || bytes > INT64_MAX)
		return INT64_MAX;
	return (int64_t)bytes;
}

static int
write_error(struct error *error, const char *directory)
{
	int number = errno;
	enum error_code code = number == ENOSPC || number == EDQUOT  ? ERROR_NO_SPACE
			       : number == EACCES || number == EPERM ? ERROR_PERMISSION
								     : ERROR_SYSTEM;
	error_set(error, code, "cannot write in %s: %s", directory, strerror(number));
	if (code == ERROR_NO_SPACE)
		return error_hint(error, "make room there, or choose another directory");
	if (number == EROFS)
		return error_hint(error, "it is on a read-only mount; in a unit of ours list it in ReadWritePaths=");
	if (number == ENOENT)
		return error_hint(error, "make the directory first");
	return -1;
}

int
filesystem_check_writable(const char *directory, struct error *error)
{
	static const char block[PROBE_BYTES] = {0};
	cleanup_free char *path = xasprintf("%s/.atelier-backup-XXXXXX", directory);
	int descriptor = mkostemp(path, O_CLOEXEC);
	if (descriptor < 0)
		return write_error(error, directory);
	/* Without its name at once: nothing stays behind if we are killed. */
	int failed = unlink(path) != 0;
	ssize_t written = failed ? -1 : write(descriptor, block, sizeof(block));
	if (written >= 0 && written < PROBE_BYTES)
		errno = ENOSPC;
	failed = written != PROBE_BYTES || fsync(descriptor) != 0;
	int result = failed ? write_error(error, directory) : 0;
	close(descriptor);
	return result;
}
