#include "cli/table.h"

#include "core/alloc.h"
#include "core/text.h"

#include <stdarg.h>

/* Spaces between two columns. */
#define GAP 2

void
table_add_toned(struct table *table, enum tone tone, const char *text)
{
	if (table->cell_count == table->cell_room) {
		table->cell_room = table->cell_room == 0 ? 64 : 2 * table->cell_room;
		table->cells = xreallocarray(table->cells, table->cell_room, sizeof(*table->cells));
	}
	table->cells[table->cell_count++] = (struct table_cell){
	    .text = text_printable(text != NULL && *text != '\0' ? text : "-"),
	    .tone = tone,
	};
}

void
table_add(struct table *table, const char *text)
{
	table_add_toned(table, TONE_PLAIN, text);
}

void
table_printf(struct table *table, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	cleanup_free char *text = xvasprintf(format, arguments);
	va_end(arguments);
	table_add(table, text);
}

void
table_take(struct table *table, char *text)
{
	cleanup_free char *owned = text;
	table_add(table, owned);
}

static void
add_spaces(struct text *line, size_t count)
{
	while (count-- > 0)
		text_add_bytes(line, " ", 1);
}

/* How a row is written: the same for all of them. */
struct table_form {
	const struct table *table;
	const size_t *widths;
	FILE *file;
	struct text line;
};

static void
add_cell(struct table_form *form, size_t index, const char *text, enum tone tone)
{
	const struct table_column *column = &form->table->columns[index];
	size_t own = terminal_width(text);
	size_t padding = own < form->widths[index] ? form->widths[index] - own : 0;
	if (column->right)
		add_spaces(&form->line, padding);
	text_add(&form->line, terminal_tone(form->file, tone));
	text_add(&form->line, text);
	text_add(&form->line, terminal_end(form->file, tone));
	if (index + 1 == form->table->column_count)
		text_add(&form->line, "\n");
	else
		add_spaces(&form->line, (column->right ? 0 : padding) + GAP);
}

static void
write_line(struct table_form *form)
{
	fwrite(form->line.string, 1, form->line.length, form->file);
	form->line.length = 0;
}

void
table_print(const struct table *table, FILE *file)
{
	size_t columns = table->column_count;
	size_t rows = table->cell_count / columns;
	cleanup_free size_t *widths = xcalloc(columns, sizeof(*widths));
	for (size_t i = 0; i < columns; i++) {
		widths[i] = terminal_width(table->columns[i].heading);
		for (size_t row = 0; row < rows; row++) {
			size_t width = terminal_width(table->cells[row * columns + i].text);
			if (width > widths[i])
				widths[i] = width;
		}
	}
	struct table_form form = {.table = table, .widths = widths, .file = file};
	for (size_t i = 0; i < columns; i++)
		add_cell(&form, i, table->columns[i].heading, TONE_FAINT);
	write_line(&form);
	for (size_t row = 0; row < rows; row++) {
		for (size_t i = 0; i < columns; i++) {
			const struct table_cell *cell = &table->cells[row * columns + i];
			add_cell(&form, i, cell->text, cell->tone);
		}
		write_line(&form);
	}
	text_clear(&form.line);
}

void
table_clear(struct table *table)
{
	for (size_t i = 0; i < table->cell_count; i++)
		free(table->cells[i].text);
	free(table->cells);
	table->cells = NULL;
	table->cell_count = table->cell_room = 0;
}
