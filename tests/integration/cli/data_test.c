/* Data that is not read where it is: databases of services that go on running, and what is written down about it.
 * What counts is what plain restic restores. */
#include "tests/integration/cli/database_world.h"

#include <sys/prctl.h>

#define DEMO_SERVICE TEST_BINARY_DIR "/atelier-demo-service"

/* ---- a service at work ---- */

/* Its own judgement of a database; what it prints is the number of rows, all of them whole and none missing. */
static bool
is_whole(const struct world *world, const char *name)
{
	cleanup_free char *database = world_path(world, name);
	cleanup_free char *out = world_path(world, "rows");
	pid_t child = fork();
	if (child == 0) {
		int output = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		if (dup2(output, 1) < 0)
			_exit(126);
		execl(DEMO_SERVICE, DEMO_SERVICE, "--check", database, NULL);
		_exit(127);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	return status == 0;
}

static int64_t
count_rows(const struct world *world, const char *name)
{
	assert_true(is_whole(world, name));
	cleanup_free char *digits = world_read(world, "rows");
	return strtoll(digits, NULL, 10);
}

/* Has made its database, and writes. */
static pid_t
begin_service(const struct world *world)
{
	cleanup_free char *directory = world_path(world, "data");
	pid_t child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(DEMO_SERVICE, DEMO_SERVICE, directory, NULL);
		_exit(127);
	}
	assert_true(child > 0);
	until_true(world_has(world, "data/app.db") && is_whole(world, "data/app.db") &&
		   count_rows(world, "data/app.db") > 0);
	assert_true(world_has(world, "data/app.db-wal"));
	return child;
}

static void
end_service(pid_t service)
{
	int status;
	kill(service, SIGTERM);
	assert_int_equal(waitpid(service, &status, 0), service);
	assert_int_equal(status, 0);
}

/* ---- what is in the snapshot ---- */

/* By restic alone, into the directory `restored`. */
static char *
restore(const struct world *world)
{
	cleanup_free char *target = world_path(world, "restored");
	cleanup_free char *command = xasprintf("rm -rf %s", target);
	assert_int_equal(system(command), 0);
	restic(world, "restore", "latest", "--target", target);
	return xasprintf("restored%s", world->directory);
}

static bool
is_restored(const struct world *world, const char *root, const char *name)
{
	cleanup_free char *path = xasprintf("%s/%s", root, name);
	return world_has(world, path);
}

static json_t *
metadata_of(const struct world *world, const char *root, const char *service)
{
	cleanup_free char *name = xasprintf("%s/state/staging/%s/metadata.json", root, service);
	cleanup_free char *text = world_read(world, name);
	json_error_t error;
	json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	if (document == NULL)
		fail_msg("the metadata is no JSON: %s", error.text);
	assert_int_equal(json_integer_value(json_object_get(document, "version")), 1);
	return document;
}

static const json_t *
datum_of(const json_t *metadata, size_t index)
{
	return json_array_get(json_object_get(metadata, "data"), index);
}

static void
expect_text(const json_t *object, const char *key, const char *expected)
{
	const char *text = json_string_value(json_object_get(object, key));
	if (text == NULL || strcmp(text, expected) != 0)
		fail_msg("\"%s\" is %s, not %s", key, text == NULL ? "missing" : text, expected);
}

static void
expect_no_staging(const struct world *world)
{
	assert_false(world_has(world, "state/staging"));
}

/* ---- SQLite ---- */

static void
write_live_manifest(const struct world *world)
{
	cleanup_free char *services = xasprintf("\"web\": {\"data\": {\"sqlite\": \"%s/data/app.db\"},"
						" \"stopForBackup\": false}",
	    world->directory);
	write_manifest(world, ONE_ATTEMPT, services);
}

