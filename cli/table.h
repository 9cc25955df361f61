/* Text in columns, aligned by what it takes on the screen. */
#ifndef ATELIER_CLI_TABLE_H
#define ATELIER_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/terminal.h"
#include "core/text.h"

struct table_column {
	const char *heading;
	bool right; /* numbers */
};

struct table_cell {
	size_t start, length; /* in the table's `texts` */
	size_t width;
	enum tone tone;
};

struct table {
	const struct table_column *columns; /* outlives the table */
	size_t column_count;
	struct table_cell *cells; /* row after row */
	size_t cell_count, cell_room;
	struct text texts;
};

/* Adds the next cell; rows fill from left to right. The text is copied and made printable; NULL and "" show
 * as "-". */
void table_add(struct table *table, const char *text);
void table_add_toned(struct table *table, enum tone tone, const char *text);
void table_printf(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, and takes the ownership of an allocated text. */
void table_take(struct table *table, char *text);

/* Headings and rows, two spaces between columns, nothing behind the last word of a line. Only whole rows. */
void table_print(const struct table *table, FILE *file);

void table_clear(struct table *table);

#define cleanup_table __attribute__((cleanup(table_clear)))

#endif
