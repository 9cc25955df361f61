/* What the files of the systemd adapter share; see systemd.h for what it does.
 *
 * One idea carries all of it: the state of a unit is read, never derived. A signal, the answer to a request,
 * a new connection, a reload only say "look again"; what is to be done follows from the reading alone. So a
 * lost signal, a lost answer or a lost connection costs a second look and nothing else.
 *
 *   systemd_bus.c   the connection: the descriptor on the loop, signals, reconnecting
 *   systemd_call.c  a call and the units it follows: at most one request per unit is in flight, every step is
 * taken on the loop and never inside sd_bus_process, so that a callback may free whatever it likes
 *   systemd_unit.c  readings, and what they mean */
#ifndef ATELIER_ADAPTERS_SYSTEMD_INTERNAL_H
#define ATELIER_ADAPTERS_SYSTEMD_INTERNAL_H

#include "adapters/systemd.h"

#include <systemd/sd-bus.h>

#define SYSTEMD_NAME            "org.freedesktop.systemd1"
#define SYSTEMD_PATH            "/org/freedesktop/systemd1"
#define SYSTEMD_UNIT_PATH       SYSTEMD_PATH "/unit"
#define SYSTEMD_INTERFACE(name) SYSTEMD_NAME "." name
#define DBUS_PROPERTIES         "org.freedesktop.DBus.Properties"

/* ActiveState. UNKNOWN: not read, or a word of a later systemd: then neither up nor down, so it is waited
 * for. */
#define UNIT_ACTIVITY_LIST(X)                                                                                        \
	X(UNKNOWN, "")                                                                                               \
	X(INACTIVE, "inactive")                                                                                      \
	X(FAILED, "failed")                                                                                          \
	X(ACTIVE, "active")                                                                                          \
	X(RELOADING, "reloading")                                                                                    \
	X(REFRESHING, "refreshing")                                                                                  \
	X(ACTIVATING, "activating")                                                                                  \
	X(DEACTIVATING, "deactivating")                                                                              \
	X(MAINTENANCE, "maintenance")

enum unit_activity {
#define X(name, word) UNIT_ACTIVITY_##name,
	UNIT_ACTIVITY_LIST(X)
#undef X
};

/* Properties of a unit. What a message did not carry is NULL, 0 or false. */
struct unit_reading {
	char *id;
	enum unit_activity activity;
	char *sub_state;
	char *load_state;
	char *unit_file_state;
	char *freezer_state;
	char *invocation_id; /* hex, "" if none */
	char *type;          /* of a service: "simple", "oneshot", ... */
	char *result;        /* "success", "exit-code", "timeout", "start-limit-hit", ... */
	int32_t main_status; /* exit code or signal of the main process */
	uint32_t job;        /* 0: none */
	char *job_path;
	bool transient;
	bool can_start;
	bool can_stop;
	bool remains;       /* RemainAfterExit */
	bool condition_met; /* at the last start */
	uint64_t condition_time;
	uint64_t stop_timeout;
	char **falls; /* units that stop along with it */
	char **triggers;
	char **triggered_by;
	char **upheld_by;
};

void unit_reading_clear(struct unit_reading *reading);

/* Reads the a{sv} at the message's position. Properties of another type than expected are passed over. */
int unit_reading_parse(sd_bus_message *message, struct unit_reading *ret_reading);

#define cleanup_reading __attribute__((cleanup(unit_reading_clear)))

bool unit_reading_is_up(const struct unit_reading *reading);   /* active, activating or reloading */
bool unit_reading_is_down(const struct unit_reading *reading); /* inactive or failed */

/* Is it waiting for its next try after a crash? */
bool unit_reading_is_crash_looping(const struct unit_reading *reading);

void unit_clear(struct unit *unit);
void unit_copy(struct unit *target, const struct unit *source);

/* Says in `unit` why it must not be stopped, as far as its own reading tells. unit->active and unit->role are
 * set. */
void unit_judge(struct unit *unit, const struct unit_reading *reading);
void
unit_refuse(struct unit *unit, const char *remedy, const char *format, ...) __attribute__((format(printf, 3, 4)));

bool unit_name_is_template(const char *name);

/* Sockets, timers, paths and automounts: what wakes other units. */
bool unit_name_wakes(const char *name);

struct systemd_call;
struct followed;

/* The answer to a request about a unit, either a reply or a refusal by the manager. Called inside
 * sd_bus_process: it notes what came and does nothing else. */
typedef void followed_answer_fn(struct followed *followed, sd_bus_message *reply, const sd_bus_error *refusal);

