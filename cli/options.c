#include "cli/options.h"

#include "core/nearest.h"
#include "core/alloc.h"
#include "core/text.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>

#define LIMIT_MOST 1000000

/* X(name, long option, its argument or NULL, which command has it (0: all), environment variable, help) */
#define OPTION_LIST(X)                                                                                               \
	X(MANIFEST, "manifest", "FILE", 0, "ATELIER_BACKUP_MANIFEST",                                                \
	    "which services there are (default " MANIFEST_DEFAULT_PATH ")")                                          \
	X(STATE_DIR, "state-dir", "DIR", 0, "ATELIER_BACKUP_STATE_DIR",                                              \
	    "where the journal is (default " DEFAULT_STATE_DIRECTORY ")")                                            \
	X(RUNTIME_DIR, "runtime-dir", "DIR", 0, "ATELIER_BACKUP_RUNTIME_DIR",                                        \
	    "where the runner listens (default " DEFAULT_RUNTIME_DIRECTORY ", or --state-dir if given)")             \
	X(RESTIC, "restic", "PROGRAM", 0, "ATELIER_BACKUP_RESTIC", "the restic to use (default: the manifest's)")    \
	X(JSON, "json", NULL, 0, NULL, "answer in JSON (docs/json.md)")                                              \
	X(VERBOSE, "verbose", NULL, 0, NULL, "say more on stderr")                                                   \
	X(HELP, "help", NULL, 0, NULL, "this help, or that of a command")                                            \
	X(VERSION, "version", NULL, 0, NULL, "the version of this program")                                          \
	X(ALL, "all", NULL, OPTION_ALL, NULL, "all services of the manifest")                                        \
	X(DRY_RUN, "dry-run", NULL, OPTION_DRY_RUN, NULL, "say what would happen and do nothing")                    \
	X(OFFLINE, "offline", NULL, OPTION_OFFLINE, NULL, "leave the repository out")                                \
	X(LIMIT, "limit", "N", OPTION_LIMIT, NULL, "show at most so many (default 20)")                              \
	X(DETACH, "detach", NULL, OPTION_DETACH, NULL, "do not wait for the end; `follow` comes back to the jobs")   \
	X(OWED, "owed", NULL, OPTION_OWED, NULL, "pay what is owed, and leave the jobs where they are")              \
	X(WATCH, "watch", NULL, OPTION_WATCH, NULL, "keep showing it, live, until q or Ctrl-C")                      \
	X(READY_FD, "ready-fd", "N", OPTION_READY, NULL, "say there, in one line, how it began")                     \
	X(GUARDIAN, "guardian", "PID", OPTION_GUARDED, NULL, "the process that brings the runner back")              \
	X(ADOPT, "adopt", "PID", OPTION_ADOPT, NULL, "guard this runner instead of starting one")                    \
	X(START_TICKS, "start-ticks", "N", OPTION_ADOPT, NULL, "when it began, as in /proc/PID/stat")

#define DEFAULT_STATE_DIRECTORY   "/var/lib/atelier-backup"
#define DEFAULT_RUNTIME_DIRECTORY "/run/atelier-backup"

/* Beyond every character, so that no short option can be meant. */
enum option_id {
	ID_FIRST = 256,
#define X(name, word, argument, bit, variable, help) ID_##name,
	OPTION_LIST(X)
#undef X
};

struct option_row {
	const char *name;
	const char *argument;
	unsigned bit;
	const char *variable;
	const char *help;
};

static const struct option_row rows[] = {
#define X(name, word, argument, bit, variable, help) {word, argument, bit, variable, help},
    OPTION_LIST(X)
#undef X
};

