#include "core/pack.h"

#include "core/alloc.h"

#include <string.h>

void
packer_init(struct packer *packer)
{
	msgpack_sbuffer_init(&packer->buffer);
	msgpack_packer_init(&packer->packer, &packer->buffer, msgpack_sbuffer_write);
}

void
packer_release(struct packer *packer)
{
	msgpack_sbuffer_destroy(&packer->buffer);
}

/* The buffer's write fails for want of memory only. */
static void
must_pack(int result)
{
	if (result != 0)
		abort();
}

void
pack_map(struct packer *packer, size_t pairs)
{
	must_pack(msgpack_pack_map(&packer->packer, pairs));
}

void
pack_array(struct packer *packer, size_t items)
{
	must_pack(msgpack_pack_array(&packer->packer, items));
}

void
pack_text(struct packer *packer, const char *string)
{
	if (string == NULL) {
		must_pack(msgpack_pack_nil(&packer->packer));
		return;
	}
	size_t length = strlen(string);
	must_pack(msgpack_pack_str(&packer->packer, length));
	must_pack(msgpack_pack_str_body(&packer->packer, string, length));
}

void
pack_key_text(struct packer *packer, const char *key, const char *string)
{
	pack_text(packer, key);
	pack_text(packer, string);
}

void
pack_key_int(struct packer *packer, const char *key, int64_t number)
{
	pack_text(packer, key);
	must_pack(msgpack_pack_int64(&packer->packer, number));
}

void
pack_key_bool(struct packer *packer, const char *key, bool value)
{
	pack_text(packer, key);
	must_pack(value ? msgpack_pack_true(&packer->packer) : msgpack_pack_false(&packer->packer));
}

void
pack_key_strings(struct packer *packer, const char *key, char *const *list)
{
	size_t count = strings_count(list);
	pack_text(packer, key);
	pack_array(packer, count);
	for (size_t i = 0; i < count; i++)
		pack_text(packer, list[i]);
}

/* What the first bytes of a msgpack value announce. */
struct head {
	size_t size;       /* of the head itself */
	uint64_t body;     /* bytes that follow it */
	uint64_t children; /* values that follow it */
};

static uint64_t
big_endian(const unsigned char *bytes, size_t size)
{
	uint64_t number = 0;
	for (size_t i = 0; i < size; i++)
		number = number << 8 | bytes[i];
	return number;
}

/* 0xc0 to 0xdf: a fixed first byte and a length field of 0 to 4 bytes. What the table leaves out is complete
 * with its first byte. */
static struct head
head_of_marked(const unsigned char *bytes, size_t length)
{
	static const struct {
		unsigned char length_size; /* of the length field */
		unsigned char fixed;       /* bytes of body without or beside it */
		unsigned char per_item;    /* children for each counted item; 0: the count is bytes */
	} marks[] = {
	    [0xc4 - 0xc0] = {1, 0, 0},
	    [0xc5 - 0xc0] = {2, 0, 0},
	    [0xc6 - 0xc0] = {4, 0, 0},
	    [0xc7 - 0xc0] = {1, 1, 0},
	    [0xc8 - 0xc0] = {2, 1, 0},
	    [0xc9 - 0xc0] = {4, 1, 0},
	    [0xca - 0xc0] = {0, 4, 0},
	    [0xcb - 0xc0] = {0, 8, 0},
	    [0xcc - 0xc0] = {0, 1, 0},
	    [0xcd - 0xc0] = {0, 2, 0},
	    [0xce - 0xc0] = {0, 4, 0},
	    [0xcf - 0xc0] = {0, 8, 0},
	    [0xd0 - 0xc0] = {0, 1, 0},
	    [0xd1 - 0xc0] = {0, 2, 0},
	    [0xd2 - 0xc0] = {0, 4, 0},
	    [0xd3 - 0xc0] = {0, 8, 0},
	    [0xd4 - 0xc0] = {0, 2, 0},
	    [0xd5 - 0xc0] = {0, 3, 0},
	    [0xd6 - 0xc0] = {0, 5, 0},
	    [0xd7 - 0xc0] = {0, 9, 0},
	    [0xd8 - 0xc0] = {0, 17, 0},
	    [0xd9 - 0xc0] = {1, 0, 0},
	    [0xda - 0xc0] = {2, 0, 0},
	    [0xdb - 0xc0] = {4, 0, 0},
	    [0xdc - 0xc0] = {2, 0, 1},
	    [0xdd - 0xc0] = {4, 0, 1},
	    [0xde - 0xc0] = {2, 0, 2},
	    [0xdf - 0xc0] = {4, 0, 2},
	};
	size_t mark = bytes[0] - 0xc0U;
	size_t length_size = marks[mark].length_size;
	if (1 + length_size > length)
		return (struct head){.size = 1 + length_size};
	uint64_t count = big_endian(bytes + 1, length_size);
	if (marks[mark].per_item > 0)
		return (struct head){.size = 1 + length_size, .children = count * marks[mark].per_item};
	return (struct head){.size = 1 + length_size, .body = count + marks[mark].fixed};
}

static struct head
head_of(const unsigned char *bytes, size_t length)
{
	unsigned char first = bytes[0];
	if (first < 0x80 || first >= 0xe0)
		return (struct head){.size = 1};
	if (first < 0x90)
		return (struct head){.size = 1, .children = 2 * (first & 0x0fU)};
	if (first < 0xa0)
		return (struct head){.size = 1, .children = first & 0x0fU};
	if (first < 0xc0)
		return (struct head){.size = 1, .body = first & 0x1fU};
	return head_of_marked(bytes, length);
}

