/* A job's frozen specification, as it comes back from a journal that the disk or a stranger may have changed. */
#include "jobs/service.h"
#include "tests/fuzz/fuzz.h"

#include "core/alloc.h"
#include "core/file.h"

static bool
packs_to(const struct service *service, const struct packer *expected)
{
	struct packer packer;
	packer_init(&packer);
	service_pack(service, &packer);
	bool same = packer.buffer.size == expected->buffer.size &&
		    memcmp(packer.buffer.data, expected->buffer.data, packer.buffer.size) == 0;
	packer_release(&packer);
	return same;
}

/* What was read and packed again reads as the same, and a copy is the same. */
static void
check_round_trip(const struct service *service)
{
	struct packer packed;
	struct service again, copy = {.name = NULL};
	struct error error = {.code = ERROR_NONE};
	packer_init(&packed);
	service_pack(service, &packed);
	fuzz_expect_success(service_unpack(packed.buffer.data, packed.buffer.size, &again, &error), &error);
	assert(packs_to(&again, &packed));
	service_copy(&copy, &again);
	service_clear(&again);
	assert(packs_to(&copy, &packed));
	service_clear(&copy);
	packer_release(&packed);
}

/* What the engine relies on without asking again. */
static void
check_promises(const struct service *service)
{
	assert(service->name != NULL && service->type != NULL);
	assert(service->restic.program != NULL && service->restic.repository_file != NULL &&
	       service->restic.password_file != NULL && service->restic.cache_directory != NULL &&
	       service->restic.host != NULL);
	const int64_t counts[] = {service->restic.nice, service->restic.io_class, service->restic.io_level,
	    service->restic.upload_kib, service->restic.download_kib, service->deadlines.preflight,
	    service->deadlines.hook, service->deadlines.stop, service->deadlines.snapshot, service->deadlines.start,
	    service->attempts, service->retry_delay, service->overdue_after, service->settle, service->max_shrink};
	for (size_t i = 0; i < ARRAY_LENGTH(counts); i++)
		assert(counts[i] >= 0);
	cleanup_strings char **sources = service_sources(service);
	for (size_t i = 0; i < strings_count(sources); i++)
		assert(path_is_clean(sources[i]));
	cleanup_strings char **tags = service_tags(service);
	assert(strings_count(tags) == 2 + strings_count(service->tags));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct service service;
	cleanup_error struct error error = {.code = ERROR_NONE};
	fuzz_mark(&service, sizeof(service));
	int result = service_unpack(data, size, &service, &error);
	fuzz_verdict(result == 0);
	if (result < 0) {
		fuzz_expect_error(result, &error);
		assert(error.code == ERROR_JOURNAL_DAMAGED);
		fuzz_expect_untouched(&service, sizeof(service));
		return 0;
	}
	fuzz_expect_success(result, &error);
	check_promises(&service);
	check_round_trip(&service);
	service_clear(&service);
	return 0;
}
