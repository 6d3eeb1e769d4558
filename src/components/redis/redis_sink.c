/* SPDX-License-Identifier: Apache-2.0
 *
 * The Redis sink. `prepare` writes each record's command in the protocol's form; `write` appends it
 * to a buffer that lanes share; a thread of the sink sends the buffer and counts the answers. While
 * answers to one part of the stream are on their way the next part is being sent.
 *
 * Commands are numbered. `answered` reaches the number that was sealed: the epoch is confirmed. An
 * answer that is an error, or a connection that breaks with answers outstanding, is the failure of
 * the epoch: it is aborted and written again, so a command may be applied twice, never not at all.
 *
 *        answered        sent           written
 *     ──────┬──────────────┬───────────────┬──▶ commands
 *           │ on their way │ in the buffer │
 *
 * An abort drops the buffer. What is on its way is answered to nobody: numbers up to `ignored`.
 */
#include "redis_commit.h"
#include "redis_lease.h"
#include "source/leased.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/fnv.h"
#include "base/thread.h"
#include "base/wake.h"
#include "sink/delivery.h"

enum { BUFFER_BYTES = 1 << 20, OUTSTANDING_MAX = 20000, ARGUMENTS_MAX = 10000 };
enum { ANSWER_TIMEOUT_MS = 10000 };
enum { COMMAND_BYTES_MAX = 512 << 20, SPARE_BYTES_MAX = 1 << 20 };
enum { ROUND_NODES_MAX = 1024, ROUND_TIMEOUT_MS = 3000 };

struct redis_sink_config {
    struct redis_connection connection;
    struct weir_template stream;
    struct weir_expr command, key;
    const char *field, *key_field;
    int64_t maxlen, partitions;
    weir_duration max_age;
};

// clang-format off
#define S struct redis_sink_config
static const struct weir_field redis_sink_fields[] = {
    REDIS_CONNECTION_FIELDS(S),
    WEIR_F_TEMPLATE(S, stream, .example = "orders",
                    .help = "The stream to add to, or `{jq: EXPR}` to compute it from the record."),
    WEIR_F_JQ(S, command, .example = "'[\"HINCRBY\", .country, \"orders\", 1]'",
              .help = "Instead of adding to a stream: the command to give, an array of its name "
                      "and arguments. Strings go as they are, other values as JSON."),
    WEIR_F_JQ(S, key, .unset = "the input's key", .example = ".country",
              .help = "The record's key, which chooses the partition."),
    WEIR_F_STR(S, key_field, .unset = "the key is not written", .example = "key",
               .help = "The field of the entry that the key is written to."),
    WEIR_F_STR(S, field, .unset = "each member of the JSON object is a field", .example = "value",
               .help = "The field of the entry that the whole value is written to, byte for byte. "
                       "Without it the value must be a JSON object: strings become fields as they "
                       "are, other values as JSON."),
    WEIR_F_INT(S, partitions, .min = 1, .max = 4096, .unset = "one stream",
               .help = "Spreads records over STREAM:{0} … STREAM:{n-1} by the hash of their key."),
    WEIR_F_INT(S, maxlen, .min = 1, .max = INT64_MAX, .unset = "entries are kept",
               .help = "Cuts the stream to about so many entries. Entries that a slow reader has "
                       "not read yet are cut as well."),
    WEIR_F_DURATION(S, max_age, .min = 1000, .max = INT64_MAX, .unset = "entries are kept",
                    .help = "Cuts entries that are older than about this, read or not."),
    WEIR_FIELDS_END,
};
#undef S
static const struct weir_rule redis_sink_rules[] = {
    {WEIR_RULE_EXACTLY_ONE, {"stream", "command"}, "Write the stream to add to, or a command."},
    {WEIR_RULE_AT_MOST_ONE, {"maxlen", "max_age"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"command", "partitions"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"command", "field"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"command", "key_field"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"command", "maxlen"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"command", "max_age"}, NULL},
    WEIR_RULES_END,
};
// clang-format on

