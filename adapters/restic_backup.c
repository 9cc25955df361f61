/* A backup: what is asked for, what restic says on the way, and the verdict.
 *
 * Exit code 0 is not enough for a good one: 0.14 and 0.18 exit with 0 when a path is missing, and a path that
 * an exclude pattern swallowed leaves an empty snapshot behind. */
#include "adapters/restic_internal.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"

#include <string.h>

#define PROGRESS_INTERVAL (250 * USEC_PER_MSEC)
#define MISSING_LISTED    100

/* Beyond this many unreadable items one that is reported twice counts twice. */
#define MISSING_REMEMBERED 100000

/* Plain words even with --json: before 0.19 they are all that tells. */
#define WORDS_MISSING      " does not exist, skipping"
#define WORDS_INACCESSIBLE " cannot be accessed, skipping"

/* What the run showed, judged when it is over. */
struct findings {
	struct restic_summary summary;
	char *source_missing; /* the first declared path that is not there; or NULL */
	char *source_unreadable;
	char *reason; /* restic's words about the first thing that could not be read */
	json_t *seen; /* set of items that could not be read: 0.14 reports some of them twice */
	char **missing;
	uint64_t missing_count;
};

struct backup_call {
	struct restic_call call;              /* first: the call is freed through it */
	struct restic_backup_request request; /* of its lists, only `paths` is kept: a copy */
	char **paths;
	restic_backup_fn *done;
	int64_t last_progress; /* monotonic */
	struct findings findings;
};

/* ---- on the way ---- */

static void
take_progress(struct backup_call *backup, const json_t *object)
{
	int64_t now = clock_monotonic(clock_system());
	bool too_soon = backup->last_progress != 0 && now - backup->last_progress < PROGRESS_INTERVAL;
	if (backup->request.on_progress == NULL || too_soon)
		return;
	backup->last_progress = now;
	struct restic_progress progress;
	restic_output_progress(object, &progress);
	backup->request.on_progress(backup->request.context, &progress);
}

static void
take_stdout(struct restic_call *call, const char *line, size_t length, bool cut)
{
	struct backup_call *backup = (struct backup_call *)call;
	(void)cut; /* what is left of a cut object is no object */
	cleanup_json json_t *object = restic_output_object(line, length);
	const char *type = restic_output_type(object);
	if (strcmp(type, "summary") == 0) {
		free(backup->findings.summary.snapshot_id);
		restic_output_summary(object, &backup->findings.summary);
	} else if (strcmp(type, "status") == 0) {
		take_progress(backup, object);
	}
}

/* Adds what could not be read. Returns false if that was known. */
static bool
note_missing(struct findings *findings, const char *item, const char *reason)
{
	if (json_object_get(findings->seen, item) != NULL)
		return false;
	if (json_object_size(findings->seen) < MISSING_REMEMBERED)
		json_object_set_new(findings->seen, item, json_true());
	if (findings->missing_count++ < MISSING_LISTED) {
		cleanup_free char *printable = text_printable(item);
		cleanup_free char *masked = restic_mask(printable);
		strings_add(&findings->missing, masked);
	}
	if (findings->reason == NULL)
		findings->reason = xstrdup(reason);
	return true;
}

/* Is it one of the paths that were asked for, or above one? */
static bool
covers_declared_path(const struct backup_call *backup, const char *item)
{
	for (size_t i = 0; backup->paths[i] != NULL; i++)
		if (item[0] == '/' && path_is_below(backup->paths[i], item))
			return true;
	return false;
}

static void
take_item_error(struct backup_call *backup, const json_t *object)
{
	struct findings *findings = &backup->findings;
	const char *item = json_string_value(json_object_get(object, "item"));
	const char *during = json_string_value(json_object_get(object, "during"));
	/* The scan only counts ahead; a file that went away before it was archived is not missing from
	 * anything. */
	if (during != NULL && strcmp(during, "scan") == 0)
		return;
	cleanup_free char *reason = restic_output_reason(object);
	if (item == NULL || item[0] == '\0')
		item = reason;
	if (!note_missing(findings, item, reason))
		return;
	if (findings->source_unreadable == NULL && covers_declared_path(backup, item))
		findings->source_unreadable = xstrdup(item);
}

