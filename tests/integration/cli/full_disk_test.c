/* A disk that is full, at each step of a backup: where copies, dumps, the metadata and the journal are kept, where
 * restic puts together what it sends, and where the repository is. No such backup is called complete, whatever was
 * stopped runs again, nothing is left of what was taken, and as soon as there is room the next one is good.
 *
 * docs/bad-data.md has the table. Needs root: the disks are small file systems of this program's own. */
#include "tests/integration/cli/postgres_clusters.h"
#include "tests/integration/own_mounts.h"

#include <sqlite3.h>
#include <sys/statvfs.h>

#define MIB ((uint64_t)1 << 20)

/* ---- small disks ---- */

static void
mount_disk(const struct world *world, const char *name, uint64_t bytes)
{
	cleanup_free char *path = world_path(world, name);
	cleanup_free char *options = xasprintf("size=%llu,mode=0700", (unsigned long long)bytes);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	assert_int_equal(mount("tmpfs", path, "tmpfs", 0, options), 0);
}

static void
enlarge_disk(const struct world *world, const char *name, uint64_t bytes)
{
	cleanup_free char *path = world_path(world, name);
	cleanup_free char *options = xasprintf("size=%llu", (unsigned long long)bytes);
	assert_int_equal(mount("tmpfs", path, "tmpfs", MS_REMOUNT, options), 0);
}

static void
unmount_disk(const struct world *world, const char *name)
{
	cleanup_free char *path = world_path(world, name);
	world_end_runner(world);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
}

static char *
ballast_of(const struct world *world, const char *disk)
{
	return xasprintf("%s/%s/ballast", world->directory, disk);
}

/* All but so many bytes of it are taken. */
static void
fill(const struct world *world, const char *disk, uint64_t left)
{
	cleanup_free char *path = ballast_of(world, disk);
	cleanup_close int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct statvfs room;
	assert_true(descriptor >= 0);
	assert_int_equal(fstatvfs(descriptor, &room), 0);
	uint64_t free_bytes = (uint64_t)room.f_bfree * room.f_frsize;
	if (free_bytes > left)
		assert_int_equal(fallocate(descriptor, 0, 0, (off_t)(free_bytes - left)), 0);
}

static void
make_room(const struct world *world, const char *disk)
{
	cleanup_free char *path = ballast_of(world, disk);
	assert_int_equal(unlink(path), 0);
}

/* ---- what has to be so afterwards ---- */

static size_t
count_lines(const struct world *world, const char *name)
{
	if (!world_has(world, name))
		return 0;
	cleanup_free char *content = world_read(world, name);
	size_t count = 0;
	for (const char *at = content; (at = strchr(at, '\n')) != NULL; at++)
		count++;
	return count;
}

/* postBackup may run twice for one preBackup, never less than once. */
static void
expect_service_runs(const struct world *world)
{
	assert_true(count_lines(world, "started") >= count_lines(world, "stopped"));
}

static bool
staging_is_empty(const struct world *world)
{
	cleanup_free char *path = world_path(world, "state/staging");
	DIR *directory = opendir(path);
	size_t entries = 0;
	if (directory == NULL)
		return errno == ENOENT;
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
		entries += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
			   strcmp(entry->d_name, "ballast") != 0;
	closedir(directory);
	return entries == 0;
}

/* The newest job of "web" has failed so; `words` are in its message or hint. */
static void
expect_failed_job(struct world *world, const char *code, const char *words)
{
	json_t *shown = show_newest(world, "web");
	const json_t *error = json_object_get(json_object_get(shown, "job"), "error");
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, code);
	cleanup_free char *said = json_dumps(error, 0);
	expect_words(said, words);
	json_decref(shown);
	expect_service_runs(world);
	assert_true(staging_is_empty(world));
}

static void
expect_good_backup(struct world *world)
{
	expect_run(world, "backup web", 0);
	json_t *shown = show_newest(world, "web");
	expect_job(shown, "pruned", "complete");
	json_decref(shown);
	expect_service_runs(world);
	assert_true(staging_is_empty(world));
}

