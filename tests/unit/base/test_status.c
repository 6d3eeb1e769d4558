/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the status table is complete and unambiguous, and an error keeps its first cause and a
 * bounded text. Method: walk the table; overfill every field of struct weir_err.
 */
#include <weir/status.h>

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void every_status_has_name_text_and_class(void **state)
{
    (void)state;
    for (int i = 0; i < WEIR_STATUS_COUNT; i++) {
        const char *name = weir_status_name((weir_status)i);
        assert_non_null(name);
        assert_true(strlen(name) > 0 && strlen(weir_status_text((weir_status)i)) > 0);
        for (const char *c = name; *c != '\0'; c++) {
            assert_true(islower((unsigned char)*c) || *c == '_');
        }
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(name, weir_status_name((weir_status)k));
        }
    }
    assert_int_equal(weir_status_class(WEIR_OK), WEIR_CLASS_NONE);
    assert_int_equal(weir_status_class(WEIR_TIMEOUT), WEIR_CLASS_TRANSIENT);
    assert_int_equal(weir_status_class(WEIR_INVALID), WEIR_CLASS_PERMANENT);
    assert_int_equal(weir_status_class(WEIR_UNAVAILABLE), WEIR_CLASS_UNAVAILABLE);
    assert_int_equal(weir_status_class(WEIR_FENCED), WEIR_CLASS_FATAL);
}

static void first_error_wins(void **state)
{
    (void)state;
    struct weir_err err = {0};
    assert_int_equal(weir_fail(&err, WEIR_IO, "cannot read %s", "a"), WEIR_IO);
    assert_int_equal(weir_fail(&err, WEIR_FATAL, "later"), WEIR_FATAL);
    assert_int_equal(err.status, WEIR_IO);
    assert_string_equal(err.message, "cannot read a");
    weir_err_hint(&err, "try %d", 1);
    weir_err_hint(&err, "try %d", 2);
    assert_string_equal(err.hint, "try 1");
    weir_err_clear(&err);
    assert_int_equal(err.status, WEIR_OK);
    assert_string_equal(err.message, "");
}

static void path_grows_from_the_left(void **state)
{
    (void)state;
    struct weir_err err = {0};
    weir_err_path(&err, "brokers");
    weir_err_path(&err, "kafka");
    weir_err_path(&err, "source");
    assert_string_equal(err.path, "source.kafka.brokers");
}

static void texts_are_cut_not_overrun(void **state)
{
    (void)state;
    char big[1000];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    struct weir_err err = {0};
    weir_fail(&err, WEIR_IO, "%s", big);
    weir_err_hint(&err, "%s", big);
    for (int i = 0; i < 20; i++) {
        weir_err_path(&err, "component");
    }
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    assert_int_equal(strlen(err.hint), sizeof(err.hint) - 1);
    assert_true(strlen(err.path) < sizeof(err.path));
    assert_memory_equal(err.path, "component.component", 19);
}

static void no_error_wanted_is_fine(void **state)
{
    (void)state;
    assert_int_equal(weir_fail(NULL, WEIR_IO, "nobody listens"), WEIR_IO);
    weir_err_hint(NULL, "nobody");
    weir_err_path(NULL, "nobody");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_name_text_and_class),
        cmocka_unit_test(first_error_wins),
        cmocka_unit_test(path_grows_from_the_left),
        cmocka_unit_test(texts_are_cut_not_overrun),
        cmocka_unit_test(no_error_wanted_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
