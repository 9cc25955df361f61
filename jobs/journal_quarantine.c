/* Rows that cannot be read: kept whole beside the others, never deleted. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"
#include "core/log.h"
#include "core/text.h"

#include <jansson.h>

static const struct {
	const char *name;
	bool marked;
} tables[] = {
#define X(name, table, marked) [QUARANTINE_##name] = {table, marked},
    QUARANTINE_TABLE_LIST(X)
#undef X
};

/* Bytes that JSON has no words for. */
static json_t *
hexadecimal(const unsigned char *bytes, size_t length)
{
	cleanup_text struct text hex = {.string = NULL};
	text_add(&hex, "");
	for (size_t i = 0; i < length; i++)
		text_printf(&hex, "%02x", bytes[i]);
	return json_pack("{s:s}", "hex", hex.string);
}

static json_t *
column_json(sqlite3_stmt *row, int column)
{
	switch (sqlite3_column_type(row, column)) {
	case SQLITE_INTEGER:
		return json_integer(sqlite3_column_int64(row, column));
	case SQLITE_FLOAT:
		return json_real(sqlite3_column_double(row, column));
	case SQLITE_NULL:
		return json_null();
	default:
		break;
	}
	const unsigned char *bytes = sqlite3_column_blob(row, column);
	size_t length = (size_t)sqlite3_column_bytes(row, column);
	json_t *text = NULL;
	if (sqlite3_column_type(row, column) == SQLITE_TEXT && bytes != NULL)
		text = json_stringn((const char *)bytes, length);
	return text != NULL ? text : hexadecimal(bytes, length);
}

/* The row as a JSON object, NULL if there is none any more. The caller owns it. */
static int
describe_row(struct journal *journal, const char *table, int64_t id, char **ret_content, struct error *error)
{
	cleanup_free char *sql = xasprintf("SELECT * FROM %s WHERE id = ?", table);
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal, sql, VALUES(integer_value(id)), &row, error) < 0)
		return -1;
	int found = journal_step(journal, row, error);
	if (found <= 0)
		return found;
	json_t *object = json_object();
	for (int column = 0; column < sqlite3_column_count(row->handle); column++)
		json_object_set_new(
		    object, sqlite3_column_name(row->handle, column), column_json(row->handle, column));
	char *content = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	*ret_content = content != NULL ? content : xstrdup("{}");
	return 1;
}

static int
set_aside(struct journal *journal, enum quarantine_table table, int64_t id, const char *reason, struct error *error)
{
	cleanup_free char *content = NULL;
	int found = describe_row(journal, tables[table].name, id, &content, error);
	if (found <= 0)
		return found;
	if (journal_execute(journal,
		"INSERT INTO quarantine (at, source, source_id, reason, content) VALUES (?, ?, ?, ?, ?)"
		" ON CONFLICT (source, source_id) DO NOTHING",
		VALUES(integer_value(clock_wall(journal->clock)), text_value(tables[table].name), integer_value(id),
		    text_value(reason), text_value(content)),
		error) < 0)
		return -1;
	if (sqlite3_changes(journal->database) > 0)
		log_error("row %lld of '%s' in the journal %s cannot be read and was set aside: %s", (long long)id,
		    tables[table].name, journal->path, reason);
	if (!tables[table].marked)
		return 0;
	cleanup_free char *mark = xasprintf("UPDATE %s SET quarantined = 1 WHERE id = ?", tables[table].name);
	return journal_execute(journal, mark, VALUES(integer_value(id)), error);
}

int
journal_quarantine(
    struct journal *journal, enum quarantine_table table, int64_t id, const char *reason, struct error *error)
{
	if (journal->read_only)
		return 0;
	if (journal_begin(journal, error) < 0)
		return -1;
	return journal_end(journal, set_aside(journal, table, id, reason, error), error);
}

int
journal_quarantine_count(struct journal *journal, int64_t *ret_count, struct error *error)
{
	return journal_integer(journal, "SELECT count(*) FROM quarantine", NO_VALUES, ret_count, error) < 0 ? -1 : 0;
}
