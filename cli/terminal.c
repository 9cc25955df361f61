#include "cli/terminal.h"

#include "core/alloc.h"

#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include <wchar.h>

void
terminal_choose_locale(void)
{
	if (setlocale(LC_CTYPE, "") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		setlocale(LC_CTYPE, "C.UTF-8");
}

bool
terminal_has_colour(FILE *file)
{
	const char *refused = getenv("NO_COLOR");
	if (refused != NULL && *refused != '\0')
		return false;
	const char *terminal = getenv("TERM");
	if (terminal == NULL || strcmp(terminal, "dumb") == 0)
		return false;
	/* What goes into memory is on its way to stdout. */
	int descriptor = fileno(file);
	return isatty(descriptor >= 0 ? descriptor : STDOUT_FILENO) == 1;
}

const char *
terminal_tone(FILE *file, enum tone tone)
{
	static const char *const sequences[] = {
	    [TONE_PLAIN] = "",
	    [TONE_GOOD] = "\033[32m",
	    [TONE_WARNING] = "\033[33m",
	    [TONE_BAD] = "\033[1;31m",
	    [TONE_FAINT] = "\033[2m",
	};
	return tone != TONE_PLAIN && terminal_has_colour(file) ? sequences[tone] : "";
}

const char *
terminal_end(FILE *file, enum tone tone)
{
	return tone != TONE_PLAIN && terminal_has_colour(file) ? "\033[0m" : "";
}

size_t
terminal_width(const char *text)
{
	size_t length = mbstowcs(NULL, text, 0);
	if (length == (size_t)-1)
		return strlen(text);
	cleanup_free wchar_t *wide = xcalloc(length + 1, sizeof(*wide));
	mbstowcs(wide, text, length + 1);
	int width = wcswidth(wide, length);
	return width >= 0 ? (size_t)width : length;
}
