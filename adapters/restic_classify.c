/* What restic's exit codes and words mean, for 0.14 to 0.19.
 *
 * Since 0.17 a few exit codes are definite (10, 11, 12, 3); 0.14 answers 1 to nearly everything, and all
 * versions do for what goes wrong in a backend. Then the words decide. */
#include "adapters/restic_internal.h"

#include "core/alloc.h"

#include <ctype.h>
#include <signal.h>
#include <string.h>

/* ---- what happened, and what to do about it ---- */

static const char hint_cache[] = "check that the cache directory can be created and written, and has room";

static const struct explanation {
	enum error_code code;
	const char *what;
	const char *hint;
} explanations[] = {
    {ERROR_REPOSITORY_LOCKED, "the repository is locked by somebody else",
	"wait until the other restic is done; if its process is dead or was on a machine that is gone, run "
	"`restic unlock` as the same user on the same machine"},
    {ERROR_REPOSITORY_PASSWORD, "the repository does not accept the password",
	"compare the password file with the password the repository was made with, and the repository file "
	"with "
	"the place you mean"},
    {ERROR_REPOSITORY_MISSING, "there is no repository at this place",
	"if this is a new repository run `atelier-backup init`; if it was used before, is the target mounted "
	"and is "
	"the location in the repository file right?"},
    {ERROR_REPOSITORY_FULL, "the repository has no room left",
	"free space where the repository lives, or raise its quota or cap, then run the backup again"},
    {ERROR_NO_SPACE, "there is no room where restic puts together what it sends",
	"make room in its directory for temporary files: TMPDIR of the runner, else /tmp"},
    {ERROR_REPOSITORY_DAMAGED, "the repository is damaged",
	"run `restic check` and follow what it says before anything is removed from the repository"},
    {ERROR_REPOSITORY_RIGHTS, "the repository refuses us",
	"check the credentials in the environment file and who may write the repository"},
    {ERROR_REPOSITORY_UNREACHABLE, "the repository cannot be reached",
	"check the network, the name of the server, its certificate and our clock"},
    {ERROR_SOURCE_MISSING, "none of the paths to back up exists",
	"check the paths in the manifest, and whether the file system they are on is mounted"},
    {ERROR_SOURCE_PARTLY_UNREADABLE, "restic could not read everything",
	"look at the items it names; run the backup again if they only came and went"},
    {ERROR_RESTIC_UNSUPPORTED, "this restic does not understand how we call it",
	"use restic 0.14 or newer, as its project releases it"},
    {ERROR_RESTIC_KILLED, "restic was ended by somebody else",
	"nothing to do if the machine was shutting down; else look for who did it (`journalctl -k` tells "
	"about "
	"memory that ran out)"},
    {ERROR_USAGE, "there is a repository at this place already", "use it, or choose another place"},
    {ERROR_SECRET, "restic cannot use its settings",
	"check the repository file, the password file and the environment file"},
    {ERROR_RESTIC_FAILED, "restic failed",
	"read its own words; the same restic command can be run by hand with the same environment file"},
};

/* ---- which words say so ---- */

static const char words_signalled[] = "received, cleaning up";
static const char words_cancelled[] = "context canceled";
static const char words_locked[] = "already locked ";
static const char words_locked_since[] = "lock was created at ";

#define HOLDER_LENGTH ((size_t)200) /* who holds a lock, or since when: somebody else wrote the names */

/* All of what is given must be so; the first rule that fits counts. Rules from the definite to the vague. */
struct rule {
	int exit_code;    /* 0: any */
	const char *text; /* NULL: the exit code says it all */
	const char *also; /* this as well, in the same line; or NULL */
	enum error_code code;
	const char *hint; /* instead of the usual one, or NULL */
};

