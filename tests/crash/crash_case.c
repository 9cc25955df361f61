#include "tests/crash/crash_case.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"
#include "tests/crash/judgement.h"
#include "tests/crash/services.h"
#include "tests/unit/core/temporary.h"

/* restic 0.14 tries for 44 s to read the lock of another restic that has just ended; that is no hang of ours. */
#define PATIENCE     (4 * USEC_PER_MIN)
#define LOOK         (10 * USEC_PER_MSEC)
#define SLOW_KIB     1024
#define OUTPUT_LIMIT ((size_t)1024 * 1024)

char *
case_path(const struct crash_case *crash, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	cleanup_free char *name = xvasprintf(format, arguments);
	va_end(arguments);
	return xasprintf("%s/%s", crash->directory, name);
}

/* ---- processes ---- */

pid_t *
case_children(pid_t parent, size_t *ret_count)
{
	cleanup_free char *path = xasprintf("/proc/%ld/task/%ld/children", (long)parent, (long)parent);
	cleanup_fclose FILE *file = fopen(path, "re");
	pid_t *children = NULL;
	size_t count = 0;
	for (int pid; file != NULL && fscanf(file, "%d", &pid) == 1;) {
		children = xreallocarray(children, count + 1, sizeof(*children));
		children[count++] = pid;
	}
	*ret_count = count;
	return children;
}

static void
end_children(void)
{
	size_t count;
	/* The child of a child becomes ours when that one is dead. */
	do {
		cleanup_free pid_t *children = case_children(getpid(), &count);
		for (size_t i = 0; i < count; i++)
			kill(children[i], SIGKILL);
		while (waitpid(-1, NULL, 0) > 0)
			continue;
	} while (count > 0);
}

void
case_fail(struct crash_case *crash, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	cleanup_free char *words = xvasprintf(format, arguments);
	va_end(arguments);
	cleanup_free char *had_path = case_path(crash, "fault");
	cleanup_free char *had = NULL;
	size_t length;
	if (file_read(had_path, OUTPUT_LIMIT, &had, &length, NULL) < 0)
		had = NULL;
	cleanup_free char *log_path = case_path(crash, "state/runner.log");
	cleanup_free char *runner_log = NULL;
	if (file_read(log_path, OUTPUT_LIMIT, &runner_log, &length, NULL) == 0)
		text_printf(&crash->log, "runner.log:\n%s", runner_log);
	fprintf(stderr, "case %u: %s; the fault: %s; what happened:\n%s\n", crash->number, words,
	    had != NULL ? had : "none of the program's own", crash->log.string != NULL ? crash->log.string : "");
	fflush(stderr);
	/* The clean-up may fail as well. */
	static bool failed;
	if (!failed) {
		failed = true;
		if (crash->fault->clean_up != NULL)
			crash->fault->clean_up(crash);
		crash->services->stop(crash);
	}
	end_children();
	_exit(1);
}

static void
set_fault(const struct crash_case *crash)
{
	static const char *const files[][2] = {
	    {"ATELIER_BACKUP_FAULT_ONCE", "fault"},
	    {"ATELIER_BACKUP_FAULT_COUNTS", "counts"},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
		cleanup_free char *path = case_path(crash, "%s", files[i][1]);
		setenv(files[i][0], path, 1);
	}
	if (crash->fault->process != NULL)
		setenv("ATELIER_BACKUP_FAULT_IN", crash->fault->process, 1);
	if (crash->fault->variable != NULL) {
		cleanup_free char *number = xasprintf("%u", crash->number);
		setenv(crash->fault->variable, number, 1);
	}
}

