/* `status`: what the journal knows about each service, and what needs a person. Never touches the network. */
#include "cli/command.h"
#include "cli/engage.h"
#include "cli/job_output.h"
#include "cli/json_output.h"
#include "cli/status_report.h"
#include "cli/table.h"
#include "cli/watch.h"
#include "core/alloc.h"
#include "core/clock.h"
#include "core/text.h"

#include <stdint.h>
#include <time.h>

static int
gather(struct journal *journal, char *const *names, struct journal_facts *ret_facts, struct status_house *house,
    struct error *error)
{
	bool free_lock = true;
	if (journal_facts_read(journal, names, ret_facts, error) < 0 ||
	    (journal != NULL && journal_lock_runner(journal, &free_lock, NULL, error) < 0))
		return -1;
	house->runner_alive = !free_lock;
	return 0;
}

/* The journal is root's; members of the status group ask the runner. */
static int
ask_runner(const struct invocation *invocation, char *const *names, struct journal_facts *ret_facts,
    struct status_house *house, struct error *error)
{
	struct control_client *client = NULL;
	cleanup_error struct error refused = {0};
	int connected = engage_running(invocation, NULL, &client, &refused);
	if (connected <= 0) {
		error_prefix(error, "%s, and no runner can be asked",
		    error_is_set(&refused) ? refused.message : "nobody listens");
		return -1;
	}
	struct live_job_list jobs = {0};
	error_clear(error);
	int result = control_client_status(client, names, &jobs, ret_facts, error);
	live_job_list_clear(&jobs);
	control_client_close(client);
	house->runner_alive = true;
	return result;
}

static enum tone
tone_of(enum status_condition condition)
{
	switch (condition) {
	case STATUS_GOOD:
		return TONE_GOOD;
	case STATUS_PARTIAL:
	case STATUS_OVERDUE:
		return TONE_WARNING;
	case STATUS_FAILED:
		break;
	}
	return TONE_BAD;
}

static void
print_attention(const struct status_report *report, FILE *file)
{
	for (size_t i = 0; i < report->attention_count; i++) {
		const struct status_attention *attention = &report->attention[i];
		enum tone tone = attention->condition == STATUS_GOOD ? TONE_WARNING : tone_of(attention->condition);
		cleanup_free char *subject = text_printable(attention->subject);
		cleanup_free char *message = text_printable(attention->message);
		fprintf(file, "%s%s%s: %s\n", terminal_tone(file, tone), subject, terminal_end(file, tone), message);
		if (attention->hint == NULL)
			continue;
		cleanup_free char *hint = text_printable(attention->hint);
		fprintf(file, "  %s\n", hint);
	}
	if (report->attention_count > 0)
		fputc('\n', file);
}

/* "Tue 02:00"; the date too when a week would make that ambiguous. */
static char *
short_time(int64_t now, int64_t time)
{
	char words[64];
	time_t seconds = (time_t)(time / USEC_PER_SEC);
	struct tm local;
	localtime_r(&seconds, &local);
	bool near = time - now < 6 * USEC_PER_DAY && now - time < USEC_PER_HOUR;
	strftime(words, sizeof(words), near ? "%a %H:%M" : "%F %H:%M", &local);
	return xstrdup(words);
}

static char *
next_words(const struct status_line *line, int64_t now)
{
	cleanup_free char *from = short_time(now, line->next_from);
	if (line->next_until == line->next_from)
		return take_pointer(from);
	cleanup_free char *spread = text_duration(line->next_until - line->next_from);
	return xasprintf("%s, within %s", from, spread);
}

static void
add_state(struct table *table, const struct status_line *line)
{
	const char *word = line->facts->current != NULL ? job_state_word(line->facts->current->state) : NULL;
	if (line->interrupted)
		table_printf(table, "%s (interrupted)", word);
	else
		table_add(table, word);
}

static char *
good_words(const struct status_line *line)
{
	if (line->good_age < 0)
		return xstrdup("never");
	struct text words = {.string = NULL};
	text_add_duration(&words, line->good_age);
	text_add(&words, " ago");
	return text_take(&words);
}

