/* Dumps of a real server: what is in them, and that nothing is called good or left behind that is not. */
#include "tests/integration/adapters/postgres_world.h"

#include <sys/statvfs.h>

/* All that a name and a database may have. */
static const char everything[] =
    "CREATE EXTENSION hstore;"
    "CREATE SCHEMA \"odd schema\"; CREATE SCHEMA \"DATA\";"
    "CREATE TABLE plain (id serial PRIMARY KEY, words text, h hstore);"
    "INSERT INTO plain (words, h) SELECT md5(i::text), hstore('k', i::text) FROM generate_series(1, 1000) i;"
    "CREATE TABLE \"odd schema\".\"it's \"\"quoted\"\"\n3400; 0 1 TABLE DATA x\" (\"a b\" int);"
    "INSERT INTO \"odd schema\".\"it's \"\"quoted\"\"\n3400; 0 1 TABLE DATA x\" VALUES (1), (2);"
    "CREATE TABLE \"DATA\".\"Größe.Maß\" (x text); INSERT INTO \"DATA\".\"Größe.Maß\" VALUES ('ä'), (NULL), ('\\.');"
    "CREATE UNLOGGED TABLE unlogged (x int); INSERT INTO unlogged VALUES (7);"
    "CREATE TABLE parted (x int) PARTITION BY RANGE (x);"
    "CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);"
    "CREATE TABLE part_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);"
    "INSERT INTO parted SELECT generate_series(0, 19);"
    "CREATE TABLE empty (x int);"
    "CREATE MATERIALIZED VIEW kept AS SELECT count(*) FROM plain;"
    "CREATE VIEW seen AS SELECT * FROM plain;"
    "SELECT lo_from_bytea(4711, decode(repeat('00ff', 5000), 'hex'));"
    "CREATE TABLE bytes (b bytea); INSERT INTO bytes VALUES ('\\x00ff0a');"
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';"
    "CREATE ROLE \"odd 'role'\" PASSWORD 'hush'; ALTER TABLE empty OWNER TO \"odd 'role'\";"
    "GRANT SELECT ON plain TO \"odd 'role'\"";

