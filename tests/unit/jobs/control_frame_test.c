/* Frames in bits of every size, cut at every byte, too long and empty. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "jobs/control_frame.h"

static struct packer
make_frame(size_t length)
{
	struct packer packer;
	cleanup_free char *text = xmalloc(length + 1);
	memset(text, 'x', length);
	text[length] = '\0';
	frame_begin(&packer);
	pack_map(&packer, 1);
	pack_key_text(&packer, "text", text);
	frame_end(&packer);
	return packer;
}

/* Gives the reader at most `bit` bytes at once until a frame is complete. How many it took; 0: not complete. */
static size_t
feed(struct frame_reader *reader, const char *bytes, size_t length, size_t bit)
{
	size_t taken = 0;
	while (taken < length) {
		void *place;
		size_t count = frame_reader_wants(reader, &place);
		assert_true(count > 0);
		count = count < bit ? count : bit;
		count = count < length - taken ? count : length - taken;
		memcpy(place, bytes + taken, count);
		taken += count;
		int complete = frame_reader_took(reader, count);
		assert_int_not_equal(complete, -1);
		if (complete > 0)
			return taken;
	}
	return 0;
}

static void
two_frames_in_bits_of_any_size(void **state)
{
	(void)state;
	struct packer first = make_frame(10), second = make_frame(300);
	size_t length = first.buffer.size + second.buffer.size;
	cleanup_free char *bytes = xmalloc(length);
	memcpy(bytes, first.buffer.data, first.buffer.size);
	memcpy(bytes + first.buffer.size, second.buffer.data, second.buffer.size);
	for (size_t bit = 1; bit <= length; bit++) {
		struct frame_reader reader = {.largest = 1000};
		/* It takes nothing of the second one. */
		assert_int_equal(feed(&reader, bytes, length, bit), first.buffer.size);
		assert_int_equal(reader.length, first.buffer.size - FRAME_HEAD);
		assert_memory_equal(reader.body, first.buffer.data + FRAME_HEAD, reader.length);
		frame_reader_next(&reader);
		assert_false(frame_reader_is_half(&reader));
		assert_int_equal(
		    feed(&reader, bytes + first.buffer.size, second.buffer.size, bit), second.buffer.size);
		assert_memory_equal(reader.body, second.buffer.data + FRAME_HEAD, reader.length);
		frame_reader_release(&reader);
	}
	packer_release(&first);
	packer_release(&second);
}

static void
a_frame_that_is_cut_is_half(void **state)
{
	(void)state;
	struct packer frame = make_frame(100);
	for (size_t length = 1; length < frame.buffer.size; length++) {
		struct frame_reader reader = {.largest = 1000};
		assert_int_equal(feed(&reader, frame.buffer.data, length, 7), 0);
		assert_true(frame_reader_is_half(&reader));
		frame_reader_release(&reader);
	}
	packer_release(&frame);
}

static void
expect_head(const char *head, size_t largest, int expected)
{
	struct frame_reader reader = {.largest = largest};
	void *place;
	assert_int_equal(frame_reader_wants(&reader, &place), FRAME_HEAD);
	memcpy(place, head, FRAME_HEAD);
	assert_int_equal(frame_reader_took(&reader, FRAME_HEAD), expected);
	assert_null(reader.body);
	frame_reader_release(&reader);
}

static void
what_is_announced_is_bounded(void **state)
{
	(void)state;
	expect_head("\0\0\0\0", 256, -1);
	expect_head("\0\0\0\1", 256, 0);
	expect_head("\0\0\1\0", 256, 0);
	expect_head("\0\0\1\1", 256, -1);
	expect_head("\xff\xff\xff\xff", 256, -1);
	expect_head("\xff\xff\xff\xff", 16 * 1024 * 1024, -1);
}

static void
a_large_frame_is_not_paid_for_before_it_comes(void **state)
{
	(void)state;
	size_t length = 3 * 1024 * 1024;
	struct packer frame = make_frame(length);
	struct frame_reader reader = {.largest = 16 * 1024 * 1024};
	assert_int_equal(feed(&reader, frame.buffer.data, 10000, 1000), 0);
	assert_true(reader.room < 64 * 1024);
	assert_true(feed(&reader, frame.buffer.data + 10000, frame.buffer.size - 10000, 100000) > 0);
	assert_memory_equal(reader.body, frame.buffer.data + FRAME_HEAD, reader.length);
	/* Nor is its room kept. */
	frame_reader_next(&reader);
	assert_null(reader.body);
	frame_reader_release(&reader);
	packer_release(&frame);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(two_frames_in_bits_of_any_size),
	    cmocka_unit_test(a_frame_that_is_cut_is_half),
	    cmocka_unit_test(what_is_announced_is_bounded),
	    cmocka_unit_test(a_large_frame_is_not_paid_for_before_it_comes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
