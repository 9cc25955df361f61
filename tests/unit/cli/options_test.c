/* The command line: what is understood, what is refused, and with which words. */
#include "cli/options.h"

#include "core/alloc.h"

#include <limits.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

static enum exit_code
do_nothing(const struct invocation *invocation)
{
	(void)invocation;
	return CODE_COMPLETE;
}

static const struct command many = {
    .name = "gather",
    .operands = "SERVICE...",
    .summary = "takes many",
    .help = "The long story.",
    .options = OPTION_ALL | OPTION_LIMIT,
    .most_operands = SIZE_MAX,
    .run = do_nothing,
};
static const struct command one = {
    .name = "single",
    .operands = "JOB",
    .summary = "takes one",
    .least_operands = 1,
    .most_operands = 1,
    .run = do_nothing,
};
static const struct command servant = {
    .name = "servant",
    .operands = "",
    .summary = "serves the others",
    .options = OPTION_READY | OPTION_GUARDED | OPTION_ADOPT,
    .hidden = true,
    .run = do_nothing,
};
static const struct command *const commands[] = {&many, &one, &servant, NULL};

/* A command line of words that contain blanks and worse. */
#define LINE(...) ((char *const[]){word("atelier-backup"), __VA_ARGS__, NULL})

static int
parse(char *const *line, struct options *options, struct error *error)
{
	return options_parse(commands, (int)strings_count(line), line, options, error);
}

static char *
word(const char *text)
{
	static char buffers[16][64];
	static size_t next;
	char *buffer = buffers[next++ % ARRAY_LENGTH(buffers)];
	assert_true(strlen(text) < sizeof(buffers[0]));
	return strcpy(buffer, text);
}

/* The words are separated by blanks. */
static int
parse_words(const char *words, struct options *options, struct error *error)
{
	cleanup_strings char **line = NULL;
	cleanup_free char *copy = xstrdup(words);
	char *rest = NULL;
	strings_add(&line, "atelier-backup");
	for (char *at = strtok_r(copy, " ", &rest); at != NULL; at = strtok_r(NULL, " ", &rest))
		strings_add(&line, at);
	return parse(line, options, error);
}

static void
expect_refusal(const char *words, const char *message)
{
	cleanup_options struct options options = {.action = OPTIONS_NOTHING};
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(parse_words(words, &options, &error), -1);
	assert_int_equal(error.code, ERROR_USAGE);
	if (strstr(error.message, message) == NULL)
		fail_msg("'%s' is answered with '%s', not with '%s'", words, error.message, message);
	assert_null(options.command);
	assert_null(options.manifest_path);
}

static void
expect_action(const char *words, enum options_action action, const struct command *command)
{
	cleanup_options struct options options = {.action = OPTIONS_NOTHING};
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (parse_words(words, &options, &error) < 0)
		fail_msg("'%s' is refused: %s", words, error.message);
	assert_int_equal(options.action, action);
	assert_ptr_equal(options.command, command);
}

static int
clear_environment(void **state)
{
	(void)state;
	unsetenv("ATELIER_BACKUP_MANIFEST");
	unsetenv("ATELIER_BACKUP_STATE_DIR");
	unsetenv("ATELIER_BACKUP_RUNTIME_DIR");
	unsetenv("ATELIER_BACKUP_RESTIC");
	unsetenv("POSIXLY_CORRECT");
	return 0;
}

static void
what_is_not_given_has_its_default(void **state)
{
	(void)state;
	cleanup_options struct options options = {.action = OPTIONS_NOTHING};
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(parse_words("gather", &options, &error), 0);
	assert_int_equal(options.action, OPTIONS_RUN);
	assert_ptr_equal(options.command, &many);
	assert_string_equal(options.invocation.manifest_path, "/etc/atelier/backup-manifest.json");
	assert_string_equal(options.invocation.state_directory, "/var/lib/atelier-backup");
	assert_string_equal(options.invocation.runtime_directory, "/run/atelier-backup");
	assert_null(options.invocation.restic_program);
	assert_false(options.invocation.json);
	assert_false(options.invocation.all);
	assert_int_equal(options.invocation.limit, 0);
	assert_int_equal(options.invocation.operand_count, 0);
	assert_null(options.invocation.operands[0]);
}

