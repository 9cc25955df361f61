/* bench_fill_journal MANIFEST STATE_DIR NIGHTS: a journal in which every service of the manifest had a job in each of
 * the last nights, as the program itself would have left it: frozen specs, transitions, last good backups. Of the
 * last night's jobs one in a hundred failed. */
#include <stdio.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/pack.h"
#include "jobs/journal_internal.h"
#include "jobs/manifest.h"

/* Since the last night's kickoff. */
#define LAST_NIGHT      (5 * USEC_PER_HOUR)
#define BACKUP_DURATION (40 * USEC_PER_SEC)
#define AWAY            (12 * USEC_PER_SEC)
#define SERVICE_BYTES   1234567890
#define ADDED_BYTES     2345678
#define FAILED_PERIOD   100

struct filling {
	struct journal *journal;
	const struct manifest *manifest;
	int64_t night_count;
	int64_t now;
};

static void
leave(const struct error *error)
{
	fprintf(stderr, "bench_fill_journal: %s\n", error->message);
	exit(1);
}

static void
execute(struct filling *filling, const char *sql, const struct value *values, size_t count)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (journal_execute(filling->journal, sql, values, count, &error) < 0)
		leave(&error);
}

static int64_t
last_id(const struct filling *filling)
{
	return sqlite3_last_insert_rowid(filling->journal->database);
}

static void
add_transitions(struct filling *filling, int64_t job_id, int64_t at, enum job_state end)
{
	const enum job_state way[] = {
	    JOB_PENDING, JOB_DELAYING, JOB_CHECKPOINT, JOB_STOPPING, JOB_SNAPSHOT, JOB_STARTING, end};
	for (size_t i = 0; i + 1 < ARRAY_LENGTH(way); i++)
		execute(filling,
		    "INSERT INTO transition (job_id, attempt, at, from_state, to_state, event, message)"
		    " VALUES (?, 1, ?, ?, ?, 'done', NULL)",
		    VALUES(integer_value(job_id), integer_value(at), text_value(job_state_word(way[i])),
			text_value(job_state_word(way[i + 1]))));
}

/* Returns the job's id. */
static int64_t
add_job(struct filling *filling, int64_t run_id, int64_t at, const struct service *service, bool failed)
{
	struct packer packer;
	packer_init(&packer);
	service_pack(service, &packer);
	enum job_state state = failed ? JOB_FAILED : JOB_PRUNED;
	enum job_outcome outcome = failed ? OUTCOME_FAILED : OUTCOME_COMPLETE;
	int64_t ended = at + BACKUP_DURATION;
	execute(filling,
	    "INSERT INTO job (run_id, kind, service, state, outcome, due_at, submitted_at, started_at, ended_at,"
	    " state_since, snapshot_begun, snapshot_id, files, bytes, bytes_added, away, error_code, error_message,"
	    " spec) VALUES (?, 'backup', ?, ?, ?, ?, ?, ?, ?, ?, ?, lower(hex(randomblob(32))), 4321, ?, ?, ?, ?, ?, "
	    "?)",
	    VALUES(integer_value(run_id), text_value(service->name), text_value(job_state_word(state)),
		text_value(job_outcome_word(outcome)), integer_value(at), integer_value(at), integer_value(at),
		integer_value(ended), integer_value(ended), integer_value(!failed), integer_value(SERVICE_BYTES),
		integer_value(ADDED_BYTES), integer_value(AWAY),
		text_value(error_code_word(failed ? ERROR_NO_SPACE : ERROR_NONE)),
		text_value(failed ? "no space left in the repository" : NULL),
		blob_value(packer.buffer.data, packer.buffer.size)));
	packer_release(&packer);
	int64_t job_id = last_id(filling);
	add_transitions(filling, job_id, at, state);
	return job_id;
}

static void
remember_good(struct filling *filling, int64_t job_id, int64_t at, const struct service *service)
{
	execute(filling,
	    "INSERT INTO last_good (service, job_id, at, snapshot_id, files, bytes, bytes_added)"
	    " VALUES (?, ?, ?, lower(hex(randomblob(32))), 4321, ?, ?) ON CONFLICT (service) DO UPDATE"
	    " SET job_id = excluded.job_id, at = excluded.at, snapshot_id = excluded.snapshot_id",
	    VALUES(text_value(service->name), integer_value(job_id), integer_value(at + BACKUP_DURATION),
		integer_value(SERVICE_BYTES), integer_value(ADDED_BYTES)));
}

static void
add_night(struct filling *filling, int64_t ago)
{
	int64_t at = filling->now - LAST_NIGHT - ago * USEC_PER_DAY;
	execute(filling, "INSERT INTO run (kind, night, created_at) VALUES ('nightly', ?, ?)",
	    VALUES(text_value(NULL), integer_value(at)));
	int64_t run_id = last_id(filling);
	for (size_t i = 0; i < filling->manifest->service_count; i++) {
		const struct service *service = &filling->manifest->services[i];
		bool failed = ago == 0 && i % FAILED_PERIOD == 0;
		int64_t job_id = add_job(filling, run_id, at, service, failed);
		if (!failed)
			remember_good(filling, job_id, at, service);
	}
}

static void
fill(struct filling *filling)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (journal_begin(filling->journal, &error) < 0)
		leave(&error);
	for (int64_t ago = filling->night_count; ago-- > 0;)
		add_night(filling, ago);
	if (journal_end(filling->journal, 0, &error) < 0)
		leave(&error);
}

int
main(int argc, char **argv)
{
	if (argc != 4) {
		fputs("usage: bench_fill_journal MANIFEST STATE_DIR NIGHTS\n", stderr);
		return 2;
	}
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_problems struct problem_list problems = {.count = 0};
	struct manifest manifest;
	if (manifest_load(argv[1], NULL, &manifest, &problems) < 0) {
		fprintf(stderr, "bench_fill_journal: %s\n", problems.items[0].message);
		return 1;
	}
	struct filling filling = {
	    .manifest = &manifest,
	    .night_count = strtoll(argv[3], NULL, 10),
	    .now = clock_wall(clock_system()),
	};
	if (journal_open(argv[2], clock_system(), &filling.journal, &error) < 0)
		leave(&error);
	fill(&filling);
	journal_close(filling.journal);
	manifest_clear(&manifest);
	return 0;
}
