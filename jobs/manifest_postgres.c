/* The databases of `data.postgres`, and the words that adapters/postgres.h reads for them. */
#include "jobs/manifest_internal.h"

#include "core/alloc.h"

#include <string.h>

#define DEFAULT_PORT " port='5432'"

/* ---- conninfo strings, as libpq reads them ---- */

static void
add_word(struct text *words, const char *keyword, const char *value)
{
	if (value == NULL)
		return;
	text_printf(words, "%s%s='", words->length == 0 ? "" : " ", keyword);
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			text_add(words, "\\");
		text_add_bytes(words, value, 1);
	}
	text_add(words, "'");
}

static char *
words_of(const struct database_draft *draft)
{
	struct text words = {.string = NULL};
	add_word(&words, "dbname", draft->database);
	add_word(&words, "host", draft->host);
	add_word(&words, "port", draft->port);
	add_word(&words, "user", draft->user);
	add_word(&words, "passfile", draft->passfile);
	return text_take(&words);
}

static void
cut_from(char *words, const char *keyword)
{
	char *found = strstr(words, keyword);
	if (found != NULL)
		*found = '\0';
}

/* A quote inside of a value has a backslash before it, so that no value looks like a keyword. */
char *
manifest_database_identity(const char *words)
{
	if (strchr(words, '=') == NULL) {
		cleanup_free char *database = xstrdup(words);
		return words_of(&(struct database_draft){.database = database});
	}
	char *identity = xstrdup(words);
	cut_from(identity, " passfile='");
	cut_from(identity, " user='");
	cut_from(identity, DEFAULT_PORT);
	return identity;
}

/* ---- reading ---- */

/* Not repeated in the message: what looks like a conninfo string or an address may have a password in it. */
static bool
is_conninfo(const char *name)
{
	return strchr(name, '=') != NULL || strstr(name, "://") != NULL;
}

static void
read_name(struct manifest_reader *reader, const struct manifest_key *key, const char *name, char ***list)
{
	if (is_conninfo(name))
		manifest_refuse(reader,
		    "write an object (version 2): {\"database\": ..., \"host\": ...}; a password goes into a "
		    "passfile",
		    "the name has a '=' or '://' in it, and what looks like a connection string is not taken as a "
		    "name");
	else if (manifest_judge_text(reader, key->type, name))
		strings_add(list, name);
}

static void
read_object(struct manifest_reader *reader, const struct manifest_key *key, json_t *object, char ***list)
{
	struct database_draft draft = {.database = NULL};
	size_t failures = reader->failures;
	manifest_read_object(reader, object, key->keys, &draft);
	if (reader->failures == failures && draft.database == NULL) {
		manifest_refuse(reader, "write {\"database\": ...}", "\"database\" is missing");
	} else if (reader->failures == failures) {
		cleanup_free char *words = words_of(&draft);
		strings_add(list, words);
	}
	manifest_release(key->keys, &draft);
}

static void
read_database(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, char ***list)
{
	if (json_is_string(value))
		read_name(reader, key, json_string_value(value), list);
	else if (json_is_object(value) && key->keys != NULL)
		read_object(reader, key, value, list);
	else
		manifest_refuse_type(reader, key->name, key->type, value);
}

static int
compare_identities(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

static void
refuse_duplicates(struct manifest_reader *reader, char *const *list)
{
	size_t count = strings_count(list);
	cleanup_strings char **identities = xcalloc(count + 1, sizeof(*identities));
	for (size_t i = 0; i < count; i++)
		identities[i] = manifest_database_identity(list[i]);
	qsort(identities, count, sizeof(*identities), compare_identities);
	for (size_t i = 1; i < count; i++)
		if (strcmp(identities[i - 1], identities[i]) == 0)
			manifest_refuse(
			    reader, "name each database once", "one database is there twice: %.200s", identities[i]);
}

void
manifest_read_databases(struct manifest_reader *reader, const struct manifest_key *key, json_t *value, void *target)
{
	/* An empty list says something that an absent one does not. */
	cleanup_strings char **list = xcalloc(1, sizeof(*list));
	if (json_is_array(value))
		manifest_read_items(reader, key, value, read_database, &list);
	else
		read_database(reader, key, value, &list);
	refuse_duplicates(reader, list);
	strings_free(*(char ***)target);
	*(char ***)target = take_pointer(list);
}
