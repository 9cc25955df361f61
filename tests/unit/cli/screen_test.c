/* Lines that fit, whatever is in them. */
#include "cli/screen.h"

#include "cli/terminal.h"
#include "cli/watch.h"
#include "core/alloc.h"
#include "core/clock.h"

#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static void
expect_cut(const char *line, size_t columns, const char *expected)
{
	cleanup_free char *cut = screen_cut(line, strlen(line), columns);
	assert_string_equal(cut, expected);
}

static void
a_line_is_cut_to_its_columns(void **state)
{
	(void)state;
	expect_cut("", 5, "");
	expect_cut("web", 5, "web");
	expect_cut("vaultwarden", 5, "vault");
	expect_cut("vaultwarden", 0, "");
	/* Umlauts take one column, these two take two each, and none is cut in half. */
	expect_cut("\303\244\303\266\303\274", 2, "\303\244\303\266");
	expect_cut("\346\227\245\346\234\254", 3, "\346\227\245");
	/* What is no UTF-8 is one column a byte. */
	expect_cut("\377\377\377", 2, "\377\377");
}

static void
colours_take_no_columns_and_end_with_the_line(void **state)
{
	(void)state;
	expect_cut("\033[32mgood\033[0m", 4, "\033[32mgood\033[0m");
	expect_cut("\033[32mgood\033[0m", 2, "\033[32mgo\033[0m");
	expect_cut("ab\033[32mgood", 1, "a");
	/* A sequence that has no end is text. */
	expect_cut("\033[", 9, "\033[");
}

static struct live_job
job_in(enum job_state state)
{
	static char service[] = "web";
	return (struct live_job){.id = 1, .service = service, .state = state};
}

static void
expect_line(const struct live_job *job, uint64_t speed, const char *expected)
{
	cleanup_free char *line = watch_job_line(job, speed, 0);
	if (strstr(line, expected) == NULL)
		fail_msg("no '%s' in '%s'", expected, line);
}

static void
a_job_at_work_is_told_with_bytes_speed_and_the_rest(void **state)
{
	(void)state;
	struct live_job job = job_in(JOB_SNAPSHOT);
	expect_line(&job, 0, "restic is at work");
	job.step = xstrdup("looking for an earlier snapshot");
	expect_line(&job, 0, "web              snapshot    looking for an earlier snapshot");
	job.has_progress = true;
	job.progress = (struct restic_progress){
	    .fraction = 0.5, .bytes_done = 1024, .bytes_total = 2048, .seconds_left = 62, .errors = 3};
	expect_line(&job, 0, "[##########----------]  50 %  1.0 KiB of 2.0 KiB, 1 min 2 s left, 3 not readable");
	expect_line(&job, 512, "1.0 KiB of 2.0 KiB, 512 B/s, 1 min 2 s left");
	job.progress.fraction = -1;
	job.progress.seconds_left = -1;
	expect_line(&job, 0, "snapshot    1.0 KiB of 2.0 KiB, 3 not readable");
	job.progress.fraction = 1;
	expect_line(&job, 0, "[####################] 100 %");
	free(job.step);
}

static void
a_job_that_waits_says_why(void **state)
{
	(void)state;
	struct live_job job = job_in(JOB_DELAYING);
	expect_line(&job, 0, "web              delaying    waits until it is due");
	job.waiting = xstrdup("the repository is locked by\033[2J another host");
	job.due_at = USEC_PER_DAY;
	expect_line(&job, 0, "locked by?[2J another host, due at 1970-01-02 00:00:00");
	free(job.waiting);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_line_is_cut_to_its_columns),
	    cmocka_unit_test(colours_take_no_columns_and_end_with_the_line),
	    cmocka_unit_test(a_job_at_work_is_told_with_bytes_speed_and_the_rest),
	    cmocka_unit_test(a_job_that_waits_says_why),
	};
	setenv("TZ", "UTC", 1);
	terminal_choose_locale();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
