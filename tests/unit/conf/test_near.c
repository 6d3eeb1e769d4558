/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the suggestion is what a person would have meant, and none is made for what is far from
 * everything. Method: slips of the finger against the names of a component.
 */
#include "conf/near.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const names[] = {"brokers", "topic",       "topics", "group",      "start",
                                    "key",     "compression", "linger", "batch_size", NULL};

static const char *nearest(const char *written)
{
    struct weir_near near;
    weir_near_init(&near, weir_slice_of(written));
    for (size_t i = 0; names[i] != NULL; i++) {
        weir_near_offer(&near, names[i]);
    }
    return near.best;
}

static void slips_are_understood(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"broker", "brokers"},
        {"borkers", "brokers"},
        {"topik", "topic"},
        {"Topic", "topic"},
        {"topicss", "topics"},
        {"gruop", "group"},
        {"kye", "key"},
        {"comp", "compression"},
        {"compresion", "compression"},
        {"batch-size", "batch_size"},
        {"batchsize", "batch_size"},
        {"strat", "start"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *best = nearest(rows[i][0]);
        assert_non_null(best);
        assert_string_equal(best, rows[i][1]);
    }
}

static void the_far_is_not_guessed(void **state)
{
    (void)state;
    static const char *const rows[] = {"", "x", "window", "dead_letter", "zz", "retry", "abc"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_null(nearest(rows[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slips_are_understood),
        cmocka_unit_test(the_far_is_not_guessed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
