/* The cases of the systemd adapter's test, by what they are about. Each runs with lab_setup and lab_teardown. */
#ifndef ATELIER_TESTS_SYSTEM_SYSTEMD_CASES_H
#define ATELIER_TESTS_SYSTEM_SYSTEMD_CASES_H

#define INSPECT_CASES(X)                                                                                             \
	X(inspect_lists_what_falls_and_what_wakes)                                                                   \
	X(inspect_finds_what_requires_an_inactive_unit)                                                              \
	X(inspect_resolves_an_alias)                                                                                 \
	X(inspect_marks_a_crash_looping_unit)                                                                        \
	X(inspect_takes_a_restarting_unit_for_active)                                                                \
	X(inspect_takes_a_stopping_unit_for_inactive)                                                                \
	X(inspect_refuses_names_that_are_no_units)                                                                   \
	X(inspect_refuses_a_masked_or_deleted_unit)                                                                  \
	X(inspect_refuses_a_transient_unit)                                                                          \
	X(inspect_refuses_what_systemd_would_refuse)                                                                 \
	X(inspect_refuses_an_upheld_unit)                                                                            \
	X(inspect_refuses_what_our_own_unit_requires)

#define STOP_CASES(X)                                                                                                \
	X(a_service_stops_and_comes_back)                                                                            \
	X(an_inactive_unit_stays_inactive)                                                                           \
	X(triggered_services_stay_down_and_come_back)                                                                \
	X(dependants_come_back)                                                                                      \
	X(unrecorded_dependants_are_extra)                                                                           \
	X(restart_always_stays_down)                                                                                 \
	X(a_slow_stop_is_waited_for)                                                                                 \
	X(a_dependant_that_stops_slowly_is_waited_for)                                                               \
	X(a_killed_service_is_unclean)                                                                               \
	X(a_failing_exit_is_clean)                                                                                   \
	X(left_processes_are_unclean)                                                                                \
	X(a_stop_timeout_may_be_extended)                                                                            \
	X(an_upheld_unit_does_not_stop)                                                                              \
	X(a_unit_stops_after_what_upholds_it)                                                                        \
	X(a_frozen_unit_does_not_stop)                                                                               \
	X(a_unit_that_refuses_does_not_stop)                                                                         \
	X(a_unit_started_before_the_stop_is_left_alone)                                                              \
	X(a_template_instance_comes_back)                                                                            \
	X(an_alias_comes_back)                                                                                       \
	X(fifty_units_stop_and_come_back)                                                                            \
	X(a_watch_tells_of_a_unit_that_returns)                                                                      \
	X(a_watch_tells_of_a_run_too_short_to_see)                                                                   \
	X(a_watch_tells_of_a_unit_that_is_active_at_once)

#define START_CASES(X)                                                                                               \
	X(a_failing_start_is_told_and_the_others_run)                                                                \
	X(a_service_that_dies_soon_is_told)                                                                          \
	X(a_service_that_crashes_once_settles)                                                                       \
	X(a_service_that_keeps_crashing_is_told)                                                                     \
	X(a_notify_service_is_waited_for)                                                                            \
	X(a_oneshot_that_remains_runs_again)                                                                         \
	X(a_oneshot_at_work_counts_as_running)                                                                       \
	X(a_short_oneshot_counts_as_started)                                                                         \
	X(a_skipped_start_is_told)                                                                                   \
	X(a_failing_requirement_is_told)                                                                             \
	X(a_masked_unit_is_told)                                                                                     \
	X(a_start_limit_is_reset_once)                                                                               \
	X(a_crash_looping_unit_gets_another_try)                                                                     \
	X(an_active_unit_counts_as_started)                                                                          \
	X(an_inactive_entry_is_not_started)                                                                          \
	X(a_socket_starts_before_its_service)                                                                        \
	X(a_socket_whose_service_runs_comes_back)

#define SURVIVAL_CASES(X)                                                                                            \
	X(a_stop_survives_a_reload)                                                                                  \
	X(a_stop_survives_a_reexec)                                                                                  \
	X(a_start_survives_a_reload)                                                                                 \
	X(a_start_survives_a_reexec)                                                                                 \
	X(a_reload_and_a_reexec_are_survived_on_the_bus)                                                             \
	X(calls_begun_during_a_reexec_end_well)                                                                      \
	X(a_stop_survives_the_death_of_the_bus_daemon)                                                               \
	X(the_private_socket_needs_no_bus_daemon)                                                                    \
	X(a_call_ends_when_the_connection_stays_away)                                                                \
	X(a_watch_survives_a_reexec)                                                                                 \
	X(callbacks_may_end_everything)                                                                              \
	X(an_abandoned_stop_goes_on_without_us)

#define X(name) void name(void **state);
INSPECT_CASES(X)
STOP_CASES(X)
START_CASES(X)
SURVIVAL_CASES(X)
#undef X

#endif
