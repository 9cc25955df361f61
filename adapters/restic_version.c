#include "adapters/restic_internal.h"

#include "adapters/program.h"
#include "core/alloc.h"
#include "core/file.h"

#include <string.h>

static const char hint[] = "install restic 0.14 or newer, or set the path of the restic program";

/* What was asked before: a handful of programs at most. */
static struct known_version {
	char *program;
	char *version;
} *known;
static size_t known_count;

int
restic_check_program(const char *program, struct error *error)
{
	cleanup_free char *found = program_find(program);
	if (found != NULL)
		return 0;
	error_set(error, ERROR_RESTIC_MISSING, "there is no program %s", program);
	return error_hint(error, "%s", hint);
}

/* "restic 0.18.0 compiled with go1.24.4 on linux/amd64"; NULL if that is not what it says. */
static char *
read_version(const char *answer)
{
	char version[32];
	if (sscanf(answer, "restic %31[0-9.]", version) != 1)
		return NULL;
	int major, minor;
	char after;
	if (sscanf(version, "%5d.%5d%c", &major, &minor, &after) < 2)
		return NULL;
	return xstrdup(version);
}

static int
unsupported(struct error *error, const char *program, const char *answer)
{
	error_set(error, ERROR_RESTIC_UNSUPPORTED, "%s is no restic we can work with: it answers \"%.100s\"", program,
	    answer);
	return error_hint(error, "%s", hint);
}

static int
ask_version(const char *program, char **ret_version, struct error *error)
{
	const char *const arguments[] = {program, "version", NULL};
	cleanup_free char *answer = NULL;
	bool good;
	if (program_ask("restic version", arguments, &answer, &good, error) < 0)
		return -1;
	cleanup_free char *version = read_version(answer);
	if (!good || version == NULL || !restic_version_at_least(version, 0, 14))
		return unsupported(error, program, answer);
	*ret_version = take_pointer(version);
	return 0;
}

const char *
restic_version(const char *program, struct error *error)
{
	for (size_t i = 0; i < known_count; i++)
		if (strcmp(known[i].program, program) == 0)
			return known[i].version;
	if (restic_check_program(program, error) < 0)
		return NULL;

	char *version;
	if (ask_version(program, &version, error) < 0)
		return NULL;
	known = xreallocarray(known, known_count + 1, sizeof(*known));
	known[known_count++] = (struct known_version){.program = xstrdup(program), .version = version};
	return version;
}

bool
restic_version_at_least(const char *version, int major, int minor)
{
	int actual_major, actual_minor;
	if (sscanf(version, "%5d.%5d", &actual_major, &actual_minor) != 2)
		return false;
	return actual_major > major || (actual_major == major && actual_minor >= minor);
}
