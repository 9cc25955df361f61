/* PostgreSQL databases, servers and programs that are not as they should be, and what a backup of them comes to.
 * Nothing of this is called complete, and no dump of it is in any snapshot. docs/bad-data.md has the table. */
#include "tests/integration/cli/postgres_clusters.h"

static struct cluster server;

struct bad_postgres {
	const char *words;
	const char *database;
	const char *source;         /* more of its entry in the manifest, or "" */
	const char *sql;            /* in the database "shop" before it; or NULL */
	const char *program, *body; /* a stand-in; or NULL */
	const char *code;           /* NULL: it is complete */
};

#define SECRET(file) ", \"user\": \"secret\", \"passfile\": \"" file "\""

static const struct bad_postgres cases[] = {
    {"a good one", "shop", "", NULL, NULL, NULL, NULL},
    {"without a table", "bare", "", NULL, NULL, NULL, NULL},
    {"missing", "gone", "", NULL, NULL, NULL, "database-missing"},
    {"that nobody may enter", "closed", "", NULL, NULL, NULL, "postgres-rights"},
    {"a password that is wrong", "shop", SECRET("/wrong"), NULL, NULL, NULL, "postgres-rights"},
    {"a passfile that others may read", "shop", SECRET("/open"), NULL, NULL, NULL, "postgres-rights"},
    {"a passfile that is missing", "shop", SECRET("/none"), NULL, NULL, NULL, "postgres-rights"},
    {"a table that its user may not read", "shop", SECRET("/right"), NULL, NULL, NULL, "postgres-rights"},
    {"the same, and now he may", "shop", SECRET("/right"), "GRANT ALL ON ALL TABLES IN SCHEMA public TO secret", NULL,
	NULL, NULL},
    {"pg_dump fails", "shop", "", NULL, "pg_dump", TELL_VERSION "echo >&2 'pg_dump: error: no'; exit 1",
	"dump-failed"},
    {"pg_dump is killed", "shop", "", NULL, "pg_dump", TELL_VERSION "kill -9 $$", "dump-failed"},
    {"pg_dump writes nothing", "shop", "", NULL, "pg_dump", TELL_VERSION "exit 0", "dump-incomplete"},
    {"the dump is noise", "shop", "", NULL, "pg_dump", TELL_VERSION "head -c 100000 /dev/urandom", "dump-incomplete"},
    {"the dump is cut off in its head", "shop", "", NULL, "pg_dump", TELL_VERSION "$real \"$@\" | head -c 200",
	"dump-incomplete"},
    {"the dump is cut off in its rows", "shop", "", NULL, "pg_dump", TELL_VERSION "$real \"$@\" | head -c 100000",
	"dump-incomplete"},
    {"the dump lacks its last bytes", "shop", "", NULL, "pg_dump", TELL_VERSION "$real \"$@\" | head -c -3",
	"dump-incomplete"},
    {"the dump has a hole in its list", "shop", "", NULL, "pg_dump",
	TELL_VERSION "$real \"$@\" >$at/server/whole && dd if=/dev/zero of=$at/server/whole bs=500 seek=2 count=1"
		     " conv=notrunc 2>/dev/null && cat $at/server/whole",
	"dump-incomplete"},
    {"the dump is of another format", "shop", "", NULL, "pg_dump", TELL_VERSION "exec $real \"$@\" --format=plain",
	"dump-incomplete"},
    {"the dump is of a version to come", "shop", "", NULL, "pg_dump",
	TELL_VERSION "$real \"$@\" >$at/server/whole && printf '\\003' | dd of=$at/server/whole bs=1 seek=5"
		     " conv=notrunc 2>/dev/null && cat $at/server/whole",
	"dump-incomplete"},
    {"the dump lacks a table", "shop", "", NULL, "pg_dump", TELL_VERSION "exec $real \"$@\" --exclude-table=orders",
	"dump-incomplete"},
    {"the dump lacks the rows of a table", "shop", "", NULL, "pg_dump",
	TELL_VERSION "exec $real \"$@\" --exclude-table-data=orders", "dump-incomplete"},
    {"the roles fail", "shop", "", NULL, "pg_dumpall", TELL_VERSION "exit 1", "dump-failed"},
    {"the roles end before their end", "shop", "", NULL, "pg_dumpall", TELL_VERSION "$real \"$@\" | head -c 100",
	"dump-incomplete"},
    {"the dump cannot be read back", "shop", "", NULL, "pg_restore", TELL_VERSION "exit 1", "dump-incomplete"},
};

