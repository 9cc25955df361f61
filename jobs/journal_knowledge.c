/* What the house knows: the last good backup of each service, and the repositories it has seen. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"
#include "jobs/sources.h"

#define GOOD_COLUMNS      "job_id, at, files, bytes, bytes_added, snapshot_id, service"
#define GOOD_COLUMN_COUNT 7

/* A row that says nonsense is no proof of a backup. */
static bool
read_good(const struct statement *row, struct last_good *ret_good)
{
	int64_t numbers[5];
	for (int column = 0; column < (int)ARRAY_LENGTH(numbers); column++) {
		numbers[column] = sqlite3_column_int64(row->handle, column);
		if (numbers[column] < 0)
			return false;
	}
	*ret_good = (struct last_good){
	    .job_id = numbers[0],
	    .at = numbers[1],
	    .files = (uint64_t)numbers[2],
	    .bytes = (uint64_t)numbers[3],
	    .bytes_added = (uint64_t)numbers[4],
	    .snapshot_id = column_copy(row, 5),
	};
	return true;
}

int
journal_last_good(struct journal *journal, const char *service, struct last_good *ret_good, struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal, "SELECT " GOOD_COLUMNS ", sources, data FROM last_good WHERE service = ?",
		VALUES(text_value(service)), &row, error) < 0)
		return -1;
	int found = journal_step(journal, row, error);
	if (found <= 0)
		return found;
	if (!read_good(row, ret_good))
		return 0;
	ret_good->sources = sources_unpack((const char *)sqlite3_column_text(row->handle, GOOD_COLUMN_COUNT));
	datum_list_unpack((const char *)sqlite3_column_text(row->handle, GOOD_COLUMN_COUNT + 1), &ret_good->data);
	return 1;
}

int
journal_last_goods(struct journal *journal, const char *first, const char *last, journal_good_fn *each, void *context,
    struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal, "SELECT " GOOD_COLUMNS " FROM last_good WHERE service BETWEEN ? AND ?",
		VALUES(text_value(first), text_value(last)), &row, error) < 0)
		return -1;
	int found;
	while ((found = journal_step(journal, row, error)) > 0) {
		struct last_good good;
		if (read_good(row, &good))
			each(context, column_text(row, 6), &good);
	}
	return found;
}

int
journal_good_since(struct journal *journal, int64_t since, journal_name_fn *each, void *context, struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal, "SELECT service FROM last_good WHERE at > ? ORDER BY service",
		VALUES(integer_value(since)), &row, error) < 0)
		return -1;
	int found;
	while ((found = journal_step(journal, row, error)) > 0)
		each(context, column_text(row, 0));
	return found;
}

void
last_good_clear(struct last_good *good)
{
	free(good->snapshot_id);
	strings_free(good->sources);
	datum_list_clear(&good->data);
	*good = (struct last_good){.job_id = 0};
}

int
journal_repository_seen(struct journal *journal, const char *place, char **ret_repository_id, struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal, "SELECT repository_id FROM repository WHERE place = ?", VALUES(text_value(place)),
		&row, error) < 0)
		return -1;
	int found = journal_step(journal, row, error);
	if (found > 0)
		*ret_repository_id = xstrdup(column_text(row, 0));
	return found;
}

int
journal_repository_remember(
    struct journal *journal, const char *place, const char *repository_id, struct error *error)
{
	if (journal_begin(journal, error) < 0)
		return -1;
	int result = journal_execute(journal,
	    "INSERT INTO repository (place, repository_id, first_seen_at) VALUES (?, ?, ?)"
	    " ON CONFLICT (place) DO UPDATE SET repository_id = excluded.repository_id,"
	    " first_seen_at = excluded.first_seen_at WHERE repository_id <> excluded.repository_id",
	    VALUES(text_value(place), text_value(repository_id), integer_value(clock_wall(journal->clock))), error);
	return journal_end(journal, result, error);
}
