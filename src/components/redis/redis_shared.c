/* SPDX-License-Identifier: Apache-2.0
 *
 * The shared mode of the Redis source: a consumer group shared with others (XREADGROUP, XACK,
 * XAUTOCLAIM). Which consumer gets an entry is the server's choice, so there is no order between
 * processes, and the partition of a lane is this consumer's own sequence of deliveries, numbered
 * from 0 at each start.
 *
 * A reader thread fills a window of batches, one read ahead of the lane. An entry stays in the
 * window until its position is committed; committing acknowledges it, an abort reads it from the
 * window again. What the server has delivered to this consumer and is not in the window (after a
 * restart, or when an answer got lost) is asked for first, whenever a connection is made.
 *
 *     acknowledged │ first … delivered to the lane │ next … read ahead │
 *
 * The window holds the server's answers as they came: records point into them.
 */
#include "redis_chunk.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/wake.h"
#include "redis_reader.h"

enum { BLOCK_MS = 500, GAUGE_MS = 1000 };
enum { CLAIM_IDLE_MS = 30000, CLAIM_COUNT = 100, ACK_COUNT = 1000 };

struct redis_shared {
    const struct redis_source_config *config;
    struct weir_ctx *ctx;
    struct weir_partition *part;
    char group[REDIS_NAME_MAX + 1], consumer[REDIS_NAME_MAX + 1];
    bool is_nameless; /* the consumer's name is of this start only */
    struct redis_reader reader;
    redisContext *acks; /* control */
    int64_t gauged_ns;  /* control */
    int64_t next;       /* lane, or paused: what is delivered next */

    /* The reader's lock. */
    struct weir_window window;
    int64_t acked; /* entries before it are acknowledged */
    bool asking;   /* an answer under way may name entries that are acknowledged meanwhile */
};

static int64_t claim_idle_ms(const struct redis_source_config *config)
{
    return config->claim_idle > 0 ? config->claim_idle : CLAIM_IDLE_MS;
}

/* --- the window; under the lock ----------------------------------------------------------------*/

