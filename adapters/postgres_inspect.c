#include "adapters/postgres_internal.h"

#include "core/alloc.h"

#include <string.h>

struct inspect_call {
	struct postgres_call call; /* first: the call is freed through it */
	struct postgres_place place;
	struct postgres_session *session;
	struct event *stopped; /* active once postgres_call_stop was called */
	struct postgres_facts facts;
	postgres_facts_fn *done;
	void *context;
};

/* ---- the questions ----
 *
 * One snapshot answers all of them. The search path keeps whatever somebody has put before pg_catalog out, and the
 * server ends by itself what we may have left. */

static const char begin[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
			    "SET LOCAL search_path = pg_catalog, pg_temp;"
			    "SET LOCAL statement_timeout = '10min';"
			    "SET LOCAL lock_timeout = '1min'";

/* datlocprovider is there from version 15 on; before it, everything was libc's. */
static const char about_database[] =
    "SELECT pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,"
    " CASE coalesce(to_jsonb(d) ->> 'datlocprovider', 'c')"
    " WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'unknown' END,"
    " pg_database_size(d.oid), (SELECT count(*) FROM pg_largeobject_metadata)"
    " FROM pg_database d WHERE d.datname = current_database()";

static const char about_extensions[] = "SELECT e.extname || ' ' || e.extversion FROM pg_extension e";

/* What pg_dump dumps the rows of (its selectDumpableTable, processExtensionTables and makeTableDataInfo): not what
 * belongs to an extension, unless the extension has declared it as configuration; not what a standby cannot read.
 * Sequences are asked for their rights alone. */
static const char about_tables[] =
    "SELECT c.oid, n.nspname || '.' || c.relname, c.relkind = 'r',"
    " has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')"
    " AND NOT row_security_active(c.oid)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'S')"
    " AND (c.relpersistence = 'p' OR c.relpersistence = 'u' AND NOT pg_is_in_recovery())"
    " AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    " AND (NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid"
    " AND d.objsubid = 0 AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')"
    " OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig) AND e.oid >= 16384))";

/* pg_dump reads all of them, and only the server knows who may: each of somebody else's, and those with rights of
 * their own, are opened and nothing is read. */
static const char about_large_objects[] = "SELECT count(lo_get(m.oid, 0, 0)) FROM pg_largeobject_metadata m"
					  " WHERE m.lomacl IS NOT NULL OR NOT pg_has_role(m.lomowner, 'USAGE')";

static const char large_object_right[] =
    "name a user who may read all large objects (postgres, or their owner); or, for each that it does not own, GRANT "
    "SELECT ON LARGE OBJECT ... TO it";

/* ---- the answers ---- */

static uint64_t
number(const char *value)
{
	return strtoull(value, NULL, 10);
}

static int
take_database(void *context, const struct postgres_library *library, const PGresult *rows, struct error *error)
{
	struct inspect_call *inspect = context;
	struct postgres_facts *facts = &inspect->facts;
	if (library->PQntuples(rows) != 1)
		return error_set(error, ERROR_SYSTEM, "PostgreSQL does not know the database we are connected to");
	facts->owner = xstrdup(library->PQgetvalue(rows, 0, 0));
	facts->encoding = xstrdup(library->PQgetvalue(rows, 0, 1));
	facts->collate = xstrdup(library->PQgetvalue(rows, 0, 2));
	facts->character_type = xstrdup(library->PQgetvalue(rows, 0, 3));
	facts->locale_provider = xstrdup(library->PQgetvalue(rows, 0, 4));
	facts->bytes = number(library->PQgetvalue(rows, 0, 5));
	facts->large_objects = number(library->PQgetvalue(rows, 0, 6));
	return 0;
}

static int
compare_names(const void *one, const void *other)
{
	return strcmp(*(char *const *)one, *(char *const *)other);
}

static int
take_extensions(void *context, const struct postgres_library *library, const PGresult *rows, struct error *error)
{
	struct inspect_call *inspect = context;
	(void)error;
	for (int i = 0; i < library->PQntuples(rows); i++)
		strings_add(&inspect->facts.extensions, library->PQgetvalue(rows, i, 0));
	if (inspect->facts.extensions != NULL)
		qsort(inspect->facts.extensions, strings_count(inspect->facts.extensions), sizeof(char *),
		    compare_names);
	return 0;
}

struct table {
	const char *name;
	uint32_t oid;
};

static int
compare_tables(const void *one, const void *other)
{
	const struct table *a = one, *b = other;
	int order = strcmp(a->name, b->name);
	return order != 0 ? order : (a->oid > b->oid) - (a->oid < b->oid);
}

static int
refuse_unreadable(const struct inspect_call *inspect, const char *name, int more, struct error *error)
{
	cleanup_free char *others = more > 0 ? xasprintf(" and %d more", more) : xstrdup("");
	error_set(error, ERROR_POSTGRES_RIGHTS, "in the database %s the user %s may not read all rows of %s%s",
	    inspect->place.source.database, inspect->place.source.user, name, others);
	return error_hint(error,
	    "name a user who may (postgres, or the owner without row security); or GRANT pg_read_all_data TO it and "
	    "ALTER ROLE it BYPASSRLS");
}

static int
check_readable(const struct inspect_call *inspect, const struct postgres_library *library, const PGresult *rows,
    struct error *error)
{
	const char *first = NULL;
	int more = -1;
	/* NULL is that of a table that was dropped meanwhile, and not "f". */
	for (int i = 0; i < library->PQntuples(rows); i++) {
		if (library->PQgetvalue(rows, i, 3)[0] != 'f')
			continue;
		first = first == NULL ? library->PQgetvalue(rows, i, 1) : first;
		more++;
	}
	return first == NULL ? 0 : refuse_unreadable(inspect, first, more, error);
}

static int
take_tables(void *context, const struct postgres_library *library, const PGresult *rows, struct error *error)
{
	struct inspect_call *inspect = context;
	struct postgres_facts *facts = &inspect->facts;
	size_t total = (size_t)library->PQntuples(rows), count = 0;
	if (check_readable(inspect, library, rows, error) < 0)
		return -1;
	cleanup_free struct table *tables = xcalloc(total, sizeof(*tables));
	for (int i = 0; i < (int)total; i++)
		if (library->PQgetvalue(rows, i, 2)[0] == 't')
			tables[count++] = (struct table){
			    .name = library->PQgetvalue(rows, i, 1),
			    .oid = (uint32_t)number(library->PQgetvalue(rows, i, 0)),
			};
	qsort(tables, count, sizeof(*tables), compare_tables);
	facts->tables = xcalloc(count + 1, sizeof(*facts->tables));
	facts->table_oids = xcalloc(count + 1, sizeof(*facts->table_oids));
	for (size_t i = 0; i < count; i++) {
		facts->tables[i] = xstrdup(tables[i].name);
		facts->table_oids[i] = tables[i].oid;
	}
	return 0;
}

static const struct postgres_query queries[] = {
    {.sql = begin},
    {.sql = about_database, .take = take_database},
    {.sql = about_extensions, .take = take_extensions},
    {.sql = about_tables, .take = take_tables},
    {.sql = about_large_objects, .right = large_object_right},
};

/* ---- the call ---- */

static void
inspect_free(struct inspect_call *inspect)
{
	postgres_session_free(inspect->session);
	if (inspect->stopped != NULL)
		event_free(inspect->stopped);
	postgres_place_clear(&inspect->place);
	postgres_facts_clear(&inspect->facts);
	free(inspect);
}

static void
inspect_ended(void *context, int server_version, struct error *error)
{
	struct inspect_call *inspect = context;
	inspect->facts.server_version = server_version;
	if (error_is_set(error))
		inspect->done(inspect->context, NULL, error);
	else
		inspect->done(inspect->context, &inspect->facts, NULL);
	inspect_free(inspect);
}

static void
inspect_stopped(evutil_socket_t descriptor, short what, void *context)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	(void)descriptor;
	(void)what;
	error_set(&error, ERROR_CANCELLED, "asking PostgreSQL was stopped");
	inspect_ended(context, 0, &error);
}

static void
inspect_stop(struct postgres_call *call)
{
	struct inspect_call *inspect = (struct inspect_call *)call;
	postgres_session_free(inspect->session);
	inspect->session = NULL;
	event_active(inspect->stopped, EV_TIMEOUT, 1);
}

static void
inspect_abandon(struct postgres_call *call)
{
	inspect_free((struct inspect_call *)call);
}

static const struct postgres_operation inspect_operation = {
    .stop = inspect_stop,
    .abandon = inspect_abandon,
};

static int
inspect_begin(
    struct inspect_call *inspect, struct event_base *base, const struct postgres_source *source, struct error *error)
{
	if (postgres_place_find(source, &inspect->place, error) < 0)
		return -1;
	inspect->stopped = evtimer_new(base, inspect_stopped, inspect);
	if (inspect->stopped == NULL)
		return error_set(error, ERROR_SYSTEM, "cannot make an event for PostgreSQL");
	inspect->session = postgres_session_start(
	    base, &inspect->place, queries, ARRAY_LENGTH(queries), inspect_ended, inspect, error);
	return inspect->session != NULL ? 0 : -1;
}

struct postgres_call *
postgres_inspect_start(struct event_base *base, const struct postgres_source *source, postgres_facts_fn *done,
    void *context, struct error *error)
{
	struct inspect_call *inspect = xcalloc(1, sizeof(*inspect));
	*inspect = (struct inspect_call){.call.operation = &inspect_operation, .done = done, .context = context};
	if (inspect_begin(inspect, base, source, error) == 0)
		return &inspect->call;
	inspect_free(inspect);
	return NULL;
}
