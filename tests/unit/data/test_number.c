/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: doubles print with the fewest digits that read back the same, in jq's notation, and
 * decimals compare exactly. Method: known texts, and a seeded million of doubles of all sizes that
 * must survive the round trip with no more digits than printf needs.
 */
#include "data/number.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void format(double number, char ret[WEIR_NUMBER_TEXT_MAX + 1])
{
    ret[weir_number_format(number, ret)] = '\0';
}

static void known_doubles_print_as_jq_prints_them(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {1e16, "1e+16"},
        {1e17, "1e+17"},
        {123456789012345680, "123456789012345680"},
        {1e-4, "0.0001"},
        {1e-5, "1e-05"},
        {0.000123, "0.000123"},
        {1.5e300, "1.5e+300"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {HUGE_VAL, "1.7976931348623157e+308"},
        {-HUGE_VAL, "-1.7976931348623157e+308"},
        {9007199254740992.0, "9007199254740992"},
        {100, "100"},
        {0x1p-489, "6.256509672447191e-148"},
        {3.0e-7, "3e-07"},
        {-1.2345678901234567e31, "-12345678901234567000000000000000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[WEIR_NUMBER_TEXT_MAX + 1];
        format(cases[i].number, text);
        assert_string_equal(text, cases[i].text);
    }
}

static size_t count_digits(const char *text)
{
    size_t digits = 0, zeros = 0;
    bool seen = false;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text < '0' || *text > '9') {
            continue;
        }
        seen |= *text != '0';
        digits += seen;
        zeros = *text == '0' ? zeros + 1 : 0;
    }
    return digits > zeros ? digits - zeros : 1;
}

static void any_double_survives_with_fewest_digits(void **state)
{
    (void)state;
    uint64_t seed = 42;
    for (int i = 0; i < 300000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = seed ^ seed >> 29;
        double number;
        memcpy(&number, &bits, sizeof number);
        if (i % 3 == 1) {
            number = (double)(bits >> 40) / 1000;
        } else if (i % 3 == 2) {
            number = (double)(int64_t)bits / 7;
        }
        if (!isfinite(number)) {
            continue;
        }
        char text[WEIR_NUMBER_TEXT_MAX + 1], shorter[64];
        format(number, text);
        assert_true(weir_number_parse(text, strlen(text)) == number);
        assert_true(strtod(text, NULL) == number);
        size_t digits = count_digits(text);
        if (digits > 1) {
            snprintf(shorter, sizeof shorter, "%.*e", (int)digits - 2, number);
            assert_true(strtod(shorter, NULL) != number);
        }
    }
}

static int compare(const char *a, const char *b)
{
    struct weir_decimal left, right;
    assert_true(weir_decimal_parse(weir_slice_of(a), &left));
    assert_true(weir_decimal_parse(weir_slice_of(b), &right));
    return weir_decimal_compare(&left, &right);
}

static void decimals_compare_exactly(void **state)
{
    (void)state;
    static const char *const ascending[] = {"-infinity",
                                            "-1e400",
                                            "-2",
                                            "-1.5",
                                            "-1.49999999999999999999",
                                            "-1e-400",
                                            "0",
                                            "1e-400",
                                            "0.1",
                                            "0.10000000000000000001",
                                            "1",
                                            "9007199254740992",
                                            "9007199254740993",
                                            "1e400",
                                            "inf"};
    size_t count = sizeof ascending / sizeof ascending[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            int order = compare(ascending[i], ascending[j]);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
        }
    }
    assert_int_equal(compare("1.0", "1"), 0);
    assert_int_equal(compare("100", "1e2"), 0);
    assert_int_equal(compare("-0", "0.00"), 0);
    assert_int_equal(compare("0.00120", "1.2e-3"), 0);
}

static void long_decimals_round_through_17_digits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double number;
    } cases[] = {
        {"0.1", 0.1},
        {"123456789012345678901234567890", 1.2345678901234568e29},
        {"0.3000000000000000166533453693773481063544750213623046875", 0.30000000000000002},
        {"1e400", HUGE_VAL},
        {"-1e400", -HUGE_VAL},
        {"1e-400", 0},
        {"99999999999999999999", 1e20},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(weir_number_parse(cases[i].text, strlen(cases[i].text)) == cases[i].number);
    }
    assert_true(isnan(weir_number_parse("x", 1)));
    assert_true(isnan(weir_number_parse("1e", 2)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_doubles_print_as_jq_prints_them),
        cmocka_unit_test(any_double_survives_with_fewest_digits),
        cmocka_unit_test(decimals_compare_exactly),
        cmocka_unit_test(long_decimals_round_through_17_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
