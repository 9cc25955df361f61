#include "core/pack.h"

#include "core/alloc.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static void
pack_sample(struct packer *packer)
{
	cleanup_strings char **paths = NULL;
	strings_add(&paths, "/srv/web");
	strings_add(&paths, "");
	packer_init(packer);
	pack_map(packer, 9);
	pack_key_text(packer, "name", "web");
	pack_key_text(packer, "empty", "");
	pack_key_text(packer, "nothing", NULL);
	pack_key_int(packer, "smallest", INT64_MIN);
	pack_key_int(packer, "largest", INT64_MAX);
	pack_key_bool(packer, "yes", true);
	pack_key_bool(packer, "no", false);
	pack_key_strings(packer, "paths", paths);
	pack_key_strings(packer, "none", NULL);
}

static void
what_was_packed_is_read_again(void **state)
{
	(void)state;
	struct packer packer;
	struct unpacked unpacked;
	pack_sample(&packer);
	assert_int_equal(unpack_map(packer.buffer.data, packer.buffer.size, &unpacked, NULL), 0);
	/* The document does not need the bytes it was read from. */
	memset(packer.buffer.data, 0xff, packer.buffer.size);
	packer_release(&packer);

	const msgpack_object *root = unpack_root(&unpacked);
	char something[] = "";
	char *name, *empty, *nothing = something;
	int64_t smallest, largest;
	bool yes = false, no = true;
	char **paths, **none;
	assert_int_equal(unpack_text(root, "name", &name, NULL), 0);
	assert_int_equal(unpack_text(root, "empty", &empty, NULL), 0);
	assert_int_equal(unpack_text(root, "nothing", &nothing, NULL), 0);
	assert_int_equal(unpack_int(root, "smallest", &smallest, NULL), 0);
	assert_int_equal(unpack_int(root, "largest", &largest, NULL), 0);
	assert_int_equal(unpack_bool(root, "yes", &yes, NULL), 0);
	assert_int_equal(unpack_bool(root, "no", &no, NULL), 0);
	assert_int_equal(unpack_strings(root, "paths", &paths, NULL), 0);
	assert_int_equal(unpack_strings(root, "none", &none, NULL), 0);
	unpack_release(&unpacked);

	assert_string_equal(name, "web");
	assert_string_equal(empty, "");
	assert_null(nothing);
	assert_int_equal(smallest, INT64_MIN);
	assert_int_equal(largest, INT64_MAX);
	assert_true(yes);
	assert_false(no);
	assert_int_equal(strings_count(paths), 2);
	assert_string_equal(paths[0], "/srv/web");
	assert_string_equal(paths[1], "");
	assert_int_equal(strings_count(none), 0);
	free(name);
	free(empty);
	strings_free(paths);
	strings_free(none);
}

/* A map {"key": value} with the value given as raw bytes. */
static void
unpack_value(const void *value, size_t length, struct unpacked *ret_unpacked)
{
	unsigned char bytes[64] = {0x81, 0xa3, 'k', 'e', 'y'};
	memcpy(bytes + 5, value, length);
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(unpack_map(bytes, 5 + length, ret_unpacked, &error), 0);
}

static void
assert_names_key(const struct error *error)
{
	assert_int_equal(error->code, ERROR_JOURNAL_DAMAGED);
	assert_non_null(strstr(error->message, "\"key\""));
}

static void
a_missing_key_is_named(void **state)
{
	(void)state;
	static const unsigned char empty_map[] = {0x80};
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct unpacked unpacked;
	char *text = NULL, **list = NULL;
	int64_t number = 4711;
	bool value = true;
	assert_int_equal(unpack_map(empty_map, 1, &unpacked, NULL), 0);
	const msgpack_object *root = unpack_root(&unpacked);
	assert_null(unpack_find(root, "key"));
	assert_int_equal(unpack_text(root, "key", &text, &error), -1);
	assert_names_key(&error);
	assert_int_equal(unpack_int(root, "key", &number, &error), -1);
	assert_names_key(&error);
	assert_int_equal(unpack_bool(root, "key", &value, &error), -1);
	assert_names_key(&error);
	assert_int_equal(unpack_strings(root, "key", &list, &error), -1);
	assert_names_key(&error);
	assert_int_equal(number, 4711);
	assert_null(list);
	unpack_release(&unpacked);
}

