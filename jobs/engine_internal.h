/* What the parts of the engine share. */
#ifndef ATELIER_JOBS_ENGINE_INTERNAL_H
#define ATELIER_JOBS_ENGINE_INTERNAL_H

#include "jobs/engine.h"

TAILQ_HEAD(job_queue, job);
TAILQ_HEAD(message_queue, message);

struct engine {
	struct engine_settings settings;
	struct engine_observer observer;
	struct job_queue jobs;
	struct message_queue messages;
	struct event *work; /* made active when there are messages */
	void (*idle)(void *context);
	void *idle_context;
	struct error journal_error;
	bool closed;
};

/* The one way an event moves a job: finds its row, sets the state, begins its work. The job may be gone afterwards.
 */
void engine_handle_event(struct job *job, enum job_event event, const struct error *error);

/* Posts the first event of a job that came from the journal; it is dropped if the job has moved before its turn. */
void engine_post_loaded(struct job *job, enum job_event event, const struct error *error);

/* The job is between checkpoint and starting. */
bool job_takes_a_place(const struct job *job);

/* The service is back (at job->back_at, or now): adds to how long it was away. */
void job_end_absence(struct job *job);

#endif
