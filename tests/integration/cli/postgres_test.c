/* Services with PostgreSQL databases, from the manifest to what plain restic, psql and pg_restore make of the
 * snapshot in another, fresh server: with the commands of docs/operations.md, and nothing of ours. */
#include "tests/integration/cli/postgres_clusters.h"
#include "tests/integration/own_mounts.h"

static struct cluster server;

/* What the service has: two databases, of other encodings and locales than the server's, with all that hangs on them.
 */
static const char roles_sql[] =
    "CREATE ROLE keeper LOGIN PASSWORD 'hush'; CREATE ROLE reader;"
    "CREATE ROLE clerk LOGIN CONNECTION LIMIT 3 VALID UNTIL '2036-01-01' PASSWORD NULL;"
    "GRANT reader TO clerk WITH ADMIN OPTION; ALTER ROLE clerk SET statement_timeout = '9s'";

static const char shop_sql[] =
    "CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore; CREATE SCHEMA stock AUTHORIZATION keeper;"
    "CREATE TABLE orders (id serial PRIMARY KEY, words text NOT NULL, tags hstore);"
    "INSERT INTO orders (words, tags) SELECT 'Größe ' || md5(n::text), hstore('n', n::text)"
    " FROM generate_series(1, 5000) n;"
    "CREATE INDEX ON orders USING gin (words gin_trgm_ops); ALTER TABLE orders OWNER TO keeper;"
    "GRANT SELECT ON orders TO reader WITH GRANT OPTION; GRANT INSERT (words) ON orders TO clerk;"
    "ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY odd ON orders FOR SELECT TO reader USING (id % 2 = "
    "1);"
    "ALTER DEFAULT PRIVILEGES FOR ROLE keeper IN SCHEMA stock GRANT SELECT ON TABLES TO reader;"
    "ALTER DEFAULT PRIVILEGES FOR ROLE keeper REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;"
    "SET ROLE keeper; CREATE TABLE stock.item AS SELECT n, n % 7 AS shelf FROM generate_series(1, 300) n;"
    "CREATE FUNCTION stock.twice(x int) RETURNS int LANGUAGE sql AS 'SELECT 2 * x'; RESET ROLE;"
    "CREATE MATERIALIZED VIEW shelves AS SELECT shelf, count(*) FROM stock.item GROUP BY shelf ORDER BY shelf;"
    "SELECT lo_from_bytea(4711, decode(repeat('00ff0a', 400000), 'hex')), lo_from_bytea(4712, '');"
    "ALTER LARGE OBJECT 4711 OWNER TO keeper; GRANT SELECT ON LARGE OBJECT 4711 TO reader;"
    "ALTER DATABASE shop SET work_mem = '7MB'; ALTER ROLE clerk IN DATABASE shop SET search_path = stock;"
    "REVOKE CONNECT ON DATABASE shop FROM PUBLIC; GRANT CONNECT ON DATABASE shop TO clerk;"
    "COMMENT ON DATABASE shop IS 'all that is for sale'";

static const char forum_sql[] = "CREATE TABLE orders (id int PRIMARY KEY, words text NOT NULL);"
				"INSERT INTO orders VALUES (1, 'Übung €'), (2, 'Zebra'), (3, 'ähnlich')";

/* What somebody would look at after a restore. The grants of an object have no order of their own. */
#define GRANTS(acl) "ARRAY(SELECT unnest(" acl ")::text ORDER BY 1)"
static const char facts_sql[] =
    "SELECT 'rows', count(*), md5(string_agg(o::text, '/' ORDER BY id)), string_agg(id::text, ' ' ORDER BY words)"
    " FROM orders o;"
    "SELECT 'large object', oid, lomowner::regrole, " GRANTS(
	"lomacl") ", md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY "
		  "oid;"
		  "SELECT 'extension', extname, extversion FROM pg_extension ORDER BY extname;"
		  "SELECT 'relation', c.oid::regclass::text, relkind, relowner::regrole, " GRANTS(
		      "relacl") " FROM pg_class c"
				" WHERE relnamespace IN ('public'::regnamespace, to_regnamespace('stock')) ORDER BY "
				"2;"
				"SELECT 'schema', nspname, nspowner::regrole, " GRANTS(
				    "nspacl") " FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 2;"
					      "SELECT 'default', defaclrole::regrole, defaclnamespace::regnamespace, "
					      "defaclobjtype, " GRANTS(
						  "defaclacl") " FROM "
							       "pg_default_acl"
							       " ORDER BY 3, 4;"
							       "SELECT 'database', datdba::regrole, "
							       "pg_encoding_to_char(encoding), datcollate, datctype, "
							       "datlocprovider, " GRANTS(
								   "datacl") ","
									     " shobj_description(oid, 'pg_database') "
									     "FROM pg_database WHERE datname = "
									     "current_database();"
									     "SELECT 'setting', setrole::regrole, "
									     "setconfig FROM pg_db_role_setting s "
									     "LEFT JOIN pg_database d"
									     " ON d.oid = setdatabase WHERE "
									     "setdatabase = 0 OR datname = "
									     "current_database() ORDER BY "
									     "setdatabase, 2, 3;"
									     "SELECT 'role', rolname, rolsuper, "
									     "rolcanlogin, rolconnlimit, "
									     "rolvaliduntil, rolpassword FROM "
									     "pg_authid"
									     " WHERE rolname !~ '^pg_' ORDER BY "
									     "rolname;"
									     "SELECT 'member', roleid::regrole, "
									     "member::regrole, grantor::regrole, "
									     "admin_option FROM pg_auth_members"
									     " WHERE roleid >= 16384 ORDER BY 2, 3;";

