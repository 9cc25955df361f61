/* Private to the files adapters/postgres*.c and their tests. */
#ifndef ATELIER_ADAPTERS_POSTGRES_INTERNAL_H
#define ATELIER_ADAPTERS_POSTGRES_INTERNAL_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "adapters/postgres.h"
#include "adapters/postgres_library.h"
#include "core/error.h"
#include "core/text.h"

/* All of a source as a conninfo string, also where its name alone would do. The caller owns it. */
char *postgres_source_conninfo(const struct postgres_source *source);

/* ---- a running call: the first member of each kind of them (postgres.c) ---- */

struct postgres_operation {
	void (*stop)(struct postgres_call *call);
	void (*abandon)(struct postgres_call *call);
};

struct postgres_call {
	const struct postgres_operation *operation;
};

/* ---- where a server is, and as whom it is met (postgres_place.c) ---- */

struct postgres_place {
	struct postgres_source source; /* nothing in it is NULL but `passfile` */
	bool other;                    /* the server is met as `user`, not as who we are */
	uid_t user;
	gid_t group;
	char *home; /* of that user; NULL for ourselves */
};

/* Finds the socket where no host is named (POSTGRES_UNREACHABLE if there is none), and the operating system's user:
 * for a socket, if we are root and no passfile says otherwise, that of the database user's name, else the socket's
 * owner. Root reads the passfile itself: the other user could not. */
int postgres_place_find(const struct postgres_source *source, struct postgres_place *ret_place, struct error *error);
void postgres_place_clear(struct postgres_place *place);

#define cleanup_postgres_place __attribute__((cleanup(postgres_place_clear)))

/* "the database app at /run/postgresql:5432"; not printable yet. The caller owns it. */
char *postgres_place_words(const struct postgres_place *place);

/* A passfile that is none: without one libpq would take ~/.pgpass. */
const char *postgres_place_passfile(const struct postgres_place *place);

/* The effective user and group become those of the place, and again what they were. In between nothing may be done
 * but to connect: the whole process is somebody else. */
struct postgres_guise {
	gid_t group;
	int dumpable;
};
int postgres_place_enter(const struct postgres_place *place, struct postgres_guise *ret_guise, struct error *error);
void postgres_place_leave(const struct postgres_place *place, const struct postgres_guise *guise);

/* ---- what a server says when it says no (postgres_error.c) ---- */

/* Makes the error of a SQLSTATE (NULL: the server said nothing) with the server's or libpq's words. */
int
postgres_error_set(struct error *error, const struct postgres_place *place, const char *sqlstate, const char *words);

/* Finds the SQLSTATE in the first line of what libpq says of a connection in verbose mode ("...: FATAL:  3D000: ...")
 * and takes it out of `line`. Returns false if there is none. */
bool postgres_error_split(char *line, char ret_sqlstate[6]);

/* ---- the addresses of a host (postgres_lookup.c) ---- */

/* Comes once, from the loop: the addresses as libpq's hostaddr has them, "::1,127.0.0.1", and the name as often as
 * its host wants it then; NULL with an error, which may be moved (POSTGRES_UNREACHABLE). */
typedef void postgres_lookup_fn(void *context, const char *names, const char *addresses, struct error *error);

/* NULL where nothing is to be looked up by us: the host is the directory of a socket, an address, or a list, or there
 * is no program to ask. `place` outlives the lookup, which frees itself after its callback. */
struct postgres_lookup;
struct postgres_lookup *postgres_lookup_start(
    struct event_base *base, const struct postgres_place *place, postgres_lookup_fn *done, void *context);
void postgres_lookup_abandon(struct postgres_lookup *lookup); /* accepts NULL; no callback comes any more */

/* ---- a connection that asks some questions in turn (postgres_session.c) ---- */

struct postgres_query {
	const char *sql;
	int (*take)(void *context, const struct postgres_library *library, const PGresult *rows,
	    struct error *error); /* NULL: the answer does not matter */
	const char *right;        /* the hint where a right is missing for it; NULL: that of the SQLSTATE */
};

/* Comes once, from the loop; `error` may be moved and is NONE when all was answered. The session is not touched
 * afterwards: free it at any time from now on. */
typedef void postgres_session_fn(void *context, int server_version, struct error *error);

struct postgres_session;
struct postgres_session *postgres_session_start(struct event_base *base, const struct postgres_place *place,
    const struct postgres_query *queries, size_t count, postgres_session_fn *ended, void *context,
    struct error *error);
void postgres_session_free(struct postgres_session *session); /* accepts NULL; no callback comes any more */

/* ---- client programs (postgres_client.c) ---- */

/* What "pg_dump (PostgreSQL) 17.2 (Debian ...)" says: its "17.2" (also "18beta1") and its major version. Returns
 * false for other words. */
bool postgres_client_version(const char *words, char **ret_version, int *ret_major);

/* Major versions, to be compared: 1700 for 170002 (17.2), 906 for 90624 (9.6.24). */
int postgres_major(int64_t server_version);
char *postgres_major_words(int major); /* "17", "9.6"; the caller owns it */

/* postgres_client, which tells the version too. The caller owns both. */
int postgres_client_find(
    const char *program, int64_t server_version, char **ret_path, char **ret_version, struct error *error);

/* ---- the table of contents of an archive (postgres_archive.c) ---- */

/* Which of the tables that are expected have been seen in what `pg_restore --list` writes. */
struct postgres_archive {
	struct postgres_expected {
		uint32_t oid;
		size_t table; /* its place in the facts */
		bool seen;
	} *expected; /* sorted by oid */
	size_t expected_count;
	uint64_t tables; /* entries with rows in them */
};

void postgres_archive_expect(struct postgres_archive *archive, const struct postgres_facts *facts);
void postgres_archive_take(struct postgres_archive *archive, const char *line);
void postgres_archive_clear(struct postgres_archive *archive);

/* The names of the expected tables that were not seen, but for those that `now` does not know any more. The caller
 * owns the list; NULL is the empty one. `now` may be NULL. */
char **postgres_archive_missing(
    const struct postgres_archive *archive, const struct postgres_facts *facts, const struct postgres_facts *now);

/* NAME of postgres_dump_start's files. The caller owns it. */
char *postgres_dump_name(const char *database);

#endif
