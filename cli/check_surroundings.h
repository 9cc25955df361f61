/* The parts of `check`: what concerns all services at once, and what surrounds one of them. */
#ifndef ATELIER_CLI_CHECK_SURROUNDINGS_H
#define ATELIER_CLI_CHECK_SURROUNDINGS_H

#include "cli/command.h"

/* What was learned on the way, for the answer. The strings are owned by the struct. */
struct surroundings {
	char *restic_version; /* NULL: no usable restic */
	char *repository;     /* the location without its password; NULL: unreadable */
	char *repository_id;  /* NULL: not asked, or no answer */
};

/* Restic, secrets, directories, journal and, unless `offline`, the repository itself. */
void check_surroundings(const struct invocation *invocation, const struct manifest *manifest,
    struct problem_list *problems, struct surroundings *surroundings);

void surroundings_clear(struct surroundings *surroundings);

#define cleanup_surroundings __attribute__((cleanup(surroundings_clear)))

#endif
