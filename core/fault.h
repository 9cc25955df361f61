/* Where tests make this process die or fail: after the N-th event of a kind, as the environment says. Without the
 * build option ATELIER_CRASH_POINTS nothing of it exists.
 *
 *   ATELIER_BACKUP_CRASH_AFTER_COMMIT  dies by SIGKILL right after the N-th commit to the journal
 *   ATELIER_BACKUP_CRASH_AFTER_EFFECT  ... right after the N-th thing it did to the world outside
 *   ATELIER_BACKUP_FAIL_COMMIT         finds the journal's disk full at the N-th commit, and from then on
 *   ATELIER_BACKUP_FAIL_FORK           finds no room for a process (EAGAIN) at the N-th one
 *   ATELIER_BACKUP_FAIL_ALLOC          finds no memory at the N-th call of core/alloc.h
 *   ATELIER_BACKUP_FAULT_IN            the one kind of process that counts: "runner" (when not set), or
 *                                      "command", which a person has started
 *   ATELIER_BACKUP_FAULT_ONCE          a file; whoever creates it has the fault, and nobody after that (but a full
 *                                      disk is full for all who begin later). It tells what the last event was
 *   ATELIER_BACKUP_FAULT_COUNTS        a file for the numbers of events, written when the process ends by itself
 *
 * Children get none of this: their environments are made from nothing (adapters/environment.h). A process of ours
 * that is to count has to be given these variables. */
#ifndef ATELIER_CORE_FAULT_H
#define ATELIER_CORE_FAULT_H

#include <stdbool.h>

#ifdef ATELIER_CRASH_POINTS

/* Says what this process is, at its beginning; it counts from here on, from 0, if that is the kind that was asked
 * for. */
void fault_arm(const char *process);

/* Something outside this process has been done. May not return. */
void fault_effect(const char *what);

/* A commit has been made. May not return. */
void fault_committed(void);

/* True if the event that is about to happen has to fail. */
bool fault_fails_commit(void);
bool fault_fails_fork(void);
bool fault_fails_alloc(void);

#else

static inline void
fault_arm(const char *process)
{
	(void)process;
}

static inline void
fault_effect(const char *what)
{
	(void)what;
}

static inline void
fault_committed(void)
{
}

static inline bool
fault_fails_commit(void)
{
	return false;
}

static inline bool
fault_fails_fork(void)
{
	return false;
}

static inline bool
fault_fails_alloc(void)
{
	return false;
}

#endif

#endif
