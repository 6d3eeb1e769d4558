/* SPDX-License-Identifier: Apache-2.0
 *
 * What the sinks that publish have in common: a connection that a thread keeps, lanes that publish
 * on it, and what the server answers. Each message has a reply subject of its own, and the thread
 * counts what comes back; or nobody answers (core NATS), and the thread asks with a PING whether
 * the server has taken what was sent.
 *
 * An answer that is an error, one that does not come, or a connection that breaks with answers
 * outstanding, is the failure of the epoch: it is aborted and written again, so a message may be
 * stored twice, never not at all.
 *
 * A sink's struct begins with a nats_publisher; the functions at the end are then its weir_sink_ops.
 */
#ifndef WEIR_NATS_PUBLISHER_H
#define WEIR_NATS_PUBLISHER_H

#include "base/thread.h"
#include "nats_acks.h"
#include "nats_message.h"
#include "nats_seen.h"

struct nats_publisher_ops {
    /* The thread, whenever it has connected: what messages are published to is there. May be NULL.
     */
    weir_status (*ensure)(void *self, struct nats_client *client, struct weir_err *err);
    /* lane: adds what the sink's messages have besides the record's headers. NULL: nothing, and a
     * record without headers needs none. */
    natsStatus (*dress)(const void *self, const struct weir_record *record, natsMsg *message);
};

struct nats_publisher_settings {
    const struct nats_publisher_ops *ops;
    struct weir_ctx *ctx;
    const struct nats_address *address;
    const struct nats_message_config *message;
    const char *stream;  /* the one that must have answered; NULL: any */
    int64_t timeout_ms;  /* how long the server may take to answer */
    bool is_core;        /* nobody answers */
};

struct nats_origin;

struct nats_publisher {
    struct nats_publisher_settings settings;
    struct weir_thread thread;
    int wake_fd;                 /* core: there is something to ask about */
    struct nats_origin *origins; /* by lane: what its last output was made from */

    pthread_rwlock_t connected; /* guards the client; taken before the lock of `acks` */
    struct nats_client *client;
    struct nats_seen seen; /* the thread fills it while there is no client */

    struct nats_acks acks; /* its lock guards what follows */
    uint64_t watched;      /* the thread's: `answered` when it was last seen to move, … */
    int64_t watched_ns;    /* … and when that was */
    uint64_t duplicates;
    uint64_t published; /* core: of `written`, how many the library has; in no order */
};

/* control. One that is not started publishes nothing, and has nothing to confirm. */
WEIR_MUST_USE weir_status nats_publisher_init(struct nats_publisher *self,
                                              const struct nats_publisher_settings *settings,
                                              struct weir_err *err);
WEIR_MUST_USE weir_status nats_publisher_start(struct nats_publisher *self, struct weir_err *err);
/* Ends it. Accepts a zeroed one, and one whose init has failed. */
void nats_publisher_done(struct nats_publisher *self);

/* lane, last in prepare: the target (a subject) gets its NUL and, behind it, what
 * nats_publisher_id returns. */
WEIR_MUST_USE weir_status nats_publisher_target(struct nats_publisher *self,
                                                struct weir_run *run,
                                                struct weir_record *record,
                                                struct weir_err *err);
/* The id of an output, the same in every process that makes it from the same input; NULL: the
 * guarantee asks for none. */
const char *nats_publisher_id(const struct nats_publisher *self, const struct weir_record *record);

/* The thread, in `ensure`: outputs that the stream has are not published again. */
WEIR_MUST_USE weir_status nats_publisher_read_back(struct nats_publisher *self,
                                                   struct nats_client *client,
                                                   const char *stream,
                                                   struct weir_err *err);

weir_status nats_publisher_write(void *self,
                                 unsigned lane,
                                 struct weir_batch *batch,
                                 struct weir_record *const *records,
                                 size_t count,
                                 size_t *cursor,
                                 struct weir_err *err);
weir_status nats_publisher_poll(void *self, struct weir_err *err);
void nats_publisher_seal(void *self);
weir_status nats_publisher_confirm(void *self, struct weir_err *err);
weir_status nats_publisher_abort(void *self, struct weir_err *err);

#endif
