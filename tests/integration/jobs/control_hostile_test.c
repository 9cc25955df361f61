/* Clients that mean no good, or are none: they change nothing and block nobody. */
#include "tests/integration/jobs/control_house.h"

#include <limits.h>
#include <netinet/in.h>

#include "jobs/control_frame.h"
#include "jobs/control_messages.h"

#define NOBODY 65534
#define MEMBER 1 /* the group `daemon`, which every system has */

/* An honest client is answered within this, whatever the others do. */
#define SOON (10 * USEC_PER_SEC)

#if defined(__SANITIZE_ADDRESS__)
#	define MOST_RESIDENT_KIB (400 * 1024) /* the sanitizer keeps what was freed */
#else
#	define MOST_RESIDENT_KIB (24 * 1024)
#endif

/* A connection of which only the greeting has been read. */
static int
connect_raw(const struct house *house)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	assert_true(strlen(house->socket) < sizeof(address.sun_path));
	strcpy(address.sun_path, house->socket);
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(descriptor >= 0);
	assert_int_equal(connect(descriptor, (const struct sockaddr *)(const void *)&address, sizeof(address)), 0);
	return descriptor;
}

static void
expect_an_answer_soon(const struct house *house)
{
	int64_t start = clock_monotonic(clock_system());
	struct control_client *client = house_connect(house);
	struct live_job_list jobs;
	struct error error = {.code = ERROR_NONE};
	assert_success(control_client_status(client, NULL, &jobs, NULL, &error), &error);
	live_job_list_clear(&jobs);
	control_client_close(client);
	assert_true(clock_monotonic(clock_system()) - start < SOON);
	assert_int_equal(waitpid(house->runner, NULL, WNOHANG), 0);
}

/* The runner closes the connection; what it says before that does not matter. */
static bool
is_closed_within(int descriptor, int64_t patience)
{
	int64_t deadline = clock_monotonic(clock_system()) + patience;
	char bytes[4096];
	for (;;) {
		int64_t left = deadline - clock_monotonic(clock_system());
		struct pollfd wanted = {.fd = descriptor, .events = POLLIN};
		if (left <= 0 || poll(&wanted, 1, (int)(left / USEC_PER_MSEC) + 1) == 0)
			return false;
		ssize_t count = recv(descriptor, bytes, sizeof(bytes), 0);
		if (count <= 0)
			return true;
	}
}

static uint64_t
random_number(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * UINT64_C(2685821657736338717);
}

static long
resident_kib_of(pid_t pid)
{
	cleanup_free char *path = xasprintf("/proc/%d/status", (int)pid);
	cleanup_fclose FILE *file = fopen(path, "r");
	assert_non_null(file);
	char line[256];
	long kib = 0;
	while (fgets(line, sizeof(line), file) != NULL)
		sscanf(line, "VmRSS: %ld", &kib);
	assert_true(kib > 0);
	return kib;
}

/* A request as a client would send it, for others to cut, bend and repeat. */
static struct packer
status_request(void)
{
	struct control_call call = {.request = CONTROL_STATUS, .number = 1};
	struct packer packer;
	control_call_pack(&call, &packer);
	return packer;
}

/* ---- rubbish ---- */

static void
random_bytes_change_nothing(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	int64_t id = submit_named(client, RUN_NIGHTLY, "2026-11-22", "still-web", USEC_PER_HOUR);
	poll_state(client, id, JOB_DELAYING);
	uint64_t seed = 20261123;
	struct packer request = status_request();
	for (int i = 0; i < 1000; i++) {
		int descriptor = connect_raw(house);
		unsigned char bytes[512];
		size_t length = 1 + random_number(&seed) % sizeof(bytes);
		for (size_t k = 0; k < length; k++)
			bytes[k] = (unsigned char)random_number(&seed);
		/* A third is a bent request, a third rubbish in a well-formed frame, the rest rubbish. */
		if (i % 3 == 0) {
			length = request.buffer.size;
			memcpy(bytes, request.buffer.data, length);
			bytes[FRAME_HEAD + random_number(&seed) % (length - FRAME_HEAD)] ^=
			    (unsigned char)(1 + random_number(&seed) % 255);
		} else if (i % 3 == 1 && length > FRAME_HEAD) {
			uint32_t announced = htonl((uint32_t)(length - FRAME_HEAD));
			memcpy(bytes, &announced, sizeof(announced));
		}
		send(descriptor, bytes, length, MSG_NOSIGNAL);
		close(descriptor);
	}
	packer_release(&request);
	expect_an_answer_soon(house);
	poll_state(client, id, JOB_DELAYING);
	control_client_close(client);
	assert_int_equal(house_end_runner(house), RUNNER_EXIT_INTERRUPTED);
	assert_peek(house->fixture, "SELECT count(*) FROM job", "1");
	assert_peek(house->fixture, "SELECT count(*) FROM quarantine", "0");
}

