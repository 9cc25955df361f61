/* Removing the locks of dead processes.
 *
 * restic's plain `unlock` finds out whether the holder of a lock lives by sending SIGHUP to its pid: if that
 * pid has been given to another process meanwhile, an innocent one dies of it, and where the signal may not
 * be sent a live lock is removed. So every lock of this host is read and judged here first. */
#include "adapters/restic_internal.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

/* restic calls a lock stale after 30 minutes, and then looks for no process. */
#define STALE_AGE (30 * USEC_PER_MIN)

/* For clocks and the way, when it matters that restic looks for no process. */
#define STALE_MARGIN USEC_PER_MIN

/* How often `unlock` is begun again because a lock vanished while it looked. */
#define REMOVALS 5

enum unlock_step { UNLOCK_READ, UNLOCK_REMOVE, UNLOCK_READ_AGAIN };

struct unlock_call {
	struct restic_call call; /* first: the call is freed through it */
	restic_unlock_fn *own_done;
	restic_unlock_stale_fn *stale_done; /* one of these two */
	void *context;
	enum unlock_step step;
	pid_t *pids;
	size_t pid_count;
	struct restic_lock_reader reader;
	size_t found;   /* of ours */
	char **stale;   /* ids of those that restic will remove */
	char *obstacle; /* why `unlock` must not run; or NULL */
	int removals;   /* begun */
	bool again;     /* this one has to be */
};

/* ---- judging a lock ---- */

/* Is a process of that pid another restic ("restic", "restic-0.18", not "resticprofile")? SIGHUP does nothing to
 * those. */
static bool
pid_is_restic(pid_t pid)
{
	cleanup_free char *path = xasprintf("/proc/%ld/comm", (long)pid);
	cleanup_free char *name = NULL;
	size_t length;
	if (file_read(path, 64, &name, &length, NULL) < 0)
		return false;
	return text_starts_with(name, "restic") && !isalpha((unsigned char)name[strlen("restic")]);
}

static bool
is_one_of_ours(const struct unlock_call *unlock, pid_t pid)
{
	for (size_t i = 0; i < unlock->pid_count; i++)
		if (unlock->pids[i] == pid)
			return true;
	return false;
}

static void
note_obstacle(struct unlock_call *unlock, char *why)
{
	if (unlock->obstacle == NULL)
		unlock->obstacle = why;
	else
		free(why);
}

static void
judge_holder(struct unlock_call *unlock, const struct restic_lock *lock, bool ours)
{
	int number = kill(lock->pid, 0) < 0 ? errno : 0;
	if (number == ESRCH)
		strings_add(&unlock->stale, lock->id);
	else if (number != 0)
		note_obstacle(
		    unlock, xasprintf("process %ld belongs to another user, so restic would take it for dead",
				(long)lock->pid));
	else if (!pid_is_restic(lock->pid))
		note_obstacle(
		    unlock, xasprintf("process %ld is another program by now, and restic would send it SIGHUP",
				(long)lock->pid));
	else if (ours && unlock->own_done != NULL)
		note_obstacle(unlock, xasprintf("process %ld is a restic that runs", (long)lock->pid));
}

static void
judge_lock(struct unlock_call *unlock, const struct restic_lock *lock)
{
	if (!lock->readable) {
		note_obstacle(unlock, xstrdup("one of the locks cannot be understood"));
		return;
	}
	int64_t age = clock_wall(clock_system()) - lock->time;
	bool ours = lock->this_host && is_one_of_ours(unlock, lock->pid);
	unlock->found += ours;
	if (age > STALE_AGE + STALE_MARGIN || (age > STALE_AGE && !lock->this_host))
		strings_add(&unlock->stale, lock->id);
	else if (lock->this_host)
		judge_holder(unlock, lock, ours);
}

/* ---- telling ---- */

static const struct restic_lock *
first_lock(const struct restic_lock_reader *reader)
{
	for (size_t i = 0; i < reader->count; i++)
		if (reader->locks[i].exclusive)
			return &reader->locks[i];
	return reader->count == 0 ? NULL : &reader->locks[0];
}

static bool
is_still_there(const struct restic_lock_reader *reader, const char *id)
{
	for (size_t i = 0; i < reader->count; i++)
		if (strcmp(reader->locks[i].id, id) == 0)
			return true;
	return false;
}

static size_t
count_removed(const struct unlock_call *unlock)
{
	size_t removed = 0;
	for (size_t i = 0; unlock->stale != NULL && unlock->stale[i] != NULL; i++)
		removed += !is_still_there(&unlock->reader, unlock->stale[i]);
	return removed;
}

static void
report(struct unlock_call *unlock, const struct error *error)
{
	if (!error_is_set(error))
		error = NULL;
	if (unlock->own_done != NULL) {
		unlock->own_done(unlock->context, unlock->found, error);
		return;
	}
	const struct restic_lock *first = first_lock(&unlock->reader);
	cleanup_free char *words = first == NULL ? NULL : restic_lock_words(first);
	const struct restic_unlock_result result = {
	    .own = unlock->found,
	    .removed = unlock->step == UNLOCK_READ_AGAIN && error == NULL ? count_removed(unlock) : 0,
	    .remaining = unlock->reader.count,
	    .first = words,
	};
	unlock->stale_done(unlock->context, &result, error);
}

/* ---- the steps ---- */

