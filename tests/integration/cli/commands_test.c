/* The program as people call it: a fresh machine, a repository, a backup, a lost repository. */
#include "tests/integration/cli/cli_world.h"

#include "core/clock.h"

#include <pty.h>
#include <signal.h>
#include <time.h>

#define NOBODY 65534

/* ---- a fresh machine ---- */

static void
nothing_is_there_yet(void **state)
{
	struct world *world = *state;
	expect_run(world, "status", 5);
	expect_words(world->out, "no good backup yet");
	expect_run(world, "jobs", 0);
	assert_string_equal(world->out, "");
	expect_run(world, "show 1", 2);
	expect_words(world->err, "there is no job 1");
	/* Nothing of that has left a trace. */
	cleanup_free char *state_directory = world_path(world, "state");
	assert_int_equal(access(state_directory, F_OK), -1);
}

static void
check_finds_a_fresh_machine_fit(void **state)
{
	struct world *world = *state;
	expect_run(world, "check", 0);
	expect_words(world->out, "there is no repository yet: the first backup makes it");
	expect_words(world->out, "restic 0.14");
	expect_words(world->out, "0 errors, 0 warnings\n");
	expect_run(world, "check --offline", 0);
	expect_words(world->out, "left out because of --offline");
}

static void
check_says_everything_at_once(void **state)
{
	struct world *world = *state;
	cleanup_free char *services =
	    xasprintf("\"web\": {\"data\": {\"files\": [\"%s/nowhere\"]}},"
		      "\"forum\": {\"data\": {\"sqlite\": \"%s/data/none.db\"}, \"stopUnits\": [],"
		      "  \"preBackup\": \"true\"},"
		      "\"shop\": {\"data\": {\"files\": [\"%s/data\", \"%s/gone\"]}}",
		world->directory, world->directory, world->directory, world->directory);
	world_manifest(world, services);
	world_write(world, "password", "");
	world_chmod(world, "env", 0666);
	expect_run(world, "check", 1);
	expect_words(world->out, "error: services.web: ");
	expect_words(world->out, "error: services.forum.data.sqlite: ");
	expect_words(world->out, "error: services.shop: ");
	expect_words(world->out, "/password");
	expect_words(world->out, "/env");
	expect_words(world->out, "5 errors, 0 warnings\n");
	/* The gravest first. */
	assert_true(strstr(world->out, "note: ") > strstr(world->out, "error: services.web"));
}

/* ---- the repository ---- */

static void
init_makes_the_repository_once(void **state)
{
	struct world *world = *state;
	expect_run(world, "list", 1);
	assert_string_equal(world->out, "");
	expect_words(world->err, "no repository");
	expect_run(world, "init", 0);
	expect_words(world->out, "made the repository");
	expect_run(world, "init", 0);
	expect_words(world->out, "there already");
	cleanup_free char *elsewhere = xasprintf("init --state-dir=%s/another", world->directory);
	expect_run(world, elsewhere, 1);
	expect_words(world->err, "is there already");
	expect_run(world, "list", 0);
	assert_string_equal(world->out, "");
	expect_words(world->err, "no snapshots");
	expect_run(world, "check", 0);
	expect_words(world->out, "answers (");
}

static void
a_repository_that_does_not_answer_is_no_empty_list(void **state)
{
	struct world *world = *state;
	expect_run(world, "init", 0);
	world_rename(world, "repo", "unmounted");
	expect_run(world, "list", 1);
	assert_string_equal(world->out, "");
	expect_run(world, "check", 1);
	expect_words(world->out, "there was a repository here");
	world_rename(world, "unmounted", "repo");
	world_write(world, "password", "wrong");
	expect_run(world, "list", 1);
	assert_string_equal(world->out, "");
	expect_words(world->err, "password");
	expect_run(world, "check", 1);
	expect_words(world->out, "password");
}

static void
another_repository_at_the_place_is_noticed(void **state)
{
	struct world *world = *state;
	expect_run(world, "init", 0);
	world_rename(world, "repo", "first");
	expect_run(world, "init", 0);
	expect_words(world->err, "the repository that was at this place before");
	world_rename(world, "repo", "second");
	world_rename(world, "first", "repo");
	expect_run(world, "check", 1);
	expect_words(world->out, "another repository is at this place");
}

/* ---- after a backup ---- */

static void
a_backup_is_seen_by_every_command(void **state)
{
	struct world *world = *state;
	expect_run(world, "backup web", 0);
	expect_run(world, "status", 0);
	expect_words(world->out, "web             good       pruned  complete");
	expect_run(world, "list", 0);
	expect_words(world->out, "good");
	expect_words(world->out, "service:web,type:files");
	expect_words(world->out, "/data");
	expect_run(world, "list web", 0);
	expect_words(world->out, "service:web");
	expect_run(world, "jobs web --limit 1", 0);
	expect_words(world->out, "complete");
	expect_run(world, "show 1", 0);
	expect_words(world->out, "checkpoint  snapshot");
	expect_words(world->out, "/data");
	expect_run(world, "show 3", 2);
	expect_run(world, "show 0", 2);
	expect_run(world, "show one", 2);
	/* A service that is gone from the manifest keeps its snapshots. */
	world_manifest(world, "");
	expect_run(world, "list web", 0);
	expect_words(world->out, "service:web");
}

