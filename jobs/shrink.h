/* A backup that is much smaller than the last good one of its service is an alarm, however well it went: data that
 * has collapsed looks the same. */
#ifndef ATELIER_JOBS_SHRINK_H
#define ATELIER_JOBS_SHRINK_H

#include <stdint.h>

#include "core/error.h"

struct backup_size {
	uint64_t files, bytes;
};

/* ERROR_DATA_SHRUNK if more than `max_shrink` per cent of the files or of the bytes are gone, with both numbers and
 * what to do; 100 allows everything. What was small before (fewer than 20 files, or less than 1 MiB, each for itself)
 * may go. Returns 0 or -1. */
int shrink_judge(
    const struct backup_size *before, const struct backup_size *now, int64_t max_shrink, struct error *error);

#endif