static pid_t
spawn(struct crash_case *crash, bool with_fault, const char *output, char *const *arguments)
{
	cleanup_free char *line = text_join(arguments, " ");
	text_printf(&crash->log, "$ %s\n", line);
	pid_t pid = fork();
	if (pid < 0)
		case_fail(crash, "fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* A sweep is no reason to fill the disk with core files. */
	setrlimit(RLIMIT_CORE, &(struct rlimit){0});
	if (with_fault)
		set_fault(crash);
	int descriptor = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	dup2(descriptor, STDOUT_FILENO);
	dup2(descriptor, STDERR_FILENO);
	execvp(arguments[0], arguments);
	_exit(127);
}

/* Every child is reaped at once, not only the one that is waited for: a hook that waits for the end of a service
 * would wait for its zombie. Returns false when the time has come. */
static bool
reap_until(struct crash_case *crash, pid_t wanted, int64_t time, int *ret_status)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		pid_t pid;
		int status;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			if (pid == crash->command) {
				crash->ended = true;
				crash->status = status;
				crash->took = clock_monotonic(clock_system()) - crash->began;
			}
			if (pid == wanted) {
				*ret_status = status;
				return true;
			}
		}
		int64_t left = time - clock_monotonic(clock_system());
		if (left <= 0)
			return false;
		struct timespec span = {.tv_sec = left / USEC_PER_SEC, .tv_nsec = left % USEC_PER_SEC * 1000};
		sigtimedwait(&child, NULL, &span);
	}
}

static void
take_output(struct crash_case *crash, const char *path)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	size_t length;
	free(crash->output);
	crash->output = NULL;
	if (file_read(path, OUTPUT_LIMIT, &crash->output, &length, &error) < 0)
		case_fail(crash, "%s", error.message);
	text_add(&crash->log, crash->output);
}

int
case_run(struct crash_case *crash, const char *program, ...)
{
	cleanup_strings char **arguments = NULL;
	va_list list;
	va_start(list, program);
	for (const char *argument = program; argument != NULL; argument = va_arg(list, const char *))
		strings_add(&arguments, argument);
	va_end(list);

	cleanup_free char *output = case_path(crash, "output");
	pid_t pid = spawn(crash, false, output, arguments);
	int status;
	bool ended = reap_until(crash, pid, clock_monotonic(clock_system()) + PATIENCE, &status);
	take_output(crash, output);
	if (!ended)
		case_fail(crash, "no end after minutes");
	return status;
}

bool
case_had_fault(const struct crash_case *crash)
{
	cleanup_free char *path = case_path(crash, "fault");
	return access(path, F_OK) == 0;
}

/* ---- the run ---- */

void
case_start(struct crash_case *crash)
{
	char program[] = PROGRAM, command[] = "run";
	char *const arguments[] = {program, command, NULL};
	cleanup_free char *output = case_path(crash, "run.output");
	crash->began = clock_monotonic(clock_system());
	crash->command = spawn(crash, true, output, arguments);
}

bool
case_wait_until(struct crash_case *crash, int64_t time)
{
	int status;
	return crash->ended || reap_until(crash, crash->command, time, &status);
}

