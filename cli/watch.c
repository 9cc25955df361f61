#include "cli/watch.h"

#include "cli/engage.h"
#include "cli/screen.h"
#include "cli/terminal.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"

/* Four frames a second at most; the journal is looked at less often, unless a job has moved. */
#define FRAME_INTERVAL   (USEC_PER_SEC / 4)
#define JOURNAL_INTERVAL (2 * USEC_PER_SEC)
#define BAR_WIDTH        20

/* A speed is what came in at least this time. */
#define SPEED_SPAN (2 * USEC_PER_SEC)

#define FOOTER "q or Ctrl-C ends this; the jobs go on"

/* How fast a job's bytes come. */
struct gauge {
	int64_t job_id;
	uint64_t bytes; /* at the last sample */
	int64_t at;     /* monotonic */
	uint64_t speed;
	bool seen; /* in this frame */
};

struct watching {
	const struct invocation *invocation;
	struct journal *journal; /* NULL: there is none yet, or it may not be read */
	struct control_client *client;
	struct live_job_list jobs;
	struct gauge *gauges;
	size_t gauge_count;
	watch_print_fn *print;
	void *context;
	char *status; /* what `print` printed last */
	int64_t printed_at;
	int64_t moved_at; /* the newest state_since among the jobs, and how many there are: a sign that one moved */
	size_t moved_count;
};

/* ---- a line about a job ---- */

static void
add_bar(struct text *line, double fraction)
{
	int done = (int)(fraction * BAR_WIDTH);
	text_add(line, "[");
	for (int i = 0; i < BAR_WIDTH; i++)
		text_add(line, i < done ? "#" : "-");
	text_add(line, "] ");
}

static void
add_progress(struct text *line, const struct restic_progress *restic, uint64_t speed)
{
	cleanup_free char *done = text_size(restic->bytes_done);
	cleanup_free char *total = text_size(restic->bytes_total);
	if (restic->fraction >= 0) {
		add_bar(line, restic->fraction);
		text_printf(line, "%3.0f %%  ", restic->fraction * 100);
	}
	text_printf(line, "%s of %s", done, total);
	if (speed > 0) {
		cleanup_free char *rate = text_size(speed);
		text_printf(line, ", %s/s", rate);
	}
	if (restic->seconds_left > 0) {
		cleanup_free char *left = text_duration(restic->seconds_left * USEC_PER_SEC);
		text_printf(line, ", %s left", left);
	}
	if (restic->errors > 0)
		text_printf(line, ", %llu not readable", (unsigned long long)restic->errors);
}

static void
add_waiting(struct text *line, const struct live_job *job, int64_t now)
{
	cleanup_free char *reason = text_printable(job->waiting != NULL ? job->waiting : job_state_text(job->state));
	text_add(line, reason);
	if (job->due_at <= now)
		return;
	cleanup_free char *time = text_time_local(job->due_at);
	text_printf(line, ", due at %s", time);
}

char *
watch_job_line(const struct live_job *job, uint64_t speed, int64_t now)
{
	struct text line = {0};
	cleanup_free char *service = text_printable(job->service);
	text_printf(&line, "%-16s %-10s  ", service, job_state_word(job->state));
	if (job->state == JOB_PENDING || job->state == JOB_DELAYING) {
		add_waiting(&line, job, now);
	} else if (job->has_progress) {
		add_progress(&line, &job->progress, speed);
	} else {
		cleanup_free char *step = text_printable(job->step != NULL ? job->step : job_state_text(job->state));
		text_add(&line, step);
	}
	return text_take(&line);
}

/* ---- speed ---- */

static struct gauge *
gauge_of(struct watching *watching, const struct live_job *job, int64_t now)
{
	for (size_t i = 0; i < watching->gauge_count; i++)
		if (watching->gauges[i].job_id == job->id)
			return &watching->gauges[i];
	watching->gauges = xreallocarray(watching->gauges, watching->gauge_count + 1, sizeof(*watching->gauges));
	struct gauge *gauge = &watching->gauges[watching->gauge_count++];
	*gauge = (struct gauge){.job_id = job->id, .bytes = job->progress.bytes_done, .at = now};
	return gauge;
}

static uint64_t
speed_of(struct watching *watching, const struct live_job *job)
{
	if (!job->has_progress)
		return 0;
	int64_t now = clock_monotonic(clock_system());
	struct gauge *gauge = gauge_of(watching, job, now);
	gauge->seen = true;
	uint64_t bytes = job->progress.bytes_done;
	if (bytes < gauge->bytes) /* another attempt */
		*gauge = (struct gauge){.job_id = job->id, .bytes = bytes, .at = now, .seen = true};
	if (now - gauge->at >= SPEED_SPAN) {
		double seconds = (double)(now - gauge->at) / (double)USEC_PER_SEC;
		gauge->speed = (uint64_t)((double)(bytes - gauge->bytes) / seconds);
		gauge->bytes = bytes;
		gauge->at = now;
	}
	return gauge->speed;
}

