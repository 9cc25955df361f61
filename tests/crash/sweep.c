#include "tests/crash/sweep.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"
#include "tests/crash/judgement.h"
#include "tests/crash/services.h"
#include "tests/unit/core/temporary.h"

#define USUAL_AT_ONCE 2

/* Something goes round in circles. */
#define MOST_CASES 2000

/* How a case's process ends; anything else is a failure. */
enum verdict { VERDICT_SURVIVED = 0, VERDICT_SPARED = 42 };

/* Of a run without a fault; the processes of the cases share it. */
struct usual {
	int64_t time;
	unsigned events;
};

struct running {
	pid_t pid;
	unsigned number;
};

static struct {
	const struct services *services;
	char *root;
	unsigned count; /* 0: not said */
	unsigned only;  /* 0: all */
	uint64_t seed;
	struct shared {
		struct usual usual;
		struct outages outages;
	} *shared;
	pid_t load[3];
} world;

/* ---- ends ---- */

void
end_by_kill(struct crash_case *crash, int status)
{
	end_complete(crash, status);
	judge_processes(crash);
	judge_journal(crash);
	judge_outage(crash);
}

void
end_in_order(struct crash_case *crash, int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
		case_fail(crash, "the run has the wait status %d", status);
}

void
end_complete(struct crash_case *crash, int status)
{
	size_t unfinished, complete;
	count_jobs(crash, &unfinished, &complete);
	if (status != 0 || unfinished > 0 || complete != count_backups(crash))
		case_fail(crash, "the run has the wait status %d, and %zu jobs are complete", status, complete);
}

/* ---- a case ---- */

/* A job that failed for good is not repeated by the same night's run; another one has to be possible. */
static void
make_good(struct crash_case *crash)
{
	size_t unfinished, complete;
	count_jobs(crash, &unfinished, &complete);
	if (complete == count_backups(crash))
		return;
	if (!crash->fault->may_fail)
		case_fail(crash, "%zu jobs are complete", complete);
	case_must(crash, PROGRAM, "backup", "--all", NULL);
	case_end_runner(crash);
	judge_processes(crash);
	judge_journal(crash);
}

static bool
have_fault(struct crash_case *crash)
{
	const struct fault *fault = crash->fault;
	case_start(crash);
	bool met = fault->strike != NULL && fault->strike(crash);
	int status = case_finish(crash);
	if (fault->clean_up != NULL)
		fault->clean_up(crash);
	met |= case_had_fault(crash);
	if (met)
		fault->judge_end(crash, status);
	else
		end_complete(crash, status);
	return met;
}

static enum verdict
run_case(const struct fault *fault, unsigned number)
{
	struct crash_case crash = {
	    .services = world.services,
	    .fault = fault,
	    .root = world.root,
	    .number = number,
	    .seed = world.seed,
	    .usual_time = world.shared->usual.time,
	    .outages = &world.shared->outages,
	};
	case_set_up(&crash);
	bool met = have_fault(&crash);
	judge_processes(&crash);

	/* The same night: makes the jobs only if the first run did not come so far. */
	int status = case_run(&crash, PROGRAM, "run", NULL);
	if (status != 0 && !fault->may_fail)
		case_fail(&crash, "wait status %d", status);
	case_end_runner(&crash);
	judge_processes(&crash);
	judge_journal(&crash);
	case_must(&crash, PROGRAM, "recover", NULL);
	if (strcmp(crash.output, "nothing is owed and nothing is half done\n") != 0)
		case_fail(&crash, "recover had something to do");
	case_end_runner(&crash);
	make_good(&crash);
	case_must(&crash, PROGRAM, "status", NULL);
	judge_processes(&crash);
	judge_journal(&crash);
	judge_snapshots(&crash);
	judge_data(&crash);
	case_tear_down(&crash);
	return met ? VERDICT_SURVIVED : VERDICT_SPARED;
}

/* ---- a run without a fault ---- */

static unsigned
read_count(const struct crash_case *crash, const char *variable)
{
	cleanup_free char *path = case_path(crash, "counts");
	cleanup_free char *words = NULL;
	size_t length;
	if (file_read(path, 4096, &words, &length, NULL) < 0)
		return 0;
	const char *line = variable == NULL ? NULL : strstr(words, variable);
	return line == NULL ? 0 : (unsigned)strtoul(line + strlen(variable), NULL, 10);
}

static void
run_usual(const struct fault *fault)
{
	struct fault none = *fault;
	none.variable = NULL;
	none.strike = NULL;
	struct crash_case crash = {.services = world.services, .fault = &none, .root = world.root};
	case_set_up(&crash);
	case_start(&crash);
	end_complete(&crash, case_finish(&crash));
	world.shared->usual.time = crash.took;
	world.shared->usual.events = read_count(&crash, fault->variable);
	judge_data(&crash);
	case_tear_down(&crash);
}

