#include "jobs/manifest_internal.h"

#include "core/alloc.h"
#include "core/nearest.h"
#include "core/clock.h"

#include <assert.h>
#include <string.h>

/* Nobody reads more of one severity at once, and a hostile file could cause millions. */
#define LISTED_LIMIT 200

/* Lists grow by copying; a service has a handful of entries. */
#define LIST_LIMIT 1000

/* How much of a text from the file is repeated in a message: "%.*s" with SHOWN, text. */
#define SHOWN 80

/* The same for a key in a place. */
#define LONGEST_SHOWN_KEY 200

typedef void read_fn(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target);
typedef const char *fault_fn(const char *string);

/* How the values of a type are read. */
struct type_reader {
	read_fn *read;
	fault_fn *fault;    /* of a text, or of each text of a list */
	const char *remedy; /* for that fault */
	bool alone, list;   /* whether what becomes a list may be written as one text, and as a list */
};

/* ---- the place, and problems there ---- */

static size_t
enter(struct manifest_reader *reader, struct manifest_step step)
{
	assert(reader->depth < MANIFEST_DEEPEST);
	reader->steps[reader->depth] = step;
	return reader->depth++;
}

size_t
manifest_enter(struct manifest_reader *reader, const char *key)
{
	return enter(reader, (struct manifest_step){.key = key});
}

size_t
manifest_enter_item(struct manifest_reader *reader, size_t index)
{
	return enter(reader, (struct manifest_step){.index = index});
}

void
manifest_leave(struct manifest_reader *reader, size_t mark)
{
	reader->depth = mark;
}

/* "services.web.data.sqlite[1]" */
static char *
words_of_steps(const struct manifest_reader *reader)
{
	struct text words = {.string = NULL};
	for (size_t i = 0; i < reader->depth; i++) {
		const struct manifest_step *step = &reader->steps[i];
		if (step->key == NULL) {
			text_printf(&words, "[%zu]", step->index);
			continue;
		}
		if (words.length > 0)
			text_add(&words, ".");
		text_add_bytes(&words, step->key, strnlen(step->key, LONGEST_SHOWN_KEY));
	}
	return text_take(&words);
}

static void __attribute__((format(printf, 4, 0)))
note(struct manifest_reader *reader, enum problem_severity severity, const char *remedy, const char *format,
    va_list arguments)
{
	if (reader->listed[severity] == LISTED_LIMIT) {
		reader->left_out++;
		return;
	}
	reader->listed[severity]++;
	cleanup_free char *message = xvasprintf(format, arguments);
	cleanup_free char *steps = words_of_steps(reader);
	cleanup_free char *place = *steps == '\0' ? xstrdup(reader->path) : xasprintf("%s: %s", reader->path, steps);
	problem_add(reader->problems, severity, ERROR_MANIFEST, place, remedy, "%s", message);
}

void
manifest_refuse(struct manifest_reader *reader, const char *remedy, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	note(reader, PROBLEM_ERROR, remedy, format, arguments);
	va_end(arguments);
	reader->failures++;
}

void
manifest_warn(struct manifest_reader *reader, const char *remedy, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	note(reader, PROBLEM_WARNING, remedy, format, arguments);
	va_end(arguments);
}

static const char *
words_of_json(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a whole number";
	case JSON_REAL:
		return "a number with a fraction";
	case JSON_TRUE:
		return "true";
	case JSON_FALSE:
		return "false";
	case JSON_NULL:
		return "null";
	}
	return "something else";
}

/* ---- single values ---- */

static void
read_answer(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	if (json_is_boolean(value))
		*(enum answer *)target = json_is_true(value) ? ANSWER_YES : ANSWER_NO;
	else
		manifest_refuse_type(reader, key->name, key->type, value);
}

static void
read_version(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	if (!json_is_integer(value)) {
		manifest_refuse_type(reader, key->name, key->type, value);
		reader->version = MANIFEST_NEWEST_VERSION;
		return;
	}
	json_int_t version = json_integer_value(value);
	if (version < 1 || version > MANIFEST_NEWEST_VERSION) {
		manifest_refuse(reader, "use a newer atelier-backup, or write version 2 (docs/manifest.md)",
		    "version %" JSON_INTEGER_FORMAT " of the format is not known; 1 and 2 are", version);
		reader->version = 0;
		return;
	}
	reader->version = (int)version;
	*(int64_t *)target = version;
}

