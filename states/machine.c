#include "states/machine.h"

#include <assert.h>
#include <string.h>

#include "adapters/sqlite.h"
#include "core/alloc.h"
#include "states/work.h"

#define ROW(state, event, guard, next) {JOB_##state, EVENT_##event, GUARD_##guard, JOB_##next, false}
#define STAY(state, event)             {JOB_##state, EVENT_##event, GUARD_ALWAYS, JOB_##state, true}

/* What an attempt that went wrong does, in every state in which something may be owed: what is owed is paid
 * in `starting` first; then a transient failure waits for the next attempt. */
#define GIVES_UP(state, event)                                                                                       \
	ROW(state, event, OWES, STARTING), ROW(state, event, RETRY, DELAYING), ROW(state, event, ALWAYS, FAILED)

/* clang-format off: a table */
static const struct transition_row rows[] = {
    ROW(PENDING, TAKE, ALWAYS, DELAYING),
    ROW(PENDING, CANCEL, ALWAYS, FAILED),
    ROW(PENDING, PERMANENT, ALWAYS, FAILED),

    ROW(DELAYING, DUE, ALWAYS, CHECKPOINT),
    ROW(DELAYING, CANCEL, ALWAYS, FAILED),
    ROW(DELAYING, PERMANENT, ALWAYS, FAILED),
    ROW(DELAYING, RECOVER, ALWAYS, DELAYING),

    ROW(CHECKPOINT, DONE, TO_STOP, STOPPING),
    ROW(CHECKPOINT, DONE, ALWAYS, SNAPSHOT),
    GIVES_UP(CHECKPOINT, TRANSIENT),
    GIVES_UP(CHECKPOINT, BUSY),
    GIVES_UP(CHECKPOINT, PERMANENT),
    GIVES_UP(CHECKPOINT, DEADLINE),
    GIVES_UP(CHECKPOINT, CANCEL),
    GIVES_UP(CHECKPOINT, RECOVER),

    ROW(STOPPING, DONE, FROZEN, STARTING),
    ROW(STOPPING, DONE, ALWAYS, SNAPSHOT),
    GIVES_UP(STOPPING, TRANSIENT),
    GIVES_UP(STOPPING, BUSY),
    GIVES_UP(STOPPING, PERMANENT),
    GIVES_UP(STOPPING, DEADLINE),
    GIVES_UP(STOPPING, CANCEL),
    GIVES_UP(STOPPING, RECOVER),

    ROW(SNAPSHOT, DONE, OWES, STARTING),
    ROW(SNAPSHOT, DONE, GOOD, PRUNED),
    ROW(SNAPSHOT, DONE, RETRY, DELAYING),
    ROW(SNAPSHOT, DONE, ALWAYS, FAILED),
    GIVES_UP(SNAPSHOT, TRANSIENT),
    GIVES_UP(SNAPSHOT, BUSY),
    GIVES_UP(SNAPSHOT, PERMANENT),
    GIVES_UP(SNAPSHOT, DEADLINE),
    GIVES_UP(SNAPSHOT, CANCEL),
    /* The snapshot may have been finished: bring the service back, then look for it. */
    ROW(SNAPSHOT, RECOVER, OWES, STARTING),
    ROW(SNAPSHOT, RECOVER, ALWAYS, SNAPSHOT),

    ROW(STARTING, DONE, UNSURE, SNAPSHOT),
    ROW(STARTING, DONE, GOOD, PRUNED),
    ROW(STARTING, DONE, RETRY, DELAYING),
    ROW(STARTING, DONE, ALWAYS, FAILED),
    ROW(STARTING, RECOVER, ALWAYS, STARTING),
    /* Nothing keeps us from bringing the service back; the verdict has taken note. */
    STAY(STARTING, TRANSIENT),
    STAY(STARTING, BUSY),
    STAY(STARTING, PERMANENT),
    STAY(STARTING, DEADLINE),
    STAY(STARTING, CANCEL),
};
/* clang-format on */

const struct transition_row *
machine_rows(size_t *ret_count)
{
	*ret_count = ARRAY_LENGTH(rows);
	return rows;
}

/* These wait for events of the engine and have no work of their own; pruned and failed are ends. */
static const struct state state_pending = {.state = JOB_PENDING};
static const struct state state_delaying = {.state = JOB_DELAYING};
static const struct state state_pruned = {.state = JOB_PRUNED};
static const struct state state_failed = {.state = JOB_FAILED};

static void
remember_dead_restic(void *context, int64_t child_id, pid_t pid)
{
	struct world *world = context;
	world->dead = xreallocarray(world->dead, world->dead_count + 1, sizeof(*world->dead));
	world->dead[world->dead_count++] = (struct dead_child){.child_id = child_id, .pid = pid};
}

struct machine
machine_for(struct world *world)
{
	static struct state states[JOB_STATE_COUNT];
	if (states[JOB_CHECKPOINT].steps[JOB_KIND_BACKUP] == NULL) {
		states[JOB_PENDING] = state_pending;
		states[JOB_DELAYING] = state_delaying;
		states[JOB_CHECKPOINT] = state_checkpoint;
		states[JOB_STOPPING] = state_stopping;
		states[JOB_SNAPSHOT] = state_snapshot;
		states[JOB_STARTING] = state_starting;
		states[JOB_PRUNED] = state_pruned;
		states[JOB_FAILED] = state_failed;
		for (int i = 0; i < JOB_STATE_COUNT; i++)
			assert((int)states[i].state == i);
	}
	return (struct machine){
	    .states = states,
	    .rows = rows,
	    .row_count = ARRAY_LENGTH(rows),
	    .release = work_release,
	    .context = world,
	    .dead_restic = remember_dead_restic,
	};
}

void
world_init(struct world *world, struct event_base *base)
{
	*world = (struct world){.base = base, .sqlite_helper = sqlite_default_helper()};
}

void
world_release(struct world *world)
{
	systemd_close(world->systemd);
	free(world->answered_place);
	free(world->dead);
	*world = (struct world){0};
}

struct systemd *
world_systemd(struct world *world, struct error *error)
{
	if (world->systemd != NULL)
		return world->systemd;
	if (!systemd_is_running()) {
		error_set(error, ERROR_SYSTEMD_UNAVAILABLE,
		    "units cannot be stopped: systemd is not the service manager here");
		error_hint(error, "stop the service by preBackup and start it by postBackup, with \"stopUnits\": []");
		return NULL;
	}
	world->systemd = systemd_open(world->base, error);
	return world->systemd;
}
