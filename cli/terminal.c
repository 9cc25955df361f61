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

/* A table asks for each of its cells, and the standard descriptors do not change. */
static bool
is_terminal(int descriptor)
{
	static enum { NOT_ASKED, TERMINAL, NO_TERMINAL } answers[STDERR_FILENO + 1];
	if (descriptor < 0 || descriptor > STDERR_FILENO)
		return isatty(descriptor) == 1;
	if (answers[descriptor] == NOT_ASKED)
		answers[descriptor] = isatty(descriptor) == 1 ? TERMINAL : NO_TERMINAL;
	return answers[descriptor] == TERMINAL;
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
	return is_terminal(descriptor >= 0 ? descriptor : STDOUT_FILENO);
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

/* Each character of plain ASCII has one column. */
static size_t
plain_width(const char *text)
{
	size_t width = 0;
	while ((unsigned char)text[width] >= 0x20 && (unsigned char)text[width] < 0x7f)
		width++;
	return width;
}

size_t
terminal_width(const char *text)
{
	size_t plain = plain_width(text);
	if (text[plain] == '\0')
		return plain;
	size_t length = mbstowcs(NULL, text, 0);
	if (length == (size_t)-1)
		return strlen(text);
	cleanup_free wchar_t *wide = xcalloc(length + 1, sizeof(*wide));
	mbstowcs(wide, text, length + 1);
	int width = wcswidth(wide, length);
	return width >= 0 ? (size_t)width : length;
}
