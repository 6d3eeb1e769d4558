/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the same seed gives the same numbers, for ever, and draws are fair. Method: the published
 * first outputs of xoshiro256** for a known state, and coarse counts.
 */
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_reference(void **state)
{
    (void)state;
    struct weir_random random = {{1, 2, 3, 4}};
    static const uint64_t expected[] = {
        11520, 0, 1509978240, 1215971899390074240, 1216172134540287360, 607988272756665600};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_int_equal(weir_random_next(&random), expected[i]);
    }
}

static void test_seeded(void **state)
{
    (void)state;
    struct weir_random a, b, c;
    weir_random_init(&a, 42);
    weir_random_init(&b, 42);
    weir_random_init(&c, 43);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t drawn = weir_random_next(&a);
        assert_int_equal(drawn, weir_random_next(&b));
        differs |= drawn != weir_random_next(&c);
    }
    assert_true(differs);
}

static void test_below_is_fair(void **state)
{
    (void)state;
    struct weir_random random;
    weir_random_init(&random, 0);
    int counts[10] = {0};
    for (int i = 0; i < 100000; i++) {
        counts[weir_random_below(&random, 10)]++;
        double real = weir_random_double(&random);
        assert_true(real >= 0 && real < 1);
    }
    for (int i = 0; i < 10; i++) {
        assert_in_range(counts[i], 9500, 10500);
    }
    assert_int_equal(weir_random_below(&random, 1), 0);
}

static void test_uuid(void **state)
{
    (void)state;
    struct weir_random random;
    weir_random_init_system(&random);
    char text[WEIR_UUID_TEXT_SIZE], other[WEIR_UUID_TEXT_SIZE];
    weir_random_uuid(&random, text);
    weir_random_uuid(&random, other);
    assert_int_equal(strlen(text), 36);
    assert_int_equal(strspn(text, "0123456789abcdef-"), 36);
    assert_int_equal(text[14], '4');
    assert_non_null(strchr("89ab", text[19]));
    assert_true(text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-');
    assert_string_not_equal(text, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_seeded),
        cmocka_unit_test(test_below_is_fair),
        cmocka_unit_test(test_uuid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
