/* Databases that have lost most of what they held, beside so much else that nobody sees it in the whole; and what is
 * known of a snapshot that is found again after a crash. */
#include "tests/integration/cli/database_world.h"

/* Two databases, and beside them so much else that nobody sees in the whole what becomes of them. */
static void
write_shop_manifest(const struct world *world, const char *databases, const char *keys)
{
	const char *at = world->directory;
	cleanup_free char *services =
	    xasprintf("\"shop\": {\"data\": {\"sqlite\": [%s], \"files\": [\"%s/data\"]}, %s}", databases, at, keys);
	write_manifest(world, ONE_ATTEMPT, services);
}

static void
expect_collapse(struct world *world, const char *words)
{
	expect_run(world, "backup shop", 3);
	json_t *shown = show_newest(world, "shop");
	expect_job(shown, "pruned", "partial");
	expect_error_code(shown, "data-shrunk");
	expect_note(shown, words, true);
	json_decref(shown);
	world_run(world, "follow"); /* its retention */
	expect_run(world, "retention --dry-run shop", 0);
	expect_words(world->out, "shop: skipped: its newest backup");
}

static void
check_collapse(struct world *world, const char *keys)
{
	static char content[2 << 20];
	const char *at = world->directory;
	cleanup_free char *both = xasprintf("\"%s/one/app.db\", \"%s/two/app.db\"", at, at);
	cleanup_free char *alone = xasprintf("\"%s/two/app.db\"", at);
	cleanup_free char *one = world_path(world, "one");
	cleanup_free char *two = world_path(world, "two");
	memset(content, 'x', sizeof(content) - 1);
	world_write(world, "data/large", content);
	assert_int_equal(mkdir(one, 0700) | mkdir(two, 0700), 0);
	world_run_sql(world, "one/app.db", ORDERS);
	world_run_sql(world, "two/app.db", ORDERS);
	write_shop_manifest(world, both, keys);
	expect_run(world, "backup shop", 0);

	/* The file is as long as before. */
	world_run_sql(world, "one/app.db", "DELETE FROM orders");
	expect_collapse(world, "/one/app.db: 2 tables with ");
	world_run_sql(world, "one/app.db", "VACUUM");
	expect_collapse(world, "/one/app.db: 2 tables with ");
	/* It is the last good backup that counts, not the last one. */
	expect_collapse(world, "more than 50 per cent of the bytes are gone");
	world_run_sql(world, "one/app.db", "DROP TABLE orders; DROP TABLE customers");
	expect_collapse(world, "more than 50 per cent of the tables and of the bytes are gone");
	world_run_sql(world, "one/app.db", ORDERS);
	expect_run(world, "backup shop", 0);

	/* One that is named no more has not collapsed. */
	write_shop_manifest(world, alone, keys);
	expect_run(world, "backup shop", 0);
	world_run_sql(world, "two/app.db", "DELETE FROM orders");
	expect_collapse(world, "/two/app.db: 2 tables with ");
	cleanup_free char *allowed = xasprintf("%s, \"maxShrink\": 100", keys);
	write_shop_manifest(world, alone, allowed);
	expect_run(world, "backup shop", 0);
	write_shop_manifest(world, alone, keys);
	expect_run(world, "backup shop", 0);
}

static void
a_live_database_that_collapsed_is_partial(void **state)
{
	check_collapse(*state, "\"stopForBackup\": false");
}

static void
a_stopped_database_that_collapsed_is_partial(void **state)
{
	check_collapse(*state, "\"stopUnits\": [], \"preBackup\": \"true\", \"postBackup\": \"true\"");
}

/* Most of the bytes are those of a database that the manifest names no more. */
static void
what_the_manifest_lets_go_has_not_shrunk(void **state)
{
	struct world *world = *state;
	const char *at = world->directory;
	cleanup_free char *both = xasprintf("\"%s/one/app.db\", \"%s/two/app.db\"", at, at);
	cleanup_free char *alone = xasprintf("\"%s/two/app.db\"", at);
	cleanup_free char *one = world_path(world, "one");
	cleanup_free char *two = world_path(world, "two");
	assert_int_equal(mkdir(one, 0700) | mkdir(two, 0700), 0);
	for (const char *const *name = (const char *const[]){"one/app.db", "two/app.db", NULL}; *name != NULL; name++)
		world_run_sql(world, *name, ORDERS);
	world_run_sql(world, "one/app.db", "INSERT INTO customers SELECT hex(randomblob(1 << 20))");
	write_shop_manifest(world, both, "\"stopForBackup\": false");
	expect_run(world, "backup shop", 0);
	write_shop_manifest(world, alone, "\"stopForBackup\": false");
	expect_run(world, "backup shop", 0);
}