static void
make_repository(const struct fault *fault)
{
	struct crash_case crash = {.services = world.services, .fault = fault, .root = world.root};
	case_make_repository(&crash);
}

static void
in_a_process(void (*does)(const struct fault *fault), const struct fault *fault)
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		does(fault);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
measure(const struct sweep *sweep)
{
	in_a_process(run_usual, &sweep->fault);
	print_message("without a fault: %lld ms, %u %s\n", (long long)(world.shared->usual.time / USEC_PER_MSEC),
	    world.shared->usual.events, sweep->events);
}

/* ---- load ---- */

static void __attribute__((noreturn))
be_a_load(bool writes)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (nice(19) < 0)
		_exit(1);
	cleanup_free char *path = xasprintf("%s/load", world.root);
	static char block[1 << 20];
	for (unsigned turn = 0;; turn++) {
		memset(block, (int)(turn & 0xff), sizeof(block));
		if (!writes)
			continue;
		int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		if (descriptor < 0 || file_write_all(descriptor, block, sizeof(block)) < 0 || fsync(descriptor) < 0)
			_exit(1);
		close(descriptor);
	}
}

static void
begin_load(void)
{
	fflush(NULL);
	for (size_t i = 0; i < ARRAY_LENGTH(world.load); i++) {
		world.load[i] = fork();
		assert_true(world.load[i] >= 0);
		if (world.load[i] == 0)
			be_a_load(i == 0);
	}
}

static void
end_load(void)
{
	for (size_t i = 0; i < ARRAY_LENGTH(world.load); i++) {
		if (world.load[i] == 0)
			continue;
		kill(world.load[i], SIGKILL);
		int status;
		assert_int_equal(waitpid(world.load[i], &status, 0), world.load[i]);
		/* One that ended by itself was no load. */
		assert_true(WIFSIGNALED(status));
		world.load[i] = 0;
	}
}

/* ---- the sweep ---- */

/* splitmix64: the same cases for the same seed, on any machine. */
static uint64_t
draw(uint64_t *state)
{
	uint64_t value = (*state += UINT64_C(0x9e3779b97f4a7c15));
	value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
	return value ^ value >> 31;
}

static bool
has_number(const unsigned *numbers, size_t count, unsigned number)
{
	for (size_t i = 0; i < count; i++)
		if (numbers[i] == number)
			return true;
	return false;
}

static size_t
choose_cases(const struct sweep *sweep, unsigned *numbers)
{
	unsigned first = sweep->first_cases, drawn = sweep->drawn;
	if (world.only > 0) {
		numbers[0] = world.only;
		return 1;
	}
	if (world.count > 0 && drawn > 0)
		drawn = world.count;
	else if (world.count > 0)
		first = world.count;
	assert_in_range(first + drawn, 1, MOST_CASES);
	size_t count = 0;
	for (unsigned number = 1; number <= first; number++)
		numbers[count++] = number;
	uint64_t state = world.seed;
	unsigned rest = world.shared->usual.events > first ? world.shared->usual.events - first : 0;
	for (unsigned i = 0; i < drawn && i < rest;) {
		unsigned number = first + 1 + (unsigned)(draw(&state) % rest);
		if (has_number(numbers, count, number))
			continue;
		numbers[count++] = number;
		i++;
	}
	return count;
}

static void
begin_case(const struct sweep *sweep, struct running *running, unsigned number)
{
	fflush(NULL);
	running->number = number;
	running->pid = fork();
	assert_true(running->pid >= 0);
	if (running->pid == 0)
		_exit((int)run_case(&sweep->fault, number));
}

static unsigned
end_case(struct running *running, size_t count, enum verdict *ret_verdict)
{
	int status;
	pid_t pid = waitpid(-1, &status, 0);
	assert_true(pid > 0);
	*ret_verdict = WIFEXITED(status) ? (enum verdict)WEXITSTATUS(status) : (enum verdict) - 1;
	for (size_t i = 0; i < count; i++)
		if (running[i].pid == pid) {
			running[i].pid = 0;
			return running[i].number;
		}
	fail_msg("pid %ld is no case", (long)pid);
	return 0;
}

