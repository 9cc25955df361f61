/* What a child sees in the place of something else, and where its output goes instead of to us.
 *
 * The whole program stands in a mount namespace in which every mount is shared, as systemd makes them: there a mount
 * of a child would be ours as well, if the child did not see to it. */
#include "tests/unit/core/child_fixture.h"

#include "core/file.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>

/* In the directory of the fixture: live/data and live/other, frozen and frozen-directory/data. */
struct house {
	struct fixture *fixture;
	char *live, *data, *other, *frozen, *frozen_directory;
};

static void
write_words(const char *path, const char *words)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (file_replace(path, words, strlen(words), &error) < 0)
		fail_msg("%s", error.message);
	assert_int_equal(chmod(path, 0644), 0);
}

static struct house
make_house(void **state)
{
	struct fixture *fixture = *state;
	if (geteuid() != 0)
		skip(); /* nobody else may mount */
	struct house house = {
	    .fixture = fixture,
	    .live = xasprintf("%s/live", fixture->directory),
	    .data = xasprintf("%s/live/data", fixture->directory),
	    .other = xasprintf("%s/live/other", fixture->directory),
	    .frozen = xasprintf("%s/frozen", fixture->directory),
	    .frozen_directory = xasprintf("%s/frozen-directory", fixture->directory),
	};
	cleanup_free char *inner = xasprintf("%s/data", house.frozen_directory);
	assert_int_equal(chmod(fixture->directory, 0755), 0);
	assert_int_equal(mkdir(house.live, 0755), 0);
	assert_int_equal(mkdir(house.frozen_directory, 0755), 0);
	write_words(house.data, "live");
	write_words(house.other, "other");
	write_words(house.frozen, "frozen");
	write_words(inner, "frozen below");
	return house;
}

static void
free_house(struct house *house)
{
	free(house->live);
	free(house->data);
	free(house->other);
	free(house->frozen);
	free(house->frozen_directory);
}

#define cleanup_house __attribute__((cleanup(free_house)))

/* What a child says that sees `binds`. */
static void
expect_said(struct house *house, const char *behaviour, const char *argument, const char *said)
{
	text_clear(&house->fixture->output);
	house->fixture->exits = 0;
	start(house->fixture, behaviour, argument);
	finish(house->fixture);
	assert_string_equal(house->fixture->output.string, said);
}

static void
expect_content(const char *path, const char *words)
{
	cleanup_free char *content = NULL;
	size_t length;
	assert_int_equal(file_read(path, 4096, &content, &length, NULL), 0);
	assert_string_equal(content, words);
}

/* Is anything mounted below the directory of the fixture, as we see it? */
static bool
something_is_mounted(const struct fixture *fixture)
{
	char line[4096];
	bool found = false;
	cleanup_fclose FILE *mounts = fopen("/proc/self/mountinfo", "re");
	assert_non_null(mounts);
	while (fgets(line, sizeof(line), mounts) != NULL)
		found = found || strstr(line, fixture->directory) != NULL;
	return found;
}

#define set_binds(house, ...)                                                                                        \
	do {                                                                                                         \
		static struct child_bind binds_[2];                                                                  \
		const struct child_bind given_[] = {__VA_ARGS__};                                                    \
		memcpy(binds_, given_, sizeof(given_));                                                              \
		(house).fixture->spec.binds = binds_;                                                                \
		(house).fixture->spec.bind_count = ARRAY_LENGTH(given_);                                             \
	} while (0)

static void
the_source_is_in_the_place_of_the_target(void **state)
{
	cleanup_house struct house house = make_house(state);
	set_binds(house, {house.frozen, house.data});
	expect_said(&house, "show", house.data, "frozen|");
	expect_said(&house, "show", house.other, "other|");
	expect_said(&house, "show", house.frozen, "frozen|");
	expect_content(house.data, "live");
}

static void
a_directory_is_in_the_place_of_another(void **state)
{
	cleanup_house struct house house = make_house(state);
	set_binds(house, {house.frozen_directory, house.live});
	expect_said(&house, "show", house.data, "frozen below|");
	start(house.fixture, "show", house.other);
	house.fixture->exits = 0;
	finish(house.fixture);
	assert_exited_with(house.fixture, 1);
}

static void
binds_are_made_in_their_order(void **state)
{
	cleanup_house struct house house = make_house(state);
	set_binds(house, {house.frozen_directory, house.live}, {house.frozen, house.data});
	expect_said(&house, "show", house.data, "frozen|");
}

static void
nobody_else_sees_it_and_it_goes_with_the_child(void **state)
{
	cleanup_house struct house house = make_house(state);
	struct fixture *fixture = house.fixture;
	set_binds(house, {house.frozen, house.data});
	start_and_wait_for_line(fixture, "show-and-wait", house.data);
	assert_string_equal(fixture->output.string, "frozen|");
	expect_content(house.data, "live");
	assert_false(something_is_mounted(fixture));
	assert_int_equal(kill(child_identity_of(fixture->child).pid, SIGKILL), 0);
	finish(fixture);
	assert_killed_by(fixture, SIGKILL);
	assert_false(something_is_mounted(fixture));
	expect_content(house.data, "live");
}

static void
it_is_read_only_for_the_child_alone(void **state)
{
	cleanup_house struct house house = make_house(state);
	cleanup_free char *inner = xasprintf("%s/data", house.frozen_directory);
	set_binds(house, {house.frozen, house.data});
	expect_said(&house, "write", house.data, "EROFS|");
	set_binds(house, {house.frozen_directory, house.live});
	expect_said(&house, "write", house.data, "EROFS|");
	write_words(inner, "changed");
	write_words(house.frozen, "changed");
	expect_said(&house, "show", house.data, "changed|");
}

