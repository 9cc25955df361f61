/* "Did you mean ...?" */
#ifndef ATELIER_CORE_NEAREST_H
#define ATELIER_CORE_NEAREST_H

#include <stddef.h>

/* The one of `words` that was probably meant, or NULL if none is near. Capitals count as small letters. */
const char *nearest_word(const char *typed, const char *const *words, size_t count);

#endif
