/* SPDX-License-Identifier: Apache-2.0
 *
 * A lane runs batches to completion: read, process, hand the outputs to the sinks. A batch whose
 * outputs cannot be handed over now (the sinks are full, or a commit is under way and its domain
 * takes nothing) waits in the lane's pending list, in order; when that list holds its share of the
 * memory budget, the lane stops reading. Not reading is the whole of back-pressure.
 *
 * A task's `written` position moves when the last output of a batch is handed over, never before:
 * it is what the next epoch commits. So an epoch may close at any moment between two batches,
 * whatever is pending.
 */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/limits.h"
#include "base/wake.h"
#include "engine/engine_priv.h"
#include "engine/observe.h"
#include "state/disk.h"
#include "state/table.h"

enum { TICK_MS = 100, AHEAD_PART = 8 };

void weir_lane_init(struct weir_lane *lane, struct weir_engine *engine, unsigned index)
{
    *lane = (struct weir_lane){.engine = engine, .index = index};
    lane->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    WEIR_ASSERT(lane->wake_fd >= 0);
    weir_strbuf_init(&lane->scratch, WEIR_RECORD_BYTES_MAX);
    lane->intake.lane = lane;
    lane->step_counts = weir_calloc(engine->stage_count, sizeof(*lane->step_counts));
    weir_run_init(&lane->run, lane);
}

void weir_lane_done(struct weir_lane *lane)
{
    if (lane->engine == NULL) {
        return;
    }
    weir_lane_discard(lane, NULL);
    while (lane->free_batches != NULL) {
        struct weir_batch *next = lane->free_batches->link;
        weir_batch_free(lane->free_batches);
        lane->free_batches = next;
    }
    weir_run_done(&lane->run);
    weir_free(lane->step_counts);
    weir_strbuf_done(&lane->scratch);
    close(lane->wake_fd);
}

void weir_lane_wake(struct weir_lane *lane)
{
    weir_wake(lane->wake_fd);
}

static struct weir_batch *lane_take_batch(struct weir_lane *lane)
{
    struct weir_batch *batch = lane->free_batches;
    if (batch == NULL) {
        return weir_batch_new(&lane->scratch);
    }
    lane->free_batches = batch->link;
    batch->link = NULL;
    return batch;
}

void weir_lane_release(struct weir_lane *lane, struct weir_batch *batch)
{
    weir_batch_clear(batch);
    batch->link = lane->free_batches;
    lane->free_batches = batch;
}

struct weir_partition *weir_batch_partition(struct weir_batch *batch)
{
    struct weir_task *task = batch->task;
    return &task->part;
}

bool weir_batch_is_timed(const struct weir_batch *batch)
{
    return batch->is_special;
}

/* --- intake ------------------------------------------------------------------------------------*/

/* Counts the newest record, which its source has filled in by now; true: it was the last one of the
 * batch, so that what is parsed of a batch stays in the cache. Steps with state may ask to be
 * called again before the task reads on, so their batches are left as they are read. */
static bool batch_is_full(const struct weir_lane *lane, struct weir_batch *batch)
{
    const struct weir_record *last = &batch->records[batch->count - 1];
    batch->bytes += last->raw.size + last->key.size;
    return batch->bytes >= WEIR_BATCH_PAYLOAD && lane->engine->stateful_count == 0;
}

/* The task's batch, or another one for a record that begins a batch. */
static struct weir_batch *
intake_batch(struct weir_intake *intake, struct weir_task *task, bool begins)
{
    if (task->intake == NULL || begins) {
        struct weir_lane *lane = intake->lane;
        struct weir_batch *batch = lane_take_batch(lane);
        batch->task = task;
        batch->run = lane->engine->run;
        batch->next = task->part.read;
        batch->read_ns = weir_clock_monotonic_ns(lane->engine->clock);
        batch->origin = lane->engine->sources[task->source].component->ops.source->origin;
        task->intake = batch;
        if (intake->last == NULL) {
            intake->first = batch;
        } else {
            intake->last->link = batch;
        }
        intake->last = batch;
    }
    return task->intake;
}

