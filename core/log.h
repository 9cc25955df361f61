/* Logging: to the systemd journal with structured fields where stderr is connected to it, else to stderr in plain
 * lines. One line per decision; an error is logged once, where it is decided what happens next. */
#ifndef ATELIER_CORE_LOG_H
#define ATELIER_CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* The syslog priorities the program uses, in their own numbers. */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

/* What a line is about; each becomes a field of the journal entry (ATELIER_JOB=, ATELIER_SERVICE=, ATELIER_STATE=,
 * ATELIER_ERROR=). NULL and 0 are left out. */
struct log_subject {
	int64_t job;
	const char *service;
	const char *state;
	const char *error_code;
};

/* Chooses the sink: the journal if $JOURNAL_STREAM names the device and inode of stderr, else stderr. Lines above
 * `maximum` are dropped, in the journal lines above `journal_maximum`. Without this call, lines go to stderr up to
 * LOG_LEVEL_NOTICE. */
void log_open(enum log_level maximum, enum log_level journal_maximum);

/* Lines on stderr begin with the time from now on: for a file that nobody else puts times into. */
void log_with_time(void);

/* Do lines go to the journal? */
bool log_is_journal(void);

void log_line(enum log_level level, const struct log_subject *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(...)   log_line(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, NULL, __VA_ARGS__)
#define log_notice(...)  log_line(LOG_LEVEL_NOTICE, NULL, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)

#endif
