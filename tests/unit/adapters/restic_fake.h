/* A restic that plays back what a test wrote: for the subcommand KEY ("backup", "cat-config", "cat-lock-ID")
 * it prints KEY.out and KEY.err and exits with KEY.exit. What it was called with is in "calls", "stdin" and
 * "env". If there is a file KEY.hang it does not end by itself. Once `unlock` was run, "list" prints what is in
 * list.after. */
#ifndef ATELIER_TESTS_UNIT_ADAPTERS_RESTIC_FAKE_H
#define ATELIER_TESTS_UNIT_ADAPTERS_RESTIC_FAKE_H

#include "tests/unit/adapters/restic_fixture.h"

static const char restic_fake_script[] = "#!/bin/sh\n"
					 "d=${0%/*}\n"
					 "key=$1\n"
					 "case $1 in cat) key=$1-$2; [ \"$2\" = config ] || key=$key-$3 ;; esac\n"
					 "printf '%s\\n' \"$*\" >>\"$d/calls\"\n"
					 "env >\"$d/env\"\n"
					 "cat >\"$d/stdin\"\n"
					 "[ \"$key\" != unlock ] || [ ! -f \"$d/list.after\" ] || "
					 "cp \"$d/list.after\" \"$d/list.out\"\n"
					 "[ ! -f \"$d/$key.err\" ] || cat \"$d/$key.err\" >&2\n"
					 "[ ! -f \"$d/$key.out\" ] || cat \"$d/$key.out\"\n"
					 "[ ! -f \"$d/$key.hang\" ] || exec sleep 1000\n"
					 "[ ! -f \"$d/$key.exit\" ] || exit \"$(cat \"$d/$key.exit\")\"\n";

static inline struct restic_fixture *
restic_fake_new(void)
{
	struct restic_fixture *fixture = restic_fixture_new("");
	free(fixture->settings.program);
	fixture->settings.program = fixture_path(fixture, "restic");
	fixture_write(fixture, "restic", restic_fake_script);
	assert_int_equal(chmod(fixture->settings.program, 0700), 0);
	return fixture;
}

/* What the fake does for one subcommand. NULL leaves an output empty. */
static inline void
restic_fake_plays(
    const struct restic_fixture *fixture, const char *key, const char *out, const char *err, int exit_code)
{
	cleanup_free char *out_name = xasprintf("%s.out", key);
	cleanup_free char *err_name = xasprintf("%s.err", key);
	cleanup_free char *exit_name = xasprintf("%s.exit", key);
	cleanup_free char *exit_text = xasprintf("%d", exit_code);
	fixture_write(fixture, out_name, out == NULL ? "" : out);
	fixture_write(fixture, err_name, err == NULL ? "" : err);
	fixture_write(fixture, exit_name, exit_text);
}

static inline int
restic_fake_setup(void **state)
{
	*state = restic_fake_new();
	return 0;
}

static inline int
restic_fake_teardown(void **state)
{
	restic_fixture_free(*state);
	return 0;
}

#define restic_fake_test(function) cmocka_unit_test_setup_teardown(function, restic_fake_setup, restic_fake_teardown)

#endif
