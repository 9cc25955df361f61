/* The calls of the systemd adapter, each driven on a loop of its own to its end. */
#ifndef ATELIER_TESTS_SYSTEM_LAB_CALLS_H
#define ATELIER_TESTS_SYSTEM_LAB_CALLS_H

#include "adapters/systemd.h"
#include "core/clock.h"

struct lab {
	struct event_base *base;
	struct systemd *systemd;
};

/* cmocka's setup and teardown; a teardown ends everything the test left behind. */
int lab_setup(void **state);
int lab_teardown(void **state);

/* Opens the adapter again in another way: the manager's own socket is out of reach meanwhile, so it is the bus. */
void lab_use_system_bus(struct lab *lab);

/* Runs the loop until the flag is set; the test fails if that takes longer than 30 s. */
void lab_run_until(struct lab *lab, const bool *flag);

/* Runs the loop for so long. */
void lab_run_for(struct lab *lab, int64_t microseconds);

/* Runs the loop until a unit has come so far. */
void lab_run_until_property(struct lab *lab, const char *unit, const char *property, const char *value);

/* lab_inspect(lab, "a.service", "b.service"). The list stays valid until the caller clears it. */
#define lab_inspect(lab, ...) lab_inspect_names(lab, (const char *const[]){__VA_ARGS__, NULL})
struct unit_list lab_inspect_names(struct lab *lab, const char *const *names);
const struct unit *lab_inspect_one(struct lab *lab, const char *name, struct unit_list *ret_list);

struct lab_stop {
	bool done;
	struct unit_stop_result result;
	int64_t elapsed;
};
void lab_stop_begin(struct lab *lab, const struct unit_list *units, struct lab_stop *stop);
void lab_stop_end(struct lab *lab, struct lab_stop *stop);
void lab_stop(struct lab *lab, const struct unit_list *units, struct lab_stop *stop);
void lab_stop_clear(struct lab_stop *stop);

struct lab_start {
	bool done;
	struct error error;
	char **started;
	int64_t elapsed;
};
void lab_start_begin(struct lab *lab, const struct unit_list *units, struct lab_start *start);
void lab_start_end(struct lab *lab, struct lab_start *start);
void lab_start(struct lab *lab, const struct unit_list *units, struct lab_start *start);
void lab_start_clear(struct lab_start *start);

#define cleanup_stop  __attribute__((cleanup(lab_stop_clear)))
#define cleanup_start __attribute__((cleanup(lab_start_clear)))

/* How long lab_start lets units settle. */
#define LAB_SETTLE (300 * USEC_PER_MSEC)

#define assert_stopped(stop)                                                                                         \
	do {                                                                                                         \
		if (error_is_set(&(stop)->result.error))                                                             \
			fail_msg("%s", (stop)->result.error.message);                                                \
	} while (0)

#define assert_started(start)                                                                                        \
	do {                                                                                                         \
		if (error_is_set(&(start)->error))                                                                   \
			fail_msg("%s", (start)->error.message);                                                      \
	} while (0)

#endif
