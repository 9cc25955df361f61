#include "jobs/service.h"

#include "core/alloc.h"
#include "core/file.h"

#include <string.h>

/* Goes up when the packed map changes its meaning. */
#define PACKED_VERSION 1

/* text may be NULL, name may not; count is a number that is not negative. What came later is not in the specs that an
 * earlier program froze: there it has its default. What such a spec has besides ("refused") is passed over. */
enum field_kind {
	FIELD_NAME,
	FIELD_TEXT,
	FIELD_STRINGS,
	FIELD_BOOL,
	FIELD_COUNT,
	FIELD_LATER_TEXT,
	FIELD_LATER_BOOL,
	FIELD_LATER_COUNT,
};

struct field {
	const char *key;
	enum field_kind kind;
	size_t offset;
};

/* Clearing, copying, packing and unpacking all walk this table, so none of them can forget a field. */
static const struct field fields[] = {
    {"name", FIELD_NAME, offsetof(struct service, name)},
    {"dataDirectory", FIELD_TEXT, offsetof(struct service, data_directory)},
    {"databases", FIELD_STRINGS, offsetof(struct service, databases)},
    {"postgres", FIELD_STRINGS, offsetof(struct service, postgres)},
    {"files", FIELD_STRINGS, offsetof(struct service, files)},
    {"excludes", FIELD_STRINGS, offsetof(struct service, excludes)},
    {"tags", FIELD_STRINGS, offsetof(struct service, tags)},
    {"type", FIELD_NAME, offsetof(struct service, type)},
    {"manual", FIELD_BOOL, offsetof(struct service, manual)},
    {"stopForBackup", FIELD_BOOL, offsetof(struct service, stop_for_backup)},
    {"stopUnits", FIELD_STRINGS, offsetof(struct service, stop_units)},
    {"preBackup", FIELD_TEXT, offsetof(struct service, pre_backup)},
    {"postBackup", FIELD_TEXT, offsetof(struct service, post_backup)},
    {"program", FIELD_NAME, offsetof(struct service, restic.program)},
    {"repositoryFile", FIELD_NAME, offsetof(struct service, restic.repository_file)},
    {"passwordFile", FIELD_NAME, offsetof(struct service, restic.password_file)},
    {"environmentFile", FIELD_TEXT, offsetof(struct service, restic.environment_file)},
    {"cacheDirectory", FIELD_NAME, offsetof(struct service, restic.cache_directory)},
    {"host", FIELD_NAME, offsetof(struct service, restic.host)},
    {"nice", FIELD_COUNT, offsetof(struct service, restic.nice)},
    {"ioClass", FIELD_COUNT, offsetof(struct service, restic.io_class)},
    {"ioLevel", FIELD_COUNT, offsetof(struct service, restic.io_level)},
    {"uploadKiB", FIELD_COUNT, offsetof(struct service, restic.upload_kib)},
    {"downloadKiB", FIELD_COUNT, offsetof(struct service, restic.download_kib)},
    {"initialize", FIELD_BOOL, offsetof(struct service, initialize)},
    {"preflightDeadline", FIELD_COUNT, offsetof(struct service, deadlines.preflight)},
    {"hookDeadline", FIELD_COUNT, offsetof(struct service, deadlines.hook)},
    {"stopDeadline", FIELD_COUNT, offsetof(struct service, deadlines.stop)},
    {"snapshotDeadline", FIELD_COUNT, offsetof(struct service, deadlines.snapshot)},
    {"startDeadline", FIELD_COUNT, offsetof(struct service, deadlines.start)},
    {"attempts", FIELD_COUNT, offsetof(struct service, attempts)},
    {"retryDelay", FIELD_COUNT, offsetof(struct service, retry_delay)},
    {"overdueAfter", FIELD_COUNT, offsetof(struct service, overdue_after)},
    {"settle", FIELD_COUNT, offsetof(struct service, settle)},
    {"keepLast", FIELD_LATER_COUNT, offsetof(struct service, retention.last)},
    {"keepDaily", FIELD_LATER_COUNT, offsetof(struct service, retention.daily)},
    {"keepWeekly", FIELD_LATER_COUNT, offsetof(struct service, retention.weekly)},
    {"keepMonthly", FIELD_LATER_COUNT, offsetof(struct service, retention.monthly)},
    {"keepYearly", FIELD_LATER_COUNT, offsetof(struct service, retention.yearly)},
    {"maxRepackBytes", FIELD_LATER_COUNT, offsetof(struct service, max_repack_bytes)},
    {"maxShrink", FIELD_LATER_COUNT, offsetof(struct service, max_shrink)},
    {"keepAll", FIELD_LATER_BOOL, offsetof(struct service, keep_all)},
    {"own", FIELD_LATER_BOOL, offsetof(struct service, own)},
    {"manifestPath", FIELD_LATER_TEXT, offsetof(struct service, manifest_path)},
    {"manifestDigest", FIELD_LATER_TEXT, offsetof(struct service, manifest_digest)},
};

