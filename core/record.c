#include "core/record.h"

#include <string.h>

#include "core/alloc.h"

static const void *
const_at(const void *record, size_t offset)
{
	return (const char *)record + offset;
}

static void *
at(void *record, size_t offset)
{
	return (char *)record + offset;
}

/* Pointers to structs of any kind are kept in the records. */
static void *
pointer_at(const void *record, size_t offset)
{
	void *pointer;
	memcpy(&pointer, const_at(record, offset), sizeof(pointer));
	return pointer;
}

static void
set_pointer(void *record, size_t offset, void *pointer)
{
	memcpy(at(record, offset), &pointer, sizeof(pointer));
}

static int
wrong(const char *key, const char *wanted, struct error *error)
{
	return error_set(error, ERROR_JOURNAL_DAMAGED, "\"%s\" of the document is not %s", key, wanted);
}

/* ---- clearing ---- */

static void
clear_list(const struct record_shape *shape, void *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		record_clear(shape, at(items, i * shape->size));
	free(items);
}

static void
clear_pointer(const struct record_field *field, void *record)
{
	void *target = pointer_at(record, field->offset);
	if (target != NULL)
		record_clear(field->shape, target);
	free(target);
	set_pointer(record, field->offset, NULL);
}

static void
clear_field(const struct record_field *field, void *record)
{
	void *value = at(record, field->offset);
	switch (field->kind) {
	case RECORD_NAME:
	case RECORD_TEXT:
		free(*(char **)value);
		*(char **)value = NULL;
		return;
	case RECORD_STRINGS:
		strings_free(*(char ***)value);
		*(char ***)value = NULL;
		return;
	case RECORD_BOOL:
		*(bool *)value = false;
		return;
	case RECORD_INTEGER:
	case RECORD_COUNT:
		*(int64_t *)value = 0;
		return;
	case RECORD_REAL:
		*(double *)value = 0;
		return;
	case RECORD_WORD:
		*(int *)value = 0;
		return;
	case RECORD_ERROR:
		error_clear(value);
		return;
	case RECORD_OPTIONAL:
		*(bool *)at(record, field->other) = false;
		record_clear(field->shape, value);
		return;
	case RECORD_STRUCT:
		record_clear(field->shape, value);
		return;
	case RECORD_POINTER:
		clear_pointer(field, record);
		return;
	case RECORD_LIST:
		clear_list(field->shape, pointer_at(record, field->offset), *(size_t *)at(record, field->other));
		set_pointer(record, field->offset, NULL);
		*(size_t *)at(record, field->other) = 0;
		return;
	case RECORD_INTEGERS:
		free(*(int64_t **)value);
		*(int64_t **)value = NULL;
		*(size_t *)at(record, field->other) = 0;
		return;
	case RECORD_OWN:
		field->codec->clear(value);
		return;
	}
}

void
record_clear(const struct record_shape *shape, void *record)
{
	for (size_t i = 0; i < shape->count; i++)
		clear_field(&shape->fields[i], record);
}

/* ---- packing ---- */

static void
pack_real(struct packer *packer, double number)
{
	if (msgpack_pack_double(&packer->packer, number) != 0)
		abort();
}

static void
pack_integer(struct packer *packer, int64_t number)
{
	if (msgpack_pack_int64(&packer->packer, number) != 0)
		abort();
}

static void
pack_error(const struct error *error, struct packer *packer)
{
	if (!error_is_set(error)) {
		pack_text(packer, NULL);
		return;
	}
	pack_map(packer, 3);
	pack_key_text(packer, "code", error_code_word(error->code));
	pack_key_text(packer, "message", error->message);
	pack_key_text(packer, "hint", error->hint);
}

static void
pack_pointer(const struct record_shape *shape, const void *target, struct packer *packer)
{
	if (target != NULL)
		record_pack(shape, target, packer);
	else
		pack_text(packer, NULL);
}

static void
pack_list(const struct record_shape *shape, const void *items, size_t count, struct packer *packer)
{
	pack_array(packer, count);
	for (size_t i = 0; i < count; i++)
		record_pack(shape, const_at(items, i * shape->size), packer);
}

static void
pack_integers(const int64_t *items, size_t count, struct packer *packer)
{
	pack_array(packer, count);
	for (size_t i = 0; i < count; i++)
		pack_integer(packer, items[i]);
}

