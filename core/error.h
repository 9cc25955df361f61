/* Errors are values: made where the failure happens, logged once where it is decided, shown with the next step.
 *
 * The taxonomy is declared here and nowhere else: a code says what happened, its class says what to do about it. */
#ifndef ATELIER_CORE_ERROR_H
#define ATELIER_CORE_ERROR_H

#include <stdarg.h>

/* none       nothing went wrong
 * permanent  will fail again until a human changes something
 * transient  worth another attempt later
 * busy       the repository is locked by somebody else: wait, this is no failure
 * partial    there is a result, and something is missing from it
 * cancelled  somebody asked for it
 * bug        our own mistake; never caused by input */
#define ERROR_CLASS_LIST(X)                                                                                          \
	X(NONE, "none")                                                                                              \
	X(PERMANENT, "permanent")                                                                                    \
	X(TRANSIENT, "transient")                                                                                    \
	X(BUSY, "busy")                                                                                              \
	X(PARTIAL, "partial")                                                                                        \
	X(CANCELLED, "cancelled")                                                                                    \
	X(BUG, "bug")

enum error_class {
#define X(name, word) ERROR_CLASS_##name,
	ERROR_CLASS_LIST(X)
#undef X
};

/* X(name, word in journal and JSON, class) */
#define ERROR_CODE_LIST(X)                                                                                           \
	X(NONE, "none", NONE)                                                                                        \
	X(USAGE, "usage", PERMANENT)                                                                                 \
	X(MANIFEST, "manifest", PERMANENT)                                                                           \
	X(SECRET, "secret", PERMANENT)                                                                               \
	X(PERMISSION, "permission", PERMANENT)                                                                       \
	X(SYSTEM, "system", PERMANENT)                                                                               \
	X(SYSTEM_BUSY, "system-busy", TRANSIENT)                                                                     \
	X(NO_SPACE, "no-space", PERMANENT)                                                                           \
	X(JOURNAL, "journal", PERMANENT)                                                                             \
	X(JOURNAL_NEWER, "journal-newer", PERMANENT)                                                                 \
	X(JOURNAL_DAMAGED, "journal-damaged", PERMANENT)                                                             \
	X(REPOSITORY_MISSING, "repository-missing", PERMANENT)                                                       \
	X(REPOSITORY_UNREACHABLE, "repository-unreachable", TRANSIENT)                                               \
	X(REPOSITORY_LOCKED, "repository-locked", BUSY)                                                              \
	X(REPOSITORY_PASSWORD, "repository-password", PERMANENT)                                                     \
	X(REPOSITORY_RIGHTS, "repository-rights", PERMANENT)                                                         \
	X(REPOSITORY_FULL, "repository-full", PERMANENT)                                                             \
	X(REPOSITORY_DAMAGED, "repository-damaged", PERMANENT)                                                       \
	X(RESTIC_MISSING, "restic-missing", PERMANENT)                                                               \
	X(RESTIC_UNSUPPORTED, "restic-unsupported", PERMANENT)                                                       \
	X(RESTIC_FAILED, "restic-failed", PERMANENT)                                                                 \
	X(RESTIC_KILLED, "restic-killed", TRANSIENT)                                                                 \
	X(SOURCE_MISSING, "source-missing", PERMANENT)                                                               \
	X(SOURCE_UNREADABLE, "source-unreadable", PERMANENT)                                                         \
	X(SOURCE_NOT_MOUNTED, "source-not-mounted", PERMANENT)                                                       \
	X(SOURCE_EXCLUDED, "source-excluded", PERMANENT)                                                             \
	X(SOURCE_EMPTIED, "source-emptied", PERMANENT)                                                               \
	X(DATA_SHRUNK, "data-shrunk", PARTIAL)                                                                       \
	X(SOURCE_PARTLY_UNREADABLE, "source-partly-unreadable", PARTIAL)                                             \
	X(SNAPSHOT_EMPTY, "snapshot-empty", PERMANENT)                                                               \
	X(SNAPSHOT_MISMATCH, "snapshot-mismatch", PERMANENT)                                                         \
	X(UNIT_MISSING, "unit-missing", PERMANENT)                                                                   \
	X(UNIT_UNSTOPPABLE, "unit-unstoppable", PERMANENT)                                                           \
	X(UNIT_STOP_FAILED, "unit-stop-failed", TRANSIENT)                                                           \
	X(UNIT_START_FAILED, "unit-start-failed", PERMANENT)                                                         \
	X(UNIT_RETURNED, "unit-returned", TRANSIENT)                                                                 \
	X(SYSTEMD_UNAVAILABLE, "systemd-unavailable", PERMANENT)                                                     \
	X(BUS_LOST, "bus-lost", TRANSIENT)                                                                           \
	X(DATABASE_MISSING, "database-missing", PERMANENT)                                                           \
	X(DATABASE_DAMAGED, "database-damaged", PERMANENT)                                                           \
	X(DATABASE_HELD, "database-held", TRANSIENT)                                                                 \
	X(DATABASE_UNSUPPORTED, "database-unsupported", PERMANENT)                                                   \
	X(POSTGRES_UNREACHABLE, "postgres-unreachable", TRANSIENT)                                                   \
	X(POSTGRES_RIGHTS, "postgres-rights", PERMANENT)                                                             \
	X(POSTGRES_CLIENT, "postgres-client", PERMANENT)                                                             \
	X(DUMP_FAILED, "dump-failed", TRANSIENT)                                                                     \
	X(DUMP_INCOMPLETE, "dump-incomplete", PERMANENT)                                                             \
	X(DATABASE_REPLACED, "database-replaced", TRANSIENT)                                                         \
	X(HOOK_FAILED, "hook-failed", PERMANENT)                                                                     \
	X(DEADLINE, "deadline", TRANSIENT)                                                                           \
	X(INTERRUPTED, "interrupted", TRANSIENT)                                                                     \
	X(RUNNER_GONE, "runner-gone", TRANSIENT)                                                                     \
	X(DATABASE_EMPTY, "database-empty", PARTIAL)                                                                 \
	X(DATABASE_UNPROVEN, "database-unproven", PARTIAL)                                                           \
	X(RETENTION_SKIPPED, "retention-skipped", PARTIAL)                                                           \
	X(UNCLEAN_STOP, "unclean-stop", PARTIAL)                                                                     \
	X(CANCELLED, "cancelled", CANCELLED)                                                                         \
	X(UNSUPPORTED, "unsupported", PERMANENT)                                                                     \
	X(INTERNAL, "internal", BUG)

