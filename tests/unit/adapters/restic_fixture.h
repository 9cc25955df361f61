/* What the tests of adapters/restic*.c share: a directory with the three secret files, the settings that name
 * them, a loop with a deadline, and what came back from a call. */
#ifndef ATELIER_TESTS_UNIT_ADAPTERS_RESTIC_FIXTURE_H
#define ATELIER_TESTS_UNIT_ADAPTERS_RESTIC_FIXTURE_H

#include "adapters/restic.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/text.h"
#include "tests/unit/core/temporary.h"

#include <setjmp.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct restic_fixture {
	char *directory;
	struct event_base *base;
	struct restic_settings settings;
	struct restic_call *call;

	/* What the last call came to. */
	int callbacks;
	struct error error;
	char *repository_id;
	char *snapshot_id;
	char **missing;
	struct restic_backup_result result; /* without what it points to */
	struct restic_snapshot *snapshots;
	size_t snapshot_count;
	size_t locks_found;
	struct restic_unlock_result unlocked; /* without what it points to */
	char *first_lock;
	char **lock_words;                     /* of all locks of a listing */
	struct restic_lock last_lock;          /* of these, without what it points to */
	struct restic_forget_result forgotten; /* without its error */

	/* What was seen on the way. */
	int progress_count;
	struct restic_progress progress;
	struct text words; /* '|' after each line */
	struct child_identity spawned;
	void (*on_progress)(struct restic_fixture *fixture);
	bool on_words_stop; /* restic_call_stop at the first words */
};

static inline char *
fixture_path(const struct restic_fixture *fixture, const char *name)
{
	return xasprintf("%s/%s", fixture->directory, name);
}

/* The file is in the fixture's directory and private. */
static inline void
fixture_write_bytes(const struct restic_fixture *fixture, const char *name, const void *bytes, size_t length)
{
	cleanup_free char *path = fixture_path(fixture, name);
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (file_replace(path, bytes, length, &error) < 0)
		fail_msg("%s", error.message);
}

static inline void
fixture_write(const struct restic_fixture *fixture, const char *name, const char *content)
{
	fixture_write_bytes(fixture, name, content, strlen(content));
}

/* The content of a file in the fixture's directory, "" if there is none. The caller owns it. */
static inline char *
fixture_read(const struct restic_fixture *fixture, const char *name)
{
	cleanup_free char *path = fixture_path(fixture, name);
	char *content;
	size_t length;
	return file_read(path, 1 << 24, &content, &length, NULL) < 0 ? xstrdup("") : content;
}

