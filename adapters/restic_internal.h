/* Private to the files adapters/restic*.c and their tests. */
#ifndef ATELIER_ADAPTERS_RESTIC_INTERNAL_H
#define ATELIER_ADAPTERS_RESTIC_INTERNAL_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/restic.h"
#include "core/child.h"
#include "core/error.h"
#include "core/text.h"

static inline void
cleanup_json_function(json_t **value)
{
	json_decref(*value);
}

#define cleanup_json __attribute__((cleanup(cleanup_json_function)))

/* ---- a running call (restic.c) ----
 *
 * A call is one or more restic processes, one after the other; each kind of call is a struct that begins with
 * a struct restic_call, and one constant record of how it takes the output and what comes next. */

struct restic_operation {
	size_t line_limit; /* as in child_spec */
	void (*take_stdout)(struct restic_call *call, const char *line, size_t length, bool cut); /* or NULL */

	/* NULL: the words go to the classifier. Else the operation passes on those that should with
	 * restic_call_keep_words. */
	void (*take_stderr)(struct restic_call *call, const char *line, size_t length);

	/* One process has ended; `error` is what restic_classify made of it and may be changed or moved.
	 * Either starts the next one with restic_call_run, or calls the user back: the call is freed after
	 * the return. */
	void (*ended)(struct restic_call *call, const struct child_exit *exit, struct error *error);

	/* Releases what the operation's own struct owns, not the struct. */
	void (*release)(struct restic_call *call);
};

struct restic_call {
	const struct restic_operation *operation;
	struct event_base *base;
	struct child *child; /* NULL after the last process */
	char *program;
	char **environment;
	char **options; /* of every process: the transfer limits */
	int nice;
	int io_class;
	int io_level;
	struct text words; /* the last of stderr, printable lines */
	bool stopped;
	bool lock_vanished; /* the process was ended because it looked for one that is gone */
};

/* What one process is started with, beyond what the settings say. */
struct restic_step {
	const char *name;             /* for log lines */
	const char *const *arguments; /* after the program's name */
	const char *input;            /* stdin, or NULL */
	size_t input_length;
	child_spawned_fn *on_spawned; /* its context is the call */
	const struct child_bind *binds;
	size_t bind_count;
};

/* A zeroed `size` bytes that begin with the call, which knows everything the settings say. NULL with an error
 * when the environment file cannot be used. */
void *restic_call_new(size_t size, const struct restic_operation *operation, struct event_base *base,
    const struct restic_settings *settings, struct error *error);
void restic_call_free(struct restic_call *call); /* one that has no process */

/* Starts the next process. */
int restic_call_run(struct restic_call *call, const struct restic_step *step, struct error *error);

/* The same for the first one: frees the call and returns NULL if that fails. */
struct restic_call *restic_call_begin(struct restic_call *call, const struct restic_step *step, struct error *error);

/* Adds a line of stderr to what the classifier will see. Of a flood, the end is kept: the reason comes last.
 */
void restic_call_keep_words(struct restic_call *call, const char *line, size_t length);

/* Passes a line of restic's on to people, unless it is progress (restic_maintain.c). */
void restic_listener_tell(const struct restic_listener *listener, const char *line, size_t length);

/* Corrects what was made of an exit code that means something else to a backup (restic_maintain.c). */
void restic_call_reclassify(struct restic_call *call, const struct child_exit *exit, struct error *error);

/* ---- a call without a process ----
 *
 * Everything restic writes can be played to a call that was made and not begun; restic_call_process_ended judges it,
 * calls back and frees it. The context is the call. */

child_line_fn restic_call_take_stdout, restic_call_take_stderr;
child_exit_fn restic_call_process_ended;

/* What restic_backup_start and restic_snapshots_start make before they start the process. */
struct restic_call *restic_backup_new(struct event_base *base, const struct restic_settings *settings,
    const struct restic_backup_request *request, restic_backup_fn *done, struct error *error);
struct restic_call *restic_snapshots_new(struct event_base *base, const struct restic_settings *settings,
    restic_snapshots_fn *done, void *context, struct error *error);

/* ---- what restic writes (restic_output.c) ---- */

