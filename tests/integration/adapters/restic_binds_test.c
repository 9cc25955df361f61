/* What restic finds in the place of live data, and what is left out: by what is in the snapshot. */
#include "tests/integration/adapters/restic_world.h"

/* ---- what is in the newest snapshot: it is restored below "restored" ---- */

static void
restore(const struct restic_fixture *fixture)
{
	cleanup_free char *target = fixture_path(fixture, "restored");
	pid_t pid =
	    start_restic(fixture, (const char *[]){"restic", "restore", "latest", "--target", target, NULL}, -1);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* The path of what was in the source under this name. The caller owns it. */
static char *
restored_path(const struct world *world, const char *name)
{
	return xasprintf("%s/restored%s/%s", world->fixture->directory, world->source, name);
}

static bool
is_restored(const struct world *world, const char *name)
{
	cleanup_free char *path = restored_path(world, name);
	struct stat status;
	return lstat(path, &status) == 0;
}

static void
expect_restored(const struct world *world, const char *name, const char *content)
{
	cleanup_free char *path = restored_path(world, name);
	cleanup_free char *found = NULL;
	size_t length;
	if (file_read(path, 1 << 20, &found, &length, NULL) < 0)
		fail_msg("%s is not in the snapshot", name);
	assert_string_equal(found, content);
}

static void
write_source(const struct world *world, const char *name, const char *content)
{
	cleanup_free char *path = xasprintf("source/%s", name);
	fixture_write(world->fixture, path, content);
}

/* ---- binds ---- */

static void
need_root(void)
{
	if (geteuid() == 0)
		return;
	print_message("needs root for a mount\n");
	skip();
}

/* Backs up the source with "frozen" in the place of source/db, and without source/db-wal. */
static void
backup_frozen(const struct world *world)
{
	cleanup_free char *frozen = fixture_path(world->fixture, "frozen");
	cleanup_free char *target = xasprintf("%s/db", world->source);
	cleanup_free char *wal = xasprintf("%s/db-wal", world->source);
	const struct child_bind bind = {.source = frozen, .target = target};
	fixture_backup(world->fixture, (struct restic_backup_request){
					   .paths = (char *[]){world->source, NULL},
					   .left_out = (char *[]){wal, NULL},
					   .binds = &bind,
					   .bind_count = 1,
				       });
	assert_fixture_code(world->fixture, ERROR_NONE);
}

static void
make_database(const struct world *world)
{
	write_source(world, "db", "live");
	write_source(world, "db-wal", "frames");
	fixture_write(world->fixture, "frozen", "a frozen copy");
}

static void
test_the_frozen_file_is_in_the_snapshot(void **state)
{
	need_root();
	cleanup_world struct world world = make_world(state);
	make_database(&world);
	cleanup_free char *frozen = fixture_path(world.fixture, "frozen");
	assert_int_equal(chown(frozen, 1234, 2345), 0);
	assert_int_equal(chmod(frozen, 0640), 0);
	backup_frozen(&world);
	assert_int_equal(world.fixture->result.files, 3);
	restore(world.fixture);

	expect_restored(&world, "db", "a frozen copy");
	expect_restored(&world, "file", "one");
	expect_restored(&world, "sub/file", "two!");
	assert_false(is_restored(&world, "db-wal"));
	cleanup_free char *path = restored_path(&world, "db");
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_uid, 1234);
	assert_int_equal(status.st_gid, 2345);
	assert_int_equal(status.st_mode & 07777, 0640);
	cleanup_free char *live = fixture_read(world.fixture, "source/db");
	assert_string_equal(live, "live");
}

/* Keeps what restic has said of its backup in "said". */
static void
wrap_restic(struct restic_fixture *fixture)
{
	cleanup_free char *script =
	    xasprintf("#!/bin/sh\n'%s' \"$@\" >'%s/said'\ncode=$?\ncat '%s/said'\nexit $code\n",
		fixture->settings.program, fixture->directory, fixture->directory);
	fixture_write(fixture, "wrapped", script);
	free(fixture->settings.program);
	fixture->settings.program = fixture_path(fixture, "wrapped");
	assert_int_equal(chmod(fixture->settings.program, 0700), 0);
}

static void
expect_counts(const struct world *world, int files_changed, int unmodified)
{
	cleanup_free char *said = fixture_read(world->fixture, "said");
	cleanup_free char *words =
	    xasprintf("\"files_changed\":%d,\"files_unmodified\":%d,", files_changed, unmodified);
	if (strstr(said, words) == NULL)
		fail_msg("%s is not in %s", words, said);
}

/* Only what is bound is read again, and that only if it is another file. */
static void
test_the_rest_is_not_read_again(void **state)
{
	need_root();
	cleanup_world struct world world = make_world(state);
	make_database(&world);
	wrap_restic(world.fixture);
	backup_frozen(&world);
	backup_frozen(&world);
	expect_counts(&world, 0, 3);
	fixture_write(world.fixture, "frozen", "another frozen copy");
	write_source(&world, "db-wal", "more frames");
	backup_frozen(&world);
	expect_counts(&world, 1, 2);
}

