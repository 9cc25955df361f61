/* A dump is a list of programs, one after the other (`steps`), and after a failure one more look at the server: its
 * own words are in its own language, but whether it is there, lets us in and still has a table can be asked. */
#include "adapters/postgres_internal.h"

#include "adapters/environment.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Whoever changes a table longer than that has the dump tried again later; behind a dump that waits, nobody waits. */
#define LOCK_WAIT "60000"

#define PROGRESS_INTERVAL (USEC_PER_SEC / 4)
#define STOP_GRACE        (10 * USEC_PER_SEC)

#define LINE_LIMIT  ((size_t)8 * 1024)
#define WORDS_LIMIT ((size_t)1024)

#define DIGEST_LENGTH 64

/* pg_dumpall does not look whether its words could be written; these are its last. */
#define ROLES_END      "PostgreSQL database cluster dump complete"
#define ROLES_END_ROOM 1024

struct dump_call;

struct step {
	const char *name; /* for log lines and messages */
	size_t program;   /* the member of the call that has its path */
	bool as_user;     /* meets the server, so as the place says; else only we may read what it reads */
	const char *(*output)(struct dump_call *dump); /* NULL: no file of ours gets its stdout */
	void (*arguments)(const struct dump_call *dump, char ***arguments);
	void (*take)(struct dump_call *dump, const char *line, bool cut); /* a line of stdout; may be NULL */
	int (*judge)(struct dump_call *dump, const struct child_exit *exit, struct error *error);
};

struct dump_call {
	struct postgres_call call; /* first: the call is freed through it */
	struct event_base *base;
	struct postgres_place place;
	struct postgres_facts facts;
	char *pg_dump, *pg_dumpall, *pg_restore, *sha256sum;
	const struct step *step;
	struct child *child;
	struct postgres_call *look;
	int output; /* the file that the program at hand writes, or -1 */
	struct event *tick;
	struct text words; /* what the program at hand says is wrong */
	bool failing;      /* ... from its first line with "error:" in it on */
	bool bare_roles;   /* without passwords, which not everybody may read */
	bool doubtful;     /* tables are missing, and may have been dropped */
	bool made_dump, made_roles;
	bool stopped;
	struct postgres_archive archive;
	struct error error; /* what the second look decides about */
	struct postgres_dump_result result;
	child_spawned_fn *on_spawned;
	void (*on_progress)(void *context, uint64_t bytes_done, uint64_t bytes_expected);
	void (*on_words)(void *context, const char *line);
	postgres_dump_fn *done;
	void *context;
};

static void
close_output(struct dump_call *dump)
{
	cleanup_close_function(&dump->output);
	dump->output = -1;
}

static void
dump_free(struct dump_call *dump)
{
	close_output(dump);
	if (dump->tick != NULL)
		event_free(dump->tick);
	postgres_place_clear(&dump->place);
	postgres_facts_clear(&dump->facts);
	postgres_archive_clear(&dump->archive);
	text_clear(&dump->words);
	error_clear(&dump->error);
	error_clear(&dump->result.error);
	free(dump->result.dump);
	free(dump->result.roles);
	free(dump->result.sha256);
	free(dump->result.client_version);
	free(dump->pg_dump);
	free(dump->pg_dumpall);
	free(dump->pg_restore);
	free(dump->sha256sum);
	free(dump);
}

/* The end: nothing that is not good stays. */
static void
dump_finish(struct dump_call *dump, struct error *error)
{
	if (dump->stopped) {
		error_set(
		    &dump->result.error, ERROR_CANCELLED, "the dump of %s was stopped", dump->place.source.database);
		error_clear(error);
	} else {
		error_move(&dump->result.error, error);
	}
	if (error_is_set(&dump->result.error)) {
		if (dump->made_dump)
			unlink(dump->result.dump);
		if (dump->made_roles)
			unlink(dump->result.roles);
	}
	dump->done(dump->context, &dump->result);
	dump_free(dump);
}

/* ---- the second look ---- */

static void judge_again(struct dump_call *dump, const struct postgres_facts *now, const struct error *failed);