static void
a_live_database_is_copied_and_stands_at_its_own_path(void **state)
{
	struct world *world = *state;
	write_live_manifest(world);
	pid_t service = begin_service(world);
	int64_t before = count_rows(world, "data/app.db");
	expect_run(world, "backup web", 0);
	assert_true(is_alive(service));
	assert_true(world_has(world, "data/app.db-wal"));
	cleanup_free char *root = restore(world);
	cleanup_free char *database = xasprintf("%s/data/app.db", root);
	assert_false(is_restored(world, root, "data/app.db-wal"));
	assert_false(is_restored(world, root, "data/app.db-shm"));
	assert_true(is_restored(world, root, "data/files/log.txt"));
	assert_true(count_rows(world, database) >= before);
	end_service(service);
	expect_no_staging(world);

	json_t *metadata = metadata_of(world, root, "web");
	expect_text(metadata, "host", WORLD_HOST);
	expect_text(json_object_get(metadata, "service"), "name", "web");
	expect_text(datum_of(metadata, 0), "kind", "sqlite");
	expect_text(datum_of(metadata, 0), "taken", "live copy");
	expect_text(datum_of(metadata, 0), "journalMode", "wal");
	assert_int_equal(json_string_length(json_object_get(datum_of(metadata, 0), "sha256")), 64);
	assert_true(json_integer_value(json_object_get(datum_of(metadata, 0), "tables")) >= 1);
	json_decref(metadata);
}

static void
owner_and_mode_are_those_of_the_database(void **state)
{
	struct world *world = *state;
	write_live_manifest(world);
	end_service(begin_service(world));
	cleanup_free char *data = world_path(world, "data");
	cleanup_free char *database = world_path(world, "data/app.db");
	world_chmod(world, "", 0711);
	assert_int_equal(chown(data, 4321, 4322), 0);
	assert_int_equal(chown(database, 4321, 4322), 0);
	world_chmod(world, "data/app.db", 0640);
	expect_run(world, "backup web", 0);
	cleanup_free char *root = restore(world);
	cleanup_free char *restored = xasprintf("%s/%s/data/app.db", world->directory, root);
	struct stat status;
	assert_int_equal(stat(restored, &status), 0);
	assert_int_equal(status.st_uid, 4321);
	assert_int_equal(status.st_gid, 4322);
	assert_int_equal(status.st_mode & 07777, 0640);
	assert_false(world_has(world, "data/app.db-wal"));
	assert_false(world_has(world, "data/app.db-shm"));
}

/* After the stop somebody who is none of its units still has it open. */
static void
a_database_that_is_held_after_the_stop_is_copied_live(void **state)
{
	struct world *world = *state;
	cleanup_free char *services =
	    xasprintf("\"web\": {\"data\": {\"sqlite\": \"%s/data/app.db\"}, \"stopUnits\": [],"
		      " \"preBackup\": \"true\", \"postBackup\": \"true\"}",
		world->directory);
	write_manifest(world, ONE_ATTEMPT, services);
	pid_t service = begin_service(world);
	int64_t before = count_rows(world, "data/app.db");
	expect_run(world, "backup web", 3);
	json_t *shown = show_job(world, 1);
	expect_job(shown, "pruned", "partial");
	expect_error_code(shown, "unclean-stop");
	json_decref(shown);
	expect_words(world->out, "is held by atelier-demo-se");
	cleanup_free char *root = restore(world);
	cleanup_free char *database = xasprintf("%s/data/app.db", root);
	assert_true(count_rows(world, database) >= before);
	assert_false(is_restored(world, root, "data/app.db-wal"));
	end_service(service);
	expect_no_staging(world);
}

/* A script in the place of the helper, which ends with the real one; `body` runs before a copy. */
static void
wrap_copies(const struct world *world, const char *body)
{
	cleanup_free char *program = world_path(world, "helper");
	cleanup_free char *script =
	    xasprintf("#!/bin/sh\ncase \"$2\" in copy) %s ;; esac\nexec " PROGRAM " \"$@\"\n", body);
	world_write(world, "helper", script);
	world_chmod(world, "helper", 0755);
	setenv("ATELIER_BACKUP_HELPER", program, 1);
}

static int
unwrap_copies(void **state)
{
	unsetenv("ATELIER_BACKUP_HELPER");
	return world_teardown(state);
}

#define slow_copy_test(function) cmocka_unit_test_setup_teardown(function, repository_setup, unwrap_copies)

