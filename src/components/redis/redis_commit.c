/* SPDX-License-Identifier: Apache-2.0
 *
 * The commit of a task, one pipeline and one round trip:
 *
 *     WATCH position
 *     EVAL: if the position is not what we left there, touch it, so that EXEC does nothing
 *     MULTI
 *     outputs …, frames of the state …
 *     SET position
 *     XGROUP SETID, for lag and for others who trim
 *     EXEC
 *
 * Redis rolls nothing back: a command that fails within EXEC leaves the others done. So every
 * element of the answer is looked at, and one that failed ends the pipeline, naming it. What is
 * refused before EXEC (no memory, no permission, a replica) is refused whole.
 *
 * The check is a script that is sent as text, never by its hash: a hash that the server has
 * forgotten would be an error, and EXEC would go on unchecked. For the same reason it may run
 * without memory.
 *
 * The answers are counted, not built: one for each output would cost more than sending it.
 */
#include "redis_commit.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"

enum { PAGE = 1000, RETRY_MS = 100 };

/* --- names -------------------------------------------------------------------------------------*/

void redis_keys_name(char name[REDIS_KEYS_NAME_MAX], const char *group, const char *stream)
{
    int size = snprintf(name, REDIS_KEYS_NAME_MAX, "%s:%s", group, stream);
    WEIR_ASSERT(size > 0 && size < REDIS_KEYS_NAME_MAX);
}

void redis_part_name(struct redis_part *part,
                     const struct redis_source_config *config,
                     const char *group,
                     int32_t index)
{
    const char *stream = config->stream;
    char name[REDIS_KEYS_NAME_MAX];
    part->base.index = index;
    part->base.topic = part->stream;
    part->group = group;
    if (config->partitions > 0) {
        snprintf(part->stream, sizeof(part->stream), "%s:{%d}", stream, index);
        snprintf(part->tag, sizeof(part->tag), "%d", index);
    } else { /* a cluster hashes what stands between the first { and the next } */
        const char *open = strchr(stream, '{');
        const char *end = open == NULL ? NULL : strchr(open, '}');
        bool is_tagged = end != NULL && end > open + 1;
        snprintf(part->stream, sizeof(part->stream), "%s", stream);
        snprintf(part->tag, sizeof(part->tag), "%.*s",
                 (int)(is_tagged ? (size_t)(end - open) - 1 : strlen(stream)),
                 is_tagged ? open + 1 : stream);
    }
    redis_keys_name(name, group, stream);
    redis_key(part->position_key, name, part->tag, "position");
    redis_key(part->state_key, name, part->tag, "state");
}

/* --- adopting ----------------------------------------------------------------------------------*/

static void position_print(char text[REDIS_POSITION_MAX], const struct redis_position *at)
{
    snprintf(text, REDIS_POSITION_MAX, "w1:%016llx:%llu:%llu:%lld:%s",
             (unsigned long long)at->nonce, (unsigned long long)at->token,
             (unsigned long long)at->epoch, (long long)at->count, at->id);
}

bool redis_position_parse(const char *text, struct redis_position *ret)
{
    unsigned long long nonce, token, epoch;
    long long count;
    char id[REDIS_ID_MAX];
    if (sscanf(text, "w1:%16llx:%llu:%llu:%lld:%47s", &nonce, &token, &epoch, &count, id) != 5) {
        return false;
    }
    *ret = (struct redis_position){.nonce = nonce, .token = token, .epoch = epoch, .count = count};
    memcpy(ret->id, id, sizeof(id));
    return true;
}

