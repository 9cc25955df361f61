#include "core/file.h"

#include "core/alloc.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static enum error_code
code_of_errno(int number)
{
	switch (number) {
	case EACCES:
	case EPERM:
		return ERROR_PERMISSION;
	case ENOSPC:
	case EDQUOT:
		return ERROR_NO_SPACE;
	default:
		return ERROR_SYSTEM;
	}
}

/* errno must still be that of the failure. */
static int
file_error(struct error *error, const char *doing, const char *path)
{
	int number = errno;
	return error_set(error, code_of_errno(number), "cannot %s %s: %s", doing, path, strerror(number));
}

/* Reads to the end or until there is more than `limit`. A size of 0 does not mean empty (/proc). */
static int
read_to_end(int descriptor, size_t limit, struct text *content)
{
	char chunk[16384];
	while (content->length <= limit) {
		ssize_t count = read(descriptor, chunk, sizeof(chunk));
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -1;
		text_add_bytes(content, chunk, (size_t)count);
		if (count == 0)
			break;
	}
	return 0;
}

int
file_read(const char *path, size_t limit, char **ret_content, size_t *ret_length, struct error *error)
{
	/* O_NONBLOCK: opening a FIFO would wait for a writer. */
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (descriptor < 0)
		return file_error(error, "read", path);
	struct stat status;
	if (fstat(descriptor, &status) < 0)
		return file_error(error, "read", path);
	if (!S_ISREG(status.st_mode))
		return error_set(error, ERROR_SYSTEM, "cannot read %s: it is not a regular file", path);

	cleanup_text struct text content = {.string = NULL};
	if (read_to_end(descriptor, limit, &content) < 0)
		return file_error(error, "read", path);
	if (content.length > limit)
		return error_set(error, ERROR_SYSTEM, "%s is larger than %zu bytes", path, limit);
	*ret_length = content.length;
	*ret_content = text_take(&content);
	return 0;
}

int
file_check_trust(const char *path, bool secret, struct error *error)
{
	struct stat status;
	if (stat(path, &status) < 0)
		return file_error(error, "look at", path);
	if (status.st_uid != 0 && status.st_uid != geteuid()) {
		error_set(error, ERROR_PERMISSION, "%s belongs to user %u, who could change it", path,
		    (unsigned)status.st_uid);
		return error_hint(error, "chown root: %s", path);
	}
	if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		error_set(error, ERROR_PERMISSION, "%s can be written by others than its owner (mode %04o)", path,
		    status.st_mode & 07777U);
		return error_hint(error, "chmod %s %s", secret ? "go-rwx" : "go-w", path);
	}
	if (secret && (status.st_mode & (S_IRGRP | S_IROTH)) != 0) {
		error_set(error, ERROR_PERMISSION, "the secret %s can be read by others than its owner (mode %04o)",
		    path, status.st_mode & 07777U);
		return error_hint(error, "chmod go-rwx %s", path);
	}
	return 0;
}

/* C1 takes two bytes in UTF-8. */
static bool
is_control(const unsigned char *byte)
{
	if (byte[0] >= 0x20 && byte[0] < 0x7f)
		return false;
	return byte[0] < 0x80 || (byte[0] == 0xc2 && byte[1] >= 0x80 && byte[1] <= 0x9f);
}

static bool
is_end_of_component(unsigned char byte)
{
	return byte == '/' || byte == '\0';
}

/* Neither empty nor "." nor "..". */
static bool
component_is_clean(const unsigned char *component)
{
	size_t dots = component[0] != '.' ? 0 : component[1] != '.' ? 1 : 2;
	return !is_end_of_component(component[dots]);
}

bool
path_is_clean(const char *path)
{
	const unsigned char *bytes = (const unsigned char *)path;
	if (bytes[0] != '/')
		return false;
	if (bytes[1] == '\0')
		return true;
	for (; *bytes != '\0'; bytes++)
		if (is_control(bytes) || (*bytes == '/' && !component_is_clean(bytes + 1)))
			return false;
	return true;
}

/* Where nothing exists, nothing is a link: ".." goes back to where one came from. */
static void
enter_component(struct text *path, const char *component, size_t length)
{
	if (length == 0 || (length == 1 && component[0] == '.'))
		return;
	if (length == 2 && component[0] == '.' && component[1] == '.') {
		char *slash = path->length > 0 ? strrchr(path->string, '/') : NULL;
		path->length = slash != NULL ? (size_t)(slash - path->string) : 0;
		if (slash != NULL)
			*slash = '\0';
		return;
	}
	text_add(path, "/");
	text_add_bytes(path, component, length);
}

