/* What must be so when a crash is behind us. */
#ifndef ATELIER_TESTS_CRASH_JUDGEMENT_H
#define ATELIER_TESTS_CRASH_JUDGEMENT_H

#include "tests/crash/crash_case.h"

/* The services run, and but for them nothing does that the case has started. */
void judge_processes(struct crash_case *crash);

/* No job is unfinished, nothing is owed or given up, no child is on record, no row was set aside, and in the state
 * directory and among the temporary files lies nothing but what belongs there. */
void judge_journal(struct crash_case *crash);

/* Every service has a complete job, and every complete job a snapshot of its own; there are no others unless a job
 * may fail here. The last one can be restored, with a database that is all there. No lock is left. */
void judge_snapshots(struct crash_case *crash);

/* Stops the services; their own databases are whole and nothing strange lies beside them. */
void judge_data(struct crash_case *crash);

/* How many jobs are unfinished, and how many are complete. */
void count_jobs(struct crash_case *crash, size_t *ret_unfinished, size_t *ret_complete);

#endif