static void
a_name_that_is_nearly_right_is_suggested(void **state)
{
	struct world *world = *state;
	expect_run(world, "init", 0);
	expect_run(world, "status wbe", 2);
	expect_words(world->err, "did you mean 'web'?");
	expect_run(world, "list wbe", 2);
	expect_words(world->err, "did you mean 'web'?");
	expect_run(world, "stauts", 2);
	expect_words(world->err, "did you mean 'status'?");
}

static void
json_is_valid_everywhere(void **state)
{
	struct world *world = *state;
	static const struct {
		const char *line;
		int code;
		const char *key;
	} cases[] = {
	    {"status --json", 5, "services"},
	    {"list --json", 1, "error"},
	    {"check --json", 0, "problems"},
	    {"check --json --offline", 0, "problems"},
	    {"jobs --json", 0, "jobs"},
	    {"show 1 --json", 2, "error"},
	    {"init --json", 0, "repository_id"},
	    {"list --json", 0, "snapshots"},
	    {"list --json wbe", 2, "error"},
	    {"--json", 2, NULL},
	    {"--json --bogus", 2, "error"},
	    {"backup --json --dry-run web", 0, "problems"},
	    {"backup web", 0, NULL},
	    {"status --json", 0, "services"},
	    {"list --json web", 0, "snapshots"},
	    {"jobs --json", 0, "jobs"},
	    {"show 1 --json", 0, "transitions"},
	    {"retention --json --dry-run", 0, "services"},
	    {"retention --json", 2, "error"},
	    {"status --json --manifest=/nowhere.json", 2, "problems"},
	    {"check --json --manifest=/nowhere.json", 2, "problems"},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		if (cases[i].key == NULL) {
			expect_run(world, cases[i].line, cases[i].code);
			continue;
		}
		json_t *document = expect_json(world, cases[i].line, cases[i].code);
		if (json_object_get(document, cases[i].key) == NULL)
			fail_msg("'%s' answers without \"%s\": %s", cases[i].line, cases[i].key, world->out);
		assert_string_equal(world->err, "");
		json_decref(document);
	}
}

static void
a_backup_prints_one_json_object_per_line(void **state)
{
	struct world *world = *state;
	size_t lines = 0;
	expect_run(world, "backup web --json", 0);
	cleanup_free char *output = xstrdup(world->out);
	char *rest = NULL;
	for (char *line = strtok_r(output, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		json_t *document = json_loads(line, 0, NULL);
		if (document == NULL || !json_is_string(json_object_get(document, "event")))
			fail_msg("no event: %s", line);
		json_decref(document);
		lines++;
	}
	assert_true(lines > 1);
}

/* ---- words from outside ---- */

static void
run_restic(const struct world *world, const char *const *arguments)
{
	cleanup_free char *repository = world_path(world, "repository");
	cleanup_free char *password = world_path(world, "password");
	pid_t child = fork();
	if (child == 0) {
		setenv("RESTIC_REPOSITORY_FILE", repository, 1);
		setenv("RESTIC_PASSWORD_FILE", password, 1);
		setenv("RESTIC_CACHE_DIR", world->directory, 1);
		int output = open("/dev/null", O_WRONLY);
		dup2(output, 1);
		char *words[16] = {xstrdup(world->restic)};
		for (size_t i = 0; arguments[i] != NULL; i++)
			words[i + 1] = xstrdup(arguments[i]);
		execv(words[0], words);
		_exit(127);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void
hostile_snapshots_do_not_drive_the_terminal(void **state)
{
	struct world *world = *state;
	cleanup_free char *hostile = world_path(world, "data/\033[2J\033]0;owned\007\n");
	mkdir(hostile, 0700);
	expect_run(world, "init", 0);
	run_restic(world, (const char *const[]){"backup", "--host", "evil\033[31m\r", "--tag", "service:web\033[2J",
			      "--tag", "\302\233tag\342\200\256", hostile, NULL});
	expect_run(world, "list", 0);
	expect_words(world->out, "evil?[31m");
	expect_words(world->out, "web?[2J");
	assert_null(strstr(world->out, "\302\233"));
	assert_null(strstr(world->out, "\342\200\256"));
	json_decref(expect_json(world, "list --json", 0));
}

/* ---- root ---- */

static void
without_root_and_terminal_there_is_a_clear_error(void **state)
{
	struct world *world = *state;
	static const char *const lines[] = {
	    "check", "list", "init", "backup web", "run", "recover", "cancel 1", "retry 1", "runner", "guardian"};
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(world->directory, 0777), 0);
	world->user = NOBODY;
	for (size_t i = 0; i < ARRAY_LENGTH(lines); i++) {
		cleanup_free char *with_json = xasprintf("%s --json", lines[i]);
		expect_run(world, lines[i], 2);
		expect_words(world->err, "has to run as root");
		json_t *document = expect_json(world, with_json, 2);
		assert_non_null(json_object_get(document, "error"));
		json_decref(document);
	}
}

/* Run by nobody, with a sudo of ours first in PATH. */
static void
on_a_terminal_sudo_is_asked(void **state)
{
	struct world *world = *state;
	if (geteuid() != 0)
		skip();
	cleanup_free char *path = xasprintf("%s:%s", world->directory, getenv("PATH"));
	world_write(world, "sudo", "#!/bin/sh\nprintf '%s|' \"$@\"\nexit 4\n");
	world_chmod(world, "sudo", 0755);
	assert_int_equal(chmod(world->directory, 0755), 0);
	int terminal;
	pid_t child = forkpty(&terminal, NULL, NULL, NULL);
	if (child == 0) {
		setenv("PATH", path, 1);
		unsetenv("ATELIER_BACKUP_RUNTIME_DIR");
		unsetenv("ATELIER_BACKUP_RESTIC");
		if (setgid(NOBODY) == 0 && setuid(NOBODY) == 0)
			execl(PROGRAM, PROGRAM, "backup", "web", "--json", (char *)NULL);
		_exit(127);
	}
	cleanup_text struct text output = {.string = NULL};
	char buffer[4096];
	for (ssize_t got; (got = read(terminal, buffer, sizeof(buffer))) > 0;)
		text_add_bytes(&output, buffer, (size_t)got);
	close(terminal);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), 4);
	cleanup_free char *program = realpath(PROGRAM, NULL);
	cleanup_free char *expected =
	    xasprintf("--|%s|--manifest=%s/manifest.json|--state-dir=%s/state|backup|web|--json|", program,
		world->directory, world->directory);
	expect_words(output.string, expected);
}