/* Finds "PATH does not exist, skipping". Returns whether it was that. */
static bool
take_skipped(struct backup_call *backup, const char *line, const char *ending, char **first)
{
	if (!text_ends_with(line, ending))
		return false;
	cleanup_free char *path = xstrndup(line, strlen(line) - strlen(ending));
	cleanup_free char *printable = text_printable(path);
	cleanup_free char *masked = restic_mask(printable);
	note_missing(&backup->findings, masked, ending + 1);
	if (*first == NULL)
		*first = take_pointer(masked);
	return true;
}

static void
take_stderr(struct restic_call *call, const char *line, size_t length)
{
	struct backup_call *backup = (struct backup_call *)call;
	struct findings *findings = &backup->findings;
	cleanup_json json_t *object = restic_output_object(line, length);
	uint64_t listed = findings->missing_count;

	if (strcmp(restic_output_type(object), "error") == 0) {
		take_item_error(backup, object);
		/* One line for each item, and not for all of a million. */
		if (findings->missing_count == listed || findings->missing_count > MISSING_LISTED)
			return;
	} else if (!take_skipped(backup, line, WORDS_MISSING, &findings->source_missing) &&
		   !take_skipped(backup, line, WORDS_INACCESSIBLE, &findings->source_unreadable)) {
		restic_call_keep_words(call, line, length);
	}
	cleanup_free char *words = restic_output_words(line, length);
	if (backup->request.on_words != NULL && words[0] != '\0')
		backup->request.on_words(backup->request.context, words);
}

/* ---- the verdict ---- */

/* Directories above the declared paths are in every snapshot; alone, they are nothing. */
static size_t
count_parents(char *const *paths)
{
	cleanup_json json_t *parents = json_object();
	for (size_t i = 0; paths[i] != NULL; i++) {
		cleanup_free char *parent = xstrdup(paths[i]);
		for (char *slash; (slash = strrchr(parent, '/')) != NULL && slash != parent;) {
			*slash = '\0';
			json_object_set_new(parents, parent, json_true());
		}
	}
	return json_object_size(parents);
}

static bool
adds_up(const struct restic_summary *summary)
{
	uint64_t files;
	return summary->readable && !__builtin_add_overflow(summary->files_new, summary->files_changed, &files) &&
	       !__builtin_add_overflow(files, summary->files_unmodified, &files) && files == summary->files;
}

static int
judge_sources(const struct findings *findings, struct error *error)
{
	if (findings->source_missing != NULL) {
		error_set(error, ERROR_SOURCE_MISSING, "%s does not exist", findings->source_missing);
		return error_hint(error, "check the path in the manifest, and whether the file system it is on is "
					 "mounted");
	}
	if (findings->source_unreadable != NULL) {
		error_set(error, ERROR_SOURCE_UNREADABLE, "restic cannot read %s (restic: %s)",
		    findings->source_unreadable, findings->reason);
		return error_hint(error, "check its permissions, or run the backup as root");
	}
	return 0;
}

static int
judge_summary(const struct backup_call *backup, struct error *error)
{
	const struct restic_summary *summary = &backup->findings.summary;
	if (!summary->present || summary->dry_run || summary->snapshot_id == NULL) {
		error_set(error, ERROR_RESTIC_FAILED, "restic ended without telling of a snapshot");
		return error_hint(error, "read its own words, and look with `restic snapshots` whether there is one");
	}
	if (!adds_up(summary)) {
		error_set(error, ERROR_SNAPSHOT_MISMATCH,
		    "the counters in restic's summary of snapshot %s do not add up", summary->snapshot_id);
		return error_hint(
		    error, "look at the snapshot with `restic ls`; is this a released version of restic?");
	}
	if (summary->files <= backup->request.own_files && summary->directories <= count_parents(backup->paths)) {
		error_set(error, ERROR_SNAPSHOT_EMPTY, "nothing is in snapshot %s", summary->snapshot_id);
		return error_hint(error, "check the paths, and whether an exclude pattern matches a path itself");
	}
	return 0;
}

