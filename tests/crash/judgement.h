/* What must be so when a crash is behind us. */
#ifndef ATELIER_TESTS_CRASH_JUDGEMENT_H
#define ATELIER_TESTS_CRASH_JUDGEMENT_H

#include "tests/crash/crash_case.h"

/* How many processes have to do with the case, but for the services. */
size_t count_strangers(struct crash_case *crash);

/* Every service that was away when the runner was killed was there again a second later, and the time that it takes
 * to start. */
void judge_outage(struct crash_case *crash);

/* The services run, and but for them nothing does that the case has started. */
void judge_processes(struct crash_case *crash);

/* No job is unfinished, nothing is owed or given up, no child is on record, no row was set aside, and in the state
 * directory and among the temporary files lies nothing but what belongs there. */
void judge_journal(struct crash_case *crash);

/* Every service has a complete job, and the last one its snapshot, which can be restored, with a database that is all
 * there. No attempt has two. The retention has left what its policy keeps, and not less, of these services; all of
 * others. No lock is left. */
void judge_snapshots(struct crash_case *crash);

/* Stops the services; their own databases are whole and nothing strange lies beside them. */
void judge_data(struct crash_case *crash);

/* How many backups a run makes. */
size_t count_backups(const struct crash_case *crash);

/* How many jobs are unfinished, and how many backups are complete. */
void count_jobs(struct crash_case *crash, size_t *ret_unfinished, size_t *ret_complete);

#endif
