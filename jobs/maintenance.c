#include "jobs/maintenance.h"

#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"

/* No service has a name with parentheses (docs/manifest.md). */
static const char *const names[JOB_KIND_COUNT] = {
    [JOB_KIND_RETENTION] = "(retention)",
    [JOB_KIND_PRUNE] = "(prune)",
};

#define PREFLIGHT  (5 * USEC_PER_MIN)
#define FORGETTING USEC_PER_HOUR

/* A night's prune may begin that much earlier than the last one did: nights do not end at the same time. */
#define EARLY_AT_MOST (12 * USEC_PER_HOUR)

const char *
maintenance_name(enum job_kind kind)
{
	return names[kind];
}

void
maintenance_spec(const struct manifest *manifest, enum job_kind kind, struct service *ret_spec)
{
	bool prune = kind == JOB_KIND_PRUNE;
	char name[32], type[] = "maintenance";
	snprintf(name, sizeof(name), "%s", names[kind]);
	struct service spec = {
	    .name = name,
	    .type = type,
	    .restic = manifest->restic,
	    .deadlines =
		{
		    .preflight = PREFLIGHT,
		    .hook = PREFLIGHT,
		    .stop = PREFLIGHT,
		    .snapshot = prune ? manifest->prune.max_duration : FORGETTING,
		    .start = PREFLIGHT,
		},
	    .attempts = manifest->retry.attempts,
	    .retry_delay = manifest->retry.delay,
	    .overdue_after = manifest->prune.every,
	    .retention = RETENTION_DEFAULT,
	    .max_repack_bytes = prune ? manifest->prune.max_repack_bytes : 0,
	};
	service_copy(ret_spec, &spec);
}

static int
prune_is_due(
    const struct manifest *manifest, struct journal *journal, int64_t now, bool *ret_due, struct error *error)
{
	*ret_due = false;
	if (manifest->prune.every == 0)
		return 0;
	struct last_good last = {0};
	int found = journal == NULL ? 0 : journal_last_good(journal, names[JOB_KIND_PRUNE], &last, error);
	if (found < 0)
		return -1;
	int64_t early = manifest->prune.every / 2 < EARLY_AT_MOST ? manifest->prune.every / 2 : EARLY_AT_MOST;
	*ret_due = found == 0 || now - last.at >= manifest->prune.every - early || last.at > now;
	last_good_clear(&last);
	return 0;
}

static void
add(struct maintenance_run *run, const struct manifest *manifest, enum job_kind kind)
{
	struct service *spec = &run->specs[run->count - run->service_count];
	maintenance_spec(manifest, kind, spec);
	run->jobs[run->count++] = (struct submission){.kind = kind, .service = spec};
}

int
maintenance_run_make(const struct manifest *manifest, enum run_kind kind, const struct service *const *services,
    size_t count, struct journal *journal, int64_t now, struct maintenance_run *ret_run, struct error *error)
{
	bool prune = false;
	if (kind == RUN_NIGHTLY && prune_is_due(manifest, journal, now, &prune, error) < 0)
		return -1;
	struct maintenance_run *run = ret_run;
	*run = (struct maintenance_run){.service_count = count, .count = count};
	run->jobs = xcalloc(count + ARRAY_LENGTH(run->specs), sizeof(*run->jobs));
	for (size_t i = 0; i < count; i++)
		run->jobs[i] = (struct submission){.kind = JOB_KIND_BACKUP, .service = services[i]};
	if (count > 0)
		add(run, manifest, JOB_KIND_RETENTION);
	if (prune)
		add(run, manifest, JOB_KIND_PRUNE);
	return 0;
}

void
maintenance_run_clear(struct maintenance_run *run)
{
	free(run->jobs);
	for (size_t i = 0; i < ARRAY_LENGTH(run->specs); i++)
		service_clear(&run->specs[i]);
	*run = (struct maintenance_run){.count = 0};
}
