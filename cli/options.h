/* The command line: options, environment variables of the same meaning, help out of the same tables. */
#ifndef ATELIER_CLI_OPTIONS_H
#define ATELIER_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "cli/command.h"

enum options_action {
	OPTIONS_RUN,          /* run `command` */
	OPTIONS_HELP,         /* help of the program */
	OPTIONS_COMMAND_HELP, /* help of `command` */
	OPTIONS_VERSION,
	OPTIONS_NOTHING, /* no command was given */
};

struct options {
	enum options_action action;
	const struct command *command;
	struct invocation invocation; /* its strings are owned by the members below */
	char *manifest_path, *state_directory, *runtime_directory, *restic_program;
	char **operands;
};

/* Reads the command line. `commands` is NULL-terminated. Options may stand before and after the command,
 * after "--" only operands follow; paths are made absolute. ERROR_USAGE for everything that is wrong. */
int options_parse(const struct command *const *commands, int argc, char *const *argv, struct options *ret_options,
    struct error *error);
void options_clear(struct options *options);

/* Is --json among the arguments, for those who have to report that the others are wrong? */
bool options_ask_for_json(int argc, char *const *argv);

/* The options that say what the environment variables say ("--manifest=/path", ...), for a program that will
 * not see our environment. The caller owns the list. */
char **options_from_environment(void);

void options_print_help(const struct command *const *commands, FILE *file);
void options_print_command_help(const struct command *command, FILE *file);

#define cleanup_options __attribute__((cleanup(options_clear)))

#endif
