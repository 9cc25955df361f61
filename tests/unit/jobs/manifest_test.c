#include "jobs/manifest.h"

#include "core/clock.h"
#include "manifest_parsing.h"
#include "../core/temporary.h"

#include <fcntl.h>
#include <sys/stat.h>

/* ---- version 1 ---- */

/* As the Nix module of the earlier tool generates it: nulls for what is not set. */
static const char version_1[] =
    "{\"services\":{"
    "\"vaultwarden\":{\"data\":{\"exclude\":[\"icon_cache\",\"*.log\"],\"files\":[\"/var/lib/vaultwarden/"
    "attachments\"],\"postgres\":null,\"sqlite\":\"/var/lib/vaultwarden/db.sqlite3\"},"
    "\"dataDir\":\"/var/lib/vaultwarden\"},"
    "\"git\":{\"data\":{\"exclude\":[],\"files\":[\"/srv/git\",\"/etc/git\"],\"postgres\":null,\"sqlite\":null},"
    "\"dataDir\":\"/srv/git\"},"
    "\"photos\":{\"exclude\":[\"thumbs\"],\"manual\":true,\"paths\":[\"/srv/photos\"],\"postBackup\":\"rm x\","
    "\"preBackup\":\"set -u\\ntouch x\\n\",\"tags\":[\"family\"]},"
    "\"notes\":{\"exclude\":[],\"manual\":true,\"paths\":[\"/srv/notes\"],\"postBackup\":null,\"preBackup\":\"\","
    "\"tags\":[]}"
    "}}";

static void
version_1_works_as_it_is(void **state)
{
	(void)state;
	cleanup_parsed struct parsed parsed = parse(version_1);
	assert_int_equal(parsed.result, 0);
	assert_int_equal(parsed.problems.count, 0);
	assert_int_equal(parsed.manifest.version, 1);
	assert_int_equal(parsed.manifest.service_count, 4);
	assert_string_equal(parsed.manifest.services[0].name, "git");
	assert_string_equal(parsed.manifest.services[3].name, "vaultwarden");

	const struct service *vault = manifest_find(&parsed.manifest, "vaultwarden");
	assert_string_equal(vault->data_directory, "/var/lib/vaultwarden");
	expect_list(vault->databases, LIST("/var/lib/vaultwarden/db.sqlite3"));
	expect_list(vault->files, LIST("/var/lib/vaultwarden/attachments"));
	expect_list(vault->excludes, LIST("*.log", "node_modules", ".git", "icon_cache"));
	expect_list(vault->stop_units, LIST("vaultwarden.service"));
	assert_true(vault->stop_for_backup);
	assert_string_equal(vault->type, "mixed");
	cleanup_strings char **sources = service_sources(vault);
	expect_list(sources, LIST("/var/lib/vaultwarden"));

	const struct service *git = manifest_find(&parsed.manifest, "git");
	assert_string_equal(git->type, "files");
	assert_false(git->stop_for_backup);
	assert_int_equal(strings_count(git->stop_units), 0);
	assert_null(git->pre_backup);

	const struct service *photos = manifest_find(&parsed.manifest, "photos");
	assert_true(photos->manual);
	assert_string_equal(photos->type, "manual");
	expect_list(photos->files, LIST("/srv/photos"));
	expect_list(photos->excludes, LIST("*.log", "node_modules", ".git", "thumbs"));
	expect_list(photos->tags, LIST("family"));
	assert_string_equal(photos->pre_backup, "set -u\ntouch x\n");
	assert_string_equal(photos->post_backup, "rm x");
	assert_null(manifest_find(&parsed.manifest, "notes")->pre_backup);
	assert_null(manifest_find(&parsed.manifest, "photo"));
}

static void
expect_policy(
    const struct service *service, int64_t last, int64_t daily, int64_t weekly, int64_t monthly, int64_t yearly)
{
	assert_int_equal(service->retention.last, last);
	assert_int_equal(service->retention.daily, daily);
	assert_int_equal(service->retention.weekly, weekly);
	assert_int_equal(service->retention.monthly, monthly);
	assert_int_equal(service->retention.yearly, yearly);
}

