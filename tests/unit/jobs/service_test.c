#include "jobs/service.h"

#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"

#define LIST(...) ((char *[]){__VA_ARGS__, NULL})

/* Borrowed strings: never given to service_clear. */
static const struct service full = {
    .name = "web",
    .data_directory = "/var/lib/web",
    .databases = LIST("/var/lib/web/app.db", "/srv/web/queue.db"),
    .postgres = LIST("web"),
    .files = LIST("/var/lib/web/uploads", "/etc/web.conf"),
    .excludes = LIST("*.log", ".git"),
    .tags = LIST("nightly", "größe"),
    .type = "mixed",
    .manual = true,
    .stop_for_backup = true,
    .stop_units = LIST("web.service", "web-worker@1.service"),
    .pre_backup = "set -u\npg_dump web > /var/lib/web/dump",
    .post_backup = "rm /var/lib/web/dump",
    .restic =
	{
	    .program = "/usr/bin/restic",
	    .repository_file = "/run/repo",
	    .password_file = "/run/password",
	    .environment_file = "/run/env",
	    .cache_directory = "/var/cache/restic",
	    .host = "cellar",
	    .nice = 10,
	    .io_class = 2,
	    .io_level = 7,
	    .upload_kib = 1000,
	    .download_kib = 2000,
	},
    .initialize = true,
    .deadlines = {.preflight = 1, .hook = 2, .stop = 3, .snapshot = 4, .start = 5},
    .attempts = 3,
    .retry_delay = 6,
    .overdue_after = 7,
    .settle = INT64_MAX,
    .retention = {.last = 1, .daily = 2, .weekly = 3, .monthly = 4, .yearly = 5},
    .max_shrink = 20,
    .keep_all = true,
    .own = true,
    .manifest_path = "/etc/manifest.json",
    .manifest_digest = "0123456789abcdef",
};

static const struct service bare = {
    .name = "a",
    .type = "files",
    .restic =
	{
	    .program = "restic",
	    .repository_file = "/r",
	    .password_file = "/p",
	    .cache_directory = "/c",
	    .host = "h",
	},
};

static void
assert_same_text(const char *left, const char *right)
{
	assert_int_equal(left == NULL, right == NULL);
	if (left != NULL)
		assert_string_equal(left, right);
}

static void
assert_same_list(char *const *left, char *const *right)
{
	assert_int_equal(strings_count(left), strings_count(right));
	for (size_t i = 0; i < strings_count(left); i++)
		assert_string_equal(left[i], right[i]);
}

static void
assert_same(const struct service *left, const struct service *right)
{
	assert_same_text(left->name, right->name);
	assert_same_text(left->data_directory, right->data_directory);
	assert_same_list(left->databases, right->databases);
	assert_same_list(left->postgres, right->postgres);
	assert_same_list(left->files, right->files);
	assert_same_list(left->excludes, right->excludes);
	assert_same_list(left->tags, right->tags);
	assert_same_text(left->type, right->type);
	assert_int_equal(left->manual, right->manual);
	assert_int_equal(left->stop_for_backup, right->stop_for_backup);
	assert_same_list(left->stop_units, right->stop_units);
	assert_same_text(left->pre_backup, right->pre_backup);
	assert_same_text(left->post_backup, right->post_backup);
	assert_same_text(left->restic.program, right->restic.program);
	assert_same_text(left->restic.repository_file, right->restic.repository_file);
	assert_same_text(left->restic.password_file, right->restic.password_file);
	assert_same_text(left->restic.environment_file, right->restic.environment_file);
	assert_same_text(left->restic.cache_directory, right->restic.cache_directory);
	assert_same_text(left->restic.host, right->restic.host);
	assert_int_equal(left->restic.nice, right->restic.nice);
	assert_int_equal(left->restic.io_class, right->restic.io_class);
	assert_int_equal(left->restic.io_level, right->restic.io_level);
	assert_int_equal(left->restic.upload_kib, right->restic.upload_kib);
	assert_int_equal(left->restic.download_kib, right->restic.download_kib);
	assert_int_equal(left->initialize, right->initialize);
	assert_memory_equal(&left->deadlines, &right->deadlines, sizeof(left->deadlines));
	assert_int_equal(left->attempts, right->attempts);
	assert_int_equal(left->retry_delay, right->retry_delay);
	assert_int_equal(left->overdue_after, right->overdue_after);
	assert_int_equal(left->settle, right->settle);
	assert_memory_equal(&left->retention, &right->retention, sizeof(left->retention));
	assert_int_equal(left->max_shrink, right->max_shrink);
	assert_int_equal(left->keep_all, right->keep_all);
	assert_int_equal(left->own, right->own);
	assert_same_text(left->manifest_path, right->manifest_path);
	assert_same_text(left->manifest_digest, right->manifest_digest);
}

