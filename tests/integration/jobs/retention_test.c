/* Our policy and restic's: the same snapshots, the same numbers, the same verdict on each of them, in the same words.
 * One repository of snapshots over three years, in places with different clocks, is judged by each restic. */
#include "jobs/retention.h"

#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "adapters/restic.h"
#include "core/alloc.h"
#include "core/text.h"
#include "tests/unit/core/temporary.h"

#define HOST    "cellar"
#define SERVICE "web"
#define TAG     "service:" SERVICE

/* Calls of restic at the same time while the repository is filled. */
#define AT_ONCE 4

/* Every REASON_OLDEST: 0.14 does not know them. */
#define ONLY_NEWER (0xffu * REASON_OLDEST(0))

static const struct restic_under_test {
	const char *variable;
	bool keeps_oldest; /* 0.16 and later */
} restics[] = {
    {"ATELIER_TEST_RESTIC_014", false},
    {"ATELIER_TEST_RESTIC_018", true},
    {"ATELIER_TEST_RESTIC_019", true},
};

static struct {
	char *directory, *repository, *cache, *source;
	struct restic_snapshot *listing;
	size_t listed;
} world;

/* ---- restic ---- */

static pid_t
begin_restic(const struct restic_under_test *restic, const char *zone, char *const *arguments, const char *out)
{
	const char *program = getenv(restic->variable);
	if (program == NULL)
		fail_msg("%s must name a restic (scripts/test sets it)", restic->variable);
	pid_t child = fork();
	if (child != 0)
		return child;
	setenv("RESTIC_REPOSITORY", world.repository, 1);
	setenv("RESTIC_PASSWORD", "backup", 1);
	setenv("RESTIC_CACHE_DIR", world.cache, 1);
	setenv("TZ", zone, 1);
	int output = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (output < 0 || dup2(output, 1) < 0)
		_exit(126);
	execv(program, arguments);
	_exit(127);
}

