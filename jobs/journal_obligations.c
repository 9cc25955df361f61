/* What we owe the outside world. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"

#include <string.h>

/* ---- owing and settling ---- */

static int
write_obligations(struct journal *journal, const struct job_record *job, const struct obligation *obligations,
    size_t count, int64_t now, int64_t *ids, struct error *error)
{
	if (journal_execute(journal, "UPDATE job SET away_since = ? WHERE id = ?",
		VALUES(integer_value(job->away_since), integer_value(job->id)), error) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (journal_execute(journal,
			"INSERT INTO obligation (job_id, kind, subject, role, settles, created_at, result)"
			" VALUES (?, ?, ?, ?, ?, ?, ?)",
			VALUES(integer_value(job->id), text_value(obligation_kind_word(obligations[i].kind)),
			    text_value(obligations[i].subject), text_value(unit_role_word(obligations[i].role)),
			    integer_value(obligations[i].settles), integer_value(now),
			    text_value(obligation_result_word(RESULT_OWED))),
			error) < 0)
			return -1;
		ids[i] = sqlite3_last_insert_rowid(journal->database);
	}
	/* Before the commit: if we die between the two, the file names units that nobody stopped, which harms
	 * nobody; the other way round it would be silent about some. */
	return journal_write_owed(journal, error);
}

int
journal_owe(struct journal *journal, const struct job_record *job, struct obligation *obligations, size_t count,
    struct error *error)
{
	cleanup_free int64_t *ids = xcalloc(count + 1, sizeof(*ids));
	int64_t now = clock_wall(journal->clock);
	if (journal_begin(journal, error) < 0)
		return -1;
	if (journal_end(journal, write_obligations(journal, job, obligations, count, now, ids, error), error) < 0) {
		journal_follow_owed(journal);
		return -1;
	}
	for (size_t i = 0; i < count; i++) {
		obligations[i].id = ids[i];
		obligations[i].job_id = job->id;
		obligations[i].created_at = now;
		obligations[i].settled_at = 0;
		obligations[i].result = RESULT_OWED;
	}
	return 0;
}

static int
write_result(
    struct journal *journal, int64_t id, enum obligation_result result, const char *message, struct error *error)
{
	int64_t settled_at = result == RESULT_OWED ? 0 : clock_wall(journal->clock);
	if (journal_execute(journal, "UPDATE obligation SET result = ?, settled_at = ?, message = ? WHERE id = ?",
		VALUES(text_value(obligation_result_word(result)), integer_value(settled_at), text_value(message),
		    integer_value(id)),
		error) < 0)
		return -1;
	if (sqlite3_changes(journal->database) == 0)
		return error_set(error, ERROR_JOURNAL, "there is no obligation %lld in the journal %s", (long long)id,
		    journal->path);
	return result == RESULT_OWED ? journal_write_owed(journal, error) : 0;
}

int
journal_settle(struct journal *journal, int64_t obligation_id, enum obligation_result result, const char *message,
    struct error *error)
{
	if (journal_begin(journal, error) < 0)
		return -1;
	if (journal_end(journal, write_result(journal, obligation_id, result, message, error), error) < 0)
		return -1;
	journal_follow_owed(journal);
	return 0;
}

/* ---- reading ---- */

static int
read_obligation(const struct statement *row, struct obligation *ret_obligation, struct error *reason)
{
	struct obligation obligation = {
	    .id = sqlite3_column_int64(row->handle, 0),
	    .job_id = sqlite3_column_int64(row->handle, 1),
	    .role = UNIT_ROLE_MAIN,
	    .settles = sqlite3_column_int64(row->handle, 5) != 0,
	    .created_at = sqlite3_column_int64(row->handle, 6),
	    .settled_at = sqlite3_column_int64(row->handle, 7),
	};
	if (!obligation_kind_from_word(column_text(row, 2), &obligation.kind))
		return error_set(reason, ERROR_JOURNAL_DAMAGED, "the kind '%s' is not known", column_text(row, 2));
	if (!obligation_result_from_word(column_text(row, 8), &obligation.result))
		return error_set(reason, ERROR_JOURNAL_DAMAGED, "the result '%s' is not known", column_text(row, 8));
	if (column_text(row, 3)[0] == '\0')
		return error_set(reason, ERROR_JOURNAL_DAMAGED, "it has no subject");
	/* The role only gives the order of the starts: with a word that is not known the unit is still
	 * started. */
	unit_role_from_word(column_text(row, 4), &obligation.role);
	obligation.subject = xstrdup(column_text(row, 3));
	obligation.message = column_copy(row, 9);
	*ret_obligation = obligation;
	return 0;
}

