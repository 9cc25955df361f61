/* Jobs that concern the whole repository and no service: retention and prune. Their specs are services with a name
 * that no service can have. */
#ifndef ATELIER_JOBS_MAINTENANCE_H
#define ATELIER_JOBS_MAINTENANCE_H

#include "jobs/job.h"
#include "jobs/journal.h"
#include "jobs/manifest.h"

/* "(retention)", "(prune)", which their jobs have as `service`; NULL for a backup. */
const char *maintenance_name(enum job_kind kind);

/* The spec of such a job: the repository's settings and limits of the manifest. The caller owns it. */
void maintenance_spec(const struct manifest *manifest, enum job_kind kind, struct service *ret_spec);

/* A run's submissions: a backup of each service, then what follows it: a retention, and a prune when the last good
 * one is as old as the manifest allows. `due_at` of all of them is 0. `specs` holds the maintenance specs the
 * submissions point to. Both are released by maintenance_run_clear; `services` must outlive them. */
struct maintenance_run {
	struct submission *jobs; /* service_count backups first, in the order of `services` */
	size_t count;
	size_t service_count;
	struct service specs[2];
};
int maintenance_run_make(const struct manifest *manifest, enum run_kind kind, const struct service *const *services,
    size_t count, struct journal *journal, int64_t now, struct maintenance_run *ret_run, struct error *error);
void maintenance_run_clear(struct maintenance_run *run);

#define cleanup_maintenance __attribute__((cleanup(maintenance_run_clear)))

#endif
