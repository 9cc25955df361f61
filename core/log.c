#include "core/log.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define SD_JOURNAL_SUPPRESS_LOCATION /* the place would always be this file */
#include <systemd/sd-journal.h>

#define IDENTIFIER "atelier-backup"

static struct {
	enum log_level maximum;
	bool journal;
	bool timed;
} sink = {.maximum = LOG_LEVEL_NOTICE};

/* stderr is a stream to the journal if $JOURNAL_STREAM says so; the variable alone may be inherited and
 * stale. */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	struct stat status;
	if (stream == NULL || fstat(STDERR_FILENO, &status) < 0)
		return false;
	cleanup_free char *ours =
	    xasprintf("%llu:%llu", (unsigned long long)status.st_dev, (unsigned long long)status.st_ino);
	return strcmp(stream, ours) == 0;
}

void
log_open(enum log_level maximum, enum log_level journal_maximum)
{
	sink.journal = stderr_is_journal();
	sink.maximum = sink.journal ? journal_maximum : maximum;
}

void
log_with_time(void)
{
	sink.timed = true;
}

bool
log_is_journal(void)
{
	return sink.journal;
}

struct fields {
	struct iovec items[7];
	size_t count;
};

static void
add_field(struct fields *fields, const char *name, const char *value)
{
	if (value == NULL)
		return;
	char *field = xasprintf("%s=%s", name, value);
	fields->items[fields->count++] = (struct iovec){.iov_base = field, .iov_len = strlen(field)};
}

/* Returns false if the journal did not take it. */
static bool
send_to_journal(enum log_level level, const struct log_subject *subject, const char *message)
{
	struct fields fields = {.count = 0};
	cleanup_free char *priority = xasprintf("%d", (int)level);
	cleanup_free char *job = subject->job == 0 ? NULL : xasprintf("%lld", (long long)subject->job);

	add_field(&fields, "MESSAGE", message);
	add_field(&fields, "PRIORITY", priority);
	add_field(&fields, "SYSLOG_IDENTIFIER", IDENTIFIER);
	add_field(&fields, "ATELIER_JOB", job);
	add_field(&fields, "ATELIER_SERVICE", subject->service);
	add_field(&fields, "ATELIER_STATE", subject->state);
	add_field(&fields, "ATELIER_ERROR", subject->error_code);
	int result = sd_journal_sendv(fields.items, (int)fields.count);
	for (size_t i = 0; i < fields.count; i++)
		free(fields.items[i].iov_base);
	return result >= 0;
}

static const char *
level_prefix(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "error: ";
	case LOG_LEVEL_WARNING:
		return "warning: ";
	case LOG_LEVEL_NOTICE:
	case LOG_LEVEL_INFO:
	case LOG_LEVEL_DEBUG:
		break;
	}
	return "";
}

/* "atelier-backup: warning: web (job 12, snapshot): message [restic-failed]" */
static void
write_to_stderr(enum log_level level, const struct log_subject *subject, const char *message)
{
	cleanup_text struct text line = {.string = NULL};
	if (sink.timed) {
		cleanup_free char *time = text_time_local(clock_wall(clock_system()));
		text_printf(&line, "%s ", time);
	}
	text_printf(&line, IDENTIFIER ": %s", level_prefix(level));
	if (subject->service != NULL)
		text_printf(&line, "%s%s", subject->service, subject->job == 0 ? ": " : " ");
	if (subject->job != 0)
		text_printf(&line, "(job %lld%s%s): ", (long long)subject->job, subject->state == NULL ? "" : ", ",
		    subject->state == NULL ? "" : subject->state);
	text_add(&line, message);
	if (subject->error_code != NULL)
		text_printf(&line, " [%s]", subject->error_code);

	cleanup_free char *printable = text_printable_bytes(line.string, line.length);
	cleanup_free char *whole = xasprintf("%s\n", printable);
	/* One write, so that the lines of two processes on one terminal do not mix. Nobody is left to be told
	 * if it fails. */
	ssize_t ignored = write(STDERR_FILENO, whole, strlen(whole));
	(void)ignored;
}

void
log_line(enum log_level level, const struct log_subject *subject, const char *format, ...)
{
	static const struct log_subject nothing = {.job = 0};
	int saved = errno;

	if (level > sink.maximum)
		return;
	va_list arguments;
	va_start(arguments, format);
	cleanup_free char *raw = xvasprintf(format, arguments);
	va_end(arguments);
	cleanup_free char *message = text_printable(raw);
	if (subject == NULL)
		subject = &nothing;
	if (!sink.journal || !send_to_journal(level, subject, message))
		write_to_stderr(level, subject, message);
	errno = saved;
}
