/* What all JSON answers share; docs/json.md. Every function that makes a value makes one for
 * json_object_set_new. */
#ifndef ATELIER_CLI_JSON_OUTPUT_H
#define ATELIER_CLI_JSON_OUTPUT_H

#include <jansson.h>
#include <stdint.h>

#include "core/error.h"
#include "core/problem.h"

#define JSON_OUTPUT_VERSION 1

/* jansson takes its memory from our allocator, which never fails. Once, before anything else. */
void json_output_start(void);

/* {"version": 1} */
json_t *json_output_new(void);

/* Printable text; null for NULL. */
json_t *json_output_text(const char *text);

/* An array, empty for NULL. */
json_t *json_output_texts(char *const *list);

/* RFC 3339; null for 0, "not yet". */
json_t *json_output_time(int64_t microseconds);

/* Seconds with a fraction. */
json_t *json_output_seconds(int64_t microseconds);

json_t *json_output_count(uint64_t number);

/* {"code", "class", "message", "hint"}; null for no error. */
json_t *json_output_error(const struct error *error);

json_t *json_output_problems(const struct problem_list *problems);

/* One object on one line of stdout; the document is released. */
void json_output_print(json_t *document);

/* The same for a document whose last member is a list too long to be held as a whole: first the document without it
 * and the name of the list, then each entry (the first one has index 0), then the end. All are released. */
void json_output_begin_list(json_t *document, const char *name);
void json_output_list_entry(json_t *entry, size_t index);
void json_output_end_list(void);

#endif
