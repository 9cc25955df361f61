#include "core/child_internal.h"

#include "core/alloc.h"
#include "core/fault.h"
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/ioprio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the child keeps its end of the control socket. */
#define CONTROL_DESCRIPTOR 3

enum step {
	STEP_READY,
	STEP_SETUP,
	STEP_NAMESPACE,
	STEP_BIND_SOURCE,
	STEP_BIND_TARGET,
	STEP_BIND,
	STEP_PRIVILEGES,
	STEP_DIRECTORY,
	STEP_EXECUTE
};

/* What the child says through the control socket before it is another program. */
struct report {
	enum step step;
	int number;  /* errno of a failed step */
	size_t bind; /* which one, where the step is about one */
};

/* Both ends of everything that connects the child with us; -1: not there. */
struct wiring {
	int input;
	int output[2];
	int errors[2];
	int control[2];
};

/* Everything the child needs, made before the fork: after it, only system calls. */
struct plan {
	const struct child_spec *spec;
	const char *program;
	char **arguments;
	char **environment;
	pid_t parent;
	const struct wiring *wiring;
};

static void __attribute__((noreturn))
give_up_bind(int control, enum step step, size_t bind)
{
	struct report report = {.step = step, .number = errno, .bind = bind};
	send(control, &report, sizeof(report), MSG_NOSIGNAL);
	_exit(127);
}

static void __attribute__((noreturn))
give_up(int control, enum step step)
{
	give_up_bind(control, step, 0);
}

/* The mask is still full: a handler of the parent must never run in the child, where it would write into the
 * parent's self-pipe. */
static void
reset_signals(void)
{
	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
close_from(unsigned first)
{
	if (close_range(first, ~0U, 0) == 0)
		return;
	/* Old container runtimes answer EPERM to system calls they do not know. */
	struct rlimit limit = {.rlim_cur = 1024};
	getrlimit(RLIMIT_NOFILE, &limit);
	for (unsigned descriptor = first; descriptor < limit.rlim_cur && descriptor < 1U << 20; descriptor++)
		close((int)descriptor);
}

/* Puts the descriptors where they belong and closes all others. They may stand in each other's way when we
 * were started with 0, 1 or 2 closed, so they move up first. */
static void
arrange_descriptors(const struct wiring *wiring)
{
	int control = fcntl(wiring->control[1], F_DUPFD_CLOEXEC, 10);
	if (control < 0)
		give_up(wiring->control[1], STEP_SETUP);
	int input = fcntl(wiring->input, F_DUPFD_CLOEXEC, 10);
	int output = fcntl(wiring->output[1], F_DUPFD_CLOEXEC, 10);
	int errors = fcntl(wiring->errors[1], F_DUPFD_CLOEXEC, 10);
	if (input < 0 || output < 0 || errors < 0 || dup2(input, STDIN_FILENO) < 0 ||
	    dup2(output, STDOUT_FILENO) < 0 || dup2(errors, STDERR_FILENO) < 0 ||
	    dup3(control, CONTROL_DESCRIPTOR, O_CLOEXEC) < 0)
		give_up(control, STEP_SETUP);
	close_from(CONTROL_DESCRIPTOR + 1);
}

/* The runner's unit may protect it from the OOM killer; that is not meant for what it starts. Best effort. */
static void
drop_oom_protection(void)
{
	int descriptor = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	if (descriptor < 0)
		return;
	char sign;
	if (read(descriptor, &sign, 1) == 1 && sign == '-' && pwrite(descriptor, "0", 1, 0) < 0) {
		/* It stays as it is. */
	}
	close(descriptor);
}

/* Being nice is a courtesy: a kernel that refuses does not keep the program from running. */
static void
set_priorities(const struct child_spec *spec)
{
	if (spec->nice != 0 && nice(spec->nice) < 0)
		errno = 0;
	if (spec->io_class != 0)
		syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(spec->io_class, spec->io_level));
	drop_oom_protection();
}

