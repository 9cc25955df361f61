#include "adapters/systemd_internal.h"

#include "core/alloc.h"

#include <string.h>

struct watched {
	struct followed followed;
	char *invocation; /* of the last run before the watch, "" if it is not known any more; NULL: not read
			     yet */
	bool returned;
};

struct systemd_watch {
	struct systemd_call call;
	systemd_returned_fn *returned;
	void *context;
};

/* A run so short that no reading meets it leaves its invocation id behind. */
static bool
has_run(const struct watched *watched, const struct unit_reading *reading)
{
	if (unit_reading_is_up(reading))
		return true;
	return watched->invocation != NULL && reading->invocation_id != NULL && reading->invocation_id[0] != '\0' &&
	       strcmp(reading->invocation_id, watched->invocation) != 0;
}

static void
watch_step(struct followed *followed)
{
	struct watched *watched = (struct watched *)followed;

	if (followed->refused != NULL)
		return;
	watched->returned = watched->returned || has_run(watched, &followed->reading);
	if (watched->invocation == NULL)
		watched->invocation =
		    xstrdup(followed->reading.invocation_id == NULL ? "" : followed->reading.invocation_id);
}

static void
watch_changed(struct followed *followed, const struct unit_reading *partial)
{
	struct watched *watched = (struct watched *)followed;
	watched->returned = watched->returned || has_run(watched, partial);
}

static enum turn
watch_advance(struct systemd_call *call)
{
	struct systemd_watch *watch = (struct systemd_watch *)call;

	for (size_t i = 0; i < call->count; i++) {
		struct watched *watched = (struct watched *)call->units[i];
		if (!watched->returned || watched->followed.finished)
			continue;
		cleanup_free char *name = xstrdup(watched->followed.name);
		watched->followed.finished = true;
		/* The caller may free the watch in its callback: the rest comes in another turn. */
		systemd_call_poke(call);
		watch->returned(watch->context, name);
		return TURN_OVER;
	}
	return TURN_WAIT;
}

static void
watch_release_unit(struct followed *followed)
{
	free(((struct watched *)followed)->invocation);
}

static const struct systemd_call_kind kind_watch = {
    .step = watch_step,
    .advance = watch_advance,
    .changed = watch_changed,
    .release_unit = watch_release_unit,
};

struct systemd_watch *
systemd_watch(struct systemd *systemd, const struct unit_list *units, systemd_returned_fn *returned, void *context)
{
	struct systemd_watch *watch = systemd_call_new(systemd, &kind_watch, sizeof(*watch));
	watch->returned = returned;
	watch->context = context;
	for (size_t i = 0; i < units->count; i++)
		followed_add(&watch->call, units->items[i].name, sizeof(struct watched));
	return watch;
}

void
systemd_watch_free(struct systemd_watch *watch)
{
	if (watch != NULL)
		systemd_call_free(&watch->call);
}
