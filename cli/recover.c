/* atelier-backup recover: pays what is owed and resumes what is half done. */
#include "cli/attend.h"
#include "cli/engage.h"
#include "cli/json_output.h"
#include "cli/outcome.h"
#include "cli/owed.h"
#include "core/alloc.h"

/* At boot, the socket is there long before what the runner's unit waits for. */
#define PATIENCE (3 * USEC_PER_MIN)

static void
print_given_up(const struct invocation *invocation, const struct control_recovered *recovered)
{
	if (invocation->json) {
		json_t *document = json_output_new();
		json_object_set_new(document, "event", json_string("given-up"));
		json_object_set_new(document, "tried", json_integer(recovered->tried));
		json_object_set_new(document, "paid", json_integer(recovered->paid));
		json_object_set_new(document, "error", json_output_error(&recovered->failure));
		json_output_print(document);
		return;
	}
	printf("%lld of %lld things that had been given up are done now\n", (long long)recovered->paid,
	    (long long)recovered->tried);
	if (error_is_set(&recovered->failure))
		printf("  %s\n", recovered->failure.message);
}

static bool
something_is_owed(struct journal *journal)
{
	cleanup_obligations struct obligation_list owed = {0};
	return journal_obligations(journal, 0, true, &owed, NULL) < 0 || owed.count > 0;
}

/* What was given up waits for a person, and that one is here. *ret_busy: jobs are at work, and it has to wait. */
static enum exit_code
retry_given_up(const struct invocation *invocation, struct control_client *client, bool *ret_busy)
{
	cleanup_error struct error error = {0};
	struct control_recovered recovered = {0};
	*ret_busy = false;
	if (control_client_recover(client, &recovered, &error) < 0) {
		*ret_busy = error.code == ERROR_SYSTEM_BUSY;
		return *ret_busy ? CODE_COMPLETE : cli_fail(invocation, &error, CODE_FAILED);
	}
	if (recovered.tried > 0 || (invocation->json && !invocation->detach))
		print_given_up(invocation, &recovered);
	error_clear(&recovered.failure);
	return recovered.paid < recovered.tried ? CODE_FAILED : CODE_COMPLETE;
}

static void
count_job(void *context, const struct job_record *job)
{
	(void)job;
	++*(size_t *)context;
}

static enum exit_code
attend_all(const struct invocation *invocation, struct journal *journal, struct control_client *client, int64_t seen,
    bool *ret_left)
{
	return attend(&(struct attendance){
	    .invocation = invocation,
	    .journal = journal,
	    .client = client,
	    .all = true,
	    .seen = seen,
	    .on_interrupt = INTERRUPT_CANCEL,
	    .ret_left = ret_left,
	});
}

/* Units of dead runners first; what was given up earlier has waited for a person already. */
static enum exit_code
see_to_the_end(
    const struct invocation *invocation, struct journal *journal, struct control_client *client, int64_t seen)
{
	cleanup_error struct error error = {0};
	enum exit_code code = CODE_COMPLETE;
	for (bool busy = true, left; busy;) {
		code = outcome_graver(code, attend_all(invocation, journal, client, seen, &left));
		if (left)
			return code;
		if (journal_last_transition(journal, &seen, &error) < 0 ||
		    engage(invocation, journal_identity(journal), PATIENCE, &client, &error) < 0)
			return cli_fail(invocation, &error, cli_code_of(error.code));
		/* Somebody may have submitted jobs since: they are followed, too. */
		code = outcome_graver(code, retry_given_up(invocation, client, &busy));
		if (!busy)
			control_client_close(client);
	}
	return something_is_owed(journal) ? CODE_FAILED : code;
}

static enum exit_code
recover(const struct invocation *invocation, struct journal *journal)
{
	cleanup_error struct error error = {0};
	const struct job_filter filter = {.unfinished = true};
	size_t unfinished = 0;
	int64_t seen;
	struct control_client *client = NULL;
	if (journal_jobs(journal, &filter, count_job, &unfinished, &error) < 0 ||
	    journal_last_transition(journal, &seen, &error) < 0 ||
	    engage(invocation, journal_identity(journal), PATIENCE, &client, &error) < 0)
		return cli_fail(invocation, &error, cli_code_of(error.code));
	if (invocation->detach) {
		bool busy;
		enum exit_code code = retry_given_up(invocation, client, &busy);
		control_client_close(client);
		return code;
	}
	enum exit_code code = see_to_the_end(invocation, journal, client, seen);
	if (unfinished == 0 && code == CODE_COMPLETE && !invocation->json)
		puts("nothing is owed and nothing is half done");
	return code;
}

static enum exit_code
run(const struct invocation *invocation)
{
	if (invocation->owed)
		return owed_pay(invocation);
	cleanup_journal struct journal *journal = NULL;
	if (cli_open_journal(invocation, &journal) < 0)
		return CODE_FAILED;
	return recover(invocation, journal);
}

const struct command command_recover = {
    .name = "recover",
    .operands = "",
    .summary = "bring back what a crash left stopped, and resume what is half done",
    .help =
	"Has the runner pay what is owed (units to start, postBackup commands), end processes that outlived a dead\n"
	"runner, and see every unfinished job to its end; then what was given up is tried again. Does nothing where\n"
	"there is nothing to do. Needs no manifest. A runner does the same before it takes new jobs.\n"
	"\n"
	"--owed does only the first, in this process; systemd's units call it.\n"
	"\n"
	"  atelier-backup recover\n"
	"  atelier-backup recover --detach",
    .options = OPTION_DETACH | OPTION_OWED,
    .least_operands = 0,
    .most_operands = 0,
    .needs_root = true,
    .run = run,
};
