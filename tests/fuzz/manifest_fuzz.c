/* The manifest: written by hand or generated, and read as root. */
#include "tests/fuzz/fuzz.h"

#include <jansson.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/pack.h"
#include "jobs/manifest.h"
#include "jobs/manifest_internal.h"

static const struct manifest_overrides overrides = {.cache_directory = "/var/cache/restic"};

/* ---- what was said about it ---- */

static void
check_problems(const struct problem_list *problems)
{
	for (size_t i = 0; i < problems->count; i++) {
		const struct problem *problem = &problems->items[i];
		assert(problem->code != ERROR_NONE && problem->code != ERROR_INTERNAL);
		assert(text_starts_with(problem->place, "m.json") && text_is_printable(problem->place));
		assert(problem->message[0] != '\0' && text_is_printable(problem->message));
		assert(problem->remedy != NULL && problem->remedy[0] != '\0' && text_is_printable(problem->remedy));
	}
}

/* ---- what it came to ---- */

static void
check_range(int64_t value, int64_t lowest, int64_t highest)
{
	assert(value >= lowest && value <= highest);
}

static void
check_restic(const struct restic_settings *restic)
{
	assert(manifest_program_fault(restic->program) == NULL);
	assert(manifest_path_fault(restic->repository_file) == NULL);
	assert(manifest_path_fault(restic->password_file) == NULL);
	assert(restic->environment_file == NULL || manifest_path_fault(restic->environment_file) == NULL);
	assert(manifest_path_fault(restic->cache_directory) == NULL);
	assert(manifest_host_fault(restic->host) == NULL);
	check_range(restic->nice, 0, 19);
	check_range(restic->io_class, 0, 3);
	check_range(restic->io_level, 0, 7);
	check_range(restic->upload_kib, 0, 2000000);
	check_range(restic->download_kib, 0, 2000000);
}

static void
check_deadlines(const struct deadlines *deadlines)
{
	check_range(deadlines->preflight, USEC_PER_SEC, 7 * USEC_PER_DAY);
	check_range(deadlines->hook, USEC_PER_SEC, 7 * USEC_PER_DAY);
	check_range(deadlines->stop, USEC_PER_SEC, 7 * USEC_PER_DAY);
	check_range(deadlines->snapshot, USEC_PER_SEC, 7 * USEC_PER_DAY);
	check_range(deadlines->start, USEC_PER_SEC, 7 * USEC_PER_DAY);
}

static void
check_list(char *const *list, const char *(*fault)(const char *))
{
	for (size_t i = 0; i < strings_count(list); i++)
		assert(fault(list[i]) == NULL);
}

/* restic gets clean paths, sorted, and none of them twice. */
static void
check_sources(const struct service *service)
{
	cleanup_strings char **sources = service_sources(service);
	check_list(sources, manifest_path_fault);
	assert(strings_count(sources) > 0 || strings_count(service->postgres) > 0);
	for (size_t i = 0; i < strings_count(sources); i++)
		for (size_t j = 0; j < i; j++)
			assert(!path_is_below(sources[i], sources[j]) && !path_is_below(sources[j], sources[i]));
}

static void
check_tags(const struct service *service)
{
	cleanup_strings char **tags = service_tags(service);
	assert(strings_count(tags) == 2 + strings_count(service->tags));
	assert(text_starts_with(tags[0], "service:") && strcmp(tags[0] + strlen("service:"), service->name) == 0);
	assert(text_starts_with(tags[1], "type:") && tags[1][strlen("type:")] != '\0');
	for (size_t i = 0; i < strings_count(tags); i++)
		assert(strchr(tags[i], ',') == NULL);
	check_list(service->tags, manifest_tag_fault);
}

static void
check_stop(const struct service *service)
{
	/* A database that nothing stops is known to be a live one. */
	if (strings_count(service->databases) > 0 && service->stop_for_backup)
		assert(strings_count(service->stop_units) > 0 || service->pre_backup != NULL);
	if (!service->stop_for_backup)
		assert(strings_count(service->stop_units) == 0);
}

/* Names, or conninfo strings without a password; none of them twice. */
static void
check_dumps(const struct service *service)
{
	size_t count = strings_count(service->postgres);
	for (size_t i = 0; i < count; i++) {
		const char *words = service->postgres[i];
		assert(manifest_word_fault(words) == NULL);
		assert(strchr(words, '=') == NULL || text_starts_with(words, "dbname='"));
		cleanup_free char *identity = manifest_database_identity(words);
		assert(text_starts_with(identity, "dbname='"));
		/* Too many of them would take too long. */
		for (size_t j = 0; j < i && i < 20; j++) {
			cleanup_free char *other = manifest_database_identity(service->postgres[j]);
			assert(strcmp(identity, other) != 0);
		}
	}
}

