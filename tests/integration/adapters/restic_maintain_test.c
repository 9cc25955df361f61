/* A real restic that forgets, prunes and repairs. */
#include "tests/integration/adapters/restic_world.h"

#include <sys/random.h>

/* A pack of one's own, which the index must know. */
static void
make_noise(const struct world *world)
{
	char noise[256 * 1024];
	for (size_t done = 0; done < sizeof(noise);) {
		ssize_t count = getrandom(noise + done, sizeof(noise) - done, 0);
		assert_true(count > 0);
		done += (size_t)count;
	}
	fixture_write_bytes(world->fixture, "source/noise", noise, sizeof(noise));
}

/* The ids of all snapshots, oldest first. The caller owns them. */
static char **
list_ids(struct restic_fixture *fixture)
{
	char **ids = NULL;
	fixture_list(fixture, NULL);
	assert_fixture_code(fixture, ERROR_NONE);
	for (size_t i = 0; i < fixture->snapshot_count; i++)
		strings_add(&ids, fixture->snapshots[i].id);
	return ids;
}

static uint64_t added_size;

static int
add_size(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)path;
	(void)walk;
	if (type == FTW_F)
		added_size += (uint64_t)status->st_size;
	return 0;
}

static uint64_t
repository_size(const struct restic_fixture *fixture)
{
	cleanup_free char *data = fixture_path(fixture, "repository/data");
	added_size = 0;
	assert_int_equal(nftw(data, add_size, 16, FTW_PHYS), 0);
	return added_size;
}

/* ---- forget ---- */

static void
test_forget(void **state)
{
	static const char unknown[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	for (int i = 0; i < 3; i++)
		backup_one(&world, world.source);
	cleanup_strings char **ids = list_ids(fixture);
	assert_int_equal(strings_count(ids), 3);

	pid_t holder = leave_exclusive_lock(fixture);
	fixture_forget(fixture, (const char *const *)ids, 3);
	assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
	assert_false(fixture->forgotten.verified);
	fixture_unlock(fixture, &holder, 1);

	const char *const doomed[] = {ids[2], unknown, ids[0]};
	fixture_forget(fixture, doomed, 3);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_true(fixture->forgotten.verified);
	assert_int_equal(fixture->forgotten.gone, 3);
	cleanup_strings char **left = list_ids(fixture);
	assert_int_equal(strings_count(left), 1);
	assert_string_equal(left[0], ids[1]);

	/* The last one as well: ids are no policy. And nothing was left to doubt this time. */
	fixture_forget(fixture, (const char *const *)left, 1);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_false(fixture->forgotten.verified);
	assert_int_equal(fixture->forgotten.gone, 1);
	fixture_list(fixture, NULL);
	assert_int_equal(fixture->snapshot_count, 0);
	assert_int_equal(count_locks(fixture), 0);
}

/* 0.14 fails, 0.18 exits with 0, 0.19 with 3: the listing tells. */
static void
test_forget_that_may_not(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	become_unprivileged(fixture);
	backup_one(&world, world.source);
	cleanup_strings char **ids = list_ids(fixture);
	cleanup_free char *snapshots = fixture_path(fixture, "repository/snapshots");
	assert_int_equal(chmod(snapshots, 0500), 0);
	fixture_forget(fixture, (const char *const *)ids, 1);
	assert_int_equal(chmod(snapshots, 0700), 0);
	assert_fixture_code(fixture, ERROR_REPOSITORY_RIGHTS);
	assert_true(text_starts_with(fixture->error.message, "1 of 1 snapshots could not be removed: "));
	assert_true(fixture->forgotten.verified);
	assert_int_equal(fixture->forgotten.remaining, 1);
}

/* ---- prune and repair ---- */

static void
test_prune_gives_room_back(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	backup_one(&world, world.source);
	make_noise(&world);
	backup_one(&world, world.source);
	cleanup_strings char **ids = list_ids(fixture);
	uint64_t before = repository_size(fixture);
	fixture_forget(fixture, (const char *[]){ids[1]}, 1);
	assert_int_equal(repository_size(fixture), before);

	pid_t holder = leave_exclusive_lock(fixture);
	fixture_prune(fixture, 1 << 20, NULL);
	assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
	fixture_unlock(fixture, &holder, 1);

	fixture_prune(fixture, 1 << 20, "0");
	assert_fixture_code(fixture, ERROR_NONE);
	assert_true(repository_size(fixture) + 256 * 1024 <= before);
	assert_non_null(strstr(fixture->words.string, "|done|"));
	assert_null(strchr(fixture->words.string, '['));
	assert_int_equal(count_locks(fixture), 0);
	fixture_prune(fixture, 0, "unlimited");
	assert_fixture_code(fixture, ERROR_NONE);
	backup_one(&world, world.source);
	assert_fixture_code(fixture, ERROR_NONE);
}

static void
empty_directory(const struct restic_fixture *fixture, const char *name)
{
	cleanup_free char *path = fixture_path(fixture, name);
	DIR *directory = opendir(path);
	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		if (entry->d_name[0] != '.')
			assert_int_equal(unlinkat(dirfd(directory), entry->d_name, 0), 0);
	closedir(directory);
}

/* What a backup leaves that was killed: packs, and no index of them. */
static void
leave_unindexed_packs(const struct world *world)
{
	make_noise(world);
	backup_one(world, world->source);
	empty_directory(world->fixture, "repository/index");
	empty_directory(world->fixture, "repository/snapshots");
}

static void
test_without_an_index_all_is_stored_again(void **state)
{
	cleanup_world struct world world = make_world(state);
	leave_unindexed_packs(&world);
	backup_one(&world, world.source);
	assert_fixture_code(world.fixture, ERROR_NONE);
	assert_true(world.fixture->result.bytes_added > 256 * 1024);
}

static void
test_a_repaired_index_saves_the_upload(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	leave_unindexed_packs(&world);
	pid_t holder = leave_exclusive_lock(fixture);
	fixture_repair_index(fixture);
	assert_fixture_code(fixture, ERROR_REPOSITORY_LOCKED);
	fixture_unlock(fixture, &holder, 1);
	fixture_repair_index(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
	backup_one(&world, world.source);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_true(fixture->result.bytes_added < 64 * 1024);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    world_test(test_forget),
	    world_test(test_forget_that_may_not),
	    world_test(test_prune_gives_room_back),
	    world_test(test_without_an_index_all_is_stored_again),
	    world_test(test_a_repaired_index_saves_the_upload),
	};
	return world_run(tests);
}
