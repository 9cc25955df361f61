/* The journal's schema and its history. docs/journal.md describes it table by table. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"

/* What the values of words, times and counts may be is judged where rows are read, not by CHECK: a row that
 * breaks a rule has to be set aside alone, while quick_check would call the whole file damaged. */
static const char version_1[] = "CREATE TABLE meta ("
				"  key TEXT PRIMARY KEY,"
				"  value TEXT NOT NULL"
				") STRICT, WITHOUT ROWID;"
				"INSERT INTO meta VALUES ('identity', lower(hex(randomblob(8))));"

				"CREATE TABLE run ("
				"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
				"  kind TEXT NOT NULL,"
				"  night TEXT,"
				"  created_at INTEGER NOT NULL"
				") STRICT;"
				"CREATE UNIQUE INDEX run_night ON run(night) WHERE night IS NOT NULL;"

				"CREATE TABLE job ("
				"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
				"  run_id INTEGER NOT NULL REFERENCES run(id),"
				"  kind TEXT NOT NULL,"
				"  service TEXT NOT NULL,"
				"  state TEXT NOT NULL,"
				"  outcome TEXT NOT NULL,"
				"  attempt INTEGER NOT NULL DEFAULT 1,"
				"  due_at INTEGER NOT NULL,"
				"  submitted_at INTEGER NOT NULL,"
				"  started_at INTEGER NOT NULL DEFAULT 0,"
				"  ended_at INTEGER NOT NULL DEFAULT 0,"
				"  state_since INTEGER NOT NULL,"
				"  snapshot_begun INTEGER NOT NULL DEFAULT 0,"
				"  snapshot_id TEXT,"
				"  files INTEGER NOT NULL DEFAULT 0,"
				"  bytes INTEGER NOT NULL DEFAULT 0,"
				"  bytes_added INTEGER NOT NULL DEFAULT 0,"
				"  missing_count INTEGER NOT NULL DEFAULT 0,"
				"  away_since INTEGER NOT NULL DEFAULT 0,"
				"  away INTEGER NOT NULL DEFAULT 0,"
				"  error_code TEXT NOT NULL DEFAULT 'none',"
				"  error_message TEXT,"
				"  error_hint TEXT,"
				"  notes_dropped INTEGER NOT NULL DEFAULT 0,"
				"  quarantined INTEGER NOT NULL DEFAULT 0,"
				"  spec BLOB NOT NULL"
				") STRICT;"
				"CREATE INDEX job_run ON job(run_id);"
				"CREATE INDEX job_service ON job(service, id);"
				"CREATE INDEX job_unfinished ON job(service, id)"
				"  WHERE quarantined = 0 AND state NOT IN ('pruned', 'failed');"

				"CREATE TABLE transition ("
				"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
				"  job_id INTEGER NOT NULL REFERENCES job(id),"
				"  attempt INTEGER NOT NULL,"
				"  at INTEGER NOT NULL,"
				"  from_state TEXT NOT NULL,"
				"  to_state TEXT NOT NULL,"
				"  event TEXT NOT NULL,"
				"  message TEXT"
				") STRICT;"
				"CREATE INDEX transition_job ON transition(job_id, id);"
				"CREATE TRIGGER transition_is_not_changed BEFORE UPDATE ON transition"
				"  BEGIN SELECT raise(ABORT, 'transitions are append-only'); END;"
				"CREATE TRIGGER transition_is_not_deleted BEFORE DELETE ON transition"
				"  BEGIN SELECT raise(ABORT, 'transitions are append-only'); END;"

				"CREATE TABLE obligation ("
				"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
				"  job_id INTEGER NOT NULL REFERENCES job(id),"
				"  kind TEXT NOT NULL,"
				"  subject TEXT NOT NULL,"
				"  role TEXT NOT NULL,"
				"  settles INTEGER NOT NULL,"
				"  created_at INTEGER NOT NULL,"
				"  settled_at INTEGER NOT NULL DEFAULT 0,"
				"  result TEXT NOT NULL,"
				"  message TEXT,"
				"  quarantined INTEGER NOT NULL DEFAULT 0"
				") STRICT;"
				"CREATE INDEX obligation_job ON obligation(job_id);"
				"CREATE INDEX obligation_subject ON obligation(kind, subject, id);"
				"CREATE INDEX obligation_open ON obligation(id) WHERE result = 'owed';"
				"CREATE INDEX obligation_given_up ON obligation(id) WHERE result = 'given-up';"

				"CREATE TABLE child ("
				"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
				"  job_id INTEGER NOT NULL REFERENCES job(id),"
				"  command TEXT NOT NULL,"
				"  pid INTEGER NOT NULL,"
				"  start_ticks INTEGER NOT NULL,"
				"  boot_id TEXT NOT NULL,"
				"  begun_at INTEGER NOT NULL,"
				"  ended_at INTEGER NOT NULL DEFAULT 0"
				") STRICT;"
				"CREATE INDEX child_open ON child(id) WHERE ended_at = 0;"

				"CREATE TABLE note ("
				"  id INTEGER PRIMARY KEY,"
				"  job_id INTEGER NOT NULL REFERENCES job(id),"
				"  at INTEGER NOT NULL,"
				"  source TEXT NOT NULL,"
				"  text TEXT NOT NULL"
				") STRICT;"
				"CREATE INDEX note_job ON note(job_id, id);"

				"CREATE TABLE last_good ("
				"  service TEXT PRIMARY KEY,"
				"  job_id INTEGER NOT NULL REFERENCES job(id),"
				"  at INTEGER NOT NULL,"
				"  snapshot_id TEXT,"
				"  files INTEGER NOT NULL,"
				"  bytes INTEGER NOT NULL,"
				"  bytes_added INTEGER NOT NULL"
				") STRICT, WITHOUT ROWID;"

				"CREATE TABLE repository ("
				"  place TEXT PRIMARY KEY,"
				"  repository_id TEXT NOT NULL,"
				"  first_seen_at INTEGER NOT NULL"
				") STRICT, WITHOUT ROWID;"

				"CREATE TABLE quarantine ("
				"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
				"  at INTEGER NOT NULL,"
				"  source TEXT NOT NULL,"
				"  source_id INTEGER NOT NULL,"
				"  reason TEXT NOT NULL,"
				"  content TEXT NOT NULL,"
				"  UNIQUE (source, source_id)"
				") STRICT;"
				"CREATE TRIGGER quarantine_is_not_changed BEFORE UPDATE ON quarantine"
				"  BEGIN SELECT raise(ABORT, 'what was set aside stays'); END;"
				"CREATE TRIGGER quarantine_is_not_deleted BEFORE DELETE ON quarantine"
				"  BEGIN SELECT raise(ABORT, 'what was set aside stays'); END;"

				"CREATE TABLE probe ("
				"  id INTEGER PRIMARY KEY,"
				"  filler BLOB NOT NULL"
				") STRICT;";