static void
read_number(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	if (!json_is_integer(value)) {
		manifest_refuse_type(reader, key->name, key->type, value);
		return;
	}
	int64_t number = json_integer_value(value);
	if (number >= key->lowest && number <= key->highest) {
		*(int64_t *)target = number;
		return;
	}
	cleanup_free char *remedy =
	    xasprintf("write a number from %lld to %lld", (long long)key->lowest, (long long)key->highest);
	manifest_refuse(reader, remedy, "%lld is out of range", (long long)number);
}

/* Returns false for what is no duration. */
static bool
duration_of(const json_t *value, int64_t *ret_microseconds)
{
	if (json_is_string(value))
		return text_parse_duration(json_string_value(value), ret_microseconds);
	int64_t seconds = json_integer_value(value);
	return seconds >= 0 && !__builtin_mul_overflow(seconds, USEC_PER_SEC, ret_microseconds);
}

/* In the notation of the key's type. */
static void
refuse_range(struct manifest_reader *reader, const struct manifest_key *key, int64_t number, char *words(int64_t))
{
	cleanup_free char *found = words(number);
	cleanup_free char *lowest = words(key->lowest);
	cleanup_free char *highest = words(key->highest);
	cleanup_free char *remedy =
	    xasprintf("write a %s from %s to %s", key->type == MANIFEST_SIZE ? "size" : "duration", lowest, highest);
	manifest_refuse(reader, remedy, "%s is out of range", found);
}

static void
read_duration(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	if (!json_is_string(value) && !json_is_integer(value)) {
		manifest_refuse_type(reader, key->name, key->type, value);
		return;
	}
	int64_t microseconds;
	if (!duration_of(value, &microseconds)) {
		cleanup_free char *written = json_dumps(value, JSON_ENCODE_ANY);
		manifest_refuse(reader, "write whole seconds, or a text such as \"90s\", \"5m\", \"1h30m\" or \"2d\"",
		    "%.*s is no duration", SHOWN, written);
		return;
	}
	if (microseconds >= key->lowest && microseconds <= key->highest)
		*(int64_t *)target = microseconds;
	else
		refuse_range(reader, key, microseconds, text_duration);
}

static void
read_interval(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	if (json_is_string(value) && strcmp(json_string_value(value), "never") == 0)
		*(int64_t *)target = 0;
	else
		read_duration(reader, key, value, target);
}

static char *
words_of_size(int64_t bytes)
{
	return text_size((uint64_t)bytes);
}

static void
read_size(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	int64_t bytes = json_integer_value(value);
	if (!json_is_string(value) && !json_is_integer(value)) {
		manifest_refuse_type(reader, key->name, key->type, value);
		return;
	}
	if (bytes < 0 || (json_is_string(value) && !text_parse_size(json_string_value(value), &bytes))) {
		cleanup_free char *written = json_dumps(value, JSON_ENCODE_ANY);
		manifest_refuse(reader, "write whole bytes, or a text such as \"512MiB\" or \"2GiB\"",
		    "%.*s is no size", SHOWN, written);
		return;
	}
	if (bytes >= key->lowest && bytes <= key->highest)
		*(int64_t *)target = bytes;
	else
		refuse_range(reader, key, bytes, words_of_size);
}

static void
read_time(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	if (!json_is_string(value))
		manifest_refuse_type(reader, key->name, key->type, value);
	else if (!manifest_parse_time(json_string_value(value), target))
		manifest_refuse(reader, "write it with two digits each, from \"00:00\" to \"23:59\"",
		    "'%.*s' is no time of day", SHOWN, json_string_value(value));
}