static void
version_1_has_the_defaults(void **state)
{
	(void)state;
	cleanup_parsed struct parsed parsed = parse(version_1);
	const struct service *service = &parsed.manifest.services[0];
	char host[256];
	gethostname(host, sizeof(host));
	assert_string_equal(service->restic.program, "restic");
	assert_string_equal(service->restic.repository_file, "/run/agenix/restic/repo");
	assert_string_equal(service->restic.password_file, "/run/agenix/restic/password");
	assert_string_equal(service->restic.cache_directory, "/var/lib/atelier-backup/cache");
	assert_string_equal(service->restic.host, host);
	assert_int_equal(service->restic.nice, 10);
	assert_int_equal(service->restic.io_class, 2);
	assert_int_equal(service->restic.io_level, 7);
	assert_int_equal(service->restic.upload_kib, 0);
	assert_int_equal(service->restic.download_kib, 0);
	assert_true(service->initialize);
	assert_int_equal(service->deadlines.preflight, 5 * USEC_PER_MIN);
	assert_int_equal(service->deadlines.hook, 10 * USEC_PER_MIN);
	assert_int_equal(service->deadlines.stop, 5 * USEC_PER_MIN);
	assert_int_equal(service->deadlines.snapshot, 12 * USEC_PER_HOUR);
	assert_int_equal(service->deadlines.start, 5 * USEC_PER_MIN);
	assert_int_equal(service->attempts, 3);
	assert_int_equal(service->retry_delay, 5 * USEC_PER_MIN);
	assert_int_equal(service->overdue_after, 30 * USEC_PER_HOUR);
	assert_int_equal(service->settle, 2 * USEC_PER_SEC);
	assert_int_equal(service->max_shrink, 50);
	expect_policy(service, 3, 7, 5, 12, 0);
	assert_false(service->keep_all);
	assert_int_equal(parsed.manifest.prune.every, 7 * USEC_PER_DAY);
	assert_int_equal(parsed.manifest.prune.max_repack_bytes, INT64_C(1) << 30);
	assert_int_equal(parsed.manifest.prune.max_duration, 2 * USEC_PER_HOUR);
	assert_null(parsed.manifest.status_group);
	assert_int_equal(parsed.manifest.parallel, 2);
	assert_int_equal(parsed.manifest.kickoff, 2 * USEC_PER_HOUR);
	assert_int_equal(parsed.manifest.max_delay, 2 * USEC_PER_HOUR);
	assert_true(parsed.manifest.initialize);
	assert_string_equal(parsed.manifest.restic.host, host);
}

static void
version_1_does_not_know_what_version_2_knows(void **state)
{
	(void)state;
	cleanup_parsed struct parsed parsed =
	    parse("{\"repository\":{},\"services\":{\"web\":{\"paths\":[\"/a\"],\"stopUnits\":[\"a.service\"],"
		  "\"mkService\":true,\"data\":{\"sqlite\":[\"/a/b\"],\"postgres\":{\"database\":\"a\"}}}}}");
	assert_int_equal(parsed.result, -1);
	assert_int_equal(parsed.problems.count, 5);
	assert_string_equal(expect_problem(&parsed, "m.json: repository", "version 1")->remedy,
	    "write \"version\": 2 at the top of the file to use it");
	expect_problem(&parsed, "m.json: services.web.stopUnits", "version 1");
	expect_problem(&parsed, "m.json: services.web.mkService", "version 1");
	expect_problem(&parsed, "m.json: services.web.data.sqlite", "expected an absolute path, found a list");
	expect_problem(
	    &parsed, "m.json: services.web.data.postgres", "expected a name or a list of names, found an object");
}

/* ---- version 2 ---- */

static const char version_2[] =
    "{\"version\":2,\"host\":\"cellar\","
    "\"repository\":{\"file\":\"/s/repo\",\"passwordFile\":\"/s/password\",\"environmentFile\":\"/s/env\","
    "\"cacheDir\":\"/c\",\"program\":\"/opt/restic\",\"initialize\":false},"
    "\"schedule\":{\"time\":\"23:15\",\"maxDelay\":0},"
    "\"limits\":{\"parallel\":5,\"uploadKiB\":100,\"downloadKiB\":200,\"nice\":0,\"ioClass\":\"idle\",\"ioLevel\":3},"
    "\"deadlines\":{\"preflight\":\"1m\",\"hook\":120,\"stop\":\"3m\",\"snapshot\":\"4h\",\"start\":\"1m30s\"},"
    "\"retry\":{\"attempts\":1,\"delay\":\"10s\"},\"overdueAfter\":\"2d\",\"settle\":5,\"maxShrink\":100,"
    "\"retention\":{\"last\":1,\"daily\":2,\"weekly\":3,\"monthly\":4,\"yearly\":5},"
    "\"prune\":{\"every\":\"never\",\"maxRepackSize\":\"3GiB\",\"maxDuration\":\"30m\"},\"statusGroup\":\"wheel\","
    "\"services\":{"
    "\"forge\":{\"data\":{\"sqlite\":[\"/v/forge/a.db\",\"/v/forge/b/b.db\"],\"files\":\"/v/repositories\","
    "\"exclude\":[\"x\"]},\"exclude\":[\"y\",\"x\"],\"stopUnits\":[\"forge.service\",\"forge@1.service\"],"
    "\"overdueAfter\":\"3d\",\"maxShrink\":1,\"deadlines\":{\"snapshot\":\"2h\",\"stop\":null},\"tags\":[\"code\"],"
    "\"retention\":{"
    "\"daily\":0,\"yearly\":10000}},"
    "\"wiki\":{\"paths\":\"/v/wiki\",\"stopForBackup\":true}}}";

