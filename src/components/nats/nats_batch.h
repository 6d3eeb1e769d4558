/* SPDX-License-Identifier: Apache-2.0
 *
 * Outputs, state and position of a task as one atomic batch of one stream (nats-server ≥ 2.12,
 * ADR-50): the server stores all of it or nothing, and nothing when somebody else has written to
 * the subject of the task meanwhile. So the log of the task (nats_log.h) lies in the stream that
 * the outputs go to.
 */
#ifndef WEIR_NATS_BATCH_H
#define WEIR_NATS_BATCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "nats_api.h"

enum { NATS_BATCH_MAX = 1000 }; /* messages that a server takes, unless it is told otherwise */
/* Outputs after which a commit is due. What lanes make of time alone comes in pieces (windows that
 * close), of which one more must fit. */
enum { NATS_BATCH_OUTPUTS = 400 };

/* The stream that the outputs go to. A sink describes it; a source that commits there fills in what
 * it found, before any lane writes. */
struct nats_target {
    struct nats_stream_spec spec;
    pthread_mutex_t lock;  /* sources have threads: the first one that comes reads `kept` */
    struct weir_strs kept; /* subjects of the stream as it is; then unchanged */
    struct weir_arena arena;
    _Atomic size_t payload_max; /* of a message, by the server */
    struct nats_target *next;   /* of another sink; the same stream */
};

void nats_target_init(struct nats_target *target);
void nats_target_done(struct nats_target *target);
/* The stream is there, or is made, keeps `subject` (and everything below it) too, and can be
 * committed to. The client's server is the one that is asked. A source's thread. */
WEIR_MUST_USE weir_status nats_target_ensure(struct nats_target *target,
                                             struct nats_client *client,
                                             const char *subject,
                                             struct weir_err *err);
/* Does the stream keep what is published to it? Any thread, after nats_target_ensure. */
bool nats_target_keeps(const struct nats_target *target, struct weir_slice subject);

/* Messages of a batch, in order. */
struct nats_batch {
    natsMsg **messages;
    size_t count, capacity;
};

/* Takes the message over. */
void nats_batch_push(struct nats_batch *batch, natsMsg *message);
/* Forgets the messages; done: and its memory. */
void nats_batch_clear(struct nats_batch *batch);
void nats_batch_done(struct nats_batch *batch);
/* Publishes all of them and waits for the answer to the last, as nats_api_published. `id`: of the
 * batch, a new one each time. The messages stay. */
WEIR_MUST_USE weir_status nats_batch_publish(struct nats_batch *batch,
                                             struct nats_client *client,
                                             const char *id,
                                             uint64_t *ret_sequence,
                                             struct weir_err *err);

#endif
