/* The texts are restic's own, as 0.14, 0.18 and 0.19 wrote them. */
#include "adapters/restic.h"

#include "core/alloc.h"

#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include <cmocka.h>

#define LOCKED_BY                                                                                                    \
	"by PID 4711 on web1 by root (UID 0, GID 0)\nlock was created at 2026-11-23 02:00:00 (1m2s "                 \
	"ago)\nstorage ID 0123abcd\n"

static const struct {
	int exit_code;
	const char *words;
	enum error_code code;
	const char *said; /* part of the message */
} verdicts[] = {
    /* locked */
    {1, "unable to create lock in backend: repository is already locked exclusively " LOCKED_BY,
	ERROR_REPOSITORY_LOCKED,
	"the repository is locked exclusively by PID 4711 on web1 by root, since 2026-11-23 02:00:00 (1m2s ago)"},
    {11,
	"{\"message_type\":\"exit_error\",\"code\":11,\"message\":\"unable to create lock in backend: "
	"repository is "
	"already locked by PID 4711 on web1 by root (UID 0, GID 0)\\nlock was created at 2026\"}\n",
	ERROR_REPOSITORY_LOCKED, "the repository is locked by PID 4711 on web1 by root, since 2026"},
    {11, "repository is already locked by PID 1 on \033[2J by x\n", ERROR_REPOSITORY_LOCKED, "by PID 1 on ?[2J by x"},
    {11, "repository is already locked by PID 1 on x\nlock was created at rest:https://bob:secret@host/ today\n",
	ERROR_REPOSITORY_LOCKED, "since rest:https://bob:***@host/ today"},
    {11, "", ERROR_REPOSITORY_LOCKED, "locked"},

    /* the password */
    {1, "Fatal: wrong password or no key found\n", ERROR_REPOSITORY_PASSWORD, "wrong password"},
    {12,
	"{\"message_type\":\"exit_error\",\"code\":12,\"message\":\"Fatal: wrong password or no key "
	"found\"}\n",
	ERROR_REPOSITORY_PASSWORD, "wrong password"},
    {1, "Fatal: an empty password is not a password\n", ERROR_REPOSITORY_PASSWORD, "empty password"},
    {1, "Resolving password failed: Fatal: /etc/x does not exist\n", ERROR_REPOSITORY_PASSWORD, "/etc/x"},

    /* no repository */
    {1,
	"Fatal: unable to open config file: stat /r/config: no such file or directory\nIs there a repository "
	"at the "
	"following location?\n/r\n",
	ERROR_REPOSITORY_MISSING, "/r/config"},
    {1, "Fatal: unable to open config file: <config/> does not exist\n", ERROR_REPOSITORY_MISSING, "<config/>"},
    {10,
	"{\"message_type\":\"exit_error\",\"code\":10,\"message\":\"Fatal: repository does not exist: unable "
	"to open "
	"config file: stat /r/config: no such file or directory\\nIs there a repository\"}\n",
	ERROR_REPOSITORY_MISSING, "/r/config"},

    /* the network: 0.14 has the same prefix */
    {1,
	"Fatal: unable to open config file: Head \"http://u:***@h:8000/config\": dial tcp 127.0.0.1:8000: "
	"connect: "
	"connection refused\n",
	ERROR_REPOSITORY_UNREACHABLE, "connection refused"},
    {1, "Fatal: unable to open config file: Head \"http://h/config\": dial tcp: lookup h: no such host\n",
	ERROR_REPOSITORY_UNREACHABLE, "no such host"},
    {1,
	"{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"Fatal: unable to save snapshot: Post "
	"\\\"http://h/data/\\\": dial tcp 10.0.0.1:80: i/o timeout\"}\n",
	ERROR_REPOSITORY_UNREACHABLE, "i/o timeout"},
    {1,
	"subprocess ssh: ssh: connect to host h port 22: Connection refused\nFatal: unable to open "
	"repository at "
	"sftp:h:/r: unable to start the sftp session, error: error receiving version packet\n",
	ERROR_REPOSITORY_UNREACHABLE, "Connection refused"},
    {1, "Fatal: unexpected HTTP response (503): 503 Service Unavailable\n", ERROR_REPOSITORY_UNREACHABLE, "503"},
    {1, "Fatal: client.ListBuckets: 429 too many requests\n", ERROR_REPOSITORY_UNREACHABLE, "429"},
    {1, "Fatal: failed to refresh lock in time\ncontext canceled\n", ERROR_REPOSITORY_UNREACHABLE, "refresh lock"},
    {1, "Fatal: Load(<index/ab>): unexpected EOF\n", ERROR_REPOSITORY_UNREACHABLE, "EOF"},

    /* room, rights, damage */
    {1, "Fatal: unable to save snapshot: write /r/data/aa-tmp-1: no space left on device\n", ERROR_REPOSITORY_FULL,
	"no space"},
    {1, "Fatal: unable to save snapshot: Write: write /tmp/restic-temp-pack-2774751057: no space left on device\n",
	ERROR_NO_SPACE, "restic-temp-pack"},
    {1,
	"{\"message_type\":\"error\",\"error\":{\"message\":\"failed to save data/f: Write: write "
	"/tmp/restic-temp-pack-3198546933: no space left on device\"},\"during\":\"archival\",\"item\":\"data/f\"}\n"
	"{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"Fatal: unable to save snapshot: Write: write "
	"/tmp/restic-temp-pack-3198546933: no space left on device\"}\n",
	ERROR_NO_SPACE, "puts together"},
    {1, "Fatal: b2_upload_file: 403: Cannot upload files, storage cap exceeded.\n", ERROR_REPOSITORY_FULL, "cap"},
    {1, "Fatal: unexpected HTTP response (507): 507 Insufficient Storage\n", ERROR_REPOSITORY_FULL, "507"},
    {1, "Fatal: unable to open config file: unexpected HTTP response (401): 401 Unauthorized\n",
	ERROR_REPOSITORY_RIGHTS, "401"},
    {1, "Fatal: unable to open config file: Stat: 403 Forbidden\n", ERROR_REPOSITORY_RIGHTS, "403"},
    {1,
	"Fatal: unable to open config file: Stat: The AWS Access Key Id you provided does not exist in our "
	"records.\n",
	ERROR_REPOSITORY_RIGHTS, "Access Key Id"},
    {1, "Fatal: unable to open config file: open /r/config: permission denied\n", ERROR_REPOSITORY_RIGHTS,
	"permission denied"},
    {1, "Fatal: unable to create lock in backend: mkdir /r/locks: read-only file system\n", ERROR_REPOSITORY_RIGHTS,
	"read-only"},
    {1, "Fatal: s3.getCredentials: no credentials found\n", ERROR_REPOSITORY_RIGHTS, "no credentials"},
    {1, "Fatal: repository contains errors\n", ERROR_REPOSITORY_DAMAGED, "contains errors"},
    {1, "Fatal: config file has zero size, invalid repository?\n", ERROR_REPOSITORY_DAMAGED, "zero size"},
    {1, "Load(<index/ab>) failed: ciphertext verification failed\n", ERROR_REPOSITORY_DAMAGED, "ciphertext"},

    /* the sources */
    {1, "/a does not exist, skipping\nFatal: all target directories/files do not exist\n", ERROR_SOURCE_MISSING,
	"all"},
    {1,
	"{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"Fatal: all source directories/files do "
	"not "
	"exist\"}\n",
	ERROR_SOURCE_MISSING, "all"},
    {3, "Warning: at least one source file could not be read\n", ERROR_SOURCE_PARTLY_UNREADABLE, "at least one"},

    /* how it is called */
    {1, "unknown flag: --no-such\n", ERROR_RESTIC_UNSUPPORTED, "--no-such"},
    {1,
	"{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"Fatal: Fatal: create repository at  "
	"failed: config "
	"file already exists\"}\n",
	ERROR_USAGE, "(restic: create repository"},
    {1, "Fatal: Options -r and --repository-file are mutually exclusive\n", ERROR_SECRET, "mutually exclusive"},

    /* a signal of somebody else */
    {130, "signal interrupt received, cleaning up\n", ERROR_RESTIC_KILLED, "interrupt"},
    {1, "\033[2Ksignal terminated received, cleaning up\nFatal: unable to save snapshot: context canceled\n",
	ERROR_RESTIC_KILLED, "context canceled"},

    /* unknown means failed */
    {1, "", ERROR_RESTIC_FAILED, "exit code 1"},
    {1, "Fatal: the stars are wrong\n", ERROR_RESTIC_FAILED, "the stars are wrong"},
    {2, "panic: runtime error\ngoroutine 1 [running]:\n", ERROR_RESTIC_FAILED, "exit code 2"},
    {77, "something new\n", ERROR_RESTIC_FAILED, "exit code 77"},
    {255, "{\"message_type\":\"exit_error\"", ERROR_RESTIC_FAILED, "255"},
    {1,
	"unable to open cache: mkdir /c: "
	"permission-less\n{\"message_type\":\"exit_error\",\"code\":1,\"message\":"
	"\"mkdir /c: no such file or directory\\ngithub.com/restic/restic/internal\"}\n",
	ERROR_RESTIC_FAILED, "cache"},
};