/* What the journal keeps of it is all of it. */
static void
check_freezing(const struct service *service)
{
	struct packer first, second;
	struct service thawed;
	struct error error = {.code = ERROR_NONE};
	packer_init(&first);
	packer_init(&second);
	service_pack(service, &first);
	fuzz_expect_success(service_unpack(first.buffer.data, first.buffer.size, &thawed, &error), &error);
	service_pack(&thawed, &second);
	assert(first.buffer.size == second.buffer.size &&
	       memcmp(first.buffer.data, second.buffer.data, first.buffer.size) == 0);
	service_clear(&thawed);
	packer_release(&second);
	packer_release(&first);
}

static void
check_service(const struct service *service)
{
	assert(manifest_service_fault(service->name) == NULL);
	assert(service->data_directory == NULL || manifest_path_fault(service->data_directory) == NULL);
	check_list(service->excludes, manifest_word_fault);
	check_list(service->stop_units, manifest_unit_fault);
	assert(service->pre_backup == NULL || manifest_shell_fault(service->pre_backup) == NULL);
	assert(service->post_backup == NULL || manifest_shell_fault(service->post_backup) == NULL);
	check_restic(&service->restic);
	check_deadlines(&service->deadlines);
	check_range(service->attempts, 1, 100);
	check_range(service->retry_delay, 0, USEC_PER_DAY);
	check_range(service->overdue_after, USEC_PER_MIN, 366 * USEC_PER_DAY);
	check_range(service->settle, 0, 10 * USEC_PER_MIN);
	check_sources(service);
	check_tags(service);
	check_stop(service);
	check_dumps(service);
	check_range(service->max_shrink, 1, 100);
	check_freezing(service);
}

static void
check_manifest(const struct manifest *manifest, const struct problem_list *problems)
{
	assert(strcmp(manifest->path, "m.json") == 0);
	check_range(manifest->version, 1, 2);
	check_range(manifest->parallel, 1, 64);
	check_range(manifest->kickoff, 0, USEC_PER_DAY - USEC_PER_MIN);
	check_range(manifest->max_delay, 0, USEC_PER_DAY);
	check_restic(&manifest->restic);
	for (size_t i = 0; i < manifest->service_count; i++) {
		const struct service *service = &manifest->services[i];
		check_service(service);
		assert(i == 0 || strcmp(manifest->services[i - 1].name, service->name) < 0);
		assert(manifest_find(manifest, service->name) == service);
	}
	assert(problem_count(problems, PROBLEM_ERROR) == 0);
}

/* ---- the same file written differently ---- */

static void
check_same(const struct manifest *left, const struct manifest *right)
{
	struct packer packed[2];
	assert(left->version == right->version && left->initialize == right->initialize &&
	       left->parallel == right->parallel && left->kickoff == right->kickoff &&
	       left->max_delay == right->max_delay && left->service_count == right->service_count);
	for (size_t i = 0; i < left->service_count; i++) {
		packer_init(&packed[0]);
		packer_init(&packed[1]);
		service_pack(&left->services[i], &packed[0]);
		service_pack(&right->services[i], &packed[1]);
		assert(packed[0].buffer.size == packed[1].buffer.size &&
		       memcmp(packed[0].buffer.data, packed[1].buffer.data, packed[0].buffer.size) == 0);
		packer_release(&packed[0]);
		packer_release(&packed[1]);
	}
}

/* White space, escapes and the order of keys mean nothing. */
static void
check_rewritten(const char *content, size_t length, int result, const struct manifest *manifest)
{
	json_t *root = json_loadb(content, length, JSON_REJECT_DUPLICATES, NULL);
	if (root == NULL) {
		assert(result == -1);
		return;
	}
	cleanup_free char *rewritten = json_dumps(root, JSON_SORT_KEYS | JSON_COMPACT | JSON_ENSURE_ASCII);
	json_decref(root);
	cleanup_problems struct problem_list problems = {.items = NULL};
	struct manifest again;
	assert(manifest_parse("m.json", rewritten, strlen(rewritten), &overrides, &again, &problems) == result);
	if (result < 0)
		return;
	check_same(manifest, &again);
	manifest_clear(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *content = (const char *)data;
	struct manifest manifest;
	cleanup_problems struct problem_list problems = {.items = NULL};
	fuzz_mark(&manifest, sizeof(manifest));
	int result = manifest_parse("m.json", content, size, &overrides, &manifest, &problems);
	fuzz_verdict(result == 0);
	check_problems(&problems);
	check_rewritten(content, size, result, &manifest);
	if (result == 0) {
		check_manifest(&manifest, &problems);
		manifest_clear(&manifest);
	} else {
		assert(result == -1 && problem_count(&problems, PROBLEM_ERROR) > 0);
		fuzz_expect_untouched(&manifest, sizeof(manifest));
	}
	return 0;
}
