#include "core/error.h"

#include "core/alloc.h"

#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const enum error_code all_codes[] = {
#define X(name, word, class) ERROR_##name,
    ERROR_CODE_LIST(X)
#undef X
};

static void
every_code_is_found_by_its_word(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(all_codes); i++) {
		assert_int_equal(error_code_from_word(error_code_word(all_codes[i])), all_codes[i]);
		assert_non_null(error_class_word(error_class_of(all_codes[i])));
	}
}

static void
an_unknown_word_is_internal(void **state)
{
	(void)state;
	assert_int_equal(error_code_from_word("from-a-later-version"), ERROR_INTERNAL);
	assert_int_equal(error_code_from_word(""), ERROR_INTERNAL);
}

static void
classes_say_what_to_do(void **state)
{
	(void)state;
	assert_int_equal(error_class_of(ERROR_NONE), ERROR_CLASS_NONE);
	assert_int_equal(error_class_of(ERROR_REPOSITORY_LOCKED), ERROR_CLASS_BUSY);
	assert_int_equal(error_class_of(ERROR_REPOSITORY_UNREACHABLE), ERROR_CLASS_TRANSIENT);
	assert_int_equal(error_class_of(ERROR_SOURCE_PARTLY_UNREADABLE), ERROR_CLASS_PARTIAL);
	assert_int_equal(error_class_of(ERROR_INTERNAL), ERROR_CLASS_BUG);
	assert_string_equal(error_class_word(ERROR_CLASS_BUG), "bug");
}

static void
setting_replaces_and_returns_failure(void **state)
{
	(void)state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_false(error_is_set(&error));
	assert_int_equal(error_set(&error, ERROR_USAGE, "first"), -1);
	assert_int_equal(error_hint(&error, "do %s", "this"), -1);
	assert_string_equal(error.hint, "do this");
	assert_int_equal(error_set(&error, ERROR_SYSTEM, "second: %d", 2), -1);
	assert_true(error_is_set(&error));
	assert_int_equal(error.code, ERROR_SYSTEM);
	assert_string_equal(error.message, "second: 2");
	assert_null(error.hint);
}

static void
the_old_message_may_be_part_of_the_new_one(void **state)
{
	(void)state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	error_set(&error, ERROR_SYSTEM, "the disk is gone");
	error_set(&error, ERROR_JOURNAL, "cannot write: %s", error.message);
	assert_string_equal(error.message, "cannot write: the disk is gone");
}

static void
a_prefix_keeps_code_and_hint(void **state)
{
	(void)state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	assert_int_equal(error_prefix(&error, "nothing to prefix"), -1);
	assert_false(error_is_set(&error));
	error_set(&error, ERROR_SYSTEM, "no");
	error_hint(&error, "hint");
	error_prefix(&error, "while %s", "trying");
	assert_int_equal(error.code, ERROR_SYSTEM);
	assert_string_equal(error.message, "while trying: no");
	assert_string_equal(error.hint, "hint");
}

static void
words_of_others_are_made_printable(void **state)
{
	(void)state;
	cleanup_error struct error error = {.code = ERROR_NONE};
	error_set(&error, ERROR_RESTIC_FAILED, "said \x1b]0;owned\a");
	error_hint(&error, "a\nb");
	error_prefix(&error, "\x1b[2J");
	assert_string_equal(error.message, "?[2J: said ?]0;owned?");
	assert_string_equal(error.hint, "a?b");
}

static void
nobody_has_to_listen(void **state)
{
	(void)state;
	assert_int_equal(error_set(NULL, ERROR_SYSTEM, "%d", 1), -1);
	assert_int_equal(error_hint(NULL, "%d", 1), -1);
	assert_int_equal(error_prefix(NULL, "%d", 1), -1);
	error_clear(NULL);
}

static void
a_copy_is_its_own(void **state)
{
	(void)state;
	cleanup_error struct error source = {.code = ERROR_NONE};
	cleanup_error struct error target = {.code = ERROR_NONE};
	error_set(&source, ERROR_SECRET, "empty");
	error_set(&target, ERROR_USAGE, "old");
	error_copy(&target, &source);
	error_clear(&source);
	assert_int_equal(target.code, ERROR_SECRET);
	assert_string_equal(target.message, "empty");
	error_copy(&target, &target);
	assert_string_equal(target.message, "empty");
}

static void
a_move_empties_the_source(void **state)
{
	(void)state;
	cleanup_error struct error source = {.code = ERROR_NONE};
	cleanup_error struct error target = {.code = ERROR_NONE};
	error_set(&source, ERROR_SECRET, "empty");
	error_set(&target, ERROR_USAGE, "old");
	error_move(&target, &source);
	assert_false(error_is_set(&source));
	assert_null(source.message);
	assert_string_equal(target.message, "empty");
	error_move(&target, &target);
	assert_string_equal(target.message, "empty");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_code_is_found_by_its_word),
	    cmocka_unit_test(an_unknown_word_is_internal),
	    cmocka_unit_test(classes_say_what_to_do),
	    cmocka_unit_test(setting_replaces_and_returns_failure),
	    cmocka_unit_test(the_old_message_may_be_part_of_the_new_one),
	    cmocka_unit_test(a_prefix_keeps_code_and_hint),
	    cmocka_unit_test(words_of_others_are_made_printable),
	    cmocka_unit_test(nobody_has_to_listen),
	    cmocka_unit_test(a_copy_is_its_own),
	    cmocka_unit_test(a_move_empties_the_source),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