static const struct option getopt_rows[] = {
#define X(name, word, argument, bit, variable, help)                                                                 \
	{word, (argument) != NULL ? required_argument : no_argument, NULL, ID_##name},
    OPTION_LIST(X)
#undef X
	{NULL, 0, NULL, 0},
};

static const struct option_row *
row_of(enum option_id id)
{
	return &rows[id - ID_FIRST - 1];
}

static const struct command *
find_command(const struct command *const *commands, const char *name)
{
	for (size_t i = 0; commands[i] != NULL; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static int
unknown_command(const struct command *const *commands, const char *name, struct error *error)
{
	cleanup_free const char **names = NULL;
	size_t count = 0;
	for (size_t i = 0; commands[i] != NULL; i++) {
		if (commands[i]->hidden)
			continue;
		names = xreallocarray(names, count + 1, sizeof(*names));
		names[count++] = commands[i]->name;
	}
	error_set(error, ERROR_USAGE, "there is no command '%s'", name);
	const char *nearest = nearest_word(name, names, count);
	if (nearest != NULL)
		return error_hint(error, "did you mean '%s'? 'atelier-backup --help' lists all", nearest);
	return error_hint(error, "'atelier-backup --help' lists the commands");
}

/* Children run in "/": a path keeps its meaning only when it is absolute. */
static char *
absolute_path(const char *path)
{
	if (path[0] == '/')
		return xstrdup(path);
	cleanup_free char *here = getcwd(NULL, 0);
	return here != NULL ? xasprintf("%s/%s", here, path) : xstrdup(path);
}

static int
set_string(char **owner, enum option_id id, const char *origin, const char *value, struct error *error)
{
	if (*value == '\0')
		return error_set(error, ERROR_USAGE, "%s is given without a value", origin);
	if (!text_is_printable(value))
		return error_set(error, ERROR_USAGE, "the value of %s contains control characters", origin);
	free(*owner);
	/* A bare program name is looked up in PATH. */
	bool bare = id == ID_RESTIC && strchr(value, '/') == NULL;
	*owner = bare ? xstrdup(value) : absolute_path(value);
	return 0;
}

static char **
owner_of(struct options *options, enum option_id id)
{
	switch ((int)id) {
	case ID_MANIFEST:
		return &options->manifest_path;
	case ID_STATE_DIR:
		return &options->state_directory;
	case ID_RUNTIME_DIR:
		return &options->runtime_directory;
	case ID_RESTIC:
		return &options->restic_program;
	}
	return NULL;
}

static int
read_environment(struct options *options, struct error *error)
{
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		const char *value = rows[i].variable != NULL ? getenv(rows[i].variable) : NULL;
		enum option_id id = ID_FIRST + 1 + (enum option_id)i;
		if (value == NULL || *value == '\0')
			continue;
		if (set_string(owner_of(options, id), id, rows[i].variable, value, error) < 0)
			return -1;
	}
	return 0;
}

static int
read_number(enum option_id id, const char *value, long least, long most, long *ret_number, struct error *error)
{
	char *end;
	errno = 0;
	long number = strtol(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || number < least || number > most)
		return error_set(error, ERROR_USAGE, "--%s wants a number from %ld to %ld, not '%s'",
		    row_of(id)->name, least, most, value);
	*ret_number = number;
	return 0;
}

static int
set_start_ticks(struct invocation *invocation, const char *value, struct error *error)
{
	long number;
	if (read_number(ID_START_TICKS, value, 0, LONG_MAX, &number, error) < 0)
		return -1;
	invocation->start_ticks = (uint64_t)number;
	return 0;
}

static int
set_option(struct options *options, enum option_id id, const char *value, struct error *error)
{
	struct invocation *invocation = &options->invocation;
	switch (id) {
	case ID_MANIFEST:
	case ID_STATE_DIR:
	case ID_RUNTIME_DIR:
	case ID_RESTIC: {
		cleanup_free char *origin = xasprintf("--%s", row_of(id)->name);
		return set_string(owner_of(options, id), id, origin, value, error);
	}
	case ID_JSON:
		invocation->json = true;
		return 0;
	case ID_VERBOSE:
		invocation->verbose = true;
		return 0;
	case ID_HELP:
		options->action = OPTIONS_HELP;
		return 0;
	case ID_VERSION:
		options->action = OPTIONS_VERSION;
		return 0;
	case ID_ALL:
		invocation->all = true;
		return 0;
	case ID_DRY_RUN:
		invocation->dry_run = true;
		return 0;
	case ID_OFFLINE:
		invocation->offline = true;
		return 0;
	case ID_LIMIT:
		return read_number(id, value, 1, LIMIT_MOST, &invocation->limit, error);
	case ID_DETACH:
		invocation->detach = true;
		return 0;
	case ID_OWED:
		invocation->owed = true;
		return 0;
	case ID_WATCH:
		invocation->watch = true;
		return 0;
	case ID_READY_FD:
		return read_number(id, value, STDERR_FILENO + 1, INT_MAX, &invocation->ready_descriptor, error);
	case ID_GUARDIAN:
		return read_number(id, value, 1, INT_MAX, &invocation->guardian, error);
	case ID_ADOPT:
		return read_number(id, value, 1, INT_MAX, &invocation->adopt, error);
	case ID_START_TICKS:
		return set_start_ticks(invocation, value, error);
	case ID_FIRST:
		break;
	}
	return error_set(error, ERROR_INTERNAL, "option %d has no meaning", (int)id);
}

/* Reads all options; everything else goes to `words`, in order. `given` gets the bits of commands' own
 * options. */
static int
read_arguments(
    int argc, char *const *argv, struct options *options, char ***words, unsigned *given, struct error *error)
{
	/* getopt moves the pointers about: it gets its own. */
	cleanup_free char **arguments = xcalloc((size_t)argc + 1, sizeof(*arguments));
	memcpy(arguments, argv, (size_t)argc * sizeof(*arguments));
	opterr = 0;
	optind = 0;
	for (;;) {
		/* "-": words come in their place, so an option may follow the command whatever
		 * POSIXLY_CORRECT says. */
		int id = getopt_long(argc, arguments, "-:h", getopt_rows, NULL);
		if (id < 0)
			break;
		if (id == 1) {
			strings_add(words, optarg);
			continue;
		}
		if (id == 'h')
			id = ID_HELP;
		if (id == ':')
			return error_set(error, ERROR_USAGE, "%s wants a value", arguments[optind - 1]);
		if (id == '?') {
			if (optopt > 0 && optopt < ID_FIRST)
				error_set(error, ERROR_USAGE, "there is no option -%c", optopt);
			else
				error_set(error, ERROR_USAGE, "there is no option like %s", arguments[optind - 1]);
			return error_hint(error, "'atelier-backup --help' lists the options");
		}
		*given |= row_of((enum option_id)id)->bit;
		if (set_option(options, (enum option_id)id, optarg, error) < 0)
			return -1;
	}
	for (int i = optind; i < argc; i++)
		strings_add(words, arguments[i]);
	return 0;
}

static int
check_options_of_command(const struct command *command, unsigned given, struct error *error)
{
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		if ((rows[i].bit & given & ~command->options) != 0) {
			error_set(error, ERROR_USAGE, "'%s' has no option --%s", command->name, rows[i].name);
			return error_hint(error, "see 'atelier-backup %s --help'", command->name);
		}
	return 0;
}

static int
check_operands(const struct command *command, char *const *operands, struct error *error)
{
	size_t count = strings_count(operands);
	for (size_t i = 0; i < count; i++)
		if (operands[i][0] == '\0' || !text_is_printable(operands[i]))
			return error_set(error, ERROR_USAGE,
			    "'%s' is no name: it is empty or contains control characters", operands[i]);
	if (count < command->least_operands)
		error_set(error, ERROR_USAGE, "'%s' wants %s", command->name, command->operands);
	else if (count > command->most_operands)
		error_set(error, ERROR_USAGE, "'%s' does not know what to do with '%s'", command->name,
		    operands[command->most_operands]);
	else
		return 0;
	return error_hint(error, "see 'atelier-backup %s --help'", command->name);
}

/* `words` is the command and its operands. */
static int
choose_command(const struct command *const *commands, char *const *words, unsigned given, struct options *options,
    struct error *error)
{
	if (options->action == OPTIONS_VERSION)
		return 0;
	if (words == NULL) {
		if (options->action == OPTIONS_RUN)
			options->action = OPTIONS_NOTHING;
		return 0;
	}
	if (strcmp(words[0], "help") == 0) {
		options->action = OPTIONS_HELP;
		words++;
		if (words[0] == NULL)
			return 0;
	}
	const struct command *command = find_command(commands, words[0]);
	if (command == NULL)
		return unknown_command(commands, words[0], error);
	options->command = command;
	if (options->action == OPTIONS_HELP) {
		options->action = OPTIONS_COMMAND_HELP;
		return 0;
	}
	if (check_options_of_command(command, given, error) < 0)
		return -1;
	options->operands = strings_copy(words + 1);
	return check_operands(command, options->operands, error);
}

int
options_parse(const struct command *const *commands, int argc, char *const *argv, struct options *ret_options,
    struct error *error)
{
	static char *const none[] = {NULL};
	cleanup_strings char **words = NULL;
	cleanup_options struct options options = {
	    .action = OPTIONS_RUN,
	    .manifest_path = xstrdup(MANIFEST_DEFAULT_PATH),
	    .state_directory = xstrdup(DEFAULT_STATE_DIRECTORY),
	};
	unsigned given = 0;
	if (read_environment(&options, error) < 0 ||
	    read_arguments(argc, argv, &options, &words, &given, error) < 0 ||
	    choose_command(commands, words, given, &options, error) < 0)
		return -1;

	if (options.runtime_directory == NULL) {
		bool usual = strcmp(options.state_directory, DEFAULT_STATE_DIRECTORY) == 0;
		options.runtime_directory = xstrdup(usual ? DEFAULT_RUNTIME_DIRECTORY : options.state_directory);
	}
	struct invocation *invocation = &options.invocation;
	invocation->manifest_path = options.manifest_path;
	invocation->state_directory = options.state_directory;
	invocation->runtime_directory = options.runtime_directory;
	invocation->restic_program = options.restic_program;
	invocation->operand_count = strings_count(options.operands);
	invocation->operands = options.operands != NULL ? options.operands : none;
	*ret_options = options;
	options = (struct options){.action = OPTIONS_RUN};
	return 0;
}

void
options_clear(struct options *options)
{
	free(options->manifest_path);
	free(options->state_directory);
	free(options->runtime_directory);
	free(options->restic_program);
	strings_free(options->operands);
	*options = (struct options){.action = OPTIONS_RUN};
}

bool
options_ask_for_json(int argc, char *const *argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			return true;
	return false;
}

char **
options_from_environment(void)
{
	char **list = NULL;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		const char *value = rows[i].variable != NULL ? getenv(rows[i].variable) : NULL;
		if (value == NULL || *value == '\0')
			continue;
		cleanup_free char *option = xasprintf("--%s=%s", rows[i].name, value);
		strings_add(&list, option);
	}
	return list;
}

static void
print_option(const struct option_row *row, FILE *file)
{
	cleanup_free char *words =
	    row->argument != NULL ? xasprintf("--%s=%s", row->name, row->argument) : xasprintf("--%s", row->name);
	fprintf(file, "  %-24s %s\n", words, row->help);
	if (row->variable != NULL)
		fprintf(file, "  %-24s $%s\n", "", row->variable);
}

static void
print_options(unsigned bits, bool common, FILE *file)
{
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		if ((rows[i].bit & bits) != 0 || (common && rows[i].bit == 0))
			print_option(&rows[i], file);
}

void
options_print_help(const struct command *const *commands, FILE *file)
{
	fputs("Usage: atelier-backup [OPTION...] COMMAND [OPERAND...]\n\n"
	      "Backs up services with restic: each is stopped as briefly as possible and runs again "
	      "afterwards.\n\n"
	      "Commands:\n",
	    file);
	for (size_t i = 0; commands[i] != NULL; i++) {
		if (commands[i]->hidden)
			continue;
		cleanup_free char *words = xasprintf("%s %s", commands[i]->name, commands[i]->operands);
		fprintf(file, "  %-24s %s\n", words, commands[i]->summary);
	}
	fprintf(
	    file, "  %-24s %s\n\nOptions of every command:\n", "help COMMAND", "what a command does, with examples");
	print_options(0, true, file);
	fputs("\nExit codes:\n", file);
#define X(name, number, text) fprintf(file, "  %d  %s\n", number, text);
	EXIT_CODE_LIST(X)
#undef X
}

void
options_print_command_help(const struct command *command, FILE *file)
{
	fprintf(file, "Usage: atelier-backup %s%s%s%s\n\n%s\n", command->name,
	    command->options != 0 ? " [OPTION...]" : "", command->operands[0] != '\0' ? " " : "", command->operands,
	    command->summary);
	if (command->help != NULL && command->help[0] != '\0')
		fprintf(file, "\n%s\n", command->help);
	if (command->options != 0) {
		fputs("\nOptions:\n", file);
		print_options(command->options, false, file);
	}
	fputs("\nOptions of every command:\n", file);
	print_options(0, true, file);
}