static void
run_cases(const struct sweep *sweep, const unsigned *numbers, size_t count)
{
	struct running running[USUAL_AT_ONCE] = {{.pid = 0}};
	size_t at_once = sweep->at_once > 0 ? sweep->at_once : USUAL_AT_ONCE;
	size_t next = 0, at_work = 0, met = 0, spared = 0;
	unsigned failed = 0;
	bool over = false;
	while (at_work > 0 || (!over && next < count)) {
		for (size_t i = 0; i < at_once && !over && next < count; i++)
			if (running[i].pid == 0) {
				begin_case(sweep, &running[i], numbers[next++]);
				at_work++;
			}
		enum verdict verdict;
		unsigned number = end_case(running, at_once, &verdict);
		at_work--;
		met += verdict == VERDICT_SURVIVED;
		spared += verdict == VERDICT_SPARED;
		if (verdict != VERDICT_SURVIVED && verdict != VERDICT_SPARED)
			failed = number;
		over = failed > 0 || (sweep->until_spared && spared > 0);
	}
	if (failed > 0)
		fail_msg(
		    "what happened in case %u is told above (seed %llu)", failed, (unsigned long long)world.seed);
	print_message("%zu %s, %zu cases without a fault\n", met, sweep->events, spared);
	if (world.shared->outages.count > 0)
		print_message(
		    "%u services were away when the runner was killed, and there again after at most %lld ms\n",
		    world.shared->outages.count, (long long)(world.shared->outages.longest / USEC_PER_MSEC));
	/* It ended because there was no more to come, not because the numbers did. */
	if (world.only == 0) {
		assert_true(!sweep->until_spared || spared > 0 || world.count > 0);
		assert_true(met >= sweep->least);
	}
}

static void
run_sweep(void **state)
{
	const struct sweep *sweep = *state;
	*world.shared = (struct shared){.outages = {.count = 0}};
	in_a_process(make_repository, &sweep->fault);
	if (sweep->under_load)
		begin_load();
	if (sweep->timed || sweep->drawn > 0)
		measure(sweep);
	unsigned numbers[MOST_CASES];
	size_t count = choose_cases(sweep, numbers);
	if (sweep->drawn > 0 || sweep->timed)
		print_message("%zu cases, seed %llu\n", count, (unsigned long long)world.seed);
	run_cases(sweep, numbers, count);
}

static int
set_up(void **state)
{
	(void)state;
	world.root = temporary_directory_make();
	world.services->prepare(world.root);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	end_load();
	world.services->clean_up();
	temporary_directory_remove(world.root);
	return 0;
}

/* ---- the command line ---- */

static int
usage(const char *program)
{
	print_error("usage: %s hooks|units [--count N] [--seed N] [--case N] [--test NAME]\n", program);
	return 2;
}

static int
read_options(int count, char **arguments)
{
	static const struct option options[] = {
	    {"count", required_argument, NULL, 'n'},
	    {"seed", required_argument, NULL, 's'},
	    {"case", required_argument, NULL, 'c'},
	    {"test", required_argument, NULL, 't'},
	    {NULL, 0, NULL, 0},
	};
	world.seed = (uint64_t)clock_wall(clock_system());
	for (int option; (option = getopt_long(count, arguments, "", options, NULL)) != -1;)
		switch (option) {
		case 'n':
			world.count = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 's':
			world.seed = strtoull(optarg, NULL, 10);
			break;
		case 'c':
			world.only = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 't':
			cmocka_set_test_filter(optarg);
			break;
		default:
			return -1;
		}
	if (optind + 1 != count)
		return -1;
	if (strcmp(arguments[optind], "hooks") == 0)
		world.services = &services_by_hooks;
	else if (strcmp(arguments[optind], "units") == 0)
		world.services = &services_by_units;
	return world.services != NULL ? 0 : -1;
}

int
sweep_main(int count, char **arguments, struct sweep *sweeps, size_t sweep_count)
{
	if (read_options(count, arguments) < 0)
		return usage(arguments[0]);
	const char *restic = getenv("ATELIER_TEST_RESTIC_014");
	if (world.services == &services_by_hooks && restic == NULL) {
		print_error("ATELIER_TEST_RESTIC_014 must name a restic 0.14.* (scripts/test sets it)\n");
		return 2;
	}
	setenv("ATELIER_BACKUP_RESTIC", restic != NULL ? restic : "restic", 1);
	world.shared = mmap(NULL, sizeof(*world.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (world.shared == MAP_FAILED)
		abort();
	cleanup_free struct CMUnitTest *tests = xcalloc(sweep_count, sizeof(*tests));
	for (size_t i = 0; i < sweep_count; i++)
		tests[i] = (struct CMUnitTest){
		    .name = sweeps[i].name,
		    .test_func = run_sweep,
		    .setup_func = set_up,
		    .teardown_func = tear_down,
		    .initial_state = &sweeps[i],
		};
	return _cmocka_run_group_tests("crash", tests, sweep_count, NULL, NULL);
}
