/* A run that is killed at a random instant, on a machine that has other things to do: 300 times, or --count. */
#include "core/alloc.h"
#include "core/clock.h"
#include "tests/crash/sweep.h"

/* Instants beyond the usual end are worth a try: under load no run takes as long as another. */
#define STRETCH_PERCENT 110

static uint64_t
mix(uint64_t value)
{
	value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
	return value ^ value >> 31;
}

static bool
kill_at_an_instant(struct crash_case *crash)
{
	uint64_t span = (uint64_t)crash->usual_time * STRETCH_PERCENT / 100 + 1;
	int64_t instant = (int64_t)(mix(crash->seed + crash->number * UINT64_C(0x9e3779b97f4a7c15)) % span);
	text_printf(&crash->log, "killed after %lld ms\n", (long long)(instant / USEC_PER_MSEC));
	if (case_wait_until(crash, crash->began + instant))
		return false;
	return case_kill_runner(crash);
}

int
main(int count, char **arguments)
{
	static struct sweep sweeps[] = {
	    {
		.name = "killed_at_random_instants",
		.events = "instants",
		.fault = {.strike = kill_at_an_instant, .judge_end = end_by_kill},
		.first_cases = 300,
		.least = 10,
		.under_load = true,
		.timed = true,
	    },
	};
	return sweep_main(count, arguments, sweeps, ARRAY_LENGTH(sweeps));
}
