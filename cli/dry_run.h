/* What a backup would do, unit by unit and path by path, without doing any of it. */
#ifndef ATELIER_CLI_DRY_RUN_H
#define ATELIER_CLI_DRY_RUN_H

#include "cli/command.h"

/* Exit code: 0 if a backup could begin, 1 if something that is wrong would keep it from it (shown with the
 * rest). */
enum exit_code dry_run(const struct invocation *invocation, const struct service *const *services, size_t count);

#endif
