/* What is kept of runs and jobs. */
#include "journal_fixture.h"

#include "core/text.h"

/* ---- submitting ---- */

struct answer {
	int64_t run;
	bool added;
	int64_t ids[3];
};

static struct answer
submit(struct journal *journal, enum run_kind kind, const char *night, const char *const *names, size_t count)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct service services[3];
	struct submission submissions[3] = {{.service = NULL}};
	for (size_t i = 0; i < count; i++) {
		services[i] = make_service(names[i]);
		submissions[i] = (struct submission){.service = &services[i], .due_at = NOW + (int64_t)i};
	}
	struct answer answer = {.run = -1, .ids = {-1, -1, -1}};
	int result =
	    journal_submit(journal, kind, night, submissions, count, &answer.run, &answer.added, answer.ids, &error);
	for (size_t i = 0; i < count; i++)
		service_clear(&services[i]);
	assert_success(result, &error);
	return answer;
}

static const char *const two_names[] = {"mail", "web"};

static void
a_submitted_job_is_found_as_it_was(void **state)
{
	struct fixture *fixture = *state;
	struct answer answer = submit(fixture_open(fixture), RUN_NIGHTLY, "2026-11-22", two_names, 2);
	assert_true(answer.added);
	assert_true(answer.ids[0] > 0 && answer.ids[1] > answer.ids[0]);

	cleanup_job struct job_record job = load_job(fixture_reopen(fixture), answer.ids[1]);
	assert_int_equal(job.id, answer.ids[1]);
	assert_int_equal(job.run_id, answer.run);
	assert_int_equal(job.kind, JOB_KIND_BACKUP);
	assert_string_equal(job.service, "web");
	assert_int_equal(job.state, JOB_PENDING);
	assert_int_equal(job.outcome, OUTCOME_RUNNING);
	assert_int_equal(job.attempt, 1);
	assert_int_equal(job.due_at, NOW + 1);
	assert_int_equal(job.submitted_at, NOW);
	assert_int_equal(job.state_since, NOW);
	assert_int_equal(job.started_at, 0);
	assert_int_equal(job.ended_at, 0);
	assert_false(job.snapshot_begun);
	assert_null(job.snapshot_id);
	assert_null(job.sources_filled);
	assert_false(error_is_set(&job.error));
	assert_string_equal(job.spec.name, "web");
	assert_string_equal(job.spec.stop_units[0], "web.service");
	assert_string_equal(job.spec.files[0], "/srv/web");
	assert_int_equal(job.spec.attempts, 3);

	cleanup_job struct job_record none = {.id = 0};
	assert_int_equal(journal_job(fixture->journal, 4711, &none, NULL), 0);
}

static void
a_night_submitted_twice_is_one_run(void **state)
{
	struct fixture *fixture = *state;
	struct answer first = submit(fixture_open(fixture), RUN_NIGHTLY, "2026-11-22", two_names, 2);
	static const char *const names[] = {"web", "new", "mail"};
	struct answer second = submit(fixture->journal, RUN_NIGHTLY, "2026-11-22", names, 3);
	assert_false(second.added);
	assert_int_equal(second.run, first.run);
	assert_int_equal(second.ids[0], first.ids[1]);
	assert_int_equal(second.ids[1], 0);
	assert_int_equal(second.ids[2], first.ids[0]);
	assert_peek(fixture, "SELECT count(*) FROM job", "2");

	struct answer next = submit(fixture->journal, RUN_NIGHTLY, "2026-11-23", two_names, 2);
	assert_true(next.added);
	assert_int_not_equal(next.run, first.run);
	/* A night without any service has its run too. */
	struct answer empty = submit(fixture->journal, RUN_NIGHTLY, "2026-11-24", NULL, 0);
	assert_true(empty.added);
	assert_int_equal(submit(fixture->journal, RUN_NIGHTLY, "2026-11-24", NULL, 0).run, empty.run);
}

