/* The two services of a case, in two flavours: processes that hooks stop and start, and units of a real systemd. */
#ifndef ATELIER_TESTS_CRASH_SERVICES_H
#define ATELIER_TESTS_CRASH_SERVICES_H

#include "tests/crash/crash_case.h"

/* Their names, and what they are called in the manifest. The data of each is in CASE/NAME/data. */
#define SERVICE_COUNT 2
extern const char *const service_names[SERVICE_COUNT];

struct services {
	/* Once, before the first case and after the last. `root` is where the cases are. */
	void (*prepare)(const char *root);
	void (*clean_up)(void);

	/* For each case. */
	void (*start)(struct crash_case *crash);
	void (*stop)(struct crash_case *crash);

	/* The keys of the service's entry that say how it is stopped. The caller owns the words. */
	char *(*manifest_keys)(const struct crash_case *crash, const char *service);

	/* The case fails unless what ran before runs now, and nothing else. */
	void (*check_running)(struct crash_case *crash);

	/* Whoever of them is stopped and started by a backup, up to a NULL. CASE/NAME.history says when: lines of
	 * `stop` or `start` and the time in microseconds since 1970. */
	const char *const *parts;

	/* How many processes of them are children of the case's process. */
	size_t process_count;
};

extern const struct services services_by_hooks, services_by_units;

#endif