static const char *
outcome_word(const struct service_facts *facts)
{
	const struct job_record *verdict = service_facts_verdict(facts);
	const struct job_record *job = verdict != NULL ? verdict : facts->current;
	return job != NULL ? job_outcome_word(job->outcome) : NULL;
}

/* Size and added bytes are those of the last good backup, or of the last one that came to a snapshot. */
static bool
sizes_of(const struct service_facts *facts, uint64_t *ret_bytes, uint64_t *ret_added)
{
	const struct job_record *verdict = service_facts_verdict(facts);
	bool newer = verdict != NULL && verdict->snapshot_id != NULL;
	if (!facts->has_good && !newer)
		return false;
	*ret_bytes = newer ? verdict->bytes : facts->good.bytes;
	*ret_added = newer ? verdict->bytes_added : facts->good.bytes_added;
	return true;
}

/* When the next backup begins is the same for most services. */
struct next_memo {
	int64_t from, until;
	char *words;
};

static const char *
next_words_of(struct next_memo *memo, const struct status_line *line, int64_t now)
{
	if (line->next_from == 0)
		return NULL;
	if (memo->words != NULL && memo->from == line->next_from && memo->until == line->next_until)
		return memo->words;
	free(memo->words);
	*memo = (struct next_memo){line->next_from, line->next_until, next_words(line, now)};
	return memo->words;
}

static void
print_lines(const struct status_report *report, const struct status_house *house, FILE *file)
{
	static const struct table_column columns[] = {{"SERVICE", false}, {"CONDITION", false}, {"STATE", false},
	    {"OUTCOME", false}, {"LAST GOOD", false}, {"SIZE", true}, {"ADDED", true}, {"AWAY", true},
	    {"NEXT", false}};
	cleanup_table struct table table = {.columns = columns, .column_count = ARRAY_LENGTH(columns)};
	struct next_memo next = {.words = NULL};
	for (size_t i = 0; i < report->line_count; i++) {
		const struct status_line *line = &report->lines[i];
		uint64_t bytes = 0, added = 0;
		bool sized = sizes_of(line->facts, &bytes, &added);
		table_add(&table, line->service->name);
		table_add_toned(&table, tone_of(line->condition), status_condition_word(line->condition));
		add_state(&table, line);
		table_add(&table, outcome_word(line->facts));
		table_take(&table, good_words(line));
		table_take(&table, sized ? text_size(bytes) : NULL);
		table_take(&table, sized ? text_size(added) : NULL);
		table_take(&table, line->away > 0 ? text_duration(line->away) : NULL);
		table_add(&table, next_words_of(&next, line, house->now));
	}
	free(next.words);
	table_print(&table, file);
}

static void
print_maintenance(const struct status_house *house, FILE *file)
{
	if (house->maintenance == NULL)
		return;
	fputc('\n', file);
	for (size_t i = 0; i < STATUS_MAINTENANCE_COUNT; i++) {
		const struct service_facts *facts = &house->maintenance[i];
		const char *word = job_kind_word(status_maintenance_kinds[i]);
		if (!facts->has_good) {
			fprintf(file, "%s: never yet\n", word);
			continue;
		}
		cleanup_free char *age = text_duration(house->now > facts->good.at ? house->now - facts->good.at : 0);
		const struct job_record *verdict = service_facts_verdict(facts);
		bool same = verdict != NULL && verdict->id == facts->good.job_id;
		const char *words = same ? verdict->summary : NULL;
		cleanup_free char *summary = words != NULL ? text_printable(words) : NULL;
		fprintf(
		    file, "%s: %s ago%s%s\n", word, age, summary != NULL ? ", " : "", summary != NULL ? summary : "");
	}
}

static json_t *
job_json(const struct job_record *job)
{
	return job != NULL ? job_output_json(job) : json_null();
}

