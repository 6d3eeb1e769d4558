/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: partitions move between processes without loss or repeat, and nothing of a process that
 * lost them becomes visible. Method: two engines on one broker take turns; the second joins, the
 * first leaves, falls asleep or dies after every possible number of half-rounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/engine_priv.h"
#include "pipelines.h"

enum { HALVES_MAX = 70, ROUNDS_MAX = 3000, ASLEEP_ROUNDS = 2 * SIM_SESSION_MS / SIM_STEP_MS };

enum what {
    JOIN,  /* the second joins; both go on */
    LEAVE, /* the second joins, the first is asked to stop */
    SLEEP, /* the first sleeps past its session, then past its transaction, and wakes up */
    SLEEP_LONG,
    CRASH,
    SAME_INSTANCE, /* the second has the first one's identity; the first wakes up */
    WHAT_COUNT,
};

static void start(struct sim_world *world, size_t slot)
{
    sim_world_prepare(world, slot)->shared = true;
    sim_world_open(world, slot);
}

/* Half-rounds: a tick, or the lanes, so that a process stops between reading and committing. */
static void half(struct sim_world *world, size_t slot, int number)
{
    if (number % 2 == 0) {
        sim_world_tick(world, slot);
        return;
    }
    for (unsigned lane = 0; lane < world->spec->lanes; lane++) {
        sim_world_lane(world, slot, lane);
    }
    sim_world_advance(world, SIM_STEP_MS);
}

static bool is_over(const struct sim_world *world, size_t slot)
{
    return world->slots[slot].outcome != SIM_RUNNING;
}

static void run_both(struct sim_world *world)
{
    for (int i = 0; i < ROUNDS_MAX && world->violation[0] == '\0'; i++) {
        if (is_over(world, 0) && is_over(world, 1)) {
            return;
        }
        half(world, 0, 0);
        half(world, 1, 0);
        half(world, 0, 1);
        half(world, 1, 1);
    }
    sim_violate(world, "the processes do not come to an end");
}

static void play(struct sim_world *world, enum what what, int halves)
{
    start(world, 0);
    for (int i = 0; i < halves; i++) {
        half(world, 0, i);
    }
    start(world, 1);
    int asleep = what == SLEEP           ? ASLEEP_ROUNDS / 2 + 4
                 : what == SLEEP_LONG    ? 4 * ASLEEP_ROUNDS
                 : what == SAME_INSTANCE ? 2 + halves % 7
                                         : 0;
    if (what == LEAVE) {
        for (int i = 0; i < 6; i++) { /* it leaves in the middle of the rebalance */
            half(world, i % 2 == 0 ? 1 : 0, i / 2);
        }
        if (!is_over(world, 0)) {
            weir_engine_request_stop(world->slots[0].engine);
        }
    } else if (what == CRASH && !is_over(world, 0)) {
        sim_world_kill(world, 0);
    }
    for (int i = 0; i < asleep; i++) {
        sim_world_round(world, 1);
    }
    run_both(world);
}

static size_t rebalance_everywhere(const struct sim_spec *spec, enum what what)
{
    size_t aborted = 0;
    for (int halves = 0; halves < HALVES_MAX; halves++) {
        struct sim_world world;
        sim_scenario("%s%s, what %d after %d half-rounds", spec->name,
                     spec->at_least_once ? ", at least once" : "", (int)what, halves);
        sim_world_init(&world, spec, (uint64_t)halves);
        if (what == SAME_INSTANCE) {
            weir_loaded_free(world.loaded[1]);
            world.loaded[1] = sim_world_load(&world, 0);
        }
        world.repeats_allowed = spec->at_least_once && what != JOIN;
        play(&world, what, halves);
        bool taken = what == SAME_INSTANCE && world.slots[0].outcome == SIM_FAILED;
        if (!taken && what != CRASH && world.slots[0].outcome != SIM_ENDED) {
            sim_violate(&world, "the first ends with \"%s\"", world.slots[0].err.message);
        }
        if (world.slots[1].outcome != SIM_ENDED) {
            sim_violate(&world, "the second ends with \"%s\"", world.slots[1].err.message);
        }
        sim_world_check_end(&world);
        if (world.violation[0] != '\0') {
            fail_msg("%s: %s", sim_scenario_text(), world.violation);
        }
        aborted += world.broker.aborts + world.broker.fenced_writes + world.broker.refused_commits;
        sim_world_done(&world);
    }
    return aborted;
}

static void test_every_moment(void **state)
{
    (void)state;
    for (size_t i = 0; i < sim_pipeline_count; i++) {
        for (int what = 0; what < WHAT_COUNT; what++) {
            struct sim_spec spec = sim_pipelines[i];
            if (what == SAME_INSTANCE && !spec.instance) {
                continue;
            }
            spec.records *= 2;
            size_t aborted = rebalance_everywhere(&spec, (enum what)what);
            if (what == SLEEP || what == SLEEP_LONG || what == SAME_INSTANCE) {
                assert_true(aborted > 10); /* else the zombie was none */
            }
            spec.at_least_once = true;
            (void)rebalance_everywhere(&spec, (enum what)what);
        }
    }
}

