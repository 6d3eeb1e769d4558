/* SPDX-License-Identifier: Apache-2.0
 *
 * The side in front of the exchange: a stage at the end of the chain that asks the step behind the
 * exchange for the key, chooses the shard and writes the frame; and the marks, which a task's lane
 * sends to all shards.
 *
 * A record of a partition that was told to be idle wakes it: the marks that say so go out in front
 * of it, so that no shard moves on without the partition.
 */
#include "base/assert.h"
#include "data/batch.h"
#include "engine/engine_priv.h"
#include "engine/exchange.h"

struct writer {
    const struct weir_exchange *exchange;
};

static bool put_frame(struct weir_arena *arena,
                      struct weir_record *record,
                      const struct weir_exchange_frame *frame)
{
    char *bytes = weir_arena_alloc(arena, WEIR_EXCHANGE_FRAME_BYTES);
    if (bytes != NULL) {
        weir_exchange_frame_write(frame, bytes);
        record->target = (struct weir_slice){bytes, WEIR_EXCHANGE_FRAME_BYTES};
    }
    return bytes != NULL;
}

static struct weir_exchange_frame frame_of(const struct weir_exchange *self,
                                           const struct weir_task *task)
{
    return (struct weir_exchange_frame){
        .stream = task->stream,
        .partition = task->part.index,
        .partitions = task->of,
        .clock = task->told.clock,
        .time_ms = INT64_MIN,
        .position = -1,
        .epoch = self->engine->epoch,
    };
}

/* --- marks -------------------------------------------------------------------------------------*/

static bool wants_idle(const struct weir_exchange *self, const struct weir_task *task)
{
    if (atomic_load_explicit(&task->ended, memory_order_relaxed)) {
        return true;
    }
    int64_t now_ms = self->engine->lanes[task->part.lane].calm_ms;
    return self->idle_timeout_ms > 0 && now_ms - task->told.moved_ms >= self->idle_timeout_ms;
}

bool weir_exchange_is_due(const struct weir_exchange *self,
                          const struct weir_task *task,
                          bool closing)
{
    const struct weir_told *told = &task->told;
    return !told->has_spoken || (closing && told->clock != told->told_clock) ||
           wants_idle(self, task) != told->is_idle;
}

static struct weir_record *make_mark(const struct weir_exchange *self,
                                     struct weir_arena *arena,
                                     const struct weir_exchange_frame *frame,
                                     int64_t position)
{
    struct weir_record *mark = weir_arena_calloc(arena, 1, sizeof(*mark));
    if (mark == NULL || !put_frame(arena, mark, frame)) {
        return NULL;
    }
    mark->raw = self->is_memory ? mark->raw : mark->target; /* nothing follows it */
    mark->flags = WEIR_RECORD_RAW | WEIR_RECORD_NO_TIME;
    mark->headers_read = true;
    mark->position = position;
    mark->ordinal = WEIR_NO_ORDINAL;
    return mark;
}

bool weir_exchange_mark(const struct weir_exchange *self, struct weir_batch *batch)
{
    struct weir_engine *engine = self->engine;
    struct weir_task *task = batch->task;
    size_t shards = (size_t)self->shards;
    batch->outputs =
        weir_arena_calloc(&batch->arena, engine->sink_count, sizeof(struct weir_output));
    if (batch->outputs == NULL) {
        return false;
    }
    struct weir_output *output = &batch->outputs[self->sink];
    output->records = weir_arena_alloc(&batch->arena, shards * sizeof(struct weir_record *));
    if (output->records == NULL) {
        return false;
    }
    struct weir_exchange_frame frame = frame_of(self, task);
    bool idle = wants_idle(self, task);
    frame.flags = WEIR_EXCHANGE_MARK | (idle ? WEIR_EXCHANGE_IDLE : 0);
    for (size_t i = 0; i < shards; i++) {
        frame.shard = (int32_t)i;
        struct weir_record *mark = make_mark(self, &batch->arena, &frame, task->part.read - 1);
        if (mark == NULL) {
            return false;
        }
        output->records[output->count++] = mark;
    }
    batch->output_count = engine->sink_count;
    task->told.told_clock = task->told.clock;
    task->told.has_spoken = true;
    task->told.is_idle = idle;
    return true;
}

