/* Recovery's first step: processes that outlived their runner. Jobs are taken over by engine_load. */
#include <string.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/log.h"
#include "jobs/runner.h"

/* SIGKILL takes effect at once, unless the process hangs in the kernel. */
#define KILL_PATIENCE (5 * USEC_PER_SEC)

struct leftovers {
	struct child_record *items;
	size_t count;
};

static void
collect(void *context, const struct child_record *child)
{
	struct leftovers *leftovers = context;
	leftovers->items = xreallocarray(leftovers->items, leftovers->count + 1, sizeof(*leftovers->items));
	struct child_record *copy = &leftovers->items[leftovers->count++];
	*copy = *child;
	copy->command = xstrdup(child->command);
}

/* On a full disk the next runner looks for it again: what is owed comes first. */
static void
forget_child(struct journal *journal, const struct child_record *child)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (journal_child_end(journal, child->id, &error) < 0)
		log_warning("%s", error.message);
}

int
recovery_end_children(
    struct journal *journal, recovery_restic_fn *restic, void *context, size_t *ret_ended, struct error *error)
{
	struct leftovers leftovers = {0};
	size_t ended = 0;
	int result = journal_children(journal, collect, &leftovers, error);
	for (size_t i = 0; i < leftovers.count; i++) {
		struct child_record *child = &leftovers.items[i];
		if (result == 0 && child->this_boot && child_identity_alive(&child->identity)) {
			/* No time for SIGINT: it may be reading what is about to be started again. */
			log_notice("ending %s (pid %d), left by a runner that died", child->command,
			    (int)child->identity.pid);
			if (!child_identity_end(&child->identity, KILL_PATIENCE))
				log_warning("pid %d does not end", (int)child->identity.pid);
			ended++;
		}
		if (result == 0 && restic != NULL && strncmp(child->command, "restic", 6) == 0)
			restic(context, child->id, child->identity.pid);
		else if (result == 0)
			forget_child(journal, child);
		free(child->command);
	}
	free(leftovers.items);
	*ret_ended = ended;
	return result;
}

static bool
has_unfinished_job(struct journal *journal, int64_t job_id)
{
	cleanup_job struct job_record job = {0};
	return journal_job(journal, job_id, &job, NULL) > 0 && !job_state_is_terminal(job.state);
}

int
recovery_give_up_orphans(struct journal *journal, size_t *ret_count, struct error *error)
{
	cleanup_obligations struct obligation_list owed = {0};
	size_t count = 0;
	if (journal_obligations(journal, 0, true, &owed, error) < 0)
		return -1;
	for (size_t i = 0; i < owed.count; i++) {
		if (has_unfinished_job(journal, owed.items[i].job_id))
			continue;
		if (journal_settle(
			journal, owed.items[i].id, RESULT_GIVEN_UP, "the job that owed it cannot be read", error) < 0)
			return -1;
		count++;
	}
	*ret_count = count;
	return 0;
}