static void
read_io_class(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	static const struct {
		const char *word;
		int64_t number; /* as in ioprio_set(2) */
	} classes[] = {{"none", 0}, {"best-effort", 2}, {"idle", 3}};

	if (!json_is_string(value)) {
		manifest_refuse_type(reader, key->name, key->type, value);
		return;
	}
	const char *word = json_string_value(value);
	for (size_t i = 0; i < ARRAY_LENGTH(classes); i++) {
		if (strcmp(word, classes[i].word) == 0) {
			*(int64_t *)target = classes[i].number;
			return;
		}
	}
	manifest_refuse(reader, "write \"none\", \"best-effort\" or \"idle\"", "'%.*s' is no I/O class", SHOWN, word);
}

static void
read_json(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	if (json_is_object(value))
		*(json_t **)target = value;
	else
		manifest_refuse_type(reader, key->name, key->type, value);
}

static void
read_nested(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	if (json_is_object(value))
		manifest_read_object(reader, value, key->keys, target);
	else
		manifest_refuse_type(reader, key->name, key->type, value);
}

/* An object takes "keep-all" of the top level back; what it leaves out stays as it was there. */
static void
read_retention(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	struct retention_draft *retention = target;
	if (json_is_string(value) && strcmp(json_string_value(value), "keep-all") == 0) {
		retention->keep_all = true;
		return;
	}
	if (!json_is_object(value)) {
		manifest_refuse_type(reader, key->name, key->type, value);
		return;
	}
	retention->keep_all = false;
	manifest_read_object(reader, value, key->keys, target);
	if (!retention_policy_keeps_something(&retention->policy))
		manifest_refuse(reader, "write a number above 0 for one of them, or \"keep-all\" to remove nothing",
		    "it keeps nothing: every number is 0");
}

/* ---- texts and lists of texts ---- */

static read_fn read_text, read_list, read_port;

#define PATH_REMEDY "write the path from the root on, as in \"/var/lib/web\""

static const struct type_reader type_readers[] = {
    [MANIFEST_OBJECT] = {.read = read_nested},
    [MANIFEST_SERVICES] = {.read = read_json},
    [MANIFEST_VERSION] = {.read = read_version},
    [MANIFEST_SWITCH] = {.read = read_answer},
    [MANIFEST_NUMBER] = {.read = read_number},
    [MANIFEST_DURATION] = {.read = read_duration},
    [MANIFEST_INTERVAL] = {.read = read_interval},
    [MANIFEST_SIZE] = {.read = read_size},
    [MANIFEST_RETENTION] = {.read = read_retention},
    [MANIFEST_TIME] = {.read = read_time},
    [MANIFEST_IO_CLASS] = {.read = read_io_class},
    [MANIFEST_HOST] = {.read = read_text,
	.fault = manifest_host_fault,
	.remedy = "write the machine's name: letters, digits, '.', '_', '-'"},
    [MANIFEST_GROUP] = {.read = read_text,
	.fault = manifest_group_fault,
	.remedy = "write a group's name: letters, digits, '.', '_', '-'"},
    [MANIFEST_PROGRAM] = {.read = read_text,
	.fault = manifest_program_fault,
	.remedy = "write \"restic\" or an absolute path"},
    [MANIFEST_SHELL] = {.read = read_text,
	.fault = manifest_shell_fault,
	.remedy = "write printable text; lines and tabs are fine"},
    [MANIFEST_PATH] = {.read = read_text, .fault = manifest_path_fault, .remedy = PATH_REMEDY},
    [MANIFEST_ONE_PATH] = {.read = read_list, .fault = manifest_path_fault, .remedy = PATH_REMEDY, .alone = true},
    [MANIFEST_PATHS] =
	{.read = read_list, .fault = manifest_path_fault, .remedy = PATH_REMEDY, .alone = true, .list = true},
    [MANIFEST_NAMES] = {.read = manifest_read_databases,
	.fault = manifest_word_fault,
	.remedy = "write the database's name"},
    [MANIFEST_DATABASES] = {.read = manifest_read_databases,
	.fault = manifest_word_fault,
	.remedy = "write the database's name"},
    [MANIFEST_NAME] = {.read = read_text,
	.fault = manifest_word_fault,
	.remedy = "write the name, or leave the key out"},
    [MANIFEST_SERVER] = {.read = read_text,
	.fault = manifest_server_fault,
	.remedy = "write a host's name or address, or the directory of a socket, as in \"/run/postgresql\""},
    [MANIFEST_PORT] = {.read = read_port, .fault = manifest_port_fault, .remedy = "write a number from 1 to 65535"},
    [MANIFEST_PATTERNS] = {.read = read_list,
	.fault = manifest_word_fault,
	.remedy = "write a pattern, or take it out",
	.list = true},
    [MANIFEST_TAGS] = {.read = read_list,
	.fault = manifest_tag_fault,
	.remedy = "write another tag, or take it out",
	.list = true},
    [MANIFEST_UNITS] = {.read = read_list,
	.fault = manifest_unit_fault,
	.remedy = "write a unit's full name, as in \"web.service\"",
	.list = true},
};

