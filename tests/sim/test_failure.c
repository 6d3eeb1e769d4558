/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: whatever a call answers instead of the truth, the same process recovers and the outputs
 * are exact; a record that the target refuses is found among its batch. Method: each call fails
 * the 1st, 2nd, 3rd… time with each answer that its contract allows, until no call is left to fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "pipelines.h"

struct failing {
    enum sim_call_kind kind;
    weir_status status;
    bool done;
};

static const struct failing failings[] = {
    {SIM_CALL_BEGIN, WEIR_AGAIN, false},          {SIM_CALL_BEGIN, WEIR_UNAVAILABLE, false},
    {SIM_CALL_BEGIN, WEIR_FENCED, false},         {SIM_CALL_SEND_OFFSETS, WEIR_ABORTED, false},
    {SIM_CALL_SEND_OFFSETS, WEIR_ABORTED, true},  {SIM_CALL_SEND_OFFSETS, WEIR_UNAVAILABLE, false},
    {SIM_CALL_SEND_OFFSETS, WEIR_FENCED, false},  {SIM_CALL_END_TXN, WEIR_ABORTED, false},
    {SIM_CALL_END_TXN, WEIR_UNAVAILABLE, false},  {SIM_CALL_END_TXN, WEIR_UNKNOWN, false},
    {SIM_CALL_END_TXN, WEIR_UNKNOWN, true},       {SIM_CALL_END_TXN, WEIR_FENCED, false},
    {SIM_CALL_END_TXN, WEIR_FENCED, true},        {SIM_CALL_TXN_ABORT, WEIR_UNAVAILABLE, false},
    {SIM_CALL_TXN_ABORT, WEIR_FENCED, false},     {SIM_CALL_SEEK, WEIR_FENCED, false},
    {SIM_CALL_POLL, WEIR_UNAVAILABLE, false},     {SIM_CALL_READ, WEIR_AGAIN, false},
    {SIM_CALL_READ, WEIR_UNAVAILABLE, false},     {SIM_CALL_WRITE, WEIR_AGAIN, false},
    {SIM_CALL_WRITE, WEIR_UNAVAILABLE, false},    {SIM_CALL_SINK_POLL, WEIR_UNAVAILABLE, false},
    {SIM_CALL_SINK_POLL, WEIR_ABORTED, false},    {SIM_CALL_SINK_POLL, WEIR_FENCED, false},
    {SIM_CALL_SINK_ABORT, WEIR_FENCED, false},    {SIM_CALL_CONFIRM, WEIR_AGAIN, false},
    {SIM_CALL_CONFIRM, WEIR_UNAVAILABLE, false},  {SIM_CALL_POSITIONS, WEIR_AGAIN, false},
    {SIM_CALL_POSITIONS, WEIR_AGAIN, true},       {SIM_CALL_POSITIONS, WEIR_ABORTED, false},
    {SIM_CALL_POSITIONS, WEIR_ABORTED, true},     {SIM_CALL_WRITE, WEIR_IO, false},
    {SIM_CALL_STATE_APPEND, WEIR_ABORTED, false}, {SIM_CALL_STATE_APPEND, WEIR_UNAVAILABLE, true},
    {SIM_CALL_STATE_APPEND, WEIR_FENCED, false},  {SIM_CALL_STATE_RESTORE, WEIR_UNAVAILABLE, false},
    {SIM_CALL_SEND_OFFSETS, WEIR_AGAIN, false},   {SIM_CALL_SEND_OFFSETS, WEIR_AGAIN, true},
    {SIM_CALL_END_TXN, WEIR_AGAIN, false},        {SIM_CALL_TXN_ABORT, WEIR_AGAIN, false},
};

/* Answers after which nothing has to be done again. */
static bool is_harmless(const struct failing *failing)
{
    return failing->status == WEIR_AGAIN || failing->kind == SIM_CALL_READ ||
           failing->kind == SIM_CALL_WRITE || failing->kind == SIM_CALL_POLL;
}

static void demand(struct sim_world *world)
{
    if (world->violation[0] != '\0') {
        fail_msg("%s: %s", sim_scenario_text(), world->violation);
    }
}

