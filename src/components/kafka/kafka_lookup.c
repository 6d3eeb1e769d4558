/* SPDX-License-Identifier: Apache-2.0
 *
 * A broker that is slow or gone must not hold control, which commits what other partitions have
 * done; so the assignment is accepted without its partitions, and each is taken when its position
 * is known. librdkafka would pause all others while an assignment waits for its answer. One whose
 * next record is gone is given back, and comes in the same way.
 *
 * A partition that leaves while it is asked about may be read by another member and come back: what
 * was asked before that counts no more, and all of it is asked for again.
 */
#include "kafka_lookup.h"

#include "base/assert.h"
#include "base/wake.h"
#include "kafka_exchange.h"
#include "kafka_question.h"

/* Of one question; then it is asked again. */
enum { ANSWER_MS = 5000 };

/* --- asking; the thread ------------------------------------------------------------------------*/

/* -1: *ret_code says why. */
static int64_t start_offset(struct kafka_lookup *self,
                            const rd_kafka_topic_partition_t *item,
                            rd_kafka_resp_err_t *ret_code)
{
    const struct weir_moment *start = &self->config->start;
    if (start->word == 0) {
        rd_kafka_topic_partition_list_t *times = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(times, item->topic, item->partition)->offset =
            start->time_ms;
        *ret_code = rd_kafka_offsets_for_times(self->rk, times, ANSWER_MS);
        int64_t offset = times->elems[0].offset;
        rd_kafka_topic_partition_list_destroy(times);
        if (*ret_code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return -1;
        }
        if (offset >= 0) {
            return offset;
        }
    }
    int64_t low = -1, high = -1;
    *ret_code = rd_kafka_query_watermark_offsets(self->rk, item->topic, item->partition, &low,
                                                 &high, ANSWER_MS);
    if (*ret_code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return -1;
    }
    return start->word == KAFKA_START_EARLIEST ? low : high;
}

/* WEIR_AGAIN: nobody answers, err says so. */
static weir_status
lookup_fail(struct kafka_lookup *self, rd_kafka_resp_err_t code, const char *what)
{
    return weir_fail(&self->err, kafka_is_passing(code) ? WEIR_AGAIN : kafka_status(code), "%s: %s",
                     what, rd_kafka_err2str(code));
}

/* Of a partition whose record at `next` was deleted before it was read: the oldest there is. */
static weir_status
resolve_lost(struct kafka_lookup *self, rd_kafka_topic_partition_t *item, int64_t next)
{
    int64_t low = -1, high = -1;
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
        self->rk, item->topic, item->partition, &low, &high, ANSWER_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return weir_fail(&self->err, WEIR_AGAIN, "cannot find out which records are gone: %s",
                         rd_kafka_err2str(code));
    }
    if (self->config->on_data_loss == KAFKA_LOSS_EARLIEST) {
        item->offset = low;
        item->opaque = self;
        return WEIR_OK;
    }
    if (low > next) {
        (void)!weir_fail(&self->err, WEIR_DATA_LOSS,
                         "%s, partition %d: %lld records from offset %lld on were deleted before "
                         "they were read",
                         item->topic, item->partition, (long long)(low - next), (long long)next);
    } else {
        (void)!weir_fail(&self->err, WEIR_DATA_LOSS,
                         "%s, partition %d: offset %lld does not exist (the topic has %lld to "
                         "%lld); was the topic deleted and created again?",
                         item->topic, item->partition, (long long)next, (long long)low,
                         (long long)high);
    }
    weir_err_hint(&self->err, KAFKA_LOSS_REMEDY);
    return WEIR_DATA_LOSS;
}

static void lookup_forget_found(struct kafka_lookup *self)
{
    if (self->found != NULL) {
        rd_kafka_topic_partition_list_destroy(self->found);
        self->found = NULL;
    }
}

/* Fills every offset with a number: the committed one, or where `start` points. */
static weir_status resolve_offsets(struct kafka_lookup *self)
{
    lookup_forget_found(self); /* of the last try */
    self->found = rd_kafka_topic_partition_list_copy(self->asked);
    rd_kafka_resp_err_t code = kafka_committed(self->rk, self->found, kafka_now_ms() + ANSWER_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return lookup_fail(self, code, "cannot read the committed positions");
    }
    for (int i = 0; i < self->found->cnt; i++) {
        rd_kafka_topic_partition_t *item = &self->found->elems[i];
        int64_t next = self->asked->elems[i].offset;
        if (next >= 0) {
            if (resolve_lost(self, item, next) != WEIR_OK) {
                return self->err.status;
            }
        } else if (item->offset < 0 && (item->offset = start_offset(self, item, &code)) < 0) {
            return lookup_fail(self, code, "cannot find out where a partition begins");
        }
        if (atomic_load_explicit(&self->stop, memory_order_relaxed)) {
            return weir_fail(&self->err, WEIR_AGAIN, "the source ends");
        }
    }
    return WEIR_OK;
}