static void
a_manual_job_joins_an_unfinished_one(void **state)
{
	struct fixture *fixture = *state;
	struct answer night = submit(fixture_open(fixture), RUN_NIGHTLY, "2026-11-22", two_names, 1);
	struct answer manual = submit(fixture->journal, RUN_MANUAL, NULL, two_names, 2);
	assert_true(manual.added);
	assert_int_equal(manual.ids[0], night.ids[0]);
	assert_int_not_equal(manual.run, night.run);

	/* Nothing new at all: the answer is the run of what there is. */
	struct answer again = submit(fixture->journal, RUN_MANUAL, NULL, two_names, 1);
	assert_false(again.added);
	assert_int_equal(again.run, night.run);
	assert_peek(fixture, "SELECT count(*) FROM run", "2");

	/* The same service twice in one request is one job. */
	end_job(fixture->journal, night.ids[0], JOB_FAILED, OUTCOME_FAILED);
	static const char *const twice[] = {"mail", "mail"};
	struct answer pair = submit(fixture->journal, RUN_MANUAL, NULL, twice, 2);
	assert_int_not_equal(pair.ids[0], night.ids[0]);
	assert_int_equal(pair.ids[0], pair.ids[1]);
}

/* Opens the journal, which may not exist yet, at the same moment as the other one, and submits the same
 * nights. */
static void
submit_many(struct fixture *fixture, int start)
{
	char byte;
	child_requires(read(start, &byte, 1) == 0);
	struct journal *journal;
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (journal_open(fixture->state, &fixture->clock, &journal, &error) < 0) {
		fprintf(stderr, "child: %s\n", error.message);
		_exit(98);
	}
	for (int i = 0; i < 60; i++) {
		cleanup_free char *night = xasprintf("night %d", i);
		child_requires(submit_one(journal, RUN_NIGHTLY, night, "web") > 0);
		child_requires(submit_one(journal, RUN_MANUAL, NULL, "mail") > 0);
	}
	journal_close(journal);
}

static void
two_submitters_at_once_make_one_job_each_night(void **state)
{
	struct fixture *fixture = *state;
	for (int round = 0; round < 5; round++) {
		remove_tree(fixture->state);
		int start[2];
		assert_int_equal(pipe(start), 0);
		pid_t children[2];
		for (size_t i = 0; i < 2; i++) {
			children[i] = fork();
			assert_true(children[i] >= 0);
			if (children[i] == 0) {
				close(start[1]);
				submit_many(fixture, start[0]);
				_exit(0);
			}
		}
		close(start[0]);
		close(start[1]);
		assert_int_equal(wait_child(children[0]), 0);
		assert_int_equal(wait_child(children[1]), 0);
		assert_peek(fixture, "SELECT count(*) FROM run WHERE night IS NOT NULL", "60");
		assert_peek(fixture, "SELECT count(*) FROM job WHERE service = 'web'", "60");
		assert_peek(fixture, "SELECT count(*) FROM job WHERE service = 'mail'", "1");
	}
}

static void
hastening_moves_only_what_waits(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	int64_t waiting = submit_one(journal, RUN_MANUAL, NULL, "web");
	int64_t working = submit_one(journal, RUN_MANUAL, NULL, "mail");
	cleanup_job struct job_record job = load_job(journal, working);
	move_job(journal, &job, JOB_SNAPSHOT);
	fixture->now = NOW + 5;
	assert_success(journal_hasten(journal, waiting, &error), &error);
	assert_success(journal_hasten(journal, working, &error), &error);
	assert_success(journal_hasten(journal, 4711, &error), &error);
	assert_peek(fixture, "SELECT group_concat(due_at - 1795000000000000) FROM job", "5,60000000");
	/* What is due already keeps its time. */
	fixture->now = NOW + 9;
	assert_success(journal_hasten(journal, waiting, &error), &error);
	assert_peek(fixture, "SELECT due_at - 1795000000000000 FROM job", "5");
}

