/* msgpack maps with string keys: what job specs and obligations are stored as. Reading is strict and never trusts
 * the bytes: a missing key, a wrong type or trailing bytes is an error that names the key. */
#ifndef ATELIER_CORE_PACK_H
#define ATELIER_CORE_PACK_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

struct packer {
	msgpack_sbuffer buffer;
	msgpack_packer packer;
};

void packer_init(struct packer *packer);
void packer_release(struct packer *packer);
void pack_map(struct packer *packer, size_t pairs);
void pack_array(struct packer *packer, size_t items);
void pack_text(struct packer *packer, const char *string);                      /* NULL packs nil */
void pack_key_text(struct packer *packer, const char *key, const char *string); /* NULL packs nil */
void pack_key_int(struct packer *packer, const char *key, int64_t number);
void pack_key_bool(struct packer *packer, const char *key, bool value);
void pack_key_strings(struct packer *packer, const char *key, char *const *list); /* NULL packs an empty array */

/* A decoded document; objects point into it until unpack_release. It holds a copy of the bytes. */
struct unpacked {
	msgpack_unpacked document;
	char *bytes;
};

/* Decodes exactly one map that fills all of `bytes`. ERROR_JOURNAL_DAMAGED otherwise. */
int unpack_map(const void *bytes, size_t length, struct unpacked *ret_unpacked, struct error *error);
void unpack_release(struct unpacked *unpacked);
const msgpack_object *unpack_root(const struct unpacked *unpacked);

/* The value of a key in a map object, or NULL. */
const msgpack_object *unpack_find(const msgpack_object *map, const char *key);

/* Each reads one key of a map object and returns -1 with an error that names the key if it is not there or of
 * another type. Strings with NUL inside are refused. The caller owns strings and lists. */
int unpack_text(const msgpack_object *map, const char *key, char **ret_string, struct error *error); /* nil: NULL */
int unpack_int(const msgpack_object *map, const char *key, int64_t *ret_number, struct error *error);
int unpack_bool(const msgpack_object *map, const char *key, bool *ret_value, struct error *error);
int unpack_strings(const msgpack_object *map, const char *key, char ***ret_list, struct error *error);

#endif