/* Commands with exactly one answer, that neither block nor change the connection. */
static const char *const allowed[] = {
    "APPEND",
    "DECR",
    "DECRBY",
    "DEL",
    "EXPIRE",
    "GEOADD",
    "HDEL",
    "HINCRBY",
    "HSET",
    "HINCRBYFLOAT",
    "HSETNX",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "LPUSH",
    "LTRIM",
    "MSET",
    "PEXPIRE",
    "PFADD",
    "PUBLISH",
    "RPUSH",
    "SADD",
    "SET",
    "SETBIT",
    "SETEX",
    "SPUBLISH",
    "SREM",
    "UNLINK",
    "XADD",
    "XTRIM",
    "ZADD",
    "ZINCRBY",
    "ZREM",
    "ZREMRANGEBYSCORE",
    "ZREMRANGEBYRANK",
    "HMSET",
    "SETNX",
    "EXPIREAT",
    "PEXPIREAT",
};

/* What a lane makes commands in; kept from one record to the next. */
struct redis_desk {
    struct weir_strbuf out, scratch;
};

struct redis_sink {
    const struct redis_sink_config *config;
    struct weir_ctx *ctx;
    struct redis_desk *desks; /* by lane */
    int wake_fd;
    struct weir_thread thread;
    struct redis_answers answers; /* the thread's */

    struct weir_delivery delivery; /* its lock guards what follows */
    struct weir_strbuf buffer;
    uint64_t sent, ignored;
};

/* --- the thread --------------------------------------------------------------------------------*/

/* NULL: to end. */
static redisContext *thread_connect(struct redis_sink *self)
{
    bool told = false;
    int waited_ms = 0;
    while (!weir_thread_pause(&self->thread, 0)) {
        struct weir_err err = {0};
        redisContext *context = redis_connect(&self->config->connection, NULL, REDIS_ANSWER_MS,
                                              &err);
        if (context != NULL) {
            int flags = fcntl(context->fd, F_GETFL);
            WEIR_ASSERT(flags >= 0 && fcntl(context->fd, F_SETFL, flags | O_NONBLOCK) == 0);
            context->flags &= ~REDIS_BLOCK;
            if (told) {
                WEIR_LOG_INFO(self->ctx->log, "connected again");
            }
            weir_delivery_back(&self->delivery);
            return context;
        }
        weir_delivery_away(&self->delivery, &err);
        if (weir_status_class(err.status) != WEIR_CLASS_UNAVAILABLE) {
            weir_delivery_fail(&self->delivery, &err);
        }
        if (!told) {
            WEIR_LOG_WARN(self->ctx->log, "not connected", WEIR_F_ERR(&err));
            told = true;
        }
        if (weir_thread_back_off(&self->thread, &waited_ms)) {
            break;
        }
    }
    return NULL;
}

/* Moves what lanes have written to the connection, unless enough is under way. */
static bool thread_take(struct redis_sink *self, redisContext *context, struct weir_strbuf *spare)
{
    struct weir_delivery *delivery = &self->delivery;
    weir_strbuf_clear(spare);
    weir_delivery_lock(delivery);
    /* Nothing behind what is to be written again: it would come before it. */
    bool takes = delivery->failure.status == WEIR_OK && self->buffer.size > 0 &&
                 self->sent - delivery->answered < OUTSTANDING_MAX;
    if (takes) {
        struct weir_strbuf full = self->buffer;
        self->buffer = *spare;
        *spare = full;
        self->sent = delivery->written;
    }
    bool is_waited = self->sent > delivery->answered;
    weir_delivery_unlock_and_tell(delivery, takes);
    if (spare->size > 0) {
        int code = redisAppendFormattedCommand(context, spare->data, spare->size);
        WEIR_ASSERT(code == REDIS_OK);
    }
    return is_waited;
}

/* An answer that is an error fails the epoch, unless it belongs to one that was aborted. */
static void thread_judge(struct redis_sink *self, const redisReply *reply, uint64_t number)
{
    struct weir_err err = {0};
    bool is_fixed = self->config->stream.text != NULL;
    weir_status status =
        redis_fail(&err, is_fixed ? self->config->stream.text : "command", NULL, reply);
    if (status == WEIR_REJECTED && is_fixed && redis_reply_is(reply, "WRONGTYPE")) {
        err.status = WEIR_FATAL; /* it would be the same for every record */
    }
    weir_delivery_lock(&self->delivery);
    if (number > self->ignored) {
        weir_delivery_blame(&self->delivery, &err);
    }
    weir_delivery_unlock_and_tell(&self->delivery, false);
}

