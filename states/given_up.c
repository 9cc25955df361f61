#include "states/given_up.h"

#include <systemd/sd-daemon.h>

#include "adapters/hook.h"
#include "core/alloc.h"
#include "core/log.h"

/* For a unit whose job cannot be read any more: its name is enough to start it. */
#define DEFAULT_SETTLE (2 * USEC_PER_SEC)
#define DEFAULT_START  (5 * USEC_PER_MIN)

struct attempt {
	struct event_base *base;
	struct systemd_call *systemd;
	struct hook_call *hook;
	struct error error;
};

static void
tried(void *context, const struct error *error)
{
	struct attempt *attempt = context;
	attempt->systemd = NULL;
	attempt->hook = NULL;
	error_copy(&attempt->error, error);
	event_base_loopbreak(attempt->base);
}

/* Waiting for a slow unit is no hang. */
static void
ping_watchdog(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	(void)context;
	sd_notify(0, "WATCHDOG=1");
}

static void
too_late(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	struct attempt *attempt = context;
	error_set(&attempt->error, ERROR_DEADLINE, "it took too long");
	event_base_loopbreak(attempt->base);
}

static void
wait_for(struct attempt *attempt, int64_t deadline)
{
	struct timeval span = {.tv_sec = deadline / USEC_PER_SEC, .tv_usec = deadline % USEC_PER_SEC};
	struct event *timer = evtimer_new(attempt->base, too_late, attempt);
	event_add(timer, &span);
	struct event *ping = event_new(attempt->base, -1, EV_PERSIST, ping_watchdog, NULL);
	event_add(ping, &(struct timeval){.tv_sec = 1});
	event_base_dispatch(attempt->base);
	event_free(ping);
	event_free(timer);
	if (attempt->systemd != NULL)
		systemd_call_abandon(attempt->systemd);
	hook_call_abandon(attempt->hook);
}

static void
start_unit(struct world *world, const struct obligation *owed, const struct service *spec, struct attempt *attempt)
{
	struct systemd *systemd = world_systemd(world, &attempt->error);
	if (systemd == NULL)
		return;
	char none[] = "";
	struct unit unit = {
	    .name = owed->subject,
	    .role = owed->role,
	    .active = true,
	    .settles = owed->settles,
	    .invocation_id = none,
	};
	struct unit_list units = {.items = &unit, .count = 1};
	attempt->systemd = systemd_start(systemd, &units, spec->settle, NULL, tried, attempt);
	wait_for(attempt, spec->deadlines.start);
}

static void
run_hook(struct world *world, const struct obligation *owed, const struct service *spec, struct attempt *attempt)
{
	struct hook_request request = {
	    .kind = "postBackup",
	    .command = spec->post_backup,
	    .service = spec->name,
	    .job = owed->job_id,
	    .context = attempt,
	};
	attempt->hook = hook_start(world->base, &request, tried, &attempt->error);
	if (attempt->hook != NULL)
		wait_for(attempt, spec->deadlines.hook);
}

int
given_up_retry(struct world *world, struct journal *journal, int64_t until, struct given_up_report *ret_report,
    struct error *error)
{
	cleanup_obligations struct obligation_list list = {0};
	if (journal_given_up(journal, &list, error) < 0)
		return -1;
	struct given_up_report report = {.tried = 0};
	for (size_t i = 0; i < list.count; i++) {
		const struct obligation *owed = &list.items[i];
		if (until != 0 && owed->settled_at >= until)
			continue;
		report.tried++;
		cleanup_job struct job_record job = {0};
		int found = journal_job(journal, owed->job_id, &job, error);
		if (found < 0)
			return -1;
		struct attempt attempt = {.base = world->base};
		if (found == 0)
			job.spec = (struct service){.settle = DEFAULT_SETTLE, .deadlines = {.start = DEFAULT_START}};
		if (owed->kind == OBLIGATION_START_UNIT)
			start_unit(world, owed, &job.spec, &attempt);
		else if (found == 0)
			error_set(&attempt.error, ERROR_JOURNAL_DAMAGED,
			    "postBackup of %s cannot be run: the row of job %lld cannot be read", owed->subject,
			    (long long)owed->job_id);
		else
			run_hook(world, owed, &job.spec, &attempt);
		if (error_is_set(&attempt.error)) {
			log_error("%s still cannot be paid: %s", owed->subject, attempt.error.message);
			error_move(&report.error, &attempt.error);
			continue;
		}
		if (journal_settle(journal, owed->id, RESULT_PAID, NULL, error) < 0)
			return -1;
		report.paid++;
	}
	*ret_report = report;
	return 0;
}