struct weir_record *
weir_intake_record(struct weir_intake *intake, struct weir_partition *partition, void *ref)
{
    struct weir_task *task = (struct weir_task *)partition;
    WEIR_ASSERT(partition->lane == intake->lane->index);
    bool full = task->intake != NULL && task->intake->count > 0 &&
                batch_is_full(intake->lane, task->intake);
    /* Without a reference of its own a record may lie in what the batch holds already. */
    struct weir_batch *batch = intake_batch(intake, task, full && ref != NULL);
    struct weir_record *record = weir_batch_append(batch);
    if (record == NULL) {
        return NULL;
    }
    if (ref != NULL && !weir_batch_hold(batch, ref, batch->origin)) {
        batch->count--;
        return NULL;
    }
    record->source_ref = ref;
    intake->records++;
    return record;
}

void weir_intake_advance(struct weir_intake *intake,
                         struct weir_partition *partition,
                         int64_t position)
{
    if (position > partition->read) {
        struct weir_batch *batch = intake_batch(intake, (struct weir_task *)partition, false);
        batch->next = position;
    }
}

void weir_intake_end(struct weir_intake *intake, struct weir_partition *partition)
{
    WEIR_ASSERT(partition->lane == intake->lane->index);
    ((struct weir_task *)partition)->ended = true;
}

/* Positions only move forward within a run: a record behind `read` is a stale delivery. */
static void intake_seal(struct weir_batch *batch)
{
    struct weir_task *task = batch->task;
    int64_t expected = task->part.read;
    for (size_t i = 0; i < batch->count; i++) {
        WEIR_ASSERT(batch->records[i].position >= expected);
        expected = batch->records[i].position + 1;
    }
    if (batch->count > 0) {
        const struct weir_record *last = &batch->records[batch->count - 1];
        batch->bytes += last->raw.size + last->key.size;
    }
    if (batch->next < expected) {
        batch->next = expected;
    }
    batch->first = task->part.read;
    task->part.read = batch->next;
    task->in_flight += batch->count;
    task->intake = NULL;
}

/* --- writing -----------------------------------------------------------------------------------*/

void weir_lane_fail(struct weir_lane *lane, enum weir_lane_call call, const struct weir_err *err)
{
    lane->halted = true;
    bool stops = atomic_load_explicit(&lane->call, memory_order_relaxed) == WEIR_LANE_WANTS_STOP;
    if (lane->err.status == WEIR_OK) {
        lane->err = *err;
        /* Release: control reads err after it has seen the call. */
        atomic_store_explicit(&lane->call, (int)call, memory_order_release);
    } else if (stops && call == WEIR_LANE_WANTS_ABORT) {
        /* Behind an exchange: what was to be committed before the stop cannot be. */
        atomic_store_explicit(&lane->call, (int)call, memory_order_release);
    }
    weir_wake(lane->engine->wake_fd);
}

/* What an epoch has changed cannot leave memory: one that has changed too much ends. */
static void lane_tend_disk(struct weir_lane *lane, const struct weir_task *task)
{
    struct weir_err err = {0};
    if (weir_disk_failure(lane->engine->disk, &err) != WEIR_OK) {
        weir_lane_fail(lane, WEIR_LANE_WANTS_STOP, &err);
    }
    for (size_t i = 0; task->states != NULL && task->states[i] != NULL; i++) {
        if (weir_state_is_crowded(task->states[i])) {
            weir_ctx_close_epoch(&lane->engine->stateful[i]->ctx);
        }
    }
}

bool weir_lane_wants_abort(const struct weir_lane *lane)
{
    int call = atomic_load_explicit(&lane->call, memory_order_relaxed);
    return call == WEIR_LANE_WANTS_ABORT || call == WEIR_LANE_WANTS_END;
}