void
manifest_refuse_type(struct manifest_reader *reader, const char *key, enum manifest_type type, const json_t *found)
{
	cleanup_free char *remedy = xasprintf("write \"%.200s\": %s", key, manifest_types[type].example);
	manifest_refuse(reader, remedy, "expected %s, found %s", manifest_types[type].words, words_of_json(found));
}

bool
manifest_judge_text(struct manifest_reader *reader, enum manifest_type type, const char *string)
{
	const char *fault = type_readers[type].fault(string);
	if (fault != NULL)
		manifest_refuse(reader, type_readers[type].remedy, "'%.*s' %s", SHOWN, string, fault);
	return fault == NULL;
}

static void
read_text(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	if (!json_is_string(value))
		manifest_refuse_type(reader, key->name, key->type, value);
	else if (manifest_judge_text(reader, key->type, json_string_value(value)))
		replace_string(target, json_string_value(value));
}

/* A number is the text that it is written as. */
static void
read_port(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	if (!json_is_integer(value) && !json_is_string(value)) {
		manifest_refuse_type(reader, key->name, key->type, value);
		return;
	}
	cleanup_free char *port = json_is_string(value)
				      ? xstrdup(json_string_value(value))
				      : xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
	if (!manifest_judge_text(reader, key->type, port))
		return;
	const char *number = port + strspn(port, "0");
	replace_string(target, number);
}

static void
read_item(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, char ***list)
{
	if (!json_is_string(value)) {
		manifest_refuse_type(reader, key->name, key->type, value);
		return;
	}
	const char *string = json_string_value(value);
	if (manifest_judge_text(reader, key->type, string) && !strings_contain(*list, string))
		(*list)[strings_count(*list)] = xstrdup(string);
}

void
manifest_read_items(struct manifest_reader *reader, const struct manifest_key *key, json_t *value,
    manifest_item_fn *each, char ***list)
{
	if (json_array_size(value) > LIST_LIMIT) {
		manifest_refuse(reader, "name a directory instead of what is in it, or split the service",
		    "the list has %zu entries; %d are the most", json_array_size(value), LIST_LIMIT);
		return;
	}
	size_t index;
	json_t *item;
	json_array_foreach (value, index, item) {
		size_t mark = manifest_enter_item(reader, index);
		each(reader, key, item, list);
		manifest_leave(reader, mark);
	}
}

/* Zeroed, with room for all that will be read. Of a list that is too long, nothing will. */
static char **
empty_list_for(const json_t *value)
{
	size_t count = json_is_array(value) ? json_array_size(value) : 1;
	return xcalloc(count > LIST_LIMIT ? 1 : count + 1, sizeof(char *));
}

static void
read_list(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	const struct type_reader *type = &type_readers[key->type];
	/* An empty list says something that an absent one does not. */
	cleanup_strings char **list = empty_list_for(value);
	if (type->list && json_is_array(value))
		manifest_read_items(reader, key, value, read_item, &list);
	else if (type->alone)
		read_item(reader, key, value, &list);
	else
		manifest_refuse_type(reader, key->name, key->type, value);
	strings_free(*(char ***)target);
	*(char ***)target = take_pointer(list);
}

/* ---- objects ---- */

static bool
key_is_of_version(const struct manifest_key *key, int version)
{
	return version >= key->since && (key->until == 0 || version <= key->until);
}

static const struct manifest_key *
find_key(const struct manifest_key *keys, const char *name)
{
	for (; keys->name != NULL; keys++)
		if (strcmp(keys->name, name) == 0)
			return keys;
	return NULL;
}

