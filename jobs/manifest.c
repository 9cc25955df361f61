#include "jobs/manifest_internal.h"

#include "core/alloc.h"
#include "core/digest.h"
#include "core/file.h"
#include "jobs/journal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MANIFEST_SIZE_LIMIT ((size_t)16 * 1024 * 1024)
#define SERVICE_LIMIT       10000

#define DEFAULT_ENVIRONMENT_FILE "/run/agenix/restic/env"
#define DEFAULT_STATE_DIRECTORY  "/var/lib/atelier-backup"
#define DEFAULT_CACHE_DIRECTORY  DEFAULT_STATE_DIRECTORY "/cache"

#define cleanup_draft    __attribute__((cleanup(release_draft)))
#define cleanup_manifest __attribute__((cleanup(manifest_clear)))

static void
release_draft(struct manifest_draft *draft)
{
	manifest_release(manifest_keys, draft);
}

/* ---- JSON ---- */

static const char *
remedy_for_json(enum json_error_code code)
{
	switch (code) {
	case json_error_invalid_utf8:
		return "write the file in UTF-8";
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return "take the NUL character out";
	case json_error_duplicate_key:
		return "name each key and each service once";
	case json_error_numeric_overflow:
		return "write a smaller number";
	case json_error_stack_overflow:
		return "the format needs five levels; take the deeper ones out";
	case json_error_premature_end_of_input:
	case json_error_end_of_input_expected:
	case json_error_invalid_syntax:
	case json_error_unknown:
	case json_error_out_of_memory:
	case json_error_cannot_open_file:
	case json_error_invalid_argument:
	case json_error_invalid_format:
	case json_error_wrong_type:
	case json_error_null_value:
	case json_error_item_not_found:
	case json_error_index_out_of_range:
		return "correct the JSON; `python3 -m json.tool FILE` helps";
	}
	return NULL;
}

static json_t *
decode(struct manifest_reader *reader, const char *content, size_t length)
{
	json_error_t error;
	json_t *root = manifest_decode(content, length, &error);
	if (root == NULL) {
		cleanup_free char *place = xasprintf("%s:%d:%d", reader->path, error.line, error.column);
		problem_add(reader->problems, PROBLEM_ERROR, ERROR_MANIFEST, place,
		    remedy_for_json(json_error_code(&error)), "%s", error.text);
		reader->failures++;
	}
	return root;
}

/* ---- from the top level to what every service starts with ---- */

static char *
resolve_host(struct manifest_reader *reader, char **pinned)
{
	if (*pinned != NULL)
		return take_pointer(*pinned);
	char name[256] = "";
	gethostname(name, sizeof(name) - 1);
	const char *fault = manifest_host_fault(name);
	if (fault != NULL) {
		size_t mark = manifest_enter(reader, "host");
		manifest_refuse(reader, "pin a name here (version 2), or correct the machine's",
		    "the host name of this machine, '%s', %s", name, fault);
		manifest_leave(reader, mark);
	}
	return xstrdup(name);
}

static char *
resolve_environment_file(char **named)
{
	if (*named == NULL && access(DEFAULT_ENVIRONMENT_FILE, F_OK) == 0)
		return xstrdup(DEFAULT_ENVIRONMENT_FILE);
	return take_pointer(*named);
}

static char *
resolve_cache_directory(char **named, const struct manifest_overrides *overrides)
{
	if (*named != NULL)
		return take_pointer(*named);
	const char *given = overrides == NULL ? NULL : overrides->cache_directory;
	return xstrdup(given == NULL ? DEFAULT_CACHE_DIRECTORY : given);
}

static char *
resolve_program(char **named, const struct manifest_overrides *overrides)
{
	if (overrides != NULL && overrides->restic_program != NULL)
		return xstrdup(overrides->restic_program);
	return take_pointer(*named);
}