/* Whoever holds the lock; 0: nobody. */
static pid_t
find_runner(const struct crash_case *crash)
{
	cleanup_free char *path = case_path(crash, "state/runner.lock");
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (descriptor < 0 || fcntl(descriptor, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
		return 0;
	char digits[24] = "";
	if (pread(descriptor, digits, sizeof(digits) - 1, 0) <= 0)
		return 0;
	/* One that has just taken the lock has not yet written over who had it before. */
	pid_t pid = (pid_t)strtol(digits, NULL, 10);
	return pid > 0 && kill(pid, 0) == 0 ? pid : 0;
}

pid_t
case_victim(struct crash_case *crash)
{
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	pid_t runner = find_runner(crash);
	for (int64_t now; runner == 0; runner = find_runner(crash)) {
		now = clock_monotonic(clock_system());
		if (case_wait_until(crash, now + USEC_PER_MSEC))
			return 0;
		if (now > deadline)
			case_fail(crash, "nobody advances the jobs");
	}
	return runner;
}

bool
case_kill_runner(struct crash_case *crash)
{
	pid_t runner = case_victim(crash);
	crash->killed_at = clock_wall(clock_system());
	return runner > 0 && kill(runner, SIGKILL) == 0;
}

static bool
is_idle(struct crash_case *crash)
{
	size_t unfinished, complete;
	count_jobs(crash, &unfinished, &complete);
	return unfinished == 0;
}

void
case_end_runner(struct crash_case *crash)
{
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	pid_t told = 0;
	while (count_strangers(crash) > 0) {
		pid_t runner = find_runner(crash);
		int64_t now = clock_monotonic(clock_system());
		if (now > deadline)
			case_fail(crash, "the runner does not end");
		if (runner != 0 && runner != told && is_idle(crash)) {
			kill(runner, SIGTERM);
			told = runner;
		}
		int status;
		reap_until(crash, 0, now + LOOK, &status);
	}
}

int
case_finish(struct crash_case *crash)
{
	if (!case_wait_until(crash, clock_monotonic(clock_system()) + PATIENCE))
		text_add(&crash->log, "the run does not end\n");
	cleanup_free char *output = case_path(crash, "run.output");
	take_output(crash, output);
	if (!crash->ended)
		case_fail(crash, "no end after minutes");
	case_end_runner(crash);
	return crash->status;
}

/* ---- the directory ---- */

static void
make_directory(struct crash_case *crash, const char *path)
{
	if (mkdir(path, 0700) < 0)
		case_fail(crash, "mkdir %s: %s", path, strerror(errno));
}

static void
write_file(struct crash_case *crash, const char *name, const char *content)
{
	cleanup_free char *path = case_path(crash, "%s", name);
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (file_replace(path, content, strlen(content), &error) < 0)
		case_fail(crash, "%s", error.message);
}

static void
set_variable(const struct crash_case *crash, const char *name, const char *file)
{
	cleanup_free char *path = case_path(crash, "%s", file);
	setenv(name, path, 1);
}

static void
make_snapshot(struct crash_case *crash, const char *host, const char *service, size_t number)
{
	cleanup_free char *tags = xasprintf("service:%s,job:old-%s-%s-%zu", service, host, service, number);
	cleanup_free char *time = xasprintf("2020-01-0%zu 02:00:00", number);
	case_must(crash, getenv("ATELIER_BACKUP_RESTIC"), "--quiet", "--no-cache", "backup", "--host", host, "--tag",
	    tags, "--time", time, TEST_SOURCE_DIR "/tests/crash/service_hook", NULL);
}

static void
take_signals(void)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void
case_make_repository(struct crash_case *crash)
{
	static const char *const parts[] = {"data", "index", "locks", "snapshots"};
	take_signals();
	crash->directory = xstrdup(crash->root);
	cleanup_free char *repository = case_path(crash, "repository");
	case_must(crash, "cp", "-r", TEST_SOURCE_DIR "/tests/fixtures/repository", repository, NULL);
	for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
		cleanup_free char *part = case_path(crash, "repository/%s", parts[i]);
		make_directory(crash, part);
	}
	write_file(crash, "password", "backup");
	set_variable(crash, "RESTIC_REPOSITORY", "repository");
	set_variable(crash, "RESTIC_PASSWORD_FILE", "password");
	for (size_t i = 0; i < SERVICE_COUNT; i++)
		for (size_t number = 1; number <= SNAPSHOTS_OLD; number++)
			make_snapshot(crash, HOST, service_names[i], number);
	make_snapshot(crash, HOST_OTHER, service_names[0], 1);
}

static void
copy_repository(struct crash_case *crash)
{
	cleanup_free char *template = xasprintf("%s/repository", crash->root);
	cleanup_free char *repository = case_path(crash, "repository");
	case_must(crash, "cp", "-r", template, repository, NULL);
	write_file(crash, "location", repository);
	write_file(crash, "password", "backup");
}

static void
write_manifest(struct crash_case *crash)
{
	cleanup_text struct text manifest = {.string = NULL};
	const char *top = crash->directory;
	int64_t deadline = crash->fault->snapshot_seconds != 0 ? crash->fault->snapshot_seconds : 120;
	text_printf(&manifest,
	    "{\"version\": 2, \"host\": \"" HOST "\", \"ownState\": %s,"
	    " \"repository\": {\"file\": \"%s/location\", \"passwordFile\": \"%s/password\"},"
	    " \"schedule\": {\"maxDelay\": 0}, \"retry\": {\"delay\": 0}, \"settle\": 0,"
	    " \"retention\": {\"last\": %d, \"daily\": 0, \"weekly\": 0, \"monthly\": 0},"
	    " \"prune\": {\"every\": \"%s\"},"
	    " \"limits\": {\"uploadKiB\": %d},"
	    " \"deadlines\": {\"hook\": 20, \"stop\": 20, \"snapshot\": %lld, \"start\": 20}, \"services\": {",
	    crash->fault->own_state ? "true" : "false", top, top, KEPT, crash->fault->prunes ? "7d" : "never",
	    crash->fault->slow ? SLOW_KIB : 0, (long long)deadline);
	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		const char *name = service_names[i];
		cleanup_free char *keys = crash->services->manifest_keys(crash, name);
		text_printf(&manifest,
		    "%s\"%s\": {\"data\": {\"sqlite\": \"%s/%s/data/app.db\", \"files\": \"%s/%s/data/files\"}, %s}",
		    i > 0 ? ", " : "", name, top, name, top, name, keys);
	}
	text_add(&manifest, "}}");
	write_file(crash, "manifest.json", manifest.string);
}

