/* What the tests of the real program share: a directory with manifest, secrets, data and state of its own, and what a
 * command line came to. */
#ifndef ATELIER_TESTS_INTEGRATION_CLI_CLI_WORLD_H
#define ATELIER_TESTS_INTEGRATION_CLI_CLI_WORLD_H

#include "core/alloc.h"
#include "core/child.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/text.h"
#include "tests/unit/core/temporary.h"

#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#define PROGRAM         TEST_BINARY_DIR "/atelier-backup"
#define RESTIC_VARIABLE "ATELIER_TEST_RESTIC_014"

struct world {
	char *directory;
	const char *restic;

	/* The command at hand, and what it came to. */
	uid_t user;
	int code; /* exit code, or minus the signal */
	char *out, *err;
};

static inline char *
world_path(const struct world *world, const char *name)
{
	return xasprintf("%s/%s", world->directory, name);
}

/* A private file in the world's directory. */
static inline void
world_write(const struct world *world, const char *name, const char *content)
{
	cleanup_free char *path = world_path(world, name);
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (file_replace(path, content, strlen(content), &error) < 0)
		fail_msg("%s", error.message);
}

static inline char *
world_read(const struct world *world, const char *name)
{
	cleanup_free char *path = world_path(world, name);
	cleanup_error struct error error = {.code = ERROR_NONE};
	char *content = NULL;
	size_t length;
	if (file_read(path, 1 << 20, &content, &length, &error) < 0)
		fail_msg("%s", error.message);
	return content;
}

static inline void
world_chmod(const struct world *world, const char *name, mode_t mode)
{
	cleanup_free char *path = world_path(world, name);
	assert_int_equal(chmod(path, mode), 0);
}

static inline void
world_rename(const struct world *world, const char *from, const char *to)
{
	cleanup_free char *old = world_path(world, from);
	cleanup_free char *new = world_path(world, to);
	assert_int_equal(rename(old, new), 0);
}

/* A manifest of version 2 with these services (JSON text). */
static inline void
world_manifest(const struct world *world, const char *services)
{
	const char *at = world->directory;
	cleanup_free char *manifest = xasprintf(
	    "{\"version\": 2, \"repository\": {\"file\": \"%s/repository\", \"passwordFile\": \"%s/password\","
	    " \"environmentFile\": \"%s/env\"}, \"services\": {%s}}",
	    at, at, at, services);
	world_write(world, "manifest.json", manifest);
}

/* The usual one: a service "web" with the directory data. */
static inline void
world_usual_manifest(const struct world *world)
{
	cleanup_free char *web = xasprintf("\"web\": {\"data\": {\"files\": [\"%s/data\"]}}", world->directory);
	world_manifest(world, web);
}

static inline int
world_setup(void **state)
{
	const char *restic = getenv(RESTIC_VARIABLE);
	if (restic == NULL) {
		print_error("%s must name a restic 0.14 (scripts/test sets it)\n", RESTIC_VARIABLE);
		return -1;
	}
	struct world *world = xcalloc(1, sizeof(*world));
	*state = world;
	world->restic = restic;
	world->directory = temporary_directory_make();
	cleanup_free char *data = world_path(world, "data");
	cleanup_free char *location = world_path(world, "repo");
	cleanup_free char *manifest = world_path(world, "manifest.json");
	cleanup_free char *states = world_path(world, "state");
	cleanup_free char *runtime = world_path(world, "runtime");
	mkdir(data, 0700);
	world_write(world, "data/file", "content");
	world_write(world, "repository", location);
	world_write(world, "password", "secret\n");
	world_write(world, "env", "");
	world_usual_manifest(world);
	setenv("ATELIER_BACKUP_MANIFEST", manifest, 1);
	setenv("ATELIER_BACKUP_STATE_DIR", states, 1);
	setenv("ATELIER_BACKUP_RUNTIME_DIR", runtime, 1);
	setenv("ATELIER_BACKUP_RESTIC", world->restic, 1);
	setenv("TZ", "UTC", 1);
	return 0;
}

/* ---- the runner that commands start ---- */

static inline void
world_pause(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
}

