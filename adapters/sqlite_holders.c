/* Who has a database open, as /proc tells. */
#include "adapters/sqlite_internal.h"

#include "core/alloc.h"
#include "core/text.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_NAMED 5

struct file_id {
	uint32_t device_major, device_minor;
	uint64_t inode;
};

struct search {
	struct file_id files[1 + SQLITE_SIDE_COUNT];
	size_t file_count;
	struct text words;
	size_t holders;
};

/* From what the kernel knows: a dead server of some other process' NFS file must not hang us. */
static bool
identify(int directory, const char *name, int flags, struct file_id *ret_id)
{
	struct statx status;
	if (statx(directory, name, flags | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &status) != 0)
		return false;
	*ret_id = (struct file_id){
	    .device_major = status.stx_dev_major,
	    .device_minor = status.stx_dev_minor,
	    .inode = status.stx_ino,
	};
	return true;
}

static bool
is_searched(const struct search *search, const struct file_id *id)
{
	for (size_t i = 0; i < search->file_count; i++)
		if (search->files[i].inode == id->inode && search->files[i].device_major == id->device_major &&
		    search->files[i].device_minor == id->device_minor)
			return true;
	return false;
}

static void
add_file(struct search *search, const char *path)
{
	if (identify(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &search->files[search->file_count]))
		search->file_count++;
}

static DIR *
open_directory_at(int directory, const char *name)
{
	int descriptor = openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (descriptor < 0)
		return NULL;
	DIR *stream = fdopendir(descriptor);
	if (stream == NULL)
		close(descriptor);
	return stream;
}

/* A process that ends meanwhile, or whose descriptors are hidden from us, holds nothing that we could see. */
static bool
process_holds(const struct search *search, int proc, const char *pid)
{
	cleanup_free char *name = xasprintf("%s/fd", pid);
	DIR *descriptors = open_directory_at(proc, name);
	bool holds = false;
	const struct dirent *entry;
	while (!holds && descriptors != NULL && (entry = readdir(descriptors)) != NULL) {
		struct file_id id;
		holds = isdigit((unsigned char)entry->d_name[0]) &&
			identify(dirfd(descriptors), entry->d_name, 0, &id) && is_searched(search, &id);
	}
	if (descriptors != NULL)
		closedir(descriptors);
	return holds;
}

/* "Name:" and "Uid:" of the status file; the owner of /proc/PID is root for a process that changed its user.
 */
static char *
process_words(const char *pid)
{
	cleanup_free char *path = xasprintf("/proc/%s/status", pid);
	cleanup_fclose FILE *file = fopen(path, "re");
	char name[64] = "?";
	unsigned uid = 0;
	char line[256];
	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		sscanf(line, "Name:\t%63[^\n]", name);
		if (sscanf(line, "Uid:\t%u", &uid) == 1)
			break;
	}
	cleanup_free char *words = xasprintf("%s (pid %s, uid %u)", name, pid, uid);
	return text_printable(words);
}

static void
note_holder(struct search *search, const char *pid)
{
	search->holders++;
	if (search->holders > MOST_NAMED)
		return;
	cleanup_free char *words = process_words(pid);
	text_printf(&search->words, "%s%s", search->holders > 1 ? ", " : "", words);
}

char *
sqlite_holders(const char *path)
{
	struct search search = {.file_count = 0};
	add_file(&search, path);
	for (size_t i = 0; i < SQLITE_SIDE_COUNT; i++) {
		cleanup_free char *side = sqlite_side_path(path, sqlite_side_suffixes[i]);
		add_file(&search, side);
	}
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	while (proc != NULL && search.file_count > 0 && (entry = readdir(proc)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]) && atol(entry->d_name) != getpid() &&
		    process_holds(&search, dirfd(proc), entry->d_name))
			note_holder(&search, entry->d_name);
	if (proc != NULL)
		closedir(proc);
	if (search.holders == 0)
		return NULL;
	if (search.holders > MOST_NAMED)
		text_printf(&search.words, " and %zu more", search.holders - MOST_NAMED);
	return text_take(&search.words);
}