static const struct manifest_key *
find_key_of_version(const struct manifest_key *keys, const char *name, int version)
{
	for (; keys->name != NULL; keys++)
		if (strcmp(keys->name, name) == 0 && key_is_of_version(keys, version))
			return keys;
	return NULL;
}

/* The known key that was probably meant. */
static const char *
nearest_key(const struct manifest_key *keys, const char *name, int version)
{
	size_t count = 0;
	while (keys[count].name != NULL)
		count++;
	cleanup_free const char **words = xcalloc(count, sizeof(*words));
	size_t known = 0;
	for (size_t i = 0; i < count; i++)
		if (key_is_of_version(&keys[i], version))
			words[known++] = keys[i].name;
	return nearest_word(name, words, known);
}

static char *
known_keys(const struct manifest_key *keys, int version)
{
	struct text known = {.string = NULL};
	for (; keys->name != NULL; keys++)
		if (key_is_of_version(keys, version))
			text_printf(&known, "%s%s", known.length == 0 ? "known here: " : ", ", keys->name);
	return text_take(&known);
}

static char *
remedy_for_unknown(const struct manifest_key *keys, const char *name, int version)
{
	const struct manifest_key *key = find_key(keys, name);
	if (key != NULL)
		return xasprintf("write \"version\": %d at the top of the file to use it", key->since);
	const char *nearest = nearest_key(keys, name, version);
	if (nearest != NULL)
		return xasprintf("did you mean \"%s\"?", nearest);
	return known_keys(keys, version);
}

static void
refuse_unknown_keys(struct manifest_reader *reader, json_t *object, const struct manifest_key *keys)
{
	const char *name;
	json_t *value;
	json_object_foreach (object, name, value) {
		if (find_key_of_version(keys, name, reader->version) != NULL)
			continue;
		cleanup_free char *remedy = remedy_for_unknown(keys, name, reader->version);
		size_t mark = manifest_enter(reader, name);
		if (find_key(keys, name) != NULL)
			manifest_refuse(
			    reader, remedy, "version %d of the format does not have this key", reader->version);
		else
			manifest_refuse(reader, remedy, "unknown key");
		manifest_leave(reader, mark);
	}
}

void
manifest_read_object(struct manifest_reader *reader, json_t *object, const struct manifest_key *keys, void *target)
{
	size_t known = 0, size = json_object_size(object);
	for (const struct manifest_key *key = keys; key->name != NULL && known < size; key++) {
		json_t *value = key_is_of_version(key, reader->version) ? json_object_get(object, key->name) : NULL;
		known += value != NULL;
		if (value == NULL || json_is_null(value))
			continue;
		size_t mark = manifest_enter(reader, key->name);
		type_readers[key->type].read(reader, key, value, (char *)target + key->offset);
		manifest_leave(reader, mark);
		if (reader->version == 0)
			return;
	}
	if (known < size)
		refuse_unknown_keys(reader, object, keys);
}

void
manifest_read_initials(struct manifest_reader *reader, const struct manifest_key *keys, void *target)
{
	for (; keys->name != NULL; keys++) {
		void *value = (char *)target + keys->offset;
		if (keys->initial != NULL) {
			json_t *initial = json_loads(keys->initial, JSON_DECODE_ANY, NULL);
			type_readers[keys->type].read(reader, keys, initial, value);
			json_decref(initial);
		} else if (manifest_types[keys->type].shape == SHAPE_NESTED) {
			manifest_read_initials(reader, keys->keys, value);
		}
	}
}

void
manifest_release(const struct manifest_key *keys, void *target)
{
	for (; keys->name != NULL; keys++) {
		void *value = (char *)target + keys->offset;
		switch (manifest_types[keys->type].shape) {
		case SHAPE_NESTED:
			manifest_release(keys->keys, value);
			break;
		case SHAPE_TEXT:
			replace_string(value, NULL);
			break;
		case SHAPE_LIST:
			strings_free(*(char ***)value);
			*(char ***)value = NULL;
			break;
		case SHAPE_JSON:
		case SHAPE_NUMBER:
		case SHAPE_ANSWER:
			break;
		}
	}
}
