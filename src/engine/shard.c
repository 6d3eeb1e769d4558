/* SPDX-License-Identifier: Apache-2.0
 *
 * A task's share of the pipeline's state: one table per step that keeps state, changed by the
 * task's lane, committed and undone with the epoch, written into the state log with it. The log is
 * the domain's (appended inside its transaction) or the pipeline's file.
 *
 * The surprising part: when a commit succeeds the lanes are running, and a table is its lane's. So
 * the success is only noted (`durable`), and the closing layer dropped when the lanes stand still
 * the next time: before the next seal, or before a rollback, which must not undo it.
 */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "engine/engine_priv.h"
#include "state/disk.h"
#include "state/shard_log.h"

enum {
    FILE_SNAPSHOT_BYTES = 32 << 20,
    SNAPSHOTS_AT_ONCE = 64, /* an entry of the file holds a piece of each */
    EPOCH_CHANGES_MAX = 32 << 20,
};

static const struct weir_state_log_ops *shard_ops(const struct weir_engine *engine)
{
    WEIR_ASSERT(engine->plan.state_in_domain);
    return engine->plan.domain->state_log;
}

/* What a table may hold in memory; the disk itself has the rest. */
size_t weir_shard_budget(const struct weir_engine *engine)
{
    size_t tables = (engine->task_count + 1) * engine->stateful_count;
    return (size_t)engine->config->state.memory / 4 * 3 / tables;
}

static void shard_show_sums(struct weir_task *task)
{
    for (size_t i = 0; task->states[i] != NULL; i++) {
        task->sizes[i].committed = task->sizes[i].sealed;
    }
}

static void shard_sum(struct weir_task *task)
{
    for (size_t i = 0; task->states[i] != NULL; i++) {
        task->sizes[i].sealed = (struct weir_state_sum){.keys = weir_state_count(task->states[i]),
                                                        .bytes = weir_state_bytes(task->states[i]),
                                                        .clock = weir_state_clock(task->states[i])};
    }
}

void weir_shard_show(struct weir_task *task)
{
    shard_sum(task);
    shard_show_sums(task);
}

void weir_shard_close(struct weir_task *task)
{
    for (size_t i = 0; task->states != NULL && task->states[i] != NULL; i++) {
        weir_state_free(task->states[i]);
    }
    weir_shard_log_free(task->log);
    weir_free(task->states);
    weir_free(task->sizes);
    task->log = NULL;
    task->states = NULL;
    task->sizes = NULL;
}

void weir_shard_apply(struct weir_task *task)
{
    for (size_t i = 0; task->durable && task->states[i] != NULL; i++) {
        weir_state_commit(task->states[i]);
    }
    task->durable = false;
}

void weir_shard_seal(struct weir_engine *engine, struct weir_task *task)
{
    weir_shard_apply(task);
    shard_sum(task);
    for (size_t i = 0; engine->disk != NULL && task->states[i] != NULL; i++) {
        weir_state_set_budget(task->states[i], weir_shard_budget(engine));
    }
    bool moved = task->part.closing != task->part.committed || task->strayed;
    if (task->log == NULL) {
        for (size_t i = 0; task->states[i] != NULL; i++) {
            weir_state_seal(task->states[i], NULL);
        }
    } else if (moved || weir_shard_is_dirty(task) || weir_shard_log_has_more(task->log)) {
        const struct weir_state_position at = {engine->sources[task->source].name, task->topic,
                                               task->part.index, task->part.closing,
                                               task->topic_id};
        weir_shard_log_seal(task->log, &at, engine->frame_max);
    } else {
        weir_shard_log_skip(task->log);
    }
    task->changed = false;
    task->changed_bytes = 0;
}

weir_status weir_shard_append(struct weir_engine *engine, uint64_t epoch, struct weir_err *err)
{
    weir_status status = engine->disk == NULL ? WEIR_OK : weir_disk_failure(engine->disk, err);
    for (struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        struct weir_slice frame;
        if (task->log != NULL && weir_shard_log_begins(task->log)) {
            task->snapshot_began = (int64_t)epoch;
            if (engine->plan.state_in_domain) {
                status = shard_ops(engine)->place(engine->domain, task->part.index,
                                                  &task->snapshot_began, err);
            }
        }
        for (size_t i = 0;
             status == WEIR_OK && task->log != NULL && weir_shard_log_frame(task->log, i, &frame);
             i++) {
            if (engine->plan.state_in_domain) {
                status = shard_ops(engine)->append(engine->domain, task->part.index, frame, err);
            } else {
                weir_state_log_put_frame(engine->state_log, engine->sources[task->source].name,
                                         task->topic, task->part.index, frame);
            }
        }
    }
    return status == WEIR_OK ? weir_absent_append(engine, err) : status;
}

