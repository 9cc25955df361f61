/* The repository, asked by a command that waits for the answer: a loop of its own around one restic call, a
 * deadline, and Ctrl-C. */
#ifndef ATELIER_CLI_ASK_H
#define ATELIER_CLI_ASK_H

#include <stdint.h>

#include "adapters/restic.h"
#include "core/clock.h"
#include "core/error.h"

#define ASK_PROBE_PATIENCE (30 * USEC_PER_SEC)
#define ASK_LIST_PATIENCE  (60 * USEC_PER_SEC)
#define ASK_INIT_PATIENCE  (120 * USEC_PER_SEC)

/* All three: ERROR_REPOSITORY_UNREACHABLE when `patience` (microseconds) is over, ERROR_CANCELLED on SIGINT
 * and SIGTERM, else what restic says. */

/* Does it answer, and which one is it? The caller owns the id. */
int ask_probe(const struct restic_settings *settings, int64_t patience, char **ret_id, struct error *error);

/* Makes it. ERROR_USAGE when there is one already. */
int ask_init(const struct restic_settings *settings, int64_t patience, char **ret_id, struct error *error);

/* Calls `each` for every snapshot (with `tag`, if that is not NULL), oldest first. */
typedef void ask_snapshot_fn(void *context, const struct restic_snapshot *snapshot);
int ask_snapshots(const struct restic_settings *settings, int64_t patience, const char *tag, ask_snapshot_fn *each,
    void *context, struct error *error);

#endif
