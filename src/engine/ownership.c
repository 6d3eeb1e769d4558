/* SPDX-License-Identifier: Apache-2.0
 *
 * Partitions that come and go, each with its task. Both happen while the lanes stand still. What
 * leaves is committed before it goes, or, when it is somebody else's already, the open epoch is
 * aborted.
 *
 * A commit, and an abort, may wait for a broker that is gone, and control does not wait with it:
 * what leaves is stopped between two batches, and goes when all that it did is decided. Until then
 * it belongs to this process and its position to every commit; others go on, into epochs in which
 * it does nothing.
 */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "engine/engine_priv.h"
#include "engine/observe.h"

enum { REVOKE_PATIENCE_MS = 10000, SLICE_MS = 50 };

/* The one with the fewest tasks of the same side of the exchange. */
static unsigned choose_lane(const struct weir_engine *engine, bool in_front)
{
    unsigned best = 0;
    size_t best_count = SIZE_MAX;
    for (unsigned i = 0; i < engine->lane_count; i++) {
        size_t count = 0;
        for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
            count += task->part.lane == i && task->in_front == in_front;
        }
        if (count < best_count) {
            best = i;
            best_count = count;
        }
    }
    return best;
}

static struct weir_task *
task_add(struct weir_engine *engine, struct weir_source *source, const struct weir_assignment *item)
{
    struct weir_task *task = weir_calloc(1, sizeof(*task));
    task->topic = weir_strdup(item->topic);
    task->source = (unsigned)(source - engine->sources);
    task->part.source = task->source;
    task->part.topic = task->topic;
    task->topic_id = item->topic_id;
    task->part.index = item->index;
    task->part.source_data = item->source_data;
    task->exchange = engine->exchange;
    task->in_front = engine->exchange != NULL && engine->exchange->source != task->source;
    task->stream = weir_exchange_stream(source->name, item->topic);
    task->of = item->total;
    task->told.committed = INT64_MIN;
    weir_exchange_rollback(task);
    task->part.lane = choose_lane(engine, task->in_front);
    task->told.moved_ms = engine->lanes[task->part.lane].calm_ms;
    atomic_init(&task->part.end, -1);
    task->next = engine->tasks;
    engine->tasks = task;
    engine->task_count++;
    engine->moves++;
    return task;
}

/* What is committed of them, positions and state. */
static void
tasks_open(struct weir_engine *engine, struct weir_shard_opening *openings, size_t count)
{
    for (size_t i = 0; i < count && engine->state_log != NULL; i++) {
        const struct weir_assignment *item = openings[i].item;
        (void)weir_state_log_get_position(engine->state_log,
                                          engine->sources[openings[i].task->source].name,
                                          item->topic, item->index, &openings[i].position);
    }
    weir_shards_open(engine, openings, count);
    for (size_t i = 0; i < count; i++) {
        struct weir_task *task = openings[i].task;
        struct weir_err *err = &openings[i].err;
        int64_t position = openings[i].position;
        if (openings[i].item->is_moved || task->strayed) {
            weir_engine_count_error(engine, 0, engine->sources[task->source].name, WEIR_DATA_LOSS);
        }
        if (err->status != WEIR_OK) {
            if (weir_status_class(err->status) == WEIR_CLASS_UNAVAILABLE) {
                err->status = WEIR_FENCED; /* leave, and try again as a new member */
            }
            weir_engine_end(engine, err);
        }
        WEIR_ASSERT(position >= 0);
        task->part.read = task->part.written = position;
        task->part.closing = task->part.committed = position;
        if (!weir_task_is_inner(task)) {
            WEIR_LOG_INFO(&engine->log, "partition assigned",
                          WEIR_F("source", engine->sources[task->source].name),
                          WEIR_F("topic", (const char *)task->topic),
                          WEIR_F("partition", task->part.index), WEIR_F("offset", position));
        }
    }
}