static void
status_needs_no_root(void **state)
{
	struct world *world = *state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(world->directory, 0777), 0);
	world_chmod(world, "manifest.json", 0644);
	world->user = NOBODY;
	expect_run(world, "status", 5);
	world->user = 0;
}

/* ---- the end of a command ---- */

static void
wait_for_file(const char *path)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	int64_t deadline = clock_monotonic(clock_system()) + 30 * USEC_PER_SEC;
	while (access(path, F_OK) < 0) {
		if (clock_monotonic(clock_system()) > deadline)
			fail_msg("%s does not appear", path);
		nanosleep(&pause, NULL);
	}
}

static void
a_list_that_hangs_can_be_cancelled(void **state)
{
	struct world *world = *state;
	cleanup_free char *script = xasprintf("#!/bin/sh\ncase \"$*\" in\n"
					      "*version*) echo 'restic 0.14.0 compiled with go1.19' ;;\n"
					      "*) touch '%s/begun'; exec sleep 300 ;;\nesac\n",
	    world->directory);
	cleanup_free char *begun = world_path(world, "begun");
	cleanup_free char *line = xasprintf("list --restic=%s/restic", world->directory);
	cleanup_strings char **words = words_of(line);
	world_write(world, "restic", script);
	world_chmod(world, "restic", 0755);
	pid_t child = world_begin(world, words);
	wait_for_file(begun);
	kill(child, SIGINT);
	world_end(world, child);
	assert_int_equal(world->code, 4);
	assert_string_equal(world->out, "");
}

static void
an_answer_that_cannot_be_written_is_a_failure(void **state)
{
	struct world *world = *state;
	cleanup_free char *line = xasprintf(PROGRAM " --version > /dev/full 2> %s/err", world->directory);
	int status = system(line);
	assert_int_equal(WEXITSTATUS(status), 1);
	cleanup_free char *words = world_read(world, "err");
	expect_words(words, "could not be written");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    world_test(nothing_is_there_yet),
	    world_test(check_finds_a_fresh_machine_fit),
	    world_test(check_says_everything_at_once),
	    world_test(init_makes_the_repository_once),
	    world_test(a_repository_that_does_not_answer_is_no_empty_list),
	    world_test(another_repository_at_the_place_is_noticed),
	    world_test(a_backup_is_seen_by_every_command),
	    world_test(a_name_that_is_nearly_right_is_suggested),
	    world_test(json_is_valid_everywhere),
	    world_test(a_backup_prints_one_json_object_per_line),
	    world_test(hostile_snapshots_do_not_drive_the_terminal),
	    world_test(without_root_and_terminal_there_is_a_clear_error),
	    world_test(on_a_terminal_sudo_is_asked),
	    world_test(status_needs_no_root),
	    world_test(a_list_that_hangs_can_be_cancelled),
	    world_test(an_answer_that_cannot_be_written_is_a_failure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