/* Reads what is there and counts the answers. False: the connection is gone. */
static bool thread_receive(struct redis_sink *self, redisContext *context)
{
    size_t before;
    do { /* TLS may hold more than one read gives */
        before = context->reader->len;
        if (redisBufferRead(context) != REDIS_OK) {
            return false;
        }
    } while (context->reader->len != before);
    uint64_t answered = self->delivery.answered; /* only this thread moves it */
    bool is_replica = false;
    void *object = NULL;
    while (redisGetReplyFromReader(context, &object) == REDIS_OK && object != NULL) {
        answered++;
        if (((redisReply *)object)->type == REDIS_REPLY_ERROR) {
            thread_judge(self, object, answered);
            is_replica = is_replica || redis_reply_is(object, "READONLY");
        }
    }
    if (context->reader->ridx < 0) { /* no answer is half there */
        redis_answers_done(&self->answers);
    }
    weir_delivery_lock(&self->delivery);
    WEIR_ASSERT(answered <= self->sent);
    self->delivery.answered = answered;
    weir_delivery_unlock_and_tell(&self->delivery, false);
    return context->err == 0 && !is_replica;
}

/* What was under way has no answer: whether it was applied is not known. */
static void thread_lose(struct redis_sink *self, redisContext *context, const char *why)
{
    struct weir_delivery *delivery = &self->delivery;
    struct weir_err err = {0};
    (void)!weir_fail(&err, WEIR_UNAVAILABLE, "the connection broke: %s",
                     why != NULL          ? why
                     : context->err == 0 ? "it leads to a replica"
                                         : context->errstr);
    WEIR_LOG_WARN(self->ctx->log, "connection lost", WEIR_F_ERR(&err));
    weir_delivery_lock(delivery);
    if (self->sent > delivery->answered && self->sent > self->ignored) {
        weir_delivery_blame(delivery, &err);
    }
    delivery->answered = self->sent;
    weir_delivery_unlock_and_tell(delivery, false);
}

/* Until the connection breaks (false) or the sink ends (true). */
static bool thread_serve(struct redis_sink *self, redisContext *context, struct weir_strbuf *spare)
{
    for (;;) {
        bool unsent = context->obuf != NULL && sdslen(context->obuf) > 0;
        bool is_waited = true;
        if (!unsent) {
            is_waited = thread_take(self, context, spare);
        }
        int done = 0;
        if (redisBufferWrite(context, &done) != REDIS_OK) {
            thread_lose(self, context, NULL);
            return false;
        }
        struct pollfd wait[] = {
            {.fd = context->fd, .events = (short)(POLLIN | (done ? 0 : POLLOUT))},
            {.fd = self->wake_fd, .events = POLLIN},
            {.fd = self->thread.stop_fd, .events = POLLIN},
        };
        int ready = poll(wait, 3, is_waited ? ANSWER_TIMEOUT_MS : -1);
        if (wait[2].revents != 0) {
            return true;
        }
        if (wait[1].revents != 0) {
            weir_wake_take(self->wake_fd);
        }
        if (ready == 0) {
            thread_lose(self, context, "no answer within 10 s");
            return false;
        }
        if ((wait[0].revents & ~POLLOUT) != 0 && !thread_receive(self, context)) {
            thread_lose(self, context, NULL);
            return false;
        }
    }
}

/* --- the thread, in a cluster ------------------------------------------------------------------*/

/* What one node was given in a round. */
struct round {
    redisContext *context;
    uint64_t asked;
};

/* A command's size in the protocol's form. */
static size_t command_size(struct weir_slice text)
{
    const char *at = text.data, *end = text.data + text.size;
    for (unsigned long left = strtoul(at + 1, NULL, 10) + 1; left > 0; left--) {
        bool is_head = *at == '*';
        size_t size = is_head ? 0 : strtoul(at + 1, NULL, 10) + 2;
        at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1 + size;
    }
    return (size_t)(at - text.data);
}

/* Each command to the node of its key; those of one node in their order. */
static weir_status spread_send(struct redis_nodes *nodes,
                               struct weir_slice text,
                               struct round *rounds,
                               size_t *ret_count,
                               struct weir_err *err)
{
    while (text.size > 0) {
        struct weir_slice command = {text.data, command_size(text)};
        struct redis_node *node = redis_nodes_get_slice(nodes, redis_command_key(command), err);
        if (node == NULL) {
            return err->status;
        }
        size_t at = 0;
        while (at < *ret_count && rounds[at].context != node->context) {
            at++;
        }
        WEIR_ASSERT(at < ROUND_NODES_MAX);
        *ret_count += at == *ret_count;
        rounds[at].context = node->context;
        rounds[at].asked++;
        if (redisAppendFormattedCommand(node->context, command.data, command.size) != REDIS_OK) {
            return weir_fail(err, WEIR_UNAVAILABLE, "no memory");
        }
        text.data += command.size;
        text.size -= command.size;
    }
    return WEIR_OK;
}

