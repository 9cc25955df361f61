/* The journal as a file among processes: opening, rights, readers, the runner's lock, waking, crash points.
 */
#include "journal_fixture.h"

#include <dirent.h>
#include <sys/inotify.h>

#include "core/fault.h"
#include "jobs/journal_internal.h"

/* ---- opening ---- */

static void
a_new_journal_is_private_whatever_the_umask(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(mkdir(fixture->state, 0755), 0);
	mode_t mask = umask(0);
	struct journal *journal = fixture_open(fixture);
	bool held;
	struct error error = {.code = ERROR_NONE};
	assert_success(journal_lock_runner(journal, &held, NULL, &error), &error);
	assert_int_equal(umask(mask), 0);

	struct stat status;
	assert_int_equal(stat(fixture->state, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0700);
	static const char *const names[] = {
	    "journal.sqlite", "journal.sqlite-wal", "journal.sqlite-shm", "runner.lock"};
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
		cleanup_free char *path = state_path(fixture, names[i]);
		if (stat(path, &status) < 0)
			fail_msg("%s is missing", names[i]);
		assert_int_equal(status.st_mode & 07777, 0600);
	}
}

static void
a_journal_with_open_rights_is_closed_up(void **state)
{
	struct fixture *fixture = *state;
	fixture_open(fixture);
	fixture_close(fixture);
	cleanup_free char *path = state_path(fixture, "journal.sqlite");
	assert_int_equal(chmod(path, 0644), 0);
	fixture_open(fixture);
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
}

static void
commits_are_durable(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	int64_t value = -1;
	assert_int_equal(journal_integer(journal, "PRAGMA synchronous", NO_VALUES, &value, &error), 1);
	assert_int_equal(value, 2);
	assert_int_equal(journal_integer(journal, "PRAGMA foreign_keys", NO_VALUES, &value, &error), 1);
	assert_int_equal(value, 1);
	assert_peek(fixture, "PRAGMA journal_mode", "wal");

	/* A note may be lost with the machine; what comes after it may not. */
	int64_t id = submit_one(journal, RUN_MANUAL, NULL, "web");
	assert_success(journal_add_note(journal, id, "restic", "words", &error), &error);
	assert_success(journal_check_writable(journal, &error), &error);
	assert_int_equal(journal_integer(journal, "PRAGMA synchronous", NO_VALUES, &value, &error), 1);
	assert_int_equal(value, 2);
}

static void
the_identity_stays_and_is_its_own(void **state)
{
	struct fixture *fixture = *state;
	char identity[17];
	snprintf(identity, sizeof(identity), "%s", journal_identity(fixture_open(fixture)));
	assert_int_equal(strspn(identity, "0123456789abcdef"), 16);
	assert_string_equal(journal_identity(fixture_reopen(fixture)), identity);
	fixture_close(fixture);
	remove_tree(fixture->state);
	assert_string_not_equal(journal_identity(fixture_open(fixture)), identity);
}

static void
its_file_is_known_by_every_name(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	cleanup_free char *path = state_path(fixture, JOURNAL_FILE);
	cleanup_free char *beside = state_path(fixture, JOURNAL_FILE "-wal");
	cleanup_free char *other = state_path(fixture, "other");
	cleanup_free char *roundabout = xasprintf("%s/../state/" JOURNAL_FILE, fixture->state);
	assert_true(journal_is_file(journal, path));
	assert_true(journal_is_file(journal, roundabout) || access(roundabout, F_OK) < 0);
	assert_false(journal_is_file(journal, beside));
	assert_false(journal_is_file(journal, other));
	assert_false(journal_is_file(journal, fixture->state));
	assert_int_equal(link(path, other), 0);
	assert_true(journal_is_file(journal, other));
}

static void
being_writable_is_proved_by_writing(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	for (int i = 0; i < 3; i++)
		assert_success(journal_check_writable(journal, &error), &error);
	assert_peek(fixture, "SELECT count(*) || ' ' || (sum(length(filler)) >= 4096) FROM probe", "1 1");
}

/* ---- reading only ---- */

static void
a_missing_journal_reads_as_an_empty_one(void **state)
{
	struct fixture *fixture = *state;
	struct error error = {.code = ERROR_NONE};
	struct journal *journal = (struct journal *)fixture;
	assert_success(journal_open_readonly(fixture->state, &fixture->clock, &journal, &error), &error);
	assert_null(journal);
	assert_int_equal(access(fixture->state, F_OK), -1);
}

