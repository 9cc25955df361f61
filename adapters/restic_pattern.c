/* Exclude patterns as restic reads them (its internal/filter): component by component, at any depth unless it begins
 * with a slash; what matches a directory matches all below it; "**" is any number of components; of several patterns
 * the last that matches decides, and one with a '!' takes back. */
#include "adapters/restic.h"

#include <fnmatch.h>
#include <string.h>

#include "core/alloc.h"

static char **
components_of(const char *path)
{
	cleanup_free char *copy = xstrdup(path);
	char *rest = NULL;
	char **components = xcalloc(1, sizeof(*components));
	for (char *part = strtok_r(copy, "/", &rest); part != NULL; part = strtok_r(NULL, "/", &rest))
		if (strcmp(part, ".") != 0)
			strings_add(&components, part);
	return components;
}

static bool
matches_from(char *const *pattern, char *const *path)
{
	if (*pattern == NULL)
		return true;
	if (strcmp(*pattern, "**") == 0) {
		for (;; path++)
			if (matches_from(pattern + 1, path))
				return true;
			else if (*path == NULL)
				return false;
	}
	return *path != NULL && fnmatch(*pattern, *path, 0) == 0 && matches_from(pattern + 1, path + 1);
}

static bool
matches(const char *pattern, const char *path)
{
	cleanup_strings char **parts = components_of(pattern);
	cleanup_strings char **components = components_of(path);
	if (*parts == NULL)
		return false;
	if (pattern[0] == '/')
		return matches_from(parts, components);
	for (char *const *from = components; *from != NULL; from++)
		if (matches_from(parts, from))
			return true;
	return false;
}

const char *
restic_excluded_by(char *const *patterns, const char *path)
{
	const char *excluding = NULL;
	for (size_t i = 0; patterns != NULL && patterns[i] != NULL; i++) {
		bool takes_back = patterns[i][0] == '!';
		if (matches(patterns[i] + takes_back, path))
			excluding = takes_back ? NULL : patterns[i];
	}
	return excluding;
}
