/* SPDX-License-Identifier: Apache-2.0
 *
 * Asking goes in rounds: all open questions are sent, and when each is answered, or the time is
 * over, the round is settled. An answer, or a permanent failure, is final and is the record's; what
 * failed otherwise is asked again after a pause that doubles. So a service that is gone holds the
 * batch, and with it the task, and loses nothing.
 *
 * Tokens are places in a table with the number of their use. Answers find a question only through
 * it and under its lock: nothing of a batch that was dropped is ever touched by a late one.
 */
#include "engine/asking.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "engine/engine_priv.h"
#include "engine/metrics.h"
#include "engine/observe.h"

enum { PAUSE_AGAIN_MS = 10, PAUSE_FIRST_MS = 100, PAUSE_MAX_MS = 5000, ID_MAX = 900 };
enum { ASKED_SHOWN_MAX = 200 };

enum ask_state {
    ASK_NOTHING, /* no question, or one that is settled */
    ASK_OPEN,    /* to be sent */
    ASK_SENT,
    ASK_ANSWERED,
};

struct weir_ask {
    struct weir_question question;
    enum ask_state state;
    size_t same_as; /* the question that was asked in its place; its own index: itself */
    weir_status status;
    struct weir_slice text; /* the answer, or why there is none */
    char *heap;             /* where it lies until the round is settled */
    int64_t took_ns;
};

struct ask_slot {
    struct weir_asking *asking; /* NULL: free */
    uint32_t use;
    uint32_t index; /* of the question; free: the next free slot + 1 */
};

struct weir_asks {
    struct weir_ctx *ctx;
    pthread_mutex_t lock; /* guards what follows, and parts of each asking */
    struct ask_slot *slots;
    uint32_t slot_count, free; /* free: the first one + 1 */
    size_t under_way;
    atomic_bool is_stuck;
};

struct weir_asks *weir_asks_new(struct weir_ctx *ctx)
{
    struct weir_asks *self = weir_calloc(1, sizeof(*self));
    self->ctx = ctx;
    pthread_mutex_init(&self->lock, NULL);
    return self;
}

void weir_asks_free(struct weir_asks *asks)
{
    if (asks != NULL) {
        WEIR_ASSERT(asks->under_way == 0);
        pthread_mutex_destroy(&asks->lock);
        weir_free(asks->slots);
        weir_free(asks);
    }
}

bool weir_asks_are_stuck(const struct weir_asks *asks)
{
    return atomic_load_explicit(&asks->is_stuck, memory_order_relaxed);
}

size_t weir_asks_count(struct weir_asks *asks)
{
    pthread_mutex_lock(&asks->lock);
    size_t count = asks->under_way;
    pthread_mutex_unlock(&asks->lock);
    return count;
}

/* --- slots; under the lock ---------------------------------------------------------------------*/

/* As many as questions are under way: tasks times records of a batch. */
static void slots_grow(struct weir_asks *self)
{
    uint32_t count = self->slot_count == 0 ? 64 : self->slot_count * 2;
    self->slots = weir_realloc(self->slots, count, sizeof(*self->slots));
    for (uint32_t i = count; i-- > self->slot_count;) {
        self->slots[i] = (struct ask_slot){.use = 1, .index = self->free};
        self->free = i + 1;
    }
    self->slot_count = count;
}

static uint64_t slot_take(struct weir_asks *self, struct weir_asking *asking, size_t index)
{
    if (self->free == 0) {
        slots_grow(self);
    }
    uint32_t at = self->free - 1;
    struct ask_slot *slot = &self->slots[at];
    self->free = slot->index;
    slot->asking = asking;
    slot->index = (uint32_t)index;
    asking->under_way++;
    self->under_way++;
    return (uint64_t)slot->use << 32 | at;
}

static struct ask_slot *slot_find(struct weir_asks *self, uint64_t token)
{
    uint32_t at = (uint32_t)token;
    bool is_used = at < self->slot_count && self->slots[at].use == (uint32_t)(token >> 32) &&
                   self->slots[at].asking != NULL;
    return is_used ? &self->slots[at] : NULL;
}

static void slot_release(struct weir_asks *self, struct ask_slot *slot)
{
    slot->asking->under_way--;
    self->under_way--;
    slot->asking = NULL;
    slot->use++;
    slot->index = self->free;
    self->free = (uint32_t)(slot - self->slots) + 1;
}

