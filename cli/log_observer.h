/* What happens to jobs, for the systemd journal: one structured line per transition (ATELIER_JOB=, ATELIER_SERVICE=,
 * ATELIER_STATE=, ATELIER_ERROR=). */
#ifndef ATELIER_CLI_LOG_OBSERVER_H
#define ATELIER_CLI_LOG_OBSERVER_H

#include "jobs/engine.h"

struct engine_observer log_observer(void);

#endif
