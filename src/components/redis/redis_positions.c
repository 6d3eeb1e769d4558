/* SPDX-License-Identifier: Apache-2.0
 *
 * Positions of a Redis source, from outside. Positioned, a stream's is the key that its commits
 * guard: setting it is one more tenure, with a token of its own, and refused while anybody has the
 * lease, in one script. Shared, a group has no one position: `committed` is what is read less what
 * is pending, and it is moved with XGROUP SETID.
 *
 * `auto` does not say which; a position that is there does, or state.
 *
 * State is imported into keys aside, and put in place by one script, which is refused while anybody
 * has a lease: all of it counts, or nothing. In a cluster a script has the keys of one slot, so
 * there is one for each stream; a command that dies leaves keys aside, without which no reader
 * begins (redis_state_log.c), and the next import begins anew.
 */
#include <stdio.h>
#include <string.h>

#include <weir/positions.h>

#include "redis_chunk.h"
#include "redis_commit.h"
#include "redis_state_log.h"

enum { ACTIVE_MS = 2000 };

struct asker {
    struct redis_nodes nodes;
    redisContext *context; /* of the part that is asked about */
    const struct redis_source_config *config;
    char group[REDIS_NAME_MAX + 1];
    struct redis_part *parts;
    size_t count;
    bool is_positioned;
    size_t *added; /* entries of each part that is being written */
};

/* To where that part is. */
static weir_status asker_turn(struct asker *self, size_t index, struct weir_err *err)
{
    struct redis_node *node = redis_nodes_get(&self->nodes, self->parts[index].stream, err);
    self->context = node == NULL ? NULL : node->context;
    return node == NULL ? err->status : WEIR_OK;
}

static weir_status
asker_open(struct asker *self, const struct weir_positions_call *call, struct weir_err *err)
{
    self->config = call->config;
    snprintf(self->group, sizeof(self->group), "%s",
             self->config->group != NULL ? self->config->group : call->pipeline);
    self->count = self->config->partitions > 0 ? (size_t)self->config->partitions : 1;
    self->parts = weir_arena_calloc(call->arena, self->count, sizeof(*self->parts));
    for (size_t i = 0; i < self->count; i++) {
        redis_part_name(&self->parts[i], self->config, self->group, (int32_t)i);
    }
    self->nodes = (struct redis_nodes){.connection = &self->config->connection,
                                       .timeout_ms = REDIS_ANSWER_MS};
    if (asker_turn(self, 0, err) != WEIR_OK) {
        return err->status;
    }
    const char *const question[] = {"EXISTS", self->parts[0].position_key,
                                    self->parts[0].state_key};
    redisReply *reply = redis_ask(self->context, "EXISTS", REDIS_REPLY_INTEGER, err, 3, question);
    self->is_positioned =
        self->config->mode == REDIS_MODE_POSITIONED || self->config->partitions > 0 ||
        (self->config->mode == REDIS_MODE_AUTO && reply != NULL && reply->integer > 0);
    freeReplyObject(reply);
    return err->status;
}

static void asker_close(struct asker *self)
{
    redis_nodes_drop(&self->nodes);
}

/* --- list --------------------------------------------------------------------------------------*/

static weir_status
ask_position(struct asker *self, struct redis_part *part, int64_t *ret, struct weir_err *err)
{
    const char *const question[] = {"GET", part->position_key};
    redisReply *reply = redis_ask(self->context, part->position_key, 0, err, 2, question);
    if (reply == NULL) {
        return err->status;
    }
    *ret = -1;
    if (reply->type == REDIS_REPLY_STRING && redis_position_parse(reply->str, &part->at)) {
        *ret = part->at.count;
    }
    freeReplyObject(reply);
    return WEIR_OK;
}

/* A number of the group's row of XINFO GROUPS; -1: not known. */
static int64_t row_number(const redisReply *row, const char *name)
{
    const redisReply *found = redis_reply_find(row, name);
    return found != NULL && found->type == REDIS_REPLY_INTEGER ? found->integer : -1;
}