/* Takes back what is under way. */
static void slots_withdraw(struct weir_asks *self, struct weir_asking *asking)
{
    for (size_t i = 0; i < asking->count && asking->under_way > 0; i++) {
        struct weir_ask *item = &asking->items[i];
        if (item->state == ASK_SENT) {
            struct ask_slot *slot = slot_find(self, item->question.token);
            WEIR_ASSERT(slot != NULL);
            slot_release(self, slot);
            item->state = ASK_ANSWERED;
            item->status = WEIR_TIMEOUT;
            item->text = WEIR_SLICE("no answer in time");
        }
    }
}

void weir_answer(struct weir_ctx *ctx, uint64_t token, weir_status status, struct weir_slice text)
{
    const struct weir_stage *stage =
        (const struct weir_stage *)(const void *)((const char *)ctx -
                                                  offsetof(struct weir_stage, ctx));
    struct weir_asks *self = stage->asks;
    pthread_mutex_lock(&self->lock);
    struct ask_slot *slot = slot_find(self, token);
    if (slot != NULL) {
        struct weir_asking *asking = slot->asking;
        struct weir_ask *item = &asking->items[slot->index];
        item->status = status;
        item->text = (struct weir_slice){NULL, 0};
        if (asking->bytes + text.size > WEIR_RECORD_BYTES_MAX) {
            item->status = WEIR_TOO_LARGE;
            text = WEIR_SLICE("the answers to a batch are too large");
        }
        if (text.data != NULL) {
            item->heap = weir_strndup(text.data, text.size);
            item->text = (struct weir_slice){item->heap, text.size};
            asking->bytes += text.size;
        }
        item->took_ns = weir_clock_monotonic_ns(self->ctx->clock) - asking->asked_ns;
        item->state = ASK_ANSWERED;
        slot_release(self, slot);
        if (asking->under_way == 0) {
            weir_lane_wake(asking->lane);
        }
    }
    pthread_mutex_unlock(&self->lock);
}

/* --- questions; lane ---------------------------------------------------------------------------*/

/* The step, the partition, the position, and a number among what came of the input there. */
static bool item_set_id(struct weir_asking *asking, size_t index, int64_t position, size_t number)
{
    const struct weir_batch *batch = asking->lane->run.batch;
    const struct weir_task *task = batch->task;
    char id[ID_MAX];
    int size =
        snprintf(id, sizeof(id), "%.200s:%.200s:%.200s:%d:%lld:%zu", asking->stage->ctx.pipeline,
                 asking->stage->name, task->topic, task->part.index, (long long)position, number);
    struct weir_question *question = &asking->items[index].question;
    question->id =
        weir_arena_copy(&asking->lane->run.batch->arena, (struct weir_slice){id, (size_t)size});
    return question->id.data != NULL;
}

/* Finds for each question an equal one before it. */
static bool asking_pair(struct weir_asking *self, struct weir_arena *arena)
{
    size_t size = 16;
    while (size < self->count * 2) {
        size *= 2;
    }
    uint32_t *table = weir_arena_calloc(arena, size, sizeof(*table)); /* index + 1 */
    for (size_t i = 0; table != NULL && i < self->count; i++) {
        struct weir_ask *item = &self->items[i];
        if (item->state != ASK_OPEN) {
            continue;
        }
        size_t at = weir_hash_key(item->question.to.data, item->question.to.size) & (size - 1);
        for (; table[at] != 0; at = (at + 1) & (size - 1)) {
            const struct weir_question *other = &self->items[table[at] - 1].question;
            if (weir_slice_equal(other->to, item->question.to) &&
                weir_slice_equal(other->body, item->question.body)) {
                item->same_as = table[at] - 1;
                item->state = ASK_NOTHING;
                self->open--;
                break;
            }
        }
        if (table[at] == 0) {
            table[at] = (uint32_t)i + 1;
        }
    }
    return table != NULL;
}

struct weir_asking *weir_asking_new(struct weir_run *run,
                                    struct weir_record **records,
                                    size_t count,
                                    bool (*asks)(void *context, const struct weir_record *record),
                                    void *context)
{
    struct weir_arena *arena = &run->batch->arena;
    const struct weir_stage *stage = run->stage;
    const struct weir_ask_ops *ops = stage->component->ops.step->ask;
    struct weir_asking *self = weir_arena_calloc(arena, 1, sizeof(*self));
    struct weir_ask *items = weir_arena_calloc(arena, count + 1, sizeof(*items));
    if (self == NULL || items == NULL) {
        return NULL;
    }
    *self = (struct weir_asking){.stage = stage, .lane = run->lane, .items = items, .count = count};
    size_t number = 0;
    for (size_t i = 0; i < count; i++) {
        items[i].same_as = i;
        if (!asks(context, records[i])) {
            continue;
        }
        number = i > 0 && records[i - 1]->position == records[i]->position ? number + 1 : 0;
        struct weir_err err = {0};
        run->input = records[i];
        if (ops->question(stage->self, run, records[i], &items[i].question, &err) != WEIR_OK) {
            weir_asking_refuse(self, i, &err);
        } else if (!item_set_id(self, i, records[i]->position, number)) {
            return NULL;
        } else {
            items[i].state = ASK_OPEN;
            self->open++;
        }
    }
    return ops->asks_alike && !asking_pair(self, arena) ? NULL : self;
}