static void
end_restic(pid_t child)
{
	int status;
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static json_t *
restic_json(const struct restic_under_test *restic, char *const *arguments)
{
	cleanup_free char *out = xasprintf("%s/out", world.directory);
	end_restic(begin_restic(restic, "UTC", arguments, out));
	json_error_t error;
	json_t *document = json_load_file(out, 0, &error);
	if (document == NULL)
		fail_msg("restic prints no JSON: %s", error.text);
	return document;
}

/* ---- the repository ---- */

static struct {
	pid_t children[AT_ONCE];
	size_t next;
} filling;

static void
wait_for_all(void)
{
	for (size_t i = 0; i < AT_ONCE; i++) {
		if (filling.children[i] != 0)
			end_restic(filling.children[i]);
		filling.children[i] = 0;
	}
}

/* `time` is "2024-03-31 02:30:00" on the clocks of `zone`. */
static void
make_snapshot(char *time, const char *zone, char *host, char *tag)
{
	pid_t *child = &filling.children[filling.next++ % AT_ONCE];
	if (*child != 0)
		end_restic(*child);
	*child = begin_restic(&restics[0], zone,
	    (char *[]){"restic", "backup", "--quiet", "--time", time, "--host", host, "--tag", tag, "--tag",
		"type:files", world.source, NULL},
	    "/dev/null");
}

static const struct {
	char *time;
	const char *zone;
} remarkable[] = {
    /* The oldest day, week, month and year have two. */
    {"2024-01-10 08:00:00", "UTC"},
    {"2024-01-10 20:00:00", "UTC"},
    /* Summer time begins and ends; an hour that is not there, and one that comes twice. */
    {"2024-03-31 01:59:59", "Europe/Berlin"},
    {"2024-03-31 02:30:00", "Europe/Berlin"},
    {"2024-03-31 23:59:59", "Europe/Berlin"},
    {"2024-04-01 00:00:00", "Europe/Berlin"},
    {"2024-10-27 00:30:00", "Europe/Berlin"},
    {"2024-10-27 02:30:00", "Europe/Berlin"},
    {"2024-10-27 23:30:00", "Europe/Berlin"},
    {"2024-11-03 01:30:00", "America/New_York"},
    {"2024-11-03 23:59:59", "America/New_York"},
    /* Turns of the year: in the week of the other year, and in another year elsewhere. */
    {"2024-12-29 23:59:59", "UTC"},
    {"2024-12-30 00:00:00", "UTC"},
    {"2024-12-31 23:00:00", "America/New_York"},
    {"2025-01-01 19:00:00", "Pacific/Auckland"},
    {"2025-12-28 12:00:00", "UTC"},
    {"2025-12-31 23:59:59", "Asia/Kathmandu"},
    {"2026-01-01 00:00:00", "Europe/Berlin"},
    {"2026-01-04 23:59:59", "Europe/Berlin"},
    {"2026-01-05 00:00:00", "Europe/Berlin"},
    {"2024-02-29 12:00:00", "UTC"},
    /* A host that travels: days come twice. */
    {"2026-06-10 23:30:00", "UTC"},
    {"2026-06-11 06:00:00", "Asia/Kathmandu"},
    {"2026-06-10 22:00:00", "America/New_York"},
    {"2026-06-11 15:00:00", "Pacific/Auckland"},
};

static void
make_recent_snapshots(void)
{
	for (int day = 1; day <= 14; day++)
		for (int hour = day % 3; hour < 24; hour += 9 + day % 5) {
			cleanup_free char *time = xasprintf("2026-11-%02d %02d:%02d:07", day, hour, day);
			make_snapshot(time, "Europe/Berlin", HOST, TAG);
		}
}

static void
make_random_snapshots(void)
{
	static const char *const zones[] = {"Europe/Berlin", "Europe/Berlin", "UTC", "America/New_York"};
	srandom(6);
	for (int i = 0; i < 40; i++) {
		cleanup_free char *time = xasprintf("%ld-%02ld-%02ld %02ld:%02ld:%02d", 2024 + random() % 3,
		    1 + random() % 10, 1 + random() % 28, random() % 24, random() % 60, i);
		make_snapshot(time, zones[(size_t)random() % ARRAY_LENGTH(zones)], HOST, TAG);
	}
}

static void
make_repository(void)
{
	static const char *const empty[] = {"data", "index", "locks", "snapshots"};
	pid_t child = fork();
	if (child == 0) {
		execlp(
		    "cp", "cp", "-r", TEST_SOURCE_DIR "/tests/fixtures/repository", world.repository, (char *)NULL);
		_exit(127);
	}
	end_restic(child);
	for (size_t i = 0; i < ARRAY_LENGTH(empty); i++) {
		cleanup_free char *path = xasprintf("%s/%s", world.repository, empty[i]);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	assert_int_equal(mkdir(world.source, 0700), 0);
	cleanup_free char *file = xasprintf("%s/file", world.source);
	close(open(file, O_WRONLY | O_CREAT, 0600));

	for (size_t i = 0; i < ARRAY_LENGTH(remarkable); i++)
		make_snapshot(remarkable[i].time, remarkable[i].zone, HOST, TAG);
	make_recent_snapshots();
	make_random_snapshots();
	/* Newer than all, and nobody's business. */
	make_snapshot("2026-11-20 12:00:00", "UTC", "attic", TAG);
	make_snapshot("2026-11-20 12:00:00", "UTC", HOST, TAG "2");
	wait_for_all();
}

/* The zone of an RFC 3339 time, found here anew. */
static int32_t
zone_offset_of(const char *time)
{
	int hours, minutes;
	size_t length = strlen(time);
	if (time[length - 1] == 'Z')
		return 0;
	assert_int_equal(sscanf(time + length - 5, "%2d:%2d", &hours, &minutes), 2);
	return (time[length - 6] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
}

static void
list_repository(void)
{
	json_t *listing = restic_json(&restics[0], (char *[]){"restic", "snapshots", "--json", "--no-lock", NULL});
	size_t i, j;
	const json_t *object, *tag;
	world.listing = xcalloc(json_array_size(listing), sizeof(*world.listing));
	json_array_foreach (listing, i, object) {
		struct restic_snapshot *snapshot = &world.listing[world.listed++];
		const char *time = json_string_value(json_object_get(object, "time"));
		snapshot->id = xstrdup(json_string_value(json_object_get(object, "id")));
		snapshot->hostname = xstrdup(json_string_value(json_object_get(object, "hostname")));
		json_array_foreach (json_object_get(object, "tags"), j, tag)
			strings_add(&snapshot->tags, json_string_value(tag));
		assert_true(text_parse_rfc3339(time, &snapshot->time));
		snapshot->zone_offset = zone_offset_of(time);
	}
	json_decref(listing);
}

/* Without the time zones of the system, restic would have made all of them in UTC. */
static void
expect_zones(void)
{
	static const int32_t offsets[] = {0, 3600, 7200, -18000, -14400, 46800, 43200, 20700};
	for (size_t i = 0; i < ARRAY_LENGTH(offsets); i++) {
		size_t count = 0;
		for (size_t j = 0; j < world.listed; j++)
			count += world.listing[j].zone_offset == offsets[i];
		if (count == 0)
			fail_msg("no snapshot was made %d s east of UTC: is tzdata there?", (int)offsets[i]);
	}
}

static int
group_setup(void **state)
{
	(void)state;
	world.directory = temporary_directory_make();
	world.repository = xasprintf("%s/repository", world.directory);
	world.cache = xasprintf("%s/cache", world.directory);
	world.source = xasprintf("%s/source", world.directory);
	make_repository();
	list_repository();
	expect_zones();
	return 0;
}

static int
group_teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < world.listed; i++) {
		free(world.listing[i].id);
		free(world.listing[i].hostname);
		strings_free(world.listing[i].tags);
	}
	free(world.listing);
	free(world.repository);
	free(world.cache);
	free(world.source);
	temporary_directory_remove(world.directory);
	return 0;
}

/* ---- restic's verdict, and ours ---- */

static void
add_quota(char ***arguments, const char *option, int64_t number)
{
	cleanup_free char *words = xasprintf("--keep-%s=%lld", option, (long long)number);
	if (number > 0)
		strings_add(arguments, words);
}

/* The one group of `forget --dry-run`. The caller releases the document. */
static json_t *
ask_restic(const struct restic_under_test *restic, const struct retention_policy *policy)
{
	static const char *const words[] = {
	    "restic", "forget", "--dry-run", "--json", "--no-lock", "--tag=" TAG, "--host=" HOST, "--group-by="};
	cleanup_strings char **arguments = NULL;
	for (size_t i = 0; i < ARRAY_LENGTH(words); i++)
		strings_add(&arguments, words[i]);
	add_quota(&arguments, "last", policy->last);
	add_quota(&arguments, "daily", policy->daily);
	add_quota(&arguments, "weekly", policy->weekly);
	add_quota(&arguments, "monthly", policy->monthly);
	add_quota(&arguments, "yearly", policy->yearly);
	json_t *document = restic_json(restic, arguments);
	assert_int_equal(json_array_size(document), 1);
	return document;
}

/* restic's reasons for what it keeps, or NULL: it removes it. Its reasons are in the order of what it keeps. */
static char *
reasons_of_restic(const json_t *group, const char *id)
{
	size_t i;
	const json_t *snapshot;
	json_array_foreach (json_object_get(group, "keep"), i, snapshot) {
		if (strcmp(json_string_value(json_object_get(snapshot, "id")), id) != 0)
			continue;
		const json_t *reason = json_array_get(json_object_get(group, "reasons"), i);
		const json_t *matches = json_object_get(reason, "matches");
		cleanup_text struct text joined = {.string = NULL};
		for (size_t j = 0; j < json_array_size(matches); j++)
			text_printf(
			    &joined, "%s%s", j > 0 ? ", " : "", json_string_value(json_array_get(matches, j)));
		return text_take(&joined);
	}
	json_array_foreach (json_object_get(group, "remove"), i, snapshot)
		if (strcmp(json_string_value(json_object_get(snapshot, "id")), id) == 0)
			return NULL;
	fail_msg("restic does not judge the snapshot %s", id);
	return NULL;
}

static void
expect_same_verdict(const json_t *group, const struct retention_verdict *verdict, unsigned known)
{
	cleanup_free char *theirs = reasons_of_restic(group, verdict->snapshot.id);
	cleanup_strings char **words = retention_reason_words(verdict->reasons & known);
	cleanup_free char *ours = words == NULL ? NULL : text_join(words, ", ");
	const char *told = theirs == NULL ? "remove" : theirs;
	if (strcmp(ours == NULL ? "remove" : ours, told) != 0) {
		cleanup_free char *time = text_time_rfc3339(verdict->snapshot.time);
		fail_msg("%.8s of %s: ours '%s', restic's '%s'", verdict->snapshot.id, time, ours, told);
	}
}

/* Returns how many snapshots only the newer restics keep. */
static size_t
compare_plans(const struct restic_under_test *restic, const struct retention_policy *policy)
{
	cleanup_free struct retention_snapshot *snapshots = NULL;
	size_t count = retention_service_snapshots(world.listing, world.listed, SERVICE, HOST, &snapshots);
	cleanup_plan struct retention_plan plan = {.verdicts = NULL};
	assert_int_equal(retention_plan_make(policy, snapshots, count, NULL, &plan, NULL), 0);
	json_t *document = ask_restic(restic, policy);
	const json_t *group = json_array_get(document, 0);
	const unsigned known = restic->keeps_oldest ? ~0u : ~ONLY_NEWER;
	size_t only_newer = 0;
	for (size_t i = 0; i < plan.count; i++) {
		expect_same_verdict(group, &plan.verdicts[i], known);
		only_newer += plan.verdicts[i].reasons != 0 && (plan.verdicts[i].reasons & ~ONLY_NEWER) == 0;
	}
	size_t removed = plan.removed + (restic->keeps_oldest ? 0 : only_newer);
	assert_int_equal(json_array_size(json_object_get(group, "remove")), removed);
	assert_int_equal(json_array_size(json_object_get(group, "keep")), count - removed);
	json_decref(document);
	return only_newer;
}

static void
compare_with(const struct restic_under_test *restic)
{
	static const struct retention_policy policies[] = {
	    {3, 7, 5, 12, 0}, /* the default */
	    {1, 0, 0, 0, 0},
	    {200, 0, 0, 0, 0},
	    {0, 7, 0, 0, 0},
	    {0, 200, 0, 0, 0},
	    {0, 0, 5, 0, 0},
	    {0, 0, 200, 0, 0},
	    {0, 0, 0, 12, 0},
	    {0, 0, 0, 40, 0},
	    {0, 0, 0, 0, 2},
	    {0, 0, 0, 0, 3},
	    {0, 0, 0, 0, 10},
	    {2, 30, 10, 6, 1},
	    {5, 14, 8, 24, 10},
	};
	size_t only_newer = 0;
	for (size_t i = 0; i < ARRAY_LENGTH(policies); i++)
		only_newer += compare_plans(restic, &policies[i]);
	/* The rule that they differ in was tried. */
	assert_true(only_newer > 0);
}

static void
the_plan_is_that_of_restic_014_but_for_the_oldest(void **state)
{
	(void)state;
	compare_with(&restics[0]);
}

static void
the_plan_is_that_of_restic_018(void **state)
{
	(void)state;
	compare_with(&restics[1]);
}

static void
the_plan_is_that_of_restic_019(void **state)
{
	(void)state;
	compare_with(&restics[2]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_plan_is_that_of_restic_014_but_for_the_oldest),
	    cmocka_unit_test(the_plan_is_that_of_restic_018),
	    cmocka_unit_test(the_plan_is_that_of_restic_019),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