static char *
list_directory(const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort);
	assert_true(count >= 0);
	char *list = xstrdup("");
	for (int i = 0; i < count; i++) {
		char *longer = xasprintf("%s%s\n", list, entries[i]->d_name);
		free(list);
		free(entries[i]);
		list = longer;
	}
	free(entries);
	return list;
}

static void
count_job(void *context, const struct job_record *job)
{
	assert_non_null(job->spec.name);
	(*(int *)context)++;
}

static int
count_jobs_readonly(struct fixture *fixture)
{
	struct error error = {.code = ERROR_NONE};
	struct journal *journal;
	assert_success(journal_open_readonly(fixture->state, &fixture->clock, &journal, &error), &error);
	assert_non_null(journal);
	int count = 0;
	struct job_filter filter = {.limit = 1000};
	assert_success(journal_jobs(journal, &filter, count_job, &count, &error), &error);
	journal_close(journal);
	return count;
}

static void
a_reader_makes_and_changes_nothing(void **state)
{
	struct fixture *fixture = *state;
	submit_one(fixture_open(fixture), RUN_MANUAL, NULL, "web");
	fixture_close(fixture);
	size_t length_before, length_after;
	cleanup_free char *files_before = list_directory(fixture->state);
	cleanup_free char *bytes_before = read_state(fixture, "journal.sqlite", &length_before);

	assert_int_equal(count_jobs_readonly(fixture), 1);
	cleanup_free char *files_after = list_directory(fixture->state);
	assert_string_equal(files_after, files_before);
	cleanup_free char *bytes_after = read_state(fixture, "journal.sqlite", &length_after);
	assert_int_equal(length_after, length_before);
	assert_memory_equal(bytes_after, bytes_before, length_before);
}

static void
a_reader_cannot_write(void **state)
{
	struct fixture *fixture = *state;
	int64_t id = submit_one(fixture_open(fixture), RUN_MANUAL, NULL, "web");
	fixture_close(fixture);
	struct journal *journal;
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_success(journal_open_readonly(fixture->state, &fixture->clock, &journal, &error), &error);
	assert_fails_with(journal_check_writable(journal, &error), &error, ERROR_PERMISSION);
	assert_fails_with(journal_add_note(journal, id, "a", "b", &error), &error, ERROR_PERMISSION);
	journal_close(journal);
}

/* A copy of the main file alone, as a file manager makes it, in a directory whose name means something in a
 * URI. */
static void
a_lone_main_file_is_read_without_making_others(void **state)
{
	struct fixture *fixture = *state;
	submit_one(fixture_open(fixture), RUN_MANUAL, NULL, "web");
	fixture_close(fixture);
	size_t length;
	cleanup_free char *content = read_state(fixture, "journal.sqlite", &length);
	free(fixture->state);
	fixture->state = xasprintf("%s/copy?mode=rwc#%%41", fixture->root);
	assert_int_equal(mkdir(fixture->state, 0700), 0);
	write_state(fixture, "journal.sqlite", content, length);

	assert_int_equal(count_jobs_readonly(fixture), 1);
	cleanup_free char *files = list_directory(fixture->state);
	assert_string_equal(files, ".\n..\njournal.sqlite\n");
}

static void
die_with_an_open_journal(struct fixture *fixture, int argument)
{
	(void)argument;
	struct journal *journal;
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	submit_one(journal, RUN_MANUAL, NULL, "web");
	kill(getpid(), SIGKILL);
}

static void
what_a_killed_writer_committed_is_read(void **state)
{
	struct fixture *fixture = *state;
	int status = wait_child(start_child(fixture, die_with_an_open_journal, 0));
	assert_true(WIFSIGNALED(status));
	cleanup_free char *before = list_directory(fixture->state);
	assert_non_null(strstr(before, "journal.sqlite-wal"));
	assert_int_equal(count_jobs_readonly(fixture), 1);
	cleanup_free char *after = list_directory(fixture->state);
	assert_string_equal(after, before);
	/* Without the index of the WAL, which no copy needs, it is made anew. */
	cleanup_free char *index = state_path(fixture, "journal.sqlite-shm");
	assert_int_equal(unlink(index), 0);
	assert_int_equal(count_jobs_readonly(fixture), 1);
}

/* Writes until the parent closes its end of the pipe, folding the WAL in many times and opening anew now and
 * then. */
