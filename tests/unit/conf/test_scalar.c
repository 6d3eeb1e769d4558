/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: values with units parse exactly or not at all, and what is formatted parses to the same
 * value. Method: tables of texts with their values, texts that are refused, and round trips.
 */
#include "conf/scalar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct row {
    const char *text;
    int64_t value;
};

typedef bool parse_function(struct weir_slice text, int64_t *ret_value);

static void check_rows(parse_function *parse, const struct row *rows, const char *const *refused)
{
    for (; rows->text != NULL; rows++) {
        int64_t value = -1;
        if (!parse(weir_slice_of(rows->text), &value) || value != rows->value) {
            fail_msg("%s: %lld", rows->text, (long long)value);
        }
    }
    for (; *refused != NULL; refused++) {
        int64_t value = 0;
        if (parse(weir_slice_of(*refused), &value)) {
            fail_msg("%s was taken as %lld", *refused, (long long)value);
        }
    }
}

static void integers(void **state)
{
    (void)state;
    static const struct row rows[] = {{"0", 0},
                                      {"-7", -7},
                                      {"+7", 7},
                                      {"1_000_000", 1000000},
                                      {"9223372036854775807", INT64_MAX},
                                      {"-9223372036854775808", INT64_MIN},
                                      {NULL, 0}};
    static const char *const refused[] = {
        "", "-", "1.0", "1e3", "0x10", " 1", "_1", "1_", "9223372036854775808", NULL};
    check_rows(weir_parse_int, rows, refused);
}

static void durations(void **state)
{
    (void)state;
    static const struct row rows[] = {{"0", 0},          {"0s", 0},       {"10ms", 10},
                                      {"1s", 1000},      {"1.5s", 1500},  {"0.001s", 1},
                                      {"5m", 300000},    {"5 m", 300000}, {"1h", 3600000},
                                      {"2d", 172800000}, {NULL, 0}};
    static const char *const refused[] = {"",     "5",   "s",    "-1s",   "1.5ms",
                                          "1.s",  ".5s", "1s2m", "5 min", "1S",
                                          "1e3s", "1w",  "1..2", "1us",   "99999999999999999d",
                                          NULL};
    check_rows(weir_parse_duration, rows, refused);
}

static void sizes(void **state)
{
    (void)state;
    static const struct row rows[] = {{"0", 0},
                                      {"512", 512},
                                      {"512B", 512},
                                      {"64KiB", 65536},
                                      {"1.5MiB", 1572864},
                                      {"10MB", 10000000},
                                      {"1kB", 1000},
                                      {"2TiB", INT64_C(2) << 40},
                                      {NULL, 0}};
    static const char *const refused[] = {"",   "64K", "64kib",        "1.5B",
                                          "-1", "MB",  "9999999999TB", NULL};
    check_rows(weir_parse_size, rows, refused);
}

static void times(void **state)
{
    (void)state;
    static const struct row rows[] = {{"0", 0},
                                      {"1700000000123", 1700000000123},
                                      {"1970-01-01", 0},
                                      {"2026-01-31T12:00:00Z", 1769860800000},
                                      {"2026-01-31T13:00:00.25+01:00", 1769860800250},
                                      {"2026-01-31 12:00:00z", 1769860800000},
                                      {"1969-12-31T23:59:59Z", -1000},
                                      {"2024-02-29", 1709164800000},
                                      {NULL, 0}};
    static const char *const refused[] = {"2026-02-29",
                                          "2026-13-01",
                                          "2026-1-1",
                                          "2026-01-31T12:00Z",
                                          "2026-01-31T12:00:00",
                                          "2026-01-31T24:00:00Z",
                                          "2026-01-31T12:00:00.Z",
                                          "yesterday",
                                          "",
                                          "2026-01-31T12:00:00+25:00",
                                          NULL};
    check_rows(weir_parse_time, rows, refused);
}

static void ranges(void **state)
{
    (void)state;
    struct weir_duration_range range;
    assert_true(weir_parse_duration_range(WEIR_SLICE("100ms..10s"), &range));
    assert_int_equal(range.min, 100);
    assert_int_equal(range.max, 10000);
    assert_true(weir_parse_duration_range(WEIR_SLICE("1s"), &range));
    assert_int_equal(range.min, 1000);
    assert_int_equal(range.max, 1000);
    assert_false(weir_parse_duration_range(WEIR_SLICE("10s..1s"), &range));
    assert_false(weir_parse_duration_range(WEIR_SLICE("1s.."), &range));
    assert_false(weir_parse_duration_range(WEIR_SLICE("..1s"), &range));
}

typedef void format_function(int64_t value, struct weir_strbuf *out);

static void check_round_trip(parse_function *parse, format_function *format, int64_t value)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, 64);
    format(value, &buf);
    int64_t back = value + 1;
    if (!parse(weir_strbuf_view(&buf), &back) || back != value) {
        fail_msg("%lld became %s became %lld", (long long)value, buf.data, (long long)back);
    }
    weir_strbuf_done(&buf);
}

static void formatted_values_parse_back(void **state)
{
    (void)state;
    for (int64_t value = 0; value < INT64_MAX / 8; value = value * 7 + 1) {
        check_round_trip(weir_parse_duration, weir_format_duration, value);
        check_round_trip(weir_parse_size, weir_format_size, value);
        check_round_trip(weir_parse_size, weir_format_size, value * 8);
        check_round_trip(weir_parse_duration, weir_format_duration, value / 1000 * 1000);
    }
    for (int64_t value = -62135596800000; value < 253402300799999; value += 86399999999) {
        check_round_trip(weir_parse_time, weir_format_time, value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers), cmocka_unit_test(durations),
        cmocka_unit_test(sizes),    cmocka_unit_test(times),
        cmocka_unit_test(ranges),   cmocka_unit_test(formatted_values_parse_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