static void
copying_takes_everything_along(void **state)
{
	(void)state;
	struct service copy = {.name = NULL};
	service_copy(&copy, &full);
	assert_same(&copy, &full);
	service_copy(&copy, &copy);
	assert_same(&copy, &full);
	service_copy(&copy, &bare);
	assert_same(&copy, &bare);
	service_clear(&copy);
	assert_null(copy.name);
	service_clear(&copy);
}

/* ---- what restic is given ---- */

static void
assert_sources_of(const struct service *service, const char *expected)
{
	cleanup_strings char **sources = service_sources(service);
	char joined[200] = "";
	for (size_t i = 0; sources != NULL && sources[i] != NULL; i++) {
		strcat(joined, i > 0 ? " " : "");
		strcat(joined, sources[i]);
	}
	assert_string_equal(joined, expected);
}

static void
assert_sources(char **databases, char **files, const char *expected)
{
	const struct service service = {.databases = databases, .files = files};
	assert_sources_of(&service, expected);
}

/* The state directory is full of what is no use to anybody else. */
static void
of_the_built_in_service_the_database_alone_is_a_source(void **state)
{
	(void)state;
	const struct service own = {
	    .own = true, .databases = LIST("/state/journal.sqlite"), .files = LIST("/etc/manifest.json")};
	assert_sources_of(&own, "/etc/manifest.json /state/journal.sqlite");
}

static void
sources_are_sorted_and_not_below_each_other(void **state)
{
	(void)state;
	assert_sources(NULL, NULL, "");
	assert_sources(LIST("/var/lib/web/app.db"), NULL, "/var/lib/web");
	assert_sources(LIST("/v/b/1.db", "/v/b/2.db"), LIST("/v/a", "/v/b/files", "/v/a"), "/v/a /v/b");
	/* '-' and ' ' sort before '/': what is below a directory must not be parted from it. */
	assert_sources(NULL, LIST("/a-b", "/a/c", "/a b", "/a"), "/a /a b /a-b");
	assert_sources(NULL, LIST("/b/c", "/a", "/bc"), "/a /b/c /bc");
	assert_sources(NULL, LIST("/a", "/"), "/");
	assert_sources(LIST("/app.db"), NULL, "/");
	assert_sources(NULL, LIST("/\xc3\xa9", "/z", "/e"), "/e /z /\xc3\xa9");
}

static void
tags_begin_with_name_and_type(void **state)
{
	(void)state;
	cleanup_strings char **tags = service_tags(&full);
	assert_same_list(tags, LIST("service:web", "type:mixed", "nightly", "größe"));
	cleanup_strings char **few = service_tags(&bare);
	assert_same_list(few, LIST("service:a", "type:files"));
}

/* ---- what the journal is given ---- */

static void
assert_round_trip(const struct service *service)
{
	struct packer packer;
	struct service unpacked;
	cleanup_error struct error error = {.code = ERROR_NONE};
	packer_init(&packer);
	service_pack(service, &packer);
	assert_int_equal(service_unpack(packer.buffer.data, packer.buffer.size, &unpacked, &error), 0);
	assert_same(&unpacked, service);
	service_clear(&unpacked);
	packer_release(&packer);
}

/* A key that came later has its default then, and one that is gone is passed over. */
static void
what_an_earlier_program_froze_is_read(void **state)
{
	(void)state;
	static const char *const later[] = {"maxShrink", "manifestPath", "manifestDigest"};
	struct packer packer;
	struct service unpacked;
	packer_init(&packer);
	service_pack(&full, &packer);
	for (size_t i = 0; i < ARRAY_LENGTH(later); i++) {
		char *key = memmem(packer.buffer.data, packer.buffer.size, later[i], strlen(later[i]));
		assert_non_null(key);
		memcpy(key, "gone", strlen("gone"));
	}
	assert_int_equal(service_unpack(packer.buffer.data, packer.buffer.size, &unpacked, NULL), 0);
	assert_int_equal(unpacked.max_shrink, 100);
	assert_null(unpacked.manifest_path);
	assert_null(unpacked.manifest_digest);
	assert_string_equal(unpacked.name, "web");
	assert_true(unpacked.keep_all);
	service_clear(&unpacked);
	packer_release(&packer);
}

static void
packing_loses_nothing(void **state)
{
	(void)state;
	assert_round_trip(&full);
	assert_round_trip(&bare);
}