/* Time is what this is about. */
#define LASTS(seconds) "begun=$(date +%s); while [ $(($(date +%s) - begun)) -lt " seconds " ]; do sleep 0.05; done"

static void
write_held_manifest(const struct world *world, const char *top)
{
	const char *at = world->directory;
	cleanup_free char *services =
	    xasprintf("\"web\": {\"data\": {\"sqlite\": \"%s/data/app.db\"}, \"stopUnits\": [],"
		      " \"preBackup\": \"echo stop >>%s/stopped\", \"postBackup\": \"echo start >>%s/started\"}",
		at, at, at);
	write_manifest(world, top, services);
}

static void
a_held_database_is_copied_beyond_the_deadline_of_the_stop(void **state)
{
	struct world *world = *state;
	write_held_manifest(world, ONE_ATTEMPT ", \"deadlines\": {\"stop\": \"4s\"}");
	wrap_copies(world, LASTS("6"));
	pid_t service = begin_service(world);
	expect_run(world, "backup web", 3);
	json_t *shown = show_newest(world, "web");
	expect_job(shown, "pruned", "partial");
	expect_error_code(shown, "unclean-stop");
	json_decref(shown);
	end_service(service);
}

/* Another attempt would take the service away again, for as long. */
static void
a_held_database_that_is_never_copied_ends_the_job(void **state)
{
	struct world *world = *state;
	write_held_manifest(world, "\"retry\": {\"attempts\": 3, \"delay\": \"1s\"},"
				   " \"deadlines\": {\"stop\": \"10s\", \"snapshot\": \"2s\"}");
	wrap_copies(world, "kill -STOP $$");
	pid_t service = begin_service(world);
	expect_run(world, "backup web", 1);
	json_t *shown = show_newest(world, "web");
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, "unit-unstoppable");
	expect_note(shown, "is held by atelier-demo-se", true);
	json_decref(shown);
	cleanup_free char *stopped = world_read(world, "stopped");
	cleanup_free char *started = world_read(world, "started");
	assert_string_equal(stopped, "stop\n");
	assert_string_equal(started, "start\n");
	assert_true(is_whole(world, "data/app.db"));
	end_service(service);
	expect_no_staging(world);
}

/* However many there are: each of them alone would be in time. */
static void
all_copies_together_have_one_deadline(void **state)
{
	struct world *world = *state;
	const char *at = world->directory;
	cleanup_free char *services = xasprintf(
	    "\"web\": {\"data\": {\"sqlite\": [\"%s/data/app.db\", \"%s/data/other.db\"]}, \"stopForBackup\": false}",
	    at, at);
	write_manifest(world, ONE_ATTEMPT ", \"deadlines\": {\"snapshot\": \"6s\"}", services);
	end_service(begin_service(world));
	world_run_sql(world, "data/other.db", ORDERS);
	wrap_copies(world, LASTS("4"));
	expect_run(world, "backup web", 1);
	json_t *shown = show_newest(world, "web");
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, "deadline");
	json_decref(shown);
	expect_no_staging(world);
}

static void
a_database_that_is_none_is_refused(void **state)
{
	static const struct {
		const char *content, *code;
	} cases[] = {
	    {"this is no database, or an encrypted one; it is long enough to have a header of a hundred bytes or "
	     "so.....",
		"database-unsupported"},
	    {NULL, "database-missing"},
	};
	struct world *world = *state;
	write_live_manifest(world);
	cleanup_free char *path = world_path(world, "data/app.db");
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		if (cases[i].content != NULL)
			world_write(world, "data/app.db", cases[i].content);
		else
			assert_int_equal(unlink(path), 0);
		expect_run(world, "backup web", 1);
		json_t *shown = show_newest(world, "web");
		expect_job(shown, "failed", "failed");
		expect_error_code(shown, cases[i].code);
		json_decref(shown);
	}
	assert_false(world_has(world, "data/app.db"));
	expect_no_staging(world);
}