static const struct rule rules[] = {
    {10, NULL, NULL, ERROR_REPOSITORY_MISSING, NULL},
    {11, NULL, NULL, ERROR_REPOSITORY_LOCKED, NULL},
    {12, NULL, NULL, ERROR_REPOSITORY_PASSWORD, NULL},
    {3, NULL, NULL, ERROR_SOURCE_PARTLY_UNREADABLE, NULL},
    {130, NULL, NULL, ERROR_RESTIC_KILLED, NULL},

    {0, "already locked", NULL, ERROR_REPOSITORY_LOCKED, NULL},

    {0, "wrong password or no key found", NULL, ERROR_REPOSITORY_PASSWORD, NULL},
    {0, "empty password", NULL, ERROR_REPOSITORY_PASSWORD, "write the password into the password file"},
    {0, "Resolving password failed", NULL, ERROR_REPOSITORY_PASSWORD, "check that the password file can be read"},

    {0, "config file already exists", NULL, ERROR_USAGE, NULL},
    {0, "mutually exclusive", NULL, ERROR_SECRET, NULL},
    {0, "unknown flag", NULL, ERROR_RESTIC_UNSUPPORTED, NULL},
    {0, "unknown command", NULL, ERROR_RESTIC_UNSUPPORTED, NULL},
    {0, "directories/files do not exist", NULL, ERROR_SOURCE_MISSING, NULL},

    /* Its packs are files of ours before they are sent. */
    {0, "restic-temp-", "no space left on device", ERROR_NO_SPACE, NULL},
    {0, "restic-temp-", "disk quota exceeded", ERROR_NO_SPACE, NULL},
    {0, "no space left on device", NULL, ERROR_REPOSITORY_FULL, NULL},
    {0, "disk quota exceeded", NULL, ERROR_REPOSITORY_FULL, NULL},
    {0, "cap exceeded", NULL, ERROR_REPOSITORY_FULL, NULL},
    {0, "507", NULL, ERROR_REPOSITORY_FULL, NULL},

    {0, "repository contains errors", NULL, ERROR_REPOSITORY_DAMAGED, NULL},
    {0, "ciphertext verification failed", NULL, ERROR_REPOSITORY_DAMAGED, NULL},
    {0, "not found in repository", NULL, ERROR_REPOSITORY_DAMAGED, NULL},
    {0, "packs from index missing", NULL, ERROR_REPOSITORY_DAMAGED, NULL},
    {0, "config file has zero size", NULL, ERROR_REPOSITORY_DAMAGED, NULL},
    {0, "invalid lock file", NULL, ERROR_REPOSITORY_DAMAGED, NULL},

    /* Amazon's words for a wrong key ("does not exist in our records") would pass for a missing repository.
     */
    {0, "Access Key Id", NULL, ERROR_REPOSITORY_RIGHTS, NULL},
    {0, "InvalidAccessKeyId", NULL, ERROR_REPOSITORY_RIGHTS, NULL},
    {0, "SignatureDoesNotMatch", NULL, ERROR_REPOSITORY_RIGHTS, NULL},

    /* 0.14 puts "unable to open config file" before every failure to open; the reason comes after it. */
    {0, "unable to open config file", "no such file or directory", ERROR_REPOSITORY_MISSING, NULL},
    {0, "unable to open config file", "does not exist", ERROR_REPOSITORY_MISSING, NULL},

    {0, "connection refused", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "no such host", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "server misbehaving", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "Temporary failure in name resolution", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "i/o timeout", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "network is unreachable", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "no route to host", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "connection reset by peer", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "connection timed out", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "broken pipe", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "TLS handshake", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "x509:", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "context deadline exceeded", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "request timeout", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "Reduce your request rate", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "failed to refresh lock in time", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "circuit breaker open", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    /* ssh, for sftp */
    {0, "Connection refused", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "Connection timed out", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "Connection reset by", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "No route to host", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "Network is unreachable", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "Could not resolve hostname", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "429", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "500", "HTTP", ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "502", "HTTP", ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "503", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "504", "HTTP", ERROR_REPOSITORY_UNREACHABLE, NULL},
    {0, "EOF", NULL, ERROR_REPOSITORY_UNREACHABLE, NULL},

    {0, "401", NULL, ERROR_REPOSITORY_RIGHTS, NULL},
    {0, "403", NULL, ERROR_REPOSITORY_RIGHTS, NULL},
    {0, "Access Denied", NULL, ERROR_REPOSITORY_RIGHTS, NULL},
    {0, "permission denied", NULL, ERROR_REPOSITORY_RIGHTS, NULL},
    {0, "Permission denied", NULL, ERROR_REPOSITORY_RIGHTS, NULL},
    {0, "Host key verification failed", NULL, ERROR_REPOSITORY_RIGHTS,
	"put the server's host key into the known_hosts file of the user the backup runs as"},
    {0, "no credentials found", NULL, ERROR_REPOSITORY_RIGHTS, NULL},
    {0, "read-only file system", NULL, ERROR_REPOSITORY_RIGHTS, NULL},

    /* A signal that we did not send, in the words of a version that then exits with 1. */
    {0, words_signalled, NULL, ERROR_RESTIC_KILLED, NULL},
    {0, words_cancelled, NULL, ERROR_RESTIC_KILLED, NULL},

    /* Only a warning before 0.19, so it may stand beside the real reason. */
    {0, "unable to open cache", NULL, ERROR_RESTIC_FAILED, hint_cache},
    {0, "unable to locate cache directory", NULL, ERROR_RESTIC_FAILED, hint_cache},
};

/* ---- the lines ---- */

struct line {
	char *string;
	bool fatal; /* restic's last word, as opposed to warnings and retries on the way */
};

struct lines {
	struct line *items;
	size_t count;
	char *locked_since; /* "2026-11-23 02:00:00 (1m2s ago)", in the line after the one that tells who; or NULL */
};

static void
lines_clear(struct lines *lines)
{
	for (size_t i = 0; i < lines->count; i++)
		free(lines->items[i].string);
	free(lines->items);
	free(lines->locked_since);
}

static size_t
shortened(size_t length)
{
	return length > HOLDER_LENGTH ? HOLDER_LENGTH : length;
}

static void
lines_add(struct lines *lines, const char *string, bool fatal)
{
	lines->items = xreallocarray(lines->items, lines->count + 1, sizeof(*lines->items));
	lines->items[lines->count++] = (struct line){.string = xstrdup(string), .fatal = fatal};
}

/* Words about a source file say nothing about the repository: "permission denied" would mean something else.
 */
static bool
is_about_source(const char *line, const json_t *object)
{
	return strcmp(restic_output_type(object), "error") == 0 || text_ends_with(line, ", skipping");
}

/* A line of its own in 0.14, and the second one of a message later. */
static void
read_locked_since(const char *line, const json_t *object, struct lines *lines)
{
	const char *message = json_string_value(json_object_get(object, "message"));
	const char *found = strstr(message == NULL ? line : message, words_locked_since);
	if (found == NULL || lines->locked_since != NULL)
		return;
	found += strlen(words_locked_since);
	cleanup_free char *printable = text_printable_bytes(found, strcspn(found, "\n"));
	cleanup_free char *masked = restic_mask(printable);
	lines->locked_since = text_printable_bytes(masked, shortened(strlen(masked)));
}

static void
read_lines(const char *text, struct lines *lines)
{
	for (const char *at = text; *at != '\0';) {
		size_t length = strcspn(at, "\n");
		cleanup_json json_t *object = restic_output_object(at, length);
		cleanup_free char *raw = xstrndup(at, length);
		cleanup_free char *words = restic_output_words(at, length);
		read_locked_since(raw, object, lines);
		bool exit_error = strcmp(restic_output_type(object), "exit_error") == 0;
		if (words[0] != '\0' && !is_about_source(raw, object))
			lines_add(lines, words, exit_error || text_starts_with(words, "Fatal: "));
		at += at[length] == '\0' ? length : length + 1;
	}
}

static bool
stands_alone(const char *line, const char *found, size_t length)
{
	unsigned char before = found == line ? ' ' : (unsigned char)found[-1];
	unsigned char after = (unsigned char)found[length];
	return !isalnum(before) && before != '.' && before != '_' && !isalnum(after) && after != '_' &&
	       !(after == '.' && isdigit((unsigned char)found[length + 1]));
}

/* Short words and numbers must stand alone: "503" is also in "retrying after 503.2ms" and in names of packs.
 */
static bool
line_contains(const char *line, const char *text)
{
	size_t length = strlen(text);
	for (const char *found = strstr(line, text); found != NULL; found = strstr(found + 1, text))
		if (length > 3 || stands_alone(line, found, length))
			return true;
	return false;
}

static const struct line *
find_line(const struct lines *lines, const struct rule *rule, bool only_fatal)
{
	for (size_t i = 0; i < lines->count; i++) {
		const struct line *line = &lines->items[i];
		if (only_fatal && !line->fatal)
			continue;
		if (line_contains(line->string, rule->text) &&
		    (rule->also == NULL || line_contains(line->string, rule->also)))
			return line;
	}
	return NULL;
}

/* What restic ended with: the last fatal line, else the first line that is no warning about how it goes. 0.14
 * appends stack traces to what is not "Fatal", so there the first line it is. */
static const struct line *
last_word(const struct lines *lines)
{
	for (size_t i = lines->count; i > 0; i--)
		if (lines->items[i - 1].fatal)
			return &lines->items[i - 1];
	for (size_t i = 0; i < lines->count; i++)
		if (strstr(lines->items[i].string, "returned error, retrying after") == NULL)
			return &lines->items[i];
	return lines->count == 0 ? NULL : &lines->items[lines->count - 1];
}

/* The rule that fits, and in *ret_line the words it was found in (NULL: there are none). */
static const struct rule *
find_rule(const struct lines *lines, int exit_code, const struct line **ret_line)
{
	for (size_t i = 0; i < ARRAY_LENGTH(rules); i++)
		if (rules[i].text == NULL && rules[i].exit_code == exit_code) {
			*ret_line = last_word(lines);
			return &rules[i];
		}
	/* The last word counts more than what was said on the way. */
	for (int only_fatal = 1; only_fatal >= 0; only_fatal--)
		for (size_t i = 0; i < ARRAY_LENGTH(rules); i++) {
			const struct line *line =
			    rules[i].text == NULL ? NULL : find_line(lines, &rules[i], only_fatal == 1);
			if (line != NULL) {
				*ret_line = line;
				return &rules[i];
			}
		}
	*ret_line = last_word(lines);
	return NULL;
}

/* ---- the verdict ---- */

static const struct explanation *
explanation_of(enum error_code code)
{
	for (size_t i = 0; i < ARRAY_LENGTH(explanations); i++)
		if (explanations[i].code == code)
			return &explanations[i];
	return &explanations[ARRAY_LENGTH(explanations) - 1];
}

static const char *
skip_prefixes(const char *words)
{
	while (text_starts_with(words, "Fatal: "))
		words += strlen("Fatal: ");
	return words;
}

/* "the repository is locked by somebody else (restic: ...)" */
static int
explain(enum error_code code, const char *hint, const char *how, const struct line *line, struct error *error)
{
	const struct explanation *explanation = explanation_of(code);
	if (line == NULL)
		error_set(error, code, "%s%s", explanation->what, how);
	else
		error_set(error, code, "%s%s (restic: %s)", explanation->what, how, skip_prefixes(line->string));
	return error_hint(error, "%s", hint == NULL ? explanation->hint : hint);
}

/* "the repository is locked exclusively by PID 4711 on web1 by root, since 2026-11-23 02:00:00 (1m2s ago)". Returns
 * false if restic does not say who. */
static bool
explain_lock(const struct lines *lines, struct error *error)
{
	for (size_t i = 0; i < lines->count; i++) {
		const char *holder = strstr(lines->items[i].string, words_locked);
		if (holder == NULL)
			continue;
		holder += strlen(words_locked);
		const char *numbers = strstr(holder, " (UID ");
		size_t length = numbers == NULL ? strlen(holder) : (size_t)(numbers - holder);
		cleanup_free char *who = text_printable_bytes(holder, shortened(length));
		const char *since = lines->locked_since;
		error_set(error, ERROR_REPOSITORY_LOCKED, "the repository is locked %s%s%s", who,
		    since == NULL ? "" : ", since ", since == NULL ? "" : since);
		error_hint(error, "%s", explanation_of(ERROR_REPOSITORY_LOCKED)->hint);
		return true;
	}
	return false;
}

/* What it was busy with: a caller that stopped it for taking too long wants to know why it did. Its words about being
 * stopped tell nothing new. */
static int
explain_stop(const struct lines *lines, struct error *error)
{
	for (size_t i = lines->count; i > 0; i--) {
		const char *words = lines->items[i - 1].string;
		if (strstr(words, words_signalled) == NULL && strstr(words, words_cancelled) == NULL)
			return error_set(
			    error, ERROR_CANCELLED, "restic was stopped (restic: %s)", skip_prefixes(words));
	}
	return error_set(error, ERROR_CANCELLED, "restic was stopped");
}

static int
explain_signal(int number, const struct lines *lines, struct error *error)
{
	const char *name = sigabbrev_np(number);
	cleanup_free char *how = name == NULL ? xasprintf(": signal %d", number) : xasprintf(": SIG%s", name);
	return explain(ERROR_RESTIC_KILLED, NULL, how, last_word(lines), error);
}

static int
explain_exit(int exit_code, const struct lines *lines, struct error *error)
{
	const struct line *line;
	const struct rule *rule = find_rule(lines, exit_code, &line);
	if (rule != NULL && rule->code == ERROR_REPOSITORY_LOCKED && explain_lock(lines, error))
		return -1;
	if (rule != NULL)
		return explain(rule->code, rule->hint, "", line, error);
	cleanup_free char *how = xasprintf(" with exit code %d", exit_code);
	return explain(ERROR_RESTIC_FAILED, NULL, how, line, error);
}

int
restic_classify(int exit_code, int signal, bool stopped, const char *stderr_text, struct error *error)
{
	if (signal == 0 && exit_code == 0)
		return 0;
	struct lines lines = {.items = NULL};
	read_lines(stderr_text, &lines);
	/* With 3 there is a snapshot all the same. Everything else may be a consequence of our signal, and
	 * the words after it differ from version to version. */
	if (stopped && (signal != 0 || exit_code != 3))
		explain_stop(&lines, error);
	else if (signal != 0)
		explain_signal(signal, &lines, error);
	else
		explain_exit(exit_code, &lines, error);
	lines_clear(&lines);
	return -1;
}

bool
restic_may_leave_lock(enum error_code code)
{
	return code == ERROR_CANCELLED || code == ERROR_RESTIC_KILLED || code == ERROR_REPOSITORY_UNREACHABLE ||
	       code == ERROR_RESTIC_FAILED;
}
