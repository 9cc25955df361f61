#include "jobs/control_frame.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "core/alloc.h"

#define FIRST_ROOM  4096
#define LARGEST_BIT (64 * 1024)

/* A body that was larger is not kept for the next frame. */
#define ROOM_KEPT (64 * 1024)

void
frame_begin(struct packer *packer)
{
	static const char head[FRAME_HEAD];
	packer_init(packer);
	if (msgpack_sbuffer_write(&packer->buffer, head, sizeof(head)) != 0)
		abort();
}

void
frame_end(struct packer *packer)
{
	uint32_t length = htonl((uint32_t)(packer->buffer.size - FRAME_HEAD));
	memcpy(packer->buffer.data, &length, sizeof(length));
}

size_t
frame_reader_wants(struct frame_reader *reader, void **ret_place)
{
	if (reader->got < FRAME_HEAD) {
		*ret_place = reader->head + reader->got;
		return FRAME_HEAD - reader->got;
	}
	size_t have = reader->got - FRAME_HEAD;
	if (have == reader->room) {
		reader->room = reader->room == 0 ? FIRST_ROOM : 2 * reader->room;
		reader->body = xreallocarray(reader->body, reader->room, 1);
	}
	size_t bit = reader->length - have;
	if (bit > reader->room - have)
		bit = reader->room - have;
	*ret_place = reader->body + have;
	return bit < LARGEST_BIT ? bit : LARGEST_BIT;
}

int
frame_reader_took(struct frame_reader *reader, size_t count)
{
	reader->got += count;
	if (reader->got < FRAME_HEAD)
		return 0;
	if (reader->got == FRAME_HEAD) {
		uint32_t length;
		memcpy(&length, reader->head, sizeof(length));
		reader->length = ntohl(length);
		return reader->length == 0 || reader->length > reader->largest ? -1 : 0;
	}
	return reader->got - FRAME_HEAD == reader->length;
}

bool
frame_reader_is_half(const struct frame_reader *reader)
{
	return reader->got > 0;
}

void
frame_reader_next(struct frame_reader *reader)
{
	reader->got = reader->length = 0;
	if (reader->room > ROOM_KEPT)
		frame_reader_release(reader);
}

void
frame_reader_release(struct frame_reader *reader)
{
	free(reader->body);
	reader->body = NULL;
	reader->got = reader->length = reader->room = 0;
}
