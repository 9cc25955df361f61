/* Who holds the locks of a repository. */
#include "adapters/restic_internal.h"

#include "core/alloc.h"
#include "core/clock.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define LOCK_LIMIT ((size_t)64 * 1024)

/* ---- one lock ---- */

static void
clear_lock(struct restic_lock *lock)
{
	free(lock->id);
	free(lock->hostname);
	free(lock->username);
}

static char *
read_name(const json_t *object, const char *key)
{
	const char *name = json_string_value(json_object_get(object, key));
	return name == NULL ? xstrdup("") : text_printable(name);
}

/* The name restic writes into its locks is the machine's. */
static bool
is_this_host(const char *hostname)
{
	char name[256] = "";
	gethostname(name, sizeof(name) - 1);
	return hostname != NULL && strcmp(hostname, name) == 0;
}

static bool
pid_exists(pid_t pid)
{
	return kill(pid, 0) == 0 || errno == EPERM;
}

void
restic_output_lock(const char *bytes, size_t length, struct restic_lock *ret_lock)
{
	cleanup_json json_t *object = restic_output_object(bytes, length);
	const char *hostname = json_string_value(json_object_get(object, "hostname"));
	const char *time = json_string_value(json_object_get(object, "time"));
	json_int_t pid = json_integer_value(json_object_get(object, "pid"));
	struct restic_lock lock = {.pid = (pid_t)pid};

	lock.readable = hostname != NULL && time != NULL && text_parse_rfc3339(time, &lock.time) && lock.pid > 0 &&
			lock.pid == pid;
	if (!lock.readable) {
		*ret_lock = (struct restic_lock){.hostname = xstrdup(""), .username = xstrdup("")};
		return;
	}
	lock.hostname = text_printable(hostname);
	lock.username = read_name(object, "username");
	lock.exclusive = json_is_true(json_object_get(object, "exclusive"));
	lock.this_host = is_this_host(hostname);
	lock.alive = lock.this_host && pid_exists(lock.pid);
	*ret_lock = lock;
}

char *
restic_lock_words(const struct restic_lock *lock)
{
	if (!lock->readable)
		return xasprintf("lock %.8s, which cannot be understood", lock->id);
	int64_t age = clock_wall(clock_system()) - lock->time;
	cleanup_free char *time = text_time_rfc3339(lock->time);
	cleanup_free char *ago = text_duration(age < 0 ? 0 : age);
	return xasprintf("%s, PID %ld on %s by %s, since %s (%s)", lock->exclusive ? "exclusive" : "shared",
	    (long)lock->pid, lock->hostname, lock->username, time, ago);
}

bool
restic_says_lock_is_gone(const char *words)
{
	return strstr(words, "no such file or directory") != NULL || strstr(words, "does not exist") != NULL;
}

bool
restic_waits_for_lost_lock(const char *words)
{
	return strstr(words, "Load(<lock/") != NULL && strstr(words, "retrying after") != NULL &&
	       restic_says_lock_is_gone(words);
}

/* ---- all of them ---- */

void
restic_lock_reader_clear(struct restic_lock_reader *reader)
{
	for (size_t i = 0; i < reader->count; i++)
		clear_lock(&reader->locks[i]);
	free(reader->locks);
	strings_free(reader->ids);
	text_clear(&reader->text);
	*reader = (struct restic_lock_reader){.count = 0};
}

int
restic_lock_reader_run(struct restic_lock_reader *reader, struct restic_call *call, struct error *error)
{
	static const char *const arguments[] = {"list", "locks", "--no-lock", NULL};
	static const struct restic_step step = {.name = "restic list locks", .arguments = arguments};
	restic_lock_reader_clear(reader);
	return restic_call_run(call, &step, error);
}

void
restic_lock_reader_take_stdout(struct restic_lock_reader *reader, const char *line, size_t length)
{
	if (!reader->reading && restic_is_id(line, 64)) {
		strings_add(&reader->ids, line);
	} else if (reader->reading && reader->text.length + length <= LOCK_LIMIT) {
		text_add_bytes(&reader->text, line, length);
		text_add(&reader->text, "\n");
	}
}

