#include "adapters/postgres_internal.h"

#include "core/alloc.h"

#include <string.h>

void
postgres_facts_copy(const struct postgres_facts *facts, struct postgres_facts *ret_copy)
{
	*ret_copy = (struct postgres_facts){
	    .server_version = facts->server_version,
	    .bytes = facts->bytes,
	    .large_objects = facts->large_objects,
	    .owner = xstrdup_null(facts->owner),
	    .encoding = xstrdup_null(facts->encoding),
	    .collate = xstrdup_null(facts->collate),
	    .character_type = xstrdup_null(facts->character_type),
	    .locale_provider = xstrdup_null(facts->locale_provider),
	    .extensions = strings_copy(facts->extensions),
	    .tables = strings_copy(facts->tables),
	};
	if (facts->table_oids != NULL)
		ret_copy->table_oids =
		    xmemdup(facts->table_oids, strings_count(facts->tables) * sizeof(*facts->table_oids));
}

void
postgres_facts_clear(struct postgres_facts *facts)
{
	free(facts->owner);
	free(facts->encoding);
	free(facts->collate);
	free(facts->character_type);
	free(facts->locale_provider);
	strings_free(facts->extensions);
	strings_free(facts->tables);
	free(facts->table_oids);
	*facts = (struct postgres_facts){.server_version = 0};
}

void
postgres_call_stop(struct postgres_call *call)
{
	call->operation->stop(call);
}

void
postgres_call_abandon(struct postgres_call *call)
{
	if (call != NULL)
		call->operation->abandon(call);
}