static weir_status
ask_group(struct asker *self, int64_t end, int64_t *ret_committed, struct weir_err *err)
{
    redisReply *reply = redisCommand(self->context, "XINFO GROUPS %s", self->config->stream);
    *ret_committed = -1;
    if (reply == NULL) {
        return redis_fail(err, self->config->stream, self->context, NULL);
    }
    for (size_t i = 0; redis_reply_is_list(reply) && i < reply->elements; i++) {
        const redisReply *row = reply->element[i];
        if (weir_slice_equal(redis_reply_slice(row->element[1]), weir_slice_of(self->group))) {
            int64_t lag = row_number(row, "lag"), pending = row_number(row, "pending");
            *ret_committed = lag < 0 ? -1 : end - lag - pending;
        }
    }
    freeReplyObject(reply);
    return WEIR_OK;
}

static weir_status list(const struct weir_positions_call *call,
                        struct weir_position **ret_items,
                        size_t *ret_count,
                        struct weir_err *err)
{
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    struct weir_position *items = weir_arena_calloc(call->arena, asker.count, sizeof(*items));
    for (size_t i = 0; i < asker.count && status == WEIR_OK; i++) {
        struct redis_part *part = &asker.parts[i];
        struct redis_counts counts = {0};
        status = asker_turn(&asker, i, err);
        if (status == WEIR_OK) {
            status = redis_stream_counts(asker.context, part->stream, &counts, err);
        }
        if (status == WEIR_OK) {
            items[i] = (struct weir_position){.topic = part->stream,
                                              .partition = (int32_t)i,
                                              .first = counts.added - counts.length,
                                              .end = counts.added};
            status = asker.is_positioned
                         ? ask_position(&asker, part, &items[i].committed, err)
                         : ask_group(&asker, counts.added, &items[i].committed, err);
        }
    }
    *ret_items = items;
    *ret_count = asker.count;
    asker_close(&asker);
    return status;
}

static weir_status find(const struct weir_positions_call *call,
                        int64_t time_ms,
                        struct weir_position *items,
                        size_t count,
                        struct weir_err *err)
{
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    const struct weir_moment moment = {.time_ms = time_ms};
    char id[REDIS_ID_MAX];
    redis_start_id(&moment, id);
    for (size_t i = 0; i < count && status == WEIR_OK; i++) {
        items[i].target = items[i].first;
        status = asker_turn(&asker, (size_t)items[i].partition, err);
        if (status == WEIR_OK) {
            status = redis_count_until(asker.context, items[i].topic, id, INT64_MAX,
                                       &items[i].target, NULL, err);
        }
    }
    asker_close(&asker);
    return status;
}

/* --- who reads ---------------------------------------------------------------------------------*/

static void
lease_key(const struct asker *self, size_t index, const char *what, char key[REDIS_KEY_MAX])
{
    char name[REDIS_KEYS_NAME_MAX];
    redis_keys_name(name, self->group, self->config->stream);
    redis_key(key, name, self->parts[index].tag, what);
}

static weir_status ask_leases(struct asker *self, struct weir_strbuf *out, struct weir_err *err)
{
    for (size_t i = 0; i < self->count; i++) {
        char key[REDIS_KEY_MAX];
        lease_key(self, i, "lease", key);
        const char *const question[] = {"GET", key};
        redisReply *reply = asker_turn(self, i, err) != WEIR_OK
                                ? NULL
                                : redis_ask(self->context, key, 0, err, 2, question);
        if (reply == NULL) {
            return err->status;
        }
        if (reply->type == REDIS_REPLY_STRING) {
            weir_strbuf_printf(out, "  whoever has the lease of %s (%s)\n", self->parts[i].stream,
                               reply->str);
        }
        freeReplyObject(reply);
    }
    return WEIR_OK;
}

/* A consumer that asked just now. */
static weir_status ask_consumers(struct asker *self, struct weir_strbuf *out, struct weir_err *err)
{
    redisReply *reply =
        redisCommand(self->context, "XINFO CONSUMERS %s %s", self->config->stream, self->group);
    if (reply == NULL) {
        return redis_fail(err, self->config->stream, self->context, NULL);
    }
    for (size_t i = 0; redis_reply_is_list(reply) && i < reply->elements; i++) {
        int64_t idle_ms = row_number(reply->element[i], "idle");
        if (idle_ms >= 0 && idle_ms < ACTIVE_MS) {
            weir_strbuf_printf(out, "  consumer %s\n", reply->element[i]->element[1]->str);
        }
    }
    freeReplyObject(reply);
    return WEIR_OK;
}