static void
test_every_text_has_its_verdict(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(verdicts); i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		assert_int_equal(restic_classify(verdicts[i].exit_code, 0, false, verdicts[i].words, &error), -1);
		if (error.code != verdicts[i].code || strstr(error.message, verdicts[i].said) == NULL)
			fail_msg("%d \"%s\" is %s: %s", verdicts[i].exit_code, verdicts[i].words,
			    error_code_word(error.code), error.message);
		assert_non_null(error.hint);
		assert_null(strstr(error.message, "github.com"));
		assert_null(strstr(error.message, "Fatal: Fatal"));
	}
}

static void
test_zero_is_no_error_whatever_was_said(void **state)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	(void)state;
	assert_int_equal(restic_classify(0, 0, false, "Fatal: wrong password or no key found\n", &error), 0);
	assert_int_equal(error.code, ERROR_NONE);
}

/* What was retried on the way is not what it ended with. */
static void
test_the_last_word_counts(void **state)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	(void)state;
	restic_classify(1, 0, false,
	    "Save(<data/ab>) returned error, retrying after 1.2s: connection refused\n"
	    "Fatal: unable to save snapshot: no space left on device\n",
	    &error);
	assert_int_equal(error.code, ERROR_REPOSITORY_FULL);
}

static void
test_numbers_and_short_words_stand_alone(void **state)
{
	static const char *const innocent[] = {
	    "Fatal: odd <data/503429401>\n",
	    "Fatal: odd after 503.2ms\n",
	    "Fatal: odd after 1.503s\n",
	    "Fatal: odd eEOFe\n",
	    "Fatal: odd id a401b\n",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(innocent); i++) {
		cleanup_error struct error error = {.code = ERROR_NONE};
		restic_classify(1, 0, false, innocent[i], &error);
		assert_string_equal(error_code_word(error.code), error_code_word(ERROR_RESTIC_FAILED));
	}
}

