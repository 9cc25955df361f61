/* A directory for one test, removed with what the test left in it; and a count of our open descriptors. */
#ifndef ATELIER_TESTS_UNIT_CORE_TEMPORARY_H
#define ATELIER_TESTS_UNIT_CORE_TEMPORARY_H

#include "core/alloc.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>

/* The caller owns the path and gives it to temporary_directory_remove. */
static inline char *
temporary_directory_make(void)
{
	const char *parent = getenv("TMPDIR");
	char *path = xasprintf("%s/atelier-test-XXXXXX", parent == NULL ? "/tmp" : parent);
	if (mkdtemp(path) == NULL) {
		perror(path);
		abort();
	}
	return path;
}

static inline int
remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

static inline void
temporary_directory_remove(char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(path);
}

static inline size_t
count_open_descriptors(void)
{
	size_t count = 0;
	DIR *directory = opendir("/proc/self/fd");
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count;
}

#endif