/* True if the fault fired. `also`: an abort on the way, for the calls that only follow one. */
static bool
fail_once(const struct sim_spec *spec, const struct failing *failing, uint64_t nth, bool also)
{
    struct sim_world world;
    sim_scenario("%s, %s number %llu answers %s%s%s", spec->name, sim_call_name(failing->kind),
                 (unsigned long long)nth, weir_status_name(failing->status),
                 failing->done ? ", done" : "", also ? ", after an abort" : "");
    sim_world_init(&world, spec, 1);
    world.repeats_allowed = spec->at_least_once && (also || !is_harmless(failing));
    struct sim_process *process = sim_world_prepare(&world, 0);
    process->faults[0] = (struct sim_fault){failing->kind, nth, failing->status, failing->done};
    process->faults[1] = (struct sim_fault){SIM_CALL_SINK_POLL, 5, WEIR_ABORTED, false};
    process->fault_count = also ? 2 : 1;
    sim_world_open(&world, 0);
    (void)sim_world_run(&world, 0);
    demand(&world);
    bool fired = process->faults_fired == process->fault_count;
    if (world.slots[0].outcome != SIM_ENDED) {
        fail_msg("%s: it ends with \"%s\"", sim_scenario_text(), world.slots[0].err.message);
    }
    sim_world_finish(&world);
    demand(&world);
    sim_world_done(&world);
    return fired;
}

static void fail_everything(const struct sim_spec *spec)
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof(failings) / sizeof(failings[0]); i++) {
        for (int also = 0; also < 2; also++) {
            uint64_t nth = 1 + i % sim_stride();
            for (; fail_once(spec, &failings[i], nth, also == 1); nth += sim_stride()) {
                count++;
            }
        }
    }
    print_message("%s: %zu failures\n", spec->name, count);
    assert_true(count > 50);
}

static void test_every_failure(void **state)
{
    (void)state;
    for (size_t i = 0; i < sim_pipeline_count; i++) {
        struct sim_spec spec = sim_pipelines[i];
        fail_everything(&spec);
        spec.at_least_once = !spec.stateful;
        if (spec.at_least_once) {
            fail_everything(&spec);
        }
    }
    fail_everything(&sim_exchange);
}

/* A sink that cannot go on ends the pipeline; the next start finishes the work. */
static void test_fatal_sink(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 6; nth++) {
        struct sim_world world;
        sim_scenario("a fatal write, number %llu", (unsigned long long)nth);
        struct sim_spec spec = sim_pipelines[1];
        spec.room = 1000;
        sim_world_init(&world, &spec, nth);
        struct sim_process *process = sim_world_prepare(&world, 0);
        process->faults[0] = (struct sim_fault){SIM_CALL_WRITE, nth, WEIR_FATAL, nth % 2 == 0};
        process->fault_count = 1;
        sim_world_open(&world, 0);
        (void)sim_world_run(&world, 0);
        assert_int_equal(world.slots[0].outcome, SIM_FAILED);
        assert_int_equal(world.slots[0].err.status, WEIR_FATAL);
        sim_world_finish(&world);
        demand(&world);
        sim_world_done(&world);
    }
}

/* --- records that are refused ------------------------------------------------------------------*/

static int64_t position_of(const struct sim_world *world, int number)
{
    const struct sim_partition *partition = &world->broker.topics[0].partitions[0];
    for (size_t i = 0; i < partition->count; i++) {
        char text[16];
        snprintf(text, sizeof(text), "\"n\":%d,", number);
        if (!partition->entries[i].control && strstr(partition->entries[i].value, text) != NULL) {
            return (int64_t)i;
        }
    }
    return -1;
}

static void refuse_and_skip(const struct sim_spec *spec, int64_t count)
{
    struct sim_world world;
    sim_world_init(&world, spec, 1);
    world.repeats_allowed = spec->at_least_once;
    (void)sim_world_prepare(&world, 0);
    sim_world_open(&world, 0);
    (void)sim_world_run(&world, 0);
    demand(&world);
    if (world.slots[0].outcome != SIM_ENDED) {
        fail_msg("%s: it ends with \"%s\"", sim_scenario_text(), world.slots[0].err.message);
    }
    sim_world_finish(&world);
    demand(&world);
    if (world.slots[0].skipped != count) {
        fail_msg("%s: %lld are counted as skipped", sim_scenario_text(),
                 (long long)world.slots[0].skipped);
    }
    sim_world_done(&world);
}