/* Two houses on one machine never meet at one socket by mistake. */
static void
the_runtime_directory_follows_the_state_directory(void **state)
{
	(void)state;
	static const struct {
		const char *line, *expected;
	} cases[] = {
	    {"gather", "/run/atelier-backup"},
	    {"gather --state-dir /var/lib/atelier-backup", "/run/atelier-backup"},
	    {"gather --state-dir /s", "/s"},
	    {"gather --state-dir /s --runtime-dir /run/atelier-backup", "/run/atelier-backup"},
	    {"gather --runtime-dir /r", "/r"},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		cleanup_options struct options options = {.action = OPTIONS_NOTHING};
		cleanup_error struct error error = {.code = ERROR_NONE};
		assert_int_equal(parse_words(cases[i].line, &options, &error), 0);
		assert_string_equal(options.invocation.runtime_directory, cases[i].expected);
	}
}

static void
options_of_the_program_itself_are_numbers(void **state)
{
	(void)state;
	cleanup_options struct options options = {.action = OPTIONS_NOTHING};
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(
	    parse_words("servant --ready-fd 3 --guardian=12 --adopt 13 --start-ticks 0", &options, &error), 0);
	assert_int_equal(options.invocation.ready_descriptor, 3);
	assert_int_equal(options.invocation.guardian, 12);
	assert_int_equal(options.invocation.adopt, 13);
	assert_int_equal(options.invocation.start_ticks, 0);
	expect_refusal("servant --ready-fd 2", "--ready-fd wants a number from 3");
	expect_refusal("servant --guardian 0", "--guardian wants a number");
	expect_refusal("servant --adopt -1", "--adopt wants a number");
	expect_refusal("servant --start-ticks x", "--start-ticks wants a number");
	expect_refusal("gather --guardian 12", "'gather' has no option --guardian");
	expect_refusal("gather --detach", "'gather' has no option --detach");
}

static char *
help_text(const struct command *command)
{
	char *text = NULL;
	size_t length;
	FILE *file = open_memstream(&text, &length);
	assert_non_null(file);
	if (command != NULL)
		options_print_command_help(command, file);
	else
		options_print_help(commands, file);
	fclose(file);
	return text;
}

static void
a_hidden_command_is_not_listed_and_not_suggested(void **state)
{
	(void)state;
	cleanup_free char *help = help_text(NULL);
	cleanup_free char *own = help_text(&servant);
	cleanup_options struct options options = {.action = OPTIONS_NOTHING};
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_null(strstr(help, "servant"));
	assert_null(strstr(help, "--ready-fd"));
	assert_non_null(strstr(own, "--ready-fd"));
	assert_int_equal(parse_words("servatn", &options, &error), -1);
	assert_null(strstr(error.hint, "servant"));
	/* It can be called, and has a help of its own. */
	expect_action("servant", OPTIONS_RUN, &servant);
	expect_action("servant --help", OPTIONS_COMMAND_HELP, &servant);
}

static void
options_stand_before_and_after_the_command(void **state)
{
	(void)state;
	static const char *const lines[] = {
	    "--json --state-dir /s gather --all --limit 7 web forum",
	    "gather web --json --all forum --state-dir=/s --limit=7",
	    "--state-dir /s --all --limit 7 gather --json web -- forum",
	};
	for (size_t i = 0; i < 2 * ARRAY_LENGTH(lines); i++) {
		cleanup_options struct options options = {.action = OPTIONS_NOTHING};
		cleanup_error struct error error = {.code = ERROR_NONE};
		/* This one makes getopt stop at the first word that is no option. */
		if (i == ARRAY_LENGTH(lines))
			setenv("POSIXLY_CORRECT", "1", 1);
		assert_int_equal(parse_words(lines[i % ARRAY_LENGTH(lines)], &options, &error), 0);
		assert_true(options.invocation.json);
		assert_true(options.invocation.all);
		assert_int_equal(options.invocation.limit, 7);
		assert_string_equal(options.invocation.state_directory, "/s");
		assert_int_equal(options.invocation.operand_count, 2);
		assert_string_equal(options.invocation.operands[0], "web");
		assert_string_equal(options.invocation.operands[1], "forum");
	}
}

