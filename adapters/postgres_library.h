/* libpq, loaded when it is first needed: it brings 22 libraries (OpenSSL, Kerberos, LDAP) along, and
 * most starts of this program never ask a server for anything. */
#ifndef ATELIER_ADAPTERS_POSTGRES_LIBRARY_H
#define ATELIER_ADAPTERS_POSTGRES_LIBRARY_H

#include <libpq-fe.h>

#include "core/error.h"

/* All functions of it that are used; each is in every libpq.so.5 since PostgreSQL 10. */
#define POSTGRES_LIBRARY_LIST(X)                                                                                     \
	X(PQclear)                                                                                                   \
	X(PQconnectPoll)                                                                                             \
	X(PQconnectStartParams)                                                                                      \
	X(PQconnectionNeedsPassword)                                                                                 \
	X(PQconsumeInput)                                                                                            \
	X(PQerrorMessage)                                                                                            \
	X(PQfinish)                                                                                                  \
	X(PQflush)                                                                                                   \
	X(PQgetResult)                                                                                               \
	X(PQgetvalue)                                                                                                \
	X(PQisBusy)                                                                                                  \
	X(PQntuples)                                                                                                 \
	X(PQresultErrorField)                                                                                        \
	X(PQresultErrorMessage)                                                                                      \
	X(PQresultStatus)                                                                                            \
	X(PQsendQuery)                                                                                               \
	X(PQserverVersion)                                                                                           \
	X(PQsetErrorVerbosity)                                                                                       \
	X(PQsetNoticeProcessor)                                                                                      \
	X(PQsetnonblocking)                                                                                          \
	X(PQsocket)                                                                                                  \
	X(PQstatus)

/* The functions under their own names. */
struct postgres_library {
#define X(name) __typeof__(name) *name;
	POSTGRES_LIBRARY_LIST(X)
#undef X
};

/* Loads it the first time; it stays. The PG* variables of our environment are forgotten then: libpq would take what
 * it was not told from them. NULL and ERROR_POSTGRES_CLIENT where it cannot be loaded. */
const struct postgres_library *postgres_library(struct error *error);

/* The same from a file, for tests; what is loaded stays. */
int postgres_library_load(const char *file, struct postgres_library *ret_library, struct error *error);

#endif
