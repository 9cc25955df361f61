#include "core/child.h"

#include "core/alloc.h"
#include "core/child_internal.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEFAULT_STOP_GRACE (10 * USEC_PER_SEC)
#define DEFAULT_LINE_LIMIT ((size_t)1024 * 1024)

/* How long a grandchild may hold the output open after the child has ended. */
#define LINGER (2 * USEC_PER_SEC)

/* How long child_abandon looks for the end of what it killed, so that no zombie stays. */
#define ABANDON_PATIENCE_MSEC 100

/* One of the two outputs. */
struct stream {
	struct child *child;
	int descriptor; /* -1 after its end */
	struct event *event;
	child_line_fn *on_line;
	struct text line;
	bool dropping; /* the rest of a line that was too long */
};

struct child {
	char *name;
	struct child_identity identity;
	int pidfd;
	struct event *ended;
	struct event *grace;
	struct event *linger;
	struct stream standard_output;
	struct stream standard_error;
	size_t line_limit;
	int stop_signal;
	int64_t stop_grace;
	int64_t started;
	struct child_exit exit;
	bool exited;    /* `exit` is known */
	bool reaped;    /* only at the very end, so that the pid stays ours until then */
	bool abandoned; /* in a callback: freed when that has returned */
	bool busy;      /* a callback of the owner is running */
	child_exit_fn *on_exit;
	void *context;
};

static void
free_event(struct event **event)
{
	if (*event != NULL)
		event_free(*event);
	*event = NULL;
}

static void
stream_close(struct stream *stream)
{
	free_event(&stream->event);
	cleanup_close_function(&stream->descriptor);
	stream->descriptor = -1;
}

static void
child_free(struct child *child)
{
	stream_close(&child->standard_output);
	stream_close(&child->standard_error);
	text_clear(&child->standard_output.line);
	text_clear(&child->standard_error.line);
	free_event(&child->ended);
	free_event(&child->grace);
	free_event(&child->linger);
	cleanup_close_function(&child->pidfd);
	free(child->name);
	free(child);
}

/* Safe as long as the process is not reaped: neither its pid nor its group can belong to somebody else. */
static void
signal_group(const struct child *child, int number)
{
	if (!child->reaped && kill(-child->identity.pid, number) < 0)
		kill(child->identity.pid, number);
}

static void
log_obituary(const struct child *child)
{
	cleanup_free char *words = child_exit_words(&child->exit);
	cleanup_free char *duration = text_duration(child->exit.elapsed);
	const char *why = child->exit.stopped_by_us ? ", we stopped it" : "";
	if (child->exit.killed_by_us)
		log_warning(
		    "%s (pid %ld) %s after %s%s", child->name, (long)child->identity.pid, words, duration, why);
	else
		log_info("%s (pid %ld) %s after %s%s", child->name, (long)child->identity.pid, words, duration, why);
}

static void
child_finish(struct child *child)
{
	siginfo_t ignored;

	/* What we asked to stop is gone when we say so, its descendants too. */
	if (child->exit.stopped_by_us)
		signal_group(child, SIGKILL);
	waitid(P_PIDFD, (id_t)child->pidfd, &ignored, WEXITED);
	child->reaped = true;
	log_obituary(child);
	child->busy = true;
	child->on_exit(child->context, &child->exit);
	child_free(child);
}

static void
child_bury_abandoned(struct child *child)
{
	siginfo_t ignored;
	struct pollfd poll_for = {.fd = child->pidfd, .events = POLLIN};
	poll(&poll_for, 1, ABANDON_PATIENCE_MSEC);
	waitid(P_PIDFD, (id_t)child->pidfd, &ignored, WEXITED | WNOHANG);
	child_free(child);
}

/* After everything that may have been the last fact we waited for. The child may be gone afterwards. */
static void
child_settle(struct child *child)
{
	if (child->busy)
		return;
	if (child->abandoned)
		child_bury_abandoned(child);
	else if (child->exited && child->standard_output.descriptor < 0 && child->standard_error.descriptor < 0)
		child_finish(child);
}

static void
stream_deliver(struct stream *stream, bool cut)
{
	struct child *child = stream->child;
	child->busy = true;
	stream->on_line(child->context, stream->line.string, stream->line.length, cut);
	child->busy = false;
	stream->line.length = 0;
}

