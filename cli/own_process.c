#include "cli/own_process.h"

#include "core/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Stays this very program while it is being upgraded, or removed. */
#define SELF "/proc/self/exe"

static void
add_option(char ***arguments, const char *name, const char *value)
{
	cleanup_free char *option = xasprintf("--%s=%s", name, value);
	strings_add(arguments, option);
}

char **
own_process_arguments(const struct invocation *invocation, const char *command)
{
	char **arguments = NULL;
	strings_add(&arguments, "atelier-backup");
	strings_add(&arguments, command);
	add_option(&arguments, "manifest", invocation->manifest_path);
	add_option(&arguments, "state-dir", invocation->state_directory);
	add_option(&arguments, "runtime-dir", invocation->runtime_directory);
	if (invocation->restic_program != NULL)
		add_option(&arguments, "restic", invocation->restic_program);
	if (invocation->verbose)
		strings_add(&arguments, "--verbose");
	return arguments;
}

static void
reset_signals(void)
{
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* They speak of the process that has them, or of one it was started by. */
static void
forget_service_manager(void)
{
	static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID",
	    "LISTEN_FDS", "LISTEN_FDNAMES", "JOURNAL_STREAM"};
	for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
		unsetenv(names[i]);
}

static void __attribute__((noreturn))
become(const struct own_process *process)
{
	int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (input < 0 || dup2(input, STDIN_FILENO) < 0 || chdir("/") < 0)
		_exit(127);
	if (process->output >= 0 &&
	    (dup2(process->output, STDOUT_FILENO) < 0 || dup2(process->output, STDERR_FILENO) < 0))
		_exit(127);
	close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	if (process->kept >= 0 && fcntl(process->kept, F_SETFD, 0) < 0)
		_exit(127);
	forget_service_manager();
	reset_signals();
	execv(SELF, process->arguments);
	_exit(127);
}

static void __attribute__((noreturn))
leave(const struct own_process *process)
{
	if (setsid() < 0)
		_exit(127);
	if (process->orphan) {
		pid_t pid = fork();
		if (pid != 0)
			_exit(pid < 0 ? errno : 0);
	}
	become(process);
}

pid_t
own_process_start(const struct own_process *process, struct error *error)
{
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0)
		leave(process);
	int number = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid > 0 && process->orphan) {
		int status;
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		pid = 0;
		number = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
		if (number != 0)
			pid = -1;
	}
	if (pid < 0)
		return error_set(error, ERROR_SYSTEM_BUSY, "no process can be started: %s", strerror(number));
	return pid;
}

void
own_process_take_name(void)
{
	prctl(PR_SET_NAME, "atelier-backup");
}

int
own_process_descriptor(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}