/* There is nothing to back up before a service has made it. */
static void
wait_for_data(struct crash_case *crash, const char *service)
{
	cleanup_free char *log = case_path(crash, "%s/data/files/log.txt", service);
	case_must(crash, "sh", "-c", "while [ ! -s \"$1\" ]; do sleep 0.01; done", "sh", log, NULL);
	if (!crash->fault->slow)
		return;
	cleanup_free char *weight = case_path(crash, "%s/data/files/weight", service);
	cleanup_free char *to = xasprintf("of=%s", weight);
	cleanup_free char *size = xasprintf("bs=%dK", SLOW_KIB);
	case_must(crash, "dd", "status=none", "if=/dev/urandom", to, size, "count=2", NULL);
}

void
case_set_up(struct crash_case *crash)
{
	take_signals();
	crash->directory = xasprintf("%s/%u", crash->root, crash->number);
	make_directory(crash, crash->directory);
	cleanup_free char *temporary = case_path(crash, "tmp");
	make_directory(crash, temporary);
	set_variable(crash, "TMPDIR", "tmp");
	set_variable(crash, "ATELIER_BACKUP_MANIFEST", "manifest.json");
	set_variable(crash, "ATELIER_BACKUP_STATE_DIR", "state");
	set_variable(crash, "ATELIER_BACKUP_RUNTIME_DIR", "run");
	/* For the test's own calls: the program gives none of these to its restic. */
	set_variable(crash, "RESTIC_REPOSITORY", "repository");
	set_variable(crash, "RESTIC_PASSWORD_FILE", "password");
	copy_repository(crash);
	write_manifest(crash);
	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		cleanup_free char *home = case_path(crash, "%s", service_names[i]);
		make_directory(crash, home);
	}
	int64_t before = clock_monotonic(clock_system());
	int64_t asked = clock_monotonic(clock_system());
	case_must(crash, PROGRAM, "--version", NULL);
	crash->program_time = clock_monotonic(clock_system()) - asked;
	crash->services->start(crash);
	crash->start_time = clock_monotonic(clock_system()) - before;
	for (size_t i = 0; i < SERVICE_COUNT; i++)
		wait_for_data(crash, service_names[i]);
}

void
case_tear_down(struct crash_case *crash)
{
	temporary_directory_remove(crash->directory);
	free(crash->output);
	text_clear(&crash->log);
}
