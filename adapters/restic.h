/* restic, driven by its documented contract only: --json on stdout, exit codes, an environment we build ourselves.
 * Works with 0.14, 0.18 and 0.19; what differs between them stays behind this header.
 *
 * Every call is one asynchronous child on the loop. Each start function returns NULL with an error when the child
 * could not even be started; otherwise the callback comes exactly once, from the loop, unless restic_call_abandon
 * is called. A call frees itself after its callback. Nothing here has a deadline: restic itself may wait 15 minutes
 * for a dead network (0.18), so the caller keeps one and calls restic_call_stop.
 *
 * Secrets never reach an argument list: the repository and the password travel as RESTIC_REPOSITORY_FILE and
 * RESTIC_PASSWORD_FILE, credentials through the environment file. */
#ifndef ATELIER_ADAPTERS_RESTIC_H
#define ATELIER_ADAPTERS_RESTIC_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/child.h"
#include "core/error.h"

/* What every call needs. Strings are owned by whoever owns the struct and must outlive the call's start. */
struct restic_settings {
	char *program;         /* "restic" or a path */
	char *repository_file; /* holds the repository's location */
	char *password_file;
	char *environment_file; /* systemd EnvironmentFile syntax, or NULL */
	char *cache_directory;  /* always set explicitly; restic 0.19 fails without one */
	char *host;             /* --host of backups: pinned, host names change */
	int64_t nice;           /* 0..19 */
	int64_t io_class;       /* 0 none, 2 best-effort, 3 idle */
	int64_t io_level;       /* 0..7 */
	int64_t upload_kib;     /* KiB/s, 0: no limit */
	int64_t download_kib;
};

struct restic_call;

/* "0.18.0" of the program, asked once per program path and kept; NULL and ERROR_RESTIC_MISSING or
 * ERROR_RESTIC_UNSUPPORTED (older than 0.14). Blocks for the few milliseconds of `restic version`.
 * Owned by the adapter. */
const char *restic_version(const char *program, struct error *error);

/* Reads repository_file, password_file and environment_file as restic will see them and says what is wrong with
 * them (missing, empty, readable or writable by others, bad syntax), without starting restic. */
struct problem_list;
void restic_check_secrets(const struct restic_settings *settings, struct problem_list *problems);

/* The location with any password in it replaced by "***", for people. The caller owns it; NULL if unreadable. */
char *restic_repository_words(const struct restic_settings *settings);

/* A call that takes a lock may leave it behind (see restic_may_leave_lock): on_spawned, where there is one (it may be
 * NULL), tells the process before it begins, with the context of the call's `done`; it comes for each process of the
 * call.
 */

/* ---- the repository: does it answer, and which one is it (`cat config`, no lock taken) ---- */

/* `repository_id` is 64 hex digits and valid during the call only; NULL on error. */
typedef void restic_probe_fn(void *context, const char *repository_id, const struct error *error);
struct restic_call *restic_probe_start(struct event_base *base, const struct restic_settings *settings,
    restic_probe_fn *done, void *context, struct error *error);

/* The same, and takes the shared lock for a moment: what answers this can also be written (a full disk is met here),
 * and nobody holds it alone. ERROR_REPOSITORY_LOCKED says who does. */
struct restic_call *restic_probe_locked_start(struct event_base *base, const struct restic_settings *settings,
    child_spawned_fn *on_spawned, restic_probe_fn *done, void *context, struct error *error);

/* `init`. ERROR_USAGE when there is a repository already. Calls back with the id of the new repository. */
struct restic_call *restic_init_start(struct event_base *base, const struct restic_settings *settings,
    restic_probe_fn *done, void *context, struct error *error);

/* ---- backup ---- */

struct restic_progress {
	double fraction; /* 0..1; may move back while restic is still scanning; negative: not known */
	uint64_t bytes_done;
	uint64_t bytes_total;
	uint64_t files_done;
	uint64_t files_total;
	uint64_t errors;
	int64_t seconds_left; /* at most a year; negative: not known */
};

struct restic_backup_request {
	char *const *paths;    /* absolute; passed NUL-separated on a private file, any bytes allowed */
	char *const *excludes; /* restic patterns, given with --exclude (no $ expansion) */
	char *const *tags;     /* no commas */
	uint64_t own_files;    /* so many of the files are no data: with them alone a snapshot is empty */
	char *const *kept;     /* paths that no exclude takes away, with all below them; may be NULL */
	char *const *left_out; /* paths, any bytes: exactly these are not in the snapshot; may be NULL */
	/* What restic finds in the place of what is there (see core/child.h); copied. */
	const struct child_bind *binds;
	size_t bind_count;
	child_spawned_fn *on_spawned; /* see core/child.h; may be NULL */
	void (*on_progress)(void *context, const struct restic_progress *progress);
	void (*on_words)(void *context, const char *line); /* restic's own words (stderr text), printable */
	void *context;
};

