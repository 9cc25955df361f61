#include "core/problem.h"

#include "core/alloc.h"
#include "core/text.h"

static const char *const severity_words[] = {
#define X(name, word) [PROBLEM_##name] = word,
    PROBLEM_SEVERITY_LIST(X)
#undef X
};

const char *
problem_severity_word(enum problem_severity severity)
{
	return severity_words[severity];
}

void
problem_add(struct problem_list *list, enum problem_severity severity, enum error_code code, const char *place,
    const char *remedy, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	cleanup_free char *message = xvasprintf(format, arguments);
	va_end(arguments);

	list->items = xreallocarray(list->items, list->count + 1, sizeof(list->items[0]));
	list->items[list->count++] = (struct problem){
	    .severity = severity,
	    .code = code,
	    .place = text_printable(place),
	    .message = text_printable(message),
	    .remedy = remedy == NULL ? NULL : text_printable(remedy),
	};
}

void
problem_add_error(struct problem_list *list, const char *place, const struct error *error)
{
	problem_add(list, PROBLEM_ERROR, error->code, place, error->hint, "%s", error->message);
}

size_t
problem_count(const struct problem_list *list, enum problem_severity severity)
{
	size_t count = 0;
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].severity == severity)
			count++;
	return count;
}

void
problem_list_clear(struct problem_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].place);
		free(list->items[i].message);
		free(list->items[i].remedy);
	}
	free(list->items);
	*list = (struct problem_list){.items = NULL};
}