static void
test_everything_comes_back(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE DATABASE \"it's \"\"Größe\"\" = 1\"");
	tell(NAME, everything);
	dump_good(fixture, NAME);
	const struct postgres_dump_result *result = &fixture->dump;
	cleanup_free char *expected =
	    xasprintf("%s/it%%27s%%20%%22Gr%%C3%%B6%%C3%%9Fe%%22%%20%%3D%%201.dump", fixture->staging);
	assert_string_equal(result->dump, expected);
	assert_int_equal(result->tables, 8);
	assert_int_equal(fixture->spawned, 5);
	assert_null(fixture->words);
	cleanup_free char *content = NULL;
	size_t length;
	assert_int_equal(file_read(result->dump, (size_t)1 << 28, &content, &length, NULL), 0);
	assert_int_equal(result->bytes, length);
	cleanup_free char *digest = digest_sha256(content, length);
	assert_string_equal(result->sha256, digest);
	cleanup_free char *roles = read_file(result->roles);
	assert_non_null(strstr(roles, "CREATE ROLE \"odd 'role'\""));
	assert_non_null(strstr(roles, "SCRAM-SHA-256"));
	struct stat status;
	assert_int_equal(stat(result->dump, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(stat(result->roles, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	restore(fixture, "back");
	cleanup_free char *before = text_of(NAME), *after = text_of("back");
	assert_string_equal(before, after);
}

static void
test_settings_of_the_database_are_in_the_dump(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE DATABASE settings; ALTER DATABASE settings SET work_mem = '7MB';"
			 "COMMENT ON DATABASE settings IS 'of a test'; ALTER DATABASE settings CONNECTION LIMIT 17");
	dump_good(fixture, "settings");
	tell("postgres", "DROP DATABASE settings");
	cleanup_close int input = open(fixture->dump.dump, O_RDONLY | O_CLOEXEC);
	free(run_program(
	    "pg_restore", (const char *const[]){"--exit-on-error", "--create", "-d", "postgres", NULL}, input));
	cleanup_free char *memory = ask("settings", "SHOW work_mem");
	assert_string_equal(memory, "7MB");
	cleanup_free char *limit = ask("postgres", "SELECT datconnlimit FROM pg_database WHERE datname = 'settings'");
	assert_string_equal(limit, "17");
}

static void
test_an_empty_database(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE DATABASE nothing");
	dump_good(fixture, "nothing");
	assert_int_equal(fixture->dump.tables, 0);
	assert_true(fixture->dump.bytes > 0);
	restore(fixture, "nothing_back");
}

/* Money goes from one to the other all the while; none is made or lost in the dump. */
static void
test_a_busy_writer(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE DATABASE busy");
	tell("busy", "CREATE TABLE account (id int PRIMARY KEY, money bigint);"
		     "INSERT INTO account SELECT i, 1000 FROM generate_series(1, 200) i;"
		     "CREATE TABLE ballast AS SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 60000) i;"
		     "CREATE TABLE log (at timestamptz)");
	pid_t writer =
	    keep_session("busy", "DO $$ DECLARE from_id int; to_id int; BEGIN LOOP"
				 " from_id := 1 + floor(random() * 100); to_id := 101 + floor(random() * 100);"
				 " UPDATE account SET money = money - 1 WHERE id = from_id;"
				 " UPDATE account SET money = money + 1 WHERE id = to_id;"
				 " INSERT INTO log VALUES (now()); COMMIT; END LOOP; END $$");
	wait_for("busy", "SELECT count(*) > 100 FROM log");
	dump_good(fixture, "busy");
	cleanup_free char *written = ask("busy", "SELECT count(*) FROM log");
	end_session(writer);
	assert_true(fixture->dump.bytes > 30000000);
	assert_true(fixture->progress <= fixture->dump.bytes);
	restore(fixture, "busy_back");
	cleanup_free char *money = ask("busy_back", "SELECT sum(money) FROM account");
	assert_string_equal(money, "200000");
	cleanup_free char *seen = ask("busy_back", "SELECT count(*) FROM log");
	assert_true(atol(seen) >= 100 && atol(seen) <= atol(written));
}

/* ---- rights ---- */

static void
test_who_may_not_read_passwords_gets_roles_without(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE ROLE secret LOGIN PASSWORD 'word'; CREATE DATABASE poor OWNER secret");
	tell("poor", "CREATE TABLE t (x int); ALTER TABLE t OWNER TO secret");
	cleanup_free char *keys = temporary_directory_make();
	append(keys, "passfile", "*:*:*:secret:word\n", true);
	cleanup_free char *passfile = xasprintf("%s/passfile", keys);
	struct postgres_source source = source_of("poor");
	source.user = (char *)"secret";
	source.passfile = passfile;
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_NONE, NULL);
	dump(fixture, &source);
	assert_error(&fixture->dump.error, ERROR_NONE, NULL);
	cleanup_free char *roles = read_file(fixture->dump.roles);
	assert_non_null(strstr(roles, "CREATE ROLE secret"));
	assert_null(strstr(roles, "PASSWORD"));
	assert_int_equal(unlink(passfile), 0);
	/* The password is wrong by now: it was right when the server was asked. */
	append(keys, "passfile", "*:*:*:secret:wrong\n", true);
	assert_int_equal(unlink(fixture->dump.dump), 0);
	assert_int_equal(unlink(fixture->dump.roles), 0);
	free(fixture->dump.dump);
	free(fixture->dump.roles);
	free(fixture->dump.sha256);
	free(fixture->dump.client_version);
	dump(fixture, &source);
	assert_failed(fixture, ERROR_POSTGRES_RIGHTS, "password authentication failed");
	temporary_directory_remove(take_pointer(keys));
}

static void
test_a_database_that_is_gone(void **state)
{
	struct fixture *fixture = *state;
	struct postgres_source source = source_of("gone");
	inspect_good(fixture, "postgres");
	dump(fixture, &source);
	assert_failed(fixture, ERROR_DATABASE_MISSING, "does not exist");
}

static void
test_no_client_is_new_enough(void **state)
{
	struct fixture *fixture = *state;
	struct postgres_source source = source_of("postgres");
	inspect_good(fixture, "postgres");
	fixture->facts.server_version = 990001;
	dump_begin(fixture, &source);
	assert_failed(fixture, ERROR_POSTGRES_CLIENT, "PostgreSQL 99");
	assert_non_null(strstr(fixture->dump.error.hint, "postgresql-client-99"));
}

/* ---- tables that come and go ---- */

static void
test_a_table_that_is_dropped_before_the_dump_is_not_missing(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE DATABASE changing");
	tell("changing", "CREATE TABLE one (x int); CREATE TABLE two (x int)");
	struct postgres_source source = source_of("changing");
	inspect_good(fixture, "changing");
	tell("changing", "DROP TABLE one; DROP TABLE two; CREATE TABLE two (x int); CREATE TABLE three (x int)");
	dump(fixture, &source);
	assert_error(&fixture->dump.error, ERROR_NONE, NULL);
	assert_int_equal(fixture->dump.tables, 2);
}

static void
make_small(const char *database)
{
	cleanup_free char *sql = xasprintf("CREATE DATABASE %s", database);
	tell("postgres", sql);
	tell(database, "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 5000) i;"
		       "CREATE TABLE u AS SELECT i, md5(i::text) FROM generate_series(1, 5000) i");
}

static void
test_a_dump_without_a_table_is_incomplete(void **state)
{
	struct fixture *fixture = *state;
	make_small("without");
	install_pg_dump(fixture, "exec $real --exclude-table-data=public.u \"$@\"");
	struct postgres_source source = source_of("without");
	inspect_good(fixture, "without");
	dump(fixture, &source);
	assert_failed(fixture, ERROR_DUMP_INCOMPLETE, "lacks the rows of 1 of 2 tables, among them public.u");
}

static void
test_dumps_that_are_none(void **state)
{
	struct fixture *fixture = *state;
	static const char *const bodies[] = {
	    "exit 0",
	    "echo hello",
	    "$real \"$@\" | head -c 200",
	    "$real \"$@\" | head -c 100000",
	    "$real \"$@\" --format=plain",
	};
	make_small("small");
	struct postgres_source source = source_of("small");
	for (size_t i = 0; i < ARRAY_LENGTH(bodies); i++) {
		install_pg_dump(fixture, bodies[i]);
		inspect_good(fixture, "small");
		dump(fixture, &source);
		assert_failed(fixture, ERROR_DUMP_INCOMPLETE, NULL);
		setenv("PATH", path_before, 1);
		free(take_pointer(path_before));
	}
}

static void
test_what_pg_dump_says_is_told(void **state)
{
	struct fixture *fixture = *state;
	install_pg_dump(fixture, "echo >&2 'pg_dump: warning: first'; printf >&2 'pg_dump: error: the\\033[31m '; "
				 "echo >&2 'second'; echo >&2 'pg_dump: detail: third'; exit 3");
	struct postgres_source source = source_of("postgres");
	inspect_good(fixture, "postgres");
	dump(fixture, &source);
	assert_int_equal(strings_count(fixture->words), 3);
	assert_string_equal(fixture->words[0], "pg_dump: warning: first");
	assert_failed(fixture, ERROR_DUMP_FAILED, "exited with 3: the?[31m second; third");
	assert_int_equal(error_class_of(fixture->dump.error.code), ERROR_CLASS_TRANSIENT);
}

static void
test_no_secret_is_in_arguments_or_environment(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *body = xasprintf("umask 0; { tr '\\0' '\\n' </proc/$$/environ; printf '%%s\\n' \"$@\"; } "
					    ">%s/seen; exec $real \"$@\"",
	    world.directory);
	tell("postgres", "CREATE DATABASE hush");
	install_pg_dump(fixture, body);
	setenv("PGPASSWORD", "hush-hush", 1);
	setenv("LANGUAGE", "de", 1);
	struct postgres_source source = source_of("hush");
	inspect_good(fixture, "hush");
	dump(fixture, &source);
	unsetenv("PGPASSWORD");
	unsetenv("LANGUAGE");
	assert_error(&fixture->dump.error, ERROR_NONE, NULL);
	cleanup_free char *path = xasprintf("%s/seen", world.directory);
	cleanup_free char *seen = read_file(path);
	assert_null(strstr(seen, "hush-hush"));
	assert_null(strstr(seen, "LANGUAGE"));
	assert_non_null(strstr(seen, "PGPASSFILE=/dev/null/none\n"));
	assert_non_null(strstr(seen, "LC_ALL=C.UTF-8\n"));
	assert_non_null(strstr(seen, "--dbname=dbname='hush' host="));
}

/* ---- ends in the middle ---- */

/* A dump that waits for the lock of somebody else. */
static pid_t
begin_dump_that_waits(struct fixture *fixture, const char *database, const struct postgres_source *source)
{
	make_small(database);
	inspect_good(fixture, database);
	pid_t holder = keep_session(database, "BEGIN; LOCK TABLE t; SELECT pg_sleep(600)");
	wait_for("postgres", LOCK_IS_HELD);
	dump_begin(fixture, source);
	assert_non_null(fixture->call);
	wait_for("postgres", OURS_WAITS);
	return holder;
}

static void
test_pg_dump_is_killed(void **state)
{
	struct fixture *fixture = *state;
	struct postgres_source source = source_of("killed");
	pid_t holder = begin_dump_that_waits(fixture, "killed", &source);
	assert_int_equal(kill(fixture->child.pid, SIGKILL), 0);
	run_to_end(fixture);
	assert_failed(fixture, ERROR_DUMP_FAILED, "was killed by SIGKILL");
	end_session(holder);
}

static void
test_its_backend_is_ended(void **state)
{
	struct fixture *fixture = *state;
	struct postgres_source source = source_of("cut");
	pid_t holder = begin_dump_that_waits(fixture, "cut", &source);
	tell("postgres",
	    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'atelier-backup'");
	run_to_end(fixture);
	assert_failed(fixture, ERROR_DUMP_FAILED, "terminating connection due to administrator command");
	end_session(holder);
}

static void
test_the_server_goes_down(void **state)
{
	struct fixture *fixture = *state;
	struct postgres_source source = source_of("down");
	pid_t holder = begin_dump_that_waits(fixture, "down", &source);
	server_stop(SIGQUIT);
	run_to_end(fixture);
	assert_failed(fixture, ERROR_POSTGRES_UNREACHABLE, NULL);
	int status;
	assert_int_equal(waitpid(holder, &status, 0), holder);
	server_start();
	dump_good(fixture, "down");
}

/* ... while rows are coming: the pipe in between holds them back until the server is gone. */
static void
test_the_server_is_restarted_while_rows_come(void **state)
{
	struct fixture *fixture = *state;
	tell("postgres", "CREATE DATABASE streaming");
	tell("streaming", "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 40000) i");
	cleanup_free char *body =
	    xasprintf("cd %s && mkfifo rows && { $real \"$@\" >rows & pid=$!; "
		      "{ head -c 50000; while [ ! -e restarted ]; do sleep 0.05; done; cat; } <rows; "
		      "wait $pid; }",
		world.directory);
	install_pg_dump(fixture, body);
	struct postgres_source source = source_of("streaming");
	inspect_good(fixture, "streaming");
	dump_begin(fixture, &source);
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	while (fixture->progress < 50000) {
		event_base_loop(fixture->base, EVLOOP_NONBLOCK);
		expire(deadline, "progress");
	}
	server_stop(SIGQUIT);
	server_start();
	append(world.directory, "restarted", "", true);
	run_to_end(fixture);
	/* By now it is there again: worth another attempt. */
	assert_failed(fixture, ERROR_DUMP_FAILED, "exited with 1");
	assert_int_equal(error_class_of(fixture->dump.error.code), ERROR_CLASS_TRANSIENT);
}

static void
test_stop(void **state)
{
	struct fixture *fixture = *state;
	struct postgres_source source = source_of("stopped");
	pid_t holder = begin_dump_that_waits(fixture, "stopped", &source);
	postgres_call_stop(fixture->call);
	postgres_call_stop(fixture->call);
	assert_false(fixture->came);
	run_to_end(fixture);
	assert_failed(fixture, ERROR_CANCELLED, "stopped");
	end_session(holder);
	wait_for("postgres", OURS_IS_GONE);
}

static void
test_abandon(void **state)
{
	struct fixture *fixture = *state;
	struct postgres_source source = source_of("abandoned");
	size_t descriptors = count_open_descriptors();
	pid_t holder = begin_dump_that_waits(fixture, "abandoned", &source);
	postgres_call_abandon(fixture->call);
	assert_false(child_identity_alive(&fixture->child));
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_false(fixture->came);
	assert_int_equal(count_open_descriptors(), descriptors);
	end_session(holder);
}

static void
test_progress_is_told_while_it_is_written(void **state)
{
	struct fixture *fixture = *state;
	make_small("slow");
	/* The file grows to a part, and stays so until somebody has seen it. */
	cleanup_free char *body = xasprintf("$real \"$@\" >%s/whole && head -c 50000 %s/whole && "
					    "while [ ! -e %s/go ]; do sleep 0.05; done; tail -c +50001 %s/whole",
	    world.directory, world.directory, world.directory, world.directory);
	install_pg_dump(fixture, body);
	struct postgres_source source = source_of("slow");
	inspect_good(fixture, "slow");
	dump_begin(fixture, &source);
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	while (fixture->progress < 50000) {
		event_base_loop(fixture->base, EVLOOP_NONBLOCK);
		expire(deadline, "progress");
	}
	assert_int_equal(fixture->progress, 50000);
	append(world.directory, "go", "", true);
	run_to_end(fixture);
	assert_error(&fixture->dump.error, ERROR_NONE, NULL);
}

/* ---- no room ---- */

static void
mount_small(const struct fixture *fixture, uint64_t bytes)
{
	cleanup_free char *options = xasprintf("size=%llu,mode=0700", (unsigned long long)bytes);
	assert_int_equal(mount("tmpfs", fixture->staging, "tmpfs", 0, options), 0);
}

static void
assert_nothing_left_in_mount(const struct fixture *fixture)
{
	assert_int_equal(umount(fixture->staging), 0); /* nobody holds it */
}

static void
test_the_disk_is_full_in_the_middle(void **state)
{
	struct fixture *fixture = *state;
	if (geteuid() != 0) {
		print_message("needs root to mount a small disk\n");
		skip();
	}
	make_small("large");
	struct postgres_source source = source_of("large");
	dump_good(fixture, "large");
	uint64_t whole = (fixture->dump.bytes + 4095) / 4096 * 4096;
	/* For the dump, then for the roles: they have a page too few. */
	const uint64_t sizes[] = {65536, whole - 4096, whole};
	for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
		inspect_good(fixture, "large");
		mount_small(fixture, sizes[i]);
		dump(fixture, &source);
		struct statvfs room;
		assert_int_equal(statvfs(fixture->staging, &room), 0);
		assert_int_equal(room.f_bfree, room.f_blocks);
		assert_nothing_left_in_mount(fixture);
		assert_error(&fixture->dump.error, ERROR_NO_SPACE, "no room");
		assert_non_null(strstr(fixture->dump.error.hint, fixture->staging));
	}
}

static void
test_what_is_there_is_neither_overwritten_nor_removed(void **state)
{
	struct fixture *fixture = *state;
	append(fixture->staging, "postgres.dump", "mine", true);
	struct postgres_source source = source_of("postgres");
	inspect_good(fixture, "postgres");
	dump_begin(fixture, &source);
	assert_null(fixture->call);
	assert_error(&fixture->dump.error, ERROR_SYSTEM, "postgres.dump");
	cleanup_free char *path = xasprintf("%s/postgres.dump", fixture->staging);
	cleanup_free char *content = read_file(path);
	assert_string_equal(content, "mine");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    postgres_test(test_everything_comes_back),
	    postgres_test(test_settings_of_the_database_are_in_the_dump),
	    postgres_test(test_an_empty_database),
	    postgres_test(test_a_busy_writer),
	    postgres_test(test_who_may_not_read_passwords_gets_roles_without),
	    postgres_test(test_a_database_that_is_gone),
	    postgres_test(test_no_client_is_new_enough),
	    postgres_test(test_a_table_that_is_dropped_before_the_dump_is_not_missing),
	    postgres_program_test(test_a_dump_without_a_table_is_incomplete),
	    postgres_program_test(test_dumps_that_are_none),
	    postgres_program_test(test_what_pg_dump_says_is_told),
	    postgres_program_test(test_no_secret_is_in_arguments_or_environment),
	    postgres_test(test_pg_dump_is_killed),
	    postgres_test(test_its_backend_is_ended),
	    postgres_test(test_the_server_goes_down),
	    postgres_program_test(test_the_server_is_restarted_while_rows_come),
	    postgres_test(test_stop),
	    postgres_test(test_abandon),
	    postgres_program_test(test_progress_is_told_while_it_is_written),
	    postgres_test(test_the_disk_is_full_in_the_middle),
	    postgres_test(test_what_is_there_is_neither_overwritten_nor_removed),
	};
	/* What is mounted here nobody else sees. */
	if (geteuid() == 0 && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)) {
		perror("a mount namespace");
		return 1;
	}
	return cmocka_run_group_tests_name("postgres dump", tests, world_make, world_remove);
}
