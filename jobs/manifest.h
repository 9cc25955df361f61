/* The manifest: which services there are and how they are backed up. Version 1 is what the earlier shell tool wrote,
 * version 2 adds what this tool needs. Format: docs/manifest.md. */
#ifndef ATELIER_JOBS_MANIFEST_H
#define ATELIER_JOBS_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/problem.h"
#include "jobs/service.h"

#define MANIFEST_DEFAULT_PATH "/etc/atelier/backup-manifest.json"

/* When the repository is made smaller, and how much one go may cost. */
struct prune_settings {
	int64_t every;            /* microseconds, default 7 d; 0: never */
	int64_t max_repack_bytes; /* default 1 GiB */
	int64_t max_duration;     /* microseconds, default 2 h */
};

/* What follows a failure that may pass, also in each service. */
struct retry_settings {
	int64_t attempts; /* in all, 1..100, default 3 */
	int64_t delay;    /* before the second one, default 5 minutes; it doubles */
};

struct manifest {
	char *path;
	int version;
	struct restic_settings restic; /* the repository's settings; the services borrow them */
	bool initialize;
	int64_t parallel;  /* jobs at once, 1..64, default 2 */
	int64_t kickoff;   /* schedule.time as microseconds since local midnight, default 02:00 */
	int64_t max_delay; /* schedule.maxDelay, 0..24 h, default 2 h */
	struct retry_settings retry;
	struct prune_settings prune;
	char *status_group;       /* whose members may read status through the runner's socket; NULL: root alone */
	struct service *services; /* sorted by name */
	size_t service_count;
	struct service *own; /* the built-in one, which is not among them; NULL: switched off ("ownState") */
};

/* What the command line overrides; NULL: not given. */
struct manifest_overrides {
	const char *restic_program;
	const char *cache_directory; /* default for repository.cacheDir: STATE_DIR/cache */
	const char *state_directory; /* where the journal is that the built-in service backs up; clean */
};

/* Reads and judges a manifest. All findings are added to `problems`, each with file, place (JSON path) and remedy.
 * Returns 0 if the manifest can be used (no problem is an error then); `ret_manifest` is filled and owned by the
 * caller, else untouched. Looks at the manifest file only (content, owner, mode, and where a symbolic link to it
 * leads), at nothing it names, except that the default environment file counts only where it exists. */
int manifest_load(const char *path, const struct manifest_overrides *overrides, struct manifest *ret_manifest,
    struct problem_list *problems);

/* The same from memory, for tests and fuzzing: `path` is not looked at, and the services know of no manifest. */
int manifest_parse(const char *path, const char *content, size_t length, const struct manifest_overrides *overrides,
    struct manifest *ret_manifest, struct problem_list *problems);

/* By name, the built-in one too; NULL if there is none. */
const struct service *manifest_find(const struct manifest *manifest, const char *name);
void manifest_clear(struct manifest *manifest);

#endif