/* State belongs to a partition of the one topic that is read. */
static weir_status describe_topics(struct kafka_lookup *self)
{
    if (self->ctx->keeps_state && !self->ctx->feeds_exchange) {
        weir_status status = kafka_topic_await(self->rk, self->asked->elems[0].topic, ANSWER_MS,
                                               &self->partition_count, &self->topic_id, &self->err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return kafka_exchange_count(self->rk, self->ctx, self->config, ANSWER_MS, &self->total,
                                &self->err);
}

static void *lookup_main(void *argument)
{
    struct kafka_lookup *self = argument;
    const int64_t until_ms = kafka_now_ms() + ANSWER_MS;
    do {
        self->err = (struct weir_err){0};
    } while ((resolve_offsets(self) != WEIR_OK || describe_topics(self) != WEIR_OK) &&
             self->err.status == WEIR_AGAIN &&
             !atomic_load_explicit(&self->stop, memory_order_relaxed) &&
             kafka_ask_again(RD_KAFKA_RESP_ERR__TIMED_OUT, until_ms));
    atomic_store_explicit(&self->done, true, memory_order_release);
    weir_wake(weir_control_wake_fd(self->ctx));
    return NULL;
}

/* --- control -----------------------------------------------------------------------------------*/

static void lookup_begin(struct kafka_lookup *self)
{
    self->asked = rd_kafka_topic_partition_list_copy(self->wanted);
    self->outdated = false;
    atomic_store_explicit(&self->done, false, memory_order_relaxed);
    int code = pthread_create(&self->thread, NULL, lookup_main, self);
    WEIR_ASSERT(code == 0);
    self->running = true;
}

static void lookup_end(struct kafka_lookup *self)
{
    pthread_join(self->thread, NULL);
    self->running = false;
}

static void lookup_forget(struct kafka_lookup *self)
{
    rd_kafka_topic_partition_list_destroy(self->asked);
    self->asked = NULL;
    lookup_forget_found(self);
}

static rd_kafka_topic_partition_list_t *lookup_hand_over(struct kafka_lookup *self)
{
    for (int i = 0; i < self->asked->cnt; i++) {
        const rd_kafka_topic_partition_t *item = &self->asked->elems[i];
        if (item->offset >= 0) {
            int64_t low = self->found->elems[i].offset;
            WEIR_LOG_ERROR(self->ctx->log,
                           "records were deleted before they were read; going on with the oldest",
                           WEIR_F("topic", (const char *)item->topic),
                           WEIR_F("partition", item->partition), WEIR_F("offset", item->offset),
                           WEIR_F("oldest", low),
                           WEIR_F("lost", low > item->offset ? low - item->offset : -1));
        }
    }
    rd_kafka_topic_partition_list_t *list = self->found;
    self->found = NULL;
    return list;
}

void kafka_lookup_init(struct kafka_lookup *self,
                       rd_kafka_t *rk,
                       struct weir_ctx *ctx,
                       const struct kafka_source_config *config)
{
    self->rk = rk;
    self->ctx = ctx;
    self->config = config;
    self->wanted = rd_kafka_topic_partition_list_new(16);
    atomic_init(&self->stop, false);
    atomic_init(&self->done, false);
}

void kafka_lookup_done(struct kafka_lookup *self)
{
    if (self->wanted == NULL) {
        return;
    }
    atomic_store_explicit(&self->stop, true, memory_order_relaxed);
    if (self->running) {
        lookup_end(self);
        lookup_forget(self);
    }
    rd_kafka_topic_partition_list_destroy(self->wanted);
    self->wanted = NULL;
}

void kafka_lookup_add(struct kafka_lookup *self,
                      const rd_kafka_topic_partition_list_t *list,
                      bool lost)
{
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_list_add(self->wanted, list->elems[i].topic,
                                          list->elems[i].partition)
            ->offset = lost ? list->elems[i].offset : RD_KAFKA_OFFSET_INVALID;
    }
}

bool kafka_lookup_remove(struct kafka_lookup *self, const char *topic, int32_t index)
{
    if (self->wanted == NULL ||
        rd_kafka_topic_partition_list_del(self->wanted, topic, index) == 0) {
        return false;
    }
    self->outdated = true;
    return true;
}

weir_status kafka_lookup_take(struct kafka_lookup *self,
                              rd_kafka_topic_partition_list_t **ret_list,
                              struct weir_err *err)
{
    *ret_list = NULL;
    if (self->running && atomic_load_explicit(&self->done, memory_order_acquire)) {
        lookup_end(self);
        bool settled = self->err.status != WEIR_AGAIN && !self->outdated;
        for (int i = 0; i < self->asked->cnt && settled; i++) {
            rd_kafka_topic_partition_list_del(self->wanted, self->asked->elems[i].topic,
                                              self->asked->elems[i].partition);
        }
        if (settled && self->err.status == WEIR_OK) {
            *ret_list = lookup_hand_over(self);
        }
        lookup_forget(self);
        if (self->err.status == WEIR_AGAIN) {
            WEIR_LOG_WARN(self->ctx->log, "partitions wait for their positions",
                          WEIR_F("detail", (const char *)self->err.message));
        } else if (settled && self->err.status != WEIR_OK) {
            *err = self->err;
            return err->status;
        }
    }
    bool is_free = !self->running && *ret_list == NULL; /* what was found is the caller's to read */
    if (is_free && self->wanted != NULL && self->wanted->cnt > 0) {
        lookup_begin(self);
    }
    return WEIR_OK;
}
