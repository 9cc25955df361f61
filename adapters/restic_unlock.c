/* Removing the locks of our own dead processes.
 *
 * restic's plain `unlock` finds out whether the holder of a lock lives by sending SIGHUP to its pid: if that
 * pid has been given to another process meanwhile, an innocent one dies of it, and where the signal may not
 * be sent a live lock is removed. So every lock of this host is read and judged here first. */
#include "adapters/restic_internal.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define LOCK_LIMIT ((size_t)64 * 1024)

/* restic calls a lock stale after 30 minutes, and then looks for no process. A minute more for clocks and the
 * way. */
#define STALE_AGE (31 * USEC_PER_MIN)

enum unlock_step { UNLOCK_LIST, UNLOCK_READ, UNLOCK_REMOVE };

struct unlock_call {
	struct restic_call call; /* first: the call is freed through it */
	restic_unlock_fn *done;
	void *context;
	enum unlock_step step;
	pid_t *pids;
	size_t pid_count;
	char *hostname;
	char **locks; /* ids */
	size_t next;  /* the one that is read next */
	struct text lock;
	bool gone;      /* that one, before it could be read */
	size_t found;   /* of ours */
	char *obstacle; /* why `unlock` must not run; or NULL */
};

/* ---- judging a lock ---- */

struct lock {
	const char *hostname;
	pid_t pid;
	int64_t time;
};

static bool
read_lock(const json_t *object, struct lock *ret_lock)
{
	const char *hostname = json_string_value(json_object_get(object, "hostname"));
	const char *time = json_string_value(json_object_get(object, "time"));
	const json_t *pid = json_object_get(object, "pid");
	struct lock lock = {.hostname = hostname, .pid = (pid_t)json_integer_value(pid)};
	if (hostname == NULL || time == NULL || !text_parse_rfc3339(time, &lock.time) || lock.pid <= 0 ||
	    lock.pid != json_integer_value(pid))
		return false;
	*ret_lock = lock;
	return true;
}

