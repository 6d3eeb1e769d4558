/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading by position: each stream is a partition, read in order by the process that has its lease,
 * from the position that its last commit left. No pending list is kept: a zombie's XREADGROUP would
 * move entries to where its successor misses them.
 *
 * The reader, a thread, reads all streams that this process has, ahead of the lanes, while there is
 * room; an entry stays in the window until it is committed, an abort reads it from there.
 */
#include "redis_positioned.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/wake.h"
#include "redis_state_log.h"

/* --- opening; control --------------------------------------------------------------------------*/

static const struct weir_leased_ops leased_ops;

static void open_readers(struct redis_positioned *self)
{
    bool is_clustered = self->config->connection.cluster;
    self->ahead_count = is_clustered ? self->part_count : 1;
    self->aheads = weir_calloc(self->ahead_count, sizeof(*self->aheads));
    for (uint32_t i = 0; i < self->ahead_count; i++) {
        struct redis_ahead *ahead = &self->aheads[i];
        *ahead = (struct redis_ahead){
            .source = self,
            .parts = &self->parts[i],
            .part_count = is_clustered ? 1 : self->part_count,
            .reader = {.ctx = self->ctx,
                       .connection = &self->config->connection,
                       .key = self->parts[i].stream,
                       .source = ahead,
                       .serve = redis_read_ahead},
        };
        redis_reader_init(&ahead->reader);
        for (uint32_t k = 0; k < ahead->part_count; k++) {
            ahead->parts[k].reader = &ahead->reader;
        }
    }
}

static weir_status
positioned_open(void *instance, const void *config_of, struct weir_ctx *ctx, struct weir_err *err)
{
    struct redis_positioned *self = instance;
    const struct redis_source_config *config = config_of;
    self->config = config;
    self->ctx = ctx;
    snprintf(self->group, sizeof(self->group), "%s",
             config->group != NULL ? config->group : ctx->pipeline);
    redis_keys_name(self->name, self->group, config->stream);
    self->part_count = config->partitions > 0 ? (uint32_t)config->partitions : 1;
    self->parts = weir_calloc(self->part_count, sizeof(*self->parts));
    self->tags = weir_calloc(self->part_count, sizeof(char *));
    for (uint32_t i = 0; i < self->part_count; i++) {
        redis_part_name(&self->parts[i], config, self->group, (int32_t)i);
        self->tags[i] = self->parts[i].tag;
        weir_strbuf_init(&self->parts[i].outputs, SIZE_MAX / 2);
        weir_strbuf_init(&self->parts[i].frames, SIZE_MAX / 2);
    }
    weir_ctx_random(ctx, &self->nonce, sizeof(self->nonce));
    int64_t ttl_ms = config->lease > 0 ? config->lease : WEIR_LEASED_TTL_MS;
    self->medium = (struct redis_lease_medium){.connection = &config->connection,
                                               .name = self->name,
                                               .tags = self->tags,
                                               .nonce = self->nonce,
                                               .ttl_ms = ttl_ms};
    open_readers(self);
    const int64_t answer_ms = REDIS_ANSWER_MS;
    self->asker = self->committer = (struct redis_nodes){
        .connection = &config->connection, .timeout_ms = answer_ms, .asks_id = true};
    const struct weir_leased_settings settings = {.ops = &leased_ops,
                                                  .ctx = ctx,
                                                  .parts = self->parts,
                                                  .part_size = sizeof(*self->parts),
                                                  .part_count = self->part_count,
                                                  .medium = &redis_lease_medium,
                                                  .medium_self = &self->medium,
                                                  .nonce = self->nonce,
                                                  .ttl_ms = ttl_ms};
    return weir_leased_init(&self->leased, &settings, err);
}

