#include "cli/guardian.h"

#include "cli/own_process.h"
#include "core/alloc.h"
#include "core/child.h"
#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LOG_LARGEST   (1024 * 1024)
#define MOST_CRASHES  10
#define CRASHES_COUNT USEC_PER_HOUR /* so long a crash is held against the runner */

int64_t
guardian_pause(unsigned crashes)
{
	/* The first is a SIGKILL, and a service is down. Later ones are a bug that is met again and again. */
	static const int64_t pauses[] = {0, 0, USEC_PER_SEC / 10, USEC_PER_SEC, 10 * USEC_PER_SEC, 60 * USEC_PER_SEC};
	return pauses[crashes < ARRAY_LENGTH(pauses) ? crashes : ARRAY_LENGTH(pauses) - 1];
}

/* ---- beginning ---- */

static int
open_log(const struct invocation *invocation, struct error *error)
{
	cleanup_free char *path = xasprintf("%s/runner.log", invocation->state_directory);
	int descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (descriptor < 0)
		return error_set(error, ERROR_SYSTEM, "cannot write to %s: %s", path, strerror(errno));
	struct stat status;
	if (fstat(descriptor, &status) == 0 && status.st_size > LOG_LARGEST && ftruncate(descriptor, 0) < 0)
		log_warning("%s cannot be started anew: %s", path, strerror(errno));
	return descriptor;
}

static void
add_number(char ***arguments, const char *option, unsigned long long number)
{
	cleanup_free char *word = xasprintf("--%s=%llu", option, number);
	strings_add(arguments, word);
}

int
guardian_start(const struct invocation *invocation, int ready, struct error *error)
{
	cleanup_close int output = open_log(invocation, error);
	if (output < 0)
		return -1;
	cleanup_strings char **arguments = own_process_arguments(invocation, "guardian");
	add_number(&arguments, "ready-fd", (unsigned)ready);
	const struct own_process guardian = {.arguments = arguments, .output = output, .kept = ready, .orphan = true};
	return own_process_start(&guardian, error) < 0 ? -1 : 0;
}

/* ---- the guardian ---- */

struct guardian {
	const struct invocation *invocation;
	int signals;  /* SIGTERM */
	int ready;    /* for the first runner, -1 afterwards */
	pid_t runner; /* a child of ours, 0: an adopted one */
	int ended;    /* its pidfd */
	bool asked_to_end;
	int64_t crashed_at[MOST_CRASHES]; /* monotonic; the latest ones, oldest first */
	unsigned crashes;
};

static void
take_request_to_end(struct guardian *guardian)
{
	struct signalfd_siginfo information;
	if (read(guardian->signals, &information, sizeof(information)) != (ssize_t)sizeof(information))
		return;
	guardian->asked_to_end = true;
	if (guardian->ended >= 0)
		syscall(SYS_pidfd_send_signal, guardian->ended, SIGTERM, NULL, 0);
}

/* Until the runner has ended, or for a while where there is none. */
static void
wait_for_runner(struct guardian *guardian, int64_t patience)
{
	int64_t deadline = clock_monotonic(clock_system()) + patience;
	bool forever = guardian->ended >= 0;
	for (;;) {
		struct pollfd descriptors[] = {
		    {.fd = guardian->ended, .events = POLLIN}, {.fd = guardian->signals, .events = POLLIN}};
		int64_t left = (deadline - clock_monotonic(clock_system()) + USEC_PER_MSEC - 1) / USEC_PER_MSEC;
		if (!forever && (left <= 0 || guardian->asked_to_end))
			return;
		if (poll(descriptors, ARRAY_LENGTH(descriptors), forever ? -1 : (int)left) <= 0)
			continue;
		if (descriptors[1].revents != 0)
			take_request_to_end(guardian);
		if (descriptors[0].revents != 0)
			return;
	}
}

static void
lose_runner(struct guardian *guardian)
{
	cleanup_close_function(&guardian->ended);
	guardian->ended = -1;
	guardian->runner = 0;
}

enum ending { ENDED_WELL, ENDED_WITH_ERROR, WAS_KILLED };

static enum ending
reap(struct guardian *guardian)
{
	int status;
	while (waitpid(guardian->runner, &status, 0) < 0)
		if (errno != EINTR)
			return ENDED_WELL;
	if (WIFEXITED(status))
		return WEXITSTATUS(status) == CODE_COMPLETE ? ENDED_WELL : ENDED_WITH_ERROR;
	log_error("the runner (pid %d) was killed by signal %d", (int)guardian->runner, WTERMSIG(status));
	return WAS_KILLED;
}