weir_status redis_count_until(redisContext *context,
                              const char *stream,
                              const char *id,
                              int64_t max,
                              int64_t *count,
                              char last[REDIS_ID_MAX],
                              struct weir_err *err)
{
    char from[REDIS_ID_MAX + 1] = "-", page[24];
    int64_t left = max;
    size_t got = 1;
    while (left > 0 && got > 0) {
        snprintf(page, sizeof(page), "%lld", (long long)(left < PAGE ? left : PAGE));
        const char *const question[] = {"XRANGE", stream, from, id, "COUNT", page};
        redisReply *reply = redis_ask(context, stream, REDIS_REPLY_ARRAY, err, 6, question);
        if (reply == NULL) {
            return err->status;
        }
        got = reply->elements;
        *count += (int64_t)got;
        left -= (int64_t)got;
        if (got > 0) {
            const char *reached = reply->element[got - 1]->element[0]->str;
            snprintf(from, sizeof(from), "(%s", reached);
            if (last != NULL) {
                snprintf(last, REDIS_ID_MAX, "%s", reached);
            }
        }
        freeReplyObject(reply);
    }
    return WEIR_OK;
}

weir_status redis_stream_counts(redisContext *context,
                                const char *stream,
                                struct redis_counts *ret,
                                struct weir_err *err)
{
    *ret = (struct redis_counts){.last = "0-0"};
    redisReply *info = redisCommand(context, "XINFO STREAM %s", stream);
    if (info == NULL) {
        return redis_fail(err, stream, context, NULL);
    }
    weir_status status = WEIR_OK;
    bool is_missing = info->type == REDIS_REPLY_ERROR && strstr(info->str, "no such key") != NULL;
    if (info->type == REDIS_REPLY_ERROR && !is_missing) {
        status = redis_fail(err, stream, context, info);
    } else if (!is_missing) {
        const redisReply *added = redis_reply_find(info, "entries-added");
        const redisReply *length = redis_reply_find(info, "length");
        const redisReply *last = redis_reply_find(info, "last-generated-id");
        if (added == NULL || length == NULL || last == NULL) {
            status = weir_fail(err, WEIR_CONFIG, "reading by position needs Redis 7.0 or later");
        } else {
            ret->added = added->integer;
            ret->length = length->integer;
            snprintf(ret->last, sizeof(ret->last), "%s", last->str);
        }
    }
    freeReplyObject(info);
    return status;
}

/* Where a task without a position begins: at the beginning if it had one here, which is gone, for
 * what was added meanwhile must not be missed. */
static weir_status find_start(struct redis_part *part,
                              redisContext *context,
                              const struct weir_moment *start,
                              struct redis_position *ret,
                              struct weir_err *err)
{
    static const struct weir_moment beginning = {.word = REDIS_START_EARLIEST};
    struct redis_counts counts;
    weir_status status = redis_stream_counts(context, part->stream, &counts, err);
    start = part->at.token > 0 ? &beginning : start;
    if (status == WEIR_OK && start->word == REDIS_START_LATEST) {
        ret->count = counts.added;
        memcpy(ret->id, counts.last, sizeof(ret->id));
    } else if (status == WEIR_OK) {
        redis_start_id(start, ret->id);
        ret->count = counts.added - counts.length;
        if (strcmp(ret->id, "0-0") != 0) {
            status = redis_count_until(context, part->stream, ret->id, INT64_MAX, &ret->count, NULL,
                                       err);
        }
    }
    return status;
}

static weir_status
part_prepare(struct redis_part *part, redisContext *context, struct weir_err *err)
{
    weir_status status = redis_check_type(context, part->stream, "stream", err);
    if (status == WEIR_OK) {
        status = redis_check_type(context, part->position_key, "string", err);
    }
    if (status == WEIR_OK) {
        status = redis_check_type(context, part->state_key, "stream", err);
    }
    return status;
}

weir_status
redis_part_make_group(struct redis_part *part, redisContext *context, struct weir_err *err)
{
    redisReply *reply =
        redisCommand(context, "XGROUP CREATE %s %s %s MKSTREAM ENTRIESREAD %lld", part->stream,
                     part->group, part->at.id, (long long)part->at.count);
    weir_status status = WEIR_OK;
    if (reply == NULL ||
        (reply->type == REDIS_REPLY_ERROR && !redis_reply_is(reply, "BUSYGROUP"))) {
        status = redis_fail(err, part->stream, context, reply);
    }
    freeReplyObject(reply);
    return status;
}

