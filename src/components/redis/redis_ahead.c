/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading ahead of the lanes: one question for all streams that have room, into their windows.
 *
 * An entry that is trimmed before it was read must not go unnoticed, and nothing in an answer of
 * XREAD tells. So the reader asks for entries and for the stream's counts in one transaction:
 * entries-added less length is how many are gone, and if that is more than were read, some were
 * lost. Only when there is nothing it waits with a blocking XREAD, whose answer it throws away.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/wake.h"
#include "redis_positioned.h"

enum { BLOCK_MS = 200 };

/* The streams of one question. */
struct asked {
    struct redis_part **parts;
    char (*ids)[REDIS_ID_MAX];
    size_t count;
};

/* Those that are this process's and have room. Waits until there is one. False: to end, or one was
 * adopted from another server than the one that is read from. */
static bool asked_choose(struct redis_ahead *self, struct asked *asked, bool *ret_elsewhere)
{
    struct redis_reader *reader = &self->reader;
    size_t share = (size_t)reader->ctx->in_flight_bytes / self->source->ahead_count;
    pthread_mutex_lock(&reader->lock);
    for (;;) {
        size_t reading = 0;
        asked->count = 0;
        for (uint32_t i = 0; i < self->part_count; i++) {
            reading += self->parts[i].is_read;
        }
        for (uint32_t i = 0; i < self->part_count; i++) {
            struct redis_part *part = &self->parts[i];
            if (part->is_read && strcmp(part->server, self->server) != 0) {
                part->is_elsewhere = *ret_elsewhere = true;
            } else if (part->is_read && part->window.bytes <= share / reading) {
                memcpy(asked->ids[asked->count], part->read_id, REDIS_ID_MAX);
                asked->parts[asked->count++] = part;
            }
        }
        if (asked->count > 0 || reader->stopping || *ret_elsewhere) {
            break;
        }
        pthread_cond_wait(&reader->room, &reader->lock);
    }
    bool go_on = !reader->stopping && !*ret_elsewhere;
    pthread_mutex_unlock(&reader->lock);
    return go_on;
}

static void put_text(struct weir_strbuf *out, const char *text)
{
    redis_put(out, weir_slice_of(text));
}

static void put_read(struct weir_strbuf *out, const struct asked *asked, int64_t max, bool waits)
{
    char count[24];
    snprintf(count, sizeof(count), "%lld", (long long)max);
    redis_put_head(out, 4u + (waits ? 2u : 0u) + 2 * asked->count);
    put_text(out, "XREAD");
    put_text(out, "COUNT");
    put_text(out, count);
    if (waits) {
        snprintf(count, sizeof(count), "%d", BLOCK_MS);
        put_text(out, "BLOCK");
        put_text(out, count);
    }
    put_text(out, "STREAMS");
    for (size_t i = 0; i < asked->count; i++) {
        put_text(out, asked->parts[i]->stream);
    }
    for (size_t i = 0; i < asked->count; i++) {
        put_text(out, asked->ids[i]);
    }
}

/* The answer to the last of so many commands; the ones before it say no more than that they were
 * taken. NULL: err says why. */
static redisReply *ask(struct redis_ahead *self,
                       redisContext *context,
                       const struct weir_strbuf *out,
                       size_t commands,
                       struct weir_err *err)
{
    const char *what = self->source->config->stream;
    if (redisAppendFormattedCommand(context, out->data, out->size) != REDIS_OK) {
        (void)!redis_fail(err, what, context, NULL);
        return NULL;
    }
    redisReply *reply = NULL;
    for (size_t i = 0; i < commands; i++) {
        void *object = NULL;
        if (redisGetReply(context, &object) != REDIS_OK) {
            (void)!redis_fail(err, what, context, NULL);
            return NULL;
        }
        reply = object;
        if (reply->type == REDIS_REPLY_ERROR) {
            (void)!redis_fail(err, what, context, reply);
        }
    }
    if (err->status != WEIR_OK) {
        err->status = err->status == WEIR_REJECTED ? WEIR_FATAL : err->status;
        reply = NULL;
    }
    return reply;
}

/* The counts of a stream at the moment of the reading. */
struct counts {
    int64_t added, length;
};

