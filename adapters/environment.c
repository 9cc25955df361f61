#include "adapters/environment.h"

#include "core/alloc.h"
#include "core/file.h"
#include "core/text.h"

#include <ctype.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define ENVIRONMENT_FILE_LIMIT ((size_t)1 << 20)
#define DEFAULT_PATH           "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const passed_on[] = {
    "HOME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSH_AUTH_SOCK",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
};

/* The place of a name in the list, or -1. */
static ssize_t
environment_find(char *const *environment, const char *name)
{
	size_t length = strlen(name);
	for (size_t i = 0; environment != NULL && environment[i] != NULL; i++)
		if (strncmp(environment[i], name, length) == 0 && environment[i][length] == '=')
			return (ssize_t)i;
	return -1;
}

void
environment_set(char ***environment, const char *name, const char *value)
{
	cleanup_free char *assignment = xasprintf("%s=%s", name, value);
	ssize_t place = environment_find(*environment, name);
	if (place < 0)
		strings_add(environment, assignment);
	else
		replace_string(&(*environment)[place], assignment);
}

const char *
environment_get(char *const *environment, const char *name)
{
	ssize_t place = environment_find(environment, name);
	return place < 0 ? NULL : environment[place] + strlen(name) + 1;
}

char **
environment_base(void)
{
	char **environment = NULL;
	const char *path = getenv("PATH");
	environment_set(&environment, "PATH", path == NULL || path[0] == '\0' ? DEFAULT_PATH : path);
	for (size_t i = 0; i < ARRAY_LENGTH(passed_on); i++)
		if (getenv(passed_on[i]) != NULL)
			environment_set(&environment, passed_on[i], getenv(passed_on[i]));
	for (size_t i = 0; environ != NULL && environ[i] != NULL; i++)
		if (text_starts_with(environ[i], "LC_") && strchr(environ[i], '=') != NULL)
			strings_add(&environment, environ[i]);
	return environment;
}

/* ---- the EnvironmentFile syntax ----
 *
 * The same states as systemd's own parser (src/basic/env-file.c), so that a file means here what it means in
 * a unit. Where systemd skips what it does not understand, this one refuses: a credential that is silently
 * not set shows up as a puzzling failure of the backend later. */

enum place {
	PLACE_LINE_START,
	PLACE_COMMENT,
	PLACE_NAME,
	PLACE_BEFORE_VALUE, /* after '=' and after a closing quote: white space is skipped */
	PLACE_VALUE,
	PLACE_VALUE_ESCAPE,
	PLACE_SINGLE_QUOTES,
	PLACE_DOUBLE_QUOTES,
	PLACE_DOUBLE_QUOTES_ESCAPE,
};

struct environment_parser {
	enum place place;
	unsigned line;
	unsigned assignment_line; /* where the assignment at hand begins: a value may span lines */
	struct text name;
	struct text value;
	size_t kept; /* length of the value without the unquoted white space at its end */
	char **environment;
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_newline(char c)
{
	return c == '\n' || c == '\r';
}

static void
keep_character(struct environment_parser *parser, char c)
{
	text_add_bytes(&parser->value, &c, 1);
	parser->kept = parser->value.length;
}

static bool
name_is_valid(const char *name)
{
	if (name == NULL || name[0] == '\0' || isdigit((unsigned char)name[0]))
		return false;
	for (const char *c = name; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) && *c != '_')
			return false;
	return true;
}

static int
refuse_line(const struct environment_parser *parser, const char *what, struct error *error)
{
	error_set(error, ERROR_SECRET, "line %u %s", parser->assignment_line, what);
	return error_hint(error,
	    "each line is NAME=value as in systemd's EnvironmentFile=; `export`, $variables and other shell "
	    "words are not understood");
}

static int
end_name(struct environment_parser *parser, struct error *error)
{
	while (parser->name.length > 0 && is_blank(parser->name.string[parser->name.length - 1]))
		parser->name.string[--parser->name.length] = '\0';
	if (!name_is_valid(parser->name.string))
		return refuse_line(parser, "does not set a variable: the part before \"=\" is no name", error);
	parser->place = PLACE_BEFORE_VALUE;
	return 0;
}

static void
end_assignment(struct environment_parser *parser)
{
	if (parser->value.string != NULL)
		parser->value.string[parser->kept] = '\0';
	environment_set(
	    &parser->environment, parser->name.string, parser->value.string == NULL ? "" : parser->value.string);
	text_clear(&parser->name);
	text_clear(&parser->value);
	parser->kept = 0;
	parser->place = PLACE_LINE_START;
}

