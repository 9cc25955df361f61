/* Children: what a dead runner may have left running. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"

#include <limits.h>
#include <string.h>

int
journal_child_begin(struct journal *journal, int64_t job_id, const char *command, const struct child_identity *child,
    int64_t *ret_child_id, struct error *error)
{
	if (journal_begin(journal, error) < 0)
		return -1;
	int result = journal_execute(journal,
	    "INSERT INTO child (job_id, command, pid, start_ticks, boot_id, begun_at) VALUES (?, ?, ?, ?, ?, "
	    "?)",
	    VALUES(integer_value(job_id), text_value(command), integer_value(child->pid),
		integer_value((int64_t)child->start_ticks), text_value(clock_boot_id()),
		integer_value(clock_wall(journal->clock))),
	    error);
	int64_t id = sqlite3_last_insert_rowid(journal->database);
	if (journal_end(journal, result, error) < 0)
		return -1;
	*ret_child_id = id;
	return 0;
}

int
journal_child_end(struct journal *journal, int64_t child_id, struct error *error)
{
	if (journal_begin(journal, error) < 0)
		return -1;
	int result = journal_execute(journal, "UPDATE child SET ended_at = ? WHERE id = ?",
	    VALUES(integer_value(clock_wall(journal->clock)), integer_value(child_id)), error);
	return journal_end(journal, result, error);
}

static int
give_child(struct journal *journal, int64_t id, journal_child_fn *each, void *context, bool *ret_readable,
    struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal,
		"SELECT job_id, command, pid, start_ticks, boot_id, ended_at FROM child WHERE id = ?",
		VALUES(integer_value(id)), &row, error) < 0)
		return -1;
	int found = journal_step(journal, row, error);
	if (found <= 0)
		return found;
	/* The pid is going to be signalled: 0, 1 and negative ones would hit others than a child of ours. */
	int64_t pid = sqlite3_column_int64(row->handle, 2);
	int64_t start_ticks = sqlite3_column_int64(row->handle, 3);
	*ret_readable = pid > 1 && pid <= INT_MAX && start_ticks >= 0;
	if (!*ret_readable)
		return 0;
	cleanup_free char *command = xstrdup(column_text(row, 1));
	struct child_record child = {
	    .id = id,
	    .job_id = sqlite3_column_int64(row->handle, 0),
	    .command = command,
	    .identity = {.pid = (pid_t)pid, .start_ticks = (uint64_t)start_ticks},
	    .this_boot = strcmp(column_text(row, 4), clock_boot_id()) == 0,
	    .ended = sqlite3_column_int64(row->handle, 5) != 0,
	};
	statement_release(take_pointer(row));
	each(context, &child);
	return 0;
}

int
journal_children(struct journal *journal, journal_child_fn *each, void *context, struct error *error)
{
	cleanup_free int64_t *ids = NULL;
	size_t count;
	if (journal_ids(
		journal, "SELECT id FROM child WHERE ended_at = 0 ORDER BY id", NO_VALUES, &ids, &count, error) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		bool readable = true;
		if (give_child(journal, ids[i], each, context, &readable, error) < 0)
			return -1;
		if (!readable &&
		    journal_quarantine(journal, QUARANTINE_CHILD, ids[i], "it names no process", error) < 0)
			return -1;
	}
	return 0;
}
