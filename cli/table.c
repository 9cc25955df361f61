#include "cli/table.h"

#include "core/alloc.h"
#include "core/text.h"

#include <stdarg.h>
#include <string.h>

/* Spaces between two columns. */
#define GAP 2

void
table_add_toned(struct table *table, enum tone tone, const char *text)
{
	if (table->cell_count == table->cell_room) {
		table->cell_room = table->cell_room == 0 ? 64 : 2 * table->cell_room;
		table->cells = xreallocarray(table->cells, table->cell_room, sizeof(*table->cells));
	}
	size_t start = table->texts.length;
	text_add_printable(&table->texts, text != NULL && *text != '\0' ? text : "-");
	table->cells[table->cell_count++] = (struct table_cell){
	    .start = start,
	    .length = table->texts.length - start,
	    .width = terminal_width(table->texts.string + start),
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
	static const char spaces[] = "                ";
	for (; count >= sizeof(spaces); count -= sizeof(spaces) - 1)
		text_add_bytes(line, spaces, sizeof(spaces) - 1);
	text_add_bytes(line, spaces, count);
}

/* How a row is written: the same for all of them. */
struct table_form {
	const struct table *table;
	const size_t *widths;
	FILE *file;
	bool coloured;
	struct text line;
};

static void
add_cell(struct table_form *form, size_t index, const char *texts, const struct table_cell *cell)
{
	const struct table_column *column = &form->table->columns[index];
	enum tone tone = form->coloured ? cell->tone : TONE_PLAIN;
	size_t padding = form->widths[index] - cell->width;
	if (column->right)
		add_spaces(&form->line, padding);
	if (tone != TONE_PLAIN)
		text_add(&form->line, terminal_tone(form->file, tone));
	text_add_bytes(&form->line, texts + cell->start, cell->length);
	if (tone != TONE_PLAIN)
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

static size_t
width_of_column(const struct table *table, size_t index)
{
	size_t widest = terminal_width(table->columns[index].heading);
	for (size_t i = index; i < table->cell_count; i += table->column_count)
		if (table->cells[i].width > widest)
			widest = table->cells[i].width;
	return widest;
}

void
table_print(const struct table *table, FILE *file)
{
	size_t columns = table->column_count;
	cleanup_free size_t *widths = xcalloc(columns, sizeof(*widths));
	struct table_form form = {
	    .table = table,
	    .widths = widths,
	    .file = file,
	    .coloured = terminal_has_colour(file),
	};
	for (size_t i = 0; i < columns; i++) {
		const char *heading = table->columns[i].heading;
		struct table_cell cell = {
		    .length = strlen(heading), .width = terminal_width(heading), .tone = TONE_FAINT};
		widths[i] = width_of_column(table, i);
		add_cell(&form, i, heading, &cell);
	}
	write_line(&form);
	for (const struct table_cell *row = table->cells; row < table->cells + table->cell_count; row += columns) {
		for (size_t i = 0; i < columns; i++)
			add_cell(&form, i, table->texts.string, &row[i]);
		write_line(&form);
	}
	text_clear(&form.line);
}

void
table_clear(struct table *table)
{
	text_clear(&table->texts);
	free(table->cells);
	table->cells = NULL;
	table->cell_count = table->cell_room = 0;
}