static void
take_stdout(struct restic_call *call, const char *line, size_t length, bool cut)
{
	struct unlock_call *unlock = (struct unlock_call *)call;
	(void)cut;
	if (unlock->step != UNLOCK_REMOVE)
		restic_lock_reader_take_stdout(&unlock->reader, line, length);
}

static void
take_stderr(struct restic_call *call, const char *line, size_t length)
{
	struct unlock_call *unlock = (struct unlock_call *)call;
	if (unlock->step != UNLOCK_REMOVE) {
		restic_lock_reader_take_stderr(&unlock->reader, call, line, length);
		return;
	}
	restic_call_keep_words(call, line, length);
	/* It takes no lock here, so nothing stays of it. */
	if (restic_waits_for_lost_lock(line)) {
		unlock->again = true;
		child_kill(call->child);
	}
}

static int
run_remove(struct unlock_call *unlock, struct error *error)
{
	static const char *const arguments[] = {"unlock", NULL};
	static const struct restic_step step = {.name = "restic unlock", .arguments = arguments};
	unlock->step = UNLOCK_REMOVE;
	unlock->again = false;
	if (unlock->removals++ == REMOVALS)
		return error_set(error, ERROR_REPOSITORY_LOCKED,
		    "the locks of the repository come and go too fast to remove those of dead processes");
	return restic_call_run(&unlock->call, &step, error);
}

/* All locks are read. Starts nothing if there is nothing to remove. */
static int
decide(struct unlock_call *unlock, struct error *error)
{
	for (size_t i = 0; i < unlock->reader.count; i++)
		judge_lock(unlock, &unlock->reader.locks[i]);
	bool wanted = unlock->own_done != NULL ? unlock->found > 0 : strings_count(unlock->stale) > 0;
	if (unlock->obstacle == NULL)
		return wanted ? run_remove(unlock, error) : 0;
	if (unlock->own_done != NULL && !wanted)
		return 0;
	error_set(error, ERROR_REPOSITORY_LOCKED, "%s stays for now: %s",
	    unlock->own_done != NULL ? "a lock of our own dead process" : "a lock of the repository",
	    unlock->obstacle);
	return error_hint(error, "nothing to do: once it is 30 minutes old it can be removed without touching that "
				 "process");
}

static void
remove_ended(struct unlock_call *unlock, struct error *error)
{
	if (unlock->again && !unlock->call.stopped) {
		error_clear(error);
		run_remove(unlock, error);
	} else if (!error_is_set(error) && unlock->stale_done != NULL) {
		unlock->step = UNLOCK_READ_AGAIN;
		restic_lock_reader_run(&unlock->reader, &unlock->call, error);
	}
}

static void
unlock_ended(struct restic_call *call, const struct child_exit *exit, struct error *error)
{
	struct unlock_call *unlock = (struct unlock_call *)call;
	(void)exit;
	if (unlock->step == UNLOCK_REMOVE) {
		remove_ended(unlock, error);
	} else {
		restic_lock_reader_ended(&unlock->reader, call, error);
		if (unlock->step == UNLOCK_READ && !error_is_set(error) && call->child == NULL)
			decide(unlock, error);
	}
	if (call->child == NULL)
		report(unlock, error);
}

static void
unlock_release(struct restic_call *call)
{
	struct unlock_call *unlock = (struct unlock_call *)call;
	free(unlock->pids);
	restic_lock_reader_clear(&unlock->reader);
	strings_free(unlock->stale);
	free(unlock->obstacle);
}

static const struct restic_operation unlock_operation = {
    .take_stdout = take_stdout,
    .take_stderr = take_stderr,
    .ended = unlock_ended,
    .release = unlock_release,
};

/* ---- the start ---- */

static struct unlock_call *
unlock_new(struct event_base *base, const struct restic_settings *settings, const pid_t *pids, size_t count,
    void *context, struct error *error)
{
	struct unlock_call *unlock = restic_call_new(sizeof(*unlock), &unlock_operation, base, settings, error);
	if (unlock == NULL)
		return NULL;
	unlock->context = context;
	unlock->pids = count == 0 ? NULL : xmemdup(pids, count * sizeof(*pids));
	unlock->pid_count = count;
	return unlock;
}

static struct restic_call *
unlock_begin(struct unlock_call *unlock, struct error *error)
{
	if (restic_lock_reader_run(&unlock->reader, &unlock->call, error) == 0)
		return &unlock->call;
	restic_call_free(&unlock->call);
	return NULL;
}

struct restic_call *
restic_unlock_own_start(struct event_base *base, const struct restic_settings *settings, const pid_t *pids,
    size_t count, restic_unlock_fn *done, void *context, struct error *error)
{
	struct unlock_call *unlock = unlock_new(base, settings, pids, count, context, error);
	if (unlock == NULL)
		return NULL;
	unlock->own_done = done;
	return unlock_begin(unlock, error);
}

struct restic_call *
restic_unlock_stale_start(struct event_base *base, const struct restic_settings *settings, const pid_t *pids,
    size_t count, restic_unlock_stale_fn *done, void *context, struct error *error)
{
	struct unlock_call *unlock = unlock_new(base, settings, pids, count, context, error);
	if (unlock == NULL)
		return NULL;
	unlock->stale_done = done;
	return unlock_begin(unlock, error);
}