/* ---- the world ---- */

static void
write_passfile(const struct world *world, const char *name, const char *password, mode_t mode)
{
	cleanup_free char *line = xasprintf("*:*:*:secret:%s\n", password);
	world_write(world, name, line);
	world_chmod(world, name, mode);
}

static int
corpus_setup(void **state)
{
	if (repository_setup(state) < 0)
		return -1;
	struct world *world = *state;
	allow_stand_ins(world);
	server = cluster_make(world, "server");
	cluster_tell(
	    &server, "sed -i '1i local all secret scram-sha-256' data/pg_hba.conf && pg_ctl -D data reload -s");
	cluster_tell(&server, "psql -X -q -c \"CREATE ROLE secret LOGIN PASSWORD 'word'\" -c 'CREATE DATABASE shop'"
			      " -c 'CREATE DATABASE bare' -c 'CREATE DATABASE closed'"
			      " -c 'ALTER DATABASE closed ALLOW_CONNECTIONS false'");
	cluster_tell(&server, "for table in orders items; do psql -X -q shop -c \"CREATE TABLE $table AS"
			      " SELECT n, md5(n::text) AS words FROM generate_series(1, 5000) n\" || exit 1; done");
	write_passfile(world, "right", "word", 0600);
	write_passfile(world, "wrong", "another", 0600);
	write_passfile(world, "open", "word", 0644);
	restic(world, "init", "--quiet");
	return 0;
}

static int
corpus_teardown(void **state)
{
	cluster_stop(&server);
	return world_teardown(state);
}

#define corpus_test(function) cmocka_unit_test_setup_teardown(function, corpus_setup, corpus_teardown)

/* ---- one after the other ---- */

/* Files are named from the world's directory on. */
static void
write_case_manifest(const struct world *world, const struct bad_postgres *bad)
{
	static const char key[] = "\"passfile\": \"";
	cleanup_free char *source = xstrdup(bad->source);
	char *file = strstr(source, key);
	cleanup_free char *passfile = NULL;
	if (file != NULL) {
		passfile = xasprintf(
		    "%.*s%s%s", (int)(file + strlen(key) - source), source, world->directory, file + strlen(key));
	}
	cleanup_free char *services =
	    xasprintf("\"shop\": {\"data\": {\"postgres\": {\"database\": \"%s\", \"host\": \"%s/server\"%s}}}",
		bad->database, world->directory, passfile != NULL ? passfile : "");
	write_manifest(world, ONE_ATTEMPT, services);
}

static void
check_case(struct world *world, const struct bad_postgres *bad)
{
	write_case_manifest(world, bad);
	if (bad->sql != NULL) {
		cleanup_free char *command = xasprintf("psql -X -q shop -c '%s'", bad->sql);
		cluster_tell(&server, command);
	}
	if (bad->program != NULL)
		stand_in(world, bad->program, bad->body);
	world_run(world, "backup shop");
	if (bad->program != NULL)
		remove_stand_in(world, bad->program);
	json_t *shown = show_newest(world, "shop");
	const json_t *error = json_object_get(json_object_get(shown, "job"), "error");
	const char *found = json_string_value(json_object_get(error, "code"));
	const char *outcome = job_text(shown, "outcome");
	bool right = bad->code == NULL
			 ? found == NULL && strcmp(outcome, "complete") == 0
			 : found != NULL && strcmp(found, bad->code) == 0 && strcmp(outcome, "failed") == 0;
	if (!right)
		fail_msg("%s: %s, %s\n%s", bad->words, outcome, found != NULL ? found : "no error", world->err);
	assert_int_equal(job_text(shown, "snapshot")[0] != '\0', bad->code == NULL);
	json_decref(shown);
	assert_false(world_has(world, "state/staging"));
}

static void
no_bad_dump_is_called_complete(void **state)
{
	size_t good = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		check_case(*state, &cases[i]);
		good += cases[i].code == NULL;
	}
	assert_int_equal(count_snapshots(*state, NULL), good);
}

static void
a_server_that_is_down_is_tried_again(void **state)
{
	static const struct bad_postgres down = {"down", "shop", "", NULL, NULL, NULL, "postgres-unreachable"};
	cluster_stop(&server);
	check_case(*state, &down);
	cluster_start(&server);
	check_case(*state, &cases[0]);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    corpus_test(no_bad_dump_is_called_complete),
	    corpus_test(a_server_that_is_down_is_tried_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