/* Source partitions and shards move, each on its own, with what is under way between them. */
static void test_exchange(void **state)
{
    (void)state;
    for (int what = 0; what < SAME_INSTANCE; what++) {
        size_t aborted = rebalance_everywhere(&sim_exchange_topic, (enum what)what);
        assert_true(aborted > 10 || (what != SLEEP && what != SLEEP_LONG));
    }
}

static const struct sim_spec outside = {.name = "a sink outside of the transaction",
                                        .tail = "steps: [tally]\n"
                                                "sinks: [memory: {topic: out0}, aside]\n",
                                        .sources = 1,
                                        .partitions = 3,
                                        .records = 60,
                                        .outs = 1,
                                        .shapes = {SIM_TALLY},
                                        .lanes = 2,
                                        .batch_size = 6,
                                        .chunk = 3,
                                        .room = 100,
                                        .stateful = true};

/* Partitions leave while a sink outside of the transaction does not confirm; later it does. */
static void test_silent_sink(void **state)
{
    (void)state;
    size_t aborted = 0;
    for (int halves = 8; halves < 16; halves++) {
        struct sim_world world;
        sim_scenario("%s, silent after %d half-rounds", outside.name, halves);
        sim_world_init(&world, &outside, (uint64_t)halves);
        start(&world, 0);
        for (int i = 0; i < halves; i++) {
            half(&world, 0, i);
        }
        world.slots[0].process.is_aside_silent = true;
        start(&world, 1);
        for (int i = 0; i < 8; i++) {
            half(&world, 1, i);
            half(&world, 0, i);
        }
        world.slots[0].process.is_aside_silent = false;
        run_both(&world);
        sim_world_check_end(&world);
        if (world.violation[0] != '\0') {
            fail_msg("%s: %s", sim_scenario_text(), world.violation);
        }
        aborted += world.broker.aborts;
        sim_world_done(&world);
    }
    assert_true(aborted > 0);
}

static bool has_moved(const struct weir_engine *engine)
{
    bool moved = false;
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        moved = moved || task->strayed;
    }
    return moved;
}

/* A partition that begins elsewhere than its state says comes while a sealed epoch is confirmed, and the
 * process dies soon after that is committed: the position has not gone without the state. */
static void test_moved_while_confirming(void **state)
{
    (void)state;
    size_t met = 0;
    for (int halves = 10; halves < 60; halves++) {
        for (int more = 0; more < 6; more++) {
            struct sim_world world;
            sim_scenario("%s, silent after %d half-rounds, dead %d later", outside.name, halves, more);
            sim_world_init(&world, &outside, (uint64_t)halves);
            start(&world, 0);
            start(&world, 1);
            for (int i = 0; i < halves; i++) {
                half(&world, 0, i);
                half(&world, 1, i);
            }
            world.slots[0].process.is_aside_silent = true;
            sim_world_kill(&world, 1);
            for (int i = 0; i < ASLEEP_ROUNDS && !is_over(&world, 0); i++) {
                sim_world_round(&world, 0);
            }
            if (!is_over(&world, 0)) {
                const struct weir_engine *engine = world.slots[0].engine;
                met += engine->state == WEIR_EPOCH_CONFIRMING && has_moved(engine);
                world.slots[0].process.is_aside_silent = false;
                for (int i = 0; i < more; i++) {
                    half(&world, 0, i);
                }
                sim_world_kill(&world, 0);
            }
            sim_world_finish(&world);
            sim_world_check_end(&world);
            if (world.violation[0] != '\0') {
                fail_msg("%s: %s", sim_scenario_text(), world.violation);
            }
            sim_world_done(&world);
        }
    }
    assert_true(met > 10);
}

/* Without state there is no transaction if one of the sinks is outside of it; then all are. */
static void test_no_transaction(void **state)
{
    (void)state;
    static const struct sim_spec spec = {.name = "no transaction",
                                         .tail = "sinks: [memory: {topic: out0}, aside]\n",
                                         .sources = 1,
                                         .partitions = 1,
                                         .records = 3,
                                         .outs = 1,
                                         .shapes = {SIM_PASS},
                                         .lanes = 1,
                                         .batch_size = 6,
                                         .chunk = 3,
                                         .room = 100};
    struct sim_world world;
    sim_world_init(&world, &spec, 1);
    sim_world_prepare(&world, 0);
    sim_world_open(&world, 0);
    assert_null(world.slots[0].engine->plan.domain);
    assert_false(world.slots[0].engine->sinks[0].in_domain);
    assert_false(world.slots[0].engine->sinks[0].ctx.transactional);
    sim_world_done(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_moment),
        cmocka_unit_test(test_exchange),
        cmocka_unit_test(test_silent_sink),
        cmocka_unit_test(test_moved_while_confirming),
        cmocka_unit_test(test_no_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