static void
version_2_says_everything(void **state)
{
	(void)state;
	cleanup_parsed struct parsed parsed = parse(version_2);
	assert_int_equal(parsed.result, 0);
	assert_int_equal(parsed.problems.count, 0);
	assert_int_equal(parsed.manifest.version, 2);
	assert_int_equal(parsed.manifest.parallel, 5);
	assert_int_equal(parsed.manifest.kickoff, 23 * USEC_PER_HOUR + 15 * USEC_PER_MIN);
	assert_int_equal(parsed.manifest.max_delay, 0);
	assert_false(parsed.manifest.initialize);

	const struct service *wiki = manifest_find(&parsed.manifest, "wiki");
	assert_string_equal(wiki->restic.program, "/opt/restic");
	assert_string_equal(wiki->restic.repository_file, "/s/repo");
	assert_string_equal(wiki->restic.password_file, "/s/password");
	assert_string_equal(wiki->restic.environment_file, "/s/env");
	assert_string_equal(wiki->restic.cache_directory, "/c");
	assert_string_equal(wiki->restic.host, "cellar");
	assert_int_equal(wiki->restic.nice, 0);
	assert_int_equal(wiki->restic.io_class, 3);
	assert_int_equal(wiki->restic.io_level, 3);
	assert_int_equal(wiki->restic.upload_kib, 100);
	assert_int_equal(wiki->restic.download_kib, 200);
	assert_false(wiki->initialize);
	assert_int_equal(wiki->attempts, 1);
	assert_int_equal(wiki->retry_delay, 10 * USEC_PER_SEC);
	assert_int_equal(wiki->overdue_after, 2 * USEC_PER_DAY);
	assert_int_equal(wiki->settle, 5 * USEC_PER_SEC);
	assert_int_equal(wiki->max_shrink, 100);
	assert_int_equal(wiki->deadlines.preflight, USEC_PER_MIN);
	assert_int_equal(wiki->deadlines.hook, 2 * USEC_PER_MIN);
	assert_int_equal(wiki->deadlines.snapshot, 4 * USEC_PER_HOUR);
	assert_int_equal(wiki->deadlines.start, 90 * USEC_PER_SEC);
	expect_list(wiki->files, LIST("/v/wiki"));
	expect_list(wiki->stop_units, LIST("wiki.service"));
	assert_string_equal(wiki->type, "files");
	expect_policy(wiki, 1, 2, 3, 4, 5);
	assert_int_equal(parsed.manifest.prune.every, 0);
	assert_int_equal(parsed.manifest.prune.max_repack_bytes, INT64_C(3) << 30);
	assert_int_equal(parsed.manifest.prune.max_duration, 30 * USEC_PER_MIN);
	assert_string_equal(parsed.manifest.status_group, "wheel");

	const struct service *forge = manifest_find(&parsed.manifest, "forge");
	expect_list(forge->databases, LIST("/v/forge/a.db", "/v/forge/b/b.db"));
	expect_list(forge->files, LIST("/v/repositories"));
	expect_list(forge->excludes, LIST("*.log", "node_modules", ".git", "x", "y"));
	expect_list(forge->stop_units, LIST("forge.service", "forge@1.service"));
	expect_list(forge->tags, LIST("code"));
	assert_true(forge->stop_for_backup);
	assert_int_equal(forge->overdue_after, 3 * USEC_PER_DAY);
	assert_int_equal(forge->max_shrink, 1);
	assert_int_equal(forge->deadlines.snapshot, 2 * USEC_PER_HOUR);
	expect_policy(forge, 1, 0, 3, 4, 10000);
	assert_int_equal(forge->deadlines.stop, 3 * USEC_PER_MIN);
	assert_string_equal(forge->type, "mixed");
	cleanup_strings char **sources = service_sources(forge);
	expect_list(sources, LIST("/v/forge", "/v/repositories"));
}

