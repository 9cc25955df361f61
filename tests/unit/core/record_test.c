/* Structs as maps: what one table says is packed, unpacked and cleared, and nothing else is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/record.h"

enum colour { RED, BLUE };

static const char *
colour_word(enum colour colour)
{
	return colour == RED ? "red" : "blue";
}

static bool
colour_from_word(const char *word, enum colour *ret_colour)
{
	*ret_colour = strcmp(word, "blue") == 0 ? BLUE : RED;
	return strcmp(word, "red") == 0 || strcmp(word, "blue") == 0;
}

RECORD_WORDS(colour_words, colour);

struct part {
	char *name;
	uint64_t size;
};

static const struct record_field part_fields[] = {
    RECORD_FIELD("name", NAME, struct part, name),
    RECORD_FIELD("size", COUNT, struct part, size),
};
static const struct record_shape part_shape = RECORD_SHAPE(struct part, part_fields);

struct thing {
	char *name, *text;
	char **strings;
	bool flag;
	int64_t number;
	uint64_t count;
	double real;
	enum colour colour;
	struct error error;
	struct part part;
	bool has_spare;
	struct part spare;
	struct part *other;
	struct part *parts;
	size_t part_count;
	int64_t *numbers;
	size_t number_count;
	int untouched;
};

static const struct record_field thing_fields[] = {
    RECORD_FIELD("name", NAME, struct thing, name),
    RECORD_FIELD("text", TEXT, struct thing, text),
    RECORD_FIELD("strings", STRINGS, struct thing, strings),
    RECORD_FIELD("flag", BOOL, struct thing, flag),
    RECORD_FIELD("number", INTEGER, struct thing, number),
    RECORD_FIELD("count", COUNT, struct thing, count),
    RECORD_FIELD("real", REAL, struct thing, real),
    RECORD_FIELD("colour", WORD, struct thing, colour, .words = &colour_words),
    RECORD_FIELD("error", ERROR, struct thing, error),
    RECORD_FIELD("part", STRUCT, struct thing, part, .shape = &part_shape),
    RECORD_FIELD(
	"spare", OPTIONAL, struct thing, spare, .other = offsetof(struct thing, has_spare), .shape = &part_shape),
    RECORD_FIELD("other", POINTER, struct thing, other, .shape = &part_shape),
    RECORD_FIELD(
	"parts", LIST, struct thing, parts, .other = offsetof(struct thing, part_count), .shape = &part_shape),
    RECORD_FIELD("numbers", INTEGERS, struct thing, numbers, .other = offsetof(struct thing, number_count)),
};
static const struct record_shape thing_shape = RECORD_SHAPE(struct thing, thing_fields);

static struct thing
make_thing(void)
{
	struct thing thing = {
	    .name = xstrdup("thing"),
	    .flag = true,
	    .number = INT64_MIN,
	    .count = INT64_MAX,
	    .real = -0.25,
	    .colour = BLUE,
	    .part = {.name = xstrdup("part"), .size = 1},
	    .parts = xcalloc(2, sizeof(struct part)),
	    .part_count = 2,
	    .numbers = xcalloc(2, sizeof(int64_t)),
	    .number_count = 2,
	};
	strings_add(&thing.strings, "one");
	strings_add(&thing.strings, "two");
	error_set(&thing.error, ERROR_NO_SPACE, "no room");
	thing.parts[0].name = xstrdup("first");
	thing.parts[1].name = xstrdup("second");
	thing.numbers[0] = -1;
	thing.numbers[1] = 1;
	return thing;
}

static int
unpack(const struct packer *packer, struct thing *ret_thing, struct error *error)
{
	struct unpacked unpacked;
	assert_int_equal(unpack_map(packer->buffer.data, packer->buffer.size, &unpacked, error), 0);
	int result = record_unpack(&thing_shape, unpack_root(&unpacked), ret_thing, error);
	unpack_release(&unpacked);
	return result;
}

static void
everything_comes_back(void **state)
{
	(void)state;
	struct thing thing = make_thing(), read = {.untouched = 7};
	struct packer packer;
	packer_init(&packer);
	record_pack(&thing_shape, &thing, &packer);
	struct error error = {.code = ERROR_NONE};
	if (unpack(&packer, &read, &error) < 0)
		fail_msg("%s", error.message);
	assert_string_equal(read.name, "thing");
	assert_null(read.text);
	assert_string_equal(read.strings[1], "two");
	assert_true(read.flag);
	assert_int_equal(read.number, INT64_MIN);
	assert_int_equal(read.count, INT64_MAX);
	assert_true(read.real == -0.25);
	assert_int_equal(read.colour, BLUE);
	assert_int_equal(read.error.code, ERROR_NO_SPACE);
	assert_string_equal(read.error.message, "no room");
	assert_null(read.error.hint);
	assert_string_equal(read.part.name, "part");
	assert_false(read.has_spare);
	assert_null(read.other);
	assert_int_equal(read.part_count, 2);
	assert_string_equal(read.parts[1].name, "second");
	assert_int_equal(read.number_count, 2);
	assert_int_equal(read.numbers[0], -1);
	assert_int_equal(read.untouched, 7);
	packer_release(&packer);

	/* Packed again it is the same, with the parts that may be missing too. */
	record_clear(&part_shape, &read.spare);
	read.has_spare = true;
	read.spare = (struct part){.name = xstrdup("spare"), .size = 3};
	read.other = xcalloc(1, sizeof(*read.other));
	*read.other = (struct part){.name = xstrdup("other"), .size = 4};
	packer_init(&packer);
	record_pack(&thing_shape, &read, &packer);
	record_clear(&thing_shape, &read);
	assert_int_equal(unpack(&packer, &read, &error), 0);
	assert_true(read.has_spare);
	assert_int_equal(read.spare.size, 3);
	assert_string_equal(read.other->name, "other");
	packer_release(&packer);
	record_clear(&thing_shape, &read);
	record_clear(&thing_shape, &thing);
	static const struct thing empty = {.untouched = 7};
	assert_memory_equal(&read, &empty, sizeof(read));
}

