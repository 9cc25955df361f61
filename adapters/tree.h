/* Whole directories that are ours alone. */
#ifndef ATELIER_ADAPTERS_TREE_H
#define ATELIER_ADAPTERS_TREE_H

#include "core/error.h"

/* Removes the directory and all that is in it; follows no symbolic link. What is not there is no error. Nobody else
 * may be able to write in it, and nothing may be mounted there. */
int tree_remove(const char *path, struct error *error);

#endif