weir_status redis_part_adopt(struct redis_part *part,
                             redisContext *context,
                             const struct weir_moment *start,
                             uint64_t nonce,
                             uint64_t token,
                             struct weir_err *err)
{
    static const char script[] =
        "local at = redis.call('GET', KEYS[1])\n"
        "local rest = ARGV[3]\n"
        "if at then\n"
        "  local n, t, r = string.match(at, '^w1:(%x+):(%d+):(%d+:%d+:.+)$')\n"
        "  if not n then return redis.error_reply('ERR not a position of weir') end\n"
        "  if tonumber(t) > tonumber(ARGV[2]) or (t == ARGV[2] and n ~= ARGV[1]) then return 0 "
        "end\n"
        "  rest = r\n"
        "elseif rest == '' then return 1 end\n"
        "at = 'w1:' .. ARGV[1] .. ':' .. ARGV[2] .. ':' .. rest\n"
        "redis.call('SET', KEYS[1], at)\n"
        "return at";
    weir_status status = part_prepare(part, context, err);
    char own[24], number[24], rest[REDIS_POSITION_MAX] = "";
    snprintf(own, sizeof(own), "%016llx", (unsigned long long)nonce);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)token);
    const char *const arguments[] = {part->position_key, own, number, rest};
    redisReply *reply = NULL;
    for (int round = 0; round < 2 && status == WEIR_OK; round++) {
        freeReplyObject(reply);
        reply = redis_eval(context, part->position_key, err, script, 1, 4, arguments);
        status = reply == NULL ? err->status : WEIR_OK;
        if (reply == NULL || reply->type != REDIS_REPLY_INTEGER || reply->integer != 1) {
            break;
        }
        struct redis_position first = {0};
        status = find_start(part, context, start, &first, err);
        snprintf(rest, sizeof(rest), "0:%lld:%s", (long long)first.count, first.id);
    }
    if (status == WEIR_OK && reply->type == REDIS_REPLY_INTEGER) {
        status = weir_fail(err, WEIR_FENCED, "%s is another process's", part->stream);
    } else if (status == WEIR_OK && !redis_position_parse(reply->str, &part->at)) {
        status = weir_fail(err, WEIR_CORRUPT, "%.200s: this is no position", part->position_key);
    }
    freeReplyObject(reply);
    return status == WEIR_OK ? redis_part_make_group(part, context, err) : status;
}

/* --- what is sent ------------------------------------------------------------------------------*/

static const char check_script[] = "#!lua flags=allow-oom\n"
                                   "local at = redis.call('GET', KEYS[1])\n"
                                   "if at == ARGV[1] then return 1 end\n"
                                   "redis.call('SET', KEYS[1], at or '')\n"
                                   "if not at then redis.call('DEL', KEYS[1]) end\n"
                                   "return at == ARGV[2] and 2 or 0";

static void put_text(struct weir_strbuf *out, const char *text)
{
    redis_put(out, weir_slice_of(text));
}

struct redis_position redis_part_next(const struct redis_part *part, int64_t count)
{
    struct redis_position next = part->at;
    next.epoch++;
    next.count = count;
    for (const struct weir_chunk *chunk = part->window.first;
         count > part->at.count && chunk != NULL && chunk->start < count; chunk = chunk->next) {
        int64_t entries = count - chunk->start;
        entries = entries < (int64_t)chunk->count ? entries : (int64_t)chunk->count;
        const struct redis_entry *last = &((const struct redis_chunk *)chunk)->entries[entries - 1];
        snprintf(next.id, sizeof(next.id), "%s", last->id->str);
    }
    return next;
}

static size_t item_commands(const struct redis_commit_item *item)
{
    return item->part->output_count + item->part->frame_count + 2;
}

