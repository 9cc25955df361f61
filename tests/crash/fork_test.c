/* A run that finds no room for its N-th child, for every N until a run has no N-th one: the job tries again or fails,
 * and the service runs. */
#include "core/alloc.h"
#include "tests/crash/sweep.h"

int
main(int count, char **arguments)
{
	static struct sweep sweeps[] = {
	    {
		.name = "no_room_for_every_child",
		.events = "children",
		.fault = {"ATELIER_BACKUP_FAIL_FORK", .judge_end = end_in_order, .may_fail = true},
		.first_cases = 400,
		.until_spared = true,
		.least = 8,
	    },
	};
	return sweep_main(count, arguments, sweeps, ARRAY_LENGTH(sweeps));
}
