/* Bad rows and bad files: a clear word, nothing lost, no crash. */
#include "journal_fixture.h"

#include "core/text.h"

/* ---- rows ---- */

static void
add_id(void *context, const struct job_record *job)
{
	text_printf(context, "%lld ", (long long)job->id);
}

static void
assert_jobs(struct journal *journal, struct job_filter filter, const char *expected)
{
	struct error error = {.code = ERROR_NONE};
	cleanup_text struct text ids = {.string = NULL};
	text_add(&ids, "");
	assert_success(journal_jobs(journal, &filter, add_id, &ids, &error), &error);
	assert_string_equal(ids.string, expected);
}

static void
assert_quarantined(struct journal *journal, int64_t expected)
{
	struct error error = {.code = ERROR_NONE};
	int64_t count = -1;
	assert_success(journal_quarantine_count(journal, &count, &error), &error);
	assert_int_equal(count, expected);
}

static int64_t
owe_unit(struct journal *journal, int64_t job_id, const char *name)
{
	struct error error = {.code = ERROR_NONE};
	cleanup_job struct job_record job = load_job(journal, job_id);
	cleanup_free char *subject = xstrdup(name);
	struct obligation owed = {.kind = OBLIGATION_START_UNIT, .subject = subject, .role = UNIT_ROLE_MAIN};
	assert_success(journal_owe(journal, &job, &owed, 1, &error), &error);
	return owed.id;
}

static const char *const bad_changes[] = {
    "state = 'dreaming'",
    "outcome = ''",
    "kind = 'restore-from-2031'",
    "attempt = 0",
    "bytes = -1",
    "away_since = -5",
    "spec = x''",
    "spec = x'c1'",
    "spec = substr(spec, 1, length(spec) - 1)",
    "spec = CAST(spec || x'00' AS BLOB)",
    "service = 'mail'",
    "state = CAST(x'80ff' AS TEXT)",
};

static void
a_bad_job_is_set_aside_and_the_others_go_on(void **state)
{
	struct fixture *fixture = *state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad_changes); i++) {
		remove_tree(fixture->state);
		struct journal *journal = fixture_open(fixture);
		for (int night = 0; night < 3; night++)
			submit_one(journal, RUN_NIGHTLY, (const char *const[]){"a", "b", "c"}[night], "web");
		cleanup_free char *change = xasprintf("UPDATE job SET %s WHERE id = 2", bad_changes[i]);
		meddle(fixture, change);

		assert_jobs(journal, (struct job_filter){.limit = 0}, "1 3 ");
		assert_quarantined(journal, 1);
		assert_peek(fixture, "SELECT source || ' ' || source_id FROM quarantine", "job 2");
		/* The row is still there, and a copy of it is readable as JSON. */
		assert_peek(fixture, "SELECT count(*) || ' ' || sum(quarantined) FROM job", "3 1");
		assert_peek(fixture, "SELECT json_extract(content, '$.id') FROM quarantine", "2");
		assert_jobs(journal, (struct job_filter){.limit = 0}, "1 3 ");
		assert_jobs(journal, (struct job_filter){.unfinished = true}, "1 3 ");
		assert_quarantined(journal, 1);

		struct run_record run;
		cleanup_error struct error error = {.code = ERROR_NONE};
		assert_success(journal_run(journal, 2, &run, &error), &error);
		assert_int_equal(run.unfinished, 0);
		assert_int_equal(run.failed, 1);
		run_record_clear(&run);
		fixture_close(fixture);
	}
}

static void
an_older_job_takes_the_place_of_a_bad_one(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	for (int night = 0; night < 4; night++)
		submit_one(journal, RUN_NIGHTLY, (const char *const[]){"a", "b", "c", "d"}[night], "web");
	meddle(fixture, "UPDATE job SET state = 'dreaming' WHERE id IN (2, 4)");
	fixture_close(fixture);
	struct error error = {.code = ERROR_NONE};
	struct journal *reader;
	assert_success(journal_open_readonly(fixture->state, &fixture->clock, &reader, &error), &error);
	assert_jobs(reader, (struct job_filter){.service = "web", .limit = 1}, "3 ");
	assert_jobs(reader, (struct job_filter){.service = "web", .limit = 2}, "3 1 ");
	assert_jobs(reader, (struct job_filter){.service = "web", .limit = 9}, "3 1 ");
	assert_quarantined(reader, 0);
	journal_close(reader);
}

