/* Environments of child processes: an allow-list of our own variables plus a file in systemd's EnvironmentFile
 * syntax (systemd.exec(5)), which is parsed and never run by a shell. */
#ifndef ATELIER_ADAPTERS_ENVIRONMENT_H
#define ATELIER_ADAPTERS_ENVIRONMENT_H

#include <stddef.h>

#include "core/error.h"

/* Adds NAME=value, or replaces the value NAME has. The list is one for strings_free. */
void environment_set(char ***environment, const char *name, const char *value);

/* The value of a name, or NULL. */
const char *environment_get(char *const *environment, const char *name);

/* What every child gets of ours: PATH (a default if unset), HOME, LANG/LC_* , TZ, TMPDIR, SSL_CERT_FILE,
 * SSL_CERT_DIR, proxies, SSH_AUTH_SOCK; nothing else, and never a RESTIC_* or PG* left over from a shell. */
char **environment_base(void);

/* Parses `content` and adds its assignments. ERROR_SECRET with the line number (never the line's text: it may be a
 * secret) for what is no assignment, for a bad name, an open quote, NUL or invalid UTF-8. */
int environment_parse(const char *content, size_t length, char ***environment, struct error *error);

/* The same from a file, which must pass file_check_trust as a secret. Errors name the path. */
int environment_read(const char *path, char ***environment, struct error *error);

#endif