static void *
field_of(struct service *service, const struct field *field)
{
	return (char *)service + field->offset;
}

static const void *
const_field_of(const struct service *service, const struct field *field)
{
	return (const char *)service + field->offset;
}

static void
clear_field(void *value, enum field_kind kind)
{
	switch (kind) {
	case FIELD_NAME:
	case FIELD_TEXT:
	case FIELD_LATER_TEXT:
		free(*(char **)value);
		return;
	case FIELD_STRINGS:
		strings_free(*(char ***)value);
		return;
	case FIELD_BOOL:
	case FIELD_COUNT:
	case FIELD_LATER_BOOL:
	case FIELD_LATER_COUNT:
		return;
	}
}

void
service_clear(struct service *service)
{
	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
		clear_field(field_of(service, &fields[i]), fields[i].kind);
	*service = (struct service){.name = NULL};
}

static void
copy_field(void *target, const void *source, enum field_kind kind)
{
	switch (kind) {
	case FIELD_NAME:
	case FIELD_TEXT:
	case FIELD_LATER_TEXT:
		*(char **)target = xstrdup_null(*(char *const *)source);
		return;
	case FIELD_STRINGS:
		*(char ***)target = strings_copy(*(char **const *)source);
		return;
	case FIELD_BOOL:
	case FIELD_LATER_BOOL:
		*(bool *)target = *(const bool *)source;
		return;
	case FIELD_COUNT:
	case FIELD_LATER_COUNT:
		*(int64_t *)target = *(const int64_t *)source;
		return;
	}
}

void
service_copy(struct service *target, const struct service *source)
{
	struct service copy = {.name = NULL};
	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
		copy_field(field_of(&copy, &fields[i]), const_field_of(source, &fields[i]), fields[i].kind);
	service_clear(target);
	*target = copy;
}

static char *
directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* '/' sorts before everything else, so that a directory is followed by all that is below it. */
static int
compare_paths(const void *left, const void *right)
{
	const char *a = *(char *const *)left;
	const char *b = *(char *const *)right;
	while (*a == *b && *a != '\0') {
		a++;
		b++;
	}
	int byte_of_a = *a == '/' ? 1 : (unsigned char)*a + (*a != '\0');
	int byte_of_b = *b == '/' ? 1 : (unsigned char)*b + (*b != '\0');
	return byte_of_a - byte_of_b;
}

char **
service_sources(const struct service *service)
{
	cleanup_strings char **all = strings_copy(service->files);
	for (size_t i = 0; service->databases != NULL && service->databases[i] != NULL; i++) {
		const char *database = service->databases[i];
		cleanup_free char *source = service->own ? xstrdup(database) : directory_of(database);
		strings_add(&all, source);
	}
	if (all != NULL)
		qsort(all, strings_count(all), sizeof(*all), compare_paths);

	char **sources = NULL;
	const char *last = NULL;
	for (size_t i = 0; all != NULL && all[i] != NULL; i++) {
		if (last != NULL && path_is_below(all[i], last))
			continue;
		strings_add(&sources, all[i]);
		last = all[i];
	}
	return sources;
}

static int
check_excluded(const struct service *service, char *const *paths, struct error *error)
{
	for (size_t i = 0; paths != NULL && paths[i] != NULL; i++) {
		const char *pattern = restic_excluded_by(service->excludes, paths[i]);
		if (pattern == NULL)
			continue;
		error_set(error, ERROR_SOURCE_EXCLUDED, "%s is declared, and the exclude pattern '%s' takes it away",
		    paths[i], pattern);
		return error_hint(error,
		    "write the pattern so that it means less (with its directory, from the root on), or "
		    "add one that takes the path back: \"!%s\"",
		    paths[i]);
	}
	return 0;
}

int
service_check_excludes(const struct service *service, struct error *error)
{
	cleanup_strings char **sources = service_sources(service);
	if (check_excluded(service, sources, error) < 0)
		return -1;
	return check_excluded(service, service->databases, error);
}

