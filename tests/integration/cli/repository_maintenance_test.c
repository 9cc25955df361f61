/* Retention and prune as they follow backups: what goes, what stays, when, and what becomes of them where restic
 * does not do it. */
#include "tests/integration/cli/repository_world.h"

/* web keeps two, wiki one, and archive all; two days are enough of a budget for everything else. */
static void
write_three_services(const struct world *world, const char *more)
{
	const char *at = world->directory;
	cleanup_free char *top = xasprintf("\"retry\": {\"attempts\": 1, \"delay\": \"1s\"}, \"ownState\": false,"
					   " \"schedule\": {\"time\": \"00:00\", \"maxDelay\": 0}%s",
	    more);
	cleanup_free char *services = xasprintf("\"web\": {\"paths\": \"%s/data\", \"retention\": {\"last\": 2, "
						"\"daily\": 0, \"weekly\": 0, \"monthly\": 0}},"
						"\"wiki\": {\"paths\": \"%s/wiki\", \"retention\": {\"last\": 1, "
						"\"daily\": 0, \"weekly\": 0, \"monthly\": 0}},"
						"\"archive\": {\"paths\": \"%s/data\", \"retention\": \"keep-all\"}",
	    at, at, at);
	write_manifest(world, top, services);
}

static int
maintenance_setup(void **state)
{
	if (repository_setup(state) < 0)
		return -1;
	struct world *world = *state;
	cleanup_free char *wiki = world_path(world, "wiki");
	mkdir(wiki, 0700);
	world_write(world, "wiki/page", "words");
	write_three_services(world, "");
	return 0;
}

#define maintenance_test(function) cmocka_unit_test_setup_teardown(function, maintenance_setup, world_teardown)

/* The newest job of this name. */
static int
newest_job(struct world *world, const char *service)
{
	json_t *document = expect_json(world, "jobs --json --limit 50", 0);
	int found = 0;
	size_t index;
	const json_t *job;
	json_array_foreach (json_object_get(document, "jobs"), index, job)
		if (found == 0 && strcmp(json_string_value(json_object_get(job, "service")), service) == 0)
			found = (int)json_integer_value(json_object_get(job, "id"));
	json_decref(document);
	assert_true(found != 0);
	return found;
}

/* The newest job of this name, once it has ended. */
static json_t *
await_newest(struct world *world, const char *service)
{
	int id = newest_job(world, service);
	cleanup_free char *line = xasprintf("follow %d", id);
	world_run(world, line);
	return show_job(world, id);
}

static void
expect_retention(struct world *world, const char *outcome, const char *summary)
{
	json_t *shown = await_newest(world, "(retention)");
	expect_job(shown, strcmp(outcome, "failed") == 0 ? "failed" : "pruned", outcome);
	assert_string_equal(job_text(shown, "summary"), summary);
	json_decref(shown);
}

static void
expect_snapshots(struct world *world, size_t web, size_t wiki, size_t archive)
{
	assert_int_equal(count_snapshots(world, "web"), web);
	assert_int_equal(count_snapshots(world, "wiki"), wiki);
	assert_int_equal(count_snapshots(world, "archive"), archive);
}

/* ---- retention ---- */

static void
each_service_keeps_what_its_policy_says(void **state)
{
	struct world *world = *state;
	for (int i = 0; i < 4; i++) {
		expect_run(world, "backup --all", 0);
		json_decref(await_newest(world, "(retention)"));
	}
	expect_snapshots(world, 2, 1, 4);
	expect_run(world, "backup web", 0);
	expect_retention(world, "complete", "removed 1 of 3 snapshots of 1 service");
	expect_snapshots(world, 2, 1, 4);
	assert_int_equal(count_locks(world), 0);
}

/* Its newest backup failed or is partial: the ones before it may be all there will ever be. */
static void
nothing_goes_of_a_service_whose_newest_backup_is_bad(void **state)
{
	static const char complaining[] = "case \" $* \" in *' backup '*'=service:wiki '*)"
					  " [ -e $at/partial ] && { $real \"$@\"; exit 3; } ;; esac";
	struct world *world = *state;
	wrap_restic(world, complaining);
	expect_run(world, "backup --all", 0);
	expect_retention(world, "complete", "removed 0 of 2 snapshots of 2 services");
	world_write(world, "partial", "");
	expect_run(world, "backup --all", 3);
	json_t *shown = await_newest(world, "(retention)");
	expect_job(shown, "pruned", "complete");
	json_decref(shown);
	expect_snapshots(world, 2, 2, 2);
	world_rename(world, "wiki", "elsewhere");
	expect_run(world, "backup --all", 1);
	expect_retention(world, "complete", "removed 1 of 3 snapshots of 1 service");
	expect_snapshots(world, 2, 2, 3);

	world_rename(world, "elsewhere", "wiki");
	world_rename(world, "partial", "whole");
	expect_run(world, "backup wiki", 0);
	expect_retention(world, "complete", "removed 2 of 3 snapshots of 1 service");
	expect_snapshots(world, 2, 1, 3);
}

