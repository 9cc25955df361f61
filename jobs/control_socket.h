/* Where the runner's socket is. */
#ifndef ATELIER_JOBS_CONTROL_SOCKET_H
#define ATELIER_JOBS_CONTROL_SOCKET_H

#include <sys/un.h>

/* An address holds 107 bytes of path. A longer one is reached through a descriptor of its directory, which has to
 * stay open while the address is used. */
struct control_address {
	struct sockaddr_un socket;
	int directory; /* -1: not needed */
};

/* -1 with errno set. */
int control_address_of(const char *path, struct control_address *ret_address);
void control_address_release(struct control_address *address);

/* socket and connect, not blocking; the descriptor, or -1 with errno set. */
int control_socket_connect(const char *path);

#endif