/* Opens one end of a bind. A symbolic link is none: what it leads to may change. */
static int
open_bind_end(const char *path, mode_t *ret_kind)
{
	struct stat status;
	int descriptor = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (descriptor < 0 || fstat(descriptor, &status) < 0)
		return -1;
	if (S_ISLNK(status.st_mode)) {
		errno = ELOOP;
		return -1;
	}
	*ret_kind = status.st_mode & S_IFMT;
	return descriptor;
}

/* The tree is read-only before anybody can reach it, and goes where `target` is open, whatever has that name by now.
 */
static int
attach_read_only(int source, int target)
{
	struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
	cleanup_close int tree = open_tree(source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (tree < 0 || mount_setattr(tree, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) < 0)
		return -1;
	return move_mount(tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static void
make_bind(const struct child_bind *bind, size_t number)
{
	mode_t kind, other_kind;
	cleanup_close int source = open_bind_end(bind->source, &kind);
	if (source < 0)
		give_up_bind(CONTROL_DESCRIPTOR, STEP_BIND_SOURCE, number);
	cleanup_close int target = open_bind_end(bind->target, &other_kind);
	if (target < 0)
		give_up_bind(CONTROL_DESCRIPTOR, STEP_BIND_TARGET, number);
	errno = S_ISDIR(kind) ? ENOTDIR : EISDIR;
	if (S_ISDIR(kind) != S_ISDIR(other_kind) || attach_read_only(source, target) < 0)
		give_up_bind(CONTROL_DESCRIPTOR, STEP_BIND, number);
}

/* On most systems what is mounted would be mounted for everybody, and stay after our death, were it not for
 * MS_SLAVE. */
static void
make_binds(const struct child_spec *spec)
{
	if (spec->bind_count == 0)
		return;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		give_up(CONTROL_DESCRIPTOR, STEP_NAMESPACE);
	for (size_t i = 0; i < spec->bind_count; i++)
		make_bind(&spec->binds[i], i);
}

static void
become_user(const struct child_spec *spec)
{
	/* Without root's rights setgroups would fail, and there is nothing to drop. */
	if (geteuid() != 0 && getuid() == spec->user && getgid() == spec->group)
		return;
	if (setgroups(0, NULL) < 0 || setgid(spec->group) < 0 || setuid(spec->user) < 0)
		give_up(CONTROL_DESCRIPTOR, STEP_PRIVILEGES);
}

/* Returns only if the parent lives and said so. */
static void
wait_at_gate(void)
{
	struct report ready = {.step = STEP_READY};
	char word;
	ssize_t count;
	if (send(CONTROL_DESCRIPTOR, &ready, sizeof(ready), MSG_NOSIGNAL) < 0)
		_exit(127);
	do
		count = recv(CONTROL_DESCRIPTOR, &word, 1, 0);
	while (count < 0 && errno == EINTR);
	if (count != 1)
		_exit(127);
}

static void __attribute__((noreturn))
run_child(const struct plan *plan)
{
	const struct child_spec *spec = plan->spec;

	arrange_descriptors(plan->wiring);
	reset_signals();
	if (setpgid(0, 0) < 0)
		give_up(CONTROL_DESCRIPTOR, STEP_SETUP);
	set_priorities(spec);
	make_binds(spec);
	if (spec->drop_privileges)
		become_user(spec);
	if (spec->death_signal != 0) {
		/* After the change of user, which clears it. The parent may have died before. */
		if (prctl(PR_SET_PDEATHSIG, spec->death_signal) < 0)
			give_up(CONTROL_DESCRIPTOR, STEP_SETUP);
		if (getppid() != plan->parent)
			_exit(127);
	}
	if (chdir(spec->directory == NULL ? "/" : spec->directory) < 0)
		give_up(CONTROL_DESCRIPTOR, STEP_DIRECTORY);
	wait_at_gate();
	execve(plan->program, plan->arguments, plan->environment);
	give_up(CONTROL_DESCRIPTOR, STEP_EXECUTE);
}

/* Want of resources passes; everything else stays. */
static enum error_code
code_of_errno(int number)
{
	return number == EAGAIN || number == ENOMEM || number == EMFILE || number == ENFILE ? ERROR_SYSTEM_BUSY
											    : ERROR_SYSTEM;
}

static int
cannot_execute(const char *program, int number, struct error *error)
{
	return error_set(error, code_of_errno(number), "cannot execute %s: %s", program, strerror(number));
}

/* Reads one report. Returns false at the end: the program is executed, or the process is dead. */
static bool
receive_report(int control, struct report *ret_report)
{
	ssize_t count;
	do
		count = recv(control, ret_report, sizeof(*ret_report), 0);
	while (count < 0 && errno == EINTR);
	return count == (ssize_t)sizeof(*ret_report);
}

static int
bind_error(const struct report *report, const struct child_spec *spec, struct error *error)
{
	const struct child_bind *bind = &spec->binds[report->bind];
	int number = report->number;
	enum error_code code = number == EPERM || number == EACCES ? ERROR_PERMISSION : code_of_errno(number);
	const char *which = report->step == STEP_BIND_SOURCE   ? "the former: "
			    : report->step == STEP_BIND_TARGET ? "the latter: "
							       : "";
	error_set(error, code, "cannot put %s in the place of %s: %s%s", bind->source, bind->target, which,
	    number == ELOOP ? "it is a symbolic link" : strerror(number));
	if (report->step != STEP_NAMESPACE)
		return -1;
	return error_hint(error, "run as root; a unit of ours needs CAP_SYS_ADMIN and the system calls of @mount");
}

static int
report_error(const struct report *report, const char *program, const struct child_spec *spec, struct error *error)
{
	cannot_execute(program, report->number, error);
	switch (report->step) {
	case STEP_PRIVILEGES:
		return error_prefix(error, "as user %u, group %u", (unsigned)spec->user, (unsigned)spec->group);
	case STEP_DIRECTORY:
		return error_prefix(error, "in the directory %s", spec->directory == NULL ? "/" : spec->directory);
	case STEP_SETUP:
		return error_prefix(error, "setting up the process");
	case STEP_NAMESPACE:
	case STEP_BIND_SOURCE:
	case STEP_BIND_TARGET:
	case STEP_BIND:
		return bind_error(report, spec, error);
	case STEP_READY:
	case STEP_EXECUTE:
		break;
	}
	return -1;
}

static char **
copy_strings(const char *const *list)
{
	char **copy = xcalloc(1, sizeof(char *)); /* the empty list is a list for execve, too */
	for (size_t i = 0; list[i] != NULL; i++)
		strings_add(&copy, list[i]);
	return copy;
}

/* What the shell would find; a name with a slash is left to execve, which says what is wrong with it. */
static char *
find_program(const struct child_spec *spec, struct error *error)
{
	const char *name = spec->arguments[0];
	if (strchr(name, '/') != NULL)
		return xstrdup(name);
	char *program = program_find(name);
	if (program == NULL)
		error_set(error, ERROR_SYSTEM, "cannot execute %s: there is no such program in PATH", name);
	return program;
}

static pid_t
fork_with_signals_blocked(const struct plan *plan)
{
	if (fault_fails_fork()) {
		errno = EAGAIN;
		return -1;
	}
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = fork();
	if (pid == 0)
		run_child(plan);
	int number = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = number;
	return pid;
}

/* In memory rather than through a pipe: a child that never reads cannot hold us up. */
static int
open_input(const struct child_spec *spec)
{
	if (spec->input == NULL)
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	cleanup_close int descriptor = memfd_create("input", MFD_CLOEXEC);
	if (descriptor < 0 || file_write_all(descriptor, spec->input, spec->input_length) < 0 ||
	    lseek(descriptor, 0, SEEK_SET) < 0)
		return -1;
	int taken = descriptor;
	descriptor = -1;
	return taken;
}

/* Only the reading end may be non-blocking: programs do not expect that of their stdout. */
static int
make_output_pipe(int ends[2])
{
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	return fcntl(ends[0], F_SETFL, O_NONBLOCK);
}

/* A pipe to us, or what the owner gave for it. */
static int
open_output(int ends[2], const struct child_spec *spec)
{
	if (spec->output == 0)
		return make_output_pipe(ends);
	ends[1] = fcntl(spec->output, F_DUPFD_CLOEXEC, 0);
	return ends[1];
}

static int
open_wiring(struct wiring *wiring, const struct child_spec *spec)
{
	*wiring = (struct wiring){-1, {-1, -1}, {-1, -1}, {-1, -1}};
	wiring->input = open_input(spec);
	if (wiring->input < 0 || open_output(wiring->output, spec) < 0 || make_output_pipe(wiring->errors) < 0)
		return -1;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, wiring->control);
}

/* Our copies must go, or the death of the child would not be seen as the end of what it says. */
static void
close_ends_of_child(const struct wiring *wiring)
{
	cleanup_close_function(&wiring->input);
	cleanup_close_function(&wiring->output[1]);
	cleanup_close_function(&wiring->errors[1]);
	cleanup_close_function(&wiring->control[1]);
}

static int
wait_until_ready(const struct child_spawned *spawned, const struct child_spec *spec, struct error *error)
{
	struct report report;
	if (!receive_report(spawned->control, &report))
		return error_set(
		    error, ERROR_SYSTEM, "cannot execute %s: its process ended before it began", spawned->program);
	if (report.step != STEP_READY)
		return report_error(&report, spawned->program, spec, error);
	return 0;
}

int
child_spawn(const struct child_spec *spec, struct child_spawned *ret_spawned, struct error *error)
{
	cleanup_free char *program = find_program(spec, error);
	if (program == NULL)
		return -1;
	cleanup_strings char **arguments = copy_strings(spec->arguments);
	cleanup_strings char **environment = copy_strings(spec->environment);
	struct wiring wiring;
	struct plan plan = {
	    .spec = spec,
	    .program = program,
	    .arguments = arguments,
	    .environment = environment,
	    .parent = getpid(),
	    .wiring = &wiring,
	};

	pid_t pid = open_wiring(&wiring, spec) < 0 ? -1 : fork_with_signals_blocked(&plan);
	int number = errno;
	close_ends_of_child(&wiring);
	struct child_spawned spawned = {
	    .pid = pid,
	    .control = wiring.control[0],
	    .standard_output = wiring.output[0],
	    .standard_error = wiring.errors[0],
	    .program = take_pointer(program),
	};
	/* The child does it as well: whoever comes first, the group is there when somebody has to kill it. */
	if (pid > 0)
		setpgid(pid, pid);
	int result =
	    pid < 0 ? cannot_execute(spawned.program, number, error) : wait_until_ready(&spawned, spec, error);
	if (result < 0) {
		child_spawn_undo(&spawned);
		return -1;
	}
	*ret_spawned = spawned;
	return 0;
}

int
child_spawn_execute(struct child_spawned *spawned, const struct child_spec *spec, struct error *error)
{
	struct report report;
	if (send(spawned->control, "", 1, MSG_NOSIGNAL) != 1)
		return cannot_execute(spawned->program, errno, error);
	fault_effect(spec->name);
	if (receive_report(spawned->control, &report))
		return report_error(&report, spawned->program, spec, error);
	close(spawned->control);
	spawned->control = -1;
	return 0;
}

void
child_spawn_undo(struct child_spawned *spawned)
{
	if (spawned->pid > 0) {
		kill(-spawned->pid, SIGKILL);
		kill(spawned->pid, SIGKILL);
		while (waitpid(spawned->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	cleanup_close_function(&spawned->control);
	cleanup_close_function(&spawned->standard_output);
	cleanup_close_function(&spawned->standard_error);
	free(spawned->program);
}
