#include "cli/unit_inspection.h"

#include <event2/event.h>
#include <stdlib.h>

#include "core/clock.h"

/* Reading properties of units is a matter of milliseconds. */
#define PATIENCE (20 * USEC_PER_SEC)

struct inspection {
	struct event_base *base;
	struct systemd_call *call;
	struct unit_list units;
	struct error error;
};

static void
answered(void *context, const struct unit_list *units, const struct error *error)
{
	struct inspection *inspection = context;
	inspection->call = NULL;
	error_copy(&inspection->error, error);
	for (size_t i = 0; !error_is_set(error) && i < units->count; i++)
		unit_list_add(&inspection->units, &units->items[i]);
	event_base_loopbreak(inspection->base);
}

static void
inspect(struct systemd *systemd, char *const *names, struct inspection *inspection)
{
	const struct timeval patience = {.tv_sec = PATIENCE / USEC_PER_SEC};
	inspection->call = systemd_inspect(systemd, names, answered, inspection);
	event_base_loopexit(inspection->base, &patience);
	event_base_dispatch(inspection->base);
	if (inspection->call == NULL)
		return;
	systemd_call_abandon(inspection->call);
	error_set(&inspection->error, ERROR_SYSTEMD_UNAVAILABLE, "systemd does not answer");
	error_hint(&inspection->error, "see whether `systemctl status` answers");
}

int
unit_inspection(char *const *names, struct unit_list *ret_units, struct error *error)
{
	if (!systemd_is_running()) {
		error_set(error, ERROR_SYSTEMD_UNAVAILABLE,
		    "units are to be stopped, and systemd does not run this machine");
		return error_hint(
		    error, "set \"stopUnits\": [], and stop and start the service in preBackup and postBackup");
	}
	struct inspection inspection = {.base = event_base_new()};
	if (inspection.base == NULL)
		abort();
	struct systemd *systemd = systemd_open(inspection.base, &inspection.error);
	if (systemd != NULL)
		inspect(systemd, names, &inspection);
	systemd_close(systemd);
	event_base_free(inspection.base);
	if (error_is_set(&inspection.error)) {
		unit_list_clear(&inspection.units);
		error_move(error, &inspection.error);
		return -1;
	}
	unit_list_clear(ret_units);
	*ret_units = inspection.units;
	return 0;
}
