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
 * restart, or when an answer got lost) is asked for first, whenever a connection is made. While an
 * entry is in the window the server is told again and again that it is under way, so that what
 * others take over, and what counts as a failed try, is only what a process that died has left.
 *
 *     acknowledged │ first … delivered to the lane │ next … read ahead │
 *
 * The window holds the server's answers as they came: records point into them.
 */
#include "redis_shared.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"

enum { GAUGE_MS = 1000, ACK_COUNT = 1000 };

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
        .serve = redis_shared_serve,
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
        self->acks =
            redis_connect(&self->config->connection, self->config->stream, REDIS_ANSWER_MS, err);
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
    bool comes_again = self->config->max_deliveries > 0 && self->next <= self->again_end;
    pthread_mutex_unlock(&self->reader.lock);
    if (is_short || (comes_again && count > 0)) {
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
    /* What is acknowledged is done with, also if another source failed to commit. */
    self->next = items[0]->read > self->acked ? items[0]->read : self->acked;
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

/* Acknowledges the entries in [from, to) and waits for the answers. */
static weir_status
send_acks(struct redis_shared *self, int64_t from, int64_t to, struct weir_err *err)
{
    struct weir_strbuf out;
    weir_strbuf_init(&out, SIZE_MAX / 2);
    weir_status status = WEIR_OK;
    size_t commands = put_acks(self, from, to, &out);
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
    return status;
}

/* Acknowledging what is acknowledged already is harmless, so a broken connection costs a repeat. A
 * whole epoch at once would keep the server from everything else meanwhile. */
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
    const int64_t closing = items[0]->closing;
    for (int64_t from = items[0]->committed; from < closing && status == WEIR_OK;) {
        int64_t to = closing - from < ACK_COUNT ? closing : from + ACK_COUNT;
        status = send_acks(self, from, to, err);
        from = to;
    }
    if (status != WEIR_OK) { /* answers may be left in it */
        redisFree(self->acks);
        self->acks = NULL;
        return err->status = status == WEIR_REJECTED ? WEIR_FATAL : status;
    }
    pthread_mutex_lock(&self->reader.lock);
    /* The engine's position is behind after an epoch in which another source failed to commit. */
    self->acked = closing > self->acked ? closing : self->acked;
    redis_shared_trim(self);
    pthread_mutex_unlock(&self->reader.lock);
    return WEIR_OK;
}

/* What is still to come: `lag` of the group, nil when the server cannot tell. */
static void source_gauge(struct redis_shared *self)
{
    redisReply *reply = redisCommand(self->acks, "XINFO GROUPS %s", self->config->stream);
    const redisReply *group = redis_shared_find_group(self, reply);
    const redisReply *found = redis_reply_find(group, "lag");
    int64_t lag = found != NULL && found->type == REDIS_REPLY_INTEGER ? found->integer : -1;
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
