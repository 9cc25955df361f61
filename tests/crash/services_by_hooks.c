#include "tests/crash/services.h"

#include <string.h>

#include "core/alloc.h"
#include "core/file.h"

#define HOOK TEST_SOURCE_DIR "/tests/crash/service_hook"

const char *const service_names[SERVICE_COUNT] = {"web", "wiki"};

static const char *const parts[] = {"web", "wiki", NULL};

static void
nothing(void)
{
}

static void
prepare(const char *root)
{
	(void)root;
}

static void
start(struct crash_case *crash)
{
	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		cleanup_free char *home = case_path(crash, "%s", service_names[i]);
		case_must(crash, HOOK, "start", DEMO_SERVICE, home, NULL);
	}
}

static void
stop(struct crash_case *crash)
{
	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		cleanup_free char *home = case_path(crash, "%s", service_names[i]);
		case_run(crash, HOOK, "stop", DEMO_SERVICE, home, NULL);
	}
}

static char *
manifest_keys(const struct crash_case *crash, const char *service)
{
	cleanup_free char *home = case_path(crash, "%s", service);
	return xasprintf("\"stopUnits\": [], \"preBackup\": \"%s stop %s %s\", \"postBackup\": \"%s start %s %s\"",
	    HOOK, DEMO_SERVICE, home, HOOK, DEMO_SERVICE, home);
}

static bool
is_child(long pid)
{
	size_t count;
	cleanup_free pid_t *children = case_children(getpid(), &count);
	for (size_t i = 0; i < count; i++)
		if (children[i] == pid)
			return true;
	return false;
}

static void
check_running(struct crash_case *crash)
{
	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		cleanup_free char *path = case_path(crash, "%s/pid", service_names[i]);
		cleanup_free char *pid = NULL;
		size_t length;
		if (file_read(path, 32, &pid, &length, NULL) < 0 || !is_child(strtol(pid, NULL, 10)))
			case_fail(crash, "%s does not run", service_names[i]);
	}
}

const struct services services_by_hooks = {
    .prepare = prepare,
    .clean_up = nothing,
    .start = start,
    .stop = stop,
    .manifest_keys = manifest_keys,
    .check_running = check_running,
    .parts = parts,
    .process_count = SERVICE_COUNT,
};