static bool window_has(const struct redis_shared *self, const redisReply *id)
{
    for (const struct weir_chunk *chunk = self->window.first; chunk != NULL; chunk = chunk->next) {
        const struct redis_entry *entries = ((const struct redis_chunk *)chunk)->entries;
        for (size_t i = 0; i < chunk->count; i++) {
            const redisReply *other = entries[i].id;
            if (other->len == id->len && memcmp(other->str, id->str, id->len) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Entries that are acknowledged leave the window, but not while an answer may still name them: they
 * would be taken for new ones. */
static void window_trim(struct redis_shared *self)
{
    if (!self->asking) {
        weir_window_cut(&self->window, self->acked);
    }
    pthread_cond_signal(&self->reader.room);
}

/* --- the thread --------------------------------------------------------------------------------*/

/* Around a question about pending entries, until its answer is in the window. */
static void thread_set_asking(struct redis_shared *self, bool asking)
{
    pthread_mutex_lock(&self->reader.lock);
    self->asking = asking;
    window_trim(self);
    pthread_mutex_unlock(&self->reader.lock);
}

/* Entries of the reply that was got last. With `known`, those that are in the window already are
 * left out. */
static size_t
thread_push(struct redis_shared *self, const redisReply *list, bool known, size_t *ret_lost)
{
    struct redis_chunk *chunk = redis_chunk_new(self->reader.answers.filling, list->elements);
    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *item = list->element[i];
        if (!redis_reply_is_entry(item)) {
            *ret_lost += 1; /* delivered once, deleted since */
            continue;
        }
        bool is_new = true;
        if (known) {
            pthread_mutex_lock(&self->reader.lock);
            is_new = !window_has(self, item->element[0]);
            pthread_mutex_unlock(&self->reader.lock);
        }
        if (is_new) {
            redis_chunk_add(self->config, chunk, item);
        }
    }
    redis_chunk_finish(self->config, chunk);
    size_t count = chunk->base.count;
    if (count == 0) {
        weir_chunk_unref(&chunk->base);
        return 0;
    }
    pthread_mutex_lock(&self->reader.lock);
    weir_window_push(&self->window, &chunk->base);
    pthread_mutex_unlock(&self->reader.lock);
    weir_wake(weir_lane_wake_fd(self->ctx, self->part->lane));
    return count;
}

static weir_status thread_lost(struct redis_shared *self, size_t lost, struct weir_err *err)
{
    if (lost == 0) {
        return WEIR_OK;
    }
    if (self->config->on_data_loss == REDIS_LOSS_SKIP) {
        WEIR_LOG_WARN(self->ctx->log, "entries were deleted before they were acknowledged",
                      WEIR_F("stream", self->config->stream), WEIR_F("entries", lost));
        return WEIR_OK;
    }
    weir_status status = weir_fail(
        err, WEIR_DATA_LOSS, "stream %s: %zu entries were deleted before they were acknowledged",
        self->config->stream, lost);
    weir_err_hint(err, "Trim the stream less, or write `on_data_loss: skip`.");
    return status;
}

static weir_status thread_make_group(struct redis_shared *self,
                                     redisContext *context,
                                     const char *start,
                                     struct weir_err *err)
{
    redisReply *reply = redisCommand(context, "XGROUP CREATE %s %s %s MKSTREAM",
                                     self->config->stream, self->group, start);
    weir_status status = WEIR_OK;
    if (reply == NULL ||
        (reply->type == REDIS_REPLY_ERROR && !redis_reply_is(reply, "BUSYGROUP"))) {
        status = redis_fail(err, self->config->stream, context, reply);
        err->status = status = status == WEIR_REJECTED ? WEIR_FATAL : status;
    }
    return status;
}

/* Waits until the window has room. False: to end. */
static bool thread_wait_room(struct redis_shared *self)
{
    pthread_mutex_lock(&self->reader.lock);
    while (!self->reader.stopping && self->window.first != NULL &&
           self->window.bytes > (size_t)self->ctx->in_flight_bytes) {
        pthread_cond_wait(&self->reader.room, &self->reader.lock);
    }
    bool go_on = !self->reader.stopping;
    pthread_mutex_unlock(&self->reader.lock);
    return go_on;
}

/* A failed question: a group that is gone is made again, anything else is the caller's. */
static weir_status thread_mend(struct redis_shared *self,
                               redisContext *context,
                               const redisReply *reply,
                               struct weir_err *err)
{
    if (redis_reply_is(reply, "NOGROUP")) {
        /* What was added meanwhile must not be missed, whatever `start` says. */
        WEIR_LOG_WARN(self->ctx->log, "the group was gone and is made again",
                      WEIR_F("stream", self->config->stream));
        return thread_make_group(self, context, "0", err);
    }
    weir_status status = redis_fail(err, self->config->stream, context, reply);
    return err->status = status == WEIR_REJECTED ? WEIR_FATAL : status;
}

/* Entries of this consumer that the window does not have. */
static weir_status
thread_read_own(struct redis_shared *self, redisContext *context, struct weir_err *err)
{
    char from[64] = "0";
    weir_status status = WEIR_OK;
    while (status == WEIR_OK && thread_wait_room(self)) {
        thread_set_asking(self, true);
        redisReply *reply = redisCommand(
            context, "XREADGROUP GROUP %s %s COUNT %lld STREAMS %s %s", self->group, self->consumer,
            (long long)self->config->count, self->config->stream, from);
        if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
            thread_set_asking(self, false);
            status = thread_mend(self, context, reply, err);
            redis_reader_drop(&self->reader);
            continue;
        }
        const redisReply *list = reply->elements == 1 ? reply->element[0]->element[1] : NULL;
        if (list == NULL || list->elements == 0) {
            thread_set_asking(self, false);
            redis_reader_drop(&self->reader);
            break;
        }
        snprintf(from, sizeof(from), "%s", list->element[list->elements - 1]->element[0]->str);
        size_t lost = 0;
        for (size_t i = 0; i < list->elements; i++) {
            const redisReply *item = list->element[i];
            if (!redis_reply_is_list(item->element[1])) { /* nothing but its id is left */
                (void)redisCommand(context, "XACK %s %s %s", self->config->stream, self->group,
                                   item->element[0]->str);
            }
        }
        (void)thread_push(self, list, true, &lost);
        thread_set_asking(self, false);
        redis_reader_drop(&self->reader);
        status = thread_lost(self, lost, err);
    }
    return status;
}

/* Takes over what others have left lying. Redis 7 names deleted entries apart, 6.2 answers nil. */
static weir_status
thread_claim(struct redis_shared *self, redisContext *context, struct weir_err *err)
{
    char cursor[64] = "0-0";
    weir_status status = WEIR_OK;
    do {
        thread_set_asking(self, true);
        redisReply *reply = redisCommand(
            context, "XAUTOCLAIM %s %s %s %lld %s COUNT %d", self->config->stream, self->group,
            self->consumer, (long long)claim_idle_ms(self->config), cursor, CLAIM_COUNT);
        if (!redis_reply_is_list(reply) || reply->elements < 2) {
            thread_set_asking(self, false);
            status = thread_mend(self, context, reply, err);
            redis_reader_drop(&self->reader);
            break;
        }
        snprintf(cursor, sizeof(cursor), "%s", reply->element[0]->str);
        size_t lost = reply->elements > 2 ? reply->element[2]->elements : 0;
        size_t count = thread_push(self, reply->element[1], true, &lost);
        thread_set_asking(self, false);
        redis_reader_drop(&self->reader);
        if (count > 0) {
            WEIR_LOG_INFO(self->ctx->log, "entries of other consumers taken over",
                          WEIR_F("stream", self->config->stream), WEIR_F("entries", count));
        }
        status = thread_lost(self, lost, err);
    } while (status == WEIR_OK && strcmp(cursor, "0-0") != 0 && thread_wait_room(self));
    return status;
}

static weir_status
thread_read(struct redis_shared *self, redisContext *context, struct weir_err *err)
{
    redisReply *reply = redisCommand(
        context, "XREADGROUP GROUP %s %s COUNT %lld BLOCK %d STREAMS %s >", self->group,
        self->consumer, (long long)self->config->count, BLOCK_MS, self->config->stream);
    weir_status status = WEIR_OK;
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        status = thread_mend(self, context, reply, err);
    } else if (redis_reply_is_list(reply) && reply->elements == 1) {
        size_t lost = 0;
        (void)thread_push(self, reply->element[0]->element[1], false, &lost);
    }
    redis_reader_drop(&self->reader);
    return status;
}

static weir_status thread_serve(void *instance, redisContext *context, struct weir_err *err)
{
    struct redis_shared *self = instance;
    char start[REDIS_ID_MAX];
    redis_start_id(&self->config->start, start);
    weir_status status = thread_make_group(self, context, start, err);
    redis_reader_drop(&self->reader);
    if (status == WEIR_OK) {
        status = thread_read_own(self, context, err);
    }
    int64_t claimed_ns = 0;
    while (status == WEIR_OK && thread_wait_room(self)) {
        int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
        if (now_ns - claimed_ns >= claim_idle_ms(self->config) * 500000) { /* half of it */
            claimed_ns = now_ns;
            status = thread_claim(self, context, err);
        }
        if (status == WEIR_OK) {
            status = thread_read(self, context, err);
        }
    }
    return status;
}

/* --- opening; control --------------------------------------------------------------------------*/

static weir_status
shared_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)err;
    struct redis_shared *self = instance;
    self->config = config;
    self->ctx = ctx;
    snprintf(self->group, sizeof(self->group), "%s",
             self->config->group != NULL ? self->config->group : ctx->pipeline);
    const char *name = self->config->consumer != NULL ? self->config->consumer : ctx->instance;
    self->is_nameless = name == NULL;
    if (name != NULL) {
        snprintf(self->consumer, sizeof(self->consumer), "%s", name);
    } else {
        uint64_t nonce;
        weir_ctx_random(ctx, &nonce, sizeof(nonce));
        snprintf(self->consumer, sizeof(self->consumer), "weir-%016llx", (unsigned long long)nonce);
    }
    self->reader = (struct redis_reader){
        .ctx = ctx,
        .connection = &self->config->connection,
        .key = self->config->stream,
        .source = self,
        .serve = thread_serve,
    };
    redis_reader_init(&self->reader);
    return WEIR_OK;
}