static void positioned_close(void *instance)
{
    struct redis_positioned *self = instance;
    for (uint32_t i = 0; i < self->part_count; i++) {
        weir_window_cut(&self->parts[i].window, INT64_MAX);
        weir_strbuf_done(&self->parts[i].outputs);
        weir_strbuf_done(&self->parts[i].frames);
    }
    weir_leased_done(&self->leased);
    redis_lease_medium_done(&self->medium);
    redis_nodes_drop(&self->asker);
    redis_nodes_drop(&self->committer);
    for (uint32_t i = 0; i < self->ahead_count; i++) {
        redis_reader_done(&self->aheads[i].reader);
    }
    weir_free(self->aheads);
    weir_free(self->parts);
    weir_free(self->tags);
}

static weir_status positioned_start(void *instance, struct weir_err *err)
{
    struct redis_positioned *self = instance;
    weir_status status = WEIR_OK;
    for (uint32_t i = 0; i < self->ahead_count && status == WEIR_OK; i++) {
        status = redis_reader_start(&self->aheads[i].reader, err);
    }
    return status == WEIR_OK ? weir_leased_start(self, err) : status;
}

static weir_status positioned_poll(void *instance, struct weir_err *err)
{
    struct redis_positioned *self = instance;
    weir_status status = WEIR_OK;
    for (uint32_t i = 0; i < self->ahead_count && status == WEIR_OK; i++) {
        status = redis_reader_failed(&self->aheads[i].reader, err);
    }
    return status == WEIR_OK ? weir_leased_poll(self, err) : status;
}

static void positioned_stop(void *instance)
{
    struct redis_positioned *self = instance;
    weir_leased_stop(self);
    for (uint32_t i = 0; i < self->ahead_count; i++) {
        redis_reader_stop(&self->aheads[i].reader);
    }
}

/* --- ownership; control ------------------------------------------------------------------------*/

/* A connection for questions about the part; NULL and err on failure. */
static struct redis_node *
ask_node(struct redis_positioned *self, const struct redis_part *part, struct weir_err *err)
{
    redis_nodes_mend(&self->asker);
    return redis_nodes_get(&self->asker, part->position_key, err);
}

/* The same while the part is this process's: another server may not have what its tenure is about. */
static redisContext *
ask_context(struct redis_positioned *self, const struct redis_part *part, struct weir_err *err)
{
    struct redis_node *node = ask_node(self, part, err);
    if (node != NULL && strcmp(node->id, part->server) != 0) {
        (void)!weir_fail(err, WEIR_UNAVAILABLE, "%.200s is on another server", part->stream);
        node = NULL;
    }
    return node == NULL ? NULL : node->context;
}

/* After a refusal somebody else may be the one to ask. */
static weir_status asked(struct redis_positioned *self, weir_status status)
{
    if (status != WEIR_OK) {
        redis_nodes_drop(&self->asker);
    }
    return status;
}

static weir_status part_adopt(void *instance,
                              struct weir_leased_part *base,
                              uint64_t token,
                              int64_t *ret_position,
                              struct weir_err *err)
{
    struct redis_positioned *self = instance;
    struct redis_part *part = (struct redis_part *)base;
    const struct redis_node *node = ask_node(self, part, err);
    weir_status status = node == NULL ? err->status
                                      : redis_part_adopt(part, node->context, &self->config->start,
                                                         self->nonce, token, err);
    if (status == WEIR_OK) {
        memcpy(part->server, node->id, sizeof(part->server));
    }
    part->is_groupless = false;
    *ret_position = part->at.count;
    err->status = status == WEIR_REJECTED ? WEIR_FATAL : status;
    return asked(self, err->status);
}

static weir_status
part_begin(void *instance, struct weir_leased_part *base, int64_t position, struct weir_err *err)
{
    (void)instance;
    (void)err;
    struct redis_part *part = (struct redis_part *)base;
    pthread_mutex_lock(&part->reader->lock);
    part->next = part->window.filled = position;
    part->shift = 0;
    memcpy(part->read_id, part->at.id, sizeof(part->read_id));
    part->is_elsewhere = false;
    part->is_read = true;
    pthread_cond_signal(&part->reader->room);
    pthread_mutex_unlock(&part->reader->lock);
    return WEIR_OK;
}