static struct counts read_counts(const redisReply *info)
{
    const redisReply *added = redis_reply_find(info, "entries-added");
    const redisReply *length = redis_reply_find(info, "length");
    return (struct counts){.added = added != NULL ? added->integer : 0,
                           .length = length != NULL ? length->integer : 0};
}

/* The entries of one stream. */
static struct redis_chunk *make_chunk(struct redis_ahead *self, const redisReply *list)
{
    struct redis_chunk *chunk = redis_chunk_new(self->reader.answers.filling, list->elements);
    for (size_t i = 0; i < list->elements; i++) {
        if (redis_reply_is_entry(list->element[i])) {
            redis_chunk_add(self->source->config, chunk, list->element[i]);
        }
    }
    redis_chunk_finish(self->source->config, chunk);
    return chunk;
}

static weir_status
tell_lost(struct redis_positioned *self, const char *stream, int64_t lost, struct weir_err *err)
{
    if (self->config->on_data_loss == REDIS_LOSS_SKIP) {
        WEIR_LOG_WARN(self->ctx->log, "entries were deleted before they were read",
                      WEIR_F("stream", stream), WEIR_F("entries", lost));
        return WEIR_OK;
    }
    weir_status status = weir_fail(err, WEIR_DATA_LOSS,
                                   "stream %.200s: %lld entries were deleted before they were read",
                                   stream, (long long)lost);
    weir_err_hint(err, "Trim the stream less, or write `on_data_loss: skip`.");
    return status;
}

/* How many entries are gone that were not read. */
static int64_t part_lost(const struct redis_part *part, struct counts counts)
{
    int64_t gone = counts.added - counts.length + part->shift;
    return gone > part->window.filled ? gone - part->window.filled : 0;
}

/* The numbers of a part after an answer. */
static void
part_take(struct redis_part *part, struct counts counts, struct redis_chunk *chunk, bool is_all)
{
    part->window.filled += part_lost(part, counts);
    if (chunk != NULL) {
        snprintf(part->read_id, sizeof(part->read_id), "%s",
                 chunk->entries[chunk->base.count - 1].id->str);
        weir_window_push(&part->window, &chunk->base);
    }
    if (is_all) { /* numbers meet: entries deleted in the middle, or a stream that began anew */
        int64_t end = counts.added + part->shift, filled = part->window.filled;
        part->shift += end < filled ? filled - end : 0;
        part->window.filled = end > filled ? end : filled;
    }
    atomic_store_explicit(&part->base.part->end, counts.added + part->shift, memory_order_relaxed);
}

static weir_status take_answer(struct redis_ahead *self,
                               const struct asked *asked,
                               size_t index,
                               const redisReply *info,
                               const redisReply *list,
                               struct weir_err *err)
{
    struct redis_part *part = asked->parts[index];
    struct redis_chunk *chunk = list == NULL ? NULL : make_chunk(self, list);
    if (chunk != NULL && chunk->base.count == 0) {
        weir_chunk_unref(&chunk->base);
        chunk = NULL;
    }
    bool is_all = list == NULL || (int64_t)list->elements < self->source->config->count;
    int64_t lost = 0;
    unsigned lane = 0;
    pthread_mutex_lock(&self->reader.lock);
    bool is_ours = part->is_read && strcmp(part->read_id, asked->ids[index]) == 0 &&
                   strcmp(part->server, self->server) == 0; /* else adopted anew meanwhile */
    if (is_ours) {
        lost = part_lost(part, read_counts(info));
        is_ours = lost == 0 || self->source->config->on_data_loss == REDIS_LOSS_SKIP;
        lane = part->base.part->lane;
    }
    if (is_ours) {
        part_take(part, read_counts(info), chunk, is_all);
    }
    pthread_mutex_unlock(&self->reader.lock);
    if (!is_ours && chunk != NULL) { /* given back meanwhile, or the end */
        weir_chunk_unref(&chunk->base);
    } else if (chunk != NULL) {
        weir_wake(weir_lane_wake_fd(self->source->ctx, lane));
    }
    return lost > 0 ? tell_lost(self->source, part->stream, lost, err) : WEIR_OK;
}

