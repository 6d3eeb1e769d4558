/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that acknowledges messages of a window: control says up to which number, and looks
 * whether it has been done.
 */
#ifndef WEIR_NATS_ACKER_H
#define WEIR_NATS_ACKER_H

#include "base/thread.h"
#include "nats_client.h"
#include "nats_window.h"

struct nats_acker {
    struct weir_ctx *ctx;
    struct nats_window *window;
    struct weir_thread thread;
    int wake_fd;
    void (*went_on)(void *owner, struct nats_client *client);
    void *owner;
    _Atomic int64_t wanted; /* everything below is done with, for ever */
    /* The highest sequence that came over the connection; 0: none, or it has no meaning. */
    _Atomic uint64_t delivered;
    atomic_bool is_unheard; /* nobody listens to acknowledgements: is the consumer there? */

    pthread_mutex_t lock; /* guards what follows; held while the client is used */
    struct nats_client *client;
};

/* The window is borrowed. went_on: called by the thread when part of it was acknowledged and cut,
 * over that connection. control. */
void nats_acker_init(struct nats_acker *self,
                     struct weir_ctx *ctx,
                     struct nats_window *window,
                     void (*went_on)(void *owner, struct nats_client *client),
                     void *owner);
WEIR_MUST_USE weir_status nats_acker_start(struct nats_acker *self, struct weir_err *err);
/* Accepts one that was never started. control. */
void nats_acker_stop(struct nats_acker *self);
void nats_acker_done(struct nats_acker *self);

/* Messages with numbers below `to` are done with. WEIR_AGAIN until the server has heard of all of
 * them; control is woken then. Does not block. control. */
WEIR_MUST_USE weir_status nats_acker_ack(struct nats_acker *self, int64_t to);
/* The connection from now on, or NULL; the one before must be closed, and is not used any more when
 * this returns. The reader. */
void nats_acker_use(struct nats_acker *self, struct nats_client *client);
/* The sequence came over the connection. The reader. */
void nats_acker_saw(struct nats_acker *self, uint64_t sequence);

/* Sends `body` for the messages with numbers in [from, to) of the chunk; NULL: that they are done
 * with, which the acker's thread alone may. Any thread. */
natsStatus nats_chunk_tell(struct nats_client *client,
                           const struct nats_chunk *chunk,
                           int64_t from,
                           int64_t to,
                           const char *body);

#endif
