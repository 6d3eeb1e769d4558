/* SPDX-License-Identifier: Apache-2.0
 *
 * The lane's waiting list: batches that rest at a step which asks, and behind each the later ones
 * of its task, unprocessed, so that a task keeps its order. Other tasks go on, until what waits has
 * the lane's share of the memory budget; then the lane reads no more.
 *
 * A batch that waits was read and is not written, so an epoch is sealed without it. Not so when a
 * step before the one that asks has changed state, which the seal would keep, or when the batch
 * lies behind an exchange, whose other side is part of the epoch: the gate waits for these.
 */
#include "base/assert.h"
#include "base/clock.h"
#include "engine/engine_priv.h"

enum { BATCH_BYTES_MIN = 16384 }; /* bounds how many may wait, not only how much */

static bool is_within(const struct weir_batch *batch)
{
    return weir_task_is_inner(batch->task) ||
           (batch->asking != NULL && batch->asking->changes_state);
}

static size_t weight(const struct weir_batch *batch)
{
    size_t bytes = batch->bytes + batch->count * sizeof(struct weir_record);
    return bytes > BATCH_BYTES_MIN ? bytes : BATCH_BYTES_MIN;
}

static void put(struct weir_lane *lane, struct weir_batch **place, struct weir_batch *batch)
{
    struct weir_task *task = batch->task;
    batch->link = *place;
    *place = batch;
    task->waiting++;
    lane->waiting_bytes += weight(batch);
    lane->rest_until_ns = 0; /* it has not asked yet */
}

static struct weir_batch *take(struct weir_lane *lane, struct weir_batch **place)
{
    struct weir_batch *batch = *place;
    struct weir_task *task = batch->task;
    *place = batch->link;
    batch->link = NULL;
    task->waiting--;
    lane->waiting_bytes -= weight(batch);
    return batch;
}

static void drop(struct weir_lane *lane, struct weir_batch **place)
{
    struct weir_batch *batch = take(lane, place);
    struct weir_task *task = batch->task;
    if (batch->asking != NULL) {
        weir_asking_drop(batch->asking);
    }
    if (weir_lane_wants_abort(lane)) {
        weir_lane_unread(lane, batch);
    } else { /* at the end: it was read, and is left behind */
        task->in_flight -= batch->count;
        weir_lane_release(lane, batch);
    }
}

void weir_lane_wait(struct weir_lane *lane, struct weir_batch *batch)
{
    struct weir_batch **place = &lane->waiting_first;
    while (*place != NULL) {
        place = &(*place)->link;
    }
    put(lane, place, batch);
}

bool weir_lane_waits_within(const struct weir_lane *lane)
{
    bool within = false;
    for (const struct weir_batch *batch = lane->waiting_first; batch != NULL && !within;
         batch = batch->link) {
        within = is_within(batch);
    }
    return within && !weir_lane_wants_abort(lane);
}

int64_t weir_lane_reach(const struct weir_lane *lane, const struct weir_task *task)
{
    const struct weir_batch *batch = task->waiting == 0 ? NULL : lane->waiting_first;
    while (batch != NULL && batch->task != task) {
        batch = batch->link;
    }
    return batch == NULL ? task->part.read : batch->first;
}

void weir_lane_discard_waiting(struct weir_lane *lane, const struct weir_task *task)
{
    for (struct weir_batch **place = &lane->waiting_first; *place != NULL;) {
        if (task == NULL || (*place)->task == task) {
            drop(lane, place);
        } else {
            place = &(*place)->link;
        }
    }
}

/* Nothing of it may get out, or need to: it will be read again. */
static bool is_void(const struct weir_lane *lane, const struct weir_batch *batch)
{
    if (weir_lane_wants_abort(lane)) {
        return true;
    }
    const struct weir_engine *engine = lane->engine;
    /* Only while nothing is read: what came behind it would be written without it. */
    bool stops = !atomic_load_explicit(&engine->reading, memory_order_acquire) &&
                 atomic_load_explicit(&engine->stop_asked_ns, memory_order_relaxed) != 0;
    bool gives_up =
        stops && engine->reads_again && batch->asking != NULL && batch->asking->rounds > 0;
    return !is_within(batch) && (lane->halted || gives_up);
}

/* With a batch go those behind it of the same task. */
static bool drop_void(struct weir_lane *lane)
{
    bool dropped = false;
    for (struct weir_batch **place = &lane->waiting_first; *place != NULL;) {
        const struct weir_task *task = (*place)->task;
        if (!is_void(lane, *place)) {
            place = &(*place)->link;
            continue;
        }
        dropped = true;
        for (struct weir_batch **other = place; *other != NULL;) {
            if ((*other)->task == task) {
                drop(lane, other);
            } else {
                other = &(*other)->link;
            }
        }
    }
    return dropped;
}

/* It is its turn, and it need not rest. */
static bool may_go_on(struct weir_lane *lane, struct weir_batch *batch, bool finishing)
{
    const struct weir_task *task = batch->task;
    if (task->held || ((finishing || lane->halted) && !is_within(batch))) {
        return false;
    }
    if (batch->asking == NULL) {
        return !lane->blocked;
    }
    int64_t now_ns = weir_clock_monotonic_ns(lane->engine->clock);
    bool answered = weir_asking_advance(batch->asking, batch, now_ns);
    if (!answered && batch->asking->until_ns < lane->rest_until_ns) {
        lane->rest_until_ns = batch->asking->until_ns;
    }
    return answered && !lane->blocked;
}

bool weir_lane_serve_waiting(struct weir_lane *lane, bool finishing)
{
    bool moved = drop_void(lane);
    lane->rest_until_ns = INT64_MAX;
    for (struct weir_batch *batch = lane->waiting_first; batch != NULL; batch = batch->link) {
        struct weir_task *task = batch->task;
        task->held = false;
    }
    for (struct weir_batch **place = &lane->waiting_first; *place != NULL;) {
        struct weir_task *task = (*place)->task;
        if (!may_go_on(lane, *place, finishing)) {
            task->held = true;
            place = &(*place)->link;
            continue;
        }
        struct weir_batch *batch = take(lane, place);
        moved = true;
        if (!weir_lane_process(lane, batch)) {
            put(lane, place, batch);
            task->held = true;
            place = &batch->link;
        }
    }
    return moved;
}