/* Is a process of that pid another restic? SIGHUP does nothing to those. */
static bool
pid_is_restic(pid_t pid)
{
	cleanup_free char *path = xasprintf("/proc/%ld/comm", (long)pid);
	cleanup_free char *name = NULL;
	size_t length;
	if (file_read(path, 64, &name, &length, NULL) < 0)
		return false;
	return strstr(name, "restic") != NULL;
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
judge_lock(struct unlock_call *unlock, const struct lock *lock)
{
	if (strcmp(lock->hostname, unlock->hostname) != 0)
		return;
	bool ours = is_one_of_ours(unlock, lock->pid);
	bool stale = clock_wall(clock_system()) - lock->time > STALE_AGE;
	int number = kill(lock->pid, 0) < 0 ? errno : 0;
	unlock->found += ours;
	if (stale || number == ESRCH)
		return;
	if (number != 0)
		note_obstacle(
		    unlock, xasprintf("process %ld belongs to another user, so restic would take it for dead",
				(long)lock->pid));
	else if (!pid_is_restic(lock->pid))
		note_obstacle(
		    unlock, xasprintf("process %ld is another program by now, and restic would send it SIGHUP",
				(long)lock->pid));
	else if (ours)
		note_obstacle(unlock, xasprintf("process %ld is a restic that runs", (long)lock->pid));
}

/* ---- the steps ---- */

static void
take_stdout(struct restic_call *call, const char *line, size_t length, bool cut)
{
	struct unlock_call *unlock = (struct unlock_call *)call;
	(void)cut;
	switch (unlock->step) {
	case UNLOCK_LIST:
		if (restic_is_id(line, 64))
			strings_add(&unlock->locks, line);
		break;
	case UNLOCK_READ:
		if (unlock->lock.length + length <= LOCK_LIMIT) {
			text_add_bytes(&unlock->lock, line, length);
			text_add(&unlock->lock, "\n");
		}
		break;
	case UNLOCK_REMOVE:
		break;
	}
}

static int
run_list(struct unlock_call *unlock, struct error *error)
{
	static const char *const arguments[] = {"list", "locks", "--no-lock", NULL};
	static const struct restic_step step = {.name = "restic list locks", .arguments = arguments};
	unlock->step = UNLOCK_LIST;
	return restic_call_run(&unlock->call, &step, error);
}

static int
run_read(struct unlock_call *unlock, struct error *error)
{
	const char *const arguments[] = {"cat", "lock", unlock->locks[unlock->next++], "--no-lock", NULL};
	const struct restic_step step = {.name = "restic cat lock", .arguments = arguments};
	unlock->step = UNLOCK_READ;
	unlock->gone = false;
	text_clear(&unlock->lock);
	return restic_call_run(&unlock->call, &step, error);
}

static int
run_remove(struct unlock_call *unlock, struct error *error)
{
	static const char *const arguments[] = {"unlock", NULL};
	static const struct restic_step step = {.name = "restic unlock", .arguments = arguments};
	unlock->step = UNLOCK_REMOVE;
	return restic_call_run(&unlock->call, &step, error);
}

/* All locks are read. */
static int
decide(struct unlock_call *unlock, struct error *error)
{
	if (unlock->found == 0)
		return 0;
	if (unlock->obstacle == NULL)
		return run_remove(unlock, error);
	error_set(
	    error, ERROR_REPOSITORY_LOCKED, "a lock of our own dead process stays for now: %s", unlock->obstacle);
	return error_hint(error, "nothing to do: once it is 30 minutes old it can be removed without touching that "
				 "process");
}

static void
take_lock(struct unlock_call *unlock)
{
	cleanup_json json_t *object = restic_output_object(unlock->lock.string, unlock->lock.length);
	struct lock lock;
	if (read_lock(object, &lock))
		judge_lock(unlock, &lock);
	else
		note_obstacle(unlock, xstrdup("one of the locks cannot be understood"));
}

/* Starts what comes next. Returns 0 also when nothing does. */
static int
advance(struct unlock_call *unlock, struct error *error)
{
	if (unlock->step == UNLOCK_REMOVE)
		return 0;
	if (unlock->locks != NULL && unlock->locks[unlock->next] != NULL)
		return run_read(unlock, error);
	return decide(unlock, error);
}

/* Between the listing and the reading, a live process may have finished, or refreshed its lock under a new
 * name. */
static bool
says_lock_is_gone(const char *words)
{
	return strstr(words, "no such file or directory") != NULL || strstr(words, "does not exist") != NULL;
}

static void
take_stderr(struct restic_call *call, const char *line, size_t length)
{
	struct unlock_call *unlock = (struct unlock_call *)call;
	restic_call_keep_words(call, line, length);
	/* 0.14 looks again and again for 15 minutes. */
	if (unlock->step == UNLOCK_READ && strstr(line, "retrying after") != NULL && says_lock_is_gone(line)) {
		unlock->gone = true;
		child_kill(call->child);
	}
}

static void
unlock_ended(struct restic_call *call, const struct child_exit *exit, struct error *error)
{
	struct unlock_call *unlock = (struct unlock_call *)call;
	(void)exit;
	if (unlock->step == UNLOCK_READ && error->code == ERROR_RESTIC_FAILED && says_lock_is_gone(error->message))
		unlock->gone = true;
	if (unlock->step == UNLOCK_READ && unlock->gone)
		error_clear(error);
	else if (unlock->step == UNLOCK_READ && !error_is_set(error))
		take_lock(unlock);
	if (!error_is_set(error))
		advance(unlock, error);
	if (error_is_set(error))
		unlock->done(unlock->context, unlock->found, error);
	else if (call->child == NULL)
		unlock->done(unlock->context, unlock->found, NULL);
}

static void
unlock_release(struct restic_call *call)
{
	struct unlock_call *unlock = (struct unlock_call *)call;
	free(unlock->pids);
	free(unlock->hostname);
	strings_free(unlock->locks);
	text_clear(&unlock->lock);
	free(unlock->obstacle);
}

static const struct restic_operation unlock_operation = {
    .take_stdout = take_stdout,
    .take_stderr = take_stderr,
    .ended = unlock_ended,
    .release = unlock_release,
};

/* The name restic writes into its locks. */
static char *
machine_name(void)
{
	char name[256] = "";
	gethostname(name, sizeof(name) - 1);
	return xstrdup(name);
}

struct restic_call *
restic_unlock_own_start(struct event_base *base, const struct restic_settings *settings, const pid_t *pids,
    size_t count, restic_unlock_fn *done, void *context, struct error *error)
{
	struct unlock_call *unlock = restic_call_new(sizeof(*unlock), &unlock_operation, base, settings, error);
	if (unlock == NULL)
		return NULL;
	unlock->done = done;
	unlock->context = context;
	unlock->pids = xmemdup(pids, count * sizeof(*pids));
	unlock->pid_count = count;
	unlock->hostname = machine_name();
	if (run_list(unlock, error) < 0) {
		restic_call_free(&unlock->call);
		return NULL;
	}
	return &unlock->call;
}
