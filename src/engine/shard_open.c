/* SPDX-License-Identifier: Apache-2.0
 *
 * How a task gets its share of the state: tables are made, and what the log has of them is taken
 * back. Of all shards that come together the tables are made first, in order; then those that lie
 * in the pipeline's file are restored side by side, as many at a time as there are lanes, because
 * nothing that they touch is shared but a file that is read; what they found is looked at in order
 * again. A domain's log has one reader, so its shards follow each other. Lanes stand still.
 */
#include <pthread.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "engine/engine_priv.h"
#include "state/disk.h"
#include "state/shard_log.h"

enum { FRAME_MAX = 64 << 20, THREADS_MAX = 64 };

static bool shard_is_alone(const struct weir_engine *engine, const struct weir_task *task)
{
    for (const struct weir_task *other = engine->tasks; other != NULL; other = other->next) {
        if (other != task && other->part.index == task->part.index && other->log != NULL) {
            return false;
        }
    }
    return true;
}

static weir_status shard_open_log(struct weir_engine *engine,
                                  const struct weir_task *task,
                                  const struct weir_assignment *item,
                                  struct weir_err *err)
{
    char name[300];
    if (!engine->plan.state_in_domain) {
        engine->frame_max = FRAME_MAX;
        return WEIR_OK;
    }
    if (!shard_is_alone(engine, task)) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG,
                      "steps that keep state read one topic; \"%.100s\" is another", task->topic);
        weir_err_hint(err, "Name the `topics` and write `exchange: topic` beside the step, or give "
                           "each topic its own pipeline.");
        return status;
    }
    if (engine->frame_max > 0) {
        return WEIR_OK;
    }
    if (item->partition_count < 1) {
        return weir_fail(err, WEIR_UNAVAILABLE,
                         "state needs a source that knows how many partitions \"%s\" has",
                         item->topic);
    }
    snprintf(name, sizeof(name), "%s.state", engine->config->name);
    return engine->plan.domain->state_log->open(engine->domain, name, item->partition_count,
                                                &engine->frame_max, err);
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

/* What may be done of it beside other shards, when the log is the pipeline's file. */
static void shard_restore(struct weir_engine *engine, struct weir_shard_opening *opening)
{
    struct weir_task *task = opening->task;
    struct weir_err *err = &opening->err;
    if (err->status != WEIR_OK || task->log == NULL) {
        return;
    }
    int64_t began_ns = weir_clock_monotonic_ns(engine->clock);
    struct taking taking = {engine, task->log};
    weir_status status;
    if (engine->plan.state_in_domain) {
        status = engine->plan.domain->state_log->restore(engine->domain, task->part.index,
                                                         shard_take, &taking, err);
    } else {
        const char *source = engine->sources[task->source].name;
        weir_shard_log_expect(task->log, weir_state_log_frame_bytes(engine->state_log, source,
                                                                    task->topic, task->part.index));
        status = weir_state_log_frames(engine->state_log, source, task->topic, task->part.index,
                                       shard_take, &taking, err);
    }
    if (status == WEIR_OK) {
        status = weir_shard_log_restored(task->log, err);
    }
    opening->took_ms = (weir_clock_monotonic_ns(engine->clock) - began_ns) / WEIR_NS_PER_MS;
    err->status = status; /* whoever fails need not say why */
}

static void shard_tell(struct weir_engine *engine, const struct weir_shard_opening *opening)
{
    const struct weir_task *task = opening->task;
    size_t keys = 0;
    for (size_t i = 0; task->states[i] != NULL; i++) {
        keys += weir_state_count(task->states[i]);
    }
    WEIR_LOG_INFO(&engine->log, "state restored", WEIR_F("topic", (const char *)task->topic),
                  WEIR_F("partition", task->part.index), WEIR_F("keys", keys),
                  WEIR_F("bytes", weir_shard_log_bytes(task->log)),
                  WEIR_F("took_ms", opening->took_ms));
}

/* Nothing that is kept says where in this topic it was. */
static weir_status shard_is_of_other(struct weir_engine *engine,
                                     const struct weir_assignment *item,
                                     int64_t kept,
                                     struct weir_err *err)
{
    if (item->remedy != NULL) {
        weir_status status = weir_fail(err, WEIR_DATA_LOSS,
                                       "%.200s, partition %d: the topic was deleted and created "
                                       "again; the state is of the former one, up to offset %lld",
                                       item->topic, item->index, (long long)kept);
        weir_err_hint(err, "%s", item->remedy);
        return status;
    }
    WEIR_LOG_ERROR(&engine->log,
                   "the topic was deleted and created again; going on with this one",
                   WEIR_F("topic", item->topic), WEIR_F("partition", item->index),
                   WEIR_F("former_offset", kept), WEIR_F("offset", item->position));
    return WEIR_OK;
}

/* The log's position wins over the source's own, unless that is where there is something again; but
 * state that positions have left behind, or that belongs to something else, is not used. */
