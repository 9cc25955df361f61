/* Makes the seeds of control_fuzz: one of each request, as a body and as a frame, in a directory. The first byte of
 * each is the target's. */
#include <stdio.h>
#include <string.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/text.h"
#include "jobs/control_frame.h"
#include "jobs/control_messages.h"

static void
write_seed(const char *directory, const char *name, unsigned char first, const char *bytes, size_t length)
{
	cleanup_free char *path = xasprintf("%s/valid-%s", directory, name);
	cleanup_free char *content = xmalloc(length + 1);
	content[0] = (char)first;
	memcpy(content + 1, bytes, length);
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (file_replace(path, content, length + 1, &error) < 0) {
		fprintf(stderr, "%s: %s\n", path, error.message);
		exit(1);
	}
}

static void
write_call(const char *directory, const struct control_call *call)
{
	struct packer packer;
	control_call_pack(call, &packer);
	const char *word = control_request_word(call->request);
	cleanup_free char *framed = xasprintf("%s-frame", word);
	write_seed(directory, word, 0xff, packer.buffer.data + FRAME_HEAD, packer.buffer.size - FRAME_HEAD);
	write_seed(directory, framed, 2, packer.buffer.data, packer.buffer.size);
	packer_release(&packer);
}

int
main(int count, char **arguments)
{
	if (count != 2)
		return 2;
	static char name[] = "web", text[] = "x", why[] = "enough", night[] = "2026-11-23", path[] = "/srv/web";
	static char *names[] = {name, NULL}, *paths[] = {path, NULL};
	struct service service = {
	    .name = name,
	    .type = text,
	    .files = paths,
	    .attempts = 3,
	    .retention = RETENTION_DEFAULT,
	    .restic =
		{
		    .program = text,
		    .repository_file = path,
		    .password_file = path,
		    .cache_directory = path,
		    .host = text,
		},
	};
	struct submission job = {.service = &service, .due_at = 1};
	int64_t ids[] = {1, 2};
	for (int request = 0; request < CONTROL_REQUEST_COUNT; request++)
		write_call(arguments[1],
		    &(struct control_call){
			.request = (enum control_request)request,
			.number = 7,
			.submission = {.kind = RUN_NIGHTLY, .night = night, .parallel = 2, .jobs = &job, .count = 1},
			.job_ids = ids,
			.job_count = 2,
			.job_id = 1,
			.why = why,
			.spec = &service,
			.names = names,
			.with_facts = true,
		    });
	return 0;
}
