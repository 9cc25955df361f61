/* Locks that restic takes for real: of any host, process and age. Made without restic's cipher: it encrypts with a
 * key stream, and in a repository of format 1 what it encrypts is known, so a lock of its own yields the key stream,
 * and its authenticator yields what has to be added to that of another text. */
#ifndef ATELIER_TESTS_INTEGRATION_CLI_FORGED_LOCK_H
#define ATELIER_TESTS_INTEGRATION_CLI_FORGED_LOCK_H

#include "core/digest.h"
#include "tests/integration/cli/repository_world.h"

/* Of a file of restic: the nonce, the text, the authenticator. */
#define LOCK_NONCE  16
#define LOCK_MAC    16
#define LOCK_LENGTH 1024

__extension__ typedef unsigned __int128 mac_number;

/* ---- Poly1305 (RFC 8439), modulo 2^128 and without its last addend ---- */

static inline uint64_t
mac_word(const unsigned char *bytes)
{
	uint64_t word = 0;
	for (int i = 7; i >= 0; i--)
		word = word << 8 | bytes[i];
	return word;
}

struct mac_sum {
	uint64_t low, middle, high; /* below 2^131 or so */
};

/* sum = (sum + block) * r modulo 2^130 - 5 */
static inline void
mac_take(struct mac_sum *sum, const unsigned char *block, const uint64_t r[2])
{
	uint64_t folded = r[1] / 4 * 5; /* 2^128 * r[1]: its low two bits are 0 */
	mac_number low = (mac_number)sum->low + mac_word(block);
	mac_number middle = (mac_number)sum->middle + mac_word(block + 8) + (uint64_t)(low >> 64);
	uint64_t h0 = (uint64_t)low, h1 = (uint64_t)middle;
	uint64_t h2 = sum->high + (uint64_t)(middle >> 64) + block[16];

	mac_number d0 = (mac_number)h0 * r[0] + (mac_number)h1 * folded;
	mac_number d1 =
	    (mac_number)h0 * r[1] + (mac_number)h1 * r[0] + (mac_number)h2 * folded + (uint64_t)(d0 >> 64);
	uint64_t d2 = h2 * r[0] + (uint64_t)(d1 >> 64);
	low = (mac_number)(uint64_t)d0 + d2 / 4 * 5;
	middle = (mac_number)(uint64_t)d1 + (uint64_t)(low >> 64);
	*sum = (struct mac_sum){(uint64_t)low, (uint64_t)middle, (d2 & 3) + (uint64_t)(middle >> 64)};
}

static inline mac_number
mac_of(const unsigned char *bytes, size_t length, const uint64_t r[2])
{
	struct mac_sum sum = {.low = 0};
	for (size_t at = 0; at < length; at += 16) {
		unsigned char block[17] = {0};
		size_t rest = length - at < 16 ? length - at : 16;
		memcpy(block, bytes + at, rest);
		block[rest] = 1;
		mac_take(&sum, block, r);
	}
	/* Reduced at last: is sum + 5 over 2^130? */
	mac_number low = (mac_number)sum.low + 5;
	mac_number middle = (mac_number)sum.middle + (uint64_t)(low >> 64);
	bool over = sum.high + (uint64_t)(middle >> 64) >= 4;
	return over ? (mac_number)(uint64_t)middle << 64 | (uint64_t)low : (mac_number)sum.middle << 64 | sum.low;
}

/* ---- what restic has told ---- */

static inline void
decode_base64(const char *text, unsigned char *ret_bytes, size_t count)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned bits = 0, held = 0;
	for (size_t done = 0; done < count; text++) {
		const char *digit = strchr(digits, *text);
		assert_true(digit != NULL && *digit != '\0');
		bits = bits << 6 | (unsigned)(digit - digits);
		held += 6;
		if (held >= 8)
			ret_bytes[done++] = (unsigned char)(bits >> (held -= 8));
	}
}

struct lock_template {
	unsigned char bytes[LOCK_LENGTH]; /* a lock of restic's own */
	char text[LOCK_LENGTH];           /* what it says */
	size_t length;                    /* of the text */
	uint64_t r[2];
};

static inline json_t *
restic_document(const struct world *world)
{
	cleanup_free char *words = world_read(world, "restic-out");
	json_t *document = json_loads(words, 0, NULL);
	assert_non_null(document);
	return document;
}

