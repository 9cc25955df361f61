#include "jobs/shrink.h"

#include "core/alloc.h"
#include "core/text.h"

#include <stdbool.h>

/* A handful of files comes and goes. */
#define FEW_FILES   20
#define SMALL_BYTES (UINT64_C(1) << 20)
#define SMALL_DATUM (UINT64_C(64) << 10)

/* Whether more than so many per cent are gone, without an overflow: before * per_cent would be one. */
static bool
has_shrunk(uint64_t before, uint64_t now, uint64_t per_cent)
{
	uint64_t allowed = before / 100 * per_cent + before % 100 * per_cent / 100;
	return now < before && before - now > allowed;
}

/* A spec that an earlier program froze says 0, or nothing. */
static bool
allows_everything(int64_t max_shrink)
{
	return max_shrink < 1 || max_shrink > 99;
}

static int
add_hint(struct error *error)
{
	return error_hint(error,
	    "look whether the data is all there; if it is, set \"maxShrink\" of the service to 100 for one backup");
}

int
shrink_judge(const struct backup_size *before, const struct backup_size *now, int64_t max_shrink, struct error *error)
{
	if (allows_everything(max_shrink))
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
	return add_hint(error);
}

int
shrink_judge_datum(const struct datum *before, const struct datum *now, int64_t max_shrink, struct error *error)
{
	if (allows_everything(max_shrink))
		return 0;
	uint64_t per_cent = (uint64_t)max_shrink;
	bool tables = has_shrunk(before->tables, now->tables, per_cent);
	bool bytes = before->used >= SMALL_DATUM && has_shrunk(before->used, now->used, per_cent);
	if (!tables && !bytes)
		return 0;
	cleanup_free char *size_before = text_size(before->used);
	cleanup_free char *size_now = text_size(now->used);
	const char *what = tables && bytes ? "tables and of the bytes" : tables ? "tables" : "bytes";
	error_set(error, ERROR_DATA_SHRUNK,
	    "%s %s: %llu tables with %s, where the last good backup has %llu with %s: more than %lld per cent of the "
	    "%s are gone",
	    datum_kind_text(now->kind), now->name, (unsigned long long)now->tables, size_now,
	    (unsigned long long)before->tables, size_before, (long long)max_shrink, what);
	return add_hint(error);
}