static void
test_a_bind_that_cannot_be_made(void **state)
{
	need_root();
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	cleanup_free char *frozen = fixture_path(fixture, "frozen");
	const struct child_bind bind = {.source = frozen, .target = world.missing};
	const struct restic_backup_request request = {
	    .paths = (char *[]){world.source, NULL}, .binds = &bind, .bind_count = 1};
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture_write(fixture, "frozen", "a frozen copy");
	assert_null(restic_backup_start(fixture->base, &fixture->settings, &request, fixture_on_backup, &error));
	assert_int_equal(error.code, ERROR_SYSTEM);
	assert_non_null(strstr(error.message, world.missing));
	assert_int_equal(count_locks(fixture), 0);
}

/* ---- left out ---- */

/* A name, and one that its name as a pattern would match as well. */
static const struct {
	const char *name, *decoy;
} names[] = {
    {"plain", "plainer"},
    {"a*b", "axxb"},
    {"c?d", "cxd"},
    {"e[xy]f", "exf"},
    {"g[!x]h", "gyh"},
    {"back\\slash", "backslash"},
    {"i\\*j", "i*j"},
    {"]", "[]"},
    {"**", "anything"},
    {"new\nline", "new"},
    {" space ", "space"},
    {"\xff\xfe*", "\xff\xfe"},
    {"!bang", "bang"},
    {"#hash", "hash"},
    {"$HOME", "home"},
    {"-x", "x"},
};

static void
test_exactly_these_paths_are_left_out(void **state)
{
	cleanup_world struct world world = make_world(state);
	cleanup_strings char **left_out = NULL;
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		cleanup_free char *path = xasprintf("%s/%s", world.source, names[i].name);
		cleanup_free char *below = xasprintf("sub/%s", names[i].name);
		strings_add(&left_out, path);
		write_source(&world, names[i].name, "left out");
		write_source(&world, names[i].decoy, "kept");
		write_source(&world, below, "kept");
	}
	fixture_backup(world.fixture,
	    (struct restic_backup_request){.paths = (char *[]){world.source, NULL}, .left_out = left_out});
	assert_fixture_code(world.fixture, ERROR_NONE);
	restore(world.fixture);
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		cleanup_free char *below = xasprintf("sub/%s", names[i].name);
		if (is_restored(&world, names[i].name))
			fail_msg("%s is in the snapshot", names[i].name);
		expect_restored(&world, names[i].decoy, "kept");
		expect_restored(&world, below, "kept");
	}
}

/* The directory on the way can have such a name as well. */
static void
test_a_path_below_a_strange_directory_is_left_out(void **state)
{
	cleanup_world struct world world = make_world(state);
	fixture_make_directory(world.fixture, "source/s[ou]b*");
	fixture_make_directory(world.fixture, "source/sob");
	write_source(&world, "s[ou]b*/db-wal", "left out");
	write_source(&world, "s[ou]b*/db", "kept");
	write_source(&world, "sob/db-wal", "kept");
	cleanup_free char *path = xasprintf("%s/s[ou]b*/db-wal", world.source);
	fixture_backup(world.fixture, (struct restic_backup_request){.paths = (char *[]){world.source, NULL},
					  .left_out = (char *[]){path, NULL}});
	assert_fixture_code(world.fixture, ERROR_NONE);
	restore(world.fixture);
	assert_false(is_restored(&world, "s[ou]b*/db-wal"));
	expect_restored(&world, "s[ou]b*/db", "kept");
	expect_restored(&world, "sob/db-wal", "kept");
}

static void
test_no_exclude_brings_it_back(void **state)
{
	cleanup_world struct world world = make_world(state);
	cleanup_free char *path = xasprintf("%s/file", world.source);
	cleanup_free char *back = xasprintf("!%s", path);
	fixture_backup(world.fixture, (struct restic_backup_request){.paths = (char *[]){world.source, NULL},
					  .excludes = (char *[]){back, NULL},
					  .left_out = (char *[]){path, NULL}});
	assert_fixture_code(world.fixture, ERROR_NONE);
	restore(world.fixture);
	assert_false(is_restored(&world, "file"));
	expect_restored(&world, "sub/file", "two!");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    world_test(test_the_frozen_file_is_in_the_snapshot),
	    world_test(test_the_rest_is_not_read_again),
	    world_test(test_a_bind_that_cannot_be_made),
	    world_test(test_exactly_these_paths_are_left_out),
	    world_test(test_a_path_below_a_strange_directory_is_left_out),
	    world_test(test_no_exclude_brings_it_back),
	};
	return world_run(tests);
}
