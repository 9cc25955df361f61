#include "adapters/postgres_internal.h"

#include "core/alloc.h"
#include "core/file.h"
#include "core/text.h"

#include <string.h>

/* NAMEDATALEN - 1: the server cuts a longer name, and would give us another database. */
#define NAME_LIMIT 63

#define KEYWORD_LIMIT 32

/* ---- what a value may be: each returns NULL, or what is wrong with it ---- */

static const char *
name_fault(const char *value)
{
	if (value[0] == '\0')
		return "is empty";
	if (strlen(value) > NAME_LIMIT)
		return "is longer than 63 bytes";
	return text_is_printable(value) ? NULL : "has a control character in it or is not UTF-8";
}

/* What libpq would take as several hosts, or as something else than a host, is left to nobody's guess. */
static const char *
host_fault(const char *value)
{
	if (value[0] == '/')
		return path_is_clean(value) && strchr(value, ',') == NULL ? NULL : "is not a clean absolute path";
	size_t allowed = strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:%_-");
	if (allowed == 0 || value[allowed] != '\0' || value[0] == '-')
		return "is neither a host's name or address nor the path of a directory";
	return NULL;
}

static const char *
port_fault(const char *value)
{
	size_t digits = strspn(value, "0123456789");
	if (digits == 0 || digits > 5 || value[digits] != '\0' || atoi(value) == 0 || atoi(value) > 65535)
		return "is not a number from 1 to 65535";
	return NULL;
}

static const char *
passfile_fault(const char *value)
{
	return path_is_clean(value) ? NULL : "is not a clean absolute path";
}

/* In the order in which they are written. */
static const struct keyword {
	const char *name;
	size_t offset;
	const char *(*fault)(const char *value);
} keywords[] = {
    {"dbname", offsetof(struct postgres_source, database), name_fault},
    {"host", offsetof(struct postgres_source, host), host_fault},
    {"port", offsetof(struct postgres_source, port), port_fault},
    {"user", offsetof(struct postgres_source, user), name_fault},
    {"passfile", offsetof(struct postgres_source, passfile), passfile_fault},
};

static char **
member(struct postgres_source *source, const struct keyword *keyword)
{
	return (char **)((char *)source + keyword->offset);
}

static const char *
value_of(const struct postgres_source *source, const struct keyword *keyword)
{
	return *(char *const *)((const char *)source + keyword->offset);
}

void
postgres_source_clear(struct postgres_source *source)
{
	for (size_t i = 0; i < ARRAY_LENGTH(keywords); i++)
		free(*member(source, &keywords[i]));
	*source = (struct postgres_source){.database = NULL};
}

/* ---- reading ----
 *
 * The messages never show a value: somebody may have put a password where none belongs. */

static int
refuse(struct error *error, const char *what)
{
	error_set(error, ERROR_MANIFEST, "a PostgreSQL database %s", what);
	return error_hint(error, "give its name, or an object with \"database\", \"host\", \"port\", \"user\" and "
				 "\"passfile\"");
}

static int
refuse_keyword(struct error *error, const char *word)
{
	if (strcmp(word, "password") == 0 || strcmp(word, "sslpassword") == 0) {
		refuse(error, "has its password in the manifest");
		return error_hint(error,
		    "put it into a file that only root can read, in the form of ~/.pgpass, and name "
		    "that as \"passfile\"");
	}
	cleanup_free char *what = xasprintf("has \"%s\" as a keyword", word);
	return refuse(error, what);
}

static int
refuse_value(struct error *error, const struct keyword *keyword, const char *fault)
{
	error_set(error, ERROR_MANIFEST, "the %s of a PostgreSQL database %s", keyword->name, fault);
	return error_hint(error, "correct it in the manifest");
}

static int
read_keyword(const char **cursor, const struct keyword **ret_keyword, struct error *error)
{
	char word[KEYWORD_LIMIT + 1] = "";
	size_t length = strspn(*cursor, "abcdefghijklmnopqrstuvwxyz_");
	if (length == 0 || length > KEYWORD_LIMIT || (*cursor)[length] != '=')
		return refuse(error, "is not written as keyword='value' keyword='value'");
	memcpy(word, *cursor, length);
	*cursor += length + 1;
	for (size_t i = 0; i < ARRAY_LENGTH(keywords); i++) {
		if (strcmp(keywords[i].name, word) != 0)
			continue;
		*ret_keyword = &keywords[i];
		return 0;
	}
	return refuse_keyword(error, word);
}