static weir_status
readers(const struct weir_positions_call *call, struct weir_strbuf *out, struct weir_err *err)
{
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    if (status == WEIR_OK) {
        status =
            asker.is_positioned ? ask_leases(&asker, out, err) : ask_consumers(&asker, out, err);
    }
    asker_close(&asker);
    return status;
}

/* --- setting -----------------------------------------------------------------------------------*/

/* The id of the last entry before the target; what was deleted in the middle is not counted. */
static weir_status find_id(struct asker *self,
                           const struct weir_position *item,
                           char id[REDIS_ID_MAX],
                           struct weir_err *err)
{
    struct redis_counts counts;
    weir_status status = redis_stream_counts(self->context, item->topic, &counts, err);
    memcpy(id, "0-0", 4);
    if (status == WEIR_OK && item->target >= counts.added) {
        memcpy(id, counts.last, REDIS_ID_MAX);
    } else if (status == WEIR_OK && item->target > counts.added - counts.length) {
        int64_t passed = 0;
        status = redis_count_until(self->context, item->topic, "+",
                                   item->target - (counts.added - counts.length), &passed, id, err);
    }
    return status;
}

static weir_status set_position(struct asker *self,
                                const struct weir_position *item,
                                const char *id,
                                struct weir_err *err)
{
    static const char script[] =
        "if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end\n"
        "local token = redis.call('INCR', KEYS[2])\n"
        "local at = redis.call('GET', KEYS[3]) or 'w1:0:0:0:0:0-0'\n"
        "local epoch = string.match(at, '^w1:%x+:%d+:(%d+):') or '0'\n"
        "redis.call('SET', KEYS[3], 'w1:0000000000000000:' .. token .. ':' .. epoch + 1 .. ':' .. "
        "ARGV[1])\n"
        "return 1";
    char lease[REDIS_KEY_MAX], token[REDIS_KEY_MAX], rest[REDIS_POSITION_MAX];
    lease_key(self, (size_t)item->partition, "lease", lease);
    lease_key(self, (size_t)item->partition, "token", token);
    snprintf(rest, sizeof(rest), "%lld:%s", (long long)item->target, id);
    const char *const arguments[] = {lease, token, self->parts[item->partition].position_key, rest};
    redisReply *reply = redis_eval(self->context, "positions", err, script, 3, 4, arguments);
    if (reply == NULL) {
        return err->status;
    }
    bool is_set = reply->integer == 1;
    freeReplyObject(reply);
    return is_set ? WEIR_OK : weir_fail(err, WEIR_REJECTED, "%.200s is being read", item->topic);
}

static weir_status set_group(struct asker *self,
                             const struct weir_position *item,
                             const char *id,
                             struct weir_err *err)
{
    struct weir_strbuf readers;
    weir_strbuf_init(&readers, 4096);
    weir_status status = ask_consumers(self, &readers, err);
    if (status == WEIR_OK && readers.size > 0) {
        status = weir_fail(err, WEIR_REJECTED, "%.200s is being read", item->topic);
    }
    weir_strbuf_done(&readers);
    for (int i = 0; i < 2 && status == WEIR_OK; i++) {
        redisReply *reply = redisCommand(self->context,
                                         i == 0 ? "XGROUP CREATE %s %s %s MKSTREAM ENTRIESREAD %lld"
                                                : "XGROUP SETID %s %s %s ENTRIESREAD %lld",
                                         item->topic, self->group, id, (long long)item->target);
        if (reply == NULL ||
            (reply->type == REDIS_REPLY_ERROR && !redis_reply_is(reply, "BUSYGROUP"))) {
            status = redis_fail(err, item->topic, self->context, reply);
        }
        freeReplyObject(reply);
    }
    return status;
}

static weir_status commit(const struct weir_positions_call *call,
                          const struct weir_position *items,
                          size_t count,
                          struct weir_err *err)
{
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    for (size_t i = 0; i < count && status == WEIR_OK; i++) {
        char id[REDIS_ID_MAX];
        status = asker_turn(&asker, (size_t)items[i].partition, err);
        if (status == WEIR_OK) {
            status = find_id(&asker, &items[i], id, err);
        }
        if (status == WEIR_OK) {
            status = asker.is_positioned ? set_position(&asker, &items[i], id, err)
                                         : set_group(&asker, &items[i], id, err);
        }
    }
    asker_close(&asker);
    return status;
}

