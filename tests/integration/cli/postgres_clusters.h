/* PostgreSQL servers of our own, as the user postgres, each in a directory of the world: its data is in `data`, its
 * socket beside it. And programs of PostgreSQL that do something else than they should. */
#ifndef ATELIER_TESTS_INTEGRATION_CLI_POSTGRES_CLUSTERS_H
#define ATELIER_TESTS_INTEGRATION_CLI_POSTGRES_CLUSTERS_H

#include "tests/integration/cli/repository_world.h"

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>

struct cluster {
	const struct world *world;
	const char *name;
	pid_t server; /* 0: it does not run */
};

static inline const char *
postgres_programs(void)
{
	const char *programs = getenv("ATELIER_TEST_POSTGRES");
	if (programs == NULL)
		fail_msg("ATELIER_TEST_POSTGRES must name PostgreSQL's programs (scripts/test sets it)");
	return programs;
}

static inline const struct passwd *
postgres_user(void)
{
	const struct passwd *user = getpwnam("postgres");
	if (user == NULL)
		fail_msg("there is no user postgres to run a server");
	return user;
}

static inline pid_t
cluster_begin(const struct cluster *cluster, const char *command)
{
	const struct passwd *user = postgres_user();
	cleanup_free char *path = xasprintf("%s:/usr/bin:/bin", postgres_programs());
	cleanup_free char *home = world_path(cluster->world, cluster->name);
	pid_t child = fork();
	if (child == 0) {
		setenv("PATH", path, 1);
		setenv("PGHOST", home, 1);
		if (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0 || chdir(home) < 0)
			_exit(126);
		prctl(PR_SET_PDEATHSIG, SIGQUIT); /* after the user has changed: the kernel forgets it then */
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	assert_true(child > 0);
	return child;
}

static inline int
cluster_run(const struct cluster *cluster, const char *command)
{
	int status;
	pid_t child = cluster_begin(cluster, command);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static inline void
cluster_tell(const struct cluster *cluster, const char *command)
{
	if (cluster_run(cluster, command) != 0)
		fail_msg("%s: failed: %s", cluster->name, command);
}

/* What a command prints; the caller owns it. */
static inline char *
cluster_ask(const struct cluster *cluster, const char *command)
{
	cleanup_free char *line = xasprintf("{ %s\n} >answer", command);
	cleanup_free char *name = xasprintf("%s/answer", cluster->name);
	cluster_tell(cluster, line);
	return world_read(cluster->world, name);
}

static inline void
cluster_start(struct cluster *cluster)
{
	cluster->server = cluster_begin(cluster, "exec postgres -D data >>log 2>&1");
	until_true(cluster_run(cluster, "pg_isready -q") == 0);
}

static inline void
cluster_stop(struct cluster *cluster)
{
	int status;
	if (cluster->server == 0)
		return;
	kill(cluster->server, SIGQUIT);
	assert_int_equal(waitpid(cluster->server, &status, 0), cluster->server);
	cluster->server = 0;
}

/* Made and started. */
static inline struct cluster
cluster_make(const struct world *world, const char *name)
{
	struct cluster cluster = {.world = world, .name = name};
	const struct passwd *user = postgres_user();
	cleanup_free char *home = world_path(world, name);
	world_chmod(world, "", 0711);
	assert_int_equal(mkdir(home, 0755), 0);
	assert_int_equal(chown(home, user->pw_uid, user->pw_gid), 0);
	cluster_tell(&cluster, "initdb -D data -A peer -U postgres -E UTF8 --locale=C.UTF-8 --no-sync >log && "
			       "printf \"fsync = off\\nlisten_addresses = ''\\nunix_socket_directories = '$PWD'\\n\" "
			       ">>data/postgresql.conf");
	cluster_start(&cluster);
	return cluster;
}

/* ---- stand-ins for programs ---- */

/* In the body of a script that does something else than the program. */
#define TELL_VERSION "[ \"$1\" = --version ] && exec $real --version; "

static inline void
put_real_program(const struct world *world, const char *program)
{
	cleanup_free char *path = xasprintf("%s/bin/%s", world->directory, program);
	cleanup_free char *real = xasprintf("%s/%s", postgres_programs(), program);
	assert_int_equal(symlink(real, path), 0);
}

/* The runner that begins after this finds the programs of PostgreSQL in the directory `bin`, all of them: those that
 * come with pg_dump are looked for beside it. */
static inline void
allow_stand_ins(const struct world *world)
{
	cleanup_free char *directory = world_path(world, "bin");
	cleanup_free char *path = xasprintf("%s:/usr/sbin:/usr/bin:/sbin:/bin", directory);
	assert_int_equal(mkdir(directory, 0755), 0);
	put_real_program(world, "pg_dump");
	put_real_program(world, "pg_dumpall");
	put_real_program(world, "pg_restore");
	setenv("PATH", path, 1);
}

/* A script in the place of the program. In its body, $real is the real one and $at the world's directory. */
static inline void
stand_in(const struct world *world, const char *program, const char *body)
{
	cleanup_free char *name = xasprintf("bin/%s", program);
	cleanup_free char *script =
	    xasprintf("#!/bin/sh\nat=%s\nreal=%s/%s\n%s\n", world->directory, postgres_programs(), program, body);
	world_write(world, name, script);
	world_chmod(world, name, 0755);
}

static inline void
remove_stand_in(const struct world *world, const char *program)
{
	cleanup_free char *path = xasprintf("%s/bin/%s", world->directory, program);
	assert_int_equal(unlink(path), 0);
	put_real_program(world, program);
}

#endif