/* Answers that are errors fail the epoch; the connections stay good. */
static weir_status
spread_receive(struct redis_sink *self, struct round *rounds, size_t count, struct weir_err *err)
{
    for (size_t i = 0; i < count; i++) {
        int done = 0;
        while (!done && redisBufferWrite(rounds[i].context, &done) == REDIS_OK) {
        }
    }
    bool has_moved = false;
    for (size_t i = 0; i < count; i++) {
        for (uint64_t k = 0; k < rounds[i].asked; k++) {
            void *object = NULL;
            if (redisGetReply(rounds[i].context, &object) != REDIS_OK) {
                return redis_fail(err, "writing", rounds[i].context, NULL);
            }
            if (((redisReply *)object)->type == REDIS_REPLY_ERROR) {
                thread_judge(self, object, self->sent);
                has_moved = true;
            }
            freeReplyObject(object);
        }
    }
    return has_moved ? weir_fail(err, WEIR_UNAVAILABLE, "a node refused") : WEIR_OK;
}

/* True: there is something to send, in `spare`. */
static bool spread_take(struct redis_sink *self, struct weir_strbuf *spare)
{
    weir_strbuf_clear(spare);
    weir_delivery_lock(&self->delivery);
    if (self->delivery.failure.status == WEIR_OK) { /* see thread_take */
        struct weir_strbuf full = self->buffer;
        self->buffer = *spare;
        *spare = full;
        self->sent = self->delivery.written;
    }
    weir_delivery_unlock_and_tell(&self->delivery, spare->size > 0);
    return spare->size > 0;
}

static void spread_settle(struct redis_sink *self, const struct weir_err *err)
{
    if (err->status != WEIR_OK) {
        weir_delivery_away(&self->delivery, err);
    }
    weir_delivery_lock(&self->delivery);
    if (err->status != WEIR_OK && self->sent > self->ignored) {
        weir_delivery_blame(&self->delivery, err);
    }
    self->delivery.answered = self->sent;
    weir_delivery_unlock_and_tell(&self->delivery, false);
    if (err->status == WEIR_OK) {
        weir_delivery_back(&self->delivery);
    }
}

/* One round after the other: what lanes have written meanwhile goes to its nodes at once, and the
 * answers of all of them are waited for. */
static void spread_main(struct redis_sink *self, struct weir_strbuf *spare)
{
    struct redis_nodes nodes = {.connection = &self->config->connection,
                                .timeout_ms = ROUND_TIMEOUT_MS};
    struct round *rounds = weir_calloc(ROUND_NODES_MAX, sizeof(*rounds));
    int waited_ms = 0;
    bool ended = false;
    while (!ended) {
        struct pollfd wait[] = {{.fd = self->wake_fd, .events = POLLIN},
                                {.fd = self->thread.stop_fd, .events = POLLIN}};
        (void)!poll(wait, 2, -1);
        if (wait[0].revents != 0) {
            weir_wake_take(self->wake_fd);
        }
        while (wait[1].revents == 0 && !ended && spread_take(self, spare)) {
            struct weir_err err = {0};
            size_t count = 0;
            memset(rounds, 0, ROUND_NODES_MAX * sizeof(*rounds));
            weir_status status = spread_send(&nodes, weir_strbuf_view(spare), rounds, &count, &err);
            if (status == WEIR_OK) {
                status = spread_receive(self, rounds, count, &err);
            }
            spread_settle(self, &err);
            if (status != WEIR_OK) {
                WEIR_LOG_WARN(self->ctx->log, "cannot write to the cluster", WEIR_F_ERR(&err));
                redis_nodes_drop(&nodes);
                ended = weir_thread_back_off(&self->thread, &waited_ms);
            } else {
                waited_ms = 0;
            }
        }
        ended = ended || wait[1].revents != 0;
    }
    redis_nodes_drop(&nodes);
    weir_free(rounds);
}

