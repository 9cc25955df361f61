/* What `pg_restore --list` tells of an archive. Its lines are "DUMP-ID; CATALOGUE-OID OID KIND SCHEMA NAME OWNER",
 * with nothing between the words that could not be in a name as well; so tables are known by their oids. */
#include "adapters/postgres_internal.h"

#include "core/alloc.h"

#include <ctype.h>
#include <string.h>

static int
compare_expected(const void *one, const void *other)
{
	const struct postgres_expected *a = one, *b = other;
	return (a->oid > b->oid) - (a->oid < b->oid);
}

void
postgres_archive_expect(struct postgres_archive *archive, const struct postgres_facts *facts)
{
	size_t count = strings_count(facts->tables);
	*archive = (struct postgres_archive){
	    .expected = xcalloc(count, sizeof(*archive->expected)),
	    .expected_count = count,
	};
	for (size_t i = 0; i < count; i++)
		archive->expected[i] = (struct postgres_expected){.oid = facts->table_oids[i], .table = i};
	qsort(archive->expected, count, sizeof(*archive->expected), compare_expected);
}

void
postgres_archive_clear(struct postgres_archive *archive)
{
	free(archive->expected);
	*archive = (struct postgres_archive){.expected = NULL};
}

static struct postgres_expected *
find(const struct postgres_archive *archive, uint32_t oid)
{
	const struct postgres_expected wanted = {.oid = oid};
	return bsearch(
	    &wanted, archive->expected, archive->expected_count, sizeof(*archive->expected), compare_expected);
}

/* An entry with rows has no catalogue of its own: its first oid is 0. That of a TABLE in a schema called DATA is not.
 */
static bool
read_entry(const char *line, uint32_t *ret_oid)
{
	unsigned entry, catalogue;
	int end = 0;
	if (!isdigit((unsigned char)line[0]) ||
	    sscanf(line, "%10u; %10u %10u TABLE DATA%n", &entry, &catalogue, ret_oid, &end) != 3)
		return false;
	return end > 0 && line[end] == ' ' && catalogue == 0;
}

void
postgres_archive_take(struct postgres_archive *archive, const char *line)
{
	uint32_t oid;
	if (!read_entry(line, &oid))
		return;
	struct postgres_expected *expected = find(archive, oid);
	if (expected != NULL)
		expected->seen = true;
	archive->tables++;
}

static bool
is_known(const struct postgres_facts *facts, uint32_t oid)
{
	for (size_t i = 0; facts->tables != NULL && facts->tables[i] != NULL; i++)
		if (facts->table_oids[i] == oid)
			return true;
	return false;
}

char **
postgres_archive_missing(
    const struct postgres_archive *archive, const struct postgres_facts *facts, const struct postgres_facts *now)
{
	char **missing = NULL;
	for (size_t i = 0; i < archive->expected_count; i++) {
		const struct postgres_expected *expected = &archive->expected[i];
		if (!expected->seen && (now == NULL || is_known(now, expected->oid)))
			strings_add(&missing, facts->tables[expected->table]);
	}
	return missing;
}

char *
postgres_dump_name(const char *database)
{
	struct text name = {.string = NULL};
	for (const char *byte = database; *byte != '\0'; byte++) {
		bool first = byte == database;
		if ((*byte >= 'a' && *byte <= 'z') || (*byte >= 'A' && *byte <= 'Z') ||
		    (*byte >= '0' && *byte <= '9') || *byte == '_' || (!first && (*byte == '.' || *byte == '-')))
			text_add_bytes(&name, byte, 1);
		else
			text_printf(&name, "%%%02X", (unsigned char)*byte);
	}
	return text_take(&name);
}