static void part_pause(void *instance, struct weir_leased_part *base)
{
    (void)instance;
    struct redis_part *part = (struct redis_part *)base;
    pthread_mutex_lock(&part->reader->lock);
    part->is_read = false;
    pthread_mutex_unlock(&part->reader->lock);
}

static void part_forget(void *instance, struct weir_leased_part *base)
{
    (void)instance;
    struct redis_part *part = (struct redis_part *)base;
    weir_strbuf_clear(&part->outputs);
    weir_strbuf_clear(&part->frames);
    part->output_count = part->frame_count = 0;
}

static void part_end(void *instance, struct weir_leased_part *base)
{
    struct redis_part *part = (struct redis_part *)base;
    pthread_mutex_lock(&part->reader->lock);
    weir_window_cut(&part->window, INT64_MAX);
    pthread_mutex_unlock(&part->reader->lock);
    part_forget(instance, base);
}

static weir_status part_serve(void *instance, struct weir_leased_part *base, struct weir_err *err)
{
    struct redis_positioned *self = instance;
    struct redis_part *part = (struct redis_part *)base;
    pthread_mutex_lock(&part->reader->lock);
    base->is_over = base->is_over || part->is_elsewhere;
    pthread_mutex_unlock(&part->reader->lock);
    if (base->is_over) {
        redis_nodes_drop(&self->asker);
        weir_wake(weir_control_wake_fd(self->ctx)); /* to give it back */
        return WEIR_OK;
    }
    redisContext *context = part->is_groupless ? ask_context(self, part, err) : NULL;
    part->is_groupless = false;
    return asked(self, context == NULL ? err->status : redis_part_make_group(part, context, err));
}

/* --- reading; lane -----------------------------------------------------------------------------*/

/* The chunk that holds `next`, with a reference; NULL: not there yet, or not the lane's. */
static struct weir_chunk *window_look(struct redis_part *part, unsigned lane)
{
    pthread_mutex_lock(&part->reader->lock);
    bool is_ours = part->is_read && part->base.part->lane == lane;
    struct weir_chunk *chunk = is_ours ? weir_window_at(&part->window, part->next) : NULL;
    pthread_mutex_unlock(&part->reader->lock);
    return chunk;
}

static void window_hurry(struct redis_positioned *self, const struct redis_part *part)
{
    size_t limit = (size_t)self->ctx->in_flight_bytes / self->part_count;
    pthread_mutex_lock(&part->reader->lock);
    bool is_short = weir_window_is_short(&part->window, limit, part->next);
    pthread_mutex_unlock(&part->reader->lock);
    if (is_short) {
        weir_ctx_close_epoch(self->ctx);
    }
}

static weir_status positioned_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    (void)err;
    struct redis_positioned *self = instance;
    size_t total = 0;
    for (uint32_t i = 0; i < self->part_count; i++) {
        struct redis_part *part = &self->parts[i];
        size_t before = total, got = 1;
        struct weir_chunk *chunk = NULL;
        while (total < max && got > 0 && (chunk = window_look(part, lane)) != NULL) {
            got = redis_chunk_deliver(chunk, intake, part->base.part, &part->next, max - total);
            total += got;
            weir_chunk_unref(chunk);
        }
        if (total > before) {
            window_hurry(self, part);
        }
    }
    return total > 0 ? WEIR_OK : WEIR_AGAIN;
}

/* --- positions; control ------------------------------------------------------------------------*/

static weir_status positioned_seek(void *instance,
                                   struct weir_partition *const *items,
                                   size_t count,
                                   struct weir_err *err)
{
    (void)instance;
    (void)err;
    for (size_t i = 0; i < count; i++) {
        struct redis_part *part = items[i]->source_data;
        part->next = items[i]->read;
    }
    return WEIR_OK;
}

