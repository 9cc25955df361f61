/* A PostgreSQL server of our own for a test program: a fresh cluster in a temporary directory, reached over its
 * socket alone, run by another user where we are root, and dead when we are. And the adapter's calls run to their
 * end.
 *
 * ATELIER_TEST_POSTGRES names the directory of the server's programs (scripts/test sets it). */
#ifndef ATELIER_TESTS_INTEGRATION_ADAPTERS_POSTGRES_WORLD_H
#define ATELIER_TESTS_INTEGRATION_ADAPTERS_POSTGRES_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "adapters/postgres_internal.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/digest.h"
#include "core/file.h"
#include "tests/unit/core/temporary.h"

#define PATIENCE (60 * USEC_PER_SEC)
#define NAME     "it's \"Größe\" = 1" /* of a database: all that could be misunderstood */

static struct world {
	char *directory; /* everything is below it; the server's */
	char *data;
	char *sockets; /* the "host" */
	uid_t user;    /* who runs the server */
	gid_t group;
	pid_t server;
} world;

static inline void
expire(int64_t deadline, const char *what)
{
	if (clock_monotonic(clock_system()) > deadline)
		fail_msg("%s did not happen in time", what);
	poll(NULL, 0, 10);
}

/* ---- programs of the server, as its user ---- */

static inline void __attribute__((noreturn))
become_program(const char *program, const char *const *arguments, int input, int output, int errors)
{
	static const char *const locale[] = {"LC_ALL=C.UTF-8", "PGCLIENTENCODING=UTF8"};
	const char *environment[] = {locale[0], locale[1], xasprintf("PGHOST=%s", world.sockets), "PGUSER=postgres",
	    "PGDATABASE=postgres", NULL};
	cleanup_free char *path = xasprintf("%s/%s", getenv("ATELIER_TEST_POSTGRES"), program);
	const char *argv[32] = {path}; /* they look for each other beside it */
	for (size_t i = 0; arguments[i] != NULL; i++)
		argv[i + 1] = arguments[i];
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(world.group) < 0 || setuid(world.user) < 0))
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGQUIT); /* a server's fastest good end */
	if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(errors, STDERR_FILENO) < 0 ||
	    chdir("/") < 0)
		_exit(125);
	execve(path, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)environment);
	_exit(127);
}

static inline pid_t
spawn_program(const char *program, const char *const *arguments, int input, int output, int errors)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		become_program(program, arguments, input, output, errors);
	return pid;
}

static inline int
memory_file(const char *content)
{
	int descriptor = memfd_create("test", MFD_CLOEXEC);
	assert_true(descriptor >= 0);
	assert_int_equal(file_write_all(descriptor, content, strlen(content)), 0);
	assert_int_equal(lseek(descriptor, 0, SEEK_SET), 0);
	return descriptor;
}

static inline char *
content_of(int descriptor)
{
	struct text content = {.string = NULL};
	char chunk[16384];
	for (off_t at = 0;;) {
		ssize_t count = pread(descriptor, chunk, sizeof(chunk), at);
		assert_true(count >= 0);
		if (count == 0)
			return text_take(&content);
		text_add_bytes(&content, chunk, (size_t)count);
		at += count;
	}
}

/* Runs a program to its good end, with `input` on its stdin; what it wrote is the caller's. */
static inline char *
run_program(const char *program, const char *const *arguments, int input)
{
	cleanup_close int output = memory_file("");
	int status;
	pid_t pid = spawn_program(program, arguments, input, output, STDERR_FILENO);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("%s %s: wait status %d", program, arguments[0], status);
	return content_of(output);
}

/* What psql answers to some SQL, without the newline at the end. The caller owns it. */
static inline char *
ask(const char *database, const char *sql)
{
	cleanup_close int input = memory_file(sql);
	/* A name that looks like a conninfo string would be taken for one. */
	cleanup_free char *conninfo =
	    postgres_source_conninfo(&(struct postgres_source){.database = (char *)(uintptr_t)database});
	char *answer = run_program("psql",
	    (const char *const[]){"-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", conninfo, NULL}, input);
	if (text_ends_with(answer, "\n"))
		answer[strlen(answer) - 1] = '\0';
	return answer;
}

static inline void
tell(const char *database, const char *sql)
{
	free(ask(database, sql));
}

