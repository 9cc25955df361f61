#include "adapters/systemd_internal.h"

#include "core/alloc.h"
#include "core/text.h"

#include <string.h>

void
unit_clear(struct unit *unit)
{
	free(unit->name);
	free(unit->invocation_id);
	free(unit->refusal);
	free(unit->remedy);
	*unit = (struct unit){0};
}

void
unit_copy(struct unit *target, const struct unit *source)
{
	struct unit copy = *source;
	copy.name = xstrdup(source->name);
	copy.invocation_id = xstrdup(source->invocation_id == NULL ? "" : source->invocation_id);
	copy.refusal = xstrdup_null(source->refusal);
	copy.remedy = xstrdup_null(source->remedy);
	*target = copy;
}

void
unit_list_clear(struct unit_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		unit_clear(&list->items[i]);
	free(list->items);
	*list = (struct unit_list){0};
}

void
unit_list_add(struct unit_list *list, const struct unit *unit)
{
	struct unit copy;
	unit_copy(&copy, unit);
	list->items = xreallocarray(list->items, list->count + 1, sizeof(*list->items));
	list->items[list->count++] = copy;
}

const struct unit *
unit_list_find(const struct unit_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	return NULL;
}

bool
unit_name_is_template(const char *name)
{
	const char *at = strchr(name, '@');
	return at != NULL && at[1] == '.';
}

bool
unit_name_wakes(const char *name)
{
	return text_ends_with(name, ".socket") || text_ends_with(name, ".timer") || text_ends_with(name, ".path") ||
	       text_ends_with(name, ".automount");
}

enum field_kind {
	FIELD_STRING,
	FIELD_BOOL,
	FIELD_NUMBER,
	FIELD_STATUS,
	FIELD_NAMES,
	FIELD_ACTIVITY,
	FIELD_INVOCATION,
	FIELD_JOB,
};

static const char *const field_types[] = {
    [FIELD_STRING] = "s",
    [FIELD_BOOL] = "b",
    [FIELD_NUMBER] = "t",
    [FIELD_STATUS] = "i",
    [FIELD_NAMES] = "as",
    [FIELD_ACTIVITY] = "s",
    [FIELD_INVOCATION] = "ay",
    [FIELD_JOB] = "(uo)",
};

static const struct field {
	const char *property;
	enum field_kind kind;
	size_t offset;
} fields[] = {
#define FIELD(property, kind, member) {property, FIELD_##kind, offsetof(struct unit_reading, member)}
    FIELD("Id", STRING, id),
    FIELD("ActiveState", ACTIVITY, activity),
    FIELD("SubState", STRING, sub_state),
    FIELD("LoadState", STRING, load_state),
    FIELD("UnitFileState", STRING, unit_file_state),
    FIELD("FreezerState", STRING, freezer_state),
    FIELD("InvocationID", INVOCATION, invocation_id),
    FIELD("Type", STRING, type),
    FIELD("Result", STRING, result),
    FIELD("ExecMainStatus", STATUS, main_status),
    FIELD("Job", JOB, job),
    FIELD("Transient", BOOL, transient),
    FIELD("CanStart", BOOL, can_start),
    FIELD("CanStop", BOOL, can_stop),
    FIELD("RemainAfterExit", BOOL, remains),
    FIELD("ConditionResult", BOOL, condition_met),
    FIELD("ConditionTimestampMonotonic", NUMBER, condition_time),
    /* Services and scopes have the first, sockets and mounts the second. */
    FIELD("TimeoutStopUSec", NUMBER, stop_timeout),
    FIELD("TimeoutUSec", NUMBER, stop_timeout),
    /* The five kinds of dependency along which systemd propagates a stop. */
    FIELD("RequiredBy", NAMES, falls),
    FIELD("RequisiteOf", NAMES, falls),
    FIELD("BoundBy", NAMES, falls),
    FIELD("ConsistsOf", NAMES, falls),
    FIELD("PropagatesStopTo", NAMES, falls),
    FIELD("Triggers", NAMES, triggers),
    FIELD("TriggeredBy", NAMES, triggered_by),
    FIELD("UpheldBy", NAMES, upheld_by),
#undef FIELD
};

