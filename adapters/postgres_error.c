#include "adapters/postgres_internal.h"

#include "core/alloc.h"

#include <ctype.h>
#include <string.h>

#define SQLSTATE_LENGTH 5

static const char look_at_server[] = "look at the server (systemctl status postgresql) and its log";

/* https://www.postgresql.org/docs/current/errcodes-appendix.html; the first prefix that fits is taken. */
static const struct {
	const char *sqlstate;
	enum error_code code;
	const char *hint;
} meanings[] = {
    {"3D000", ERROR_DATABASE_MISSING, "create the database, or correct its name in the manifest"},
    {"57P04", ERROR_DATABASE_MISSING, "the database was dropped: take it out of the manifest"},
    {"28P01", ERROR_POSTGRES_RIGHTS, "correct the line for it in the passfile (host:port:database:user:password)"},
    {"28", ERROR_POSTGRES_RIGHTS,
	"pg_hba.conf has to let this user in: over the socket with \"peer\" for the operating system's user of the "
	"same name, else with a password from a passfile"},
    {"42501", ERROR_POSTGRES_RIGHTS, "grant the right, or name a user who has it (postgres, or the owner)"},
    {"55000", ERROR_POSTGRES_RIGHTS, "ALTER DATABASE ... ALLOW_CONNECTIONS true, or leave the database out"},
    {"57014", ERROR_POSTGRES_UNREACHABLE, "it is tried again; the server may be overloaded"},
    {"57P", ERROR_POSTGRES_UNREACHABLE, look_at_server},
    {"08", ERROR_POSTGRES_UNREACHABLE, look_at_server},
    {"53300", ERROR_POSTGRES_UNREACHABLE, "the server has no connection left: raise max_connections"},
    {"53", ERROR_POSTGRES_UNREACHABLE, look_at_server},
    {"40", ERROR_POSTGRES_UNREACHABLE, "it is tried again"},
    {"", ERROR_SYSTEM, look_at_server},
};

static int
set_meaning(struct error *error, const struct postgres_place *place, const char *sqlstate, const char *words)
{
	cleanup_free char *where = postgres_place_words(place);
	for (size_t i = 0; i < ARRAY_LENGTH(meanings); i++) {
		if (!text_starts_with(sqlstate, meanings[i].sqlstate))
			continue;
		error_set(error, meanings[i].code, "%s: %s", where, words);
		return error_hint(error, "%s", meanings[i].hint);
	}
	return -1;
}

/* libpq's own words. They are in our language, which is that of C. */
static int
set_without_meaning(struct error *error, const struct postgres_place *place, const char *words)
{
	cleanup_free char *where = postgres_place_words(place);
	if (strstr(words, "no password supplied") != NULL) {
		error_set(error, ERROR_POSTGRES_RIGHTS, "%s wants a password for %s", where, place->source.user);
		return error_hint(error,
		    "name a \"passfile\" with a line for it (host:port:database:user:password), closed to everybody "
		    "but root");
	}
	if (strstr(words, "Permission denied") != NULL) {
		error_set(error, ERROR_POSTGRES_RIGHTS, "%s: %s", where, words);
		return error_hint(error, "let user %u pass to the socket", (unsigned)place->user);
	}
	error_set(error, ERROR_POSTGRES_UNREACHABLE, "%s: %s", where, words);
	return error_hint(error, "start the server (systemctl status postgresql), or correct \"host\" and \"port\"");
}

int
postgres_error_set(struct error *error, const struct postgres_place *place, const char *sqlstate, const char *words)
{
	/* What follows the first line are details in some language. */
	cleanup_free char *line = xstrndup(words, strcspn(words, "\n"));
	return sqlstate != NULL ? set_meaning(error, place, sqlstate, line) : set_without_meaning(error, place, line);
}

static bool
is_sqlstate(const char *string)
{
	for (size_t i = 0; i < SQLSTATE_LENGTH; i++)
		if (!isdigit((unsigned char)string[i]) && !isupper((unsigned char)string[i]))
			return false;
	return string[SQLSTATE_LENGTH] == ':' && string[SQLSTATE_LENGTH + 1] == ' ';
}

/* The severity is in the server's language, the two spaces after it are not. */
bool
postgres_error_split(char *line, char ret_sqlstate[6])
{
	line[strcspn(line, "\n")] = '\0';
	for (char *colon = strstr(line, ":  "); colon != NULL; colon = strstr(colon + 1, ":  ")) {
		char *code = colon + 3;
		if (strlen(code) < SQLSTATE_LENGTH + 2 || !is_sqlstate(code))
			continue;
		memcpy(ret_sqlstate, code, SQLSTATE_LENGTH);
		ret_sqlstate[SQLSTATE_LENGTH] = '\0';
		const char *rest = code + SQLSTATE_LENGTH + 2;
		memmove(code, rest, strlen(rest) + 1);
		return true;
	}
	return false;
}
