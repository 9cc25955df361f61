/* A world whose repository is looked at from outside: which restic, whose locks are in it, what restic was told, and
 * what the journal says about it all. "web" counts in the file `stopped` how often its preBackup ran. */
#ifndef ATELIER_TESTS_INTEGRATION_CLI_REPOSITORY_WORLD_H
#define ATELIER_TESTS_INTEGRATION_CLI_REPOSITORY_WORLD_H

#include "tests/integration/cli/cli_world.h"

#include "jobs/journal.h"

#include <dirent.h>

#define WORLD_HOST "cellar"

/* One attempt, and a second until the next look: who succeeds in the second one has not used up a try. */
#define ONE_ATTEMPT "\"retry\": {\"attempts\": 1, \"delay\": \"1s\"}"

#define WEB                                                                                                          \
	"\"web\": {\"data\": {\"files\": [\"%s/data\"]}, \"stopUnits\": [],"                                         \
	" \"preBackup\": \"echo stop >>%s/stopped\", \"postBackup\": \"echo start >>%s/started\"}"

/* The restic of this variable from now on, for the program and for run_restic. */
static inline void
use_restic(struct world *world, const char *variable)
{
	world->restic = getenv(variable);
	if (world->restic == NULL)
		fail_msg("%s must name a restic (scripts/test sets it)", variable);
	setenv("ATELIER_BACKUP_RESTIC", world->restic, 1);
}

/* `top` are keys of the top level, `services` entries of `services`, both JSON text. */
static inline void
write_manifest(const struct world *world, const char *top, const char *services)
{
	const char *at = world->directory;
	cleanup_free char *manifest =
	    xasprintf("{\"version\": 2, \"host\": \"" WORLD_HOST "\", \"repository\": {\"file\": \"%s/repository\","
		      " \"passwordFile\": \"%s/password\", \"environmentFile\": \"%s/env\"}, %s, \"services\": {%s}}",
		at, at, at, top, services);
	world_write(world, "manifest.json", manifest);
}

static inline void
write_web_manifest(const struct world *world, const char *top)
{
	const char *at = world->directory;
	cleanup_free char *services = xasprintf(WEB, at, at, at);
	write_manifest(world, top, services);
}

/* restic 0.18, and "web" alone. */
static inline int
repository_setup(void **state)
{
	if (world_setup(state) < 0)
		return -1;
	use_restic(*state, "ATELIER_TEST_RESTIC_018");
	write_web_manifest(*state, ONE_ATTEMPT);
	return 0;
}

#define repository_test(function) cmocka_unit_test_setup_teardown(function, repository_setup, world_teardown)

/* ---- restic itself ---- */

static inline pid_t
begin_restic(const struct world *world, const char *const *arguments, int input)
{
	cleanup_free char *location = world_path(world, "repo");
	cleanup_free char *password = world_path(world, "password");
	cleanup_free char *cache = world_path(world, "cache");
	cleanup_free char *out = world_path(world, "restic-out");
	pid_t child = fork();
	if (child == 0) {
		setenv("RESTIC_REPOSITORY", location, 1);
		setenv("RESTIC_PASSWORD_FILE", password, 1);
		setenv("RESTIC_CACHE_DIR", cache, 1);
		int output = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		if (dup2(output, 1) < 0 || (input >= 0 && dup2(input, 0) < 0))
			_exit(126);
		execv(world->restic, (char *const *)(uintptr_t)arguments);
		_exit(127);
	}
	assert_true(child > 0);
	return child;
}

