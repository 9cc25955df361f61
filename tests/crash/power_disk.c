/* A disk that loses power as disks do: what was written since the last flush is lost, or some of it, in no order, and
 * the last sectors of a write may be the old ones. It is an NBD server for one client (an emulator's virtual disk),
 * because the death of an emulator alone loses nothing of what has left the guest: the host's page cache keeps it.
 *
 *   power-disk IMAGE SOCKET SEED
 *
 * SOCKET appears when the disk answers. The power is cut when the client hangs up; or, after SIGUSR1, as soon as a
 * few writes are unflushed, which is the moment that hurts: then nothing is answered any more until the client hangs
 * up. What SEED draws of the unflushed writes reaches IMAGE, a line on stdout says how many did not, and the program
 * ends.
 *
 * Exit codes: 0 the cut is done, 1 the disk is broken, 2 usage. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SECTOR 512U

/* A cache that is full writes back its oldest, asked or not. */
#define CACHE_SIZE (UINT64_C(32) << 20)

/* qemu sends 2 MiB at most, and a disk may refuse more than 32. */
#define REQUEST_MAX (UINT32_C(32) << 20)

struct write {
	TAILQ_ENTRY(write) entry;
	uint64_t offset;
	uint32_t length;
	uint8_t data[];
};

struct disk {
	int image, client;
	uint64_t size;
	TAILQ_HEAD(, write) unflushed; /* oldest first */
	uint64_t unflushed_count, unflushed_bytes;
	uint64_t strikes_at; /* so many unflushed writes, once it is armed */
	uint64_t random;
};

static _Noreturn void
die(const char *doing)
{
	fprintf(stderr, "power-disk: %s: %s\n", doing, strerror(errno));
	exit(1);
}

/* ---- the image and its cache ---- */

static void
read_image(const struct disk *disk, uint64_t offset, uint8_t *data, size_t length)
{
	while (length > 0) {
		ssize_t count = pread(disk->image, data, length, (off_t)offset);
		if (count <= 0)
			die("reading the image");
		data += count;
		offset += (size_t)count;
		length -= (size_t)count;
	}
}

static void
write_image(const struct disk *disk, uint64_t offset, const uint8_t *data, size_t length)
{
	while (length > 0) {
		ssize_t count = pwrite(disk->image, data, length, (off_t)offset);
		if (count < 0)
			die("writing the image");
		data += count;
		offset += (size_t)count;
		length -= (size_t)count;
	}
}

static void
forget_write(struct disk *disk, struct write *write)
{
	TAILQ_REMOVE(&disk->unflushed, write, entry);
	disk->unflushed_count--;
	disk->unflushed_bytes -= write->length;
	free(write);
}

static void
write_back(struct disk *disk, struct write *write)
{
	write_image(disk, write->offset, write->data, write->length);
	forget_write(disk, write);
}

static void
flush(struct disk *disk)
{
	while (!TAILQ_EMPTY(&disk->unflushed))
		write_back(disk, TAILQ_FIRST(&disk->unflushed));
	if (disk->strikes_at > 1)
		disk->strikes_at /= 2; /* a disk that is flushed this often waits for too many */
}

static void
add_write(struct disk *disk, struct write *write)
{
	TAILQ_INSERT_TAIL(&disk->unflushed, write, entry);
	disk->unflushed_count++;
	disk->unflushed_bytes += write->length;
	while (disk->unflushed_bytes > CACHE_SIZE)
		write_back(disk, TAILQ_FIRST(&disk->unflushed));
}

/* Whoever reads before the cut sees all that was written. */
static void
read_disk(const struct disk *disk, uint64_t offset, uint8_t *data, uint32_t length)
{
	const struct write *write;
	read_image(disk, offset, data, length);
	TAILQ_FOREACH(write, &disk->unflushed, entry)
	{
		uint64_t from = write->offset > offset ? write->offset : offset;
		uint64_t to = write->offset + write->length;
		if (to > offset + length)
			to = offset + length;
		if (from < to)
			memcpy(data + (from - offset), write->data + (from - write->offset), to - from);
	}
}

/* ---- the cut ---- */

/* splitmix64: the same seed, the same cut. */
static uint64_t
draw(struct disk *disk, uint64_t bound)
{
	uint64_t value = disk->random += UINT64_C(0x9e3779b97f4a7c15);
	value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
	return (value ^ value >> 31) % bound;
}

/* How many bytes of a write reach the image, if the power fails while it is under way. */
static uint32_t
tear(struct disk *disk, const struct write *write)
{
	uint32_t sectors = write->length / SECTOR;
	return sectors < 2 ? 0 : SECTOR * (uint32_t)draw(disk, sectors);
}

/* What a cache leaves behind: nothing, what came before some moment, or any part of it. */
struct fate {
	uint64_t until;   /* so many of the oldest writes are kept, and the next one is torn */
	uint64_t percent; /* of the others are kept */
};

