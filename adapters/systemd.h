/* systemd over sd-bus on the loop: what is active, stopping it with everything that would wake it again, and starting
 * exactly what was active. No call blocks the loop.
 *
 * Root talks to the manager's private socket and falls back to the system bus. A lost connection (bus died,
 * daemon-reexec) is made again by itself; calls in flight then re-read the states of their units and go on. Each
 * function returns a call whose callback comes exactly once from the loop (never from inside the function), unless
 * systemd_call_abandon is called; the call frees itself after it. */
#ifndef ATELIER_ADAPTERS_SYSTEMD_H
#define ATELIER_ADAPTERS_SYSTEMD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* Is systemd the service manager of this machine (sd_booted(3))? */
bool systemd_is_running(void);

struct systemd;
struct systemd_call;

struct systemd *systemd_open(struct event_base *base, struct error *error);
void systemd_close(struct systemd *systemd); /* accepts NULL; abandons all calls */

/* Which part a unit plays when a service is stopped. */
#define UNIT_ROLE_LIST(X)                                                                                            \
	X(TRIGGER, "trigger")     /* would wake a main unit: socket, timer, path; stopped first */                   \
	X(MAIN, "main")           /* named in the manifest */                                                        \
	X(DEPENDANT, "dependant") /* systemd stops it along with a main unit and does not bring it back */

enum unit_role {
#define X(name, word) UNIT_ROLE_##name,
	UNIT_ROLE_LIST(X)
#undef X
};

/* A unit as found before the stop. */
struct unit {
	char *name; /* its real Id (aliases resolved) */
	enum unit_role role;
	bool active;          /* active, activating or reloading: has to run again afterwards */
	bool settles;         /* false: was crash-looping (auto-restart): start it, do not wait for health */
	char *invocation_id;  /* hex, "" if none: changes with each start */
	int64_t stop_timeout; /* TimeoutStopUSec, INT64_MAX: none */
	char *refusal;        /* why this unit must not be stopped because it could not come back, or NULL */
	char *remedy;         /* what to do about the refusal */
	bool missing;         /* there is no such unit */
};

struct unit_list {
	struct unit *items;
	size_t count;
};

void unit_list_clear(struct unit_list *list);
void unit_list_add(struct unit_list *list, const struct unit *unit); /* copies */
const struct unit *unit_list_find(const struct unit_list *list, const char *name);

#define cleanup_units __attribute__((cleanup(unit_list_clear)))

/* Finds everything that a stop of `names` concerns: the units themselves, the closure over RequiredBy, RequisiteOf,
 * BoundBy, ConsistsOf, PropagatesStopTo, and the TriggeredBy of all of these. Inactive units are listed too. What
 * cannot be stopped and brought back carries a refusal: not loaded, masked, transient, deleted unit file,
 * RefuseManual*, frozen, a template, a unit our own unit depends on, a unit that an active one outside the list
 * upholds (it would be started again at once). Changes nothing. The list is valid during the callback; on an error it
 * is empty. */
typedef void systemd_inspect_fn(void *context, const struct unit_list *units, const struct error *error);
struct systemd_call *
systemd_inspect(struct systemd *systemd, char *const *names, systemd_inspect_fn *done, void *context);

/* Stops those of `units` that are marked active: triggers first, then the rest, and waits for every job of the
 * transactions and for empty control groups. Units already inactive are fine. `units` is copied.
 *   extra:   active units that systemd stopped in the same transactions but that were not in `units`. They are
 * stopped by now: the caller must record them before anything else. unclean: words about units that did not end by
 * themselves (killed after their timeout, processes left), or NULL. On error (ERROR_UNIT_STOP_FAILED, ERROR_BUS_LOST;
 * ERROR_UNIT_RETURNED: one that is not marked active, so that nobody would bring it back, was started by somebody)
 * some may be stopped. No deadline of its own: the caller calls systemd_call_abandon, after it has recorded what
 * systemd_stop_extra tells. */
struct unit_stop_result {
	struct error error;
	struct unit_list extra;
	char *unclean;
};
typedef void systemd_stop_fn(void *context, const struct unit_stop_result *result);
struct systemd_call *
systemd_stop(struct systemd *systemd, const struct unit_list *units, systemd_stop_fn *done, void *context);

/* The `extra` of a stop that is still under way. Valid until its callback or systemd_call_abandon. */
const struct unit_list *systemd_stop_extra(const struct systemd_call *call);

/* Starts those of `units` that are marked active: sockets first, then services, then timers and paths, and for each
 * waits until it really runs: its job is done, ActiveState is active (a oneshot: Result is success), and both stay so
 * for `settle` microseconds without a new InvocationID; a few restarts by Restart= only begin that time anew, and a
 * oneshot that is still at work after it counts as well. A unit that is active already counts as started.
 * start-limit-hit is reset once. No deadline of its own. `error` is NULL when all run; ERROR_UNIT_START_FAILED names
 * the units that do not and what systemctl would say; the others run nevertheless. `started` is told of each unit as
 * soon as its start is done (before it settled), so that it can be crossed off; may be NULL. */
typedef void systemd_started_fn(void *context, const char *name);
typedef void systemd_start_fn(void *context, const struct error *error);
struct systemd_call *systemd_start(struct systemd *systemd, const struct unit_list *units, int64_t settle,
    systemd_started_fn *started, systemd_start_fn *done, void *context);

/* Watches units that have been stopped: `returned` is called once for each that is activating or active again, until
 * systemd_watch_free. A unit that is active when the watch begins counts. */
struct systemd_watch;
typedef void systemd_returned_fn(void *context, const char *name);
struct systemd_watch *
systemd_watch(struct systemd *systemd, const struct unit_list *units, systemd_returned_fn *returned, void *context);
void systemd_watch_free(struct systemd_watch *watch); /* accepts NULL */

/* Forgets a call: no callback comes. Jobs that systemd has begun go on. */
void systemd_call_abandon(struct systemd_call *call);

#endif