static void
what_a_bad_job_owes_is_still_owed(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	int64_t id = submit_one(journal, RUN_MANUAL, NULL, "web");
	owe_unit(journal, id, "web.service");
	meddle(fixture, "UPDATE job SET spec = x'00'");
	assert_jobs(journal, (struct job_filter){.limit = 0}, "");
	struct error error = {.code = ERROR_NONE};
	cleanup_obligations struct obligation_list owed = {.count = 0};
	assert_success(journal_obligations(journal, 0, true, &owed, &error), &error);
	assert_int_equal(owed.count, 1);
	assert_string_equal(owed.items[0].subject, "web.service");
	/* A new job of the service is not kept out by it. */
	assert_int_not_equal(submit_one(journal, RUN_MANUAL, NULL, "web"), id);
	assert_success(journal_settle(journal, owed.items[0].id, RESULT_PAID, NULL, &error), &error);
	assert_false(state_has(fixture, "owed"));
}

static void
a_bad_obligation_stays_in_the_file(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	submit_one(journal, RUN_MANUAL, NULL, "web");
	owe_unit(journal, 1, "web.service");
	meddle(fixture, "UPDATE obligation SET kind = 'start-\x1b[31munit'");
	struct error error = {.code = ERROR_NONE};
	cleanup_obligations struct obligation_list owed = {.count = 0};
	assert_success(journal_obligations(journal, 0, true, &owed, &error), &error);
	assert_int_equal(owed.count, 0);
	assert_quarantined(journal, 1);
	owe_unit(journal, 1, "web.socket");
	cleanup_free char *content = read_state(fixture, "owed", NULL);
	assert_non_null(strstr(content, "start-?[31munit web.service  job 1\n"));
	assert_non_null(strstr(content, "start-unit web.socket  job 1\n"));

	/* A unit whose part is not known is still a unit to start. */
	meddle(fixture, "UPDATE obligation SET role = 'ornament'");
	assert_success(journal_obligations(journal, 0, true, &owed, &error), &error);
	assert_int_equal(owed.count, 1);
	assert_int_equal(owed.items[0].role, UNIT_ROLE_MAIN);
}

static void
count_call(void *context)
{
	(*(int *)context)++;
}

static void
count_transition(void *context, const struct transition *transition)
{
	(void)transition;
	count_call(context);
}

static void
count_child(void *context, const struct child_record *child)
{
	(void)child;
	count_call(context);
}

static void
other_bad_rows_are_set_aside_once(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	cleanup_error struct error error = {.code = ERROR_NONE};
	submit_one(journal, RUN_MANUAL, NULL, "web");
	meddle(fixture, "INSERT INTO transition (job_id, attempt, at, from_state, to_state, event) VALUES"
			" (1, 1, 1, 'pending', 'dreaming', 'x'), (1, 1, 1, 'pending', 'delaying', 'x');"
			"INSERT INTO child (job_id, command, pid, start_ticks, boot_id, begun_at) VALUES"
			" (1, 'restic', -1, 5, 'b', 1), (1, 'restic', 1, 5, 'b', 1), (1, 'restic', "
			"4294967298, 5, 'b', 1),"
			" (1, 'restic', 77, 5, 'b', 1)");
	for (int i = 0; i < 2; i++) {
		int transitions = 0, children = 0;
		assert_success(journal_transitions(journal, 1, 0, count_transition, &transitions, &error), &error);
		assert_success(journal_children(journal, count_child, &children, &error), &error);
		assert_int_equal(transitions, 1);
		assert_int_equal(children, 1);
		assert_quarantined(journal, 4);
	}
	meddle(fixture, "UPDATE run SET kind = 'yearly'");
	struct run_record run;
	assert_fails_with(journal_run(journal, 1, &run, &error), &error, ERROR_JOURNAL_DAMAGED);
	assert_quarantined(journal, 5);
	meddle(fixture, "INSERT INTO last_good VALUES ('web', 1, -1, 'x', 1, 1, 1, NULL, NULL)");
	struct last_good good;
	assert_int_equal(journal_last_good(journal, "web", &good, &error), 0);
}