void weir_source_assign(struct weir_ctx *ctx,
                        const struct weir_assignment *items,
                        size_t count,
                        struct weir_partition **ret)
{
    struct weir_engine *engine = ctx->engine;
    engine->assigned = true;
    if (count == 0) {
        return;
    }
    bool stopped =
        weir_gate_close(engine, false, weir_clock_monotonic_ns(engine->clock) + WEIR_NS_PER_S);
    if (!stopped) { /* a full sink holds a lane inside a batch: tasks may be added beside it */
        stopped = weir_gate_close(engine, true, INT64_MAX);
        WEIR_ASSERT(stopped);
    }
    struct weir_shard_opening *openings = weir_calloc(count, sizeof(*openings));
    for (size_t i = 0; i < count; i++) {
        struct weir_task *task = task_add(engine, &engine->sources[ctx->index], &items[i]);
        openings[i] = (struct weir_shard_opening){
            .task = task, .item = &items[i], .position = items[i].position};
        ret[i] = &task->part;
    }
    tasks_open(engine, openings, count);
    weir_free(openings);
    if (engine->exchange != NULL) {
        weir_exchange_announce(engine->exchange);
    }
    engine->dirty = true;
    weir_gate_open(engine);
}

static void task_remove(struct weir_engine *engine, struct weir_task *task)
{
    struct weir_task **place = &engine->tasks;
    while (*place != task) {
        place = &(*place)->next;
    }
    *place = task->next;
    engine->task_count--;
    engine->moves++;
    weir_lane_discard(&engine->lanes[task->part.lane], task);
    for (unsigned i = 0; i < engine->lane_count; i++) {
        struct weir_blame *blame = &engine->lanes[i].blame;
        blame->task = blame->task == task ? NULL : blame->task;
    }
    weir_engine_gauge_forget(engine, task);
    weir_shard_close(task);
    weir_free(task->verdicts);
    weir_free(task->topic);
    weir_free(task);
}

/* Until when the last of them may take; from the first call on. */
static int64_t tasks_leave(struct weir_partition **items, size_t count, int64_t now_ns)
{
    int64_t until_ns = 0;
    for (size_t i = 0; i < count; i++) {
        struct weir_task *task = (struct weir_task *)items[i];
        if (task->leave_by_ns == 0) {
            task->leave_by_ns = now_ns + REVOKE_PATIENCE_MS * WEIR_NS_PER_MS;
        }
        until_ns = task->leave_by_ns > until_ns ? task->leave_by_ns : until_ns;
    }
    return until_ns;
}

static bool tasks_are_stopped(struct weir_partition **items, size_t count)
{
    size_t stopped = 0;
    for (size_t i = 0; i < count; i++) {
        stopped += ((struct weir_task *)items[i])->stopped;
    }
    return stopped == count;
}

/* What was read of them and not written is somebody else's to read. paused. */
static void tasks_stop(struct weir_engine *engine, struct weir_partition **items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct weir_task *task = (struct weir_task *)items[i];
        weir_lane_discard(&engine->lanes[task->part.lane], task);
        task->in_flight = 0;
        task->part.read = task->part.written;
        task->stopped = true;
    }
}

static void leave_abort(struct weir_engine *engine, const char *reason)
{
    struct weir_err why = {0};
    (void)!weir_fail(&why, WEIR_ABORTED, "%s", reason);
    weir_epoch_abort(engine, &why);
}

/* Stops the tasks between two batches. False: not yet. */
static bool leave_begin(struct weir_engine *engine,
                        struct weir_partition **items,
                        size_t count,
                        bool lost,
                        int64_t now_ns,
                        int64_t until_ns)
{
    bool is_over = now_ns > until_ns;
    int64_t slice_ns = now_ns + SLICE_MS * WEIR_NS_PER_MS;
    if (engine->state == WEIR_EPOCH_CONFIRMING && engine->domain != NULL) {
        weir_epoch_commit_now(engine, slice_ns); /* until then the lanes cannot finish a batch */
        if (engine->committing || (engine->state == WEIR_EPOCH_CONFIRMING && !is_over)) {
            return false;
        }
    }
    /* Between two epochs, or at the end, what is half handed over belongs to none. */
    bool is_void = engine->state == WEIR_EPOCH_WAITING;
    bool whole = weir_gate_close(engine, is_void, slice_ns);
    if (!whole && !is_over && !lost) {
        return false;
    }
    if (!whole) {
        bool stopped = weir_gate_close(engine, true, INT64_MAX);
        WEIR_ASSERT(stopped);
    }
    if (engine->state != WEIR_EPOCH_WAITING && (lost || !whole)) {
        leave_abort(engine, lost ? "partitions were lost to another member"
                                 : "partitions leave while a sink takes nothing");
    }
    tasks_stop(engine, items, count);
    engine->dirty = engine->dirty || !weir_epoch_is_clean(engine);
    weir_gate_open(engine);
    return true;
}

