/* What the tests of child processes share: a loop, one child, and a memory of what it said. */
#ifndef ATELIER_TESTS_UNIT_CORE_CHILD_FIXTURE_H
#define ATELIER_TESTS_UNIT_CORE_CHILD_FIXTURE_H

#include "core/child.h"
#include "core/clock.h"
#include "core/text.h"
#include "tests/unit/core/child_behaviour.h"
#include "tests/unit/core/temporary.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <sys/wait.h>

#include <cmocka.h>

#define DEADLINE (30 * USEC_PER_SEC)

/* One test: its loop, one child, and what that child said. */
struct fixture {
	struct event_base *base;
	struct child_spec spec;
	struct child *child;
	struct text output; /* lines with '|' after each, '~' after one that was cut */
	struct text errors;
	size_t longest;
	void (*on_first_line)(struct fixture *fixture);
	void (*in_on_exit)(struct fixture *fixture);
	int exits;
	int expected_exits;
	struct child_exit exit;
	struct child_identity spawned;
	int spawned_result;
	char *directory;
	size_t descriptors;
};

static inline void
remember_line(struct text *text, const char *line, size_t length, bool cut)
{
	text_add_bytes(text, line, length);
	text_add(text, cut ? "~" : "|");
}

static inline void
on_stdout(void *context, const char *line, size_t length, bool cut)
{
	struct fixture *fixture = context;
	bool first = fixture->output.length == 0;
	assert_int_equal(line[length], '\0');
	fixture->longest = length > fixture->longest ? length : fixture->longest;
	remember_line(&fixture->output, line, length, cut);
	if (first && fixture->on_first_line != NULL)
		fixture->on_first_line(fixture);
}

static inline void
on_stderr(void *context, const char *line, size_t length, bool cut)
{
	struct fixture *fixture = context;
	remember_line(&fixture->errors, line, length, cut);
}

static inline void
on_exit_of_child(void *context, const struct child_exit *exit)
{
	struct fixture *fixture = context;
	fixture->exit = *exit;
	fixture->exits++;
	if (fixture->in_on_exit != NULL)
		fixture->in_on_exit(fixture);
	fixture->child = NULL;
	if (fixture->exits == fixture->expected_exits)
		event_base_loopbreak(fixture->base);
}

static inline int
set_up(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->directory = temporary_directory_make();
	fixture->descriptors = count_open_descriptors();
	fixture->base = event_base_new();
	fixture->expected_exits = 1;
	fixture->spec = (struct child_spec){
	    .name = "test child",
	    .environment = no_environment,
	    .on_stdout = on_stdout,
	    .on_stderr = on_stderr,
	    .on_exit = on_exit_of_child,
	    .context = fixture,
	};
	*state = fixture;
	return 0;
}

/* Every test has to leave no descriptor and no child behind. */
static inline int
tear_down(void **state)
{
	struct fixture *fixture = *state;
	event_base_free(fixture->base);
	bool clean = count_open_descriptors() == fixture->descriptors;
	bool childless = waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
	text_clear(&fixture->output);
	text_clear(&fixture->errors);
	temporary_directory_remove(fixture->directory);
	free(fixture);
	return clean && childless ? 0 : -1;
}

static inline void
start(struct fixture *fixture, const char *behaviour, const char *argument)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture->spec.arguments = (const char *const[]){SELF, behaviour, argument, NULL};
	fixture->child = child_start(fixture->base, &fixture->spec, &error);
	fixture->spec.arguments = NULL; /* it was copied */
	if (fixture->child == NULL)
		fail_msg("%s", error.message);
}

static inline void
run_loop(struct fixture *fixture)
{
	struct timeval deadline = {.tv_sec = DEADLINE / USEC_PER_SEC};
	event_base_loopexit(fixture->base, &deadline);
	event_base_dispatch(fixture->base);
}

/* Runs the loop until the child has ended. */
static inline void
finish(struct fixture *fixture)
{
	run_loop(fixture);
	assert_int_equal(fixture->exits, fixture->expected_exits);
}

static inline void
break_loop(struct fixture *fixture)
{
	event_base_loopbreak(fixture->base);
}

/* Runs the loop until the first line has come. */
static inline void
start_and_wait_for_line(struct fixture *fixture, const char *behaviour, const char *argument)
{
	fixture->on_first_line = break_loop;
	start(fixture, behaviour, argument);
	run_loop(fixture);
	assert_true(fixture->output.length > 0);
}

static inline void
assert_exited_with(const struct fixture *fixture, int number)
{
	assert_false(fixture->exit.signalled);
	assert_int_equal(fixture->exit.number, number);
}

static inline void
assert_killed_by(const struct fixture *fixture, int signal)
{
	assert_true(fixture->exit.signalled);
	assert_int_equal(fixture->exit.number, signal);
}

static inline void
assert_gone(pid_t pid)
{
	struct child_identity identity;
	int64_t deadline = clock_monotonic(clock_system()) + DEADLINE;
	while (child_identity_read(pid, &identity) == 0) {
		assert_true(clock_monotonic(clock_system()) < deadline);
		poll(NULL, 0, 1);
	}
}

/* A program with such tests has to call behave() when it is called with two arguments. */
#define child_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

#endif
