#include "jobs/sources.h"

#include "core/alloc.h"
#include "core/file.h"

#include <jansson.h>
#include <string.h>

static bool
held_something(char *const *filled, const char *path)
{
	for (size_t i = 0; filled != NULL && filled[i] != NULL; i++)
		if (path_is_below(filled[i], path))
			return true;
	return false;
}

int
sources_judge(char *const *filled, const struct source_found *found, size_t count, struct error *error)
{
	for (size_t i = 0; i < count; i++) {
		if (!found[i].empty || !held_something(filled, found[i].path))
			continue;
		error_set(error, ERROR_SOURCE_EMPTIED,
		    "%s is empty, and held something when the last good backup was made", found[i].path);
		return error_hint(error, "look whether its file system is mounted; if it is meant to be empty, take "
					 "it out of the manifest, or put "
					 "a file such as .keep into it");
	}
	return 0;
}

char **
sources_filled(const struct source_found *found, size_t count)
{
	/* An empty list says something that an absent one does not. */
	char **filled = xcalloc(1, sizeof(*filled));
	for (size_t i = 0; i < count; i++)
		if (!found[i].empty)
			strings_add(&filled, found[i].path);
	return filled;
}

char *
sources_pack(char *const *filled)
{
	if (filled == NULL)
		return NULL;
	json_t *array = json_array();
	bool is_text = true;
	for (size_t i = 0; is_text && filled[i] != NULL; i++)
		is_text = json_array_append_new(array, json_string(filled[i])) == 0;
	char *packed = is_text ? json_dumps(array, JSON_COMPACT) : NULL;
	json_decref(array);
	return packed;
}

static char **
read_paths(const json_t *array)
{
	if (!json_is_array(array))
		return NULL;
	cleanup_strings char **paths = xcalloc(1, sizeof(*paths));
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *path = json_string_value(json_array_get(array, i));
		if (path == NULL || !path_is_clean(path))
			return NULL;
		strings_add(&paths, path);
	}
	return take_pointer(paths);
}

char **
sources_unpack(const char *packed)
{
	json_t *array = packed == NULL ? NULL : json_loads(packed, 0, NULL);
	char **paths = read_paths(array);
	json_decref(array);
	return paths;
}
