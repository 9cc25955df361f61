/* SHA-256 (FIPS 180-4), for names of things that are not to be written down themselves, and for what is in a file. */
#ifndef ATELIER_CORE_DIGEST_H
#define ATELIER_CORE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* 64 hex digits. The caller owns them. */
char *digest_sha256(const void *bytes, size_t length);

/* Piece by piece. A digest begins with digest_begin and ends with digest_end, which gives the 64 hex digits (the
 * caller owns them); it holds no memory. */
struct digest {
	uint32_t state[8];
	unsigned char block[64];
	size_t in_block;
	uint64_t length;
};

void digest_begin(struct digest *digest);
void digest_add(struct digest *digest, const void *bytes, size_t length);
char *digest_end(struct digest *digest);

#endif