static void lane_settle(struct weir_lane *lane, struct weir_batch *batch)
{
    struct weir_task *task = batch->task;
    WEIR_ASSERT(batch->run == lane->engine->run);
    WEIR_ASSERT(batch->next >= task->part.written);
    size_t settled = 0;
    for (int fate = 0; fate < WEIR_FATE_COUNT; fate++) {
        task->open[fate] += batch->tally[fate];
        settled += batch->tally[fate];
    }
    WEIR_ASSERT(settled <= task->in_flight);
    task->in_flight -= settled;
    if (weir_task_is_inner(task)) {
        weir_exchange_tell_fates(batch);
    }
    task->part.written = batch->next;
    if (task->states != NULL) {
        weir_shard_settle(lane->engine, task);
    }
    if (lane->engine->disk != NULL) {
        lane_tend_disk(lane, task);
    }
    atomic_fetch_add_explicit(&lane->engine->settled, 1, memory_order_relaxed);
    if (batch->count > 0) {
        atomic_store_explicit(&task->last_time_ms, batch->records[batch->count - 1].time_ms,
                              memory_order_relaxed);
        int64_t now_ns = weir_clock_monotonic_ns(lane->engine->clock);
        weir_engine_observe(lane->engine, lane->index, batch, now_ns - batch->read_ns);
        weir_failpoint(WEIR_FAILPOINT_AFTER_PRODUCE);
    }
}

/* True when all outputs are handed over. */
static bool lane_write_batch(struct weir_lane *lane, struct weir_batch *batch)
{
    struct weir_engine *engine = lane->engine;
    for (; batch->sink_at < batch->output_count; batch->sink_at++, batch->cursor = 0) {
        struct weir_output *output = &batch->outputs[batch->sink_at];
        struct weir_sink *sink = &engine->sinks[batch->sink_at];
        if (batch->cursor == output->count) {
            continue;
        }
        struct weir_err err = {0};
        weir_status status = sink->component->ops.sink->write(
            sink->self, lane->index, batch, output->records, output->count, &batch->cursor, &err);
        enum weir_class class = weir_status_class(status);
        if (status == WEIR_AGAIN || class == WEIR_CLASS_UNAVAILABLE ||
            class == WEIR_CLASS_TRANSIENT) {
            lane->blocked = true;
            return false;
        }
        if (class == WEIR_CLASS_FATAL) {
            weir_err_path(&err, sink->name);
            weir_lane_fail(lane, WEIR_LANE_WANTS_END, &err);
            return false;
        }
        if (status != WEIR_OK) {
            WEIR_ASSERT(batch->cursor < output->count);
            int64_t position = output->records[batch->cursor]->position;
            bool known = weir_chain_blame(lane, batch, position, &err);
            weir_lane_fail(lane, known ? WEIR_LANE_WANTS_ABORT : WEIR_LANE_WANTS_END, &err);
            return false;
        }
        WEIR_ASSERT(batch->cursor == output->count);
        if (weir_fault_is(WEIR_FAULT_SEND_TWICE)) {
            size_t cursor = output->count - 1;
            struct weir_err twice = {0};
            (void)!sink->component->ops.sink->write(sink->self, lane->index, batch, output->records,
                                                    output->count, &cursor, &twice);
        }
    }
    return true;
}

/* A task of the lane whose clock is not told to the shards yet. */
static struct weir_task *lane_find_due(const struct weir_lane *lane, bool closing)
{
    const struct weir_engine *engine = lane->engine;
    struct weir_task *task = engine->exchange == NULL ? NULL : engine->tasks;
    while (task != NULL && !(task->in_front && !task->stopped && task->part.lane == lane->index &&
                             weir_exchange_is_due(engine->exchange, task, closing))) {
        task = task->next;
    }
    return task;
}

/* Behind a full sink a lane reads ahead only so far that it has something at hand when there is
 * room again: what is read earlier leaves the cache before it is written. While a commit takes
 * nothing there is nothing better to do. */