/* "web" with these data (JSON text), between two hooks that count; the first does something more. */
static void
write_hooked_manifest(const struct world *world, const char *data, const char *more)
{
	const char *at = world->directory;
	cleanup_free char *services =
	    xasprintf("\"web\": {\"data\": {%s}, \"stopUnits\": [], \"preBackup\": \"echo stop >>%s/stopped; %s\","
		      " \"postBackup\": \"echo start >>%s/started\"}",
		data, at, more, at);
	write_manifest(world, ONE_ATTEMPT, services);
}

static char *
files_of(const struct world *world)
{
	return xasprintf("\"files\": [\"%s/data\"]", world->directory);
}

static void
write_random(const struct world *world, const char *name, uint64_t bytes)
{
	cleanup_free char *command =
	    xasprintf("head -c %llu /dev/urandom >%s/%s", (unsigned long long)bytes, world->directory, name);
	assert_int_equal(system(command), 0);
}

/* ---- the copy of a live database ---- */

#define DATABASE_SQL                                                                                                 \
	"CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB);"                                                             \
	"WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5000)"                             \
	" INSERT INTO t SELECT x, zeroblob(3900) FROM n"

static sqlite3 *
open_database(const struct world *world)
{
	sqlite3 *database;
	cleanup_free char *path = world_path(world, "data/app.db");
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	return database;
}

