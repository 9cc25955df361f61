/* web is woken by a socket of its own and carries a dependant along; beside wiki there is a unit that is named in the
 * manifest and does not run; store belongs to both. */
#include "tests/crash/services.h"

#include <string.h>

#include "core/alloc.h"
#include "tests/system/lab_units.h"

static const char *const parts[] = {"web", "wiki", "follower", "store", NULL};

/* A service whose process says when it begins; in an ExecStartPost it would hold up those that wait for it. */
static void
make_unit(const char *root, const char *part, const char *dependencies, const char *program)
{
	cleanup_free char *name = xasprintf("crash-%s@.service", part);
	cleanup_free char *history = xasprintf("%s/%%i/%s.history", root, part);
	lab_unit(name,
	    "%s[Service]\n"
	    "ExecStart=/bin/sh -c 'echo start $$(date +%%%%s%%%%6N) >>%s; exec %s'\n"
	    "ExecStop=/bin/sh -c 'echo stop $$(date +%%%%s%%%%6N) >>%s'\n",
	    dependencies, history, program, history);
}

static void
prepare(const char *root)
{
	lab_unit("crash-web@.socket", "[Socket]\nListenStream=%s/%%i/web/socket\n", root);
	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		cleanup_free char *program = xasprintf(DEMO_SERVICE " %s/%%i/%s/data", root, service_names[i]);
		make_unit(root, service_names[i], "", program);
	}
	make_unit(root, "follower", "[Unit]\nRequires=crash-web@%i.service\nAfter=crash-web@%i.service\n",
	    "sleep infinity");
	make_unit(root, "store", "", "sleep infinity");
	lab_unit("crash-quiet@.service", SLEEPER);
	lab_reload();
}

static void
start(struct crash_case *crash)
{
	cleanup_free char *socket = xasprintf("crash-web@%u.socket", crash->number);
	cleanup_free char *follower = xasprintf("crash-follower@%u.service", crash->number);
	cleanup_free char *wiki = xasprintf("crash-wiki@%u.service", crash->number);
	cleanup_free char *store = xasprintf("crash-store@%u.service", crash->number);
	case_must(crash, "systemctl", "start", socket, follower, wiki, store, NULL);
}

static void
stop(struct crash_case *crash)
{
	cleanup_free char *all = xasprintf("crash-*@%u.*", crash->number);
	case_run(crash, "systemctl", "stop", all, NULL);
}

static char *
manifest_keys(const struct crash_case *crash, const char *service)
{
	if (strcmp(service, "web") == 0)
		return xasprintf("\"stopUnits\": [\"crash-web@%u.service\", \"crash-store@%u.service\"]",
		    crash->number, crash->number);
	return xasprintf("\"stopUnits\": [\"crash-wiki@%u.service\", \"crash-quiet@%u.service\", "
			 "\"crash-store@%u.service\"]",
	    crash->number, crash->number, crash->number);
}

static void
check_running(struct crash_case *crash)
{
	cleanup_free char *socket = xasprintf("crash-web@%u.socket", crash->number);
	cleanup_free char *web = xasprintf("crash-web@%u.service", crash->number);
	cleanup_free char *follower = xasprintf("crash-follower@%u.service", crash->number);
	cleanup_free char *wiki = xasprintf("crash-wiki@%u.service", crash->number);
	cleanup_free char *quiet = xasprintf("crash-quiet@%u.service", crash->number);
	cleanup_free char *store = xasprintf("crash-store@%u.service", crash->number);
	case_run(crash, "systemctl", "is-active", socket, web, follower, wiki, store, quiet, NULL);
	if (strcmp(crash->output, "active\nactive\nactive\nactive\nactive\ninactive\n") != 0)
		case_fail(crash, "not what ran before: %s", crash->output);
	case_must(crash, "systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "--value", quiet, NULL);
	if (strcmp(crash->output, "0\n") != 0)
		case_fail(crash, "%s ran in between", quiet);
}

const struct services services_by_units = {
    .prepare = prepare,
    .clean_up = lab_forget_units,
    .start = start,
    .stop = stop,
    .manifest_keys = manifest_keys,
    .check_running = check_running,
    .parts = parts,
    .process_count = 0,
};