/* Bytes that end where the memory ends. Returns what service_unpack does; what is unpacked is released. */
static int
unpack_exact(const char *bytes, size_t length)
{
	static const struct service untouched = {.attempts = 12345};
	cleanup_free char *exact = xmemdup(bytes, length);
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct service service = untouched;
	int result = service_unpack(exact, length, &service, &error);
	if (result == 0) {
		/* Whatever was read can be used. */
		cleanup_strings char **sources = service_sources(&service);
		cleanup_strings char **tags = service_tags(&service);
		size_t declared = strings_count(service.databases) + strings_count(service.files);
		assert_true(strings_count(sources) <= declared);
		assert_int_equal(strings_count(tags), 2 + strings_count(service.tags));
		service_clear(&service);
		return 0;
	}
	assert_int_equal(error.code, ERROR_JOURNAL_DAMAGED);
	assert_memory_equal(&service, &untouched, sizeof(service));
	return result;
}

static void
every_truncation_is_noticed(void **state)
{
	(void)state;
	struct packer packer;
	packer_init(&packer);
	service_pack(&full, &packer);
	for (size_t length = 0; length < packer.buffer.size; length++)
		assert_int_equal(unpack_exact(packer.buffer.data, length), -1);
	packer_release(&packer);
}

static void
flipped_bytes_do_no_harm(void **state)
{
	(void)state;
	struct packer packer;
	size_t refused = 0;
	packer_init(&packer);
	service_pack(&full, &packer);
	srandom(2);
	for (int round = 0; round < 20000; round++) {
		cleanup_free char *bytes = xmemdup(packer.buffer.data, packer.buffer.size);
		for (long flips = 1 + random() % 3; flips > 0; flips--)
			bytes[(size_t)random() % packer.buffer.size] ^= (char)(1 + random() % 255);
		refused += unpack_exact(bytes, packer.buffer.size) < 0;
	}
	/* Most bytes are keys and heads. */
	assert_true(refused > 10000);
	packer_release(&packer);
}

/* Packs `bare` and replaces bytes in it by as many others. */
static void
assert_damage(const char *old, const char *new, size_t length, const char *words)
{
	struct packer packer;
	struct service service;
	cleanup_error struct error error = {.code = ERROR_NONE};
	packer_init(&packer);
	service_pack(&full, &packer);
	char *found = memmem(packer.buffer.data, packer.buffer.size, old, length);
	assert_non_null(found);
	memcpy(found, new, length);
	assert_int_equal(service_unpack(packer.buffer.data, packer.buffer.size, &service, &error), -1);
	assert_int_equal(error.code, ERROR_JOURNAL_DAMAGED);
	if (strstr(error.message, words) == NULL)
		fail_msg("'%s' does not say '%s'", error.message, words);
	packer_release(&packer);
}

static void
damage_is_named(void **state)
{
	(void)state;
	assert_damage("initialize", "initialise", 10, "\"initialize\"");
	assert_damage("version\x01", "version\x02", 8, "\"version\" of the stored service is 2");
	assert_damage("attempts\x03", "attempts\xff", 9, "\"attempts\" of the stored service is negative");
	assert_damage("host\xa6", "host\x06", 5, "malformed");
	assert_damage("/srv/web/queue.db", "/srv/web/../ue.db", 17, "\"databases\"");
	assert_damage("/etc/web.conf", "etc//web.conf", 13, "\"files\"");
}

static void
nil_is_no_name(void **state)
{
	(void)state;
	struct service nameless = bare;
	struct packer packer;
	struct service service;
	cleanup_error struct error error = {.code = ERROR_NONE};
	nameless.name = NULL;
	packer_init(&packer);
	service_pack(&nameless, &packer);
	assert_int_equal(service_unpack(packer.buffer.data, packer.buffer.size, &service, &error), -1);
	assert_string_equal(error.message, "\"name\" of the stored service is empty");
	packer_release(&packer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(copying_takes_everything_along),
	    cmocka_unit_test(sources_are_sorted_and_not_below_each_other),
	    cmocka_unit_test(of_the_built_in_service_the_database_alone_is_a_source),
	    cmocka_unit_test(tags_begin_with_name_and_type),
	    cmocka_unit_test(packing_loses_nothing),
	    cmocka_unit_test(what_an_earlier_program_froze_is_read),
	    cmocka_unit_test(every_truncation_is_noticed),
	    cmocka_unit_test(flipped_bytes_do_no_harm),
	    cmocka_unit_test(damage_is_named),
	    cmocka_unit_test(nil_is_no_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
