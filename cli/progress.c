#include "cli/progress.h"

#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cli/json_output.h"
#include "cli/terminal.h"
#include "core/alloc.h"
#include "core/text.h"

/* Not more often than this a line about the same job's bytes: people on a terminal, a log, a program. */
#define LIVE_INTERVAL (USEC_PER_SEC / 8)
#define LOG_INTERVAL  (15 * USEC_PER_SEC)
#define JSON_INTERVAL USEC_PER_SEC

/* What runs now, for the live line. */
struct lane {
	int64_t job_id;
	char *service;
	char *word;  /* the step */
	char *bytes; /* restic's progress, or NULL */
	int64_t told_at;
};

struct progress {
	const struct clock *clock;
	bool json, verbose, live;
	bool line_is_drawn;
	char *question; /* in place of the live line, or NULL */
	int64_t drawn_at;
	struct lane *lanes;
	size_t lane_count;
};

struct progress *
progress_new(const struct clock *clock, bool json, bool verbose)
{
	struct progress *progress = xcalloc(1, sizeof(*progress));
	progress->clock = clock;
	progress->json = json;
	progress->verbose = verbose;
	const char *term = getenv("TERM");
	progress->live = !json && isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
	return progress;
}

/* A terminal that was halted (Ctrl-S), a hung connection: the jobs go on without being watched. */
static bool
somebody_reads(void)
{
	struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
	return poll(&output, 1, 0) > 0 && (output.revents & POLLOUT) != 0;
}

/* ---- the live line ---- */

static void
clear_line(struct progress *progress)
{
	if (progress->line_is_drawn)
		fputs("\r\033[K", stdout);
	progress->line_is_drawn = false;
}

static size_t
terminal_columns(void)
{
	struct winsize size;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return 80;
}

static void
draw_line(struct progress *progress, bool now)
{
	int64_t time = clock_monotonic(progress->clock);
	if (!progress->live || (!now && time - progress->drawn_at < LIVE_INTERVAL) || !somebody_reads())
		return;
	clear_line(progress);
	cleanup_text struct text line = {0};
	if (progress->question != NULL)
		text_add(&line, progress->question);
	for (size_t i = 0; i < progress->lane_count && progress->question == NULL; i++) {
		const struct lane *lane = &progress->lanes[i];
		text_printf(&line, "%s%s: %s", line.length > 0 ? " | " : "", lane->service,
		    lane->bytes != NULL  ? lane->bytes
		    : lane->word != NULL ? lane->word
					 : "");
	}
	if (line.length > 0) {
		/* One line it stays, or it could not be wiped out again. */
		size_t columns = terminal_columns() - 1;
		while (line.length > 0 && terminal_width(line.string) > columns)
			do
				line.string[--line.length] = '\0';
			while (line.length > 0 && ((unsigned char)line.string[line.length] & 0xc0) == 0x80);
		fputs(line.string, stdout);
		progress->line_is_drawn = true;
	}
	progress->drawn_at = time;
	fflush(stdout);
}

static struct lane *
find_lane(const struct progress *progress, int64_t job_id)
{
	for (size_t i = 0; i < progress->lane_count; i++)
		if (progress->lanes[i].job_id == job_id)
			return &progress->lanes[i];
	return NULL;
}

static struct lane *
lane_of(struct progress *progress, int64_t job_id, const char *service)
{
	struct lane *known = find_lane(progress, job_id);
	if (known != NULL)
		return known;
	progress->lanes = xreallocarray(progress->lanes, progress->lane_count + 1, sizeof(*progress->lanes));
	struct lane *lane = &progress->lanes[progress->lane_count++];
	*lane = (struct lane){.job_id = job_id, .service = xstrdup(service)};
	return lane;
}

static void
lane_release(struct lane *lane)
{
	free(lane->service);
	free(lane->word);
	free(lane->bytes);
}

static void
drop_lane(struct progress *progress, int64_t job_id)
{
	for (size_t i = 0; i < progress->lane_count; i++)
		if (progress->lanes[i].job_id == job_id) {
			lane_release(&progress->lanes[i]);
			progress->lanes[i] = progress->lanes[--progress->lane_count];
			return;
		}
}

void
progress_free(struct progress *progress)
{
	if (progress == NULL)
		return;
	clear_line(progress);
	fflush(stdout);
	for (size_t i = 0; i < progress->lane_count; i++)
		lane_release(&progress->lanes[i]);
	free(progress->lanes);
	free(progress->question);
	free(progress);
}