static int
parse_character(struct environment_parser *parser, char c, struct error *error)
{
	switch (parser->place) {
	case PLACE_LINE_START:
		if (is_blank(c) || is_newline(c))
			return 0;
		parser->assignment_line = parser->line;
		if (c == '#' || c == ';') {
			parser->place = PLACE_COMMENT;
			return 0;
		}
		parser->place = PLACE_NAME;
		__attribute__((fallthrough));
	case PLACE_NAME:
		if (is_newline(c))
			return refuse_line(parser, "is no assignment", error);
		if (c == '=')
			return end_name(parser, error);
		text_add_bytes(&parser->name, &c, 1);
		return 0;
	case PLACE_COMMENT:
		if (is_newline(c))
			parser->place = PLACE_LINE_START;
		return 0;
	case PLACE_BEFORE_VALUE:
		if (is_newline(c)) {
			end_assignment(parser);
		} else if (is_blank(c)) {
			return 0;
		} else if (c == '\'') {
			parser->place = PLACE_SINGLE_QUOTES;
		} else if (c == '"') {
			parser->place = PLACE_DOUBLE_QUOTES;
		} else if (c == '\\') {
			parser->place = PLACE_VALUE_ESCAPE;
		} else {
			parser->place = PLACE_VALUE;
			keep_character(parser, c);
		}
		return 0;
	case PLACE_VALUE:
		if (is_newline(c))
			end_assignment(parser);
		else if (c == '\\')
			parser->place = PLACE_VALUE_ESCAPE;
		else if (is_blank(c))
			text_add_bytes(&parser->value, &c, 1);
		else
			keep_character(parser, c);
		return 0;
	case PLACE_VALUE_ESCAPE:
		parser->place = PLACE_VALUE;
		if (!is_newline(c))
			keep_character(parser, c);
		return 0;
	case PLACE_SINGLE_QUOTES:
		if (c == '\'')
			parser->place = PLACE_BEFORE_VALUE;
		else
			keep_character(parser, c);
		return 0;
	case PLACE_DOUBLE_QUOTES:
		if (c == '"')
			parser->place = PLACE_BEFORE_VALUE;
		else if (c == '\\')
			parser->place = PLACE_DOUBLE_QUOTES_ESCAPE;
		else
			keep_character(parser, c);
		return 0;
	case PLACE_DOUBLE_QUOTES_ESCAPE:
		parser->place = PLACE_DOUBLE_QUOTES;
		if (c == '\n')
			return 0;
		if (strchr("\"\\`$", c) == NULL)
			keep_character(parser, '\\');
		keep_character(parser, c);
		return 0;
	}
	return error_set(error, ERROR_INTERNAL, "the environment parser is nowhere");
}

static int
parse_end(struct environment_parser *parser, struct error *error)
{
	switch (parser->place) {
	case PLACE_LINE_START:
	case PLACE_COMMENT:
		return 0;
	case PLACE_NAME:
		return refuse_line(parser, "is no assignment", error);
	case PLACE_BEFORE_VALUE:
	case PLACE_VALUE:
	case PLACE_VALUE_ESCAPE:
		end_assignment(parser);
		return 0;
	case PLACE_SINGLE_QUOTES:
	case PLACE_DOUBLE_QUOTES:
	case PLACE_DOUBLE_QUOTES_ESCAPE:
		return refuse_line(parser, "opens a quote that is never closed", error);
	}
	return error_set(error, ERROR_INTERNAL, "the environment parser ended nowhere");
}

static bool
is_utf8(const char *bytes, size_t length)
{
	json_t *string = json_stringn(bytes, length);
	json_decref(string);
	return string != NULL;
}

/* Comments too: a file in another encoding is not the file its author sees. */
static int
check_encoding(const char *content, size_t length, struct error *error)
{
	struct environment_parser at = {.assignment_line = 1};
	for (size_t start = 0; start < length; at.assignment_line++) {
		const char *newline = memchr(content + start, '\n', length - start);
		size_t line_length = newline == NULL ? length - start : (size_t)(newline - content) - start;
		if (memchr(content + start, '\0', line_length) != NULL)
			return refuse_line(&at, "contains a NUL byte", error);
		if (!is_utf8(content + start, line_length))
			return refuse_line(&at, "is not valid UTF-8", error);
		start += line_length + 1;
	}
	return 0;
}

int
environment_parse(const char *content, size_t length, char ***environment, struct error *error)
{
	if (check_encoding(content, length, error) < 0)
		return -1;
	struct environment_parser parser = {.place = PLACE_LINE_START, .line = 1};
	int result = 0;
	for (size_t i = 0; i < length && result == 0; i++) {
		result = parse_character(&parser, content[i], error);
		if (content[i] == '\n')
			parser.line++;
	}
	if (result == 0)
		result = parse_end(&parser, error);

	/* Nothing is handed over before all of it is good. */
	for (size_t i = 0; result == 0 && parser.environment != NULL && parser.environment[i] != NULL; i++) {
		char *equals = strchr(parser.environment[i], '=');
		*equals = '\0';
		environment_set(environment, parser.environment[i], equals + 1);
	}
	strings_free(parser.environment);
	text_clear(&parser.name);
	text_clear(&parser.value);
	return result;
}

int
environment_read(const char *path, char ***environment, struct error *error)
{
	if (file_check_trust(path, true, error) < 0)
		return -1;
	cleanup_free char *content = NULL;
	size_t length;
	if (file_read(path, ENVIRONMENT_FILE_LIMIT, &content, &length, error) < 0)
		return -1;
	if (environment_parse(content, length, environment, error) < 0)
		return error_prefix(error, "%s", path);
	return 0;
}
