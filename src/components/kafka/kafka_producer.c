/* SPDX-License-Identifier: Apache-2.0
 *
 * The shared producer. Without transactions a message is tried for ever (message.timeout.ms 0):
 * giving up would reorder what is repeated afterwards, while waiting is back-pressure. In a
 * transaction the time-out follows the transaction's.
 *
 * Reports of success are wanted in a transaction too, where nobody counts them: librdkafka's commit
 * looks only every 10 ms whether everything has arrived, unless a report wakes it.
 *
 * Its queue is short on purpose. Messages that wait there have left the cache when they are sent and
 * again when they are freed: a queue of 100,000 made small records cost half as much again, and each
 * commit wait for all of them. A batch is a part of that queue, or one that is full would wait for
 * the linger time.
 */
#include "kafka_producer.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

/* MESSAGE_BYTES: what a message counts for at least, small as it may be. */
enum { MESSAGE_BYTES = 2048, MESSAGES_MAX = 1000000, QUEUE_BATCHES = 6 };
enum { TOPIC_APPEARS_MS = 5000 };

int64_t kafka_producer_bytes(const struct weir_ctx *ctx)
{
    return ctx->in_flight_bytes * 2;
}

/* --- computed topics that do not exist ---------------------------------------------------------*/

static void note_missing(struct kafka_producer *self, const char *name)
{
    int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
    pthread_mutex_lock(&self->lock);
    struct kafka_missing *place = &self->missing[0];
    for (size_t i = 0; i < KAFKA_MISSING_MAX; i++) {
        struct kafka_missing *item = &self->missing[i];
        if (strcmp(item->name, name) == 0) {
            place = item;
            break;
        }
        place = item->until_ns < place->until_ns ? item : place;
    }
    snprintf(place->name, sizeof(place->name), "%s", name);
    place->until_ns = now_ns + (int64_t)KAFKA_MISSING_MS * 1000000;
    pthread_mutex_unlock(&self->lock);
}

bool kafka_producer_misses(struct kafka_producer *self, struct weir_slice topic)
{
    bool misses = false;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < KAFKA_MISSING_MAX && !misses; i++) {
        const struct kafka_missing *item = &self->missing[i];
        misses = item->until_ns != 0 && weir_slice_equal(weir_slice_of(item->name), topic) &&
                 weir_clock_monotonic_ns(self->ctx->clock) < item->until_ns;
    }
    pthread_mutex_unlock(&self->lock);
    return misses;
}

static bool is_constant_topic(const struct kafka_producer *self, const char *name)
{
    for (size_t i = 0; i < self->topic_count; i++) {
        if (strcmp(rd_kafka_topic_name(self->topics[i]), name) == 0) {
            return true;
        }
    }
    return false;
}

/* --- deliveries --------------------------------------------------------------------------------*/

static weir_status delivery_status(struct kafka_producer *self, const rd_kafka_message_t *message)
{
    bool is_missing = message->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
                      message->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (!is_missing || message->rkt == NULL ||
        is_constant_topic(self, rd_kafka_topic_name(message->rkt))) {
        return kafka_status(message->err);
    }
    /* The replay finds the topic noted and gives the record its own verdict. */
    note_missing(self, rd_kafka_topic_name(message->rkt));
    return WEIR_ABORTED;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    (void)rk;
    struct kafka_producer *self = opaque;
    struct kafka_deliveries *deliveries = message->_private;
    if (deliveries != NULL) {
        deliveries->done++;
    }
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR ||
        message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
        message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) {
        return; /* purged: by our own abort */
    }
    /* The first one counts, but every missing topic is noted. */
    (void)!weir_fail(&self->failure, delivery_status(self, message), "topic %s: %s",
                     message->rkt == NULL ? "?" : rd_kafka_topic_name(message->rkt),
                     rd_kafka_err2str(message->err));
    kafka_hint(&self->failure, message->err);
}

static weir_status producer_new_handle(struct kafka_producer *self, struct weir_err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(self->conf);
    self->rk = kafka_client_new(&self->client, RD_KAFKA_PRODUCER, conf, err);
    if (self->rk == NULL) {
        return err->status;
    }
    const uint64_t one = 1;
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(self->rk);
    struct weir_ctx *ctx = (struct weir_ctx *)(uintptr_t)self->ctx;
    rd_kafka_queue_io_event_enable(queue, weir_control_wake_fd(ctx), &one, sizeof(one));
    rd_kafka_queue_destroy(queue);
    return WEIR_OK;
}