static void
rubbish_ends_the_connection_at_once(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	control_client_close(house_connect(house));
	static const char *const frames[] = {
	    "\x00\x00\x00\x00",                     /* nothing */
	    "\x7f\xff\xff\xff",                     /* two gigabytes */
	    "\x00\x00\x00\x01\xc0",                 /* no map */
	    "\x00\x00\x00\x01\x80",                 /* no request */
	    "\x00\x00\x00\x05\xdf\xff\xff\xff\xff", /* four billion pairs */
	    "\x00\x00\x00\x09\x81\xa7request\xc0",  /* cut inside */
	};
	static const size_t lengths[] = {4, 4, 5, 5, 9, 13};
	for (size_t i = 0; i < ARRAY_LENGTH(frames); i++) {
		int descriptor = connect_raw(house);
		assert_int_equal(send(descriptor, frames[i], lengths[i], MSG_NOSIGNAL), (ssize_t)lengths[i]);
		if (!is_closed_within(descriptor, 5 * USEC_PER_SEC))
			fail_msg("frame %zu is put up with", i);
		close(descriptor);
	}
	expect_an_answer_soon(house);
}

static void
half_a_frame_is_waited_for_ten_seconds(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	control_client_close(house_connect(house));
	struct packer request = status_request();
	int descriptors[30];
	for (size_t i = 0; i < ARRAY_LENGTH(descriptors); i++) {
		descriptors[i] = connect_raw(house);
		size_t length = 1 + i % (request.buffer.size - 1);
		assert_int_equal(send(descriptors[i], request.buffer.data, length, MSG_NOSIGNAL), (ssize_t)length);
	}
	packer_release(&request);
	expect_an_answer_soon(house);
	assert_false(is_closed_within(descriptors[0], 5 * USEC_PER_SEC));
	/* More of it does not give it more time. */
	assert_int_equal(send(descriptors[0], "\0", 1, MSG_NOSIGNAL), 1);
	for (size_t i = 0; i < ARRAY_LENGTH(descriptors); i++) {
		assert_true(is_closed_within(descriptors[i], 8 * USEC_PER_SEC));
		close(descriptors[i]);
	}
	assert_int_equal(house_await_end(house), 0);
}

/* ---- too much ---- */

static void
two_hundred_connections_leave_room_for_others(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	control_client_close(house_connect(house));
	int descriptors[200];
	for (size_t i = 0; i < ARRAY_LENGTH(descriptors); i++)
		descriptors[i] = connect_raw(house);
	struct control_client *client;
	struct error error = {.code = ERROR_NONE};
	assert_fails_with(
	    control_client_connect(house->socket, PATIENCE, &client, &error), &error, ERROR_SYSTEM_BUSY);
	error_clear(&error);
	size_t refused = 0;
	for (size_t i = CONTROL_MOST_CLIENTS; i < ARRAY_LENGTH(descriptors); i++)
		refused += is_closed_within(descriptors[i], USEC_PER_SEC);
	assert_int_equal(refused, ARRAY_LENGTH(descriptors) - CONTROL_MOST_CLIENTS);
	for (size_t i = 0; i < ARRAY_LENGTH(descriptors); i++)
		close(descriptors[i]);
	/* As soon as the runner has seen them go. */
	int found = -1;
	for (int i = 0; i < 500 && found < 0; i++) {
		found = control_client_connect(house->socket, PATIENCE, &client, &error);
		error_clear(&error);
		if (found < 0)
			poll(NULL, 0, 10);
	}
	assert_int_equal(found, 1);
	control_client_close(client);
	assert_int_equal(house_await_end(house), 0);
}