void
restic_lock_reader_take_stderr(
    struct restic_lock_reader *reader, struct restic_call *call, const char *line, size_t length)
{
	restic_call_keep_words(call, line, length);
	if (reader->reading && restic_waits_for_lost_lock(line)) {
		reader->gone = true;
		child_kill(call->child);
	}
}

static void
add_lock(struct restic_lock_reader *reader)
{
	struct restic_lock lock;
	restic_output_lock(reader->text.string == NULL ? "" : reader->text.string, reader->text.length, &lock);
	lock.id = xstrdup(reader->ids[reader->next - 1]);
	reader->locks = xreallocarray(reader->locks, reader->count + 1, sizeof(*reader->locks));
	reader->locks[reader->count++] = lock;
}

static int
run_next(struct restic_lock_reader *reader, struct restic_call *call, struct error *error)
{
	const char *const arguments[] = {"cat", "lock", reader->ids[reader->next++], "--no-lock", NULL};
	const struct restic_step step = {.name = "restic cat lock", .arguments = arguments};
	reader->reading = true;
	reader->gone = false;
	text_clear(&reader->text);
	return restic_call_run(call, &step, error);
}

static int
compare_locks(const void *left, const void *right)
{
	const struct restic_lock *a = left, *b = right;
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	return strcmp(a->id, b->id);
}

void
restic_lock_reader_ended(struct restic_lock_reader *reader, struct restic_call *call, struct error *error)
{
	if (reader->reading && error->code == ERROR_RESTIC_FAILED && restic_says_lock_is_gone(error->message))
		reader->gone = true;
	if (reader->gone && !call->stopped)
		error_clear(error);
	else if (reader->reading && !error_is_set(error))
		add_lock(reader);
	if (error_is_set(error))
		return;
	if (reader->ids != NULL && reader->ids[reader->next] != NULL)
		run_next(reader, call, error);
	else if (reader->count > 0)
		qsort(reader->locks, reader->count, sizeof(*reader->locks), compare_locks);
}

/* ---- the call ---- */

struct locks_call {
	struct restic_call call; /* first: the call is freed through it */
	struct restic_lock_reader reader;
	restic_locks_fn *done;
	void *context;
};

static void
take_stdout(struct restic_call *call, const char *line, size_t length, bool cut)
{
	struct locks_call *listing = (struct locks_call *)call;
	(void)cut;
	restic_lock_reader_take_stdout(&listing->reader, line, length);
}

static void
take_stderr(struct restic_call *call, const char *line, size_t length)
{
	struct locks_call *listing = (struct locks_call *)call;
	restic_lock_reader_take_stderr(&listing->reader, call, line, length);
}

static void
locks_ended(struct restic_call *call, const struct child_exit *exit, struct error *error)
{
	struct locks_call *listing = (struct locks_call *)call;
	(void)exit;
	restic_lock_reader_ended(&listing->reader, call, error);
	if (error_is_set(error))
		listing->done(listing->context, NULL, 0, error);
	else if (call->child == NULL)
		listing->done(listing->context, listing->reader.locks, listing->reader.count, NULL);
}

static void
locks_release(struct restic_call *call)
{
	struct locks_call *listing = (struct locks_call *)call;
	restic_lock_reader_clear(&listing->reader);
}

static const struct restic_operation locks_operation = {
    .take_stdout = take_stdout,
    .take_stderr = take_stderr,
    .ended = locks_ended,
    .release = locks_release,
};

struct restic_call *
restic_locks_start(struct event_base *base, const struct restic_settings *settings, restic_locks_fn *done,
    void *context, struct error *error)
{
	struct locks_call *listing = restic_call_new(sizeof(*listing), &locks_operation, base, settings, error);
	if (listing == NULL)
		return NULL;
	listing->done = done;
	listing->context = context;
	if (restic_lock_reader_run(&listing->reader, &listing->call, error) == 0)
		return &listing->call;
	restic_call_free(&listing->call);
	return NULL;
}