static void
resolve_defaults(struct manifest_reader *reader, struct manifest_draft *draft,
    const struct manifest_overrides *overrides, struct service *defaults)
{
	struct restic_settings *restic = &defaults->restic;
	*defaults = (struct service){
	    .initialize = draft->repository.initialize == ANSWER_YES,
	    .deadlines = draft->deadlines,
	    .attempts = draft->retry.attempts,
	    .retry_delay = draft->retry.delay,
	    .overdue_after = draft->overdue_after,
	    .settle = draft->settle,
	    .retention = draft->retention.policy,
	    .max_shrink = draft->max_shrink,
	    .keep_all = draft->retention.keep_all,
	};
	restic->program = resolve_program(&draft->repository.program, overrides);
	restic->repository_file = take_pointer(draft->repository.file);
	restic->password_file = take_pointer(draft->repository.password_file);
	restic->environment_file = resolve_environment_file(&draft->repository.environment_file);
	restic->cache_directory = resolve_cache_directory(&draft->repository.cache_directory, overrides);
	restic->host = resolve_host(reader, &draft->host);
	restic->nice = draft->limits.nice;
	restic->io_class = draft->limits.io_class;
	restic->io_level = draft->limits.io_level;
	restic->upload_kib = draft->limits.upload_kib;
	restic->download_kib = draft->limits.download_kib;
}

/* ---- the services ---- */

/* The journal is in use by whoever backs it up: it is copied live, like any database of a service that is not
 * stopped. */
static struct service *
make_own(
    const struct manifest_reader *reader, const struct service *defaults, const struct manifest_overrides *overrides)
{
	const char *given = overrides == NULL ? NULL : overrides->state_directory;
	cleanup_free char *journal = xasprintf("%s/" JOURNAL_FILE, given == NULL ? DEFAULT_STATE_DIRECTORY : given);
	struct service *own = xcalloc(1, sizeof(*own));
	service_copy(own, defaults);
	own->own = true;
	own->name = xstrdup(SERVICE_OWN_NAME);
	own->type = xstrdup("mixed");
	strings_add(&own->databases, journal);
	strings_add(&own->files, reader->path);
	return own;
}

static int
compare_services(const void *left, const void *right)
{
	const struct service *a = left;
	const struct service *b = right;
	return strcmp(a->name, b->name);
}

/* As Nix writes them. */
static bool
are_in_order(const struct service *services, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (compare_services(&services[i - 1], &services[i]) > 0)
			return false;
	return true;
}

static void
read_services(
    struct manifest_reader *reader, json_t *services, const struct service *defaults, struct manifest *manifest)
{
	size_t count = json_object_size(services);
	size_t mark = manifest_enter(reader, "services");
	if (count > SERVICE_LIMIT)
		manifest_refuse(
		    reader, "split the manifest", "there are %zu services; %d are the most", count, SERVICE_LIMIT);
	else if (count == 0)
		manifest_warn(reader, "declare a service", "no service is declared: nothing will be backed up");
	else
		manifest->services = xcalloc(count, sizeof(*manifest->services));

	const char *name;
	json_t *entry;
	json_object_foreach (services, name, entry) {
		if (manifest->services == NULL)
			break;
		size_t service = manifest_enter(reader, name);
		manifest_read_service(reader, defaults, name, entry, &manifest->services[manifest->service_count++]);
		manifest_leave(reader, service);
	}
	manifest_leave(reader, mark);
	if (!are_in_order(manifest->services, manifest->service_count))
		qsort(manifest->services, manifest->service_count, sizeof(*manifest->services), compare_services);
}

/* A path, or a database, and the service that declares it. */
struct claim {
	const char *path;
	const char *service;
};

static int
compare_claims(const void *left, const void *right)
{
	const struct claim *a = left;
	const struct claim *b = right;
	int order = strcmp(a->path, b->path);
	return order != 0 ? order : strcmp(a->service, b->service);
}

static void
add_claims(struct claim *claims, size_t *count, char *const *paths, const char *service)
{
	for (size_t i = 0; paths != NULL && paths[i] != NULL; i++)
		claims[(*count)++] = (struct claim){paths[i], service};
}

static void
judge_shared_database(struct manifest_reader *reader, const struct claim *claim, const struct claim *first)
{
	cleanup_free char *place = xasprintf("services.%s.data.sqlite", claim->service);
	size_t mark = manifest_enter(reader, place);
	manifest_refuse(reader, "let one of the two services have it", "'%s' is the database of the service %s too",
	    claim->path, first->service);
	manifest_leave(reader, mark);
}

static void
judge_shared_path(struct manifest_reader *reader, const struct claim *claim, const struct claim *first)
{
	cleanup_free char *place = xasprintf("services.%s", claim->service);
	size_t mark = manifest_enter(reader, place);
	manifest_warn(reader, "declare it in one of the two services", "'%s' is backed up with the service %s too",
	    claim->path, first->service);
	manifest_leave(reader, mark);
}

