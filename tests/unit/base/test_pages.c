/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: memory of any size is zero at first, can be written to its last byte, and overlaps with no
 * other. Method: sizes around that of a huge page, filled with a mark each and read back when all
 * are there.
 */
#include "base/pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void memory_is_zero_and_apart(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4096, WEIR_PAGES_HUGE - 1, WEIR_PAGES_HUGE,
                                   WEIR_PAGES_HUGE + 1, 3 * WEIR_PAGES_HUGE};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    for (int filled = 0; filled < 2; filled++) {
        char *pieces[COUNT];
        for (size_t i = 0; i < COUNT; i++) {
            pieces[i] = filled ? weir_pages_new_filled(sizes[i]) : weir_pages_new(sizes[i]);
            assert_int_equal(pieces[i][0], 0);
            assert_memory_equal(pieces[i], pieces[i] + 1, sizes[i] - 1);
            memset(pieces[i], (int)i + 1, sizes[i]);
        }
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t at = 0; at < sizes[i]; at += 512) {
                assert_int_equal(pieces[i][at], (int)i + 1);
            }
            assert_int_equal(pieces[i][sizes[i] - 1], (int)i + 1);
            weir_pages_free(pieces[i], sizes[i]);
        }
    }
    weir_pages_free(NULL, 0);
    weir_pages_free(NULL, WEIR_PAGES_HUGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zero_and_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
