/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate: how the control thread gets the lanes to stand still between two batches. It is the
 * only synchronisation between them. Everything that changes ownership, positions or the epoch
 * happens while the gate is closed, so that those parts are written like a single-threaded program.
 *
 * The surprising part: a lane may be inside a batch whose outputs are half handed over to a full
 * sink. If it parked there, the closing epoch would hold outputs of a record whose position it does
 * not commit. So such a lane does not park until the batch is written, unless the gate is closed
 * for an abort, where both halves are thrown away together. Meanwhile control keeps serving the
 * sinks, because that is what makes room. A lane that was parked half-written by such a gate, and
 * has not woken yet when the next one closes, is sent on to finish its batch.
 *
 * A batch that waits for answers is left where it is, unless the epoch would hold half of it: then
 * its answers are waited for like room in a sink.
 *
 * An exchange in memory makes lanes depend on each other: what one hands over, another has to
 * process before the epoch can close. A parked lane that is given something goes on; only when all
 * stand still with nothing left does the gate hold.
 *
 * Without threads (the simulator) lanes only move when control steps them, and the gate steps
 * half-written batches to their end.
 */
#include <errno.h>

#include "base/assert.h"
#include "base/thread.h"
#include "engine/engine_priv.h"
#include "engine/observe.h"

enum { INLINE_ROUNDS = 1000, INLINE_IDLE_ROUNDS = 10 };

void weir_gate_init(struct weir_gate *gate)
{
    pthread_mutex_init(&gate->lock, NULL);
    weir_cond_init(&gate->parked_changed);
    weir_cond_init(&gate->opened);
}

void weir_gate_done(struct weir_gate *gate)
{
    WEIR_ASSERT(gate->parked == 0);
    pthread_cond_destroy(&gate->opened);
    pthread_cond_destroy(&gate->parked_changed);
    pthread_mutex_destroy(&gate->lock);
}

static bool gate_holds(const struct weir_gate *gate, const struct weir_lane *lane)
{
    /* Acquire pairs with the release in close: what control prepared before is seen. */
    return atomic_load_explicit(&gate->closed, memory_order_acquire) &&
           (atomic_load_explicit(&gate->leave_partial, memory_order_acquire) ||
            !weir_lane_is_partial(lane));
}

bool weir_gate_pass(struct weir_lane *lane)
{
    struct weir_gate *gate = &lane->engine->gate;
    if (!gate_holds(gate, lane)) {
        return true;
    }
    pthread_mutex_lock(&gate->lock);
    gate->parked++;
    pthread_cond_signal(&gate->parked_changed);
    while (gate_holds(gate, lane) && !atomic_load_explicit(&gate->quit, memory_order_relaxed)) {
        pthread_cond_wait(&gate->opened, &gate->lock);
    }
    gate->parked--;
    bool go_on = !atomic_load_explicit(&gate->quit, memory_order_relaxed);
    pthread_mutex_unlock(&gate->lock);
    return go_on;
}

static void gate_serve_sinks(struct weir_engine *engine)
{
    for (size_t i = 0; i < engine->sink_count; i++) {
        struct weir_sink *sink = &engine->sinks[i];
        if (sink->component->ops.sink->poll != NULL) {
            /* What fails here fails again, and is judged, in the next tick. */
            struct weir_err ignored = {0};
            (void)!sink->component->ops.sink->poll(sink->self, &ignored);
        }
    }
}

static bool gate_close_inline(struct weir_engine *engine, bool leave_partial)
{
    bool still = leave_partial;
    int idle = 0; /* rounds that waited for answers, which do not come while the clock stands */
    for (int round = 0; !still && round < INLINE_ROUNDS && idle < INLINE_IDLE_ROUNDS; round++) {
        still = true;
        idle++;
        for (unsigned i = 0; i < engine->lane_count; i++) {
            struct weir_lane *lane = &engine->lanes[i];
            if (weir_lane_is_partial(lane)) { /* what it does may give another lane something */
                still = false;
                gate_serve_sinks(engine);
                bool moved = weir_lane_finish(lane);
                idle = moved || !weir_lane_waits_within(lane) ? 0 : idle;
            }
        }
    }
    return still;
}

/* Every lane is parked where this gate wants it. Under the gate's lock. */
static bool gate_is_still(const struct weir_engine *engine, bool leave_partial)
{
    bool still = engine->gate.parked == engine->lane_count;
    for (unsigned i = 0; still && !leave_partial && i < engine->lane_count; i++) {
        still = !weir_lane_is_partial(&engine->lanes[i]);
    }
    return still;
}

static bool gate_wait_parked(struct weir_engine *engine, bool leave_partial, int64_t deadline_ns)
{
    struct weir_gate *gate = &engine->gate;
    pthread_mutex_lock(&gate->lock);
    while (!gate_is_still(engine, leave_partial)) {
        if (gate->parked == engine->lane_count) { /* one gave another something to do */
            pthread_cond_broadcast(&gate->opened);
        }
        const struct timespec until = weir_deadline(1);
        if (pthread_cond_timedwait(&gate->parked_changed, &gate->lock, &until) == ETIMEDOUT) {
            pthread_mutex_unlock(&gate->lock);
            gate_serve_sinks(engine);
            for (unsigned i = 0; i < engine->lane_count; i++) {
                weir_lane_wake(&engine->lanes[i]);
            }
            if (weir_clock_monotonic_ns(engine->clock) > deadline_ns) {
                return false;
            }
            pthread_mutex_lock(&gate->lock);
        }
    }
    pthread_mutex_unlock(&gate->lock);
    return true;
}

bool weir_gate_close(struct weir_engine *engine, bool leave_partial, int64_t deadline_ns)
{
    struct weir_gate *gate = &engine->gate;
    if (gate->depth > 0) {
        gate->depth++;
        return true;
    }
    bool stopped;
    gate->closed_ns = weir_clock_monotonic_ns(engine->clock);
    if (!engine->threads_running) {
        stopped = gate_close_inline(engine, leave_partial);
    } else {
        atomic_store_explicit(&gate->leave_partial, leave_partial, memory_order_release);
        atomic_store_explicit(&gate->closed, true, memory_order_release);
        for (unsigned i = 0; i < engine->lane_count; i++) {
            weir_lane_wake(&engine->lanes[i]);
        }
        stopped = gate_wait_parked(engine, leave_partial, deadline_ns);
    }
    gate->depth = 1;
    if (!stopped) {
        weir_gate_open(engine);
    }
    return stopped;
}

void weir_gate_open(struct weir_engine *engine)
{
    struct weir_gate *gate = &engine->gate;
    WEIR_ASSERT(gate->depth > 0);
    if (--gate->depth > 0 || !engine->threads_running) {
        return;
    }
    pthread_mutex_lock(&gate->lock);
    atomic_store_explicit(&gate->closed, false, memory_order_release);
    atomic_store_explicit(&gate->leave_partial, false, memory_order_release);
    pthread_cond_broadcast(&gate->opened);
    pthread_mutex_unlock(&gate->lock);
    weir_engine_count_pause(engine, weir_clock_monotonic_ns(engine->clock) - gate->closed_ns);
}