static inline void
learn_key(const struct world *world, struct lock_template *template)
{
	unsigned char bytes[16];
	restic(world, "cat", "masterkey");
	json_t *document = restic_document(world);
	decode_base64(
	    json_string_value(json_object_get(json_object_get(document, "mac"), "r")), bytes, sizeof(bytes));
	json_decref(document);
	template->r[0] = mac_word(bytes) & UINT64_C(0x0ffffffc0fffffff);
	template->r[1] = mac_word(bytes + 8) & UINT64_C(0x0ffffffc0ffffffc);
}

static inline void
learn_text(const struct world *world, const char *id, struct lock_template *template)
{
	restic(world, "cat", "lock", id, "--no-lock");
	json_t *document = restic_document(world);
	cleanup_free char *text = json_dumps(document, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(document);
	assert_int_equal(strlen(text), template->length);
	memcpy(template->text, text, template->length);
}

/* Makes the repository, in format 1, and has restic write a lock there, which goes again. */
static inline struct lock_template
forge_begin(const struct world *world)
{
	struct lock_template template = {.length = 0};
	restic(world, "init", "--quiet", "--repository-version", "1");
	learn_key(world, &template);
	int input[2];
	assert_int_equal(pipe2(input, O_CLOEXEC), 0);
	pid_t holder = begin_restic(world, (const char *const[]){"restic", "backup", "--stdin", NULL}, input[0]);
	until_true(count_locks(world) == 1);
	kill(holder, SIGKILL);
	assert_int_equal(waitpid(holder, NULL, 0), holder);
	close(input[0]);
	close(input[1]);

	size_t count;
	cleanup_free char *id = first_lock(world, &count);
	cleanup_free char *path = xasprintf("%s/repo/locks/%s", world->directory, id);
	FILE *file = fopen(path, "re");
	size_t length = fread(template.bytes, 1, sizeof(template.bytes), file);
	fclose(file);
	assert_in_range(length, LOCK_NONCE + LOCK_MAC + 1, LOCK_LENGTH - 1);
	template.length = length - LOCK_NONCE - LOCK_MAC;
	learn_text(world, id, &template);
	assert_int_equal(unlink(path), 0);
	return template;
}

struct forged_lock {
	bool exclusive;
	const char *host;
	pid_t pid;
	int64_t age; /* microseconds */
};

static inline char *
lock_text(const struct lock_template *template, const struct forged_lock *lock)
{
	char time[32];
	time_t seconds = (time_t)((clock_wall(clock_system()) - lock->age) / USEC_PER_SEC);
	struct tm utc;
	gmtime_r(&seconds, &utc);
	strftime(time, sizeof(time), "%FT%TZ", &utc);
	char *text =
	    xasprintf("{\"time\":\"%s\",\"exclusive\":%s,\"hostname\":\"%s\",\"username\":\"eve\",\"pid\":%ld", time,
		lock->exclusive ? "true" : "false", lock->host, (long)lock->pid);
	assert_true(strlen(text) < template->length);
	/* As long as what restic had written: JSON minds no spaces. */
	char *padded = xasprintf("%-*s}", (int)template->length - 1, text);
	free(text);
	return padded;
}

/* Puts the lock into the repository. */
static inline void
forge_lock(const struct world *world, const struct lock_template *template, const struct forged_lock *lock)
{
	cleanup_free char *text = lock_text(template, lock);
	unsigned char bytes[LOCK_LENGTH];
	memcpy(bytes, template->bytes, sizeof(bytes));
	unsigned char *cipher = bytes + LOCK_NONCE, *mac = cipher + template->length;
	for (size_t i = 0; i < template->length; i++)
		cipher[i] = (unsigned char)(cipher[i] ^ template->text[i] ^ text[i]);
	mac_number sum = (mac_number)mac_word(mac + 8) << 64 | mac_word(mac);
	sum += mac_of(cipher, template->length, template->r) -
	       mac_of(template->bytes + LOCK_NONCE, template->length, template->r);
	for (int i = 0; i < LOCK_MAC; i++)
		mac[i] = (unsigned char)(sum >> (8 * i));

	size_t length = LOCK_NONCE + template->length + LOCK_MAC;
	cleanup_free char *id = digest_sha256(bytes, length);
	cleanup_free char *name = xasprintf("repo/locks/%s", id);
	cleanup_free char *path = world_path(world, name);
	FILE *file = fopen(path, "we");
	assert_int_equal(fwrite(bytes, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
}

#endif
