/* Asking a real server. */
#include "tests/integration/adapters/postgres_world.h"

#include <sys/socket.h>
#include <sys/un.h>

static void
need_root(const char *why)
{
	if (geteuid() == 0)
		return;
	print_message("needs root %s\n", why);
	skip();
}

/* All of them would keep libpq from our server; main puts them into the environment. */
static const char *const misleading[][2] = {
    {"PGHOST", "/nonexistent"},
    {"PGHOSTADDR", "192.0.2.1"},
    {"PGPORT", "1"},
    {"PGSERVICE", "nowhere"},
    {"PGOPTIONS", "-c nonsense=1"},
    {"PGREQUIREPEER", "somebody"},
    {"PGCHANNELBINDING", "require"},
    {"PGPASSFILE", "/nonexistent"},
    {"PGPASSWORD", "wrong"},
};

static void
test_our_environment_does_not_lead_astray(void **state)
{
	struct fixture *fixture = *state;
	assert_non_null(getenv("PGHOST"));
	inspect_good(fixture, "postgres");
	for (size_t i = 0; i < ARRAY_LENGTH(misleading); i++)
		assert_null(getenv(misleading[i][0]));
	assert_non_null(getenv("PATH"));
}

static void
test_facts(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE DATABASE facts ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	tell("postgres", "CREATE ROLE \"o'wner\"; ALTER DATABASE facts OWNER TO \"o'wner\"");
	tell("facts", "CREATE EXTENSION hstore; CREATE EXTENSION citext; SELECT lo_from_bytea(0, 'x') FROM "
		      "generate_series(1, 3)");
	tell("facts", "CREATE TABLE \"Größe\" (x int); CREATE SCHEMA \"a.b\"; CREATE TABLE \"a.b\".\"c d\" (x int)");
	inspect_good(fixture, "facts");
	const struct postgres_facts *facts = &fixture->facts;
	cleanup_free char *version = ask("postgres", "SELECT current_setting('server_version_num')");
	assert_int_equal(facts->server_version, atoi(version));
	assert_true(facts->bytes > 1000000);
	assert_int_equal(facts->large_objects, 3);
	assert_string_equal(facts->owner, "o'wner");
	assert_string_equal(facts->encoding, "LATIN1");
	assert_string_equal(facts->collate, "C");
	assert_string_equal(facts->character_type, "C");
	assert_string_equal(facts->locale_provider, "libc");
	assert_int_equal(strings_count(facts->extensions), 3);
	assert_true(text_starts_with(facts->extensions[0], "citext 1."));
	assert_true(text_starts_with(facts->extensions[1], "hstore 1."));
	assert_true(text_starts_with(facts->extensions[2], "plpgsql 1."));
	assert_int_equal(strings_count(facts->tables), 2);
	assert_string_equal(facts->tables[0], "a.b.c d");
	assert_string_equal(facts->tables[1], "public.Größe"); /* as UTF-8, whatever the database has */
	cleanup_free char *oid = ask("facts", "SELECT '\"a.b\".\"c d\"'::regclass::oid");
	assert_int_equal(facts->table_oids[0], atoi(oid));
}

