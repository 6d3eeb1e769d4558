/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: an arena hands out aligned, disjoint memory that stays intact until reset, obeys its limit,
 * and survives a system without memory. Method: fill blocks with patterns and read them all back.
 */
#include <weir/arena.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void allocations_are_aligned_and_disjoint(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    static unsigned char *blocks[COUNT];
    static size_t sizes[COUNT];
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = i % 97 == 0 ? 300 * i : (i * 7) % 211;
        blocks[i] = weir_arena_alloc(&arena, sizes[i]);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], (int)(i & 0xff), sizes[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < sizes[i]; k++) {
            assert_int_equal(blocks[i][k], i & 0xff);
        }
    }
    weir_arena_done(&arena);
    assert_int_equal(arena.used_bytes, 0);
}

static void large_object_leaves_the_current_block_in_use(void **state)
{
    (void)state;
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    char *small = weir_arena_alloc(&arena, 16);
    char *large = weir_arena_alloc(&arena, 8 * 1024 * 1024);
    char *next = weir_arena_alloc(&arena, 16);
    assert_non_null(large);
    assert_ptr_equal(next, small + 16);
    weir_arena_done(&arena);
}

static void limit_is_obeyed(void **state)
{
    (void)state;
    enum { LIMIT = 64 * 1024 };
    struct weir_arena arena;
    weir_arena_init(&arena, LIMIT);
    assert_null(weir_arena_alloc(&arena, LIMIT));
    assert_null(weir_arena_alloc(&arena, SIZE_MAX));
    assert_null(weir_arena_alloc(&arena, SIZE_MAX - 8));
    size_t total = 0;
    while (weir_arena_alloc(&arena, 1000) != NULL) {
        total += 1000;
        assert_true(total <= LIMIT);
        assert_true(arena.used_bytes <= LIMIT);
    }
    assert_true(total >= LIMIT / 2);
    weir_arena_reset(&arena);
    assert_non_null(weir_arena_alloc(&arena, 1000));
    weir_arena_done(&arena);
}

/* The same work after a reset asks the system for nothing: it gets the same blocks again. */
static void reset_keeps_blocks_up_to_a_limit(void **state)
{
    (void)state;
    enum { COUNT = 300, SIZE = 10000, KEPT = 4 << 20 };
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    for (int i = 0; i < COUNT; i++) {
        assert_non_null(weir_arena_alloc(&arena, SIZE));
    }
    const struct weir_arena_block *newest = arena.block;
    size_t before = arena.used_bytes;
    weir_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    assert_ptr_equal(arena.spare, newest);
    for (int i = 0; i < COUNT; i++) {
        memset(weir_arena_alloc(&arena, SIZE), 1, SIZE);
    }
    assert_true(arena.used_bytes <= before + SIZE);
    for (int i = 0; i < 4 * COUNT; i++) {
        assert_non_null(weir_arena_alloc(&arena, SIZE));
    }
    assert_true(arena.used_bytes > 2 * KEPT);
    weir_arena_reset(&arena);
    int got = 0;
    while (arena.spare != NULL || arena.block == NULL) {
        assert_non_null(weir_arena_alloc(&arena, SIZE));
        got++;
    }
    assert_true(got * SIZE <= KEPT);
    weir_arena_done(&arena);
}

static void the_newest_memory_grows_and_shrinks_in_place(void **state)
{
    (void)state;
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    char *memory = weir_arena_alloc(&arena, 100);
    memset(memory, 7, 100);
    assert_ptr_equal(weir_arena_regrow(&arena, memory, 100, 200), memory);
    char *other = weir_arena_alloc(&arena, 16);
    char *moved = weir_arena_regrow(&arena, memory, 200, 300);
    assert_ptr_not_equal(moved, memory);
    assert_memory_equal(moved, memory, 100);
    weir_arena_shrink(&arena, other, 16, 0); /* not the newest: nothing happens */
    assert_ptr_equal(weir_arena_alloc(&arena, 16), moved + 304);
    weir_arena_shrink(&arena, moved + 304, 16, 0);
    assert_ptr_equal(weir_arena_alloc(&arena, 16), moved + 304);
    assert_null(weir_arena_regrow(&arena, moved, 300, SIZE_MAX));
    weir_arena_done(&arena);
}

static void reset_gives_back_an_oversized_block(void **state)
{
    (void)state;
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    assert_non_null(weir_arena_alloc(&arena, 64u << 20));
    weir_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    assert_non_null(weir_arena_alloc(&arena, 1));
    weir_arena_done(&arena);
}

static void calloc_zeroes_and_checks_overflow(void **state)
{
    (void)state;
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    memset(weir_arena_alloc(&arena, 3000), 0xff, 3000);
    weir_arena_reset(&arena);
    const unsigned char *bytes = weir_arena_calloc(&arena, 300, 10);
    for (size_t i = 0; i < 3000; i++) {
        assert_int_equal(bytes[i], 0);
    }
    assert_null(weir_arena_calloc(&arena, SIZE_MAX / 16 + 2, 16)); /* wraps to 16 */
    weir_arena_done(&arena);
}

static void texts_are_copied_and_terminated(void **state)
{
    (void)state;
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    struct weir_slice copy = weir_arena_copy(&arena, (struct weir_slice){"a\0b", 3});
    assert_int_equal(copy.size, 3);
    assert_memory_equal(copy.data, "a\0b\0", 4);
    copy = weir_arena_copy(&arena, WEIR_SLICE(""));
    assert_non_null(copy.data);
    assert_int_equal(copy.size, 0);
    assert_string_equal(weir_arena_strdup(&arena, "weir"), "weir");
    assert_string_equal(weir_arena_printf(&arena, "%s-%03d", "part", 7), "part-007");
    weir_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_disjoint),
        cmocka_unit_test(large_object_leaves_the_current_block_in_use),
        cmocka_unit_test(limit_is_obeyed),
        cmocka_unit_test(reset_keeps_blocks_up_to_a_limit),
        cmocka_unit_test(the_newest_memory_grows_and_shrinks_in_place),
        cmocka_unit_test(reset_gives_back_an_oversized_block),
        cmocka_unit_test(calloc_zeroes_and_checks_overflow),
        cmocka_unit_test(texts_are_copied_and_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
