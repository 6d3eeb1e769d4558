/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader thread of the shared mode: makes the group, renews what the window holds, takes over
 * what others have left, reads what is new, and finds out what was deleted before anybody was given
 * it.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/wake.h"
#include "redis_shared.h"

enum { BLOCK_MS = 500, AGAIN_BLOCK_MS = 10 };
enum { CLAIM_IDLE_MS = 30000, CLAIM_COUNT = 100, RENEW_COUNT = 500 };
enum { RENEW_LOOKS = 6, RENEWALS = 3 }; /* parts of claim_idle */

static int64_t claim_idle_ms(const struct redis_source_config *config)
{
    return config->claim_idle > 0 ? config->claim_idle : CLAIM_IDLE_MS;
}

static int64_t idle_part_ns(const struct redis_shared *self, int64_t parts)
{
    return claim_idle_ms(self->config) * WEIR_NS_PER_MS / parts;
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

void redis_shared_trim(struct redis_shared *self)
{
    if (!self->asking) {
        weir_window_cut(&self->window, self->acked);
    }
    pthread_cond_signal(&self->reader.room);
}

/* --- the window and its losses; the thread -----------------------------------------------------*/

/* Around a question about pending entries, until its answer is in the window. */
static void thread_set_asking(struct redis_shared *self, bool asking)
{
    pthread_mutex_lock(&self->reader.lock);
    self->asking = asking;
    redis_shared_trim(self);
    pthread_mutex_unlock(&self->reader.lock);
}

static size_t thread_push(struct redis_shared *self, struct redis_chunk *chunk)
{
    redis_chunk_finish(self->config, chunk);
    chunk->given_ns = weir_clock_monotonic_ns(self->ctx->clock);
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

static weir_status
thread_lost(struct redis_shared *self, int64_t lost, bool is_read, struct weir_err *err)
{
    if (lost <= 0) {
        return WEIR_OK;
    }
    if (self->config->on_data_loss == REDIS_LOSS_SKIP && is_read) {
        WEIR_LOG_WARN(self->ctx->log, "entries were deleted before they were acknowledged",
                      WEIR_F("stream", self->config->stream), WEIR_F("entries", lost));
        return WEIR_OK;
    }
    if (self->config->on_data_loss == REDIS_LOSS_SKIP) {
        WEIR_LOG_WARN(self->ctx->log, "entries were deleted before they were read",
                      WEIR_F("stream", self->config->stream), WEIR_F("entries", lost));
        return WEIR_OK;
    }
    weir_status status =
        weir_fail(err, WEIR_DATA_LOSS, "stream %s: %lld entries were deleted before they were %s",
                  self->config->stream, (long long)lost, is_read ? "acknowledged" : "read");
    weir_err_hint(err, "Trim the stream less, or write `on_data_loss: skip`.");
    return status;
}

/* What was added while a group was gone must not be missed, whatever `start` says. */
static weir_status
thread_make_group(struct redis_shared *self, redisContext *context, struct weir_err *err)
{
    char start[REDIS_ID_MAX] = "0";
    if (!self->has_group) {
        redis_start_id(&self->config->start, start);
    }
    redisReply *reply = redisCommand(context, "XGROUP CREATE %s %s %s MKSTREAM",
                                     self->config->stream, self->group, start);
    bool is_there = redis_reply_is(reply, "BUSYGROUP");
    if (reply == NULL || (reply->type == REDIS_REPLY_ERROR && !is_there)) {
        weir_status status = redis_fail(err, self->config->stream, context, reply);
        return err->status = status == WEIR_REJECTED ? WEIR_FATAL : status;
    }
    if (self->has_group && !is_there) {
        WEIR_LOG_WARN(self->ctx->log, "the group was gone and is made again",
                      WEIR_F("stream", self->config->stream));
    }
    self->has_group = true;
    return WEIR_OK;
}

/* A failed question: a group that is gone is made again, anything else is the caller's. */
static weir_status thread_mend(struct redis_shared *self,
                               redisContext *context,
                               const redisReply *reply,
                               struct weir_err *err)
{
    if (redis_reply_is(reply, "NOGROUP")) {
        return thread_make_group(self, context, err);
    }
    weir_status status = redis_fail(err, self->config->stream, context, reply);
    return err->status = status == WEIR_REJECTED ? WEIR_FATAL : status;
}

static void put_text(struct weir_strbuf *out, const char *text)
{
    redis_put(out, weir_slice_of(text));
}

/* --- what the window holds stays this consumer's; the thread -----------------------------------*/

/* Only what is still its own: XCLAIM takes from anybody, also what another has claimed meanwhile.
 * And only what is still in the stream: of anything else it forgets that it was pending, and the
 * loss would be told to nobody. */
static void put_renewal(struct redis_shared *self,
                        const redisReply *const *ids,
                        size_t count,
                        struct weir_strbuf *out)
{
    static const char script[] =
        "for i = 3, #ARGV do\n"
        "  local p = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])\n"
        "  if p.err then return p end\n"
        "  if #p > 0 and #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) > 0 then\n"
        "    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'JUSTID')\n"
        "  end\n"
        "end";
    redis_put_head(out, 6 + count);
    put_text(out, "EVAL");
    put_text(out, script);
    put_text(out, "1");
    put_text(out, self->config->stream);
    put_text(out, self->group);
    put_text(out, self->consumer);
    for (size_t i = 0; i < count; i++) {
        redis_put(out, redis_reply_slice(ids[i]));
    }
}

/* Commands for what was given, or renewed, so long ago. */
static size_t put_renewals(struct redis_shared *self, int64_t older_ns, struct weir_strbuf *out)
{
    const redisReply *ids[RENEW_COUNT];
    size_t count = 0, commands = 0;
    int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
    pthread_mutex_lock(&self->reader.lock);
    for (struct weir_chunk *base = self->window.first; base != NULL; base = base->next) {
        struct redis_chunk *chunk = (struct redis_chunk *)base;
        int64_t from = self->acked > base->start ? self->acked - base->start : 0;
        if (now_ns - chunk->given_ns < older_ns) {
            continue;
        }
        chunk->given_ns = now_ns;
        for (int64_t i = from; i < (int64_t)base->count; i++) {
            ids[count++] = chunk->entries[i].id;
            if (count == RENEW_COUNT) {
                put_renewal(self, ids, count, out);
                commands++;
                count = 0;
            }
        }
    }
    if (count > 0) {
        put_renewal(self, ids, count, out);
        commands++;
    }
    pthread_mutex_unlock(&self->reader.lock);
    return commands;
}

static weir_status thread_renew(struct redis_shared *self,
                                redisContext *context,
                                int64_t older_ns,
                                struct weir_err *err)
{
    struct weir_strbuf out;
    weir_strbuf_init(&out, SIZE_MAX / 2);
    size_t commands = put_renewals(self, older_ns, &out);
    WEIR_ASSERT(!out.failed);
    bool is_broken =
        commands > 0 && redisAppendFormattedCommand(context, out.data, out.size) != REDIS_OK;
    weir_strbuf_done(&out);
    const redisReply *refused = NULL;
    for (size_t i = 0; i < commands && !is_broken; i++) {
        void *reply = NULL;
        is_broken = redisGetReply(context, &reply) != REDIS_OK;
        bool is_error = !is_broken && ((const redisReply *)reply)->type == REDIS_REPLY_ERROR;
        refused = is_error ? reply : refused;
    }
    weir_status status = WEIR_OK;
    if (is_broken || refused != NULL) {
        status = thread_mend(self, context, is_broken ? NULL : refused, err);
    }
    redis_reader_drop(&self->reader);
    return status;
}

/* Under the lock. */
static bool window_has_room(const struct redis_shared *self)
{
    return self->is_alone ? self->acked >= self->window.filled
                          : self->window.first == NULL ||
                                self->window.bytes <= (size_t)self->ctx->in_flight_bytes;
}

/* Until there is room, or something is to be renewed. */
static bool window_wait(struct redis_shared *self, bool *ret_stopping)
{
    const struct timespec until = {.tv_sec = self->renew_ns / WEIR_NS_PER_S,
                                   .tv_nsec = self->renew_ns % WEIR_NS_PER_S};
    pthread_mutex_lock(&self->reader.lock);
    int code = 0;
    while (!self->reader.stopping && !window_has_room(self) && code == 0) {
        code = pthread_cond_timedwait(&self->reader.room, &self->reader.lock, &until);
    }
    bool has_room = window_has_room(self);
    *ret_stopping = self->reader.stopping;
    pthread_mutex_unlock(&self->reader.lock);
    return has_room;
}

/* Waits until the window has room, and keeps what is in it meanwhile. Fails also when it is to end.
 * No reply may be looked at afterwards. */
static weir_status
thread_wait_room(struct redis_shared *self, redisContext *context, struct weir_err *err)
{
    bool has_room = false, is_stopping = false;
    while (!has_room) {
        int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
        if (now_ns >= self->renew_ns) {
            self->renew_ns = now_ns + idle_part_ns(self, RENEW_LOOKS);
            weir_status status = thread_renew(self, context, idle_part_ns(self, RENEWALS), err);
            if (status != WEIR_OK) {
                return status;
            }
        }
        has_room = window_wait(self, &is_stopping);
        if (is_stopping) {
            return weir_fail(err, WEIR_UNAVAILABLE, "reading is to end");
        }
    }
    self->is_alone = false;
    return WEIR_OK;
}

/* --- entries that were delivered before; the thread --------------------------------------------*/

/* Pending entries that are to be taken over, or again. The number is that of this delivery. */
struct group {
    const redisReply *ids[CLAIM_COUNT];
    int64_t deliveries[CLAIM_COUNT];
    size_t count;
    bool is_whole;    /* the page has no more */
    bool is_last_try; /* of the one that it is */
};

/* Of a page of XPENDING. With a limit, the last try of an entry is made alone: if the process dies
 * of it, it alone is to blame. */
static void group_choose(struct redis_shared *self,
                         const redisReply *page,
                         struct group *group,
                         char from[REDIS_ID_MAX + 1])
{
    int64_t limit = self->config->max_deliveries;
    *group = (struct group){.is_whole = true};
    for (size_t i = 0; i < page->elements; i++) {
        const redisReply *id = page->element[i]->element[0];
        int64_t delivery = page->element[i]->element[3]->integer + 1;
        pthread_mutex_lock(&self->reader.lock);
        bool is_known = window_has(self, id);
        pthread_mutex_unlock(&self->reader.lock);
        bool is_last = delivery == limit;
        if (!is_known && is_last && group->count > 0) {
            group->is_whole = false;
            return;
        }
        snprintf(from, REDIS_ID_MAX + 1, "(%s", id->str);
        if (!is_known) {
            group->ids[group->count] = id;
            group->deliveries[group->count++] = delivery;
        }
        if (!is_known && is_last) {
            group->is_whole = false;
            group->is_last_try = true;
            return;
        }
    }
}

/* {entries that are ours now, how many are pending and deleted}. One script: another consumer may
 * come in between, and 6.2 and 7 answer differently about what is deleted. */
static redisReply *
group_claim(struct redis_shared *self, redisContext *context, const struct group *group, bool own)
{
    static const char script[] =
        "local list, gone = {}, 0\n"
        "for i = 4, #ARGV do\n"
        "  local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)\n"
        "  if #row > 0 and #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) == 0 then\n"
        "    gone = gone + redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])\n"
        "  elseif #row > 0 then\n"
        "    local got = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[i])\n"
        "    list[#list + 1] = got[1]\n"
        "  end\n"
        "end\n"
        "return {list, gone}";
    struct weir_strbuf out;
    char idle[24];
    snprintf(idle, sizeof(idle), "%lld", own ? 0LL : (long long)claim_idle_ms(self->config));
    weir_strbuf_init(&out, SIZE_MAX / 2);
    redis_put_head(&out, 7 + group->count);
    put_text(&out, "EVAL");
    put_text(&out, script);
    put_text(&out, "1");
    put_text(&out, self->config->stream);
    put_text(&out, self->group);
    put_text(&out, self->consumer);
    put_text(&out, idle);
    for (size_t i = 0; i < group->count; i++) {
        redis_put(&out, redis_reply_slice(group->ids[i]));
    }
    WEIR_ASSERT(!out.failed);
    void *reply = NULL;
    if (redisAppendFormattedCommand(context, out.data, out.size) != REDIS_OK ||
        redisGetReply(context, &reply) != REDIS_OK) {
        reply = NULL;
    }
    weir_strbuf_done(&out);
    return reply;
}

/* Into the window; what was delivered too often is marked. */
static size_t
group_push(struct redis_shared *self, const struct group *group, const redisReply *list)
{
    int64_t limit = self->config->max_deliveries;
    struct redis_chunk *chunk = redis_chunk_new(self->reader.answers.filling, list->elements);
    for (size_t i = 0, k = 0; i < list->elements; i++) {
        const redisReply *id = list->element[i]->element[0];
        while (!weir_slice_equal(redis_reply_slice(group->ids[k]), redis_reply_slice(id))) {
            k++; /* in the same order */
            WEIR_ASSERT(k < group->count);
        }
        redis_chunk_add(self->config, chunk, list->element[i]);
        chunk->entries[chunk->base.count - 1].spent =
            limit > 0 && group->deliveries[k] > limit ? group->deliveries[k] - 1 : 0;
    }
    size_t count = thread_push(self, chunk);
    pthread_mutex_lock(&self->reader.lock);
    self->again_end = self->window.filled;
    pthread_mutex_unlock(&self->reader.lock);
    return count;
}

/* With a limit, what comes again is one group at a time: a crash then counts against no more. */
static bool group_may(struct redis_shared *self)
{
    pthread_mutex_lock(&self->reader.lock);
    bool may = self->config->max_deliveries == 0 || self->acked >= self->again_end;
    pthread_mutex_unlock(&self->reader.lock);
    return may;
}

static weir_status group_take(struct redis_shared *self,
                              redisContext *context,
                              const struct group *group,
                              bool own,
                              struct weir_err *err)
{
    const redisReply *reply = group_claim(self, context, group, own);
    if (!redis_reply_is_list(reply) || reply->elements != 2) {
        return thread_mend(self, context, reply, err);
    }
    size_t count = group_push(self, group, reply->element[0]);
    bool is_alone = group->count == 1 && self->config->max_deliveries > 0;
    if (count > 0 && !own && !is_alone) {
        WEIR_LOG_INFO(self->ctx->log, "entries of other consumers taken over",
                      WEIR_F("stream", self->config->stream), WEIR_F("entries", count));
    }
    return thread_lost(self, reply->element[1]->integer, true, err);
}

/* A last try is made with nothing else: what was read before is done with first, and nothing is
 * read until it is over. False: it is to be asked for again when there is nothing else. */
static bool group_may_try(struct redis_shared *self)
{
    self->is_alone = true;
    pthread_mutex_lock(&self->reader.lock);
    bool may = window_has_room(self);
    pthread_mutex_unlock(&self->reader.lock);
    return may;
}

/* Entries of this consumer that the window does not have, or those that others have left lying.
 * *ret_left: there are more, when those that came are done. */
static weir_status thread_claim(struct redis_shared *self,
                                redisContext *context,
                                bool own,
                                bool *ret_left,
                                struct weir_err *err)
{
    char from[REDIS_ID_MAX + 1] = "-";
    weir_status status = WEIR_OK;
    bool is_over = false;
    *ret_left = false;
    while (!is_over && (status = thread_wait_room(self, context, err)) == WEIR_OK) {
        if (!group_may(self)) {
            *ret_left = true;
            break;
        }
        thread_set_asking(self, true);
        const char *format =
            own ? "XPENDING %s %s IDLE %lld %s + %d %s" : "XPENDING %s %s IDLE %lld %s + %d";
        const redisReply *page = redisCommand(context, format, self->config->stream, self->group,
                                              own ? 0LL : (long long)claim_idle_ms(self->config),
                                              from, CLAIM_COUNT, self->consumer);
        if (!redis_reply_is_list(page)) {
            status = thread_mend(self, context, page, err);
            is_over = !own; /* a group that was made anew has nothing */
        } else {
            char next[REDIS_ID_MAX + 1];
            struct group group;
            memcpy(next, from, sizeof(next));
            group_choose(self, page, &group, next);
            if (!group.is_last_try || group_may_try(self)) {
                is_over = page->elements < CLAIM_COUNT && group.is_whole;
                memcpy(from, next, sizeof(from));
                status = group.count > 0 ? group_take(self, context, &group, own, err) : WEIR_OK;
            }
        }
        thread_set_asking(self, false);
        redis_reader_drop(&self->reader);
        if (status != WEIR_OK) {
            break;
        }
    }
    return status;
}

/* --- reading; the thread -----------------------------------------------------------------------*/

static bool id_is_behind(const char *id, const char *other)
{
    unsigned long long ms, number, other_ms, other_number;
    return sscanf(id, "%llu-%llu", &ms, &number) == 2 &&
           sscanf(other, "%llu-%llu", &other_ms, &other_number) == 2 &&
           (ms > other_ms || (ms == other_ms && number > other_number));
}

const redisReply *redis_shared_find_group(const struct redis_shared *self, const redisReply *groups)
{
    for (size_t i = 0; redis_reply_is_list(groups) && i < groups->elements; i++) {
        const redisReply *name = redis_reply_find(groups->element[i], "name");
        if (name != NULL && weir_slice_equal(redis_reply_slice(name), weir_slice_of(self->group))) {
            return groups->element[i];
        }
    }
    return NULL;
}

/* How many entries are gone that the group was never given, at the moment of the reading. Only when
 * nothing that it was given is left in the stream is that a number; the server knows it or says
 * nil. */
static int64_t count_lost(const redisReply *stream, const redisReply *group)
{
    const redisReply *added = redis_reply_find(stream, "entries-added");
    const redisReply *length = redis_reply_find(stream, "length");
    const redisReply *first = redis_reply_find(stream, "first-entry");
    const redisReply *read = redis_reply_find(group, "entries-read");
    const redisReply *last = redis_reply_find(group, "last-delivered-id");
    if (added == NULL || length == NULL || first == NULL || read == NULL || last == NULL ||
        read->type != REDIS_REPLY_INTEGER) {
        return 0;
    }
    bool is_ahead = !redis_reply_is_list(first) || id_is_behind(first->element[0]->str, last->str);
    return is_ahead ? added->integer - read->integer - length->integer : 0;
}

/* The server counts entries as they are given out, and takes no notice of a gap: it would be
 * counted again later. */
static void pass_gap(struct redis_shared *self, redisContext *context, int64_t lost)
{
    static const char script[] =
        "for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do\n"
        "  local r = {}\n"
        "  for i = 1, #g, 2 do r[g[i]] = g[i + 1] end\n"
        "  if r.name == ARGV[1] and r['entries-read'] then\n"
        "    redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], r['last-delivered-id'],\n"
        "               'ENTRIESREAD', r['entries-read'] + ARGV[2])\n"
        "  end\n"
        "end";
    (void)redisCommand(context, "EVAL %s 1 %s %s %lld", script, self->config->stream, self->group,
                       (long long)lost);
}

static weir_status take_entries(struct redis_shared *self,
                                redisContext *context,
                                const redisReply *stream,
                                const redisReply *groups,
                                const redisReply *list,
                                struct weir_err *err)
{
    struct redis_chunk *chunk = redis_chunk_new(self->reader.answers.filling, list->elements);
    for (size_t i = 0; i < list->elements; i++) {
        redis_chunk_add(self->config, chunk, list->element[i]);
    }
    int64_t lost = count_lost(stream, redis_shared_find_group(self, groups));
    (void)thread_push(self, chunk);
    if (lost > 0) {
        pass_gap(self, context, lost);
    }
    return thread_lost(self, lost, false, err);
}

/* The answer to EXEC of what is asked at once: the stream, its groups, and entries. */
static const redisReply *ask_entries(struct redis_shared *self, redisContext *context)
{
    const char *stream = self->config->stream;
    redisAppendCommand(context, "MULTI");
    redisAppendCommand(context, "XINFO STREAM %s", stream);
    redisAppendCommand(context, "XINFO GROUPS %s", stream);
    redisAppendCommand(context, "XREADGROUP GROUP %s %s COUNT %lld STREAMS %s >", self->group,
                       self->consumer, (long long)self->config->count, stream);
    redisAppendCommand(context, "EXEC");
    const redisReply *refused = NULL;
    void *reply = NULL;
    for (int i = 0; i < 5; i++) {
        if (redisGetReply(context, &reply) != REDIS_OK) {
            return NULL;
        }
        bool is_error = ((const redisReply *)reply)->type == REDIS_REPLY_ERROR;
        refused = is_error && refused == NULL ? reply : refused;
    }
    return refused != NULL ? refused : reply;
}

/* What trimming has taken shows only before the group has passed the gap, so the counts are of the
 * same moment as the reading, which therefore cannot wait; waiting is another question, the answer
 * to which is thrown away. */
static weir_status
thread_read(struct redis_shared *self, redisContext *context, int block_ms, struct weir_err *err)
{
    const redisReply *reply = ask_entries(self, context);
    if (!redis_reply_is_list(reply) || reply->elements != 3) {
        return thread_mend(self, context, reply, err);
    }
    const redisReply *entries = reply->element[2];
    if (entries->type == REDIS_REPLY_ERROR) {
        return thread_mend(self, context, entries, err);
    }
    if (redis_reply_is_list(entries) && entries->elements == 1) {
        return take_entries(self, context, reply->element[0], reply->element[1],
                            entries->element[0]->element[1], err);
    }
    const redisReply *last = redis_reply_find(reply->element[0], "last-generated-id");
    const redisReply *waited =
        redisCommand(context, "XREAD COUNT 1 BLOCK %d STREAMS %s %s", block_ms,
                     self->config->stream, last == NULL ? "$" : last->str);
    return waited == NULL || waited->type == REDIS_REPLY_ERROR
               ? thread_mend(self, context, waited, err)
               : WEIR_OK;
}

/* Consumers of starts that have ended without removing themselves: empty, and silent for so long
 * that others have taken over what they had. One script, or one of them could be given an entry
 * between question and removal; one that still lives is made again by its next question. */
static void remove_dead(struct redis_shared *self, redisContext *context)
{
    static const char script[] =
        "for _, c in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do\n"
        "  local r = {}\n"
        "  for i = 1, #c, 2 do r[c[i]] = c[i + 1] end\n"
        "  if r.pending == 0 and r.idle > tonumber(ARGV[3]) and r.name ~= ARGV[2] and\n"
        "     string.match(r.name, '^weir%-%x+$') and #r.name == 21 then\n"
        "    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], r.name)\n"
        "  end\n"
        "end";
    (void)redisCommand(context, "EVAL %s 1 %s %s %s %lld", script, self->config->stream,
                       self->group, self->consumer, (long long)claim_idle_ms(self->config));
    redis_reader_drop(&self->reader);
}

weir_status redis_shared_serve(void *instance, redisContext *context, struct weir_err *err)
{
    struct redis_shared *self = instance;
    weir_status status = thread_make_group(self, context, err);
    redis_reader_drop(&self->reader);
    if (status == WEIR_OK) { /* how long it was away nobody knows */
        status = thread_renew(self, context, 0, err);
    }
    int64_t block_ms = claim_idle_ms(self->config) / RENEW_LOOKS;
    block_ms = block_ms < BLOCK_MS ? block_ms : BLOCK_MS;
    int64_t claimed_ns = 0;
    bool owns = true, others = false; /* are there entries to come again? */
    while (status == WEIR_OK && (status = thread_wait_room(self, context, err)) == WEIR_OK) {
        int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
        if (owns) {
            status = thread_claim(self, context, true, &owns, err);
        } else if (others || now_ns - claimed_ns >= idle_part_ns(self, 2)) {
            claimed_ns = now_ns;
            status = thread_claim(self, context, false, &others, err);
            if (status == WEIR_OK && !others) {
                remove_dead(self, context);
            }
        }
        if (status == WEIR_OK) {
            status =
                thread_read(self, context, owns || others ? AGAIN_BLOCK_MS : (int)block_ms, err);
            redis_reader_drop(&self->reader);
        }
    }
    return status;
}
