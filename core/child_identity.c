#include "core/child.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Parses what follows the command in /proc/PID/stat: the state (field 3), and the start time (field 22). */
static bool
parse_stat(const char *fields, char *ret_state, uint64_t *ret_start_ticks)
{
	const char *field = fields;
	for (int number = 3; number < 22; number++) {
		field = strchr(field, ' ');
		if (field == NULL)
			return false;
		field++;
	}
	char *end;
	errno = 0;
	unsigned long long ticks = strtoull(field, &end, 10);
	if (errno != 0 || end == field)
		return false;
	*ret_state = fields[0];
	*ret_start_ticks = ticks;
	return true;
}

int
child_identity_read(pid_t pid, struct child_identity *ret_identity)
{
	cleanup_free char *path = xasprintf("/proc/%ld/stat", (long)pid);
	cleanup_free char *stat = NULL;
	size_t length;
	if (pid <= 0 || file_read(path, 4096, &stat, &length, NULL) < 0)
		return -1;
	/* The command stands in parentheses and may itself contain ") ". */
	const char *command_end = strrchr(stat, ')');
	char state;
	uint64_t start_ticks;
	if (command_end == NULL || command_end[1] != ' ' || !parse_stat(command_end + 2, &state, &start_ticks))
		return -1;
	/* Nothing runs in a zombie; where PID 1 does not reap, it would be there for ever. */
	if (state == 'Z' || state == 'X')
		return -1;
	*ret_identity = (struct child_identity){.pid = pid, .start_ticks = start_ticks};
	return 0;
}

bool
child_identity_alive(const struct child_identity *identity)
{
	struct child_identity now;
	return child_identity_read(identity->pid, &now) == 0 && now.start_ticks == identity->start_ticks;
}

/* A pidfd becomes readable when its process ends, also when it is no child of ours. */
static bool
wait_for_end(int pidfd, int64_t patience)
{
	int64_t deadline = clock_monotonic(clock_system()) + patience;
	struct pollfd poll_for = {.fd = pidfd, .events = POLLIN};
	for (;;) {
		int64_t left = (deadline - clock_monotonic(clock_system()) + USEC_PER_MSEC - 1) / USEC_PER_MSEC;
		int timeout = left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
		int count = poll(&poll_for, 1, timeout);
		if (count > 0)
			return true;
		if (count == 0 && left <= INT_MAX)
			return false;
		if (count < 0 && errno != EINTR)
			return false;
	}
}

bool
child_pid_is_unreaped(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return false;
	bool ended = wait_for_end(pidfd, 0);
	close(pidfd);
	return ended && kill(pid, 0) == 0;
}

bool
child_identity_end(const struct child_identity *identity, int64_t patience)
{
	/* First the pidfd, then the look: it names the process we looked at, whatever becomes of the pid. */
	cleanup_close int pidfd = (int)syscall(SYS_pidfd_open, identity->pid, 0);
	if (!child_identity_alive(identity))
		return true;
	if (pidfd < 0)
		return false;
	/* The group has no such handle: in the instant since the look the process could have ended and its
	 * pid been given to another group leader. Accepted, for pids are not reused that fast. */
	kill(-identity->pid, SIGKILL);
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	return wait_for_end(pidfd, patience);
}
