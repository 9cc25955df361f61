/* Frames of the runner's socket: four bytes of length (big endian), then so many bytes of msgpack. */
#ifndef ATELIER_JOBS_CONTROL_FRAME_H
#define ATELIER_JOBS_CONTROL_FRAME_H

#include <stdbool.h>
#include <stddef.h>

#include "core/pack.h"

#define FRAME_HEAD 4

/* packer_init and room for the head; then exactly one value is packed; frame_end writes the head. The frame is then
 * packer->buffer.data, packer->buffer.size bytes. */
void frame_begin(struct packer *packer);
void frame_end(struct packer *packer);

/* A frame that is coming in. A zeroed struct with `largest` set waits for the first byte. The body grows with what
 * comes, not with what is announced. */
struct frame_reader {
	size_t largest;
	unsigned char head[FRAME_HEAD];
	size_t got; /* of head and body together */
	size_t length;
	char *body;
	size_t room;
};

/* Where the next bytes go, and how many of them: never more than the frame at hand still lacks. */
size_t frame_reader_wants(struct frame_reader *reader, void **ret_place);

/* So many have come. 1: the frame is complete, `body` has `length` bytes; 0: not yet; -1: it announces nothing, or
 * more than `largest`. */
int frame_reader_took(struct frame_reader *reader, size_t count);

bool frame_reader_is_half(const struct frame_reader *reader);

/* Ready for the next frame. */
void frame_reader_next(struct frame_reader *reader);
void frame_reader_release(struct frame_reader *reader);

#endif
