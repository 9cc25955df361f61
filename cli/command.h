/* A command of the program: one file each, one row in the table of cli/main.c. */
#ifndef ATELIER_CLI_COMMAND_H
#define ATELIER_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"
#include "core/problem.h"
#include "jobs/job.h"
#include "jobs/journal.h"
#include "jobs/manifest.h"

/* The same everywhere; docs/exit-codes.md. X(name, number, what it means) */
#define EXIT_CODE_LIST(X)                                                                                            \
	X(COMPLETE, 0, "everything asked for was done, and is good")                                                 \
	X(FAILED, 1, "something failed")                                                                             \
	X(USAGE, 2, "wrong usage or configuration; nothing was begun")                                               \
	X(PARTIAL, 3, "done, but something is missing from it")                                                      \
	X(CANCELLED, 4, "cancelled")                                                                                 \
	X(OVERDUE, 5, "status: nothing failed, but a backup is overdue")

enum exit_code {
#define X(name, number, text) CODE_##name = number,
	EXIT_CODE_LIST(X)
#undef X
};

/* The options every command has, and what follows them. */
struct invocation {
	const char *manifest_path;   /* --manifest, $ATELIER_BACKUP_MANIFEST, default */
	const char *state_directory; /* --state-dir, $ATELIER_BACKUP_STATE_DIR, /var/lib/atelier-backup */
	/* --runtime-dir, $ATELIER_BACKUP_RUNTIME_DIR, else /run/atelier-backup beside the default state directory and
	 * the state directory itself beside any other: two instances never meet at one socket. */
	const char *runtime_directory;
	const char *restic_program; /* --restic, $ATELIER_BACKUP_RESTIC, or NULL: the manifest's */
	bool json;                  /* --json */
	bool verbose;               /* --verbose: debug lines */
	/* Set only for commands that list them in their row: */
	bool all, dry_run, offline, detach, owed, watch;
	long limit;            /* --limit N, 0: not given */
	long ready_descriptor; /* --ready-fd N, 0: not given */
	long guardian;         /* --guardian PID, 0: not given */
	long adopt;            /* --adopt PID, 0: not given */
	uint64_t start_ticks;  /* --start-ticks N */
	char *const *operands; /* NULL-terminated, printable-checked */
	size_t operand_count;
};

/* Options a command knows besides the common ones, as bits. */
enum command_option {
	OPTION_ALL = 1,
	OPTION_DRY_RUN = 2,
	OPTION_OFFLINE = 4,
	OPTION_LIMIT = 8,
	OPTION_DETACH = 16,
	OPTION_OWED = 32,
	OPTION_WATCH = 64,
	OPTION_READY = 128,
	OPTION_GUARDED = 256,
	OPTION_ADOPT = 512,
};

struct command {
	const char *name;
	const char *operands; /* "SERVICE...", "JOB", "" */
	const char *summary;  /* one line of the help */
	const char *help;     /* the rest of `command --help`: what it does, examples */
	unsigned options;
	size_t least_operands, most_operands;
	bool needs_root;
	bool hidden; /* for the program itself and its units: not in the list of commands */
	enum exit_code (*run)(const struct invocation *invocation);
};

extern const struct command command_backup, command_run, command_recover, command_check, command_status, command_list,
    command_jobs, command_show, command_init, command_follow, command_cancel, command_retry, command_runner,
    command_guardian, command_retention;

/* ---- shared by the commands (cli/common.c) ---- */

/* Prints an error with its hint to stderr ("atelier-backup: message" / "  hint"); with --json as the JSON object
 * {"error": {"code","class","message","hint"}} to stdout instead. Returns the code given. */
enum exit_code cli_fail(const struct invocation *invocation, const struct error *error, enum exit_code code);

/* The exit code that says what an error says: USAGE for usage and configuration, CANCELLED, else FAILED. */
enum exit_code cli_code_of(enum error_code code);

/* manifest_load with what the command line overrides. */
int
cli_read_manifest(const struct invocation *invocation, struct manifest *ret_manifest, struct problem_list *problems);

/* Loads the manifest; on problems of severity error prints all of them and returns -1 (exit code CODE_USAGE).
 */
int cli_load_manifest(const struct invocation *invocation, struct manifest *ret_manifest);

/* Looks at the files that hold the repository's secrets; prints what is wrong with them and returns -1
 * (CODE_USAGE). */
int cli_check_secrets(const struct invocation *invocation, const struct restic_settings *settings);

/* Opens the journal for writing / reading; prints the error and returns -1 on failure. *ret_journal may be
 * NULL after the reading one: there is none yet. */
int cli_open_journal(const struct invocation *invocation, struct journal **ret_journal);
int cli_open_journal_readonly(const struct invocation *invocation, struct journal **ret_journal);

/* The journal's number of a job ("12"); ERROR_USAGE for anything else. */
int cli_job_id(const char *word, int64_t *ret_job, struct error *error);

/* The services named by the operands, or all (when `all`, or no operands and `default_all`). An unknown name
 * is an error that suggests the nearest one: prints it and returns -1 (CODE_USAGE). The caller frees the
 * array; the services stay the manifest's. */
int cli_select_services(const struct invocation *invocation, const struct manifest *manifest, bool default_all,
    const struct service ***ret_services, size_t *ret_count);

/* ERROR_USAGE for a name that the manifest does not have, with the nearest one as the hint. Returns -1. */
int cli_unknown_service(const struct manifest *manifest, const char *name, struct error *error);

/* Everything that keeps a service from being backed up, but the repository, which is the same for all: its sources,
 * databases, units and hooks. */
void cli_check_service(const struct service *service, struct problem_list *problems);

static inline void
cleanup_journal_function(struct journal **journal)
{
	journal_close(*journal);
}

#define cleanup_journal  __attribute__((cleanup(cleanup_journal_function)))
#define cleanup_manifest __attribute__((cleanup(manifest_clear)))

#endif
