/* Bad manifests and secrets: each is refused with file, place and remedy, by every command, before anything is begun.
 */
#include "tests/integration/cli/cli_world.h"

/* `%s` in a manifest is the world's directory. */
static const struct {
	const char *manifest;
	const char *place;
} manifests[] = {
    {"{\"version\": 2, \"services\": {\"web\": {\"data\": {\"files\": 7}}}}", "services.web.data.files: "},
    {"{\"version\": 2, \"services\": []}", "services: "},
    {"{\"version\": \"two\", \"services\": {}}", "version: "},
    {"{\"version\": 3, \"services\": {}}", "version: "},
    {"{\"services\": {\"web\": {\"paths\": [\"/srv\"], \"dataDri\": \"/srv\"}}}", "services.web.dataDri: "},
    {"{\"version\": 2, \"unknown\": 1, \"services\": {}}", "unknown: "},
    {"{\"services\": {\"web\": {\"paths\": [\"/a\"]}, \"web\": {\"paths\": [\"/b\"]}}}", "web"},
    {"{\"services\": {\"web\": {\"paths\": [\"srv/data\"]}}}", "services.web.paths"},
    {"{\"services\": {\"web\": {\"paths\": [\"/srv/../etc\"]}}}", "services.web.paths"},
    {"{\"services\": {\"we b/\": {\"paths\": [\"/srv\"]}}}", "we b/"},
    {"{\"services\": {\"..\": {\"paths\": [\"/srv\"]}}}", "services"},
    {"{\"services\": {\"web\": {\"paths\": [\"/srv/\\u0000x\"]}}}", ""},
    {"{\"services\": {\"web\": {\"paths\": [\"/srv/\\u001b[31m\"]}}}", "services.web.paths"},
    {"{\"services\": {\"w\\u001b[2Jb\": {\"paths\": [\"/srv\"]}}}", "services"},
    {"{\"services\": {\"web\": {\"paths\": [\"/srv\"], \"\\u009b31m\": 1}}}", "services.web"},
    {"{\"version\": 2, \"services\": {\"web\": {\"paths\": [\"/srv\"], \"stopUnits\": [\"no unit\"]}}}",
	"services.web.stopUnits"},
    {"{\"services\": {", ""},
    {"\033]0;owned\007", ""},
    {"", ""},
};

static void
bad_manifests_are_refused_by_every_command(void **state)
{
	struct world *world = *state;
	static const char *const lines[] = {"status", "backup web", "list", "init"};
	cleanup_free char *states = world_path(world, "state");
	for (size_t i = 0; i < ARRAY_LENGTH(manifests); i++) {
		world_write(world, "manifest.json", manifests[i].manifest);
		expect_run(world, "check", 2);
		expect_words(world->out, "error: ");
		expect_words(world->out, "/manifest.json");
		expect_words(world->out, manifests[i].place);
		/* The remedy of the first finding. */
		expect_words(world->out, "\n  ");
		const char *line = lines[i % ARRAY_LENGTH(lines)];
		expect_run(world, line, 2);
		assert_string_equal(world->out, "");
		expect_words(world->err, manifests[i].place);
		assert_int_equal(access(states, F_OK), -1);
	}
}

static void
a_manifest_that_others_can_write_is_refused(void **state)
{
	struct world *world = *state;
	world_chmod(world, "manifest.json", 0664);
	expect_run(world, "check", 2);
	expect_words(world->out, "/manifest.json");
	expect_words(world->out, "chmod");
	expect_run(world, "backup web", 2);
	world_chmod(world, "manifest.json", 0646);
	expect_run(world, "run", 2);
}

static void
a_missing_manifest_is_named(void **state)
{
	struct world *world = *state;
	expect_run(world, "check --manifest=/nowhere/manifest.json", 2);
	expect_words(world->out, "/nowhere/manifest.json");
	expect_run(world, "status --manifest=/nowhere/manifest.json", 2);
	expect_words(world->err, "/nowhere/manifest.json");
}

/* Content NULL: the file is missing. */
static const struct {
	const char *file;
	const char *content;
	mode_t mode;
} secrets[] = {
    {"password", NULL, 0},
    {"password", "", 0600},
    {"password", "\n", 0600},
    {"password", "secret\n", 0644},
    {"password", "secret\n", 0622},
    {"repository", NULL, 0},
    {"repository", "", 0600},
    {"repository", " \n", 0600},
    {"env", NULL, 0},
    {"env", "B2_ACCOUNT_ID=1\n", 0666},
    {"env", "B2_ACCOUNT_ID=1\n", 0604},
    {"env", "hunter2 \033[31m\n", 0600},
    {"env", "B2_ACCOUNT_KEY=\"open\n", 0600},
};

static void
bad_secrets_are_refused_before_restic_is_asked(void **state)
{
	struct world *world = *state;
	for (size_t i = 0; i < ARRAY_LENGTH(secrets); i++) {
		cleanup_free char *kept = world_read(world, secrets[i].file);
		cleanup_free char *path = world_path(world, secrets[i].file);
		if (secrets[i].content != NULL) {
			world_write(world, secrets[i].file, secrets[i].content);
			world_chmod(world, secrets[i].file, secrets[i].mode);
		} else {
			assert_int_equal(unlink(path), 0);
		}
		expect_run(world, "check", 1);
		expect_words(world->out, path);
		expect_words(world->out, "1 error, 0 warnings\n");
		assert_null(strstr(world->out, "hunter2"));
		expect_run(world, "list", 2);
		expect_words(world->err, path);
		expect_run(world, "init", 2);
		expect_words(world->err, path);
		world_write(world, secrets[i].file, kept);
	}
	expect_run(world, "check", 0);
}

static void
a_missing_restic_is_named(void **state)
{
	struct world *world = *state;
	expect_run(world, "check --restic=/nowhere/restic", 1);
	expect_words(world->out, "/nowhere/restic");
	expect_run(world, "list --restic=/nowhere/restic", 1);
	expect_words(world->err, "/nowhere/restic");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    world_test(bad_manifests_are_refused_by_every_command),
	    world_test(a_manifest_that_others_can_write_is_refused),
	    world_test(a_missing_manifest_is_named),
	    world_test(bad_secrets_are_refused_before_restic_is_asked),
	    world_test(a_missing_restic_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
