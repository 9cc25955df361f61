#include "tests/crash/judgement.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/wait.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "jobs/journal.h"
#include "tests/crash/services.h"

/* How long a process may take to follow the one it belonged to. */
#define PATIENCE (10 * USEC_PER_SEC)

/* ---- processes ---- */

void
judge_processes(struct crash_case *crash)
{
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	size_t count;
	do {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			continue;
		cleanup_free pid_t *children = case_children(crash, &count);
	} while (count > crash->services->process_count && clock_monotonic(clock_system()) < deadline);
	if (count > crash->services->process_count) {
		cleanup_free char *parent = xasprintf("%ld", (long)getpid());
		case_run(crash, NULL, "ps", "--ppid", parent, "-o", "pid,stat,args", NULL);
		case_fail(crash, "%zu processes are left, services included", count);
	}
	crash->services->check_running(crash);
}

/* ---- the journal ---- */

/* Only names that are listed may be in the directory. */
static void
check_directory(struct crash_case *crash, const char *path, const char *const *known, size_t known_count)
{
	DIR *directory = opendir(path);
	if (directory == NULL)
		case_fail(crash, "%s: %s", path, strerror(errno));
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		bool expected = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
		for (size_t i = 0; i < known_count; i++)
			expected |= strcmp(entry->d_name, known[i]) == 0;
		if (!expected)
			case_fail(crash, "%s was left in %s", entry->d_name, path);
	}
	closedir(directory);
}

static struct journal *
open_journal(struct crash_case *crash)
{
	cleanup_free char *state = case_path(crash, "state");
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct journal *journal;
	if (journal_open_readonly(state, clock_system(), &journal, &error) < 0)
		case_fail(crash, "%s", error.message);
	if (journal == NULL)
		case_fail(crash, "there is no journal");
	return journal;
}

struct job_list {
	struct {
		char *service, *snapshot_id;
		enum job_state state;
		enum job_outcome outcome;
		bool away_is_known; /* for how long the service was away */
	} items[2 * SERVICE_COUNT];
	size_t count, all;
};

static void
collect_job(void *context, const struct job_record *job)
{
	struct job_list *list = context;
	if (list->all++ == ARRAY_LENGTH(list->items))
		return;
	list->items[list->count].service = xstrdup(job->service);
	list->items[list->count].snapshot_id = xstrdup_null(job->snapshot_id);
	list->items[list->count].state = job->state;
	list->items[list->count].away_is_known = job->away > 0 && job->away_since == 0;
	list->items[list->count++].outcome = job->outcome;
}

static void
job_list_clear(struct job_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].service);
		free(list->items[i].snapshot_id);
	}
}

static void
list_jobs(struct crash_case *crash, struct journal *journal, struct job_list *ret_list)
{
	static const struct job_filter all = {.limit = 0};
	cleanup_error struct error error = {.code = ERROR_NONE};
	*ret_list = (struct job_list){.count = 0};
	if (journal_jobs(journal, &all, collect_job, ret_list, &error) < 0)
		case_fail(crash, "%s", error.message);
}

void
count_jobs(struct crash_case *crash, size_t *ret_unfinished, size_t *ret_complete)
{
	struct journal *journal = open_journal(crash);
	struct job_list jobs;
	list_jobs(crash, journal, &jobs);
	*ret_unfinished = *ret_complete = 0;
	for (size_t i = 0; i < jobs.count; i++) {
		*ret_unfinished += !job_state_is_terminal(jobs.items[i].state);
		*ret_complete += jobs.items[i].outcome == OUTCOME_COMPLETE;
	}
	job_list_clear(&jobs);
	journal_close(journal);
}

static void
count_child(void *context, const struct child_record *child)
{
	(void)child;
	++*(size_t *)context;
}

void
judge_journal(struct crash_case *crash)
{
	static const char *const known[] = {
	    "journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm", "runner.lock", "submitted", "cache"};
	struct journal *journal = open_journal(crash);
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_obligations struct obligation_list owed = {.count = 0};
	cleanup_obligations struct obligation_list given_up = {.count = 0};
	size_t children = 0, unfinished, complete;
	int64_t set_aside;
	if (journal_obligations(journal, 0, true, &owed, &error) < 0 ||
	    journal_given_up(journal, &given_up, &error) < 0 ||
	    journal_children(journal, count_child, &children, &error) < 0 ||
	    journal_quarantine_count(journal, &set_aside, &error) < 0)
		case_fail(crash, "%s", error.message);
	journal_close(journal);
	count_jobs(crash, &unfinished, &complete);
	if (unfinished > 0)
		case_fail(crash, "%zu jobs have not ended", unfinished);
	if (owed.count > 0 || given_up.count > 0)
		case_fail(crash, "%zu things are owed, %zu were given up", owed.count, given_up.count);
	if (children > 0)
		case_fail(crash, "%zu children are still on record", children);
	if (set_aside > 0)
		case_fail(crash, "%lld rows were set aside", (long long)set_aside);
	cleanup_free char *state = case_path(crash, "state");
	check_directory(crash, state, known, ARRAY_LENGTH(known));
}