static void
drop_old_gauges(struct watching *watching)
{
	size_t kept = 0;
	for (size_t i = 0; i < watching->gauge_count; i++)
		if (watching->gauges[i].seen) {
			watching->gauges[kept] = watching->gauges[i];
			watching->gauges[kept++].seen = false;
		}
	watching->gauge_count = kept;
}

/* ---- what is shown ---- */

static void
see_job(void *context, const struct job_record *job)
{
	(void)job;
	*(bool *)context = true;
}

/* Being connected keeps a runner from ending, and where systemd listens, connecting starts one: only while there is
 * something to see. */
static bool
is_worth_connecting(struct watching *watching)
{
	if (watching->journal == NULL)
		return geteuid() != 0;
	bool unfinished = false, is_free = true;
	const struct job_filter filter = {.unfinished = true};
	return journal_jobs(watching->journal, &filter, see_job, &unfinished, NULL) == 0 && unfinished &&
	       journal_lock_runner(watching->journal, &is_free, NULL, NULL) == 0 && !is_free;
}

static void
disconnect(struct watching *watching)
{
	control_client_close(watching->client);
	watching->client = NULL;
	live_job_list_clear(&watching->jobs);
}

/* A runner that is gone is looked for with the next frame. */
static void
ask_runner(struct watching *watching)
{
	/* The first backup makes it. */
	if (watching->journal == NULL && geteuid() == 0 &&
	    journal_open_readonly(watching->invocation->state_directory, clock_system(), &watching->journal, NULL) <
		0)
		return;
	const char *journal = watching->journal != NULL ? journal_identity(watching->journal) : NULL;
	if (watching->client == NULL && is_worth_connecting(watching) &&
	    engage_running(watching->invocation, journal, &watching->client, NULL) < 0)
		watching->client = NULL;
	live_job_list_clear(&watching->jobs);
	if (watching->client == NULL)
		return;
	if (control_client_status(watching->client, NULL, &watching->jobs, NULL, NULL) < 0 ||
	    (watching->jobs.count == 0 && watching->journal != NULL))
		disconnect(watching);
}

static bool
has_moved(struct watching *watching)
{
	int64_t newest = 0;
	for (size_t i = 0; i < watching->jobs.count; i++)
		if (watching->jobs.items[i].state_since > newest)
			newest = watching->jobs.items[i].state_since;
	bool moved = newest != watching->moved_at || watching->jobs.count != watching->moved_count;
	watching->moved_at = newest;
	watching->moved_count = watching->jobs.count;
	return moved;
}

static int
read_status(struct watching *watching, struct error *error)
{
	int64_t now = clock_monotonic(clock_system());
	if (!has_moved(watching) && watching->status != NULL && now - watching->printed_at < JOURNAL_INTERVAL)
		return 0;
	char *words = NULL;
	size_t length;
	FILE *file = open_memstream(&words, &length);
	if (file == NULL)
		return error_set(error, ERROR_SYSTEM, "no memory stream can be made");
	int result = watching->print(watching->context, file, error);
	fclose(file);
	free(watching->status);
	watching->status = words;
	watching->printed_at = now;
	return result;
}

static void
draw(struct watching *watching, struct screen *screen)
{
	cleanup_text struct text text = {0};
	int64_t now = clock_wall(clock_system());
	for (size_t i = 0; i < watching->jobs.count; i++) {
		const struct live_job *job = &watching->jobs.items[i];
		cleanup_free char *line = watch_job_line(job, speed_of(watching, job), now);
		text_printf(&text, "%s\n", line);
	}
	drop_old_gauges(watching);
	text_printf(&text, "%s%s", watching->jobs.count > 0 ? "\n" : "", watching->status);
	screen_draw(screen, text.string, FOOTER);
}

static int
show(struct watching *watching, struct screen *screen, struct error *error)
{
	do {
		ask_runner(watching);
		if (read_status(watching, error) < 0)
			return -1;
		draw(watching, screen);
	} while (screen_wait(screen, FRAME_INTERVAL));
	return 0;
}

enum exit_code
watch(const struct invocation *invocation, watch_print_fn *print, void *context)
{
	cleanup_error struct error error = {0};
	struct watching watching = {.invocation = invocation, .print = print, .context = context};
	if (geteuid() == 0 && cli_open_journal_readonly(invocation, &watching.journal) < 0)
		return CODE_FAILED;
	struct screen *screen = screen_open(&error);
	if (screen == NULL) {
		journal_close(watching.journal);
		return cli_fail(invocation, &error, CODE_USAGE);
	}
	int result = show(&watching, screen, &error);
	screen_close(screen);
	disconnect(&watching);
	journal_close(watching.journal);
	free(watching.gauges);
	free(watching.status);
	return result < 0 ? cli_fail(invocation, &error, CODE_FAILED) : CODE_COMPLETE;
}
