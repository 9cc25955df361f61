#include "cli/sudo.h"

#include "cli/options.h"
#include "core/alloc.h"
#include "core/file.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

char **
sudo_arguments(const char *program, int argc, char *const *argv)
{
	char **arguments = NULL;
	strings_add(&arguments, "sudo");
	strings_add(&arguments, "--");
	strings_add(&arguments, program);
	/* First, so that the options that were typed win over them. */
	cleanup_strings char **options = options_from_environment();
	for (size_t i = 0; options != NULL && options[i] != NULL; i++)
		strings_add(&arguments, options[i]);
	for (int i = 1; i < argc; i++)
		strings_add(&arguments, argv[i]);
	return arguments;
}

int
sudo_if_needed(const struct command *command, int argc, char *const *argv, struct error *error)
{
	if (!command->needs_root || geteuid() == 0)
		return 0;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		error_set(error, ERROR_PERMISSION, "'%s' has to run as root", command->name);
		return error_hint(error, "run it as root: sudo atelier-backup %s", command->name);
	}
	cleanup_free char *sudo = program_find("sudo");
	if (sudo == NULL) {
		error_set(
		    error, ERROR_PERMISSION, "'%s' has to run as root, and there is no sudo here", command->name);
		return error_hint(error, "become root and run it again");
	}
	char program[PATH_MAX] = "";
	ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
	if (length < 0)
		return error_set(error, ERROR_SYSTEM, "our own program is not to be found: %s", strerror(errno));
	cleanup_strings char **arguments = sudo_arguments(program, argc, argv);
	execv(sudo, arguments);
	return error_set(error, ERROR_PERMISSION, "sudo cannot be run: %s", strerror(errno));
}