/* Its output is in the file restic-out. */
static inline void
run_restic(const struct world *world, const char *const *arguments)
{
	int status;
	pid_t child = begin_restic(world, arguments, -1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

#define restic(world, ...) run_restic(world, (const char *const[]){"restic", __VA_ARGS__, NULL})

/* In the body of wrap_restic: from here on the process is known, by the file `pid`, and waits for halt_with_lock. */
#define STAND_BY "{ echo $$ >$at/pid.new; mv $at/pid.new $at/pid; while [ ! -e $at/go ]; do sleep 0.02; done; }"

/* A script in the place of restic, which ends with the real one ("exec REAL"), unless `body` ended before. It writes
 * its arguments to the file `calls`; in the body, $at is the world's directory and $real is restic. */
static inline void
wrap_restic(const struct world *world, const char *body)
{
	cleanup_free char *program = world_path(world, "restic");
	cleanup_free char *script = xasprintf("#!/bin/sh\nat=%s\nreal=%s\necho \"$*\" >>$at/calls\n%s\nexec $real "
					      "\"$@\"\n",
	    world->directory, world->restic, body);
	world_write(world, "restic", script);
	world_chmod(world, "restic", 0755);
	setenv("ATELIER_BACKUP_RESTIC", program, 1);
}

/* ---- locks ---- */

/* The name of one of the locks in the repository, NULL if there is none; the caller owns it. */
static inline char *
first_lock(const struct world *world, size_t *ret_count)
{
	cleanup_free char *path = world_path(world, "repo/locks");
	char *name = NULL;
	DIR *directory = opendir(path);
	assert_non_null(directory);
	*ret_count = 0;
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		/* A lock begins under a temporary name. */
		if (entry->d_name[0] == '.' || strstr(entry->d_name, "-tmp-") != NULL)
			continue;
		if ((*ret_count)++ == 0)
			name = xstrdup(entry->d_name);
	}
	closedir(directory);
	return name;
}

static inline size_t
count_locks(const struct world *world)
{
	size_t count;
	free(first_lock(world, &count));
	return count;
}

/* The lock that somebody has put there, or restic itself, is taken away. */
static inline void
remove_first_lock(const struct world *world)
{
	size_t count;
	cleanup_free char *name = first_lock(world, &count);
	cleanup_free char *path = xasprintf("%s/repo/locks/%s", world->directory, name == NULL ? "" : name);
	assert_int_equal(unlink(path), 0);
}

static inline pid_t
restic_that_stands_by(const struct world *world)
{
	until_true(world_has(world, "pid"));
	cleanup_free char *digits = world_read(world, "pid");
	pid_t pid = (pid_t)strtol(digits, NULL, 10);
	assert_true(pid > 1);
	return pid;
}

/* Lets the one that stands by go on, and halts it as soon as it has its lock. Whoever ends it wakes it. */
static inline void
halt_with_lock(const struct world *world)
{
	pid_t pid = restic_that_stands_by(world);
	world_write(world, "go", "");
	int64_t end = clock_monotonic(clock_system()) + 30 * USEC_PER_SEC;
	while (count_locks(world) == 0)
		if (clock_monotonic(clock_system()) > end)
			fail_msg("restic took no lock");
	assert_int_equal(kill(pid, SIGSTOP), 0);
}

/* ---- what the journal says ---- */

static inline json_t *
show_job(struct world *world, int id)
{
	cleanup_free char *line = xasprintf("show %d --json", id);
	return expect_json(world, line, 0);
}

/* The newest job of the service: a retention may have come after it. */
static inline json_t *
show_newest(struct world *world, const char *service)
{
	cleanup_free char *line = xasprintf("jobs %s --limit 100 --json", service);
	json_t *document = expect_json(world, line, 0);
	size_t index;
	const json_t *job;
	int newest = 0;
	json_array_foreach (json_object_get(document, "jobs"), index, job) {
		int id = (int)json_integer_value(json_object_get(job, "id"));
		newest = id > newest ? id : newest;
	}
	json_decref(document);
	return show_job(world, newest);
}

static inline const char *
job_text(const json_t *shown, const char *key)
{
	const char *text = json_string_value(json_object_get(json_object_get(shown, "job"), key));
	return text == NULL ? "" : text;
}

static inline int64_t
job_number(const json_t *shown, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(shown, "job"), key));
}

static inline bool
job_has_note(const json_t *shown, const char *words)
{
	size_t index;
	const json_t *note;
	json_array_foreach (json_object_get(shown, "notes"), index, note)
		if (strstr(json_string_value(json_object_get(note, "text")), words) != NULL)
			return true;
	return false;
}

static inline void
expect_note(const json_t *shown, const char *words, bool there)
{
	if (job_has_note(shown, words) == there)
		return;
	cleanup_free char *notes = json_dumps(json_object_get(shown, "notes"), JSON_INDENT(2));
	fail_msg("'%s' is %s the notes: %s", words, there ? "not among" : "among", notes);
}

static inline void
expect_job(const json_t *shown, const char *state, const char *outcome)
{
	if (strcmp(job_text(shown, "state"), state) == 0 && strcmp(job_text(shown, "outcome"), outcome) == 0)
		return;
	cleanup_free char *words = json_dumps(shown, JSON_INDENT(2));
	fail_msg("not %s, %s: %s", state, outcome, words);
}

static inline void
expect_error_code(const json_t *shown, const char *code)
{
	const json_t *error = json_object_get(json_object_get(shown, "job"), "error");
	assert_string_equal(json_string_value(json_object_get(error, "code")), code);
}

/* Waits for another attempt, the first of which has met what it waits for. */
static inline bool
job_waits_again(struct world *world, int id)
{
	json_t *shown = show_job(world, id);
	bool waits = strcmp(job_text(shown, "state"), "delaying") == 0 && job_number(shown, "attempt") > 1;
	json_decref(shown);
	return waits;
}

static inline bool
job_is_in(struct world *world, int id, const char *state)
{
	json_t *shown = show_job(world, id);
	bool is = strcmp(job_text(shown, "state"), state) == 0;
	json_decref(shown);
	return is;
}

/* Snapshots of a service (tag `service:NAME`), or of all (NULL), in the repository. */
static inline size_t
count_snapshots(struct world *world, const char *service)
{
	cleanup_free char *line = xasprintf("list %s --json", service == NULL ? "" : service);
	json_t *document = expect_json(world, line, 0);
	size_t count = json_array_size(json_object_get(document, "snapshots"));
	json_decref(document);
	return count;
}

/* Every transition there was, in their order. */
static inline void
each_transition(const struct world *world, journal_transition_fn *each, void *context)
{
	cleanup_free char *directory = world_path(world, "state");
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct journal *journal = NULL;
	if (journal_open_readonly(directory, clock_system(), &journal, &error) < 0 ||
	    journal_transitions(journal, 0, 0, each, context, &error) < 0)
		fail_msg("%s", error.message);
	journal_close(journal);
}

#endif