static inline void
fixture_make_directory(const struct restic_fixture *fixture, const char *name)
{
	cleanup_free char *path = fixture_path(fixture, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static inline struct restic_fixture *
restic_fixture_new(const char *program)
{
	struct restic_fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->directory = temporary_directory_make();
	fixture->base = event_base_new();
	fixture->settings = (struct restic_settings){
	    .program = xstrdup(program),
	    .repository_file = fixture_path(fixture, "location"),
	    .password_file = fixture_path(fixture, "password"),
	    .cache_directory = fixture_path(fixture, "cache"),
	    .host = xstrdup("web1"),
	};
	cleanup_free char *repository = fixture_path(fixture, "repository");
	fixture_write(fixture, "location", repository);
	fixture_write(fixture, "password", "correct horse\n");
	return fixture;
}

static inline void
fixture_free_snapshots(struct restic_fixture *fixture)
{
	for (size_t i = 0; i < fixture->snapshot_count; i++) {
		free(fixture->snapshots[i].id);
		free(fixture->snapshots[i].hostname);
		strings_free(fixture->snapshots[i].paths);
		strings_free(fixture->snapshots[i].tags);
	}
	free(fixture->snapshots);
	fixture->snapshots = NULL;
	fixture->snapshot_count = 0;
}

/* Forgets what the last call came to. */
static inline void
fixture_reset(struct restic_fixture *fixture)
{
	fixture->callbacks = 0;
	error_clear(&fixture->error);
	replace_string(&fixture->repository_id, NULL);
	replace_string(&fixture->snapshot_id, NULL);
	strings_free(fixture->missing);
	fixture->missing = NULL;
	fixture->result = (struct restic_backup_result){.exit_code = 0};
	fixture_free_snapshots(fixture);
	fixture->locks_found = 0;
	fixture->unlocked = (struct restic_unlock_result){.own = 0};
	replace_string(&fixture->first_lock, NULL);
	strings_free(fixture->lock_words);
	fixture->lock_words = NULL;
	fixture->last_lock = (struct restic_lock){.pid = 0};
	fixture->forgotten = (struct restic_forget_result){.gone = 0};
	fixture->progress_count = 0;
	text_clear(&fixture->words);
}

static inline void
restic_fixture_free(struct restic_fixture *fixture)
{
	fixture_reset(fixture);
	event_base_free(fixture->base);
	free(fixture->settings.program);
	free(fixture->settings.repository_file);
	free(fixture->settings.password_file);
	free(fixture->settings.environment_file);
	free(fixture->settings.cache_directory);
	free(fixture->settings.host);
	temporary_directory_remove(fixture->directory);
	free(fixture);
}

static inline void
fixture_ended(struct restic_fixture *fixture, const struct error *error)
{
	fixture->callbacks++;
	fixture->call = NULL;
	if (error != NULL)
		error_copy(&fixture->error, error);
	event_base_loopbreak(fixture->base);
}

/* ---- callbacks: their context is the fixture ---- */

static inline void
fixture_on_probe(void *context, const char *repository_id, const struct error *error)
{
	struct restic_fixture *fixture = context;
	assert_true((repository_id == NULL) == (error != NULL));
	replace_string(&fixture->repository_id, repository_id);
	fixture_ended(fixture, error);
}

static inline void
fixture_on_backup(void *context, const struct restic_backup_result *result)
{
	struct restic_fixture *fixture = context;
	replace_string(&fixture->snapshot_id, result->snapshot_id);
	fixture->missing = strings_copy(result->missing);
	fixture->result = *result;
	fixture_ended(fixture, &result->error);
}

static inline void
fixture_on_snapshots(void *context, const struct restic_snapshot *snapshots, size_t count, const struct error *error)
{
	struct restic_fixture *fixture = context;
	fixture->snapshots = xcalloc(count, sizeof(*snapshots));
	for (size_t i = 0; i < count; i++) {
		fixture->snapshots[i] = snapshots[i];
		fixture->snapshots[i].id = xstrdup(snapshots[i].id);
		fixture->snapshots[i].hostname = xstrdup(snapshots[i].hostname);
		fixture->snapshots[i].paths = strings_copy(snapshots[i].paths);
		fixture->snapshots[i].tags = strings_copy(snapshots[i].tags);
	}
	fixture->snapshot_count = count;
	fixture_ended(fixture, error);
}

static inline void
fixture_on_unlock(void *context, size_t found, const struct error *error)
{
	struct restic_fixture *fixture = context;
	fixture->locks_found = found;
	fixture_ended(fixture, error);
}

static inline void
fixture_on_unlock_stale(void *context, const struct restic_unlock_result *result, const struct error *error)
{
	struct restic_fixture *fixture = context;
	assert_true((result->first == NULL) == (result->remaining == 0));
	fixture->unlocked = *result;
	replace_string(&fixture->first_lock, result->first);
	fixture_ended(fixture, error);
}

static inline void
fixture_on_locks(void *context, const struct restic_lock *locks, size_t count, const struct error *error)
{
	struct restic_fixture *fixture = context;
	for (size_t i = 0; i < count; i++) {
		cleanup_free char *words = restic_lock_words(&locks[i]);
		assert_true(text_is_printable(words));
		strings_add(&fixture->lock_words, words);
		fixture->last_lock = locks[i];
	}
	fixture_ended(fixture, error);
}

static inline void
fixture_on_forget(void *context, const struct restic_forget_result *result)
{
	struct restic_fixture *fixture = context;
	fixture->forgotten = *result;
	fixture_ended(fixture, &result->error);
}

static inline void
fixture_on_done(void *context, const struct error *error)
{
	assert_true(error == NULL || error_is_set(error));
	fixture_ended(context, error);
}

static inline void
fixture_on_progress(void *context, const struct restic_progress *progress)
{
	struct restic_fixture *fixture = context;
	fixture->progress_count++;
	fixture->progress = *progress;
	if (fixture->on_progress != NULL)
		fixture->on_progress(fixture);
}

static inline void
fixture_on_words(void *context, const char *line)
{
	struct restic_fixture *fixture = context;
	assert_true(text_is_printable(line));
	text_add(&fixture->words, line);
	text_add(&fixture->words, "|");
	if (fixture->on_words_stop)
		restic_call_stop(fixture->call);
}

static inline int
fixture_on_spawned(void *context, const struct child_identity *identity, struct error *error)
{
	struct restic_fixture *fixture = context;
	(void)error;
	fixture->spawned = *identity;
	return 0;
}

/* ---- running ---- */

static inline void
fixture_overdue(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	(void)context;
	fail_msg("the call did not come back in time");
}

/* Runs the loop until the call that was started has called back. */
static inline void
fixture_wait(struct restic_fixture *fixture, const struct error *start_error)
{
	if (fixture->call == NULL)
		fail_msg("not started: %s", start_error->message);
	struct event *deadline = evtimer_new(fixture->base, fixture_overdue, NULL);
	const struct timeval patience = {.tv_sec = 100};
	event_add(deadline, &patience);
	while (fixture->callbacks == 0)
		event_base_dispatch(fixture->base);
	event_free(deadline);
	assert_int_equal(fixture->callbacks, 1);
}

static inline void
fixture_probe(struct restic_fixture *fixture)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture_reset(fixture);
	fixture->call = restic_probe_start(fixture->base, &fixture->settings, fixture_on_probe, fixture, &error);
	fixture_wait(fixture, &error);
}

static inline void
fixture_init(struct restic_fixture *fixture)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture_reset(fixture);
	fixture->call = restic_init_start(fixture->base, &fixture->settings, fixture_on_probe, fixture, &error);
	fixture_wait(fixture, &error);
}