static int
judge_items(const struct findings *findings, int exit_code, struct error *error)
{
	if (exit_code == 0 && findings->missing_count == 0)
		return 0;
	if (findings->missing_count == 0)
		return -1; /* the words of the classifier are the best there are */
	error_set(error, ERROR_SOURCE_PARTLY_UNREADABLE, "%llu files or directories could not be read (%s: %s)",
	    (unsigned long long)findings->missing_count, findings->missing[0], findings->reason);
	return error_hint(error, "look at the items it names; run the backup again if they only came and went");
}

/* `error` comes with the classifier's verdict over exit code and words. */
static void
judge(const struct backup_call *backup, int exit_code, struct error *error)
{
	bool ended_well = exit_code == 0 || exit_code == 3;
	if (error_class_of(error->code) == ERROR_CLASS_CANCELLED)
		return;
	if (judge_sources(&backup->findings, error) < 0 || !ended_well)
		return;
	if (judge_summary(backup, error) < 0)
		return;
	judge_items(&backup->findings, exit_code, error);
}

static void
backup_ended(struct restic_call *call, const struct child_exit *exit, struct error *error)
{
	struct backup_call *backup = (struct backup_call *)call;
	const struct restic_summary *summary = &backup->findings.summary;
	int exit_code = exit->signalled ? -1 : exit->number;

	judge(backup, exit_code, error);
	struct restic_backup_result result = {
	    .error = *error,
	    /* A dry run makes one up. */
	    .snapshot_id = summary->dry_run ? NULL : summary->snapshot_id,
	    .files = summary->files,
	    .bytes = summary->bytes,
	    .bytes_added = summary->bytes_added,
	    .missing = backup->findings.missing,
	    .missing_count = backup->findings.missing_count,
	    .exit_code = exit_code,
	};
	backup->done(backup->request.context, &result);
}

static void
backup_release(struct restic_call *call)
{
	struct backup_call *backup = (struct backup_call *)call;
	struct findings *findings = &backup->findings;
	strings_free(backup->paths);
	free(findings->summary.snapshot_id);
	free(findings->source_missing);
	free(findings->source_unreadable);
	free(findings->reason);
	json_decref(findings->seen);
	strings_free(findings->missing);
}

static const struct restic_operation backup_operation = {
    .take_stdout = take_stdout,
    .take_stderr = take_stderr,
    .ended = backup_ended,
    .release = backup_release,
};

/* ---- the start ---- */

static int
backup_spawned(void *context, const struct child_identity *identity, struct error *error)
{
	struct backup_call *backup = context;
	return backup->request.on_spawned(backup->request.context, identity, error);
}

static void
add_options(char ***arguments, const char *option, char *const *values)
{
	for (size_t i = 0; values != NULL && values[i] != NULL; i++) {
		cleanup_free char *argument = xasprintf("%s=%s", option, values[i]);
		strings_add(arguments, argument);
	}
}

/* The pattern that a path alone matches: Go's filepath.Match takes every character after a backslash as it is. */
static char *
pattern_of(const char *path)
{
	cleanup_text struct text pattern = {.string = NULL};
	for (const char *byte = path; *byte != '\0'; byte++) {
		if (strchr("\\*?[]", *byte) != NULL)
			text_add(&pattern, "\\");
		text_add_bytes(&pattern, byte, 1);
	}
	return text_take(&pattern);
}