static void part_committed(struct redis_positioned *self, struct redis_part *part)
{
    part_forget(self, &part->base);
    pthread_mutex_lock(&part->reader->lock);
    weir_window_cut(&part->window, part->at.count);
    pthread_cond_signal(&part->reader->room);
    pthread_mutex_unlock(&part->reader->lock);
}

static weir_status parts_commit(void *instance,
                                struct weir_partition *const *items,
                                size_t count,
                                bool *stands,
                                int64_t timeout_ms,
                                struct weir_err *err)
{
    struct redis_positioned *self = instance;
    struct redis_commit_item *commits = weir_calloc(count + 1, sizeof(*commits));
    size_t *places = weir_calloc(count + 1, sizeof(size_t));
    size_t moved = 0;
    for (size_t i = 0; i < count; i++) {
        struct redis_part *part = items[i]->source_data;
        pthread_mutex_lock(&part->reader->lock);
        if (items[i]->closing != part->at.count || part->output_count > 0 ||
            part->frame_count > 0) {
            places[moved] = i;
            commits[moved++] = (struct redis_commit_item){
                .part = part, .next = redis_part_next(part, items[i]->closing)};
        } else if (stands != NULL) {
            stands[i] = true; /* nothing to do, so nothing can fail */
        }
        pthread_mutex_unlock(&part->reader->lock);
    }
    weir_status status = WEIR_OK;
    if (moved > 0) {
        int64_t deadline_ns =
            weir_clock_monotonic_ns(self->ctx->clock) + timeout_ms * WEIR_NS_PER_MS;
        status = redis_commit(&self->committer, commits, moved, deadline_ns, self->ctx->clock, err);
    }
    for (size_t i = 0; i < moved; i++) {
        bool does_stand = commits[i].outcome == REDIS_OUTCOME_STANDS;
        if (does_stand) {
            part_committed(self, commits[i].part);
        }
        if (stands != NULL) {
            stands[places[i]] = does_stand;
        }
    }
    weir_free(commits);
    weir_free(places);
    return status;
}

/* --- state; control ----------------------------------------------------------------------------*/

static weir_status
state_restore(void *instance,
              struct weir_leased_part *part,
              weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err),
              void *context,
              struct weir_err *err)
{
    struct redis_part *self_part = (struct redis_part *)part;
    redisContext *asker = ask_context(instance, self_part, err);
    return asked(instance, asker == NULL
                               ? err->status
                               : redis_state_restore(self_part, asker, take, context, err));
}

static void state_append(void *instance, struct weir_leased_part *part, struct weir_slice entry)
{
    (void)instance;
    redis_state_append((struct redis_part *)part, entry);
}

static int64_t state_place(void *instance, struct weir_leased_part *part)
{
    (void)instance;
    return (int64_t)((const struct redis_part *)part)->state_next;
}

static weir_status
state_cut(void *instance, struct weir_leased_part *part, int64_t place, struct weir_err *err)
{
    redisContext *asker = ask_context(instance, (struct redis_part *)part, err);
    return asked(instance, asker == NULL ? err->status
                                         : redis_state_cut((struct redis_part *)part, asker, place,
                                                           err));
}

static const struct weir_leased_ops leased_ops = {
    .adopt = part_adopt,
    .begin = part_begin,
    .pause = part_pause,
    .end = part_end,
    .serve = part_serve,
    .commit = parts_commit,
    .forget = part_forget,
    .frame_bytes_max = REDIS_FRAME_BYTES_MAX,
    .state_restore = state_restore,
    .state_append = state_append,
    .state_place = state_place,
    .state_cut = state_cut,
};

const struct weir_mode redis_positioned_mode = {
    .self_size = sizeof(struct redis_positioned),
    .open = positioned_open,
    .close = positioned_close,
    .ops =
        {
            .start = positioned_start,
            .poll = positioned_poll,
            .read = positioned_read,
            .seek = positioned_seek,
            .commit = weir_leased_commit,
            .stop = positioned_stop,
        },
};