/* More than one kind of job, attempts that only wait for a lock, uploads that were cut. */
static const char version_2[] = "ALTER TABLE job ADD COLUMN busy INTEGER NOT NULL DEFAULT 0;"
				"ALTER TABLE job ADD COLUMN unindexed INTEGER NOT NULL DEFAULT 0;"
				"ALTER TABLE job ADD COLUMN waiting TEXT;"
				"ALTER TABLE job ADD COLUMN summary TEXT;";

/* Which sources held something. */
static const char version_3[] = "ALTER TABLE job ADD COLUMN sources TEXT;"
				"ALTER TABLE last_good ADD COLUMN sources TEXT;";

/* How large each database was. */
static const char version_4[] = "ALTER TABLE job ADD COLUMN data TEXT;"
				"ALTER TABLE last_good ADD COLUMN data TEXT;";

static const char *const steps[] = {version_1, version_2, version_3, version_4};

const struct migration_list journal_migrations = {.steps = steps, .count = (int)ARRAY_LENGTH(steps)};

static int
read_pragma(struct journal *journal, const char *pragma, int64_t *ret_value, struct error *error)
{
	int found = journal_integer(journal, pragma, NO_VALUES, ret_value, error);
	if (found == 0)
		return journal_damaged(journal, error, "the journal %s does not answer %s", journal->path, pragma);
	return found < 0 ? -1 : 0;
}

int
journal_version(struct journal *journal, int64_t *ret_version, struct error *error)
{
	int64_t application, version, entries;
	if (read_pragma(journal, "PRAGMA application_id", &application, error) < 0 ||
	    read_pragma(journal, "PRAGMA user_version", &version, error) < 0 ||
	    read_pragma(journal, "SELECT count(*) FROM sqlite_schema", &entries, error) < 0)
		return -1;
	if (application == 0 && version == 0 && entries == 0) {
		*ret_version = 0;
		return 0;
	}
	if (application != JOURNAL_APPLICATION_ID) {
		error_set(error, ERROR_JOURNAL, "%s is the database of another program (application id %#llx)",
		    journal->path, (unsigned long long)application);
		return error_hint(error, "give another state directory, or move the file out of the way");
	}
	if (version < 1 || entries == 0)
		return journal_damaged(journal, error, "the journal %s is damaged: version %lld, %lld schema entries",
		    journal->path, (long long)version, (long long)entries);
	*ret_version = version;
	return 0;
}

int
journal_newer(const struct journal *journal, int64_t version, int64_t known, struct error *error)
{
	error_set(error, ERROR_JOURNAL_NEWER,
	    "the journal %s was written by a newer atelier-backup (schema %lld, this one knows %lld)", journal->path,
	    (long long)version, (long long)known);
	return error_hint(error, "use the newer atelier-backup; this one changes nothing");
}

static int
apply(struct journal *journal, const struct migration_list *migrations, struct error *error)
{
	int64_t version;
	if (journal_version(journal, &version, error) < 0)
		return -1;
	if (version > migrations->count)
		return journal_newer(journal, version, migrations->count, error);
	if (version == migrations->count)
		return 0;
	for (int64_t step = version; step < migrations->count; step++) {
		int code = sqlite3_exec(journal->database, migrations->steps[step], NULL, NULL, NULL);
		if (code != SQLITE_OK)
			return journal_error(journal, code, "migrate", error);
	}
	/* Both pragmas are part of the transaction. */
	cleanup_free char *stamp = xasprintf(
	    "PRAGMA application_id = %d; PRAGMA user_version = %d", JOURNAL_APPLICATION_ID, migrations->count);
	int code = sqlite3_exec(journal->database, stamp, NULL, NULL, NULL);
	return code == SQLITE_OK ? 0 : journal_error(journal, code, "migrate", error);
}

int
journal_migrate(struct journal *journal, const struct migration_list *migrations, struct error *error)
{
	int64_t version;
	if (journal_version(journal, &version, error) < 0)
		return -1;
	if (version == migrations->count)
		return 0;
	if (version > migrations->count)
		return journal_newer(journal, version, migrations->count, error);
	if (journal_begin(journal, error) < 0)
		return -1;
	return journal_end(journal, apply(journal, migrations, error), error);
}