/* ---- snapshots that are found again after a crash ---- */

static bool
has_ended(struct world *world, const char *service)
{
	json_t *shown = show_newest(world, service);
	const char *run_state = job_text(shown, "state");
	bool ended = strcmp(run_state, "pruned") == 0 || strcmp(run_state, "failed") == 0;
	json_decref(shown);
	return ended;
}

/* The runner dies when restic has made its snapshot and nobody has taken note of that. The caller releases it. */
static json_t *
back_up_and_die(struct world *world, const char *service)
{
	cleanup_free char *line = xasprintf("backup %s --detach", service);
	cleanup_free char *pid = world_path(world, "pid");
	const char *program = getenv("ATELIER_BACKUP_RESTIC");
	cleanup_free char *before = xstrdup(program);
	unlink(pid);
	wrap_restic(world, "case \" $* \" in *' backup '*) $real \"$@\"; " STAND_BY " ;; esac");
	expect_run(world, line, 0);
	restic_that_stands_by(world);
	kill(world_runner(world), SIGKILL);
	until_true(has_ended(world, service));
	setenv("ATELIER_BACKUP_RESTIC", before, 1);
	json_t *shown = show_newest(world, service);
	expect_note(shown, "found the snapshot", true);
	return shown;
}

static void
make_shop(struct world *world)
{
	static char content[2 << 20];
	cleanup_free char *one = world_path(world, "one");
	cleanup_free char *database = xasprintf("\"%s/one/app.db\"", world->directory);
	memset(content, 'x', sizeof(content) - 1);
	world_write(world, "data/large", content);
	assert_int_equal(mkdir(one, 0700), 0);
	world_run_sql(world, "one/app.db", ORDERS);
	write_shop_manifest(world, database, "\"stopUnits\": [], \"preBackup\": \"true\", \"postBackup\": \"true\"");
	expect_run(world, "backup shop", 0);
}

static void
a_snapshot_that_is_found_again_is_judged_by_its_size(void **state)
{
	struct world *world = *state;
	make_shop(world);
	json_t *good = back_up_and_die(world, "shop");
	expect_job(good, "pruned", "complete");
	assert_true(job_number(good, "files") > 0);
	json_decref(good);
	world_write(world, "data/large", "little is left");
	json_t *shrunk = back_up_and_die(world, "shop");
	expect_job(shrunk, "pruned", "partial");
	expect_error_code(shrunk, "data-shrunk");
	json_decref(shrunk);
}

/* restic 0.14 does not say how large a snapshot is. Its databases are known all the same. */
static void
one_that_does_not_tell_its_size_hides_no_collapse(void **state)
{
	struct world *world = *state;
	use_restic(world, "ATELIER_TEST_RESTIC_014");
	make_shop(world);
	json_t *good = back_up_and_die(world, "shop");
	expect_job(good, "pruned", "complete");
	assert_int_equal(job_number(good, "files"), 0);
	json_decref(good);
	world_run_sql(world, "one/app.db", "DELETE FROM orders");
	json_t *shrunk = back_up_and_die(world, "shop");
	expect_job(shrunk, "pruned", "partial");
	expect_error_code(shrunk, "data-shrunk");
	expect_note(shrunk, "/one/app.db: 2 tables with ", true);
	json_decref(shrunk);
	world_run_sql(world, "one/app.db", "DROP TABLE orders; DROP TABLE customers;" ORDERS);
	/* Judged by the one before it, which has told its size. */
	world_write(world, "data/large", "little is left");
	expect_collapse(world, "of the bytes are gone");
}

/* Whether somebody has replaced it while restic was reading, nobody has seen. */
static void
a_live_database_in_a_snapshot_that_is_found_again_is_not_proven(void **state)
{
	struct world *world = *state;
	cleanup_free char *database = xasprintf("\"%s/data/app.db\"", world->directory);
	world_run_sql(world, "data/app.db", ORDERS);
	write_shop_manifest(world, database, "\"stopForBackup\": false");
	json_t *shown = back_up_and_die(world, "shop");
	expect_job(shown, "pruned", "partial");
	expect_error_code(shown, "database-unproven");
	json_decref(shown);
	assert_int_equal(count_snapshots(world, NULL), 1);
	assert_false(world_has(world, "state/staging"));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    repository_test(a_live_database_that_collapsed_is_partial),
	    repository_test(a_stopped_database_that_collapsed_is_partial),
	    repository_test(what_the_manifest_lets_go_has_not_shrunk),
	    repository_test(a_snapshot_that_is_found_again_is_judged_by_its_size),
	    repository_test(one_that_does_not_tell_its_size_hides_no_collapse),
	    repository_test(a_live_database_in_a_snapshot_that_is_found_again_is_not_proven),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