static void
a_run_counts_its_jobs(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct answer first = submit(journal, RUN_NIGHTLY, "2026-11-22", (const char *const[]){"a", "b", "c"}, 3);
	struct run_record run;
	assert_success(journal_run(journal, first.run, &run, &error), &error);
	assert_int_equal(run.kind, RUN_NIGHTLY);
	assert_string_equal(run.night, "2026-11-22");
	assert_int_equal(run.created_at, NOW);
	assert_int_equal(run.jobs, 3);
	assert_int_equal(run.unfinished, 3);
	run_record_clear(&run);

	end_job(journal, first.ids[0], JOB_PRUNED, OUTCOME_COMPLETE);
	end_job(journal, first.ids[1], JOB_PRUNED, OUTCOME_PARTIAL);
	cleanup_job struct job_record job = load_job(journal, first.ids[2]);
	/* An outcome counts when the job has ended. */
	job.outcome = OUTCOME_CANCELLED;
	move_job(journal, &job, JOB_STARTING);
	assert_success(journal_run(journal, first.run, &run, &error), &error);
	assert_int_equal(run.unfinished, 1);
	assert_int_equal(run.cancelled, 0);
	run_record_clear(&run);
	move_job(journal, &job, JOB_FAILED);
	assert_success(journal_run(journal, first.run, &run, &error), &error);
	assert_int_equal(run.unfinished, 0);
	assert_int_equal(run.complete, 1);
	assert_int_equal(run.partial, 1);
	assert_int_equal(run.cancelled, 1);
	assert_int_equal(run.failed, 0);
	run_record_clear(&run);

	struct answer second = submit(journal, RUN_MANUAL, NULL, (const char *const[]){"a"}, 1);
	end_job(journal, second.ids[0], JOB_FAILED, OUTCOME_FAILED);
	assert_success(journal_run(journal, second.run, &run, &error), &error);
	assert_null(run.night);
	assert_int_equal(run.failed, 1);
	run_record_clear(&run);
	assert_int_equal(journal_run(journal, 4711, &run, &error), -1);
	assert_int_equal(error.code, ERROR_JOURNAL);
}

/* ---- jobs ---- */

static void
add_id(void *context, const struct job_record *job)
{
	text_printf(context, "%lld ", (long long)job->id);
}

static void
assert_lists(struct journal *journal, struct job_filter filter, const char *expected)
{
	struct error error = {.code = ERROR_NONE};
	cleanup_text struct text ids = {.string = NULL};
	text_add(&ids, "");
	assert_success(journal_jobs(journal, &filter, add_id, &ids, &error), &error);
	assert_string_equal(ids.string, expected);
}

static void
jobs_are_listed_by_what_is_asked(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	submit(journal, RUN_NIGHTLY, "1", (const char *const[]){"a", "b"}, 2);
	submit(journal, RUN_NIGHTLY, "2", (const char *const[]){"a", "b"}, 2);
	submit(journal, RUN_NIGHTLY, "3", (const char *const[]){"a", "b"}, 2);
	end_job(journal, 1, JOB_PRUNED, OUTCOME_COMPLETE);
	end_job(journal, 4, JOB_FAILED, OUTCOME_FAILED);

	assert_lists(journal, (struct job_filter){.limit = 0}, "1 2 3 4 5 6 ");
	assert_lists(journal, (struct job_filter){.limit = 2}, "6 5 ");
	assert_lists(journal, (struct job_filter){.limit = 100}, "6 5 4 3 2 1 ");
	assert_lists(journal, (struct job_filter){.service = "a"}, "1 3 5 ");
	assert_lists(journal, (struct job_filter){.service = "a", .limit = 1}, "5 ");
	assert_lists(journal, (struct job_filter){.service = "c"}, "");
	assert_lists(journal, (struct job_filter){.run_id = 2}, "3 4 ");
	assert_lists(journal, (struct job_filter){.after_id = 4}, "5 6 ");
	assert_lists(journal, (struct job_filter){.unfinished = true}, "2 3 5 6 ");
	assert_lists(journal, (struct job_filter){.unfinished = true, .service = "b", .limit = 1}, "6 ");
	assert_lists(journal, (struct job_filter){.unfinished = true, .run_id = 2, .after_id = 2}, "3 ");
}

/* Every terminal state and no other is left out of the unfinished, whatever words the schema was written
 * with. */
static void
unfinished_is_what_is_not_terminal(void **state)
{
	struct fixture *fixture = *state;
	int64_t id = submit_one(fixture_open(fixture), RUN_MANUAL, NULL, "web");
	for (int i = 0; i < JOB_STATE_COUNT; i++) {
		cleanup_job struct job_record job = load_job(fixture->journal, id);
		move_job(fixture->journal, &job, (enum job_state)i);
		assert_lists(fixture->journal, (struct job_filter){.unfinished = true},
		    job_state_is_terminal((enum job_state)i) ? "" : "1 ");
	}
}

