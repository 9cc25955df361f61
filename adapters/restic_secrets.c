/* The three files that say where the repository is and how to open it. */
#include "adapters/restic_internal.h"

#include "adapters/environment.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/problem.h"

#include <string.h>

#define SECRET_LIMIT ((size_t)64 * 1024)

static const char *const backends[] = {
    "local:", "sftp:", "rest:", "s3:", "b2:", "azure:", "gs:", "swift:", "rclone:"};

/* restic refuses RESTIC_REPOSITORY beside RESTIC_REPOSITORY_FILE, and a password command beside a password
 * file. */
static const char *const reserved_names[] = {"RESTIC_REPOSITORY", "RESTIC_REPOSITORY_FILE", "RESTIC_PASSWORD",
    "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND", "RESTIC_CACHE_DIR", "RESTIC_PROGRESS_FPS"};

bool
restic_is_reserved_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LENGTH(reserved_names); i++)
		if (strcmp(reserved_names[i], name) == 0)
			return true;
	return false;
}

/* ---- masking ---- */

/* What ends a URL in printable words. */
#define URL_END " \"<>"

static const char *
find_last(const char *string, size_t length, char wanted)
{
	return memrchr(string, wanted, length);
}

/* The password within what follows "://"; false if there is none. A password with a slash in it makes an
 * invalid URL, but restic then quotes it in its error, so it is looked for as well; "host:8000/a@b" has none.
 */
static bool
find_password(const char *url, size_t length, const char **ret_start, size_t *ret_length)
{
	size_t authority = strcspn(url, "/");
	authority = authority > length ? length : authority;
	const char *colon = memchr(url, ':', authority);
	if (colon == NULL)
		return false;
	const char *at = find_last(url, authority, '@');
	if (at == NULL) {
		bool is_port = strspn(colon + 1, "0123456789") == authority - (size_t)(colon + 1 - url);
		at = is_port ? NULL : find_last(url, length, '@');
	}
	if (at == NULL || at < colon)
		return false;
	*ret_start = colon + 1;
	*ret_length = (size_t)(at - colon - 1);
	return true;
}

static void
mask_urls(const char *string, struct text *masked)
{
	for (const char *scheme; (scheme = strstr(string, "://")) != NULL;) {
		const char *url = scheme + 3;
		const char *password;
		size_t password_length;
		text_add_bytes(masked, string, (size_t)(url - string));
		if (find_password(url, strcspn(url, URL_END), &password, &password_length)) {
			text_add_bytes(masked, url, (size_t)(password - url));
			text_add(masked, "***");
			url = password + password_length;
		}
		string = url;
	}
	text_add(masked, string);
}

char *
restic_mask(const char *string)
{
	/* What Go takes for a port may be the first half of a password with a slash in it. */
	static const char bad_port[] = "invalid port \":";
	struct text masked = {.string = NULL};
	const char *port = strstr(string, bad_port);
	if (port == NULL) {
		mask_urls(string, &masked);
		return text_take(&masked);
	}
	const char *digits = port + strlen(bad_port);
	cleanup_free char *before = xstrndup(string, (size_t)(digits - string));
	mask_urls(before, &masked);
	text_add(&masked, "***");
	mask_urls(digits + strcspn(digits, "\""), &masked);
	return text_take(&masked);
}

size_t
restic_mask_cut(const char *bytes, size_t length, size_t limit)
{
	if (length <= limit)
		return length;
	size_t word = limit;
	while (word > 0 && memchr(URL_END, bytes[word - 1], strlen(URL_END)) == NULL)
		word--;
	const char *scheme = memmem(bytes + word, limit - word, "://", 3);
	return scheme == NULL ? limit : (size_t)(scheme + 3 - bytes);
}

/* ---- reading ---- */

