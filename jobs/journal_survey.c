/* The survey: by what services are judged, for `status` and the like. */
#include "jobs/journal_internal.h"

#include "core/alloc.h"

#include <string.h>

/* How far the sweep goes back, in jobs per service: a night or two. It ends sooner when so few are left (one of so
 * many) that looking for each of them costs less: what is done once a week is always among those. */
#define SWEEP_DEPTH 4
#define FEW         50

struct sought {
	const char *service;
	size_t index;
	bool done; /* nobody wants to know about its older jobs */
};

struct survey {
	struct journal *journal;
	struct sought *sought; /* sorted by service */
	size_t count, open;
	size_t last;     /* where a service was found */
	int64_t reached; /* all jobs from this id on have been looked at */
	journal_survey_fn *each;
	void *context;
};

static int
compare_sought(const void *left, const void *right)
{
	return strcmp(((const struct sought *)left)->service, ((const struct sought *)right)->service);
}

/* Most come in the order of the services or against it, so that the next one is beside the last. */
static struct sought *
find_sought(struct survey *survey, const char *service)
{
	const struct sought key = {.service = service};
	size_t first = survey->last > 0 ? survey->last - 1 : 0;
	size_t end = survey->last + 2 < survey->count ? survey->last + 2 : survey->count;
	struct sought *found = NULL;
	for (size_t i = first; i < end && found == NULL; i++)
		if (strcmp(survey->sought[i].service, service) == 0)
			found = &survey->sought[i];
	if (found == NULL)
		found = bsearch(&key, survey->sought, survey->count, sizeof(*survey->sought), compare_sought);
	if (found != NULL)
		survey->last = (size_t)(found - survey->sought);
	return found;
}

static void
show_job(struct survey *survey, struct sought *sought, const struct statement *row)
{
	cleanup_job struct job_record job = {.id = 0};
	cleanup_error struct error reason = {.code = ERROR_NONE};
	if (journal_read_columns(row, &job, &reason) < 0 || survey->each(survey->context, sought->index, &job))
		return;
	sought->done = true;
	survey->open--;
}

/* The newest jobs of all services lie together at the table's end, in a fraction of the pages that a look into the
 * index for each service would touch. */
static int
sweep(struct survey *survey, struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(survey->journal,
		"SELECT " JOB_COLUMNS " FROM job WHERE quarantined = 0 ORDER BY id DESC LIMIT ?",
		VALUES(integer_value((int64_t)survey->count * SWEEP_DEPTH)), &row, error) < 0)
		return -1;
	int found = 0;
	while (survey->open > survey->count / FEW && (found = journal_step(survey->journal, row, error)) > 0) {
		struct sought *sought = find_sought(survey, column_text(row, COLUMN_SERVICE));
		if (sought != NULL && !sought->done)
			show_job(survey, sought, row);
		survey->reached = sqlite3_column_int64(row->handle, COLUMN_ID);
	}
	return found < 0 ? -1 : 0;
}

static int
look_further(struct survey *survey, struct sought *sought, struct error *error)
{
	cleanup_statement struct statement *row = NULL;
	if (journal_query(survey->journal,
		"SELECT " JOB_COLUMNS " FROM job WHERE service = ? AND id < ? AND quarantined = 0 ORDER BY id DESC",
		VALUES(text_value(sought->service), integer_value(survey->reached)), &row, error) < 0)
		return -1;
	int found = 0;
	while (!sought->done && (found = journal_step(survey->journal, row, error)) > 0)
		show_job(survey, sought, row);
	return found < 0 ? -1 : 0;
}

struct goods {
	struct survey *survey;
	struct last_good *goods;
};

static void
take_good(void *context, const char *service, struct last_good *good)
{
	const struct goods *goods = context;
	const struct sought *sought = find_sought(goods->survey, service);
	if (sought != NULL)
		goods->goods[sought->index] = *good;
	else
		last_good_clear(good);
}

static int
take(struct survey *survey, struct last_good *ret_goods, struct error *error)
{
	if (survey->count == 0)
		return 0;
	if (sweep(survey, error) < 0)
		return -1;
	for (size_t i = 0; i < survey->count; i++)
		if (!survey->sought[i].done && look_further(survey, &survey->sought[i], error) < 0)
			return -1;
	struct goods goods = {.survey = survey, .goods = ret_goods};
	return journal_last_goods(survey->journal, survey->sought[0].service,
	    survey->sought[survey->count - 1].service, take_good, &goods, error);
}

int
journal_survey(struct journal *journal, const char *const *services, size_t count, journal_survey_fn *each,
    void *context, struct last_good *ret_goods, struct error *error)
{
	cleanup_free struct sought *sought = xcalloc(count, sizeof(*sought));
	for (size_t i = 0; i < count; i++)
		sought[i] = (struct sought){.service = services[i], .index = i};
	qsort(sought, count, sizeof(*sought), compare_sought);
	struct survey survey = {
	    .journal = journal,
	    .sought = sought,
	    .count = count,
	    .open = count,
	    .reached = INT64_MAX,
	    .each = each,
	    .context = context,
	};
	/* One instant for all, and no locking and unlocking for each. */
	if (journal_execute(journal, "BEGIN", NO_VALUES, error) < 0)
		return -1;
	int result = take(&survey, ret_goods, error);
	sqlite3_exec(journal->database, "ROLLBACK", NULL, NULL, NULL);
	return result;
}
