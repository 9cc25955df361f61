/* `status --watch` on a terminal: what it draws, and that the terminal is as it was afterwards. */
#include "tests/integration/cli/held_world.h"

#include <sys/ioctl.h>
#include <termios.h>

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static void
expect_restored(struct terminal *terminal, const struct termios *before, int code)
{
	struct termios after;
	int keeper = dup(terminal->descriptor);
	assert_int_equal(terminal_end_of(terminal), code);
	assert_int_equal(tcgetattr(keeper, &after), 0);
	close(keeper);
	assert_int_equal(after.c_lflag, before->c_lflag);
	assert_true(text_ends_with(terminal->seen.string, LEAVE));
	text_clear(&terminal->seen);
}

static void
watch_begin(struct terminal *terminal, struct termios *before)
{
	terminal_begin(terminal, "status --watch");
	assert_int_equal(tcgetattr(terminal->descriptor, before), 0);
	until_true(terminal_has(terminal, ENTER) && terminal_has(terminal, "q or Ctrl-C ends this"));
}

static void
every_way_out_gives_the_terminal_back(void **state)
{
	(void)state;
	static const char *const keys[] = {"q", "\003"};
	struct terminal terminal;
	struct termios before;
	for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
		watch_begin(&terminal, &before);
		assert_true(terminal_has(&terminal, "never"));
		terminal_type(&terminal, keys[i]);
		expect_restored(&terminal, &before, 0);
	}
	watch_begin(&terminal, &before);
	kill(terminal.child, SIGTERM);
	expect_restored(&terminal, &before, 0);
}

static void
jobs_are_shown_live(void **state)
{
	struct world *world = *state;
	struct terminal terminal;
	struct termios before;
	watch_begin(&terminal, &before);
	pid_t command = held_begin_backup(world, "backup web");
	/* The line of the job above the table of services. */
	until_true(terminal_has(&terminal, "web              snapshot"));
	expect_run(world, "run --detach", 0);
	until_true(terminal_has(&terminal, "wiki             delaying"));
	held_release(world);
	text_clear(&terminal.seen);
	until_true(terminal_has(&terminal, "complete"));
	terminal_type(&terminal, "q");
	expect_restored(&terminal, &before, 0);
	world_end(world, command);
}

/* Nothing has changed, so nothing is written: no flicker, and no work for a slow line. */
static void
nothing_new_draws_nothing(void **state)
{
	(void)state;
	struct terminal terminal;
	struct termios before;
	watch_begin(&terminal, &before);
	int64_t until = clock_monotonic(clock_system()) + USEC_PER_SEC;
	text_clear(&terminal.seen);
	while (clock_monotonic(clock_system()) < until)
		assert_false(terminal_has(&terminal, "q or Ctrl-C"));
	/* Another size draws at once, and a key that means nothing does not end it. */
	struct winsize small = {.ws_row = 3, .ws_col = 20};
	assert_int_equal(ioctl(terminal.descriptor, TIOCSWINSZ, &small), 0);
	until_true(terminal_has(&terminal, "q or Ctrl-C ends thi\033[K"));
	terminal_type(&terminal, "x");
	text_clear(&terminal.seen);
	assert_int_equal(ioctl(terminal.descriptor, TIOCSWINSZ, &(struct winsize){.ws_row = 5, .ws_col = 30}), 0);
	until_true(terminal_has(&terminal, "q or Ctrl-C ends this; the job"));
	terminal_type(&terminal, "Q");
	expect_restored(&terminal, &before, 0);
}

static void
it_starts_no_runner(void **state)
{
	struct world *world = *state;
	struct terminal terminal;
	struct termios before;
	watch_begin(&terminal, &before);
	terminal_type(&terminal, "q");
	expect_restored(&terminal, &before, 0);
	assert_false(world_has(world, "state"));
	expect_run(world, "backup wiki", 0);
	watch_begin(&terminal, &before);
	/* Nor does it keep one. */
	until_true(world_runner(world) == 0);
	terminal_type(&terminal, "q");
	expect_restored(&terminal, &before, 0);
}

static void
without_a_terminal_it_names_the_alternatives(void **state)
{
	struct world *world = *state;
	expect_run(world, "status --watch", 2);
	expect_words(world->err, "status --json");
	expect_words(world->err, "follow");
	assert_string_equal(world->out, "");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    held_test(every_way_out_gives_the_terminal_back),
	    held_test(jobs_are_shown_live),
	    held_test(nothing_new_draws_nothing),
	    held_test(it_starts_no_runner),
	    held_test(without_a_terminal_it_names_the_alternatives),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