static void *thread_main(void *argument)
{
    struct redis_sink *self = argument;
    struct weir_strbuf spare;
    weir_strbuf_init(&spare, COMMAND_BYTES_MAX);
    redisContext *context = NULL;
    if (self->config->connection.cluster) {
        spread_main(self, &spare);
        weir_strbuf_done(&spare);
        return NULL;
    }
    while ((context = thread_connect(self)) != NULL) {
        redis_answers_use(&self->answers, context);
        bool ended = thread_serve(self, context, &spare);
        redisFree(context);
        redis_answers_done(&self->answers);
        if (ended) {
            break;
        }
    }
    weir_strbuf_done(&spare);
    return NULL;
}

/* --- open and close; control -------------------------------------------------------------------*/

/* WRONGTYPE within a commit comes too late: the other commands are done. */
static weir_status sink_check_type(struct redis_sink *self, struct weir_err *err)
{
    const char *stream = self->config->stream.text;
    redisContext *context =
        stream == NULL ? NULL
                       : redis_connect(&self->config->connection, stream, REDIS_ANSWER_MS, err);
    if (context == NULL && weir_status_class(err->status) == WEIR_CLASS_FATAL) {
        return err->status;
    }
    if (context == NULL) { /* the source finds that too, and waits */
        weir_err_clear(err);
        return WEIR_OK;
    }
    weir_status status = redis_check_type(context, stream, "stream", err);
    redisFree(context);
    if (status == WEIR_CONFIG) {
        weir_err_path(err, "stream");
        return status;
    }
    weir_err_clear(err);
    return WEIR_OK;
}

static weir_status
redis_sink_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct redis_sink *self = instance;
    self->config = config;
    self->ctx = ctx;
    weir_delivery_init(&self->delivery, ctx);
    weir_strbuf_init(&self->buffer, COMMAND_BYTES_MAX);
    self->desks = weir_calloc(ctx->lanes, sizeof(*self->desks));
    for (unsigned i = 0; i < ctx->lanes; i++) {
        weir_strbuf_init(&self->desks[i].out, COMMAND_BYTES_MAX);
        weir_strbuf_init(&self->desks[i].scratch, COMMAND_BYTES_MAX);
    }
    if (ctx->transactional) { /* what is written goes into the commit of its task */
        return sink_check_type(self, err);
    }
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake_fd < 0) {
        return weir_fail(err, WEIR_FATAL, "no descriptor: %s", strerror(errno));
    }
    return weir_thread_start(&self->thread, thread_main, self, err);
}

static void redis_sink_close(void *instance)
{
    struct redis_sink *self = instance;
    if (self->ctx == NULL) {
        return;
    }
    weir_thread_stop(&self->thread);
    if (!self->ctx->transactional && self->wake_fd >= 0) {
        close(self->wake_fd);
    }
    for (unsigned i = 0; i < self->ctx->lanes; i++) {
        weir_strbuf_done(&self->desks[i].out);
        weir_strbuf_done(&self->desks[i].scratch);
    }
    weir_free(self->desks);
    weir_strbuf_done(&self->buffer);
    weir_delivery_done(&self->delivery);
    *self = (struct redis_sink){0};
}

/* --- commands; lane ----------------------------------------------------------------------------*/

static uint64_t key_hash(struct weir_slice key)
{
    uint64_t hash = weir_fnv(WEIR_FNV_START, key.data, key.size);
    return hash ^ hash >> 32;
}

static void put_value(struct weir_strbuf *out, struct weir_strbuf *scratch, struct weir_value value)
{
    struct weir_slice text = weir_value_text(value);
    if (text.data == NULL) {
        weir_strbuf_clear(scratch);
        weir_value_write(value, scratch, 0);
        text = weir_strbuf_view(scratch);
    }
    redis_put(out, text);
}

static void put_stream(struct redis_sink *self,
                       const struct weir_record *record,
                       struct weir_slice stream,
                       struct weir_strbuf *out,
                       struct weir_strbuf *scratch)
{
    if (self->config->partitions == 0) {
        redis_put(out, stream);
        return;
    }
    uint64_t hash = record->key.data != NULL ? key_hash(record->key) : (uint64_t)record->position;
    weir_strbuf_clear(scratch);
    weir_strbuf_slice(scratch, stream);
    weir_strbuf_printf(scratch, ":{%llu}",
                       (unsigned long long)(hash % (uint64_t)self->config->partitions));
    redis_put(out, weir_strbuf_view(scratch));
}

