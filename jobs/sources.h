/* What the declared sources of a service held: a source that has become empty, as one does whose disk is not there,
 * is no good backup, however well it went. */
#ifndef ATELIER_JOBS_SOURCES_H
#define ATELIER_JOBS_SOURCES_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

/* A declared source and what was found there (filesystem_look_at_source). */
struct source_found {
	const char *path;
	bool empty;
};

/* ERROR_SOURCE_EMPTIED for the first of the sources that is empty now and held something before: it is among
 * `filled`, or one of those lies below it. `filled` NULL: not known, nothing is wrong then. Returns 0 or -1. */
int sources_judge(char *const *filled, const struct source_found *found, size_t count, struct error *error);

/* The paths of those that hold something; not NULL, also if there are none. The caller owns the list. */
char **sources_filled(const struct source_found *found, size_t count);

/* Such a list as the journal keeps it: a JSON array. NULL for NULL and for what is no text. The caller owns it. */
char *sources_pack(char *const *filled);

/* Reads it strictly: NULL for anything but an array of absolute paths, and for NULL. The caller owns the list. */
char **sources_unpack(const char *packed);

#endif
