#include "jobs/retention.h"

#include "adapters/restic.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"
#include "jobs/job.h"

#include <assert.h>
#include <string.h>
#include <time.h>

/* What restic shows of an id, and the least that tells one snapshot from another. */
#define SHORT_ID 8

#define SECONDS_PER_DAY (24 * 60 * 60)

/* ---- the policy ---- */

/* What two snapshots have in common when a kind keeps only the newer one. */
typedef int64_t bucket_fn(const struct retention_snapshot *snapshot, size_t position);

#define X(kind, member, words) static bucket_fn bucket_##member;
RETENTION_KIND_LIST(X)
#undef X

static const struct kind {
	size_t offset; /* in struct retention_policy */
	bucket_fn *bucket;
	const char *words;
} kinds[] = {
#define X(kind, member, words) {offsetof(struct retention_policy, member), bucket_##member, words},
    RETENTION_KIND_LIST(X)
#undef X
};

static int64_t
quota_of(const struct retention_policy *policy, size_t kind)
{
	return *(const int64_t *)(const void *)((const char *)policy + kinds[kind].offset);
}

bool
retention_policy_keeps_something(const struct retention_policy *policy)
{
	bool something = false;
	for (size_t kind = 0; kind < RETENTION_KIND_COUNT; kind++) {
		if (quota_of(policy, kind) < 0)
			return false;
		something = something || quota_of(policy, kind) > 0;
	}
	return something;
}

char **
retention_reason_words(unsigned reasons)
{
	char **words = NULL;
	for (size_t kind = 0; kind < RETENTION_KIND_COUNT; kind++) {
		cleanup_free char *oldest = xasprintf("oldest %s", kinds[kind].words);
		if ((reasons & REASON_KIND(kind)) != 0)
			strings_add(&words, kinds[kind].words);
		if ((reasons & REASON_OLDEST(kind)) != 0)
			strings_add(&words, oldest);
	}
	if ((reasons & REASON_LAST_GOOD) != 0)
		strings_add(&words, "last good backup");
	return words;
}

/* ---- the calendar of the place where a snapshot was made ---- */

static int64_t
floor_division(int64_t number, int64_t divisor)
{
	return number / divisor - (number % divisor < 0);
}

static int64_t
local_seconds(const struct retention_snapshot *snapshot)
{
	return floor_division(snapshot->time, USEC_PER_SEC) + snapshot->zone_offset;
}

static struct tm
local_date(const struct retention_snapshot *snapshot)
{
	time_t seconds = (time_t)local_seconds(snapshot);
	struct tm date;
	gmtime_r(&seconds, &date); /* no int64_t of microseconds leaves the years that it knows */
	return date;
}

static int64_t
bucket_last(const struct retention_snapshot *snapshot, size_t position)
{
	(void)snapshot;
	return (int64_t)position;
}

static int64_t
bucket_daily(const struct retention_snapshot *snapshot, size_t position)
{
	(void)position;
	return floor_division(local_seconds(snapshot), SECONDS_PER_DAY);
}

/* The epoch was a Thursday. */
static int64_t
bucket_weekly(const struct retention_snapshot *snapshot, size_t position)
{
	return floor_division(bucket_daily(snapshot, position) + 3, 7);
}

static int64_t
bucket_monthly(const struct retention_snapshot *snapshot, size_t position)
{
	(void)position;
	struct tm date = local_date(snapshot);
	return (int64_t)date.tm_year * 12 + date.tm_mon;
}

static int64_t
bucket_yearly(const struct retention_snapshot *snapshot, size_t position)
{
	(void)position;
	return local_date(snapshot).tm_year;
}

/* ---- the plan ---- */

static int
compare_verdicts(const void *left, const void *right)
{
	const struct retention_snapshot *a = &((const struct retention_verdict *)left)->snapshot;
	const struct retention_snapshot *b = &((const struct retention_verdict *)right)->snapshot;
	if (a->time != b->time)
		return a->time > b->time ? -1 : 1;
	return strcmp(a->id, b->id);
}

/* Like restic, a snapshot is compared with the last one kept and not with all of them: where the zone changes back
 * and forth, the same day comes twice and is kept twice. */
static void
keep_kind(struct retention_plan *plan, size_t kind, int64_t quota)
{
	int64_t last = 0;
	bool any = false;
	for (size_t i = 0; i < plan->count && quota > 0; i++) {
		struct retention_verdict *verdict = &plan->verdicts[i];
		int64_t bucket = kinds[kind].bucket(&verdict->snapshot, i);
		bool is_new = !any || bucket != last;
		if (!is_new && i + 1 < plan->count)
			continue;
		verdict->reasons |= is_new ? REASON_KIND(kind) : REASON_OLDEST(kind);
		any = true;
		last = bucket;
		quota--;
	}
}

