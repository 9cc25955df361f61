/* Mounts that nobody else sees. */
#ifndef ATELIER_TESTS_INTEGRATION_OWN_MOUNTS_H
#define ATELIER_TESTS_INTEGRATION_OWN_MOUNTS_H

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/alloc.h"

static inline void
write_map(const char *file, unsigned id)
{
	cleanup_free char *line = xasprintf("%u %u 1", id, id);
	int descriptor = open(file, O_WRONLY | O_CLOEXEC);
	assert_true(descriptor >= 0);
	assert_int_equal(write(descriptor, line, strlen(line)), strlen(line));
	close(descriptor);
}

/* From here on this process and its children have their own mounts: for who is not root, by way of a namespace in
 * which he may mount. */
static inline void
have_own_mounts(void)
{
	unsigned user = geteuid(), group = getegid();
	assert_int_equal(unshare(CLONE_NEWNS | (user == 0 ? 0 : CLONE_NEWUSER)), 0);
	if (user != 0) {
		int descriptor = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
		assert_int_equal(write(descriptor, "deny", 4), 4);
		close(descriptor);
		write_map("/proc/self/uid_map", user);
		write_map("/proc/self/gid_map", group);
	}
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
}

#endif
