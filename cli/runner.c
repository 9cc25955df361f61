/* atelier-backup runner: the one process that advances jobs. systemd starts it through its socket, elsewhere a
 * guardian does. */
#include "jobs/runner.h"

#include <event2/event.h>
#include <fcntl.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "cli/command.h"
#include "cli/guardian.h"
#include "cli/json_output.h"
#include "cli/log_observer.h"
#include "cli/own_process.h"
#include "core/alloc.h"
#include "core/file.h"
#include "core/log.h"
#include "jobs/control_server.h"
#include "states/given_up.h"
#include "states/machine.h"
#include "states/staging.h"

#define IDLE_PATIENCE (5 * USEC_PER_SEC)
#define LOCK_INTERVAL (USEC_PER_SEC / 10)

/* What the service manager is asked for while another runner holds the lock: that may take a night. */
#define START_PATIENCE (10 * USEC_PER_SEC)

/* Where there is no manifest that can be read: a job knows itself what it is to do, and what is owed has to be paid
 * when /etc is broken, too. */
#define DEFAULT_PARALLEL 2

struct host {
	struct journal *journal;
	int starter; /* whoever started us waits for a line here; -1: nobody, or it has been told */
};

/* One line: an object with `error`, null when clients are listened to. */
static void
tell_starter(struct host *host, const struct error *error)
{
	if (host->starter < 0)
		return;
	cleanup_close int descriptor = host->starter;
	host->starter = -1;
	json_t *document = json_output_new();
	json_object_set_new(document, "error", json_output_error(error));
	char *line = json_dumps(document, JSON_COMPACT);
	json_decref(document);
	cleanup_free char *whole = xasprintf("%s\n", line);
	free(line);
	/* Nobody may be waiting for it any more. */
	if (file_write_all(descriptor, whole, strlen(whole)) < 0)
		log_debug("nobody waits for the runner to begin");
}

static enum exit_code
fail(struct host *host, const struct error *error)
{
	tell_starter(host, error);
	log_line(
	    LOG_LEVEL_ERROR, &(struct log_subject){.error_code = error_code_word(error->code)}, "%s", error->message);
	return CODE_FAILED;
}

static void
tell_notice(void *context, const char *words)
{
	(void)context;
	log_notice("%s", words);
}

/* With a journal that cannot be written we bring back what is stopped and end, before anybody is listened to. */
static void
tell_begun(struct host *host)
{
	cleanup_error struct error error = {0};
	if (host->starter >= 0 && journal_check_writable(host->journal, &error) < 0)
		tell_starter(host, &error);
	else
		tell_starter(host, NULL);
}

static void
tell_recovery(void *context, const struct recovery_report *report)
{
	tell_begun(context);
	if (report->jobs == 0 && report->obligations == 0 && report->children == 0)
		return;
	log_notice(
	    "taking over from a runner that is gone: %zu unfinished jobs, %zu things owed, %zu processes ended",
	    report->jobs, report->obligations, report->children);
}

/* On a loop of its own: that of the runner is in the middle of something. */
static int
retry_given_up(struct journal *journal, int64_t *ret_tried, int64_t *ret_paid, struct error *error)
{
	struct event_base *base = event_base_new();
	if (base == NULL)
		return error_set(error, ERROR_SYSTEM, "no event loop can be made");
	struct world world;
	world_init(&world, base);
	struct given_up_report report = {0};
	int result = given_up_retry(&world, journal, 0, &report, error);
	world_release(&world);
	event_base_free(base);
	*ret_tried = (int64_t)report.tried;
	*ret_paid = (int64_t)report.paid;
	if (result == 0 && error_is_set(&report.error))
		error_move(error, &report.error);
	error_clear(&report.error);
	return result;
}

static int
on_recover(void *context, int64_t *ret_tried, int64_t *ret_paid, struct error *error)
{
	const struct host *host = context;
	return retry_given_up(host->journal, ret_tried, ret_paid, error);
}

static void
on_paid(void *context)
{
	const struct host *host = context;
	staging_sweep(host->journal);
}

/* What a job owes that was set aside as damaged: nobody else will pay it. */
static int
pay_for_damaged_jobs(struct journal *journal, struct error *error)
{
	size_t orphans;
	int64_t tried, paid;
	if (recovery_give_up_orphans(journal, &orphans, error) < 0)
		return -1;
	if (orphans == 0)
		return 0;
	cleanup_error struct error unpaid = {0};
	if (retry_given_up(journal, &tried, &paid, &unpaid) == 0)
		return 0;
	error_move(error, &unpaid);
	return -1;
}

/* What the manifest says about the runner itself. */
struct runner_wishes {
	int64_t parallel;
	char *status_group;
};

