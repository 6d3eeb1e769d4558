/* SPDX-License-Identifier: Apache-2.0
 *
 * The exchange in memory: a sink that puts what a batch gives it into blocks, one for each lane
 * that owns some of the shards, and a source from which that lane takes them. A block is one
 * allocation with everything its records point at, handed over whole; the batches behind the
 * exchange keep it alive.
 *
 *     block   [ item 0 … n-1 ][ key | frame value | headers | key | frame value | … ]
 *
 * A record's position is its number in the shard. It means nothing outside: after an abort the same
 * number may be another record. What must be remembered about a record (a verdict) is therefore
 * remembered under the position it came from, which each item keeps.
 */
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "data/batch.h"
#include "engine/engine_priv.h"
#include "engine/exchange.h"

struct item {
    int32_t shard;
    uint32_t header_count;
    const struct weir_header *headers;
    struct weir_slice key, value; /* value: the frame and what follows it */
    int64_t time_ms;
    uint8_t flags;
    struct weir_task *origin; /* in front of the exchange */
    int64_t origin_position;
};

struct block {
    struct block *link;
    size_t refs;  /* of the lane that takes it */
    size_t bytes; /* all of it */
    size_t count, taken;
    char *end; /* where the next bytes go */
    struct item items[];
};

/* What waits for a lane. */
struct inbox {
    pthread_mutex_t lock;
    struct block *first, *last;
    atomic_size_t count;   /* blocks, the one below included */
    struct block *current; /* lane: being taken */
};

/* What a write needs for each lane of the target. */
struct share {
    size_t count, bytes;
    struct block *block;
};

struct shard {
    struct weir_partition *part;
    int64_t next;
};

struct exchange_memory {
    struct weir_exchange *exchange;
    struct weir_ctx *ctx;
    struct inbox *inboxes; /* by lane */
    struct share *shares;  /* by writing lane and lane; the last row: control's */
    struct shard *shards;
    atomic_size_t bytes; /* waiting */
    unsigned lanes;
};

/* --- blocks ------------------------------------------------------------------------------------*/

static void block_unref(struct block *block)
{
    if (--block->refs == 0) {
        weir_free(block);
    }
}

static void release_blocks(void **refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        block_unref(refs[i]);
    }
}

static size_t item_bytes(const struct weir_record *record)
{
    size_t bytes = record->key.size + record->target.size + record->raw.size;
    bytes = (bytes + 7) & ~(size_t)7; /* headers follow */
    for (uint32_t i = 0; i < record->header_count; i++) {
        bytes += sizeof(struct weir_header) + record->headers[i].key.size +
                 record->headers[i].value.size;
    }
    return (bytes + 7) & ~(size_t)7;
}

static struct block *block_new(size_t count, size_t bytes)
{
    size_t all = sizeof(struct block) + count * sizeof(struct item) + bytes;
    struct block *block = weir_realloc(NULL, all, 1);
    *block = (struct block){.bytes = all, .refs = 1, .end = (char *)&block->items[count]};
    return block;
}

static struct weir_slice put_bytes(struct block *block, struct weir_slice bytes)
{
    if (bytes.data == NULL) {
        return bytes;
    }
    char *at = block->end;
    memcpy(at, bytes.data, bytes.size);
    block->end += bytes.size;
    return (struct weir_slice){at, bytes.size};
}

static void align(struct block *block)
{
    block->end = (char *)(((uintptr_t)block->end + 7) & ~(uintptr_t)7);
}

static const struct weir_header *put_headers(struct block *block, const struct weir_record *record)
{
    align(block);
    struct weir_header *headers = (struct weir_header *)(void *)block->end;
    block->end += record->header_count * sizeof(*headers);
    for (uint32_t i = 0; i < record->header_count; i++) {
        headers[i].key = put_bytes(block, record->headers[i].key);
        headers[i].value = put_bytes(block, record->headers[i].value);
    }
    return headers;
}

