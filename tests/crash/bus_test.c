/* The D-Bus daemon goes in the middle of a run and does not come back before its end: case N is at the N-th tenth of
 * the usual time. systemd's own socket stays, and the run goes on as if nothing were. Only in the lab. */
#include <sys/wait.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "tests/crash/sweep.h"

#define PARTS 10

static bool
take_bus_away(struct crash_case *crash)
{
	case_wait_until(crash, crash->began + (crash->number - 1) * crash->usual_time / PARTS);
	/* The socket as well, or the next client would bring it back. */
	case_must(crash, "systemctl", "mask", "--runtime", "--quiet", "dbus.socket", "dbus.service", NULL);
	case_must(crash, "systemctl", "kill", "--signal=KILL", "dbus.service", NULL);
	case_must(crash, "systemctl", "stop", "dbus.socket", "dbus.service", NULL);
	return case_victim(crash) != 0;
}

static void
bring_bus_back(struct crash_case *crash)
{
	case_must(crash, "systemctl", "unmask", "--runtime", "--quiet", "dbus.socket", "dbus.service", NULL);
	/* Ten starts within ten seconds are more than systemd allows a unit. */
	case_must(crash, "systemctl", "reset-failed", "dbus.socket", "dbus.service", NULL);
	case_must(crash, "systemctl", "start", "dbus.socket", "dbus.service", NULL);
}

int
main(int count, char **arguments)
{
	/* One at a time: there is one bus. */
	static struct sweep sweeps[] = {
	    {
		.name = "the_bus_goes",
		.events = "runs without a bus",
		.fault = {.strike = take_bus_away, .clean_up = bring_bus_back, .judge_end = end_complete},
		.first_cases = PARTS,
		.least = PARTS / 2,
		.at_once = 1,
		.timed = true,
	    },
	};
	return sweep_main(count, arguments, sweeps, ARRAY_LENGTH(sweeps));
}