static void
write_on_and_on(struct fixture *fixture, int stop)
{
	struct pollfd end = {.fd = stop, .events = POLLIN};
	struct journal *journal = NULL;
	for (int i = 0; poll(&end, 1, 0) == 0; i++) {
		if (i % 50 == 0) {
			journal_close(journal);
			child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
		}
		child_requires(journal_check_writable(journal, NULL) == 0);
	}
	journal_close(journal);
}

static void
readers_and_a_writer_do_not_disturb_each_other(void **state)
{
	struct fixture *fixture = *state;
	submit_one(fixture_open(fixture), RUN_MANUAL, NULL, "web");
	fixture_close(fixture);
	int stop[2];
	assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
	pid_t writer = fork();
	assert_true(writer >= 0);
	if (writer == 0) {
		close(stop[1]);
		write_on_and_on(fixture, stop[0]);
		_exit(0);
	}
	close(stop[0]);
	for (int i = 0; i < 200; i++)
		assert_int_equal(count_jobs_readonly(fixture), 1);
	close(stop[1]);
	int status = wait_child(writer);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_peek(fixture, "PRAGMA integrity_check", "ok");
}

/* Two writers fold the WAL in while the other writes; see fold_wal. */
static void
write_much(struct fixture *fixture, int argument)
{
	(void)argument;
	struct journal *journal;
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	for (int i = 0; i < 150; i++) {
		child_requires(journal_check_writable(journal, NULL) == 0);
		cleanup_free char *night = xasprintf("%d-%d", argument, i);
		submit_one(journal, RUN_NIGHTLY, night, "web");
	}
	journal_close(journal);
}

static void
the_wal_is_folded_in_by_two_writers(void **state)
{
	struct fixture *fixture = *state;
	pid_t first = start_child(fixture, write_much, 1);
	pid_t second = start_child(fixture, write_much, 2);
	assert_int_equal(wait_child(first), 0);
	assert_int_equal(wait_child(second), 0);
	cleanup_free char *path = state_path(fixture, "journal.sqlite-wal");
	struct stat status;
	assert_int_equal(stat(path, &status), 0);
	assert_true(status.st_size <= 4194304);
	assert_peek(fixture, "PRAGMA integrity_check", "ok");
	assert_peek(fixture, "SELECT count(*) FROM job", "300");
}

/* ---- the runner's lock ---- */

static void
try_the_lock(struct fixture *fixture, int holder_expected)
{
	struct journal *journal;
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	bool held = true;
	pid_t holder = -1;
	child_requires(journal_lock_runner(journal, &held, &holder, NULL) == 0);
	child_requires(!held);
	child_requires(holder == holder_expected);
	journal_close(journal);
}

static void
one_process_holds_the_runner_lock(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	bool held = false;
	pid_t holder = 0;
	assert_success(journal_lock_runner(journal, &held, &holder, &error), &error);
	assert_true(held);
	assert_int_equal(holder, getpid());
	assert_success(journal_lock_runner(journal, &held, NULL, &error), &error);
	assert_true(held);
	run_child(fixture, try_the_lock, getpid());

	/* Another handle of the same process is another holder as well. */
	struct journal *other;
	assert_success(journal_open(fixture->state, &fixture->clock, &other, &error), &error);
	assert_success(journal_lock_runner(other, &held, NULL, &error), &error);
	assert_false(held);
	journal_unlock_runner(journal);
	assert_success(journal_lock_runner(other, &held, NULL, &error), &error);
	assert_true(held);
	journal_close(other);
	assert_success(journal_lock_runner(journal, &held, NULL, &error), &error);
	assert_true(held);
}

static void
hold_the_lock(struct fixture *fixture, int ready)
{
	struct journal *journal;
	bool held = false;
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	child_requires(journal_lock_runner(journal, &held, NULL, NULL) == 0 && held);
	child_requires(write(ready, "x", 1) == 1);
	for (;;)
		pause();
}