bool weir_lane_is_full(const struct weir_lane *lane)
{
    const size_t share = (size_t)lane->engine->config->in_flight / 4 / lane->engine->lane_count;
    if (lane->pending_first != NULL && lane->pending_bytes >= share / AHEAD_PART &&
        atomic_load_explicit(&lane->engine->writable, memory_order_acquire)) {
        return true;
    }
    return (lane->pending_first != NULL || lane->waiting_first != NULL) &&
           lane->pending_bytes + lane->waiting_bytes >= share;
}

bool weir_lane_is_partial(const struct weir_lane *lane)
{
    const struct weir_engine *engine = lane->engine;
    const struct weir_batch *batch = lane->pending_first;
    if (batch != NULL && (batch->sink_at > 0 || batch->cursor > 0 || engine->stateful_count > 0)) {
        return true;
    }
    if (weir_lane_waits_within(lane)) {
        return true;
    }
    return engine->exchange != NULL &&
           atomic_load_explicit(&engine->writable, memory_order_acquire) &&
           !weir_lane_wants_abort(lane) &&
           (weir_exchange_has_queued(engine->exchange, lane->index) ||
            lane_find_due(lane, true) != NULL);
}

static bool lane_write_first(struct weir_lane *lane)
{
    struct weir_batch *batch = lane->pending_first;
    lane->blocked = false;
    if (batch == NULL || !atomic_load_explicit(&lane->engine->writable, memory_order_acquire) ||
        !lane_write_batch(lane, batch)) {
        return false;
    }
    lane->pending_first = batch->link;
    if (lane->pending_first == NULL) {
        lane->pending_last = NULL;
    }
    lane->pending_bytes -= batch->bytes;
    atomic_store_explicit(&lane->pending_shown, lane->pending_bytes, memory_order_relaxed);
    lane_settle(lane, batch);
    weir_lane_release(lane, batch);
    return true;
}

/* Until the gate closes: that waits for whole batches, not for all of them. */
static bool lane_write_pending(struct weir_lane *lane)
{
    bool moved = false;
    while (lane_write_first(lane)) {
        moved = true;
        if (atomic_load_explicit(&lane->engine->gate.closed, memory_order_acquire)) {
            break;
        }
    }
    return moved;
}

static void lane_push_pending(struct weir_lane *lane, struct weir_batch *batch)
{
    batch->bytes += batch->arena.used_bytes + batch->count * sizeof(struct weir_record);
    batch->link = NULL;
    if (lane->pending_last == NULL) {
        lane->pending_first = batch;
    } else {
        lane->pending_last->link = batch;
    }
    lane->pending_last = batch;
    lane->pending_bytes += batch->bytes;
    atomic_store_explicit(&lane->pending_shown, lane->pending_bytes, memory_order_relaxed);
}

void weir_lane_discard(struct weir_lane *lane, const struct weir_task *task)
{
    weir_lane_discard_waiting(lane, task);
    struct weir_batch **place = &lane->pending_first;
    lane->pending_last = NULL;
    while (*place != NULL) {
        struct weir_batch *batch = *place;
        if (task == NULL || batch->task == task) {
            *place = batch->link;
            lane->pending_bytes -= batch->bytes;
            weir_lane_release(lane, batch);
        } else {
            lane->pending_last = batch;
            place = &batch->link;
        }
    }
    lane->blocked = false;
}

