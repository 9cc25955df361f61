/* What a job is to do: a service of the manifest with all settings it needs, resolved. The same struct is what the
 * manifest yields and what is frozen (as msgpack) in the journal when a job is submitted: a later change of the
 * manifest does not bend a job that has begun. Secrets are in it as paths of files only. */
#ifndef ATELIER_JOBS_SERVICE_H
#define ATELIER_JOBS_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/restic.h"
#include "core/error.h"
#include "core/pack.h"
#include "jobs/retention.h"

/* Per-state deadlines, microseconds. */
struct deadlines {
	int64_t preflight; /* probing the repository and everything else in `checkpoint` but hooks */
	int64_t hook;      /* each of preBackup and postBackup */
	int64_t stop;      /* all units stopped and databases folded */
	int64_t snapshot;  /* restic backup */
	int64_t start;     /* all units started */
};

/* The built-in service, which backs the journal and the manifest up: no service of a manifest has its name. */
#define SERVICE_OWN_NAME "atelier-backup"

struct service {
	char *name;
	bool own; /* the built-in one: of its databases the files alone are saved, not the directories they lie in */
	char *data_directory; /* v1 and v2 dataDir, or NULL */
	char **databases;     /* data.sqlite: absolute paths of main files */
	char **postgres;      /* data.postgres: as adapters/postgres.h reads them: names, or conninfo strings */
	char **files;         /* data.files and paths: what is backed up besides the databases' directories */
	char **excludes;      /* defaults included */
	char **tags;          /* the manifest's own, without service: and type: */
	char *type;           /* tag type:...: "sqlite", "postgres", "files", "manual", or "mixed" */
	bool manual;
	bool stop_for_backup; /* default: true with data.sqlite or stopUnits, false otherwise, and where nothing is
			       * named that would stop it; databases are copied live then */
	char **stop_units; /* resolved: explicit list, or NAME.service when stop_for_backup; empty: nothing to stop,
			    * or preBackup stops it */
	char *pre_backup;  /* shell text or NULL */
	char *post_backup;

	struct restic_settings restic;
	bool initialize; /* make the repository if the journal has never seen one at this place */
	struct deadlines deadlines;
	int64_t attempts;      /* tries in all for transient failures */
	int64_t retry_delay;   /* microseconds before the second try; doubles */
	int64_t overdue_after; /* microseconds since the last good snapshot */
	int64_t settle;        /* a started unit has to stay up for so long */
	struct retention_policy retention;
	int64_t max_repack_bytes; /* of a prune: what it may rewrite; 0: whole packs only */
	int64_t max_shrink; /* per cent of files or bytes that may be gone since the last good backup; 100 (and 0, in
			     * a spec that has no manifest behind it): all */
	bool keep_all;      /* nothing of this service is ever removed, whatever `retention` says */

	char *manifest_path;   /* that of the manifest it comes from, as it was named; NULL: not known */
	char *manifest_digest; /* SHA-256 of the manifest's bytes, 64 hex digits */
};

/* Both take a zeroed struct as empty; service_copy clears its target first. */
void service_clear(struct service *service);
void service_copy(struct service *target, const struct service *source);

/* The declared sources in the order they are given to restic: the databases' directories (of the built-in service the
 * databases themselves) and the files, duplicates and paths below another removed, sorted. The caller owns the list.
 */
char **service_sources(const struct service *service);

/* ERROR_SOURCE_EXCLUDED for the first source or database that one of its own exclude patterns takes away. 0 or -1. */
int service_check_excludes(const struct service *service, struct error *error);

/* "backup" tags: service:NAME, type:TYPE, then the manifest's own. The caller owns the list. */
char **service_tags(const struct service *service);

void service_pack(const struct service *service, struct packer *packer);

/* ERROR_JOURNAL_DAMAGED naming the key. `ret_service` is untouched on failure. */
int service_unpack(const void *bytes, size_t length, struct service *ret_service, struct error *error);

#endif
