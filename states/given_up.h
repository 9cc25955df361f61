/* Obligations that were given up: `recover` tries them once more, when a person has seen to the reason, and so does
 * the first recovery after a boot: a service manager that shuts down refuses every start, and what is given up then
 * would stay down with the machine's next life. */
#ifndef ATELIER_STATES_GIVEN_UP_H
#define ATELIER_STATES_GIVEN_UP_H

#include "jobs/journal.h"
#include "states/machine.h"

struct given_up_report {
	size_t tried;
	size_t paid;
	struct error error; /* of the last one that failed */
};

/* Starts the units that were given up before the time `until` (wall; 0: whenever it was) and runs the postBackup
 * commands that were, one after the other, and crosses off what works. The runner lock is held by the caller. Runs
 * the loop of `world` until it is through; each try has the deadline of its job's spec. Returns -1 only when the
 * journal fails. */
int given_up_retry(struct world *world, struct journal *journal, int64_t until, struct given_up_report *ret_report,
    struct error *error);

#endif