/* Its copy is taken from its place then, and restic may have read what stands there now. */
static void
a_database_that_is_replaced_meanwhile_is_not_good(void **state)
{
	static const char halting[] = "case \" $* \" in *' backup '*) " STAND_BY " ;; esac";
	struct world *world = *state;
	write_live_manifest(world);
	end_service(begin_service(world));
	wrap_restic(world, halting);
	expect_run(world, "backup web --detach", 0);
	restic_that_stands_by(world);
	world_write(world, "data/another.db", "not even a database");
	world_rename(world, "data/another.db", "data/app.db");
	world_write(world, "go", "");
	expect_run(world, "follow 1", 1);
	json_t *shown = show_job(world, 1);
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, "database-replaced");
	json_decref(shown);
	expect_no_staging(world);
}

/* ---- files ---- */

static void
what_is_excluded_by_its_own_service_is_refused(void **state)
{
	struct world *world = *state;
	cleanup_free char *services =
	    xasprintf("\"web\": {\"data\": {\"files\": [\"%s/data\"], \"exclude\": [\"data\"]}}", world->directory);
	write_manifest(world, ONE_ATTEMPT, services);
	expect_run(world, "backup web", 1);
	json_t *shown = show_newest(world, "web");
	expect_error_code(shown, "source-excluded");
	json_decref(shown);
	expect_run(world, "check", 1);
	expect_words(world->out, "takes it away");
}

/* Its patterns and its name mean the service's data, and not what is made for its snapshot. */
static void
no_exclude_takes_the_metadata_away(void **state)
{
	struct world *world = *state;
	cleanup_free char *services =
	    xasprintf("\"cache\": {\"data\": {\"files\": [\"%s/data\"], \"exclude\": [\"cache\","
		      " \"*.json\", \"staging\", \"state\"]}}",
		world->directory);
	write_manifest(world, ONE_ATTEMPT, services);
	expect_run(world, "backup cache", 0);
	cleanup_free char *root = restore(world);
	json_t *metadata = metadata_of(world, root, "cache");
	json_decref(metadata);
}

static void
what_shrank_is_partial(void **state)
{
	struct world *world = *state;
	static char content[2 << 20];
	memset(content, 'x', sizeof(content) - 1);
	world_write(world, "data/large", content);
	write_web_manifest(world, ONE_ATTEMPT);
	expect_run(world, "backup web", 0);
	world_write(world, "data/large", "little is left");
	expect_run(world, "backup web", 3);
	json_t *shown = show_newest(world, "web");
	expect_job(shown, "pruned", "partial");
	expect_error_code(shown, "data-shrunk");
	json_decref(shown);
	write_web_manifest(world, ONE_ATTEMPT ", \"maxShrink\": 100");
	expect_run(world, "backup web", 0);
}

static void
metadata_is_in_every_snapshot_and_holds_no_secret(void **state)
{
	struct world *world = *state;
	expect_run(world, "backup web", 0);
	cleanup_free char *root = restore(world);
	json_t *metadata = metadata_of(world, root, "web");
	expect_text(datum_of(metadata, 0), "kind", "files");
	assert_true(json_is_true(json_object_get(json_object_get(metadata, "service"), "preBackup")));
	cleanup_free char *words = json_dumps(metadata, 0);
	assert_null(strstr(words, "echo stop")); /* a hook may hold a password */
	assert_null(strstr(words, "password"));
	json_decref(metadata);
	expect_no_staging(world);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    repository_test(a_live_database_is_copied_and_stands_at_its_own_path),
	    repository_test(owner_and_mode_are_those_of_the_database),
	    repository_test(a_database_that_is_held_after_the_stop_is_copied_live),
	    slow_copy_test(a_held_database_is_copied_beyond_the_deadline_of_the_stop),
	    slow_copy_test(a_held_database_that_is_never_copied_ends_the_job),
	    slow_copy_test(all_copies_together_have_one_deadline),
	    repository_test(a_database_that_is_none_is_refused),
	    repository_test(a_database_that_is_replaced_meanwhile_is_not_good),
	    repository_test(what_is_excluded_by_its_own_service_is_refused),
	    repository_test(no_exclude_takes_the_metadata_away),
	    repository_test(what_shrank_is_partial),
	    repository_test(metadata_is_in_every_snapshot_and_holds_no_secret),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