/* A file that cannot be read says nothing about the repository, and a path can be named like anything. */
static void
test_words_about_sources_are_not_about_the_repository(void **state)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	(void)state;
	restic_classify(1, 0, false,
	    "{\"message_type\":\"error\",\"error\":{\"message\":\"open /a: permission "
	    "denied\"},\"item\":\"/a\"}\n"
	    "/srv/already locked does not exist, skipping\n"
	    "Fatal: odd\n",
	    &error);
	assert_int_equal(error.code, ERROR_RESTIC_FAILED);
}

static void
test_signals(void **state)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	(void)state;
	restic_classify(-1, SIGKILL, false, "", &error);
	assert_int_equal(error.code, ERROR_RESTIC_KILLED);
	assert_non_null(strstr(error.message, "SIGKILL"));
	restic_classify(-1, SIGRTMIN + 3, false, "", &error);
	assert_int_equal(error.code, ERROR_RESTIC_KILLED);
	restic_classify(-1, SIGKILL, true, "", &error);
	assert_int_equal(error.code, ERROR_CANCELLED);
}

static void
test_stopped_by_us(void **state)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	(void)state;
	restic_classify(130, 0, true, "signal interrupt received, cleaning up\n", &error);
	assert_int_equal(error.code, ERROR_CANCELLED);
	restic_classify(1, 0, true, "Fatal: unable to save snapshot: context canceled\n", &error);
	assert_int_equal(error.code, ERROR_CANCELLED);
	/* Why it took so long is worth knowing. */
	restic_classify(1, 0, true, "Fatal: unable to open config file: connection refused\n", &error);
	assert_int_equal(error.code, ERROR_CANCELLED);
	assert_non_null(strstr(error.message, "connection refused"));
	/* 0.18 was waiting for a dead server, and ends with words about our signal. */
	restic_classify(1, 0, true,
	    "Stat(<config/>) returned error, retrying after 1.2s: dial tcp: connection refused\n"
	    "\033[2Ksignal interrupt received, cleaning up\n"
	    "{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"Fatal: unable to open config file: context "
	    "canceled\"}\n",
	    &error);
	assert_int_equal(error.code, ERROR_CANCELLED);
	assert_non_null(strstr(error.message, "connection refused"));
	/* It was faster than our signal: there is a snapshot. */
	restic_classify(3, 0, true, "Warning: at least one source file could not be read\n", &error);
	assert_int_equal(error.code, ERROR_SOURCE_PARTLY_UNREADABLE);
	assert_int_equal(restic_classify(0, 0, true, "", &error), 0);
}