/* What a backup came to. The verdict is `error`: code NONE only if restic exited 0, gave a summary with a snapshot
 * id whose counters add up, at least one file or directory is in it, and nothing was skipped. */
struct restic_backup_result {
	struct error error; /* SOURCE_PARTLY_UNREADABLE: there is a snapshot and `missing` lists what is not in it */
	char *snapshot_id;  /* full where restic gives it (0.15+), else 8 digits; NULL: no snapshot was made */
	uint64_t files;     /* total processed */
	uint64_t bytes;
	uint64_t bytes_added;   /* stored after compression where restic tells (0.17+), else before */
	char **missing;         /* items restic could not read, printable, secrets masked, at most 100 */
	uint64_t missing_count; /* all of them */
	int exit_code;          /* -1 when ended by a signal */
};
typedef void restic_backup_fn(void *context, const struct restic_backup_result *result);

struct restic_call *restic_backup_start(struct event_base *base, const struct restic_settings *settings,
    const struct restic_backup_request *request, restic_backup_fn *done, struct error *error);

/* The pattern of the excludes that takes the path itself away, as restic reads them; NULL: none. restic is silent
 * about a declared path that is excluded. */
const char *restic_excluded_by(char *const *patterns, const char *path);

/* ---- snapshots ---- */

struct restic_snapshot {
	char *id; /* 64 hex digits */
	char *hostname;
	char **paths;
	char **tags;
	int64_t time;        /* microseconds since the epoch */
	int32_t zone_offset; /* seconds east of UTC where it was made: restic's calendar for it */
	bool has_summary;    /* 0.17+ */
	uint64_t files;
	uint64_t bytes;
	uint64_t bytes_added;
};

/* All strings printable. Sorted by time, oldest first. Valid during the callback only. */
typedef void
restic_snapshots_fn(void *context, const struct restic_snapshot *snapshots, size_t count, const struct error *error);

/* All snapshots of the repository (one listing, filtered by the caller in memory), or with `tag` only those that
 * carry it. Takes no lock. */
struct restic_call *restic_snapshots_start(struct event_base *base, const struct restic_settings *settings,
    const char *tag, restic_snapshots_fn *done, void *context, struct error *error);

/* ---- forgetting, and giving room back: all take the exclusive lock ---- */

/* `on_words` gets restic's own lines, printable, without its progress. Both may be NULL; `context` is theirs and that
 * of `done`. */
struct restic_listener {
	child_spawned_fn *on_spawned;
	void (*on_words)(void *context, const char *line);
	void *context;
};

/* What a removal of snapshots came to. `error` is NONE only if restic has told that it deleted every one of them and
 * has complained about nothing, or if a listing afterwards shows none of them. */
struct restic_forget_result {
	struct error error;
	bool verified;    /* a listing was read afterwards */
	size_t gone;      /* of those asked for; this and the next are 0 where it is not known */
	size_t remaining; /* of those asked for, still listed */
};
typedef void restic_forget_fn(void *context, const struct restic_forget_result *result);

/* `forget ID...`, in as many processes as it takes, then, in any doubt, a listing without a lock: restic's exit code
 * alone does not tell (0.18 exits with 0 and words on stderr when it could not remove; ids that nobody knows are no
 * error to any version, nor to this call).
 * Each of `ids` is a full id of 64 digits, none is there twice; there must be one at least, else ERROR_INTERNAL. They
 * are copied. Frees nothing: that is what prune does. */
struct restic_call *
restic_forget_start(struct event_base *base, const struct restic_settings *settings, const char *const *ids,
    size_t count, const struct restic_listener *listener, restic_forget_fn *done, struct error *error);

typedef void restic_done_fn(void *context, const struct error *error); /* NULL: it went well */

struct restic_prune_request {
	uint64_t max_repack_bytes; /* 0: no limit */
	const char *max_unused;    /* restic's words ("5%", "unlimited"), or NULL: its default */
	struct restic_listener listener;
};

/* `prune`. May take hours and tens of GiB of traffic: bounded by max_repack_bytes and by restic_call_stop, after
 * which the repository is valid, though bigger than before. */
