#include "core/digest.h"

#include "core/alloc.h"
#include "core/text.h"

#include <string.h>

#define BLOCK 64
#define WORDS 8

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428a2f98,
    0x71374491,
    0xb5c0fbcf,
    0xe9b5dba5,
    0x3956c25b,
    0x59f111f1,
    0x923f82a4,
    0xab1c5ed5,
    0xd807aa98,
    0x12835b01,
    0x243185be,
    0x550c7dc3,
    0x72be5d74,
    0x80deb1fe,
    0x9bdc06a7,
    0xc19bf174,
    0xe49b69c1,
    0xefbe4786,
    0x0fc19dc6,
    0x240ca1cc,
    0x2de92c6f,
    0x4a7484aa,
    0x5cb0a9dc,
    0x76f988da,
    0x983e5152,
    0xa831c66d,
    0xb00327c8,
    0xbf597fc7,
    0xc6e00bf3,
    0xd5a79147,
    0x06ca6351,
    0x14292967,
    0x27b70a85,
    0x2e1b2138,
    0x4d2c6dfc,
    0x53380d13,
    0x650a7354,
    0x766a0abb,
    0x81c2c92e,
    0x92722c85,
    0xa2bfe8a1,
    0xa81a664b,
    0xc24b8b70,
    0xc76c51a3,
    0xd192e819,
    0xd6990624,
    0xf40e3585,
    0x106aa070,
    0x19a4c116,
    0x1e376c08,
    0x2748774c,
    0x34b0bcb5,
    0x391c0cb3,
    0x4ed8aa4a,
    0x5b9cca4f,
    0x682e6ff3,
    0x748f82ee,
    0x78a5636f,
    0x84c87814,
    0x8cc70208,
    0x90befffa,
    0xa4506ceb,
    0xbef9a3f7,
    0xc67178f2,
};

static uint32_t
rotate(uint32_t word, unsigned bits)
{
	return word >> bits | word << (32 - bits);
}

static void
expand(const unsigned char *block, uint32_t schedule[64])
{
	for (size_t i = 0; i < 16; i++)
		schedule[i] = (uint32_t)block[i * 4] << 24 | (uint32_t)block[i * 4 + 1] << 16 |
			      (uint32_t)block[i * 4 + 2] << 8 | (uint32_t)block[i * 4 + 3];
	for (size_t i = 16; i < 64; i++) {
		uint32_t old = schedule[i - 15], young = schedule[i - 2];
		schedule[i] = schedule[i - 16] + (rotate(old, 7) ^ rotate(old, 18) ^ old >> 3) + schedule[i - 7] +
			      (rotate(young, 17) ^ rotate(young, 19) ^ young >> 10);
	}
}

static void
digest_block(uint32_t state[WORDS], const unsigned char *block)
{
	uint32_t schedule[64];
	expand(block, schedule);
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
	uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
	for (size_t i = 0; i < 64; i++) {
		uint32_t first = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) +
				 constants[i] + schedule[i];
		uint32_t second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
		h = g, g = f, f = e, e = d + first;
		d = c, c = b, b = a, a = first + second;
	}
	state[0] += a, state[1] += b, state[2] += c, state[3] += d;
	state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void
digest_begin(struct digest *digest)
{
	*digest = (struct digest){
	    .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19},
	};
}

/* Adds to a block that has begun. Returns how many bytes that took. */
static size_t
fill_block(struct digest *digest, const unsigned char *input, size_t length)
{
	size_t room = BLOCK - digest->in_block;
	size_t part = length < room ? length : room;
	memcpy(digest->block + digest->in_block, input, part);
	digest->in_block += part;
	if (digest->in_block == BLOCK) {
		digest_block(digest->state, digest->block);
		digest->in_block = 0;
	}
	return part;
}

void
digest_add(struct digest *digest, const void *bytes, size_t length)
{
	const unsigned char *input = bytes;
	digest->length += length;
	while (length > 0) {
		size_t taken = BLOCK;
		if (digest->in_block == 0 && length >= BLOCK)
			digest_block(digest->state, input);
		else
			taken = fill_block(digest, input, length);
		input += taken;
		length -= taken;
	}
}

/* A one bit, zeros, and the length in bits at the end of a block. */
static void
add_padding(struct digest *digest)
{
	uint64_t bits = digest->length * 8;
	unsigned char padding[BLOCK + sizeof(bits)] = {0x80};
	size_t end = digest->in_block + 1 + sizeof(bits) <= BLOCK ? BLOCK : 2 * BLOCK;
	size_t length = end - digest->in_block;
	for (size_t i = 0; i < sizeof(bits); i++)
		padding[length - 1 - i] = (unsigned char)(bits >> (8 * i));
	digest_add(digest, padding, length);
}

char *
digest_end(struct digest *digest)
{
	add_padding(digest);
	struct text hex = {.string = NULL};
	for (size_t i = 0; i < WORDS; i++)
		text_printf(&hex, "%08x", digest->state[i]);
	return text_take(&hex);
}

char *
digest_sha256(const void *bytes, size_t length)
{
	struct digest digest;
	digest_begin(&digest);
	digest_add(&digest, bytes, length);
	return digest_end(&digest);
}
