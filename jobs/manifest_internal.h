/* What the files of the manifest share: the tables that say which keys there are, the reader that follows
 * them, and what a text has to look like to be a path, a unit's name, a tag. */
#ifndef ATELIER_JOBS_MANIFEST_INTERNAL_H
#define ATELIER_JOBS_MANIFEST_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/problem.h"
#include "core/text.h"
#include "jobs/manifest.h"

#define MANIFEST_NEWEST_VERSION 2

/* What a value is read into. */
enum manifest_shape {
	SHAPE_NESTED, /* a struct, filled by the row's own table */
	SHAPE_JSON,   /* json_t *, borrowed */
	SHAPE_TEXT,   /* char * */
	SHAPE_LIST,   /* char **; an empty list that was given is not NULL */
	SHAPE_NUMBER, /* int64_t; times in microseconds */
	SHAPE_ANSWER, /* enum answer */
};

enum answer { ANSWER_NONE, ANSWER_NO, ANSWER_YES };

/* X(name, shape, what is expected, an example as JSON) */
#define MANIFEST_TYPE_LIST(X)                                                                                        \
	X(OBJECT, NESTED, "an object", "{}")                                                                         \
	X(SERVICES, JSON, "an object with one entry per service", "{\"web\": {}}")                                   \
	X(VERSION, NUMBER, "1 or 2", "2")                                                                            \
	X(SWITCH, ANSWER, "true or false", "true")                                                                   \
	X(NUMBER, NUMBER, "a whole number", "1")                                                                     \
	X(DURATION, NUMBER, "a duration (\"90s\", \"5m\", \"1h30m\") or whole seconds", "\"5m\"")                    \
	X(INTERVAL, NUMBER, "a duration, or \"never\"", "\"7d\"")                                                    \
	X(SIZE, NUMBER, "a size (\"512MiB\", \"2GiB\") or whole bytes", "\"1GiB\"")                                  \
	X(RETENTION, NESTED, "an object, or \"keep-all\"", "{\"last\": 3, \"daily\": 7}")                            \
	X(TIME, NUMBER, "a time of day (\"HH:MM\")", "\"02:00\"")                                                    \
	X(IO_CLASS, NUMBER, "\"none\", \"best-effort\" or \"idle\"", "\"idle\"")                                     \
	X(HOST, TEXT, "a host name", "\"cellar\"")                                                                   \
	X(GROUP, TEXT, "a group's name", "\"backup\"")                                                               \
	X(PROGRAM, TEXT, "a program's name or absolute path", "\"restic\"")                                          \
	X(SHELL, TEXT, "shell text", "\"systemctl reload web\"")                                                     \
	X(PATH, TEXT, "an absolute path", "\"/var/lib/web\"")                                                        \
	X(ONE_PATH, LIST, "an absolute path", "\"/var/lib/web/app.db\"")                                             \
	X(PATHS, LIST, "an absolute path or a list of them", "[\"/var/lib/web\"]")                                   \
	X(NAMES, LIST, "a name or a list of names", "\"web\"")                                                       \
	X(DATABASES, LIST, "a name, an object, or a list of them", "\"web\"")                                        \
	X(NAME, TEXT, "a name", "\"web\"")                                                                           \
	X(SERVER, TEXT, "a host, or the directory of a socket", "\"/run/postgresql\"")                               \
	X(PORT, TEXT, "a port", "5432")                                                                              \
	X(PATTERNS, LIST, "a list of patterns", "[\"*.tmp\"]")                                                       \
	X(TAGS, LIST, "a list of tags", "[\"nightly\"]")                                                             \
	X(UNITS, LIST, "a list of unit names", "[\"web.service\"]")

enum manifest_type {
#define X(name, shape, words, example) MANIFEST_##name,
	MANIFEST_TYPE_LIST(X)
#undef X
};

struct manifest_type_record {
	enum manifest_shape shape;
	const char *words, *example;
};

extern const struct manifest_type_record manifest_types[];

/* A key of an object: one row says all that reader, check and documentation know about it. A table ends with
 * a row without a name. */
struct manifest_key {
	const char *name;
	enum manifest_type type;
	int since;                       /* the first version of the format that has it */
	int until;                       /* the last one; 0: all since then */
	size_t offset;                   /* of the value in the struct that the table fills */
	const struct manifest_key *keys; /* of an object, or of each service */
	int64_t lowest, highest;         /* numbers and durations */
	const char *initial;             /* the value of an absent key as JSON, or NULL */
	const char *doc;                 /* a line of docs/manifest.md */
};

extern const struct manifest_key manifest_keys[];         /* fills struct manifest_draft */
extern const struct manifest_key manifest_service_keys[]; /* fills struct service_draft */

/* A `retention` as it is written. */
struct retention_draft {
	struct retention_policy policy;
	bool keep_all;
};