static void
pack_field(const struct record_field *field, const void *record, struct packer *packer)
{
	const void *value = const_at(record, field->offset);
	const void *other = const_at(record, field->other);
	switch (field->kind) {
	case RECORD_NAME:
	case RECORD_TEXT:
		pack_key_text(packer, field->key, *(char *const *)value);
		return;
	case RECORD_STRINGS:
		pack_key_strings(packer, field->key, *(char **const *)value);
		return;
	case RECORD_BOOL:
		pack_key_bool(packer, field->key, *(const bool *)value);
		return;
	case RECORD_INTEGER:
	case RECORD_COUNT:
		pack_key_int(packer, field->key, *(const int64_t *)value);
		return;
	case RECORD_WORD:
		pack_key_text(packer, field->key, field->words->word(*(const int *)value));
		return;
	case RECORD_REAL:
	case RECORD_ERROR:
	case RECORD_STRUCT:
	case RECORD_OPTIONAL:
	case RECORD_POINTER:
	case RECORD_LIST:
	case RECORD_INTEGERS:
	case RECORD_OWN:
		break;
	}
	pack_text(packer, field->key);
	if (field->kind == RECORD_REAL)
		pack_real(packer, *(const double *)value);
	else if (field->kind == RECORD_ERROR)
		pack_error(value, packer);
	else if (field->kind == RECORD_STRUCT || (field->kind == RECORD_OPTIONAL && *(const bool *)other))
		record_pack(field->shape, value, packer);
	else if (field->kind == RECORD_OPTIONAL)
		pack_text(packer, NULL);
	else if (field->kind == RECORD_POINTER)
		pack_pointer(field->shape, pointer_at(record, field->offset), packer);
	else if (field->kind == RECORD_LIST)
		pack_list(field->shape, pointer_at(record, field->offset), *(const size_t *)other, packer);
	else if (field->kind == RECORD_INTEGERS)
		pack_integers(*(int64_t *const *)value, *(const size_t *)other, packer);
	else
		field->codec->pack(value, packer);
}

void
record_pack_pairs(const struct record_shape *shape, const void *record, struct packer *packer)
{
	for (size_t i = 0; i < shape->count; i++)
		pack_field(&shape->fields[i], record, packer);
}

void
record_pack(const struct record_shape *shape, const void *record, struct packer *packer)
{
	pack_map(packer, shape->count);
	record_pack_pairs(shape, record, packer);
}

/* ---- unpacking ---- */

static int
unpack_name(const msgpack_object *map, const char *key, char **ret_name, struct error *error)
{
	if (unpack_text(map, key, ret_name, error) < 0)
		return -1;
	return *ret_name == NULL ? wrong(key, "a string", error) : 0;
}

static int
unpack_count(const msgpack_object *map, const char *key, uint64_t *ret_count, struct error *error)
{
	int64_t number;
	if (unpack_int(map, key, &number, error) < 0)
		return -1;
	if (number < 0)
		return wrong(key, "zero or more", error);
	*ret_count = (uint64_t)number;
	return 0;
}

static int
unpack_word(const struct record_field *field, const msgpack_object *map, int *ret_value, struct error *error)
{
	cleanup_free char *word = NULL;
	if (unpack_name(map, field->key, &word, error) < 0)
		return -1;
	return field->words->find(word, ret_value) ? 0 : wrong(field->key, "a word that is known", error);
}

static int
unpack_error(const msgpack_object *value, const char *key, struct error *ret_error, struct error *error)
{
	if (value->type == MSGPACK_OBJECT_NIL)
		return 0;
	cleanup_free char *code = NULL;
	cleanup_error struct error found = {.code = ERROR_NONE};
	if (unpack_name(value, "code", &code, error) < 0 ||
	    unpack_name(value, "message", &found.message, error) < 0 ||
	    unpack_text(value, "hint", &found.hint, error) < 0)
		return error_prefix(error, "\"%s\"", key);
	found.code = error_code_from_word(code);
	if (found.code == ERROR_NONE)
		return wrong(key, "an error", error);
	error_move(ret_error, &found);
	return 0;
}

static int
unpack_pointer(const struct record_field *field, const msgpack_object *value, void *record, struct error *error)
{
	if (value->type == MSGPACK_OBJECT_NIL)
		return 0;
	cleanup_free void *target = xcalloc(1, field->shape->size);
	if (record_unpack(field->shape, value, target, error) < 0)
		return error_prefix(error, "\"%s\"", field->key);
	set_pointer(record, field->offset, take_pointer(target));
	return 0;
}

static int
unpack_list(const struct record_field *field, const msgpack_object *value, void *record, struct error *error)
{
	const struct record_shape *shape = field->shape;
	if (value->type != MSGPACK_OBJECT_ARRAY)
		return wrong(field->key, "a list", error);
	size_t count = value->via.array.size;
	void *items = count > 0 ? xcalloc(count, shape->size) : NULL;
	for (size_t i = 0; i < count; i++)
		if (record_unpack(shape, &value->via.array.ptr[i], at(items, i * shape->size), error) < 0) {
			clear_list(shape, items, i);
			return error_prefix(error, "\"%s\", item %zu", field->key, i);
		}
	set_pointer(record, field->offset, items);
	*(size_t *)at(record, field->other) = count;
	return 0;
}