static void
after_two_dashes_only_operands_follow(void **state)
{
	(void)state;
	cleanup_options struct options options = {.action = OPTIONS_NOTHING};
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(parse_words("gather -- --all", &options, &error), 0);
	assert_false(options.invocation.all);
	assert_string_equal(options.invocation.operands[0], "--all");
}

static void
variables_mean_the_same_and_options_win(void **state)
{
	(void)state;
	cleanup_options struct options options = {.action = OPTIONS_NOTHING};
	cleanup_error struct error error = {.code = ERROR_NONE};
	setenv("ATELIER_BACKUP_MANIFEST", "/m", 1);
	setenv("ATELIER_BACKUP_STATE_DIR", "/s", 1);
	setenv("ATELIER_BACKUP_RUNTIME_DIR", "", 1);
	setenv("ATELIER_BACKUP_RESTIC", "restic-019", 1);
	assert_int_equal(parse_words("gather --state-dir /other", &options, &error), 0);
	assert_string_equal(options.invocation.manifest_path, "/m");
	assert_string_equal(options.invocation.state_directory, "/other");
	assert_string_equal(options.invocation.runtime_directory, "/other");
	assert_string_equal(options.invocation.restic_program, "restic-019");

	cleanup_strings char **list = options_from_environment();
	assert_int_equal(strings_count(list), 3);
	assert_string_equal(list[0], "--manifest=/m");
	assert_string_equal(list[1], "--state-dir=/s");
	assert_string_equal(list[2], "--restic=restic-019");
}

static void
paths_become_absolute(void **state)
{
	(void)state;
	cleanup_options struct options options = {.action = OPTIONS_NOTHING};
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *here = getcwd(NULL, 0);
	cleanup_free char *manifest = xasprintf("%s/m.json", here);
	cleanup_free char *restic = xasprintf("%s/bin/restic", here);
	assert_int_equal(parse_words("gather --manifest m.json --restic bin/restic", &options, &error), 0);
	assert_string_equal(options.invocation.manifest_path, manifest);
	assert_string_equal(options.invocation.restic_program, restic);
}

static void
wrong_lines_are_refused(void **state)
{
	(void)state;
	expect_refusal("gathr", "no command 'gathr'");
	expect_refusal("help gathr", "no command 'gathr'");
	expect_refusal("single", "'single' wants JOB");
	expect_refusal("single 1 2", "does not know what to do with '2'");
	expect_refusal("single 1 --all", "'single' has no option --all");
	expect_refusal("--limit 3 single 1", "'single' has no option --limit");
	expect_refusal("gather --bogus", "no option like --bogus");
	expect_refusal("gather -x", "no option -x");
	expect_refusal("gather --json=yes", "no option like --json=yes");
	expect_refusal("gather --limit", "--limit wants a value");
	expect_refusal("gather --state-dir=", "--state-dir is given without a value");
	expect_refusal("gather --limit 0", "--limit wants a number");
	expect_refusal("gather --limit -3", "--limit wants a number");
	expect_refusal("gather --limit 3x", "--limit wants a number");
	expect_refusal("gather --limit 99999999999999999999", "--limit wants a number");
}

static void
a_command_that_was_nearly_typed_is_suggested(void **state)
{
	(void)state;
	cleanup_options struct options options = {.action = OPTIONS_NOTHING};
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(parse_words("gahter", &options, &error), -1);
	assert_non_null(strstr(error.hint, "did you mean 'gather'?"));
}

