/* The built-in service: the journal and the manifest are backed up with every run. What counts is what plain restic
 * restores on a machine that has nothing else. */
#include "tests/integration/cli/repository_world.h"

#include <sqlite3.h>

#define OWN      "atelier-backup"
#define AT_ONCE  ONE_ATTEMPT ", \"schedule\": {\"time\": \"00:00\", \"maxDelay\": 0}, \"limits\": {\"parallel\": 4}"
#define MANY     12
#define OLD_JOBS "400"

/* ---- what is in the snapshot ---- */

/* The newest snapshot of the service, by restic alone, into the directory `restored`; its name for what stands at
 * `path` on the host. */
static void
restore(const struct world *world, const char *service)
{
	cleanup_free char *target = world_path(world, "restored");
	cleanup_free char *tag = xasprintf("service:%s", service);
	cleanup_free char *command = xasprintf("rm -rf %s", target);
	assert_int_equal(system(command), 0);
	restic(world, "restore", "latest", "--tag", tag, "--target", target);
}

static char *
restored_path(const struct world *world, const char *name)
{
	return xasprintf("%s/restored%s/%s", world->directory, world->directory, name);
}

static char *
restored_name(const struct world *world, const char *name)
{
	return xasprintf("restored%s/%s", world->directory, name);
}

static json_t *
restored_metadata(const struct world *world, const char *service)
{
	cleanup_free char *inside = xasprintf("state/staging/%s/metadata.json", service);
	cleanup_free char *name = restored_name(world, inside);
	cleanup_free char *text = world_read(world, name);
	json_error_t error;
	json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	if (document == NULL)
		fail_msg("the metadata is no JSON: %s", error.text);
	return document;
}

static const char *
text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text == NULL ? "" : text;
}

static const json_t *
datum_of(const json_t *metadata, size_t index)
{
	return json_array_get(json_object_get(metadata, "data"), index);
}

/* As the program of that name tells it. */
static char *
sha256_of(const struct world *world, const char *name)
{
	cleanup_free char *path = world_path(world, name);
	cleanup_free char *command = xasprintf("sha256sum <%s >%s/sum", path, world->directory);
	assert_int_equal(system(command), 0);
	cleanup_free char *line = world_read(world, "sum");
	return xstrndup(line, strcspn(line, " "));
}

static void
expect_digest_of_manifest(const struct world *world, const char *service, const char *digest)
{
	restore(world, service);
	json_t *metadata = restored_metadata(world, service);
	const json_t *manifest = json_object_get(metadata, "manifest");
	cleanup_free char *path = world_path(world, "manifest.json");
	assert_string_equal(text_of(manifest, "sha256"), digest);
	assert_string_equal(text_of(manifest, "path"), path);
	json_decref(metadata);
}