static void producer_drop_handle(struct kafka_producer *self)
{
    if (self->rk == NULL) {
        return;
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(self->rk);
    rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
    rd_kafka_queue_destroy(queue);
    rd_kafka_purge(self->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(self->rk, 1000);
    for (size_t i = 0; i < self->topic_count; i++) {
        rd_kafka_topic_destroy(self->topics[i]);
    }
    self->topic_count = 0;
    rd_kafka_destroy(self->rk);
    self->rk = NULL;
}

weir_status kafka_producer_replace(struct kafka_producer *self, struct weir_err *err)
{
    producer_drop_handle(self);
    self->generation++;
    self->failure = (struct weir_err){0};
    return producer_new_handle(self, err);
}

weir_status kafka_producer_abandon(struct kafka_producer *self, struct weir_err *err)
{
    rd_kafka_set_log_level(self->rk, 0);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(self->rk);
    rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
    rd_kafka_queue_destroy(queue);
    rd_kafka_purge(self->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    for (size_t i = 0; i < self->topic_count; i++) {
        rd_kafka_topic_destroy(self->topics[i]);
    }
    self->topic_count = 0;
    self->rk = NULL;
    self->abandoned++;
    return kafka_producer_replace(self, err);
}

weir_status
kafka_producer_limit_batches(struct kafka_producer *self, size_t bytes, struct weir_err *err)
{
    char text[24], why[256];
    if (self->batch_limit != 0 && self->batch_limit <= bytes) {
        return WEIR_OK; /* another sink's topic takes even less */
    }
    self->batch_limit = bytes;
    snprintf(text, sizeof(text), "%zu", bytes);
    if (rd_kafka_conf_set(self->conf, "batch.size", text, why, sizeof(why)) != RD_KAFKA_CONF_OK) {
        return weir_fail(err, WEIR_CONFIG, "%s", why);
    }
    return kafka_producer_replace(self, err);
}

rd_kafka_topic_t *kafka_producer_topic(struct kafka_producer *self, const char *name)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(self->rk, name, NULL);
    self->topics = weir_realloc(self->topics, self->topic_count + 1, sizeof(rd_kafka_topic_t *));
    self->topics[self->topic_count++] = topic;
    return topic;
}

struct producer_wish {
    struct weir_ctx *ctx;
    const struct kafka_producer_settings *settings;
};

static void producer_destroy(void *object)
{
    struct kafka_producer *self = object;
    producer_drop_handle(self);
    if (self->conf != NULL) {
        rd_kafka_conf_destroy(self->conf);
    }
    weir_free(self->topics);
    weir_free(self->transactional_id);
    if (self->abandoned ==
        0) { /* else the object is some handle's opaque, for as long as that lives */
        pthread_mutex_destroy(&self->lock);
        weir_free(self);
    }
}

static char *producer_identity(struct weir_ctx *ctx)
{
    char id[300];
    if (ctx->instance != NULL) {
        snprintf(id, sizeof(id), "%s-%s", ctx->pipeline, ctx->instance);
    } else {
        uint64_t bits[2];
        weir_ctx_random(ctx, bits, sizeof(bits));
        snprintf(id, sizeof(id), "%s-%016llx%016llx", ctx->pipeline, (unsigned long long)bits[0],
                 (unsigned long long)bits[1]);
    }
    return weir_strdup(id);
}

static void *producer_create(void *argument, struct weir_err *err)
{
    const struct producer_wish *wish = argument;
    const struct kafka_producer_settings *settings = wish->settings;
    struct weir_ctx *ctx = wish->ctx;
    struct kafka_producer *self = weir_calloc(1, sizeof(*self));
    self->client.log = ctx->log;
    self->ctx = ctx;
    pthread_mutex_init(&self->lock, NULL);
    char linger[24], batch[24], batched[24], queued[24], messages[24], timeout[24], propagation[24];
    snprintf(linger, sizeof(linger), "%lld", (long long)settings->linger_ms);
    snprintf(batch, sizeof(batch), "%lld", (long long)settings->batch_bytes);
    snprintf(queued, sizeof(queued), "%lld", (long long)(kafka_producer_bytes(ctx) / 1024));
    long long message_count = kafka_producer_bytes(ctx) / MESSAGE_BYTES * ctx->lanes;
    message_count = message_count < MESSAGES_MAX ? message_count : MESSAGES_MAX;
    snprintf(messages, sizeof(messages), "%lld", message_count);
    snprintf(batched, sizeof(batched), "%lld", message_count / QUEUE_BATCHES);
    snprintf(timeout, sizeof(timeout), "%lld", (long long)ctx->transaction_timeout_ms);
    snprintf(propagation, sizeof(propagation), "%lld",
             (long long)(ctx->transaction_timeout_ms < 10000 ? ctx->transaction_timeout_ms / 2
                                                             : TOPIC_APPEARS_MS));
    if (ctx->transactional) {
        self->transactional_id = producer_identity(ctx);
    }
    const char *const rows[] = {
        "enable.idempotence",
        "true",
        "acks",
        "all",
        "linger.ms",
        linger,
        "batch.size",
        batch,
        "batch.num.messages",
        batched,
        "message.max.bytes",
        "67108864",
        "compression.codec",
        settings->compression,
        "partitioner",
        settings->partitioner,
        "queue.buffering.max.kbytes",
        queued,
        "queue.buffering.max.messages",
        messages,
        /* Before messages to a topic that does not exist time out, which says nothing of them. */
        "topic.metadata.propagation.max.ms",
        propagation,
        "message.timeout.ms",
        ctx->transactional ? timeout : "0",
        /* From here on only in transactions. */
        ctx->transactional ? "transaction.timeout.ms" : NULL,
        timeout,
        "socket.timeout.ms",
        timeout,
        "transactional.id",
        self->transactional_id,
        NULL,
    };
    self->conf = kafka_conf_new(settings->connection, &self->client, rows, err);
    if (self->conf == NULL) {
        producer_destroy(self);
        return NULL;
    }
    rd_kafka_conf_set_dr_msg_cb(self->conf, on_delivery);
    if (producer_new_handle(self, err) != WEIR_OK) {
        producer_destroy(self);
        return NULL;
    }
    return self;
}

struct kafka_producer *kafka_producer_get(struct weir_ctx *ctx,
                                          const struct kafka_producer_settings *settings,
                                          struct weir_err *err)
{
    struct weir_strbuf key;
    weir_strbuf_init(&key, 1 << 20);
    if (kafka_domain_name(settings->connection, false, &key, err) != WEIR_OK) {
        weir_strbuf_done(&key);
        return NULL;
    }
    weir_strbuf_printf(&key, "|%s|%s|%lld|%lld|%d", settings->compression, settings->partitioner,
                       (long long)settings->linger_ms, (long long)settings->batch_bytes,
                       ctx->transactional);
    const struct weir_map *properties = &settings->connection->properties;
    for (size_t i = 0; i < properties->count; i++) {
        weir_strbuf_printf(&key, "|%s=%s", properties->items[i].key, properties->items[i].value);
    }
    struct producer_wish wish = {ctx, settings};
    struct kafka_producer *self =
        weir_ctx_share(ctx, key.data, producer_create, &wish, producer_destroy, err);
    weir_strbuf_done(&key);
    return self;
}

weir_status kafka_producer_poll(struct kafka_producer *self, struct weir_err *err)
{
    rd_kafka_poll(self->rk, 0);
    kafka_client_tend(&self->client, self->rk);
    char text[256];
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(self->rk, text, sizeof(text));
    if (fatal != RD_KAFKA_RESP_ERR_NO_ERROR && self->failure.status == WEIR_OK) {
        /* It takes nothing any more; the abort replaces it. A fence shows in the transaction. */
        (void)!weir_fail(&self->failure, WEIR_UNAVAILABLE, "the producer gave up: %s", text);
    }
    if (self->failure.status == WEIR_OK) {
        return kafka_client_refused(&self->client, self->rk, err);
    }
    *err = self->failure;
    return err->status;
}

void kafka_producer_forget_failure(struct kafka_producer *self)
{
    self->failure = (struct weir_err){0};
}
