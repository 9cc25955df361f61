/* What people and machines see while jobs run: on a terminal one line per transition and one live line below
 * them, elsewhere plain lines, with --json one object per line (docs/json.md). */
#ifndef ATELIER_CLI_PROGRESS_H
#define ATELIER_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "adapters/restic.h"
#include "core/clock.h"
#include "jobs/engine.h"

struct progress;

struct progress *progress_new(const struct clock *clock, bool json, bool verbose);
void progress_free(struct progress *progress); /* clears the live line; accepts NULL */

/* A job is due only later: "web is due at 03:12:45". */
void progress_due(struct progress *progress, int64_t job_id, const char *service, int64_t due_at);

void progress_transition(struct progress *progress, int64_t job_id, const char *service, enum job_state from,
    enum job_state to, const char *event, const char *message);
void progress_step(struct progress *progress, int64_t job_id, const char *service, const char *word);
void
progress_restic(struct progress *progress, int64_t job_id, const char *service, const struct restic_progress *restic);
void
progress_words(struct progress *progress, int64_t job_id, const char *service, const char *source, const char *line);

/* One line of ours, between the others. */
void progress_say(struct progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same as callbacks of an engine. */
struct engine_observer progress_observer(struct progress *progress);

#endif