/* The top level as it is written. */
struct manifest_draft {
	int64_t version;
	char *host;
	struct {
		char *file, *password_file, *environment_file, *cache_directory, *program;
		enum answer initialize;
	} repository;
	struct {
		int64_t time, max_delay;
	} schedule;
	struct {
		int64_t parallel, upload_kib, download_kib, nice, io_class, io_level;
	} limits;
	struct deadlines deadlines;
	struct retry_settings retry;
	int64_t overdue_after;
	int64_t settle;
	int64_t max_shrink;
	struct retention_draft retention;
	struct prune_settings prune;
	char *status_group;
	enum answer own_state;
	json_t *services;
};

/* A PostgreSQL database that is written as an object. */
struct database_draft {
	char *database, *host, *port, *user, *passfile;
};

/* A service as it is written. */
struct service_draft {
	char *data_directory;
	struct {
		char **sqlite, **postgres, **files, **excludes;
	} data;
	char **paths;
	char **excludes;
	enum answer manual, mk_service;
	char **tags;
	char *pre_backup, *post_backup;
	enum answer stop_for_backup;
	char **stop_units;
	int64_t overdue_after;
	int64_t max_shrink;
	struct deadlines deadlines;
	struct retention_draft retention;
};

/* A step on the way to the reader's place: into a key, or (without one) into an item of a list. Keys are borrowed. */
struct manifest_step {
	const char *key;
	size_t index;
};

/* The longest way that the tables know is services.NAME.data.postgres[0].host. */
#define MANIFEST_DEEPEST 8

/* Where the reader is, and what it found so far. */
struct manifest_reader {
	const char *path;
	int version; /* of the format; 0: unknown, nothing more can be said about the rest */
	struct problem_list *problems;
	struct manifest_step
	    steps[MANIFEST_DEEPEST]; /* put into words ("services.web.data.sqlite[1]") for a problem only */
	size_t depth;
	size_t failures;                 /* problems that make the manifest unusable */
	size_t listed[PROBLEM_NOTE + 1]; /* problems added to the list, by severity: no warning crowds an error out */
	size_t left_out;                 /* and those that were too many for it */
};

/* Steps into a key, which has to live until manifest_leave, or into an item of a list. The return value goes to
 * manifest_leave. */
size_t manifest_enter(struct manifest_reader *reader, const char *key);
size_t manifest_enter_item(struct manifest_reader *reader, size_t index);
void manifest_leave(struct manifest_reader *reader, size_t mark);

/* Notes a problem at the reader's place. The manifest cannot be used any more. */
void manifest_refuse(struct manifest_reader *reader, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Notes one that the manifest survives. */
void manifest_warn(struct manifest_reader *reader, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Refuses a value for its JSON type. */
void
manifest_refuse_type(struct manifest_reader *reader, const char *key, enum manifest_type type, const json_t *found);

/* Judges a text as one of that type. Returns false after it was refused. */
bool manifest_judge_text(struct manifest_reader *reader, enum manifest_type type, const char *string);

/* Calls `each` with each item of a list, at its place. Refuses a list that is too long. */
typedef void
manifest_item_fn(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, char ***list);
void manifest_read_items(struct manifest_reader *reader, const struct manifest_key *key, json_t *value,
    manifest_item_fn *each, char ***list);

/* Reads `data.postgres` into a list of what adapters/postgres.h reads: names, and where the key has a table of its
 * own also objects, which become conninfo strings. One database twice is refused. */
void
manifest_read_databases(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target);

/* Which database such words mean, whoever asks for it: equal words for the same one. The caller owns them. */
char *manifest_database_identity(const char *words);

/* Reads the JSON of a manifest into a tree that has its own memory: nothing may be changed in it, no reference to a
 * part of it may be counted, and it goes with manifest_release_tree, which is called after a failure (NULL) too. One
 * tree at a time. */
json_t *manifest_decode(const char *content, size_t length, json_error_t *error);
void manifest_release_tree(void);

/* Follows a table: each value is judged and stored in `target`, null counts as absent, unknown keys are
 * refused. What is absent leaves `target` as it was. */
void
manifest_read_object(struct manifest_reader *reader, json_t *object, const struct manifest_key *keys, void *target);

/* Stores every `initial` value of a table. */
void manifest_read_initials(struct manifest_reader *reader, const struct manifest_key *keys, void *target);

/* Releases all that a table's struct owns. */
void manifest_release(const struct manifest_key *keys, void *target);

/* Reads and judges one entry of `services`. What it does not say is taken from `defaults`,
 * which own nothing but their settings of restic: the service borrows those. */
void manifest_read_service(struct manifest_reader *reader, const struct service *defaults, const char *name,
    json_t *entry, struct service *ret_service);

/* "HH:MM" to microseconds since midnight. */
bool manifest_parse_time(const char *string, int64_t *ret_microseconds);

/* Each says what is wrong with a text ("is not absolute"), or NULL. */
const char *manifest_path_fault(const char *string);
const char *manifest_server_fault(const char *string);
const char *manifest_port_fault(const char *string);
const char *manifest_program_fault(const char *string);
const char *manifest_service_fault(const char *string);
const char *manifest_unit_fault(const char *string);
const char *manifest_tag_fault(const char *string);
const char *manifest_host_fault(const char *string);
const char *manifest_group_fault(const char *string);
const char *manifest_word_fault(const char *string);
const char *manifest_shell_fault(const char *string);

#endif
