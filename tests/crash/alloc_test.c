/* A run that finds no memory at its N-th request for some, which ends it: for each of the first, and for some of the
 * thousands that come after. */
#include "core/alloc.h"
#include "tests/crash/sweep.h"

int
main(int count, char **arguments)
{
	static struct sweep sweeps[] = {
	    {
		.name = "no_memory",
		.events = "requests for memory",
		.fault = {"ATELIER_BACKUP_FAIL_ALLOC", .judge_end = end_by_kill},
		.first_cases = 50,
		.drawn = 60,
		.least = 50,
	    },
	};
	return sweep_main(count, arguments, sweeps, ARRAY_LENGTH(sweeps));
}