/* What of the budget was not used. The end of a bisection may have lifted it meanwhile. */
static void lane_return_budget(struct weir_engine *engine, int64_t unused)
{
    int64_t left = atomic_load_explicit(&engine->read_budget, memory_order_relaxed);
    while (left != INT64_MAX &&
           !atomic_compare_exchange_weak_explicit(&engine->read_budget, &left, left + unused,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* --- the round ---------------------------------------------------------------------------------*/

static size_t lane_budget(struct weir_lane *lane, size_t want)
{
    struct weir_engine *engine = lane->engine;
    int64_t left = atomic_load_explicit(&engine->read_budget, memory_order_relaxed);
    while (left != INT64_MAX) { /* INT64_MAX: no bisection under way */
        if (left <= 0) {
            return 0;
        }
        int64_t take = left < (int64_t)want ? left : (int64_t)want;
        /* Relaxed: the budget only bounds how many records an epoch has. */
        if (atomic_compare_exchange_weak_explicit(&engine->read_budget, &left, left - take,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return (size_t)take;
        }
    }
    return want;
}

void weir_lane_unread(struct weir_lane *lane, struct weir_batch *batch)
{
    struct weir_task *task = batch->task;
    task->in_flight -= batch->count;
    task->part.read = batch->first < task->part.read ? batch->first : task->part.read;
    weir_lane_release(lane, batch);
}

bool weir_lane_process(struct weir_lane *lane, struct weir_batch *batch)
{
    bool rests = !weir_chain_process(lane, batch);
    if (weir_lane_wants_abort(lane)) { /* the epoch is void: nothing of the batch may get out */
        weir_lane_unread(lane, batch);
        return true;
    }
    if (rests) {
        return false;
    }
    bool idle = batch->is_special && !weir_shard_is_dirty(batch->task);
    for (size_t i = 0; idle && i < batch->output_count; i++) {
        idle = batch->outputs[i].count == 0;
    }
    if (idle) { /* a pipeline without work commits nothing */
        weir_lane_release(lane, batch);
        return true;
    }
    lane_push_pending(lane, batch);
    lane_write_pending(lane);
    return true;
}

/* Behind those of its task that wait. */
static void lane_take(struct weir_lane *lane, struct weir_batch *batch)
{
    const struct weir_task *task = batch->task;
    if (task->waiting > 0 || !weir_lane_process(lane, batch)) {
        weir_lane_wait(lane, batch);
    }
}

static struct weir_batch *lane_empty_batch(struct weir_lane *lane, struct weir_task *task)
{
    struct weir_batch *batch = lane_take_batch(lane);
    batch->task = task;
    batch->run = lane->engine->run;
    batch->first = batch->next = weir_lane_reach(lane, task);
    batch->read_ns = weir_clock_monotonic_ns(lane->engine->clock);
    return batch;
}

/* A batch without records that brings a watermark or a tick to the steps of a task. */
static void
lane_process_special(struct weir_lane *lane, struct weir_task *task, uint8_t flags, int64_t time_ms)
{
    struct weir_batch *batch = lane_empty_batch(lane, task);
    batch->is_special = true;
    batch->special = (struct weir_record){.flags = flags,
                                          .time_ms = time_ms,
                                          .position = task->part.read - 1,
                                          .ordinal = WEIR_NO_ORDINAL};
    lane_take(lane, batch);
}

/* Tells the shards what tasks in front of the exchange have to say beside their records. */
static bool lane_tell(struct weir_lane *lane, bool closing)
{
    struct weir_task *task;
    bool told = false;
    while (!lane->blocked && (task = lane_find_due(lane, closing)) != NULL) {
        struct weir_batch *batch = lane_empty_batch(lane, task);
        bool fits = weir_exchange_mark(lane->engine->exchange, batch);
        WEIR_ASSERT(fits); /* nothing else is in the batch */
        lane_push_pending(lane, batch);
        lane_write_pending(lane);
        told = true;
    }
    return told;
}

/* What both clocks agree on has passed: the wall clock may jump, and a test moves it as it likes.
 */
static void lane_pass_time(struct weir_lane *lane, int64_t now_ns)
{
    int64_t now_ms = weir_clock_wall_ms(lane->engine->clock);
    int64_t passed_ms = (now_ns - lane->ticked_ns) / WEIR_NS_PER_MS;
    int64_t shown_ms = now_ms - lane->ticked_ms;
    passed_ms = shown_ms < passed_ms ? shown_ms : passed_ms;
    if (lane->ticked_ms != 0 && passed_ms > 0) {
        lane->calm_ms += passed_ms;
    }
    lane->ticked_ns = now_ns;
    lane->ticked_ms = now_ms;
}

/* Processing time for the steps that look at it; at the end of the input, the last watermark. True
 * if a task was served. */
static bool lane_serve_time(struct weir_lane *lane)
{
    struct weir_engine *engine = lane->engine;
    int64_t now_ns = weir_clock_monotonic_ns(engine->clock);
    bool closes = atomic_load_explicit(&engine->closing_out, memory_order_acquire);
    bool ticks = engine->has_ticks &&
                 atomic_load_explicit(&engine->reading, memory_order_acquire) &&
                 now_ns - lane->ticked_ns >= TICK_MS * WEIR_NS_PER_MS;
    bool moved = false;
    if (ticks) {
        lane_pass_time(lane, now_ns);
        moved = lane_tell(lane, false);
    }
    for (struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (task->part.lane != lane->index || lane->halted || task->in_front || task->stopped ||
            task->waiting > 0) { /* what waits comes first */
            continue;
        }
        bool again = task->again;
        task->again = false;
        if (ticks || (again && !closes)) {
            lane_process_special(lane, task, WEIR_RECORD_TICK, weir_clock_wall_ms(engine->clock));
            moved |= again;
        }
        if (closes && (!task->closed_out || again) && !lane->halted) {
            task->closed_out = true;
            lane_process_special(lane, task, WEIR_RECORD_WATERMARK, INT64_MAX);
            moved = true;
        }
    }
    return moved;
}

static bool lane_has_more(const struct weir_lane *lane)
{
    bool more = false;
    for (const struct weir_task *task = lane->engine->tasks; task != NULL && !lane->halted;
         task = task->next) {
        more = more || (task->part.lane == lane->index && task->again && !task->stopped &&
                        task->waiting == 0);
    }
    return more;
}

/* What comes out of the exchange was read in front of it, and is processed also when the lane is to
 * read nothing more. */
static void lane_finish_intake(struct weir_lane *lane, bool from_exchange)
{
    struct weir_intake *intake = &lane->intake;
    for (struct weir_batch *batch = intake->first; batch != NULL;) {
        struct weir_batch *next = batch->link;
        batch->link = NULL;
        intake_seal(batch);
        if (from_exchange ? weir_lane_wants_abort(lane) : lane->halted) {
            /* a batch before it failed: nothing behind counts as read */
            weir_lane_unread(lane, batch);
        } else {
            lane_take(lane, batch);
        }
        batch = next;
    }
    intake->first = intake->last = NULL;
    intake->records = 0;
}

static bool lane_read_source(struct weir_lane *lane, unsigned index)
{
    struct weir_engine *engine = lane->engine;
    struct weir_source *source = &engine->sources[index];
    size_t max = lane_budget(lane, (size_t)engine->config->batch_size);
    if (max == 0) {
        return false;
    }
    lane->intake.source = index;
    struct weir_err err = {0};
    weir_status status =
        source->component->ops.source->read(source->self, lane->index, &lane->intake, max, &err);
    size_t records = lane->intake.records;
    if (records < max) {
        lane_return_budget(engine, (int64_t)(max - records));
    }
    bool moved = lane->intake.first != NULL;
    if (records > 0) {
        atomic_fetch_add_explicit(&engine->epoch_records, (int64_t)records, memory_order_relaxed);
        weir_failpoint(WEIR_FAILPOINT_AFTER_POLL);
    }
    lane_finish_intake(lane, false);
    if (status != WEIR_OK && status != WEIR_AGAIN && status != WEIR_END &&
        weir_status_class(status) != WEIR_CLASS_UNAVAILABLE) {
        weir_err_path(&err, source->name);
        weir_lane_fail(lane, WEIR_LANE_WANTS_STOP, &err);
    }
    return moved;
}

/* What the tasks in front of the exchange have sent. It belongs to the epoch that they are in,
 * whatever else the lane may read. */
static bool lane_read_exchange(struct weir_lane *lane)
{
    struct weir_engine *engine = lane->engine;
    if (lane->blocked || weir_lane_is_full(lane) || weir_lane_wants_abort(lane) ||
        !atomic_load_explicit(&engine->writable, memory_order_acquire) ||
        !weir_exchange_has_queued(engine->exchange, lane->index)) {
        return false;
    }
    const struct weir_source *source = &engine->sources[engine->exchange->source];
    struct weir_err err = {0};
    weir_status status = source->component->ops.source->read(
        source->self, lane->index, &lane->intake, (size_t)engine->config->batch_size, &err);
    WEIR_ASSERT(status == WEIR_OK);
    lane_finish_intake(lane, true);
    return true;
}

bool weir_lane_finish(struct weir_lane *lane)
{
    bool moved = weir_lane_is_partial(lane) && lane_write_first(lane);
    moved |= lane->waiting_first != NULL && weir_lane_serve_waiting(lane, true);
    if (lane->engine->exchange == NULL) {
        return moved;
    }
    moved |= lane_read_exchange(lane);
    if (lane->pending_first == NULL &&
        atomic_load_explicit(&lane->engine->writable, memory_order_acquire) &&
        !weir_lane_wants_abort(lane)) {
        moved |= lane_tell(lane, true);
    }
    return moved;
}

bool weir_lane_step(struct weir_lane *lane)
{
    struct weir_engine *engine = lane->engine;
    if (atomic_load_explicit(&engine->gate.closed, memory_order_acquire)) {
        return weir_lane_finish(lane);
    }
    bool moved = lane->pending_first != NULL && lane_write_pending(lane);
    moved |= lane->waiting_first != NULL && weir_lane_serve_waiting(lane, false);
    if (engine->exchange != NULL) {
        moved |= lane_read_exchange(lane);
    }
    if (lane->halted || weir_lane_is_full(lane) ||
        atomic_load_explicit(&engine->epoch_full, memory_order_acquire)) {
        return moved;
    }
    if (engine->stateful_count > 0 &&
        atomic_load_explicit(&engine->writable, memory_order_acquire)) {
        moved |= lane_serve_time(lane);
        if (lane_has_more(lane)) {
            return true;
        }
    }
    lane->throttled = engine->exchange != NULL && weir_exchange_is_full(engine->exchange);
    if (lane->throttled || !atomic_load_explicit(&engine->reading, memory_order_acquire)) {
        return moved;
    }
    for (unsigned i = 0; i < engine->source_count && !lane->halted; i++) {
        if (engine->exchange == NULL || !engine->exchange->is_memory ||
            engine->exchange->source != i) {
            moved |= lane_read_source(lane, i);
        }
    }
    return moved;
}

/* For how long there is nothing to do, unless somebody wakes the lane; -1: for ever. */
static int lane_rest_ms(const struct weir_lane *lane)
{
    if (lane->blocked || lane->throttled) { /* what is full tells nobody when it has room again */
        return 2;
    }
    int64_t rest_ms = lane->engine->has_ticks ? TICK_MS : -1;
    if (lane->waiting_first != NULL && lane->rest_until_ns != INT64_MAX) {
        int64_t left_ns = lane->rest_until_ns - weir_clock_monotonic_ns(lane->engine->clock);
        int64_t left_ms = left_ns <= 0 ? 0 : left_ns / WEIR_NS_PER_MS + 1;
        rest_ms = rest_ms < 0 || left_ms < rest_ms ? left_ms : rest_ms;
    }
    return (int)rest_ms;
}

void *weir_lane_main(void *argument)
{
    struct weir_lane *lane = argument;
    while (weir_gate_pass(lane)) {
        if (weir_lane_step(lane)) {
            continue;
        }
        struct pollfd wait = {.fd = lane->wake_fd, .events = POLLIN};
        if (poll(&wait, 1, lane_rest_ms(lane)) > 0) {
            weir_wake_take(lane->wake_fd);
        }
    }
    return NULL;
}