enum reader { READ_TEXT = 1, READ_INT = 2, READ_BOOL = 4, READ_STRINGS = 8 };

static const struct {
	const char *bytes;
	size_t length;
	unsigned readers; /* that take it */
} values[] = {
    {"\xa1x", 2, READ_TEXT}, {"\xc0", 1, READ_TEXT}, {"\xa2x\0", 3, 0}, /* NUL inside */
    {"\xc4\x01x", 3, 0},                                                /* binary */
    {"\x05", 1, READ_INT}, {"\xff", 1, READ_INT}, {"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9, READ_INT},
    {"\xcf\x80\x00\x00\x00\x00\x00\x00\x00", 9, 0}, /* beyond int64 */
    {"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", 9, 0}, /* 1.0 */
    {"\xc2", 1, READ_BOOL}, {"\xc3", 1, READ_BOOL}, {"\x90", 1, READ_STRINGS}, {"\x92\xa1x\xa1y", 5, READ_STRINGS},
    {"\x92\xa1x\x01", 4, 0}, {"\x92\xa1x\xc0", 4, 0}, {"\x92\xa1x\xa1\0", 5, 0}, {"\x80", 1, 0},
    {"\xd4\x01\x00", 3, 0}, /* extension */
};

static void
each_reader_takes_its_own_type_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(values); i++) {
		struct unpacked unpacked;
		cleanup_error struct error error = {.code = ERROR_NONE};
		cleanup_free char *text = NULL;
		cleanup_strings char **list = NULL;
		int64_t number;
		bool value;
		unpack_value(values[i].bytes, values[i].length, &unpacked);
		const msgpack_object *root = unpack_root(&unpacked);
		unsigned readers = 0;
		readers |= unpack_text(root, "key", &text, &error) == 0 ? READ_TEXT : 0U;
		readers |= unpack_int(root, "key", &number, &error) == 0 ? READ_INT : 0U;
		readers |= unpack_bool(root, "key", &value, &error) == 0 ? READ_BOOL : 0U;
		readers |= unpack_strings(root, "key", &list, &error) == 0 ? READ_STRINGS : 0U;
		assert_int_equal(readers, values[i].readers);
		assert_names_key(&error);
		unpack_release(&unpacked);
	}
}

static void
a_key_is_found_by_its_whole_name(void **state)
{
	(void)state;
	/* {1: 1, "ke": 2, "key\0": 3, "key": 4} */
	static const unsigned char bytes[] = {
	    0x84, 1, 1, 0xa2, 'k', 'e', 2, 0xa4, 'k', 'e', 'y', 0, 3, 0xa3, 'k', 'e', 'y', 4};
	struct unpacked unpacked;
	int64_t number;
	assert_int_equal(unpack_map(bytes, sizeof(bytes), &unpacked, NULL), 0);
	assert_int_equal(unpack_int(unpack_root(&unpacked), "key", &number, NULL), 0);
	assert_int_equal(number, 4);
	/* Looking into what is no map finds nothing. */
	assert_null(unpack_find(unpack_find(unpack_root(&unpacked), "key"), "key"));
	unpack_release(&unpacked);
}

#define DAMAGED(literal) {(literal), sizeof(literal) - 1}