enum error_code {
#define X(name, word, class) ERROR_##name,
	ERROR_CODE_LIST(X)
#undef X
};

/* A zeroed struct error is "no error". It owns its strings; error_clear releases them. */
struct error {
	enum error_code code;
	char *message; /* one sentence, no trailing period, free of control characters */
	char *hint;    /* the next step to take, or NULL */
};

/* Fills `error` (which may be NULL: then nothing is recorded) and returns -1, so that a failing function can say
 * `return error_set(error, ERROR_X, "...", ...)`. An older error in the record is replaced. Control characters in
 * the message are replaced by '?', because messages carry words of other programs. */
int
error_set(struct error *error, enum error_code code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int error_vset(struct error *error, enum error_code code, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* Adds or replaces the next step to take. Returns -1 as error_set does. */
int error_hint(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts words before the message: "while doing X: message". Returns -1. */
int error_prefix(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* NULL is "no error", also as the source of error_copy. */
int error_is_set(const struct error *error);
enum error_class error_class_of(enum error_code code);
const char *error_class_word(enum error_class class);
const char *error_code_word(enum error_code code);

/* ERROR_INTERNAL for a word this version does not know. */
enum error_code error_code_from_word(const char *word);

void error_clear(struct error *error);
void error_copy(struct error *target, const struct error *source);

/* Moves: `target` is cleared first, `source` is empty afterwards. */
void error_move(struct error *target, struct error *source);

#define cleanup_error __attribute__((cleanup(error_clear)))

#endif
