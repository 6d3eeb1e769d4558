/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a frame of the exchange says what was put into it, whatever else is not taken for one, and
 * a key never changes its shard. Method: round trips of extremes, every shorter length, another
 * magic; shards of fixed keys as they were when the format was made, and how evenly they spread.
 */
#include "engine/exchange_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void round_trip(struct weir_exchange_frame frame, const char *value, size_t size)
{
    char bytes[WEIR_EXCHANGE_FRAME_BYTES + 16];
    weir_exchange_frame_write(&frame, bytes);
    memcpy(bytes + WEIR_EXCHANGE_FRAME_BYTES, value, size);
    struct weir_exchange_frame read = {0};
    struct weir_slice rest = {0};
    const struct weir_slice all = {bytes, WEIR_EXCHANGE_FRAME_BYTES + size};
    assert_true(weir_exchange_frame_read(all, &read, &rest));
    assert_int_equal(read.flags, frame.flags);
    assert_int_equal(read.shard, frame.shard);
    assert_true(read.stream == frame.stream);
    assert_int_equal(read.partition, frame.partition);
    assert_int_equal(read.partitions, frame.partitions);
    assert_true(read.clock == frame.clock && read.time_ms == frame.time_ms);
    assert_true(read.position == frame.position && read.epoch == frame.epoch);
    if ((frame.flags & (WEIR_EXCHANGE_TOMBSTONE | WEIR_EXCHANGE_MARK)) != 0) {
        assert_null(rest.data);
    } else {
        assert_true(weir_slice_equal(rest, (struct weir_slice){value, size}));
        assert_non_null(rest.data);
    }
}

static void test_round_trips(void **state)
{
    (void)state;
    round_trip((struct weir_exchange_frame){0}, "", 0);
    round_trip((struct weir_exchange_frame){.shard = 1023,
                                            .stream = UINT64_MAX,
                                            .partition = INT32_MAX,
                                            .partitions = 12,
                                            .clock = INT64_MIN,
                                            .time_ms = INT64_MAX,
                                            .position = INT64_MAX - 1,
                                            .epoch = UINT64_MAX - 7},
               "{\"a\":1}", 7);
    round_trip((struct weir_exchange_frame){.flags = WEIR_EXCHANGE_TOMBSTONE, .clock = -1}, "", 0);
    round_trip((struct weir_exchange_frame){.flags = WEIR_EXCHANGE_MARK | WEIR_EXCHANGE_IDLE}, "",
               0);
}

static void test_what_is_no_frame(void **state)
{
    (void)state;
    char bytes[WEIR_EXCHANGE_FRAME_BYTES];
    const struct weir_exchange_frame frame = {.stream = 5};
    weir_exchange_frame_write(&frame, bytes);
    struct weir_exchange_frame read;
    struct weir_slice rest;
    for (size_t size = 0; size < sizeof(bytes); size++) {
        assert_false(weir_exchange_frame_read((struct weir_slice){bytes, size}, &read, &rest));
    }
    bytes[2] = '2';
    assert_false(weir_exchange_frame_read((struct weir_slice){bytes, sizeof(bytes)}, &read, &rest));
    assert_false(weir_exchange_frame_read((struct weir_slice){NULL, 0}, &read, &rest));
}

/* State lies where these say. */
static void test_shards_are_for_ever(void **state)
{
    (void)state;
    assert_int_equal(weir_exchange_shard(WEIR_SLICE("\"at\""), 64), 3);
    assert_int_equal(weir_exchange_shard(WEIR_SLICE("\"ch\""), 64), 61);
    assert_int_equal(weir_exchange_shard(WEIR_SLICE(""), 64), 11);
    assert_int_equal(weir_exchange_shard((struct weir_slice){NULL, 0}, 64), 11);
    assert_int_equal(weir_exchange_shard(WEIR_SLICE("\"at\""), 1), 0);
    assert_true(weir_exchange_stream("source.file", "a") == UINT64_C(9312425354789736855));
    assert_true(weir_exchange_stream("a", "bc") != weir_exchange_stream("ab", "c"));
}

static void test_keys_spread(void **state)
{
    (void)state;
    enum { SHARDS = 64, KEYS = 64000 };
    int counts[SHARDS] = {0};
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        int size = snprintf(key, sizeof(key), "\"user-%d\"", i);
        counts[weir_exchange_shard((struct weir_slice){key, (size_t)size}, SHARDS)]++;
    }
    for (int i = 0; i < SHARDS; i++) {
        assert_in_range(counts[i], KEYS / SHARDS * 8 / 10, KEYS / SHARDS * 12 / 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_what_is_no_frame),
        cmocka_unit_test(test_shards_are_for_ever),
        cmocka_unit_test(test_keys_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
