/* "Did you mean ...?" */
#ifndef ATELIER_CLI_NEAREST_H
#define ATELIER_CLI_NEAREST_H

#include <stddef.h>

/* The one of `words` that was probably meant, or NULL if none is near. */
const char *nearest_word(const char *typed, const char *const *words, size_t count);

#endif
