#include "adapters/sqlite_internal.h"

#include "core/alloc.h"
#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>

#define LUSTRE_MAGIC 0x0BD00BD0
#define GFS2_MAGIC   0x01161970

#define WAL_HEADER_BYTES 32

/* A writer without a rollback journal changes page 1 before it lets the file grow: what it left is looked at
 * again. */
#define GROWTH_ATTEMPTS  6
#define GROWTH_WAIT_NSEC 3000000

const char *const sqlite_side_suffixes[SQLITE_SIDE_COUNT] = {"-wal", "-shm", "-journal"};

/* https://sqlite.org/fileformat2.html#the_database_header */
struct header {
	unsigned char bytes[100];
	size_t length;
};

static const unsigned char database_magic[16] = "SQLite format 3";
static const unsigned char journal_magic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};

static uint32_t
big_endian_32(const unsigned char *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

char *
sqlite_side_path(const char *path, const char *suffix)
{
	return xasprintf("%s%s", path, suffix);
}

static int
look_error(struct error *error, const char *path)
{
	int number = errno;
	if (number == ENOENT || number == ENOTDIR) {
		error_set(error, ERROR_DATABASE_MISSING, "there is no database %s", path);
		return error_hint(error, "correct the path, or start the service once so that it makes its database");
	}
	enum error_code code = number == EACCES || number == EPERM ? ERROR_PERMISSION : ERROR_SYSTEM;
	return error_set(error, code, "cannot look at the database %s: %s", path, strerror(number));
}

/* Only a regular file with one name: SQLite finds a WAL by the name of the database, so a second name hides
 * it. */
static int
check_kind(const char *path, const struct stat *status, struct error *error)
{
	if (S_ISLNK(status->st_mode)) {
		cleanup_free char *target = realpath(path, NULL);
		error_set(error, ERROR_DATABASE_UNSUPPORTED, "the database %s is a symbolic link", path);
		return error_hint(
		    error, "name the file itself: %s", target != NULL ? target : "(the link leads nowhere)");
	}
	if (!S_ISREG(status->st_mode)) {
		error_set(error, ERROR_DATABASE_UNSUPPORTED, "%s is %s, not a database file", path,
		    S_ISDIR(status->st_mode) ? "a directory" : "a special file");
		return error_hint(error, "name the SQLite file itself");
	}
	if (status->st_nlink > 1) {
		error_set(error, ERROR_DATABASE_UNSUPPORTED,
		    "the database %s has %lu names (hard links): its WAL may stand beside another one", path,
		    (unsigned long)status->st_nlink);
		return error_hint(error, "remove the other names (find -samefile %s), or make them copies", path);
	}
	return 0;
}

static bool
is_shared_between_hosts(int descriptor)
{
	static const unsigned long magics[] = {NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC,
	    CEPH_SUPER_MAGIC, AFS_SUPER_MAGIC, AFS_FS_MAGIC, CODA_SUPER_MAGIC, OCFS2_SUPER_MAGIC, LUSTRE_MAGIC,
	    GFS2_MAGIC};
	struct statfs status;
	if (fstatfs(descriptor, &status) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_LENGTH(magics); i++)
		if ((unsigned long)status.f_type == magics[i])
			return true;
	return false;
}

static int
check_file_system(const char *path, int descriptor, struct error *error)
{
	struct statvfs status;
	if (fstatvfs(descriptor, &status) != 0)
		return look_error(error, path);
	if ((status.f_flag & ST_RDONLY) != 0) {
		error_set(error, ERROR_DATABASE_UNSUPPORTED,
		    "the database %s is on a read-only mount: its WAL cannot be folded in", path);
		return error_hint(error, "mount it writable; in a unit of ours also list it in ReadWritePaths=");
	}
	if (is_shared_between_hosts(descriptor)) {
		error_set(error, ERROR_DATABASE_UNSUPPORTED,
		    "the database %s is on a network file system: another host may have it open", path);
		return error_hint(error, "back it up on the host that has the disk, or move it to a local disk");
	}
	return 0;
}

static bool
all_zero(const struct header *header)
{
	for (size_t i = 0; i < header->length; i++)
		if (header->bytes[i] != 0)
			return false;
	return true;
}

static int
check_magic(const char *path, const struct header *header, struct error *error)
{
	size_t comparable = header->length < sizeof(database_magic) ? header->length : sizeof(database_magic);
	bool has_magic = memcmp(header->bytes, database_magic, comparable) == 0;
	if (has_magic && header->length == sizeof(header->bytes))
		return 0;
	if (has_magic || all_zero(header)) {
		error_set(error, ERROR_DATABASE_DAMAGED, "the database %s %s", path,
		    has_magic ? "is cut off within its header" : "begins with zeros instead of a header");
		return error_hint(
		    error, "restore it from a snapshot; keep the damaged file for the service's makers");
	}
	error_set(error, ERROR_DATABASE_UNSUPPORTED, "%s is no SQLite database, or an encrypted one", path);
	return error_hint(error, "take it out of the databases and list its directory under files: it is then copied "
				 "as it is while the service is stopped");
}

static uint32_t
header_page_size(const struct header *header)
{
	uint32_t page_size = (uint32_t)header->bytes[16] << 8 | header->bytes[17];
	return page_size == 1 ? 65536 : page_size;
}

static int
check_header(const char *path, const struct header *header, uint32_t *ret_page_size, struct error *error)
{
	if (check_magic(path, header, error) != 0)
		return -1;
	if (header->bytes[18] > 2 || header->bytes[19] > 2) {
		error_set(error, ERROR_DATABASE_UNSUPPORTED,
		    "the database %s has a file format that this SQLite does not know (%d/%d)", path,
		    header->bytes[18], header->bytes[19]);
		return error_hint(error, "list its directory under files instead");
	}
	uint32_t page_size = header_page_size(header);
	if (page_size < 512 || (page_size & (page_size - 1)) != 0)
		return error_set(
		    error, ERROR_DATABASE_DAMAGED, "the database %s claims pages of %u bytes", path, page_size);
	*ret_page_size = page_size;
	return 0;
}

/* What the header promises. Writers older than SQLite 3.7 did not keep the page count: it holds only if its
 * change counter is the file's. 0: it promises nothing. */
static uint64_t
promised_pages(const struct header *header)
{
	if (big_endian_32(header->bytes + 24) != big_endian_32(header->bytes + 92))
		return 0;
	return big_endian_32(header->bytes + 28);
}

static uint64_t
count_pages(const struct header *header, uint64_t bytes)
{
	uint64_t promised = promised_pages(header);
	uint32_t page_size = header_page_size(header);
	return promised != 0 || page_size == 0 ? promised : bytes / page_size;
}

bool
sqlite_has_wal_frames(const char *path)
{
	cleanup_free char *side = sqlite_side_path(path, "-wal");
	struct stat status;
	return lstat(side, &status) == 0 && status.st_size > WAL_HEADER_BYTES;
}

/* A journal that was ended by PERSIST has a header of zeros. */
static bool
has_hot_journal(const char *path)
{
	cleanup_free char *side = sqlite_side_path(path, "-journal");
	cleanup_close int descriptor = open(side, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	unsigned char magic[sizeof(journal_magic)];
	if (descriptor < 0)
		return errno != ENOENT;
	return read(descriptor, magic, sizeof(magic)) == sizeof(magic) &&
	       memcmp(magic, journal_magic, sizeof(magic)) == 0;
}

/* *ret_lacking: bytes that the header promises and the file does not have. */
static int
look_once(const char *path, struct sqlite_look *look, uint64_t *ret_lacking, struct error *error)
{
	struct stat status;
	if (lstat(path, &status) != 0)
		return look_error(error, path);
	if (check_kind(path, &status, error) != 0)
		return -1;
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (descriptor < 0)
		return look_error(error, path);
	if (check_file_system(path, descriptor, error) != 0)
		return -1;

	/* The header first: a file that grows meanwhile is not taken for a short one. */
	struct header header = {.length = 0};
	ssize_t count = pread(descriptor, header.bytes, sizeof(header.bytes), 0);
	if (count < 0 || fstat(descriptor, &status) != 0)
		return look_error(error, path);
	if (!S_ISREG(status.st_mode))
		return error_set(error, ERROR_DATABASE_UNSUPPORTED, "%s was replaced while it was looked at", path);
	header.length = (size_t)count;
	*look = (struct sqlite_look){
	    .owner = status.st_uid,
	    .group = status.st_gid,
	    .bytes = (uint64_t)status.st_size,
	    .journal_mode = header.length > 19 && header.bytes[18] == 2 ? "wal" : "delete",
	    .pages = count_pages(&header, (uint64_t)status.st_size),
	    .wal_frames = sqlite_has_wal_frames(path),
	    .hot_journal = has_hot_journal(path),
	};
	*ret_lacking = 0;
	if (status.st_size == 0 && look->wal_frames)
		/* SQLite would delete this WAL and call the empty database good. */
		return error_set(error, ERROR_DATABASE_DAMAGED,
		    "the database %s is empty, but its WAL is not: somebody has emptied it", path);
	if (status.st_size == 0 || look->hot_journal)
		return 0;
	uint32_t page_size = 0;
	if (check_header(path, &header, &page_size, error) != 0)
		return -1;
	uint64_t promised = promised_pages(&header) * page_size;
	if (!look->wal_frames && promised > look->bytes)
		*ret_lacking = promised - look->bytes;
	return 0;
}

int
sqlite_look(const char *path, struct sqlite_look *ret_look, struct error *error)
{
	struct sqlite_look look;
	uint64_t lacking = 0;
	for (int attempt = 0; attempt < GROWTH_ATTEMPTS; attempt++) {
		if (look_once(path, &look, &lacking, error) != 0)
			return -1;
		if (lacking == 0) {
			*ret_look = look;
			return 0;
		}
		nanosleep(&(struct timespec){.tv_nsec = GROWTH_WAIT_NSEC}, NULL);
	}
	unsigned long long missing = lacking, whole = look.bytes;
	error_set(error, ERROR_DATABASE_DAMAGED, "the database %s is cut off: %llu bytes of %llu are missing", path,
	    missing, whole + missing);
	return error_hint(error, "restore it from a snapshot; keep the damaged file for the service's makers");
}

int
sqlite_look_at_copy(const char *path, int descriptor, uint64_t pages, uint64_t *ret_bytes, struct error *error)
{
	struct header header = {.length = 0};
	struct stat status;
	ssize_t count = pread(descriptor, header.bytes, sizeof(header.bytes), 0);
	if (count < 0 || fstat(descriptor, &status) != 0)
		return look_error(error, path);
	header.length = (size_t)count;
	uint64_t bytes = (uint64_t)status.st_size;
	uint32_t page_size = 0;
	if (bytes > 0 && check_header(path, &header, &page_size, error) != 0)
		return -1;
	bool whole = bytes == 0 ? pages == 0 : bytes == pages * page_size && promised_pages(&header) == pages;
	if (!whole)
		return error_set(error, ERROR_DATABASE_DAMAGED,
		    "the copy of the database %s is not whole: it has %llu bytes for %llu pages", path,
		    (unsigned long long)bytes, (unsigned long long)pages);
	*ret_bytes = bytes;
	return 0;
}

int
sqlite_inspect(const char *path, struct error *error)
{
	struct sqlite_look look;
	return sqlite_look(path, &look, error);
}