static void
psql(const struct cluster *cluster, const char *database, const char *sql)
{
	cleanup_free char *name = xasprintf("%s/sql", cluster->name);
	cleanup_free char *command =
	    xasprintf("PGCLIENTENCODING=UTF8 psql -X -q -v ON_ERROR_STOP=1 -d %s -f sql >>psql.log 2>&1", database);
	world_write(cluster->world, name, sql);
	world_chmod(cluster->world, name, 0644);
	if (cluster_run(cluster, command) == 0)
		return;
	cleanup_free char *log = xasprintf("%s/psql.log", cluster->name);
	cleanup_free char *words = world_read(cluster->world, log);
	fail_msg("%s", words);
}

static void
write_postgres_manifest(const struct world *world, const char *first, const char *second)
{
	const char *at = world->directory;
	cleanup_free char *services = xasprintf(
	    "\"shop\": {\"data\": {\"postgres\": [{\"database\": \"%s\", \"host\": \"%s/server\"}"
	    "%s%s%s%s%s]}}",
	    first, at, second == NULL ? "" : ", {\"database\": \"", second == NULL ? "" : second,
	    second == NULL ? "" : "\", \"host\": \"", second == NULL ? "" : at, second == NULL ? "" : "/server\"}");
	write_manifest(world, ONE_ATTEMPT, services);
}

static int
postgres_setup(void **state)
{
	if (repository_setup(state) < 0)
		return -1;
	struct world *world = *state;
	server = cluster_make(world, "server");
	psql(&server, "postgres", roles_sql);
	cluster_tell(&server, "createdb -T template0 -E LATIN1 --locale=C -O keeper shop");
	psql(&server, "shop", shop_sql);
	write_postgres_manifest(world, "shop", NULL);
	return 0;
}

static int
postgres_teardown(void **state)
{
	cluster_stop(&server);
	return world_teardown(state);
}

#define postgres_test(function) cmocka_unit_test_setup_teardown(function, postgres_setup, postgres_teardown)

/* ---- what comes back ---- */

/* The directory of the dumps, as plain restic restores it below `server`; whoever restores may read it. */
static char *
restored_dumps(const struct world *world)
{
	cleanup_free char *target = world_path(world, "restored");
	cleanup_free char *open_up = xasprintf("chmod -R a+rX %s", target);
	restic(world, "restore", "latest", "--target", target);
	assert_int_equal(system(open_up), 0);
	return xasprintf("%s%s/state/staging/shop/postgres", target, world->directory);
}

/* As docs/operations.md says. Of the roles, only the one that a fresh server has from the beginning is there already.
 */
static void
restore_into(const struct cluster *cluster, const char *dumps, const char *database)
{
	cleanup_free char *roles =
	    xasprintf("psql -X -q -d postgres -f %s/%s.roles.sql 2>&1 | { ! grep ERROR: | grep -v "
		      "'role \".*\" already exists'; }",
		dumps, database);
	cleanup_free char *restore =
	    xasprintf("pg_restore --exit-on-error --create -d postgres %s/%s.dump", dumps, database);
	cluster_tell(cluster, roles);
	cluster_tell(cluster, restore);
}

/* Every byte of it, but for a key that pg_dump draws each time. */
static void
write_down(const struct cluster *cluster, const char *database)
{
	cleanup_free char *path = xasprintf("%s/%s/facts", cluster->world->directory, cluster->name);
	cleanup_free char *command =
	    xasprintf("export PGCLIENTENCODING=UTF8; { psql -X -A -t -v ON_ERROR_STOP=1 -d %s -f facts && "
		      "pg_dump --create -d %s && pg_dumpall --roles-only; } | grep -v restrict >%s.text",
		database, database, database);
	cleanup_free char *name = xasprintf("%s/facts", cluster->name);
	world_write(cluster->world, name, facts_sql);
	world_chmod(cluster->world, name, 0644);
	cluster_tell(cluster, command);
}

static void
expect_the_same(const struct cluster *left, const struct cluster *right, const char *database)
{
	const char *at = left->world->directory;
	cleanup_free char *compare =
	    xasprintf("test -s %s/%s/%s.text && diff -a %s/%s/%s.text %s/%s/%s.text | head -n 20 "
		      "| { ! grep . >&2; }",
		at, left->name, database, at, left->name, database, at, right->name, database);
	write_down(left, database);
	write_down(right, database);
	assert_int_equal(system(compare), 0);
}