static json_t *
good_json(const struct status_line *line)
{
	const struct service_facts *facts = line->facts;
	if (!facts->has_good)
		return json_null();
	json_t *object = json_object();
	json_object_set_new(object, "job", json_integer(facts->good.job_id));
	json_object_set_new(object, "time", json_output_time(facts->good.at));
	json_object_set_new(object, "age_seconds", json_output_seconds(line->good_age));
	json_object_set_new(object, "snapshot", json_output_text(facts->good.snapshot_id));
	json_object_set_new(object, "files", json_output_count(facts->good.files));
	json_object_set_new(object, "bytes", json_output_count(facts->good.bytes));
	json_object_set_new(object, "bytes_added", json_output_count(facts->good.bytes_added));
	return object;
}

static json_t *
line_json(const struct status_line *line)
{
	const struct service_facts *facts = line->facts;
	json_t *object = json_object();
	json_object_set_new(object, "service", json_output_text(line->service->name));
	json_object_set_new(object, "condition", json_output_text(status_condition_word(line->condition)));
	json_object_set_new(object, "overdue", json_boolean(line->overdue));
	json_object_set_new(object, "interrupted", json_boolean(line->interrupted));
	json_object_set_new(object, "job", job_json(facts->current));
	json_object_set_new(object, "last_finished", job_json(service_facts_verdict(facts)));
	json_object_set_new(object, "last_good", good_json(line));
	json_object_set_new(object, "away_seconds", json_output_seconds(line->away));
	json_object_set_new(object, "next_from", json_output_time(line->next_from));
	json_object_set_new(object, "next_until", json_output_time(line->next_until));
	return object;
}

static json_t *
maintenance_json(const struct status_house *house)
{
	json_t *array = json_array();
	for (size_t i = 0; i < STATUS_MAINTENANCE_COUNT; i++) {
		const struct service_facts *facts = &house->maintenance[i];
		json_t *object = json_object();
		json_object_set_new(object, "kind", json_output_text(job_kind_word(status_maintenance_kinds[i])));
		json_object_set_new(object, "job", job_json(facts->current));
		json_object_set_new(object, "last_finished", job_json(service_facts_verdict(facts)));
		json_object_set_new(
		    object, "last_good", facts->has_good ? json_output_time(facts->good.at) : json_null());
		json_array_append_new(array, object);
	}
	return array;
}

static void
print_json(const struct status_report *report, const struct status_house *house)
{
	json_t *document = json_output_new();
	json_object_set_new(document, "time", json_output_time(house->now));
	json_object_set_new(document, "condition", json_output_text(status_condition_word(report->condition)));
	json_object_set_new(document, "runner", json_boolean(house->runner_alive));
	json_object_set_new(document, "quarantined", json_integer(house->quarantined));
	json_t *attention = json_array();
	for (size_t i = 0; i < report->attention_count; i++) {
		const struct status_attention *item = &report->attention[i];
		json_t *object = json_object();
		const char *condition =
		    item->condition != STATUS_GOOD ? status_condition_word(item->condition) : NULL;
		json_object_set_new(object, "condition", json_output_text(condition));
		json_object_set_new(object, "subject", json_output_text(item->subject));
		json_object_set_new(object, "message", json_output_text(item->message));
		json_object_set_new(object, "hint", json_output_text(item->hint));
		json_array_append_new(attention, object);
	}
	json_object_set_new(document, "attention", attention);
	if (house->maintenance != NULL)
		json_object_set_new(document, "maintenance", maintenance_json(house));
	json_output_begin_list(document, "services");
	for (size_t i = 0; i < report->line_count; i++)
		json_output_list_entry(line_json(&report->lines[i]), i);
	json_output_end_list();
}

/* What is asked, and what is found. The report points into the facts. */
struct question {
	const struct invocation *invocation;
	const struct manifest *manifest;
	const struct service *const *services;
	size_t count;
	bool whole; /* no service was named: the repository is told about, too */
};

struct answer {
	struct journal_facts facts;
	struct status_house house;
	struct status_report report;
};

static void
answer_clear(struct answer *answer)
{
	status_report_clear(&answer->report);
	journal_facts_clear(&answer->facts);
}

#define cleanup_answer __attribute__((cleanup(answer_clear)))

