/* SPDX-License-Identifier: Apache-2.0
 *
 * A lane takes batches of all its partitions with one call on its own queue. The rebalance callback
 * adds and removes partitions from the control thread: the table has a lock, and messages that find
 * no partition, or lie before the position that theirs was sent back to, are dropped.
 */
#include "kafka_lane.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

void kafka_lane_init(struct kafka_lane *self, rd_kafka_t *rk, struct weir_ctx *ctx, unsigned index)
{
    const uint64_t one = 1;
    self->rk = rk;
    self->log = ctx->log;
    pthread_mutex_init(&self->lock, NULL);
    self->queue = rd_kafka_queue_new(rk);
    rd_kafka_queue_io_event_enable(self->queue, weir_lane_wake_fd(ctx, index), &one, sizeof(one));
}

void kafka_lane_done(struct kafka_lane *self)
{
    WEIR_ASSERT(self->count == 0);
    rd_kafka_queue_io_event_enable(self->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(self->queue);
    weir_free(self->parts);
    pthread_mutex_destroy(&self->lock);
}

void kafka_lane_add(struct kafka_lane *self, struct kafka_partition *item)
{
    pthread_mutex_lock(&self->lock);
    self->parts = weir_realloc(self->parts, self->count + 1, sizeof(struct kafka_partition *));
    self->parts[self->count++] = item;
    pthread_mutex_unlock(&self->lock);
}

void kafka_lane_remove(struct kafka_lane *self, struct kafka_partition *item)
{
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < self->count; i++) {
        if (self->parts[i] == item) {
            self->parts[i] = self->parts[--self->count];
            break;
        }
    }
    self->last = NULL;
    pthread_mutex_unlock(&self->lock);
}

/* --- reading; lane -----------------------------------------------------------------------------*/

static struct kafka_partition *lane_find(struct kafka_lane *self, const rd_kafka_message_t *message)
{
    struct kafka_partition *item = self->last;
    if (item != NULL && item->rkt == message->rkt && item->index == message->partition) {
        return item;
    }
    for (size_t i = 0; i < self->count; i++) {
        item = self->parts[i];
        if (item->index != message->partition) {
            continue;
        }
        if (item->rkt == NULL && strcmp(item->topic, rd_kafka_topic_name(message->rkt)) == 0) {
            item->rkt = message->rkt;
        }
        if (item->rkt == message->rkt) {
            self->last = item;
            return item;
        }
    }
    return NULL;
}

static void
lane_take(struct weir_intake *intake, struct kafka_partition *item, rd_kafka_message_t *message)
{
    struct weir_record *record = weir_intake_record(intake, item->part, message);
    WEIR_ASSERT(record != NULL); /* KAFKA_READ_MAX is far below a batch's limit; none may be left out */
    record->position = message->offset;
    record->flags = WEIR_RECORD_RAW;
    record->raw = (struct weir_slice){message->payload, message->len};
    record->key = (struct weir_slice){message->key, message->key_len};
    rd_kafka_timestamp_type_t type;
    record->time_ms = rd_kafka_message_timestamp(message, &type);
    if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE) {
        record->time_ms = 0;
        record->flags |= WEIR_RECORD_NO_TIME;
    }
    item->next = message->offset + 1;
}

/* librdkafka goes on behind a batch that it cannot read: nothing behind it may count as read. */
static bool is_damage(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__BAD_MSG || code == RD_KAFKA_RESP_ERR__BAD_COMPRESSION ||
           code == RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED || code == RD_KAFKA_RESP_ERR_INVALID_MSG;
}

static void lane_event(struct kafka_lane *self,
                       struct weir_intake *intake,
                       struct kafka_partition *item,
                       const rd_kafka_message_t *message)
{
    if (item == NULL) {
        return;
    }
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (message->offset >= item->next) {
            weir_intake_advance(intake, item->part, message->offset);
            item->next = message->offset;
        }
        atomic_store_explicit(&item->part->end, message->offset, memory_order_relaxed);
    } else if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
               message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
        atomic_store_explicit(&item->lost_at, item->next, memory_order_relaxed);
    } else if (is_damage(message->err)) {
        (void)!weir_fail(&self->failure, WEIR_CORRUPT, "%s, partition %d, offset %lld: %s",
                         item->topic, item->index, (long long)message->offset,
                         rd_kafka_message_errstr(message));
    } else {
        (void)!kafka_judge(self->rk, self->log, message, &self->failure);
    }
}

/* True when something was taken, or failed. */
static bool lane_serve(struct kafka_lane *self, struct weir_intake *intake, size_t count)
{
    bool moved = false;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_message_t *message = self->messages[i];
        struct kafka_partition *item = lane_find(self, message);
        bool failed = self->failure.status != WEIR_OK;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR && item != NULL && !failed &&
            message->offset >= item->next) {
            lane_take(intake, item, message);
            moved = true;
            continue;
        }
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && !failed) {
            lane_event(self, intake, item, message);
        }
        rd_kafka_message_destroy(message);
    }
    pthread_mutex_unlock(&self->lock);
    return moved || self->failure.status != WEIR_OK;
}

weir_status kafka_lane_read(struct kafka_lane *self,
                            struct weir_intake *intake,
                            size_t max,
                            struct weir_err *err)
{
    bool moved = false;
    while (!moved) { /* nobody wakes the lane for what lies behind stale messages and events */
        ssize_t count = rd_kafka_consume_batch_queue(self->queue, 0, self->messages,
                                                     max < KAFKA_READ_MAX ? max : KAFKA_READ_MAX);
        if (count <= 0) {
            return WEIR_AGAIN;
        }
        moved = lane_serve(self, intake, (size_t)count);
    }
    if (self->failure.status != WEIR_OK) {
        *err = self->failure;
        self->failure = (struct weir_err){0};
        return err->status;
    }
    return WEIR_OK;
}
