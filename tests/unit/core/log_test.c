#include "core/log.h"

#include "core/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* stderr leads into a pipe for the time of one test. */
struct fixture {
	int before;
	int reading;
	char read[4096];
};

static int
set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	fixture->before = dup(STDERR_FILENO);
	fixture->reading = ends[0];
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	unsetenv("JOURNAL_STREAM");
	*state = fixture;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *fixture = *state;
	dup2(fixture->before, STDERR_FILENO);
	close(fixture->before);
	close(fixture->reading);
	free(fixture);
	return 0;
}

static const char *
what_was_logged(struct fixture *fixture)
{
	ssize_t count = read(fixture->reading, fixture->read, sizeof(fixture->read) - 1);
	fixture->read[count < 0 ? 0 : count] = '\0';
	return fixture->read;
}

static void
without_opening_notices_are_the_limit(void **state)
{
	struct fixture *fixture = *state;
	log_info("dropped");
	log_notice("kept");
	assert_string_equal(what_was_logged(fixture), "atelier-backup: kept\n");
}

static void
the_level_is_a_word(void **state)
{
	struct fixture *fixture = *state;
	log_open(LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG);
	log_error("a %d", 1);
	log_warning("b");
	log_debug("c");
	assert_string_equal(
	    what_was_logged(fixture), "atelier-backup: error: a 1\natelier-backup: warning: b\natelier-backup: c\n");
}

static void
the_subject_is_part_of_the_line(void **state)
{
	struct fixture *fixture = *state;
	log_open(LOG_LEVEL_INFO, LOG_LEVEL_INFO);
	log_line(LOG_LEVEL_INFO,
	    &(struct log_subject){.job = 12, .service = "web", .state = "snapshot", .error_code = "restic-failed"},
	    "x");
	log_line(LOG_LEVEL_INFO, &(struct log_subject){.service = "web"}, "y");
	log_line(LOG_LEVEL_INFO, &(struct log_subject){.job = 12}, "z");
	assert_string_equal(what_was_logged(fixture), "atelier-backup: web (job 12, snapshot): x [restic-failed]\n"
						      "atelier-backup: web: y\n"
						      "atelier-backup: (job 12): z\n");
}

static void
one_call_is_one_printable_line(void **state)
{
	struct fixture *fixture = *state;
	log_open(LOG_LEVEL_INFO, LOG_LEVEL_INFO);
	log_line(LOG_LEVEL_NOTICE, &(struct log_subject){.service = "w\x1b"}, "forged\nerror: %s", "\x1b[2J");
	assert_string_equal(what_was_logged(fixture), "atelier-backup: w?: forged?error: ?[2J\n");
}

static void
an_inherited_journal_stream_of_somebody_else_does_not_count(void **state)
{
	struct fixture *fixture = *state;
	setenv("JOURNAL_STREAM", "1:2", 1);
	log_open(LOG_LEVEL_INFO, LOG_LEVEL_INFO);
	log_info("here");
	assert_string_equal(what_was_logged(fixture), "atelier-backup: here\n");
}

static void
logging_keeps_errno(void **state)
{
	struct fixture *fixture = *state;
	log_open(LOG_LEVEL_INFO, LOG_LEVEL_INFO);
	errno = ENOTDIR;
	log_info("%s", strerror(errno));
	assert_int_equal(errno, ENOTDIR);
	assert_string_equal(what_was_logged(fixture), "atelier-backup: Not a directory\n");
}

#define test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    test(without_opening_notices_are_the_limit),
	    test(the_level_is_a_word),
	    test(the_subject_is_part_of_the_line),
	    test(one_call_is_one_printable_line),
	    test(an_inherited_journal_stream_of_somebody_else_does_not_count),
	    test(logging_keeps_errno),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