static void
judge_shared_dump(struct manifest_reader *reader, const struct claim *claim, const struct claim *first)
{
	cleanup_free char *place = xasprintf("services.%s.data.postgres", claim->service);
	size_t mark = manifest_enter(reader, place);
	manifest_warn(reader, "declare it in one of the two services", "%s is dumped with the service %s too",
	    claim->path, first->service);
	manifest_leave(reader, mark);
}

typedef void judge_claim_fn(struct manifest_reader *reader, const struct claim *claim, const struct claim *first);

static void
judge_claims(struct manifest_reader *reader, struct claim *claims, size_t count, judge_claim_fn *judge)
{
	if (count > 0)
		qsort(claims, count, sizeof(*claims), compare_claims);
	const struct claim *first = claims;
	for (size_t i = 1; i < count; i++) {
		if (strcmp(claims[i].path, first->path) == 0)
			judge(reader, &claims[i], first);
		else
			first = &claims[i];
	}
}

static void
judge_shared_dumps(struct manifest_reader *reader, const struct manifest *manifest)
{
	size_t count = 0;
	for (size_t i = 0; i < manifest->service_count; i++)
		count += strings_count(manifest->services[i].postgres);
	cleanup_strings char **identities = xcalloc(count + 1, sizeof(*identities));
	cleanup_free struct claim *claims = xcalloc(count + 1, sizeof(*claims));
	count = 0;
	for (size_t i = 0; i < manifest->service_count; i++) {
		const struct service *service = &manifest->services[i];
		for (size_t j = 0; service->postgres != NULL && service->postgres[j] != NULL; j++, count++) {
			identities[count] = manifest_database_identity(service->postgres[j]);
			claims[count] = (struct claim){identities[count], service->name};
		}
	}
	judge_claims(reader, claims, count, judge_shared_dump);
}

static void
judge_shared(struct manifest_reader *reader, const struct manifest *manifest)
{
	size_t database_count = 0, file_count = 0;
	for (size_t i = 0; i < manifest->service_count; i++) {
		database_count += strings_count(manifest->services[i].databases);
		file_count += strings_count(manifest->services[i].files);
	}
	cleanup_free struct claim *databases = xcalloc(database_count, sizeof(*databases));
	cleanup_free struct claim *files = xcalloc(file_count, sizeof(*files));
	database_count = file_count = 0;
	for (size_t i = 0; i < manifest->service_count; i++) {
		const struct service *service = &manifest->services[i];
		add_claims(databases, &database_count, service->databases, service->name);
		add_claims(files, &file_count, service->files, service->name);
	}
	judge_claims(reader, databases, database_count, judge_shared_database);
	judge_claims(reader, files, file_count, judge_shared_path);
	judge_shared_dumps(reader, manifest);
}

/* ---- the whole ---- */

static void
read_root(struct manifest_reader *reader, json_t *root, const struct manifest_overrides *overrides,
    struct manifest *manifest)
{
	cleanup_draft struct manifest_draft draft = {.host = NULL};
	manifest_read_initials(reader, manifest_keys, &draft);
	if (!json_is_object(root)) {
		manifest_refuse(
		    reader, "write {\"services\": {}} and go on from there", "expected an object, found a list");
		return;
	}
	manifest_read_object(reader, root, manifest_keys, &draft);
	if (reader->version == 0)
		return;

	struct service defaults;
	resolve_defaults(reader, &draft, overrides, &defaults);
	*manifest = (struct manifest){
	    .path = xstrdup(reader->path),
	    .version = (int)draft.version,
	    .initialize = defaults.initialize,
	    .parallel = draft.limits.parallel,
	    .kickoff = draft.schedule.time,
	    .max_delay = draft.schedule.max_delay,
	    .retry = draft.retry,
	    .prune = draft.prune,
	};
	manifest->status_group = take_pointer(draft.status_group);
	json_t *services = json_object_get(root, "services");
	if (draft.services != NULL)
		read_services(reader, draft.services, &defaults, manifest);
	else if (services == NULL || json_is_null(services))
		manifest_refuse(reader, "write \"services\": {...} (docs/manifest.md)", "\"services\" is missing");
	judge_shared(reader, manifest);
	if (draft.own_state == ANSWER_YES)
		manifest->own = make_own(reader, &defaults, overrides);
	manifest->restic = defaults.restic;
	defaults.restic = (struct restic_settings){.program = NULL};
	service_clear(&defaults);
}

