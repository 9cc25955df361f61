#include "jobs/manifest_internal.h"

#include "core/alloc.h"
#include "core/clock.h"
#include "core/file.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The longest name of a service, so that NAME.service stays within systemd's 255. */
#define LONGEST_NAME  200
#define LONGEST_UNIT  255
#define LONGEST_TAG   200
#define LONGEST_HOST  253
#define LONGEST_GROUP 32

/* Of letters and digits of ASCII, and these marks. */
static bool
is_made_of(const char *string, const char *marks)
{
	for (; *string != '\0'; string++) {
		bool letter = (*string >= 'a' && *string <= 'z') || (*string >= 'A' && *string <= 'Z');
		bool digit = *string >= '0' && *string <= '9';
		if (!letter && !digit && strchr(marks, *string) == NULL)
			return false;
	}
	return true;
}

const char *
manifest_word_fault(const char *string)
{
	if (*string == '\0')
		return "is empty";
	if (!text_is_printable(string))
		return "contains control characters";
	return NULL;
}

const char *
manifest_path_fault(const char *string)
{
	const char *fault = manifest_word_fault(string);
	if (fault != NULL)
		return fault;
	if (string[0] != '/')
		return "is not absolute";
	if (strlen(string) >= PATH_MAX)
		return "is longer than a path can be";
	if (!path_is_clean(string))
		return "has '.', '..' or '//' in it, or a slash at its end";
	return NULL;
}

const char *
manifest_program_fault(const char *string)
{
	return strchr(string, '/') != NULL ? manifest_path_fault(string) : manifest_word_fault(string);
}

/* Shell text may have lines and tabs, and nothing else that drives a terminal. */
const char *
manifest_shell_fault(const char *string)
{
	cleanup_free char *line = xstrdup(string);
	for (char *byte = line; *byte != '\0'; byte++)
		if (*byte == '\n' || *byte == '\t')
			*byte = ' ';
	return text_is_printable(line) ? NULL : "contains control characters";
}

const char *
manifest_service_fault(const char *string)
{
	size_t length = strlen(string);
	if (length == 0)
		return "is empty";
	if (length > LONGEST_NAME)
		return "is longer than 200 characters";
	if (string[0] == '.' || string[0] == '-')
		return "begins with '.' or '-'";
	if (!is_made_of(string, ":_.@-"))
		return "has characters that cannot be in the name of a unit";
	return NULL;
}

/* Devices and scopes are left out: nobody can start them again. */
static bool
is_unit_suffix(const char *suffix)
{
	static const char *const suffixes[] = {
	    ".service", ".socket", ".timer", ".target", ".path", ".mount", ".automount", ".swap", ".slice"};
	for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++)
		if (strcmp(suffix, suffixes[i]) == 0)
			return true;
	return false;
}

const char *
manifest_unit_fault(const char *string)
{
	size_t length = strlen(string);
	const char *suffix = strrchr(string, '.');
	if (length == 0)
		return "is empty";
	if (length > LONGEST_UNIT)
		return "is longer than 255 characters";
	if (!is_made_of(string, ":_.@\\-"))
		return "has characters that cannot be in the name of a unit";
	if (suffix == NULL || !is_unit_suffix(suffix))
		return "has no suffix of a unit that can be stopped and started";
	if (strchr("-.@", string[0]) != NULL)
		return "begins with '-', '.' or '@'";
	if (suffix[-1] == '@')
		return "is a template, not one of its instances";
	return NULL;
}

const char *
manifest_tag_fault(const char *string)
{
	static const char *const reserved[] = {"service:", "type:", "job:"};
	const char *fault = manifest_word_fault(string);
	if (fault != NULL)
		return fault;
	if (strlen(string) > LONGEST_TAG)
		return "is longer than 200 bytes";
	if (strchr(string, ',') != NULL)
		return "has a comma in it";
	for (size_t i = 0; i < ARRAY_LENGTH(reserved); i++)
		if (text_starts_with(string, reserved[i]))
			return "begins with a word that atelier-backup keeps for its own tags";
	return NULL;
}

const char *
manifest_host_fault(const char *string)
{
	size_t length = strlen(string);
	if (length == 0)
		return "is empty";
	if (length > LONGEST_HOST)
		return "is longer than 253 characters";
	if (string[0] == '.' || string[0] == '-')
		return "begins with '.' or '-'";
	if (!is_made_of(string, "_.-"))
		return "has characters that cannot be in a host name";
	return NULL;
}

/* A link-local address names its interface behind a '%'. */
static bool
is_address(const char *string)
{
	size_t length = strcspn(string, "%");
	const char *interface = string + length;
	unsigned char address[sizeof(struct in6_addr)];
	cleanup_free char *number = xstrndup(string, length);
	if (*interface != '\0' && !is_made_of(interface + 1, "_.-"))
		return false;
	return strcmp(interface, "%") != 0 && inet_pton(AF_INET6, number, address) == 1;
}

const char *
manifest_server_fault(const char *string)
{
	if (string[0] == '/')
		return manifest_path_fault(string);
	return is_address(string) ? NULL : manifest_host_fault(string);
}

const char *
manifest_port_fault(const char *string)
{
	size_t length = strlen(string);
	if (length == 0)
		return "is empty";
	if (strspn(string, "0123456789") != length)
		return "is no number";
	if (length > strlen("65535") || strtol(string, NULL, 10) < 1 || strtol(string, NULL, 10) > 65535)
		return "is out of range";
	return NULL;
}

const char *
manifest_group_fault(const char *string)
{
	size_t length = strlen(string);
	if (length == 0)
		return "is empty";
	if (length > LONGEST_GROUP)
		return "is longer than 32 characters";
	if (!is_made_of(string, "_.-"))
		return "has characters that cannot be in the name of a group";
	if (!isalpha((unsigned char)string[0]) && string[0] != '_')
		return "begins with neither a letter nor '_'";
	return NULL;
}

static bool
two_digits(const char *string, int highest, int *ret_number)
{
	if (!isdigit((unsigned char)string[0]) || !isdigit((unsigned char)string[1]))
		return false;
	*ret_number = (string[0] - '0') * 10 + (string[1] - '0');
	return *ret_number <= highest;
}

bool
manifest_parse_time(const char *string, int64_t *ret_microseconds)
{
	int hours, minutes;
	if (strlen(string) != strlen("HH:MM") || string[2] != ':')
		return false;
	if (!two_digits(string, 23, &hours) || !two_digits(string + 3, 59, &minutes))
		return false;
	*ret_microseconds = hours * USEC_PER_HOUR + minutes * USEC_PER_MIN;
	return true;
}
