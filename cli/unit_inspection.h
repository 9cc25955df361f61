/* systemd_inspect for a command that has nothing else to do than to wait for the answer. */
#ifndef ATELIER_CLI_UNIT_INSPECTION_H
#define ATELIER_CLI_UNIT_INSPECTION_H

#include "adapters/systemd.h"
#include "core/error.h"

/* What a stop of these units concerns. ERROR_SYSTEMD_UNAVAILABLE where systemd does not run this machine or
 * does not answer within 20 s. `ret_units` is untouched on failure. */
int unit_inspection(char *const *names, struct unit_list *ret_units, struct error *error);

#endif