static void
look_done(void *context, const struct postgres_facts *facts, const struct error *error)
{
	struct dump_call *dump = context;
	dump->look = NULL;
	judge_again(dump, facts, error);
}

static void
look_again(struct dump_call *dump, struct error *error)
{
	cleanup_error struct error failed = {.code = ERROR_NONE};
	error_move(&dump->error, error);
	dump->look = postgres_inspect_start(dump->base, &dump->place.source, look_done, dump, &failed);
	if (dump->look == NULL)
		judge_again(dump, NULL, &failed);
}

/* ---- what the programs say ---- */

/* "pg_dump: error: query failed: ..." without what is known. */
static const char *
without_prefix(const char *line)
{
	static const char *const prefixes[] = {": error: ", ": detail: ", ": hint: "};
	for (size_t i = 0; i < ARRAY_LENGTH(prefixes); i++) {
		const char *prefix = strstr(line, prefixes[i]);
		if (prefix != NULL)
			return prefix + strlen(prefixes[i]);
	}
	return line;
}

static void
keep_words(struct dump_call *dump, const char *line)
{
	bool fails = strstr(line, ": error: ") != NULL;
	if (fails && !dump->failing)
		text_clear(&dump->words);
	/* Before an error, the last words count; from the first error on, all that there is room for. */
	dump->failing = dump->failing || fails;
	if (!dump->failing)
		text_clear(&dump->words);
	const char *words = without_prefix(line);
	if (dump->words.length + strlen(words) > WORDS_LIMIT)
		return;
	text_add(&dump->words, dump->words.length > 0 ? "; " : "");
	text_add(&dump->words, words);
}

static const char *
words_of(const struct dump_call *dump)
{
	return dump->words.string != NULL && dump->words.length > 0 ? dump->words.string : "it did not say why";
}

/* Ours is full, not the server's: that is said in the words of the client program, which are English. */
static bool
is_out_of_space(const char *words)
{
	bool full = strstr(words, strerror(ENOSPC)) != NULL || strstr(words, strerror(EDQUOT)) != NULL;
	return full && (text_starts_with(words, "could not write") || text_starts_with(words, "could not close"));
}

/* What it has written so far is worth nothing any more. */
static void
give_room_back(const struct dump_call *dump)
{
	if (dump->output >= 0 && ftruncate(dump->output, 0) < 0)
		log_warning("cannot empty the dump of %s, which is not whole: %s", dump->place.source.database,
		    strerror(errno));
}

static int
no_space(const struct dump_call *dump, struct error *error)
{
	cleanup_free char *size = text_size(dump->facts.bytes);
	error_set(error, ERROR_NO_SPACE, "there is no room for the dump of %s: its file could not be written",
	    dump->place.source.database);
	return error_hint(
	    error, "make room for it in the file system of %s: the database has %s", dump->result.dump, size);
}

/* A program's exit, where nothing else is known about it. */
static int
judge_exit(struct dump_call *dump, const struct child_exit *exit, enum error_code code, struct error *error)
{
	if (!exit->signalled && exit->number == 0)
		return 0;
	if (is_out_of_space(words_of(dump)))
		return no_space(dump, error);
	cleanup_free char *how = child_exit_words(exit);
	error_set(error, exit->signalled ? ERROR_DUMP_FAILED : code, "%s of the database %s %s: %s", dump->step->name,
	    dump->place.source.database, how, words_of(dump));
	return error_hint(
	    error, "look at the log of the server; all that %s said is kept with the job", dump->step->name);
}

/* ---- the steps ---- */

static const char *
dump_output(struct dump_call *dump)
{
	return dump->result.dump;
}

static const char *
roles_output(struct dump_call *dump)
{
	return dump->result.roles;
}

/* A name that looks like a conninfo string would be taken for one; so it is always in one. */
static void
add_conninfo(const struct dump_call *dump, const char *option, char ***arguments)
{
	cleanup_free char *conninfo = postgres_source_conninfo(&dump->place.source);
	cleanup_free char *argument = xasprintf("%s=%s", option, conninfo);
	strings_add(arguments, argument);
}

