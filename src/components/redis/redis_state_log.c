/* SPDX-License-Identifier: Apache-2.0
 *
 * The frames of an epoch have ids `N-1`, `N-2`, …, with N one more than the epoch's before, so that
 * a place in the log is a number, and cutting is XTRIM MINID.
 *
 * What an import has left aside is one that has died: of the other streams, in other slots of a
 * cluster, the state may be in place already. So nobody begins without it.
 */
#include "redis_state_log.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAGE = 32 };

void redis_state_aside(const struct redis_part *part, char key[REDIS_ASIDE_KEY_MAX])
{
    snprintf(key, REDIS_ASIDE_KEY_MAX, "%s.import", part->state_key);
}

static weir_status
check_aside(const struct redis_part *part, redisContext *context, struct weir_err *err)
{
    char key[REDIS_ASIDE_KEY_MAX];
    redis_state_aside(part, key);
    const char *const question[] = {"EXISTS", key};
    redisReply *reply = redis_ask(context, key, REDIS_REPLY_INTEGER, err, 2, question);
    if (reply == NULL) {
        return err->status;
    }
    weir_status status = WEIR_OK;
    if (reply->integer != 0) {
        status = weir_fail(err, WEIR_CONFIG,
                           "an import of state ended before all of it was in place: %.300s is left",
                           key);
        weir_err_hint(
            err, "`weir positions set --reset-state` clears what is there; then import again.");
    }
    freeReplyObject(reply);
    return status;
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

weir_status redis_state_restore(struct redis_part *part,
                                redisContext *context,
                                weir_status (*take)(void *context,
                                                    struct weir_slice entry,
                                                    struct weir_err *err),
                                void *take_context,
                                struct weir_err *err)
{
    char from[REDIS_ID_MAX + 1] = "-", count[24];
    snprintf(count, sizeof(count), "%d", PAGE);
    part->state_next = 1;
    weir_status status = check_aside(part, context, err);
    size_t got = PAGE;
    while (status == WEIR_OK && got == PAGE) {
        const char *const question[] = {"XRANGE", part->state_key, from, "+", "COUNT", count};
        redisReply *page = redis_ask(context, part->state_key, REDIS_REPLY_ARRAY, err, 6, question);
        if (page == NULL) {
            return err->status;
        }
        got = page->elements;
        status = page_take(page, part, take, take_context, err);
        if (got > 0) {
            snprintf(from, sizeof(from), "(%s", page->element[got - 1]->element[0]->str);
        }
        freeReplyObject(page);
    }
    return status;
}

void redis_state_append(struct redis_part *part, struct weir_slice entry)
{
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
}

weir_status
redis_state_cut(struct redis_part *part, redisContext *context, int64_t place, struct weir_err *err)
{
    char id[REDIS_ID_MAX];
    snprintf(id, sizeof(id), "%lld-0", (long long)place);
    const char *const command[] = {"XTRIM", part->state_key, "MINID", id};
    redisReply *reply = redis_ask(context, part->state_key, REDIS_REPLY_INTEGER, err, 4, command);
    freeReplyObject(reply);
    return reply == NULL ? err->status : WEIR_OK;
}