static void
everything_comes_back_in_a_fresh_server(void **state)
{
	static const char *const databases[] = {"shop", "forum"};
	struct world *world = *state;
	cluster_tell(&server, "createdb -T template0 --locale-provider=icu --icu-locale=de-AT forum");
	psql(&server, "forum", forum_sql);
	write_postgres_manifest(world, "shop", "forum");
	expect_run(world, "backup shop", 0);
	cleanup_free char *dumps = restored_dumps(world);
	struct cluster fresh = cluster_make(world, "fresh");
	for (size_t i = 0; i < ARRAY_LENGTH(databases); i++)
		restore_into(&fresh, dumps, databases[i]);
	for (size_t i = 0; i < ARRAY_LENGTH(databases); i++)
		expect_the_same(&server, &fresh, databases[i]);
	cleanup_free char *found = cluster_ask(&fresh, "psql -X -A -t -d shop -c 'SELECT count(*) FROM orders'");
	assert_string_equal(found, "5000\n");
	cluster_stop(&fresh);
}

static void
what_is_in_it_is_written_down(void **state)
{
	struct world *world = *state;
	expect_run(world, "check", 0);
	expect_words(world->out, "dumped by");
	expect_run(world, "backup shop", 0);
	assert_false(world_has(world, "state/staging"));
	cleanup_free char *dumps = restored_dumps(world);
	cleanup_free char *name = xasprintf("%s/../metadata.json", dumps + strlen(world->directory) + 1);
	cleanup_free char *text = world_read(world, name);
	json_t *metadata = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const json_t *datum = json_array_get(json_object_get(metadata, "data"), 0);
	assert_string_equal(json_string_value(json_object_get(datum, "kind")), "postgres");
	assert_string_equal(json_string_value(json_object_get(datum, "owner")), "keeper");
	assert_string_equal(json_string_value(json_object_get(datum, "encoding")), "LATIN1");
	assert_int_equal(json_integer_value(json_object_get(datum, "tables")), 2);
	assert_int_equal(json_integer_value(json_object_get(datum, "largeObjects")), 2);
	assert_int_equal(json_array_size(json_object_get(datum, "extensions")), 3);
	json_decref(metadata);
}

/* pgbench takes from one and gives to the other all the while: in any one instant, all its sums are the same. */
static void
a_busy_database_is_dumped_at_one_instant(void **state)
{
	struct world *world = *state;
	cluster_tell(&server, "createdb bank && pgbench -i -q -s 2 bank >pgbench.log 2>&1");
	write_postgres_manifest(world, "bank", NULL);
	pid_t bench = cluster_begin(&server, "exec pgbench -n -c 4 -T 600 bank >>pgbench.log 2>&1");
	until_true(cluster_run(&server,
		       "psql -X -A -t bank -c 'SELECT count(*) > 100 FROM pgbench_history' | grep -q t") == 0);
	expect_run(world, "backup shop", 0);
	assert_true(is_alive(bench));
	int status;
	kill(bench, SIGTERM);
	assert_int_equal(waitpid(bench, &status, 0), bench);
	cleanup_free char *dumps = restored_dumps(world);
	struct cluster fresh = cluster_make(world, "fresh");
	restore_into(&fresh, dumps, "bank");
	cluster_tell(&fresh,
	    "test \"$(psql -X -A -t bank -c 'SELECT count(*) > 100, sum(delta) = (SELECT sum(abalance) FROM "
	    "pgbench_accounts) AND sum(delta) = (SELECT sum(tbalance) FROM pgbench_tellers) AND sum(delta) = "
	    "(SELECT sum(bbalance) FROM pgbench_branches) FROM pgbench_history')\" = 't|t'");
	cluster_stop(&fresh);
}

/* ---- which pg_dump ---- */

/* The programs that are installed are hidden, and the only one to be found is older than the server. */
static void
a_client_that_is_too_old_is_told_before_anything_is_begun(void **state)
{
	struct world *world = *state;
	allow_stand_ins(world);
	stand_in(world, "pg_dump", "echo 'pg_dump (PostgreSQL) 9.6.24'");
	restic(world, "init", "--quiet");
	have_own_mounts(); /* the server keeps its own */
	assert_int_equal(mount("none", "/usr/lib/postgresql", "tmpfs", 0, "mode=0755"), 0);
	expect_run(world, "check", 1);
	expect_words(world->out, "postgresql-client-");
	expect_run(world, "backup shop", 1);
	expect_words(world->out, "the newest pg_dump here is 9.6.24");
	json_t *shown = show_newest(world, "shop");
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, "postgres-client");
	json_decref(shown);
	assert_int_equal(count_snapshots(world, NULL), 0);

	assert_int_equal(umount("/usr/lib/postgresql"), 0);
	expect_run(world, "backup shop", 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    postgres_test(everything_comes_back_in_a_fresh_server),
	    postgres_test(what_is_in_it_is_written_down),
	    postgres_test(a_busy_database_is_dumped_at_one_instant),
	    postgres_test(a_client_that_is_too_old_is_told_before_anything_is_begun),
	};
	have_own_mounts();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