static void
the_command_line_comes_first(void **state)
{
	(void)state;
	const struct manifest_overrides overrides = {.restic_program = "/my/restic", .cache_directory = "/my/cache"};
	struct parsed parsed = {.result = 0};
	parsed.result =
	    manifest_parse("m.json", version_2, strlen(version_2), &overrides, &parsed.manifest, &parsed.problems);
	assert_string_equal(parsed.manifest.restic.program, "/my/restic");
	assert_string_equal(parsed.manifest.services[0].restic.program, "/my/restic");
	/* It is the place for a cache that the manifest does not name. */
	assert_string_equal(parsed.manifest.restic.cache_directory, "/c");
	parsed_clear(&parsed);

	parsed = (struct parsed){.result = 0};
	parsed.result =
	    manifest_parse("m.json", version_1, strlen(version_1), &overrides, &parsed.manifest, &parsed.problems);
	assert_string_equal(parsed.manifest.restic.cache_directory, "/my/cache");
	parsed_clear(&parsed);
}

/* ---- what is backed up and stopped ---- */

/* A manifest of version 2 with one service, web. */
static struct parsed
parse_service(const char *entry)
{
	cleanup_free char *content = xasprintf("{\"version\":2,\"services\":{\"web\":%s}}", entry);
	return parse(content);
}

static void
expect_type(const char *entry, const char *type)
{
	cleanup_parsed struct parsed parsed = parse_service(entry);
	assert_int_equal(parsed.result, 0);
	assert_string_equal(parsed.manifest.services[0].type, type);
}

static void
the_type_says_what_is_declared(void **state)
{
	(void)state;
	expect_type("{\"data\":{\"sqlite\":\"/a/b\"}}", "sqlite");
	expect_type("{\"data\":{\"postgres\":\"b\"}}", "postgres");
	expect_type("{\"data\":{\"files\":\"/a\"}}", "files");
	expect_type("{\"paths\":\"/a\"}", "files");
	expect_type("{\"paths\":\"/a\",\"data\":{\"files\":\"/b\"}}", "files");
	expect_type("{\"paths\":\"/a\",\"data\":{\"sqlite\":\"/b/c\"}}", "mixed");
	expect_type("{\"data\":{\"sqlite\":\"/a/b\",\"postgres\":[\"a\",\"b\"]}}", "mixed");
	expect_type("{\"manual\":true,\"paths\":\"/a\",\"data\":{\"sqlite\":\"/b/c\"}}", "manual");
}

static void
expect_stop(const char *entry, bool stop, const char *const *units)
{
	cleanup_parsed struct parsed parsed = parse_service(entry);
	assert_int_equal(parsed.result, 0);
	const struct service *service = &parsed.manifest.services[0];
	assert_int_equal(service->stop_for_backup, stop);
	expect_list(service->stop_units, units);
}

static void
what_is_stopped_follows_from_what_is_declared(void **state)
{
	(void)state;
	expect_stop("{\"data\":{\"sqlite\":\"/a/b\"}}", true, LIST("web.service"));
	expect_stop("{\"paths\":\"/a\"}", false, LIST());
	expect_stop("{\"paths\":\"/a\",\"stopForBackup\":true}", true, LIST("web.service"));
	expect_stop("{\"paths\":\"/a\",\"stopForBackup\":false}", false, LIST());
	expect_stop("{\"paths\":\"/a\",\"stopUnits\":[\"x.service\",\"x.service\"]}", true, LIST("x.service"));
	expect_stop("{\"paths\":\"/a\",\"stopUnits\":[]}", false, LIST());
	expect_stop("{\"data\":{\"sqlite\":\"/a/b\"},\"stopUnits\":null}", true, LIST("web.service"));
	expect_stop("{\"data\":{\"sqlite\":\"/a/b\"},\"stopUnits\":[],\"preBackup\":\"stop it\"}", true, LIST());
	/* Live databases are copied live. */
	expect_stop("{\"data\":{\"sqlite\":\"/a/b\"},\"stopForBackup\":false}", false, LIST());
	expect_stop("{\"data\":{\"sqlite\":\"/a/b\"},\"stopForBackup\":false,\"preBackup\":\"x\"}", false, LIST());
	/* A dump needs no stop, and keeps none from being made. */
	expect_stop("{\"data\":{\"postgres\":\"b\"}}", false, LIST());
	expect_stop("{\"data\":{\"postgres\":\"b\",\"files\":\"/a\"}}", false, LIST());
	expect_stop("{\"data\":{\"postgres\":\"b\"},\"stopForBackup\":true}", true, LIST("web.service"));
	expect_stop("{\"data\":{\"postgres\":\"b\"},\"stopUnits\":[\"x.service\"]}", true, LIST("x.service"));
	expect_stop("{\"data\":{\"postgres\":\"b\",\"sqlite\":\"/a/b\"}}", true, LIST("web.service"));
}