static int
start(struct guardian *guardian, const char *command, struct error *error)
{
	cleanup_strings char **arguments = own_process_arguments(guardian->invocation, command);
	if (strcmp(command, "runner") == 0)
		add_number(&arguments, "guardian", (unsigned long long)getpid());
	else
		strings_add(&arguments, "--owed");
	if (guardian->ready >= 0)
		add_number(&arguments, "ready-fd", (unsigned)guardian->ready);
	const struct own_process process = {.arguments = arguments, .output = -1, .kept = guardian->ready};
	guardian->runner = own_process_start(&process, error);
	if (guardian->runner < 0)
		return -1;
	guardian->ended = own_process_descriptor(guardian->runner);
	/* Only the runner holds it now: whoever waits for its line learns of its end. */
	cleanup_close_function(&guardian->ready);
	guardian->ready = -1;
	return 0;
}

static enum ending
run_to_the_end(struct guardian *guardian, const char *command)
{
	cleanup_error struct error error = {0};
	if (start(guardian, command, &error) < 0) {
		log_error("%s", error.message);
		lose_runner(guardian);
		return WAS_KILLED;
	}
	if (guardian->ended >= 0)
		wait_for_runner(guardian, 0);
	enum ending ending = reap(guardian);
	lose_runner(guardian);
	return ending;
}

/* Returns false when that were too many. */
static bool
count_crash(struct guardian *guardian)
{
	int64_t now = clock_monotonic(clock_system());
	unsigned kept = 0;
	for (unsigned i = 0; i < guardian->crashes; i++)
		if (now - guardian->crashed_at[i] < CRASHES_COUNT)
			guardian->crashed_at[kept++] = guardian->crashed_at[i];
	guardian->crashed_at[kept++] = now;
	guardian->crashes = kept;
	return kept < MOST_CRASHES;
}

static void
adopt(struct guardian *guardian)
{
	struct child_identity identity = {
	    .pid = (pid_t)guardian->invocation->adopt,
	    .start_ticks = guardian->invocation->start_ticks,
	};
	/* First the descriptor, then the look: it names the process that was looked at. */
	guardian->ended = own_process_descriptor(identity.pid);
	if (guardian->ended >= 0 && child_identity_alive(&identity))
		wait_for_runner(guardian, 0);
	/* A runner that ends in good order ends us first: this one was killed. */
	log_error("the runner (pid %d) was killed", (int)identity.pid);
	lose_runner(guardian);
	count_crash(guardian);
}

static enum exit_code
pay(struct guardian *guardian)
{
	return run_to_the_end(guardian, "recover") == ENDED_WELL ? CODE_COMPLETE : CODE_FAILED;
}

static enum exit_code
guard(struct guardian *guardian)
{
	if (guardian->invocation->adopt != 0)
		adopt(guardian);
	for (;;) {
		wait_for_runner(guardian, guardian->crashes > 0 ? guardian_pause(guardian->crashes) : 0);
		if (guardian->asked_to_end)
			return pay(guardian);
		enum ending ending = run_to_the_end(guardian, "runner");
		if (ending == ENDED_WELL)
			return CODE_COMPLETE;
		/* One that could not even begin has not paid what the one before it owed. */
		if (ending == ENDED_WITH_ERROR && (pay(guardian) == CODE_COMPLETE || guardian->crashes == 0))
			return CODE_FAILED;
		if (!count_crash(guardian)) {
			log_error(
			    "the runner was killed %d times within an hour; it is not started again", MOST_CRASHES);
			pay(guardian);
			return CODE_FAILED;
		}
	}
}

static enum exit_code
run(const struct invocation *invocation)
{
	own_process_take_name();
	log_with_time();
	static const int ignored[] = {SIGINT, SIGHUP, SIGPIPE, SIGQUIT, SIGTSTP, SIGTTOU, SIGTTIN};
	for (size_t i = 0; i < ARRAY_LENGTH(ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	struct guardian guardian = {
	    .invocation = invocation,
	    .signals = signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK),
	    .ready = invocation->ready_descriptor != 0 ? (int)invocation->ready_descriptor : -1,
	    .ended = -1,
	};
	enum exit_code code = guard(&guardian);
	cleanup_close_function(&guardian.signals);
	return code;
}

const struct command command_guardian = {
    .name = "guardian",
    .operands = "",
    .summary = "keep a runner alive (started by the other commands, where systemd does not)",
    .help =
	"Starts `atelier-backup runner` and waits for it. A runner that is killed is started again at once, and\n"
	"brings back what was stopped; one that ends by itself is through, and if it ends with an error what is "
	"still\n"
	"owed is paid. After ten deaths within an hour it pays what is owed and gives up. SIGTERM ends both in good\n"
	"order.",
    .options = OPTION_READY | OPTION_ADOPT,
    .needs_root = true,
    .hidden = true,
    .run = run,
};
