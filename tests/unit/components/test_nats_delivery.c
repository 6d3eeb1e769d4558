/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what the reply subject of a delivered message says is read right, in both forms that servers
 * write (NATS ADR-15), and nothing else is taken for one. Method: subjects as servers write them.
 */
#include "components/nats/nats_api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void expect(const char *reply, bool is_delivery)
{
    struct nats_delivery delivery;
    assert_int_equal(nats_delivery_parse(reply, &delivery), is_delivery);
    if (is_delivery) {
        assert_int_equal(delivery.deliveries, 2);
        assert_int_equal(delivery.sequence, 18446744073709551615u);
        assert_int_equal(delivery.number, 41);
        assert_int_equal(delivery.time_ns, 1764123456789012345);
        assert_int_equal(delivery.behind, 7);
    }
}

static void test_forms(void **state)
{
    (void)state;
#define NUMBERS "2.18446744073709551615.41.1764123456789012345.7"
    expect("$JS.ACK.ORDERS.weir." NUMBERS, true);
    expect("$JS.ACK.5.6." NUMBERS, true); /* names of digits */
    expect("$JS.ACK._.Abc123.ORDERS.weir." NUMBERS, true);
    expect("$JS.ACK.hub.Abc123.5.6." NUMBERS ".token", true);
    expect("$JS.ACK.hub.99.5.6." NUMBERS, true);
    expect("$JS.ACK.ORDERS.weir", false);
    expect("$JS.ACK.ORDERS.weir.2.3", false);
    expect("_INBOX.abc.1", false);
    expect("", false);
    expect(NULL, false);
}

static void test_consumers(void **state)
{
    (void)state;
    assert_true(nats_delivery_is_of("$JS.ACK.ORDERS.q8Xz." NUMBERS, "q8Xz"));
    assert_true(nats_delivery_is_of("$JS.ACK.hub.Abc123.ORDERS.q8Xz." NUMBERS ".token", "q8Xz"));
    assert_false(nats_delivery_is_of("$JS.ACK.ORDERS.q8Xz." NUMBERS, "q8X"));
    assert_false(nats_delivery_is_of("$JS.ACK.ORDERS.q8Xz." NUMBERS, "8Xz"));
    assert_false(nats_delivery_is_of("$JS.ACK.ORDERS.other." NUMBERS, "q8Xz"));
    assert_false(nats_delivery_is_of(NULL, "q8Xz"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms),
                                       cmocka_unit_test(test_consumers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