/* Nobody named what stops it: the databases are live, and somebody should know. */
static void
a_stop_that_nothing_makes_is_a_warning(void **state)
{
	(void)state;
	static const char *const entries[] = {
	    "{\"data\":{\"sqlite\":\"/a/b\"},\"stopUnits\":[]}",
	    "{\"data\":{\"sqlite\":\"/a/b\"},\"stopUnits\":[],\"preBackup\":\" \\n\"}",
	    "{\"data\":{\"sqlite\":\"/a/b\"},\"stopUnits\":[],\"stopForBackup\":true}",
	};
	for (size_t i = 0; i < ARRAY_LENGTH(entries); i++) {
		cleanup_parsed struct parsed parsed = parse_service(entries[i]);
		assert_int_equal(parsed.result, 0);
		assert_int_equal(parsed.problems.count, 1);
		assert_int_equal(expect_problem(&parsed, "m.json: services.web.stopUnits", "nothing stops")->severity,
		    PROBLEM_WARNING);
		assert_false(parsed.manifest.services[0].stop_for_backup);
	}
}

static void
expect_excludes(const char *entry, const char *const *excludes)
{
	cleanup_parsed struct parsed parsed = parse_service(entry);
	assert_int_equal(parsed.result, 0);
	expect_list(parsed.manifest.services[0].excludes, excludes);
}

static void
services_of_mk_service_leave_more_out(void **state)
{
	(void)state;
	expect_excludes("{\"paths\":\"/a\"}", LIST("*.log", "node_modules", ".git"));
	expect_excludes("{\"paths\":\"/a\",\"mkService\":false}", LIST("*.log", "node_modules", ".git"));
	expect_excludes("{\"paths\":\"/a\",\"mkService\":true,\"exclude\":[\"tmp\",\"x\"]}",
	    LIST("*.log", "node_modules", ".git", "cache", "tmp", "x"));
}

static void
units_that_may_not_be_stopped_are_a_contradiction(void **state)
{
	(void)state;
	cleanup_parsed struct parsed parsed =
	    parse_service("{\"paths\":\"/a\",\"stopForBackup\":false,\"stopUnits\":[\"x.service\"]}");
	assert_int_equal(parsed.result, 0);
	assert_int_equal(strings_count(parsed.manifest.services[0].stop_units), 0);
	assert_int_equal(expect_problem(&parsed, "m.json: services.web", "stopForBackup")->severity, PROBLEM_WARNING);
}

static void
a_service_declares_something(void **state)
{
	(void)state;
	static const char *const empty[] = {"{}", "{\"dataDir\":\"/a\"}", "{\"dataDir\":\"/a\",\"data\":{}}",
	    "{\"dataDir\":\"/a\",\"data\":{\"sqlite\":null,\"files\":[],\"postgres\":[]}}",
	    "{\"manual\":true,\"paths\":[]}", "{\"preBackup\":\"make a dump\"}"};
	for (size_t i = 0; i < ARRAY_LENGTH(empty); i++) {
		cleanup_free char *content = xasprintf("{\"services\":{\"web\":%s}}", empty[i]);
		expect_refusal(content, "m.json: services.web", "declares nothing to back up");
	}
}

static void
a_database_has_a_directory(void **state)
{
	(void)state;
	expect_refusal("{\"services\":{\"web\":{\"data\":{\"sqlite\":\"/app.db\"}}}}",
	    "m.json: services.web.data.sqlite", "root directory");
	cleanup_parsed struct parsed parsed =
	    parse_service("{\"dataDir\":\"/v/web\",\"data\":{\"sqlite\":\"/v/website/app.db\"}}");
	assert_int_equal(parsed.result, 0);
	assert_int_equal(expect_problem(&parsed, "m.json: services.web.data.sqlite", "not below dataDir")->severity,
	    PROBLEM_WARNING);
}

static void
a_default_unit_is_no_template(void **state)
{
	(void)state;
	expect_refusal(
	    "{\"services\":{\"web@\":{\"data\":{\"sqlite\":\"/a/b\"}}}}", "m.json: services.web@", "is a template");
	cleanup_parsed struct parsed parsed =
	    parse("{\"version\":2,\"services\":{\"web@\":{\"data\":{\"sqlite\":\"/a/"
		  "b\"},\"stopUnits\":[\"web@1.service\"]}}}");
	assert_int_equal(parsed.result, 0);
}