/* Returns false if it is not there. */
static bool
keep_last_good(struct retention_plan *plan, const char *last_good)
{
	bool found = false;
	for (size_t i = 0; i < plan->count; i++)
		if (text_starts_with(plan->verdicts[i].snapshot.id, last_good)) {
			plan->verdicts[i].reasons |= REASON_LAST_GOOD;
			found = true;
		}
	return found;
}

static size_t
count_removed(const struct retention_plan *plan)
{
	size_t removed = 0;
	for (size_t i = 0; i < plan->count; i++)
		removed += plan->verdicts[i].reasons == 0;
	return removed;
}

static int
refuse_policy(struct error *error)
{
	error_set(error, ERROR_MANIFEST, "the retention keeps nothing");
	return error_hint(error, "correct \"retention\" in the manifest: one of its numbers has to be above 0");
}

static int
refuse_without_last_good(const char *last_good, struct error *error)
{
	error_set(error, ERROR_SNAPSHOT_MISMATCH,
	    "the last good backup, %.*s, is not among the snapshots of this service and host", SHORT_ID, last_good);
	return error_hint(error, "look for it with `atelier-backup list`; the next good backup takes its place");
}

int
retention_plan_make(const struct retention_policy *policy, const struct retention_snapshot *snapshots, size_t count,
    const char *last_good, struct retention_plan *ret_plan, struct error *error)
{
	if (!retention_policy_keeps_something(policy))
		return refuse_policy(error);
	cleanup_plan struct retention_plan plan = {.count = count};
	plan.verdicts = xcalloc(count + 1, sizeof(*plan.verdicts));
	for (size_t i = 0; i < count; i++)
		plan.verdicts[i].snapshot = snapshots[i];
	qsort(plan.verdicts, count, sizeof(*plan.verdicts), compare_verdicts);

	if (last_good != NULL && (strlen(last_good) < SHORT_ID || !keep_last_good(&plan, last_good)))
		return refuse_without_last_good(last_good, error);
	for (size_t kind = 0; kind < RETENTION_KIND_COUNT; kind++)
		keep_kind(&plan, kind, quota_of(policy, kind));
	plan.removed = count_removed(&plan);
	/* Each kind that keeps anything keeps the newest. */
	assert(count == 0 || plan.verdicts[0].reasons != 0);
	*ret_plan = plan;
	plan = (struct retention_plan){.verdicts = NULL};
	return 0;
}

void
retention_plan_clear(struct retention_plan *plan)
{
	free(plan->verdicts);
	*plan = (struct retention_plan){.verdicts = NULL};
}

/* ---- whose snapshots, and whether at all ---- */

size_t
retention_service_snapshots(const struct restic_snapshot *listing, size_t count, const char *service,
    const char *host, struct retention_snapshot **ret_snapshots)
{
	cleanup_free char *tag = xasprintf("service:%s", service);
	struct retention_snapshot *snapshots = NULL;
	size_t selected = 0;
	for (size_t i = 0; i < count; i++) {
		const struct restic_snapshot *snapshot = &listing[i];
		if (!strings_contain(snapshot->tags, tag) || snapshot->hostname == NULL ||
		    strcmp(snapshot->hostname, host) != 0)
			continue;
		snapshots = xreallocarray(snapshots, selected + 1, sizeof(*snapshots));
		snapshots[selected++] = (struct retention_snapshot){
		    .id = snapshot->id,
		    .time = snapshot->time,
		    .zone_offset = snapshot->zone_offset,
		};
	}
	*ret_snapshots = snapshots;
	return selected;
}

const char *
retention_obstacle(const struct job_record *newest)
{
	if (newest == NULL)
		return "no backup of it is known here";
	switch (newest->outcome) {
	case OUTCOME_COMPLETE:
		return job_state_is_terminal(newest->state) ? NULL : "its newest backup has not ended yet";
	case OUTCOME_RUNNING:
		return "its newest backup has not ended yet";
	case OUTCOME_PARTIAL:
		return "its newest backup is only partial";
	case OUTCOME_FAILED:
		return "its newest backup failed";
	case OUTCOME_CANCELLED:
		return "its newest backup was cancelled";
	}
	return "its newest backup is not understood";
}
