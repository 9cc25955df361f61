/* What `status` thinks of the facts: no journal, no clock, no output in here. */
#ifndef ATELIER_CLI_STATUS_REPORT_H
#define ATELIER_CLI_STATUS_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/command.h"
#include "jobs/facts.h"

/* What concerns all of them. Times are wall-clock microseconds. */
struct status_house {
	int64_t now;
	int64_t kickoff; /* since local midnight */
	int64_t max_delay;
	bool runner_alive;
	const struct obligation_list *owed;
	const struct obligation_list *given_up;
	int64_t quarantined;
	const struct service_facts *maintenance; /* STATUS_MAINTENANCE_COUNT of them; NULL: not asked about */
};

/* What is told about the repository beside the services, in this order. */
static const enum job_kind status_maintenance_kinds[] = {JOB_KIND_RETENTION, JOB_KIND_PRUNE};
#define STATUS_MAINTENANCE_COUNT (sizeof(status_maintenance_kinds) / sizeof(status_maintenance_kinds[0]))

/* The worst that is to be said about a service; ordered. */
#define STATUS_CONDITION_LIST(X)                                                                                     \
	X(GOOD, "good", COMPLETE)                                                                                    \
	X(PARTIAL, "partial", PARTIAL)                                                                               \
	X(OVERDUE, "overdue", OVERDUE)                                                                               \
	X(FAILED, "failed", FAILED)

enum status_condition {
#define X(name, word, code) STATUS_##name,
	STATUS_CONDITION_LIST(X)
#undef X
};

const char *status_condition_word(enum status_condition condition);

struct status_line {
	const struct service *service;
	const struct service_facts *facts;
	enum status_condition condition;
	bool interrupted; /* the current job has not ended, and nobody works on it */
	bool overdue;
	int64_t good_age;  /* of the last good snapshot; negative: there is none */
	int64_t away;      /* in the job at hand, the window that is open now included */
	int64_t next_from; /* when the next backup may begin at the earliest, and at the latest; 0: it is
			      running */
	int64_t next_until;
};

/* Something a person has to look at. */
struct status_attention {
	enum status_condition condition;
	char *subject;
	char *message;
	char *hint; /* or NULL */
};

struct status_report {
	enum status_condition condition; /* the worst of all */
	struct status_line *lines;
	size_t line_count;
	struct status_attention *attention; /* most urgent first */
	size_t attention_count;
};

/* `facts` are those of `services`, in the same order. The report points into both. */
void status_report_make(const struct status_house *house, const struct service *const *services,
    const struct service_facts *facts, size_t count, struct status_report *ret_report);
void status_report_clear(struct status_report *report);

/* What `status` exits with: 1 before 5 before 3 before 0. */
enum exit_code status_report_code(const struct status_report *report);

#define cleanup_status_report __attribute__((cleanup(status_report_clear)))

#endif
