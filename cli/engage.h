/* Reaching the runner of this house: the one that listens, one that systemd starts when its socket is connected to,
 * or one that is started here, with a guardian. */
#ifndef ATELIER_CLI_ENGAGE_H
#define ATELIER_CLI_ENGAGE_H

#include <stdint.h>

#include "cli/command.h"
#include "jobs/control_client.h"

/* How long a command waits for a runner that begins; the night's waits longer to submit its jobs. */
#define ENGAGE_PATIENCE (15 * USEC_PER_SEC)

/* Where it listens. The caller owns the path. */
char *engage_socket(const struct invocation *invocation);

/* Connects, and starts a runner if nobody listens. `journal`: the identity of the journal that the runner has to
 * have; NULL if it cannot be read here. What keeps a new runner from beginning is the error. */
int engage(const struct invocation *invocation, const char *journal, int64_t patience,
    struct control_client **ret_client, struct error *error);

/* The same, but starts none: 0 if nobody listens. Where systemd listens, it does start one. */
int engage_running(const struct invocation *invocation, const char *journal, struct control_client **ret_client,
    struct error *error);

/* Submits, also when the runner dies or ends on the way: a service that has an unfinished job gets no second one. */
int
engage_submit(const struct invocation *invocation, const char *journal, const struct control_submission *submission,
    struct control_client **ret_client, struct control_submitted *ret_submitted, struct error *error);

#endif