/* The counters of a backup's summary line. */
struct restic_summary {
	bool present;
	bool dry_run;
	bool readable;     /* all counters are whole numbers that can be */
	char *snapshot_id; /* NULL if there is none that looks like one */
	uint64_t files_new;
	uint64_t files_changed;
	uint64_t files_unmodified;
	uint64_t directories; /* new, changed and unmodified; the parents of what was asked for count as well */
	uint64_t files;
	uint64_t bytes;
	uint64_t bytes_added;
};

/* The JSON object a line consists of; NULL for everything else: words, junk, a cut line. The caller owns it.
 */
json_t *restic_output_object(const char *line, size_t length);

/* Its message_type, or "". */
const char *restic_output_type(const json_t *object);

/* restic leaves out what is zero. Returns false for a value that is no whole number, negative or too large.
 */
bool restic_output_count(const json_t *object, const char *key, uint64_t *ret_count);

void restic_output_progress(const json_t *object, struct restic_progress *ret_progress);
void restic_output_summary(const json_t *object, struct restic_summary *ret_summary);

/* What an "error" line says about its item ("open: Permission denied"): printable, secrets masked. The caller owns
 * it. */
char *restic_output_reason(const json_t *object);

/* A line of stderr as people read it: printable, one line, secrets masked, JSON unwrapped. The caller owns
 * it. */
char *restic_output_words(const char *line, size_t length);

/* The array of a listing, sorted by time. Returns -1 and ERROR_RESTIC_FAILED for everything that cannot be understood
 * in full. The caller frees it with restic_snapshots_free. */
int restic_output_snapshots(
    const char *bytes, size_t length, struct restic_snapshot **ret_snapshots, size_t *ret_count, struct error *error);
void restic_snapshots_free(struct restic_snapshot *snapshots, size_t count);

/* `digits` of lower-case hexadecimal and nothing else. */
bool restic_is_id(const char *string, size_t digits);

/* ---- the locks of a repository (restic_locks.c) ----
 *
 * A part of a call: one process lists them, one more reads each. */

struct restic_lock_reader {
	bool reading; /* one of `ids`; else they are being listed */
	char **ids;
	size_t next; /* the one that is read next */
	struct text text;
	bool gone; /* that one, before it could be read */
	struct restic_lock *locks;
	size_t count;
};

/* Starts the listing, and forgets what was read before. */
int restic_lock_reader_run(struct restic_lock_reader *reader, struct restic_call *call, struct error *error);
void restic_lock_reader_take_stdout(struct restic_lock_reader *reader, const char *line, size_t length);
void restic_lock_reader_take_stderr(
    struct restic_lock_reader *reader, struct restic_call *call, const char *line, size_t length);

/* One of its processes has ended; `error` as in `ended` above. Starts the next one, or returns with no child: then
 * the locks are there, oldest first, or the error is set. */
void restic_lock_reader_ended(struct restic_lock_reader *reader, struct restic_call *call, struct error *error);
void restic_lock_reader_clear(struct restic_lock_reader *reader);

/* A lock as `cat lock` shows it. What cannot be understood gives one that is not `readable`. */
void restic_output_lock(const char *bytes, size_t length, struct restic_lock *ret_lock);

/* Says this line that a lock was listed and is gone? It may have been released, or renewed under another name. */
bool restic_says_lock_is_gone(const char *words);

/* The same, and that restic will look for it again: 0.14 does so for 15 minutes. */
bool restic_waits_for_lost_lock(const char *words);

/* ---- the program (restic_version.c) ---- */

/* ERROR_RESTIC_MISSING if there is none of that name or path. */
int restic_check_program(const char *program, struct error *error);

/* ---- secrets (restic_secrets.c) ---- */

/* A copy in which the password of every URL ("scheme://user:password@host") is "***". The caller owns it. */
char *restic_mask(const char *string);

/* Where words that are masked later are cut to at most `limit` bytes: not within a URL, because half a password does
 * not look like one any more. */
size_t restic_mask_cut(const char *bytes, size_t length, size_t limit);

/* Names that a setting of ours decides, whatever an environment file says. */
bool restic_is_reserved_name(const char *name);

#endif