static weir_status shard_take_position(struct weir_engine *engine,
                                       struct weir_task *task,
                                       const struct weir_assignment *item,
                                       int64_t *position,
                                       struct weir_err *err)
{
    struct weir_state_position row;
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
    if (!weir_shard_log_get_position(task->log, source, task->topic, item->index, &row)) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "the state is not that of %.100s, partition %d of %.100s",
                      source, item->index, task->topic);
        weir_err_hint(err,
                      "A pipeline that reads something else begins anew under another `name`.");
        return status;
    }
    int64_t kept = row.position;
    bool is_other = row.topic_id != 0 && item->topic_id != 0 && row.topic_id != item->topic_id;
    if (item->is_moved || is_other) {
        task->strayed = is_other || *position != kept;
        return item->is_moved ? WEIR_OK : shard_is_of_other(engine, item, kept, err);
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
    return status;
}

/* The tables, empty. */
static weir_status shard_prepare(struct weir_engine *engine,
                                 struct weir_task *task,
                                 const struct weir_assignment *item,
                                 struct weir_err *err)
{
    if (task->in_front) {
        return shard_expect_none(engine, task, item, err);
    }
    weir_status status = shard_open_disk(engine, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_shard_step *steps = weir_calloc(engine->stateful_count, sizeof(*steps));
    task->states = weir_calloc(engine->stateful_count + 1, sizeof(struct weir_state *));
    task->sizes = weir_calloc(engine->stateful_count, sizeof(*task->sizes));
    for (size_t i = 0; i < engine->stateful_count; i++) {
        task->states[i] = weir_state_new(NULL);
        if (engine->disk != NULL) {
            weir_state_use_disk(task->states[i], engine->disk, weir_shard_budget(engine));
        }
        const struct weir_stage *stage = engine->stateful[i];
        steps[i] = (struct weir_shard_step){
            stage->name, weir_plan_state_version(stage->component, stage->config), task->states[i]};
    }
    if (engine->plan.state_is_kept) {
        task->log = weir_shard_log_new(steps, engine->stateful_count,
                                       engine->plan.state_in_domain ? 0 : SIZE_MAX);
        status = shard_open_log(engine, task, item, err);
    }
    weir_free(steps);
    return status;
}

struct side_by_side {
    struct weir_engine *engine;
    struct weir_shard_opening *openings;
    size_t count;
    atomic_size_t next;
};

static void *shards_restore(void *arg)
{
    struct side_by_side *work = arg;
    size_t at;
    while ((at = atomic_fetch_add_explicit(&work->next, 1, memory_order_relaxed)) < work->count) {
        shard_restore(work->engine, &work->openings[at]);
    }
    return NULL;
}

static size_t shard_threads(const struct weir_engine *engine, size_t count)
{
    if (engine->options.inline_lanes || engine->plan.state_in_domain) {
        return 1;
    }
    count = count < engine->lane_count ? count : engine->lane_count;
    return count < THREADS_MAX ? count : THREADS_MAX;
}

/* The control thread helps; a thread that cannot be had is done without. */
static void
shards_restore_all(struct weir_engine *engine, struct weir_shard_opening *openings, size_t count)
{
    struct side_by_side work = {.engine = engine, .openings = openings, .count = count};
    pthread_t threads[THREADS_MAX];
    size_t wanted = shard_threads(engine, count), running = 1;
    atomic_init(&work.next, 0);
    while (running < wanted &&
           pthread_create(&threads[running], NULL, shards_restore, &work) == 0) {
        running++;
    }
    (void)shards_restore(&work);
    while (--running > 0) {
        pthread_join(threads[running], NULL);
    }
}

static weir_status shard_finish(struct weir_engine *engine, struct weir_shard_opening *opening)
{
    struct weir_task *task = opening->task;
    weir_status status = opening->err.status;
    if (status == WEIR_OK && task->log != NULL) {
        if (weir_shard_log_bytes(task->log) > 0) {
            shard_tell(engine, opening);
        }
        status =
            shard_take_position(engine, task, opening->item, &opening->position, &opening->err);
    }
    if (status != WEIR_OK) {
        char path[100];
        snprintf(path, sizeof(path), "state of %.60s, partition %d", task->topic, task->part.index);
        weir_err_path(&opening->err, path);
    } else if (!task->in_front) {
        weir_shard_settle(engine, task);
        weir_shard_show(task);
        task->changed = false;
    }
    return status;
}

void weir_shards_open(struct weir_engine *engine, struct weir_shard_opening *openings, size_t count)
{
    if (engine->stateful_count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct weir_shard_opening *opening = &openings[i];
        opening->err.status = shard_prepare(engine, opening->task, opening->item, &opening->err);
    }
    if (engine->plan.state_is_kept) {
        weir_engine_show_restoring(engine, true);
        shards_restore_all(engine, openings, count);
        weir_engine_show_restoring(engine, false);
    }
    for (size_t i = 0; i < count; i++) {
        openings[i].err.status = shard_finish(engine, &openings[i]);
    }
}
