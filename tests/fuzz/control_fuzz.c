/* What a client of the runner may send, as it is taken in: frames in bits of any size, requests, and the other way
 * round what a client takes in from a runner. The first byte says how large the bits are. */
#include "tests/fuzz/fuzz.h"

#include "jobs/control_frame.h"
#include "jobs/control_messages.h"

static bool
take_request(const void *bytes, size_t length)
{
	struct control_call call;
	struct error error = {.code = ERROR_NONE};
	int known = control_call_unpack(bytes, length, &call, &error);
	if (known > 0) {
		/* What was understood can be said again, and is understood the same way. */
		struct packer packer;
		struct control_call again;
		control_call_pack(&call, &packer);
		if (control_call_unpack(
			packer.buffer.data + FRAME_HEAD, packer.buffer.size - FRAME_HEAD, &again, &error) != 1 ||
		    again.request != call.request || again.number != call.number)
			abort();
		control_call_clear(&again);
		packer_release(&packer);
		control_call_clear(&call);
	} else if (known < 0) {
		fuzz_expect_error(known, &error);
	}
	error_clear(&error);
	return known > 0;
}

static bool
take_answer(const void *bytes, size_t length)
{
	bool known = false;
	for (int request = 0; request < CONTROL_REQUEST_COUNT; request++) {
		struct control_event event;
		struct control_reply reply;
		struct error error = {.code = ERROR_NONE};
		int is_event =
		    control_answer_unpack(bytes, length, (enum control_request)request, &event, &reply, &error);
		if (is_event > 0)
			control_event_clear(&event);
		else if (is_event == 0)
			control_reply_clear(&reply);
		else
			fuzz_expect_error(is_event, &error);
		known |= is_event >= 0;
		error_clear(&error);
	}
	struct control_hello hello;
	struct error error = {.code = ERROR_NONE};
	if (control_hello_unpack(bytes, length, &hello, &error) == 0) {
		control_hello_clear(&hello);
		known = true;
	}
	error_clear(&error);
	return known;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	if (length == 0)
		return 0;
	size_t bit = (size_t)bytes[0] + 1;
	bytes++;
	length--;
	bool accepted = take_request(bytes, length);
	accepted |= take_answer(bytes, length);

	struct frame_reader reader = {.largest = CONTROL_LARGEST_FROM_OTHERS};
	while (length > 0) {
		void *place;
		size_t wanted = frame_reader_wants(&reader, &place);
		size_t count = wanted < bit ? wanted : bit;
		count = count < length ? count : length;
		memcpy(place, bytes, count);
		bytes += count;
		length -= count;
		int complete = frame_reader_took(&reader, count);
		if (complete < 0)
			break;
		if (complete == 0)
			continue;
		accepted |= take_request(reader.body, reader.length);
		frame_reader_next(&reader);
	}
	frame_reader_release(&reader);
	fuzz_verdict(accepted);
	return 0;
}