/* --- the state ---------------------------------------------------------------------------------*/

enum { STATE_PAGE = 64 };

struct state_reading {
    int32_t shard;
    weir_status (*take)(void *context,
                        int32_t shard,
                        struct weir_slice entry,
                        struct weir_err *err);
    void *context;
};

static weir_status read_page(const redisReply *page,
                             const char *key,
                             const struct state_reading *reading,
                             struct weir_err *err)
{
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < page->elements && status == WEIR_OK; i++) {
        const redisReply *item = page->element[i];
        status = redis_reply_is_entry(item) && item->element[1]->elements == 2
                     ? reading->take(reading->context, reading->shard,
                                     redis_reply_slice(item->element[1]->element[1]), err)
                     : weir_fail(err, WEIR_CORRUPT, "%.200s: this is no state of weir", key);
    }
    return status;
}

static weir_status read_shard(redisContext *context,
                              const char *key,
                              struct state_reading *reading,
                              struct weir_err *err)
{
    char from[REDIS_ID_MAX + 1] = "-", count[24];
    snprintf(count, sizeof(count), "%d", STATE_PAGE);
    weir_status status = WEIR_OK;
    for (size_t got = STATE_PAGE; status == WEIR_OK && got == STATE_PAGE;) {
        const char *const question[] = {"XRANGE", key, from, "+", "COUNT", count};
        redisReply *page = redis_ask(context, key, REDIS_REPLY_ARRAY, err, 6, question);
        if (page == NULL) {
            return err->status;
        }
        got = page->elements;
        status = read_page(page, key, reading, err);
        if (got > 0 && status == WEIR_OK) {
            snprintf(from, sizeof(from), "(%s", page->element[got - 1]->element[0]->str);
        }
        freeReplyObject(page);
    }
    return status;
}

static weir_status read_state(const struct weir_positions_call *call,
                              const char *name,
                              int32_t *ret_shards,
                              weir_status (*take)(void *context,
                                                  int32_t shard,
                                                  struct weir_slice entry,
                                                  struct weir_err *err),
                              void *context,
                              struct weir_err *err)
{
    (void)name; /* each stream's lies beside it */
    struct asker asker = {0};
    struct state_reading reading = {.take = take, .context = context};
    weir_status status = asker_open(&asker, call, err);
    *ret_shards = (int32_t)asker.count;
    for (size_t i = 0; i < asker.count && status == WEIR_OK; i++) {
        reading.shard = (int32_t)i;
        status = asker_turn(&asker, i, err);
        if (status != WEIR_OK) {
            break;
        }
        status = read_shard(asker.context, asker.parts[i].state_key, &reading, err);
    }
    asker_close(&asker);
    return status;
}

/* Runs the script over lease, state and state aside of `count` streams. It answers 0: done, i: the
 * i-th of them has state, -i: it is being read. */
static weir_status eval_some(struct asker *self,
                             struct weir_arena *arena,
                             const char *script,
                             size_t first,
                             size_t count,
                             struct weir_err *err)
{
    size_t keys = 3 * count;
    const char **line = weir_arena_calloc(arena, 3 + keys, sizeof(*line));
    line[0] = "EVAL";
    line[1] = script;
    line[2] = weir_arena_printf(arena, "%zu", keys);
    for (size_t i = 0; i < count; i++) {
        char lease[REDIS_KEY_MAX], aside[REDIS_ASIDE_KEY_MAX];
        lease_key(self, first + i, "lease", lease);
        redis_state_aside(&self->parts[first + i], aside);
        line[3 + 3 * i] = weir_arena_strdup(arena, lease);
        line[4 + 3 * i] = self->parts[first + i].state_key;
        line[5 + 3 * i] = weir_arena_strdup(arena, aside);
    }
    redisReply *reply =
        redis_ask(self->context, "the state", REDIS_REPLY_INTEGER, err, 3 + keys, line);
    if (reply == NULL) {
        return err->status;
    }
    long long answer = reply->integer;
    freeReplyObject(reply);
    if (answer < 0) {
        return weir_fail(err, WEIR_REJECTED, "%.200s is being read",
                         self->parts[first + (size_t)(-answer) - 1].stream);
    }
    if (answer > 0) {
        weir_status status = weir_fail(err, WEIR_REJECTED, "%.200s has state already",
                                       self->parts[first + (size_t)answer - 1].stream);
        weir_err_hint(err, "`weir positions set --reset-state` throws it away.");
        return status;
    }
    return WEIR_OK;
}