struct nested {
	struct journal *journal;
	int64_t last;
	int count;
};

static void
use_the_journal_again(void *context, const struct job_record *job)
{
	struct nested *nested = context;
	cleanup_text struct text ids = {.string = NULL};
	struct job_filter all = {.limit = 0};
	struct error error = {.code = ERROR_NONE};
	assert_success(journal_jobs(nested->journal, &all, add_id, &ids, &error), &error);
	assert_success(journal_add_note(nested->journal, job->id, "test", "seen", &error), &error);
	assert_true(job->id > nested->last);
	nested->last = job->id;
	nested->count++;
}

static void
a_listing_function_may_use_the_journal(void **state)
{
	struct fixture *fixture = *state;
	struct nested nested = {.journal = fixture_open(fixture)};
	submit(nested.journal, RUN_NIGHTLY, "1", (const char *const[]){"a", "b", "c"}, 3);
	struct job_filter all = {.limit = 0};
	struct error error = {.code = ERROR_NONE};
	assert_success(journal_jobs(nested.journal, &all, use_the_journal_again, &nested, &error), &error);
	assert_int_equal(nested.count, 3);
	assert_peek(fixture, "SELECT count(*) FROM note", "3");
}

#define shop_of(size)                                                                                                \
	(struct datum){.kind = DATUM_POSTGRES, .name = (char *)"shop", .bytes = (size), .used = (size), .tables = 2}

static void
an_update_keeps_every_field(void **state)
{
	struct fixture *fixture = *state;
	int64_t id = submit_one(fixture_open(fixture), RUN_MANUAL, NULL, "web");
	cleanup_job struct job_record job = load_job(fixture->journal, id);
	job.state = JOB_SNAPSHOT;
	job.outcome = OUTCOME_PARTIAL;
	job.attempt = 2;
	job.due_at = NOW + 1;
	job.started_at = NOW + 2;
	job.ended_at = NOW + 3;
	job.state_since = NOW + 4;
	job.snapshot_begun = true;
	job.snapshot_id = xstrdup("0123456789abcdef");
	job.files = 5;
	job.bytes = UINT64_C(6) << 40;
	job.bytes_added = 7;
	job.missing_count = 8;
	strings_add(&job.sources_filled, "/srv/web");
	strings_add(&job.sources_filled, "/srv/\"o'hara\"");
	datum_list_add(&job.data, &shop_of(4096));
	job.away_since = NOW + 9;
	job.away = 10;
	error_set(&job.error, ERROR_SOURCE_PARTLY_UNREADABLE, "eight files are missing");
	error_hint(&job.error, "look at them");
	struct error error = {.code = ERROR_NONE};
	assert_success(
	    journal_update_job(fixture->journal, &job, JOB_CHECKPOINT, false, "done", "words", &error), &error);

	cleanup_job struct job_record found = load_job(fixture_reopen(fixture), id);
	assert_int_equal(found.state, JOB_SNAPSHOT);
	assert_int_equal(found.outcome, OUTCOME_PARTIAL);
	assert_int_equal(found.attempt, 2);
	assert_int_equal(found.due_at, NOW + 1);
	assert_int_equal(found.started_at, NOW + 2);
	assert_int_equal(found.ended_at, NOW + 3);
	assert_int_equal(found.state_since, NOW + 4);
	assert_true(found.snapshot_begun);
	assert_string_equal(found.snapshot_id, "0123456789abcdef");
	assert_int_equal(found.files, 5);
	assert_true(found.bytes == UINT64_C(6) << 40);
	assert_int_equal(found.bytes_added, 7);
	assert_int_equal(found.missing_count, 8);
	assert_int_equal(strings_count(found.sources_filled), 2);
	assert_string_equal(found.sources_filled[0], "/srv/web");
	assert_string_equal(found.sources_filled[1], "/srv/\"o'hara\"");
	assert_int_equal(found.data.count, 1);
	assert_string_equal(found.data.items[0].name, "shop");
	assert_int_equal(found.data.items[0].used, 4096);
	assert_int_equal(found.away_since, NOW + 9);
	assert_int_equal(found.away, 10);
	assert_int_equal(found.error.code, ERROR_SOURCE_PARTLY_UNREADABLE);
	assert_string_equal(found.error.message, "eight files are missing");
	assert_string_equal(found.error.hint, "look at them");

	job.id = 4711;
	assert_int_equal(journal_update_job(fixture->journal, &job, JOB_STARTING, false, "done", NULL, &error), -1);
	assert_int_equal(error.code, ERROR_JOURNAL);
	error_clear(&error);
	assert_peek(fixture, "SELECT count(*) FROM transition", "1");
}

