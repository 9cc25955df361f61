/* `jobs`: the newest jobs of the journal. */
#include "cli/command.h"
#include "cli/job_output.h"
#include "cli/json_output.h"
#include "cli/table.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"

#define DEFAULT_LIMIT 20

struct output {
	struct table *table;
	json_t *array; /* NULL: for people */
	int64_t now;
};

static void
on_job(void *context, const struct job_record *job)
{
	struct output *output = context;
	if (output->array != NULL) {
		json_array_append_new(output->array, job_output_json(job));
		return;
	}
	struct table *table = output->table;
	table_printf(table, "%lld", (long long)job->id);
	table_add(table, job->service);
	table_add(table, job_state_word(job->state));
	table_add_toned(table, job_output_tone(job->outcome), job_outcome_word(job->outcome));
	table_take(table, text_time_local(job->submitted_at));
	table_take(table, job_output_duration(job, output->now));
	table_take(table, job->away > 0 ? text_duration(job->away) : NULL);
	table_take(table, job->snapshot_id != NULL ? text_size(job->bytes_added) : NULL);
	table_add(table, job_output_remark(job));
}

static void
print_output(const struct output *output)
{
	if (output->array != NULL) {
		json_t *document = json_output_new();
		json_object_set_new(document, "jobs", output->array);
		json_output_print(document);
	} else if (output->table->cell_count > 0) {
		table_print(output->table, stdout);
	} else {
		fputs("atelier-backup: the journal has no such jobs\n", stderr);
	}
}

static enum exit_code
run_jobs(const struct invocation *invocation)
{
	static const struct table_column columns[] = {{"JOB", true}, {"SERVICE", false}, {"STATE", false},
	    {"OUTCOME", false}, {"SUBMITTED", false}, {"TOOK", true}, {"AWAY", true}, {"ADDED", true},
	    {"REMARK", false}};
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	cleanup_journal struct journal *journal = NULL;
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (cli_open_journal_readonly(invocation, &journal) < 0)
		return CODE_FAILED;
	struct output output = {.table = &table, .now = clock_wall(clock_system())};
	if (invocation->json)
		output.array = json_array();
	const struct job_filter filter = {
	    .service = invocation->operands[0],
	    .limit = invocation->limit > 0 ? invocation->limit : DEFAULT_LIMIT,
	};
	if (journal != NULL && journal_jobs(journal, &filter, on_job, &output, &error) < 0) {
		json_decref(output.array);
		return cli_fail(invocation, &error, CODE_FAILED);
	}
	print_output(&output);
	return CODE_COMPLETE;
}

const struct command command_jobs = {
    .name = "jobs",
    .operands = "[SERVICE]",
    .summary = "the newest jobs with their numbers",
    .help =
	"TOOK is from the first attempt's beginning to the end, AWAY how long the service was stopped, ADDED what\n"
	"the backup added to the repository, REMARK what went wrong, why a job waits, or what it did. Jobs that\n"
	"concern the whole repository are named (retention) and (prune). Shows 20 if --limit does not say "
	"otherwise.\n"
	"\n"
	"  atelier-backup jobs\n"
	"  atelier-backup jobs web --limit 5\n"
	"  atelier-backup jobs '(prune)'",
    .options = OPTION_LIMIT,
    .most_operands = 1,
    .run = run_jobs,
};