static void
dump_arguments(const struct dump_call *dump, char ***arguments)
{
	strings_add(arguments, "--format=custom");
	strings_add(arguments, "--compress=0");
	strings_add(arguments, "--lock-wait-timeout=" LOCK_WAIT);
	strings_add(arguments, "--no-password");
	add_conninfo(dump, "--dbname", arguments);
}

static void
roles_arguments(const struct dump_call *dump, char ***arguments)
{
	strings_add(arguments, "--roles-only");
	strings_add(arguments, "--no-password");
	if (dump->bare_roles)
		strings_add(arguments, "--no-role-passwords");
	add_conninfo(dump, "--database", arguments);
}

static void
read_arguments(const struct dump_call *dump, char ***arguments)
{
	strings_add(arguments, "--file=/dev/null");
	strings_add(arguments, dump->result.dump);
}

static void
list_arguments(const struct dump_call *dump, char ***arguments)
{
	strings_add(arguments, "--list");
	strings_add(arguments, dump->result.dump);
}

static void
digest_arguments(const struct dump_call *dump, char ***arguments)
{
	strings_add(arguments, dump->result.dump);
}

static void
take_list(struct dump_call *dump, const char *line, bool cut)
{
	(void)cut;
	postgres_archive_take(&dump->archive, line);
}

/* "HEX  PATH", and a backslash before it where the path has something to escape. */
static void
take_digest(struct dump_call *dump, const char *line, bool cut)
{
	const char *digits = line[0] == '\\' ? line + 1 : line;
	if (!cut && strspn(digits, "0123456789abcdef") == DIGEST_LENGTH && dump->result.sha256 == NULL)
		dump->result.sha256 = xstrndup(digits, DIGEST_LENGTH);
}

static int
judge_dump(struct dump_call *dump, const struct child_exit *exit, struct error *error)
{
	struct stat status;
	if (judge_exit(dump, exit, ERROR_DUMP_FAILED, error) < 0)
		return -1;
	if (fstat(dump->output, &status) < 0)
		return error_set(error, ERROR_SYSTEM, "cannot look at %s: %s", dump->result.dump, strerror(errno));
	dump->result.bytes = (uint64_t)status.st_size;
	return 0;
}

static bool
has_end_of_roles(int descriptor)
{
	char end[ROLES_END_ROOM];
	struct stat status;
	if (fstat(descriptor, &status) < 0)
		return false;
	off_t from = status.st_size > (off_t)sizeof(end) ? status.st_size - (off_t)sizeof(end) : 0;
	ssize_t count = pread(descriptor, end, sizeof(end), from);
	return count > 0 && memmem(end, (size_t)count, ROLES_END, strlen(ROLES_END)) != NULL;
}

static int
judge_roles(struct dump_call *dump, const struct child_exit *exit, struct error *error)
{
	if (judge_exit(dump, exit, ERROR_DUMP_FAILED, error) < 0)
		return -1;
	if (has_end_of_roles(dump->output))
		return 0;
	struct statvfs room;
	if (fstatvfs(dump->output, &room) == 0 && room.f_bavail == 0)
		return no_space(dump, error);
	error_set(error, ERROR_DUMP_INCOMPLETE, "the roles of the server of %s end before their end",
	    dump->place.source.database);
	return error_hint(error, "look at what `pg_dumpall --roles-only` says");
}

static int
judge_read(struct dump_call *dump, const struct child_exit *exit, struct error *error)
{
	return judge_exit(dump, exit, ERROR_DUMP_INCOMPLETE, error);
}

/* Returns -1 with the names if something is missing; `now` as in postgres_archive_missing. */
static int
check_tables(struct dump_call *dump, const struct postgres_facts *now, struct error *error)
{
	cleanup_strings char **missing = postgres_archive_missing(&dump->archive, &dump->facts, now);
	size_t count = strings_count(missing);
	if (count == 0)
		return 0;
	error_set(error, ERROR_DUMP_INCOMPLETE, "the dump of %s lacks the rows of %zu of %zu tables, among them %s",
	    dump->place.source.database, count, dump->archive.expected_count, missing[0]);
	return error_hint(error, "dump it by hand (pg_dump -t) to see what is the matter with that table");
}