static void
test_tables_are_those_that_have_rows_in_a_dump(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE DATABASE tables");
	tell("tables", "CREATE TABLE plain (x int); CREATE UNLOGGED TABLE unlogged (x int);"
		       "CREATE TABLE parted (x int) PARTITION BY RANGE (x);"
		       "CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (9);"
		       "CREATE VIEW seen AS SELECT 1; CREATE MATERIALIZED VIEW kept AS SELECT 1;"
		       "CREATE SEQUENCE counted; CREATE TYPE pair AS (x int, y int);"
		       "CREATE TABLE parent (x int); CREATE TABLE child () INHERITS (parent);"
		       "CREATE SCHEMA pgnot; CREATE TABLE pgnot.mine (x int)");
	/* One table is the extension's own, one its configuration, which is dumped. */
	tell("tables",
	    "CREATE EXTENSION hstore; CREATE TABLE own (x int); CREATE TABLE configured (x int);"
	    "ALTER EXTENSION hstore ADD TABLE own; ALTER EXTENSION hstore ADD TABLE configured;"
	    "UPDATE pg_extension SET extconfig = ARRAY['configured'::regclass::oid], extcondition = ARRAY['']"
	    " WHERE extname = 'hstore'");
	inspect_good(fixture, "tables");
	cleanup_free char *tables = text_join(fixture->facts.tables, " ");
	assert_string_equal(tables,
	    "pgnot.mine public.child public.configured public.parent public.part public.plain "
	    "public.unlogged");
	/* pg_dump thinks the same. */
	struct postgres_source source = source_of("tables");
	dump(fixture, &source);
	assert_error(&fixture->dump.error, ERROR_NONE, NULL);
	assert_int_equal(fixture->dump.tables, 7);
}

static void
test_an_empty_database_has_no_tables(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE DATABASE empty");
	inspect_good(fixture, "empty");
	assert_int_equal(strings_count(fixture->facts.tables), 0);
	assert_non_null(fixture->facts.table_oids);
}

static void
test_a_name_is_a_name(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE DATABASE \"dbname=postgres\"");
	tell("postgres", "CREATE DATABASE \"postgres://x\"");
	cleanup_free char *one = ask("postgres", "SELECT oid FROM pg_database WHERE datname = 'dbname=postgres'");
	tell("dbname=postgres", "CREATE TABLE it (x int)");
	inspect_good(fixture, "dbname=postgres");
	assert_string_equal(fixture->facts.tables[0], "public.it");
	inspect_good(fixture, "postgres://x");
}

/* ---- who we are ---- */

static int dumpable_before;

static void
test_root_becomes_the_user_of_the_name_and_is_itself_again(void **state)
{
	struct fixture *fixture = *state;
	need_root("to become somebody else");
	tell("postgres", "CREATE ROLE nobody LOGIN; CREATE ROLE stranger LOGIN; CREATE DATABASE peers");
	struct postgres_source source = source_of("peers");
	source.user = (char *)"nobody";
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_NONE, NULL);
	assert_int_equal(geteuid(), 0);
	assert_int_equal(getegid(), getgid());
	assert_int_equal(prctl(PR_GET_DUMPABLE), dumpable_before);
	/* There is no such user of the operating system: the socket's owner comes in its stead. */
	source.user = (char *)"stranger";
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_NONE, NULL);
}

/* While the server is down anybody may put a socket into /tmp, and be sent a password there. */
static void
test_a_socket_of_somebody_else_is_no_server(void **state)
{
	(void)state;
	need_root("to give a socket away");
	cleanup_free char *port = xasprintf("%d", 20000 + getpid() % 40000);
	cleanup_free char *path = xasprintf("/tmp/.s.PGSQL.%s", port);
	const struct postgres_source source = {.database = (char *)"postgres", .port = port};
	cleanup_postgres_place struct postgres_place place = {.other = false};
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(mknod(path, S_IFSOCK | 0777, 0), 0);
	assert_int_equal(lchown(path, getpwnam("nobody")->pw_uid, (gid_t)-1), 0);
	int of_nobody = postgres_place_find(&source, &place, &error);
	assert_int_equal(lchown(path, world.user, (gid_t)-1), 0);
	int of_server = postgres_place_find(&source, &place, NULL);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(of_nobody, -1);
	assert_error(&error, ERROR_POSTGRES_UNREACHABLE, "no socket");
	assert_int_equal(of_server, 0);
	assert_string_equal(place.source.host, "/tmp");
	assert_true(place.other);
	assert_int_equal(place.user, world.user);
}

static void
test_peer_does_not_let_everybody_in(void **state)
{
	struct fixture *fixture = *state;
	need_root("to become somebody else");
	tell("postgres", "CREATE ROLE daemon LOGIN SUPERUSER");
	struct postgres_source source = source_of("postgres");
	source.user = (char *)"daemon";
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "Peer authentication failed");
	assert_int_equal(geteuid(), 0);
}

