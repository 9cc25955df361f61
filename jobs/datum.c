#include "jobs/datum.h"

#include "core/alloc.h"

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

static const struct {
	const char *word, *text;
} kinds[] = {
#define X(name, word, text) {word, text},
    DATUM_KIND_LIST(X)
#undef X
};

const char *
datum_kind_text(enum datum_kind kind)
{
	return kinds[kind].text;
}

void
datum_list_add(struct datum_list *list, const struct datum *datum)
{
	list->items = xreallocarray(list->items, list->count + 1, sizeof(*list->items));
	struct datum *copy = &list->items[list->count++];
	*copy = *datum;
	copy->name = xstrdup(datum->name);
}

void
datum_list_clear(struct datum_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].name);
	free(list->items);
	*list = (struct datum_list){.items = NULL};
}

const struct datum *
datum_list_find(const struct datum_list *list, const struct datum *like)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].kind == like->kind && strcmp(list->items[i].name, like->name) == 0)
			return &list->items[i];
	return NULL;
}

/* ---- in the journal ---- */

static json_t *
datum_json(const struct datum *datum)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I}", "kind", kinds[datum->kind].word, "name", datum->name, "bytes",
	    (json_int_t)datum->bytes, "used", (json_int_t)datum->used, "tables", (json_int_t)datum->tables);
}

char *
datum_list_pack(const struct datum_list *list)
{
	json_t *array = json_array();
	bool is_text = list->count > 0;
	for (size_t i = 0; is_text && i < list->count; i++)
		is_text = json_array_append_new(array, datum_json(&list->items[i])) == 0;
	char *packed = is_text ? json_dumps(array, JSON_COMPACT) : NULL;
	json_decref(array);
	return packed;
}

static bool
kind_from_word(const char *word, enum datum_kind *ret_kind)
{
	for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++)
		if (strcmp(kinds[i].word, word) == 0) {
			*ret_kind = (enum datum_kind)i;
			return true;
		}
	return false;
}

static bool
read_datum(json_t *object, struct datum_list *list)
{
	const char *word, *name;
	json_int_t bytes, used, tables;
	struct datum datum;
	if (json_unpack_ex(object, NULL, JSON_STRICT, "{s:s, s:s, s:I, s:I, s:I}", "kind", &word, "name", &name,
		"bytes", &bytes, "used", &used, "tables", &tables) != 0 ||
	    !kind_from_word(word, &datum.kind) || bytes < 0 || used < 0 || used > bytes || tables < 0)
		return false;
	cleanup_free char *copy = xstrdup(name);
	datum.name = copy;
	datum.bytes = (uint64_t)bytes;
	datum.used = (uint64_t)used;
	datum.tables = (uint64_t)tables;
	datum_list_add(list, &datum);
	return true;
}

void
datum_list_unpack(const char *packed, struct datum_list *ret_list)
{
	cleanup_data struct datum_list list = {.items = NULL};
	json_t *array = packed == NULL ? NULL : json_loads(packed, JSON_REJECT_DUPLICATES, NULL);
	bool good = json_is_array(array);
	for (size_t i = 0; good && i < json_array_size(array); i++)
		good = read_datum(json_array_get(array, i), &list);
	json_decref(array);
	*ret_list = (struct datum_list){.items = NULL};
	if (!good)
		return;
	*ret_list = list;
	list = (struct datum_list){.items = NULL};
}
