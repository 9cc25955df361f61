/* The one small JSON document in every snapshot that says what is in it and how it was taken: what restores read, and
 * a person whose machine is gone. docs/metadata.md has its keys. No secret is in it: of hooks only that there are
 * some, of files with secrets not even the names. */
#ifndef ATELIER_STATES_METADATA_H
#define ATELIER_STATES_METADATA_H

#include "states/work.h"

#define METADATA_NAME    "metadata.json"
#define METADATA_VERSION 1

/* The step that writes it to the staging place: the last before restic begins, when everything has been taken that is
 * not read where it is. */
enum step_result step_write_metadata(struct job *job, struct error *error);

#endif
