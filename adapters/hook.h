/* preBackup and postBackup: commands of the service's owner, run by /bin/sh -c with a small documented environment
 * (ATELIER_SERVICE, ATELIER_JOB, ATELIER_HOOK), in their own process group, output captured line by line. */
#ifndef ATELIER_ADAPTERS_HOOK_H
#define ATELIER_ADAPTERS_HOOK_H

#include <event2/event.h>
#include <stdint.h>

#include "core/child.h"
#include "core/error.h"

struct hook_call;

struct hook_request {
	const char *kind;    /* "preBackup" or "postBackup" */
	const char *command; /* shell text, run with `set -e` semantics as the earlier tool did: /bin/sh -e -c */
	const char *service;
	int64_t job;
	child_spawned_fn *on_spawned; /* may be NULL */
	void (*on_words)(
	    void *context, const char *line); /* each line of stdout and stderr, printable; may be NULL */
	void *context;
};

/* ERROR_HOOK_FAILED with the exit words and the last line of output when it does not exit 0; ERROR_CANCELLED when it
 * was stopped by hook_call_stop. */
typedef void hook_fn(void *context, const struct error *error);
struct hook_call *
hook_start(struct event_base *base, const struct hook_request *request, hook_fn *done, struct error *error);

void hook_call_stop(struct hook_call *call);    /* SIGTERM, SIGKILL after 10 s; the callback comes */
void hook_call_abandon(struct hook_call *call); /* SIGKILL, no callback; accepts NULL */

#endif
