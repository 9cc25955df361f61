/* Every request, reply and event there and back, cut at every byte, and by the words that docs/control.md has. */
#include "tests/unit/jobs/journal_fixture.h"

#include "core/file.h"
#include "jobs/control_frame.h"
#include "jobs/control_messages.h"

static const void *
body(const struct packer *packer)
{
	return packer->buffer.data + FRAME_HEAD;
}

static size_t
body_length(const struct packer *packer)
{
	return packer->buffer.size - FRAME_HEAD;
}

/* ---- requests ---- */

static void
call_there_and_back(const struct control_call *call, struct control_call *ret_call)
{
	struct packer packer;
	struct error error = {.code = ERROR_NONE};
	control_call_pack(call, &packer);
	int known = control_call_unpack(body(&packer), body_length(&packer), ret_call, &error);
	if (known != 1)
		fail_msg("%s: %s", control_request_word(call->request), error.message);
	assert_int_equal(ret_call->request, call->request);
	assert_int_equal(ret_call->number, call->number);
	for (size_t length = 0; length < body_length(&packer); length++) {
		struct control_call cut;
		assert_int_equal(control_call_unpack(body(&packer), length, &cut, &error), -1);
		assert_int_equal(error.code, ERROR_UNSUPPORTED);
	}
	error_clear(&error);
	packer_release(&packer);
}

static void
every_request_comes_back(void **state)
{
	(void)state;
	struct service web = make_service("web"), forum = make_service("forum");
	struct submission jobs[] = {
	    {.kind = JOB_KIND_BACKUP, .service = &web, .due_at = 5},
	    {.kind = JOB_KIND_PRUNE, .service = &forum},
	};
	struct control_call back;
	call_there_and_back(
	    &(struct control_call){.request = CONTROL_SUBMIT,
		.number = 3,
		.submission =
		    {.kind = RUN_NIGHTLY, .night = (char[]){"2026-11-22"}, .parallel = 4, .jobs = jobs, .count = 2}},
	    &back);
	assert_int_equal(back.submission.kind, RUN_NIGHTLY);
	assert_string_equal(back.submission.night, "2026-11-22");
	assert_int_equal(back.submission.parallel, 4);
	assert_int_equal(back.submission.count, 2);
	assert_int_equal(back.submission.jobs[0].due_at, 5);
	assert_string_equal(back.submission.jobs[0].service->restic.repository_file, "/run/secrets/repo");
	assert_int_equal(back.submission.jobs[1].kind, JOB_KIND_PRUNE);
	assert_string_equal(back.submission.jobs[1].service->name, "forum");
	control_call_clear(&back);

	int64_t ids[] = {7, 9};
	call_there_and_back(
	    &(struct control_call){.request = CONTROL_FOLLOW, .number = 1, .job_ids = ids, .job_count = 2}, &back);
	assert_int_equal(back.job_count, 2);
	assert_int_equal(back.job_ids[1], 9);
	control_call_clear(&back);
	call_there_and_back(&(struct control_call){.request = CONTROL_FOLLOW}, &back);
	assert_int_equal(back.job_count, 0);
	control_call_clear(&back);

	call_there_and_back(
	    &(struct control_call){.request = CONTROL_CANCEL, .job_id = 4, .why = (char[]){"because"}}, &back);
	assert_int_equal(back.job_id, 4);
	assert_string_equal(back.why, "because");
	control_call_clear(&back);

	call_there_and_back(&(struct control_call){.request = CONTROL_RETRY, .job_id = 4}, &back);
	assert_null(back.spec);
	control_call_clear(&back);
	call_there_and_back(&(struct control_call){.request = CONTROL_RETRY, .job_id = 4, .spec = &web}, &back);
	assert_string_equal(back.spec->name, "web");
	control_call_clear(&back);

	char *names[] = {(char[]){"web"}, NULL};
	call_there_and_back(
	    &(struct control_call){.request = CONTROL_STATUS, .names = names, .with_facts = true}, &back);
	assert_string_equal(back.names[0], "web");
	assert_true(back.with_facts);
	control_call_clear(&back);
	call_there_and_back(&(struct control_call){.request = CONTROL_RECOVER, .number = INT64_MAX}, &back);
	control_call_clear(&back);
	service_clear(&web);
	service_clear(&forum);
}

