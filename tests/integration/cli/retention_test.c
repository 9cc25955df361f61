/* `retention --dry-run`: which snapshots it names, why, and for which services it names none. */
#include "tests/integration/cli/cli_world.h"

#define HOST "cellar"

/* "web" with this retention (JSON). */
static void
write_manifest(const struct world *world, const char *retention)
{
	const char *at = world->directory;
	cleanup_free char *manifest = xasprintf(
	    "{\"version\": 2, \"host\": \"" HOST "\", \"repository\": {\"file\": \"%s/repository\","
	    " \"passwordFile\": \"%s/password\", \"environmentFile\": \"%s/env\"}, \"retry\": {\"attempts\": 1},"
	    " \"services\": {\"mail\": {\"paths\": \"%s/data\"},"
	    " \"web\": {\"data\": {\"files\": [\"%s/data\"]}, \"retention\": %s}}}",
	    at, at, at, at, at, retention);
	world_write(world, "manifest.json", manifest);
}

/* restic itself. */
static void
run_restic(const struct world *world, char *const *arguments)
{
	cleanup_free char *location = world_path(world, "repo");
	cleanup_free char *password = world_path(world, "password");
	cleanup_free char *cache = world_path(world, "cache");
	cleanup_free char *out = world_path(world, "restic-out");
	pid_t child = fork();
	if (child == 0) {
		setenv("RESTIC_REPOSITORY", location, 1);
		setenv("RESTIC_PASSWORD_FILE", password, 1);
		setenv("RESTIC_CACHE_DIR", cache, 1);
		int output = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		if (dup2(output, 1) < 0)
			_exit(126);
		execv(world->restic, arguments);
		_exit(127);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void
make_snapshot(const struct world *world, char *time, char *host, char *tag)
{
	cleanup_free char *data = world_path(world, "data");
	run_restic(world,
	    (char *[]){"restic", "backup", "--quiet", "--time", time, "--host", host, "--tag", tag, data, NULL});
}

static size_t
count_snapshots(struct world *world)
{
	json_t *document = expect_json(world, "list --json", 0);
	size_t count = json_array_size(json_object_get(document, "snapshots"));
	json_decref(document);
	return count;
}

static void
only_a_dry_run_is_there(void **state)
{
	struct world *world = *state;
	expect_run(world, "retention", 2);
	expect_words(world->err, "say --dry-run");
	expect_run(world, "retention --dry-run wbe", 2);
	expect_words(world->err, "did you mean 'web'?");
	expect_run(world, "retention --dry-run", 1);
	expect_words(world->err, "no repository");
	assert_string_equal(world->out, "");
}

/* Newest first: the one that the program made, and three of another year. */
static void
expect_web(const json_t *web)
{
	static const struct {
		bool keep;
		const char *reasons;
	} expected[] = {
	    {true, "[\"last snapshot\", \"daily snapshot\", \"last good backup\"]"},
	    {true, "[\"daily snapshot\"]"},
	    {false, "[]"},
	    {true, "[\"daily snapshot\"]"},
	};
	assert_string_equal(json_string_value(json_object_get(web, "service")), "web");
	assert_true(json_is_null(json_object_get(web, "skipped")));
	assert_int_equal(json_integer_value(json_object_get(web, "removed")), 1);
	const json_t *snapshots = json_object_get(web, "snapshots");
	assert_int_equal(json_array_size(snapshots), ARRAY_LENGTH(expected));
	for (size_t i = 0; i < ARRAY_LENGTH(expected); i++) {
		const json_t *snapshot = json_array_get(snapshots, i);
		cleanup_free char *reasons = json_dumps(json_object_get(snapshot, "reasons"), 0);
		assert_string_equal(reasons, expected[i].reasons);
		assert_int_equal(json_is_true(json_object_get(snapshot, "keep")), expected[i].keep);
		assert_int_equal(strlen(json_string_value(json_object_get(snapshot, "id"))), 64);
	}
	assert_string_equal(
	    json_string_value(json_object_get(json_array_get(snapshots, 2), "time")), "2020-05-04T08:00:00+00:00");
}

static void
what_would_go_is_named_and_stays(void **state)
{
	struct world *world = *state;
	write_manifest(world, "{\"last\": 1, \"daily\": 3, \"weekly\": 0, \"monthly\": 0}");
	expect_run(world, "backup web", 0);
	make_snapshot(world, "2020-05-04 12:00:00", HOST, "service:web");
	make_snapshot(world, "2020-05-04 08:00:00", HOST, "service:web");
	make_snapshot(world, "2020-05-03 12:00:00", HOST, "service:web");
	/* Those of others are nobody's business here. */
	make_snapshot(world, "2020-05-04 09:00:00", "attic", "service:web");
	make_snapshot(world, "2020-05-04 10:00:00", HOST, "service:web2");

	expect_run(world, "retention --dry-run", 0);
	expect_words(world->out, "mail: skipped: no backup of it is known here\n");
	expect_words(world->out, "web: 1 of 4 snapshots would be removed\n");
	expect_words(world->out, "2020-05-04 12:00:00  keep    daily snapshot\n");
	expect_words(world->out, "2020-05-04 08:00:00  remove  -\n");
	expect_words(world->out, "last good backup\n");
	json_t *document = expect_json(world, "retention --dry-run --json web", 0);
	const json_t *services = json_object_get(document, "services");
	assert_int_equal(json_array_size(services), 1);
	expect_web(json_array_get(services, 0));
	json_decref(document);
	assert_int_equal(count_snapshots(world), 6);

	write_manifest(world, "\"keep-all\"");
	expect_run(world, "retention --dry-run web", 0);
	assert_string_equal(world->out, "web: skipped: the manifest says \"keep-all\"\n");
}

static void
nothing_goes_of_a_service_in_doubt(void **state)
{
	struct world *world = *state;
	write_manifest(world, "{\"last\": 1}");
	expect_run(world, "backup web", 0);
	make_snapshot(world, "2020-05-04 12:00:00", HOST, "service:web");
	world_rename(world, "data", "gone");
	expect_run(world, "backup web", 1);
	json_t *document = expect_json(world, "retention --dry-run --json web", 0);
	const json_t *web = json_array_get(json_object_get(document, "services"), 0);
	assert_string_equal(json_string_value(json_object_get(web, "skipped")), "its newest backup failed");
	assert_int_equal(json_integer_value(json_object_get(web, "removed")), 0);
	assert_int_equal(json_array_size(json_object_get(web, "snapshots")), 0);
	json_decref(document);

	/* It is good again, but somebody takes the last good backup away. */
	world_rename(world, "gone", "data");
	expect_run(world, "backup web", 0);
	expect_run(world, "follow", 0); /* its retention */
	make_snapshot(world, "2020-05-04 11:00:00", HOST, "service:web");
	make_snapshot(world, "2020-05-04 11:30:00", HOST, "service:web");
	expect_run(world, "retention --dry-run web", 0);
	expect_words(world->out, "web: 1 of 4 snapshots would be removed\n");
	run_restic(world, (char *[]){"restic", "forget", "--quiet", "latest", NULL});
	expect_run(world, "retention --dry-run web", 0);
	expect_words(world->out, "web: skipped: the last good backup, ");
	expect_words(world->out, "is not among the snapshots of this service and host\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    world_test(only_a_dry_run_is_there),
	    world_test(what_would_go_is_named_and_stays),
	    world_test(nothing_goes_of_a_service_in_doubt),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
