/* What surrounds a service: its sources, databases, units and hooks. */
#include "adapters/filesystem.h"
#include "adapters/sqlite.h"
#include "cli/command.h"
#include "cli/postgres_inspection.h"
#include "cli/unit_inspection.h"
#include "core/alloc.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>

/* Where what is wrong with a service is to be corrected; `key` may be "". */
static char *
place_of(const struct service *service, const char *key)
{
	return service->own ? xstrdup("ownState") : xasprintf("services.%s%s", service->name, key);
}

static void
check_sources(const struct service *service, struct problem_list *problems)
{
	cleanup_strings char **sources = service_sources(service);
	cleanup_free char *place = place_of(service, "");
	cleanup_error struct error excluded = {.code = ERROR_NONE};
	if (service_check_excludes(service, &excluded) < 0)
		problem_add_error(problems, place, &excluded);
	for (size_t i = 0; sources != NULL && sources[i] != NULL; i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		if (filesystem_check_source(sources[i], &error) < 0)
			problem_add_error(problems, place, &error);
	}
}

static void
check_databases(const struct service *service, struct problem_list *problems)
{
	cleanup_free char *place = place_of(service, ".data.sqlite");
	for (size_t i = 0; service->databases != NULL && service->databases[i] != NULL; i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		const char *path = service->databases[i];
		if (sqlite_inspect(path, &error) < 0) {
			problem_add_error(problems, place, &error);
			continue;
		}
		/* Of the journal's users there is nothing to say. */
		cleanup_free char *holders = service->own ? NULL : sqlite_holders(path);
		if (holders != NULL)
			problem_add(
			    problems, PROBLEM_NOTE, ERROR_NONE, place, NULL, "%s is open in %s", path, holders);
	}
}

static void
check_postgres(const struct service *service, struct problem_list *problems)
{
	cleanup_free char *place = xasprintf("services.%s.data.postgres", service->name);
	for (size_t i = 0; service->postgres != NULL && service->postgres[i] != NULL; i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		struct postgres_finding finding;
		if (postgres_inspection(service->postgres[i], &finding, &error) < 0) {
			problem_add_error(problems, place, &error);
			continue;
		}
		cleanup_free char *client = finding.client;
		cleanup_free char *size = text_size(finding.bytes);
		problem_add(problems, PROBLEM_NOTE, ERROR_NONE, place, NULL, "%s: %s, server %lld, dumped by %s",
		    service->postgres[i], size, (long long)finding.server_version / 10000, client);
	}
}

static bool
is_blank(const char *command)
{
	return command[strspn(command, " \t\r\n")] == '\0';
}

static void
check_hook(const struct service *service, const char *kind, const char *command, struct problem_list *problems)
{
	if (command == NULL || !is_blank(command))
		return;
	cleanup_free char *place = xasprintf("services.%s.%s", service->name, kind);
	problem_add(problems, PROBLEM_ERROR, ERROR_MANIFEST, place, "write the command, or leave the key out",
	    "the command is empty");
}

/* ---- units ---- */

static void
judge_refusal(const struct unit *unit, const char *place, struct problem_list *problems)
{
	/* What is not active is not stopped; it may be active another night. */
	enum problem_severity severity = unit->active ? PROBLEM_ERROR : PROBLEM_WARNING;
	problem_add(problems, severity, ERROR_UNIT_UNSTOPPABLE, place, unit->remedy,
	    "it must not be stopped, it could not come back: %s", unit->refusal);
}

static void
judge_active_unit(const struct unit *unit, const char *place, struct problem_list *problems)
{
	if (!unit->settles)
		problem_add(problems, PROBLEM_WARNING, ERROR_NONE, place,
		    "see 'systemctl status' why it does not stay up", "it is being restarted again and again");
	switch (unit->role) {
	case UNIT_ROLE_TRIGGER:
		problem_add(problems, PROBLEM_NOTE, ERROR_NONE, place, NULL,
		    "is stopped too, because it would wake the service during the backup, and started again");
		break;
	case UNIT_ROLE_DEPENDANT:
		problem_add(problems, PROBLEM_NOTE, ERROR_NONE, place, NULL,
		    "depends on a unit that is stopped: systemd stops it too, and it is started again");
		break;
	case UNIT_ROLE_MAIN:
		break;
	}
}

static void
judge_unit(const struct service *service, const struct unit *unit, struct problem_list *problems)
{
	cleanup_free char *place = xasprintf("services.%s: unit %s", service->name, unit->name);
	if (unit->missing)
		problem_add(problems, PROBLEM_ERROR, ERROR_UNIT_MISSING, place,
		    "name the right ones in stopUnits, or set stopForBackup to false", "there is no such unit");
	else if (unit->refusal != NULL)
		judge_refusal(unit, place, problems);
	else if (unit->active)
		judge_active_unit(unit, place, problems);
	else if (unit->role == UNIT_ROLE_MAIN)
		problem_add(problems, PROBLEM_NOTE, ERROR_NONE, place, NULL,
		    "is not running now: a backup would not start it");
}

static void
check_units(const struct service *service, struct problem_list *problems)
{
	cleanup_error struct error error = {0};
	cleanup_units struct unit_list units = {0};
	if (strings_count(service->stop_units) == 0)
		return;
	if (unit_inspection(service->stop_units, &units, &error) < 0) {
		cleanup_free char *place = xasprintf("services.%s.stopUnits", service->name);
		problem_add_error(problems, place, &error);
		return;
	}
	for (size_t i = 0; i < units.count; i++)
		judge_unit(service, &units.items[i], problems);
}

void
cli_check_service(const struct service *service, struct problem_list *problems)
{
	/* The first job makes the journal. */
	if (service->own && access(service->databases[0], F_OK) < 0 && errno == ENOENT)
		return;
	check_sources(service, problems);
	check_databases(service, problems);
	check_postgres(service, problems);
	check_hook(service, "preBackup", service->pre_backup, problems);
	check_hook(service, "postBackup", service->post_backup, problems);
	check_units(service, problems);
}