/* Polls until `condition` holds, for at most half a minute. */
#define until_true(condition)                                                                                        \
	do {                                                                                                         \
		int64_t until_ = clock_monotonic(clock_system()) + 30 * USEC_PER_SEC;                                \
		while (!(condition)) {                                                                               \
			if (clock_monotonic(clock_system()) > until_)                                                \
				fail_msg("has not come true: %s", #condition);                                       \
			world_pause();                                                                               \
		}                                                                                                    \
	} while (false)

static inline bool
world_has(const struct world *world, const char *name)
{
	cleanup_free char *path = world_path(world, name);
	return access(path, F_OK) == 0;
}

/* The process that holds the runner's lock; 0: nobody does. */
static inline pid_t
world_runner(const struct world *world)
{
	cleanup_free char *path = world_path(world, "state/runner.lock");
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	if (descriptor < 0 || fcntl(descriptor, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	char digits[24] = "";
	ssize_t length = read(descriptor, digits, sizeof(digits) - 1);
	return length > 0 ? (pid_t)strtol(digits, NULL, 10) : 0;
}

static inline bool
is_alive(pid_t pid)
{
	struct child_identity identity;
	return child_identity_read(pid, &identity) == 0;
}

/* Nothing of the program is left running; the words of its runner are what they ought to be. */
static inline void
world_end_runner(const struct world *world)
{
	if (world->directory == NULL || !world_has(world, "state/runner.lock"))
		return;
	pid_t runner = world_runner(world);
	if (runner > 0 && runner != getpid()) {
		kill(runner, SIGTERM);
		until_true(!is_alive(runner));
	}
	until_true(world_runner(world) == 0);
	if (!world_has(world, "state/runner.log"))
		return;
	cleanup_free char *words = world_read(world, "state/runner.log");
	if (strstr(words, "Sanitizer") != NULL || strstr(words, "runtime error") != NULL)
		fail_msg("the runner says: %s", words);
}

static inline int
world_teardown(void **state)
{
	struct world *world = *state;
	world_end_runner(world);
	free(world->out);
	free(world->err);
	if (world->directory != NULL)
		temporary_directory_remove(world->directory);
	free(world);
	return 0;
}

#define world_test(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)

static inline char **
words_of(const char *line)
{
	char **words = NULL;
	cleanup_free char *copy = xstrdup(line);
	char *rest = NULL;
	strings_add(&words, PROGRAM);
	for (char *at = strtok_r(copy, " ", &rest); at != NULL; at = strtok_r(NULL, " ", &rest))
		strings_add(&words, at);
	return words;
}

/* In the child: output to files, no terminal, the user that was asked for. */
static inline void
become_command(const struct world *world, char **words)
{
	cleanup_free char *out = world_path(world, "out");
	cleanup_free char *err = world_path(world, "err");
	int input = open("/dev/null", O_RDONLY);
	int output = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	int errors = open(err, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(errors, 2) < 0)
		_exit(126);
	if (world->user != 0 && (setgid((gid_t)world->user) < 0 || setuid(world->user) < 0))
		_exit(126);
	execv(words[0], words);
	_exit(127);
}

static inline pid_t
world_begin(const struct world *world, char **words)
{
	pid_t child = fork();
	if (child == 0)
		become_command(world, words);
	assert_true(child > 0);
	return child;
}

/* Whatever comes from outside: the only control character in an answer is the newline. */
static inline void
expect_no_control_characters(const char *output)
{
	for (const unsigned char *at = (const unsigned char *)output; *at != '\0'; at++)
		if ((*at < ' ' && *at != '\n') || *at == 0x7f)
			fail_msg("a control character 0x%02x in the output: %s", *at, output);
}

static inline void
world_end(struct world *world, pid_t child)
{
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	world->code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
	free(world->out);
	free(world->err);
	world->out = world_read(world, "out");
	world->err = world_read(world, "err");
	expect_no_control_characters(world->out);
	expect_no_control_characters(world->err);
}

static inline void
world_run(struct world *world, const char *line)
{
	cleanup_strings char **words = words_of(line);
	world_end(world, world_begin(world, words));
}

static inline void
expect_run(struct world *world, const char *line, int code)
{
	world_run(world, line);
	if (world->code != code)
		fail_msg("'%s' ends with %d, not with %d\n%s%s", line, world->code, code, world->out, world->err);
}

static inline void
expect_words(const char *output, const char *words)
{
	if (strstr(output, words) == NULL)
		fail_msg("no '%s' in: %s", words, output);
}

/* The one JSON object that the command prints. The caller releases it. */
static inline json_t *
expect_json(struct world *world, const char *line, int code)
{
	expect_run(world, line, code);
	json_error_t error;
	json_t *document = json_loads(world->out, JSON_REJECT_DUPLICATES, &error);
	if (document == NULL)
		fail_msg("'%s' prints no JSON: %s\n%s%s", line, error.text, world->out, world->err);
	assert_int_equal(json_integer_value(json_object_get(document, "version")), 1);
	return document;
}

#endif
