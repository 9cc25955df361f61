/* adapters/restic*.c against restic itself, in the versions that differ most. */
#include "tests/integration/adapters/restic_world.h"

#include "core/clock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* ---- the program and the repository ---- */

static void
test_version(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	const char *version = restic_version(fixture->settings.program, &error);
	if (version == NULL)
		fail_msg("%s", error.message);
	assert_true(text_starts_with(version, current->name));
	assert_true(restic_version_at_least(version, 0, current->minor));
	assert_false(restic_version_at_least(version, 0, current->minor + 1));
}

static void
test_no_repository(void **state)
{
	struct restic_fixture *fixture = *state;
	fixture_probe(fixture);
	assert_fixture_code(fixture, ERROR_REPOSITORY_MISSING);
	assert_non_null(strstr(fixture->error.hint, "init"));
	fixture_list(fixture, NULL);
	assert_fixture_code(fixture, ERROR_REPOSITORY_MISSING);
	fixture_make_directory(fixture, "source");
	cleanup_free char *source = fixture_path(fixture, "source");
	fixture_backup(fixture, (struct restic_backup_request){.paths = (char *[]){source, NULL}});
	assert_fixture_code(fixture, ERROR_REPOSITORY_MISSING);
}

static void
test_init_and_probe(void **state)
{
	struct restic_fixture *fixture = *state;
	fixture_init(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
	cleanup_free char *id = xstrdup(fixture->repository_id);
	assert_int_equal(strlen(id), 64);
	fixture_probe(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_string_equal(fixture->repository_id, id);
	fixture_init(fixture);
	assert_fixture_code(fixture, ERROR_USAGE);
	fixture_probe(fixture);
	assert_string_equal(fixture->repository_id, id);
}

static void
test_wrong_password(void **state)
{
	struct restic_fixture *fixture = *state;
	copy_repository(made, fixture);
	fixture_write(fixture, "password", "another\n");
	fixture_probe(fixture);
	assert_fixture_code(fixture, ERROR_REPOSITORY_PASSWORD);
	fixture_write(fixture, "password", "");
	fixture_probe(fixture);
	assert_fixture_code(fixture, ERROR_REPOSITORY_PASSWORD);
	unlink(fixture->settings.password_file);
	fixture_list(fixture, NULL);
	assert_fixture_code(fixture, ERROR_REPOSITORY_PASSWORD);
}

/* What restic itself refuses beside the files we give it must not get through. */
static void
test_conflicting_environment_file(void **state)
{
	struct restic_fixture *fixture = *state;
	fixture->settings.environment_file = fixture_path(fixture, "envfile");
	fixture_write(fixture, "envfile",
	    "RESTIC_REPOSITORY=/"
	    "elsewhere\nRESTIC_PASSWORD=p\nRESTIC_PASSWORD_COMMAND=c\nRESTIC_COMPRESSION=max\n");
	fixture_init(fixture);
	assert_fixture_code(fixture, ERROR_NONE);
}

/* A free port: nobody listens there a moment after. */
static int
unused_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(descriptor, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(descriptor, (struct sockaddr *)&address, &length), 0);
	close(descriptor);
	return ntohs(address.sin_port);
}

static void
deadline_passed(evutil_socket_t descriptor, short what, void *context)
{
	struct restic_fixture *fixture = context;
	(void)descriptor;
	(void)what;
	restic_call_stop(fixture->call);
}

/* 0.14 gives up at once; later versions would go on for a quarter of an hour. */
static void
test_connection_refused(void **state)
{
	struct restic_fixture *fixture = *state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *location = xasprintf("rest:http://bob:s3cret@127.0.0.1:%d/", unused_port());
	fixture_write(fixture, "location", location);
	fixture->call = restic_probe_start(fixture->base, &fixture->settings, fixture_on_probe, fixture, &error);
	struct event *deadline = evtimer_new(fixture->base, deadline_passed, fixture);
	const struct timeval patience = {.tv_sec = 4};
	event_add(deadline, &patience);
	fixture_wait(fixture, &error);
	event_free(deadline);
	assert_fixture_code(fixture, current->minor == 14 ? ERROR_REPOSITORY_UNREACHABLE : ERROR_CANCELLED);
	assert_non_null(strstr(fixture->error.message, "connection refused"));
	assert_null(strstr(fixture->error.message, "s3cret"));
}

/* ---- backups ---- */

static void
test_good_backups_are_listed(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	fixture->settings.nice = 5;
	fixture->settings.io_class = 3;
	fixture_list(fixture, NULL);
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->snapshot_count, 0);

	char *paths[] = {world.source, NULL};
	char *tags[] = {(char[]){"service:web"}, (char[]){"type:nightly"}, NULL};
	fixture_backup(fixture, (struct restic_backup_request){.paths = paths, .tags = tags});
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->result.exit_code, 0);
	assert_int_equal(fixture->result.files, 2);
	assert_int_equal(fixture->result.bytes, 7);
	assert_true(fixture->result.bytes_added > 0);
	assert_int_equal(fixture->result.missing_count, 0);
	assert_true(fixture->spawned.pid > 0);
	cleanup_free char *first = xstrdup(fixture->snapshot_id);

	/* Nothing has changed: a good backup all the same. */
	char *other_tags[] = {(char[]){"service:db"}, NULL};
	fixture_backup(fixture, (struct restic_backup_request){.paths = paths, .tags = other_tags});
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->result.files, 2);

	fixture_list(fixture, NULL);
	assert_int_equal(fixture->snapshot_count, 2);
	assert_true(fixture->snapshots[0].time < fixture->snapshots[1].time);
	assert_true(text_starts_with(fixture->snapshots[0].id, first));

	fixture_list(fixture, "service:web");
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->snapshot_count, 1);
	const struct restic_snapshot *snapshot = &fixture->snapshots[0];
	assert_true(text_starts_with(snapshot->id, first));
	assert_string_equal(snapshot->hostname, "web1");
	assert_string_equal(snapshot->paths[0], world.source);
	assert_true(strings_contain(snapshot->tags, "type:nightly"));
	assert_true(llabs(clock_wall(clock_system()) - snapshot->time) < USEC_PER_HOUR);
	assert_int_equal(snapshot->has_summary, current->minor >= 17);
	if (snapshot->has_summary)
		assert_int_equal(snapshot->files, 2);

	fixture_list(fixture, "service:we");
	assert_fixture_code(fixture, ERROR_NONE);
	assert_int_equal(fixture->snapshot_count, 0);
	assert_int_equal(count_locks(fixture), 0);
}