/* The first column of the first row, from a journal that nobody has open. */
static char *
ask(const char *journal, const char *query)
{
	sqlite3 *database;
	sqlite3_stmt *statement;
	assert_int_equal(sqlite3_open_v2(journal, &database, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(database, query, -1, &statement, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	char *answer = xstrdup((const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	sqlite3_close(database);
	return answer;
}

static void
expect_answer(const char *journal, const char *query, const char *expected)
{
	cleanup_free char *answer = ask(journal, query);
	if (strcmp(answer, expected) != 0)
		fail_msg("'%s' answers %s, not %s", query, answer, expected);
}

static size_t
count_entries(const char *path)
{
	size_t count = 0;
	DIR *directory = opendir(path);
	assert_non_null(directory);
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

/* ---- a night ---- */

static void
a_run_backs_the_journal_and_the_manifest_up(void **state)
{
	struct world *world = *state;
	write_web_manifest(world, AT_ONCE);
	expect_run(world, "run", 0);
	expect_words(world->out, OWN ": complete");
	expect_run(world, "status", 0);
	expect_words(world->out, OWN "  good");
	assert_int_equal(count_snapshots(world, OWN), 1);
	assert_int_equal(count_snapshots(world, NULL), 2);
	expect_run(world, "retention --dry-run " OWN, 0);
	expect_run(world, "jobs " OWN, 0);
	expect_words(world->out, "complete");
	json_t *shown = show_newest(world, OWN);
	expect_job(shown, "pruned", "complete");
	assert_int_equal(job_number(shown, "files"), 3);
	json_decref(shown);
	assert_false(world_has(world, "state/staging"));

	/* The journal, the metadata, and nothing else of the state directory. */
	restore(world, OWN);
	cleanup_free char *directory = restored_path(world, "state");
	cleanup_free char *journal = restored_path(world, "state/journal.sqlite");
	assert_int_equal(count_entries(directory), 2);
	expect_answer(journal, "PRAGMA integrity_check", "ok");
	expect_answer(journal,
	    "SELECT group_concat(service) FROM (SELECT service FROM job WHERE run_id ="
	    " (SELECT run_id FROM job WHERE service = '" OWN "') ORDER BY id)",
	    "web," OWN ",(retention),(prune)");
	cleanup_free char *manifest_name = restored_name(world, "manifest.json");
	cleanup_free char *saved = world_read(world, manifest_name);
	cleanup_free char *manifest = world_read(world, "manifest.json");
	assert_string_equal(saved, manifest);

	/* It is a journal like any other. */
	cleanup_free char *line = xasprintf("jobs --json --state-dir=%s", directory);
	json_t *jobs = expect_json(world, line, 0);
	assert_int_equal(json_array_size(json_object_get(jobs, "jobs")), 4);
	json_decref(jobs);
}

static void
the_metadata_says_what_it_is(void **state)
{
	struct world *world = *state;
	write_web_manifest(world, AT_ONCE);
	cleanup_free char *digest = sha256_of(world, "manifest.json");
	cleanup_free char *journal = world_path(world, "state/journal.sqlite");
	cleanup_free char *manifest = world_path(world, "manifest.json");
	expect_run(world, "backup --all", 0);
	expect_digest_of_manifest(world, "web", digest);
	expect_digest_of_manifest(world, OWN, digest);
	json_t *metadata = restored_metadata(world, OWN);
	assert_string_equal(text_of(json_object_get(metadata, "service"), "name"), OWN);
	assert_int_equal(json_array_size(json_object_get(metadata, "data")), 2);
	assert_string_equal(text_of(datum_of(metadata, 0), "path"), journal);
	assert_string_equal(text_of(datum_of(metadata, 0), "taken"), "live copy");
	assert_string_equal(text_of(datum_of(metadata, 1), "path"), manifest);
	json_decref(metadata);
	cleanup_free char *copy = restored_name(world, "state/journal.sqlite");
	cleanup_free char *sum = sha256_of(world, copy);
	metadata = restored_metadata(world, OWN);
	assert_string_equal(text_of(datum_of(metadata, 0), "sha256"), sum);
	json_decref(metadata);
}

/* As on NixOS, where it is a link into the store: a link alone would lead nowhere on another machine. */
static void
a_manifest_behind_a_link_is_there_with_its_content(void **state)
{
	struct world *world = *state;
	write_web_manifest(world, AT_ONCE);
	cleanup_free char *store = world_path(world, "store");
	cleanup_free char *link = world_path(world, "manifest.json");
	cleanup_free char *real = world_path(world, "store/0123-manifest.json");
	mkdir(store, 0755);
	world_rename(world, "manifest.json", "store/0123-manifest.json");
	assert_int_equal(symlink(real, link), 0);
	expect_run(world, "backup " OWN, 0);
	restore(world, OWN);
	cleanup_free char *name = restored_name(world, "store/0123-manifest.json");
	cleanup_free char *saved = world_read(world, name);
	cleanup_free char *manifest = world_read(world, "manifest.json");
	assert_string_equal(saved, manifest);
	json_t *metadata = restored_metadata(world, OWN);
	assert_string_equal(text_of(json_object_get(metadata, "manifest"), "path"), link);
	assert_string_equal(text_of(datum_of(metadata, 1), "path"), real);
	json_decref(metadata);
}

/* What was submitted counts, whatever the file says by then. */
static void
the_digest_is_that_of_the_submission(void **state)
{
	static const char halting[] = "case \" $* \" in *' backup '*) " STAND_BY " ;; esac";
	struct world *world = *state;
	write_web_manifest(world, AT_ONCE);
	cleanup_free char *digest = sha256_of(world, "manifest.json");
	expect_run(world, "init", 0);
	wrap_restic(world, halting);
	expect_run(world, "backup web --detach", 0);
	restic_that_stands_by(world);
	world_usual_manifest(world);
	world_write(world, "go", "");
	expect_run(world, "follow 1", 0);
	expect_digest_of_manifest(world, "web", digest);
}

/* ---- switched on and off ---- */

static void
it_can_be_switched_off(void **state)
{
	struct world *world = *state;
	write_web_manifest(world, AT_ONCE ", \"ownState\": false");
	expect_run(world, "run", 0);
	assert_int_equal(count_snapshots(world, NULL), 1);
	expect_run(world, "status", 0);
	assert_null(strstr(world->out, OWN));
	expect_run(world, "backup " OWN, 2);
	expect_words(world->err, "\"ownState\" is false");
}

static void
a_fresh_machine_is_not_broken_for_it(void **state)
{
	struct world *world = *state;
	expect_run(world, "check", 0);
	assert_null(strstr(world->out, "ownState"));
	expect_run(world, "backup --all --dry-run", 0);
	expect_words(world->out, "state/journal.sqlite");
	expect_run(world, "backup web", 0);
	expect_run(world, "status", 0);
	expect_words(world->out, OWN "  good");
	expect_run(world, "check", 0);
}

/* ---- in use ---- */

static bool
is_locked_by(const struct world *world, pid_t pid)
{
	cleanup_free char *path = world_path(world, "state/journal.sqlite");
	cleanup_close int descriptor = open(path, O_RDWR | O_CLOEXEC);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	assert_int_equal(fcntl(descriptor, F_GETLK, &lock), 0);
	return lock.l_type != F_UNLCK && lock.l_pid == pid;
}

/* POSIX takes a process's locks away with any descriptor of the file that it closes, also one that was only opened to
 * look at it. Without them another process would believe that it is the last one to close the journal. */
static void
the_runner_keeps_its_locks_on_the_journal(void **state)
{
	static const char halting[] = "case \" $* \" in *' backup '*) " STAND_BY " ;; esac";
	struct world *world = *state;
	const char *at = world->directory;
	/* Somebody else may have declared it, too. */
	cleanup_free char *services = xasprintf(
	    "\"all\": {\"data\": {\"sqlite\": \"%s/state/journal.sqlite\","
	    " \"files\": [\"%s/state/journal.sqlite\"]}, \"stopForBackup\": false, \"exclude\": [\"cache\"]}",
	    at, at);
	expect_run(world, "init", 0);
	wrap_restic(world, halting);
	static const char *const names[] = {OWN, "all"};
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		cleanup_free char *line = xasprintf("backup %s --detach", names[i]);
		write_manifest(world, AT_ONCE, services);
		expect_run(world, line, 0);
		restic_that_stands_by(world);
		assert_true(is_locked_by(world, world_runner(world)));
		world_write(world, "go", "");
		expect_run(world, "follow", 0);
		json_t *shown = show_newest(world, names[i]);
		expect_job(shown, "pruned", "complete");
		json_decref(shown);
		cleanup_free char *go = world_path(world, "go");
		cleanup_free char *pid = world_path(world, "pid");
		assert_int_equal(unlink(go) | unlink(pid), 0);
	}
}

/* So that a copy of it takes a while. */
static void
fatten_journal(const struct world *world)
{
	cleanup_free char *path = world_path(world, "state/journal.sqlite");
	static const char sql[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " OLD_JOBS
				  ") INSERT INTO note (job_id, at, source, text)"
				  " SELECT 1, i, 'test', hex(randomblob(65536)) FROM n";
	sqlite3 *database;
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(database);
}

static void
write_many_services(const struct world *world)
{
	cleanup_text struct text services = {.string = NULL};
	for (int i = 0; i < MANY; i++)
		text_printf(
		    &services, "%s\"s%02d\": {\"paths\": \"%s/data\"}", i > 0 ? ", " : "", i, world->directory);
	write_manifest(world, AT_ONCE, services.string);
}

static void
a_copy_beside_jobs_at_work_disturbs_nobody(void **state)
{
	struct world *world = *state;
	write_many_services(world);
	expect_run(world, "backup s00", 0);
	expect_run(world, "follow", 0);
	world_end_runner(world);
	fatten_journal(world);
	expect_run(world, "backup " OWN " s00 s01 s02 s03 s04 s05 s06 s07 s08 s09 s10 s11", 0);
	json_t *shown = show_newest(world, OWN);
	expect_job(shown, "pruned", "complete");
	assert_int_equal(job_number(shown, "attempt"), 1);
	assert_true(job_number(shown, "bytes") > (50 << 20));
	json_decref(shown);
	restore(world, OWN);
	cleanup_free char *journal = restored_path(world, "state/journal.sqlite");
	expect_answer(journal, "PRAGMA integrity_check", "ok");
	expect_answer(journal, "SELECT count(*) FROM note WHERE source = 'test'", OLD_JOBS);
	cleanup_free char *live = world_path(world, "state/journal.sqlite");
	expect_run(world, "follow", 0);
	world_end_runner(world);
	expect_answer(live, "PRAGMA integrity_check", "ok");
}

/* ---- killed ---- */

static void
a_killed_runner_resumes_it(void **state)
{
	static const char halting[] = "case \" $* \" in *' backup '*) [ -e $at/go ] || " STAND_BY " ;; esac";
	struct world *world = *state;
	write_web_manifest(world, "\"retry\": {\"attempts\": 3, \"delay\": 0}");
	expect_run(world, "init", 0);
	wrap_restic(world, halting);
	expect_run(world, "backup " OWN " --detach", 0);
	pid_t waiting = restic_that_stands_by(world);
	assert_true(world_has(world, "state/staging/" OWN "/sqlite/0"));
	pid_t runner = world_runner(world);
	kill(runner, SIGKILL);
	until_true(!is_alive(runner) && !is_alive(waiting));
	world_write(world, "go", "");
	expect_run(world, "recover", 0);
	expect_run(world, "follow", 0);
	json_t *shown = show_newest(world, OWN);
	expect_job(shown, "pruned", "complete");
	assert_int_equal(job_number(shown, "attempt"), 2);
	json_decref(shown);
	assert_int_equal(count_snapshots(world, OWN), 1);
	assert_false(world_has(world, "state/staging"));
	restore(world, OWN);
	cleanup_free char *journal = restored_path(world, "state/journal.sqlite");
	expect_answer(journal, "PRAGMA integrity_check", "ok");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    repository_test(a_run_backs_the_journal_and_the_manifest_up),
	    repository_test(the_metadata_says_what_it_is),
	    repository_test(a_manifest_behind_a_link_is_there_with_its_content),
	    repository_test(the_digest_is_that_of_the_submission),
	    repository_test(it_can_be_switched_off),
	    repository_test(a_fresh_machine_is_not_broken_for_it),
	    repository_test(the_runner_keeps_its_locks_on_the_journal),
	    repository_test(a_copy_beside_jobs_at_work_disturbs_nobody),
	    repository_test(a_killed_runner_resumes_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