struct restic_call *restic_prune_start(struct event_base *base, const struct restic_settings *settings,
    const struct restic_prune_request *request, restic_done_fn *done, struct error *error);

/* `repair index` (`rebuild-index` before 0.16): what a backup had stored when it was cut off is used by the next one.
 */
struct restic_call *restic_repair_index_start(struct event_base *base, const struct restic_settings *settings,
    const struct restic_listener *listener, restic_done_fn *done, struct error *error);

/* ---- locks ---- */

struct restic_lock {
	char *id;      /* 64 hex digits */
	bool readable; /* false: all that follows is empty, false or 0 */
	char *hostname;
	char *username;
	pid_t pid;
	int64_t time; /* microseconds since the epoch; a running restic renews it every 5 minutes */
	bool exclusive;
	bool this_host;
	bool alive; /* of this host, and there is a process of that pid, whoever it is by now */
};

/* "exclusive, PID 4711 on web1 by root, since 2026-11-23T02:00:00+01:00 (12 min 3 s)"; the caller owns it. */
char *restic_lock_words(const struct restic_lock *lock);

/* The locks of the repository, oldest first. Takes none. Strings printable, valid during the callback only. */
typedef void restic_locks_fn(void *context, const struct restic_lock *locks, size_t count, const struct error *error);
struct restic_call *restic_locks_start(struct event_base *base, const struct restic_settings *settings,
    restic_locks_fn *done, void *context, struct error *error);

struct restic_unlock_result {
	size_t own;        /* of the locks found at first, those of this host with one of `pids` */
	size_t removed;    /* of the locks found at first with a dead holder, those that are gone */
	size_t remaining;  /* the locks that are there now */
	const char *first; /* the first of these in words (an exclusive one before others); NULL: there is none */
};
typedef void
restic_unlock_stale_fn(void *context, const struct restic_unlock_result *result, const struct error *error);

/* Removes every lock whose holder restic itself takes for dead: a process of this host that is no more (as those of
 * `pids`, which are our own and may be none), or nobody renewed it for 30 minutes, whatever its host. A plain
 * `unlock`, never --remove-all, and only if there is such a lock and if it does no harm (see below;
 * ERROR_REPOSITORY_LOCKED with the reason if it would). `result` is never NULL and tells the state of things after an
 * error, too, where a listing was possible (else it is zero). */
struct restic_call *restic_unlock_stale_start(struct event_base *base, const struct restic_settings *settings,
    const pid_t *pids, size_t count, restic_unlock_stale_fn *done, void *context, struct error *error);

/* Removes what our own dead process left behind: reads the locks of the repository and runs a plain `unlock` only if
 * one names this machine's own host name and one of `pids`; never --remove-all. Calls back with the number of locks
 * of ours that were found.
 *
 * `unlock` sends SIGHUP to the pid of every lock of this host that is younger than 30 minutes. Where one of these
 * pids belongs to another program by now, to a user we may not signal, or where a lock cannot be understood, nothing
 * is removed: ERROR_REPOSITORY_LOCKED with the reason. */
typedef void restic_unlock_fn(void *context, size_t found, const struct error *error);
struct restic_call *restic_unlock_own_start(struct event_base *base, const struct restic_settings *settings,
    const pid_t *pids, size_t count, restic_unlock_fn *done, void *context, struct error *error);

/* ---- any call ---- */

/* SIGINT (restic then removes its lock), SIGKILL after 90 s. The callback comes as always, with ERROR_CANCELLED. */
void restic_call_stop(struct restic_call *call);

/* Kills at once; no callback comes. */
void restic_call_abandon(struct restic_call *call);

/* May a call that takes a lock, and ended with this, have left it in the repository? Its process is dead then: its
 * pid is one for restic_unlock_stale_start. Also after a polite stop: 0.14 exits at once, its lock still there, if it
 * is asked to end while it looks at the locks of others. It hangs there for 15 minutes when one of them vanishes
 * meanwhile, so every call ends it then, with ERROR_RESTIC_KILLED. */
bool restic_may_leave_lock(enum error_code code);

/* ---- pieces, public for their tests ---- */

/* Exit code and the whole of stderr to an error record, for all versions (see the architecture document). `signal`
 * is the signal that ended restic or 0; `stopped` says that we had asked it to end. Unknown means failed. */
int restic_classify(int exit_code, int signal, bool stopped, const char *stderr_text, struct error *error);

/* A feature of the restic at hand. */
bool restic_version_at_least(const char *version, int major, int minor);

#endif