static void put_item(struct weir_strbuf *out, const struct redis_commit_item *item)
{
    const struct redis_part *part = item->part;
    char old_text[REDIS_POSITION_MAX], new_text[REDIS_POSITION_MAX], count[24];
    position_print(old_text, &part->at);
    position_print(new_text, &item->next);
    snprintf(count, sizeof(count), "%lld", (long long)item->next.count);
    redis_put_head(out, 2);
    put_text(out, "WATCH");
    put_text(out, part->position_key);
    redis_put_head(out, 6);
    put_text(out, "EVAL");
    put_text(out, check_script);
    put_text(out, "1");
    put_text(out, part->position_key);
    put_text(out, old_text);
    put_text(out, new_text);
    redis_put_head(out, 1);
    put_text(out, "MULTI");
    weir_strbuf_slice(out, weir_strbuf_view(&part->outputs));
    weir_strbuf_slice(out, weir_strbuf_view(&part->frames));
    redis_put_head(out, 3);
    put_text(out, "SET");
    put_text(out, part->position_key);
    put_text(out, new_text);
    redis_put_head(out, 7);
    put_text(out, "XGROUP");
    put_text(out, "SETID");
    put_text(out, part->stream);
    put_text(out, part->group);
    put_text(out, item->next.id);
    put_text(out, "ENTRIESREAD");
    put_text(out, count);
    redis_put_head(out, 1);
    put_text(out, "EXEC");
}

/* --- what is answered --------------------------------------------------------------------------*/

/* What one answer says. In the place of hiredis' objects; the type comes first there too. */
struct tally {
    int type;
    long long integer;
    size_t elements, errors; /* of an array; errors within it */
    size_t first_error;
    bool last_failed;
    char text[256]; /* of the first error */
};

static void *
tally_error(const redisReadTask *task, struct tally *tally, const char *text, size_t size)
{
    if (task->parent == NULL || tally->errors == 0) {
        snprintf(tally->text, sizeof(tally->text), "%.*s", (int)(size < 255 ? size : 255), text);
        tally->first_error = (size_t)task->idx;
    }
    if (task->parent != NULL) {
        tally->errors++;
        tally->last_failed = (size_t)task->idx + 1 == tally->elements;
    }
    return tally;
}

static void *tally_any(const redisReadTask *task)
{
    struct tally *tally = task->privdata;
    if (task->parent == NULL) {
        tally->type = task->type;
    }
    return tally;
}

/* EXEC that did nothing is an array that is nil. */
static void *tally_nil(const redisReadTask *task)
{
    struct tally *tally = task->privdata;
    if (task->parent == NULL) {
        tally->type = REDIS_REPLY_NIL;
    }
    return tally;
}

static void *tally_string(const redisReadTask *task, char *text, size_t size)
{
    struct tally *tally = tally_any(task);
    return task->type == REDIS_REPLY_ERROR ? tally_error(task, tally, text, size) : tally;
}

static void *tally_array(const redisReadTask *task, size_t elements)
{
    struct tally *tally = tally_any(task);
    if (task->parent == NULL) {
        tally->elements = elements;
    }
    return tally;
}

static void *tally_integer(const redisReadTask *task, long long integer)
{
    struct tally *tally = tally_any(task);
    if (task->parent == NULL) {
        tally->integer = integer;
    }
    return tally;
}

static void *tally_double(const redisReadTask *task, double number, char *text, size_t size)
{
    (void)number;
    (void)text;
    (void)size;
    return tally_any(task);
}

static void *tally_bool(const redisReadTask *task, int value)
{
    (void)value;
    return tally_any(task);
}

static void tally_free(void *tally)
{
    (void)tally;
}

static redisReplyObjectFunctions tally_functions = {
    .createString = tally_string,
    .createArray = tally_array,
    .createInteger = tally_integer,
    .createDouble = tally_double,
    .createNil = tally_nil,
    .createBool = tally_bool,
    .freeObject = tally_free,
};

/* False: the connection is gone. */
static bool next_answer(redisContext *context, struct tally *tally)
{
    *tally = (struct tally){0};
    context->reader->privdata = tally;
    void *answer = NULL;
    return redisGetReply(context, &answer) == REDIS_OK && answer != NULL;
}

static weir_status fail_text(struct weir_err *err, const char *what, char *text)
{
    const redisReply reply = {.type = REDIS_REPLY_ERROR, .str = text, .len = strlen(text)};
    return redis_fail(err, what, NULL, &reply);
}