static void
describe_transition(void *context, const struct transition *transition)
{
	text_printf(context, "%lld/%lld %lld %s>%s %s %s;", (long long)transition->job_id,
	    (long long)transition->attempt, (long long)(transition->at - NOW), job_state_word(transition->from),
	    job_state_word(transition->to), transition->event,
	    transition->message == NULL ? "-" : transition->message);
}

static void
assert_transitions(struct journal *journal, int64_t job_id, int64_t after, const char *expected)
{
	struct error error = {.code = ERROR_NONE};
	cleanup_text struct text words = {.string = NULL};
	text_add(&words, "");
	assert_success(journal_transitions(journal, job_id, after, describe_transition, &words, &error), &error);
	assert_string_equal(words.string, expected);
}

static void
a_transition_is_a_row(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	submit(journal, RUN_NIGHTLY, "1", two_names, 2);
	int64_t none = -1;
	assert_success(journal_last_transition(journal, &none, &error), &error);
	assert_int_equal(none, 0);
	cleanup_job struct job_record mail = load_job(journal, 1);
	cleanup_job struct job_record web = load_job(journal, 2);
	mail.state = JOB_DELAYING;
	assert_success(journal_update_job(journal, &mail, JOB_PENDING, false, "taken", NULL, &error), &error);
	fixture->now = NOW + 3;
	web.state = JOB_DELAYING;
	web.attempt = 2;
	assert_success(journal_update_job(journal, &web, JOB_PENDING, false, "taken", "so it is", &error), &error);
	/* No change of state, no row, unless it is asked for. */
	assert_success(journal_update_job(journal, &mail, JOB_DELAYING, false, "saved", NULL, &error), &error);
	assert_success(journal_update_job(journal, &mail, JOB_DELAYING, true, "recovered", NULL, &error), &error);

	assert_transitions(journal, 1, 0, "1/1 0 pending>delaying taken -;1/1 3 delaying>delaying recovered -;");
	assert_transitions(journal, 2, 0, "2/2 3 pending>delaying taken so it is;");
	assert_transitions(
	    journal, 0, 1, "2/2 3 pending>delaying taken so it is;1/1 3 delaying>delaying recovered -;");
	assert_transitions(journal, 1, 3, "");
	int64_t last = -1;
	assert_success(journal_last_transition(journal, &last, &error), &error);
	assert_int_equal(last, 3);
}

static void
only_a_complete_job_is_the_last_good_one(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	struct last_good good = {.job_id = -1};
	assert_int_equal(journal_last_good(journal, "web", &good, &error), 0);
	assert_int_equal(good.job_id, -1);

	static const struct {
		enum job_state state;
		enum job_outcome outcome;
		bool counts;
	} ends[] = {
	    {JOB_PRUNED, OUTCOME_PARTIAL, false},
	    {JOB_FAILED, OUTCOME_FAILED, false},
	    {JOB_FAILED, OUTCOME_CANCELLED, false},
	    {JOB_PRUNED, OUTCOME_RUNNING, false},
	    {JOB_STARTING, OUTCOME_COMPLETE, false},
	    {JOB_PRUNED, OUTCOME_COMPLETE, true},
	    {JOB_PRUNED, OUTCOME_PARTIAL, false},
	    {JOB_PRUNED, OUTCOME_COMPLETE, true},
	};
	int64_t expected = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(ends); i++) {
		cleanup_free char *night = xasprintf("%zu", i);
		int64_t id = submit_one(journal, RUN_NIGHTLY, night, "web");
		cleanup_job struct job_record job = load_job(journal, id);
		job.outcome = ends[i].outcome;
		job.ended_at = NOW + id;
		job.files = (uint64_t)id;
		job.bytes = (uint64_t)id * 10;
		job.bytes_added = (uint64_t)id * 2;
		job.snapshot_id = xasprintf("snapshot %lld", (long long)id);
		move_job(journal, &job, ends[i].state);
		if (ends[i].counts)
			expected = id;
		assert_int_equal(journal_last_good(journal, "web", &good, &error), expected != 0);
		if (expected == 0)
			continue;
		cleanup_free char *snapshot = xasprintf("snapshot %lld", (long long)expected);
		assert_int_equal(good.job_id, expected);
		assert_int_equal(good.at, NOW + expected);
		assert_string_equal(good.snapshot_id, snapshot);
		assert_int_equal(good.files, expected);
		assert_int_equal(good.bytes, expected * 10);
		assert_int_equal(good.bytes_added, expected * 2);
		last_good_clear(&good);
	}
	assert_int_equal(journal_last_good(journal, "mail", &good, &error), 0);
}

