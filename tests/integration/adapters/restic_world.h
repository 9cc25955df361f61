/* What the tests against real restics share: which restic, a repository and a source in the fixture's directory. */
#ifndef ATELIER_TESTS_INTEGRATION_ADAPTERS_RESTIC_WORLD_H
#define ATELIER_TESTS_INTEGRATION_ADAPTERS_RESTIC_WORLD_H

#include "tests/unit/adapters/restic_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct restic_under_test {
	const char *variable; /* of the environment: the path of this restic */
	const char *name;
	int minor;
} restics_under_test[] = {
    {"ATELIER_TEST_RESTIC_014", "0.14.", 14},
    {"ATELIER_TEST_RESTIC_018", "0.18.", 18},
    {"ATELIER_TEST_RESTIC_019", "0.19.", 19},
};

/* The one the tests run with now, and an empty repository it made: each test gets a copy, which is much cheaper. */
static const struct restic_under_test *current;
static struct restic_fixture *made;

static inline int
world_group_setup(void **state)
{
	(void)state;
	made = restic_fixture_new(getenv(current->variable));
	fixture_init(made);
	return made->error.code == ERROR_NONE ? 0 : -1;
}

static inline int
world_group_teardown(void **state)
{
	(void)state;
	restic_fixture_free(made);
	return 0;
}

static inline int
world_setup(void **state)
{
	*state = restic_fixture_new(getenv(current->variable));
	return 0;
}

static inline int
world_teardown(void **state)
{
	restic_fixture_free(*state);
	return 0;
}

#define world_test(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)

/* Runs the tests with each restic. Returns what main should. */
#define world_run(tests)                                                                                             \
	({                                                                                                           \
		int failed_ = 0;                                                                                     \
		for (size_t i_ = 0; i_ < ARRAY_LENGTH(restics_under_test); i_++) {                                   \
			current = &restics_under_test[i_];                                                           \
			if (getenv(current->variable) == NULL) {                                                     \
				print_error("%s must name a restic %s* (scripts/test sets it)\n", current->variable, \
				    current->name);                                                                  \
				failed_++;                                                                           \
				continue;                                                                            \
			}                                                                                            \
			failed_ += cmocka_run_group_tests_name(                                                      \
			    current->variable, tests, world_group_setup, world_group_teardown);                      \
		}                                                                                                    \
		failed_;                                                                                             \
	})

/* ---- a repository, and a source with a file and a directory ---- */

struct world {
	struct restic_fixture *fixture;
	char *source;
	char *missing;
};

static inline void
copy_repository(const struct restic_fixture *from, const struct restic_fixture *to)
{
	cleanup_free char *repository = fixture_path(from, "repository");
	pid_t pid = fork();
	if (pid == 0) {
		execlp("cp", "cp", "-r", repository, to->directory, (char *)NULL);
		_exit(127);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static inline struct world
make_world(void **state)
{
	struct world world = {.fixture = *state};
	world.source = fixture_path(world.fixture, "source");
	world.missing = fixture_path(world.fixture, "missing");
	fixture_make_directory(world.fixture, "source");
	fixture_make_directory(world.fixture, "source/sub");
	fixture_write(world.fixture, "source/file", "one");
	fixture_write(world.fixture, "source/sub/file", "two!");
	copy_repository(made, world.fixture);
	return world;
}

static inline void
free_world(struct world *world)
{
	free(world->source);
	free(world->missing);
}

#define cleanup_world __attribute__((cleanup(free_world)))

static inline void
backup_one(const struct world *world, char *path)
{
	fixture_backup(world->fixture, (struct restic_backup_request){.paths = (char *[]){path, NULL}});
}

static inline size_t
count_locks(const struct restic_fixture *fixture)
{
	cleanup_free char *path = fixture_path(fixture, "repository/locks");
	size_t count = 0;
	DIR *directory = opendir(path);
	assert_non_null(directory);
	/* A lock begins under a temporary name. */
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
		count += entry->d_name[0] != '.' && strstr(entry->d_name, "-tmp-") == NULL;
	closedir(directory);
	return count;
}

/* Starts a restic of its own in the repository of the fixture; it reads `input`, or nothing (-1). */
static inline pid_t
start_restic(const struct restic_fixture *fixture, const char *const *arguments, int input)
{
	pid_t pid = fork();
	if (pid == 0) {
		int nowhere = open("/dev/null", O_RDWR);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(input < 0 ? nowhere : input, STDIN_FILENO);
		dup2(nowhere, STDOUT_FILENO);
		dup2(nowhere, STDERR_FILENO);
		setenv("RESTIC_REPOSITORY_FILE", fixture->settings.repository_file, 1);
		setenv("RESTIC_PASSWORD_FILE", fixture->settings.password_file, 1);
		setenv("RESTIC_CACHE_DIR", fixture->settings.cache_directory, 1);
		execvp(fixture->settings.program, (char *const *)(uintptr_t)arguments);
		_exit(127);
	}
	return pid;
}

static inline void
wait_for_locks(const struct restic_fixture *fixture, pid_t pid, size_t count)
{
	while (count_locks(fixture) < count)
		if (waitpid(pid, NULL, WNOHANG) != 0)
			fail_msg("restic ended before its lock was seen");
}

static inline void
kill_restic(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Leaves the lock of an exclusive command behind: killed as soon as its lock is there, which lasts a moment only and
 * may be over before a busy machine lets us look. Returns its pid. */
static inline pid_t
leave_exclusive_lock(const struct restic_fixture *fixture)
{
	for (int tries = 0; tries < 20; tries++) {
		pid_t pid = start_restic(fixture, (const char *[]){"restic", "prune", NULL}, -1);
		bool running = true;
		while (running && count_locks(fixture) == 0)
			running = waitpid(pid, NULL, WNOHANG) == 0;
		if (running)
			kill_restic(pid);
		if (count_locks(fixture) == 1)
			return pid;
	}
	fail_msg("no lock of restic prune was seen");
	return -1;
}

/* ---- restic as somebody who is not root ---- */

#define NOBODY 65534

static inline int
give_to_nobody(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return lchown(path, NOBODY, NOBODY);
}

static inline void
become_unprivileged(struct restic_fixture *fixture)
{
	if (geteuid() != 0)
		return;
	cleanup_free char *script =
	    xasprintf("#!/bin/sh\nexec setpriv --reuid=%d --regid=%d --clear-groups '%s' \"$@\"\n", NOBODY, NOBODY,
		fixture->settings.program);
	fixture_write(fixture, "restic-as-nobody", script);
	free(fixture->settings.program);
	fixture->settings.program = fixture_path(fixture, "restic-as-nobody");
	assert_int_equal(chmod(fixture->settings.program, 0755), 0);
	assert_int_equal(nftw(fixture->directory, give_to_nobody, 16, FTW_PHYS), 0);
}

#endif
