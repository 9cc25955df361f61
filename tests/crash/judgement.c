#include "tests/crash/judgement.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"
#include "jobs/journal.h"
#include "tests/crash/services.h"

/* How long a process may take to follow the one it belonged to. */
#define PATIENCE (10 * USEC_PER_SEC)

#define PROCESS_LIMIT ((size_t)1024 * 1024)
#define HISTORY_LIMIT ((size_t)64 * 1024)

/* So long after the runner's death a service that was away may be away, not counting its own start; on a machine so
 * busy that our program alone takes long to begin, so many times as long as that. */
#define OUTAGE_MOST   USEC_PER_SEC
#define OUTAGE_BEGINS 10

/* ---- processes ---- */

/* True if a process other than ours and the services has to do with the case: it says so itself. */
static bool
belongs_to_case(const struct crash_case *crash, const char *pid)
{
	static const char *const places[] = {"cmdline", "environ"};
	cleanup_free char *inside = xasprintf("%s/", crash->directory);
	for (size_t i = 0; i < ARRAY_LENGTH(places); i++) {
		cleanup_free char *path = xasprintf("/proc/%s/%s", pid, places[i]);
		cleanup_free char *words = NULL;
		size_t length;
		if (file_read(path, PROCESS_LIMIT, &words, &length, NULL) < 0)
			return false;
		if (strcmp(words, DEMO_SERVICE) == 0)
			return false;
		if (memmem(words, length, inside, strlen(inside)) != NULL)
			return true;
	}
	return false;
}

size_t
count_strangers(struct crash_case *crash)
{
	DIR *processes = opendir("/proc");
	if (processes == NULL)
		case_fail(crash, "/proc: %s", strerror(errno));
	size_t count = 0;
	for (const struct dirent *entry; (entry = readdir(processes)) != NULL;) {
		long pid = strtol(entry->d_name, NULL, 10);
		count += pid > 0 && pid != getpid() && belongs_to_case(crash, entry->d_name);
	}
	closedir(processes);
	return count;
}

void
judge_processes(struct crash_case *crash)
{
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	size_t children, strangers;
	do {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			continue;
		free(case_children(getpid(), &children));
		strangers = count_strangers(crash);
	} while ((children > crash->services->process_count || strangers > 0) &&
		 clock_monotonic(clock_system()) < deadline);
	if (children > crash->services->process_count || strangers > 0) {
		case_run(crash, "ps", "-e", "-o", "pid,ppid,stat,args", NULL);
		case_fail(crash, "%zu processes are left, services included; %zu name the case's directory", children,
		    strangers);
	}
	crash->services->check_running(crash);
}

/* ---- outages ---- */

/* When the runner was killed (clock_wall), from outside or by its own fault, which is written down just before. */
static int64_t
time_of_death(struct crash_case *crash)
{
	cleanup_free char *path = case_path(crash, "fault");
	struct stat status;
	if (stat(path, &status) < 0)
		return crash->killed_at;
	return status.st_mtim.tv_sec * USEC_PER_SEC + status.st_mtim.tv_nsec / 1000;
}

/* How long after `death` the part was there again; 0: it was not away. */
static int64_t
outage_of(struct crash_case *crash, const char *part, int64_t death)
{
	cleanup_free char *path = case_path(crash, "%s.history", part);
	cleanup_free char *history = NULL;
	size_t length;
	if (file_read(path, HISTORY_LIMIT, &history, &length, NULL) < 0)
		case_fail(crash, "%s has no history", part);
	bool away = false;
	char word[8];
	long long time;
	for (const char *line = history; sscanf(line, "%7s %lld", word, &time) == 2; line = strchr(line, '\n') + 1) {
		bool starts = strcmp(word, "start") == 0;
		if (time > death && (starts || !away))
			return away ? time - death : 0;
		away = !starts;
	}
	if (away)
		case_fail(crash, "%s was stopped and not started", part);
	return 0;
}

void
judge_outage(struct crash_case *crash)
{
	int64_t death = time_of_death(crash);
	int64_t busy = OUTAGE_BEGINS * crash->program_time;
	int64_t most = (busy > OUTAGE_MOST ? busy : OUTAGE_MOST) + crash->start_time;
	for (const char *const *part = crash->services->parts; death != 0 && *part != NULL; part++) {
		int64_t outage = outage_of(crash, *part, death);
		text_printf(&crash->log, "%s came back after %lld ms\n", *part, (long long)(outage / USEC_PER_MSEC));
		if (outage > most)
			case_fail(crash, "%s was away for %lld ms, more than %lld", *part,
			    (long long)(outage / USEC_PER_MSEC), (long long)(most / USEC_PER_MSEC));
		crash->outages->count += outage > 0;
		int64_t longest = crash->outages->longest;
		while (outage > longest && !atomic_compare_exchange_weak(&crash->outages->longest, &longest, outage))
			continue;
	}
}