/* ---- the snapshots ---- */

static bool
has_tag(const json_t *snapshot, const char *tag)
{
	size_t i;
	json_t *item;
	json_array_foreach (json_object_get(snapshot, "tags"), i, item) {
		const char *string = json_string_value(item);
		if (string != NULL && strcmp(string, tag) == 0)
			return true;
	}
	return false;
}

/* The one snapshot of a service, named by its one job. */
static void
check_snapshot(struct crash_case *crash, const json_t *snapshots, const struct job_list *jobs, const char *service)
{
	const char *journaled = NULL;
	size_t job_count = 0, snapshot_count = 0;
	for (size_t i = 0; i < jobs->count; i++)
		if (strcmp(jobs->items[i].service, service) == 0) {
			job_count++;
			journaled = jobs->items[i].snapshot_id;
			if (jobs->items[i].state != JOB_PRUNED || jobs->items[i].outcome != OUTCOME_COMPLETE)
				case_fail(crash, "the job of %s is not complete", service);
			if (!jobs->items[i].away_is_known)
				case_fail(crash, "nobody knows how long %s was away", service);
		}
	if (job_count != 1 || journaled == NULL)
		case_fail(crash, "%s has %zu jobs instead of one with a snapshot", service, job_count);

	cleanup_free char *tag = xasprintf("service:%s", service);
	size_t i;
	json_t *snapshot;
	json_array_foreach (snapshots, i, snapshot) {
		const char *id = json_string_value(json_object_get(snapshot, "id"));
		if (!has_tag(snapshot, tag))
			continue;
		snapshot_count++;
		/* restic before 0.17 ends a backup with the short form of the id. */
		if (id == NULL || !text_starts_with(id, journaled))
			case_fail(crash, "the journal names another snapshot of %s: %s", service, journaled);
	}
	if (snapshot_count != 1)
		case_fail(crash, "%s has %zu snapshots", service, snapshot_count);

	cleanup_free char *target = case_path(crash, "restored-%s", service);
	cleanup_free char *database =
	    case_path(crash, "restored-%s%s/%s/data/app.db", service, crash->directory, service);
	case_must(
	    crash, getenv("ATELIER_BACKUP_RESTIC"), "restore", journaled, "--target", target, "--no-lock", NULL);
	case_must(crash, DEMO_SERVICE, "--check", database, NULL);
}

void
judge_snapshots(struct crash_case *crash)
{
	case_must(crash, getenv("ATELIER_BACKUP_RESTIC"), "list", "locks", "--no-lock", NULL);
	if (crash->output[0] != '\0')
		case_fail(crash, "a lock was left in the repository");
	case_must(crash, getenv("ATELIER_BACKUP_RESTIC"), "snapshots", "--json", "--no-lock", NULL);
	json_error_t error;
	json_t *snapshots = json_loads(crash->output, 0, &error);
	if (!json_is_array(snapshots))
		case_fail(crash, "restic's list of snapshots: %s", error.text);
	struct journal *journal = open_journal(crash);
	struct job_list jobs;
	list_jobs(crash, journal, &jobs);
	journal_close(journal);
	if (jobs.all != SERVICE_COUNT || json_array_size(snapshots) != SERVICE_COUNT)
		case_fail(crash, "there are %zu jobs and %zu snapshots", jobs.all, json_array_size(snapshots));
	for (size_t i = 0; i < SERVICE_COUNT; i++)
		check_snapshot(crash, snapshots, &jobs, service_names[i]);
	job_list_clear(&jobs);
	json_decref(snapshots);
}

/* ---- the services' own data ---- */

void
judge_data(struct crash_case *crash)
{
	static const char *const known[] = {"app.db", "files"};
	crash->services->stop(crash);
	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		cleanup_free char *data = case_path(crash, "%s/data", service_names[i]);
		cleanup_free char *database = case_path(crash, "%s/data/app.db", service_names[i]);
		check_directory(crash, data, known, ARRAY_LENGTH(known));
		case_must(crash, DEMO_SERVICE, "--check", database, NULL);
	}
}
