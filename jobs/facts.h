/* What the journal knows of services, as `status` needs it: read by whoever may open the journal, and told by the
 * runner to those who may not. No verdict is in here; that is cli/status_report.h. */
#ifndef ATELIER_JOBS_FACTS_H
#define ATELIER_JOBS_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/record.h"
#include "jobs/job.h"
#include "jobs/journal.h"

/* One service. The jobs come without their specs: the manifest's entry is what counts. */
struct service_facts {
	char *name;
	struct job_record *current; /* the newest job, or NULL */
	struct job_record *earlier; /* where that one gives no verdict: the newest that does, or NULL */
	bool has_good;
	struct last_good good;
};

/* Takes note of a job of the service; they come newest first. One that says something is taken, and *job is then
 * empty. Returns whether an older one could say more. */
bool service_facts_learn(struct service_facts *facts, struct job_record *job);
void service_facts_clear(struct service_facts *facts);

/* The newest job that ended and was not cancelled, or NULL: one that somebody cancelled says nothing about whether
 * the failure before it is gone. */
const struct job_record *service_facts_verdict(const struct service_facts *facts);

struct journal_facts {
	struct service_facts *services; /* in the order of the names asked for */
	size_t count;
	struct obligation_list owed;
	struct obligation_list given_up;
	int64_t quarantined;
};

/* `names` is NULL-terminated, or NULL for none. With `journal` NULL (there is none yet) nothing is known of each. */
int
journal_facts_read(struct journal *journal, char *const *names, struct journal_facts *ret_facts, struct error *error);
void journal_facts_clear(struct journal_facts *facts);

/* How they are packed. */
extern const struct record_shape journal_facts_shape;

#define cleanup_journal_facts __attribute__((cleanup(journal_facts_clear)))

#endif
