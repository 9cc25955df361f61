#include "adapters/postgres_internal.h"

#include "core/alloc.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_PORT "5432"
#define DEFAULT_USER "postgres"

/* No directory can be below a device: there is no such file, for ever. */
#define NO_PASSFILE "/dev/null/none"

static const char *const socket_directories[] = {"/run/postgresql", "/tmp"};

static char *
socket_path(const char *directory, const char *port)
{
	return xasprintf("%s/.s.PGSQL.%s", directory, port);
}

/* Anybody may make a socket in /tmp, while the server is down: one of somebody else's is not taken for the server. */
static bool
is_trusted(uid_t owner, const char *user)
{
	if (owner == 0 || owner == geteuid())
		return true;
	const struct passwd *entry = getpwuid(owner);
	return entry != NULL && (strcmp(entry->pw_name, user) == 0 || strcmp(entry->pw_name, DEFAULT_USER) == 0);
}

static int
find_socket(struct postgres_source *source, struct error *error)
{
	for (size_t i = 0; i < ARRAY_LENGTH(socket_directories); i++) {
		cleanup_free char *path = socket_path(socket_directories[i], source->port);
		struct stat status;
		if (lstat(path, &status) < 0 || !S_ISSOCK(status.st_mode) || !is_trusted(status.st_uid, source->user))
			continue;
		source->host = xstrdup(socket_directories[i]);
		return 0;
	}
	error_set(error, ERROR_POSTGRES_UNREACHABLE,
	    "there is no socket of a PostgreSQL server for port %s in %s or %s", source->port, socket_directories[0],
	    socket_directories[1]);
	return error_hint(error,
	    "start the server (systemctl status postgresql), or name the directory of its socket "
	    "as \"host\"");
}

static void
find_user(struct postgres_place *place)
{
	if (geteuid() != 0 || place->source.host[0] != '/' || place->source.passfile != NULL)
		return;
	const struct passwd *entry = getpwnam(place->source.user);
	cleanup_free char *path = socket_path(place->source.host, place->source.port);
	struct stat status;
	if (entry == NULL && lstat(path, &status) == 0)
		entry = getpwuid(status.st_uid);
	if (entry == NULL || entry->pw_uid == 0)
		return;
	place->other = true;
	place->user = entry->pw_uid;
	place->group = entry->pw_gid;
	place->home = xstrdup(entry->pw_dir);
}

int
postgres_place_find(const struct postgres_source *source, struct postgres_place *ret_place, struct error *error)
{
	cleanup_postgres_place struct postgres_place place = {
	    .source =
		{
		    .database = xstrdup(source->database),
		    .host = xstrdup_null(source->host),
		    .port = xstrdup(source->port != NULL ? source->port : DEFAULT_PORT),
		    .user = xstrdup(source->user != NULL ? source->user : DEFAULT_USER),
		    .passfile = xstrdup_null(source->passfile),
		},
	};
	if (place.source.host == NULL && find_socket(&place.source, error) < 0)
		return -1;
	find_user(&place);
	*ret_place = place;
	place = (struct postgres_place){.other = false};
	return 0;
}

void
postgres_place_clear(struct postgres_place *place)
{
	postgres_source_clear(&place->source);
	free(place->home);
	*place = (struct postgres_place){.other = false};
}

char *
postgres_place_words(const struct postgres_place *place)
{
	return xasprintf("the database %s at %s:%s", place->source.database, place->source.host, place->source.port);
}

const char *
postgres_place_passfile(const struct postgres_place *place)
{
	return place->source.passfile != NULL ? place->source.passfile : NO_PASSFILE;
}

int
postgres_place_enter(const struct postgres_place *place, struct postgres_guise *ret_guise, struct error *error)
{
	if (!place->other)
		return 0;
	*ret_guise = (struct postgres_guise){.group = getegid(), .dumpable = prctl(PR_GET_DUMPABLE)};
	if (setegid(place->group) == 0 && seteuid(place->user) == 0)
		return 0;
	int number = errno;
	postgres_place_leave(place, ret_guise);
	error_set(error, ERROR_PERMISSION, "cannot become user %u to meet PostgreSQL: %s", (unsigned)place->user,
	    strerror(number));
	return error_hint(error, "a unit of ours needs CAP_SETUID and CAP_SETGID");
}

void
postgres_place_leave(const struct postgres_place *place, const struct postgres_guise *guise)
{
	if (!place->other)
		return;
	/* As half of somebody else we must do nothing more. */
	if (seteuid(0) < 0 || setegid(guise->group) < 0)
		abort();
	/* The change has taken away our core dumps, and /proc from those who watch us. */
	if (guise->dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1);
}