/* Is this one value that fills all bytes? The library allocates what a head announces before it looks whether
 * it is there: five bytes make it ask for 100 GB. */
static bool
bytes_hold_what_they_announce(const unsigned char *bytes, size_t length)
{
	uint64_t expected = 1;
	while (expected > 0) {
		if (length == 0)
			return false;
		struct head head = head_of(bytes, length);
		if (head.size > length || head.body > length - head.size)
			return false;
		bytes += head.size + head.body;
		length -= head.size + (size_t)head.body;
		expected += head.children - 1;
		if (expected > length) /* each value needs a byte */
			return false;
	}
	return length == 0;
}

int
unpack_map(const void *bytes, size_t length, struct unpacked *ret_unpacked, struct error *error)
{
	if (!bytes_hold_what_they_announce(bytes, length))
		return error_set(
		    error, ERROR_JOURNAL_DAMAGED, "the stored document of %zu bytes is cut or malformed", length);

	/* The library's strings point into the bytes it read; those of the caller may be gone sooner. */
	struct unpacked unpacked = {.bytes = xmemdup(bytes, length)};
	size_t offset = 0;
	msgpack_unpacked_init(&unpacked.document);
	msgpack_unpack_return result = msgpack_unpack_next(&unpacked.document, unpacked.bytes, length, &offset);
	if (result != MSGPACK_UNPACK_SUCCESS || offset != length) {
		unpack_release(&unpacked);
		return error_set(
		    error, ERROR_JOURNAL_DAMAGED, "the stored document of %zu bytes is malformed", length);
	}
	if (unpacked.document.data.type != MSGPACK_OBJECT_MAP) {
		unpack_release(&unpacked);
		return error_set(error, ERROR_JOURNAL_DAMAGED, "the stored document is not a map");
	}
	*ret_unpacked = unpacked;
	return 0;
}

void
unpack_release(struct unpacked *unpacked)
{
	msgpack_unpacked_destroy(&unpacked->document);
	free(unpacked->bytes);
	unpacked->bytes = NULL;
}

const msgpack_object *
unpack_root(const struct unpacked *unpacked)
{
	return &unpacked->document.data;
}

static bool
text_equals(const msgpack_object *object, const char *string)
{
	size_t length = strlen(string);
	return object->type == MSGPACK_OBJECT_STR && object->via.str.size == length &&
	       memcmp(object->via.str.ptr, string, length) == 0;
}

const msgpack_object *
unpack_find(const msgpack_object *map, const char *key)
{
	if (map->type != MSGPACK_OBJECT_MAP)
		return NULL;
	for (uint32_t i = 0; i < map->via.map.size; i++)
		if (text_equals(&map->via.map.ptr[i].key, key))
			return &map->via.map.ptr[i].val;
	return NULL;
}

static const msgpack_object *
require(const msgpack_object *map, const char *key, struct error *error)
{
	const msgpack_object *value = unpack_find(map, key);
	if (value == NULL)
		error_set(error, ERROR_JOURNAL_DAMAGED, "the stored document has no \"%s\"", key);
	return value;
}

static int
wrong_type(const char *key, const char *wanted, struct error *error)
{
	return error_set(error, ERROR_JOURNAL_DAMAGED, "\"%s\" of the stored document is not %s", key, wanted);
}

static bool
is_string(const msgpack_object *object)
{
	return object->type == MSGPACK_OBJECT_STR &&
	       (object->via.str.size == 0 || memchr(object->via.str.ptr, '\0', object->via.str.size) == NULL);
}

static char *
copy_string(const msgpack_object *object)
{
	return object->via.str.size == 0 ? xstrdup("") : xstrndup(object->via.str.ptr, object->via.str.size);
}

int
unpack_text(const msgpack_object *map, const char *key, char **ret_string, struct error *error)
{
	const msgpack_object *value = require(map, key, error);
	if (value == NULL)
		return -1;
	if (value->type == MSGPACK_OBJECT_NIL) {
		*ret_string = NULL;
		return 0;
	}
	if (!is_string(value))
		return wrong_type(key, "a string", error);
	*ret_string = copy_string(value);
	return 0;
}

int
unpack_int(const msgpack_object *map, const char *key, int64_t *ret_number, struct error *error)
{
	const msgpack_object *value = require(map, key, error);
	if (value == NULL)
		return -1;
	if (value->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
		*ret_number = value->via.i64;
	else if (value->type == MSGPACK_OBJECT_POSITIVE_INTEGER && value->via.u64 <= INT64_MAX)
		*ret_number = (int64_t)value->via.u64;
	else
		return wrong_type(key, "a whole number", error);
	return 0;
}

int
unpack_bool(const msgpack_object *map, const char *key, bool *ret_value, struct error *error)
{
	const msgpack_object *value = require(map, key, error);
	if (value == NULL)
		return -1;
	if (value->type != MSGPACK_OBJECT_BOOLEAN)
		return wrong_type(key, "true or false", error);
	*ret_value = value->via.boolean;
	return 0;
}

int
unpack_strings(const msgpack_object *map, const char *key, char ***ret_list, struct error *error)
{
	const msgpack_object *value = require(map, key, error);
	if (value == NULL)
		return -1;
	if (value->type != MSGPACK_OBJECT_ARRAY)
		return wrong_type(key, "a list of strings", error);
	cleanup_strings char **list = NULL;
	for (uint32_t i = 0; i < value->via.array.size; i++) {
		if (!is_string(&value->via.array.ptr[i]))
			return wrong_type(key, "a list of strings", error);
		cleanup_free char *string = copy_string(&value->via.array.ptr[i]);
		strings_add(&list, string);
	}
	*ret_list = take_pointer(list);
	return 0;
}
