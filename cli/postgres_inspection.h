/* A PostgreSQL database asked on a loop of its own, for commands that look without doing. */
#ifndef ATELIER_CLI_POSTGRES_INSPECTION_H
#define ATELIER_CLI_POSTGRES_INSPECTION_H

#include <stdint.h>

#include "core/error.h"

struct postgres_finding {
	int64_t server_version; /* as libpq tells it */
	uint64_t bytes;
	char *client; /* the pg_dump that a backup would take */
};

/* `words` as in the manifest's data.postgres. -1 with what a backup would say; the caller frees `client`. */
int postgres_inspection(const char *words, struct postgres_finding *ret_finding, struct error *error);

#endif
