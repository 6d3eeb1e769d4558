/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: epochs are long while much waits to be read and short when little does, unless the pipeline
 * says how long; a lane whose sink is full reads on a little; and a gate waits for the batch that is
 * half handed over, not for those behind it. Method: one process on a clock that only the test
 * moves; what it asks of the broker is counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/engine_priv.h"
#include "pipelines.h"

/* Ten records of a partition a round of 5 ms: a second has 2,000. */
enum { PARTITION_RECORDS = 8000, ROUNDS_MAX = 2000, BEHIND_MS = 1000 };

static struct sim_spec passing(size_t records)
{
    struct sim_spec spec = sim_pipelines[0];
    spec.sources = spec.partitions = 1;
    spec.lanes = 1;
    spec.records = records;
    spec.batch_size = spec.chunk = 10;
    spec.room = 1000;
    return spec;
}

/* The longest and the last time between two commits that moved the position. */
static void measure(const struct sim_spec *spec, int64_t *ret_longest_ms, int64_t *ret_last_ms)
{
    struct sim_world world;
    sim_scenario("the pace of %s", spec->name);
    sim_world_init(&world, spec, 1);
    sim_world_prepare(&world, 0);
    sim_world_open(&world, 0);
    const struct sim_partition *partition = &world.broker.topics[0].partitions[0];
    int64_t committed = partition->committed, at_ms = 0, now_ms = 0;
    *ret_longest_ms = *ret_last_ms = 0;
    for (int i = 0; i < ROUNDS_MAX && world.slots[0].outcome == SIM_RUNNING; i++) {
        sim_world_round(&world, 0);
        now_ms += SIM_STEP_MS;
        if (partition->committed != committed && world.slots[0].outcome == SIM_RUNNING) {
            *ret_last_ms = now_ms - at_ms;
            *ret_longest_ms = *ret_last_ms > *ret_longest_ms ? *ret_last_ms : *ret_longest_ms;
            committed = partition->committed;
            at_ms = now_ms;
        }
    }
    assert_int_equal(world.slots[0].outcome, SIM_ENDED);
    sim_world_check_end(&world);
    assert_string_equal(world.violation, "");
    sim_world_done(&world);
}

static void test_backlog(void **state)
{
    (void)state;
    int64_t longest_ms, last_ms;
    struct sim_spec spec = passing(PARTITION_RECORDS);
    spec.own_pace = true;
    spec.transaction_ms = 10000;
    measure(&spec, &longest_ms, &last_ms);
    assert_in_range(longest_ms, BEHIND_MS, BEHIND_MS + 4 * SIM_STEP_MS);
    assert_in_range(last_ms, 100, 100 + 4 * SIM_STEP_MS);
}

/* A third of the transaction's time-out, which is a second. */
static void test_backlog_in_short_transactions(void **state)
{
    (void)state;
    int64_t longest_ms, last_ms;
    struct sim_spec spec = passing(PARTITION_RECORDS);
    spec.own_pace = true;
    measure(&spec, &longest_ms, &last_ms);
    assert_in_range(longest_ms, 333, 333 + 4 * SIM_STEP_MS);
}

static void test_small_backlog(void **state)
{
    (void)state;
    int64_t longest_ms, last_ms;
    struct sim_spec spec = passing(PARTITION_RECORDS / 8);
    spec.own_pace = true;
    spec.transaction_ms = 10000;
    measure(&spec, &longest_ms, &last_ms);
    assert_in_range(longest_ms, 100, 100 + 4 * SIM_STEP_MS);
}

static void test_chosen_interval(void **state)
{
    (void)state;
    int64_t longest_ms, last_ms;
    struct sim_spec spec = passing(PARTITION_RECORDS);
    measure(&spec, &longest_ms, &last_ms);
    assert_in_range(longest_ms, 20, 20 + 4 * SIM_STEP_MS);
}

/* A process whose lane has a full sink and a batch that is half handed over. */
static struct weir_lane *open_behind_full_sink(struct sim_world *world, const struct sim_spec *spec)
{
    sim_world_init(world, spec, 1);
    const struct sim_process *process = sim_world_prepare(world, 0);
    sim_world_open(world, 0);
    while (process->calls_of[SIM_CALL_WRITE] == 0) {
        sim_world_round(world, 0);
    }
    return &world->slots[0].engine->lanes[0];
}

static void test_full_sink(void **state)
{
    (void)state;
    struct sim_world world;
    struct sim_spec spec = passing(PARTITION_RECORDS / 8);
    spec.room = 5;
    sim_scenario("a full sink");
    const struct weir_lane *lane = open_behind_full_sink(&world, &spec);
    const struct sim_process *process = &world.slots[0].process;
    uint64_t reads = process->calls_of[SIM_CALL_READ];
    for (int i = 0; i < 20; i++) {
        sim_world_lane(&world, 0, 0);
        assert_true(lane->blocked);
    }
    assert_int_equal(process->calls_of[SIM_CALL_READ], reads + 20);
    sim_world_finish(&world);
    assert_string_equal(world.violation, "");
    sim_world_done(&world);
}

static void test_read_ahead(void **state)
{
    (void)state;
    struct sim_world world;
    struct sim_spec spec = passing(PARTITION_RECORDS);
    spec.room = 5;
    sim_scenario("reading ahead of a full sink");
    struct weir_lane *lane = open_behind_full_sink(&world, &spec);
    struct weir_engine *engine = lane->engine;
    const size_t share = (size_t)engine->config->in_flight / 4;
    size_t before = 0;
    while (!weir_lane_is_full(lane)) {
        before = lane->pending_bytes;
        sim_world_lane(&world, 0, 0);
        assert_true(lane->pending_bytes > before);
    }
    assert_in_range(lane->pending_bytes, share / 8, share / 4);
    atomic_store(&engine->writable, false); /* as while a commit is under way */
    assert_false(weir_lane_is_full(lane));
    atomic_store(&engine->writable, true);
    sim_world_finish(&world);
    assert_string_equal(world.violation, "");
    sim_world_done(&world);
}

static void test_gate(void **state)
{
    (void)state;
    struct sim_world world;
    struct sim_spec spec = passing(PARTITION_RECORDS / 8);
    spec.room = 7; /* with ten in a batch, the sink is never full just behind one */
    sim_scenario("a gate behind a full sink");
    struct weir_lane *lane = open_behind_full_sink(&world, &spec);
    for (int i = 0; i < 20; i++) {
        sim_world_lane(&world, 0, 0);
    }
    assert_true(weir_lane_is_partial(lane));
    const struct weir_batch *second = lane->pending_first->link;
    assert_non_null(second);
    assert_true(weir_gate_close(lane->engine, false, INT64_MAX));
    assert_false(weir_lane_is_partial(lane));
    assert_ptr_equal(lane->pending_first, second);
    weir_gate_open(lane->engine);
    sim_world_finish(&world);
    assert_string_equal(world.violation, "");
    sim_world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backlog),
        cmocka_unit_test(test_backlog_in_short_transactions),
        cmocka_unit_test(test_small_backlog),
        cmocka_unit_test(test_chosen_interval),
        cmocka_unit_test(test_full_sink),
        cmocka_unit_test(test_read_ahead),
        cmocka_unit_test(test_gate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
