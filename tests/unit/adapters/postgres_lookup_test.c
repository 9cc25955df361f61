/* A host's addresses, as a getent of ours tells them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <event2/event.h>
#include <string.h>
#include <sys/stat.h>

#include "adapters/postgres_internal.h"
#include "core/alloc.h"
#include "tests/unit/core/temporary.h"

#define PATIENCE_SECONDS 30

struct fixture {
	struct event_base *base;
	char *directory;
	char *path; /* that of before */
	struct postgres_place place;
	bool came;
	char *names, *addresses;
	struct error error;
};

static int
setup(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof(*fixture));
	fixture->base = event_base_new();
	fixture->directory = temporary_directory_make();
	fixture->path = xstrdup(getenv("PATH"));
	fixture->place.source = (struct postgres_source){.database = (char *)"shop",
	    .host = (char *)"db.example",
	    .port = (char *)"5432",
	    .user = (char *)"postgres"};
	setenv("PATH", fixture->directory, 1);
	*state = fixture;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *fixture = *state;
	setenv("PATH", fixture->path, 1);
	temporary_directory_remove(fixture->directory);
	event_base_free(fixture->base);
	error_clear(&fixture->error);
	free(fixture->names);
	free(fixture->addresses);
	free(fixture->path);
	free(fixture);
	return 0;
}

#define lookup_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

static void
install(const struct fixture *fixture, const char *body)
{
	cleanup_free char *path = xasprintf("%s/getent", fixture->directory);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", body);
	fclose(file);
	assert_int_equal(chmod(path, 0755), 0);
}

static void
take(void *context, const char *names, const char *addresses, struct error *error)
{
	struct fixture *fixture = context;
	assert_false(fixture->came);
	assert_int_equal(names == NULL, error_is_set(error));
	assert_int_equal(addresses == NULL, error_is_set(error));
	fixture->came = true;
	replace_string(&fixture->names, names);
	replace_string(&fixture->addresses, addresses);
	error_move(&fixture->error, error);
}

static void
give_up(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor, (void)what, (void)context;
	fail_msg("no answer within %d s", PATIENCE_SECONDS);
}

static void
look_up(struct fixture *fixture)
{
	const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
	fixture->came = false;
	assert_non_null(postgres_lookup_start(fixture->base, &fixture->place, take, fixture));
	struct event *deadline = evtimer_new(fixture->base, give_up, NULL);
	event_add(deadline, &patience);
	while (!fixture->came)
		event_base_loop(fixture->base, EVLOOP_ONCE);
	event_free(deadline);
}

static void
all_addresses_are_told(void **state)
{
	struct fixture *fixture = *state;
	install(fixture,
	    "[ \"$1 $2 $3\" = 'ahosts db.example ' ] || exit 2\n"
	    "echo '2001:db8::1     STREAM db.example'; echo '2001:db8::1     DGRAM'; echo '2001:db8::1     RAW'\n"
	    "echo '192.0.2.1       STREAM '; echo '192.0.2.7       STREAM'; echo '192.0.2.9       DGRAM'");
	look_up(fixture);
	assert_string_equal(fixture->addresses, "2001:db8::1,192.0.2.1,192.0.2.7");
	assert_string_equal(fixture->names, "db.example,db.example,db.example");
	fixture->place.source.host = (char *)"127.1";
	install(fixture, "echo '127.0.0.1 STREAM 127.0.0.1'");
	look_up(fixture);
	assert_string_equal(fixture->addresses, "127.0.0.1");
	assert_string_equal(fixture->names, "127.1");
}

static void
a_name_that_is_not_known(void **state)
{
	struct fixture *fixture = *state;
	static const char *const answers[] = {"exit 2", "true", "echo '192.0.2.1 STREAM db.example'; exit 3",
	    "echo '192.0.2.1 STREAM db.example'; kill -9 $$", "echo ' STREAM x'", "echo '1,2 STREAM x'"};
	for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
		install(fixture, answers[i]);
		look_up(fixture);
		assert_int_equal(fixture->error.code, ERROR_POSTGRES_UNREACHABLE);
		assert_non_null(strstr(fixture->error.message, "the database shop at db.example:5432"));
		assert_non_null(strstr(fixture->error.hint, "getent ahosts db.example"));
	}
}

static void
nothing_is_looked_up_that_is_no_name(void **state)
{
	struct fixture *fixture = *state;
	static const char *const hosts[] = {"/run/postgresql", "192.0.2.1", "::1", "fe80::1%eth0", "a,b"};
	install(fixture, "echo '192.0.2.1 STREAM x'");
	for (size_t i = 0; i < ARRAY_LENGTH(hosts); i++) {
		fixture->place.source.host = (char *)(uintptr_t)hosts[i];
		assert_null(postgres_lookup_start(fixture->base, &fixture->place, take, fixture));
	}
}

static void
without_the_program_libpq_has_to(void **state)
{
	struct fixture *fixture = *state;
	assert_null(postgres_lookup_start(fixture->base, &fixture->place, take, fixture));
}

static void
abandoning_ends_the_wait_for_a_name_service_that_is_silent(void **state)
{
	struct fixture *fixture = *state;
	install(fixture, "kill -STOP $$");
	postgres_lookup_abandon(NULL);
	struct postgres_lookup *lookup = postgres_lookup_start(fixture->base, &fixture->place, take, fixture);
	assert_non_null(lookup);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	postgres_lookup_abandon(lookup);
	event_base_loop(fixture->base, EVLOOP_NONBLOCK);
	assert_false(fixture->came);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    lookup_test(all_addresses_are_told),
	    lookup_test(a_name_that_is_not_known),
	    lookup_test(nothing_is_looked_up_that_is_no_name),
	    lookup_test(without_the_program_libpq_has_to),
	    lookup_test(abandoning_ends_the_wait_for_a_name_service_that_is_silent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
