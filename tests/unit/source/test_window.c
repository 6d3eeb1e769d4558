/* SPDX-License-Identifier: Apache-2.0
 *
 * The window of what was read ahead: chunks are found by number, also across a gap, leave when they
 * are committed as a whole, and live on while a batch refers to them. Counts what is freed.
 */
#include "source/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int freed;

static void count_free(struct weir_chunk *chunk)
{
    (void)chunk;
    freed++;
}

static void fill(struct weir_window *window, struct weir_chunk *chunks, size_t count)
{
    freed = 0;
    for (size_t i = 0; i < count; i++) {
        weir_chunk_init(&chunks[i], count_free);
        chunks[i].count = 10;
        chunks[i].bytes = 100;
        weir_window_push(window, &chunks[i]);
    }
}

static void test_numbers(void **state)
{
    (void)state;
    struct weir_window window = {.filled = 5};
    struct weir_chunk chunks[3];
    fill(&window, chunks, 2);
    window.filled += 20; /* items that never came */
    weir_chunk_init(&chunks[2], count_free);
    chunks[2].count = 1;
    weir_window_push(&window, &chunks[2]);
    const struct {
        int64_t number;
        struct weir_chunk *chunk;
    } cases[] = {{0, &chunks[0]},  {5, &chunks[0]},  {14, &chunks[0]}, {15, &chunks[1]},
                 {24, &chunks[1]}, {25, &chunks[2]}, {45, &chunks[2]}, {46, NULL}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_chunk *found = weir_window_at(&window, cases[i].number);
        assert_ptr_equal(found, cases[i].chunk);
        if (found != NULL) {
            weir_chunk_unref(found);
        }
    }
    assert_int_equal(freed, 0);
}

static void test_cut(void **state)
{
    (void)state;
    struct weir_window window = {0};
    struct weir_chunk chunks[3];
    fill(&window, chunks, 3);
    struct weir_chunk *held = weir_window_at(&window, 3);
    weir_window_cut(&window, 19); /* the second is not over yet */
    assert_ptr_equal(window.first, &chunks[1]);
    assert_int_equal(window.bytes, 200);
    assert_int_equal(freed, 0);
    void *refs[] = {held};
    weir_chunk_release(refs, 1);
    assert_int_equal(freed, 1);
    weir_window_cut(&window, INT64_MAX);
    assert_int_equal(freed, 3);
    assert_int_equal(window.bytes, 0);
    assert_null(window.first);
    fill(&window, chunks, 1); /* it goes on behind what was */
    assert_int_equal(chunks[0].start, 30);
}

static void test_short(void **state)
{
    (void)state;
    struct weir_window window = {0};
    struct weir_chunk chunks[3];
    assert_false(weir_window_is_short(&window, 0, 0));
    fill(&window, chunks, 3);
    assert_true(weir_window_is_short(&window, 500, 16));
    assert_false(weir_window_is_short(&window, 500, 15)); /* lanes have half of it to read still */
    assert_false(weir_window_is_short(&window, 600, 30));
    assert_true(weir_window_is_short(&window, 599, 16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