char **
service_tags(const struct service *service)
{
	char **tags = NULL;
	cleanup_free char *name = xasprintf("service:%s", service->name);
	cleanup_free char *type = xasprintf("type:%s", service->type);
	strings_add(&tags, name);
	strings_add(&tags, type);
	for (size_t i = 0; service->tags != NULL && service->tags[i] != NULL; i++)
		strings_add(&tags, service->tags[i]);
	return tags;
}

void
service_pack(const struct service *service, struct packer *packer)
{
	pack_map(packer, 1 + ARRAY_LENGTH(fields));
	pack_key_int(packer, "version", PACKED_VERSION);
	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++) {
		const char *key = fields[i].key;
		const void *value = const_field_of(service, &fields[i]);
		switch (fields[i].kind) {
		case FIELD_NAME:
		case FIELD_TEXT:
		case FIELD_LATER_TEXT:
			pack_key_text(packer, key, *(char *const *)value);
			break;
		case FIELD_STRINGS:
			pack_key_strings(packer, key, *(char **const *)value);
			break;
		case FIELD_BOOL:
		case FIELD_LATER_BOOL:
			pack_key_bool(packer, key, *(const bool *)value);
			break;
		case FIELD_COUNT:
		case FIELD_LATER_COUNT:
			pack_key_int(packer, key, *(const int64_t *)value);
			break;
		}
	}
}

static int
unpack_field(const msgpack_object *map, const struct field *field, void *target, struct error *error)
{
	bool came_later =
	    field->kind == FIELD_LATER_TEXT || field->kind == FIELD_LATER_BOOL || field->kind == FIELD_LATER_COUNT;
	if (came_later && unpack_find(map, field->key) == NULL)
		return 0;
	switch (field->kind) {
	case FIELD_NAME:
		if (unpack_text(map, field->key, target, error) < 0)
			return -1;
		if (*(char **)target == NULL)
			return error_set(
			    error, ERROR_JOURNAL_DAMAGED, "\"%s\" of the stored service is empty", field->key);
		return 0;
	case FIELD_TEXT:
	case FIELD_LATER_TEXT:
		return unpack_text(map, field->key, target, error);
	case FIELD_STRINGS:
		return unpack_strings(map, field->key, target, error);
	case FIELD_BOOL:
	case FIELD_LATER_BOOL:
		return unpack_bool(map, field->key, target, error);
	case FIELD_COUNT:
	case FIELD_LATER_COUNT:
		if (unpack_int(map, field->key, target, error) < 0)
			return -1;
		if (*(int64_t *)target < 0)
			return error_set(
			    error, ERROR_JOURNAL_DAMAGED, "\"%s\" of the stored service is negative", field->key);
		return 0;
	}
	return -1;
}

static int
require_clean_paths(char *const *paths, const char *key, struct error *error)
{
	for (size_t i = 0; paths != NULL && paths[i] != NULL; i++)
		if (!path_is_clean(paths[i]))
			return error_set(error, ERROR_JOURNAL_DAMAGED,
			    "\"%s\" of the stored service has '%s', which is no absolute path", key, paths[i]);
	return 0;
}

static int
unpack_fields(const msgpack_object *map, struct service *service, struct error *error)
{
	int64_t version;
	if (unpack_int(map, "version", &version, error) < 0)
		return -1;
	if (version != PACKED_VERSION)
		return error_set(error, ERROR_JOURNAL_DAMAGED,
		    "\"version\" of the stored service is %lld, but only %d is known", (long long)version,
		    PACKED_VERSION);
	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
		if (unpack_field(map, &fields[i], field_of(service, &fields[i]), error) < 0)
			return -1;
	/* service_sources cuts them at their slashes. */
	if (require_clean_paths(service->databases, "databases", error) < 0)
		return -1;
	return require_clean_paths(service->files, "files", error);
}

int
service_unpack(const void *bytes, size_t length, struct service *ret_service, struct error *error)
{
	struct unpacked unpacked;
	if (unpack_map(bytes, length, &unpacked, error) < 0)
		return -1;
	struct service service = {.retention = RETENTION_DEFAULT, .max_shrink = 100};
	int result = unpack_fields(unpack_root(&unpacked), &service, error);
	unpack_release(&unpacked);
	if (result == 0)
		*ret_service = service;
	else
		service_clear(&service);
	return result;
}