static char *
write_passfile(const struct fixture *fixture, const char *content)
{
	append(fixture->staging, "passfile", content, true);
	return xasprintf("%s/passfile", fixture->staging);
}

static void
test_passwords(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE ROLE secret LOGIN PASSWORD 'p:ss'");
	struct postgres_source source = source_of("postgres");
	source.user = (char *)"secret";
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "wants a password");
	assert_non_null(strstr(fixture->error.hint, "passfile"));
	/* Ours is in nobody's home directory. */
	cleanup_free char *passfile = write_passfile(fixture, "*:*:*:secret:wrong\n");
	source.passfile = passfile;
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "password authentication failed");
	free(write_passfile(fixture, "*:*:*:secret:p\\:ss\n"));
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_NONE, NULL);
	source.passfile = (char *)"/nonexistent/passfile";
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "wants a password");
}

/* ---- what may be wrong ---- */

static void
test_what_is_wrong_has_its_code(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE ROLE barred LOGIN; CREATE DATABASE closed ALLOW_CONNECTIONS false");
	struct postgres_source source = source_of("no such");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_DATABASE_MISSING, "\"no such\" does not exist");
	source = source_of("closed");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "not currently accepting connections");
	source = source_of("postgres");
	source.user = (char *)"barred";
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "pg_hba.conf");
	source = source_of("postgres");
	source.port = (char *)"5999";
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_UNREACHABLE, "No such file");
	source.host = NULL;
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_UNREACHABLE, "no socket");
	assert_non_null(strstr(fixture->error.hint, "\"host\""));
	source = source_of("postgres");
	source.host = (char *)"127.0.0.1";
	source.port = (char *)"1";
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_UNREACHABLE, "refused");
}

static void
test_rows_that_may_not_be_read(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE ROLE secret2 LOGIN; CREATE DATABASE rights");
	tell("postgres", "ALTER ROLE secret2 PASSWORD 'x'");
	tell("rights", "CREATE TABLE hidden (x int); CREATE TABLE open (x int); GRANT SELECT ON open TO secret2");
	cleanup_free char *hba = xasprintf("local all secret2 scram-sha-256\n");
	cleanup_free char *before = xasprintf("%s/pg_hba.conf", world.data);
	cleanup_free char *others = read_file(before);
	append(world.data, "pg_hba.conf", hba, true);
	append(world.data, "pg_hba.conf", others, false);
	tell("postgres", "SELECT pg_reload_conf()");
	cleanup_free char *passfile = write_passfile(fixture, "*:*:*:secret2:x\n");
	struct postgres_source source = source_of("rights");
	source.user = (char *)"secret2";
	source.passfile = passfile;
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	do {
		inspect(fixture, &source);
		expire(deadline, "reading pg_hba.conf again");
	} while (strstr(fixture->error.message, "public.hidden") == NULL);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "public.hidden");
	tell("rights", "GRANT SELECT ON hidden TO secret2");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_NONE, NULL);
	tell("rights", "ALTER TABLE open ENABLE ROW LEVEL SECURITY");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "public.open");
	tell("rights", "ALTER TABLE open DISABLE ROW LEVEL SECURITY; CREATE SEQUENCE number");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "public.number");
	tell("rights", "ALTER TABLE hidden OWNER TO secret2; DROP SEQUENCE number; CREATE SCHEMA s; "
		       "CREATE TABLE s.t (x int); GRANT SELECT ON s.t TO secret2");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "s.t");
	tell("rights", "DROP SCHEMA s CASCADE");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_NONE, NULL);

	/* Nobody may read large objects but their owner. */
	tell("rights", "SELECT lo_from_bytea(4711, 'hidden'), lo_from_bytea(4712, 'open')");
	tell("rights", "GRANT SELECT ON LARGE OBJECT 4712 TO secret2");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "large object 4711");
	assert_non_null(strstr(fixture->error.hint, "GRANT SELECT ON LARGE OBJECT"));
	tell("rights", "GRANT SELECT ON LARGE OBJECT 4711 TO secret2");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_NONE, NULL);
	tell("rights", "REVOKE ALL ON LARGE OBJECT 4711 FROM secret2; ALTER LARGE OBJECT 4711 OWNER TO secret2");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_NONE, NULL);
	tell("rights", "REVOKE ALL ON LARGE OBJECT 4711 FROM secret2");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_RIGHTS, "large object 4711");
	/* Who may read everything is not kept from it by such rights. */
	inspect_good(fixture, "rights");
}

