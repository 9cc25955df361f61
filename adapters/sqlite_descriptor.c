/* A database that SQLite knows by an open descriptor only.
 *
 * SQLite opens files by their path, and resolves every symbolic link in it, those of /proc/self/fd as well. The
 * target of a copy stands where its owner cannot go, and the process that copies is its owner: so the path is left
 * out. */
#include "adapters/sqlite_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct open_file {
	sqlite3_file base; /* first: SQLite knows the file by it */
	int descriptor;
};

static struct {
	sqlite3_vfs vfs;
	int descriptor;
	int failure;
} only;

static int
descriptor_of(const sqlite3_file *file)
{
	return ((const struct open_file *)file)->descriptor;
}

static int
write_failed(int code)
{
	if (only.failure == 0)
		only.failure = errno;
	return only.failure == ENOSPC || only.failure == EDQUOT ? SQLITE_FULL : code;
}

static int
file_close(sqlite3_file *file)
{
	(void)file;
	return SQLITE_OK;
}

/* SQLite wants zeros for what is beyond the end. */
static int
file_read_at(sqlite3_file *file, void *bytes, int length, sqlite3_int64 place)
{
	size_t done = 0, wanted = (size_t)length;
	while (done < wanted) {
		ssize_t count =
		    pread(descriptor_of(file), (char *)bytes + done, wanted - done, place + (sqlite3_int64)done);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return SQLITE_IOERR_READ;
		if (count == 0)
			break;
		done += (size_t)count;
	}
	memset((char *)bytes + done, 0, wanted - done);
	return done < wanted ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int
file_write_at(sqlite3_file *file, const void *bytes, int length, sqlite3_int64 place)
{
	size_t done = 0, wanted = (size_t)length;
	while (done < wanted) {
		ssize_t count = pwrite(
		    descriptor_of(file), (const char *)bytes + done, wanted - done, place + (sqlite3_int64)done);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return write_failed(SQLITE_IOERR_WRITE);
		done += (size_t)count;
	}
	return SQLITE_OK;
}

static int
file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	return ftruncate(descriptor_of(file), size) == 0 ? SQLITE_OK : write_failed(SQLITE_IOERR_TRUNCATE);
}

static int
file_sync(sqlite3_file *file, int flags)
{
	(void)flags;
	return fsync(descriptor_of(file)) == 0 ? SQLITE_OK : write_failed(SQLITE_IOERR_FSYNC);
}

static int
file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
	struct stat status;
	if (fstat(descriptor_of(file), &status) != 0)
		return SQLITE_IOERR_FSTAT;
	*ret_size = status.st_size;
	return SQLITE_OK;
}

static int
file_lock(sqlite3_file *file, int level)
{
	(void)file, (void)level;
	return SQLITE_OK;
}

static int
file_is_reserved(sqlite3_file *file, int *ret_reserved)
{
	(void)file;
	*ret_reserved = 0;
	return SQLITE_OK;
}

static int
file_control(sqlite3_file *file, int operation, void *argument)
{
	(void)file, (void)operation, (void)argument;
	return SQLITE_NOTFOUND;
}

/* 0: SQLite's default. */
static int
file_sector_size(sqlite3_file *file)
{
	(void)file;
	return 0;
}

static int
file_characteristics(sqlite3_file *file)
{
	(void)file;
	return 0;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read_at,
    .xWrite = file_write_at,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_lock,
    .xCheckReservedLock = file_is_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
};

/* Only the database itself: a journal or a temporary file would be a second one. */
static int
open_only(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	(void)vfs, (void)name;
	struct open_file *opened = (struct open_file *)file;
	*opened = (struct open_file){.descriptor = only.descriptor};
	if ((flags & SQLITE_OPEN_MAIN_DB) == 0)
		return SQLITE_CANTOPEN;
	opened->base.pMethods = &file_methods;
	if (ret_flags != NULL)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int
delete_nothing(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
	(void)vfs, (void)name, (void)sync_directory;
	return SQLITE_OK;
}

static int
find_nothing(sqlite3_vfs *vfs, const char *name, int flags, int *ret_found)
{
	(void)vfs, (void)name, (void)flags;
	*ret_found = 0;
	return SQLITE_OK;
}

static int
keep_name(sqlite3_vfs *vfs, const char *name, int room, char *ret_name)
{
	(void)vfs;
	return sqlite3_snprintf(room, ret_name, "%s", name) == NULL ? SQLITE_CANTOPEN : SQLITE_OK;
}

static int
last_failure(sqlite3_vfs *vfs, int room, char *words)
{
	(void)vfs, (void)room, (void)words;
	return only.failure;
}

int
sqlite_descriptor_register(int descriptor, struct error *error)
{
	const sqlite3_vfs *usual = sqlite3_vfs_find(NULL);
	if (usual == NULL)
		return error_set(error, ERROR_SYSTEM, "SQLite knows no files");
	only.descriptor = descriptor;
	only.failure = 0;
	/* Time and randomness are as usual. */
	only.vfs = *usual;
	only.vfs.iVersion = 2;
	only.vfs.szOsFile = (int)sizeof(struct open_file);
	only.vfs.pNext = NULL;
	only.vfs.zName = "atelier-descriptor";
	only.vfs.xOpen = open_only;
	only.vfs.xDelete = delete_nothing;
	only.vfs.xAccess = find_nothing;
	only.vfs.xFullPathname = keep_name;
	only.vfs.xGetLastError = last_failure;
	if (sqlite3_vfs_register(&only.vfs, 0) != SQLITE_OK)
		return error_set(error, ERROR_SYSTEM_BUSY, "no memory left for a file of SQLite's");
	return 0;
}

int
sqlite_descriptor_failure(void)
{
	return only.failure;
}
