#include "core/alloc.h"

#include "core/fault.h"

#include <stdint.h>
#include <string.h>

static void __attribute__((noreturn))
out_of_memory(void)
{
	static const char message[] = "atelier-backup: out of memory\n";
	ssize_t ignored = write(STDERR_FILENO, message, sizeof(message) - 1);
	(void)ignored;
	abort();
}

void *
xmalloc(size_t size)
{
	void *memory = fault_fails_alloc() ? NULL : malloc(size == 0 ? 1 : size);
	if (memory == NULL)
		out_of_memory();
	return memory;
}

void *
xcalloc(size_t count, size_t size)
{
	void *memory = fault_fails_alloc() ? NULL : calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
	if (memory == NULL)
		out_of_memory();
	return memory;
}

void *
xreallocarray(void *memory, size_t count, size_t size)
{
	void *grown = fault_fails_alloc() ? NULL : reallocarray(memory, count == 0 ? 1 : count, size == 0 ? 1 : size);
	if (grown == NULL)
		out_of_memory();
	return grown;
}

void *
xmemdup(const void *memory, size_t size)
{
	void *copy = xmalloc(size);
	if (size > 0)
		memcpy(copy, memory, size);
	return copy;
}

char *
xstrdup(const char *string)
{
	return xmemdup(string, strlen(string) + 1);
}

char *
xstrndup(const char *string, size_t length)
{
	size_t actual = strnlen(string, length);
	char *copy = xmalloc(actual + 1);
	memcpy(copy, string, actual);
	copy[actual] = '\0';
	return copy;
}

char *
xstrdup_null(const char *string)
{
	return string == NULL ? NULL : xstrdup(string);
}

char *
xvasprintf(const char *format, va_list arguments)
{
	/* Nearly everything fits; vasprintf would grow and shrink its memory instead. */
	char fits[128];
	va_list again;
	va_copy(again, arguments);
	int length = vsnprintf(fits, sizeof(fits), format, arguments);
	char *result = NULL;
	if (fault_fails_alloc())
		length = -1;
	if (length >= 0 && (size_t)length < sizeof(fits))
		result = xmemdup(fits, (size_t)length + 1);
	else if (length < 0 || vasprintf(&result, format, again) < 0)
		out_of_memory();
	va_end(again);
	return result;
}

char *
xasprintf(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *result = xvasprintf(format, arguments);
	va_end(arguments);
	return result;
}

void
replace_string(char **owner, const char *value)
{
	char *copy = xstrdup_null(value);
	free(*owner);
	*owner = copy;
}

size_t
strings_count(char *const *list)
{
	size_t count = 0;
	while (list != NULL && list[count] != NULL)
		count++;
	return count;
}

void
strings_add(char ***list, const char *string)
{
	size_t count = strings_count(*list);
	*list = xreallocarray(*list, count + 2, sizeof(char *));
	(*list)[count] = xstrdup(string);
	(*list)[count + 1] = NULL;
}

void
strings_move(char ***list, char ***more)
{
	size_t count = strings_count(*list), added = strings_count(*more);
	if (added > 0) {
		*list = xreallocarray(*list, count + added + 1, sizeof(char *));
		(*list)[count] = NULL;
	}
	for (size_t i = 0; i < added; i++) {
		if (strings_contain(*list, (*more)[i])) {
			free((*more)[i]);
			continue;
		}
		(*list)[count++] = (*more)[i];
		(*list)[count] = NULL;
	}
	free(*more);
	*more = NULL;
}

int
strings_contain(char *const *list, const char *string)
{
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		if (strcmp(list[i], string) == 0)
			return 1;
	return 0;
}

char **
strings_copy(char *const *list)
{
	size_t count = strings_count(list);
	if (count == 0)
		return NULL;
	char **copy = xcalloc(count + 1, sizeof(*copy));
	for (size_t i = 0; i < count; i++)
		copy[i] = xstrdup(list[i]);
	return copy;
}

void
strings_free(char **list)
{
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		free(list[i]);
	free(list);
}
