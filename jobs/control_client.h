/* The client's side of the runner's socket. Blocking calls with deadlines, for the faces: they have nothing else to
 * do while they wait. All return 0, or -1 with an error; ERROR_RUNNER_GONE means that the connection ended (the
 * runner died or closed it), after which only control_client_close may be called. */
#ifndef ATELIER_JOBS_CONTROL_CLIENT_H
#define ATELIER_JOBS_CONTROL_CLIENT_H

#include "jobs/control.h"
#include "jobs/facts.h"

struct control_client;

/* Who answers. */
struct control_hello {
	int64_t version;
	char *program; /* its version in words */
	pid_t pid;
	char *journal; /* journal_identity: is this the runner of my journal? "" while it is still opening it */
};

/* Connects and waits at most `patience` microseconds for the hello. 1: connected; 0: nobody listens there (no such
 * socket, connection refused); -1: an error, for example ERROR_PERMISSION, or a version that is not ours. */
int control_client_connect(
    const char *socket_path, int64_t patience, struct control_client **ret_client, struct error *error);
void control_client_close(struct control_client *client); /* accepts NULL */
const struct control_hello *control_client_hello(const struct control_client *client);

/* To wait on together with other things; readable: call control_client_next. */
int control_client_descriptor(const struct control_client *client);

int control_client_submit(struct control_client *client, const struct control_submission *submission,
    struct control_submitted *ret_submitted, struct error *error);

/* From now on control_client_next tells of these jobs, or of all (count 0), after the END of which nothing more
 * comes. `ret_jobs` gets how they stand now; jobs that have ended already are not in it. */
int control_client_follow(struct control_client *client, const int64_t *job_ids, size_t count,
    struct live_job_list *ret_jobs, struct error *error);

/* The next event: 1; none within `patience` microseconds (0: only what is there already), or a signal was handled
 * while it waited: 0. */
int control_client_next(
    struct control_client *client, int64_t patience, struct control_event *ret_event, struct error *error);

/* The job goes to its end: through `starting` if anything is owed. ERROR_USAGE if there is no such unfinished job. */
int control_client_cancel(struct control_client *client, int64_t job_id, const char *why, struct error *error);

/* `spec` NULL: the job's own. A job that waits is due now; one that has ended is submitted again as a manual run and
 * *ret_job is the new one; one that is at work: ERROR_USAGE. */
int control_client_retry(
    struct control_client *client, int64_t job_id, const struct service *spec, int64_t *ret_job, struct error *error);

/* The jobs that have not ended. With `names` (NULL-terminated, may be NULL) also what the journal knows of these
 * services, for those who may not read it. */
int control_client_status(struct control_client *client, char *const *names, struct live_job_list *ret_jobs,
    struct journal_facts *ret_facts, struct error *error);

/* Tries again what was given up; ERROR_SYSTEM_BUSY while jobs are at work. Waits as long as that takes. */
struct control_recovered {
	int64_t tried, paid;
	struct error failure; /* the first that could not be paid */
};
int
control_client_recover(struct control_client *client, struct control_recovered *ret_recovered, struct error *error);

#endif
