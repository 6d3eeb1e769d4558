/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection takes commands while answers come; the nodes of a cluster are written to and read
 * in rounds instead, as a command may have to go to another node than it did a moment ago.
 */
#include "redis_sender.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/wake.h"

enum { BUFFER_BYTES = 1 << 20, OUTSTANDING_MAX = 20000, ANSWER_TIMEOUT_MS = 10000 };
enum { ROUND_NODES_MAX = 1024, ROUND_TIMEOUT_MS = 3000 };

/* --- the thread --------------------------------------------------------------------------------*/

/* NULL: to end. */
static redisContext *thread_connect(struct redis_sender *self)
{
    bool told = false;
    int waited_ms = 0;
    while (!weir_thread_pause(&self->thread, 0)) {
        struct weir_err err = {0};
        redisContext *context = redis_connect(self->connection, NULL, REDIS_ANSWER_MS, &err);
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
static bool thread_take(struct redis_sender *self, redisContext *context, struct weir_strbuf *spare)
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
static void thread_judge(struct redis_sender *self, const redisReply *reply, uint64_t number)
{
    struct weir_err err = {0};
    weir_status status =
        redis_fail(&err, self->stream != NULL ? self->stream : "command", NULL, reply);
    if (status == WEIR_REJECTED && self->stream != NULL && redis_reply_is(reply, "WRONGTYPE")) {
        err.status = WEIR_FATAL; /* it would be the same for every record */
    }
    weir_delivery_lock(&self->delivery);
    if (number > self->ignored) {
        weir_delivery_blame(&self->delivery, &err);
    }
    weir_delivery_unlock_and_tell(&self->delivery, false);
}

/* Reads what is there and counts the answers. False: the connection is gone. */
static bool thread_receive(struct redis_sender *self, redisContext *context)
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
static void thread_lose(struct redis_sender *self, redisContext *context, const char *why)
{
    struct weir_delivery *delivery = &self->delivery;
    struct weir_err err = {0};
    (void)!weir_fail(&err, WEIR_UNAVAILABLE, "the connection broke: %s",
                     why != NULL         ? why
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
static bool
thread_serve(struct redis_sender *self, redisContext *context, struct weir_strbuf *spare)
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
spread_receive(struct redis_sender *self, struct round *rounds, size_t count, struct weir_err *err)
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
static bool spread_take(struct redis_sender *self, struct weir_strbuf *spare)
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

static void spread_settle(struct redis_sender *self, const struct weir_err *err)
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
static void spread_main(struct redis_sender *self, struct weir_strbuf *spare)
{
    struct redis_nodes nodes = {.connection = self->connection, .timeout_ms = ROUND_TIMEOUT_MS};
    struct round *rounds = weir_calloc(ROUND_NODES_MAX, sizeof(*rounds));
    int waited_ms = 0;
    bool ended = false;
    while (!ended) {
        ended = weir_thread_wait(&self->thread, self->wake_fd, -1);
        while (!ended && spread_take(self, spare)) {
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
    }
    redis_nodes_drop(&nodes);
    weir_free(rounds);
}

static void *thread_main(void *argument)
{
    struct redis_sender *self = argument;
    struct weir_strbuf spare;
    weir_strbuf_init(&spare, REDIS_COMMAND_BYTES_MAX);
    redisContext *context = NULL;
    if (self->connection->cluster) {
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

/* --- control -----------------------------------------------------------------------------------*/

weir_status redis_sender_open(struct redis_sender *self,
                              const struct redis_connection *connection,
                              const char *stream,
                              struct weir_ctx *ctx,
                              struct weir_err *err)
{
    self->connection = connection;
    self->stream = stream;
    self->ctx = ctx;
    weir_delivery_init(&self->delivery, ctx);
    weir_strbuf_init(&self->buffer, REDIS_COMMAND_BYTES_MAX);
    self->wake_fd = -1;
    if (ctx->transactional) {
        return WEIR_OK;
    }
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake_fd < 0) {
        return weir_fail(err, WEIR_FATAL, "no descriptor: %s", strerror(errno));
    }
    return weir_thread_start(&self->thread, thread_main, self, err);
}

void redis_sender_close(struct redis_sender *self)
{
    weir_thread_stop(&self->thread);
    if (self->wake_fd >= 0) {
        close(self->wake_fd);
    }
    weir_strbuf_done(&self->buffer);
    weir_delivery_done(&self->delivery);
}

void redis_sender_abort(struct redis_sender *self)
{
    weir_delivery_lock(&self->delivery);
    weir_strbuf_clear(&self->buffer); /* in a transaction nothing is in it, or ever sent */
    self->delivery.written = self->ignored = self->sent;
    weir_delivery_forget(&self->delivery);
    weir_delivery_unlock(&self->delivery);
}

/* --- lane --------------------------------------------------------------------------------------*/

weir_status redis_sender_write(struct redis_sender *self,
                               struct weir_record *const *records,
                               size_t count,
                               size_t *cursor)
{
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