/* As restic reads it: without white space around. */
static int
read_trimmed(const char *path, char **ret_content, struct error *error)
{
	cleanup_free char *content = NULL;
	size_t length;
	if (file_read(path, SECRET_LIMIT, &content, &length, error) < 0)
		return -1;
	if (memchr(content, '\0', length) != NULL)
		return error_set(error, ERROR_SECRET, "%s contains a NUL byte", path);
	const char *start = content + strspn(content, " \t\r\n");
	size_t kept = strlen(start);
	while (kept > 0 && strchr(" \t\r\n", start[kept - 1]) != NULL)
		kept--;
	*ret_content = xstrndup(start, kept);
	return 0;
}

char *
restic_repository_words(const struct restic_settings *settings)
{
	cleanup_free char *location = NULL;
	if (read_trimmed(settings->repository_file, &location, NULL) < 0)
		return NULL;
	cleanup_free char *printable = text_printable(location);
	return restic_mask(printable);
}

/* ---- checking ---- */

static bool
location_is_absolute(const char *location)
{
	if (text_starts_with(location, "local:"))
		return location[strlen("local:")] == '/';
	for (size_t i = 0; i < ARRAY_LENGTH(backends); i++)
		if (text_starts_with(location, backends[i]))
			return true;
	return location[0] == '/';
}

static int
check_location(const char *path, struct error *error)
{
	cleanup_free char *location = NULL;
	if (read_trimmed(path, &location, error) < 0)
		return -1;
	if (location[0] == '\0') {
		error_set(error, ERROR_SECRET, "%s is empty", path);
		return error_hint(error, "write the repository's location into it, as for `restic -r`");
	}
	if (!text_is_printable(location)) {
		error_set(error, ERROR_SECRET, "%s is not one line of text", path);
		return error_hint(error, "it must hold the repository's location and nothing else");
	}
	if (!location_is_absolute(location)) {
		error_set(error, ERROR_SECRET, "%s names neither an absolute path nor a backend of restic", path);
		return error_hint(error, "write /path, or rest:..., s3:..., b2:..., sftp:... as for `restic -r`");
	}
	/* Without a password in it the location is no secret, and may be read by others. */
	cleanup_free char *masked = restic_mask(location);
	return file_check_trust(path, strcmp(masked, location) != 0, error);
}

static int
check_password(const char *path, struct error *error)
{
	cleanup_free char *password = NULL;
	if (read_trimmed(path, &password, error) < 0)
		return -1;
	if (password[0] == '\0') {
		error_set(error, ERROR_SECRET, "%s is empty", path);
		return error_hint(error, "write the password of the repository into it");
	}
	return file_check_trust(path, true, error);
}

static void
add_error(struct problem_list *problems, const char *path, struct error *error)
{
	/* A file that is not there is the most common case; the words for it are those of the system. */
	if (error->hint == NULL)
		error_hint(error, "make the file %s: owner root, mode 0600", path);
	problem_add_error(problems, path, error);
}

static void
check_environment(const char *path, struct problem_list *problems)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_strings char **environment = NULL;
	if (environment_read(path, &environment, &error) < 0) {
		add_error(problems, path, &error);
		return;
	}
	for (size_t i = 0; i < ARRAY_LENGTH(reserved_names); i++)
		if (environment_get(environment, reserved_names[i]) != NULL)
			problem_add(problems, PROBLEM_WARNING, ERROR_SECRET, path, "remove it from the file",
			    "%s is set here and ignored: the manifest decides it", reserved_names[i]);
}

void
restic_check_secrets(const struct restic_settings *settings, struct problem_list *problems)
{
	cleanup_error struct error location_error = {.code = ERROR_NONE};
	cleanup_error struct error password_error = {.code = ERROR_NONE};
	if (check_location(settings->repository_file, &location_error) < 0)
		add_error(problems, settings->repository_file, &location_error);
	if (check_password(settings->password_file, &password_error) < 0)
		add_error(problems, settings->password_file, &password_error);
	if (settings->environment_file != NULL)
		check_environment(settings->environment_file, problems);
}
