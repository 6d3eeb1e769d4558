/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the manual clock moves only when told, and an instant is written as RFC 3339 says. Method:
 * fixed instants around every rule of the calendar, and each day of four centuries against the C
 * library's gmtime_r.
 */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void test_manual_stands_still(void **state)
{
    (void)state;
    struct weir_clock_manual manual;
    weir_clock_manual_init(&manual, 1000);
    const struct weir_clock *clock = &manual.clock;
    assert_int_equal(weir_clock_monotonic_ns(clock), 0);
    assert_int_equal(weir_clock_wall_ms(clock), 1000);
    assert_int_equal(weir_clock_wall_ms(clock), 1000);
    weir_clock_manual_advance_ns(&manual, 5 * WEIR_NS_PER_MS);
    assert_int_equal(weir_clock_monotonic_ns(clock), 5 * WEIR_NS_PER_MS);
    assert_int_equal(weir_clock_wall_ms(clock), 1005);
    weir_clock_manual_set_wall_ms(&manual, 10);
    assert_int_equal(weir_clock_wall_ms(clock), 10);
    assert_int_equal(weir_clock_monotonic_ns(clock), 5 * WEIR_NS_PER_MS);
    weir_clock_manual_advance_ns(&manual, WEIR_NS_PER_MS);
    assert_int_equal(weir_clock_wall_ms(clock), 11);
}

static void test_system_goes_on(void **state)
{
    (void)state;
    const struct weir_clock *clock = weir_clock_system();
    int64_t before = weir_clock_monotonic_ns(clock);
    assert_true(weir_clock_monotonic_ns(clock) >= before);
    assert_true(weir_clock_wall_ms(clock) > INT64_C(1700000000000));
}

static void test_format(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868799999, "2000-02-29T23:59:59.999Z"},
        {1357016400000, "2013-01-01T05:00:00.000Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {-62167219200000, "0000-01-01T00:00:00.000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[WEIR_TIME_TEXT_SIZE];
        weir_time_format(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_format_every_day(void **state)
{
    (void)state;
    for (int64_t day = -80000; day < 70000; day++) {
        time_t seconds = (time_t)(day * 86400 + day % 1000);
        struct tm parts;
        assert_non_null(gmtime_r(&seconds, &parts));
        char expected[64], text[WEIR_TIME_TEXT_SIZE];
        assert_int_not_equal(strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%S.007Z", &parts),
                             0);
        weir_time_format((int64_t)seconds * 1000 + 7, text);
        assert_string_equal(text, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manual_stands_still),
        cmocka_unit_test(test_system_goes_on),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_every_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