static void shared_close(void *instance)
{
    struct redis_shared *self = instance;
    weir_window_cut(&self->window, INT64_MAX);
    if (self->acks != NULL) {
        redisFree(self->acks);
    }
    redis_reader_done(&self->reader);
}

static weir_status shared_start(void *instance, struct weir_err *err)
{
    struct redis_shared *self = instance;
    const struct weir_assignment item = {.topic = self->config->stream, .source_data = self};
    weir_source_assign(self->ctx, &item, 1, &self->part);
    return redis_reader_start(&self->reader, err);
}

static weir_status source_connect_acks(struct redis_shared *self, struct weir_err *err)
{
    if (self->acks != NULL && self->acks->err != 0) {
        redisFree(self->acks);
        self->acks = NULL;
    }
    if (self->acks == NULL) {
        self->acks = redis_connect(&self->config->connection, self->config->stream,
                                   REDIS_ANSWER_MS, err);
    }
    return self->acks != NULL ? WEIR_OK : err->status;
}

/* A consumer of this start only leaves nothing behind, unless something is pending: then it stays,
 * for others to claim from. One script, or an entry could come between question and removal. */
static void source_remove_consumer(struct redis_shared *self)
{
    static const char script[] =
        "local p = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])\n"
        "if #p == 0 then\n"
        "  return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])\n"
        "end\n"
        "return 0";
    struct weir_err ignored = {0};
    if (self->is_nameless && source_connect_acks(self, &ignored) == WEIR_OK) {
        freeReplyObject(redisCommand(self->acks, "EVAL %s 1 %s %s %s", script, self->config->stream,
                                     self->group, self->consumer));
    }
}

