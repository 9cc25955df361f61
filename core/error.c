#include "core/error.h"

#include "core/alloc.h"
#include "core/text.h"

#include <string.h>

static const char *const class_words[] = {
#define X(name, word) [ERROR_CLASS_##name] = word,
    ERROR_CLASS_LIST(X)
#undef X
};

static const struct {
	const char *word;
	enum error_class class;
} codes[] = {
#define X(name, word, class) [ERROR_##name] = {word, ERROR_CLASS_##class},
    ERROR_CODE_LIST(X)
#undef X
};

const char *error_class_word(enum error_class class)
{
	return class_words[class];
}

const char *
error_code_word(enum error_code code)
{
	return codes[code].word;
}

enum error_class
error_class_of(enum error_code code)
{
	return codes[code].class;
}

enum error_code
error_code_from_word(const char *word)
{
	for (size_t i = 0; i < ARRAY_LENGTH(codes); i++)
		if (strcmp(codes[i].word, word) == 0)
			return (enum error_code)i;
	return ERROR_INTERNAL;
}

int
error_is_set(const struct error *error)
{
	return error != NULL && error->code != ERROR_NONE;
}

int
error_vset(struct error *error, enum error_code code, const char *format, va_list arguments)
{
	if (error == NULL)
		return -1;
	/* The old message may be an argument of the new one. */
	cleanup_free char *raw = xvasprintf(format, arguments);
	error_clear(error);
	error->code = code;
	error->message = text_printable(raw);
	return -1;
}

int
error_set(struct error *error, enum error_code code, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	error_vset(error, code, format, arguments);
	va_end(arguments);
	return -1;
}

int
error_hint(struct error *error, const char *format, ...)
{
	if (error == NULL)
		return -1;
	va_list arguments;
	va_start(arguments, format);
	cleanup_free char *raw = xvasprintf(format, arguments);
	va_end(arguments);
	free(error->hint);
	error->hint = text_printable(raw);
	return -1;
}

int
error_prefix(struct error *error, const char *format, ...)
{
	if (error == NULL || !error_is_set(error))
		return -1;
	va_list arguments;
	va_start(arguments, format);
	cleanup_free char *prefix = xvasprintf(format, arguments);
	va_end(arguments);
	cleanup_free char *joined = xasprintf("%s: %s", prefix, error->message);
	free(error->message);
	error->message = text_printable(joined);
	return -1;
}

void
error_clear(struct error *error)
{
	if (error == NULL)
		return;
	free(error->message);
	free(error->hint);
	*error = (struct error){.code = ERROR_NONE};
}

void
error_copy(struct error *target, const struct error *source)
{
	if (!error_is_set(source)) {
		error_clear(target);
		return;
	}
	struct error copy = {
	    .code = source->code,
	    .message = xstrdup_null(source->message),
	    .hint = xstrdup_null(source->hint),
	};
	error_clear(target);
	*target = copy;
}

void
error_move(struct error *target, struct error *source)
{
	if (target == source)
		return;
	error_clear(target);
	*target = *source;
	*source = (struct error){.code = ERROR_NONE};
}
