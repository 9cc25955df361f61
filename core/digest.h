/* SHA-256 (FIPS 180-4), for names of things that are not to be written down themselves. */
#ifndef ATELIER_CORE_DIGEST_H
#define ATELIER_CORE_DIGEST_H

#include <stddef.h>

/* 64 hex digits. The caller owns them. */
char *digest_sha256(const void *bytes, size_t length);

#endif