/* Starts one; the request's callbacks and context are the fixture's. */
static inline void
fixture_start_backup(struct restic_fixture *fixture, struct restic_backup_request request)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture_reset(fixture);
	request.on_spawned = fixture_on_spawned;
	request.on_progress = fixture_on_progress;
	request.on_words = fixture_on_words;
	request.context = fixture;
	fixture->call = restic_backup_start(fixture->base, &fixture->settings, &request, fixture_on_backup, &error);
	if (fixture->call == NULL)
		fail_msg("not started: %s", error.message);
}

static inline void
fixture_backup(struct restic_fixture *fixture, struct restic_backup_request request)
{
	fixture_start_backup(fixture, request);
	fixture_wait(fixture, &fixture->error);
}

static inline void
fixture_list(struct restic_fixture *fixture, const char *tag)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture_reset(fixture);
	fixture->call =
	    restic_snapshots_start(fixture->base, &fixture->settings, tag, fixture_on_snapshots, fixture, &error);
	fixture_wait(fixture, &error);
}

static inline void
fixture_unlock(struct restic_fixture *fixture, const pid_t *pids, size_t count)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture_reset(fixture);
	fixture->call = restic_unlock_own_start(
	    fixture->base, &fixture->settings, pids, count, fixture_on_unlock, fixture, &error);
	fixture_wait(fixture, &error);
}

static inline void
fixture_unlock_stale(struct restic_fixture *fixture, const pid_t *pids, size_t count)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture_reset(fixture);
	fixture->call = restic_unlock_stale_start(
	    fixture->base, &fixture->settings, pids, count, fixture_on_unlock_stale, fixture, &error);
	fixture_wait(fixture, &error);
}

static inline void
fixture_locks(struct restic_fixture *fixture)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture_reset(fixture);
	fixture->call = restic_locks_start(fixture->base, &fixture->settings, fixture_on_locks, fixture, &error);
	fixture_wait(fixture, &error);
}

static inline void
fixture_probe_locked(struct restic_fixture *fixture)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture_reset(fixture);
	fixture->call = restic_probe_locked_start(
	    fixture->base, &fixture->settings, fixture_on_spawned, fixture_on_probe, fixture, &error);
	fixture_wait(fixture, &error);
}

static inline struct restic_listener
fixture_listener(struct restic_fixture *fixture)
{
	return (struct restic_listener){
	    .on_spawned = fixture_on_spawned, .on_words = fixture_on_words, .context = fixture};
}

static inline void
fixture_forget(struct restic_fixture *fixture, const char *const *ids, size_t count)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	const struct restic_listener listener = fixture_listener(fixture);
	fixture_reset(fixture);
	fixture->call =
	    restic_forget_start(fixture->base, &fixture->settings, ids, count, &listener, fixture_on_forget, &error);
	fixture_wait(fixture, &error);
}

static inline void
fixture_prune(struct restic_fixture *fixture, uint64_t max_repack_bytes, const char *max_unused)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	const struct restic_prune_request request = {
	    .max_repack_bytes = max_repack_bytes, .max_unused = max_unused, .listener = fixture_listener(fixture)};
	fixture_reset(fixture);
	fixture->call = restic_prune_start(fixture->base, &fixture->settings, &request, fixture_on_done, &error);
	fixture_wait(fixture, &error);
}

static inline void
fixture_repair_index(struct restic_fixture *fixture)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	const struct restic_listener listener = fixture_listener(fixture);
	fixture_reset(fixture);
	fixture->call =
	    restic_repair_index_start(fixture->base, &fixture->settings, &listener, fixture_on_done, &error);
	fixture_wait(fixture, &error);
}

/* The code the last call came to, as its word, so that a failing test says more than a number. */
#define assert_fixture_code(fixture, expected)                                                                       \
	do {                                                                                                         \
		if ((fixture)->error.code != (expected) && (fixture)->error.message != NULL)                         \
			print_error("%s\n", (fixture)->error.message);                                               \
		assert_string_equal(error_code_word((fixture)->error.code), error_code_word(expected));              \
	} while (0)

#endif