static struct runner_wishes
read_wishes(const struct invocation *invocation)
{
	struct runner_wishes wishes = {.parallel = DEFAULT_PARALLEL};
	cleanup_manifest struct manifest manifest = {0};
	cleanup_problems struct problem_list problems = {0};
	if (cli_read_manifest(invocation, &manifest, &problems) < 0) {
		log_warning(
		    "%s cannot be used; jobs that are in the journal go on without it", invocation->manifest_path);
		return wishes;
	}
	wishes.parallel = manifest.parallel;
	wishes.status_group = take_pointer(manifest.status_group);
	return wishes;
}

static int
run_jobs(const struct invocation *invocation, struct host *host, int listener, struct error *error)
{
	struct event_base *base = event_base_new();
	if (base == NULL)
		return error_set(error, ERROR_SYSTEM, "no event loop can be made");
	struct world world;
	world_init(&world, base);
	struct machine machine = machine_for(&world);
	struct engine_observer observer = log_observer();
	struct runner_wishes wishes = read_wishes(invocation);
	struct guard *guard = guard_new(invocation, base);
	const struct runner_settings settings = {
	    .base = base,
	    .journal = host->journal,
	    .clock = clock_system(),
	    .machine = &machine,
	    .parallel = wishes.parallel,
	    .listener = listener,
	    .status_group = wishes.status_group,
	    .observer = &observer,
	    .notice = tell_notice,
	    .recovered = tell_recovery,
	    .paid = on_paid,
	    .recover = on_recover,
	    .context = host,
	    .idle_patience = IDLE_PATIENCE,
	};
	enum runner_end end;
	staging_set_aside(host->journal);
	int result = pay_for_damaged_jobs(host->journal, error);
	if (result == 0)
		result = runner_run(&settings, &end, error);
	else
		close(listener);
	guard_free(guard);
	world_release(&world);
	event_base_free(base);
	free(wishes.status_group);
	return result;
}

/* Held by another: that one does the work. But whoever was started by the service manager for clients that wait at
 * its socket has to take them when the other is through. 1: held; 0: not. */
static int
take_lock(struct journal *journal, bool activated, struct error *error)
{
	for (bool told = false;; told = true) {
		bool held;
		pid_t holder;
		if (journal_lock_runner(journal, &held, &holder, error) < 0)
			return -1;
		if (held || !activated)
			return held;
		if (!told) {
			log_notice("another runner (pid %d) holds the journal; waiting for its end", (int)holder);
			sd_notifyf(0, "STATUS=waiting for the end of another runner (pid %d)", (int)holder);
		}
		sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%lld", (long long)START_PATIENCE);
		nanosleep(&(struct timespec){.tv_nsec = LOCK_INTERVAL * 1000}, NULL);
	}
}

static enum exit_code
run(const struct invocation *invocation)
{
	own_process_take_name();
	if (!log_is_journal())
		log_with_time();
	log_open(invocation->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, LOG_LEVEL_INFO);
	if (invocation->ready_descriptor != 0)
		fcntl((int)invocation->ready_descriptor, F_SETFD, FD_CLOEXEC);
	struct host host = {
	    .starter = invocation->ready_descriptor != 0 ? (int)invocation->ready_descriptor : -1,
	};
	bool activated = sd_listen_fds(1) > 0;
	cleanup_error struct error error = {0};
	cleanup_journal struct journal *journal = NULL;
	if (journal_open(invocation->state_directory, clock_system(), &journal, &error) < 0)
		return fail(&host, &error);
	host.journal = journal;
	int held = take_lock(journal, activated, &error);
	if (held < 0)
		return fail(&host, &error);
	if (held == 0)
		return CODE_COMPLETE;
	int listener = activated ? SD_LISTEN_FDS_START : control_listen(invocation->runtime_directory, &error);
	if (listener < 0)
		return fail(&host, &error);
	int result = run_jobs(invocation, &host, listener, &error);
	journal_unlock_runner(journal);
	return result < 0 ? fail(&host, &error) : CODE_COMPLETE;
}

const struct command command_runner = {
    .name = "runner",
    .operands = "",
    .summary = "advance the jobs of the journal (started by systemd or by the other commands)",
    .help =
	"First pays what a dead runner owed and takes its jobs over, then listens at control.sock in the runtime\n"
	"directory for the other commands, and ends when there is nothing to do and nobody is connected. If another\n"
	"runner is at work it ends at once; one that systemd started waits for the other's end. SIGTERM ends it in\n"
	"good order: what is stopped is started, jobs stay in the journal.",
    .options = OPTION_READY | OPTION_GUARDED,
    .needs_root = true,
    .hidden = true,
    .run = run,
};
