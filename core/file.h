/* Files: reading small ones whole, judging who may have written them, replacing them durably. */
#ifndef ATELIER_CORE_FILE_H
#define ATELIER_CORE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

/* Reads a regular file whole (NUL-terminated; it may contain NUL) if it has at most `limit` bytes. The caller owns
 * *ret_content. Errors name the path: ERROR_SYSTEM, or ERROR_PERMISSION when it may not be read. */
int file_read(const char *path, size_t limit, char **ret_content, size_t *ret_length, struct error *error);

/* Refuses a file that somebody else could have written: the owner must be root or ourselves, and neither group nor
 * others may write it (ERROR_PERMISSION with the chmod/chown to run as the hint). Symbolic links are followed: the
 * file they lead to counts. With `secret`, group and others may not read it either. */
int file_check_trust(const char *path, bool secret, struct error *error);

/* Absolute, no "." or ".." or empty component, no trailing slash (but "/" itself), no control character. */
bool path_is_clean(const char *path);

/* Where an absolute path leads: clean, without a symbolic link in it. What does not exist yet is kept below what
 * does. The caller owns the result. */
char *path_resolve(const char *path);

/* Is `path` equal to `directory` or below it? Both clean. */
bool path_is_below(const char *path, const char *directory);

/* mkdir -p with mode 0700 for what is missing. An existing last directory must be a directory of ours with no
 * rights for group and others; its mode is corrected if it is ours. */
int directory_make_private(const char *path, struct error *error);

/* Writes a file durably: a name beside it (".NAME.new"), fsync, rename, fsync of the directory. Mode 0600. One
 * process at a time. */
int file_replace(const char *path, const char *content, size_t length, struct error *error);

/* Removes what a file_replace that was killed has left. The next file_replace does so, too. */
void file_forget_replacement(const char *path);

/* Writes everything, also in several steps. -1 with errno set. */
int file_write_all(int descriptor, const void *bytes, size_t length);

/* Looks a program up the way execvp does, in PATH; a name with a slash must be executable. NULL if there is none.
 * The caller owns the result. */
char *program_find(const char *name);

#endif
