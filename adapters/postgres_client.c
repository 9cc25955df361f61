#include "adapters/postgres_internal.h"

#include "adapters/program.h"
#include "core/alloc.h"
#include "core/file.h"

#include <ctype.h>
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

/* Debian's stand-in for the programs: which version it runs depends on more than we tell it, and those that it runs
 * are found where they are. */
#define WRAPPER "pg_wrapper"

/* Where distributions put several versions beside each other: DIRECTORY/PREFIX17/bin. */
static const struct {
	const char *directory;
	const char *prefix;
} places[] = {
    {"/usr/lib/postgresql", ""},
    {"/usr", "pgsql-"},
};

struct client {
	char *path;
	char *version;
	int major;
};

struct choice {
	const char *program;
	int wanted;         /* the server's major version */
	struct client best; /* of that version, or the lowest newer one */
	struct client last; /* the newest of those that are too old */
};

int
postgres_major(int64_t server_version)
{
	return (int)(server_version >= 100000 ? server_version / 10000 * 100 : server_version / 100);
}

char *
postgres_major_words(int major)
{
	return major >= 1000 ? xasprintf("%d", major / 100) : xasprintf("%d.%d", major / 100, major % 100);
}

bool
postgres_client_version(const char *words, char **ret_version, int *ret_major)
{
	static const char before[] = "(PostgreSQL) ";
	const char *version = strstr(words, before);
	int major, minor = 0;
	if (version == NULL)
		return false;
	version += strlen(before);
	size_t length = strspn(version, "0123456789.abcdefghijklmnopqrstuvwxyz");
	if (!isdigit((unsigned char)version[0]) || length > 31 || sscanf(version, "%3d.%3d", &major, &minor) < 1)
		return false;
	*ret_version = xstrndup(version, length);
	*ret_major = major * 100 + (major >= 10 ? 0 : minor);
	return true;
}

/* Returns false for a program that does not run or is something else. */
static bool
ask_version(const char *path, char **ret_version, int *ret_major)
{
	const char *const arguments[] = {path, "--version", NULL};
	cleanup_free char *answer = NULL;
	bool good;
	return program_ask("version of a PostgreSQL program", arguments, &answer, &good, NULL) == 0 && good &&
	       postgres_client_version(answer, ret_version, ret_major);
}

/* ---- choosing ---- */

static void
client_clear(struct client *client)
{
	free(client->path);
	free(client->version);
	*client = (struct client){.path = NULL};
}

static void
client_keep(struct client *kept, struct client *client)
{
	client_clear(kept);
	*kept = *client;
	*client = (struct client){.path = NULL};
}

static bool
is_wrapper(const char *path)
{
	cleanup_free char *target = realpath(path, NULL);
	return target != NULL && text_ends_with(target, "/" WRAPPER);
}

static void
consider(struct choice *choice, const char *path)
{
	struct client client = {.path = NULL};
	if (is_wrapper(path) || !ask_version(path, &client.version, &client.major))
		return;
	client.path = xstrdup(path);
	if (client.major >= choice->wanted) {
		if (choice->best.path == NULL || client.major < choice->best.major)
			client_keep(&choice->best, &client);
	} else if (choice->last.path == NULL || client.major > choice->last.major) {
		client_keep(&choice->last, &client);
	}
	client_clear(&client);
}

static void
consider_place(struct choice *choice, const char *directory, const char *prefix)
{
	DIR *stream = opendir(directory);
	if (stream == NULL)
		return;
	for (const struct dirent *entry; (entry = readdir(stream)) != NULL;) {
		if (!text_starts_with(entry->d_name, prefix) ||
		    !isdigit((unsigned char)entry->d_name[strlen(prefix)]))
			continue;
		cleanup_free char *path = xasprintf("%s/%s/bin/%s", directory, entry->d_name, choice->program);
		cleanup_free char *found = program_find(path);
		if (found != NULL)
			consider(choice, found);
	}
	closedir(stream);
}

static int
none_fits(const struct choice *choice, struct error *error)
{
	cleanup_free char *wanted = postgres_major_words(choice->wanted);
	if (choice->last.path != NULL)
		error_set(error, ERROR_POSTGRES_CLIENT,
		    "the server is PostgreSQL %s, and the newest %s here is %s (%s): it cannot read a newer server",
		    wanted, choice->program, choice->last.version, choice->last.path);
	else
		error_set(error, ERROR_POSTGRES_CLIENT, "there is no %s for PostgreSQL %s", choice->program, wanted);
	return error_hint(error,
	    "install the client programs of PostgreSQL %s (Debian: apt-get install postgresql-client-%s), or have "
	    "them "
	    "in PATH",
	    wanted, wanted);
}

int
postgres_client_find(
    const char *program, int64_t server_version, char **ret_path, char **ret_version, struct error *error)
{
	struct choice choice = {.program = program, .wanted = postgres_major(server_version)};
	cleanup_free char *in_path = program_find(program);
	if (in_path != NULL)
		consider(&choice, in_path);
	for (size_t i = 0; i < ARRAY_LENGTH(places); i++)
		consider_place(&choice, places[i].directory, places[i].prefix);
	int result = choice.best.path == NULL ? none_fits(&choice, error) : 0;
	if (result == 0) {
		*ret_path = take_pointer(choice.best.path);
		*ret_version = take_pointer(choice.best.version);
	}
	client_clear(&choice.best);
	client_clear(&choice.last);
	return result;
}

char *
postgres_client(const char *program, int64_t server_version, struct error *error)
{
	char *path;
	cleanup_free char *version = NULL;
	return postgres_client_find(program, server_version, &path, &version, error) == 0 ? path : NULL;
}
