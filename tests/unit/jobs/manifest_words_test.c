#include "jobs/manifest_internal.h"

#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/alloc.h"
#include "core/clock.h"

typedef const char *fault_fn(const char *string);

static void
assert_fault(fault_fn *judge, const char *string, const char *words)
{
	const char *fault = judge(string);
	if (words == NULL && fault != NULL)
		fail_msg("'%s' %s", string, fault);
	if (words != NULL && (fault == NULL || strstr(fault, words) == NULL))
		fail_msg("'%s' %s, expected: %s", string, fault == NULL ? "is fine" : fault, words);
}

static void
assert_longest(fault_fn *judge, const char *end, size_t longest)
{
	size_t filled = longest - strlen(end);
	cleanup_free char *string = xcalloc(longest + 2, 1);
	memset(string, 'a', filled);
	strcpy(string + filled, end);
	assert_fault(judge, string, NULL);
	memset(string, 'a', filled + 1);
	strcpy(string + filled + 1, end);
	assert_fault(judge, string, "longer");
}

static void
times_have_two_digits_each(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "2:00", "02:0", "02:000", "24:00", "02:60", "-1:00", "02-00", "02.00",
	    " 2:00", "0x:00", "02:00 ", "02:00:00", "ab:cd", "+2:00", "02: 0"};
	int64_t time = -7;
	assert_true(manifest_parse_time("00:00", &time));
	assert_int_equal(time, 0);
	assert_true(manifest_parse_time("02:30", &time));
	assert_int_equal(time, 2 * USEC_PER_HOUR + 30 * USEC_PER_MIN);
	assert_true(manifest_parse_time("23:59", &time));
	assert_int_equal(time, USEC_PER_DAY - USEC_PER_MIN);
	time = -7;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		if (manifest_parse_time(bad[i], &time))
			fail_msg("'%s' was taken for a time", bad[i]);
		assert_int_equal(time, -7);
	}
}

static void
paths_are_absolute_and_clean(void **state)
{
	(void)state;
	assert_fault(manifest_path_fault, "/", NULL);
	assert_fault(manifest_path_fault, "/var/lib/größe und mehr/..x", NULL);
	assert_fault(manifest_path_fault, "", "empty");
	assert_fault(manifest_path_fault, "var/lib", "not absolute");
	assert_fault(manifest_path_fault, "~/x", "not absolute");
	assert_fault(manifest_path_fault, "/var/../etc", "'..'");
	assert_fault(manifest_path_fault, "/var/.", "'.'");
	assert_fault(manifest_path_fault, "/var//lib", "'//'");
	assert_fault(manifest_path_fault, "/var/", "slash at its end");
	assert_fault(manifest_path_fault, "/var/\nlib", "control");
	assert_fault(manifest_path_fault, "/var/\x1b[2J", "control");
	assert_fault(manifest_path_fault, "/var/\xc2\x9b", "control");
	assert_fault(manifest_path_fault, "/var/\xe2\x80\xae", "control");
	cleanup_free char *endless = xcalloc(5000, 1);
	memset(endless, 'a', 4999);
	endless[0] = '/';
	assert_fault(manifest_path_fault, endless, "longer");
}

static void
programs_are_names_or_paths(void **state)
{
	(void)state;
	assert_fault(manifest_program_fault, "restic", NULL);
	assert_fault(manifest_program_fault, "/usr/bin/restic", NULL);
	assert_fault(manifest_program_fault, "./restic", "not absolute");
	assert_fault(manifest_program_fault, "/usr/../restic", "'..'");
	assert_fault(manifest_program_fault, "", "empty");
}

static void
services_are_named_like_units(void **state)
{
	(void)state;
	assert_fault(manifest_service_fault, "web", NULL);
	assert_fault(manifest_service_fault, "Web_2.0:x@a-b", NULL);
	assert_fault(manifest_service_fault, "", "empty");
	assert_fault(manifest_service_fault, ".web", "begins");
	assert_fault(manifest_service_fault, "-web", "begins");
	assert_fault(manifest_service_fault, "a/b", "characters");
	assert_fault(manifest_service_fault, "a b", "characters");
	assert_fault(manifest_service_fault, "a\nb", "characters");
	assert_fault(manifest_service_fault, "gr\xc3\xb6\xc3\x9f", "characters");
	assert_fault(manifest_service_fault, "a\\b", "characters");
	assert_longest(manifest_service_fault, "", 200);
}

