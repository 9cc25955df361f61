/* The memory of a manifest's JSON tree: tens of thousands of small pieces that all go at once. jansson's functions
 * for memory have no context, so there is one tree at a time, and its memory is in use only while jansson builds it.
 */
#include "jobs/manifest_internal.h"

#include "core/alloc.h"

#include <assert.h>

/* Pieces are powers of two; larger ones than the last come from the allocator. */
#define SMALLEST    16
#define CLASS_COUNT 9
#define CHUNK       ((size_t)256 * 1024)

/* What stands before each piece. */
struct piece {
	struct piece *next; /* of the free ones, or of the large ones */
	size_t class;
};

struct chunk {
	struct chunk *next;
	char bytes[];
};

static struct {
	struct chunk *chunks;
	size_t left; /* in the first chunk */
	struct piece *free_pieces[CLASS_COUNT];
	struct piece *large;
} memory;

static struct piece *
cut_piece(size_t class)
{
	size_t size = sizeof(struct piece) + ((size_t)SMALLEST << class);
	if (memory.left < size) {
		struct chunk *chunk = xmalloc(sizeof(*chunk) + CHUNK);
		chunk->next = memory.chunks;
		memory.chunks = chunk;
		memory.left = CHUNK;
	}
	struct piece *piece = (struct piece *)(void *)(memory.chunks->bytes + (CHUNK - memory.left));
	memory.left -= size;
	piece->class = class;
	return piece;
}

static struct piece *
large_piece(size_t size)
{
	struct piece *piece = xmalloc(sizeof(*piece) + size);
	*piece = (struct piece){.next = memory.large, .class = CLASS_COUNT};
	memory.large = piece;
	return piece;
}

static void *
take_memory(size_t size)
{
	size_t class = 0;
	while (class < CLASS_COUNT && (size_t)SMALLEST << class < size)
		class ++;
	struct piece *piece;
	if (class == CLASS_COUNT) {
		piece = large_piece(size);
	} else if (memory.free_pieces[class] != NULL) {
		piece = memory.free_pieces[class];
		memory.free_pieces[class] = piece->next;
	} else {
		piece = cut_piece(class);
	}
	return piece + 1;
}

static void
give_back(void *bytes)
{
	if (bytes == NULL)
		return;
	struct piece *piece = (struct piece *)bytes - 1;
	/* A large one stays until the end: there are few. */
	if (piece->class == CLASS_COUNT)
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
	struct piece *next_piece;
	for (struct piece *piece = memory.large; piece != NULL; piece = next_piece) {
		next_piece = piece->next;
		free(piece);
	}
	memory = (typeof(memory)){.chunks = NULL};
}
