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
#include <stdio.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "engine/engine_priv.h"
#include "state/disk.h"
#include "state/shard_log.h"

enum {
    FRAME_MAX = 64 << 20,
    FILE_SNAPSHOT_BYTES = 32 << 20,
    SNAPSHOTS_AT_ONCE = 64, /* an entry of the file holds a piece of each */
    EPOCH_CHANGES_MAX = 32 << 20,
};

static const struct weir_state_log_ops *shard_ops(const struct weir_engine *engine)
{
    WEIR_ASSERT(engine->plan.state_in_domain);
    return engine->plan.domain->state_log;
}

static weir_status
shard_open_log(struct weir_engine *engine, const struct weir_assignment *item, struct weir_err *err)
{
    char name[300];
    if (engine->frame_max > 0) {
        return WEIR_OK;
    }
    if (item->partition_count < 1) {
        return weir_fail(err, WEIR_UNAVAILABLE,
                         "state needs a source that knows how many partitions \"%s\" has",
                         item->topic);
    }
    snprintf(name, sizeof(name), "%s.state", engine->config->name);
    return shard_ops(engine)->open(engine->domain, name, item->partition_count, &engine->frame_max,
                                   err);
}

struct taking {
    struct weir_engine *engine;
    struct weir_shard_log *log;
};

static weir_status shard_take(void *context, struct weir_slice frame, struct weir_err *err)
{
    const struct taking *self = context;
    atomic_fetch_add_explicit(&self->engine->restored_bytes, frame.size, memory_order_relaxed);
    return weir_shard_log_take(self->log, frame, err);
}

static bool shard_is_alone(const struct weir_engine *engine, const struct weir_task *task)
{
    for (const struct weir_task *other = engine->tasks; other != NULL; other = other->next) {
        if (other != task && other->part.index == task->part.index && other->log != NULL) {
            return false;
        }
    }
    return true;
}

static weir_status shard_restore(struct weir_engine *engine,
                                 struct weir_task *task,
                                 const struct weir_assignment *item,
                                 struct weir_err *err)
{
    int64_t began_ns = weir_clock_monotonic_ns(engine->clock);
    struct taking taking = {engine, task->log};
    weir_status status = WEIR_OK;
    if (engine->plan.state_in_domain && !shard_is_alone(engine, task)) {
        status =
            weir_fail(err, WEIR_CONFIG,
                      "steps that keep state read one topic; \"%.100s\" is another", task->topic);
        weir_err_hint(err, "Name the `topics` and write `exchange: topic` beside the step, or give "
                           "each topic its own pipeline.");
    } else if (engine->plan.state_in_domain) {
        status = shard_open_log(engine, item, err);
        if (status == WEIR_OK) {
            status =
                shard_ops(engine)->restore(engine->domain, item->index, shard_take, &taking, err);
        }
    } else {
        engine->frame_max = FRAME_MAX;
        status = weir_state_log_frames(engine->state_log, engine->sources[task->source].name,
                                       task->topic, item->index, shard_take, &taking, err);
    }
    if (status == WEIR_OK) {
        status = weir_shard_log_restored(task->log, err);
    }
    if (status == WEIR_OK && weir_shard_log_bytes(task->log) > 0) {
        int64_t took_ms = (weir_clock_monotonic_ns(engine->clock) - began_ns) / WEIR_NS_PER_MS;
        size_t keys = 0;
        for (size_t i = 0; task->states[i] != NULL; i++) {
            keys += weir_state_count(task->states[i]);
        }
        WEIR_LOG_INFO(&engine->log, "state restored", WEIR_F("topic", (const char *)task->topic),
                      WEIR_F("partition", item->index), WEIR_F("keys", keys),
                      WEIR_F("bytes", weir_shard_log_bytes(task->log)), WEIR_F("took_ms", took_ms));
    }
    return status;
}

/* The log's position wins over the source's own; but state that positions have left behind, or that
 * belongs to something else, is not used. */
static weir_status shard_take_position(struct weir_engine *engine,
                                       struct weir_task *task,
                                       const struct weir_assignment *item,
                                       int64_t *position,
                                       struct weir_err *err)
{
    int64_t kept = 0;
    const char *source = engine->sources[task->source].name;
    if (weir_shard_log_bytes(task->log) == 0) {
        if (*position >
            0) { /* right for a new step; if the log was deleted, somebody must hear of it */
            WEIR_LOG_WARN(&engine->log, "there is no state yet: it begins empty at this offset",
                          WEIR_F("topic", (const char *)task->topic),
                          WEIR_F("partition", item->index), WEIR_F("offset", *position));
        }
        return WEIR_OK;
    }
    if (!weir_shard_log_get_position(task->log, source, task->topic, item->index, &kept)) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "the state is not that of %.100s, partition %d of %.100s",
                      source, item->index, task->topic);
        weir_err_hint(err,
                      "A pipeline that reads something else begins anew under another `name`.");
        return status;
    }
    if (engine->plan.state_in_domain && *position > kept) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "partition %d of %.100s stands at %lld, its state at %lld",
                      item->index, task->topic, (long long)*position, (long long)kept);
        weir_err_hint(err,
                      "Positions went on without the state (set from outside, or by a pipeline "
                      "without these steps). Set them back, or begin anew under another `name`.");
        return status;
    }
    *position = kept;
    return WEIR_OK;
}