static void block_push(struct block *block,
                       const struct weir_record *record,
                       int32_t shard,
                       struct weir_task *origin)
{
    struct item *item = &block->items[block->count++];
    *item = (struct item){.shard = shard,
                          .header_count = record->header_count,
                          .time_ms = record->time_ms,
                          .flags = record->flags & WEIR_RECORD_NO_TIME,
                          .origin = origin,
                          .origin_position = record->position};
    item->key = put_bytes(block, record->key);
    item->value = put_bytes(block, record->target);
    item->value.size += put_bytes(block, record->raw).size;
    if (record->header_count > 0) {
        item->headers = put_headers(block, record);
    }
    align(block);
}

static void inbox_push(struct exchange_memory *self, unsigned lane, struct block *block)
{
    struct inbox *inbox = &self->inboxes[lane];
    atomic_fetch_add_explicit(&self->bytes, block->bytes, memory_order_relaxed);
    pthread_mutex_lock(&inbox->lock);
    if (inbox->last == NULL) {
        inbox->first = block;
    } else {
        inbox->last->link = block;
    }
    inbox->last = block;
    /* Release pairs with the acquire of those who ask without the lock. */
    size_t before = atomic_fetch_add_explicit(&inbox->count, 1, memory_order_release);
    pthread_mutex_unlock(&inbox->lock);
    if (before == 0) {
        weir_lane_wake(&self->exchange->engine->lanes[lane]);
    }
}

/* lane, or paused. The block to take records from; NULL: there is none. */
static struct block *inbox_look(struct inbox *inbox)
{
    if (inbox->current == NULL && atomic_load_explicit(&inbox->count, memory_order_acquire) > 0) {
        pthread_mutex_lock(&inbox->lock);
        inbox->current = inbox->first;
        inbox->first = inbox->current->link;
        inbox->last = inbox->first == NULL ? NULL : inbox->last;
        pthread_mutex_unlock(&inbox->lock);
    }
    return inbox->current;
}

/* It is done with. Only now: until its records are in batches it counts as waiting. */
static void inbox_drop(struct exchange_memory *self, struct inbox *inbox)
{
    struct block *block = inbox->current;
    inbox->current = NULL;
    atomic_fetch_sub_explicit(&self->bytes, block->bytes, memory_order_relaxed);
    block_unref(block);
    atomic_fetch_sub_explicit(&inbox->count, 1, memory_order_release);
}

/* --- writing -----------------------------------------------------------------------------------*/

/* Hands records over, in order, as one block per lane. row: who writes. */
static void memory_give(struct exchange_memory *self,
                        unsigned row,
                        struct weir_task *origin,
                        struct weir_record *const *records,
                        size_t count)
{
    struct share *shares = &self->shares[row * self->lanes];
    memset(shares, 0, self->lanes * sizeof(*shares));
    for (size_t i = 0; i < count; i++) {
        struct share *share = &shares[self->shards[weir_record_shard(records[i])].part->lane];
        share->count++;
        share->bytes += item_bytes(records[i]);
    }
    for (unsigned i = 0; i < self->lanes; i++) {
        shares[i].block = shares[i].count == 0 ? NULL : block_new(shares[i].count, shares[i].bytes);
    }
    for (size_t i = 0; i < count; i++) {
        int32_t shard = weir_record_shard(records[i]);
        block_push(shares[self->shards[shard].part->lane].block, records[i], shard, origin);
    }
    for (unsigned i = 0; i < self->lanes; i++) {
        if (shares[i].block != NULL) {
            inbox_push(self, i, shares[i].block);
        }
    }
}

static weir_status memory_sink_prepare(void *instance,
                                       struct weir_run *run,
                                       struct weir_record *record,
                                       struct weir_err *err)
{
    (void)instance;
    return weir_record_read_headers(run->batch, record, err);
}

