/* SPDX-License-Identifier: Apache-2.0
 *
 * The side behind the exchange: the first stage of a shard. It takes the frame off the value,
 * notes how far the source partition is, and lets the shard's watermark follow the partition that
 * is furthest behind and not idle. What it notes is state like that of any step: an entry per
 * source partition, committed and undone with the epoch, restored with the shard.
 *
 * The watermark is the state's clock. It has to be looked for anew only when the partition that
 * holds it back moves, so a record costs one look-up whatever the number of partitions.
 *
 * When all partitions are idle, the greatest clock among them counts, so that it does not matter
 * which fell idle last; from then on time goes on by the wall clock, when there is an
 * `idle_timeout`. That it does is in no log: after a restart it begins again.
 */
#include <string.h>

#include <weir/state.h>

#include "base/assert.h"
#include "data/batch.h"
#include "engine/engine_priv.h"
#include "engine/exchange.h"

struct reader {
    const struct weir_exchange *exchange;
};

/* A source partition: the key is its stream and number. */
struct heard {
    int64_t clock;
    bool is_idle;
};

enum { HEARD_KEY_BYTES = sizeof(uint64_t) + sizeof(int32_t) };

static weir_status no_memory(struct weir_err *err)
{
    return weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
}

static const struct heard *heard_at(const struct weir_entry *entry)
{
    return (const struct heard *)(const void *)weir_entry_value(entry).data;
}

/* The least clock of those that are not idle; of all when all are, the greatest. */
static int64_t find_watermark(struct weir_state *state, bool *ret_all_idle)
{
    struct weir_state_cursor cursor = {0};
    const struct weir_entry *entry;
    int64_t least = INT64_MAX, greatest = INT64_MIN;
    bool all_idle = true;
    while ((entry = weir_state_next(state, &cursor)) != NULL) {
        const struct heard *heard = heard_at(entry);
        greatest = heard->clock > greatest ? heard->clock : greatest;
        if (!heard->is_idle) {
            all_idle = false;
            least = heard->clock < least ? heard->clock : least;
        }
    }
    *ret_all_idle = all_idle;
    return all_idle ? greatest : least;
}

static bool move_watermark(struct weir_run *run, struct weir_state *state, int64_t to)
{
    if (to <= weir_state_clock(state)) {
        return true;
    }
    weir_state_set_clock(state, to);
    return weir_emit_watermark(run, to);
}

/* What a frame says of its source partition. */
static bool hear(struct weir_run *run, const struct weir_exchange_frame *frame)
{
    struct weir_state *state = weir_run_state(run);
    struct weir_task *task = run->batch->task;
    char key[HEARD_KEY_BYTES];
    memcpy(key, &frame->stream, sizeof(frame->stream));
    memcpy(key + sizeof(frame->stream), &frame->partition, sizeof(frame->partition));
    bool is_new;
    struct weir_entry *entry =
        weir_state_put(state, (struct weir_slice){key, sizeof(key)}, sizeof(struct heard), &is_new);
    if (entry == NULL) {
        return false;
    }
    struct heard before = *heard_at(entry), after = before;
    before.clock = after.clock = is_new ? INT64_MIN : before.clock;
    after.is_idle = (frame->flags & WEIR_EXCHANGE_IDLE) != 0;
    after.clock = frame->clock > before.clock ? frame->clock : before.clock;
    bool moved = after.clock != before.clock || after.is_idle != before.is_idle;
    if (is_new || moved) {
        *(struct heard *)weir_state_edit(state, entry) = after;
    }
    bool held = before.clock <= weir_state_clock(state) || before.is_idle || after.is_idle;
    if (!moved || !held || (int64_t)weir_state_count(state) < frame->partitions) {
        return true;
    }
    int64_t watermark = find_watermark(state, &task->all_idle);
    task->idle_since_ms = run->lane->calm_ms;
    return move_watermark(run, state, watermark);
}

static weir_status
reader_apply(void *instance, struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    (void)instance;
    struct weir_exchange_frame frame;
    struct weir_slice value;
    if (!weir_exchange_frame_read(record->raw, &frame, &value)) {
        return weir_fail(err, WEIR_INVALID, "not a record of this exchange");
    }
    if (!hear(run, &frame)) {
        return no_memory(err);
    }
    if ((frame.flags & WEIR_EXCHANGE_MARK) != 0) {
        weir_run_absorbed(run);
        return WEIR_OK;
    }
    record->raw = value;
    return weir_emit(run, record) ? WEIR_OK : no_memory(err);
}

static weir_status
reader_advance(void *instance, struct weir_run *run, int64_t watermark_ms, struct weir_err *err)
{
    (void)instance; /* the end of the input, which is not stored */
    return weir_emit_watermark(run, watermark_ms) ? WEIR_OK : no_memory(err);
}

void weir_exchange_strip(const struct weir_task *task, struct weir_record *record)
{
    struct weir_exchange_frame frame;
    struct weir_slice value;
    if (task->exchange != NULL && !task->in_front &&
        weir_exchange_frame_read(record->raw, &frame, &value)) {
        record->raw = value;
    }
}

/* No step of the task has anything to do before this time. */
static int64_t next_timer(const struct weir_task *task)
{
    int64_t next = WEIR_NO_TIMER;
    for (size_t i = 0; task->states[i] != NULL; i++) {
        int64_t timer = weir_state_next_timer(task->states[i]);
        next = timer < next ? timer : next;
    }
    return next;
}

static weir_status
reader_tick(void *instance, struct weir_run *run, int64_t wall_ms, struct weir_err *err)
{
    (void)wall_ms; /* it may jump */
    int64_t now_ms = run->lane->calm_ms;
    const struct weir_exchange *exchange = ((struct reader *)instance)->exchange;
    struct weir_task *task = run->batch->task;
    struct weir_state *state = weir_run_state(run);
    int64_t clock = weir_state_clock(state);
    if (exchange->idle_timeout_ms == 0 || !task->all_idle || clock == INT64_MIN) {
        return WEIR_OK;
    }
    int64_t elapsed_ms = now_ms - task->idle_since_ms, to;
    if (elapsed_ms <= 0 || __builtin_add_overflow(clock, elapsed_ms, &to) ||
        next_timer(task) > to) { /* what nobody waits for is nothing to commit */
        return WEIR_OK;
    }
    task->idle_since_ms = now_ms;
    return move_watermark(run, state, to) ? WEIR_OK : no_memory(err);
}

static weir_status
reader_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)ctx;
    (void)err;
    ((struct reader *)instance)->exchange = config;
    return WEIR_OK;
}

static const struct weir_step_ops reader_ops = {
    .apply = reader_apply,
    .advance = reader_advance,
    .marks = true,
    .tick = reader_tick,
};

const struct weir_component weir_exchange_reader = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_STEP, .name = "exchange"},
    .self_size = sizeof(struct reader),
    .deterministic = true,
    .stateful = true,
    .state_version = 1,
    .open = reader_open,
    .ops = {.step = &reader_ops},
};