/* Nothing that they did belongs to an epoch that is open, or of which nobody knows. */
static bool
tasks_are_settled(const struct weir_engine *engine, struct weir_partition **items, size_t count)
{
    bool settled = !engine->committing && !engine->aborting;
    for (size_t i = 0; i < count && settled && engine->state != WEIR_EPOCH_WAITING; i++) {
        const struct weir_task *task = (const struct weir_task *)items[i];
        settled = task->part.written == task->part.committed && !task->changed;
    }
    return settled;
}

static bool leave_settle(struct weir_engine *engine,
                         struct weir_partition **items,
                         size_t count,
                         bool lost,
                         bool is_over)
{
    if (!tasks_are_settled(engine, items, count)) {
        weir_epoch_commit_now(engine, weir_clock_monotonic_ns(engine->clock) +
                                          SLICE_MS * WEIR_NS_PER_MS);
        (void)weir_epoch_end_abort(engine);
    }
    if (tasks_are_settled(engine, items, count)) {
        return true;
    }
    if (engine->committing || engine->aborting || (!lost && !is_over)) {
        return false;
    }
    if (engine->domain == NULL && !lost) {
        return true; /* its outputs may be repeated */
    }
    /* A sink outside of the domain does not answer, or takes nothing. Committed later, the outputs
     * of what leaves would become visible without its position. */
    leave_abort(engine, lost ? "partitions were lost to another member"
                             : "partitions leave before a sink has confirmed");
    return tasks_are_settled(engine, items, count);
}

static void tasks_go(struct weir_engine *engine,
                     const struct weir_source *source,
                     struct weir_partition **items,
                     size_t count,
                     bool lost)
{
    bool stopped = weir_gate_close(engine, true, INT64_MAX);
    WEIR_ASSERT(stopped);
    for (size_t i = 0; i < count; i++) {
        struct weir_task *task = (struct weir_task *)items[i];
        WEIR_LOG_INFO(&engine->log, "partition given back", WEIR_F("lost", lost),
                      WEIR_F("source", source->name),
                      WEIR_F("topic", (const char *)task->topic),
                      WEIR_F("partition", task->part.index),
                      WEIR_F("offset", task->part.committed));
        task_remove(engine, task);
    }
    if (engine->bisect_limit >
        0) { /* what left counted: if the refused record stayed, it is sought anew */
        engine->bisect_limit = 0;
        atomic_store_explicit(&engine->read_budget, INT64_MAX, memory_order_relaxed);
    }
    weir_gate_open(engine);
}

bool weir_source_release(struct weir_ctx *ctx,
                         struct weir_partition **items,
                         size_t count,
                         bool lost)
{
    struct weir_engine *engine = ctx->engine;
    int64_t now_ns = weir_clock_monotonic_ns(engine->clock);
    int64_t until_ns = tasks_leave(items, count, now_ns);
    if (!engine->finished && !engine->restarting) {
        if (!tasks_are_stopped(items, count) &&
            !leave_begin(engine, items, count, lost, now_ns, until_ns)) {
            return false;
        }
        if (!leave_settle(engine, items, count, lost, now_ns > until_ns)) {
            return false;
        }
    }
    tasks_go(engine, &engine->sources[ctx->index], items, count, lost);
    return true;
}

void weir_source_revoke(struct weir_ctx *ctx,
                        struct weir_partition **items,
                        size_t count,
                        bool lost)
{
    while (!weir_source_release(ctx, items, count, lost)) {
    }
}

void weir_source_await(struct weir_ctx *ctx, size_t count)
{
    ctx->engine->sources[ctx->index].awaited = count;
}

void weir_engine_drop_tasks(struct weir_engine *engine)
{
    while (engine->tasks != NULL) {
        task_remove(engine, engine->tasks);
    }
}

weir_status weir_engine_seek(struct weir_engine *engine, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    for (unsigned i = 0; i < engine->source_count && status == WEIR_OK; i++) {
        size_t listed, count = 0;
        struct weir_partition **items = weir_engine_list_parts(engine, i, &listed);
        for (size_t k = 0; k < listed; k++) { /* what leaves is read no more */
            if (!((const struct weir_task *)items[k])->stopped) {
                items[count++] = items[k];
            }
        }
        if (count > 0) {
            status = engine->sources[i].component->ops.source->seek(engine->sources[i].self, items,
                                                                    count, err);
        }
        weir_free(items);
    }
    return status;
}