/* XADD stream [MAXLEN|MINID ~ n] *, then so many pairs. */
static void put_add(struct redis_sink *self,
                    const struct weir_record *record,
                    struct weir_slice stream,
                    size_t pairs,
                    struct weir_strbuf *out,
                    struct weir_strbuf *scratch)
{
    const struct redis_sink_config *config = self->config;
    bool trims = config->maxlen > 0 || config->max_age > 0;
    bool keyed = config->key_field != NULL && record->key.data != NULL;
    redis_put_head(out, 3u + (trims ? 3u : 0u) + 2u * (pairs + (keyed ? 1u : 0u)));
    redis_put(out, WEIR_SLICE("XADD"));
    put_stream(self, record, stream, out, scratch);
    if (trims) {
        int64_t limit = config->maxlen > 0 ? config->maxlen
                                           : weir_clock_wall_ms(self->ctx->clock) - config->max_age;
        redis_put(out, weir_slice_of(config->maxlen > 0 ? "MAXLEN" : "MINID"));
        redis_put(out, WEIR_SLICE("~"));
        weir_strbuf_clear(scratch);
        weir_strbuf_printf(scratch, "%lld", (long long)(limit < 0 ? 0 : limit));
        redis_put(out, weir_strbuf_view(scratch));
    }
    redis_put(out, WEIR_SLICE("*"));
    if (keyed) {
        redis_put(out, weir_slice_of(config->key_field));
        redis_put(out, record->key);
    }
}

static weir_status make_entry(struct redis_sink *self,
                              struct weir_run *run,
                              struct weir_record *record,
                              struct weir_slice stream,
                              struct weir_strbuf *out,
                              struct weir_strbuf *scratch,
                              struct weir_err *err)
{
    if (self->config->field != NULL) {
        struct weir_slice bytes;
        weir_status status = weir_record_bytes(weir_run_batch(run), record, &bytes, err);
        if (status == WEIR_OK && bytes.data == NULL) {
            status = weir_fail(err, WEIR_REJECTED, "a stream has no tombstones");
        }
        if (status == WEIR_OK) {
            put_add(self, record, stream, 1, out, scratch);
            redis_put(out, weir_slice_of(self->config->field));
            redis_put(out, bytes);
        }
        return status;
    }
    struct weir_value value, member, name;
    weir_status status = weir_record_json(weir_run_batch(run), record, &value, err);
    if (status != WEIR_OK) {
        return status;
    }
    size_t count = weir_value_count(value);
    if (weir_value_kind(value) != WEIR_KIND_OBJECT || count == 0) {
        status = weir_fail(err, WEIR_REJECTED, "the value is no object with members, but %s",
                           count == 0 && weir_value_kind(value) == WEIR_KIND_OBJECT
                               ? "an empty one"
                               : weir_value_kind_name(value));
        weir_err_hint(err, "Write `field: value` to put any value into one field.");
        return status;
    }
    put_add(self, record, stream, count, out, scratch);
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, value);
    while (weir_value_iter_next(&iter, &name, &member)) {
        redis_put(out, weir_value_text(name));
        put_value(out, scratch, member);
    }
    return WEIR_OK;
}

static bool command_is_allowed(struct weir_slice name)
{
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        if (strlen(allowed[i]) == name.size && strncasecmp(allowed[i], name.data, name.size) == 0) {
            return true;
        }
    }
    return false;
}

static weir_status make_command(struct redis_sink *self,
                                struct weir_run *run,
                                struct weir_record *record,
                                struct weir_strbuf *out,
                                struct weir_strbuf *scratch,
                                struct weir_err *err)
{
    struct weir_value value, argument;
    weir_status status = weir_expr_value(run, &self->config->command, record, &value, err);
    if (status != WEIR_OK) {
        weir_err_path(err, "command");
        return status;
    }
    size_t count = weir_value_count(value);
    if (weir_value_kind(value) != WEIR_KIND_ARRAY || count < 2 || count > ARGUMENTS_MAX) {
        status = weir_fail(err, WEIR_REJECTED, "a command is an array of a name and arguments");
        weir_err_path(err, "command");
        return status;
    }
    struct weir_slice name = weir_value_text(weir_value_at(value, 0));
    if (name.data == NULL || !command_is_allowed(name)) {
        status =
            weir_fail(err, WEIR_REJECTED, "%.*s is no command that a sink can give",
                      name.size < 40 ? (int)name.size : 40, name.data == NULL ? "" : name.data);
        weir_err_path(err, "command");
        return status;
    }
    redis_put_head(out, count);
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, value);
    while (weir_value_iter_next(&iter, NULL, &argument)) {
        put_value(out, scratch, argument);
    }
    return WEIR_OK;
}