static void
a_request_that_is_not_known_has_its_number(void **state)
{
	(void)state;
	struct packer packer;
	packer_init(&packer);
	pack_map(&packer, 2);
	pack_key_text(&packer, "request", "dance");
	pack_key_int(&packer, "number", 12);
	struct control_call call;
	struct error error = {.code = ERROR_NONE};
	assert_int_equal(control_call_unpack(packer.buffer.data, packer.buffer.size, &call, &error), 0);
	assert_int_equal(call.number, 12);
	packer_release(&packer);
}

static void
a_spec_that_lies_is_refused(void **state)
{
	(void)state;
	struct service web = make_service("web");
	strings_free(web.files);
	web.files = NULL;
	strings_add(&web.files, "../etc/shadow");
	struct packer packer;
	control_call_pack(&(struct control_call){.request = CONTROL_RETRY, .spec = &web}, &packer);
	struct control_call call;
	struct error error = {.code = ERROR_NONE};
	assert_int_equal(control_call_unpack(body(&packer), body_length(&packer), &call, &error), -1);
	assert_non_null(strstr(error.message, "files"));
	error_clear(&error);
	packer_release(&packer);
	service_clear(&web);
}

/* ---- replies ---- */

static void
reply_there_and_back(enum control_request request, const struct control_reply *reply, struct control_reply *ret_reply)
{
	struct packer packer;
	struct error error = {.code = ERROR_NONE};
	struct control_event event;
	control_reply_pack(request, reply, &packer);
	int result = control_answer_unpack(body(&packer), body_length(&packer), request, &event, ret_reply, &error);
	if (result != 0)
		fail_msg("%s: %s", control_request_word(request), error.message);
	assert_int_equal(ret_reply->number, reply->number);
	for (size_t length = 0; length < body_length(&packer); length++) {
		struct control_reply cut;
		assert_int_equal(control_answer_unpack(body(&packer), length, request, &event, &cut, &error), -1);
	}
	error_clear(&error);
	packer_release(&packer);
}

static void
every_reply_comes_back(void **state)
{
	(void)state;
	struct control_reply back;
	int64_t ids[] = {7, 9};
	reply_there_and_back(CONTROL_SUBMIT,
	    &(struct control_reply){
		.number = 1, .submitted = {.run_id = 2, .added = true, .job_ids = ids, .count = 2}},
	    &back);
	assert_int_equal(back.submitted.run_id, 2);
	assert_true(back.submitted.added);
	assert_int_equal(back.submitted.job_ids[1], 9);
	control_reply_clear(&back);

	struct live_job live = {
	    .id = 3,
	    .run_id = 2,
	    .kind = JOB_KIND_RETENTION,
	    .service = (char[]){"web"},
	    .state = JOB_SNAPSHOT,
	    .attempt = 2,
	    .due_at = 4,
	    .state_since = 5,
	    .away_since = 6,
	    .step = (char[]){"reading"},
	    .has_progress = true,
	    .progress = {.fraction = 0.5, .bytes_done = 1, .seconds_left = -1},
	};
	reply_there_and_back(
	    CONTROL_FOLLOW, &(struct control_reply){.number = 2, .jobs = {.items = &live, .count = 1}}, &back);
	assert_int_equal(back.jobs.count, 1);
	assert_int_equal(back.jobs.items[0].kind, JOB_KIND_RETENTION);
	assert_int_equal(back.jobs.items[0].state, JOB_SNAPSHOT);
	assert_string_equal(back.jobs.items[0].step, "reading");
	assert_null(back.jobs.items[0].waiting);
	assert_true(back.jobs.items[0].progress.fraction == 0.5);
	assert_int_equal(back.jobs.items[0].progress.seconds_left, -1);
	live_job_list_clear(&back.jobs);

	reply_there_and_back(CONTROL_CANCEL, &(struct control_reply){.number = 3}, &back);
	reply_there_and_back(CONTROL_RETRY, &(struct control_reply){.number = 4, .job_id = 8}, &back);
	assert_int_equal(back.job_id, 8);

	struct control_reply recovered = {.number = 5, .recovered = {.tried = 2, .paid = 1}};
	error_set(&recovered.recovered.failure, ERROR_UNIT_START_FAILED, "it does not start");
	reply_there_and_back(CONTROL_RECOVER, &recovered, &back);
	assert_int_equal(back.recovered.tried, 2);
	assert_int_equal(back.recovered.failure.code, ERROR_UNIT_START_FAILED);
	control_reply_clear(&back);
	control_reply_clear(&recovered);

	struct control_reply refused = {.number = 6};
	error_set(&refused.error, ERROR_USAGE, "there is no such job");
	error_hint(&refused.error, "look again");
	for (int request = 0; request < CONTROL_REQUEST_COUNT; request++) {
		reply_there_and_back((enum control_request)request, &refused, &back);
		assert_int_equal(back.error.code, ERROR_USAGE);
		assert_string_equal(back.error.hint, "look again");
		control_reply_clear(&back);
	}
	control_reply_clear(&refused);
}