void weir_shard_committed(struct weir_engine *engine, struct weir_task *task)
{
    task->durable = true;
    task->strayed = false;
    shard_show_sums(task);
    if (task->log == NULL) {
        return;
    }
    if (weir_shard_log_committed(task->log)) {
        if (engine->plan.state_in_domain) {
            shard_ops(engine)->cut(engine->domain, task->part.index, task->snapshot_began);
        } else {
            task->snapshot_epoch = task->snapshot_began;
        }
    }
}

/* The log holds the frames of all shards: it is cut when each has a new snapshot, also those that
 * no task has. */
void weir_shard_tend_file(struct weir_engine *engine)
{
    if (engine->state_log == NULL || engine->stateful_count == 0) {
        return;
    }
    int64_t oldest = INT64_MAX;
    size_t bytes = engine->absent.bytes;
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (task->log == NULL) {
            continue;
        }
        oldest = task->snapshot_epoch < oldest ? task->snapshot_epoch : oldest;
        for (unsigned i = 0; i < engine->stateful_count; i++) {
            bytes += atomic_load_explicit(&task->sizes[i].bytes, memory_order_relaxed);
        }
    }
    bool all_moved = engine->absent.state == WEIR_ABSENT_MOVED;
    if (oldest > 0 && oldest < INT64_MAX && all_moved) {
        weir_state_log_cut(engine->state_log, (uint64_t)oldest);
        engine->absent.state = WEIR_ABSENT_RESTS;
        for (struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
            task->snapshot_epoch = 0;
            task->snapshot_wanted = false;
        }
    }
    if (weir_state_log_bytes(engine->state_log) < (int64_t)(FILE_SNAPSHOT_BYTES + 3 * bytes)) {
        return;
    }
    size_t under_way = 0;
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        under_way += task->log != NULL && weir_shard_log_has_more(task->log);
    }
    for (struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (task->log != NULL && !task->snapshot_wanted && under_way < SNAPSHOTS_AT_ONCE) {
            under_way++;
            weir_state_log_turn(engine->state_log);
            task->snapshot_wanted = true;
            weir_absent_want(engine);
            weir_shard_log_want_snapshot(task->log);
            engine->dirty = true;
        }
    }
}

void weir_shard_rollback(struct weir_task *task)
{
    weir_shard_apply(task);
    for (size_t i = 0; task->states[i] != NULL; i++) {
        weir_state_rollback(task->states[i]);
    }
    if (task->log != NULL) {
        weir_shard_log_aborted(task->log);
    }
    task->changed = task->closed_out = task->again = false;
    task->changed_bytes = 0;
}

bool weir_shard_is_dirty(const struct weir_task *task)
{
    bool dirty = false;
    for (size_t i = 0; !dirty && task->states != NULL && task->states[i] != NULL; i++) {
        dirty = weir_state_is_dirty(task->states[i]);
    }
    return dirty;
}

/* What an epoch has changed is written with lanes standing still, as one entry of the log, and kept
 * in memory twice: one that has changed much ends. */
static void shard_count_changes(struct weir_engine *engine, struct weir_task *task)
{
    size_t bytes = 0;
    for (size_t i = 0; task->states[i] != NULL; i++) {
        bytes += weir_state_changed_bytes(task->states[i]);
    }
    size_t more = bytes - task->changed_bytes;
    task->changed_bytes = bytes;
    if (more > 0 &&
        more + atomic_fetch_add_explicit(&engine->changed_bytes, more, memory_order_relaxed) >
            EPOCH_CHANGES_MAX) {
        weir_ctx_close_epoch(&engine->stateful[0]->ctx);
    }
}

void weir_shard_settle(struct weir_engine *engine, struct weir_task *task)
{
    shard_count_changes(engine, task);
    task->changed = task->changed || weir_shard_is_dirty(task);
    for (size_t i = 0; task->states[i] != NULL; i++) {
        weir_state_trim(task->states[i]);
        atomic_store_explicit(&task->sizes[i].keys, weir_state_count(task->states[i]),
                              memory_order_relaxed);
        atomic_store_explicit(&task->sizes[i].bytes, weir_state_bytes(task->states[i]),
                              memory_order_relaxed);
        atomic_store_explicit(&task->sizes[i].clock_ms, weir_state_clock(task->states[i]),
                              memory_order_relaxed);
    }
}
