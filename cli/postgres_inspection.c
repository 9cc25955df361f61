#include "cli/postgres_inspection.h"

#include <event2/event.h>
#include <sys/time.h>

#include "adapters/postgres.h"
#include "core/alloc.h"

/* Seconds. */
#define PATIENCE 20

struct inspection {
	struct event_base *base;
	struct postgres_call *call;
	struct postgres_finding finding;
	struct error error;
};

static void
answered(void *context, const struct postgres_facts *facts, const struct error *error)
{
	struct inspection *inspection = context;
	inspection->call = NULL;
	event_base_loopbreak(inspection->base);
	if (facts == NULL) {
		error_copy(&inspection->error, error);
		return;
	}
	inspection->finding.server_version = facts->server_version;
	inspection->finding.bytes = facts->bytes;
	inspection->finding.client = postgres_client("pg_dump", facts->server_version, &inspection->error);
}

static void
ask(struct inspection *inspection, const struct postgres_source *source)
{
	const struct timeval patience = {.tv_sec = PATIENCE};
	inspection->call = postgres_inspect_start(inspection->base, source, answered, inspection, &inspection->error);
	if (inspection->call == NULL)
		return;
	event_base_loopexit(inspection->base, &patience);
	event_base_dispatch(inspection->base);
	if (inspection->call == NULL)
		return;
	postgres_call_abandon(inspection->call);
	error_set(
	    &inspection->error, ERROR_POSTGRES_UNREACHABLE, "the server has not answered within %d s", PATIENCE);
}

int
postgres_inspection(const char *words, struct postgres_finding *ret_finding, struct error *error)
{
	cleanup_postgres_source struct postgres_source source = {.database = NULL};
	struct inspection inspection = {.base = event_base_new()};
	if (inspection.base == NULL)
		return error_set(error, ERROR_SYSTEM, "no event loop can be made");
	if (postgres_source_read(words, &source, &inspection.error) == 0)
		ask(&inspection, &source);
	event_base_free(inspection.base);
	if (error_is_set(&inspection.error)) {
		error_move(error, &inspection.error);
		return -1;
	}
	*ret_finding = inspection.finding;
	return 0;
}