/* What a table may hold in memory; the disk itself has the rest. */
static size_t shard_budget(const struct weir_engine *engine)
{
    size_t tables = (engine->task_count + 1) * engine->stateful_count;
    return (size_t)engine->config->state.memory / 4 * 3 / tables;
}

static weir_status shard_open_disk(struct weir_engine *engine, struct weir_err *err)
{
    if (engine->config->state.table == WEIR_TABLE_ROCKSDB && engine->disk == NULL) {
        engine->disk =
            weir_disk_open(engine->plan.log_dir, (size_t)engine->config->state.memory / 4, err);
        return engine->disk == NULL ? err->status : WEIR_OK;
    }
    return WEIR_OK;
}

/* In front of an exchange nothing is kept: what the log has of the partition may hold no step's
 * state. */
static weir_status shard_expect_none(struct weir_engine *engine,
                                     struct weir_task *task,
                                     const struct weir_assignment *item,
                                     struct weir_err *err)
{
    if (engine->state_log == NULL) {
        return WEIR_OK;
    }
    struct taking taking = {engine, weir_shard_log_new(NULL, 0, SIZE_MAX)};
    weir_status status =
        weir_state_log_frames(engine->state_log, engine->sources[task->source].name, task->topic,
                              item->index, shard_take, &taking, err);
    weir_shard_log_free(taking.log);
    if (status == WEIR_CONFIG) {
        *err = (struct weir_err){0};
        (void)!weir_fail(err, status, "there is state of %.200s from before the exchange",
                         task->topic);
        weir_err_hint(err, "State belongs to partitions: begin anew with another `name` or "
                           "`state.dir`.");
    }
    if (status != WEIR_OK) {
        weir_err_path(err, "state");
    }
    return status;
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

weir_status weir_shard_open(struct weir_engine *engine,
                            struct weir_task *task,
                            const struct weir_assignment *item,
                            int64_t *position,
                            struct weir_err *err)
{
    if (engine->stateful_count == 0) {
        return WEIR_OK;
    }
    if (task->in_front) {
        return shard_expect_none(engine, task, item, err);
    }
    weir_status status = shard_open_disk(engine, err);
    if (status != WEIR_OK) {
        weir_err_path(err, "state");
        return status;
    }
    struct weir_shard_step *steps = weir_calloc(engine->stateful_count, sizeof(*steps));
    task->states = weir_calloc(engine->stateful_count + 1, sizeof(struct weir_state *));
    task->sizes = weir_calloc(engine->stateful_count, sizeof(*task->sizes));
    for (size_t i = 0; i < engine->stateful_count; i++) {
        task->states[i] = weir_state_new(NULL);
        if (engine->disk != NULL) {
            weir_state_use_disk(task->states[i], engine->disk, shard_budget(engine));
        }
        const struct weir_stage *stage = engine->stateful[i];
        steps[i] = (struct weir_shard_step){
            stage->name, weir_plan_state_version(stage->component, stage->config), task->states[i]};
    }
    if (engine->plan.state_is_kept) {
        task->log = weir_shard_log_new(steps, engine->stateful_count,
                                       engine->plan.state_in_domain ? 0 : SIZE_MAX);
        weir_engine_show_restoring(engine, true);
        status = shard_restore(engine, task, item, err);
        weir_engine_show_restoring(engine, false);
    }
    weir_free(steps);
    if (status != WEIR_OK) {
        weir_err_path(err, "state");
        return status;
    }
    if (task->log != NULL) {
        status = shard_take_position(engine, task, item, position, err);
    }
    if (status != WEIR_OK) {
        weir_err_path(err, "state");
        return status;
    }
    weir_shard_settle(engine, task);
    shard_sum(task);
    shard_show_sums(task);
    task->changed = false;
    return WEIR_OK;
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
        weir_state_set_budget(task->states[i], shard_budget(engine));
    }
    bool moved = task->part.closing != task->part.committed;
    if (task->log == NULL) {
        for (size_t i = 0; task->states[i] != NULL; i++) {
            weir_state_seal(task->states[i], NULL);
        }
    } else if (moved || weir_shard_is_dirty(task) || weir_shard_log_has_more(task->log)) {
        weir_shard_log_seal(task->log, engine->sources[task->source].name, task->topic,
                            task->part.index, task->part.closing, engine->frame_max);
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
    return status;
}

void weir_shard_committed(struct weir_engine *engine, struct weir_task *task)
{
    task->durable = true;
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

/* The file holds the frames of all shards: it is cut when each has a new snapshot. */
void weir_shard_tend_file(struct weir_engine *engine)
{
    if (engine->state_log == NULL || engine->stateful_count == 0) {
        return;
    }
    int64_t oldest = INT64_MAX;
    size_t bytes = 0;
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (task->log == NULL) {
            continue;
        }
        oldest = task->snapshot_epoch < oldest ? task->snapshot_epoch : oldest;
        for (unsigned i = 0; i < engine->stateful_count; i++) {
            bytes += atomic_load_explicit(&task->sizes[i].bytes, memory_order_relaxed);
        }
    }
    if (oldest > 0 && oldest < INT64_MAX) {
        weir_state_log_cut(engine->state_log, (uint64_t)oldest);
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
            task->snapshot_wanted = true;
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
    if (more > 0 && more + atomic_fetch_add_explicit(&engine->changed_bytes, more,
                                                     memory_order_relaxed) >
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