static void ask_settle(struct weir_ask *item, weir_status status, struct weir_slice text)
{
    item->state = ASK_NOTHING;
    item->status = status;
    item->text = text;
}

void weir_asking_refuse(struct weir_asking *asking, size_t index, const struct weir_err *err)
{
    struct weir_ask *item = &asking->items[index];
    asking->open -= item->state == ASK_OPEN;
    struct weir_slice text =
        weir_arena_copy(&asking->lane->run.batch->arena, weir_slice_of(err->message));
    ask_settle(item, err->status, text);
}

weir_status weir_asking_answer(const struct weir_asking *asking,
                               size_t index,
                               struct weir_slice *ret,
                               struct weir_err *err)
{
    const struct weir_ask *item = &asking->items[asking->items[index].same_as];
    WEIR_ASSERT(item->state == ASK_NOTHING);
    *ret = item->text;
    return item->status == WEIR_OK ? WEIR_OK
                                   : weir_fail(err, item->status, "%.*s",
                                               item->text.size < 300 ? (int)item->text.size : 300,
                                               item->text.data == NULL ? "" : item->text.data);
}

/* --- rounds; lane ------------------------------------------------------------------------------*/

static bool is_final(weir_status status)
{
    return status == WEIR_OK || weir_status_class(status) == WEIR_CLASS_PERMANENT;
}

static void round_end(struct weir_asking *self,
                      int64_t now_ns,
                      const struct weir_err *why,
                      struct weir_slice asked)
{
    const struct weir_stage *stage = self->stage;
    unsigned shift = self->rounds < 8 ? self->rounds : 8;
    int64_t pause_ms = (int64_t)PAUSE_FIRST_MS << shift;
    pause_ms = pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS;
    if (why->status == WEIR_AGAIN) { /* not ready yet */
        pause_ms = PAUSE_AGAIN_MS;
    }
    self->rounds++;
    self->asked = false;
    self->until_ns = now_ns + pause_ms * WEIR_NS_PER_MS;
    if (weir_status_class(why->status) == WEIR_CLASS_FATAL) {
        struct weir_err err = *why;
        weir_err_path(&err, stage->name);
        weir_lane_fail(self->lane, self->changes_state ? WEIR_LANE_WANTS_END : WEIR_LANE_WANTS_STOP,
                       &err);
    } else if (why->status != WEIR_AGAIN &&
               !atomic_exchange_explicit(&stage->asks->is_stuck, true, memory_order_relaxed)) {
        struct weir_log log = weir_log_named(&self->lane->engine->log, stage->name);
        asked.size = asked.size < ASKED_SHOWN_MAX ? asked.size : ASKED_SHOWN_MAX;
        WEIR_LOG_WARN(&log, "no answer: asking again until there is one", WEIR_F("asked", asked),
                      WEIR_F_ERR(why));
    }
}

static void round_succeed(const struct weir_asking *self)
{
    if (atomic_exchange_explicit(&self->stage->asks->is_stuck, false, memory_order_relaxed)) {
        struct weir_log log = weir_log_named(&self->lane->engine->log, self->stage->name);
        WEIR_LOG_INFO(&log, "answers come again");
    }
}

