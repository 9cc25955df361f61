/* Many cases of one fault, some at the same time, and the command line that all crash tests share:
 *
 *   X_test hooks|units [--count N] [--seed N] [--case N] [--test NAME]
 *
 * `hooks` needs nothing; `units` needs a systemd that is its own (tests/lab). --count says how many cases are drawn,
 * or how many there are where none is drawn, and --seed repeats what was drawn; --case has only this one, for whoever
 * looks for a mistake in it. */
#ifndef ATELIER_TESTS_CRASH_SWEEP_H
#define ATELIER_TESTS_CRASH_SWEEP_H

#include "tests/crash/crash_case.h"

struct sweep {
	const char *name;
	const char *events; /* what is counted, for a person: "commits" */
	struct fault fault;

	/* Cases 1, 2, 3 ... up to the last; where `until_spared`, only until one has not met the fault. */
	unsigned first_cases;
	bool until_spared;

	/* So many more (--count says otherwise), drawn from the events of a run without a fault. */
	unsigned drawn;

	unsigned least;   /* less cases than this one met the fault: the test fails */
	unsigned at_once; /* cases at the same time; 0: two */
	bool under_load;
	bool timed; /* a run without a fault is measured first */
};

/* Does what the command line says and returns the exit status. */
int sweep_main(int count, char **arguments, struct sweep *sweeps, size_t sweep_count);

/* ---- ends of a run, for `judge_end` ---- */

/* The runner was killed, and another one has done the work before anybody asked for it: whatever was stopped is back
 * in time, and the client, which has seen it all, says that all is well. */
void end_by_kill(struct crash_case *crash, int status);

/* All is well, or a job has failed and the command says so. */
void end_in_order(struct crash_case *crash, int status);

/* The same; and no job was lost. */
void end_complete(struct crash_case *crash, int status);

#endif
