/* Words kept with a job: what the programs we drive have said. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"

#define NOTES_KEPT 500

static int
add_note(struct journal *journal, int64_t job_id, const char *source, const char *text, struct error *error)
{
	int64_t count = 0;
	if (journal_integer(journal, "SELECT count(*) FROM note WHERE job_id = ?", VALUES(integer_value(job_id)),
		&count, error) < 0)
		return -1;
	if (count >= NOTES_KEPT)
		return journal_execute(journal, "UPDATE job SET notes_dropped = notes_dropped + 1 WHERE id = ?",
		    VALUES(integer_value(job_id)), error);
	return journal_execute(journal, "INSERT INTO note (job_id, at, source, text) VALUES (?, ?, ?, ?)",
	    VALUES(integer_value(job_id), integer_value(clock_wall(journal->clock)), text_value(source),
		text_value(text)),
	    error);
}

int
journal_add_note(struct journal *journal, int64_t job_id, const char *source, const char *text, struct error *error)
{
	/* restic may say a line for each of ten thousand unreadable files; a flush of the disk for each would
	 * hold up everything else. */
	if (journal_begin_relaxed(journal, error) < 0)
		return -1;
	return journal_end(journal, add_note(journal, job_id, source, text, error), error);
}

static int
give_note(struct journal *journal, int64_t id, journal_note_fn *each, void *context, struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal, "SELECT at, source, text FROM note WHERE id = ?", VALUES(integer_value(id)), &row,
		error) < 0)
		return -1;
	int found = journal_step(journal, row, error);
	if (found <= 0)
		return found;
	int64_t at = sqlite3_column_int64(row->handle, 0);
	cleanup_free char *source = xstrdup(column_text(row, 1));
	cleanup_free char *text = xstrdup(column_text(row, 2));
	statement_release(take_pointer(row));
	each(context, at, source, text);
	return 0;
}

/* The last line, if some are not kept: how many. */
static int
give_dropped(struct journal *journal, int64_t job_id, journal_note_fn *each, void *context, struct error *error)
{
	int64_t dropped = 0, at = 0;
	if (journal_integer(journal, "SELECT notes_dropped FROM job WHERE id = ?", VALUES(integer_value(job_id)),
		&dropped, error) < 0 ||
	    journal_integer(
		journal, "SELECT max(at) FROM note WHERE job_id = ?", VALUES(integer_value(job_id)), &at, error) < 0)
		return -1;
	if (dropped <= 0)
		return 0;
	cleanup_free char *text = xasprintf("%lld more lines were not kept", (long long)dropped);
	each(context, at, "atelier-backup", text);
	return 0;
}

int
journal_notes(struct journal *journal, int64_t job_id, journal_note_fn *each, void *context, struct error *error)
{
	cleanup_free int64_t *ids = NULL;
	size_t count;
	if (journal_ids(journal, "SELECT id FROM note WHERE job_id = ? ORDER BY id", VALUES(integer_value(job_id)),
		&ids, &count, error) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (give_note(journal, ids[i], each, context, error) < 0)
			return -1;
	return give_dropped(journal, job_id, each, context, error);
}