static bool
integer_of(const msgpack_object *object, int64_t *ret_number)
{
	if (object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
		*ret_number = object->via.i64;
	else if (object->type == MSGPACK_OBJECT_POSITIVE_INTEGER && object->via.u64 <= INT64_MAX)
		*ret_number = (int64_t)object->via.u64;
	else
		return false;
	return true;
}

static int
unpack_integers(
    const msgpack_object *value, const char *key, int64_t **ret_items, size_t *ret_count, struct error *error)
{
	if (value->type != MSGPACK_OBJECT_ARRAY)
		return wrong(key, "a list of whole numbers", error);
	size_t count = value->via.array.size;
	cleanup_free int64_t *items = count > 0 ? xcalloc(count, sizeof(*items)) : NULL;
	for (size_t i = 0; i < count; i++)
		if (!integer_of(&value->via.array.ptr[i], &items[i]))
			return wrong(key, "a list of whole numbers", error);
	*ret_items = take_pointer(items);
	*ret_count = count;
	return 0;
}

/* Kinds that look at the value themselves. */
static int
unpack_value(const struct record_field *field, const msgpack_object *value, void *record, struct error *error)
{
	void *target = at(record, field->offset);
	void *other = at(record, field->other);
	switch (field->kind) {
	case RECORD_REAL:
		if (value->type != MSGPACK_OBJECT_FLOAT64 && value->type != MSGPACK_OBJECT_FLOAT32)
			return wrong(field->key, "a number with a fraction", error);
		*(double *)target = value->via.f64;
		return 0;
	case RECORD_ERROR:
		return unpack_error(value, field->key, target, error);
	case RECORD_OPTIONAL:
		if (value->type == MSGPACK_OBJECT_NIL)
			return 0;
		if (record_unpack(field->shape, value, target, error) < 0)
			return error_prefix(error, "\"%s\"", field->key);
		*(bool *)other = true;
		return 0;
	case RECORD_STRUCT:
		if (record_unpack(field->shape, value, target, error) < 0)
			return error_prefix(error, "\"%s\"", field->key);
		return 0;
	case RECORD_POINTER:
		return unpack_pointer(field, value, record, error);
	case RECORD_LIST:
		return unpack_list(field, value, record, error);
	case RECORD_INTEGERS:
		return unpack_integers(value, field->key, target, other, error);
	case RECORD_OWN:
		return field->codec->unpack(value, field->key, target, error);
	case RECORD_NAME:
	case RECORD_TEXT:
	case RECORD_STRINGS:
	case RECORD_BOOL:
	case RECORD_INTEGER:
	case RECORD_COUNT:
	case RECORD_WORD:
		break;
	}
	return -1;
}

static int
unpack_field(const struct record_field *field, const msgpack_object *map, void *record, struct error *error)
{
	void *target = at(record, field->offset);
	switch (field->kind) {
	case RECORD_NAME:
		return unpack_name(map, field->key, target, error);
	case RECORD_TEXT:
		return unpack_text(map, field->key, target, error);
	case RECORD_STRINGS:
		return unpack_strings(map, field->key, target, error);
	case RECORD_BOOL:
		return unpack_bool(map, field->key, target, error);
	case RECORD_INTEGER:
		return unpack_int(map, field->key, target, error);
	case RECORD_COUNT:
		return unpack_count(map, field->key, target, error);
	case RECORD_WORD:
		return unpack_word(field, map, target, error);
	case RECORD_REAL:
	case RECORD_ERROR:
	case RECORD_STRUCT:
	case RECORD_OPTIONAL:
	case RECORD_POINTER:
	case RECORD_LIST:
	case RECORD_INTEGERS:
	case RECORD_OWN:
		break;
	}
	const msgpack_object *value = unpack_find(map, field->key);
	if (value == NULL)
		return error_set(error, ERROR_JOURNAL_DAMAGED, "the document has no \"%s\"", field->key);
	return unpack_value(field, value, record, error);
}

int
record_unpack(const struct record_shape *shape, const msgpack_object *map, void *record, struct error *error)
{
	for (size_t i = 0; i < shape->count; i++)
		if (unpack_field(&shape->fields[i], map, record, error) < 0) {
			record_clear(shape, record);
			return -1;
		}
	return 0;
}
