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

/* ---- the repository: does it answer, and which one is it (`cat config`, no lock taken) ---- */

/* `repository_id` is 64 hex digits and valid during the call only; NULL on error. */
typedef void restic_probe_fn(void *context, const char *repository_id, const struct error *error);
struct restic_call *restic_probe_start(struct event_base *base, const struct restic_settings *settings,
    restic_probe_fn *done, void *context, struct error *error);

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
	char *const *paths;           /* absolute; passed NUL-separated on a private file, any bytes allowed */
	char *const *excludes;        /* restic patterns, given with --exclude (no $ expansion) */
	char *const *tags;            /* no commas */
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
	char **missing;         /* items restic could not read, printable, at most 100 */
	uint64_t missing_count; /* all of them */
	int exit_code;          /* -1 when ended by a signal */
};
typedef void restic_backup_fn(void *context, const struct restic_backup_result *result);

struct restic_call *restic_backup_start(struct event_base *base, const struct restic_settings *settings,
    const struct restic_backup_request *request, restic_backup_fn *done, struct error *error);

/* ---- snapshots ---- */

struct restic_snapshot {
	char *id; /* 64 hex digits */
	char *hostname;
	char **paths;
	char **tags;
	int64_t time;     /* microseconds since the epoch */
	bool has_summary; /* 0.17+ */
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

/* ---- locks ---- */

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

/* ---- pieces, public for their tests ---- */

/* Exit code and the whole of stderr to an error record, for all versions (see the architecture document). `signal`
 * is the signal that ended restic or 0; `stopped` says that we had asked it to end. Unknown means failed. */
int restic_classify(int exit_code, int signal, bool stopped, const char *stderr_text, struct error *error);

/* A feature of the restic at hand. */
bool restic_version_at_least(const char *version, int major, int minor);

#endif