/* ---- which sources held something ---- */

/* Ends a job of the service `web`; `sources` is what its column says at the end. */
static void
end_with_sources(struct fixture *fixture, const char *const *sources, enum job_outcome outcome)
{
	int64_t id = submit_one(fixture->journal, RUN_MANUAL, NULL, "web");
	cleanup_job struct job_record job = load_job(fixture->journal, id);
	for (size_t i = 0; sources != NULL && sources[i] != NULL; i++)
		strings_add(&job.sources_filled, sources[i]);
	if (sources != NULL && sources[0] == NULL)
		job.sources_filled = xcalloc(1, sizeof(*job.sources_filled));
	move_job(fixture->journal, &job, JOB_SNAPSHOT);
	/* The runner dies, and another one ends the job. */
	fixture_reopen(fixture);
	end_job(fixture->journal, id, JOB_PRUNED, outcome);
}

/* What the last good backup of `web` says of its sources: their paths, or "not known". */
static void
assert_sources(struct fixture *fixture, const char *expected)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_text struct text words = {.string = NULL};
	struct last_good good;
	assert_int_equal(journal_last_good(fixture->journal, "web", &good, &error), 1);
	text_add(&words, good.sources == NULL ? "not known" : "");
	for (size_t i = 0; good.sources != NULL && good.sources[i] != NULL; i++)
		text_printf(&words, "%s;", good.sources[i]);
	last_good_clear(&good);
	assert_null(good.sources);
	assert_string_equal(words.string, expected);
}

static void
the_last_good_backup_knows_which_sources_held_something(void **state)
{
	struct fixture *fixture = *state;
	static const char *const two[] = {"/srv/web", "/var/lib/web", NULL}, *const one[] = {"/srv/web", NULL},
				 *const none[] = {NULL};
	fixture_open(fixture);
	end_with_sources(fixture, NULL, OUTCOME_COMPLETE);
	assert_sources(fixture, "not known");
	end_with_sources(fixture, two, OUTCOME_COMPLETE);
	assert_sources(fixture, "/srv/web;/var/lib/web;");
	end_with_sources(fixture, one, OUTCOME_PARTIAL);
	assert_sources(fixture, "/srv/web;/var/lib/web;");
	end_with_sources(fixture, none, OUTCOME_COMPLETE);
	assert_sources(fixture, "");
	end_with_sources(fixture, one, OUTCOME_COMPLETE);
	assert_sources(fixture, "/srv/web;");
	/* What an earlier program knew is no longer true. */
	end_with_sources(fixture, NULL, OUTCOME_COMPLETE);
	assert_sources(fixture, "not known");
}

static void
sources_that_are_nonsense_are_not_known(void **state)
{
	struct fixture *fixture = *state;
	static const char *const one[] = {"/srv/web", NULL};
	fixture_open(fixture);
	end_with_sources(fixture, one, OUTCOME_COMPLETE);
	meddle(fixture, "UPDATE last_good SET sources = '[\"srv/web\"]'; UPDATE job SET sources = '/srv/web'");
	assert_sources(fixture, "not known");
	/* The rest of the job is as good as before. */
	cleanup_job struct job_record job = load_job(fixture->journal, 1);
	assert_null(job.sources_filled);
	assert_int_equal(job.outcome, OUTCOME_COMPLETE);
	struct error error = {.code = ERROR_NONE};
	int64_t quarantined;
	assert_success(journal_quarantine_count(fixture->journal, &quarantined, &error), &error);
	assert_int_equal(quarantined, 0);
}

