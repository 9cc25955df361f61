/* Many services in one repository: never more at work than the manifest allows, retention alone, and one asks for all
 * of them whether it answers. */
#include "tests/integration/cli/repository_world.h"

#define SERVICES 50
#define PARALLEL 4

static void
write_many_services(const struct world *world)
{
	cleanup_text struct text services = {.string = NULL};
	for (int i = 0; i < SERVICES; i++)
		text_printf(
		    &services, "%s\"s%02d\": {\"paths\": \"%s/data\"}", i > 0 ? ", " : "", i, world->directory);
	cleanup_free char *top = xasprintf("\"limits\": {\"parallel\": %d}, \"ownState\": false", PARALLEL);
	write_manifest(world, top, services.string);
}

struct house {
	int at_work, most, ended;
	bool alone; /* the retention is at work */
};

static void
see_transition(void *context, const struct transition *transition)
{
	struct house *house = context;
	bool retention = transition->job_id == SERVICES + 1;
	assert_int_equal(transition->attempt, 1);
	if (transition->to == JOB_CHECKPOINT) {
		house->at_work++;
		house->alone |= retention;
		assert_true(!house->alone || house->at_work == 1);
	}
	if (house->at_work > house->most)
		house->most = house->at_work;
	if (!job_state_is_terminal(transition->to))
		return;
	assert_int_equal(transition->to, JOB_PRUNED);
	house->at_work--;
	house->ended++;
	house->alone &= !retention;
}

static void
fifty_services_four_at_a_time(void **state)
{
	struct world *world = *state;
	write_many_services(world);
	expect_run(world, "backup --all", 0);
	expect_run(world, "follow", 0);
	struct house house = {.at_work = 0};
	each_transition(world, see_transition, &house);
	assert_int_equal(house.ended, SERVICES + 1);
	assert_int_equal(house.at_work, 0);
	assert_int_equal(house.most, PARALLEL);
	assert_int_equal(count_snapshots(world, NULL), SERVICES);
	assert_int_equal(count_locks(world), 0);
}

static void
who_takes_nothing_down_does_not_wait_for_the_answer(void **state)
{
	static const char halting[] = "case \" $* \" in *' cat config '*) " STAND_BY " ;; esac";
	struct world *world = *state;
	const char *at = world->directory;
	cleanup_free char *services =
	    xasprintf("\"asks\": {\"paths\": \"%s/data\"}, \"goes-on\": {\"paths\": \"%s/data\"},"
		      " \"waits\": {\"paths\": \"%s/data\", \"preBackup\": \"echo >%s/stopped\"}",
		at, at, at, at);
	write_manifest(world, "\"limits\": {\"parallel\": 3}, \"ownState\": false", services);
	expect_run(world, "backup asks", 0); /* the repository is known from now on */
	expect_run(world, "follow", 0);
	world_end_runner(world);
	wrap_restic(world, halting);
	expect_run(world, "backup --all --detach", 0);
	restic_that_stands_by(world);
	until_true(job_is_in(world, 4, "pruned"));
	assert_true(job_is_in(world, 3, "checkpoint"));
	assert_true(job_is_in(world, 5, "checkpoint"));
	assert_false(world_has(world, "stopped"));
	world_write(world, "go", "");
	expect_run(world, "follow", 0);
	assert_true(world_has(world, "stopped"));
	for (int id = 3; id <= 5; id++) {
		json_t *shown = show_job(world, id);
		expect_job(shown, "pruned", "complete");
		json_decref(shown);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    repository_test(fifty_services_four_at_a_time),
	    repository_test(who_takes_nothing_down_does_not_wait_for_the_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