static weir_status
eval_all(struct asker *self, struct weir_arena *arena, const char *script, struct weir_err *err)
{
    size_t at_once = self->config->connection.cluster ? 1 : self->count;
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < self->count && status == WEIR_OK; i += at_once) {
        status = asker_turn(self, i, err);
        if (status == WEIR_OK) {
            status = eval_some(self, arena, script, i, at_once, err);
        }
    }
    return status;
}

static weir_status
add_entry(void *context, int32_t shard, struct weir_slice entry, struct weir_err *err)
{
    struct asker *self = context;
    char key[REDIS_ASIDE_KEY_MAX], id[REDIS_ID_MAX];
    if (asker_turn(self, (size_t)shard, err) != WEIR_OK) {
        return err->status;
    }
    redis_state_aside(&self->parts[shard], key);
    snprintf(id, sizeof(id), "1-%zu", ++self->added[shard]);
    redisReply *reply = redisCommand(self->context, "XADD %s %s f %b", key, id, entry.data,
                                     entry.size);
    weir_status status = reply == NULL || reply->type == REDIS_REPLY_ERROR
                             ? redis_fail(err, key, self->context, reply)
                             : WEIR_OK;
    freeReplyObject(reply);
    return status;
}

static weir_status write_state(const struct weir_positions_call *call,
                               const char *name,
                               const struct weir_position *items,
                               size_t count,
                               const struct weir_state_entries *entries,
                               struct weir_err *err)
{
    static const char clear[] = "for i = 1, #KEYS, 3 do\n"
                                "  if redis.call('EXISTS', KEYS[i]) == 1 then return -(i + 2) / 3 end\n"
                                "  if redis.call('EXISTS', KEYS[i + 1]) == 1 then return (i + 2) / 3 end\n"
                                "  redis.call('DEL', KEYS[i + 2])\n"
                                "end\n"
                                "return 0";
    static const char place[] = "for i = 1, #KEYS, 3 do\n"
                                "  if redis.call('EXISTS', KEYS[i]) == 1 then return -(i + 2) / 3 end\n"
                                "  if redis.call('EXISTS', KEYS[i + 1]) == 1 then return (i + 2) / 3 end\n"
                                "end\n"
                                "for i = 1, #KEYS, 3 do\n"
                                "  if redis.call('EXISTS', KEYS[i + 2]) == 1 then\n"
                                "    redis.call('RENAME', KEYS[i + 2], KEYS[i + 1])\n"
                                "  end\n"
                                "end\n"
                                "return 0";
    (void)name, (void)items, (void)count;
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    status = status == WEIR_OK ? eval_all(&asker, call->arena, clear, err) : status;
    asker.added = weir_arena_calloc(call->arena, asker.count, sizeof(*asker.added));
    status = status == WEIR_OK ? entries->each(entries->self, add_entry, &asker, err) : status;
    status = status == WEIR_OK ? eval_all(&asker, call->arena, place, err) : status;
    asker_close(&asker);
    return status;
}

static weir_status
drop_state(const struct weir_positions_call *call, const char *name, struct weir_err *err)
{
    static const char script[] = "for i = 1, #KEYS, 3 do\n"
                                 "  if redis.call('EXISTS', KEYS[i]) == 1 then return -(i + 2) / 3 end\n"
                                 "end\n"
                                 "for i = 1, #KEYS, 3 do\n"
                                 "  redis.call('DEL', KEYS[i + 1], KEYS[i + 2])\n"
                                 "end\n"
                                 "return 0";
    (void)name;
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    status = status == WEIR_OK ? eval_all(&asker, call->arena, script, err) : status;
    asker_close(&asker);
    return status;
}

const struct weir_positions_ops redis_positions_ops = {
    .unit = "records",
    .list = list,
    .find = find,
    .readers = readers,
    .commit = commit,
    .read_state = read_state,
    .write_state = write_state,
    .state_entry_max = REDIS_FRAME_BYTES_MAX,
    .drop_state = drop_state,
};
