/* PostgreSQL databases, dumped by the server's own pg_dump.
 *
 * The server is asked over libpq, asynchronously on the loop; over a Unix socket as the operating system's user of
 * the name of the database's user (peer authentication knows no root): the effective user changes for the moments of
 * connecting only. Programs run as that user in children. A password comes from a passfile alone and is in no
 * argument list, log line or environment.
 *
 * Each start function returns NULL with an error when nothing could be begun; otherwise the callback comes exactly
 * once from the loop, unless postgres_call_abandon is called. A call frees itself after its callback. Nothing here
 * has a deadline: the caller keeps one and calls postgres_call_stop. */
#ifndef ATELIER_ADAPTERS_POSTGRES_H
#define ATELIER_ADAPTERS_POSTGRES_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/child.h"
#include "core/error.h"

/* Where a database is. */
struct postgres_source {
	char *database;
	char *
	    host; /* a host, or the directory of a socket; NULL: the first of /run/postgresql and /tmp that has one */
	char *port;     /* NULL: 5432 */
	char *user;     /* NULL: postgres */
	char *passfile; /* NULL: none */
};

/* Reads a database's name, or (it has a '=' then, as for libpq's dbname) a conninfo string of the keywords dbname,
 * host, port, user and passfile. ERROR_MANIFEST for anything else, a password above all. */
int postgres_source_read(const char *words, struct postgres_source *ret_source, struct error *error);

/* The words that postgres_source_read reads as this; the caller owns them. */
char *postgres_source_words(const struct postgres_source *source);
void postgres_source_clear(struct postgres_source *source);

#define cleanup_postgres_source __attribute__((cleanup(postgres_source_clear)))

/* What the server says of a database. Names are as they are; make them printable before they are shown. */
struct postgres_facts {
	int64_t server_version; /* as libpq tells it: 170002 is 17.2 */
	uint64_t bytes;         /* pg_database_size: with indexes and dead rows, so more than a dump has */
	uint64_t large_objects;
	char *owner, *encoding, *collate, *character_type, *locale_provider;
	char **extensions;    /* "NAME VERSION", sorted */
	char **tables;        /* "SCHEMA.TABLE" whose rows belong in a dump, sorted */
	uint32_t *table_oids; /* of these tables, in their order: a name may hold dots, spaces and newlines */
};
void postgres_facts_copy(const struct postgres_facts *facts, struct postgres_facts *ret_copy);
void postgres_facts_clear(struct postgres_facts *facts); /* leaves it zeroed */

#define cleanup_postgres_facts __attribute__((cleanup(postgres_facts_clear)))

struct postgres_call;

/* `facts` are valid during the call only and NULL on error: POSTGRES_UNREACHABLE (no server there, or it starts or
 * stops), POSTGRES_RIGHTS (password, peer, pg_hba, a right that is missing: also that to read one of the tables),
 * DATABASE_MISSING; POSTGRES_CLIENT where there is no libpq. A host's name is looked up by a child (getent), so
 * nothing waits for a name service but this call; where there is no getent, libpq looks it up, and that blocks. */
typedef void postgres_facts_fn(void *context, const struct postgres_facts *facts, const struct error *error);
struct postgres_call *postgres_inspect_start(struct event_base *base, const struct postgres_source *source,
    postgres_facts_fn *done, void *context, struct error *error);

/* The path of a client program ("pg_dump") that fits a server: of its major version, else the lowest newer one that
 * is installed (PATH, /usr/lib/postgresql/N/bin, /usr/pgsql-N/bin). NULL and ERROR_POSTGRES_CLIENT with what to
 * install. Asks each of them for its version, so it blocks for some milliseconds (program_ask). The caller owns it.
 */
char *postgres_client(const char *program, int64_t server_version, struct error *error);

struct postgres_dump_request {
	const struct postgres_source *source;
	const struct postgres_facts *facts; /* as postgres_inspect_start told them; copied */
	const char *directory;              /* exists, closed to everybody but root */
	child_spawned_fn *on_spawned;       /* of each child that is worth ending after our death; may be NULL */
	void (*on_progress)(void *context, uint64_t bytes_done, uint64_t bytes_expected); /* may be NULL */
	void (*on_words)(void *context, const char *line);                                /* pg_dump's, printable */
	void *context;                                                                    /* of all callbacks */
};

/* Good is `error` NONE alone: pg_dump exited with 0, the whole archive was read by pg_restore, and it holds the rows
 * of every table that the catalogue expected. On any error nothing is left in the directory. */
struct postgres_dump_result {
	struct error error;   /* DUMP_FAILED, DUMP_INCOMPLETE, NO_SPACE, POSTGRES_..., DATABASE_MISSING, CANCELLED */
	char *dump;           /* DIRECTORY/NAME.dump: custom format, not compressed */
	char *roles;          /* DIRECTORY/NAME.roles.sql: what the dump's owners and grants refer to */
	char *sha256;         /* of the dump, 64 hex digits */
	char *client_version; /* "17.2" */
	uint64_t bytes;       /* of the dump */
	uint64_t tables;      /* with rows in it */
};
typedef void postgres_dump_fn(void *context, const struct postgres_dump_result *result);

/* NAME is the database's with every byte but letters, digits, '_', '.' and '-' (not at the beginning) as %XX.
 * Settings and grants of the database itself are in the dump (`pg_restore --create` uses them). */
struct postgres_call *postgres_dump_start(struct event_base *base, const struct postgres_dump_request *request,
    postgres_dump_fn *done, struct error *error);

/* Ends it in good order; `done` comes, with ERROR_CANCELLED. */
void postgres_call_stop(struct postgres_call *call);

/* Kills what it has begun and forgets it; no callback comes, and nothing is removed. Accepts NULL. */
void postgres_call_abandon(struct postgres_call *call);

#endif