/* 'value', in which a quote and a backslash have a backslash before them. */
static int
read_value(const char **cursor, char **ret_value, struct error *error)
{
	cleanup_text struct text value = {.string = NULL};
	const char *byte = *cursor;
	if (*byte != '\'')
		return refuse(error, "has a value without quotes");
	for (byte++; *byte != '\''; byte++) {
		if (*byte == '\\')
			byte++;
		if (*byte == '\0')
			return refuse(error, "has a value whose quote is never closed");
		text_add_bytes(&value, byte, 1);
	}
	*cursor = byte + 1;
	*ret_value = text_take(&value);
	return 0;
}

static int
read_pair(const char **cursor, struct postgres_source *source, struct error *error)
{
	const struct keyword *keyword = NULL;
	cleanup_free char *value = NULL;
	if (read_keyword(cursor, &keyword, error) < 0 || read_value(cursor, &value, error) < 0)
		return -1;
	if (*member(source, keyword) != NULL)
		return refuse_value(error, keyword, "is there twice");
	const char *fault = keyword->fault(value);
	if (fault != NULL)
		return refuse_value(error, keyword, fault);
	*member(source, keyword) = take_pointer(value);
	return 0;
}

static int
read_pairs(const char *words, struct postgres_source *source, struct error *error)
{
	for (const char *cursor = words;; cursor++) {
		if (read_pair(&cursor, source, error) < 0)
			return -1;
		if (*cursor == '\0')
			return source->database != NULL ? 0 : refuse(error, "has no dbname");
		if (*cursor != ' ')
			return refuse(error, "is not written as keyword='value' keyword='value'");
	}
}

/* What libpq, and so pg_dump, takes for something else than a name. */
static bool
is_uri(const char *words)
{
	return text_starts_with(words, "postgresql://") || text_starts_with(words, "postgres://");
}

static int
read_words(const char *words, struct postgres_source *source, struct error *error)
{
	if (is_uri(words))
		return refuse(error, "is given as a URI");
	if (strchr(words, '=') != NULL)
		return read_pairs(words, source, error);
	const char *fault = name_fault(words);
	if (fault != NULL)
		return refuse_value(error, &keywords[0], fault);
	source->database = xstrdup(words);
	return 0;
}

int
postgres_source_read(const char *words, struct postgres_source *ret_source, struct error *error)
{
	cleanup_postgres_source struct postgres_source source = {.database = NULL};
	if (read_words(words, &source, error) < 0)
		return -1;
	*ret_source = source;
	source = (struct postgres_source){.database = NULL};
	return 0;
}

/* ---- writing ---- */

static void
add_pair(struct text *words, const char *keyword, const char *value)
{
	text_printf(words, "%s%s='", words->length > 0 ? " " : "", keyword);
	for (const char *byte = value; *byte != '\0'; byte++) {
		if (*byte == '\'' || *byte == '\\')
			text_add(words, "\\");
		text_add_bytes(words, byte, 1);
	}
	text_add(words, "'");
}

char *
postgres_source_words(const struct postgres_source *source)
{
	bool bare = strchr(source->database, '=') == NULL && !is_uri(source->database);
	for (size_t i = 1; i < ARRAY_LENGTH(keywords); i++)
		bare = bare && value_of(source, &keywords[i]) == NULL;
	if (bare)
		return xstrdup(source->database);
	return postgres_source_conninfo(source);
}

char *
postgres_source_conninfo(const struct postgres_source *source)
{
	struct text words = {.string = NULL};
	for (size_t i = 0; i < ARRAY_LENGTH(keywords); i++)
		if (value_of(source, &keywords[i]) != NULL)
			add_pair(&words, keywords[i].name, value_of(source, &keywords[i]));
	return text_take(&words);
}