static const char *const activity_words[] = {
#define X(name, word) [UNIT_ACTIVITY_##name] = word,
    UNIT_ACTIVITY_LIST(X)
#undef X
};

static enum unit_activity
activity_from_word(const char *word)
{
	for (size_t i = 0; i < ARRAY_LENGTH(activity_words); i++)
		if (strcmp(activity_words[i], word) == 0)
			return (enum unit_activity)i;
	return UNIT_ACTIVITY_UNKNOWN;
}

void
unit_reading_clear(struct unit_reading *reading)
{
	free(reading->id);
	free(reading->sub_state);
	free(reading->load_state);
	free(reading->unit_file_state);
	free(reading->freezer_state);
	free(reading->invocation_id);
	free(reading->type);
	free(reading->result);
	free(reading->job_path);
	strings_free(reading->falls);
	strings_free(reading->triggers);
	strings_free(reading->triggered_by);
	strings_free(reading->upheld_by);
	*reading = (struct unit_reading){0};
}

static int
parse_names(sd_bus_message *message, char ***list)
{
	int r = sd_bus_message_enter_container(message, 'a', "s");
	const char *name;
	while (r >= 0 && (r = sd_bus_message_read_basic(message, 's', &name)) > 0)
		if (!strings_contain(*list, name))
			strings_add(list, name);
	return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int
parse_invocation(sd_bus_message *message, char **ret_hex)
{
	const void *bytes;
	size_t length;
	int r = sd_bus_message_read_array(message, 'y', &bytes, &length);
	if (r < 0)
		return r;
	cleanup_text struct text hex = {0};
	text_add(&hex, "");
	for (size_t i = 0; i < length; i++)
		text_printf(&hex, "%02x", ((const unsigned char *)bytes)[i]);
	*ret_hex = text_take(&hex);
	return 0;
}

static int
parse_value(sd_bus_message *message, const struct field *field, struct unit_reading *reading)
{
	void *target = (char *)reading + field->offset;
	const char *word;
	int flag;
	int r = 0;

	switch (field->kind) {
	case FIELD_STRING:
		if ((r = sd_bus_message_read_basic(message, 's', &word)) >= 0)
			replace_string(target, word);
		break;
	case FIELD_ACTIVITY:
		if ((r = sd_bus_message_read_basic(message, 's', &word)) >= 0)
			reading->activity = activity_from_word(word);
		break;
	case FIELD_BOOL:
		if ((r = sd_bus_message_read_basic(message, 'b', &flag)) >= 0)
			*(bool *)target = flag != 0;
		break;
	case FIELD_NUMBER:
		r = sd_bus_message_read_basic(message, 't', target);
		break;
	case FIELD_STATUS:
		r = sd_bus_message_read_basic(message, 'i', target);
		break;
	case FIELD_NAMES:
		r = parse_names(message, target);
		break;
	case FIELD_INVOCATION:
		free(reading->invocation_id);
		reading->invocation_id = NULL;
		r = parse_invocation(message, &reading->invocation_id);
		break;
	case FIELD_JOB:
		if ((r = sd_bus_message_read(message, "(uo)", &reading->job, &word)) >= 0)
			replace_string(&reading->job_path, word);
		break;
	}
	return r;
}

static const struct field *
field_of(const char *property)
{
	for (size_t i = 0; i < ARRAY_LENGTH(fields); i++)
		if (strcmp(fields[i].property, property) == 0)
			return &fields[i];
	return NULL;
}

static int
parse_property(sd_bus_message *message, struct unit_reading *reading)
{
	const char *property;
	const char *contents;
	int r = sd_bus_message_read_basic(message, 's', &property);
	if (r < 0)
		return r;
	const struct field *field = field_of(property);
	if (field == NULL)
		return sd_bus_message_skip(message, "v");
	if ((r = sd_bus_message_peek_type(message, NULL, &contents)) < 0)
		return r;
	if (strcmp(contents, field_types[field->kind]) != 0)
		return sd_bus_message_skip(message, "v");
	if ((r = sd_bus_message_enter_container(message, 'v', contents)) < 0)
		return r;
	if ((r = parse_value(message, field, reading)) < 0)
		return r;
	return sd_bus_message_exit_container(message);
}

int
unit_reading_parse(sd_bus_message *message, struct unit_reading *ret_reading)
{
	cleanup_reading struct unit_reading reading = {0};
	int r = sd_bus_message_enter_container(message, 'a', "{sv}");
	if (r < 0)
		return -1;
	while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
		if (parse_property(message, &reading) < 0 || sd_bus_message_exit_container(message) < 0)
			return -1;
	}
	if (r < 0 || sd_bus_message_exit_container(message) < 0)
		return -1;
	unit_reading_clear(ret_reading);
	*ret_reading = reading;
	reading = (struct unit_reading){0};
	return 0;
}