static void
control_characters_are_refused(void **state)
{
	(void)state;
	cleanup_options struct options options = {.action = OPTIONS_NOTHING};
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(parse(LINE(word("gather"), word("a\033[31mb")), &options, &error), -1);
	assert_int_equal(error.code, ERROR_USAGE);
	assert_null(strchr(error.message, '\033'));
	assert_int_equal(parse(LINE(word("gather"), word("")), &options, &error), -1);
	assert_int_equal(parse(LINE(word("gather"), word("--manifest"), word("/a\nb")), &options, &error), -1);
	assert_int_equal(parse(LINE(word("gather"), word("--ver\033bogus")), &options, &error), -1);
	assert_null(strchr(error.message, '\033'));
}

static void
help_and_version_need_nothing_else(void **state)
{
	(void)state;
	expect_action("", OPTIONS_NOTHING, NULL);
	expect_action("--json", OPTIONS_NOTHING, NULL);
	expect_action("--help", OPTIONS_HELP, NULL);
	expect_action("-h", OPTIONS_HELP, NULL);
	expect_action("help", OPTIONS_HELP, NULL);
	expect_action("single --help", OPTIONS_COMMAND_HELP, &one);
	expect_action("--help single", OPTIONS_COMMAND_HELP, &one);
	expect_action("help single", OPTIONS_COMMAND_HELP, &one);
	expect_action("--version", OPTIONS_VERSION, NULL);
	expect_action("--version single", OPTIONS_VERSION, NULL);
}

/* What a printing function prints. The caller owns it. */
static char *
printed_help(const struct command *command)
{
	char *text = NULL;
	size_t length;
	FILE *file = open_memstream(&text, &length);
	assert_non_null(file);
	if (command != NULL)
		options_print_command_help(command, file);
	else
		options_print_help(commands, file);
	fclose(file);
	return text;
}

static void
help_comes_from_the_tables(void **state)
{
	(void)state;
	cleanup_free char *all = printed_help(NULL);
	cleanup_free char *gather = printed_help(&many);
	assert_non_null(strstr(all, "  gather SERVICE...        takes many\n"));
	assert_non_null(strstr(all, "  single JOB               takes one\n"));
	assert_non_null(strstr(all, "ATELIER_BACKUP_STATE_DIR"));
	assert_non_null(strstr(all, "  3  done, but something is missing from it\n"));
	assert_null(strstr(all, "--limit"));
	assert_non_null(strstr(gather, "Usage: atelier-backup gather [OPTION...] SERVICE...\n"));
	assert_non_null(strstr(gather, "The long story."));
	assert_non_null(strstr(gather, "--limit=N"));
	assert_null(strstr(gather, "--offline"));
}

static void
json_is_seen_in_a_wrong_line_too(void **state)
{
	(void)state;
	assert_true(options_ask_for_json(3, LINE(word("--bogus"), word("--json"))));
	assert_false(options_ask_for_json(3, LINE(word("--"), word("--json"))));
	assert_false(options_ask_for_json(2, LINE(word("--bogus"))));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(what_is_not_given_has_its_default, clear_environment),
	    cmocka_unit_test_setup(the_runtime_directory_follows_the_state_directory, clear_environment),
	    cmocka_unit_test_setup(options_of_the_program_itself_are_numbers, clear_environment),
	    cmocka_unit_test_setup(a_hidden_command_is_not_listed_and_not_suggested, clear_environment),
	    cmocka_unit_test_setup(options_stand_before_and_after_the_command, clear_environment),
	    cmocka_unit_test_setup(after_two_dashes_only_operands_follow, clear_environment),
	    cmocka_unit_test_setup(variables_mean_the_same_and_options_win, clear_environment),
	    cmocka_unit_test_setup(paths_become_absolute, clear_environment),
	    cmocka_unit_test_setup(wrong_lines_are_refused, clear_environment),
	    cmocka_unit_test_setup(a_command_that_was_nearly_typed_is_suggested, clear_environment),
	    cmocka_unit_test_setup(control_characters_are_refused, clear_environment),
	    cmocka_unit_test_setup(help_and_version_need_nothing_else, clear_environment),
	    cmocka_unit_test_setup(help_comes_from_the_tables, clear_environment),
	    cmocka_unit_test_setup(json_is_seen_in_a_wrong_line_too, clear_environment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
