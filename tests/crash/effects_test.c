/* A run that is killed right after the N-th thing it did to the world outside, for every N until a run has no N-th
 * one: a process was let go, systemd was asked to stop or start a unit, the list of what is owed was written. */
#include "core/alloc.h"
#include "tests/crash/sweep.h"

int
main(int count, char **arguments)
{
	static struct sweep sweeps[] = {
	    {
		.name = "killed_after_every_effect",
		.events = "effects",
		.fault = {"ATELIER_BACKUP_CRASH_AFTER_EFFECT", .judge_end = end_by_kill, .prunes = true},
		.first_cases = 400,
		.until_spared = true,
		.least = 14,
	    },
	};
	return sweep_main(count, arguments, sweeps, ARRAY_LENGTH(sweeps));
}