static void
test_paths_of_any_bytes(void **state)
{
	cleanup_world struct world world = make_world(state);
	static const char *const names[] = {"new\nline", "\xff\xfe", " #[*]? ", "-x"};
	cleanup_strings char **paths = NULL;
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		cleanup_free char *path = fixture_path(world.fixture, names[i]);
		fixture_make_directory(world.fixture, names[i]);
		strings_add(&paths, path);
	}
	fixture_backup(world.fixture, (struct restic_backup_request){.paths = paths});
	assert_fixture_code(world.fixture, ERROR_NONE);
	fixture_list(world.fixture, NULL);
	assert_int_equal(strings_count(world.fixture->snapshots[0].paths), ARRAY_LENGTH(names));
}

static void
test_a_missing_path(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	fixture_backup(
	    fixture, (struct restic_backup_request){.paths = (char *[]){world.source, world.missing, NULL}});
	assert_fixture_code(fixture, ERROR_SOURCE_MISSING);
	assert_non_null(strstr(fixture->error.message, world.missing));
	assert_string_equal(fixture->missing[0], world.missing);
	assert_non_null(fixture->snapshot_id);

	backup_one(&world, world.missing);
	assert_fixture_code(fixture, ERROR_SOURCE_MISSING);
	assert_null(fixture->snapshot_id);
}

static void
test_an_empty_directory_is_no_empty_snapshot(void **state)
{
	cleanup_world struct world world = make_world(state);
	cleanup_free char *empty = fixture_path(world.fixture, "empty");
	fixture_make_directory(world.fixture, "empty");
	backup_one(&world, empty);
	assert_fixture_code(world.fixture, ERROR_NONE);
	assert_int_equal(world.fixture->result.files, 0);
}

/* 0.19 keeps a directory that is named, and leaves out what is in it. */
static void
test_an_exclude_that_swallows_the_source(void **state)
{
	cleanup_world struct world world = make_world(state);
	fixture_backup(world.fixture, (struct restic_backup_request){.paths = (char *[]){world.source, NULL},
					  .excludes = (char *[]){world.source, NULL}});
	assert_fixture_code(world.fixture, current->minor >= 19 ? ERROR_NONE : ERROR_SNAPSHOT_EMPTY);
	assert_int_equal(world.fixture->result.files, 0);
}

/* ---- what cannot be read: restic as somebody who is not root ---- */

static void
test_unreadable_items(void **state)
{
	cleanup_world struct world world = make_world(state);
	struct restic_fixture *fixture = world.fixture;
	cleanup_free char *file = fixture_path(fixture, "source/file");
	cleanup_free char *directory = fixture_path(fixture, "source/sub");
	become_unprivileged(fixture);
	assert_int_equal(chmod(file, 0), 0);
	assert_int_equal(chmod(directory, 0), 0);
	fixture_write(fixture, "source/good", "good");
	cleanup_free char *good = fixture_path(fixture, "source/good");
	assert_int_equal(chmod(good, 0644), 0);

	backup_one(&world, world.source);
	assert_fixture_code(fixture, ERROR_SOURCE_PARTLY_UNREADABLE);
	assert_int_equal(fixture->result.exit_code, 3);
	assert_non_null(fixture->snapshot_id);
	assert_int_equal(fixture->result.missing_count, 2);
	assert_true(strings_contain(fixture->missing, file));
	assert_true(strings_contain(fixture->missing, directory));
	assert_int_equal(fixture->result.files, 1);

	fixture_backup(fixture, (struct restic_backup_request){.paths = (char *[]){directory, good, NULL}});
	assert_fixture_code(fixture, ERROR_SOURCE_UNREADABLE);
	assert_non_null(strstr(fixture->error.message, directory));

	cleanup_free char *below = xasprintf("%s/deeper", directory);
	fixture_backup(fixture, (struct restic_backup_request){.paths = (char *[]){below, good, NULL}});
	assert_fixture_code(fixture, ERROR_SOURCE_UNREADABLE);

	assert_int_equal(chmod(directory, 0700), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    world_test(test_version),
	    world_test(test_no_repository),
	    world_test(test_init_and_probe),
	    world_test(test_wrong_password),
	    world_test(test_conflicting_environment_file),
	    world_test(test_connection_refused),
	    world_test(test_good_backups_are_listed),
	    world_test(test_paths_of_any_bytes),
	    world_test(test_a_missing_path),
	    world_test(test_an_empty_directory_is_no_empty_snapshot),
	    world_test(test_an_exclude_that_swallows_the_source),
	    world_test(test_unreadable_items),
	};
	return world_run(tests);
}