static struct fate
draw_fate(struct disk *disk)
{
	switch (draw(disk, 4)) {
	case 0:
		return (struct fate){0};
	case 1:
		return (struct fate){.until = 1 + draw(disk, disk->unflushed_count + 1)};
	default:
		return (struct fate){.percent = 1 + draw(disk, 100)};
	}
}

static uint32_t
kept_length(struct disk *disk, const struct fate *fate, const struct write *write, uint64_t number)
{
	bool torn = fate->until > 0 ? number + 1 == fate->until : fate->percent > 0 && draw(disk, 8) == 0;
	if (torn)
		return tear(disk, write);
	bool kept = fate->until > 0 ? number + 1 < fate->until : draw(disk, 100) < fate->percent;
	return kept ? write->length : 0;
}

static void
cut_power(struct disk *disk)
{
	uint64_t count = disk->unflushed_count, size = disk->unflushed_bytes, kept = 0, torn = 0;
	struct fate fate = draw_fate(disk);
	for (uint64_t number = 0; number < count; number++) {
		struct write *write = TAILQ_FIRST(&disk->unflushed);
		uint32_t length = kept_length(disk, &fate, write, number);
		kept += length == write->length;
		torn += length > 0 && length < write->length;
		write_image(disk, write->offset, write->data, length);
		forget_write(disk, write);
	}
	printf("%" PRIu64 " unflushed writes (%" PRIu64 " KiB): %" PRIu64 " kept, %" PRIu64 " torn, %" PRIu64
	       " lost\n",
	    count, size / 1024, kept, torn, count - kept - torn);
	fflush(stdout);
}

/* ---- the client ---- */

/* False when the client has hung up, which is how every cut begins. */
static bool
receive(const struct disk *disk, void *data, size_t length)
{
	for (uint8_t *at = data; length > 0;) {
		ssize_t count = recv(disk->client, at, length, 0);
		if (count <= 0)
			return false;
		at += count;
		length -= (size_t)count;
	}
	return true;
}

static bool
say(const struct disk *disk, const void *data, size_t length)
{
	for (const uint8_t *at = data; length > 0;) {
		ssize_t count = send(disk->client, at, length, MSG_NOSIGNAL);
		if (count <= 0)
			return false;
		at += count;
		length -= (size_t)count;
	}
	return true;
}

/* The NBD protocol as far as qemu needs it (doc/proto.md of the NBD project); all numbers are big-endian. */
#define MAGIC         UINT64_C(0x4e42444d41474943)
#define OPTION_MAGIC  UINT64_C(0x49484156454f5054)
#define ANSWER_MAGIC  UINT64_C(0x0003e889045565a9)
#define REQUEST_MAGIC 0x25609513U
#define REPLY_MAGIC   0x67446698U

enum { FIXED_NEWSTYLE = 1, NO_ZEROES = 2 };
enum { OPTION_GO = 7 };
enum { ANSWER_ACK = 1, ANSWER_INFO = 3 };
#define ANSWER_UNSUPPORTED 0x80000001U
enum { HAS_FLAGS = 1, HAS_FLUSH = 4, HAS_FUA = 8 };
enum { REQUEST_READ, REQUEST_WRITE, REQUEST_DISCONNECT, REQUEST_FLUSH };
enum { WITH_FUA = 1 };

struct option {
	uint64_t magic;
	uint32_t option, length;
} __attribute__((packed));

struct answer {
	uint64_t magic;
	uint32_t option, type, length;
} __attribute__((packed));

struct export_info {
	uint16_t type;
	uint64_t size;
	uint16_t flags;
} __attribute__((packed));

struct request {
	uint32_t magic;
	uint16_t flags, type;
	uint64_t handle, offset;
	uint32_t length;
} __attribute__((packed));

struct reply {
	uint32_t magic, error;
	uint64_t handle;
} __attribute__((packed));

static bool
answer(const struct disk *disk, uint32_t option, uint32_t type, const void *data, uint32_t length)
{
	struct answer header = {htobe64(ANSWER_MAGIC), option, htobe32(type), htobe32(length)};
	return say(disk, &header, sizeof(header)) && say(disk, data, length);
}

static bool
skip(const struct disk *disk, uint32_t length)
{
	char byte;
	while (length > 0 && receive(disk, &byte, 1))
		length--;
	return length == 0;
}

static bool
negotiate(const struct disk *disk)
{
	struct {
		uint64_t magic, option_magic;
		uint16_t flags;
	} __attribute__((packed)) greeting = {
	    htobe64(MAGIC), htobe64(OPTION_MAGIC), htobe16(FIXED_NEWSTYLE | NO_ZEROES)};
	struct export_info info = {0, htobe64(disk->size), htobe16(HAS_FLAGS | HAS_FLUSH | HAS_FUA)};
	uint32_t flags;
	struct option option;
	if (!say(disk, &greeting, sizeof(greeting)) || !receive(disk, &flags, sizeof(flags)))
		return false;
	while (receive(disk, &option, sizeof(option)) && skip(disk, be32toh(option.length))) {
		if (be32toh(option.option) == OPTION_GO)
			return answer(disk, option.option, ANSWER_INFO, &info, sizeof(info)) &&
			       answer(disk, option.option, ANSWER_ACK, NULL, 0);
		if (!answer(disk, option.option, ANSWER_UNSUPPORTED, NULL, 0))
			return false;
	}
	return false;
}