/* A session that goes on, until end_session. */
static inline pid_t
keep_session(const char *database, const char *sql)
{
	cleanup_close int input = memory_file(sql);
	cleanup_close int output = memory_file("");
	return spawn_program(
	    "psql", (const char *const[]){"-X", "-q", "-A", "-t", "-d", database, NULL}, input, output, output);
}

/* Its backend would not notice the death of psql. */
static inline void
end_session(pid_t pid)
{
	int status;
	tell("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
			 "WHERE application_name = 'psql' AND pid <> pg_backend_pid()");
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

/* Waits until a query answers "t". */
static inline void
wait_for(const char *database, const char *sql)
{
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	for (;;) {
		cleanup_free char *answer = ask(database, sql);
		if (strcmp(answer, "t") == 0)
			return;
		expire(deadline, sql);
	}
}

#define LOCK_IS_HELD                                                                                                 \
	"SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND locktype = 'relation'"
#define OURS_WAITS                                                                                                   \
	"SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'atelier-backup' AND "                   \
	"wait_event_type = 'Lock'"
#define OURS_IS_GONE "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'atelier-backup'"

/* ---- the server ---- */

static inline void
server_start(void)
{
	cleanup_close int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cleanup_free char *log = xasprintf("%s/log", world.directory);
	cleanup_close int output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	cleanup_free char *lock = xasprintf("%s/postmaster.pid", world.data);
	unlink(lock); /* of one that was killed */
	world.server =
	    spawn_program("postgres", (const char *const[]){"-D", world.data, NULL}, input, output, output);
	int64_t deadline = clock_monotonic(clock_system()) + PATIENCE;
	for (;;) {
		int status;
		pid_t pid = spawn_program("pg_isready", (const char *const[]){"-q", NULL}, input, output, output);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status == 0)
			return;
		expire(deadline, "the start of the server");
	}
}

static inline void
server_stop(int signal)
{
	int status;
	assert_int_equal(kill(world.server, signal), 0);
	assert_int_equal(waitpid(world.server, &status, 0), world.server);
	world.server = 0;
}

static inline void
append(const char *directory, const char *name, const char *content, bool fresh)
{
	cleanup_free char *path = xasprintf("%s/%s", directory, name);
	cleanup_close int descriptor =
	    open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (fresh ? O_TRUNC : O_APPEND), 0600);
	assert_true(descriptor >= 0);
	assert_int_equal(file_write_all(descriptor, content, strlen(content)), 0);
}

/* Whoever is root may see to it that a socket knows him; others are believed. */
static inline void
configure(void)
{
	cleanup_free char *settings =
	    xasprintf("unix_socket_directories = '%s'\nlisten_addresses = ''\nfsync = off\nshared_buffers = 16MB\n"
		      "lc_messages = 'C'\npassword_encryption = 'scram-sha-256'\nautovacuum = off\n",
		world.sockets);
	cleanup_free char *hba =
	    xasprintf("local all secret scram-sha-256\nlocal all barred reject\nlocal all all %s\n",
		geteuid() == 0 ? "peer map=everybody" : "trust");
	append(world.data, "postgresql.conf", settings, false);
	append(world.data, "pg_hba.conf", hba, true);
	/* nobody is another user of the operating system, with a database user of its own name. */
	append(world.data, "pg_ident.conf",
	    "everybody postgres postgres\neverybody nobody nobody\neverybody postgres stranger\n", true);
}