/* ---- the journal ---- */

/* restic makes a file for each pack and unlinks it at once (its internal/fs/file_unix.go): killed between the two it
 * leaves the name, with nothing in it. */
#define RESTIC_TEMPORARY "restic-temp-pack-"

static bool
is_restic_temporary(int directory, const char *name)
{
	struct stat status;
	return strncmp(name, RESTIC_TEMPORARY, strlen(RESTIC_TEMPORARY)) == 0 &&
	       fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
	       status.st_size == 0;
}

static void
check_temporary_directory(struct crash_case *crash, const char *path)
{
	DIR *directory = opendir(path);
	if (directory == NULL)
		case_fail(crash, "%s: %s", path, strerror(errno));
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    !is_restic_temporary(dirfd(directory), entry->d_name))
			case_fail(crash, "%s was left in %s", entry->d_name, path);
	closedir(directory);
}

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

/* A run with its maintenance, and one more where its jobs have failed. */
#define MOST_JOBS (2 * (SERVICE_COUNT + 3))

struct job_list {
	struct {
		enum job_kind kind;
		char *service, *snapshot_id;
		enum job_state state;
		enum job_outcome outcome;
		bool away_is_known; /* for how long the service was away */
	} items[MOST_JOBS];
	size_t count, all;
};

static void
collect_job(void *context, const struct job_record *job)
{
	struct job_list *list = context;
	if (list->all++ == ARRAY_LENGTH(list->items))
		return;
	list->items[list->count].kind = job->kind;
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
		*ret_complete += jobs.items[i].kind == JOB_KIND_BACKUP && jobs.items[i].outcome == OUTCOME_COMPLETE;
	}
	job_list_clear(&jobs);
	journal_close(journal);
}

size_t
count_backups(const struct crash_case *crash)
{
	return SERVICE_COUNT + crash->fault->own_state;
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
	    "journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm", "runner.lock", "runner.log", "cache"};
	static const char *const known_running[] = {"control.sock", "control.lock"};
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
	cleanup_free char *running = case_path(crash, "run");
	check_directory(crash, running, known_running, ARRAY_LENGTH(known_running));
	cleanup_free char *temporary = case_path(crash, "tmp");
	check_temporary_directory(crash, temporary);
}

/* ---- the snapshots ---- */

/* The tag that begins so, or NULL if there is not exactly one. */
static const char *
tag_of(const json_t *snapshot, const char *beginning)
{
	const char *found = NULL;
	size_t i, count = 0;
	json_t *item;
	json_array_foreach (json_object_get(snapshot, "tags"), i, item) {
		const char *tag = json_string_value(item);
		if (tag != NULL && text_starts_with(tag, beginning)) {
			found = tag;
			count++;
		}
	}
	return count == 1 ? found : NULL;
}

static bool
is_of_service(const json_t *snapshot, const char *service)
{
	const char *tag = tag_of(snapshot, "service:");
	const char *host = json_string_value(json_object_get(snapshot, "hostname"));
	return tag != NULL && strcmp(tag + strlen("service:"), service) == 0 && host != NULL &&
	       strcmp(host, HOST) == 0;
}

/* What one attempt of one job has made is in the repository once. */
static void
check_not_doubled(struct crash_case *crash, const json_t *snapshots)
{
	size_t i, j;
	json_t *one, *other;
	json_array_foreach (snapshots, i, one) {
		const char *tag = tag_of(one, "job:");
		if (tag == NULL)
			case_fail(crash, "a snapshot does not say what made it");
		json_array_foreach (snapshots, j, other) {
			const char *same = tag_of(other, "job:");
			if (i != j && same != NULL && strcmp(tag, same) == 0)
				case_fail(crash, "there are two snapshots of %s", tag);
		}
	}
}

static const char *
check_job(struct crash_case *crash, const struct job_list *jobs, size_t index)
{
	const char *service = jobs->items[index].service;
	bool own = strcmp(service, SERVICE_OWN_NAME) == 0;
	bool complete = jobs->items[index].state == JOB_PRUNED && jobs->items[index].outcome == OUTCOME_COMPLETE;
	if (!complete && !crash->fault->may_fail)
		case_fail(crash, "the job of %s is not complete", service);
	if (complete && jobs->items[index].snapshot_id == NULL)
		case_fail(crash, "the job of %s is complete and names no snapshot", service);
	if (complete && !own && !jobs->items[index].away_is_known)
		case_fail(crash, "nobody knows how long %s was away", service);
	return complete ? jobs->items[index].snapshot_id : NULL;
}

