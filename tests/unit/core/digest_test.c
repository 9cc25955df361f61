#include "core/digest.h"

#include "core/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void
expect_digest(const void *bytes, size_t length, const char *digest)
{
	cleanup_free char *found = digest_sha256(bytes, length);
	assert_string_equal(found, digest);
}

/* The examples of NIST. */
static void
known_digests(void **state)
{
	(void)state;
	static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	expect_digest("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	expect_digest("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	expect_digest(
	    two_blocks, strlen(two_blocks), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	cleanup_free char *million = xmalloc(1000000);
	memset(million, 'a', 1000000);
	expect_digest(million, 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Around the lengths where the padding needs another block; from sha256sum(1). */
static void
padding_at_the_edge_of_a_block(void **state)
{
	(void)state;
	static const struct {
		size_t length;
		const char *digest;
	} cases[] = {
	    {55, "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
	    {56, "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
	    {63, "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34"},
	    {64, "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
	    {65, "635361c48bb9eab14198e76ea8ab7f1a41685d6ad62aa9146d301d4f17eb0ae0"},
	    {119, "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb"},
	    {120, "2f3d335432c70b580af0e8e1b3674a7c020d683aa5f73aaaedfdc55af904c21c"},
	    {128, "6836cf13bac400e9105071cd6af47084dfacad4e5e302c94bfed24e013afb73e"},
	};
	char bytes[128];
	memset(bytes, 'a', sizeof(bytes));
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
		expect_digest(bytes, cases[i].length, cases[i].digest);
}

/* However the bytes come, it is their digest: in two parts split at every place, and in small parts of every size. */
static void
parts_make_the_same_digest(void **state)
{
	(void)state;
	unsigned char bytes[3 * 64 + 9];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 7 + 3);
	for (size_t length = 0; length <= sizeof(bytes); length++) {
		cleanup_free char *whole = digest_sha256(bytes, length);
		for (size_t split = 0; split <= length; split++) {
			struct digest digest;
			digest_begin(&digest);
			digest_add(&digest, bytes, split);
			digest_add(&digest, bytes + split, length - split);
			cleanup_free char *found = digest_end(&digest);
			assert_string_equal(found, whole);
		}
		for (size_t part = 1; part <= 66; part++) {
			struct digest digest;
			digest_begin(&digest);
			for (size_t at = 0; at < length; at += part)
				digest_add(&digest, bytes + at, part < length - at ? part : length - at);
			cleanup_free char *found = digest_end(&digest);
			assert_string_equal(found, whole);
		}
	}
}

static void
nothing_is_added_by_empty_parts(void **state)
{
	(void)state;
	struct digest digest;
	digest_begin(&digest);
	digest_add(&digest, NULL, 0);
	digest_add(&digest, "ab", 2);
	digest_add(&digest, NULL, 0);
	digest_add(&digest, "c", 1);
	cleanup_free char *found = digest_end(&digest);
	assert_string_equal(found, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(known_digests),
	    cmocka_unit_test(padding_at_the_edge_of_a_block),
	    cmocka_unit_test(parts_make_the_same_digest),
	    cmocka_unit_test(nothing_is_added_by_empty_parts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
