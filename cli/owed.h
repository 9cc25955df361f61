/* `recover --owed`: for units and guardians. */
#ifndef ATELIER_CLI_OWED_H
#define ATELIER_CLI_OWED_H

#include "cli/command.h"

/* Starts what a dead runner left stopped and runs the postBackup commands it owed, in this process, and leaves the
 * jobs where they are. A live runner pays by itself: it is waited for a while, and then left to it. Makes no journal
 * where there is none. */
enum exit_code owed_pay(const struct invocation *invocation);

#endif
