/* A run of two services in which something happens at the N-th commit to the journal, for every N until a run has no
 * N-th commit any more: the program is killed, or the disk is full from then on. `commits_test hooks` needs nothing;
 * `commits_test units` needs a systemd that is its own (tests/lab). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "tests/crash/judgement.h"
#include "tests/crash/services.h"
#include "tests/unit/core/temporary.h"

/* Cases at the same time. */
#define WORKERS 2

/* A run has more commits than the first number (or the crash points are not compiled in), and less than the second
 * (or something goes round in circles). */
#define LEAST_COMMITS 25
#define MOST_COMMITS  200

/* How a case's process ends; anything else is a failure. */
enum verdict { VERDICT_SURVIVED = 0, VERDICT_UNHURT = 42 };

struct fault {
	const char *variable;
	/* Judges how `run` ended: true if the fault was met. */
	bool (*met)(struct crash_case *crash, int status);
};

static const struct services *services;
static char *root;

/* ---- the faults ---- */

static bool
was_killed(struct crash_case *crash, int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	if (status != 0)
		case_fail(crash, "run has the wait status %d", status);
	return false;
}

/* Whoever stopped a service brings it back without a journal; what is lost is said, with what to do about it. */
static bool
found_disk_full(struct crash_case *crash, int status)
{
	if (status == 0) {
		size_t unfinished, complete;
		count_jobs(crash, &unfinished, &complete);
		if (complete != SERVICE_COUNT)
			case_fail(crash, "run ends with 0, but %zu jobs are complete", complete);
		return false;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
		case_fail(crash, "run has the wait status %d", status);
	if (strstr(crash->output, "no space left on the device") == NULL ||
	    strstr(crash->output, "make room") == NULL)
		case_fail(crash, "run does not say why it failed and what to do");
	judge_processes(crash);
	return true;
}

static const struct fault killed = {"ATELIER_BACKUP_CRASH_AFTER_COMMIT", was_killed};
static const struct fault disk_full = {"ATELIER_BACKUP_FAIL_COMMIT", found_disk_full};

/* ---- a case ---- */

static enum verdict
run_case(const struct fault *fault, unsigned number)
{
	struct crash_case crash = {.services = services, .root = root, .number = number};
	case_set_up(&crash);
	bool met = fault->met(&crash, case_run(&crash, fault->variable, PROGRAM, "run", NULL));

	case_must(&crash, PROGRAM, "recover", NULL);
	judge_processes(&crash);
	judge_journal(&crash);
	case_must(&crash, PROGRAM, "recover", NULL);
	if (strcmp(crash.output, "nothing is owed and nothing is half done\n") != 0)
		case_fail(&crash, "a second recover had something to do");

	/* The same night: makes the jobs only if the first run did not come so far. */
	case_must(&crash, PROGRAM, "run", NULL);
	case_must(&crash, PROGRAM, "status", NULL);
	judge_processes(&crash);
	judge_journal(&crash);
	judge_snapshots(&crash);
	judge_data(&crash);
	case_tear_down(&crash);
	return met ? VERDICT_SURVIVED : VERDICT_UNHURT;
}

/* ---- the sweep ---- */

static pid_t
begin_case(const struct fault *fault, unsigned number)
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit((int)run_case(fault, number));
	return pid;
}

static unsigned
end_case(pid_t *running, enum verdict *ret_verdict)
{
	int status;
	pid_t pid = waitpid(-1, &status, 0);
	assert_true(pid > 0);
	*ret_verdict = WIFEXITED(status) ? (enum verdict)WEXITSTATUS(status) : (enum verdict) - 1;
	for (unsigned number = 1; number <= MOST_COMMITS; number++)
		if (running[number] == pid) {
			running[number] = 0;
			return number;
		}
	fail_msg("pid %ld is no case", (long)pid);
	return 0;
}

static void
sweep(const struct fault *fault)
{
	pid_t running[MOST_COMMITS + 1] = {0};
	unsigned next = 1, at_work = 0, commits = 0, failed = 0;
	bool over = false;
	while (at_work > 0 || !over) {
		for (; !over && at_work < WORKERS && next <= MOST_COMMITS; next++, at_work++)
			running[next] = begin_case(fault, next);
		enum verdict verdict;
		unsigned number = end_case(running, &verdict);
		at_work--;
		if (verdict == VERDICT_SURVIVED && number > commits)
			commits = number;
		else if (verdict != VERDICT_SURVIVED)
			over = true;
		if (verdict != VERDICT_SURVIVED && verdict != VERDICT_UNHURT)
			failed = number;
		over |= next > MOST_COMMITS;
	}
	if (failed > 0)
		fail_msg("what happens at commit %u is told above", failed);
	print_message("%u commits\n", commits);
	assert_in_range(commits, LEAST_COMMITS, MOST_COMMITS - 1);
}

static void
killed_after_every_commit(void **state)
{
	(void)state;
	sweep(&killed);
}

static void
disk_full_from_every_commit(void **state)
{
	(void)state;
	sweep(&disk_full);
}

static int
set_up(void **state)
{
	(void)state;
	root = temporary_directory_make();
	services->prepare(root);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	services->clean_up();
	temporary_directory_remove(root);
	return 0;
}

int
main(int count, char **arguments)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(killed_after_every_commit, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(disk_full_from_every_commit, set_up, tear_down),
	};
	if (count < 2 || (strcmp(arguments[1], "hooks") != 0 && strcmp(arguments[1], "units") != 0)) {
		print_error("usage: %s hooks|units [TEST]\n", arguments[0]);
		return 2;
	}
	services = strcmp(arguments[1], "hooks") == 0 ? &services_by_hooks : &services_by_units;
	const char *restic = getenv("ATELIER_TEST_RESTIC_014");
	if (services == &services_by_hooks && restic == NULL) {
		print_error("ATELIER_TEST_RESTIC_014 must name a restic 0.14.* (scripts/test sets it)\n");
		return 2;
	}
	setenv("ATELIER_BACKUP_RESTIC", restic != NULL ? restic : "restic", 1);
	/* One test by its name, for whoever looks for a mistake in it. */
	if (count > 2)
		cmocka_set_test_filter(arguments[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