/* All that was under way has come back. True: nothing is open. */
static bool round_settle(struct weir_asking *self, struct weir_batch *batch, int64_t now_ns)
{
    struct weir_engine *engine = self->lane->engine;
    const char *name = self->stage->name;
    struct weir_histogram *seconds = weir_metrics_histogram(engine->metrics, WEIR_METRIC_ASK_TIME,
                                                            self->lane->index, WEIR_LABELS(name));
    struct weir_err why = {0};
    struct weir_slice asked = {NULL, 0};
    uint64_t counts[WEIR_STATUS_COUNT] = {0};
    for (size_t i = 0; i < self->count; i++) {
        struct weir_ask *item = &self->items[i];
        if (item->state != ASK_ANSWERED) {
            continue;
        }
        counts[item->status]++;
        if (is_final(item->status)) {
            weir_histogram_add(seconds, item->took_ns, 1);
            struct weir_slice text = item->text;
            weir_status status = item->status;
            if (text.data != NULL) {
                text = weir_arena_copy(&batch->arena, text);
                status = text.data == NULL ? WEIR_LIMIT : status;
            }
            ask_settle(item, status, text);
            self->open--;
        } else {
            if (why.status == WEIR_OK || weir_status_class(item->status) == WEIR_CLASS_FATAL) {
                why = (struct weir_err){0};
                asked = item->question.to;
                (void)!weir_fail(&why, item->status, "%.*s",
                                 item->text.size < 300 ? (int)item->text.size : 300,
                                 item->text.data == NULL ? "" : item->text.data);
            }
            item->state = ASK_OPEN;
            item->text = (struct weir_slice){NULL, 0};
        }
        weir_free(item->heap);
        item->heap = NULL;
        item->question.token = 0;
    }
    for (int status = 0; status < WEIR_STATUS_COUNT; status++) {
        if (counts[status] > 0 && status != WEIR_AGAIN) {
            weir_metrics_count(engine->metrics, WEIR_METRIC_ASKS, counts[status],
                               WEIR_LABELS(name, weir_status_name((weir_status)status)));
        }
        if (counts[status] > 0 && status != WEIR_AGAIN && !is_final((weir_status)status)) {
            weir_engine_count_error(engine, self->lane->index, name, (weir_status)status);
        }
    }
    self->bytes = 0;
    if (self->open > 0) {
        round_end(self, now_ns, &why, asked);
    } else {
        round_succeed(self);
    }
    return self->open == 0;
}

/* Takes the question's token back, if nobody was quicker with an answer. */
static void ask_fail(struct weir_asks *asks,
                     struct weir_ask *item,
                     weir_status status,
                     const struct weir_err *err)
{
    pthread_mutex_lock(&asks->lock);
    struct ask_slot *slot = slot_find(asks, item->question.token);
    if (slot != NULL) {
        slot_release(asks, slot);
        item->heap = weir_strdup(err->message);
        item->text = weir_slice_of(item->heap);
        item->status = status;
        item->state = ASK_ANSWERED;
    }
    pthread_mutex_unlock(&asks->lock);
}

static weir_status
ask_send(struct weir_asking *self, const struct weir_question *question, struct weir_err *err)
{
    const struct weir_stage *stage = self->stage;
    const struct weir_answerer *answerer = self->lane->engine->options.answerer;
    return answerer == NULL ? stage->component->ops.step->ask->send(stage->self, question, err)
                            : answerer->ask(answerer->context, stage->asks->ctx, question, err);
}

static void round_begin(struct weir_asking *self, int64_t now_ns)
{
    const struct weir_stage *stage = self->stage;
    const struct weir_ask_ops *ops = stage->component->ops.step->ask;
    pthread_mutex_lock(&stage->asks->lock);
    for (size_t i = 0; i < self->count; i++) {
        struct weir_ask *item = &self->items[i];
        if (item->state == ASK_OPEN) {
            item->question.token = slot_take(stage->asks, self, i);
            item->state = ASK_SENT;
        }
    }
    self->asked_ns = now_ns;
    pthread_mutex_unlock(&stage->asks->lock);
    self->asked = true;
    self->until_ns = now_ns + ops->patience(stage->config) * WEIR_NS_PER_MS;
    struct weir_err err = {0};
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < self->count; i++) {
        struct weir_ask *item = &self->items[i];
        if (item->question.token == 0) {
            continue;
        }
        if (is_final(status)) {
            err = (struct weir_err){0};
            status = ask_send(self, &item->question, &err);
        }
        if (status != WEIR_OK) { /* nor would the others go */
            ask_fail(stage->asks, item, status, &err);
        }
    }
}

bool weir_asking_advance(struct weir_asking *self, struct weir_batch *batch, int64_t now_ns)
{
    struct weir_asks *asks = self->stage->asks;
    if (self->open == 0) {
        return true;
    }
    if (!self->asked) {
        if (now_ns < self->until_ns) {
            return false;
        }
        round_begin(self, now_ns);
    }
    pthread_mutex_lock(&asks->lock);
    if (now_ns >= self->until_ns) {
        slots_withdraw(asks, self);
    }
    bool waits = self->under_way > 0;
    pthread_mutex_unlock(&asks->lock);
    return !waits && round_settle(self, batch, now_ns);
}

void weir_asking_drop(struct weir_asking *asking)
{
    struct weir_asks *asks = asking->stage->asks;
    pthread_mutex_lock(&asks->lock);
    slots_withdraw(asks, asking);
    pthread_mutex_unlock(&asks->lock);
    if (asking->rounds > 0) { /* whoever asks next finds out anew */
        atomic_store_explicit(&asks->is_stuck, false, memory_order_relaxed);
    }
    for (size_t i = 0; i < asking->count; i++) {
        weir_free(asking->items[i].heap);
    }
}
