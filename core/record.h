/* Structs as msgpack maps, by a table of their fields. Packing, unpacking and clearing walk the same table, so none
 * of them can forget a field. Reading is as strict as core/pack.h: a missing key, a wrong type, a word that is not
 * known is an error that names the key. */
#ifndef ATELIER_CORE_RECORD_H
#define ATELIER_CORE_RECORD_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"
#include "core/pack.h"

enum record_kind {
	RECORD_NAME,     /* char *, never NULL */
	RECORD_TEXT,     /* char * or NULL */
	RECORD_STRINGS,  /* char **, NULL-terminated or NULL */
	RECORD_BOOL,     /* bool */
	RECORD_INTEGER,  /* int64_t */
	RECORD_COUNT,    /* uint64_t, at most INT64_MAX */
	RECORD_REAL,     /* double */
	RECORD_WORD,     /* an enum, as the word of its `words` */
	RECORD_ERROR,    /* struct error; NONE is nil */
	RECORD_STRUCT,   /* a struct of `shape` */
	RECORD_OPTIONAL, /* the same or nil: the bool at `other` says whether it is there */
	RECORD_POINTER,  /* pointer to an allocated struct of `shape`, or NULL */
	RECORD_LIST,     /* pointer to structs of `shape`; how many is the size_t at `other` */
	RECORD_INTEGERS, /* pointer to int64_t; how many is the size_t at `other` */
	RECORD_OWN       /* whatever `codec` makes of it */
};

/* `find` returns false for a word that is not known. */
struct record_words {
	const char *(*word)(int value);
	bool (*find)(const char *word, int *ret_value);
};

/* Defines the record_words `name` of an enum that has functions TYPE_word and TYPE_from_word. */
#define RECORD_WORDS(name, type)                                                                                     \
	static const char *name##_word(int value)                                                                    \
	{                                                                                                            \
		return type##_word((enum type)value);                                                                \
	}                                                                                                            \
	static bool name##_find(const char *word, int *ret_value)                                                    \
	{                                                                                                            \
		enum type value;                                                                                     \
		if (!type##_from_word(word, &value))                                                                 \
			return false;                                                                                \
		*ret_value = (int)value;                                                                             \
		return true;                                                                                         \
	}                                                                                                            \
	static const struct record_words name = {name##_word, name##_find}

struct record_codec {
	void (*pack)(const void *value, struct packer *packer);
	/* `value` is zeroed; on failure it stays something that `clear` may be called for. */
	int (*unpack)(const msgpack_object *object, const char *key, void *value, struct error *error);
	void (*clear)(void *value);
};

struct record_shape;

struct record_field {
	const char *key;
	enum record_kind kind;
	size_t offset;
	size_t other;
	const struct record_words *words;
	const struct record_shape *shape;
	const struct record_codec *codec;
};

struct record_shape {
	const struct record_field *fields;
	size_t count;
	size_t size; /* of the struct */
};

/* What a kind needs besides follows: .other = offsetof(...), .words, .shape, .codec. */
#define RECORD_FIELD(word, what, type, member, ...)                                                                  \
	{.key = (word), .kind = RECORD_##what, .offset = offsetof(type, member), __VA_ARGS__}

#define RECORD_SHAPE(type, table)                                                                                    \
	{.fields = (table), .count = sizeof(table) / sizeof((table)[0]), .size = sizeof(type)}

/* A map of the fields. */
void record_pack(const struct record_shape *shape, const void *record, struct packer *packer);

/* Only its keys and values, for a map that has other keys as well. */
void record_pack_pairs(const struct record_shape *shape, const void *record, struct packer *packer);

/* Sets the fields of `record`, which have to be empty; what else is in it stays. -1 with ERROR_JOURNAL_DAMAGED, the
 * fields empty again. */
int record_unpack(const struct record_shape *shape, const msgpack_object *map, void *record, struct error *error);

/* Releases the fields and leaves them zeroed. */
void record_clear(const struct record_shape *shape, void *record);

#endif