static void
services_do_not_share_databases(void **state)
{
	(void)state;
	cleanup_parsed struct parsed parsed =
	    parse("{\"services\":{\"b\":{\"data\":{\"sqlite\":\"/x/db\"}},\"a\":{\"data\":{\"sqlite\":\"/x/db\"}},"
		  "\"c\":{\"data\":{\"sqlite\":\"/x/db\"}},\"d\":{\"data\":{\"sqlite\":\"/x/db2\"}}}}");
	assert_int_equal(parsed.result, -1);
	assert_int_equal(parsed.problems.count, 2);
	expect_problem(&parsed, "m.json: services.b.data.sqlite", "the service a");
	expect_problem(&parsed, "m.json: services.c.data.sqlite", "the service a");
}

static void
a_shared_path_is_a_warning(void **state)
{
	(void)state;
	cleanup_parsed struct parsed parsed =
	    parse("{\"services\":{\"a\":{\"paths\":[\"/x\",\"/y\"]},\"b\":{\"data\":{\"files\":\"/y\"}}}}");
	assert_int_equal(parsed.result, 0);
	assert_int_equal(parsed.problems.count, 1);
	assert_int_equal(expect_problem(&parsed, "m.json: services.b", "the service a")->severity, PROBLEM_WARNING);
}

static void
no_services_are_a_warning(void **state)
{
	(void)state;
	cleanup_parsed struct parsed parsed = parse("{\"services\":{}}");
	assert_int_equal(parsed.result, 0);
	assert_int_equal(parsed.manifest.service_count, 0);
	assert_null(manifest_find(&parsed.manifest, "web"));
	assert_int_equal(expect_problem(&parsed, "m.json: services", "no service")->severity, PROBLEM_WARNING);
}

/* ---- the file ---- */

struct house {
	char *directory;
	char *path;
	struct parsed parsed;
};

static struct house
house_with(const char *content)
{
	struct house house = {.directory = temporary_directory_make()};
	house.path = xasprintf("%s/manifest.json", house.directory);
	if (content != NULL) {
		FILE *file = fopen(house.path, "w");
		fputs(content, file);
		fclose(file);
		chmod(house.path, 0644);
	}
	return house;
}

static void
load(struct house *house, const char *path)
{
	house->parsed.result = manifest_load(path, NULL, &house->parsed.manifest, &house->parsed.problems);
}

static void
house_clear(struct house *house)
{
	parsed_clear(&house->parsed);
	free(house->path);
	temporary_directory_remove(house->directory);
}

#define cleanup_house __attribute__((cleanup(house_clear)))

static void
a_file_is_loaded(void **state)
{
	(void)state;
	cleanup_house struct house house = house_with(version_1);
	load(&house, house.path);
	assert_int_equal(house.parsed.result, 0);
	assert_string_equal(house.parsed.manifest.path, house.path);
}

static void
a_link_leads_to_the_file_that_counts(void **state)
{
	(void)state;
	cleanup_house struct house house = house_with(version_1);
	cleanup_free char *link = xasprintf("%s/link", house.directory);
	assert_int_equal(symlink("manifest.json", link), 0);
	load(&house, link);
	assert_int_equal(house.parsed.result, 0);
	parsed_clear(&house.parsed);

	house.parsed = (struct parsed){.result = 0};
	chmod(house.path, 0664);
	load(&house, link);
	assert_int_equal(house.parsed.result, -1);
	expect_problem(&house.parsed, link, "can be written by others");
	parsed_clear(&house.parsed);

	house.parsed = (struct parsed){.result = 0};
	unlink(house.path);
	load(&house, link);
	assert_int_equal(house.parsed.result, -1);
	expect_problem(&house.parsed, link, "No such file");
}

static void
a_file_that_others_can_write_is_refused(void **state)
{
	(void)state;
	cleanup_house struct house house = house_with("{\"services\":{\"web\":{\"pahts\":[]}}}");
	chmod(house.path, 0646);
	load(&house, house.path);
	assert_int_equal(house.parsed.result, -1);
	const struct problem *problem = expect_problem(&house.parsed, house.path, "can be written by others");
	assert_int_equal(problem->code, ERROR_PERMISSION);
	assert_non_null(strstr(problem->remedy, "chmod"));
	/* The rest is told at once. */
	cleanup_free char *place = xasprintf("%s: services.web.pahts", house.path);
	expect_problem(&house.parsed, place, "unknown key");
}