static void
run_sql(sqlite3 *database, const char *sql)
{
	if (sqlite3_exec(database, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(database));
}

static void
write_live_manifest(const struct world *world)
{
	cleanup_free char *services = xasprintf("\"web\": {\"data\": {\"sqlite\": \"%s/data/app.db\"},"
						" \"stopForBackup\": false}",
	    world->directory);
	write_manifest(world, ONE_ATTEMPT, services);
}

/* The copier waits for a lock that somebody has, while the disk fills up. */
static void
in_the_middle_of_a_copy(void **state)
{
	struct world *world = *state;
	mount_disk(world, "state", 128 * MIB);
	write_live_manifest(world);
	sqlite3 *database = open_database(world);
	run_sql(database, DATABASE_SQL);
	run_sql(database, "BEGIN EXCLUSIVE");
	cleanup_strings char **words = words_of("backup web");
	pid_t command = world_begin(world, words);
	until_true(world_has(world, "state/staging/web/sqlite/0"));
	fill(world, "state", 4 * MIB);
	run_sql(database, "COMMIT");
	world_end(world, command);
	assert_int_equal(world->code, 1);
	expect_failed_job(world, "no-space", "copy");
	make_room(world, "state");
	expect_good_backup(world);
	assert_int_equal(sqlite3_close(database), SQLITE_OK);
	unmount_disk(world, "state");
}

static void
before_a_copy(void **state)
{
	struct world *world = *state;
	mount_disk(world, "state", 128 * MIB);
	write_live_manifest(world);
	sqlite3 *database = open_database(world);
	run_sql(database, DATABASE_SQL);
	fill(world, "state", 40 * MIB);
	expect_run(world, "backup web", 1);
	expect_failed_job(world, "no-space", "copies of its data need up to");
	make_room(world, "state");
	expect_good_backup(world);
	assert_int_equal(sqlite3_close(database), SQLITE_OK);
	unmount_disk(world, "state");
}

/* ---- dumps ---- */

/* Made by each test that needs it. */
static struct cluster server;

static int
cluster_teardown(void **state)
{
	cluster_stop(&server);
	return world_teardown(state);
}

/* The program of the database "second" says that it has been reached, and waits. */
#define HALT_AT_SECOND                                                                                               \
	"case \"$*\" in *\"dbname='second'\"*) : >$at/server/reached;"                                               \
	" while [ ! -e $at/go ]; do sleep 0.02; done ;; esac; exec $real \"$@\""

static const struct full_dump {
	const char *program;
	uint64_t left;
} full_dumps[] = {
    {"pg_dump", 64 * 1024},
    {"pg_dump", 0},
    {"pg_dumpall", 0},
};

static void
fill_at_the_second_dump(struct world *world, const struct full_dump *full)
{
	cleanup_free char *reached = world_path(world, "server/reached");
	cleanup_free char *go = world_path(world, "go");
	stand_in(world, full->program, HALT_AT_SECOND);
	cleanup_strings char **words = words_of("backup web");
	pid_t command = world_begin(world, words);
	until_true(world_has(world, "server/reached"));
	fill(world, "state/staging", full->left);
	world_write(world, "go", "");
	world_end(world, command);
	assert_int_equal(world->code, 1);
	expect_failed_job(world, "no-space", "dump of second");
	make_room(world, "state/staging");
	remove_stand_in(world, full->program);
	assert_int_equal(unlink(reached), 0);
	assert_int_equal(unlink(go), 0);
}

/* The staging is a disk of its own here: what is full stays full. */
static void
in_the_middle_of_dumps(void **state)
{
	struct world *world = *state;
	cleanup_free char *directory = world_path(world, "state");
	assert_int_equal(mkdir(directory, 0700), 0);
	mount_disk(world, "state/staging", 128 * MIB);
	allow_stand_ins(world);
	server = cluster_make(world, "server");
	cluster_tell(&server,
	    "for name in first second; do createdb $name && psql -q $name -c \"CREATE TABLE orders AS"
	    " SELECT n, md5(n::text) AS words FROM generate_series(1, 20000) n\" || exit 1; done");
	cleanup_free char *data = xasprintf("\"postgres\": [{\"database\": \"first\", \"host\": \"%s/server\"},"
					    " {\"database\": \"second\", \"host\": \"%s/server\"}]",
	    world->directory, world->directory);
	write_hooked_manifest(world, data, "true");
	restic(world, "init", "--quiet");
	for (size_t i = 0; i < ARRAY_LENGTH(full_dumps); i++)
		fill_at_the_second_dump(world, &full_dumps[i]);
	assert_int_equal(count_snapshots(world, NULL), 0);
	expect_good_backup(world);
	unmount_disk(world, "state/staging");
}

/* What compresses well is small in the database and large in its dump: the dump itself fills the disk, on which the
 * journal is, too. */
static void
by_a_dump_that_is_larger_than_its_database(void **state)
{
	struct world *world = *state;
	mount_disk(world, "state", 128 * MIB);
	server = cluster_make(world, "server");
	cluster_tell(&server, "createdb shop && psql -q shop -c \"CREATE TABLE sparse AS"
			      " SELECT decode(repeat('00', 1000000), 'hex') AS zeros FROM generate_series(1, 100)\"");
	cleanup_free char *data =
	    xasprintf("\"postgres\": {\"database\": \"shop\", \"host\": \"%s/server\"}", world->directory);
	write_hooked_manifest(world, data, "true");
	restic(world, "init", "--quiet");
	expect_run(world, "backup web", 1);
	expect_failed_job(world, "no-space", "dump of shop");
	assert_int_equal(count_snapshots(world, NULL), 0);
	cluster_tell(
	    &server, "psql -q shop -c 'DELETE FROM sparse WHERE ctid > (SELECT ctid FROM sparse LIMIT 1 OFFSET 9)'");
	expect_good_backup(world);
	unmount_disk(world, "state");
}

/* ---- the metadata ---- */

/* Its place is a disk of its own here, for otherwise the journal would meet the full disk first. */
static void
at_the_metadata(void **state)
{
	struct world *world = *state;
	cleanup_free char *directory = world_path(world, "state");
	cleanup_free char *files = files_of(world);
	assert_int_equal(mkdir(directory, 0700), 0);
	mount_disk(world, "state/staging", 64 * 1024);
	write_hooked_manifest(world, files, "true");
	restic(world, "init", "--quiet");
	fill(world, "state/staging", 0);
	expect_run(world, "backup web", 1);
	expect_failed_job(world, "no-space", "metadata.json");
	assert_int_equal(count_lines(world, "stopped"), 1);
	assert_int_equal(count_snapshots(world, NULL), 0);
	make_room(world, "state/staging");
	expect_good_backup(world);
	unmount_disk(world, "state/staging");
}

/* ---- the journal ---- */

static void
at_the_journal_before_anything_is_begun(void **state)
{
	struct world *world = *state;
	mount_disk(world, "state", 8 * MIB);
	cleanup_free char *files = files_of(world);
	write_hooked_manifest(world, files, "true");
	expect_good_backup(world);
	world_end_runner(world);
	fill(world, "state", 0);
	expect_run(world, "backup web", 1);
	expect_words(world->err, "room");
	assert_int_equal(count_lines(world, "stopped"), 1);
	make_room(world, "state");
	assert_int_equal(count_snapshots(world, NULL), 1);
	expect_good_backup(world);
	unmount_disk(world, "state");
}

/* What stops the service takes the last room with it. */
static void
at_the_journal_while_the_service_is_down(void **state)
{
	struct world *world = *state;
	mount_disk(world, "state", 8 * MIB);
	cleanup_free char *files = files_of(world);
	cleanup_free char *filling = xasprintf("cat /dev/zero >%s/state/ballast 2>/dev/null; true", world->directory);
	write_hooked_manifest(world, files, filling);
	restic(world, "init", "--quiet");
	expect_run(world, "backup web", 1);
	assert_int_equal(count_lines(world, "stopped"), 1);
	expect_service_runs(world);
	world_end_runner(world);
	make_room(world, "state");
	world_run(world, "recover");
	json_t *shown = show_newest(world, "web");
	expect_job(shown, "failed", "failed");
	expect_error_code(shown, "interrupted");
	json_decref(shown);
	expect_service_runs(world);
	assert_true(staging_is_empty(world));
	assert_int_equal(count_snapshots(world, NULL), 0);
	write_hooked_manifest(world, files, "true");
	expect_good_backup(world);
	unmount_disk(world, "state");
}

/* ---- restic ---- */

/* Not 0.14: once it was still at it after more than three minutes, where it mostly gives up at once. */
static const char *const restic_versions[] = {
    "ATELIER_TEST_RESTIC_018",
    "ATELIER_TEST_RESTIC_019",
};

static void
in_the_middle_of_an_upload(void **state)
{
	struct world *world = *state;
	cleanup_free char *files = files_of(world);
	write_hooked_manifest(world, files, "true");
	write_random(world, "data/large", 40 * MIB);
	for (size_t i = 0; i < ARRAY_LENGTH(restic_versions); i++) {
		use_restic(world, restic_versions[i]);
		mount_disk(world, "repo", 24 * MIB);
		restic(world, "init", "--quiet");
		expect_run(world, "backup web", 1);
		expect_failed_job(world, "repository-full", "the repository has no room left");
		assert_int_equal(count_locks(world), 0);
		enlarge_disk(world, "repo", 256 * MIB);
		expect_good_backup(world);
		assert_int_equal(count_snapshots(world, NULL), 1);
		restic(world, "check", "--read-data", "--quiet");
		unmount_disk(world, "repo");
		cleanup_free char *forget = xasprintf("rm -rf %s/state %s/cache", world->directory, world->directory);
		assert_int_equal(system(forget), 0);
	}
}

/* Where restic puts together what it sends. */
static void
in_the_directory_for_temporary_files(void **state)
{
	struct world *world = *state;
	cleanup_free char *files = files_of(world);
	cleanup_free char *place = world_path(world, "tmp");
	write_hooked_manifest(world, files, "true");
	write_random(world, "data/large", 8 * MIB);
	mount_disk(world, "tmp", 1 * MIB);
	restic(world, "init", "--quiet");
	setenv("TMPDIR", place, 1);
	expect_run(world, "backup web", 1);
	unsetenv("TMPDIR");
	expect_failed_job(world, "no-space", "TMPDIR");
	assert_int_equal(count_locks(world), 0);
	assert_int_equal(count_snapshots(world, NULL), 0);
	world_end_runner(world);
	expect_good_backup(world);
	unmount_disk(world, "tmp");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    repository_test(in_the_middle_of_a_copy),
	    repository_test(before_a_copy),
	    cmocka_unit_test_setup_teardown(in_the_middle_of_dumps, repository_setup, cluster_teardown),
	    cmocka_unit_test_setup_teardown(
		by_a_dump_that_is_larger_than_its_database, repository_setup, cluster_teardown),
	    repository_test(at_the_metadata),
	    repository_test(at_the_journal_before_anything_is_begun),
	    repository_test(at_the_journal_while_the_service_is_down),
	    repository_test(in_the_middle_of_an_upload),
	    repository_test(in_the_directory_for_temporary_files),
	};
	have_own_mounts();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
