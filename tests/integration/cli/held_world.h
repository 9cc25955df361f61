/* A world whose backups stand still where a test wants them to, with a service that hooks stop and start: "web" is
 * down while the file `down` is there, and `stopped` and `started` count how often. */
#ifndef ATELIER_TESTS_INTEGRATION_CLI_HELD_WORLD_H
#define ATELIER_TESTS_INTEGRATION_CLI_HELD_WORLD_H

#include "tests/integration/cli/cli_world.h"

#include <errno.h>
#include <pty.h>

#define HELD_RESTIC                                                                                                  \
	"#!/bin/sh\n"                                                                                                \
	"case \" $* \" in\n"                                                                                         \
	"*' backup '*) : >%s/reading; while [ -e %s/hold ]; do sleep 0.02; done; rm -f %s/reading ;;\n"              \
	"esac\n"                                                                                                     \
	"exec %s \"$@\"\n"

static inline void
held_hold(const struct world *world)
{
	world_write(world, "hold", "");
}

static inline void
held_release(const struct world *world)
{
	cleanup_free char *path = world_path(world, "hold");
	unlink(path);
}

/* "web" with hooks, and "wiki" without. */
static inline int
held_setup(void **state)
{
	if (world_setup(state) < 0)
		return -1;
	struct world *world = *state;
	const char *at = world->directory;
	cleanup_free char *script = xasprintf(HELD_RESTIC, at, at, at, world->restic);
	cleanup_free char *program = world_path(world, "restic");
	cleanup_free char *services = xasprintf("\"web\": {\"data\": {\"files\": [\"%s/data\"]}, \"stopUnits\": [],"
						" \"preBackup\": \"echo stop >>%s/stopped; : >%s/down\","
						" \"postBackup\": \"echo start >>%s/started; rm -f %s/down\"},"
						"\"wiki\": {\"data\": {\"files\": [\"%s/data\"]}}",
	    at, at, at, at, at, at);
	world_write(world, "restic", script);
	world_chmod(world, "restic", 0755);
	setenv("ATELIER_BACKUP_RESTIC", program, 1);
	world_manifest(world, services);
	return 0;
}

static inline int
held_teardown(void **state)
{
	held_release(*state);
	return world_teardown(state);
}

#define held_test(function) cmocka_unit_test_setup_teardown(function, held_setup, held_teardown)

/* In a session of its own, as from a shell; ends when the world does. */
static inline pid_t
held_begin(const struct world *world, const char *line)
{
	cleanup_strings char **words = words_of(line);
	pid_t child = fork();
	if (child == 0) {
		setsid();
		become_command(world, words);
	}
	assert_true(child > 0);
	return child;
}

/* A backup of web that stands in `snapshot`, the service down. Returns the command. */
static inline pid_t
held_begin_backup(const struct world *world, const char *line)
{
	held_hold(world);
	pid_t child = held_begin(world, line);
	until_true(world_has(world, "reading") && world_has(world, "down"));
	return child;
}

/* ---- on a terminal ---- */

struct terminal {
	int descriptor;
	pid_t child;
	struct text seen;
};

static inline void
terminal_begin(struct terminal *terminal, const char *line)
{
	cleanup_strings char **words = words_of(line);
	struct winsize size = {.ws_row = 24, .ws_col = 100};
	*terminal = (struct terminal){.descriptor = -1};
	terminal->child = forkpty(&terminal->descriptor, NULL, NULL, &size);
	if (terminal->child == 0) {
		setenv("TERM", "xterm", 1);
		execv(words[0], words);
		_exit(127);
	}
	assert_true(terminal->child > 0);
	fcntl(terminal->descriptor, F_SETFL, O_NONBLOCK);
}

/* Takes what has come. False: the other side is gone. */
static inline bool
terminal_read(struct terminal *terminal)
{
	char buffer[4096];
	ssize_t got;
	while ((got = read(terminal->descriptor, buffer, sizeof(buffer))) > 0)
		text_add_bytes(&terminal->seen, buffer, (size_t)got);
	return got < 0 && errno == EAGAIN;
}

static inline bool
terminal_has(struct terminal *terminal, const char *words)
{
	terminal_read(terminal);
	return terminal->seen.string != NULL && strstr(terminal->seen.string, words) != NULL;
}

static inline void
terminal_type(const struct terminal *terminal, const char *keys)
{
	assert_int_equal(write(terminal->descriptor, keys, strlen(keys)), strlen(keys));
}

/* Waits for the command. Returns its exit code, or minus the signal. */
static inline int
terminal_end_of(struct terminal *terminal)
{
	int status;
	until_true(waitpid(terminal->child, &status, WNOHANG) == terminal->child || (terminal_read(terminal), false));
	terminal_read(terminal);
	close(terminal->descriptor);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

#endif
