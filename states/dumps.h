/* Dumps of a service's PostgreSQL databases. */
#ifndef ATELIER_STATES_DUMPS_H
#define ATELIER_STATES_DUMPS_H

#include "adapters/postgres.h"
#include "states/work.h"

/* Of one database of the spec, in its order. */
struct database_dump {
	struct postgres_source source;
	char *dump, *roles; /* in the staging place; NULL: not dumped yet */
	int64_t taken_at;   /* wall clock */
	uint64_t bytes, tables, large_objects;
	int64_t server_version;
	char *owner, *encoding, *client_version, *sha256;
	char **extensions;
};

/* As many as the spec has databases, made when first asked for. */
struct database_dump *dumps_of(struct job *job);

/* Before anything is begun: the servers answer, the databases are there, and a fitting pg_dump is installed. */
enum step_result step_ask_postgres(struct job *job, struct error *error);

/* Dumps all of them, one after the other, each proven. */
enum step_result step_dump_postgres(struct job *job, struct error *error);

void dumps_release(struct job *job);

#endif