/* ---- how large it was ---- */

/* Ends a job of the service `web` whose snapshot has so many files and bytes, and a dump of the size (0: none). */
static void
end_with_size(struct fixture *fixture, uint64_t files, uint64_t bytes, uint64_t dump, enum job_outcome outcome)
{
	int64_t id = submit_one(fixture->journal, RUN_MANUAL, NULL, "web");
	cleanup_job struct job_record job = load_job(fixture->journal, id);
	job.files = files;
	job.bytes = bytes;
	if (dump > 0)
		datum_list_add(&job.data, &shop_of(dump));
	move_job(fixture->journal, &job, JOB_SNAPSHOT);
	fixture_reopen(fixture);
	end_job(fixture->journal, id, JOB_PRUNED, outcome);
}

/* What the last good backup of `web` says: "FILES BYTES DUMP", the last -1 where there is none. */
static void
assert_size(struct fixture *fixture, const char *expected)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	cleanup_last_good struct last_good good = {.job_id = 0};
	assert_int_equal(journal_last_good(fixture->journal, "web", &good, &error), 1);
	const struct datum *dump = datum_list_find(&good.data, &shop_of(0));
	cleanup_free char *words = xasprintf("%llu %llu %lld", (unsigned long long)good.files,
	    (unsigned long long)good.bytes, dump == NULL ? -1 : (long long)dump->used);
	assert_string_equal(words, expected);
}

static void
the_last_good_backup_knows_how_large_it_was(void **state)
{
	struct fixture *fixture = *state;
	fixture_open(fixture);
	end_with_size(fixture, 7, 1000, 600, OUTCOME_COMPLETE);
	assert_size(fixture, "7 1000 600");
	end_with_size(fixture, 3, 100, 60, OUTCOME_PARTIAL);
	assert_size(fixture, "7 1000 600");
	end_with_size(fixture, 8, 0, 0, OUTCOME_COMPLETE);
	assert_size(fixture, "8 0 -1");
}

/* restic before 0.17 does not tell the size of a snapshot that was found again. */
static void
a_backup_without_a_size_leaves_that_of_the_one_before(void **state)
{
	struct fixture *fixture = *state;
	fixture_open(fixture);
	end_with_size(fixture, 0, 0, 600, OUTCOME_COMPLETE);
	assert_size(fixture, "0 0 600");
	end_with_size(fixture, 7, 1000, 600, OUTCOME_COMPLETE);
	end_with_size(fixture, 0, 0, 700, OUTCOME_COMPLETE);
	assert_size(fixture, "7 1000 700");
}

static void
data_that_is_nonsense_is_not_known(void **state)
{
	struct fixture *fixture = *state;
	fixture_open(fixture);
	end_with_size(fixture, 7, 1000, 600, OUTCOME_COMPLETE);
	meddle(fixture, "UPDATE last_good SET data = '[{\"name\":\"shop\"}]'; UPDATE job SET data = 'shop'");
	assert_size(fixture, "7 1000 -1");
	cleanup_job struct job_record job = load_job(fixture->journal, 1);
	assert_int_equal(job.data.count, 0);
	assert_int_equal(job.outcome, OUTCOME_COMPLETE);
}

/* ---- notes, children, repositories ---- */

static void
describe_note(void *context, int64_t at, const char *source, const char *text)
{
	text_printf(context, "%lld %s: %s\n", (long long)(at - NOW), source, text);
}

