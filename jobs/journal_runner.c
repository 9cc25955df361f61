/* Who advances the jobs: the lock of the runner. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int
runner_error(const struct journal *journal, const char *doing, const char *name, struct error *error)
{
	int number = errno;
	enum error_code code = ERROR_JOURNAL;
	if (number == EACCES || number == EPERM || number == EROFS)
		code = ERROR_PERMISSION;
	else if (number == ENOSPC || number == EDQUOT)
		code = ERROR_NO_SPACE;
	error_set(error, code, "cannot %s %s/%s: %s", doing, journal->directory, name, strerror(number));
	if (code == ERROR_PERMISSION)
		return error_hint(error, "run as the owner of %s", journal->directory);
	if (code == ERROR_NO_SPACE)
		return error_hint(error, "make room on the file system of %s", journal->directory);
	return error_hint(error, "see the limits of this process (open files)");
}

/* A lock of the open file description, as flock's is, but one that can be looked at without taking it: a
 * `status` that took it for a moment could send a starting runner away. */
static struct flock
whole_file(void)
{
	return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

static pid_t
read_holder(int descriptor)
{
	char digits[24] = "";
	ssize_t length = pread(descriptor, digits, sizeof(digits) - 1, 0);
	if (length <= 0)
		return 0;
	char *end;
	errno = 0;
	long pid = strtol(digits, &end, 10);
	return *end == '\n' && errno == 0 && pid > 0 ? (pid_t)pid : 0;
}

static int
open_lock(struct journal *journal, struct error *error)
{
	if (journal->lock_descriptor >= 0)
		return 0;
	cleanup_free char *path = xasprintf("%s/runner.lock", journal->directory);
	int flags = journal->read_only ? O_RDONLY : O_RDWR | O_CREAT;
	journal->lock_descriptor = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (journal->lock_descriptor >= 0 || (journal->read_only && errno == ENOENT))
		return 0;
	return runner_error(journal, "open", "runner.lock", error);
}

/* Whoever reads this wants to know whom to look for; the lock itself does not depend on it. */
static void
write_holder(int descriptor)
{
	char digits[24];
	int length = snprintf(digits, sizeof(digits), "%ld\n", (long)getpid());
	if (ftruncate(descriptor, 0) == 0 && pwrite(descriptor, digits, (size_t)length, 0) != length) {
		ssize_t emptied = ftruncate(descriptor, 0);
		(void)emptied;
	}
}

static int
look_at_lock(struct journal *journal, bool *ret_free, struct error *error)
{
	struct flock lock = whole_file();
	if (journal->lock_descriptor >= 0 && fcntl(journal->lock_descriptor, F_OFD_GETLK, &lock) < 0)
		return runner_error(journal, "look at the lock of", "runner.lock", error);
	*ret_free = journal->lock_descriptor < 0 || lock.l_type == F_UNLCK;
	return 0;
}

static int
take_lock(struct journal *journal, bool *ret_held, struct error *error)
{
	struct flock lock = whole_file();
	if (fcntl(journal->lock_descriptor, F_OFD_SETLK, &lock) == 0) {
		write_holder(journal->lock_descriptor);
		*ret_held = true;
		return 0;
	}
	if (errno != EAGAIN && errno != EACCES)
		return runner_error(journal, "lock", "runner.lock", error);
	*ret_held = false;
	return 0;
}

int
journal_lock_runner(struct journal *journal, bool *ret_held, pid_t *ret_holder, struct error *error)
{
	if (open_lock(journal, error) < 0)
		return -1;
	bool held = false;
	int result = journal->read_only ? look_at_lock(journal, &held, error) : take_lock(journal, &held, error);
	if (result < 0)
		return -1;
	/* A runner that died after it had crossed something off has left a file that still names it. */
	if (held && !journal->read_only)
		journal_follow_owed(journal);
	if (ret_holder != NULL)
		*ret_holder = held ? (journal->read_only ? 0 : getpid()) : read_holder(journal->lock_descriptor);
	*ret_held = held;
	return 0;
}

void
journal_unlock_runner(struct journal *journal)
{
	if (journal->lock_descriptor >= 0)
		close(journal->lock_descriptor);
	journal->lock_descriptor = -1;
}
