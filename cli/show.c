/* `show JOB`: all that the journal knows about one job. */
#include "cli/command.h"
#include "cli/job_output.h"
#include "cli/json_output.h"
#include "cli/table.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"

/* ---- for people ---- */

static void
print_text(const char *label, const char *text)
{
	cleanup_free char *printable = text_printable(text);
	printf("%-12s %s\n", label, printable);
}

static void
print_owned(const char *label, char *text)
{
	cleanup_free char *owned = text;
	if (owned != NULL)
		print_text(label, owned);
}

static void
print_list(const char *label, char *const *list)
{
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		print_text(i == 0 ? label : "", list[i]);
}

static void
print_time(const char *label, int64_t time)
{
	if (time != 0)
		print_owned(label, text_time_local(time));
}

/* Those that only met a lock use up none of the tries. */
static void
print_attempt(const struct job_record *job)
{
	printf("%-12s %lld of %lld", "attempt", (long long)(job->attempt - job->busy), (long long)job->spec.attempts);
	if (job->busy > 0)
		printf(", not counting %lld that only met a lock", (long long)job->busy);
	putchar('\n');
}

static void
print_job(const struct job_record *job)
{
	printf("job %lld, %s of run %lld\n", (long long)job->id, job_kind_word(job->kind), (long long)job->run_id);
	print_text("service", job->service);
	printf("%-12s %s: %s\n", "state", job_state_word(job->state), job_state_text(job->state));
	enum tone tone = job_output_tone(job->outcome);
	printf("%-12s %s%s%s\n", "outcome", terminal_tone(stdout, tone), job_outcome_word(job->outcome),
	    terminal_end(stdout, tone));
	if (job->waiting != NULL)
		print_text("waits", job->waiting);
	if (job->summary != NULL)
		print_text("summary", job->summary);
	if (error_is_set(&job->error)) {
		print_owned("reason", xasprintf("%s (%s, %s)", job->error.message, error_code_word(job->error.code),
					  error_class_word(error_class_of(job->error.code))));
		if (job->error.hint != NULL)
			print_text("what to do", job->error.hint);
	}
	print_attempt(job);
	print_time("submitted", job->submitted_at);
	print_time("due", job->due_at);
	print_time("started", job->started_at);
	print_time("ended", job->ended_at);
	print_owned("took", job_output_duration(job, clock_wall(clock_system())));
	if (job->away > 0)
		print_owned("away", text_duration(job->away));
}

static void
print_snapshot(const struct job_record *job)
{
	if (job->snapshot_id == NULL)
		return;
	print_text("snapshot", job->snapshot_id);
	cleanup_free char *size = text_size(job->bytes);
	cleanup_free char *added = text_size(job->bytes_added);
	printf("%-12s %s in %llu files, %s added\n", "size", size, (unsigned long long)job->files, added);
	if (job->missing_count > 0)
		printf(
		    "%-12s %llu items that could not be read\n", "missing", (unsigned long long)job->missing_count);
}

/* What the job does was frozen when it was submitted; the manifest may say something else by now. */
static void
print_spec(const struct service *spec)
{
	cleanup_strings char **sources = service_sources(spec);
	cleanup_strings char **tags = service_tags(spec);
	puts("\nwhat it was told to do");
	print_list("paths", sources);
	print_list("databases", spec->databases);
	print_list("postgres", spec->postgres);
	print_list("excluded", spec->excludes);
	print_list("tags", tags);
	print_list("stops", spec->stop_units);
	if (spec->pre_backup != NULL)
		print_text("preBackup", spec->pre_backup);
	if (spec->post_backup != NULL)
		print_text("postBackup", spec->post_backup);
}

static void
on_transition(void *context, const struct transition *transition)
{
	struct table *table = context;
	table_take(table, text_time_local(transition->at));
	table_printf(table, "%lld", (long long)transition->attempt);
	table_add(table, job_state_word(transition->from));
	table_add(table, job_state_word(transition->to));
	table_add(table, transition->event);
	table_add(table, transition->message);
}

static int
print_transitions(struct journal *journal, int64_t id, struct error *error)
{
	static const struct table_column columns[] = {
	    {"TIME", false}, {"ATTEMPT", true}, {"FROM", false}, {"TO", false}, {"EVENT", false}, {"MESSAGE", false}};
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	if (journal_transitions(journal, id, 0, on_transition, &table, error) < 0)
		return -1;
	puts("\nits way");
	table_print(&table, stdout);
	return 0;
}

static void
print_obligations(const struct obligation_list *list)
{
	static const struct table_column columns[] = {{"OWED", false}, {"FOR", false}, {"RESULT", false},
	    {"SINCE", false}, {"SETTLED", false}, {"MESSAGE", false}};
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	if (list->count == 0)
		return;
	for (size_t i = 0; i < list->count; i++) {
		const struct obligation *owed = &list->items[i];
		table_add(&table, obligation_kind_word(owed->kind));
		table_add(&table, owed->subject);
		table_add_toned(&table, owed->result == RESULT_GIVEN_UP ? TONE_BAD : TONE_PLAIN,
		    obligation_result_word(owed->result));
		table_take(&table, text_time_local(owed->created_at));
		table_take(&table, owed->settled_at != 0 ? text_time_local(owed->settled_at) : NULL);
		table_add(&table, owed->message);
	}
	puts("\nwhat it owed");
	table_print(&table, stdout);
}

static void
on_note(void *context, int64_t at, const char *source, const char *text)
{
	struct table *table = context;
	table_take(table, text_time_local(at));
	table_add(table, source);
	table_add(table, text);
}