static weir_status memory_sink_write(void *instance,
                                     unsigned lane,
                                     struct weir_batch *batch,
                                     struct weir_record *const *records,
                                     size_t count,
                                     size_t *cursor,
                                     struct weir_err *err)
{
    struct weir_exchange *const *self = instance;
    (void)err;
    memory_give((*self)->memory, lane, batch->task, records + *cursor, count - *cursor);
    *cursor = count;
    return WEIR_OK;
}

static weir_status
memory_sink_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)ctx;
    (void)err;
    *(const void **)instance = config;
    return WEIR_OK;
}

static void memory_sink_close(void *instance)
{
    (void)instance;
}

static const struct weir_sink_ops memory_sink_ops = {
    .prepare = memory_sink_prepare,
    .write = memory_sink_write,
};

const struct weir_component weir_exchange_memory_sink = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_SINK, .name = "exchange"},
    .self_size = sizeof(struct weir_exchange *),
    .discards = true,
    .open = memory_sink_open,
    .close = memory_sink_close,
    .ops = {.sink = &memory_sink_ops},
};

/* --- reading -----------------------------------------------------------------------------------*/

static void give_item(struct exchange_memory *self,
                      struct weir_intake *intake,
                      struct block *block,
                      struct item *item)
{
    struct shard *shard = &self->shards[item->shard];
    struct weir_record *record = weir_intake_record(intake, shard->part, block);
    WEIR_ASSERT(record != NULL); /* a read takes far fewer than a batch holds */
    block->refs++;
    record->source_ref = item;
    record->position = shard->next++;
    record->flags = WEIR_RECORD_RAW | item->flags;
    record->time_ms = item->time_ms;
    record->key = item->key;
    record->raw = item->value;
    record->headers = item->headers;
    record->header_count = item->header_count;
    record->headers_read = true;
}

static weir_status memory_source_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    struct exchange_memory *self = instance;
    struct inbox *inbox = &self->inboxes[lane];
    size_t taken = 0;
    struct block *block;
    (void)err;
    while (taken < max && (block = inbox_look(inbox)) != NULL) {
        for (; taken < max && block->taken < block->count; taken++) {
            give_item(self, intake, block, &block->items[block->taken++]);
        }
        if (block->taken == block->count) {
            inbox_drop(self, inbox);
        }
    }
    return taken == 0 ? WEIR_AGAIN : WEIR_OK;
}

static void memory_empty(struct exchange_memory *self)
{
    for (unsigned i = 0; self->inboxes != NULL && i < self->lanes; i++) {
        while (inbox_look(&self->inboxes[i]) != NULL) {
            inbox_drop(self, &self->inboxes[i]);
        }
    }
}

static weir_status memory_source_seek(void *instance,
                                      struct weir_partition *const *items,
                                      size_t count,
                                      struct weir_err *err)
{
    struct exchange_memory *self = instance;
    (void)err;
    memory_empty(self);
    for (size_t i = 0; i < count; i++) {
        self->shards[items[i]->index].next = items[i]->read;
    }
    return WEIR_OK;
}

static weir_status memory_source_start(void *instance, struct weir_err *err)
{
    struct exchange_memory *self = instance;
    struct weir_exchange *exchange = self->exchange;
    size_t count = (size_t)exchange->shards;
    struct weir_assignment *items = weir_calloc(count, sizeof(*items));
    struct weir_partition **parts = weir_calloc(count, sizeof(struct weir_partition *));
    (void)err;
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct weir_assignment){
            .topic = exchange->topic, .index = (int32_t)i, .partition_count = exchange->shards};
    }
    weir_source_assign(self->ctx, items, count, parts);
    for (size_t i = 0; i < count; i++) {
        self->shards[i] = (struct shard){parts[i], parts[i]->read};
    }
    weir_free(items);
    weir_free(parts);
    weir_source_exhausted(self->ctx);
    exchange->memory = self;
    weir_exchange_announce(exchange);
    return WEIR_OK;
}