/* Takes `length` bytes that belong to one line; `ended` if its newline came after them. */
static void
stream_take_part(struct stream *stream, const char *bytes, size_t length, bool ended)
{
	if (stream->on_line != NULL && !stream->dropping) {
		size_t room = stream->child->line_limit - stream->line.length;
		bool too_long = length > room;
		text_add_bytes(&stream->line, bytes, too_long ? room : length);
		if (too_long || ended)
			stream_deliver(stream, too_long);
		stream->dropping = too_long;
	}
	if (ended)
		stream->dropping = false;
}

static void
stream_take(struct stream *stream, const char *bytes, size_t length)
{
	while (length > 0 && !stream->child->abandoned) {
		const char *newline = memchr(bytes, '\n', length);
		size_t part = newline == NULL ? length : (size_t)(newline - bytes);
		stream_take_part(stream, bytes, part, newline != NULL);
		size_t taken = newline == NULL ? part : part + 1;
		bytes += taken;
		length -= taken;
	}
}

static void
stream_end(struct stream *stream)
{
	if (stream->descriptor < 0)
		return;
	stream_close(stream);
	if (stream->line.length > 0 && !stream->child->abandoned)
		stream_deliver(stream, true);
}

/* Reads once. Returns false if there is nothing more for now. */
static bool
stream_read(struct stream *stream)
{
	char chunk[65536];
	ssize_t count = read(stream->descriptor, chunk, sizeof(chunk));
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (count <= 0) {
		stream_end(stream);
		return false;
	}
	stream_take(stream, chunk, (size_t)count);
	return !stream->child->abandoned;
}

static void
stream_ready(evutil_socket_t descriptor, short what, void *context)
{
	struct stream *stream = context;
	(void)descriptor;
	(void)what;
	stream_read(stream);
	child_settle(stream->child);
}

/* What the child itself wrote is in the pipe by now; a grandchild could write for ever. */
static void
stream_drain(struct stream *stream)
{
	for (int i = 0; i < 64 && stream->descriptor >= 0; i++)
		if (!stream_read(stream))
			break;
	stream_end(stream);
}

static void
linger_expired(evutil_socket_t descriptor, short what, void *context)
{
	struct child *child = context;
	(void)descriptor;
	(void)what;
	log_debug("%s (pid %ld) left its output to a descendant", child->name, (long)child->identity.pid);
	stream_drain(&child->standard_output);
	stream_drain(&child->standard_error);
	child_settle(child);
}

static void
start_timer(struct event *timer, int64_t microseconds)
{
	struct timeval after = {
	    .tv_sec = (time_t)(microseconds / USEC_PER_SEC),
	    .tv_usec = (suseconds_t)(microseconds % USEC_PER_SEC),
	};
	event_add(timer, &after);
}

/* Looks whether the process has ended, and leaves it to be reaped. */
static bool
peek_exit(const struct child *child, siginfo_t *ret_info)
{
	*ret_info = (siginfo_t){.si_pid = 0};
	if (waitid(P_PIDFD, (id_t)child->pidfd, ret_info, WEXITED | WNOWAIT | WNOHANG) < 0) {
		/* Somebody else reaped it, or SIGCHLD is ignored: our own bug. */
		log_error("the exit status of %s (pid %ld) is lost: %s", child->name, (long)child->identity.pid,
		    strerror(errno));
		ret_info->si_pid = child->identity.pid;
		ret_info->si_code = CLD_EXITED;
		ret_info->si_status = 255;
	}
	return ret_info->si_pid != 0;
}

static void
child_ended(evutil_socket_t descriptor, short what, void *context)
{
	struct child *child = context;
	siginfo_t info;
	(void)descriptor;
	(void)what;

	if (!peek_exit(child, &info))
		return;
	event_del(child->ended);
	event_del(child->grace);
	child->exited = true;
	child->exit.signalled = info.si_code != CLD_EXITED;
	child->exit.number = info.si_status;
	child->exit.elapsed = clock_monotonic(clock_system()) - child->started;
	start_timer(child->linger, LINGER);
	child_settle(child);
}

static void
grace_expired(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	child_kill(context);
}

void
child_stop(struct child *child)
{
	siginfo_t info;
	if (child->exit.stopped_by_us || child->exited || child->abandoned || peek_exit(child, &info))
		return;
	child->exit.stopped_by_us = true;
	signal_group(child, child->stop_signal);
	/* One that somebody has put to sleep would never hear of it, and restic would leave its lock behind. */
	signal_group(child, SIGCONT);
	start_timer(child->grace, child->stop_grace);
}