static void shared_stop(void *instance)
{
    struct redis_shared *self = instance;
    redis_reader_stop(&self->reader);
    if (self->part != NULL) {
        weir_source_revoke(self->ctx, &self->part, 1, false);
        self->part = NULL;
        source_remove_consumer(self);
    }
}

/* --- reading; lane -----------------------------------------------------------------------------*/

static struct weir_chunk *window_look(struct redis_shared *self)
{
    pthread_mutex_lock(&self->reader.lock);
    struct weir_chunk *chunk = weir_window_at(&self->window, self->next);
    pthread_mutex_unlock(&self->reader.lock);
    return chunk;
}

static weir_status shared_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    (void)err;
    struct redis_shared *self = instance;
    if (self->part == NULL || self->part->lane != lane) {
        return WEIR_AGAIN;
    }
    size_t count = 0, got = 1;
    struct weir_chunk *chunk = NULL;
    while (count < max && got > 0 && (chunk = window_look(self)) != NULL) {
        got = redis_chunk_deliver(chunk, intake, self->part, &self->next, max - count);
        count += got;
        weir_chunk_unref(chunk);
    }
    pthread_mutex_lock(&self->reader.lock);
    bool is_short =
        weir_window_is_short(&self->window, (size_t)self->ctx->in_flight_bytes, self->next);
    pthread_mutex_unlock(&self->reader.lock);
    if (is_short) {
        weir_ctx_close_epoch(self->ctx);
    }
    return count > 0 ? WEIR_OK : WEIR_AGAIN;
}

/* --- positions; control ------------------------------------------------------------------------*/

static weir_status
shared_seek(void *instance, struct weir_partition *const *items, size_t count, struct weir_err *err)
{
    (void)err;
    struct redis_shared *self = instance;
    WEIR_ASSERT(count == 1);
    self->next = items[0]->read;
    return WEIR_OK;
}

/* Appends XACKs of the entries in [from, to), a bounded number in each. */
static size_t put_acks(struct redis_shared *self, int64_t from, int64_t to, struct weir_strbuf *out)
{
    size_t commands = 0;
    pthread_mutex_lock(&self->reader.lock);
    for (const struct weir_chunk *chunk = self->window.first; chunk != NULL && chunk->start < to;
         chunk = chunk->next) {
        const struct redis_entry *entries = ((const struct redis_chunk *)chunk)->entries;
        int64_t end = weir_chunk_end(chunk);
        int64_t at = from > chunk->start ? from : chunk->start;
        int64_t stop = to < end ? to : end;
        while (at < stop) {
            int64_t part = stop - at < ACK_COUNT ? stop - at : ACK_COUNT;
            redis_put_head(out, 3 + (size_t)part);
            redis_put(out, WEIR_SLICE("XACK"));
            redis_put(out, weir_slice_of(self->config->stream));
            redis_put(out, weir_slice_of(self->group));
            for (int64_t i = 0; i < part; i++, at++) {
                redis_put(out, redis_reply_slice(entries[at - chunk->start].id));
            }
            commands++;
        }
    }
    pthread_mutex_unlock(&self->reader.lock);
    return commands;
}