/* What EXEC said. `refused`: the first command that was not taken into the transaction. */
static void judge(struct redis_commit_item *item,
                  long long checked,
                  struct tally *check,
                  struct tally *refused,
                  struct tally *exec)
{
    const struct redis_part *part = item->part;
    if (exec->type == REDIS_REPLY_ARRAY && check->type == REDIS_REPLY_ERROR) {
        (void)!weir_fail(&item->err, WEIR_FATAL, "%.100s: committed without a check: %.200s",
                         part->stream, check->text);
        item->outcome = REDIS_OUTCOME_TORN;
    } else if (exec->type == REDIS_REPLY_ARRAY) {
        size_t errors = exec->errors - exec->last_failed; /* without the group, it can be made */
        item->part->is_groupless = exec->last_failed;
        item->outcome = errors == 0 ? REDIS_OUTCOME_STANDS : REDIS_OUTCOME_TORN;
        if (errors > 0) {
            (void)!weir_fail(&item->err, WEIR_FATAL,
                             "%.100s: %zu of %zu commands of a commit failed, the others are done, "
                             "and the position is %lld: %.150s",
                             part->stream, errors, exec->elements, (long long)item->next.count,
                             exec->text);
            weir_err_hint(&item->err,
                          "Redis rolls nothing back: see the key that the error names.");
        }
    } else if (refused->type == REDIS_REPLY_ERROR) {
        item->outcome = REDIS_OUTCOME_REFUSED;
        (void)!fail_text(&item->err, part->stream, refused->text);
    } else if (check->type == REDIS_REPLY_ERROR) {
        item->outcome = REDIS_OUTCOME_REFUSED;
        (void)!fail_text(&item->err, part->stream, check->text);
    } else if (exec->type == REDIS_REPLY_NIL) {
        item->outcome = checked == 2 ? REDIS_OUTCOME_STANDS : REDIS_OUTCOME_OVER;
        if (checked != 2) {
            (void)!weir_fail(&item->err, WEIR_ABORTED, "%.200s went to another process",
                             part->stream);
        }
    } else {
        item->outcome = REDIS_OUTCOME_REFUSED;
        (void)!fail_text(&item->err, part->stream, exec->text);
    }
}

/* False: the connection is gone, and with it the answer. */
static bool receive_item(redisContext *context, struct redis_commit_item *item)
{
    struct tally watch, check, answer, refused = {0};
    if (!next_answer(context, &watch) || !next_answer(context, &check)) {
        return false;
    }
    refused = watch.type == REDIS_REPLY_ERROR ? watch : refused;
    for (size_t i = 0; i < 1 + item_commands(item); i++) { /* MULTI, and what is in it */
        if (!next_answer(context, &answer)) {
            return false;
        }
        if (answer.type == REDIS_REPLY_ERROR && refused.type == 0) {
            refused = answer;
        }
    }
    if (!next_answer(context, &answer)) {
        return false;
    }
    judge(item, check.integer, &check, &refused, &answer);
    return true;
}

/* What stands becomes the part's position; what is not ours, or is not known, is over. */
static void settle(struct redis_commit_item *item)
{
    struct redis_part *part = item->part;
    if (item->outcome == REDIS_OUTCOME_STANDS) {
        part->at = item->next;
        part->state_next += part->frame_count > 0;
    } else if (item->outcome != REDIS_OUTCOME_REFUSED) {
        part->base.is_over = true;
    }
}

static void set_timeout(redisContext *context, int64_t left_ns)
{
    int64_t left_ms = left_ns / WEIR_NS_PER_MS;
    left_ms = left_ms < RETRY_MS ? RETRY_MS : left_ms;
    struct timeval timeout = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
    (void)redisSetTimeout(context, timeout);
}

