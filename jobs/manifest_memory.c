/* The memory of a manifest's JSON tree: tens of thousands of small pieces that all go at once. jansson's functions
 * for memory have no context, so there is one tree at a time, and its memory is in use only while jansson builds it.
 */
#include "jobs/manifest_internal.h"

#include "core/alloc.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* Pieces are multiples of this; larger ones than the last class holds come from the allocator. */
#define UNIT        ((size_t)16)
#define CLASS_COUNT 64
#define LARGE       SIZE_MAX

/* Small enough for the heap, so that what is read next gets the same memory again. */
#define CHUNK ((size_t)64 * 1024)

/* The word before what jansson gets says the class; a free piece is linked through its content. */
struct piece {
	size_t class;
	union {
		struct piece *next;
		char bytes[1];
	};
};

struct large {
	struct large *next;
	struct piece piece;
};

struct chunk {
	struct chunk *next;
	char bytes[];
};

static struct {
	struct chunk *chunks;
	size_t left; /* in the first chunk */
	struct piece *free_pieces[CLASS_COUNT];
	struct large *large;
} memory;

static struct piece *
cut_piece(size_t class)
{
	size_t size = offsetof(struct piece, bytes) + (class + 1) * UNIT;
	if (memory.left < size) {
		struct chunk *chunk = xmalloc(sizeof(*chunk) + CHUNK);
		chunk->next = memory.chunks;
		memory.chunks = chunk;
		memory.left = CHUNK;
	}
	struct piece *piece = (struct piece *)(void *)(memory.chunks->bytes + (CHUNK - memory.left));
	memory.left -= size;
	return piece;
}

static struct piece *
large_piece(size_t size)
{
	struct large *large = xmalloc(sizeof(*large) + size);
	large->next = memory.large;
	memory.large = large;
	return &large->piece;
}

static void *
take_memory(size_t size)
{
	size_t class = size == 0 ? 0 : (size - 1) / UNIT;
	struct piece *piece;
	if (class >= CLASS_COUNT) {
		piece = large_piece(size);
		class = LARGE;
	} else if (memory.free_pieces[class] != NULL) {
		piece = memory.free_pieces[class];
		memory.free_pieces[class] = piece->next;
	} else {
		piece = cut_piece(class);
	}
	piece->class = class;
	return piece->bytes;
}

static void
give_back(void *bytes)
{
	if (bytes == NULL)
		return;
	struct piece *piece = (struct piece *)(void *)((char *)bytes - offsetof(struct piece, bytes));
	/* A large one stays until the end: there are few. */
	if (piece->class == LARGE)
		return;
	piece->next = memory.free_pieces[piece->class];
	memory.free_pieces[piece->class] = piece;
}

json_t *
manifest_decode(const char *content, size_t length, json_error_t *error)
{
	json_malloc_t take;
	json_free_t give;
	assert(memory.chunks == NULL && memory.large == NULL);
	json_get_alloc_funcs(&take, &give);
	json_set_alloc_funcs(take_memory, give_back);
	json_t *root = json_loadb(content, length, JSON_REJECT_DUPLICATES, error);
	json_set_alloc_funcs(take, give);
	return root;
}

void
manifest_release_tree(void)
{
	struct chunk *next_chunk;
	for (struct chunk *chunk = memory.chunks; chunk != NULL; chunk = next_chunk) {
		next_chunk = chunk->next;
		free(chunk);
	}
	struct large *next_large;
	for (struct large *large = memory.large; large != NULL; large = next_large) {
		next_large = large->next;
		free(large);
	}
	memory = (__typeof__(memory)){.chunks = NULL};
}
