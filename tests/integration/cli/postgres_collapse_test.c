/* Dumps that have lost most of what they held, beside so much else that nobody sees it in the whole. */
#include "tests/integration/cli/postgres_clusters.h"

static struct cluster server;

static int
shop_setup(void **state)
{
	if (repository_setup(state) < 0)
		return -1;
	server = cluster_make(*state, "server");
	cluster_tell(&server,
	    "createuser keeper && createdb -O keeper shop && psql -q shop -c \"CREATE TABLE orders AS "
	    "SELECT n, md5(n::text) AS words FROM generate_series(1, 5000) n; ALTER TABLE orders OWNER TO "
	    "keeper; SELECT lo_from_bytea(0, 'large')\" >/dev/null");
	return 0;
}

static int
shop_teardown(void **state)
{
	cluster_stop(&server);
	return world_teardown(state);
}

#define shop_test(function) cmocka_unit_test_setup_teardown(function, shop_setup, shop_teardown)

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

/* `more` is another database beside "shop", or "". */
static void
write_shop_manifest(const struct world *world, const char *more, const char *top)
{
	cleanup_free char *services =
	    xasprintf("\"shop\": {\"data\": {\"files\": [\"%s/data\"], \"postgres\": [{\"database\":"
		      " \"shop\", \"host\": \"%s/server\"}%s]}}",
		world->directory, world->directory, more);
	write_manifest(world, top, services);
}

/* Much else is in the snapshot, and the dump has only some hundred kilobytes. */
static void
a_dump_that_collapsed_is_partial(void **state)
{
	static char content[4 << 20];
	struct world *world = *state;
	memset(content, 'x', sizeof(content) - 1);
	world_write(world, "data/large", content);
	cleanup_free char *other =
	    xasprintf(", {\"database\": \"other\", \"host\": \"%s/server\"}", world->directory);
	cluster_tell(&server,
	    "createdb other && psql -q other -c \"CREATE TABLE many AS SELECT n, md5(n::text) AS words "
	    "FROM generate_series(1, 50000) n\"");
	write_shop_manifest(world, other, ONE_ATTEMPT);
	expect_run(world, "backup shop", 0);

	cluster_tell(&server, "psql -q shop -c 'DELETE FROM orders WHERE n > 100'");
	expect_collapse(world, "host='");
	expect_collapse(world, "1 tables with ");
	expect_collapse(world, "more than 50 per cent of the bytes are gone");
	cluster_tell(&server, "psql -q shop -c 'DROP TABLE orders'");
	expect_collapse(world, "of the tables and of the bytes are gone");

	/* The other one is let go, and this one is as it should be. */
	write_shop_manifest(world, "", ONE_ATTEMPT ", \"maxShrink\": 100");
	expect_run(world, "backup shop", 0);
	write_shop_manifest(world, "", ONE_ATTEMPT);
	expect_run(world, "backup shop", 0);
}

static void
a_dump_that_the_manifest_lets_go_has_not_shrunk(void **state)
{
	struct world *world = *state;
	cleanup_free char *other =
	    xasprintf(", {\"database\": \"other\", \"host\": \"%s/server\"}", world->directory);
	cluster_tell(&server,
	    "createdb other && psql -q other -c \"CREATE TABLE many AS SELECT n, md5(n::text) AS words "
	    "FROM generate_series(1, 100000) n\"");
	write_shop_manifest(world, other, ONE_ATTEMPT);
	expect_run(world, "backup shop", 0);
	write_shop_manifest(world, "", ONE_ATTEMPT);
	expect_run(world, "backup shop", 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    shop_test(a_dump_that_collapsed_is_partial),
	    shop_test(a_dump_that_the_manifest_lets_go_has_not_shrunk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