/* A server that began anew, or took another's place, may lack what this tenure has read. */
static void find_over(struct redis_commit_item *item, const struct redis_node *node)
{
    if (strcmp(node->id, item->part->server) != 0) {
        item->outcome = REDIS_OUTCOME_OVER;
        (void)!weir_fail(&item->err, WEIR_ABORTED,
                         "%.200s is on another server, or on one that was started again",
                         item->part->stream);
    }
}

static void item_send(struct redis_commit_item *item, redisContext *context, int64_t left_ns)
{
    struct weir_strbuf out;
    weir_strbuf_init(&out, SIZE_MAX / 2);
    put_item(&out, item);
    WEIR_ASSERT(!out.failed);
    item->context = context;
    item->is_sent = true;
    set_timeout(context, left_ns);
    (void)redisAppendFormattedCommand(context, out.data, out.size);
    weir_strbuf_done(&out);
}

/* Each to where it is. */
static void send_items(struct redis_nodes *nodes,
                       struct redis_commit_item *items,
                       size_t count,
                       int64_t left_ns,
                       struct weir_err *ret_why)
{
    for (size_t i = 0; i < count; i++) {
        struct redis_commit_item *item = &items[i];
        struct weir_err err = {0};
        item->context = NULL;
        if (item->outcome != REDIS_OUTCOME_UNKNOWN) {
            continue;
        }
        const struct redis_node *node = redis_nodes_get(nodes, item->part->position_key, &err);
        if (node != NULL) {
            find_over(item, node);
        } else if (!item->is_sent) {
            item->outcome = REDIS_OUTCOME_REFUSED;
            item->err = err;
        } else {
            *ret_why = err;
        }
        if (item->outcome == REDIS_OUTCOME_UNKNOWN && node != NULL) {
            item_send(item, node->context, left_ns);
        }
    }
}

/* One try: what is not known yet. All servers have theirs before the first is waited for. */
static void commit_try(struct redis_nodes *nodes,
                       struct redis_commit_item *items,
                       size_t count,
                       int64_t left_ns,
                       struct weir_err *ret_why)
{
    send_items(nodes, items, count, left_ns, ret_why);
    for (size_t i = 0; i < count; i++) {
        int done = items[i].context == NULL;
        while (!done && redisBufferWrite(items[i].context, &done) == REDIS_OK) {
        }
    }
    for (size_t i = 0; i < count; i++) {
        redisContext *context = items[i].context;
        if (context == NULL) {
            continue;
        }
        context->reader->fn = &tally_functions;
        if (context->err != 0 || !receive_item(context, &items[i])) {
            weir_err_clear(ret_why);
            (void)!redis_fail(ret_why, "commit", context, NULL);
        }
    }
}

static bool is_decided(const struct redis_commit_item *items, size_t count)
{
    bool decided = true;
    for (size_t i = 0; i < count; i++) {
        decided = decided && items[i].outcome != REDIS_OUTCOME_UNKNOWN;
    }
    return decided;
}

weir_status redis_commit(struct redis_nodes *nodes,
                         struct redis_commit_item *items,
                         size_t count,
                         int64_t deadline_ns,
                         const struct weir_clock *clock,
                         struct weir_err *err)
{
    struct weir_err why = {0};
    int64_t left_ns = deadline_ns - weir_clock_monotonic_ns(clock);
    for (bool again = false; !is_decided(items, count) && (!again || left_ns > 0); again = true) {
        if (again) {
            (void)!poll(NULL, 0, RETRY_MS);
        }
        redis_nodes_mend(nodes);
        commit_try(nodes, items, count, left_ns, &why);
        left_ns = deadline_ns - weir_clock_monotonic_ns(clock);
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].outcome == REDIS_OUTCOME_UNKNOWN) {
            (void)!weir_fail(&items[i].err, WEIR_UNAVAILABLE, "outcome of a commit unknown: %s",
                             why.message);
        }
        settle(&items[i]);
        if (items[i].outcome != REDIS_OUTCOME_STANDS && err->status == WEIR_OK) {
            *err = items[i].err;
        }
    }
    if (err->status != WEIR_OK) { /* a server that refuses may not be the one to ask any more */
        redis_nodes_drop(nodes);
    }
    return err->status;
}
