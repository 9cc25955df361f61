/* The runner's side of its guardian. */
#include "cli/guardian.h"

#include "cli/own_process.h"
#include "core/alloc.h"
#include "core/child.h"
#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct guard {
	const struct invocation *invocation;
	struct event_base *base;
	struct event *ended; /* the guardian's pidfd */
	struct event *pause;
	int descriptor;
	pid_t child; /* the guardian, if we started it: ours to reap; else 0 */
	unsigned deaths;
};

static void start_another(struct guard *guard);

/* One that lives, too: without a descriptor for it nobody would see its end. */
static void
end_child(struct guard *guard)
{
	if (guard->child > 0) {
		kill(guard->child, SIGKILL);
		while (waitpid(guard->child, NULL, 0) < 0 && errno == EINTR)
			;
	}
	guard->child = 0;
}

static void
on_end(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor, (void)what;
	struct guard *guard = context;
	end_child(guard);
	log_warning("the guardian of this runner has gone; another one is started");
	int64_t pause = guardian_pause(++guard->deaths);
	struct timeval span = {.tv_sec = pause / USEC_PER_SEC, .tv_usec = pause % USEC_PER_SEC};
	evtimer_add(guard->pause, &span);
}

static void
on_pause(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor, (void)what;
	start_another(context);
}

static void
forget(struct guard *guard)
{
	if (guard->ended != NULL)
		event_free(guard->ended);
	guard->ended = NULL;
	cleanup_close_function(&guard->descriptor);
	guard->descriptor = -1;
}

static void
watch(struct guard *guard, pid_t pid)
{
	forget(guard);
	guard->descriptor = own_process_descriptor(pid);
	/* Gone already: as if it had been seen to go. */
	if (guard->descriptor < 0) {
		on_end(-1, 0, guard);
		return;
	}
	guard->ended = event_new(guard->base, guard->descriptor, EV_READ, on_end, guard);
	event_add(guard->ended, NULL);
}

static void
start_another(struct guard *guard)
{
	struct child_identity self;
	if (child_identity_read(getpid(), &self) < 0)
		return;
	cleanup_strings char **arguments = own_process_arguments(guard->invocation, "guardian");
	cleanup_free char *adopt = xasprintf("--adopt=%d", (int)self.pid);
	cleanup_free char *ticks = xasprintf("--start-ticks=%llu", (unsigned long long)self.start_ticks);
	strings_add(&arguments, adopt);
	strings_add(&arguments, ticks);
	cleanup_error struct error error = {0};
	const struct own_process process = {.arguments = arguments, .output = -1, .kept = -1};
	pid_t child = own_process_start(&process, &error);
	if (child < 0) {
		log_error("%s", error.message);
		struct timeval second = {.tv_sec = 1};
		evtimer_add(guard->pause, &second);
		return;
	}
	guard->child = child;
	watch(guard, child);
}

struct guard *
guard_new(const struct invocation *invocation, struct event_base *base)
{
	if (invocation->guardian == 0)
		return NULL;
	struct guard *guard = xcalloc(1, sizeof(*guard));
	guard->invocation = invocation;
	guard->base = base;
	guard->descriptor = -1;
	guard->pause = evtimer_new(base, on_pause, guard);
	pid_t pid = (pid_t)invocation->guardian;
	watch(guard, pid);
	/* It was our parent: if it is not any more, the pid may be somebody else's by now. */
	if (guard->descriptor >= 0 && getppid() != pid) {
		forget(guard);
		on_end(-1, 0, guard);
	}
	return guard;
}

void
guard_free(struct guard *guard)
{
	if (guard == NULL)
		return;
	end_child(guard);
	forget(guard);
	event_free(guard->pause);
	free(guard);
}