static void
the_facts_come_back(void **state)
{
	struct fixture *fixture = *state;
	struct journal *journal = fixture_open(fixture);
	struct error error = {.code = ERROR_NONE};
	int64_t good = submit_one(journal, RUN_MANUAL, NULL, "web");
	end_job(journal, good, JOB_PRUNED, OUTCOME_COMPLETE);
	int64_t bad = submit_one(journal, RUN_MANUAL, NULL, "web");
	struct job_record job = load_job(journal, bad);
	error_set(&job.error, ERROR_NO_SPACE, "the disk is full");
	job.outcome = OUTCOME_FAILED;
	job.away = 12;
	move_job(journal, &job, JOB_FAILED);
	int64_t now = submit_one(journal, RUN_MANUAL, NULL, "web");
	struct obligation owed[2] = {
	    {.kind = OBLIGATION_START_UNIT,
		.subject = (char[]){"web.socket"},
		.role = UNIT_ROLE_TRIGGER,
		.settles = true},
	    {.kind = OBLIGATION_POST_BACKUP, .subject = (char[]){"web"}, .role = UNIT_ROLE_MAIN},
	};
	assert_success(journal_owe(journal, &job, owed, 2, &error), &error);
	assert_success(journal_settle(journal, owed[1].id, RESULT_GIVEN_UP, "tried four times", &error), &error);
	job_record_clear(&job);

	char *names[] = {(char[]){"web"}, (char[]){"forum"}, NULL};
	struct control_reply reply = {.number = 1, .has_facts = true}, back;
	assert_success(journal_facts_read(journal, names, &reply.facts, &error), &error);
	reply_there_and_back(CONTROL_STATUS, &reply, &back);
	control_reply_clear(&reply);
	assert_true(back.has_facts);
	assert_int_equal(back.facts.count, 2);
	const struct service_facts *web = &back.facts.services[0];
	assert_string_equal(web->name, "web");
	assert_int_equal(web->current->id, now);
	assert_int_equal(web->current->state, JOB_PENDING);
	assert_int_equal(service_facts_verdict(web)->id, bad);
	assert_int_equal(service_facts_verdict(web)->error.code, ERROR_NO_SPACE);
	assert_int_equal(service_facts_verdict(web)->away, 12);
	assert_null(service_facts_verdict(web)->spec.name);
	assert_true(web->has_good);
	assert_int_equal(web->good.job_id, good);
	assert_false(back.facts.services[1].current != NULL || back.facts.services[1].has_good);
	assert_int_equal(back.facts.owed.count, 1);
	assert_int_equal(back.facts.owed.items[0].role, UNIT_ROLE_TRIGGER);
	assert_true(back.facts.owed.items[0].settles);
	assert_int_equal(back.facts.given_up.count, 1);
	assert_string_equal(back.facts.given_up.items[0].message, "tried four times");
	assert_int_equal(back.facts.given_up.items[0].kind, OBLIGATION_POST_BACKUP);
	control_reply_clear(&back);
}

static void
without_a_journal_nothing_is_known(void **state)
{
	(void)state;
	struct journal_facts facts;
	struct error error = {.code = ERROR_NONE};
	char *names[] = {(char[]){"web"}, NULL};
	assert_int_equal(journal_facts_read(NULL, names, &facts, &error), 0);
	assert_int_equal(facts.count, 1);
	assert_string_equal(facts.services[0].name, "web");
	assert_null(facts.services[0].current);
	journal_facts_clear(&facts);
	assert_int_equal(journal_facts_read(NULL, NULL, &facts, &error), 0);
	assert_int_equal(facts.count, 0);
	journal_facts_clear(&facts);
}

/* ---- events and greetings ---- */