/* The snapshot of the last good job is there. Returns its id. */
static const char *
check_last_good(struct crash_case *crash, const json_t *snapshots, const struct job_list *jobs, const char *service)
{
	const char *last = NULL;
	for (size_t i = 0; i < jobs->count; i++) {
		const char *id = strcmp(jobs->items[i].service, service) == 0 ? check_job(crash, jobs, i) : NULL;
		last = id != NULL ? id : last;
	}
	if (last == NULL)
		case_fail(crash, "%s has no good job", service);
	size_t i, named = 0;
	json_t *snapshot;
	/* restic before 0.17 ends a backup with the short form of the id. */
	json_array_foreach (snapshots, i, snapshot)
		named += is_of_service(snapshot, service) &&
			 text_starts_with(json_string_value(json_object_get(snapshot, "id")), last);
	if (named != 1)
		case_fail(crash, "the last good job of %s names %zu snapshots", service, named);
	return last;
}

static bool
has_old(const json_t *snapshots, const char *host, const char *service, size_t number)
{
	cleanup_free char *wanted = xasprintf("job:old-%s-%s-%zu", host, service, number);
	size_t i;
	json_t *snapshot;
	json_array_foreach (snapshots, i, snapshot) {
		const char *tag = tag_of(snapshot, "job:");
		if (tag != NULL && strcmp(tag, wanted) == 0)
			return true;
	}
	return false;
}

/* The newest are kept. Where a job failed after it had made a snapshot, that one counts as well, and where the
 * retention itself failed, more may be there. */
static void
check_kept(struct crash_case *crash, const json_t *snapshots, const char *service)
{
	size_t i, held = 0;
	json_t *snapshot;
	json_array_foreach (snapshots, i, snapshot)
		held += is_of_service(snapshot, service);
	if (held < KEPT || (held > KEPT && !crash->fault->may_fail))
		case_fail(crash, "%s has %zu snapshots", service, held);
	bool oldest = has_old(snapshots, HOST, service, 1), newer = has_old(snapshots, HOST, service, SNAPSHOTS_OLD);
	if ((oldest && !newer) || (!newer && !crash->fault->may_fail))
		case_fail(crash, "of %s, a newer snapshot went, and an older one is there", service);
}

static void
check_maintenance(struct crash_case *crash, const struct job_list *jobs)
{
	for (size_t i = 0; i < jobs->count; i++)
		if (jobs->items[i].kind != JOB_KIND_BACKUP && jobs->items[i].outcome != OUTCOME_COMPLETE &&
		    !crash->fault->may_fail)
			case_fail(crash, "the job of %s is not complete", jobs->items[i].service);
}

static void
check_restored(struct crash_case *crash, const char *service, const char *snapshot)
{
	cleanup_free char *target = case_path(crash, "restored-%s", service);
	cleanup_free char *database =
	    case_path(crash, "restored-%s%s/%s/data/app.db", service, crash->directory, service);
	case_must(crash, getenv("ATELIER_BACKUP_RESTIC"), "restore", snapshot, "--target", target, "--no-lock", NULL);
	case_must(crash, DEMO_SERVICE, "--check", database, NULL);
}

/* Whoever has only that copy knows of the night. */
static void
check_restored_journal(struct crash_case *crash, const char *snapshot)
{
	cleanup_free char *target = case_path(crash, "restored-own");
	cleanup_free char *state = case_path(crash, "restored-own%s/state", crash->directory);
	case_must(crash, getenv("ATELIER_BACKUP_RESTIC"), "restore", snapshot, "--target", target, "--no-lock", NULL);
	case_must(crash, PROGRAM, "jobs", "--state-dir", state, NULL);
	for (size_t i = 0; i < SERVICE_COUNT; i++)
		if (strstr(crash->output, service_names[i]) == NULL)
			case_fail(crash, "the saved journal does not know of %s", service_names[i]);
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
	size_t usual = count_backups(crash) + 1 + crash->fault->prunes;
	if (jobs.all > MOST_JOBS || (jobs.all != usual && !crash->fault->may_fail))
		case_fail(crash, "there are %zu jobs", jobs.all);
	check_maintenance(crash, &jobs);
	check_not_doubled(crash, snapshots);
	if (!has_old(snapshots, HOST_OTHER, service_names[0], 1))
		case_fail(crash, "the snapshot of another host went");
	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		check_kept(crash, snapshots, service_names[i]);
		check_restored(crash, service_names[i], check_last_good(crash, snapshots, &jobs, service_names[i]));
	}
	if (crash->fault->own_state)
		check_restored_journal(crash, check_last_good(crash, snapshots, &jobs, SERVICE_OWN_NAME));
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
