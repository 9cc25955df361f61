#include "cli/owed.h"

#include <event2/event.h>
#include <time.h>

#include "cli/log_observer.h"
#include "core/alloc.h"
#include "core/log.h"
#include "jobs/runner.h"
#include "states/given_up.h"
#include "states/machine.h"

/* The holder of the lock may be about to die, too; one that lives pays by itself. */
#define LOCK_PATIENCE (5 * USEC_PER_SEC)
#define LOCK_PAUSE_NS (50 * 1000 * 1000L)

static void
tell_notice(void *context, const char *words)
{
	(void)context;
	log_notice("%s", words);
}

static int
pay(struct journal *journal, struct error *error)
{
	struct event_base *base = event_base_new();
	if (base == NULL)
		return error_set(error, ERROR_SYSTEM, "no event loop can be made");
	struct world world;
	world_init(&world, base);
	struct machine machine = machine_for(&world);
	struct engine_observer observer = log_observer();
	const struct runner_settings settings = {
	    .base = base,
	    .journal = journal,
	    .clock = clock_system(),
	    .machine = &machine,
	    .parallel = 1,
	    .listener = -1,
	    .observer = &observer,
	    .notice = tell_notice,
	    .until_paid = true,
	};
	enum runner_end end;
	int result = runner_run(&settings, &end, error);
	world_release(&world);
	event_base_free(base);
	return result;
}

/* 1, 0 or -1. */
static int
something_is_owed(struct journal *journal, struct error *error)
{
	cleanup_obligations struct obligation_list owed = {0};
	if (journal_obligations(journal, 0, true, &owed, error) < 0)
		return -1;
	return owed.count > 0;
}

/* Ends when nothing is owed, by whomever it was paid. */
static int
see_paid(struct journal *journal, struct error *error)
{
	int64_t deadline = clock_monotonic(clock_system()) + LOCK_PATIENCE;
	for (;;) {
		int owed = something_is_owed(journal, error);
		if (owed <= 0)
			return owed;
		bool held;
		pid_t holder;
		if (journal_lock_runner(journal, &held, &holder, error) < 0)
			return -1;
		if (held) {
			int result = pay(journal, error);
			journal_unlock_runner(journal);
			return result;
		}
		if (clock_monotonic(clock_system()) > deadline) {
			log_notice("a live runner (pid %d) sees to what is owed", (int)holder);
			return 0;
		}
		nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
	}
}

/* What was given up while the machine went down, or by a life of it before that: the reason may be gone with it. */
static int
retry_former_boots(struct journal *journal, struct error *error)
{
	struct timespec up;
	clock_gettime(CLOCK_BOOTTIME, &up);
	int64_t booted_at = clock_wall(clock_system()) - (int64_t)up.tv_sec * USEC_PER_SEC;
	cleanup_obligations struct obligation_list given_up = {0};
	if (journal_given_up(journal, &given_up, error) < 0)
		return -1;
	bool any = false, held;
	for (size_t i = 0; i < given_up.count; i++)
		any |= given_up.items[i].settled_at < booted_at;
	if (!any || journal_lock_runner(journal, &held, NULL, error) < 0)
		return any ? -1 : 0;
	if (!held)
		return 0;
	struct event_base *base = event_base_new();
	if (base == NULL)
		return error_set(error, ERROR_SYSTEM, "no event loop can be made");
	struct world world;
	world_init(&world, base);
	struct given_up_report report = {0};
	int result = given_up_retry(&world, journal, booted_at, &report, error);
	log_notice("%zu of %zu things that were given up before this boot are paid", report.paid, report.tried);
	error_clear(&report.error);
	world_release(&world);
	event_base_free(base);
	journal_unlock_runner(journal);
	return result;
}

enum exit_code
owed_pay(const struct invocation *invocation)
{
	cleanup_error struct error error = {0};
	cleanup_journal struct journal *seen = NULL;
	cleanup_journal struct journal *journal = NULL;
	/* Makes none where there is none. What is wrong with one, and that it is of an older version, is seen to by
	 * opening it for writing. */
	if (journal_open_readonly(invocation->state_directory, clock_system(), &seen, NULL) == 0 && seen == NULL)
		return CODE_COMPLETE;
	if (cli_open_journal(invocation, &journal) < 0)
		return CODE_FAILED;
	if (see_paid(journal, &error) < 0 || retry_former_boots(journal, &error) < 0)
		return cli_fail(invocation, &error, CODE_FAILED);
	return CODE_COMPLETE;
}