static int
fetch_obligation(
    struct journal *journal, int64_t id, struct obligation *ret_obligation, struct error *reason, struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal,
		"SELECT id, job_id, kind, subject, role, settles, created_at, settled_at, result, message"
		" FROM obligation WHERE id = ?",
		VALUES(integer_value(id)), &row, error) < 0)
		return -1;
	int found = journal_step(journal, row, error);
	if (found > 0)
		read_obligation(row, ret_obligation, reason);
	return found;
}

/* Reads the rows of these ids, and sets aside what cannot be read. */
static int
fetch_obligations(
    struct journal *journal, const int64_t *ids, size_t count, struct obligation_list *ret_list, struct error *error)
{
	cleanup_obligations struct obligation_list list = {.items = xcalloc(count + 1, sizeof(*list.items))};
	for (size_t i = 0; i < count; i++) {
		cleanup_error struct error reason = {.code = ERROR_NONE};
		int found = fetch_obligation(journal, ids[i], &list.items[list.count], &reason, error);
		if (found < 0)
			return -1;
		if (error_is_set(&reason)) {
			if (journal_quarantine(journal, QUARANTINE_OBLIGATION, ids[i], reason.message, error) < 0)
				return -1;
		} else if (found > 0) {
			list.count++;
		}
	}
	if (list.count == 0) {
		*ret_list = (struct obligation_list){.items = NULL};
		return 0;
	}
	*ret_list = list;
	list = (struct obligation_list){.items = NULL};
	return 0;
}

static int
list_obligations(
    struct journal *journal, const char *sql, int64_t job_id, struct obligation_list *ret_list, struct error *error)
{
	cleanup_free int64_t *ids = NULL;
	size_t count;
	struct value value = integer_value(job_id);
	if (journal_ids(journal, sql, &value, job_id != 0 ? 1 : 0, &ids, &count, error) < 0)
		return -1;
	return fetch_obligations(journal, ids, count, ret_list, error);
}

int
journal_obligations(
    struct journal *journal, int64_t job_id, bool open_only, struct obligation_list *ret_list, struct error *error)
{
	/* Those of a job that was set aside count too: its units are down all the same. */
	static const char *const queries[2][2] = {
	    {"SELECT id FROM obligation WHERE quarantined = 0 ORDER BY id",
		"SELECT id FROM obligation WHERE quarantined = 0 AND result = 'owed' ORDER BY id"},
	    {"SELECT id FROM obligation WHERE job_id = ? AND quarantined = 0 ORDER BY id",
		"SELECT id FROM obligation WHERE job_id = ? AND quarantined = 0 AND result = 'owed' ORDER BY "
		"id"},
	};
	return list_obligations(journal, queries[job_id != 0][open_only], job_id, ret_list, error);
}

int
journal_given_up(struct journal *journal, struct obligation_list *ret_list, struct error *error)
{
	/* A later obligation of the same subject took its place: the unit was active again, or its start was
	 * tried again. */
	return list_obligations(journal,
	    "SELECT id FROM obligation AS old WHERE result = 'given-up' AND quarantined = 0"
	    " AND NOT EXISTS (SELECT 1 FROM obligation AS later WHERE later.kind = old.kind"
	    "  AND later.subject = old.subject AND later.id > old.id) ORDER BY id",
	    0, ret_list, error);
}