static void
units_have_a_suffix_and_are_no_templates(void **state)
{
	(void)state;
	assert_fault(manifest_unit_fault, "web.service", NULL);
	assert_fault(manifest_unit_fault, "web@1.service", NULL);
	assert_fault(manifest_unit_fault, "web@a\\x2db.service", NULL);
	assert_fault(manifest_unit_fault, "var-lib.mount", NULL);
	assert_fault(manifest_unit_fault, "a.b.socket", NULL);
	assert_fault(manifest_unit_fault, "", "empty");
	assert_fault(manifest_unit_fault, "web", "suffix");
	assert_fault(manifest_unit_fault, "web.", "suffix");
	assert_fault(manifest_unit_fault, "web.Service", "suffix");
	assert_fault(manifest_unit_fault, "web.conf", "suffix");
	assert_fault(manifest_unit_fault, "session-1.scope", "suffix");
	assert_fault(manifest_unit_fault, "dev-sda.device", "suffix");
	assert_fault(manifest_unit_fault, ".service", "begins");
	assert_fault(manifest_unit_fault, "-.mount", "begins");
	assert_fault(manifest_unit_fault, "@1.service", "begins");
	assert_fault(manifest_unit_fault, "web@.service", "template");
	assert_fault(manifest_unit_fault, "web service.service", "characters");
	assert_fault(manifest_unit_fault, "../web.service", "characters");
	assert_longest(manifest_unit_fault, ".service", 255);
}

static void
tags_have_no_commas_and_no_reserved_beginning(void **state)
{
	(void)state;
	assert_fault(manifest_tag_fault, "nightly", NULL);
	assert_fault(manifest_tag_fault, "tier:1 größe", NULL);
	assert_fault(manifest_tag_fault, "my-service:x", NULL);
	assert_fault(manifest_tag_fault, "", "empty");
	assert_fault(manifest_tag_fault, "a,b", "comma");
	assert_fault(manifest_tag_fault, "a\tb", "control");
	assert_fault(manifest_tag_fault, "service:web", "own tags");
	assert_fault(manifest_tag_fault, "type:x", "own tags");
	assert_fault(manifest_tag_fault, "job:1", "own tags");
	assert_longest(manifest_tag_fault, "", 200);
}

static void
hosts_are_host_names(void **state)
{
	(void)state;
	assert_fault(manifest_host_fault, "cellar", NULL);
	assert_fault(manifest_host_fault, "nas-1.example.org", NULL);
	assert_fault(manifest_host_fault, "", "empty");
	assert_fault(manifest_host_fault, "-cellar", "begins");
	assert_fault(manifest_host_fault, ".cellar", "begins");
	assert_fault(manifest_host_fault, "cel lar", "characters");
	assert_fault(manifest_host_fault, "cellar,attic", "characters");
	assert_longest(manifest_host_fault, "", 253);
}

static void
shell_text_may_have_lines(void **state)
{
	(void)state;
	assert_fault(manifest_shell_fault, "", NULL);
	assert_fault(manifest_shell_fault, "a\n\tb", NULL);
	assert_fault(manifest_shell_fault, "a\rb", "control");
	assert_fault(manifest_shell_fault, "a\x1b]0;x\x07", "control");
}

static void
groups_have_names(void **state)
{
	(void)state;
	assert_fault(manifest_group_fault, "backup", NULL);
	assert_fault(manifest_group_fault, "_backup-2.x", NULL);
	assert_fault(manifest_group_fault, "", "empty");
	assert_fault(manifest_group_fault, "1000", "neither a letter");
	assert_fault(manifest_group_fault, "-x", "neither a letter");
	assert_fault(manifest_group_fault, "a b", "characters");
	assert_fault(manifest_group_fault, "a:b", "characters");
	assert_fault(manifest_group_fault, "gr\xc3\xb6\xc3\x9f", "characters");
	assert_longest(manifest_group_fault, "", 32);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(times_have_two_digits_each),
	    cmocka_unit_test(paths_are_absolute_and_clean),
	    cmocka_unit_test(programs_are_names_or_paths),
	    cmocka_unit_test(services_are_named_like_units),
	    cmocka_unit_test(units_have_a_suffix_and_are_no_templates),
	    cmocka_unit_test(tags_have_no_commas_and_no_reserved_beginning),
	    cmocka_unit_test(hosts_are_host_names),
	    cmocka_unit_test(shell_text_may_have_lines),
	    cmocka_unit_test(groups_have_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
