/* Where no service manager brings a killed runner back, a guardian does: a process of few lines that waits for the
 * runner, starts it again when it ended by a signal, and pays what is owed when it ended with an error. Recovery is
 * the first thing a runner does. The runner watches its guardian in turn. Each has a session of its own, and so has
 * the command: what kills a process group or a session hits one of them, and the other brings it back. */
#ifndef ATELIER_CLI_GUARDIAN_H
#define ATELIER_CLI_GUARDIAN_H

#include <event2/event.h>

#include "cli/command.h"

/* Starts the first one, as an orphan. `ready` is a descriptor that the runner will write its line to. Output of both
 * goes to STATE_DIR/runner.log. */
int guardian_start(const struct invocation *invocation, int ready, struct error *error);

/* ---- the runner's side ---- */

struct guard;

/* Watches the guardian `--guardian` names, on the loop, and starts another one when it ends. NULL: there is none to
 * watch. */
struct guard *guard_new(const struct invocation *invocation, struct event_base *base);

/* The runner ends in good order: nobody has to bring it back. Accepts NULL. */
void guard_free(struct guard *guard);

/* How long to wait before the process that has ended so many times is started again, microseconds. */
int64_t guardian_pause(unsigned crashes);

#endif