static weir_status make(struct redis_sink *self,
                        struct weir_run *run,
                        struct weir_record *record,
                        struct weir_strbuf *out,
                        struct weir_strbuf *scratch,
                        struct weir_err *err)
{
    const struct redis_sink_config *config = self->config;
    if (config->command.program != NULL) {
        return make_command(self, run, record, out, scratch, err);
    }
    struct weir_slice stream = weir_slice_of(config->stream.text);
    weir_status status = WEIR_OK;
    if (config->key.program != NULL) {
        status = weir_expr_text(run, &config->key, record, &record->key, err);
        if (status != WEIR_OK) {
            weir_err_path(err, "key");
            return status;
        }
    }
    if (stream.data == NULL) {
        status = weir_expr_text(run, &config->stream.expr, record, &stream, err);
        if (status == WEIR_OK && stream.size == 0) {
            status = weir_fail(err, WEIR_EVAL, "the stream is empty");
        }
        if (status != WEIR_OK) {
            weir_err_path(err, "stream");
            return status;
        }
    }
    return make_entry(self, run, record, stream, out, scratch, err);
}

/* One long record is no reason to keep that much for each lane. */
static void desk_clear(struct weir_strbuf *buf)
{
    if (buf->capacity > SPARE_BYTES_MAX) {
        weir_strbuf_done(buf);
    }
    weir_strbuf_clear(buf);
}

/* What is committed with a task must lie where the task does. */
static weir_status
check_slot(struct weir_run *run, const struct weir_strbuf *command, struct weir_err *err)
{
    const struct redis_part *part =
        weir_batch_partition(weir_run_batch(run))->source_data;
    struct weir_slice key = redis_command_key(weir_strbuf_view(command));
    if (redis_slot(key) == redis_slot(weir_slice_of(part->stream))) {
        return WEIR_OK;
    }
    weir_status status =
        weir_fail(err, WEIR_CONFIG, "%.*s is not in the slot of %s",
                  key.size < 200 ? (int)key.size : 200, key.data, part->stream);
    weir_err_hint(err, "Put {%s} into its name, or write `guarantee: at-least-once`.", part->tag);
    return status;
}

/* The whole command becomes the record's target. */
static weir_status redis_sink_prepare(void *instance,
                                      struct weir_run *run,
                                      struct weir_record *record,
                                      struct weir_err *err)
{
    struct redis_sink *self = instance;
    struct weir_batch *batch = weir_run_batch(run);
    struct redis_desk *desk = &self->desks[weir_batch_partition(batch)->lane];
    weir_status status = make(self, run, record, &desk->out, &desk->scratch, err);
    if (status == WEIR_OK && (desk->out.failed || desk->scratch.failed)) {
        status =
            weir_fail(err, WEIR_TOO_LARGE, "the command has more than %d bytes", COMMAND_BYTES_MAX);
    }
    if (status == WEIR_OK && self->ctx->transactional && self->config->connection.cluster) {
        status = check_slot(run, &desk->out, err);
    }
    if (status == WEIR_OK) {
        record->target = weir_arena_copy(weir_batch_arena(batch), weir_strbuf_view(&desk->out));
        if (record->target.data == NULL) {
            status = weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
        }
    }
    desk_clear(&desk->out);
    desk_clear(&desk->scratch);
    return status;
}

/* The task's lane is here, and control only while no lane writes. */
static void write_to_task(struct redis_sink *self,
                          struct weir_batch *batch,
                          struct weir_record *const *records,
                          size_t count,
                          size_t *cursor)
{
    struct redis_part *part = weir_batch_partition(batch)->source_data;
    for (; *cursor < count; (*cursor)++) {
        weir_strbuf_slice(&part->outputs, records[*cursor]->target);
        part->output_count++;
    }
    WEIR_ASSERT(!part->outputs.failed);
    if (part->outputs.size > REDIS_COMMIT_BYTES || part->output_count > REDIS_COMMIT_COMMANDS) {
        weir_ctx_close_epoch(self->ctx);
    }
}

