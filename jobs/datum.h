/* How large each datum of a backup was that is taken as a whole, a database mostly: what the next backup of it is
 * judged by (jobs/shrink.h). Files are judged by the snapshot they are in. */
#ifndef ATELIER_JOBS_DATUM_H
#define ATELIER_JOBS_DATUM_H

#include <stddef.h>
#include <stdint.h>

/* X(name, word in the journal, what a person reads before its name) */
#define DATUM_KIND_LIST(X)                                                                                           \
	X(SQLITE, "sqlite", "the database")                                                                          \
	X(POSTGRES, "postgres", "the dump of")

enum datum_kind {
#define X(name, word, text) DATUM_##name,
	DATUM_KIND_LIST(X)
#undef X
};

const char *datum_kind_text(enum datum_kind kind);

struct datum {
	enum datum_kind kind;
	char *name;     /* of its kind only one has it: the path of a database; the database's name, or a conninfo
			 * string that says where it is as well */
	uint64_t bytes; /* of the file in the snapshot */
	uint64_t used;  /* of these: without the pages that a SQLite database has free */
	uint64_t tables;
};

struct datum_list {
	struct datum *items;
	size_t count;
};

/* Takes a copy. */
void datum_list_add(struct datum_list *list, const struct datum *datum);
void datum_list_clear(struct datum_list *list);

#define cleanup_data __attribute__((cleanup(datum_list_clear)))

/* The one of the same kind and name, or NULL. */
const struct datum *datum_list_find(const struct datum_list *list, const struct datum *like);

/* Such a list as the journal keeps it: a JSON array of objects. NULL for an empty one, and for a name that is no
 * text. The caller owns it. */
char *datum_list_pack(const struct datum_list *list);

/* Reads it strictly: an empty list, which is that of a program that kept none, for NULL and for anything else. */
void datum_list_unpack(const char *packed, struct datum_list *ret_list);

#endif
