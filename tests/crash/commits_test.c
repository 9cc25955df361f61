/* A run in which something happens at the N-th commit to the journal, for every N until a run has no N-th commit any
 * more: the runner is killed, or the client before it has handed its jobs over, or the disk is full from then on. */
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "core/alloc.h"
#include "tests/crash/judgement.h"
#include "tests/crash/sweep.h"

#define LEAST_COMMITS        25
#define LEAST_CLIENT_COMMITS 2 /* the journal is made, and it is tried whether it can be written to */
#define MOST_COMMITS         400

/* Whoever stopped a service brings it back without a journal; what is lost is said, with what to do about it. */
static void
end_by_full_disk(struct crash_case *crash, int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
		case_fail(crash, "the run has the wait status %d", status);
	if (strstr(crash->output, "no space left on the device") == NULL ||
	    strstr(crash->output, "make room") == NULL)
		case_fail(crash, "the run does not say why it failed and what to do");
	judge_processes(crash);
}

/* It had handed nothing over. */
static void
end_of_client(struct crash_case *crash, int status)
{
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		case_fail(crash, "the run has the wait status %d", status);
}

int
main(int count, char **arguments)
{
	static struct sweep sweeps[] = {
	    {
		.name = "killed_after_every_commit",
		.events = "commits",
		.fault = {"ATELIER_BACKUP_CRASH_AFTER_COMMIT", .judge_end = end_by_kill, .own_state = true},
		.first_cases = MOST_COMMITS,
		.until_spared = true,
		.least = LEAST_COMMITS,
	    },
	    {
		.name = "client_killed_after_every_commit",
		.events = "commits of the client",
		.fault = {"ATELIER_BACKUP_CRASH_AFTER_COMMIT", .process = "command", .judge_end = end_of_client},
		.first_cases = MOST_COMMITS,
		.until_spared = true,
		.least = LEAST_CLIENT_COMMITS,
	    },
	    {
		.name = "disk_full_from_every_commit",
		.events = "commits",
		.fault = {"ATELIER_BACKUP_FAIL_COMMIT", .judge_end = end_by_full_disk},
		.first_cases = MOST_COMMITS,
		.until_spared = true,
		.least = LEAST_COMMITS,
	    },
	    {
		.name = "disk_full_from_every_commit_of_the_client",
		.events = "commits of the client",
		.fault = {"ATELIER_BACKUP_FAIL_COMMIT", .process = "command", .judge_end = end_by_full_disk},
		.first_cases = MOST_COMMITS,
		.until_spared = true,
		.least = LEAST_CLIENT_COMMITS,
	    },
	};
	return sweep_main(count, arguments, sweeps, ARRAY_LENGTH(sweeps));
}
