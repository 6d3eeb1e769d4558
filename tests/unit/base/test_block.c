/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a block lives exactly as long as somebody refers to it, is reused afterwards, and may come
 * home after its pool was closed. Method: count by addresses; the sanitizers see what leaks or is
 * used too long.
 */
#include "base/block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void freed_block_is_reused(void **state)
{
    (void)state;
    struct weir_block_pool *pool = weir_block_pool_new(1000);
    struct weir_block *first = weir_block_take(pool, 10);
    assert_int_equal(first->capacity, 1000);
    first->size = 500;
    weir_block_ref(first);
    weir_block_unref(first);
    struct weir_block *second = weir_block_take(pool, 1000);
    assert_ptr_not_equal(first, second); /* somebody still refers to the first */
    weir_block_unref(first);
    struct weir_block *third = weir_block_take(pool, 1);
    assert_ptr_equal(first, third);
    assert_int_equal(third->size, 0);
    weir_block_unref(second);
    weir_block_unref(third);
    weir_block_pool_close(pool);
}

static void large_block_is_as_large_as_asked(void **state)
{
    (void)state;
    struct weir_block_pool *pool = weir_block_pool_new(1000);
    struct weir_block *block = weir_block_take(pool, 5000);
    assert_int_equal(block->capacity, 5000);
    memset(block->bytes, 1, block->capacity);
    weir_block_unref(block);
    block = weir_block_take(pool, 10);
    assert_int_equal(block->capacity, 1000); /* the large one was not kept */
    weir_block_unref(block);
    weir_block_pool_close(pool);
}

static void blocks_outlive_their_pool(void **state)
{
    (void)state;
    struct weir_block_pool *pool = weir_block_pool_new(100);
    void *refs[80];
    for (size_t i = 0; i < 80; i++) {
        struct weir_block *block = weir_block_take(pool, 100);
        memset(block->bytes, (int)i, 100);
        refs[i] = block;
    }
    weir_block_pool_close(pool);
    for (size_t i = 0; i < 80; i++) {
        const struct weir_block *block = refs[i];
        assert_int_equal(block->bytes[99], (char)i);
    }
    weir_block_release(refs, 80);
}

static void nothing_is_allowed(void **state)
{
    (void)state;
    weir_block_unref(NULL);
    weir_block_pool_close(NULL);
    weir_block_release(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freed_block_is_reused),
        cmocka_unit_test(large_block_is_as_large_as_asked),
        cmocka_unit_test(blocks_outlive_their_pool),
        cmocka_unit_test(nothing_is_allowed),
    };
    return cmocka_run_group_tests_name("block", tests, NULL, NULL);
}