/* One key at a time is left out, or has a value that none of the kinds takes. */
static void
a_missing_key_or_a_wrong_type_is_named(void **state)
{
	(void)state;
	for (size_t bad = 0; bad < thing_shape.count; bad++)
		for (int left_out = 0; left_out < 2; left_out++) {
			struct thing thing = make_thing(), read = {.untouched = 7};
			struct packer packer;
			packer_init(&packer);
			pack_map(&packer, thing_shape.count - (left_out ? 1U : 0U));
			for (size_t i = 0; i < thing_shape.count; i++) {
				struct record_shape one = {.fields = &thing_shape.fields[i], .count = 1};
				if (i != bad)
					record_pack_pairs(&one, &thing, &packer);
				else if (!left_out) {
					pack_text(&packer, thing_shape.fields[i].key);
					assert_int_equal(msgpack_pack_bin(&packer.packer, 0), 0);
				}
			}
			struct error error = {.code = ERROR_NONE};
			assert_int_equal(unpack(&packer, &read, &error), -1);
			assert_int_equal(error.code, ERROR_JOURNAL_DAMAGED);
			if (strstr(error.message, thing_shape.fields[bad].key) == NULL)
				fail_msg("'%s' does not name %s", error.message, thing_shape.fields[bad].key);
			static const struct thing empty = {.untouched = 7};
			assert_memory_equal(&read, &empty, sizeof(read));
			error_clear(&error);
			packer_release(&packer);
			record_clear(&thing_shape, &thing);
		}
}

static void
refuse(const char *key, void (*pack)(struct packer *packer))
{
	struct thing thing = make_thing(), read = {.untouched = 7};
	struct packer packer;
	packer_init(&packer);
	pack_map(&packer, thing_shape.count);
	for (size_t i = 0; i < thing_shape.count; i++) {
		struct record_shape one = {.fields = &thing_shape.fields[i], .count = 1};
		if (strcmp(thing_shape.fields[i].key, key) != 0) {
			record_pack_pairs(&one, &thing, &packer);
			continue;
		}
		pack_text(&packer, key);
		pack(&packer);
	}
	struct error error = {.code = ERROR_NONE};
	assert_int_equal(unpack(&packer, &read, &error), -1);
	assert_non_null(strstr(error.message, key));
	error_clear(&error);
	packer_release(&packer);
	record_clear(&thing_shape, &thing);
}

static void
pack_negative(struct packer *packer)
{
	assert_int_equal(msgpack_pack_int64(&packer->packer, -1), 0);
}

static void
pack_unknown_word(struct packer *packer)
{
	pack_text(packer, "green");
}

static void
pack_nil(struct packer *packer)
{
	pack_text(packer, NULL);
}

static void
pack_error_without_code(struct packer *packer)
{
	pack_map(packer, 1);
	pack_key_text(packer, "message", "no code");
}

static void
pack_list_of_other_things(struct packer *packer)
{
	pack_array(packer, 2);
	record_pack(&part_shape, &(struct part){.name = (char[]){"good"}}, packer);
	pack_text(packer, "bad");
}

static void
what_is_beyond_a_field_is_refused(void **state)
{
	(void)state;
	refuse("count", pack_negative);
	refuse("colour", pack_unknown_word);
	refuse("name", pack_nil);
	refuse("part", pack_nil);
	refuse("error", pack_error_without_code);
	refuse("parts", pack_list_of_other_things);
	refuse("numbers", pack_list_of_other_things);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(everything_comes_back),
	    cmocka_unit_test(a_missing_key_or_a_wrong_type_is_named),
	    cmocka_unit_test(what_is_beyond_a_field_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