static void
it_is_there_for_a_child_without_rights(void **state)
{
	cleanup_house struct house house = make_house(state);
	house.fixture->spec.drop_privileges = true;
	house.fixture->spec.user = 65534;
	house.fixture->spec.group = 65534;
	set_binds(house, {house.frozen, house.data});
	expect_said(&house, "show", house.data, "frozen|");
}

static void
expect_refused(const struct house *house, enum error_code code, const char *target, const char *words)
{
	struct fixture *fixture = house->fixture;
	cleanup_error struct error error = {.code = ERROR_NONE};
	fixture->spec.arguments = (const char *const[]){SELF, "show", house->data, NULL};
	assert_null(child_start(fixture->base, &fixture->spec, &error));
	assert_int_equal(error.code, code);
	if (strstr(error.message, target) == NULL || strstr(error.message, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\" of %s", error.message, words, target);
	assert_int_equal(fixture->exits, 0);
	assert_false(something_is_mounted(fixture));
}

static void
what_cannot_be_bound_is_an_error_of_start(void **state)
{
	cleanup_house struct house house = make_house(state);
	cleanup_free char *missing = xasprintf("%s/missing", house.fixture->directory);
	cleanup_free char *link = xasprintf("%s/link", house.fixture->directory);
	assert_int_equal(symlink(house.data, link), 0);
	set_binds(house, {house.frozen, missing});
	expect_refused(&house, ERROR_SYSTEM, missing, "the latter: No such file");
	set_binds(house, {missing, house.data});
	expect_refused(&house, ERROR_SYSTEM, house.data, "the former: No such file");
	set_binds(house, {house.frozen, link});
	expect_refused(&house, ERROR_SYSTEM, link, "the latter: it is a symbolic link");
	set_binds(house, {link, house.other});
	expect_refused(&house, ERROR_SYSTEM, house.other, "the former: it is a symbolic link");
	set_binds(house, {house.frozen, house.live});
	expect_refused(&house, ERROR_SYSTEM, house.live, "Is a directory");
	set_binds(house, {house.frozen_directory, house.data});
	expect_refused(&house, ERROR_SYSTEM, house.data, "Not a directory");
	/* The second of two. */
	set_binds(house, {house.frozen, house.data}, {house.frozen, missing});
	expect_refused(&house, ERROR_SYSTEM, missing, "No such file");
}

static void
drop_capability(unsigned capability)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	if (syscall(SYS_capget, &header, data) != 0)
		_exit(2);
	data[0].effective &= ~(1U << capability);
	data[0].permitted &= ~(1U << capability);
	if (syscall(SYS_capset, &header, data) != 0)
		_exit(3);
}

static void
it_needs_a_right_of_root(void **state)
{
	cleanup_house struct house house = make_house(state);
	set_binds(house, {house.frozen, house.data});
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct fixture *fixture = house.fixture;
		struct error error = {.code = ERROR_NONE};
		drop_capability(CAP_SYS_ADMIN);
		fixture->spec.arguments = (const char *const[]){SELF, "show", house.data, NULL};
		if (child_start(fixture->base, &fixture->spec, &error) != NULL)
			_exit(4);
		bool told = error.code == ERROR_PERMISSION && strstr(error.message, house.data) != NULL &&
			    error.hint != NULL && strstr(error.hint, "CAP_SYS_ADMIN") != NULL;
		_exit(told ? 0 : 5);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- output ---- */

static void
output_goes_to_the_given_descriptor(void **state)
{
	struct fixture *fixture = *state;
	cleanup_free char *path = xasprintf("%s/output", fixture->directory);
	cleanup_close int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(descriptor >= 0);
	fixture->spec.output = descriptor;
	start(fixture, "lines", "3");
	finish(fixture);
	assert_exited_with(fixture, 3);
	assert_int_equal(fixture->output.length, 0);
	assert_string_equal(fixture->errors.string, "complaint|");
	expect_content(path, "one\n\nthree\n");
	/* It is still ours. */
	assert_int_equal(write(descriptor, "four\n", 5), 5);
	assert_int_equal(close(descriptor), 0);
	descriptor = -1;
}

/* Nobody reads it, and a grandchild holds it open: both do not matter to the end of the child. */
static void
output_that_is_not_ours_is_not_waited_for(void **state)
{
	struct fixture *fixture = *state;
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fixture->spec.output = ends[1];
	int64_t before = clock_monotonic(clock_system());
	start(fixture, "lines", "0");
	finish(fixture);
	assert_exited_with(fixture, 0);
	assert_true(clock_monotonic(clock_system()) - before < USEC_PER_SEC);
	assert_int_equal(close(ends[0]), 0);
	assert_int_equal(close(ends[1]), 0);
}

static bool
share_all_mounts(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) == 0;
}

int
main(int argc, char **argv)
{
	if (argc == 3)
		return behave(argv[1], argv[2]);
	if (geteuid() == 0 && !share_all_mounts()) {
		perror("a mount namespace of our own");
		return 1;
	}
	const struct CMUnitTest tests[] = {
	    child_test(the_source_is_in_the_place_of_the_target),
	    child_test(a_directory_is_in_the_place_of_another),
	    child_test(binds_are_made_in_their_order),
	    child_test(nobody_else_sees_it_and_it_goes_with_the_child),
	    child_test(it_is_read_only_for_the_child_alone),
	    child_test(it_is_there_for_a_child_without_rights),
	    child_test(what_cannot_be_bound_is_an_error_of_start),
	    child_test(it_needs_a_right_of_root),
	    child_test(output_goes_to_the_given_descriptor),
	    child_test(output_that_is_not_ours_is_not_waited_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