static void
looking_at_the_lock_does_not_take_it(void **state)
{
	struct fixture *fixture = *state;
	fixture_open(fixture);
	fixture_close(fixture);
	struct error error = {.code = ERROR_NONE};
	struct journal *reader;
	assert_success(journal_open_readonly(fixture->state, &fixture->clock, &reader, &error), &error);
	bool free_now = false;
	assert_success(journal_lock_runner(reader, &free_now, NULL, &error), &error);
	assert_true(free_now);
	assert_false(state_has(fixture, "runner.lock"));

	int ready[2];
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t runner = start_child(fixture, hold_the_lock, ready[1]);
	close(ready[1]);
	char byte;
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	pid_t holder = 0;
	assert_success(journal_lock_runner(reader, &free_now, &holder, &error), &error);
	assert_false(free_now);
	assert_int_equal(holder, runner);

	assert_int_equal(kill(runner, SIGKILL), 0);
	wait_child(runner);
	assert_success(journal_lock_runner(reader, &free_now, NULL, &error), &error);
	assert_true(free_now);
	bool held = false;
	assert_success(journal_lock_runner(fixture_open(fixture), &held, NULL, &error), &error);
	assert_true(held);
	journal_close(reader);
}

/* ---- crash points ---- */

#ifdef ATELIER_CRASH_POINTS

static void
make_the_journal(struct fixture *fixture, int argument)
{
	(void)argument;
	struct journal *journal;
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	journal_close(journal);
}

static void
make_commits(struct fixture *fixture, int setting)
{
	cleanup_free char *number = xasprintf("%d", setting);
	struct journal *journal;
	child_requires(setenv("ATELIER_BACKUP_CRASH_AFTER_COMMIT", number, 1) == 0);
	fault_arm("runner");
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	for (int i = 0; i < 5; i++) {
		cleanup_free char *place = xasprintf("place %d", i);
		child_requires(journal_repository_remember(journal, place, "id", NULL) == 0);
	}
	_exit(7);
}

static void
the_process_dies_right_after_the_chosen_commit(void **state)
{
	struct fixture *fixture = *state;
	run_child(fixture, make_the_journal, 0);
	for (int i = 1; i <= 5; i++) {
		meddle(fixture, "DELETE FROM repository");
		int status = wait_child(start_child(fixture, make_commits, i));
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);
		cleanup_free char *count = xasprintf("%d", i);
		assert_peek(fixture, "SELECT count(*) FROM repository", count);
	}
	int status = wait_child(start_child(fixture, make_commits, 6));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void
fail_commits(struct fixture *fixture, int first)
{
	cleanup_free char *number = xasprintf("%d", first);
	struct journal *journal;
	child_requires(setenv("ATELIER_BACKUP_FAIL_COMMIT", number, 1) == 0);
	fault_arm("runner");
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	for (int i = 1; i <= 5; i++) {
		cleanup_free char *place = xasprintf("place %d", i);
		cleanup_error struct error error = {.code = ERROR_NONE};
		int result = journal_repository_remember(journal, place, "id", &error);
		child_requires(result == (i < first ? 0 : -1));
		child_requires(i < first || (error.code == ERROR_NO_SPACE && error.hint != NULL));
		cleanup_free char *known = NULL;
		child_requires(journal_repository_seen(journal, place, &known, NULL) == (i < first));
	}
	journal_close(journal);
}

static void
commits_fail_as_on_a_full_disk_from_the_chosen_one_on(void **state)
{
	struct fixture *fixture = *state;
	run_child(fixture, make_the_journal, 0);
	for (int i = 1; i <= 5; i++) {
		meddle(fixture, "DELETE FROM repository");
		run_child(fixture, fail_commits, i);
	}
}

#endif

int
main(void)
{
	const struct CMUnitTest tests[] = {
#ifdef ATELIER_CRASH_POINTS
	    fixture_test(the_process_dies_right_after_the_chosen_commit),
	    fixture_test(commits_fail_as_on_a_full_disk_from_the_chosen_one_on),
#endif
	    fixture_test(a_new_journal_is_private_whatever_the_umask),
	    fixture_test(a_journal_with_open_rights_is_closed_up),
	    fixture_test(commits_are_durable),
	    fixture_test(the_identity_stays_and_is_its_own),
	    fixture_test(its_file_is_known_by_every_name),
	    fixture_test(being_writable_is_proved_by_writing),
	    fixture_test(a_missing_journal_reads_as_an_empty_one),
	    fixture_test(a_reader_makes_and_changes_nothing),
	    fixture_test(a_reader_cannot_write),
	    fixture_test(a_lone_main_file_is_read_without_making_others),
	    fixture_test(what_a_killed_writer_committed_is_read),
	    fixture_test(readers_and_a_writer_do_not_disturb_each_other),
	    fixture_test(the_wal_is_folded_in_by_two_writers),
	    fixture_test(one_process_holds_the_runner_lock),
	    fixture_test(looking_at_the_lock_does_not_take_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
