#include "jobs/manifest_internal.h"

#include "core/alloc.h"
#include "core/file.h"

#include <string.h>

static void
release_draft(struct service_draft *draft)
{
	manifest_release(manifest_service_keys, draft);
}

static void
judge_name(struct manifest_reader *reader, const char *name)
{
	const char *fault = manifest_service_fault(name);
	if (fault != NULL)
		manifest_refuse(reader,
		    "name the service as its unit without the suffix: letters, digits and \":_.@-\", at most "
		    "200",
		    "the name of the service %s", fault);
	else if (strcmp(name, SERVICE_OWN_NAME) == 0)
		manifest_refuse(reader, "give it another name; what is backed up under this one: docs/manifest.md",
		    "the name is taken: the built-in service that backs up the journal and the manifest has it");
}

/* ---- what is backed up ---- */

static const char *
type_of(const struct service *service)
{
	const struct {
		bool declared;
		const char *word;
	} kinds[] = {
	    {strings_count(service->databases) > 0, "sqlite"},
	    {strings_count(service->postgres) > 0, "postgres"},
	    {strings_count(service->files) > 0, "files"},
	};
	const char *type = NULL;
	if (service->manual)
		return "manual";
	for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++)
		if (kinds[i].declared)
			type = type == NULL ? kinds[i].word : "mixed";
	return type == NULL ? "files" : type;
}

static void
judge_databases(struct manifest_reader *reader, const struct service *service)
{
	size_t data = manifest_enter(reader, "data");
	size_t sqlite = manifest_enter(reader, "sqlite");
	for (size_t i = 0; service->databases != NULL && service->databases[i] != NULL; i++) {
		const char *path = service->databases[i];
		if (strrchr(path, '/') == path)
			manifest_refuse(reader, "move the database into a directory of its own",
			    "'%s' lies in the root directory, and all of that would be backed up", path);
		else if (service->data_directory != NULL && !path_is_below(path, service->data_directory))
			manifest_warn(reader, "correct the one that is wrong; if neither is, leave dataDir out",
			    "'%s' is not below dataDir, %s", path, service->data_directory);
	}
	manifest_leave(reader, sqlite);
	manifest_leave(reader, data);
}

static void
resolve_excludes(struct service_draft *draft, struct service *service)
{
	static char log[] = "*.log", modules[] = "node_modules", git[] = ".git", cache[] = "cache", tmp[] = "tmp";
	static char *const defaults[] = {log, modules, git, NULL};
	static char *const defaults_of_mk_service[] = {log, modules, git, cache, tmp, NULL};

	service->excludes = strings_copy(draft->mk_service == ANSWER_YES ? defaults_of_mk_service : defaults);
	strings_move(&service->excludes, &draft->data.excludes);
	strings_move(&service->excludes, &draft->excludes);
}

static void
resolve_data(struct manifest_reader *reader, struct service_draft *draft, struct service *service)
{
	service->data_directory = take_pointer(draft->data_directory);
	service->databases = take_pointer(draft->data.sqlite);
	service->postgres = take_pointer(draft->data.postgres);
	service->files = take_pointer(draft->data.files);
	strings_move(&service->files, &draft->paths);
	service->manual = draft->manual == ANSWER_YES;
	service->type = xstrdup(type_of(service));
	resolve_excludes(draft, service);
	judge_databases(reader, service);
}

static bool
declares_something(const struct service *service)
{
	return strings_count(service->databases) > 0 || strings_count(service->postgres) > 0 ||
	       strings_count(service->files) > 0;
}

/* ---- what is stopped ---- */

static void
add_default_unit(struct manifest_reader *reader, struct service *service)
{
	cleanup_free char *unit = xasprintf("%s.service", service->name);
	const char *fault = manifest_unit_fault(unit);
	/* A bad name was refused as such. */
	if (fault != NULL && manifest_service_fault(service->name) == NULL)
		manifest_refuse(reader, "name the units in \"stopUnits\" (version 2)",
		    "'%s', which would be stopped, %s", unit, fault);
	strings_add(&service->stop_units, unit);
}

static void
resolve_stop(struct manifest_reader *reader, struct service_draft *draft, struct service *service)
{
	bool units_named = strings_count(draft->stop_units) > 0;
	if (draft->stop_for_backup == ANSWER_NONE)
		service->stop_for_backup = strings_count(service->databases) > 0 || units_named;
	else
		service->stop_for_backup = draft->stop_for_backup == ANSWER_YES;

	if (service->stop_for_backup && draft->stop_units == NULL)
		add_default_unit(reader, service);
	else if (service->stop_for_backup)
		service->stop_units = take_pointer(draft->stop_units);
	else if (units_named)
		manifest_warn(reader, "take one of the two out",
		    "\"stopForBackup\" is false, so that the units in \"stopUnits\" are not stopped");
}

/* Who writes that preBackup stops the service, and no preBackup, has forgotten something; the databases are safe all
 * the same. */
static void
judge_stop(struct manifest_reader *reader, struct service *service)
{
	bool nothing_stops_it = strings_count(service->stop_units) == 0 && service->pre_backup == NULL;
	if (!service->stop_for_backup || !nothing_stops_it || strings_count(service->databases) == 0)
		return;
	service->stop_for_backup = false;
	size_t mark = manifest_enter(reader, "stopUnits");
	manifest_warn(reader,
	    "write \"stopForBackup\": false if that is right, or name the units that are to be stopped",
	    "nothing stops the service: its databases are copied while they are in use");
	manifest_leave(reader, mark);
}

/* The option type `lines` of a Nix module writes "" for nothing. */
static char *
take_shell_text(char **shell)
{
	if (*shell != NULL && (*shell)[strspn(*shell, " \t\n")] == '\0')
		return NULL;
	return take_pointer(*shell);
}

void
manifest_read_service(struct manifest_reader *reader, const struct service *defaults, const char *name, json_t *entry,
    struct service *ret_service)
{
	__attribute__((cleanup(release_draft))) struct service_draft draft = {
	    .overdue_after = defaults->overdue_after,
	    .max_shrink = defaults->max_shrink,
	    .deadlines = defaults->deadlines,
	    .retention = {.policy = defaults->retention, .keep_all = defaults->keep_all},
	};
	size_t failures = reader->failures;
	judge_name(reader, name);
	if (json_is_object(entry))
		manifest_read_object(reader, entry, manifest_service_keys, &draft);
	else
		manifest_refuse_type(reader, name, MANIFEST_OBJECT, entry);

	struct service service = *defaults;
	service.name = xstrdup(name);
	service.tags = take_pointer(draft.tags);
	service.pre_backup = take_shell_text(&draft.pre_backup);
	service.post_backup = take_shell_text(&draft.post_backup);
	service.overdue_after = draft.overdue_after;
	service.max_shrink = draft.max_shrink;
	service.deadlines = draft.deadlines;
	service.retention = draft.retention.policy;
	service.keep_all = draft.retention.keep_all;
	resolve_data(reader, &draft, &service);
	resolve_stop(reader, &draft, &service);
	/* What was refused above may be what is missed here. */
	if (reader->failures == failures)
		judge_stop(reader, &service);
	if (reader->failures == failures && !declares_something(&service))
		manifest_refuse(reader, "name its data in \"data\" or \"paths\", or take the service out",
		    "the service declares nothing to back up");
	*ret_service = service;
}
