/* SPDX-License-Identifier: Apache-2.0
 *
 * One epoch, many commits: each task's is its own. While they go out no lane writes, so outputs lie
 * in the parts without a lock. The state log of a task is a stream beside its position; the frames
 * of an epoch have ids `N-1`, `N-2`, …, with N one more than the epoch's before, so that a place in
 * the log is a number, and cutting is XTRIM MINID.
 */
#include "redis_transaction.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "redis_positioned.h"

enum { FRAME_BYTES_MAX = 1 << 20, PAGE = 32 };

struct redis_transaction {
    struct weir_ctx *ctx;
    struct redis_positioned **sources;
    size_t source_count;
};

static weir_status transaction_open(void *instance,
                                    struct weir_ctx *ctx,
                                    void *const *sources,
                                    size_t source_count,
                                    void *const *sinks,
                                    size_t sink_count,
                                    struct weir_err *err)
{
    (void)sinks;
    (void)sink_count;
    (void)err;
    struct redis_transaction *self = instance;
    self->ctx = ctx;
    self->sources = weir_calloc(source_count, sizeof(struct redis_positioned *));
    self->source_count = source_count;
    for (size_t i = 0; i < source_count; i++) {
        self->sources[i] = redis_source_inner(sources[i]);
    }
    return WEIR_OK;
}

static void transaction_close(void *instance)
{
    struct redis_transaction *self = instance;
    weir_free(self->sources);
}

static weir_status transaction_begin(void *instance, struct weir_err *err)
{
    (void)instance;
    (void)err;
    return WEIR_OK;
}

static weir_status
transaction_commit(void *instance, const struct weir_commit *commit, struct weir_err *err)
{
    struct redis_transaction *self = instance;
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < commit->source_count && status == WEIR_OK; i++) {
        const struct weir_commit_source *source = &commit->sources[i];
        status = redis_positioned_commit(self->sources[i], source->items, source->count,
                                         source->stands, commit->timeout_ms, err);
    }
    return status;
}

static weir_status transaction_abort(void *instance, struct weir_err *err)
{
    (void)err;
    struct redis_transaction *self = instance;
    for (size_t i = 0; i < self->source_count; i++) {
        redis_positioned_abort(self->sources[i]);
    }
    return WEIR_OK;
}

/* --- the state log -----------------------------------------------------------------------------*/

static struct redis_part *state_part(struct redis_transaction *self, int32_t shard)
{
    return redis_positioned_part(self->sources[0], shard);
}

static weir_status state_open(
    void *instance, const char *name, int32_t shards, size_t *ret_entry_max, struct weir_err *err)
{
    (void)instance;
    (void)name;
    (void)shards;
    (void)err;
    *ret_entry_max = FRAME_BYTES_MAX;
    return WEIR_OK;
}

static weir_status
page_take(const redisReply *page,
          struct redis_part *part,
          weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err),
          void *context,
          struct weir_err *err)
{
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < page->elements && status == WEIR_OK; i++) {
        const redisReply *item = page->element[i];
        if (!redis_reply_is_entry(item) || item->element[1]->elements != 2) {
            return weir_fail(err, WEIR_CORRUPT, "%.200s: this is no state of weir",
                             part->state_key);
        }
        part->state_next = strtoull(item->element[0]->str, NULL, 10) + 1;
        status = take(context, redis_reply_slice(item->element[1]->element[1]), err);
    }
    return status;
}

/* The position was adopted before: what a predecessor had under way can no longer be applied. */
static weir_status
state_restore(void *instance,
              int32_t shard,
              weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err),
              void *context,
              struct weir_err *err)
{
    struct redis_transaction *self = instance;
    struct redis_part *part = state_part(self, shard);
    redisContext *connection = redis_positioned_asker(self->sources[0], err);
    char from[REDIS_ID_MAX + 1] = "-", count[24];
    snprintf(count, sizeof(count), "%d", PAGE);
    part->state_next = 1;
    weir_status status = connection == NULL ? err->status : WEIR_OK;
    size_t got = PAGE;
    while (status == WEIR_OK && got == PAGE) {
        const char *const question[] = {"XRANGE", part->state_key, from, "+", "COUNT", count};
        redisReply *page =
            redis_ask(connection, part->state_key, REDIS_REPLY_ARRAY, err, 6, question);
        if (page == NULL) {
            return err->status;
        }
        got = page->elements;
        status = page_take(page, part, take, context, err);
        if (got > 0) {
            snprintf(from, sizeof(from), "(%s", page->element[got - 1]->element[0]->str);
        }
        freeReplyObject(page);
    }
    return status;
}

static weir_status
state_append(void *instance, int32_t shard, struct weir_slice entry, struct weir_err *err)
{
    (void)err;
    struct redis_part *part = state_part(instance, shard);
    char id[REDIS_ID_MAX];
    snprintf(id, sizeof(id), "%llu-%zu", (unsigned long long)part->state_next,
             part->frame_count + 1);
    redis_put_head(&part->frames, 5);
    redis_put(&part->frames, WEIR_SLICE("XADD"));
    redis_put(&part->frames, weir_slice_of(part->state_key));
    redis_put(&part->frames, weir_slice_of(id));
    redis_put(&part->frames, WEIR_SLICE("f"));
    redis_put(&part->frames, entry);
    part->frame_count++;
    return WEIR_OK;
}

static weir_status
state_place(void *instance, int32_t shard, int64_t *ret_place, struct weir_err *err)
{
    (void)err;
    *ret_place = (int64_t)state_part(instance, shard)->state_next;
    return WEIR_OK;
}

static void state_cut(void *instance, int32_t shard, int64_t place)
{
    struct redis_transaction *self = instance;
    struct redis_part *part = state_part(self, shard);
    struct weir_err err = {0};
    redisContext *connection = redis_positioned_asker(self->sources[0], &err);
    char id[REDIS_ID_MAX];
    snprintf(id, sizeof(id), "%lld-0", (long long)place);
    const char *const command[] = {"XTRIM", part->state_key, "MINID", id};
    redisReply *reply = connection == NULL ? NULL
                                           : redis_ask(connection, part->state_key,
                                                       REDIS_REPLY_INTEGER, &err, 4, command);
    if (reply == NULL) { /* the next snapshot cuts more */
        WEIR_LOG_WARN(self->ctx->log, "cannot cut the state", WEIR_F_ERR(&err));
    } else {
        WEIR_LOG_INFO(self->ctx->log, "state cut behind a snapshot",
                      WEIR_F("key", (const char *)part->state_key),
                      WEIR_F("entries", (int64_t)reply->integer));
    }
    freeReplyObject(reply);
}

static const struct weir_state_log_ops redis_state_log_ops = {
    .open = state_open,
    .restore = state_restore,
    .append = state_append,
    .place = state_place,
    .cut = state_cut,
};

const struct weir_domain_ops redis_transaction_ops = {
    .self_size = sizeof(struct redis_transaction),
    .open = transaction_open,
    .close = transaction_close,
    .begin = transaction_begin,
    .commit = transaction_commit,
    .abort = transaction_abort,
    .state_log = &redis_state_log_ops,
};