static int
print_notes(struct journal *journal, int64_t id, struct error *error)
{
	static const struct table_column columns[] = {{"TIME", false}, {"FROM", false}, {"WORDS", false}};
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	if (journal_notes(journal, id, on_note, &table, error) < 0)
		return -1;
	if (table.cell_count == 0)
		return 0;
	puts("\nwhat others said");
	table_print(&table, stdout);
	return 0;
}

static int
show_words(struct journal *journal, const struct job_record *job, struct error *error)
{
	cleanup_obligations struct obligation_list owed = {.count = 0};
	print_job(job);
	print_snapshot(job);
	if (job->kind == JOB_KIND_BACKUP)
		print_spec(&job->spec);
	if (print_transitions(journal, job->id, error) < 0 ||
	    journal_obligations(journal, job->id, false, &owed, error) < 0)
		return -1;
	print_obligations(&owed);
	return print_notes(journal, job->id, error);
}

/* ---- JSON ---- */

static json_t *
spec_json(const struct service *spec)
{
	cleanup_strings char **sources = service_sources(spec);
	cleanup_strings char **tags = service_tags(spec);
	json_t *object = json_object();
	json_object_set_new(object, "paths", json_output_texts(sources));
	json_object_set_new(object, "databases", json_output_texts(spec->databases));
	json_object_set_new(object, "postgres", json_output_texts(spec->postgres));
	json_object_set_new(object, "excludes", json_output_texts(spec->excludes));
	json_object_set_new(object, "tags", json_output_texts(tags));
	json_object_set_new(object, "stop_units", json_output_texts(spec->stop_units));
	json_object_set_new(object, "pre_backup", json_output_text(spec->pre_backup));
	json_object_set_new(object, "post_backup", json_output_text(spec->post_backup));
	json_object_set_new(object, "attempts", json_integer(spec->attempts));
	return object;
}

static void
on_transition_json(void *context, const struct transition *transition)
{
	json_t *object = json_object();
	json_object_set_new(object, "time", json_output_time(transition->at));
	json_object_set_new(object, "attempt", json_integer(transition->attempt));
	json_object_set_new(object, "from", json_output_text(job_state_word(transition->from)));
	json_object_set_new(object, "to", json_output_text(job_state_word(transition->to)));
	json_object_set_new(object, "event", json_output_text(transition->event));
	json_object_set_new(object, "message", json_output_text(transition->message));
	json_array_append_new(context, object);
}

static json_t *
obligations_json(const struct obligation_list *list)
{
	json_t *array = json_array();
	for (size_t i = 0; i < list->count; i++) {
		const struct obligation *owed = &list->items[i];
		json_t *object = json_object();
		json_object_set_new(object, "kind", json_output_text(obligation_kind_word(owed->kind)));
		json_object_set_new(object, "subject", json_output_text(owed->subject));
		json_object_set_new(object, "result", json_output_text(obligation_result_word(owed->result)));
		json_object_set_new(object, "since", json_output_time(owed->created_at));
		json_object_set_new(object, "settled", json_output_time(owed->settled_at));
		json_object_set_new(object, "message", json_output_text(owed->message));
		json_array_append_new(array, object);
	}
	return array;
}

static void
on_note_json(void *context, int64_t at, const char *source, const char *text)
{
	json_t *object = json_object();
	json_object_set_new(object, "time", json_output_time(at));
	json_object_set_new(object, "source", json_output_text(source));
	json_object_set_new(object, "text", json_output_text(text));
	json_array_append_new(context, object);
}

static int
show_json(struct journal *journal, const struct job_record *job, struct error *error)
{
	cleanup_obligations struct obligation_list owed = {.count = 0};
	json_t *document = json_output_new();
	json_t *transitions = json_array(), *notes = json_array();
	json_object_set_new(document, "job", job_output_json(job));
	json_object_set_new(document, "spec", spec_json(&job->spec));
	json_object_set_new(document, "transitions", transitions);
	json_object_set_new(document, "notes", notes);
	if (journal_transitions(journal, job->id, 0, on_transition_json, transitions, error) < 0 ||
	    journal_notes(journal, job->id, on_note_json, notes, error) < 0 ||
	    journal_obligations(journal, job->id, false, &owed, error) < 0) {
		json_decref(document);
		return -1;
	}
	json_object_set_new(document, "obligations", obligations_json(&owed));
	json_output_print(document);
	return 0;
}

static enum exit_code
run_show(const struct invocation *invocation)
{
	cleanup_journal struct journal *journal = NULL;
	cleanup_job struct job_record job = {.id = 0};
	cleanup_error struct error error = {.code = ERROR_NONE};
	int64_t id = 0;
	if (cli_job_id(invocation->operands[0], &id, &error) < 0)
		return cli_fail(invocation, &error, CODE_USAGE);
	if (cli_open_journal_readonly(invocation, &journal) < 0)
		return CODE_FAILED;
	int found = journal != NULL ? journal_job(journal, id, &job, &error) : 0;
	if (found == 0) {
		error_set(&error, ERROR_USAGE, "there is no job %lld", (long long)id);
		error_hint(&error, "'atelier-backup jobs' lists the jobs with their numbers");
		return cli_fail(invocation, &error, CODE_USAGE);
	}
	if (found < 0 || (invocation->json ? show_json : show_words)(journal, &job, &error) < 0)
		return cli_fail(invocation, &error, CODE_FAILED);
	return CODE_COMPLETE;
}

const struct command command_show = {
    .name = "show",
    .operands = "JOB",
    .summary = "all that is known about one job",
    .help = "Its transitions with their times, what restic, hooks and systemd said, what it owed and paid, and what "
	    "it was\n"
	    "told to do. `atelier-backup jobs` lists the numbers.\n"
	    "\n"
	    "  atelier-backup show 12",
    .least_operands = 1,
    .most_operands = 1,
    .run = run_show,
};
