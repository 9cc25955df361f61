/* Units that a test writes into /run/systemd/system, and what systemctl says of them: a second opinion that owes
 * nothing to the code under test. All of it blocks. */
#ifndef ATELIER_TESTS_SYSTEM_LAB_UNITS_H
#define ATELIER_TESTS_SYSTEM_LAB_UNITS_H

#include <stdbool.h>
#include <stdint.h>

/* A service that runs until it is stopped. */
#define SLEEPER "[Service]\nExecStart=/bin/sleep infinity\n"

/* Writes a unit file; lab_reload makes systemd read it. lab_forget_units stops and removes everything that was
 * written. */
void lab_unit(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
void lab_reload(void);
void lab_forget_units(void);

/* Runs a shell command; the test fails unless it exits 0. */
void lab_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Writes one unit, reloads and starts it. */
void lab_start_unit(const char *name, const char *text);

/* A property as systemctl shows it. The caller owns it. */
char *lab_property(const char *unit, const char *property);
bool lab_property_is(const char *unit, const char *property, const char *value);
bool lab_is_active(const char *unit);

/* The test fails if it does not come to that within ten seconds. */
void lab_wait_property(const char *unit, const char *property, const char *value);

#define assert_active(unit)     assert_true(lab_is_active(unit))
#define assert_not_active(unit) assert_false(lab_is_active(unit))

#endif
