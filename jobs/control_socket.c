#include "jobs/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "core/alloc.h"
#include "jobs/control_server.h"

/* More than may be connected: the rest is told that there is no room. */
#define BACKLOG (2 * CONTROL_MOST_CLIENTS)

/* ---- the address ---- */

static int
open_directory_of(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	if (slash == NULL) {
		errno = ENAMETOOLONG;
		return -1;
	}
	cleanup_free char *directory = slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
	*ret_name = slash + 1;
	return open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

int
control_address_of(const char *path, struct control_address *ret_address)
{
	struct control_address address = {.socket = {.sun_family = AF_UNIX}, .directory = -1};
	cleanup_free char *through = NULL;
	if (strlen(path) >= sizeof(address.socket.sun_path)) {
		const char *name;
		address.directory = open_directory_of(path, &name);
		if (address.directory < 0)
			return -1;
		through = xasprintf("/proc/self/fd/%d/%s", address.directory, name);
		path = through;
	}
	if (strlen(path) >= sizeof(address.socket.sun_path)) {
		control_address_release(&address);
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.socket.sun_path, path, strlen(path) + 1);
	*ret_address = address;
	return 0;
}

void
control_address_release(struct control_address *address)
{
	if (address->directory >= 0)
		close(address->directory);
	address->directory = -1;
}

static int
new_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

int
control_socket_connect(const char *path)
{
	struct control_address address;
	if (control_address_of(path, &address) < 0)
		return -1;
	int descriptor = new_socket();
	int result = descriptor < 0 ? -1
				    : connect(descriptor, (const struct sockaddr *)(const void *)&address.socket,
					  sizeof(address.socket));
	int number = errno;
	control_address_release(&address);
	if (result < 0 && descriptor >= 0)
		close(descriptor);
	errno = number;
	return result < 0 ? -1 : descriptor;
}

/* ---- listening ---- */

static int
cannot(const char *what, const char *path, struct error *error)
{
	int number = errno;
	enum error_code code = number == EACCES || number == EPERM || number == EROFS ? ERROR_PERMISSION
			       : number == ENOSPC || number == EDQUOT                 ? ERROR_NO_SPACE
										      : ERROR_SYSTEM;
	error_set(error, code, "cannot %s %s: %s", what, path, strerror(number));
	return error_hint(error, "is the runtime directory (--runtime-dir) one that this user may write?");
}

/* What has to be made is 0755, whatever the umask: others have to reach the socket. */
static int
make_directory(const char *path, struct error *error)
{
	struct stat status;
	if (stat(path, &status) == 0) {
		if (S_ISDIR(status.st_mode))
			return 0;
		errno = ENOTDIR;
		return cannot("use", path, error);
	}
	const char *slash = strrchr(path, '/');
	if (slash != NULL && slash != path) {
		cleanup_free char *parent = xstrndup(path, (size_t)(slash - path));
		if (make_directory(parent, error) < 0)
			return -1;
	}
	if ((mkdir(path, 0755) < 0 && errno != EEXIST) || chmod(path, 0755) < 0)
		return cannot("make the directory", path, error);
	return 0;
}

/* We hold the runner lock of our journal: who listens here belongs to another one, or to nobody any more. */
static int
remove_stale(const char *path, struct error *error)
{
	int descriptor = control_socket_connect(path);
	if (descriptor >= 0)
		close(descriptor);
	if (descriptor >= 0 || errno == EAGAIN) {
		error_set(error, ERROR_SYSTEM_BUSY, "the runner of another journal listens on %s", path);
		return error_hint(error, "give each state directory a runtime directory of its own (--runtime-dir)");
	}
	if (errno == ECONNREFUSED && unlink(path) < 0 && errno != ENOENT)
		return cannot("remove", path, error);
	return 0;
}

static int
bind_and_listen(int descriptor, const char *path)
{
	struct control_address address;
	if (control_address_of(path, &address) < 0)
		return -1;
	int result = bind(descriptor, (const struct sockaddr *)(const void *)&address.socket, sizeof(address.socket));
	int number = errno;
	control_address_release(&address);
	errno = number;
	if (result < 0 || chmod(path, 0666) < 0)
		return -1;
	return listen(descriptor, BACKLOG);
}

int
control_listen(const char *runtime_directory, struct error *error)
{
	cleanup_free char *path = xasprintf("%s/%s", runtime_directory, CONTROL_SOCKET_NAME);
	if (make_directory(runtime_directory, error) < 0 || remove_stale(path, error) < 0)
		return -1;
	cleanup_close int descriptor = new_socket();
	if (descriptor < 0 || bind_and_listen(descriptor, path) < 0)
		return cannot("listen on", path, error);
	int listener = descriptor;
	descriptor = -1;
	return listener;
}