/* Facts come in the order of the names: the services, then retention and prune. Borrowed, but for the array. */
static char **
names_of(const struct question *question)
{
	static char retention[] = "(retention)", prune[] = "(prune)";
	char **names = xcalloc(question->count + STATUS_MAINTENANCE_COUNT + 1, sizeof(*names));
	for (size_t i = 0; i < question->count; i++)
		names[i] = question->services[i]->name;
	if (question->whole) {
		names[question->count] = retention;
		names[question->count + 1] = prune;
	}
	return names;
}

static int
find_answer(const struct question *question, struct answer *ret_answer, struct error *error)
{
	cleanup_journal struct journal *journal = NULL;
	cleanup_free char **names = names_of(question);
	struct status_house *house = &ret_answer->house;
	struct journal_facts *facts = &ret_answer->facts;
	*house = (struct status_house){
	    .now = clock_wall(clock_system()),
	    .kickoff = question->manifest->kickoff,
	    .max_delay = question->manifest->max_delay,
	};
	int result = journal_open_readonly(question->invocation->state_directory, clock_system(), &journal, error);
	if (result == 0)
		result = gather(journal, names, facts, house, error);
	else if (error->code == ERROR_PERMISSION)
		result = ask_runner(question->invocation, names, facts, house, error);
	if (result < 0)
		return -1;
	size_t asked = question->count;
	if (facts->count == asked + STATUS_MAINTENANCE_COUNT)
		house->maintenance = &facts->services[asked];
	house->owed = &facts->owed;
	house->given_up = &facts->given_up;
	house->quarantined = facts->quarantined;
	status_report_make(house, question->services, facts->services, asked, &ret_answer->report);
	return 0;
}

static enum exit_code
status_of(const struct question *question)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_answer struct answer answer = {.report = {.condition = STATUS_GOOD}};
	if (find_answer(question, &answer, &error) < 0)
		return cli_fail(question->invocation, &error, CODE_FAILED);
	if (question->invocation->json) {
		print_json(&answer.report, &answer.house);
	} else {
		print_attention(&answer.report, stdout);
		print_lines(&answer.report, &answer.house, stdout);
		print_maintenance(&answer.house, stdout);
	}
	return status_report_code(&answer.report);
}

static int
print_for_watch(void *context, FILE *file, struct error *error)
{
	cleanup_answer struct answer answer = {.report = {.condition = STATUS_GOOD}};
	if (find_answer(context, &answer, error) < 0)
		return -1;
	print_lines(&answer.report, &answer.house, file);
	print_maintenance(&answer.house, file);
	fputc('\n', file);
	print_attention(&answer.report, file);
	return 0;
}

static enum exit_code
run_status(const struct invocation *invocation)
{
	cleanup_manifest struct manifest manifest = {.path = NULL};
	if (cli_load_manifest(invocation, &manifest) < 0)
		return CODE_USAGE;
	cleanup_free const struct service **services = NULL;
	size_t count = 0;
	if (cli_select_services(invocation, &manifest, true, &services, &count) < 0)
		return CODE_USAGE;
	struct question question = {
	    .invocation = invocation,
	    .manifest = &manifest,
	    .services = services,
	    .count = count,
	    .whole = invocation->operand_count == 0,
	};
	if (invocation->watch)
		return watch(invocation, print_for_watch, &question);
	return status_of(&question);
}

const struct command command_status = {
    .name = "status",
    .operands = "[SERVICE...]",
    .summary = "how the backups stand, and what needs a person",
    .help =
	"Reads the journal only and never touches the network; members of the manifest's statusGroup, who may not\n"
	"read it, ask the runner. First comes what needs attention, each with the next step; then a line per "
	"service,\n"
	"and when the last retention and prune were. Exits with 1 when something failed or stands still, 5 when a\n"
	"service has no good backup that is young enough, 3 when the last one is partial, else 0.\n"
	"\n"
	"With --watch a line per unfinished job is added: its step, bytes, speed, and why it waits.\n"
	"\n"
	"  atelier-backup status\n"
	"  atelier-backup status web forum\n"
	"  atelier-backup status --watch",
    .options = OPTION_WATCH,
    .most_operands = SIZE_MAX,
    .run = run_status,
};
