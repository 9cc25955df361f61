#include "tests/system/lab_units.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define UNIT_DIRECTORY "/run/systemd/system"
#define PATIENCE       (10 * USEC_PER_SEC)

static char **written;

void
lab_shell(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	cleanup_free char *command = xvasprintf(format, arguments);
	va_end(arguments);
	int status = system(command);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s: status %d", command, status);
}

void
lab_unit(const char *name, const char *format, ...)
{
	cleanup_free char *path = xasprintf(UNIT_DIRECTORY "/%s", name);
	cleanup_fclose FILE *file = fopen(path, "we");
	assert_non_null(file);
	va_list arguments;
	va_start(arguments, format);
	assert_true(vfprintf(file, format, arguments) >= 0);
	va_end(arguments);
	strings_add(&written, name);
}

void
lab_reload(void)
{
	lab_shell("systemctl daemon-reload");
}

void
lab_start_unit(const char *name, const char *text)
{
	lab_unit(name, "%s", text);
	lab_reload();
	lab_shell("systemctl start %s", name);
}

void
lab_forget_units(void)
{
	cleanup_text struct text names = {0};
	for (size_t i = 0; i < strings_count(written); i++)
		if (!text_ends_with(written[i], ".conf") && strstr(written[i], "@.") == NULL)
			text_printf(&names, " %s", written[i]);
	if (names.length > 0) {
		/* Killed first, so that a slow stop of one test is no burden to the next; a second time for what was
		 * upheld or triggered in between. */
		lab_shell("for n in 1 2; do for u in%s; do systemctl thaw $u; systemctl kill -s KILL $u; done; "
			  "systemctl stop%s; done >/dev/null 2>&1; systemctl reset-failed; true",
		    names.string, names.string);
	}
	for (size_t i = 0; i < strings_count(written); i++)
		lab_shell("rm -f " UNIT_DIRECTORY "/%s", written[i]);
	lab_reload();
	strings_free(written);
	written = NULL;
}

char *
lab_property(const char *unit, const char *property)
{
	cleanup_free char *command = xasprintf("systemctl show -P %s %s", property, unit);
	FILE *pipe = popen(command, "re");
	assert_non_null(pipe);
	char *line = NULL;
	size_t room = 0;
	if (getline(&line, &room, pipe) < 0) {
		free(line);
		line = xstrdup("");
	}
	assert_int_equal(pclose(pipe), 0);
	line[strcspn(line, "\n")] = '\0';
	return line;
}

bool
lab_property_is(const char *unit, const char *property, const char *value)
{
	cleanup_free char *found = lab_property(unit, property);
	return strcmp(found, value) == 0;
}

bool
lab_is_active(const char *unit)
{
	return lab_property_is(unit, "ActiveState", "active");
}

void
lab_wait_property(const char *unit, const char *property, const char *value)
{
	int64_t end = clock_monotonic(clock_system()) + PATIENCE;
	while (!lab_property_is(unit, property, value))
		if (clock_monotonic(clock_system()) > end) {
			cleanup_free char *found = lab_property(unit, property);
			fail_msg("%s: %s is %s, not %s", unit, property, found, value);
		}
}
