#include "jobs/shrink.h"

#include "core/alloc.h"
#include "core/text.h"

#include <stdbool.h>

/* A handful of files comes and goes. */
#define FEW_FILES   20
#define SMALL_BYTES (UINT64_C(1) << 20)

/* Whether more than so many per cent are gone, without an overflow: before * per_cent would be one. */
static bool
has_shrunk(uint64_t before, uint64_t now, uint64_t per_cent)
{
	uint64_t allowed = before / 100 * per_cent + before % 100 * per_cent / 100;
	return now < before && before - now > allowed;
}

int
shrink_judge(const struct backup_size *before, const struct backup_size *now, int64_t max_shrink, struct error *error)
{
	/* A spec that an earlier program froze says 0, or nothing. */
	if (max_shrink < 1 || max_shrink > 99)
		return 0;
	uint64_t per_cent = (uint64_t)max_shrink;
	bool files = before->files >= FEW_FILES && has_shrunk(before->files, now->files, per_cent);
	bool bytes = before->bytes >= SMALL_BYTES && has_shrunk(before->bytes, now->bytes, per_cent);
	if (!files && !bytes)
		return 0;
	cleanup_free char *size_before = text_size(before->bytes);
	cleanup_free char *size_now = text_size(now->bytes);
	const char *what = files && bytes ? "files and of the bytes" : files ? "files" : "bytes";
	error_set(error, ERROR_DATA_SHRUNK,
	    "%llu files with %s, where the last good backup has %llu with %s: more than %lld per cent of the %s are "
	    "gone",
	    (unsigned long long)now->files, size_now, (unsigned long long)before->files, size_before,
	    (long long)max_shrink, what);
	return error_hint(error,
	    "look whether the data is all there; if it is, set \"maxShrink\" of the service to 100 for one backup");
}
