#include "tests/crash/crash_case.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"
#include "tests/crash/services.h"
#include "tests/unit/core/temporary.h"

/* restic 0.14 tries for 44 s to read the lock of another restic that has just ended; that is no hang of ours. */
#define PATIENCE     (4 * USEC_PER_MIN)
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
case_children(struct crash_case *crash, size_t *ret_count)
{
	cleanup_free char *path = xasprintf("/proc/self/task/%ld/children", (long)getpid());
	cleanup_fclose FILE *file = fopen(path, "re");
	if (file == NULL)
		case_fail(crash, "%s: %s", path, strerror(errno));
	pid_t *children = NULL;
	size_t count = 0;
	for (int pid; fscanf(file, "%d", &pid) == 1;) {
		children = xreallocarray(children, count + 1, sizeof(*children));
		children[count++] = pid;
	}
	*ret_count = count;
	return children;
}

static void
end_children(struct crash_case *crash)
{
	size_t count;
	/* The child of a child becomes ours when that one is dead. */
	do {
		cleanup_free pid_t *children = case_children(crash, &count);
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
	fprintf(stderr, "commit %u: %s; what happened:\n%s\n", crash->number, words,
	    crash->log.string != NULL ? crash->log.string : "");
	fflush(stderr);
	/* The clean-up may fail as well. */
	static bool failed;
	if (!failed) {
		failed = true;
		crash->services->stop(crash);
	}
	end_children(crash);
	_exit(1);
}

static pid_t
spawn(struct crash_case *crash, const char *variable, const char *output, char *const *arguments)
{
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	cleanup_free char *number = xasprintf("%u", crash->number);
	if (variable != NULL)
		setenv(variable, number, 1);
	int descriptor = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	dup2(descriptor, STDOUT_FILENO);
	dup2(descriptor, STDERR_FILENO);
	execvp(arguments[0], arguments);
	_exit(127);
}

/* Every child is reaped at once, not only the one that is waited for: a hook that waits for the end of a service
 * would wait for its zombie. Returns false when the time is over. */
static bool
reap_until(pid_t wanted, int *ret_status)
{
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		pid_t pid;
		int status;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == wanted) {
				*ret_status = status;
				return true;
			}
		int64_t left = deadline - clock_monotonic(clock_system());
		if (left <= 0)
			return false;
		struct timespec span = {.tv_sec = left / USEC_PER_SEC, .tv_nsec = left % USEC_PER_SEC * 1000};
		sigtimedwait(&child, NULL, &span);
	}
}

int
case_run(struct crash_case *crash, const char *variable, const char *program, ...)
{
	cleanup_strings char **arguments = NULL;
	va_list list;
	va_start(list, program);
	for (const char *argument = program; argument != NULL; argument = va_arg(list, const char *))
		strings_add(&arguments, argument);
	va_end(list);

	cleanup_free char *output = case_path(crash, "output");
	cleanup_free char *line = text_join(arguments, " ");
	text_printf(&crash->log, "$ %s\n", line);
	pid_t pid = spawn(crash, variable, output, arguments);
	int status;
	if (pid < 0)
		case_fail(crash, "fork: %s", strerror(errno));
	bool ended = reap_until(pid, &status);

	cleanup_error struct error error = {.code = ERROR_NONE};
	size_t length;
	free(crash->output);
	crash->output = NULL;
	if (file_read(output, OUTPUT_LIMIT, &crash->output, &length, &error) < 0)
		case_fail(crash, "%s", error.message);
	text_add(&crash->log, crash->output);
	if (!ended)
		case_fail(crash, "no end after a minute");
	return status;
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
make_repository(struct crash_case *crash)
{
	static const char *const parts[] = {"data", "index", "locks", "snapshots"};
	cleanup_free char *repository = case_path(crash, "repository");
	case_must(crash, "cp", "-r", TEST_SOURCE_DIR "/tests/fixtures/repository", repository, NULL);
	for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
		cleanup_free char *part = case_path(crash, "repository/%s", parts[i]);
		make_directory(crash, part);
	}
	write_file(crash, "location", repository);
	write_file(crash, "password", "backup");
}

static void
write_manifest(struct crash_case *crash)
{
	cleanup_text struct text manifest = {.string = NULL};
	const char *top = crash->directory;
	text_printf(&manifest,
	    "{\"version\": 2, \"host\": \"host\","
	    " \"repository\": {\"file\": \"%s/location\", \"passwordFile\": \"%s/password\"},"
	    " \"schedule\": {\"maxDelay\": 0}, \"retry\": {\"delay\": 0}, \"settle\": 0,"
	    " \"deadlines\": {\"hook\": 20, \"stop\": 20, \"snapshot\": 120, \"start\": 20}, \"services\": {",
	    top, top);
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

static void
set_variable(const struct crash_case *crash, const char *name, const char *file)
{
	cleanup_free char *path = case_path(crash, "%s", file);
	setenv(name, path, 1);
}

/* There is nothing to back up before a service has made it. */
static void
wait_for_data(struct crash_case *crash, const char *service)
{
	cleanup_free char *log = case_path(crash, "%s/data/files/log.txt", service);
	case_must(crash, "sh", "-c", "while [ ! -s \"$1\" ]; do sleep 0.01; done", "sh", log, NULL);
}

void
case_set_up(struct crash_case *crash)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);

	crash->directory = xasprintf("%s/%u", crash->root, crash->number);
	make_directory(crash, crash->directory);
	set_variable(crash, "ATELIER_BACKUP_MANIFEST", "manifest.json");
	set_variable(crash, "ATELIER_BACKUP_STATE_DIR", "state");
	set_variable(crash, "ATELIER_BACKUP_RUNTIME_DIR", "run");
	/* For the test's own calls: the program gives none of these to its restic. */
	set_variable(crash, "RESTIC_REPOSITORY", "repository");
	set_variable(crash, "RESTIC_PASSWORD_FILE", "password");
	make_repository(crash);
	write_manifest(crash);
	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		cleanup_free char *home = case_path(crash, "%s", service_names[i]);
		make_directory(crash, home);
	}
	crash->services->start(crash);
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