int32_t weir_record_shard(const struct weir_record *record)
{
    struct weir_exchange_frame frame;
    struct weir_slice rest;
    bool is_frame = weir_exchange_frame_read(record->target, &frame, &rest);
    WEIR_ASSERT(is_frame);
    return frame.shard;
}

/* --- records -----------------------------------------------------------------------------------*/

static bool wake(const struct weir_exchange *self, struct weir_run *run, struct weir_task *task)
{
    struct weir_exchange_frame frame = frame_of(self, task);
    frame.flags = WEIR_EXCHANGE_MARK;
    for (int32_t i = 0; i < self->shards; i++) {
        frame.shard = i;
        struct weir_record *mark =
            make_mark(self, &run->batch->arena, &frame, weir_run_input(run)->position);
        if (mark == NULL || !weir_emit(run, mark)) {
            return false;
        }
    }
    task->told.is_idle = false;
    task->told.has_spoken = true;
    return true;
}

static weir_status
writer_apply(void *instance, struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    const struct weir_exchange *exchange = ((struct writer *)instance)->exchange;
    const struct weir_stage *to = exchange->to;
    struct weir_task *task = run->batch->task;
    struct weir_told *told = &task->told;
    struct weir_route route = {0};
    weir_status status = to->component->ops.step->route(to->self, run, record, &route, err);
    if (status != WEIR_OK) {
        return status;
    }
    told->moved_ms = run->lane->calm_ms;
    bool fits = (!told->is_idle && told->has_spoken) || wake(exchange, run, task);
    struct weir_exchange_frame frame = frame_of(exchange, task);
    frame.shard = weir_exchange_shard(route.key, exchange->shards);
    frame.position = record->position;
    if (route.has_time) {
        frame.time_ms = route.time_ms;
        told->clock = route.time_ms > told->clock ? route.time_ms : told->clock;
    }
    bool is_null = (record->flags & WEIR_RECORD_RAW) != 0 && record->raw.data == NULL;
    frame.flags = is_null ? WEIR_EXCHANGE_TOMBSTONE : 0;
    fits = fits && put_frame(&run->batch->arena, record, &frame) && weir_emit(run, record);
    return fits ? WEIR_OK : weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
}

static weir_status
writer_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)ctx;
    (void)err;
    ((struct writer *)instance)->exchange = config;
    return WEIR_OK;
}

static const struct weir_step_ops writer_ops = {.apply = writer_apply};

const struct weir_component weir_exchange_writer = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_STEP, .name = "exchange"},
    .self_size = sizeof(struct writer),
    .deterministic = true,
    .open = writer_open,
    .ops = {.step = &writer_ops},
};

/* --- layers of the clock -----------------------------------------------------------------------*/

void weir_exchange_seal(struct weir_task *task)
{
    task->told.closing = task->told.clock;
    for (int fate = WEIR_FATE_LATE; fate < WEIR_FATE_COUNT; fate++) {
        uint64_t count = atomic_exchange_explicit(&task->behind[fate], 0, memory_order_relaxed);
        /* Of a record that steps in front made several of, each part counts. */
        count = count < task->closing[WEIR_FATE_OK] ? count : task->closing[WEIR_FATE_OK];
        task->closing[WEIR_FATE_OK] -= count;
        task->closing[fate] += count;
    }
}

void weir_exchange_committed(struct weir_task *task)
{
    task->told.committed = task->told.closing;
}

void weir_exchange_rollback(struct weir_task *task)
{
    struct weir_told *told = &task->told;
    told->clock = told->closing = told->committed;
    told->told_clock = INT64_MIN;
    told->has_spoken = told->is_idle = false;
    for (int fate = 0; fate < WEIR_FATE_COUNT; fate++) {
        atomic_store_explicit(&task->behind[fate], 0, memory_order_relaxed);
    }
}