bool
unit_reading_is_up(const struct unit_reading *reading)
{
	return reading->activity == UNIT_ACTIVITY_ACTIVE || reading->activity == UNIT_ACTIVITY_ACTIVATING ||
	       reading->activity == UNIT_ACTIVITY_RELOADING || reading->activity == UNIT_ACTIVITY_REFRESHING;
}

bool
unit_reading_is_down(const struct unit_reading *reading)
{
	return reading->activity == UNIT_ACTIVITY_INACTIVE || reading->activity == UNIT_ACTIVITY_FAILED;
}

bool
unit_reading_is_crash_looping(const struct unit_reading *reading)
{
	return reading->activity == UNIT_ACTIVITY_ACTIVATING && reading->sub_state != NULL &&
	       text_starts_with(reading->sub_state, "auto-restart");
}

void
unit_refuse(struct unit *unit, const char *remedy, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *refusal = xvasprintf(format, arguments);
	va_end(arguments);
	free(unit->refusal);
	unit->refusal = refusal;
	replace_string(&unit->remedy, remedy);
}

static bool
word_is(const char *word, const char *expected)
{
	return word != NULL && strcmp(word, expected) == 0;
}

/* The unit file decides only once systemd reloads it: until then a masked or deleted one still says
 * CanStart=yes. */
static bool
unit_file_is_lost(const struct unit_reading *reading)
{
	return word_is(reading->unit_file_state, "bad") || word_is(reading->unit_file_state, "masked") ||
	       word_is(reading->unit_file_state, "masked-runtime");
}

void
unit_judge(struct unit *unit, const struct unit_reading *reading)
{
	const char *load_state = reading->load_state == NULL ? "unknown" : reading->load_state;
	bool found = strcmp(load_state, "not-found") != 0;

	if (!found && !unit->active) {
		unit->missing = true;
		unit_refuse(unit, "correct the name, or install the unit", "there is no such unit");
	} else if (!found) {
		unit_refuse(unit, "put its unit file back and run systemctl daemon-reload",
		    "its unit file is gone, so it could not be started again");
	} else if (!unit->active) {
		/* It is not going to be stopped, so nothing has to come back. */
	} else if (strcmp(load_state, "masked") == 0) {
		unit_refuse(unit, "run systemctl unmask for it", "it is masked, so it could not be started again");
	} else if (strcmp(load_state, "loaded") != 0) {
		unit_refuse(unit, "correct its unit file and run systemctl daemon-reload",
		    "systemd could not load its unit file (%s), so it could not be started again", load_state);
	} else if (reading->transient) {
		unit_refuse(unit, "write a unit file for it",
		    "it is transient (systemd-run or the like): it would be gone after the stop");
	} else if (unit_file_is_lost(reading)) {
		unit_refuse(unit, "unmask it or put its unit file back, and run systemctl daemon-reload",
		    "its unit file is masked or gone (%s), so it could not be started again",
		    reading->unit_file_state);
	} else if (!reading->can_start) {
		unit_refuse(unit, "remove RefuseManualStart= from it",
		    "systemd would refuse to start it again (RefuseManualStart= or CanStart=no)");
	} else if (!reading->can_stop && unit->role != UNIT_ROLE_DEPENDANT) {
		unit_refuse(unit, "remove RefuseManualStop= from it",
		    "systemd refuses to stop it (RefuseManualStop= or CanStop=no)");
	} else if (reading->freezer_state != NULL && strcmp(reading->freezer_state, "running") != 0) {
		unit_refuse(unit, "run systemctl thaw for it", "it is frozen, so systemd cannot stop it");
	}
}
