/* Which snapshots of a service go: decided here, in memory, from one listing of the whole repository, and exactly as
 * `restic forget --tag service:NAME --host HOST --group-by '' --keep-...` of 0.16 and later would decide (0.14
 * removes one snapshot more: see REASON_OLDEST). Pure: no clock, no repository, no journal.
 *
 * What no plan does (I9): remove the last good snapshot, remove every snapshot, or remove anything on behalf of a
 * service whose newest backup is not good. */
#ifndef ATELIER_JOBS_RETENTION_H
#define ATELIER_JOBS_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct job_record;
struct restic_snapshot;

/* The most that the manifest lets a policy keep of a kind. */
#define RETENTION_MOST 10000

/* How many of each kind are kept; 0: the kind keeps nothing by itself. */
struct retention_policy {
	int64_t last;   /* the newest ones */
	int64_t daily;  /* the newest one of each of so many days that have one */
	int64_t weekly; /* ISO weeks, Monday to Sunday */
	int64_t monthly;
	int64_t yearly;
};

#define RETENTION_DEFAULT ((struct retention_policy){.last = 3, .daily = 7, .weekly = 5, .monthly = 12, .yearly = 0})

bool retention_policy_keeps_something(const struct retention_policy *policy);

/* X(kind, in the policy, word): why a snapshot is kept, as restic words it. */
#define RETENTION_KIND_LIST(X)                                                                                       \
	X(LAST, last, "last snapshot")                                                                               \
	X(DAILY, daily, "daily snapshot")                                                                            \
	X(WEEKLY, weekly, "weekly snapshot")                                                                         \
	X(MONTHLY, monthly, "monthly snapshot")                                                                      \
	X(YEARLY, yearly, "yearly snapshot")

enum retention_kind {
#define X(kind, member, word) RETENTION_##kind,
	RETENTION_KIND_LIST(X)
#undef X
};
#define RETENTION_KIND_COUNT ((size_t)RETENTION_YEARLY + 1)

/* A set of reasons. The oldest snapshot of all is also kept by a kind that has kept fewer than it may ("oldest daily
 * snapshot"), so that the history does not lose its beginning while it is short. */
#define REASON_KIND(kind)   (1u << (kind))
#define REASON_OLDEST(kind) (1u << (8 + (kind)))
#define REASON_LAST_GOOD    (1u << 16) /* "last good backup": ours, restic does not know it */

/* "last snapshot", "oldest weekly snapshot", "last good backup", ...; in this order. The caller owns the list; NULL
 * for none: the snapshot goes. */
char **retention_reason_words(unsigned reasons);

/* A snapshot as the policy sees it. */
struct retention_snapshot {
	const char *id;      /* 64 hex digits, borrowed */
	int64_t time;        /* microseconds since the epoch */
	int32_t zone_offset; /* seconds east of UTC where it was made: its calendar */
};

struct retention_verdict {
	struct retention_snapshot snapshot;
	unsigned reasons; /* 0: it goes */
};

struct retention_plan {
	struct retention_verdict *verdicts; /* newest first, of the same time by id */
	size_t count;
	size_t removed; /* how many go; less than count wherever count > 0 */
};

/* The plan for the snapshots of one service and host, in any order; their ids are borrowed by the plan. `last_good`
 * is the id of the last good snapshot, or its first 8 digits or more (what restic 0.14 told), or NULL: none is known.
 *
 * Returns 0, or -1 and leaves the plan alone: ERROR_MANIFEST for a policy that keeps nothing or has a negative
 * number; ERROR_SNAPSHOT_MISMATCH where `last_good` is not among the snapshots (somebody removed it, or the host has
 * another name now: then nobody knows what the others are worth). */
int retention_plan_make(const struct retention_policy *policy, const struct retention_snapshot *snapshots,
    size_t count, const char *last_good, struct retention_plan *ret_plan, struct error *error);

void retention_plan_clear(struct retention_plan *plan);

/* Those of a listing that `service` made on `host`: tag service:NAME, and the host name. Returns how many; the caller
 * frees the array (NULL for none), the ids stay the listing's. */
size_t retention_service_snapshots(const struct restic_snapshot *listing, size_t count, const char *service,
    const char *host, struct retention_snapshot **ret_snapshots);

/* Why nothing may be removed of a service, or NULL: it may. `newest` is the newest backup job of the service that was
 * not cancelled, or NULL: the journal knows none. */
const char *retention_obstacle(const struct job_record *newest);

#define cleanup_plan __attribute__((cleanup(retention_plan_clear)))

#endif