/* ---- the end of a call ---- */

static void
test_a_backend_that_is_ended_in_the_middle(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE DATABASE ended");
	pid_t holder = keep_session("ended", "BEGIN; LOCK TABLE pg_extension; SELECT pg_sleep(600)");
	wait_for("postgres", LOCK_IS_HELD);
	struct postgres_source source = source_of("ended");
	fixture->call = postgres_inspect_start(fixture->base, &source, take_facts, fixture, &fixture->error);
	assert_non_null(fixture->call);
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	for (cleanup_free char *waits = NULL; waits == NULL || strcmp(waits, "t") != 0;) {
		event_base_loop(fixture->base, EVLOOP_NONBLOCK);
		free(waits);
		waits = ask("postgres", OURS_WAITS);
		expire(deadline, "the wait for the lock");
	}
	tell("postgres",
	    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'atelier-backup'");
	run_to_end(fixture);
	assert_error(&fixture->error, ERROR_POSTGRES_UNREACHABLE, "administrator command");
	end_session(holder);
}

/* A socket like a server's, on which nobody answers. */
static int
listen_like_a_server(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int written = snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.6000", world.sockets);
	assert_true(written > 0 && (size_t)written < sizeof(address.sun_path));
	unlink(address.sun_path);
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(descriptor >= 0);
	assert_int_equal(bind(descriptor, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(chmod(address.sun_path, 0777), 0);
	assert_int_equal(listen(descriptor, 5), 0);
	return descriptor;
}

static struct postgres_source
silent_source(void)
{
	struct postgres_source source = source_of("postgres");
	source.port = (char *)"6000";
	return source;
}

/* getent is found in PATH. */
static void
install_getent(const struct fixture *fixture, const char *script)
{
	cleanup_free char *program = xasprintf("%s/getent", fixture->staging);
	cleanup_free char *content = xasprintf("#!/bin/sh\n%s\n", script);
	append(fixture->staging, "getent", content, true);
	assert_int_equal(chmod(program, 0755), 0);
	setenv("PATH", fixture->staging, 1);
}

static void
test_a_name_is_looked_up_beside_the_loop(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *path = xstrdup(getenv("PATH"));
	struct postgres_source source = {
	    .database = (char *)"postgres", .host = (char *)"db.invalid", .port = (char *)"1"};
	install_getent(fixture, "exit 2");
	inspect(fixture, &source);
	assert_error(
	    &fixture->error, ERROR_POSTGRES_UNREACHABLE, "db.invalid:1: the host's name cannot be looked up");
	install_getent(fixture, "echo '127.0.0.1 STREAM db.invalid'; echo '127.0.0.2 STREAM '");
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_UNREACHABLE, "refused");
	assert_int_equal(geteuid(), getuid());
	/* One that is never answered. */
	install_getent(fixture, "kill -STOP $$");
	forget(fixture);
	fixture->call = postgres_inspect_start(fixture->base, &source, take_facts, fixture, &fixture->error);
	assert_non_null(fixture->call);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_false(fixture->came);
	postgres_call_stop(fixture->call);
	run_to_end(fixture);
	assert_error(&fixture->error, ERROR_CANCELLED, NULL);
	setenv("PATH", path, 1);
}

static void
test_stopping_ends_the_wait_for_a_server_that_says_nothing(void **state)
{
	struct fixture *fixture = *state;
	cleanup_close int listener = listen_like_a_server();
	struct postgres_source source = silent_source();
	fixture->call = postgres_inspect_start(fixture->base, &source, take_facts, fixture, &fixture->error);
	assert_non_null(fixture->call);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_false(fixture->came);
	postgres_call_stop(fixture->call);
	assert_false(fixture->came); /* from the loop */
	run_to_end(fixture);
	assert_error(&fixture->error, ERROR_CANCELLED, NULL);
}

static void
test_abandoning_brings_no_callback(void **state)
{
	struct fixture *fixture = *state;
	cleanup_close int listener = listen_like_a_server();
	struct postgres_source source = silent_source();
	size_t descriptors = count_open_descriptors();
	fixture->call = postgres_inspect_start(fixture->base, &source, take_facts, fixture, &fixture->error);
	assert_non_null(fixture->call);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	postgres_call_abandon(fixture->call);
	postgres_call_abandon(NULL);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_false(fixture->came);
	assert_int_equal(count_open_descriptors(), descriptors);
}

static void
test_somebody_who_is_no_server(void **state)
{
	struct fixture *fixture = *state;
	static const char *const answers[] = {
	    "", "N", "HTTP/1.1 400 Bad Request\r\n\r\n", "E\x7f\xff\xff\xff", "ESFATAL", "R"};
	for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
		cleanup_close int listener = listen_like_a_server();
		struct postgres_source source = silent_source();
		forget(fixture);
		fixture->call = postgres_inspect_start(fixture->base, &source, take_facts, fixture, &fixture->error);
		assert_non_null(fixture->call);
		cleanup_close int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		assert_true(peer >= 0);
		assert_int_equal(send(peer, answers[i], strlen(answers[i]), MSG_NOSIGNAL), strlen(answers[i]));
		assert_int_equal(shutdown(peer, SHUT_WR), 0);
		run_to_end(fixture);
		assert_error(&fixture->error, ERROR_POSTGRES_UNREACHABLE, NULL);
	}
}

/* A server that is down for a moment is tried again, and one that starts, too. */
static void
test_a_server_that_is_down(void **state)
{
	struct fixture *fixture = *state;
	struct postgres_source source = source_of("postgres");
	server_stop(SIGQUIT);
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_POSTGRES_UNREACHABLE, NULL);
	assert_int_equal(error_class_of(fixture->error.code), ERROR_CLASS_TRANSIENT);
	server_start();
	inspect_good(fixture, "postgres");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    postgres_test(test_our_environment_does_not_lead_astray),
	    postgres_test(test_facts),
	    postgres_test(test_tables_are_those_that_have_rows_in_a_dump),
	    postgres_test(test_an_empty_database_has_no_tables),
	    postgres_test(test_a_name_is_a_name),
	    postgres_test(test_root_becomes_the_user_of_the_name_and_is_itself_again),
	    postgres_test(test_a_socket_of_somebody_else_is_no_server),
	    postgres_test(test_peer_does_not_let_everybody_in),
	    postgres_test(test_passwords),
	    postgres_test(test_what_is_wrong_has_its_code),
	    postgres_test(test_rows_that_may_not_be_read),
	    postgres_test(test_a_backend_that_is_ended_in_the_middle),
	    postgres_test(test_a_name_is_looked_up_beside_the_loop),
	    postgres_test(test_stopping_ends_the_wait_for_a_server_that_says_nothing),
	    postgres_test(test_abandoning_brings_no_callback),
	    postgres_test(test_somebody_who_is_no_server),
	    postgres_test(test_a_server_that_is_down),
	};
	dumpable_before = prctl(PR_GET_DUMPABLE);
	for (size_t i = 0; i < ARRAY_LENGTH(misleading); i++)
		setenv(misleading[i][0], misleading[i][1], 1);
	return cmocka_run_group_tests_name("postgres", tests, world_make, world_remove);
}