/* ---- files ---- */

static void
make_a_used_journal(struct fixture *fixture, int argument)
{
	(void)argument;
	struct journal *journal;
	child_requires(journal_open(fixture->state, &fixture->clock, &journal, NULL) == 0);
	for (int i = 0; i < 12; i++) {
		cleanup_free char *night = xasprintf("night %d", i);
		int64_t id = submit_one(journal, RUN_NIGHTLY, night, "web");
		cleanup_job struct job_record job = load_job(journal, id);
		for (int to = JOB_DELAYING; to <= JOB_STARTING; to++)
			move_job(journal, &job, (enum job_state)to);
		child_requires(journal_add_note(journal, id, "restic", "some words of restic", NULL) == 0);
		job.outcome = OUTCOME_COMPLETE;
		if (i < 10)
			move_job(journal, &job, JOB_PRUNED);
		else
			owe_unit(journal, id, "web.service");
		int64_t child;
		child_requires(
		    journal_child_begin(journal, id, "restic", &(struct child_identity){77, 88}, &child, NULL) == 0);
	}
	/* The caller looks at a killed writer's files, or at those of one that ended well. */
	if (argument == 0)
		journal_close(journal);
}

static void
ignore_job(void *context, const struct job_record *job)
{
	(void)job;
	count_call(context);
}

static void
count_note(void *context, int64_t at, const char *source, const char *text)
{
	(void)at;
	(void)source;
	(void)text;
	count_call(context);
}

/* Whatever is wrong, the answer is one of the contract. */
static void
judge(int result, struct error *error)
{
	if (result >= 0) {
		assert_false(error_is_set(error));
		return;
	}
	assert_non_null(error->message);
	switch (error_class_of(error->code)) {
	case ERROR_CLASS_PERMANENT:
		break;
	case ERROR_CLASS_NONE:
	case ERROR_CLASS_TRANSIENT:
	case ERROR_CLASS_BUSY:
	case ERROR_CLASS_PARTIAL:
	case ERROR_CLASS_CANCELLED:
	case ERROR_CLASS_BUG:
		fail_msg("%s: %s", error_code_word(error->code), error->message);
	}
	if (error->code == ERROR_JOURNAL_DAMAGED)
		assert_non_null(strstr(error->hint, "owed"));
	error_clear(error);
}

static void
read_everything(struct journal *journal)
{
	struct error error = {.code = ERROR_NONE};
	int calls = 0;
	struct job_filter all = {.limit = 0}, last = {.service = "web", .limit = 1},
			  unfinished = {.unfinished = true};
	judge(journal_jobs(journal, &all, ignore_job, &calls, &error), &error);
	judge(journal_jobs(journal, &last, ignore_job, &calls, &error), &error);
	judge(journal_jobs(journal, &unfinished, ignore_job, &calls, &error), &error);
	judge(journal_transitions(journal, 0, 0, count_transition, &calls, &error), &error);
	judge(journal_notes(journal, 3, count_note, &calls, &error), &error);
	judge(journal_children(journal, count_child, &calls, &error), &error);
	cleanup_obligations struct obligation_list owed = {.count = 0}, given_up = {.count = 0};
	judge(journal_obligations(journal, 0, false, &owed, &error), &error);
	judge(journal_given_up(journal, &given_up, &error), &error);
	struct last_good good = {.job_id = 0};
	judge(journal_last_good(journal, "web", &good, &error), &error);
	last_good_clear(&good);
	struct run_record run = {.id = 0};
	judge(journal_run(journal, 3, &run, &error), &error);
	run_record_clear(&run);
	int64_t count;
	judge(journal_quarantine_count(journal, &count, &error), &error);
}

