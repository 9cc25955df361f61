/* A service with a PostgreSQL database, from the manifest to what plain restic and pg_restore make of the snapshot.
 */
#include "tests/integration/cli/repository_world.h"

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>

static pid_t server;

/* ---- a server of our own ---- */

static pid_t
begin_as_postgres(const struct world *world, const char *command)
{
	const struct passwd *user = getpwnam("postgres");
	const char *programs = getenv("ATELIER_TEST_POSTGRES");
	if (user == NULL || programs == NULL)
		fail_msg("a user postgres and ATELIER_TEST_POSTGRES are needed (scripts/test sets it)");
	cleanup_free char *path = xasprintf("%s:/usr/bin:/bin", programs);
	cleanup_free char *home = world_path(world, "server");
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGQUIT);
		setenv("PATH", path, 1);
		setenv("PGHOST", home, 1);
		if (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0 || chdir(home) < 0)
			_exit(126);
		prctl(PR_SET_PDEATHSIG, SIGQUIT); /* the kernel forgets it when the user changes */
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	assert_true(child > 0);
	return child;
}

static int
as_postgres(const struct world *world, const char *command)
{
	int status;
	pid_t child = begin_as_postgres(world, command);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void
tell_postgres(const struct world *world, const char *command)
{
	if (as_postgres(world, command) != 0)
		fail_msg("failed: %s", command);
}

static void
start_server(const struct world *world)
{
	server = begin_as_postgres(world, "exec postgres -D data >>log 2>&1");
	until_true(as_postgres(world, "pg_isready -q") == 0);
}

static void
stop_server(void)
{
	int status;
	if (server == 0)
		return;
	kill(server, SIGQUIT);
	assert_int_equal(waitpid(server, &status, 0), server);
	server = 0;
}

static int
postgres_setup(void **state)
{
	if (repository_setup(state) < 0)
		return -1;
	struct world *world = *state;
	const struct passwd *user = getpwnam("postgres");
	cleanup_free char *home = world_path(world, "server");
	world_chmod(world, "", 0711);
	assert_int_equal(mkdir(home, 0755), 0);
	assert_int_equal(chown(home, user->pw_uid, user->pw_gid), 0);
	tell_postgres(world, "initdb -D data -A peer -U postgres --no-sync >log && "
			     "printf \"fsync = off\\nlisten_addresses = ''\\nunix_socket_directories = '$PWD'\\n\" "
			     ">>data/postgresql.conf");
	start_server(world);
	tell_postgres(world,
	    "createuser keeper && createdb -O keeper shop && psql -q shop -c \"CREATE TABLE orders AS "
	    "SELECT n, md5(n::text) AS words FROM generate_series(1, 5000) n; ALTER TABLE orders OWNER TO "
	    "keeper; SELECT lo_from_bytea(0, 'large')\" >/dev/null");
	cleanup_free char *services =
	    xasprintf("\"shop\": {\"data\": {\"postgres\": {\"database\": \"shop\", \"host\": \"%s/server\"}}}",
		world->directory);
	write_manifest(world, ONE_ATTEMPT, services);
	return 0;
}

static int
postgres_teardown(void **state)
{
	stop_server();
	return world_teardown(state);
}

#define postgres_test(function) cmocka_unit_test_setup_teardown(function, postgres_setup, postgres_teardown)

/* ---- */

static void
expect_failure(struct world *world, const char *code)
{
	expect_run(world, "backup shop", 1);
	json_t *shown = show_newest(world, "shop");
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, code);
	json_decref(shown);
	assert_false(world_has(world, "state/staging"));
	assert_int_equal(count_snapshots(world, NULL), 0);
}

static void
a_service_with_nothing_else_comes_back_whole(void **state)
{
	struct world *world = *state;
	expect_run(world, "check", 0);
	expect_words(world->out, "dumped by");
	expect_run(world, "backup shop", 0);
	assert_false(world_has(world, "state/staging"));

	cleanup_free char *target = world_path(world, "server/restored");
	restic(world, "restore", "latest", "--target", target);
	cleanup_free char *staged = xasprintf("server/restored%s/state/staging/shop", world->directory);
	cleanup_free char *metadata_name = xasprintf("%s/metadata.json", staged);
	cleanup_free char *text = world_read(world, metadata_name);
	json_t *metadata = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const json_t *datum = json_array_get(json_object_get(metadata, "data"), 0);
	assert_string_equal(json_string_value(json_object_get(datum, "kind")), "postgres");
	assert_string_equal(json_string_value(json_object_get(datum, "owner")), "keeper");
	assert_int_equal(json_integer_value(json_object_get(datum, "tables")), 1);
	assert_int_equal(json_integer_value(json_object_get(datum, "largeObjects")), 1);
	json_decref(metadata);

	cleanup_free char *command =
	    xasprintf("createdb -T template0 again && pg_restore -e -d again '%s/%s/postgres/shop.dump' && "
		      "test \"$(psql -qAt again -c 'SELECT count(*), sum(n), max(words) FROM orders')\" = "
		      "\"$(psql -qAt shop -c 'SELECT count(*), sum(n), max(words) FROM orders')\" && "
		      "test \"$(psql -qAt again -c 'SELECT count(*) FROM pg_largeobject_metadata')\" = 1 && "
		      "grep -q 'CREATE ROLE keeper' '%s/%s/postgres/shop.roles.sql'",
		world->directory, staged, world->directory, staged);
	cleanup_free char *open_up = xasprintf("chmod -R a+rX %s", target);
	assert_int_equal(system(open_up), 0);
	tell_postgres(world, command);
}

static void
a_server_that_is_down_is_tried_again(void **state)
{
	struct world *world = *state;
	restic(world, "init", "--quiet");
	stop_server();
	expect_failure(world, "postgres-unreachable");
	start_server(world);
	expect_run(world, "backup shop", 0);
}

static void
a_database_that_is_not_there(void **state)
{
	struct world *world = *state;
	restic(world, "init", "--quiet");
	tell_postgres(world, "dropdb shop");
	expect_failure(world, "database-missing");
}

/* ---- a dump that has collapsed ---- */

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
	tell_postgres(world,
	    "createdb other && psql -q other -c \"CREATE TABLE many AS SELECT n, md5(n::text) AS words "
	    "FROM generate_series(1, 50000) n\"");
	write_shop_manifest(world, other, ONE_ATTEMPT);
	expect_run(world, "backup shop", 0);

	tell_postgres(world, "psql -q shop -c 'DELETE FROM orders WHERE n > 100'");
	expect_collapse(world, "host='");
	expect_collapse(world, "1 tables with ");
	expect_collapse(world, "more than 50 per cent of the bytes are gone");
	tell_postgres(world, "psql -q shop -c 'DROP TABLE orders'");
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
	tell_postgres(world,
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
	    postgres_test(a_service_with_nothing_else_comes_back_whole),
	    postgres_test(a_server_that_is_down_is_tried_again),
	    postgres_test(a_database_that_is_not_there),
	    postgres_test(a_dump_that_collapsed_is_partial),
	    postgres_test(a_dump_that_the_manifest_lets_go_has_not_shrunk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
