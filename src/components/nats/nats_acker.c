/* SPDX-License-Identifier: Apache-2.0
 *
 * Acknowledgements go in parts, and the next part when the server has answered the last: while it
 * takes one in, it delivers nothing and stores nothing. Parts are small, so that this is a matter
 * of a millisecond; with a backlog nothing is in a hurry, and they are large, for each waits for an
 * answer. The server takes them in order, so its answer to the last one of a part says that it
 * knows of all.
 *
 * Not every acknowledgement has an answer. A server that has forgotten a delivery (it was killed,
 * the consumer was deleted and made again) says nothing about its acknowledgement, and will say
 * nothing until it has delivered the message once more; but that needs room in the window, which
 * only acknowledgements make. So an answer is waited for only if the message, or a later one, came
 * over the connection that is asked. For others it is enough that the server has read the
 * acknowledgement (PING): at worst it delivers the message again, and it is repeated.
 */
#include "nats_acker.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/wake.h"

enum { PART_SMALL = 200, PART_LARGE = 20000, BACKLOG = 4000 };
enum { ANSWER_TIMEOUT_MS = 2000, RETRY_MS = 100 };

static const char *acker_word(const struct nats_item *item)
{
    return item->is_given_up ? "+TERM" : "+ACK";
}

natsStatus nats_chunk_tell(struct nats_client *client,
                           const struct nats_chunk *chunk,
                           int64_t from,
                           int64_t to,
                           const char *body)
{
    natsStatus code = NATS_OK;
    int64_t end = weir_chunk_end(&chunk->base);
    int64_t stop = to < end ? to : end;
    for (int64_t at = from > chunk->base.start ? from : chunk->base.start;
         at < stop && code == NATS_OK; at++) {
        const struct nats_item *item = &chunk->items[at - chunk->base.start];
        const char *text = body != NULL ? body : acker_word(item);
        code = natsConnection_Publish(client->connection, natsMsg_GetReply(item->message), text,
                                      (int)strlen(text));
    }
    return code;
}

/* --- the thread; the lock is held --------------------------------------------------------------*/

/* The server has read all that was sent, and permits it. */
static natsStatus acker_flush(struct nats_acker *self)
{
    struct weir_err err = {0};
    natsStatus code = natsConnection_FlushTimeout(self->client->connection, ANSWER_TIMEOUT_MS);
    return code == NATS_OK && nats_client_denied(self->client, &err) != WEIR_OK ? NATS_NOT_PERMITTED
                                                                                : code;
}

static natsStatus acker_tell_last(struct nats_acker *self, const struct nats_item *last)
{
    natsConnection *connection = self->client->connection;
    const char *subject = natsMsg_GetReply(last->message), *body = acker_word(last);
    int size = (int)strlen(body);
    if (last->sequence > atomic_load_explicit(&self->delivered, memory_order_relaxed)) {
        natsStatus code = natsConnection_Publish(connection, subject, body, size);
        return code == NATS_OK ? acker_flush(self) : code;
    }
    natsMsg *answer = NULL;
    natsStatus code =
        natsConnection_Request(&answer, connection, subject, body, size, ANSWER_TIMEOUT_MS);
    natsMsg_Destroy(answer);
    if (code == NATS_TIMEOUT && acker_flush(self) == NATS_OK) {
        WEIR_LOG_WARN(self->ctx->log,
                      "the server does not answer acknowledgements, and may repeat messages",
                      WEIR_F("sequence", last->sequence));
        atomic_store_explicit(&self->delivered, 0, memory_order_relaxed);
        code = NATS_OK;
    }
    return code;
}

