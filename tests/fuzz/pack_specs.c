/* Makes the seeds of service_fuzz: packs each service of the manifests it is given into a file of a directory. They
 * are made anew each time, because a stored one is of no use once a field is added. */
#include <limits.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/file.h"
#include "core/pack.h"
#include "jobs/manifest.h"

static void
write_spec(const char *directory, struct service *service)
{
	struct packer packer;
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_free char *path = xasprintf("%s/valid-%s", directory, service->name);
	/* Else it would be the name of the machine at hand. The manifest's, which all its services borrow, stays. */
	char *host = service->restic.host;
	service->restic.host = (char[]){"cellar"};
	packer_init(&packer);
	service_pack(service, &packer);
	service->restic.host = host;
	if (file_replace(path, packer.buffer.data, packer.buffer.size, &error) < 0) {
		fprintf(stderr, "%s: %s\n", path, error.message);
		exit(1);
	}
	packer_release(&packer);
}

int
main(int count, char **arguments)
{
	for (int i = 2; i < count; i++) {
		cleanup_problems struct problem_list problems = {.items = NULL};
		cleanup_free char *content = NULL;
		size_t length;
		struct manifest manifest;
		if (file_read(arguments[i], SSIZE_MAX / 2, &content, &length, NULL) < 0 ||
		    manifest_parse(arguments[i], content, length, NULL, &manifest, &problems) < 0) {
			fprintf(stderr, "%s: not a valid manifest\n", arguments[i]);
			return 1;
		}
		for (size_t j = 0; j < manifest.service_count; j++)
			write_spec(arguments[1], &manifest.services[j]);
		manifest_clear(&manifest);
	}
	return 0;
}
