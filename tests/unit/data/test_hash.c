/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: hashes agree with equality and tell different values apart, so that counting distinct
 * hashes counts values; tables in memory hash otherwise in each process. Method: pairs of JSON
 * texts, and more texts than hashes of 32 bits could keep apart.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weir/json.h>

#include "base/hash.h"

static uint64_t hash_of(struct weir_arena *arena, const char *text, struct weir_value *ret)
{
    struct weir_err err = {0};
    assert_int_equal(weir_json_parse(arena, weir_slice_of(text), NULL, ret, &err), WEIR_OK);
    return weir_value_hash(*ret);
}

static void equal_values_hash_equally(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"1", "1.0"},
        {"-0", "0"},
        {"1e2", "100"},
        {"9007199254740993", "9007199254740993.0"},
        {"12345678901234567890", "1.234567890123456789e19"},
        {"1e20", "100000000000000000000"},
        {"\"\\u0061b\"", "\"ab\""},
        {"{\"a\":1,\"b\":[2,3]}", "{ \"b\": [2, 3.0], \"a\": 1 }"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct weir_arena arena;
        weir_arena_init(&arena, 0);
        struct weir_value a, b;
        uint64_t hash_a = hash_of(&arena, pairs[i][0], &a),
                 hash_b = hash_of(&arena, pairs[i][1], &b);
        assert_true(weir_value_equal(a, b));
        assert_int_equal(hash_a, hash_b);
        weir_arena_done(&arena);
    }
}

static void different_values_hash_differently(void **state)
{
    (void)state;
    static const char *const texts[] = {"null",
                                        "false",
                                        "true",
                                        "0",
                                        "1",
                                        "-1",
                                        "\"\"",
                                        "\"0\"",
                                        "[]",
                                        "{}",
                                        "[[]]",
                                        "[0]",
                                        "9007199254740992",
                                        "9007199254740993",
                                        "-9007199254740993",
                                        "90071992547409930",
                                        "0.1",
                                        "0.10000000000000000001",
                                        "{\"a\":\"b\"}",
                                        "{\"b\":\"a\"}",
                                        "[1,2]",
                                        "[2,1]"};
    enum { COUNT = sizeof texts / sizeof texts[0] };
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    uint64_t hashes[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        struct weir_value value;
        hashes[i] = hash_of(&arena, texts[i], &value);
        for (size_t k = 0; k < i; k++) {
            assert_int_not_equal(hashes[i], hashes[k]);
        }
    }
    weir_arena_done(&arena);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void many_texts_keep_apart(void **state)
{
    (void)state;
    enum { COUNT = 500000 }; /* 32 bits would bring some 29 pairs together */
    uint64_t *hashes = malloc(COUNT * sizeof *hashes);
    assert_non_null(hashes);
    for (size_t i = 0; i < COUNT; i++) {
        char text[32];
        int size = snprintf(text, sizeof text, "user-%zu", i);
        hashes[i] = weir_value_hash((struct weir_value){
            .kind = WEIR_KIND_STRING, .size = (uint32_t)size, .as.bytes = text});
    }
    qsort(hashes, COUNT, sizeof *hashes, by_number);
    for (size_t i = 1; i < COUNT; i++) {
        assert_true(hashes[i] != hashes[i - 1]);
    }
    free(hashes);
}

static void tables_hash_by_a_seed_of_the_process(void **state)
{
    (void)state;
    assert_true(weir_hash_seed != 0);
    uint32_t before = weir_hash_key("user-1", 6), twice = weir_hash_key("user-1", 6);
    uint64_t seed = weir_hash_seed++;
    uint32_t after = weir_hash_key("user-1", 6);
    weir_hash_seed = seed;
    assert_int_equal(before, twice);
    assert_int_not_equal(before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_values_hash_equally),
        cmocka_unit_test(different_values_hash_differently),
        cmocka_unit_test(many_texts_keep_apart),
        cmocka_unit_test(tables_hash_by_a_seed_of_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