static void
write_everything(struct journal *journal)
{
	struct error error = {.code = ERROR_NONE};
	judge(journal_check_writable(journal, &error), &error);
	cleanup_job struct job_record job = {.id = 0};
	int found = journal_job(journal, 11, &job, &error);
	judge(found, &error);
	if (found > 0) {
		struct obligation owed = {.kind = OBLIGATION_START_UNIT, .subject = job.service};
		int result = journal_owe(journal, &job, &owed, 1, &error);
		judge(result, &error);
		if (result == 0)
			judge(journal_settle(journal, owed.id, RESULT_PAID, NULL, &error), &error);
		job.state = JOB_PRUNED;
		judge(journal_update_job(journal, &job, JOB_STARTING, false, "x", "y", &error), &error);
	}
	struct service service = make_service("web");
	struct submission submission = {.service = &service};
	int64_t run;
	bool added;
	judge(journal_submit(journal, RUN_MANUAL, NULL, &submission, 1, &run, &added, NULL, &error), &error);
	service_clear(&service);
	judge(journal_add_note(journal, 1, "a", "b", &error), &error);
	judge(journal_repository_remember(journal, "place", "id", &error), &error);
}

struct files {
	char *main;
	size_t main_length;
	char *wal;
	size_t wal_length;
};

static void
put_files(struct fixture *fixture, const struct files *files)
{
	remove_tree(fixture->state);
	assert_int_equal(mkdir(fixture->state, 0700), 0);
	write_state(fixture, "journal.sqlite", files->main, files->main_length);
	if (files->wal_length > 0)
		write_state(fixture, "journal.sqlite-wal", files->wal, files->wal_length);
}

static void
use_damaged_files(struct fixture *fixture, const struct files *files)
{
	struct error error = {.code = ERROR_NONE};
	struct journal *journal = NULL;
	put_files(fixture, files);
	int result = journal_open_readonly(fixture->state, &fixture->clock, &journal, &error);
	judge(result, &error);
	if (journal != NULL)
		read_everything(journal);
	journal_close(journal);

	put_files(fixture, files);
	journal = NULL;
	result = journal_open(fixture->state, &fixture->clock, &journal, &error);
	judge(result, &error);
	if (journal != NULL) {
		read_everything(journal);
		write_everything(journal);
		read_everything(journal);
	}
	journal_close(journal);
}

/* A small generator of our own: the same damage on every machine. */
static uint32_t
next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void
damage(char *bytes, size_t *length, uint32_t *seed)
{
	uint32_t kind = next_random(seed) % 8;
	size_t at = next_random(seed) % *length;
	if (kind == 0) {
		*length = at;
	} else if (kind == 1) {
		size_t end = at + 512 < *length ? at + 512 : *length;
		memset(bytes + at, (int)(next_random(seed) & 0xff), end - at);
	} else if (kind == 2) {
		bytes[at % 100] = (char)next_random(seed); /* the header */
	} else {
		for (uint32_t i = 0; i < 1U << (kind - 3); i++)
			bytes[next_random(seed) % *length] ^= (char)(1U << next_random(seed) % 8);
	}
}

static struct files
take_files(struct fixture *fixture, bool killed)
{
	struct files files = {.wal_length = 0};
	run_child(fixture, make_a_used_journal, killed);
	files.main = read_state(fixture, "journal.sqlite", &files.main_length);
	if (killed)
		files.wal = read_state(fixture, "journal.sqlite-wal", &files.wal_length);
	return files;
}

static void
random_damage_never_crashes(void **state)
{
	struct fixture *fixture = *state;
	struct files whole = take_files(fixture, false);
	assert_true(whole.main_length > 40000);
	uint32_t seed = 20261123;
	for (int i = 0; i < 200; i++) {
		struct files damaged = {
		    .main = xmemdup(whole.main, whole.main_length), .main_length = whole.main_length};
		damage(damaged.main, &damaged.main_length, &seed);
		use_damaged_files(fixture, &damaged);
		free(damaged.main);
	}
	free(whole.main);
}

