/* Child processes on the loop.
 *
 * Two facts end a child: its exit status and the end of its output, in either order; a grandchild that keeps a
 * pipe open is waited for only for a moment. Output comes line by line and is always drained, so a child never
 * blocks on us (restic 0.18 blocks for ever on an unread pipe). The exit is learned from a pidfd: no SIGCHLD
 * handler, no wait for children that are not ours. In the child the signal mask and all handlers are reset, and
 * every descriptor but 0, 1 and 2 is closed. It gets its own process group. stdin is /dev/null or holds `input`. */
#ifndef ATELIER_CORE_CHILD_H
#define ATELIER_CORE_CHILD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/error.h"

struct child;

/* Names one process for good: a pid alone is reused. `start_ticks` is field 22 of /proc/PID/stat. */
struct child_identity {
	pid_t pid;
	uint64_t start_ticks;
};

/* How a child ended. */
struct child_exit {
	bool signalled; /* ended by a signal: `number` is the signal, else the exit code */
	int number;
	bool stopped_by_us; /* child_stop or child_kill was called before it ended */
	bool killed_by_us;  /* ... and SIGKILL was needed */
	int64_t elapsed;    /* microseconds of CLOCK_BOOTTIME */
};

/* One line without its newline; NUL-terminated, but may contain NUL. `cut` is set when the line was longer than
 * line_limit (the rest of it is dropped) or had no newline at the end of the output. */
typedef void child_line_fn(void *context, const char *line, size_t length, bool cut);

/* Called exactly once, from the loop; the child is freed after it returns. */
typedef void child_exit_fn(void *context, const struct child_exit *exit);

/* Called between fork and exec: the program has not begun and begins only if this returns 0. What must be known
 * about the process before it does anything (its journal row) is written here. If we die before it returns, the
 * program never runs. */
typedef int child_spawned_fn(void *context, const struct child_identity *identity, struct error *error);

/* In a mount namespace of its own the child sees `source` (a file or a directory) in the place of `target`,
 * read-only. Nobody else sees it, and it is gone with the child. Both are absolute, of the same kind, and neither is
 * a symbolic link. A target that somebody removes or replaces meanwhile takes the bind along: the child then sees
 * what is there. */
struct child_bind {
	const char *source, *target;
};

struct child_spec {
	const char *name;               /* for log lines: "restic backup" */
	const char *const *arguments;   /* argv; [0] is looked up in PATH of *our* environment if it has no slash */
	const char *const *environment; /* NULL-terminated "NAME=value"; never NULL */
	const char *directory;          /* working directory; NULL: "/" */
	const void *input;              /* what the child finds on stdin (an anonymous file); NULL: /dev/null */
	size_t input_length;
	bool drop_privileges; /* become user/group below: setgroups, setgid, setuid */
	uid_t user;
	gid_t group;
	int nice;           /* added to our own; 0: as we are */
	int io_class;       /* 0: as we are; 2 best-effort, 3 idle (ioprio_set(2)) */
	int io_level;       /* 0..7, for best-effort */
	int death_signal;   /* sent by the kernel when we die (PR_SET_PDEATHSIG); 0: none */
	int stop_signal;    /* first rung of child_stop; 0: SIGTERM */
	int64_t stop_grace; /* microseconds between that and SIGKILL; 0: 10 s */
	/* Needs CAP_SYS_ADMIN: without it, and where a bind cannot be made, child_start fails (ERROR_PERMISSION, else
	 * ERROR_SYSTEM) and names the target. */
	const struct child_bind *binds;
	size_t bind_count;
	int output;               /* a descriptor that gets stdout in the place of on_stdout; 0: none */
	size_t line_limit;        /* 0: 1 MiB */
	child_line_fn *on_stdout; /* NULL: drained and dropped */
	child_line_fn *on_stderr;
	child_spawned_fn *on_spawned; /* may be NULL */
	child_exit_fn *on_exit;
	void *context;
};

/* Starts the program. Everything in `spec` is copied or used before the return. NULL and an error if the program
 * cannot be executed (ERROR_SYSTEM with the reason; ERROR_SYSTEM_BUSY when fork failed for want of resources), in
 * which case on_exit is not called. */
struct child *child_start(struct event_base *base, const struct child_spec *spec, struct error *error);

struct child_identity child_identity_of(const struct child *child);

/* The ladder: stop_signal (and SIGCONT) to the process group now, SIGKILL after the grace. Output is drained
 * meanwhile; on_exit comes as always. Calling it again changes nothing. */
void child_stop(struct child *child);

/* SIGKILL to the process group at once. */
void child_kill(struct child *child);

/* Forgets a child without waiting: kills its group, frees it, on_exit is never called. For shutdown paths. */
void child_abandon(struct child *child);

/* For recovery: is the process of a former run still there? Compares pid and start time. Reads /proc only. */
bool child_identity_alive(const struct child_identity *identity);

/* Has the process of this pid ended without its parent having taken note? The pid is still taken then, and to signals
 * and to /proc it is there. */
bool child_pid_is_unreaped(pid_t pid);

/* Reads the identity of a running process. Returns -1 if there is none of that pid. */
int child_identity_read(pid_t pid, struct child_identity *ret_identity);

/* SIGKILL to the process group of a process of a former run, if it is still that process, and waits until it is
 * gone, at most `patience` microseconds (it is no child of ours any more, so this polls). Returns false if it is
 * still there. Blocks. */
bool child_identity_end(const struct child_identity *identity, int64_t patience);

/* "exited with 3", "was killed by SIGKILL (9)"; the caller owns it. */
char *child_exit_words(const struct child_exit *exit);

#endif