static void
hostile_bytes_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t length;
	} damaged[] = {
	    DAMAGED(""),
	    DAMAGED("\x01"), /* no map */
	    DAMAGED("\x90"),
	    DAMAGED("\xc0"),
	    DAMAGED("\xc1"),     /* never used */
	    DAMAGED("\x80\x80"), /* trailing bytes */
	    DAMAGED("\x80\x00"),
	    DAMAGED("\x81\xa1k"), /* no value */
	    DAMAGED("\x81\xa1k\xc1"),
	    DAMAGED("\x81\xa1k\xa5x"),                    /* cut string */
	    DAMAGED("\x81\xa1k\xdb\xff\xff\xff\xff"),     /* string of 4 GB */
	    DAMAGED("\x81\xa1k\xc6\xff\xff\xff\xff"),     /* binary of 4 GB */
	    DAMAGED("\x81\xa1k\xc9\xff\xff\xff\xff\x01"), /* extension of 4 GB */
	    DAMAGED("\x81\xa1k\xdd\xff\xff\xff\xff"),     /* array of 4 G values */
	    DAMAGED("\xdf\xff\xff\xff\xff"),              /* map of 4 G pairs */
	    DAMAGED("\xdf\x00\x00"),                      /* cut head */
	    DAMAGED("\xde\x00\x02\xa1k\x01"),
	    DAMAGED("\x81\xa1k\xcf\x00\x00"),
	};
	for (size_t i = 0; i < ARRAY_LENGTH(damaged); i++) {
		struct unpacked unpacked = {.bytes = NULL};
		cleanup_error struct error error = {.code = ERROR_NONE};
		assert_int_equal(unpack_map(damaged[i].bytes, damaged[i].length, &unpacked, &error), -1);
		assert_int_equal(error.code, ERROR_JOURNAL_DAMAGED);
		assert_null(unpacked.bytes);
	}
}

static void
a_deep_tower_is_refused(void **state)
{
	(void)state;
	size_t length = 1000000;
	cleanup_free char *tower = xmalloc(length);
	memset(tower, '\x91', length);
	memcpy(tower, "\x81\xa0", 2);
	tower[length - 1] = '\x01';
	struct unpacked unpacked;
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(unpack_map(tower, length, &unpacked, &error), -1);
	assert_int_equal(error.code, ERROR_JOURNAL_DAMAGED);
}

static void
every_cut_of_a_document_is_refused(void **state)
{
	(void)state;
	struct packer packer;
	pack_sample(&packer);
	for (size_t length = 0; length < packer.buffer.size; length++) {
		/* A copy of exactly this length, so that the sanitizer sees a read beyond it. */
		cleanup_free char *cut = xmemdup(packer.buffer.data, length);
		struct unpacked unpacked;
		assert_int_equal(unpack_map(cut, length, &unpacked, NULL), -1);
	}
	packer_release(&packer);
}

/* Whatever comes out, reading it is safe: this is for the sanitizers. */
static void
mutated_documents_do_no_harm(void **state)
{
	(void)state;
	struct packer packer;
	unsigned seed = 20261123;
	size_t decoded = 0;
	pack_sample(&packer);
	for (int round = 0; round < 20000; round++) {
		cleanup_free char *bytes = xmemdup(packer.buffer.data, packer.buffer.size);
		for (int i = 0; i < 1 + round % 3; i++)
			bytes[(size_t)rand_r(&seed) % packer.buffer.size] = (char)rand_r(&seed);
		struct unpacked unpacked;
		if (unpack_map(bytes, packer.buffer.size, &unpacked, NULL) < 0)
			continue;
		cleanup_free char *name = NULL;
		cleanup_strings char **paths = NULL;
		unpack_text(unpack_root(&unpacked), "name", &name, NULL);
		unpack_strings(unpack_root(&unpacked), "paths", &paths, NULL);
		unpack_release(&unpacked);
		decoded++;
	}
	packer_release(&packer);
	assert_in_range(decoded, 100, 19900);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_packed_is_read_again),
	    cmocka_unit_test(a_missing_key_is_named),
	    cmocka_unit_test(each_reader_takes_its_own_type_only),
	    cmocka_unit_test(a_key_is_found_by_its_whole_name),
	    cmocka_unit_test(hostile_bytes_are_refused),
	    cmocka_unit_test(a_deep_tower_is_refused),
	    cmocka_unit_test(every_cut_of_a_document_is_refused),
	    cmocka_unit_test(mutated_documents_do_no_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