static void refuse_and_stop(const struct sim_spec *spec)
{
    struct sim_world world;
    sim_world_init(&world, spec, 1);
    world.repeats_allowed = spec->at_least_once;
    (void)sim_world_prepare(&world, 0);
    sim_world_open(&world, 0);
    (void)sim_world_run(&world, 0);
    demand(&world);
    int64_t position = position_of(&world, spec->flagged[0]);
    assert_true(position >= 0);
    char place[64];
    snprintf(place, sizeof(place), "in0, partition 0, offset %lld:", (long long)position);
    const struct sim_slot *slot = &world.slots[0];
    if (slot->outcome != SIM_FAILED || strstr(slot->err.message, place) == NULL) {
        fail_msg("%s: it ends with \"%s\", not at %s", sim_scenario_text(), slot->err.message,
                 place);
    }
    int64_t committed = world.broker.topics[0].partitions[0].committed;
    if (committed > position) {
        fail_msg("%s: %lld is committed", sim_scenario_text(), (long long)committed);
    }
    sim_world_done(&world);
}

/* Number 3, 10, 17 stand before an offset without a record; 1 is the first, 21 the last. */
static const int flagged[][3] = {{1, 0, 0},  {4, 0, 0},   {10, 0, 0},  {11, 0, 0},
                                 {20, 0, 0}, {21, 0, 0},  {4, 5, 0},   {1, 10, 11},
                                 {7, 8, 19}, {2, 20, 21}, {10, 17, 21}};

/* Behind an exchange the same number of a shard is another record after an abort: the verdict has
 * to find its way to the record that was read. */
static void test_refused_behind_an_exchange(void **state)
{
    (void)state;
    static const char *const flags[] = {"unfit", "refused", "poison", "poison"};
    for (size_t way = 0; way < 4; way++) {
        for (size_t i = 0; i < sizeof(flagged) / sizeof(flagged[0]); i++) {
            struct sim_spec spec = sim_exchange;
            spec.flag = flags[way];
            spec.poison_in_commit = way == 3;
            spec.records = 21;
            memcpy(spec.flagged, flagged[i], sizeof(spec.flagged));
            sim_scenario("exchange, %s (way %zu), records %d %d %d", spec.flag, way, flagged[i][0],
                         flagged[i][1], flagged[i][2]);
            spec.skip = true;
            refuse_and_skip(&spec, 1 + (flagged[i][1] > 0) + (flagged[i][2] > 0));
            spec.skip = false;
            refuse_and_stop(&spec);
        }
    }
}

static void test_refused_records(void **state)
{
    (void)state;
    static const char *const flags[] = {"unfit", "refused", "poison", "poison"};
    for (size_t way = 0; way < 4; way++) {
        for (size_t i = 0; i < sizeof(flagged) / sizeof(flagged[0]); i++) {
            for (int variant = 0; variant < 8; variant++) {
                struct sim_spec spec = sim_pipelines[0];
                spec.flag = flags[way];
                spec.poison_in_commit = way == 3;
                memcpy(spec.flagged, flagged[i], sizeof(spec.flagged));
                spec.partitions = (variant & 1) != 0 ? 3 : 1;
                spec.lanes = (variant & 1) != 0 ? 2 : 1;
                spec.at_least_once = (variant & 2) != 0;
                spec.chunk = (variant & 4) != 0 ? 8 : 2;
                spec.batch_size = 10;
                sim_scenario("%s (way %zu), records %d %d %d, variant %d", spec.flag, way,
                             flagged[i][0], flagged[i][1], flagged[i][2], variant);
                spec.skip = true;
                refuse_and_skip(&spec, 1 + (flagged[i][1] > 0) + (flagged[i][2] > 0));
                spec.skip = false;
                refuse_and_stop(&spec);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_failure),
        cmocka_unit_test(test_fatal_sink),
        cmocka_unit_test(test_refused_records),
        cmocka_unit_test(test_refused_behind_an_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