static natsStatus acker_tell(struct nats_acker *self, int64_t from, int64_t to)
{
    natsStatus code = NATS_OK;
    while (code == NATS_OK && from < to) {
        struct nats_chunk *chunk = nats_window_at(self->window, from);
        WEIR_ASSERT(chunk != NULL);
        int64_t end = weir_chunk_end(&chunk->base);
        code = nats_chunk_tell(self->client, chunk, from, to - 1, NULL);
        if (code == NATS_OK && end >= to) {
            code = acker_tell_last(self, &chunk->items[to - 1 - chunk->base.start]);
        }
        nats_chunk_unref(chunk);
        from = end;
    }
    return code;
}

/* --- the thread --------------------------------------------------------------------------------*/

/* One part, up to `to`; false: to be tried again, for acknowledging twice is harmless. */
static bool acker_advance(struct nats_acker *self, int64_t from, int64_t to)
{
    pthread_mutex_lock(&self->lock);
    natsStatus code = self->client != NULL ? acker_tell(self, from, to) : NATS_CONNECTION_CLOSED;
    if (code == NATS_OK) {
        nats_window_cut(self->window, to);
        self->went_on(self->owner, self->client);
    }
    pthread_mutex_unlock(&self->lock);
    atomic_store(&self->is_unheard, code == NATS_NO_RESPONDERS);
    return code == NATS_OK;
}

static void acker_work(struct nats_acker *self)
{
    int64_t acked = nats_window_acked(self->window), wanted, part = PART_SMALL;
    while ((wanted = atomic_load(&self->wanted)) > acked && !weir_thread_pause(&self->thread, 0)) {
        part = wanted - acked > BACKLOG ? PART_LARGE : part;
        int64_t to = wanted - acked < part ? wanted : acked + part;
        if (acker_advance(self, acked, to)) {
            acked = to;
        } else {
            (void)weir_thread_pause(&self->thread, RETRY_MS);
        }
    }
    weir_wake(weir_control_wake_fd(self->ctx));
}

static void *acker_main(void *argument)
{
    struct nats_acker *self = argument;
    while (!weir_thread_wait(&self->thread, self->wake_fd, -1)) {
        acker_work(self);
    }
    return NULL;
}

/* --- its life ----------------------------------------------------------------------------------*/

void nats_acker_init(struct nats_acker *self,
                     struct weir_ctx *ctx,
                     struct nats_window *window,
                     void (*went_on)(void *owner, struct nats_client *client),
                     void *owner)
{
    *self = (struct nats_acker){
        .ctx = ctx, .window = window, .wake_fd = -1, .went_on = went_on, .owner = owner};
    pthread_mutex_init(&self->lock, NULL);
}

weir_status nats_acker_start(struct nats_acker *self, struct weir_err *err)
{
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return self->wake_fd < 0 ? weir_fail(err, WEIR_FATAL, "no descriptor: %s", strerror(errno))
                             : weir_thread_start(&self->thread, acker_main, self, err);
}

void nats_acker_stop(struct nats_acker *self)
{
    weir_thread_stop(&self->thread);
}

void nats_acker_done(struct nats_acker *self)
{
    nats_acker_stop(self);
    if (self->wake_fd >= 0) {
        close(self->wake_fd);
    }
    pthread_mutex_destroy(&self->lock);
}

weir_status nats_acker_ack(struct nats_acker *self, int64_t to)
{
    if (to > atomic_load(&self->wanted)) {
        atomic_store(&self->wanted, to);
        weir_wake(self->wake_fd);
    }
    return to <= nats_window_acked(self->window) ? WEIR_OK : WEIR_AGAIN;
}

void nats_acker_use(struct nats_acker *self, struct nats_client *client)
{
    pthread_mutex_lock(&self->lock);
    self->client = client;
    atomic_store_explicit(&self->delivered, 0, memory_order_relaxed);
    pthread_mutex_unlock(&self->lock);
}

void nats_acker_saw(struct nats_acker *self, uint64_t sequence)
{
    if (sequence > atomic_load_explicit(&self->delivered, memory_order_relaxed)) {
        atomic_store_explicit(&self->delivered, sequence, memory_order_relaxed);
    }
}
