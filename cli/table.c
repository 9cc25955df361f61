#include "cli/table.h"

#include "core/alloc.h"
#include "core/text.h"

#include <stdarg.h>

void
table_add_toned(struct table *table, enum tone tone, const char *text)
{
	table->cells = xreallocarray(table->cells, table->cell_count + 1, sizeof(*table->cells));
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
print_cell(FILE *file, const struct table_column *column, const char *text, enum tone tone, size_t width, bool last)
{
	size_t own = terminal_width(text);
	int padding = own < width ? (int)(width - own) : 0;
	if (column->right)
		fprintf(file, "%*s", padding, "");
	fprintf(file, "%s%s%s", terminal_tone(file, tone), text, terminal_end(file, tone));
	if (last)
		fputc('\n', file);
	else
		fprintf(file, "%*s  ", column->right ? 0 : padding, "");
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
	for (size_t i = 0; i < columns; i++)
		print_cell(
		    file, &table->columns[i], table->columns[i].heading, TONE_FAINT, widths[i], i + 1 == columns);
	for (size_t row = 0; row < rows; row++) {
		for (size_t i = 0; i < columns; i++) {
			const struct table_cell *cell = &table->cells[row * columns + i];
			print_cell(file, &table->columns[i], cell->text, cell->tone, widths[i], i + 1 == columns);
		}
	}
}

void
table_clear(struct table *table)
{
	for (size_t i = 0; i < table->cell_count; i++)
		free(table->cells[i].text);
	free(table->cells);
	table->cells = NULL;
	table->cell_count = 0;
}