static int
judge_list(struct dump_call *dump, const struct child_exit *exit, struct error *error)
{
	if (judge_exit(dump, exit, ERROR_DUMP_INCOMPLETE, error) < 0)
		return -1;
	dump->result.tables = dump->archive.tables;
	dump->doubtful = check_tables(dump, NULL, error) < 0;
	return dump->doubtful ? -1 : 0;
}

static int
judge_digest(struct dump_call *dump, const struct child_exit *exit, struct error *error)
{
	if (judge_exit(dump, exit, ERROR_DUMP_FAILED, error) < 0)
		return -1;
	if (dump->result.sha256 != NULL)
		return 0;
	return error_set(error, ERROR_SYSTEM, "sha256sum gave no digest of %s", dump->result.dump);
}

/* The roles come after the dump: whoever was made while it began is among them. */
static const struct step steps[] = {
    {.name = "pg_dump",
	.program = offsetof(struct dump_call, pg_dump),
	.as_user = true,
	.output = dump_output,
	.arguments = dump_arguments,
	.judge = judge_dump},
    {.name = "pg_dumpall",
	.program = offsetof(struct dump_call, pg_dumpall),
	.as_user = true,
	.output = roles_output,
	.arguments = roles_arguments,
	.judge = judge_roles},
    {.name = "pg_restore",
	.program = offsetof(struct dump_call, pg_restore),
	.arguments = read_arguments,
	.judge = judge_read},
    {.name = "pg_restore --list",
	.program = offsetof(struct dump_call, pg_restore),
	.arguments = list_arguments,
	.take = take_list,
	.judge = judge_list},
    {.name = "sha256sum",
	.program = offsetof(struct dump_call, sha256sum),
	.arguments = digest_arguments,
	.take = take_digest,
	.judge = judge_digest},
};

#define STEP_DUMP  (&steps[0])
#define STEP_ROLES (&steps[1])
#define STEPS_END  (&steps[ARRAY_LENGTH(steps)])

/* ---- one after the other ---- */

static int
step_spawned(void *context, const struct child_identity *identity, struct error *error)
{
	const struct dump_call *dump = context;
	return dump->on_spawned != NULL ? dump->on_spawned(dump->context, identity, error) : 0;
}

static void
step_says(void *context, const char *line, size_t length, bool cut)
{
	struct dump_call *dump = context;
	(void)length;
	if (dump->step->take != NULL)
		dump->step->take(dump, line, cut);
}

static void
step_complains(void *context, const char *line, size_t length, bool cut)
{
	struct dump_call *dump = context;
	(void)cut;
	cleanup_free char *words = text_printable_bytes(line, length);
	if (words[0] == '\0')
		return;
	keep_words(dump, words);
	/* Whoever keeps these words needs room for them: the journal is on the same disk. */
	if (is_out_of_space(without_prefix(words)))
		give_room_back(dump);
	if (dump->on_words != NULL)
		dump->on_words(dump->context, words);
}

static void step_ended(void *context, const struct child_exit *exit);

static int
open_output(struct dump_call *dump, struct error *error)
{
	if (dump->step->output == NULL)
		return 0;
	const char *path = dump->step->output(dump);
	dump->output = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (dump->output < 0) {
		int number = errno;
		return error_set(error, number == ENOSPC || number == EDQUOT ? ERROR_NO_SPACE : ERROR_SYSTEM,
		    "cannot make the file %s: %s", path, strerror(number));
	}
	*(dump->step == STEP_DUMP ? &dump->made_dump : &dump->made_roles) = true;
	return 0;
}

/* Nothing of ours but what they need; libpq and gettext read more variables than anybody knows. */
static char **
step_environment(const struct dump_call *dump)
{
	char **environment = NULL;
	const char *path = getenv("PATH");
	const char *home = dump->place.home != NULL ? dump->place.home : getenv("HOME");
	environment_set(&environment, "PATH", path != NULL ? path : "/usr/bin:/bin");
	environment_set(&environment, "HOME", home != NULL ? home : "/");
	environment_set(&environment, "LC_ALL", "C.UTF-8");
	environment_set(&environment, "PGAPPNAME", "atelier-backup");
	environment_set(&environment, "PGPASSFILE", postgres_place_passfile(&dump->place));
	return environment;
}