static inline int
world_make(void **state)
{
	(void)state;
	if (getenv("ATELIER_TEST_POSTGRES") == NULL) {
		print_error(
		    "ATELIER_TEST_POSTGRES must name the directory of PostgreSQL's programs (scripts/test sets "
		    "it)\n");
		return -1;
	}
	const struct passwd *entry = geteuid() == 0 ? getpwnam("postgres") : getpwuid(geteuid());
	if (entry == NULL) {
		print_error("there is no user postgres to run a server\n");
		return -1;
	}
	world.user = entry->pw_uid;
	world.group = entry->pw_gid;
	world.directory = temporary_directory_make();
	world.data = xasprintf("%s/data", world.directory);
	world.sockets = xasprintf("%s/sockets", world.directory);
	assert_int_equal(mkdir(world.sockets, 0755), 0);
	assert_int_equal(chown(world.directory, world.user, world.group), 0);
	assert_int_equal(chown(world.sockets, world.user, world.group), 0);
	assert_int_equal(chmod(world.directory, 0755), 0);
	cleanup_close int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	free(run_program("initdb",
	    (const char *const[]){"-D", world.data, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-N", NULL},
	    input));
	configure();
	server_start();
	return 0;
}

static inline int
world_remove(void **state)
{
	(void)state;
	if (world.server > 0)
		server_stop(SIGQUIT);
	if (world.directory != NULL)
		temporary_directory_remove(world.directory);
	free(world.data);
	free(world.sockets);
	return 0;
}

/* ---- one test: a loop, a directory for dumps ---- */

struct fixture {
	struct event_base *base;
	char *staging;
	struct postgres_call *call;
	/* what came */
	bool came;
	struct error error;
	struct postgres_facts facts;
	struct postgres_dump_result dump;
	unsigned spawned;
	struct child_identity child;
	uint64_t progress;
	char **words;
};

static inline int
setup(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->base = event_base_new();
	fixture->staging = temporary_directory_make();
	*state = fixture;
	return 0;
}

static inline void
forget(struct fixture *fixture)
{
	error_clear(&fixture->error);
	postgres_facts_clear(&fixture->facts);
	error_clear(&fixture->dump.error);
	free(fixture->dump.dump);
	free(fixture->dump.roles);
	free(fixture->dump.sha256);
	free(fixture->dump.client_version);
	fixture->dump = (struct postgres_dump_result){.bytes = 0};
	strings_free(fixture->words);
	fixture->words = NULL;
	fixture->came = false;
	fixture->spawned = 0;
	fixture->progress = 0;
}

/* No child, and nobody else than before, may be left. */
static inline int
teardown(void **state)
{
	struct fixture *fixture = *state;
	bool ourselves = geteuid() == getuid() && getegid() == getgid();
	forget(fixture);
	event_base_free(fixture->base);
	temporary_directory_remove(fixture->staging);
	free(fixture);
	return ourselves ? 0 : -1;
}

#define postgres_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

static inline void
give_up(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor, (void)what, (void)context;
	fail_msg("no answer within %d s", (int)(PATIENCE / USEC_PER_SEC));
}

static inline void
run_to_end(struct fixture *fixture)
{
	struct event *deadline = evtimer_new(fixture->base, give_up, NULL);
	struct timeval patience = {.tv_sec = PATIENCE / USEC_PER_SEC};
	evtimer_add(deadline, &patience);
	while (!fixture->came)
		event_base_loop(fixture->base, EVLOOP_ONCE);
	event_free(deadline);
	fixture->call = NULL;
}

static inline void
assert_error(const struct error *error, enum error_code code, const char *words)
{
	if (error->code != code)
		fail_msg("%s instead of %s: %s", error_code_word(error->code), error_code_word(code), error->message);
	if (code == ERROR_NONE)
		return;
	assert_true(text_is_printable(error->message));
	if (words != NULL && strstr(error->message, words) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", words, error->message);
}

/* ---- asking ---- */

static inline void
take_facts(void *context, const struct postgres_facts *facts, const struct error *error)
{
	struct fixture *fixture = context;
	assert_false(fixture->came);
	assert_true((facts == NULL) == error_is_set(error));
	fixture->came = true;
	error_copy(&fixture->error, error);
	if (facts != NULL)
		postgres_facts_copy(facts, &fixture->facts);
}

static inline struct postgres_source
source_of(const char *database)
{
	return (struct postgres_source){.database = (char *)(uintptr_t)database, .host = world.sockets};
}

/* An error at once and one that comes later are the same to who asks. */
static inline void
inspect(struct fixture *fixture, const struct postgres_source *source)
{
	forget(fixture);
	fixture->call = postgres_inspect_start(fixture->base, source, take_facts, fixture, &fixture->error);
	if (fixture->call != NULL)
		run_to_end(fixture);
}

static inline void
inspect_good(struct fixture *fixture, const char *database)
{
	struct postgres_source source = source_of(database);
	inspect(fixture, &source);
	assert_error(&fixture->error, ERROR_NONE, NULL);
}

/* ---- dumping ---- */

static inline int
take_child(void *context, const struct child_identity *identity, struct error *error)
{
	struct fixture *fixture = context;
	(void)error;
	fixture->child = *identity;
	fixture->spawned++;
	return 0;
}

static inline void
take_progress(void *context, uint64_t done, uint64_t expected)
{
	struct fixture *fixture = context;
	assert_true(done >= fixture->progress);
	assert_true(expected > 0);
	fixture->progress = done;
}

static inline void
take_words(void *context, const char *line)
{
	struct fixture *fixture = context;
	assert_true(text_is_printable(line));
	strings_add(&fixture->words, line);
}

static inline void
take_dump(void *context, const struct postgres_dump_result *result)
{
	struct fixture *fixture = context;
	assert_false(fixture->came);
	fixture->came = true;
	error_copy(&fixture->dump.error, &result->error);
	fixture->dump.dump = xstrdup_null(result->dump);
	fixture->dump.roles = xstrdup_null(result->roles);
	fixture->dump.sha256 = xstrdup_null(result->sha256);
	fixture->dump.client_version = xstrdup_null(result->client_version);
	fixture->dump.bytes = result->bytes;
	fixture->dump.tables = result->tables;
}

/* With the facts of the last inspection, which stay. */
static inline void
dump_begin(struct fixture *fixture, const struct postgres_source *source)
{
	const struct postgres_dump_request request = {
	    .source = source,
	    .facts = &fixture->facts,
	    .directory = fixture->staging,
	    .on_spawned = take_child,
	    .on_progress = take_progress,
	    .on_words = take_words,
	    .context = fixture,
	};
	fixture->came = false;
	fixture->spawned = 0;
	fixture->progress = 0;
	fixture->call = postgres_dump_start(fixture->base, &request, take_dump, &fixture->dump.error);
	if (fixture->call == NULL)
		fixture->came = true;
}

static inline void
dump(struct fixture *fixture, const struct postgres_source *source)
{
	dump_begin(fixture, source);
	run_to_end(fixture);
}

static inline void
dump_good(struct fixture *fixture, const char *database)
{
	struct postgres_source source = source_of(database);
	inspect_good(fixture, database);
	dump(fixture, &source);
	assert_error(&fixture->dump.error, ERROR_NONE, NULL);
}

/* Failed with this code, and nothing is left. */
static inline void
assert_failed(const struct fixture *fixture, enum error_code code, const char *words)
{
	assert_error(&fixture->dump.error, code, words);
	assert_int_equal(rmdir(fixture->staging), 0);
	assert_int_equal(mkdir(fixture->staging, 0700), 0);
}

static inline char *
read_file(const char *path)
{
	char *content;
	size_t length;
	assert_int_equal(file_read(path, (size_t)1 << 28, &content, &length, NULL), 0);
	return content;
}

/* A new database from a dump, by pg_restore alone. */
static inline void
restore(const struct fixture *fixture, const char *database)
{
	cleanup_free char *sql = xasprintf("CREATE DATABASE %s TEMPLATE template0", database);
	tell("postgres", sql);
	cleanup_close int input = open(fixture->dump.dump, O_RDONLY | O_CLOEXEC);
	assert_true(input >= 0);
	free(run_program("pg_restore", (const char *const[]){"--exit-on-error", "-d", database, NULL}, input));
}

/* All of a database as text, but for what differs each time. The caller owns it. */
static inline char *
text_of(const char *database)
{
	cleanup_free char *conninfo =
	    postgres_source_conninfo(&(struct postgres_source){.database = (char *)(uintptr_t)database});
	cleanup_close int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char *text = run_program("pg_dump", (const char *const[]){"-d", conninfo, NULL}, input);
	for (char *line = strstr(text, "restrict "); line != NULL; line = strstr(line + 1, "restrict "))
		memset(line, '-', strcspn(line, "\n"));
	return text;
}

/* ---- a stand-in for pg_dump, first in PATH ---- */

static char *path_before;

static inline void
install_pg_dump(const struct fixture *fixture, const char *body)
{
	cleanup_free char *directory = xasprintf("%s/bin", world.directory);
	cleanup_free char *path = xasprintf("%s:%s", directory, getenv("PATH"));
	cleanup_free char *script =
	    xasprintf("#!/bin/sh\nreal=%s/pg_dump\n[ \"$1\" = --version ] && exec $real --version\n%s\n",
		getenv("ATELIER_TEST_POSTGRES"), body);
	(void)fixture;
	assert_true(mkdir(directory, 0755) == 0 || errno == EEXIST);
	append(directory, "pg_dump", script, true);
	cleanup_free char *program = xasprintf("%s/pg_dump", directory);
	assert_int_equal(chmod(program, 0755), 0);
	path_before = xstrdup(getenv("PATH"));
	setenv("PATH", path, 1);
}

static inline int
teardown_program(void **state)
{
	if (path_before != NULL)
		setenv("PATH", path_before, 1);
	free(path_before);
	path_before = NULL;
	return teardown(state);
}

#define postgres_program_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown_program)

#endif