/* "/" is empty in here. */
static char *
enter_rest(const char *real, const char *rest)
{
	cleanup_text struct text path = {.string = NULL};
	text_add(&path, strcmp(real, "/") == 0 ? "" : real);
	for (const char *component = rest; component != NULL;) {
		size_t length = strcspn(component, "/");
		enter_component(&path, component, length);
		component = component[length] == '/' ? component + length + 1 : NULL;
	}
	if (path.length == 0)
		text_add(&path, "/");
	return text_take(&path);
}

char *
path_resolve(const char *path)
{
	cleanup_free char *existing = xstrdup(path);
	for (;;) {
		cleanup_free char *real = realpath(existing, NULL);
		char *slash = strrchr(existing, '/');
		if (real != NULL || slash == NULL || existing[1] == '\0')
			return enter_rest(real != NULL ? real : "/", path + strlen(existing));
		/* "/a" has the parent "/". */
		slash[slash == existing ? 1 : 0] = '\0';
	}
}

bool
path_is_below(const char *path, const char *directory)
{
	size_t length = strlen(directory);
	if (length == 1)
		return true;
	return strncmp(path, directory, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

/* Makes every directory on the way to `path`, and `path` itself. */
static int
make_missing_directories(const char *path, struct error *error)
{
	cleanup_free char *part = xstrdup(path);
	for (char *end = part; *end != '\0';) {
		end += strspn(end, "/");
		end += strcspn(end, "/");
		char after = *end;
		*end = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST) {
			/* A directory that is there may still answer EROFS or EACCES. */
			int number = errno;
			struct stat status;
			if (stat(part, &status) < 0 || !S_ISDIR(status.st_mode)) {
				errno = number;
				return file_error(error, "make the directory", part);
			}
		}
		*end = after;
	}
	return 0;
}

int
directory_make_private(const char *path, struct error *error)
{
	if (make_missing_directories(path, error) < 0)
		return -1;
	cleanup_close int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat status;
	if (descriptor < 0 || fstat(descriptor, &status) < 0)
		return file_error(error, "use the directory", path);
	if (status.st_uid != geteuid()) {
		error_set(error, ERROR_PERMISSION, "the directory %s belongs to user %u, not to user %u", path,
		    (unsigned)status.st_uid, (unsigned)geteuid());
		return error_hint(error, "chown %u %s", (unsigned)geteuid(), path);
	}
	if ((status.st_mode & 0777) != 0700 && fchmod(descriptor, 0700) < 0)
		return file_error(error, "set the mode of", path);
	return 0;
}

int
file_write_all(int descriptor, const void *bytes, size_t length)
{
	const char *rest = bytes;
	while (length > 0) {
		ssize_t count = write(descriptor, rest, length);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -1;
		rest += count;
		length -= (size_t)count;
	}
	return 0;
}

static int
write_durably(int descriptor, const char *content, size_t length)
{
	/* A strange umask may have taken the owner's rights from the new file. */
	if (fchmod(descriptor, 0600) < 0 || file_write_all(descriptor, content, length) < 0)
		return -1;
	return fsync(descriptor);
}

/* The same name every time, so that what a process that was killed has left goes with the next one. */
static char *
replacement_path(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash == NULL ? path : slash + 1;
	return xasprintf("%.*s.%s.new", (int)(name - path), path, name);
}

int
file_replace(const char *path, const char *content, size_t length, struct error *error)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash == NULL ? path : slash + 1;
	cleanup_free char *directory = slash == NULL ? xstrdup(".") : xstrndup(path, (size_t)(name - path));
	cleanup_free char *temporary = replacement_path(path);

	cleanup_close int directory_descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory_descriptor < 0)
		return file_error(error, "write into", directory);
	cleanup_close int descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (descriptor < 0)
		return file_error(error, "write into", directory);
	if (write_durably(descriptor, content, length) < 0 || rename(temporary, path) < 0) {
		file_error(error, "write", path);
		unlink(temporary);
		return -1;
	}
	if (fsync(directory_descriptor) < 0)
		return file_error(error, "write", path);
	return 0;
}

void
file_forget_replacement(const char *path)
{
	cleanup_free char *temporary = replacement_path(path);
	unlink(temporary);
}

static bool
is_executable(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

char *
program_find(const char *name)
{
	if (name[0] == '\0')
		return NULL;
	if (strchr(name, '/') != NULL)
		return is_executable(name) ? xstrdup(name) : NULL;
	const char *search = getenv("PATH");
	if (search == NULL)
		search = "/bin:/usr/bin"; /* what execvp takes */
	for (const char *directory = search; directory != NULL;) {
		size_t length = strcspn(directory, ":");
		/* An empty component is the current directory. */
		cleanup_free char *candidate =
		    length == 0 ? xasprintf("./%s", name) : xasprintf("%.*s/%s", (int)length, directory, name);
		if (is_executable(candidate))
			return take_pointer(candidate);
		directory = directory[length] == ':' ? directory + length + 1 : NULL;
	}
	return NULL;
}
