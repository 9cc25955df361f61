/* Bad places: full, read-only, somebody else's. */
#include "journal_fixture.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

/* Becomes the owner of mounts of its own, or says why not. */
static bool
enter_private_mounts(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

#define NOT_ROOT 77

static void
run_as_root(struct fixture *fixture, child_body_fn *body)
{
	int status = wait_child(start_child(fixture, body, 0));
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NOT_ROOT && geteuid() != 0) {
		print_message("mounts and other users need root\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static bool
fails_for_want_of_room(struct journal *journal)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (journal_check_writable(journal, &error) == 0)
		return false;
	if (error.code != ERROR_NO_SPACE || error.hint == NULL) {
		fprintf(stderr, "child: %s: %s\n", error_code_word(error.code), error.message);
		_exit(98);
	}
	return true;
}

static void
fill_a_small_disk(struct fixture *fixture, int argument)
{
	(void)argument;
	child_requires(mkdir(fixture->state, 0700) == 0);
	if (!enter_private_mounts() || mount("tmpfs", fixture->state, "tmpfs", 0, "size=2m,mode=0700") != 0)
		_exit(NOT_ROOT);
	struct journal *journal;
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	int64_t id = submit_one(journal, RUN_MANUAL, NULL, "web");
	cleanup_free char *path = state_path(fixture, "filler");
	int filler = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	static const char block[4096];
	while (write(filler, block, sizeof(block)) > 0)
		;
	bool failed = false;
	for (int i = 0; i < 50 && !failed; i++)
		failed = fails_for_want_of_room(journal);
	child_requires(failed);
	/* Nothing may be stopped now: what is owed cannot be recorded. */
	cleanup_job struct job_record job = load_job(journal, id);
	struct obligation owed = {.kind = OBLIGATION_START_UNIT, .subject = job.service};
	cleanup_error struct error error = {.code = ERROR_NONE};
	child_requires(journal_owe(journal, &job, &owed, 1, &error) == -1);
	child_requires(error.code == ERROR_NO_SPACE);
	/* Reading goes on, and so does everything once there is room again. */
	child_requires(ftruncate(filler, 0) == 0);
	child_requires(journal_check_writable(journal, NULL) == 0);
	child_requires(journal_owe(journal, &job, &owed, 1, NULL) == 0);
	journal_close(journal);
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	journal_close(journal);
}

static void
a_full_disk_is_a_clear_error(void **state)
{
	run_as_root(*state, fill_a_small_disk);
}

static void
open_on_a_full_disk(struct fixture *fixture, int argument)
{
	(void)argument;
	child_requires(mkdir(fixture->state, 0700) == 0);
	if (!enter_private_mounts() || mount("tmpfs", fixture->state, "tmpfs", 0, "size=16k,mode=0700") != 0)
		_exit(NOT_ROOT);
	struct journal *journal = NULL;
	cleanup_error struct error error = {.code = ERROR_NONE};
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, &error) == -1);
	child_requires(error.code == ERROR_NO_SPACE && journal == NULL);
}

static void
a_journal_is_not_made_on_a_full_disk(void **state)
{
	run_as_root(*state, open_on_a_full_disk);
}

static void
reach_the_file_size_limit(struct fixture *fixture, int argument)
{
	(void)argument;
	struct journal *journal;
	signal(SIGXFSZ, SIG_IGN);
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
	child_requires(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	bool failed = false;
	for (int i = 0; i < 200 && !failed; i++)
		failed = fails_for_want_of_room(journal);
	child_requires(failed);
	limit.rlim_cur = RLIM_INFINITY;
	child_requires(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	child_requires(journal_check_writable(journal, NULL) == 0);
	journal_close(journal);
}

static void
a_file_size_limit_is_a_clear_error(void **state)
{
	run_child(*state, reach_the_file_size_limit, 0);
}

static void
use_a_read_only_place(struct fixture *fixture, int argument)
{
	(void)argument;
	struct journal *journal = NULL;
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	submit_one(journal, RUN_MANUAL, NULL, "web");
	journal_close(journal);
	journal = NULL;
	if (!enter_private_mounts() || mount(fixture->state, fixture->state, NULL, MS_BIND, NULL) != 0 ||
	    mount(NULL, fixture->state, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) != 0)
		_exit(NOT_ROOT);
	cleanup_error struct error error = {.code = ERROR_NONE};
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, &error) == -1);
	child_requires(error.code == ERROR_PERMISSION && error.hint != NULL && journal == NULL);
	/* Looking is possible. */
	child_requires(journal_open_readonly(fixture->state, &fixture->clock, &journal, NULL) == 0);
	cleanup_job struct job_record job = load_job(journal, 1);
	child_requires(strcmp(job.service, "web") == 0);
	journal_close(journal);
}

static void
a_read_only_place_is_a_clear_error(void **state)
{
	run_as_root(*state, use_a_read_only_place);
}

static void
open_as_nobody(struct fixture *fixture, int argument)
{
	(void)argument;
	if (geteuid() != 0 || setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
		_exit(NOT_ROOT);
	struct journal *journal = NULL;
	cleanup_error struct error error = {.code = ERROR_NONE};
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, &error) == -1);
	child_requires(error.code == ERROR_PERMISSION);
	child_requires(journal_open_readonly(fixture->state, &fixture->clock, &journal, &error) == -1);
	child_requires(error.code == ERROR_PERMISSION && error.hint != NULL && journal == NULL);
}

static void
another_user_is_told_so(void **state)
{
	struct fixture *fixture = *state;
	submit_one(fixture_open(fixture), RUN_MANUAL, NULL, "web");
	fixture_close(fixture);
	run_as_root(fixture, open_as_nobody);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    fixture_test(a_full_disk_is_a_clear_error),
	    fixture_test(a_journal_is_not_made_on_a_full_disk),
	    fixture_test(a_file_size_limit_is_a_clear_error),
	    fixture_test(a_read_only_place_is_a_clear_error),
	    fixture_test(another_user_is_told_so),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
