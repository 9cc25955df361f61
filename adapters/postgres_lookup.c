/* libpq blocks while it looks up a name, and a name service that does not answer takes half a minute. So a child
 * asks, by the way that libpq would go (getaddrinfo), and libpq is given the addresses. */
#include "adapters/postgres_internal.h"

#include <arpa/inet.h>
#include <signal.h>
#include <string.h>

#include "adapters/environment.h"
#include "core/alloc.h"
#include "core/child.h"
#include "core/file.h"

#define MOST_ADDRESSES 16

/* "192.0.2.1       STREAM db.example": one line for each address and kind of socket; this is the kind that we want.
 */
#define KIND "STREAM"

struct postgres_lookup {
	const struct postgres_place *place;
	struct child *child;
	struct text names, addresses;
	size_t count;
	postgres_lookup_fn *done;
	void *context;
};

static void
lookup_free(struct postgres_lookup *lookup)
{
	text_clear(&lookup->names);
	text_clear(&lookup->addresses);
	free(lookup);
}

void
postgres_lookup_abandon(struct postgres_lookup *lookup)
{
	if (lookup == NULL)
		return;
	child_abandon(lookup->child);
	lookup_free(lookup);
}

static void
take_line(void *context, const char *line, size_t length, bool cut)
{
	struct postgres_lookup *lookup = context;
	size_t address = strcspn(line, " "), kind = address + strspn(line + address, " ");
	bool wanted = !cut && strlen(line) == length && text_starts_with(line + kind, KIND);
	if (!wanted || address == 0 || lookup->count == MOST_ADDRESSES || memchr(line, ',', address) != NULL)
		return;
	const char *comma = lookup->count++ > 0 ? "," : "";
	text_printf(&lookup->addresses, "%s%.*s", comma, (int)address, line);
	text_printf(&lookup->names, "%s%s", comma, lookup->place->source.host);
}

static void
lookup_ended(void *context, const struct child_exit *exit)
{
	struct postgres_lookup *lookup = context;
	cleanup_error struct error error = {.code = ERROR_NONE};
	if (exit->signalled || exit->number != 0 || lookup->count == 0) {
		postgres_error_set(&error, lookup->place, NULL, "the host's name cannot be looked up");
		error_hint(&error, "see what `getent ahosts %s` says; correct \"host\", or wait for the name service",
		    lookup->place->source.host);
	}
	if (error_is_set(&error))
		lookup->done(lookup->context, NULL, NULL, &error);
	else
		lookup->done(lookup->context, lookup->names.string, lookup->addresses.string, &error);
	lookup_free(lookup);
}

static bool
is_address(const char *host)
{
	unsigned char room[sizeof(struct in6_addr)];
	/* A colon is in no name; an address may have a zone behind it. */
	return inet_pton(AF_INET, host, room) == 1 || strchr(host, ':') != NULL;
}

static bool
is_name(const char *host)
{
	return host[0] != '/' && strchr(host, ',') == NULL && !is_address(host);
}

struct postgres_lookup *
postgres_lookup_start(
    struct event_base *base, const struct postgres_place *place, postgres_lookup_fn *done, void *context)
{
	cleanup_free char *getent = is_name(place->source.host) ? program_find("getent") : NULL;
	if (getent == NULL)
		return NULL;
	struct postgres_lookup *lookup = xcalloc(1, sizeof(*lookup));
	*lookup = (struct postgres_lookup){.place = place, .done = done, .context = context};
	cleanup_strings char **environment = environment_base();
	const char *const arguments[] = {getent, "ahosts", place->source.host, NULL};
	const struct child_spec spec = {
	    .name = "getent",
	    .arguments = arguments,
	    .environment = (const char *const *)environment,
	    .death_signal = SIGKILL,
	    .line_limit = 1024,
	    .on_stdout = take_line,
	    .on_exit = lookup_ended,
	    .context = lookup,
	};
	lookup->child = child_start(base, &spec, NULL);
	if (lookup->child != NULL)
		return lookup;
	lookup_free(lookup);
	return NULL;
}
