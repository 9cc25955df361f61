/* What people and machines see while jobs run: on a terminal one line per transition and one live line below
 * them, elsewhere plain lines, with --json one object per line (docs/json.md). */
#ifndef ATELIER_CLI_PROGRESS_H
#define ATELIER_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "adapters/restic.h"
#include "core/clock.h"
#include "jobs/control.h"

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

/* "42 %  1.2 GiB of 3.0 GiB, 10 of 25 files, 3 min left". The caller owns it. */
char *progress_bytes_words(const struct restic_progress *restic);

/* One line of ours, between the others. */
void progress_say(struct progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What the runner told; END and LOST say nothing here. */
void progress_event(struct progress *progress, const struct control_event *event);

/* A job as it stands when somebody begins to follow it. */
void progress_live(struct progress *progress, const struct live_job *job);

/* Words that stand in place of the live line until they are taken away (NULL). Where there is no live line they are
 * printed once, to stderr. */
void progress_ask(struct progress *progress, const char *question);

#endif
