/* A backup that is much smaller than the last good one of its service is an alarm, however well it went: data that
 * has collapsed looks the same. So is one of its databases: what is beside it can hide its collapse. */
#ifndef ATELIER_JOBS_SHRINK_H
#define ATELIER_JOBS_SHRINK_H

#include <stdint.h>

#include "core/error.h"
#include "jobs/datum.h"

struct backup_size {
	uint64_t files, bytes;
};

/* ERROR_DATA_SHRUNK if more than `max_shrink` per cent of the files or of the bytes are gone, with both numbers and
 * what to do; 100 allows everything. What was small before (fewer than 20 files, or less than 1 MiB, each for itself)
 * may go. Returns 0 or -1. */
int shrink_judge(
    const struct backup_size *before, const struct backup_size *now, int64_t max_shrink, struct error *error);

/* The same of one datum, by the bytes it uses and by its tables; the error names it. What used less than 64 KiB may
 * go: pages and an archive's table of contents make most of that. Tables do not come and go, so each counts. Returns
 * 0 or -1. */
int shrink_judge_datum(const struct datum *before, const struct datum *now, int64_t max_shrink, struct error *error);

#endif
