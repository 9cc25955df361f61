/* A list of everything that is wrong, each with the place and the remedy: what `check` prints. */
#ifndef ATELIER_CORE_PROBLEM_H
#define ATELIER_CORE_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

/* error: a backup would not work. warning: it works, but somebody should know. note: what is left out by choice. */
#define PROBLEM_SEVERITY_LIST(X)                                                                                     \
	X(ERROR, "error")                                                                                            \
	X(WARNING, "warning")                                                                                        \
	X(NOTE, "note")

enum problem_severity {
#define X(name, word) PROBLEM_##name,
	PROBLEM_SEVERITY_LIST(X)
#undef X
};

struct problem {
	enum problem_severity severity;
	enum error_code code;
	char *place;   /* "/etc/…/backup-manifest.json: services.web.data.sqlite", "unit web.service" */
	char *message; /* printable */
	char *remedy;  /* printable, or NULL */
};

/* A zeroed struct is the empty list. */
struct problem_list {
	struct problem *items;
	size_t count;
};

/* Adds one. `remedy` may be NULL. All words are copied and made printable. */
void problem_add(struct problem_list *list, enum problem_severity severity, enum error_code code, const char *place,
    const char *remedy, const char *format, ...) __attribute__((format(printf, 6, 7)));

/* Adds an error record as a problem of severity error; its hint becomes the remedy. */
void problem_add_error(struct problem_list *list, const char *place, const struct error *error);

size_t problem_count(const struct problem_list *list, enum problem_severity severity);
const char *problem_severity_word(enum problem_severity severity);
void problem_list_clear(struct problem_list *list);

#define cleanup_problems __attribute__((cleanup(problem_list_clear)))

#endif