void
child_kill(struct child *child)
{
	siginfo_t info;
	if (!child->exited && !peek_exit(child, &info)) {
		child->exit.stopped_by_us = true;
		child->exit.killed_by_us = true;
	}
	signal_group(child, SIGKILL);
}

void
child_abandon(struct child *child)
{
	if (child->abandoned)
		return;
	child->abandoned = true;
	signal_group(child, SIGKILL);
	stream_close(&child->standard_output);
	stream_close(&child->standard_error);
	event_del(child->ended);
	event_del(child->grace);
	event_del(child->linger);
	child_settle(child);
}

struct child_identity
child_identity_of(const struct child *child)
{
	return child->identity;
}

static int
stream_open(
    struct stream *stream, struct child *child, int descriptor, child_line_fn *on_line, struct event_base *base)
{
	stream->child = child;
	stream->on_line = on_line;
	/* It went to a descriptor of the owner's: we shall not see its end. */
	if (descriptor < 0)
		return 0;
	stream->event = event_new(base, descriptor, EV_READ | EV_PERSIST, stream_ready, stream);
	if (stream->event == NULL || event_add(stream->event, NULL) < 0)
		return -1;
	return 0;
}

/* Puts a process that waits at its gate on the loop. */
static int
child_watch(struct child *child, struct event_base *base, const struct child_spawned *spawned,
    const struct child_spec *spec, struct error *error)
{
	child->pidfd = (int)syscall(SYS_pidfd_open, spawned->pid, 0);
	if (child->pidfd < 0)
		return error_set(error, ERROR_SYSTEM, "cannot watch %s: %s", spec->name, strerror(errno));
	if (child_identity_read(spawned->pid, &child->identity) < 0)
		return error_set(error, ERROR_SYSTEM, "cannot read the start time of %s in /proc", spec->name);
	child->ended = event_new(base, child->pidfd, EV_READ | EV_PERSIST, child_ended, child);
	child->grace = evtimer_new(base, grace_expired, child);
	child->linger = evtimer_new(base, linger_expired, child);
	if (child->ended == NULL || child->grace == NULL || child->linger == NULL ||
	    event_add(child->ended, NULL) < 0 ||
	    stream_open(&child->standard_output, child, spawned->standard_output, spec->on_stdout, base) < 0 ||
	    stream_open(&child->standard_error, child, spawned->standard_error, spec->on_stderr, base) < 0)
		return error_set(error, ERROR_SYSTEM, "cannot watch %s on the loop", spec->name);
	return 0;
}

static int
child_launch(struct child *child, struct event_base *base, struct child_spawned *spawned,
    const struct child_spec *spec, struct error *error)
{
	if (child_watch(child, base, spawned, spec, error) < 0)
		return -1;
	if (spec->on_spawned != NULL && spec->on_spawned(spec->context, &child->identity, error) != 0)
		return -1;
	return child_spawn_execute(spawned, spec, error);
}

struct child *
child_start(struct event_base *base, const struct child_spec *spec, struct error *error)
{
	struct child_spawned spawned;
	if (child_spawn(spec, &spawned, error) < 0)
		return NULL;
	struct child *child = xcalloc(1, sizeof(*child));
	*child = (struct child){
	    .name = xstrdup(spec->name),
	    .pidfd = -1,
	    .standard_output.descriptor = -1,
	    .standard_error.descriptor = -1,
	    .line_limit = spec->line_limit == 0 ? DEFAULT_LINE_LIMIT : spec->line_limit,
	    .stop_signal = spec->stop_signal == 0 ? SIGTERM : spec->stop_signal,
	    .stop_grace = spec->stop_grace == 0 ? DEFAULT_STOP_GRACE : spec->stop_grace,
	    .started = clock_monotonic(clock_system()),
	    .on_exit = spec->on_exit,
	    .context = spec->context,
	};
	if (child_launch(child, base, &spawned, spec, error) < 0) {
		child_free(child);
		child_spawn_undo(&spawned);
		return NULL;
	}
	child->standard_output.descriptor = spawned.standard_output;
	child->standard_error.descriptor = spawned.standard_error;
	free(spawned.program);
	log_debug("%s (pid %ld) began", child->name, (long)child->identity.pid);
	return child;
}

char *
child_exit_words(const struct child_exit *exit)
{
	if (!exit->signalled)
		return xasprintf("exited with %d", exit->number);
	const char *name = sigabbrev_np(exit->number);
	if (name == NULL)
		return xasprintf("was killed by signal %d", exit->number);
	return xasprintf("was killed by SIG%s (%d)", name, exit->number);
}