static void
a_file_of_somebody_else_is_refused(void **state)
{
	(void)state;
	cleanup_house struct house house = house_with(version_1);
	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(house.path, 65534, 65534), 0);
	load(&house, house.path);
	assert_int_equal(house.parsed.result, -1);
	expect_problem(&house.parsed, house.path, "belongs to user 65534");
}

static void
a_missing_file_is_an_error(void **state)
{
	(void)state;
	cleanup_house struct house house = house_with(NULL);
	load(&house, house.path);
	assert_int_equal(house.parsed.result, -1);
	assert_int_equal(house.parsed.problems.count, 1);
	assert_non_null(strstr(expect_problem(&house.parsed, house.path, "No such file")->remedy, "--manifest"));
}

static void
a_directory_is_no_manifest(void **state)
{
	(void)state;
	cleanup_house struct house house = house_with(NULL);
	load(&house, house.directory);
	assert_int_equal(house.parsed.result, -1);
	assert_non_null(expect_problem(&house.parsed, house.directory, "not a regular file")->remedy);
}

static void
a_file_of_17_mib_is_not_read(void **state)
{
	(void)state;
	cleanup_house struct house house = house_with(version_1);
	assert_int_equal(truncate(house.path, 17 * 1024 * 1024), 0);
	load(&house, house.path);
	assert_int_equal(house.parsed.result, -1);
	expect_problem(&house.parsed, house.path, "larger than");
}

static void
a_service_may_keep_everything_or_take_that_back(void **state)
{
	(void)state;
	cleanup_parsed struct parsed some =
	    parse("{\"version\":2,\"services\":{\"web\":{\"paths\":\"/a\",\"retention\":\"keep-all\"},"
		  "\"mail\":{\"paths\":\"/b\",\"retention\":null}}}");
	assert_int_equal(some.result, 0);
	assert_true(manifest_find(&some.manifest, "web")->keep_all);
	assert_false(manifest_find(&some.manifest, "mail")->keep_all);
	expect_policy(manifest_find(&some.manifest, "mail"), 3, 7, 5, 12, 0);

	cleanup_parsed struct parsed all =
	    parse("{\"version\":2,\"retention\":\"keep-all\",\"services\":{\"web\":{\"paths\":\"/a\"},"
		  "\"mail\":{\"paths\":\"/b\",\"retention\":{\"last\":1}}}}");
	assert_int_equal(all.result, 0);
	assert_true(manifest_find(&all.manifest, "web")->keep_all);
	assert_false(manifest_find(&all.manifest, "mail")->keep_all);
	expect_policy(manifest_find(&all.manifest, "mail"), 1, 7, 5, 12, 0);
}

/* ---- the built-in service ---- */

static void
the_journal_and_the_manifest_are_backed_up_too(void **state)
{
	(void)state;
	static const char *const contents[] = {version_1, version_2};
	const struct manifest_overrides overrides = {.state_directory = "/my/state"};
	for (size_t i = 0; i < ARRAY_LENGTH(contents); i++) {
		cleanup_parsed struct parsed parsed = {.result = -1};
		parsed.result = manifest_parse(
		    "m.json", contents[i], strlen(contents[i]), &overrides, &parsed.manifest, &parsed.problems);
		assert_int_equal(parsed.result, 0);
		const struct service *own = manifest_find(&parsed.manifest, "atelier-backup");
		const struct service *other = &parsed.manifest.services[0];
		assert_ptr_equal(own, parsed.manifest.own);
		assert_true(own->own);
		assert_false(other->own);
		assert_string_equal(own->name, "atelier-backup");
		expect_list(own->databases, LIST("/my/state/journal.sqlite"));
		expect_list(own->files, LIST("m.json"));
		assert_string_equal(own->type, "mixed");
		assert_int_equal(strings_count(own->excludes) + strings_count(own->stop_units), 0);
		assert_false(own->stop_for_backup);
		assert_string_equal(own->restic.host, other->restic.host);
		assert_int_equal(own->initialize, other->initialize);
		assert_int_equal(own->attempts, other->attempts);
		assert_int_equal(own->deadlines.start, other->deadlines.start);
	}
	cleanup_parsed struct parsed usual = parse(version_1);
	expect_list(usual.manifest.own->databases, LIST("/var/lib/atelier-backup/journal.sqlite"));
}