static int
step_run(struct dump_call *dump, struct error *error)
{
	const struct step *step = dump->step;
	cleanup_strings char **environment = step_environment(dump);
	cleanup_strings char **arguments = NULL;
	strings_add(&arguments, *(char *const *)((const char *)dump + step->program));
	step->arguments(dump, &arguments);
	const struct child_spec spec = {
	    .name = step->name,
	    .arguments = (const char *const *)arguments,
	    .environment = (const char *const *)environment,
	    .drop_privileges = step->as_user && dump->place.other,
	    .user = dump->place.user,
	    .group = dump->place.group,
	    .death_signal = SIGTERM,
	    .stop_grace = STOP_GRACE,
	    .output = dump->output >= 0 ? dump->output : 0,
	    .line_limit = LINE_LIMIT,
	    .on_stdout = step_says,
	    .on_stderr = step_complains,
	    .on_spawned = step_spawned,
	    .on_exit = step_ended,
	    .context = dump,
	};
	text_clear(&dump->words);
	dump->failing = false;
	dump->child = child_start(dump->base, &spec, error);
	return dump->child != NULL ? 0 : -1;
}

static int
step_begin(struct dump_call *dump, const struct step *step, struct error *error)
{
	dump->step = step;
	return open_output(dump, error) == 0 ? step_run(dump, error) : -1;
}

static void
step_on(struct dump_call *dump, const struct step *step)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	close_output(dump);
	if (step == STEPS_END || step_begin(dump, step, &error) < 0)
		dump_finish(dump, &error);
}

/* Not everybody may read the passwords of the roles; those who may not get roles without. */
static bool
try_bare_roles(struct dump_call *dump, const struct error *error)
{
	if (dump->step != STEP_ROLES || dump->bare_roles || error->code != ERROR_DUMP_FAILED)
		return false;
	dump->bare_roles = true;
	return ftruncate(dump->output, 0) == 0 && lseek(dump->output, 0, SEEK_SET) == 0;
}

static void
step_failed(struct dump_call *dump, struct error *error)
{
	cleanup_error struct error again = {.code = ERROR_NONE};
	bool asks = dump->doubtful || (dump->step->as_user && error->code == ERROR_DUMP_FAILED);
	if (try_bare_roles(dump, error)) {
		if (step_run(dump, &again) < 0)
			dump_finish(dump, &again);
	} else if (asks) {
		look_again(dump, error);
	} else {
		dump_finish(dump, error);
	}
}

static void
step_ended(void *context, const struct child_exit *exit)
{
	struct dump_call *dump = context;
	cleanup_error struct error error = {.code = ERROR_NONE};
	dump->child = NULL;
	if (dump->stopped)
		dump_finish(dump, &error);
	else if (dump->step->judge(dump, exit, &error) < 0)
		step_failed(dump, &error);
	else
		step_on(dump, dump->step + 1);
}

static void
judge_again(struct dump_call *dump, const struct postgres_facts *now, const struct error *failed)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (error_is_set(failed)) {
		error_copy(&error, failed);
		error_prefix(&error, "%s", dump->error.message);
	} else if (!dump->doubtful) {
		error_move(&error, &dump->error);
	} else if (check_tables(dump, now, &error) == 0) {
		dump->doubtful = false;
		step_on(dump, dump->step + 1);
		return;
	}
	dump_finish(dump, &error);
}

static void
tell_progress(evutil_socket_t descriptor, short what, void *context)
{
	struct dump_call *dump = context;
	struct stat status;
	(void)descriptor;
	(void)what;
	if (dump->step == STEP_DUMP && dump->child != NULL && fstat(dump->output, &status) == 0)
		dump->on_progress(dump->context, (uint64_t)status.st_size, dump->facts.bytes);
}

/* ---- the call ---- */