/* ---- lines ---- */

static json_t *
json_event(struct progress *progress, const char *event, int64_t job_id, const char *service)
{
	json_t *document = json_output_new();
	json_object_set_new(document, "event", json_string(event));
	json_object_set_new(document, "time", json_output_time(clock_wall(progress->clock)));
	json_object_set_new(document, "job", json_integer(job_id));
	json_object_set_new(document, "service", json_output_text(service));
	return document;
}

static void
print_line(struct progress *progress, enum tone tone, const char *service, const char *words)
{
	if (!somebody_reads())
		return;
	clear_line(progress);
	cleanup_free char *time = text_time_local(clock_wall(progress->clock));
	printf("%s  %s%-16s %s%s\n", strlen(time) > 11 ? time + 11 : time, terminal_tone(stdout, tone), service,
	    words, terminal_end(stdout, tone));
	fflush(stdout);
}

void
progress_say(struct progress *progress, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	cleanup_free char *raw = xvasprintf(format, arguments);
	va_end(arguments);
	cleanup_free char *words = text_printable(raw);
	clear_line(progress);
	/* With --json stdout belongs to the documents. */
	FILE *file = progress->json ? stderr : stdout;
	fprintf(file, "%s\n", words);
	fflush(file);
	draw_line(progress, true);
}

void
progress_due(struct progress *progress, int64_t job_id, const char *service, int64_t due_at)
{
	if (progress->json) {
		json_t *document = json_event(progress, "due", job_id, service);
		json_object_set_new(document, "due", json_output_time(due_at));
		json_output_print(document);
		return;
	}
	cleanup_free char *time = text_time_local(due_at);
	cleanup_free char *words = xasprintf("is due at %s", time);
	print_line(progress, TONE_FAINT, service, words);
	draw_line(progress, true);
}

static enum tone
tone_of(enum job_state state)
{
	switch (state) {
	case JOB_PRUNED:
		return TONE_GOOD;
	case JOB_FAILED:
		return TONE_BAD;
	case JOB_PENDING:
	case JOB_DELAYING:
		return TONE_FAINT;
	case JOB_CHECKPOINT:
	case JOB_STOPPING:
	case JOB_SNAPSHOT:
	case JOB_STARTING:
		return TONE_PLAIN;
	}
	return TONE_PLAIN;
}

void
progress_transition(struct progress *progress, int64_t job_id, const char *service, enum job_state from,
    enum job_state to, const char *event, const char *message)
{
	if (progress->json) {
		json_t *document = json_event(progress, "transition", job_id, service);
		json_object_set_new(document, "from", json_string(job_state_word(from)));
		json_object_set_new(document, "to", json_string(job_state_word(to)));
		json_object_set_new(document, "cause", json_output_text(event));
		json_object_set_new(document, "message", json_output_text(message));
		json_output_print(document);
		return;
	}
	if (job_state_is_terminal(to) || to == JOB_DELAYING) {
		drop_lane(progress, job_id);
	} else {
		struct lane *lane = lane_of(progress, job_id, service);
		replace_string(&lane->word, job_state_text(to));
		replace_string(&lane->bytes, NULL);
	}
	cleanup_free char *printable = text_printable(message != NULL ? message : job_state_text(to));
	cleanup_free char *words = xasprintf("%-10s  %s", job_state_word(to), printable);
	print_line(progress, message != NULL && to != JOB_PRUNED ? TONE_WARNING : tone_of(to), service, words);
	draw_line(progress, true);
}

void
progress_step(struct progress *progress, int64_t job_id, const char *service, const char *word)
{
	if (!progress->live)
		return;
	struct lane *lane = lane_of(progress, job_id, service);
	replace_string(&lane->word, word);
	replace_string(&lane->bytes, NULL);
	draw_line(progress, false);
}

char *
progress_bytes_words(const struct restic_progress *restic)
{
	cleanup_free char *done = text_size(restic->bytes_done);
	cleanup_free char *total = text_size(restic->bytes_total);
	cleanup_text struct text words = {0};
	if (restic->fraction >= 0)
		text_printf(&words, "%3.0f %%  ", restic->fraction * 100);
	text_printf(&words, "%s of %s, %llu of %llu files", done, total, (unsigned long long)restic->files_done,
	    (unsigned long long)restic->files_total);
	if (restic->seconds_left > 0) {
		cleanup_free char *left = text_duration(restic->seconds_left * USEC_PER_SEC);
		text_printf(&words, ", %s left", left);
	}
	if (restic->errors > 0)
		text_printf(&words, ", %llu not readable", (unsigned long long)restic->errors);
	return text_take(&words);
}