static bool
reply(const struct disk *disk, uint64_t handle, int error, const void *data, size_t length)
{
	struct reply header = {htobe32(REPLY_MAGIC), htobe32((uint32_t)error), handle};
	return say(disk, &header, sizeof(header)) && say(disk, data, length);
}

static bool
serve_read(struct disk *disk, const struct request *request, uint64_t offset, uint32_t length)
{
	uint8_t *data = malloc(length);
	if (data == NULL)
		die("reading");
	read_disk(disk, offset, data, length);
	bool good = reply(disk, request->handle, 0, data, length);
	free(data);
	return good;
}

static bool
serve_write(struct disk *disk, const struct request *request, uint64_t offset, uint32_t length)
{
	struct write *write = malloc(sizeof(*write) + length);
	if (write == NULL)
		die("writing");
	write->offset = offset;
	write->length = length;
	if (!receive(disk, write->data, length)) {
		free(write);
		return false;
	}
	if (be16toh(request->flags) & WITH_FUA) {
		/* Older writes to the same place must not undo it later. */
		add_write(disk, write);
		flush(disk);
	} else {
		add_write(disk, write);
	}
	return reply(disk, request->handle, 0, NULL, 0);
}

static bool
serve_flush(struct disk *disk, const struct request *request)
{
	flush(disk);
	return reply(disk, request->handle, 0, NULL, 0);
}

static bool
serve_request(struct disk *disk)
{
	struct request request;
	if (!receive(disk, &request, sizeof(request)) || be32toh(request.magic) != REQUEST_MAGIC)
		return false;
	uint64_t offset = be64toh(request.offset);
	uint32_t length = be32toh(request.length);
	uint16_t type = be16toh(request.type);
	/* A client that asks for more than there is has got something wrong, and so would the test. */
	if (length > REQUEST_MAX || offset > disk->size || length > disk->size - offset) {
		errno = EINVAL;
		die("a request");
	}
	if (type == REQUEST_READ)
		return serve_read(disk, &request, offset, length);
	if (type == REQUEST_WRITE)
		return serve_write(disk, &request, offset, length);
	if (type == REQUEST_FLUSH)
		return serve_flush(disk, &request);
	if (type == REQUEST_DISCONNECT)
		return false;
	return reply(disk, request.handle, EINVAL, NULL, 0);
}

/* ---- a cut that lies in wait ---- */

static volatile sig_atomic_t armed;

static void
arm(int number)
{
	(void)number;
	armed = 1;
}

/* A transaction of a journal is a few writes and a flush, what the kernel writes back by itself is many. */
static bool
strikes(struct disk *disk)
{
	if (armed != 0 && disk->strikes_at == 0)
		disk->strikes_at = UINT64_C(1) << draw(disk, 5);
	return armed != 0 && disk->unflushed_count >= disk->strikes_at;
}

static void
wait_for_end(const struct disk *disk)
{
	char byte;
	while (receive(disk, &byte, sizeof(byte)))
		continue;
}

/* ---- */

static void
open_image(struct disk *disk, const char *path)
{
	struct stat status;
	disk->image = open(path, O_RDWR | O_CLOEXEC);
	if (disk->image < 0 || fstat(disk->image, &status) < 0)
		die(path);
	disk->size = (uint64_t)status.st_size;
}

/* The name is there only once somebody listens. */
static void
wait_for_client(struct disk *disk, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s.new", path) >=
	    sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		die(path);
	}
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, 1) < 0 || rename(address.sun_path, path) < 0)
		die(path);
	disk->client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (disk->client < 0)
		die(path);
	close(listener);
	unlink(path);
}

int
main(int argument_count, char **arguments)
{
	char *end = NULL;
	if (argument_count == 4)
		(void)strtoull(arguments[3], &end, 10);
	if (end == NULL || *end != '\0' || end == arguments[3]) {
		fputs("usage: power-disk IMAGE SOCKET SEED\n", stderr);
		return 2;
	}
	struct disk disk = {.random = strtoull(arguments[3], NULL, 10)};
	TAILQ_INIT(&disk.unflushed);
	signal(SIGUSR1, arm);
	open_image(&disk, arguments[1]);
	wait_for_client(&disk, arguments[2]);
	if (!negotiate(&disk)) {
		fputs("power-disk: the client does not know this protocol\n", stderr);
		return 1;
	}
	while (!strikes(&disk) && serve_request(&disk))
		continue;
	cut_power(&disk);
	wait_for_end(&disk);
	return 0;
}