static void
dump_stop(struct postgres_call *call)
{
	struct dump_call *dump = (struct dump_call *)call;
	dump->stopped = true;
	if (dump->child != NULL)
		child_stop(dump->child);
	else if (dump->look != NULL)
		postgres_call_stop(dump->look);
}

static void
dump_abandon(struct postgres_call *call)
{
	struct dump_call *dump = (struct dump_call *)call;
	if (dump->child != NULL)
		child_abandon(dump->child);
	postgres_call_abandon(dump->look);
	dump_free(dump);
}

static const struct postgres_operation dump_operation = {
    .stop = dump_stop,
    .abandon = dump_abandon,
};

/* The programs that come with pg_dump are the ones that fit it. */
static char *
find_companion(const struct dump_call *dump, const char *program, struct error *error)
{
	const char *slash = strrchr(dump->pg_dump, '/');
	cleanup_free char *path =
	    xasprintf("%.*s%s", slash == NULL ? 0 : (int)(slash + 1 - dump->pg_dump), dump->pg_dump, program);
	char *found = program_find(path);
	return found != NULL ? found : postgres_client(program, dump->facts.server_version, error);
}

static int
find_programs(struct dump_call *dump, struct error *error)
{
	if (postgres_client_find(
		"pg_dump", dump->facts.server_version, &dump->pg_dump, &dump->result.client_version, error) < 0)
		return -1;
	dump->pg_dumpall = find_companion(dump, "pg_dumpall", error);
	dump->pg_restore = find_companion(dump, "pg_restore", error);
	if (dump->pg_dumpall == NULL || dump->pg_restore == NULL)
		return -1;
	dump->sha256sum = program_find("sha256sum");
	if (dump->sha256sum != NULL)
		return 0;
	error_set(error, ERROR_SYSTEM, "there is no program sha256sum in PATH");
	return error_hint(error, "install coreutils");
}

static int
watch_progress(struct dump_call *dump)
{
	const struct timeval interval = {.tv_usec = PROGRESS_INTERVAL};
	if (dump->on_progress == NULL)
		return 0;
	dump->tick = event_new(dump->base, -1, EV_PERSIST, tell_progress, dump);
	return dump->tick != NULL ? event_add(dump->tick, &interval) : -1;
}

static void
set_paths(struct dump_call *dump, const char *directory)
{
	cleanup_free char *name = postgres_dump_name(dump->place.source.database);
	dump->result.dump = xasprintf("%s/%s.dump", directory, name);
	dump->result.roles = xasprintf("%s/%s.roles.sql", directory, name);
}

static int
dump_begin(struct dump_call *dump, const struct postgres_dump_request *request, struct error *error)
{
	if (request->facts->table_oids == NULL)
		return error_set(error, ERROR_INTERNAL, "a dump needs to know the tables that are expected in it");
	if (postgres_place_find(request->source, &dump->place, error) < 0)
		return -1;
	postgres_facts_copy(request->facts, &dump->facts);
	postgres_archive_expect(&dump->archive, &dump->facts);
	set_paths(dump, request->directory);
	if (find_programs(dump, error) < 0)
		return -1;
	if (watch_progress(dump) < 0)
		return error_set(error, ERROR_SYSTEM, "cannot make an event for the progress of a dump");
	if (step_begin(dump, STEP_DUMP, error) == 0)
		return 0;
	if (dump->made_dump)
		unlink(dump->result.dump);
	return -1;
}

struct postgres_call *
postgres_dump_start(
    struct event_base *base, const struct postgres_dump_request *request, postgres_dump_fn *done, struct error *error)
{
	struct dump_call *dump = xcalloc(1, sizeof(*dump));
	*dump = (struct dump_call){
	    .call.operation = &dump_operation,
	    .base = base,
	    .output = -1,
	    .on_spawned = request->on_spawned,
	    .on_progress = request->on_progress,
	    .on_words = request->on_words,
	    .done = done,
	    .context = request->context,
	};
	if (dump_begin(dump, request, error) == 0)
		return &dump->call;
	dump_free(dump);
	return NULL;
}