/* The backups are good all the same, and what was missed goes the next time. */
static void
a_retention_that_fails_is_made_up_for(void **state)
{
	static const char refusing[] =
	    "case \" $* \" in *' forget '*) [ -e $at/refuse ] &&"
	    " { echo 'Fatal: unable to remove the snapshot: the storage does not want to' >&2; exit 1; } ;; esac";
	struct world *world = *state;
	wrap_restic(world, refusing);
	expect_run(world, "backup web wiki", 0);
	expect_retention(world, "complete", "removed 0 of 2 snapshots of 2 services");
	world_write(world, "refuse", "");
	expect_run(world, "backup wiki", 0);
	json_t *shown = await_newest(world, "(retention)");
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, "restic-failed");
	assert_string_equal(job_text(shown, "summary"), "");
	json_decref(shown);
	expect_run(world, "show 3", 0);
	expect_words(world->out, "complete");
	assert_int_equal(count_snapshots(world, "wiki"), 2);

	world_rename(world, "refuse", "accept");
	expect_run(world, "backup web", 0);
	expect_retention(world, "complete", "removed 1 of 4 snapshots of 2 services");
	expect_snapshots(world, 2, 1, 0);
}

/* ---- prune ---- */

/* Which maintenance jobs begin and end, in which order, and who is at work then. */
struct order {
	int at_work, backups_ended;
	int retentions, prunes;
	int64_t retention, prune;
};

static void
see_transition(void *context, const struct transition *transition)
{
	struct order *order = context;
	bool begins = transition->from == JOB_DELAYING && transition->to == JOB_CHECKPOINT;
	bool ends = job_state_is_terminal(transition->to);
	if (begins)
		order->at_work++;
	if (transition->job_id == order->retention && begins) {
		assert_int_equal(order->at_work, 1);
		assert_int_equal(order->backups_ended, 3);
	} else if (transition->job_id == order->prune && begins) {
		assert_int_equal(order->at_work, 1);
		assert_int_equal(order->retentions, 1);
	}
	if (!ends)
		return;
	order->at_work--;
	if (transition->job_id == order->retention)
		order->retentions++;
	else if (transition->job_id == order->prune)
		order->prunes++;
	else
		order->backups_ended++;
}

static size_t
count_jobs(struct world *world, const char *service)
{
	cleanup_free char *line = xasprintf("jobs %s --json", service);
	json_t *document = expect_json(world, line, 0);
	size_t count = json_array_size(json_object_get(document, "jobs"));
	json_decref(document);
	return count;
}

static void
a_night_ends_with_a_prune_once_a_week(void **state)
{
	struct world *world = *state;
	wrap_restic(world, "");
	write_three_services(world, ", \"prune\": {\"maxRepackSize\": \"3MiB\"}");
	expect_run(world, "run", 0);
	json_t *shown = await_newest(world, "(prune)");
	expect_job(shown, "pruned", "complete");
	json_decref(shown);
	struct order order = {.retention = newest_job(world, "(retention)"), .prune = newest_job(world, "(prune)")};
	each_transition(world, see_transition, &order);
	assert_int_equal(order.retentions + order.prunes, 2);
	cleanup_free char *calls = world_read(world, "calls");
	expect_words(calls, "prune --max-repack-size=3145728");

	/* Another night: that of yesterday, which the clock allows to make up for. */
	write_three_services(world, ", \"prune\": {\"every\": \"7d\"}");
	cleanup_free char *manifest = world_read(world, "manifest.json");
	memcpy(strstr(manifest, "00:00"), "23:59", 5);
	world_write(world, "manifest.json", manifest);
	expect_run(world, "run", 0);
	assert_int_equal(count_jobs(world, "web"), 2);
	json_decref(await_newest(world, "(retention)"));
	assert_int_equal(count_jobs(world, "(retention)"), 2);
	assert_int_equal(count_jobs(world, "(prune)"), 1);
}

static void
no_prune_where_somebody_else_does_it(void **state)
{
	struct world *world = *state;
	write_three_services(world, ", \"prune\": {\"every\": \"never\"}");
	expect_run(world, "run", 0);
	json_decref(await_newest(world, "(retention)"));
	assert_int_equal(count_jobs(world, "(retention)"), 1);
	assert_int_equal(count_jobs(world, "(prune)"), 0);
}

/* Its time is up: asked to end, it takes its lock along; the next night goes on with it. */
static void
a_prune_that_takes_too_long_is_ended(void **state)
{
	struct world *world = *state;
	wrap_restic(world, "case \" $* \" in *' prune '*) " STAND_BY " ;; esac");
	write_three_services(world, ", \"prune\": {\"maxDuration\": \"5s\"}");
	expect_run(world, "run --detach", 0);
	halt_with_lock(world);
	until_true(job_is_in(world, newest_job(world, "(prune)"), "failed"));
	json_t *shown = await_newest(world, "(prune)");
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, "deadline");
	assert_int_equal(job_number(shown, "attempt"), 1);
	json_decref(shown);
	assert_int_equal(count_locks(world), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    maintenance_test(each_service_keeps_what_its_policy_says),
	    maintenance_test(nothing_goes_of_a_service_whose_newest_backup_is_bad),
	    maintenance_test(a_retention_that_fails_is_made_up_for),
	    maintenance_test(a_night_ends_with_a_prune_once_a_week),
	    maintenance_test(no_prune_where_somebody_else_does_it),
	    maintenance_test(a_prune_that_takes_too_long_is_ended),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
