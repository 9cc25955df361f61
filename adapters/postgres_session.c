#include "adapters/postgres_internal.h"

#include "core/alloc.h"

#include <string.h>

struct postgres_session {
	const struct postgres_library *library;
	struct event_base *base;
	const struct postgres_place *place;
	struct postgres_lookup *lookup; /* under way, before there is a connection; or NULL */
	PGconn *connection;
	struct event *event; /* for one time each: libpq may open another socket while it connects */
	void (*ready)(struct postgres_session *session);
	const struct postgres_query *queries;
	size_t count;
	size_t at;
	struct error error; /* of the query at hand; what it still has to say is read and dropped */
	postgres_session_fn *ended;
	void *context;
};

static void
drop_notice(void *context, const char *message)
{
	(void)context;
	(void)message;
}

void
postgres_session_free(struct postgres_session *session)
{
	if (session == NULL)
		return;
	postgres_lookup_abandon(session->lookup);
	if (session->event != NULL)
		event_free(session->event);
	if (session->connection != NULL)
		session->library->PQfinish(session->connection);
	error_clear(&session->error);
	free(session);
}

static void
session_end(struct postgres_session *session)
{
	cleanup_error struct error error = {.code = ERROR_NONE};
	error_move(&error, &session->error);
	int version = session->connection != NULL ? session->library->PQserverVersion(session->connection) : 0;
	session->ended(session->context, version, &error);
}

static void
socket_ready(evutil_socket_t descriptor, short what, void *context)
{
	struct postgres_session *session = context;
	(void)descriptor;
	(void)what;
	session->ready(session);
}

/* Has `ready` called when the socket can be read or written. */
static void
session_wait(struct postgres_session *session, short what, void (*ready)(struct postgres_session *session))
{
	if (session->event != NULL)
		event_free(session->event);
	session->ready = ready;
	session->event =
	    event_new(session->base, session->library->PQsocket(session->connection), what, socket_ready, session);
	if (session->event != NULL && event_add(session->event, NULL) == 0)
		return;
	error_set(&session->error, ERROR_SYSTEM, "cannot watch the connection to PostgreSQL on the loop");
	session_end(session);
}

/* ---- connecting ---- */

/* libpq tells the SQLSTATE of a refused connection in its words only. */
static void
take_refusal(struct postgres_session *session, struct error *error)
{
	const struct postgres_library *library = session->library;
	cleanup_free char *words = xstrdup(library->PQerrorMessage(session->connection));
	char sqlstate[6];
	bool said = postgres_error_split(words, sqlstate);
	if (!said && library->PQconnectionNeedsPassword(session->connection))
		replace_string(&words, "no password supplied");
	postgres_error_set(error, session->place, said ? sqlstate : NULL, words);
}

static void session_send(struct postgres_session *session);

static void
session_connect(struct postgres_session *session)
{
	const struct postgres_library *library = session->library;
	struct postgres_guise guise = {.group = 0};
	if (postgres_place_enter(session->place, &guise, &session->error) < 0) {
		session_end(session);
		return;
	}
	PostgresPollingStatusType next = library->PQconnectPoll(session->connection);
	postgres_place_leave(session->place, &guise);
	if (next == PGRES_POLLING_READING) {
		session_wait(session, EV_READ, session_connect);
	} else if (next == PGRES_POLLING_WRITING) {
		session_wait(session, EV_WRITE, session_connect);
	} else if (next == PGRES_POLLING_OK) {
		library->PQsetErrorVerbosity(session->connection, PQERRORS_DEFAULT);
		library->PQsetnonblocking(session->connection, 1);
		session_send(session);
	} else {
		take_refusal(session, &session->error);
		session_end(session);
	}
}

/* ---- asking ---- */

static void
take_result(struct postgres_session *session, const PGresult *result)
{
	const struct postgres_library *library = session->library;
	const struct postgres_query *query = &session->queries[session->at];
	ExecStatusType status = library->PQresultStatus(result);
	if (error_is_set(&session->error) || status == PGRES_COMMAND_OK)
		return;
	if (status == PGRES_TUPLES_OK) {
		if (query->take != NULL)
			query->take(session->context, library, result, &session->error);
		return;
	}
	const char *words = library->PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	postgres_error_set(&session->error, session->place, library->PQresultErrorField(result, PG_DIAG_SQLSTATE),
	    words != NULL ? words : library->PQresultErrorMessage(result));
	if (query->right != NULL && session->error.code == ERROR_POSTGRES_RIGHTS)
		error_hint(&session->error, "%s", query->right);
}