static void
test_no_secret_and_no_control_character_gets_into_a_message(void **state)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	(void)state;
	restic_classify(1, 0, false,
	    "Fatal: parse \"http://bob:s3cr/et@host:8000/\": invalid port \":s3cr\" \033[31m\xff\x07\n", &error);
	assert_null(strstr(error.message, "s3cr/et"));
	assert_null(strchr(error.message, '\033'));
	assert_null(strchr(error.message, '\x07'));
	restic_classify(1, 0, false, "Fatal: Head \"https://bob:s3cret@host/config\": connection refused\n", &error);
	assert_null(strstr(error.message, "s3cret"));
	assert_non_null(strstr(error.message, "bob:***@host"));
}

/* Every cut of a long report: some verdict, never none and never a crash. */
static void
test_any_cut_is_still_a_failure(void **state)
{
	static const char words[] =
	    "{\"message_type\":\"error\",\"error\":{},\"item\":\"/a\"}\n\n\r\033[2K\nLoad returned error, "
	    "retrying after "
	    "1s: EOF\n{\"message_type\":\"exit_error\",\"code\":1,\"message\":\"Fatal: a\\nb\"}\nFatal: "
	    "end\n";
	(void)state;
	for (size_t length = 0; length < sizeof(words); length++) {
		cleanup_free char *cut = xstrndup(words, length);
		cleanup_error struct error error = {.code = ERROR_NONE};
		assert_int_equal(restic_classify(1, 0, false, cut, &error), -1);
		assert_int_not_equal(error.code, ERROR_NONE);
		assert_non_null(error.message);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_text_has_its_verdict),
	    cmocka_unit_test(test_zero_is_no_error_whatever_was_said),
	    cmocka_unit_test(test_the_last_word_counts),
	    cmocka_unit_test(test_numbers_and_short_words_stand_alone),
	    cmocka_unit_test(test_words_about_sources_are_not_about_the_repository),
	    cmocka_unit_test(test_signals),
	    cmocka_unit_test(test_stopped_by_us),
	    cmocka_unit_test(test_no_secret_and_no_control_character_gets_into_a_message),
	    cmocka_unit_test(test_any_cut_is_still_a_failure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