static void
the_built_in_service_can_be_switched_off(void **state)
{
	(void)state;
	cleanup_parsed struct parsed off =
	    parse("{\"version\":2,\"ownState\":false,\"services\":{\"web\":{\"paths\":\"/a\"}}}");
	assert_int_equal(off.result, 0);
	assert_null(off.manifest.own);
	assert_null(manifest_find(&off.manifest, "atelier-backup"));
	cleanup_parsed struct parsed wrong = parse("{\"version\":2,\"ownState\":\"no\",\"services\":{}}");
	assert_int_equal(wrong.result, -1);
	expect_problem(&wrong, "m.json: ownState", "expected true or false");
	cleanup_parsed struct parsed early = parse("{\"ownState\":false,\"services\":{}}");
	assert_int_equal(early.result, -1);
	expect_problem(&early, "m.json: ownState", "version 1");
}

static void
nobody_else_has_its_name(void **state)
{
	(void)state;
	static const char *const contents[] = {
	    "{\"services\":{\"atelier-backup\":{\"paths\":[\"/a\"]}}}",
	    "{\"version\":2,\"services\":{\"atelier-backup\":{\"paths\":\"/a\"}}}",
	    "{\"version\":2,\"ownState\":false,\"services\":{\"atelier-backup\":{\"paths\":\"/a\"}}}",
	};
	for (size_t i = 0; i < ARRAY_LENGTH(contents); i++) {
		cleanup_parsed struct parsed parsed = parse(contents[i]);
		assert_int_equal(parsed.result, -1);
		assert_int_equal(parsed.problems.count, 1);
		expect_problem(&parsed, "m.json: services.atelier-backup", "the name is taken");
	}
}

static void
services_know_their_manifest(void **state)
{
	(void)state;
	static const char content[] = "{\"services\":{\"web\":{\"paths\":[\"/a\"]}}}";
	cleanup_house struct house house = house_with(content);
	cleanup_free char *link = xasprintf("%s/link", house.directory);
	cleanup_free char *real = realpath(house.path, NULL);
	assert_int_equal(symlink(house.path, link), 0);
	load(&house, link);
	assert_int_equal(house.parsed.result, 0);
	const struct service *web = manifest_find(&house.parsed.manifest, "web");
	const struct service *own = house.parsed.manifest.own;
	assert_string_equal(web->manifest_path, link);
	/* sha256sum */
	assert_string_equal(web->manifest_digest, "38a113c6f68e8178b6a6d943a709bc6a1e6d113334984398e4e98c249b91c4a5");
	assert_string_equal(own->manifest_path, link);
	assert_string_equal(own->manifest_digest, web->manifest_digest);
	expect_list(own->files, LIST(real));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(version_1_works_as_it_is),
	    cmocka_unit_test(version_1_has_the_defaults),
	    cmocka_unit_test(version_1_does_not_know_what_version_2_knows),
	    cmocka_unit_test(version_2_says_everything),
	    cmocka_unit_test(a_service_may_keep_everything_or_take_that_back),
	    cmocka_unit_test(the_command_line_comes_first),
	    cmocka_unit_test(the_type_says_what_is_declared),
	    cmocka_unit_test(what_is_stopped_follows_from_what_is_declared),
	    cmocka_unit_test(units_that_may_not_be_stopped_are_a_contradiction),
	    cmocka_unit_test(a_stop_that_nothing_makes_is_a_warning),
	    cmocka_unit_test(services_of_mk_service_leave_more_out),
	    cmocka_unit_test(a_service_declares_something),
	    cmocka_unit_test(a_database_has_a_directory),
	    cmocka_unit_test(a_default_unit_is_no_template),
	    cmocka_unit_test(services_do_not_share_databases),
	    cmocka_unit_test(a_shared_path_is_a_warning),
	    cmocka_unit_test(no_services_are_a_warning),
	    cmocka_unit_test(a_file_is_loaded),
	    cmocka_unit_test(a_link_leads_to_the_file_that_counts),
	    cmocka_unit_test(a_file_that_others_can_write_is_refused),
	    cmocka_unit_test(a_file_of_somebody_else_is_refused),
	    cmocka_unit_test(a_missing_file_is_an_error),
	    cmocka_unit_test(a_directory_is_no_manifest),
	    cmocka_unit_test(a_file_of_17_mib_is_not_read),
	    cmocka_unit_test(the_journal_and_the_manifest_are_backed_up_too),
	    cmocka_unit_test(the_built_in_service_can_be_switched_off),
	    cmocka_unit_test(nobody_else_has_its_name),
	    cmocka_unit_test(services_know_their_manifest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
