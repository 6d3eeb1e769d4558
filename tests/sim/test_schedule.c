/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what nobody thought of. Method: a seed makes a pipeline and a sequence of ticks, lane
 * steps, waits, starts, crashes, stops and failing calls of two processes; the checker looks at
 * every step, and after the last fault everything must arrive. The same seed makes the same bytes.
 *
 * WEIR_LONG=1 runs many more seeds; WEIR_SIM_SEED=N runs one, with WEIR_SIM_TRACE=1 it is shown.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "pipelines.h"

enum { SEEDS = 400, SEEDS_LONG = 20000, HEAL_ROUNDS = 4000 };

struct totals {
    size_t crashes, faults, aborts, repeats, checks;
};

static size_t pick(struct weir_random *random, size_t low, size_t high)
{
    return low + (size_t)weir_random_below(random, high - low + 1);
}

static bool chance(struct weir_random *random, size_t one_in)
{
    return weir_random_below(random, one_in) == 0;
}

static struct sim_spec make_spec(struct weir_random *random)
{
    struct sim_spec spec = sim_pipelines[weir_random_below(random, sim_pipeline_count)];
    spec.partitions = pick(random, 1, 3);
    spec.records = pick(random, 1, 40);
    spec.lanes = (unsigned)pick(random, 1, 3);
    spec.chunk = pick(random, 1, 6);
    spec.batch_size = pick(random, 1, 12);
    spec.room = chance(random, 2) ? 1000 : pick(random, 1, 9);
    spec.instance = chance(random, 2);
    spec.at_least_once = chance(random, 3);
    if (chance(random, 4)) {
        static const char *const flags[] = {"unfit", "refused", "poison"};
        spec.flag = flags[weir_random_below(random, 3)];
        spec.poison_in_commit = chance(random, 2);
        spec.skip = true;
        for (size_t i = 0; i < 3; i++) {
            spec.flagged[i] = (int)pick(random, 0, spec.records);
        }
    }
    return spec;
}

static void start(struct sim_world *world, size_t slot, struct weir_random *random, bool calm)
{
    struct sim_process *process = sim_world_prepare(world, slot);
    process->shared = true;
    if (!calm) {
        process->chaos = random;
        process->chaos_of = pick(random, 20, 400);
        if (chance(random, 2)) {
            process->crash_at = pick(random, 1, 300);
            process->crash = (enum sim_crash)pick(random, 0, SIM_CRASH_COUNT - 1);
        }
    }
    sim_world_open(world, slot);
}

static void count(struct sim_world *world, size_t slot, struct totals *totals)
{
    totals->crashes += world->slots[slot].outcome == SIM_CRASHED;
    totals->faults += world->slots[slot].process.faults_fired;
    world->slots[slot].process.faults_fired = 0;
}

static void act(struct sim_world *world, size_t slot, struct weir_random *random)
{
    switch (weir_random_below(random, 8)) {
    case 0:
    case 1:
    case 2:
        sim_world_tick(world, slot);
        break;
    case 3:
    case 4:
    case 5:
        sim_world_lane(world, slot, (unsigned)weir_random_below(random, world->spec->lanes));
        break;
    case 6:
        sim_world_advance(world, (int64_t)pick(random, 1, 20));
        break;
    default:
        if (chance(random, 40)) {
            sim_world_kill(world, slot);
        } else if (chance(random, 60)) {
            weir_engine_request_stop(world->slots[slot].engine);
        } else if (chance(random, 40)) {
            sim_world_advance(world, (int64_t)pick(random, SIM_SESSION_MS / 2, 3 * SIM_SESSION_MS));
        }
        break;
    }
}

static void storm(struct sim_world *world, struct weir_random *random, struct totals *totals)
{
    size_t steps = pick(random, 50, 1200);
    size_t awake = 2; /* a process sleeps now and then while the other goes on */
    for (size_t i = 0; i < steps && world->violation[0] == '\0'; i++) {
        if (chance(random, 100)) {
            awake = pick(random, 0, 2);
        }
        size_t slot = awake < 2 ? awake : weir_random_below(random, 2);
        if (world->slots[slot].outcome == SIM_RUNNING) {
            act(world, slot, random);
        } else if (chance(random, 8)) {
            count(world, slot, totals);
            start(world, slot, random, false);
        }
    }
}

static bool is_committed(const struct sim_world *world)
{
    for (size_t t = 0; t < world->spec->sources; t++) {
        for (size_t p = 0; p < world->spec->partitions; p++) {
            const struct sim_partition *partition = &world->broker.topics[t].partitions[p];
            if (partition->committed != (int64_t)partition->count) {
                return false;
            }
        }
    }
    return true;
}

/* No fault from here on: it must come to an end. */
static void heal(struct sim_world *world, struct weir_random *random)
{
    for (size_t slot = 0; slot < SIM_SLOTS; slot++) {
        world->slots[slot].process.chaos = NULL;
        world->slots[slot].process.crash_at = 0;
    }
    for (int i = 0; i < HEAL_ROUNDS && world->violation[0] == '\0'; i++) {
        bool runs = false;
        for (size_t slot = 0; slot < SIM_SLOTS; slot++) {
            runs = runs || world->slots[slot].outcome == SIM_RUNNING;
            sim_world_round(world, slot);
        }
        if (!runs && is_committed(world)) {
            return;
        }
        if (!runs) {
            start(world, 0, random, true);
        }
    }
    sim_violate(world, "it does not come to an end after the last fault");
}

static uint64_t run_seed(uint64_t seed, struct totals *totals)
{
    struct weir_random random;
    weir_random_init(&random, seed);
    struct sim_spec spec = make_spec(&random);
    struct sim_world world;
    sim_scenario("seed %llu (%s%s)", (unsigned long long)seed, spec.name,
                 spec.at_least_once ? ", at least once" : "");
    sim_world_init(&world, &spec, seed);
    world.repeats_allowed = spec.at_least_once;
    storm(&world, &random, totals);
    heal(&world, &random);
    for (size_t slot = 0; slot < SIM_SLOTS; slot++) {
        count(&world, slot, totals);
    }
    if (world.violation[0] == '\0') {
        sim_world_check_end(&world);
    }
    if (world.violation[0] != '\0') {
        fail_msg("%s: %s", sim_scenario_text(), world.violation);
    }
    totals->aborts += world.broker.aborts;
    totals->repeats += world.repeats;
    totals->checks += world.checks;
    uint64_t trace = world.trace;
    sim_world_done(&world);
    return trace;
}

static void test_seeds(void **state)
{
    (void)state;
    const char *one = getenv("WEIR_SIM_SEED");
    const char *is_long = getenv("WEIR_LONG");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : 1;
    uint64_t last = one != NULL ? first : is_long != NULL && *is_long == '1' ? SEEDS_LONG : SEEDS;
    struct totals totals = {0};
    for (uint64_t seed = first; seed <= last; seed++) {
        uint64_t trace = run_seed(seed, &totals);
        if (seed % 10 == 1 && run_seed(seed, &totals) != trace) {
            fail_msg("seed %llu: two runs differ", (unsigned long long)seed);
        }
    }
    print_message("%llu seeds: %zu crashes, %zu failed calls, %zu aborts, %zu repeats allowed, "
                  "%zu checks\n",
                  (unsigned long long)(last - first + 1), totals.crashes, totals.faults,
                  totals.aborts, totals.repeats, totals.checks);
    if (one == NULL) {
        assert_true(totals.crashes > 100 && totals.faults > 1000 && totals.aborts > 500);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