static weir_status take_answers(struct redis_ahead *self,
                                const struct asked *asked,
                                const redisReply *reply,
                                bool *ret_any,
                                struct weir_err *err)
{
    if (!redis_reply_is_list(reply) || reply->elements != asked->count + 1) {
        return redis_fail(err, self->source->config->stream, NULL, reply);
    }
    const redisReply *streams = reply->element[asked->count];
    weir_status status = WEIR_OK;
    if (streams->type == REDIS_REPLY_ERROR) {
        status = redis_fail(err, self->source->config->stream, NULL, streams);
        return err->status = status == WEIR_REJECTED ? WEIR_FATAL : status;
    }
    for (size_t i = 0; i < asked->count && status == WEIR_OK; i++) {
        const redisReply *list = NULL;
        for (size_t k = 0; redis_reply_is_list(streams) && k < streams->elements; k++) {
            const redisReply *stream = streams->element[k];
            if (strcmp(stream->element[0]->str, asked->parts[i]->stream) == 0) {
                list = stream->element[1];
                break;
            }
        }
        *ret_any = *ret_any || list != NULL;
        status = take_answer(self, asked, i, reply->element[i], list, err);
    }
    return status;
}

/* Entries and counts, of one moment. */
static weir_status reader_read(struct redis_ahead *self,
                               redisContext *context,
                               const struct asked *asked,
                               struct weir_strbuf *out,
                               bool *ret_any,
                               struct weir_err *err)
{
    weir_strbuf_clear(out);
    redis_put_head(out, 1);
    put_text(out, "MULTI");
    for (size_t i = 0; i < asked->count; i++) {
        redis_put_head(out, 3);
        put_text(out, "XINFO");
        put_text(out, "STREAM");
        put_text(out, asked->parts[i]->stream);
    }
    put_read(out, asked, self->source->config->count, false);
    redis_put_head(out, 1);
    put_text(out, "EXEC");
    const redisReply *reply = ask(self, context, out, asked->count + 3, err);
    weir_status status =
        reply == NULL ? err->status : take_answers(self, asked, reply, ret_any, err);
    redis_reader_drop(&self->reader);
    return status;
}

/* Control ends the tenures, and adopts anew. */
static weir_status tell_elsewhere(struct redis_ahead *self, struct weir_err *err)
{
    weir_wake(weir_control_wake_fd(self->reader.ctx));
    return weir_fail(err, WEIR_UNAVAILABLE,
                     "%.200s is on another server, or on one that was started again",
                     self->source->config->stream);
}

static weir_status find_server(struct redis_ahead *self, redisContext *context, struct weir_err *err)
{
    const redisReply *reply = redisCommand(context, "INFO server");
    weir_status status = reply == NULL || reply->type == REDIS_REPLY_ERROR
                             ? redis_fail(err, "INFO", context, reply)
                             : WEIR_OK;
    redis_server_id(reply, self->server);
    redis_reader_drop(&self->reader);
    return status;
}

static weir_status serve(struct redis_ahead *self,
                         redisContext *context,
                         struct asked *asked,
                         struct weir_strbuf *out,
                         struct weir_err *err)
{
    bool is_elsewhere = false;
    weir_status status = find_server(self, context, err);
    while (status == WEIR_OK && asked_choose(self, asked, &is_elsewhere)) {
        bool any = false;
        status = reader_read(self, context, asked, out, &any, err);
        if (status == WEIR_OK && !any) {
            weir_strbuf_clear(out);
            put_read(out, asked, 1, true);
            (void)ask(self, context, out, 1, err);
            redis_reader_drop(&self->reader);
            status = err->status;
        }
    }
    return is_elsewhere ? tell_elsewhere(self, err) : status;
}

weir_status redis_read_ahead(void *instance, redisContext *context, struct weir_err *err)
{
    struct redis_ahead *self = instance;
    struct asked asked = {
        .parts = weir_calloc(self->part_count, sizeof(struct redis_part *)),
        .ids = weir_calloc(self->part_count, REDIS_ID_MAX),
    };
    struct weir_strbuf out;
    weir_strbuf_init(&out, SIZE_MAX / 2);
    weir_status status = serve(self, context, &asked, &out, err);
    weir_strbuf_done(&out);
    weir_free(asked.parts);
    weir_free(asked.ids);
    return status;
}