/* Acknowledging what is acknowledged already is harmless, so a broken connection costs a repeat. */
static weir_status shared_commit(void *instance,
                                 struct weir_partition *const *items,
                                 size_t count,
                                 struct weir_err *err)
{
    struct redis_shared *self = instance;
    WEIR_ASSERT(count == 1);
    weir_status status = source_connect_acks(self, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_strbuf out;
    weir_strbuf_init(&out, SIZE_MAX / 2);
    size_t commands = put_acks(self, items[0]->committed, items[0]->closing, &out);
    WEIR_ASSERT(!out.failed);
    if (commands > 0 && redisAppendFormattedCommand(self->acks, out.data, out.size) != REDIS_OK) {
        status = redis_fail(err, self->config->stream, self->acks, NULL);
    }
    weir_strbuf_done(&out);
    for (size_t i = 0; i < commands && status == WEIR_OK; i++) {
        void *reply = NULL;
        if (redisGetReply(self->acks, &reply) != REDIS_OK ||
            ((redisReply *)reply)->type == REDIS_REPLY_ERROR) {
            status = redis_fail(err, self->config->stream, self->acks, reply);
        }
        freeReplyObject(reply);
    }
    if (status != WEIR_OK) { /* answers may be left in it */
        redisFree(self->acks);
        self->acks = NULL;
        return err->status = status == WEIR_REJECTED ? WEIR_FATAL : status;
    }
    pthread_mutex_lock(&self->reader.lock);
    self->acked = items[0]->closing;
    window_trim(self);
    pthread_mutex_unlock(&self->reader.lock);
    return WEIR_OK;
}

/* What is still to come: `lag` of the group, nil when the server cannot tell. */
static void source_gauge(struct redis_shared *self)
{
    redisReply *reply = redisCommand(self->acks, "XINFO GROUPS %s", self->config->stream);
    int64_t lag = -1;
    for (size_t i = 0; redis_reply_is_list(reply) && i < reply->elements; i++) {
        const redisReply *row = reply->element[i];
        bool is_ours = false;
        for (size_t k = 0; redis_reply_is_list(row) && k + 1 < row->elements; k += 2) {
            const redisReply *value = row->element[k + 1];
            if (strcmp(row->element[k]->str, "name") == 0) {
                is_ours = weir_slice_equal(redis_reply_slice(value), weir_slice_of(self->group));
            } else if (is_ours && strcmp(row->element[k]->str, "lag") == 0 &&
                       value->type == REDIS_REPLY_INTEGER) {
                lag = value->integer;
            }
        }
    }
    freeReplyObject(reply);
    pthread_mutex_lock(&self->reader.lock);
    int64_t filled = self->window.filled;
    pthread_mutex_unlock(&self->reader.lock);
    atomic_store_explicit(&self->part->end, lag < 0 ? -1 : filled + lag, memory_order_relaxed);
}

static weir_status shared_poll(void *instance, struct weir_err *err)
{
    struct redis_shared *self = instance;
    weir_status status = redis_reader_failed(&self->reader, err);
    int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
    if (status == WEIR_OK && self->acks != NULL && self->acks->err == 0 && self->part != NULL &&
        now_ns - self->gauged_ns >= (int64_t)GAUGE_MS * 1000000) {
        self->gauged_ns = now_ns;
        source_gauge(self);
    }
    return status;
}

const struct weir_mode redis_shared_mode = {
    .self_size = sizeof(struct redis_shared),
    .open = shared_open,
    .close = shared_close,
    .ops =
        {
            .start = shared_start,
            .poll = shared_poll,
            .read = shared_read,
            .seek = shared_seek,
            .commit = shared_commit,
            .stop = shared_stop,
        },
};
