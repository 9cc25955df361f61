/* atelier-backup: the table of commands, and the way to one of them. */
#include "adapters/sqlite.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/options.h"
#include "cli/sudo.h"
#include "cli/terminal.h"
#include "core/fault.h"
#include "core/log.h"

#include <stdlib.h>
#include <string.h>

static const struct command *const commands[] = {
    &command_backup,
    &command_run,
    &command_follow,
    &command_cancel,
    &command_retry,
    &command_status,
    &command_check,
    &command_list,
    &command_jobs,
    &command_show,
    &command_retention,
    &command_recover,
    &command_init,
    &command_runner,
    &command_guardian,
    NULL,
};

static enum exit_code
run_command(const struct options *options, int argc, char *const *argv)
{
	const struct invocation *invocation = &options->invocation;
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (sudo_if_needed(options->command, argc, argv, &error) < 0)
		return cli_fail(invocation, &error, CODE_USAGE);
	if (invocation->verbose)
		log_open(LOG_LEVEL_DEBUG, LOG_LEVEL_DEBUG);
	else
		log_open(LOG_LEVEL_NOTICE, LOG_LEVEL_INFO);
	if (!options->command->hidden)
		fault_arm("command");
	return options->command->run(invocation);
}

static enum exit_code
act(int argc, char *const *argv)
{
	cleanup_options struct options options = {.action = OPTIONS_NOTHING};
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (options_parse(commands, argc, argv, &options, &error) < 0) {
		const struct invocation invocation = {.json = options_ask_for_json(argc, argv)};
		return cli_fail(&invocation, &error, CODE_USAGE);
	}
	switch (options.action) {
	case OPTIONS_RUN:
		return run_command(&options, argc, argv);
	case OPTIONS_HELP:
		options_print_help(commands, stdout);
		return CODE_COMPLETE;
	case OPTIONS_COMMAND_HELP:
		options_print_command_help(options.command, stdout);
		return CODE_COMPLETE;
	case OPTIONS_VERSION:
		puts("atelier-backup " ATELIER_VERSION);
		return CODE_COMPLETE;
	case OPTIONS_NOTHING:
		break;
	}
	options_print_help(commands, stderr);
	return CODE_USAGE;
}

int
main(int argc, char **argv)
{
	/* This program as its own child: no option and no locale of ours concerns it. */
	if (argc > 1 && strcmp(argv[1], "sqlite-helper") == 0)
		return sqlite_helper_main(argc - 1, argv + 1);
	terminal_choose_locale();
	json_output_start();
	enum exit_code code = act(argc, argv);
	/* An answer that nobody could read was not given. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fputs("atelier-backup: the answer could not be written\n", stderr);
		if (code == CODE_COMPLETE)
			code = CODE_FAILED;
	}
	return (int)code;
}
