/* STATE_DIR/owed: what is owed, in words for a person with a shell, for the case that the journal cannot be
 * read. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"
#include "core/fault.h"
#include "core/file.h"
#include "core/log.h"
#include "core/text.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const char explanation[] = "# What atelier-backup owes while it works. It pays this itself; this file "
				  "is for the case that it cannot.\n"
				  "# First try:  atelier-backup recover\n"
				  "# If the journal cannot be read, do for each line below\n"
				  "#   start-unit UNIT      systemctl start UNIT\n"
				  "#   post-backup SERVICE  what postBackup of SERVICE in the manifest says\n"
				  "# and remove this file.\n";

static char *
owed_path(const struct journal *journal)
{
	return xasprintf("%s/owed", journal->directory);
}

/* The words are those of the rows: one that this version cannot read is named all the same. */
static int
describe_owed(struct journal *journal, struct text *text, struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(journal, "SELECT kind, subject, job_id FROM obligation WHERE result = 'owed' ORDER BY id",
		NO_VALUES, &row, error) < 0)
		return -1;
	int more;
	while ((more = journal_step(journal, row, error)) > 0) {
		cleanup_free char *kind = text_printable(column_text(row, 0));
		cleanup_free char *subject = text_printable(column_text(row, 1));
		text_printf(
		    text, "%s %s  job %lld\n", kind, subject, (long long)sqlite3_column_int64(row->handle, 2));
	}
	return more;
}

static int
replace_owed(const struct journal *journal, const char *path, const struct text *text, struct error *error)
{
	cleanup_error struct error reason = {.code = ERROR_NONE};
	if (file_replace(path, text->string, text->length, &reason) == 0) {
		fault_effect("the list of what is owed");
		return 0;
	}
	bool known = reason.code == ERROR_NO_SPACE || reason.code == ERROR_PERMISSION;
	error_set(
	    error, known ? reason.code : ERROR_JOURNAL, "cannot keep the list of what is owed: %s", reason.message);
	return error_hint(error, "see to the room on the file system of %s and to its rights", journal->directory);
}

int
journal_write_owed(struct journal *journal, struct error *error)
{
	cleanup_free char *path = owed_path(journal);
	cleanup_text struct text text = {.string = NULL};
	text_add(&text, explanation);
	size_t nothing = text.length;
	if (describe_owed(journal, &text, error) < 0)
		return -1;
	if (text.length > nothing)
		return replace_owed(journal, path, &text, error);
	file_forget_replacement(path);
	/* A file that stays names units that run already. */
	if (unlink(path) == 0)
		fault_effect("no list of what is owed");
	else if (errno != ENOENT)
		return error_set(error, ERROR_JOURNAL, "cannot remove %s: %s", path, strerror(errno));
	return 0;
}

void
journal_follow_owed(struct journal *journal)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (journal_write_owed(journal, &error) < 0)
		log_warning("%s", error.message);
}

int
journal_check_orphan(const struct journal *journal, struct error *error)
{
	cleanup_free char *path = owed_path(journal);
	struct stat status;
	if (stat(path, &status) < 0)
		return 0;
	error_set(
	    error, ERROR_JOURNAL_DAMAGED, "the journal %s is gone, but %s names what it owed", journal->path, path);
	return error_hint(error,
	    "put the journal back, or do what %s says (it names the units that may be stopped) and remove it", path);
}