static weir_status redis_sink_write(void *instance,
                                    unsigned lane,
                                    struct weir_batch *batch,
                                    struct weir_record *const *records,
                                    size_t count,
                                    size_t *cursor,
                                    struct weir_err *err)
{
    (void)lane;
    (void)err;
    struct redis_sink *self = instance;
    if (self->ctx->transactional) {
        write_to_task(self, batch, records, count, cursor);
        return WEIR_OK;
    }
    weir_delivery_lock(&self->delivery);
    bool was_empty = self->buffer.size == 0;
    while (*cursor < count && self->buffer.size < BUFFER_BYTES) {
        weir_strbuf_slice(&self->buffer, records[*cursor]->target);
        if (self->buffer.failed) { /* no memory: what is in the buffer goes first */
            self->buffer.failed = false;
            break;
        }
        self->delivery.written++;
        (*cursor)++;
    }
    self->delivery.lanes_wait = self->delivery.lanes_wait || *cursor < count;
    weir_delivery_unlock(&self->delivery);
    if (was_empty) {
        weir_wake(self->wake_fd);
    }
    return *cursor < count ? WEIR_AGAIN : WEIR_OK;
}

/* --- epochs; control ---------------------------------------------------------------------------*/

static weir_status redis_sink_poll(void *instance, struct weir_err *err)
{
    struct redis_sink *self = instance;
    return weir_delivery_poll(&self->delivery, err);
}

static void redis_sink_seal(void *instance)
{
    struct redis_sink *self = instance;
    weir_delivery_seal(&self->delivery);
}

static weir_status redis_sink_confirm(void *instance, struct weir_err *err)
{
    struct redis_sink *self = instance;
    return weir_delivery_confirm(&self->delivery, err);
}

static weir_status redis_sink_abort(void *instance, struct weir_err *err)
{
    (void)err;
    struct redis_sink *self = instance;
    weir_delivery_lock(&self->delivery);
    weir_strbuf_clear(&self->buffer); /* in a transaction nothing is in it, or ever sent */
    self->delivery.written = self->ignored = self->sent;
    weir_delivery_forget(&self->delivery);
    weir_delivery_unlock(&self->delivery);
    return WEIR_OK;
}

static weir_status redis_sink_check(const void *config, struct weir_err *err)
{
    const struct redis_sink_config *self = config;
    return redis_connection_check(&self->connection, err);
}

static weir_status
sink_domain(const void *config, bool connect, struct weir_strbuf *out, struct weir_err *err)
{
    const struct redis_sink_config *self = config;
    const char *stream = self->stream.text;
    enum redis_place place = self->partitions > 0 ? REDIS_PLACE_SPREAD
                             : stream == NULL     ? REDIS_PLACE_TASK
                                                  : REDIS_PLACE_KEY;
    return redis_connection_domain(&self->connection, place, stream, connect, out, err);
}

static const struct weir_sink_ops redis_sink_ops = {
    .prepare = redis_sink_prepare,
    .write = redis_sink_write,
    .poll = redis_sink_poll,
    .seal = redis_sink_seal,
    .confirm = redis_sink_confirm,
    .abort = redis_sink_abort,
};

static weir_status redis_sink_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    const struct redis_sink_config *self = config;
    return redis_probe(&self->connection, self->stream.text, true, err);
}

const struct weir_component weir_component_redis_sink = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SINK,
            .name = "redis",
            .summary = "Adds to Redis streams, or gives a command per record.",
            .help = "Commands are pipelined; an epoch is safe when the server has answered all of "
                    "them. What that is worth after the server's crash is its own setting "
                    "(`appendfsync`). After a broken connection records are written again: with "
                    "`command`, choose one that may be repeated.",
            .example = "redis: {url: localhost:6379, stream: orders}",
            .fields = redis_sink_fields,
            .rules = redis_sink_rules,
            .config_size = sizeof(struct redis_sink_config),
        },
    .self_size = sizeof(struct redis_sink),
    .durable = true,
    .domain = &weir_leased_domain_ops,
    .needs = REDIS_NEEDS,
    .leases = &redis_lease_ops,
    .open = redis_sink_open,
    .close = redis_sink_close,
    .check = redis_sink_check,
    .domain_name = sink_domain,
    .probe = redis_sink_probe,
    .ops = {.sink = &redis_sink_ops},
};
