#include "states/metadata.h"

#include <errno.h>
#include <jansson.h>
#include <sqlite3.h>
#include <string.h>

#include "core/alloc.h"
#include "core/text.h"
#include "states/dumps.h"
#include "states/live.h"
#include "states/staging.h"

/* ---- values ---- */

/* Names are as they are; what is no UTF-8 is not a name of JSON, and is told printable. */
static json_t *
text(const char *string)
{
	if (string == NULL)
		return json_null();
	json_t *value = json_string(string);
	if (value != NULL)
		return value;
	cleanup_free char *printable = text_printable(string);
	return json_string(printable);
}

static json_t *
texts(char *const *list)
{
	json_t *array = json_array();
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		json_array_append_new(array, text(list[i]));
	return array;
}

static json_t *
wall_time(int64_t time)
{
	cleanup_free char *words = text_time_rfc3339(time);
	return json_string(words);
}

static json_t *
count(uint64_t number)
{
	return json_integer((json_int_t)number);
}

/* ---- what the service is ---- */

static json_t *
service_json(const struct service *spec)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:b, s:b}", "name", text(spec->name), "type",
	    text(spec->type), "tags", texts(spec->tags), "exclude", texts(spec->excludes), "manual",
	    (int)spec->manual, "stopForBackup", (int)spec->stop_for_backup, "stopUnits", texts(spec->stop_units),
	    "preBackup", spec->pre_backup != NULL, "postBackup", spec->post_backup != NULL);
}

static json_t *
units_json(const struct unit_list *units)
{
	json_t *array = json_array();
	for (size_t i = 0; i < units->count; i++) {
		const struct unit *unit = &units->items[i];
		json_array_append_new(array, json_pack("{s:o, s:s, s:b}", "name", text(unit->name), "role",
						 unit_role_word(unit->role), "active", (int)unit->active));
	}
	return array;
}

/* ---- what is in the snapshot ---- */

static json_t *
file_json(const char *path)
{
	return json_pack("{s:s, s:o}", "kind", "files", "path", text(path));
}

/* Of a database that is read where it is nothing more can be told before it has been read. */
static json_t *
database_json(const struct job *job, const char *path, const struct database_copy *copy)
{
	json_t *object = json_pack("{s:s, s:o}", "kind", "sqlite", "path", text(path));
	if (copy->path == NULL) {
		json_object_set_new(object, "taken", json_string(job->to_stop ? "stopped" : "in place"));
		return object;
	}
	json_object_set_new(object, "taken", json_string("live copy"));
	json_object_set_new(object, "time", wall_time(copy->taken_at));
	json_object_set_new(object, "bytes", count(copy->bytes));
	json_object_set_new(object, "pages", count(copy->pages));
	json_object_set_new(object, "tables", count(copy->tables));
	json_object_set_new(object, "journalMode", text(copy->journal_mode));
	json_object_set_new(object, "sha256", text(copy->sha256));
	return object;
}

static json_t *
dump_json(const struct database_dump *dump)
{
	const struct postgres_source *source = &dump->source;
	json_t *object = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "kind", "postgres", "taken", "dump", "database",
	    text(source->database), "host", text(source->host), "port", text(source->port), "user",
	    text(source->user));
	json_object_set_new(object, "dump", text(dump->dump));
	json_object_set_new(object, "roles", text(dump->roles));
	json_object_set_new(object, "time", wall_time(dump->taken_at));
	json_object_set_new(object, "bytes", count(dump->bytes));
	json_object_set_new(object, "tables", count(dump->tables));
	json_object_set_new(object, "largeObjects", count(dump->large_objects));
	json_object_set_new(object, "sha256", text(dump->sha256));
	json_object_set_new(object, "owner", text(dump->owner));
	json_object_set_new(object, "encoding", text(dump->encoding));
	json_object_set_new(object, "extensions", texts(dump->extensions));
	json_object_set_new(object, "server", json_integer(dump->server_version));
	json_object_set_new(object, "pg_dump", text(dump->client_version));
	return object;
}

static json_t *
data_json(struct job *job)
{
	const struct service *spec = &job->record.spec;
	const struct database_copy *copies = live_copies(job);
	const struct database_dump *dumps = dumps_of(job);
	json_t *array = json_array();
	for (size_t i = 0; spec->databases != NULL && spec->databases[i] != NULL; i++)
		json_array_append_new(array, database_json(job, spec->databases[i], &copies[i]));
	for (size_t i = 0; spec->postgres != NULL && spec->postgres[i] != NULL; i++)
		json_array_append_new(array, dump_json(&dumps[i]));
	for (size_t i = 0; spec->files != NULL && spec->files[i] != NULL; i++)
		json_array_append_new(array, file_json(spec->files[i]));
	return array;
}

/* ---- the whole ---- */

/* Not known of a job that an earlier program was given. */
static json_t *
manifest_json(const struct service *spec)
{
	if (spec->manifest_digest == NULL)
		return json_null();
	return json_pack("{s:o, s:s}", "path", text(spec->manifest_path), "sha256", spec->manifest_digest);
}

static json_t *
document(struct job *job)
{
	const struct service *spec = &job->record.spec;
	cleanup_error struct error unknown = {0};
	json_t *root = json_object();
	json_object_set_new(root, "version", json_integer(METADATA_VERSION));
	json_object_set_new(root, "host", text(spec->restic.host));
	json_object_set_new(root, "time", wall_time(clock_wall(engine_clock(job->engine))));
	json_object_set_new(root, "journal", json_string(journal_identity(engine_journal(job->engine))));
	json_object_set_new(root, "job", json_integer(job->record.id));
	json_object_set_new(root, "attempt", json_integer(job->record.attempt));
	json_object_set_new(root, "manifest", manifest_json(spec));
	json_object_set_new(root, "service", service_json(spec));
	json_object_set_new(root, "units", units_json(&work_of(job)->units));
	json_object_set_new(root, "data", data_json(job));
	json_object_set_new(root, "programs",
	    json_pack("{s:s, s:o, s:s}", "atelier-backup", ATELIER_VERSION, "restic",
		text(restic_version(spec->restic.program, &unknown)), "sqlite", sqlite3_libversion()));
	return root;
}

enum step_result
step_write_metadata(struct job *job, struct error *error)
{
	cleanup_free char *path = staging_path(job, METADATA_NAME);
	json_t *root = document(job);
	int written = json_dump_file(root, path, JSON_INDENT(1));
	json_decref(root);
	if (written == 0)
		return STEP_DONE;
	int number = errno;
	bool full = number == ENOSPC || number == EDQUOT;
	error_set(error, full ? ERROR_NO_SPACE : ERROR_SYSTEM, "cannot write %s: %s", path, strerror(number));
	if (full)
		error_hint(error, "make room on the file system of the state directory");
	return STEP_FAILED;
}