/* Takes what has come. Returns true when the query is answered in full. */
static bool
take_results(struct postgres_session *session)
{
	const struct postgres_library *library = session->library;
	while (!library->PQisBusy(session->connection)) {
		PGresult *result = library->PQgetResult(session->connection);
		if (result == NULL)
			return true;
		take_result(session, result);
		library->PQclear(result);
	}
	return false;
}

static void
connection_lost(struct postgres_session *session)
{
	if (!error_is_set(&session->error))
		postgres_error_set(
		    &session->error, session->place, NULL, session->library->PQerrorMessage(session->connection));
	session_end(session);
}

static void
session_listen(struct postgres_session *session)
{
	const struct postgres_library *library = session->library;
	int unsent = library->PQflush(session->connection);
	if (unsent < 0 || library->PQconsumeInput(session->connection) == 0) {
		/* What the server said before it hung up tells more. */
		take_results(session);
		connection_lost(session);
	} else if (!take_results(session)) {
		session_wait(session, unsent > 0 ? EV_READ | EV_WRITE : EV_READ, session_listen);
	} else if (library->PQstatus(session->connection) != CONNECTION_OK) {
		connection_lost(session);
	} else if (error_is_set(&session->error) || ++session->at == session->count) {
		session_end(session);
	} else {
		session_send(session);
	}
}

static void
session_send(struct postgres_session *session)
{
	const struct postgres_library *library = session->library;
	if (library->PQsendQuery(session->connection, session->queries[session->at].sql) == 0)
		connection_lost(session);
	else
		session_wait(session, EV_READ | EV_WRITE, session_listen);
}

/* ---- the start ---- */

static PGconn *
begin_connection(const struct postgres_library *library, const struct postgres_place *place, const char *hosts,
    const char *addresses, struct error *error)
{
	const char *const keywords[] = {
	    "host", "hostaddr", "port", "user", "dbname", "passfile", "application_name", "client_encoding", NULL};
	const char *const values[] = {hosts, addresses, place->source.port, place->source.user,
	    place->source.database, postgres_place_passfile(place), "atelier-backup", "UTF8", NULL};
	struct postgres_guise guise = {.group = 0};
	if (postgres_place_enter(place, &guise, error) < 0)
		return NULL;
	PGconn *connection = library->PQconnectStartParams(keywords, values, 0);
	postgres_place_leave(place, &guise);
	if (connection == NULL)
		error_set(error, ERROR_SYSTEM_BUSY, "no memory for a connection to PostgreSQL");
	return connection;
}

/* `addresses` NULL: libpq finds them. */
static int
session_open(struct postgres_session *session, const char *hosts, const char *addresses, struct error *error)
{
	const struct postgres_library *library = session->library;
	session->connection = begin_connection(library, session->place, hosts, addresses, error);
	if (session->connection == NULL)
		return -1;
	library->PQsetNoticeProcessor(session->connection, drop_notice, NULL);
	library->PQsetErrorVerbosity(session->connection, PQERRORS_VERBOSE);
	if (library->PQstatus(session->connection) == CONNECTION_BAD) {
		take_refusal(session, error);
		return -1;
	}
	session->ready = session_connect;
	session->event =
	    event_new(session->base, library->PQsocket(session->connection), EV_WRITE, socket_ready, session);
	if (session->event != NULL && event_add(session->event, NULL) == 0)
		return 0;
	return error_set(error, ERROR_SYSTEM, "cannot watch the connection to PostgreSQL on the loop");
}

static void
host_looked_up(void *context, const char *names, const char *addresses, struct error *error)
{
	struct postgres_session *session = context;
	session->lookup = NULL;
	error_move(&session->error, error);
	if (error_is_set(&session->error) || session_open(session, names, addresses, &session->error) < 0)
		session_end(session);
}

struct postgres_session *
postgres_session_start(struct event_base *base, const struct postgres_place *place,
    const struct postgres_query *queries, size_t count, postgres_session_fn *ended, void *context,
    struct error *error)
{
	const struct postgres_library *library = postgres_library(error);
	if (library == NULL)
		return NULL;
	struct postgres_session *session = xcalloc(1, sizeof(*session));
	*session = (struct postgres_session){
	    .library = library,
	    .base = base,
	    .place = place,
	    .queries = queries,
	    .count = count,
	    .ended = ended,
	    .context = context,
	};
	session->lookup = postgres_lookup_start(base, place, host_looked_up, session);
	if (session->lookup != NULL || session_open(session, place->source.host, NULL, error) == 0)
		return session;
	postgres_session_free(session);
	return NULL;
}
