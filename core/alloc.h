/* Memory: one allocator wrapper that ends the process when memory is out (the journal has to survive a crash at
 * any instant anyway), and the cleanup attributes that make ownership of locals visible. */
#ifndef ATELIER_CORE_ALLOC_H
#define ATELIER_CORE_ALLOC_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* None of these returns NULL. The caller owns the result and releases it with free(). */
void *xmalloc(size_t size) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, alloc_size(1, 2), returns_nonnull));
void *xreallocarray(void *memory, size_t count, size_t size) __attribute__((alloc_size(2, 3)));
char *xstrdup(const char *string) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *string, size_t length) __attribute__((malloc, returns_nonnull));
void *xmemdup(const void *memory, size_t size) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2), malloc, returns_nonnull));
char *xvasprintf(const char *format, va_list arguments) __attribute__((format(printf, 1, 0), malloc));

/* Like xstrdup, but NULL stays NULL. */
char *xstrdup_null(const char *string);

/* Replaces the string a pointer owns by a copy of another (or NULL). `value` may be part of the old string. */
void replace_string(char **owner, const char *value);

/* A NULL-terminated list of owned strings. strings_add takes a copy. NULL is the empty list. */
void strings_add(char ***list, const char *string);
size_t strings_count(char *const *list);
/* Moves what `*more` has and `*list` has not to the end of `*list`; the rest is freed and `*more` becomes NULL. */
void strings_move(char ***list, char ***more);
int strings_contain(char *const *list, const char *string);
char **strings_copy(char *const *list);
void strings_free(char **list);

static inline void
cleanup_free_function(void *pointer)
{
	free(*(void **)pointer);
}

static inline void
cleanup_close_function(const int *descriptor)
{
	if (*descriptor >= 0)
		close(*descriptor);
}

static inline void
cleanup_fclose_function(FILE **file)
{
	if (*file != NULL)
		fclose(*file);
}

static inline void
cleanup_strings_function(char ***list)
{
	strings_free(*list);
}

#define cleanup_free    __attribute__((cleanup(cleanup_free_function)))
#define cleanup_close   __attribute__((cleanup(cleanup_close_function)))
#define cleanup_fclose  __attribute__((cleanup(cleanup_fclose_function)))
#define cleanup_strings __attribute__((cleanup(cleanup_strings_function)))

/* Hands the value of a cleanup variable over to a new owner. */
#define take_pointer(pointer)                                                                                        \
	({                                                                                                           \
		__typeof__(pointer) taken_ = (pointer);                                                              \
		(pointer) = NULL;                                                                                    \
		taken_;                                                                                              \
	})

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#endif
