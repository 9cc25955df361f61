/* Is a database whole? quick_check, without disturbing whoever works with it. */
#include "adapters/sqlite_internal.h"

#include "core/alloc.h"
#include "core/text.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#define WARM_CHUNK ((size_t)1 << 20)

/* A schema can name functions and collations that only its service has (Plex: icu_root). Stand-ins let
 * quick_check run; what it then finds about order and values is their doing, what it finds about pages is
 * not. */
#define MOST_STAND_INS 200

static const char damaged_pages[] = "*** in database ";

/* quick_check reads pages in the order of the trees: 15 s for 1 GB on a cold cache, 1 s after this. Must
 * happen before SQLite has the file open here: closing our descriptor would drop its locks. */
static void
warm_cache(const char *path, uint64_t bytes)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page_size = sysconf(_SC_PAGESIZE);
	if (pages < 0 || page_size < 0 || bytes > (uint64_t)pages * (uint64_t)page_size / 2)
		return;
	cleanup_close int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	cleanup_free char *chunk = xmalloc(WARM_CHUNK);
	if (descriptor >= 0)
		posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
	while (descriptor >= 0 && read(descriptor, chunk, WARM_CHUNK) > 0)
		;
}

static int
compare_bytes(void *context, int left_length, const void *left, int right_length, const void *right)
{
	(void)context;
	int common = left_length < right_length ? left_length : right_length;
	int order = memcmp(left, right, (size_t)common);
	return order != 0 ? order : left_length - right_length;
}

static void
answer_null(sqlite3_context *context, int count, sqlite3_value **values)
{
	(void)count;
	(void)values;
	sqlite3_result_null(context);
}

static void
collation_needed(void *stand_ins, sqlite3 *database, int encoding, const char *name)
{
	(void)encoding;
	++*(int *)stand_ins;
	sqlite3_create_collation_v2(database, name, SQLITE_UTF8, NULL, compare_bytes, NULL);
}

/* SQLite has no callback for functions; its message is the only place that names the missing one. */
static bool
stand_in_for_function(sqlite3 *database, const char *message)
{
	static const char *const phrases[] = {"unknown function: ", "no such function: "};
	for (size_t i = 0; i < ARRAY_LENGTH(phrases); i++) {
		const char *found = strstr(message, phrases[i]);
		if (found == NULL)
			continue;
		const char *start = found + strlen(phrases[i]);
		size_t length = strcspn(start, "( ");
		cleanup_free char *name = xstrndup(start, length);
		return sqlite3_create_function_v2(database, name, -1,
			   SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL, answer_null, NULL, NULL,
			   NULL) == SQLITE_OK;
	}
	return false;
}

/* *ret_finding: quick_check's first row. */
static int
quick_check(sqlite3 *database, const char *path, int *stand_ins, char **ret_finding, struct error *error)
{
	for (;;) {
		cleanup_error struct error failure = {0};
		if (sqlite_connection_ask(database, "PRAGMA quick_check(1)", path, ret_finding, &failure) == 0)
			return 0;
		if (*stand_ins >= MOST_STAND_INS || !stand_in_for_function(database, failure.message)) {
			error_move(error, &failure);
			return -1;
		}
		++*stand_ins;
	}
}

static int
judge(const char *finding, int stand_ins, const char *path, struct error *error)
{
	if (strcmp(finding, "ok") == 0 || (stand_ins > 0 && !text_starts_with(finding, damaged_pages)))
		return 0;
	/* Pages that are wrong come as a headline and the finding on the next line. */
	const char *line = strchr(finding, '\n');
	error_set(
	    error, ERROR_DATABASE_DAMAGED, "the database %s is damaged: %s", path, line != NULL ? line + 1 : finding);
	return error_hint(error, "restore it from a snapshot, or try sqlite3's .recover on a copy");
}

int
sqlite_check(const char *name, int flags, const char *path, struct sqlite_result *result, struct error *error)
{
	static const char *const statements[] = {
	    "PRAGMA query_only = ON",
	    "PRAGMA ignore_check_constraints = ON",
	    "BEGIN",
	    "SELECT count(*) FROM sqlite_schema",
	};
	int stand_ins = 0;
	cleanup_sqlite sqlite3 *database = NULL;
	if (sqlite_connection_open(name, flags, path, &database, error) != 0)
		return -1;
	/* A virtual table is checked by its shadow tables; its module may want a tokenizer that only the
	 * service has. */
	sqlite3_drop_modules(database, NULL);
	sqlite3_collation_needed(database, &stand_ins, collation_needed);
	for (size_t i = 0; i < ARRAY_LENGTH(statements); i++)
		if (sqlite_connection_ask(database, statements[i], path, NULL, error) != 0)
			return -1;
	cleanup_free char *finding = NULL;
	if (quick_check(database, path, &stand_ins, &finding, error) != 0 ||
	    judge(finding, stand_ins, path, error) != 0)
		return -1;
	return result == NULL ? 0 : sqlite_connection_measure(database, path, result, error);
}

/* https://sqlite.org/uri.html: every byte that could mean something is written as %XX. */
static char *
immutable_uri(const char *path)
{
	cleanup_text struct text uri = {0};
	text_add(&uri, "file:");
	for (const char *byte = path; *byte != '\0'; byte++)
		if (isalnum((unsigned char)*byte) || strchr("/._-", *byte) != NULL)
			text_add_bytes(&uri, byte, 1);
		else
			text_printf(&uri, "%%%02x", (unsigned)(unsigned char)*byte);
	text_add(&uri, "?immutable=1");
	return text_take(&uri);
}

/* Of a database at rest the main file alone is read: no -wal and -shm come and go beside it, where restic
 * might be reading the directory. Bad news are believed only with locks held: it may have woken up meanwhile.
 */
static bool
whole_at_rest(const char *path, const struct sqlite_look *look, bool held)
{
	if (held || look->wal_frames || look->hot_journal)
		return false;
	cleanup_error struct error ignored = {0};
	cleanup_free char *uri = immutable_uri(path);
	return sqlite_check(uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, path, NULL, &ignored) == 0;
}

int
sqlite_prove(const char *path, bool held, struct sqlite_result *result, struct error *error)
{
	struct sqlite_look look;
	if (sqlite_look(path, &look, error) != 0)
		return -1;
	warm_cache(path, look.bytes);
	/* Not read-only: the last connection that closes could not delete the -wal and -shm it made. */
	if (!whole_at_rest(path, &look, held) && sqlite_check(path, SQLITE_OPEN_READWRITE, path, NULL, error) != 0)
		return -1;
	replace_string(&result->journal_mode, look.journal_mode);
	result->bytes = look.bytes;
	result->pages = look.pages;
	return 0;
}