static void
a_flood_that_reads_no_answers_blocks_nobody(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	for (int i = 0; i < 40; i++) {
		cleanup_free char *name = xasprintf("still-%d", i);
		submit_named(client, RUN_MANUAL, NULL, name, USEC_PER_HOUR);
	}
	struct packer request = status_request();
	int descriptors[8];
	size_t sent = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(descriptors); i++)
		descriptors[i] = connect_raw(house);
	for (int turn = 0; turn < 5000; turn++)
		for (size_t i = 0; i < ARRAY_LENGTH(descriptors); i++) {
			ssize_t count = send(
			    descriptors[i], request.buffer.data, request.buffer.size, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (count > 0 && (size_t)count < request.buffer.size)
				fail_msg("a send was cut");
			sent += count > 0;
		}
	assert_true(sent > 1000);
	packer_release(&request);
	expect_an_answer_soon(house);
	assert_true(resident_kib_of(house->runner) < MOST_RESIDENT_KIB);
	for (size_t i = 0; i < ARRAY_LENGTH(descriptors); i++)
		close(descriptors[i]);
	control_client_close(client);
}

static void
a_follower_that_stops_reading_costs_its_connection(void **state)
{
	struct house *house = *state;
	house_start_runner(house);
	struct control_client *client = house_connect(house), *deaf = house_connect(house);
	int64_t id = submit_named(client, RUN_NIGHTLY, "2026-11-22", "noisy-web", USEC_PER_HOUR);
	poll_state(client, id, JOB_DELAYING);
	follow_jobs(client, &id, 1);
	follow_jobs(deaf, &id, 1);
	struct error error = {.code = ERROR_NONE};
	int64_t same;
	assert_success(control_client_retry(client, id, NULL, &same, &error), &error);

	uint64_t lines = 0, progress = 0;
	bool over = false;
	while (!over) {
		struct control_event event;
		int found = control_client_next(client, PATIENCE, &event, &error);
		assert_success(found, &error);
		assert_int_equal(found, 1);
		lines += event.kind == CONTROL_EVENT_WORDS;
		if (event.kind == CONTROL_EVENT_PROGRESS) {
			assert_true(event.progress.files_done > progress);
			progress = event.progress.files_done;
		}
		over = event.kind == CONTROL_EVENT_END;
		control_event_clear(&event);
	}
	assert_int_equal(lines, NOISE);
	assert_int_equal(outcome_of(house, id), OUTCOME_COMPLETE);
	assert_true(resident_kib_of(house->runner) < MOST_RESIDENT_KIB);
	assert_true(is_closed_within(control_client_descriptor(deaf), 5 * USEC_PER_SEC));
	control_client_close(deaf);
	control_client_close(client);
	assert_int_equal(house_await_end(house), 0);
}

/* ---- others ---- */

static void
refuses(int result, const struct error *error)
{
	child_requires(result == -1);
	child_requires(error->code == ERROR_PERMISSION);
}