static void
every_event_comes_back(void **state)
{
	(void)state;
	for (int kind = 0; kind <= CONTROL_EVENT_LOST; kind++) {
		struct control_event event = {
		    .kind = (enum control_event_kind)kind,
		    .job_id = 3,
		    .service = (char[]){"web"},
		    .from = JOB_STOPPING,
		    .to = JOB_SNAPSHOT,
		    .word = (char[]){"done"},
		    .message = (char[]){"said"},
		    .progress = {.fraction = -1, .files_total = 5},
		};
		struct packer packer;
		control_event_pack(&event, &packer);
		struct control_event back;
		struct control_reply reply;
		struct error error = {.code = ERROR_NONE};
		assert_int_equal(
		    control_answer_unpack(body(&packer), body_length(&packer), CONTROL_SUBMIT, &back, &reply, &error),
		    1);
		assert_int_equal(back.kind, kind);
		if (back.service != NULL)
			assert_int_equal(back.job_id, 3);
		if (kind == CONTROL_EVENT_TRANSITION) {
			assert_int_equal(back.from, JOB_STOPPING);
			assert_int_equal(back.to, JOB_SNAPSHOT);
		}
		if (kind == CONTROL_EVENT_PROGRESS)
			assert_int_equal(back.progress.files_total, 5);
		if (kind == CONTROL_EVENT_WORDS || kind == CONTROL_EVENT_NOTICE || kind == CONTROL_EVENT_LOST)
			assert_string_equal(back.message, "said");
		control_event_clear(&back);
		for (size_t length = 0; length < body_length(&packer); length++)
			assert_int_equal(
			    control_answer_unpack(body(&packer), length, CONTROL_SUBMIT, &back, &reply, &error), -1);
		error_clear(&error);
		packer_release(&packer);
	}
}

static void
a_greeting_tells_who_or_why_not(void **state)
{
	(void)state;
	struct control_hello hello = {.version = CONTROL_VERSION,
				 .program = (char[]){"1.2.3"},
				 .pid = 77,
				 .journal = (char[]){"0123456789abcdef"}},
			     back;
	struct packer packer;
	struct error error = {.code = ERROR_NONE};
	control_hello_pack(&hello, NULL, &packer);
	assert_int_equal(control_hello_unpack(body(&packer), body_length(&packer), &back, &error), 0);
	assert_int_equal(back.pid, 77);
	assert_string_equal(back.journal, "0123456789abcdef");
	control_hello_clear(&back);
	packer_release(&packer);

	struct error refusal = {.code = ERROR_PERMISSION, .message = (char[]){"not you"}};
	control_hello_pack(&hello, &refusal, &packer);
	assert_int_equal(control_hello_unpack(body(&packer), body_length(&packer), &back, &error), -1);
	assert_int_equal(error.code, ERROR_PERMISSION);
	packer_release(&packer);

	hello.version = CONTROL_VERSION + 1;
	control_hello_pack(&hello, NULL, &packer);
	assert_int_equal(control_hello_unpack(body(&packer), body_length(&packer), &back, &error), -1);
	assert_int_equal(error.code, ERROR_UNSUPPORTED);
	assert_non_null(strstr(error.message, "version 3"));
	packer_release(&packer);
	error_clear(&error);
}

/* ---- the documentation ---- */

static void
docs_know_every_word(void **state)
{
	(void)state;
	char *text;
	size_t length;
	struct error error = {.code = ERROR_NONE};
	assert_success(file_read(TEST_SOURCE_DIR "/docs/control.md", 1024 * 1024, &text, &length, &error), &error);
	for (int request = 0; request < CONTROL_REQUEST_COUNT; request++) {
		cleanup_free char *row =
		    xasprintf("| `%s` | %s |", control_request_word((enum control_request)request),
			control_needs_root((enum control_request)request) ? "root" : "members");
		if (strstr(text, row) == NULL)
			fail_msg("docs/control.md has no row %s", row);
	}
	for (int kind = 0; kind <= CONTROL_EVENT_LOST; kind++) {
		cleanup_free char *row = xasprintf("| `%s` |", control_event_word((enum control_event_kind)kind));
		if (strstr(text, row) == NULL)
			fail_msg("docs/control.md has no row %s", row);
	}
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_request_comes_back),
	    cmocka_unit_test(a_request_that_is_not_known_has_its_number),
	    cmocka_unit_test(a_spec_that_lies_is_refused),
	    cmocka_unit_test(every_reply_comes_back),
	    fixture_test(the_facts_come_back),
	    cmocka_unit_test(without_a_journal_nothing_is_known),
	    cmocka_unit_test(every_event_comes_back),
	    cmocka_unit_test(a_greeting_tells_who_or_why_not),
	    cmocka_unit_test(docs_know_every_word),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
