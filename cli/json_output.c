#include "cli/json_output.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"

#include <stdio.h>

/* As many as a double keeps: 1.7 is not to come out as 1.6999999999999999. */
#define REAL_DIGITS 15

void
json_output_start(void)
{
	json_set_alloc_funcs(xmalloc, free);
}

json_t *
json_output_new(void)
{
	json_t *document = json_object();
	json_object_set_new(document, "version", json_integer(JSON_OUTPUT_VERSION));
	return document;
}

json_t *
json_output_text(const char *text)
{
	if (text == NULL)
		return json_null();
	cleanup_free char *printable = text_printable(text);
	return json_string(printable);
}

json_t *
json_output_texts(char *const *list)
{
	json_t *array = json_array();
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		json_array_append_new(array, json_output_text(list[i]));
	return array;
}

json_t *
json_output_time(int64_t microseconds)
{
	if (microseconds == 0)
		return json_null();
	cleanup_free char *time = text_time_rfc3339(microseconds);
	return json_string(time);
}

json_t *
json_output_seconds(int64_t microseconds)
{
	return json_real((double)microseconds / (double)USEC_PER_SEC);
}

json_t *
json_output_count(uint64_t number)
{
	return json_integer(number > INT64_MAX ? INT64_MAX : (json_int_t)number);
}

json_t *
json_output_error(const struct error *error)
{
	if (!error_is_set(error))
		return json_null();
	json_t *object = json_object();
	json_object_set_new(object, "code", json_output_text(error_code_word(error->code)));
	json_object_set_new(object, "class", json_output_text(error_class_word(error_class_of(error->code))));
	json_object_set_new(object, "message", json_output_text(error->message));
	json_object_set_new(object, "hint", json_output_text(error->hint));
	return object;
}

json_t *
json_output_problems(const struct problem_list *problems)
{
	json_t *array = json_array();
	for (size_t i = 0; i < problems->count; i++) {
		const struct problem *problem = &problems->items[i];
		json_t *object = json_object();
		json_object_set_new(object, "severity", json_output_text(problem_severity_word(problem->severity)));
		json_object_set_new(object, "code", json_output_text(error_code_word(problem->code)));
		json_object_set_new(object, "place", json_output_text(problem->place));
		json_object_set_new(object, "message", json_output_text(problem->message));
		json_object_set_new(object, "remedy", json_output_text(problem->remedy));
		json_array_append_new(array, object);
	}
	return array;
}

#define FORM (JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS))

void
json_output_print(json_t *document)
{
	json_dumpf(document, stdout, FORM);
	putchar('\n');
	json_decref(document);
}

void
json_output_begin_list(json_t *document, const char *name)
{
	cleanup_free char *words = json_dumps(document, FORM | JSON_EMBED);
	printf("{%s,\"%s\":[", words, name);
	json_decref(document);
}

void
json_output_list_entry(json_t *entry, size_t index)
{
	if (index > 0)
		putchar(',');
	json_dumpf(entry, stdout, FORM);
	json_decref(entry);
}

void
json_output_end_list(void)
{
	puts("]}");
}
