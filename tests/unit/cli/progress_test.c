/* What is told of jobs, as lines where there is no terminal. */
#include "cli/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/alloc.h"

/* stdout as a file, and back again. */
struct capture {
	int before, file;
};

static struct capture
capture_begin(void)
{
	fflush(stdout);
	struct capture capture = {.before = dup(STDOUT_FILENO), .file = memfd_create("stdout", MFD_CLOEXEC)};
	assert_true(capture.before >= 0 && capture.file >= 0);
	assert_true(dup2(capture.file, STDOUT_FILENO) == STDOUT_FILENO);
	return capture;
}

static char *
capture_end(struct capture *capture)
{
	fflush(stdout);
	char *text = xcalloc(1, 4096);
	assert_true(pread(capture->file, text, 4095, 0) >= 0);
	assert_true(dup2(capture->before, STDOUT_FILENO) == STDOUT_FILENO);
	close(capture->before);
	close(capture->file);
	return text;
}

static size_t
occurrences(const char *text, const char *words)
{
	size_t count = 0;
	for (const char *at = text; (at = strstr(at, words)) != NULL; at++)
		count++;
	return count;
}

/* Whoever submits a job reads its first transitions from the journal, and then hears from the runner how it stands.
 */
static void
a_state_that_the_journal_told_is_not_told_again(void **state)
{
	(void)state;
	char service[] = "web", other[] = "mail";
	const struct live_job known = {.id = 1, .service = service, .state = JOB_CHECKPOINT, .attempt = 1};
	const struct live_job unknown = {.id = 2, .service = other, .state = JOB_CHECKPOINT, .attempt = 1};
	struct capture capture = capture_begin();
	struct progress *progress = progress_new(clock_system(), false, false);
	progress_transition(progress, 1, service, JOB_DELAYING, JOB_CHECKPOINT, "due", NULL);
	progress_live(progress, &known);
	progress_live(progress, &unknown);
	progress_free(progress);
	cleanup_free char *text = capture_end(&capture);
	assert_int_equal(occurrences(text, "web "), 1);
	assert_int_equal(occurrences(text, "mail "), 1);
	assert_int_equal(occurrences(text, job_state_text(JOB_CHECKPOINT)), 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_state_that_the_journal_told_is_not_told_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
