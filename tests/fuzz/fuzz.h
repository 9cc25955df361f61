/* What the fuzz targets share. A target is one function over bytes that may come from anybody; it asserts what has to
 * hold whatever they are, so that a finding is a crash, a sanitizer's report, a leak, a hang or a broken promise. */
#ifndef ATELIER_TESTS_FUZZ_FUZZ_H
#define ATELIER_TESTS_FUZZ_FUZZ_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Called once for each input with what became of it. tests/fuzz/run sets the variable while it replays the seeds that
 * are named valid-*: one that is refused has gone stale, and the fuzzer would start from nothing. */
static inline void
fuzz_verdict(bool accepted)
{
	static int must_accept = -1;
	if (must_accept < 0)
		must_accept = getenv("ATELIER_FUZZ_MUST_ACCEPT") != NULL;
	assert(accepted || !must_accept);
}

/* A function that failed has said why, in words that cannot drive a terminal, and does not blame itself. */
static inline void
fuzz_expect_error(int result, const struct error *error)
{
	assert(result == -1);
	assert(error_is_set(error) && error->code != ERROR_INTERNAL);
	assert(error->message != NULL && error->message[0] != '\0' && text_is_printable(error->message));
	assert(error->hint == NULL || (error->hint[0] != '\0' && text_is_printable(error->hint)));
}

static inline void
fuzz_expect_success(int result, const struct error *error)
{
	assert(result == 0 && !error_is_set(error) && error->message == NULL && error->hint == NULL);
}

/* Fills an output before a call that may fail, and asserts after it that nobody wrote there. */
#define FUZZ_UNTOUCHED 0xa5

static inline void
fuzz_mark(void *output, size_t size)
{
	memset(output, FUZZ_UNTOUCHED, size);
}

static inline void
fuzz_expect_untouched(const void *output, size_t size)
{
	for (size_t i = 0; i < size; i++)
		assert(((const unsigned char *)output)[i] == FUZZ_UNTOUCHED);
}

#endif
