/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: exactly-once, and at-least-once without transactions, whatever call the process dies at.
 * Method: crash at the 1st, 2nd, 3rd… call that reaches the outside (before it, half-way, after
 * it), let a successor finish, check; until a run completes without the crash; sim_sim_stride() says with which build at all of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pipelines.h"
#include "world.h"

/* True while the crash fires. */
static bool crash_once(const struct sim_spec *spec, uint64_t nth, enum sim_crash crash)
{
    struct sim_world world;
    sim_scenario("%s, crash %d at call %llu", spec->name, (int)crash, (unsigned long long)nth);
    sim_world_init(&world, spec, 1);
    world.repeats_allowed = spec->at_least_once;
    struct sim_process *process = sim_world_prepare(&world, 0);
    process->crash_at = nth;
    process->crash = crash;
    sim_world_open(&world, 0);
    (void)sim_world_run(&world, 0);
    bool crashed = world.slots[0].outcome == SIM_CRASHED;
    if (!crashed) {
        world.repeats_allowed = false;
        assert_int_equal(world.repeats, 0);
    }
    sim_world_finish(&world);
    if (world.violation[0] != '\0') {
        fail_msg("%s: %s", sim_scenario_text(), world.violation);
    }
    assert_true(world.checks > 0);
    sim_world_done(&world);
    return crashed;
}

static void crash_everywhere(const struct sim_spec *spec)
{
    for (int crash = 0; crash < SIM_CRASH_COUNT; crash++) {
        uint64_t nth = 1 + (unsigned)crash % sim_stride();
        while (crash_once(spec, nth, (enum sim_crash)crash)) {
            nth += sim_stride();
        }
        print_message("%s: %llu calls to crash at\n", spec->name, (unsigned long long)nth - 1);
        assert_true(nth > 50);
    }
}

/* Without transactions nothing may be missing; what was under way may come again, but only after a
 * crash: the run that completes without one has no repeat. */
static void test_every_crash_at_least_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sim_pipeline_count; i++) {
        struct sim_spec spec = sim_pipelines[i];
        spec.at_least_once = true;
        if (!spec.stateful) { /* always in transactions: test_every_crash has it */
            crash_everywhere(&spec);
        }
    }
}

static void test_every_crash(void **state)
{
    (void)state;
    for (size_t i = 0; i < sim_pipeline_count; i++) {
        crash_everywhere(&sim_pipelines[i]);
    }
    crash_everywhere(&sim_exchange);
    crash_everywhere(&sim_exchange_questions);
    crash_everywhere(&sim_exchange_topic);
}

/* Asked to stop at every moment: a clean end, and the next start repeats nothing. */
static void test_every_stop(void **state)
{
    (void)state;
    for (size_t i = 0; i <= 2 * sim_pipeline_count + 1; i++) {
        struct sim_spec spec = i == 2 * sim_pipeline_count  ? sim_exchange
                               : i > 2 * sim_pipeline_count ? sim_exchange_topic
                                                            : sim_pipelines[i / 2];
        spec.at_least_once = i % 2 == 1 && !spec.stateful;
        bool stopped = true;
        for (int steps = (int)(i % sim_stride()); stopped; steps += (int)sim_stride()) {
            struct sim_world world;
            sim_scenario("%s%s, stopped after %d steps", spec.name,
                         spec.at_least_once ? ", at least once" : "", steps);
            sim_world_init(&world, &spec, 1);
            (void)sim_world_prepare(&world, 0);
            sim_world_open(&world, 0);
            for (int step = 0; step < steps; step++) {
                unsigned turn = (unsigned)step % (spec.lanes + 1);
                if (turn == 0) {
                    sim_world_advance(&world, SIM_STEP_MS);
                    sim_world_tick(&world, 0);
                } else {
                    sim_world_lane(&world, 0, turn - 1);
                }
            }
            stopped = world.slots[0].outcome == SIM_RUNNING;
            if (stopped) {
                weir_engine_request_stop(world.slots[0].engine);
                (void)sim_world_run(&world, 0);
                assert_int_equal(world.slots[0].outcome, SIM_ENDED);
                (void)sim_world_prepare(&world, 0);
                sim_world_open(&world, 0);
            }
            sim_world_finish(&world);
            if (world.violation[0] != '\0') {
                fail_msg("%s: %s", sim_scenario_text(), world.violation);
            }
            sim_world_done(&world);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_crash),
        cmocka_unit_test(test_every_crash_at_least_once),
        cmocka_unit_test(test_every_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