static void
count_what_was_left_out(struct manifest_reader *reader)
{
	if (reader->left_out > 0)
		problem_add(reader->problems, reader->failures > 0 ? PROBLEM_ERROR : PROBLEM_WARNING, ERROR_MANIFEST,
		    reader->path, "correct those that are listed first", "%zu more problems are not listed",
		    reader->left_out);
}

int
manifest_parse(const char *path, const char *content, size_t length, const struct manifest_overrides *overrides,
    struct manifest *ret_manifest, struct problem_list *problems)
{
	struct manifest_reader reader = {.path = path, .version = 1, .problems = problems};
	cleanup_manifest struct manifest manifest = {.path = NULL};
	json_t *root = decode(&reader, content, length);
	if (root != NULL)
		read_root(&reader, root, overrides, &manifest);
	manifest_release_tree();
	count_what_was_left_out(&reader);
	if (reader.failures > 0)
		return -1;
	*ret_manifest = manifest;
	manifest = (struct manifest){.path = NULL};
	return 0;
}

static void
add_read_error(const char *path, struct error *error, struct problem_list *problems)
{
	if (error->hint == NULL && access(path, F_OK) < 0 && errno == ENOENT)
		error_hint(error, "write one (docs/manifest.md), or name another with --manifest");
	else if (error->hint == NULL && error->code == ERROR_PERMISSION)
		error_hint(error, "run this as root");
	else if (error->hint == NULL)
		error_hint(error, "put a JSON file of at most 16 MiB there");
	problem_add_error(problems, path, error);
}

static void
remember_manifest(struct service *service, const char *path, const char *digest)
{
	service->manifest_path = xstrdup(path);
	service->manifest_digest = xstrdup(digest);
}

/* Each service knows from which manifest it is, and the built-in one where that really is: of a symbolic link restic
 * would store the link alone. */
static void
remember_origin(struct manifest *manifest, const char *content, size_t length)
{
	cleanup_free char *digest = digest_sha256(content, length);
	for (size_t i = 0; i < manifest->service_count; i++)
		remember_manifest(&manifest->services[i], manifest->path, digest);
	if (manifest->own == NULL)
		return;
	cleanup_free char *file = path_resolve(manifest->path);
	remember_manifest(manifest->own, manifest->path, digest);
	replace_string(&manifest->own->files[0], file);
}

int
manifest_load(const char *path, const struct manifest_overrides *overrides, struct manifest *ret_manifest,
    struct problem_list *problems)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *content = NULL;
	size_t length;
	if (file_read(path, MANIFEST_SIZE_LIMIT, &content, &length, &error) < 0) {
		add_read_error(path, &error, problems);
		return -1;
	}
	/* An untrusted file is read all the same, so that everything wrong with it is told at once. */
	bool trusted = file_check_trust(path, false, &error) == 0;
	if (!trusted)
		problem_add_error(problems, path, &error);
	struct manifest manifest;
	if (manifest_parse(path, content, length, overrides, &manifest, problems) < 0)
		return -1;
	if (!trusted) {
		manifest_clear(&manifest);
		return -1;
	}
	remember_origin(&manifest, content, length);
	*ret_manifest = manifest;
	return 0;
}

static int
compare_name(const void *name, const void *service)
{
	return strcmp(name, ((const struct service *)service)->name);
}

const struct service *
manifest_find(const struct manifest *manifest, const char *name)
{
	if (manifest->own != NULL && strcmp(name, manifest->own->name) == 0)
		return manifest->own;
	if (manifest->service_count == 0)
		return NULL;
	return bsearch(name, manifest->services, manifest->service_count, sizeof(*manifest->services), compare_name);
}

static void
clear_settings(struct restic_settings *settings)
{
	free(settings->program);
	free(settings->repository_file);
	free(settings->password_file);
	free(settings->environment_file);
	free(settings->cache_directory);
	free(settings->host);
}

void
manifest_clear(struct manifest *manifest)
{
	for (size_t i = 0; i < manifest->service_count; i++) {
		manifest->services[i].restic = (struct restic_settings){.program = NULL};
		service_clear(&manifest->services[i]);
	}
	free(manifest->services);
	if (manifest->own != NULL)
		service_clear(manifest->own);
	free(manifest->own);
	free(manifest->path);
	free(manifest->status_group);
	clear_settings(&manifest->restic);
	*manifest = (struct manifest){.path = NULL};
}