static void
random_damage_of_the_wal_never_crashes(void **state)
{
	struct fixture *fixture = *state;
	struct files whole = take_files(fixture, true);
	assert_true(whole.wal_length > 40000);
	uint32_t seed = 4711;
	for (int i = 0; i < 60; i++) {
		struct files damaged = {
		    .main = whole.main,
		    .main_length = whole.main_length,
		    .wal = xmemdup(whole.wal, whole.wal_length),
		    .wal_length = whole.wal_length,
		};
		damage(damaged.wal, &damaged.wal_length, &seed);
		use_damaged_files(fixture, &damaged);
		free(damaged.wal);
	}
	free(whole.main);
	free(whole.wal);
}

static void
a_file_that_is_no_database_is_called_so(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(mkdir(fixture->state, 0700), 0);
	char noise[8192];
	memset(noise, 'x', sizeof(noise));
	write_state(fixture, "journal.sqlite", noise, sizeof(noise));
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct journal *journal = NULL;
	assert_fails_with(
	    journal_open(fixture->state, &fixture->clock, &journal, &error), &error, ERROR_JOURNAL_DAMAGED);
	assert_non_null(strstr(error.hint, "owed"));
	assert_fails_with(
	    journal_open_readonly(fixture->state, &fixture->clock, &journal, &error), &error, ERROR_JOURNAL_DAMAGED);
	cleanup_free char *after = read_state(fixture, "journal.sqlite", NULL);
	assert_memory_equal(after, noise, sizeof(noise));
}

/* Damage that only a check of the whole file finds. */
static void
damage_far_inside_is_found_when_opening(void **state)
{
	struct fixture *fixture = *state;
	struct files files = take_files(fixture, false);
	memset(files.main + files.main_length - 4096, 0xa5, 4096);
	put_files(fixture, &files);
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct journal *journal = NULL;
	assert_fails_with(
	    journal_open(fixture->state, &fixture->clock, &journal, &error), &error, ERROR_JOURNAL_DAMAGED);
	free(files.main);
}

static void
a_lost_journal_that_owed_something_is_not_begun_anew(void **state)
{
	struct fixture *fixture = *state;
	submit_one(fixture_open(fixture), RUN_MANUAL, NULL, "web");
	owe_unit(fixture->journal, 1, "web.service");
	fixture_close(fixture);
	cleanup_free char *path = state_path(fixture, "journal.sqlite");
	cleanup_free char *owed = state_path(fixture, "owed");
	cleanup_error struct error error = {.code = ERROR_NONE};
	struct journal *journal = NULL;
	assert_int_equal(truncate(path, 0), 0);
	for (int round = 0; round < 2; round++) {
		assert_fails_with(
		    journal_open(fixture->state, &fixture->clock, &journal, &error), &error, ERROR_JOURNAL_DAMAGED);
		assert_non_null(strstr(error.hint, owed));
		assert_fails_with(journal_open_readonly(fixture->state, &fixture->clock, &journal, &error), &error,
		    ERROR_JOURNAL_DAMAGED);
		assert_int_equal(unlink(path), round == 0 ? 0 : -1);
	}
	/* Once a person has done what it says, all goes on. */
	assert_int_equal(unlink(owed), 0);
	fixture_open(fixture);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    fixture_test(a_bad_job_is_set_aside_and_the_others_go_on),
	    fixture_test(an_older_job_takes_the_place_of_a_bad_one),
	    fixture_test(what_a_bad_job_owes_is_still_owed),
	    fixture_test(a_bad_obligation_stays_in_the_file),
	    fixture_test(other_bad_rows_are_set_aside_once),
	    fixture_test(random_damage_never_crashes),
	    fixture_test(random_damage_of_the_wal_never_crashes),
	    fixture_test(a_file_that_is_no_database_is_called_so),
	    fixture_test(damage_far_inside_is_found_when_opening),
	    fixture_test(a_lost_journal_that_owed_something_is_not_begun_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