static void
five_hundred_notes_are_kept(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	submit(journal, RUN_NIGHTLY, "1", two_names, 2);
	cleanup_text struct text expected = {.string = NULL};
	for (int i = 0; i < 517; i++) {
		cleanup_free char *line = xasprintf("line %d", i);
		assert_success(journal_add_note(journal, 1, "restic", line, &error), &error);
		if (i < 500)
			text_printf(&expected, "0 restic: %s\n", line);
	}
	text_add(&expected, "0 atelier-backup: 17 more lines were not kept\n");
	fixture->now = NOW + 4;
	assert_success(journal_add_note(journal, 2, "systemd", "another job", &error), &error);

	cleanup_text struct text words = {.string = NULL};
	assert_success(journal_notes(journal, 1, describe_note, &words, &error), &error);
	assert_string_equal(words.string, expected.string);
	text_clear(&words);
	assert_success(journal_notes(journal, 2, describe_note, &words, &error), &error);
	assert_string_equal(words.string, "4 systemd: another job\n");
	assert_int_equal(journal_add_note(journal, 4711, "restic", "whose?", &error), -1);
	assert_int_equal(error.code, ERROR_JOURNAL);
	error_clear(&error);
}

static void
describe_child(void *context, const struct child_record *child)
{
	text_printf(context, "%lld %lld %s %ld %llu %d %d;", (long long)child->id, (long long)child->job_id,
	    child->command, (long)child->identity.pid, (unsigned long long)child->identity.start_ticks,
	    child->this_boot, child->ended);
}

static void
children_are_known_until_they_are_crossed_off(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	int64_t job = submit_one(journal, RUN_MANUAL, NULL, "web"), first, second;
	assert_success(journal_child_begin(journal, job, "restic backup",
			   &(struct child_identity){.pid = 123, .start_ticks = 456}, &first, &error),
	    &error);
	assert_success(journal_child_begin(journal, job, "preBackup",
			   &(struct child_identity){.pid = 124, .start_ticks = 457}, &second, &error),
	    &error);
	assert_success(journal_child_end(journal, first, &error), &error);
	cleanup_text struct text words = {.string = NULL};
	assert_success(journal_children(journal, describe_child, &words, &error), &error);
	assert_string_equal(words.string, "2 1 preBackup 124 457 1 0;");

	text_clear(&words);
	meddle(fixture, "UPDATE child SET boot_id = 'another boot'");
	assert_success(journal_children(journal, describe_child, &words, &error), &error);
	assert_string_equal(words.string, "2 1 preBackup 124 457 0 0;");
}

static void
repositories_are_remembered(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	char *known = NULL;
	assert_int_equal(journal_repository_seen(journal, "place", &known, &error), 0);
	assert_null(known);
	assert_success(journal_repository_remember(journal, "place", "first", &error), &error);
	fixture->now++;
	assert_success(journal_repository_remember(journal, "place", "first", &error), &error);
	assert_peek(fixture, "SELECT first_seen_at - 1795000000000000 FROM repository", "0");
	assert_success(journal_repository_remember(journal, "place", "second", &error), &error);
	assert_peek(fixture, "SELECT first_seen_at - 1795000000000000 FROM repository", "1");
	assert_int_equal(journal_repository_seen(fixture_reopen(fixture), "place", &known, &error), 1);
	assert_string_equal(known, "second");
	free(known);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    fixture_test(a_submitted_job_is_found_as_it_was),
	    fixture_test(a_night_submitted_twice_is_one_run),
	    fixture_test(a_manual_job_joins_an_unfinished_one),
	    fixture_test(two_submitters_at_once_make_one_job_each_night),
	    fixture_test(hastening_moves_only_what_waits),
	    fixture_test(a_run_counts_its_jobs),
	    fixture_test(jobs_are_listed_by_what_is_asked),
	    fixture_test(unfinished_is_what_is_not_terminal),
	    fixture_test(a_listing_function_may_use_the_journal),
	    fixture_test(an_update_keeps_every_field),
	    fixture_test(a_transition_is_a_row),
	    fixture_test(only_a_complete_job_is_the_last_good_one),
	    fixture_test(the_last_good_backup_knows_which_sources_held_something),
	    fixture_test(sources_that_are_nonsense_are_not_known),
	    fixture_test(the_last_good_backup_knows_how_large_it_was),
	    fixture_test(a_backup_without_a_size_leaves_that_of_the_one_before),
	    fixture_test(data_that_is_nonsense_is_not_known),
	    fixture_test(five_hundred_notes_are_kept),
	    fixture_test(children_are_known_until_they_are_crossed_off),
	    fixture_test(repositories_are_remembered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