static void
ask_as_a_stranger(struct fixture *fixture, int unused)
{
	(void)unused;
	cleanup_free char *socket = xasprintf("%s/run/%s", fixture->root, CONTROL_SOCKET_NAME);
	gid_t group = NOBODY;
	child_requires(setgroups(1, &group) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	struct control_client *client;
	struct error error = {.code = ERROR_NONE};
	refuses(control_client_connect(socket, PATIENCE, &client, &error), &error);
}

static void
ask_as_a_member(struct fixture *fixture, int primary)
{
	cleanup_free char *socket = xasprintf("%s/run/%s", fixture->root, CONTROL_SOCKET_NAME);
	gid_t groups[] = {NOBODY, MEMBER};
	child_requires(setgroups(primary ? 1 : 2, groups) == 0);
	child_requires(setgid(primary ? MEMBER : NOBODY) == 0 && setuid(NOBODY) == 0);
	struct control_client *client;
	struct error error = {.code = ERROR_NONE};
	child_requires(control_client_connect(socket, PATIENCE, &client, &error) == 1);

	struct live_job_list jobs = {.items = NULL};
	struct journal_facts facts;
	char *names[] = {(char[]){"still-web"}, NULL};
	child_requires(control_client_status(client, names, &jobs, &facts, &error) == 0);
	child_requires(jobs.count == 1 && facts.count == 1 && facts.services[0].current != NULL);
	int64_t id = jobs.items[0].id, other;
	live_job_list_clear(&jobs);
	child_requires(control_client_follow(client, &id, 1, &jobs, &error) == 0 && jobs.count == 1);

	struct service service = make_service("quick");
	struct submission job = {.service = &service};
	struct control_submission submission = {.kind = RUN_MANUAL, .jobs = &job, .count = 1};
	struct control_submitted submitted;
	struct control_recovered recovered;
	refuses(control_client_submit(client, &submission, &submitted, &error), &error);
	refuses(control_client_cancel(client, id, "why", &error), &error);
	refuses(control_client_retry(client, id, NULL, &other, &error), &error);
	refuses(control_client_recover(client, &recovered, &error), &error);

	/* Its frames are smaller than root's. */
	struct service large = make_service("large");
	for (int i = 0; i < 4000; i++)
		strings_add(&large.files, "/srv/one/of/many/paths");
	job.service = &large;
	child_requires(control_client_submit(client, &submission, &submitted, &error) == -1);
	child_requires(error.code == ERROR_RUNNER_GONE);
}

/* As much as one may ask at once, again and again. */
static void
flood_with_names(struct fixture *fixture, int unused)
{
	(void)unused;
	cleanup_free char *socket = xasprintf("%s/run/%s", fixture->root, CONTROL_SOCKET_NAME);
	gid_t group = MEMBER;
	child_requires(setgroups(1, &group) == 0 && setgid(MEMBER) == 0 && setuid(NOBODY) == 0);
	struct control_client *client;
	struct error error = {.code = ERROR_NONE};
	child_requires(control_client_connect(socket, PATIENCE, &client, &error) == 1);
	char **names = NULL;
	for (int i = 0; i < 2001; i++) {
		cleanup_free char *name = xasprintf("n%d", i);
		strings_add(&names, name);
	}
	struct live_job_list jobs;
	struct journal_facts facts;
	child_requires(control_client_status(client, names, &jobs, &facts, &error) < 0);
	child_requires(error.code == ERROR_USAGE);
	free(names[2000]);
	names[2000] = NULL;
	struct control_call call = {.request = CONTROL_STATUS, .number = 1, .names = names, .with_facts = true};
	struct packer packer;
	control_call_pack(&call, &packer);
	size_t sent = 0;
	/* Until the runner ends. */
	for (;;) {
		struct pollfd runner = {.fd = control_client_descriptor(client), .events = POLLIN | POLLOUT};
		poll(&runner, 1, -1);
		ssize_t count = send(runner.fd, packer.buffer.data + sent, packer.buffer.size - sent, MSG_NOSIGNAL);
		if (count < 0 && errno != EAGAIN)
			return;
		sent = count < 0 ? sent : (sent + (size_t)count) % packer.buffer.size;
		char answers[65536];
		while (recv(runner.fd, answers, sizeof(answers), MSG_DONTWAIT) > 0)
			continue;
	}
}

static int64_t
processor_time_of(pid_t pid)
{
	cleanup_free char *path = xasprintf("/proc/%d/schedstat", (int)pid);
	cleanup_fclose FILE *file = fopen(path, "r");
	assert_non_null(file);
	long long nanoseconds = 0;
	assert_int_equal(fscanf(file, "%lld", &nanoseconds), 1);
	return nanoseconds / 1000;
}

static void
members_have_a_part_of_the_time_only(void **state)
{
	struct house *house = *state;
	if (geteuid() != 0)
		fail_msg("this needs root, to be somebody else");
	const struct group *group = getgrgid(MEMBER);
	assert_non_null(group);
	cleanup_free char *name = xstrdup(group->gr_name);
	house->status_group = name;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	pid_t crowd[4];
	for (size_t i = 0; i < ARRAY_LENGTH(crowd); i++)
		crowd[i] = start_child(house->fixture, flood_with_names, 0);
	struct control_event event;
	struct error error = {.code = ERROR_NONE};
	assert_int_equal(control_client_next(client, USEC_PER_SEC, &event, &error), 0);
	int64_t start = clock_monotonic(clock_system()), used = processor_time_of(house->runner);
	for (int i = 0; i < 20; i++) {
		expect_an_answer_soon(house);
		assert_int_equal(control_client_next(client, USEC_PER_SEC / 10, &event, &error), 0);
	}
	used = processor_time_of(house->runner) - used;
	int64_t span = clock_monotonic(clock_system()) - start;
	if (used * 2 > span)
		fail_msg("the runner worked for %lld of %lld ms", (long long)used / 1000, (long long)span / 1000);
	for (size_t i = 0; i < ARRAY_LENGTH(crowd); i++) {
		assert_int_equal(waitpid(crowd[i], NULL, WNOHANG), 0);
		kill(crowd[i], SIGKILL);
		wait_child(crowd[i]);
	}
	control_client_close(client);
	assert_int_equal(house_await_end(house), 0);
}

static void
strangers_are_refused_and_members_may_look(void **state)
{
	struct house *house = *state;
	if (geteuid() != 0)
		fail_msg("this needs root, to be somebody else");
	const struct group *group = getgrgid(MEMBER);
	assert_non_null(group);
	cleanup_free char *name = xstrdup(group->gr_name);
	house->status_group = name;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	int64_t id = submit_named(client, RUN_NIGHTLY, "2026-11-22", "still-web", USEC_PER_HOUR);
	poll_state(client, id, JOB_DELAYING);
	run_child(house->fixture, ask_as_a_stranger, 0);
	run_child(house->fixture, ask_as_a_member, 0);
	run_child(house->fixture, ask_as_a_member, 1);
	poll_state(client, id, JOB_DELAYING);
	control_client_close(client);
	assert_int_equal(house_end_runner(house), RUNNER_EXIT_INTERRUPTED);
	assert_peek(house->fixture, "SELECT count(*) FROM job", "1");

	/* Without a group there are no members. */
	house->status_group = NULL;
	house_start_runner(house);
	client = house_connect(house);
	run_child(house->fixture, ask_as_a_stranger, 0);
	control_client_close(client);
}

static int crowd_is_in[2]; /* a pipe */

static void
keep_sixty_connections(struct fixture *fixture, int unused)
{
	(void)unused;
	cleanup_free char *socket = xasprintf("%s/run/%s", fixture->root, CONTROL_SOCKET_NAME);
	gid_t group = MEMBER;
	child_requires(setgroups(1, &group) == 0 && setgid(MEMBER) == 0 && setuid(NOBODY) == 0);
	int let_in = 0;
	for (int i = 0; i < 60; i++) {
		struct control_client *client;
		struct error error = {.code = ERROR_NONE};
		let_in += control_client_connect(socket, PATIENCE, &client, &error) == 1;
	}
	child_requires(let_in <= CONTROL_MOST_CLIENTS - CONTROL_KEPT_FOR_ROOT);
	child_requires(let_in >= CONTROL_MOST_CLIENTS - CONTROL_KEPT_FOR_ROOT - 2);
	close(crowd_is_in[0]);
	child_requires(write(crowd_is_in[1], "!", 1) == 1);
	/* The parent ends it, or has ended. */
	struct pollfd parent = {.fd = crowd_is_in[1]};
	poll(&parent, 1, -1);
}

static void
members_cannot_take_the_places_of_root(void **state)
{
	struct house *house = *state;
	if (geteuid() != 0)
		fail_msg("this needs root, to be somebody else");
	const struct group *group = getgrgid(MEMBER);
	assert_non_null(group);
	cleanup_free char *name = xstrdup(group->gr_name);
	house->status_group = name;
	house_start_runner(house);
	struct control_client *client = house_connect(house);
	assert_int_equal(pipe(crowd_is_in), 0);
	pid_t crowd = start_child(house->fixture, keep_sixty_connections, 0);
	struct pollfd ready = {.fd = crowd_is_in[0], .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 10000), 1);
	/* It is full for them; root gets in all the same. */
	for (int i = 0; i < 5; i++)
		expect_an_answer_soon(house);
	assert_int_equal(waitpid(crowd, NULL, WNOHANG), 0);
	kill(crowd, SIGKILL);
	wait_child(crowd);
	close(crowd_is_in[0]);
	close(crowd_is_in[1]);
	control_client_close(client);
	assert_int_equal(house_await_end(house), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    house_test(random_bytes_change_nothing),
	    house_test(rubbish_ends_the_connection_at_once),
	    house_test(half_a_frame_is_waited_for_ten_seconds),
	    house_test(two_hundred_connections_leave_room_for_others),
	    house_test(a_flood_that_reads_no_answers_blocks_nobody),
	    house_test(a_follower_that_stops_reading_costs_its_connection),
	    house_test(strangers_are_refused_and_members_may_look),
	    house_test(members_have_a_part_of_the_time_only),
	    house_test(members_cannot_take_the_places_of_root),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