static weir_status
memory_source_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct exchange_memory *self = instance;
    (void)err;
    self->exchange = (struct weir_exchange *)(uintptr_t)config;
    self->ctx = ctx;
    self->lanes = ctx->lanes;
    self->inboxes = weir_calloc(self->lanes, sizeof(*self->inboxes));
    self->shares = weir_calloc((size_t)(self->lanes + 1) * self->lanes, sizeof(*self->shares));
    self->shards = weir_calloc((size_t)self->exchange->shards, sizeof(*self->shards));
    for (unsigned i = 0; i < self->lanes; i++) {
        pthread_mutex_init(&self->inboxes[i].lock, NULL);
    }
    return WEIR_OK;
}

static void memory_source_close(void *instance)
{
    struct exchange_memory *self = instance;
    memory_empty(self);
    for (unsigned i = 0; self->inboxes != NULL && i < self->lanes; i++) {
        pthread_mutex_destroy(&self->inboxes[i].lock);
    }
    weir_free(self->inboxes);
    weir_free(self->shares);
    weir_free(self->shards);
    if (self->exchange != NULL) {
        self->exchange->memory = NULL;
    }
}

static const struct weir_batch_origin memory_origin = {.release = release_blocks};

static const struct weir_source_ops memory_source_ops = {
    .start = memory_source_start,
    .read = memory_source_read,
    .seek = memory_source_seek,
    .origin = &memory_origin,
};

const struct weir_component weir_exchange_memory_source = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_SOURCE, .name = "exchange"},
    .self_size = sizeof(struct exchange_memory),
    .positions = WEIR_POSITIONS_LOG,
    .bounded = true,
    .exclusive = true,
    .deterministic = true,
    .open = memory_source_open,
    .close = memory_source_close,
    .ops = {.source = &memory_source_ops},
};

/* --- what the engine asks ----------------------------------------------------------------------*/

void weir_exchange_announce(struct weir_exchange *self)
{
    struct weir_engine *engine = self->engine;
    if (self->memory == NULL) {
        return;
    }
    for (struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (!task->in_front || task->told.has_spoken) {
            continue;
        }
        struct weir_batch *batch = weir_batch_new(NULL);
        batch->task = task;
        bool fits = weir_exchange_mark(self, batch);
        WEIR_ASSERT(fits);
        const struct weir_output *output = &batch->outputs[self->sink];
        memory_give(self->memory, self->memory->lanes, task, output->records, output->count);
        weir_batch_free(batch);
    }
}

bool weir_exchange_has_queued(const struct weir_exchange *self, unsigned lane)
{
    return self->memory != NULL &&
           atomic_load_explicit(&self->memory->inboxes[lane].count, memory_order_acquire) > 0;
}

bool weir_exchange_is_full(const struct weir_exchange *self)
{
    return self->memory != NULL &&
           atomic_load_explicit(&self->memory->bytes, memory_order_relaxed) >=
               (size_t)self->engine->config->in_flight / 4;
}

void weir_exchange_tell_fates(const struct weir_batch *batch)
{
    size_t left = 0;
    for (int fate = WEIR_FATE_LATE; fate < WEIR_FATE_COUNT; fate++) {
        left += batch->tally[fate];
    }
    for (size_t i = 0; left > 0; i++) {
        if (batch->fates[i] >= WEIR_FATE_LATE) {
            const struct item *item = batch->records[i].source_ref;
            atomic_fetch_add_explicit(&item->origin->behind[batch->fates[i]], 1,
                                      memory_order_relaxed);
            left--;
        }
    }
}

void weir_exchange_origin(struct weir_task **task,
                          const struct weir_record *record,
                          int64_t *position)
{
    if (weir_task_is_inner(*task) && record->source_ref != NULL) {
        const struct item *item = record->source_ref;
        *task = item->origin;
        *position = item->origin_position;
    }
}