static void
add_kept(char ***arguments, char *const *paths)
{
	for (size_t i = 0; paths != NULL && paths[i] != NULL; i++) {
		cleanup_free char *pattern = pattern_of(paths[i]);
		cleanup_free char *argument = xasprintf("--exclude=!%s", pattern);
		strings_add(arguments, argument);
	}
}

static void
add_left_out(char ***arguments, char *const *paths)
{
	for (size_t i = 0; paths != NULL && paths[i] != NULL; i++) {
		cleanup_free char *pattern = pattern_of(paths[i]);
		add_options(arguments, "--exclude", (char *[]){pattern, NULL});
	}
}

static int
check_absolute(char *const *paths, struct error *error)
{
	for (size_t i = 0; paths != NULL && paths[i] != NULL; i++)
		if (paths[i][0] != '/')
			return error_set(error, ERROR_USAGE, "the path %s is not absolute", paths[i]);
	return 0;
}

static int
check_request(const struct restic_backup_request *request, struct error *error)
{
	if (strings_count(request->paths) == 0)
		return error_set(error, ERROR_USAGE, "there is no path to back up");
	/* A pattern that does not begin with a slash would match anywhere. */
	if (check_absolute(request->paths, error) < 0 || check_absolute(request->left_out, error) < 0 ||
	    check_absolute(request->kept, error) < 0)
		return -1;
	for (size_t i = 0; request->tags != NULL && request->tags[i] != NULL; i++)
		if (strchr(request->tags[i], ',') != NULL)
			return error_set(error, ERROR_USAGE, "the tag %s has a comma, which restic splits it at",
			    request->tags[i]);
	return 0;
}

struct restic_call *
restic_backup_new(struct event_base *base, const struct restic_settings *settings,
    const struct restic_backup_request *request, restic_backup_fn *done, struct error *error)
{
	struct backup_call *backup = restic_call_new(sizeof(*backup), &backup_operation, base, settings, error);
	if (backup == NULL)
		return NULL;
	backup->request = *request;
	backup->paths = strings_copy(request->paths);
	backup->done = done;
	backup->findings.seen = json_object();
	return &backup->call;
}

static struct restic_call *
backup_begin(struct restic_call *call, const struct restic_settings *settings,
    const struct restic_backup_request *request, struct error *error)
{
	cleanup_strings char **arguments = NULL;
	strings_add(&arguments, "backup");
	strings_add(&arguments, "--json");
	/* NUL-separated, and no pattern, comment or white space means anything in it. */
	strings_add(&arguments, "--files-from-raw=-");
	add_options(&arguments, "--host", (char *[]){settings->host, NULL});
	add_options(&arguments, "--tag", request->tags);
	add_options(&arguments, "--exclude", request->excludes);
	/* The last pattern that matches decides, and an exclude can begin with '!'. */
	add_kept(&arguments, request->kept);
	add_left_out(&arguments, request->left_out);

	cleanup_text struct text paths = {.string = NULL};
	for (size_t i = 0; request->paths[i] != NULL; i++)
		text_add_bytes(&paths, request->paths[i], strlen(request->paths[i]) + 1);

	const struct restic_step step = {
	    .name = "restic backup",
	    .arguments = (const char *const *)arguments,
	    .input = paths.string,
	    .input_length = paths.length,
	    .on_spawned = request->on_spawned == NULL ? NULL : backup_spawned,
	    .binds = request->binds,
	    .bind_count = request->bind_count,
	};
	return restic_call_begin(call, &step, error);
}

struct restic_call *
restic_backup_start(struct event_base *base, const struct restic_settings *settings,
    const struct restic_backup_request *request, restic_backup_fn *done, struct error *error)
{
	if (check_request(request, error) < 0)
		return NULL;
	struct restic_call *call = restic_backup_new(base, settings, request, done, error);
	return call == NULL ? NULL : backup_begin(call, settings, request, error);
}
