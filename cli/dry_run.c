#include "cli/dry_run.h"

#include "cli/json_output.h"
#include "cli/problems.h"
#include "cli/unit_inspection.h"
#include "core/alloc.h"
#include "core/text.h"

/* One thing a backup would do, in its order. */
struct action {
	const char *verb;
	char *object;
};

struct plan {
	const struct service *service;
	struct action *actions;
	size_t count;
};

static void
plan_add(struct plan *plan, const char *verb, const char *object)
{
	plan->actions = xreallocarray(plan->actions, plan->count + 1, sizeof(*plan->actions));
	plan->actions[plan->count++] = (struct action){.verb = verb, .object = text_printable(object)};
}

static void
plan_release(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		free(plan->actions[i].object);
	free(plan->actions);
}

static void
plan_each(struct plan *plan, const char *verb, char *const *objects)
{
	for (size_t i = 0; objects != NULL && objects[i] != NULL; i++)
		plan_add(plan, verb, objects[i]);
}

/* In the order of the real thing: triggers go down first; sockets, services, then timers come back. */
static void
plan_units(struct plan *plan, const char *verb, const struct unit_list *units, bool triggers_first)
{
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < units->count; i++) {
			const struct unit *unit = &units->items[i];
			bool is_trigger = unit->role == UNIT_ROLE_TRIGGER &&
					  (triggers_first || !text_ends_with(unit->name, ".socket"));
			if (unit->active && is_trigger == (triggers_first == (pass == 0)))
				plan_add(plan, verb, unit->name);
		}
}

static void
make_plan(struct plan *plan)
{
	const struct service *service = plan->service;
	cleanup_strings char **sources = service_sources(service);
	cleanup_units struct unit_list units = {0};
	if (service->pre_backup != NULL)
		plan_add(plan, "run preBackup", service->pre_backup);
	/* Units that cannot be asked for are among the problems. */
	if (strings_count(service->stop_units) > 0 && unit_inspection(service->stop_units, &units, NULL) == 0)
		plan_units(plan, "stop", &units, true);
	if (strings_count(service->stop_units) > 0 || service->pre_backup != NULL)
		plan_each(plan, "fold the WAL into", service->databases);
	plan_each(plan, "save", sources);
	plan_each(plan, "leave out", service->excludes);
	plan_units(plan, "start", &units, false);
	if (service->post_backup != NULL)
		plan_add(plan, "run postBackup", service->post_backup);
	cleanup_strings char **tags = service_tags(service);
	plan_each(plan, "tag the snapshot", tags);
}

static json_t *
plan_json(const struct plan *plan)
{
	json_t *actions = json_array();
	for (size_t i = 0; i < plan->count; i++) {
		json_t *action = json_object();
		json_object_set_new(action, "do", json_string(plan->actions[i].verb));
		json_object_set_new(action, "what", json_output_text(plan->actions[i].object));
		json_array_append_new(actions, action);
	}
	json_t *document = json_object();
	json_object_set_new(document, "service", json_output_text(plan->service->name));
	json_object_set_new(document, "actions", actions);
	return document;
}

static void
plan_print(const struct plan *plan)
{
	printf("%s would\n", plan->service->name);
	for (size_t i = 0; i < plan->count; i++)
		printf("  %-18s %s\n", plan->actions[i].verb, plan->actions[i].object);
}

enum exit_code
dry_run(const struct invocation *invocation, const struct service *const *services, size_t count)
{
	cleanup_problems struct problem_list problems = {0};
	json_t *plans = json_array();
	for (size_t i = 0; i < count; i++) {
		struct plan plan = {.service = services[i]};
		make_plan(&plan);
		cli_check_service(services[i], &problems);
		if (invocation->json)
			json_array_append_new(plans, plan_json(&plan));
		else
			plan_print(&plan);
		plan_release(&plan);
	}
	problems_sort(&problems);
	if (invocation->json) {
		json_t *document = json_output_new();
		json_object_set(document, "plans", plans);
		json_object_set_new(document, "problems", json_output_problems(&problems));
		json_output_print(document);
	} else if (problems.count > 0) {
		fflush(stdout);
		problems_print(&problems, stderr);
	}
	json_decref(plans);
	return problem_count(&problems, PROBLEM_ERROR) > 0 ? CODE_FAILED : CODE_COMPLETE;
}