static json_t *
bytes_json(json_t *document, const struct restic_progress *restic)
{
	json_object_set_new(document, "fraction", restic->fraction >= 0 ? json_real(restic->fraction) : json_null());
	json_object_set_new(document, "bytes_done", json_output_count(restic->bytes_done));
	json_object_set_new(document, "bytes_total", json_output_count(restic->bytes_total));
	json_object_set_new(document, "files_done", json_output_count(restic->files_done));
	json_object_set_new(document, "files_total", json_output_count(restic->files_total));
	json_object_set_new(document, "errors", json_output_count(restic->errors));
	json_object_set_new(
	    document, "seconds_left", restic->seconds_left >= 0 ? json_integer(restic->seconds_left) : json_null());
	return document;
}

void
progress_restic(struct progress *progress, int64_t job_id, const char *service, const struct restic_progress *restic)
{
	struct lane *lane = lane_of(progress, job_id, service);
	free(lane->bytes);
	lane->bytes = progress_bytes_words(restic);
	if (progress->live) {
		draw_line(progress, false);
		return;
	}
	int64_t now = clock_monotonic(progress->clock);
	if (lane->told_at == 0 && !progress->json)
		lane->told_at = now; /* a short upload needs no line in a log */
	if (now - lane->told_at < (progress->json ? JSON_INTERVAL : LOG_INTERVAL))
		return;
	lane->told_at = now;
	if (progress->json)
		json_output_print(bytes_json(json_event(progress, "progress", job_id, service), restic));
	else
		print_line(progress, TONE_FAINT, service, lane->bytes);
}

void
progress_words(struct progress *progress, int64_t job_id, const char *service, const char *source, const char *line)
{
	if (progress->json) {
		json_t *document = json_event(progress, "words", job_id, service);
		json_object_set_new(document, "source", json_output_text(source));
		json_object_set_new(document, "text", json_output_text(line));
		json_output_print(document);
		return;
	}
	if (!progress->verbose)
		return;
	cleanup_free char *printable = text_printable(line);
	cleanup_free char *words = xasprintf("%-10s  %s", source, printable);
	print_line(progress, TONE_FAINT, service, words);
	draw_line(progress, true);
}

/* ---- from the runner ---- */

void
progress_event(struct progress *progress, const struct control_event *event)
{
	switch (event->kind) {
	case CONTROL_EVENT_TRANSITION:
		progress_transition(
		    progress, event->job_id, event->service, event->from, event->to, event->word, event->message);
		return;
	case CONTROL_EVENT_STEP:
		progress_step(progress, event->job_id, event->service, event->word);
		return;
	case CONTROL_EVENT_PROGRESS:
		progress_restic(progress, event->job_id, event->service, &event->progress);
		return;
	case CONTROL_EVENT_WORDS:
		progress_words(progress, event->job_id, event->service, event->word, event->message);
		return;
	case CONTROL_EVENT_NOTICE:
		progress_say(progress, "%s", event->message);
		return;
	case CONTROL_EVENT_END:
	case CONTROL_EVENT_LOST:
		return;
	}
}

void
progress_live(struct progress *progress, const struct live_job *job)
{
	if (job->state == JOB_PENDING || job->state == JOB_DELAYING) {
		if (job->due_at > clock_wall(progress->clock))
			progress_due(progress, job->id, job->service, job->due_at);
		else if (job->waiting != NULL && !progress->json)
			print_line(progress, TONE_FAINT, job->service, job->waiting);
		return;
	}
	/* The transition into this state may have been shown already, from the journal. */
	if (!progress->json && find_lane(progress, job->id) == NULL) {
		cleanup_free char *words =
		    xasprintf("%-10s  %s", job_state_word(job->state), job_state_text(job->state));
		print_line(progress, TONE_PLAIN, job->service, words);
	}
	struct lane *lane = lane_of(progress, job->id, job->service);
	replace_string(&lane->word, job->step != NULL ? job->step : job_state_text(job->state));
	if (job->has_progress)
		progress_restic(progress, job->id, job->service, &job->progress);
	draw_line(progress, true);
}

void
progress_ask(struct progress *progress, const char *question)
{
	replace_string(&progress->question, question);
	if (progress->live)
		draw_line(progress, true);
	else if (question != NULL)
		fprintf(stderr, "%s\n", question);
}