/* A unit that a call follows. The kinds of calls put it first into a larger struct of their own. */
struct followed {
	struct systemd_call *call;
	char *name;                  /* the real Id once it was read */
	sd_bus_slot *request;        /* in flight, or NULL */
	followed_answer_fn *answer;  /* of that request */
	bool stale;                  /* look again before the next step */
	int64_t look_at;             /* monotonic time of the next look without any signal */
	struct unit_reading reading; /* the last one */
	char *refused;               /* what the manager said when it refused a reading, or NULL */
	bool finished;               /* nothing more to do: no looks, no steps */
};

enum turn {
	TURN_WAIT,  /* for an answer, a signal or the time of the next look */
	TURN_AGAIN, /* another round of steps now */
	TURN_OVER,  /* the call has ended and may be freed already */
};

struct systemd_call_kind {
	/* Goes on with one unit that has an up-to-date reading and no request in flight. */
	void (*step)(struct followed *followed);
	/* After a round of steps: ends the call, or says how it goes on. The only place for callbacks to the
	 * caller. */
	enum turn (*advance)(struct systemd_call *call);
	/* The connection is lost and did not come back in time: ends the call. NULL: wait for ever. */
	void (*lost)(struct systemd_call *call, const struct error *error);
	/* Both may be NULL. A signal's own words about a unit: what a reading may come too late for. */
	void (*changed)(struct followed *followed, const struct unit_reading *partial);
	void (*job_removed)(struct followed *followed, const char *result);
	/* Releases what the kind's larger struct of a unit owns; may be NULL. */
	void (*release_unit)(struct followed *followed);
	/* Releases what the kind's larger struct of the call owns; may be NULL. */
	void (*release)(struct systemd_call *call);
};

/* The kinds of calls put it first into a larger struct of their own. */
struct systemd_call {
	struct systemd_call *next;
	struct systemd *systemd;
	const struct systemd_call_kind *kind;
	struct event *turn;
	struct followed **units;
	size_t count;
	bool given_up; /* the connection did not come back in time */
	bool ended;    /* its last callback runs */
};

/* `size` is that of the kind's larger struct. The first turn comes from the loop. */
void *systemd_call_new(struct systemd *systemd, const struct systemd_call_kind *kind, size_t size);

/* Takes the call off the loop before its last callback; systemd_call_free after it. */
void systemd_call_end(struct systemd_call *call);
void systemd_call_free(struct systemd_call *call);

/* Soon, from the loop. */
void systemd_call_poke(struct systemd_call *call);

/* The four things that happen to all calls at once, noted here and acted upon in their next turns. */
void systemd_call_disconnected(struct systemd_call *call); /* requests in flight are forgotten; a look follows */
void systemd_call_look_again(struct systemd_call *call);
void systemd_call_unit_changed(struct systemd_call *call, const char *name, const struct unit_reading *partial);
void systemd_call_job_removed(struct systemd_call *call, const char *name, const char *result);

void *followed_add(struct systemd_call *call, const char *name, size_t size);
struct followed *followed_find(const struct systemd_call *call, const char *name);

/* The next look without any signal comes at most so many microseconds from now. */
void followed_look_after(struct followed *followed, int64_t delay);

/* Calls a method of the manager about this unit. */
void followed_ask(struct followed *followed, const char *member, followed_answer_fn *answer, const char *types, ...);

/* Asks for a job of this unit: "start" or "stop". The answer is that of EnqueueUnitJob. */
void followed_enqueue(struct followed *followed, const char *job, followed_answer_fn *answer);

/* Reads one property of another object, of the unit's job say. */
void followed_ask_property(struct followed *followed, const char *path, const char *interface, const char *property,
    followed_answer_fn *answer);

/* The connection, as calls see it. */
sd_bus *systemd_connection(struct systemd *systemd); /* NULL while there is none */
struct event_base *systemd_event_base(struct systemd *systemd);
void systemd_add_call(struct systemd *systemd, struct systemd_call *call);
void systemd_remove_call(struct systemd *systemd, struct systemd_call *call);
void systemd_sent(struct systemd *systemd, int result); /* after each request, with what sd-bus returned */
void systemd_answered(struct systemd *systemd);         /* an answer has come: the connection works */
void systemd_distrust(struct systemd *systemd);         /* it does not: replace it */

/* How long calls wait for a lost connection before they end with ERROR_BUS_LOST. Tests have less of it. */
void systemd_set_patience(struct systemd *systemd, int64_t time);

#endif
