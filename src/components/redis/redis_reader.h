/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread of a source that reads from one connection: connects, serves its source, and connects
 * again, less and less often. Its lock guards also what the source shares with it.
 */
#ifndef WEIR_REDIS_READER_H
#define WEIR_REDIS_READER_H

#include <pthread.h>

#include <weir/component.h>

#include "base/thread.h"
#include "redis_answer.h"
#include "redis_topology.h"

struct redis_reader {
    /* The source fills these. */
    struct weir_ctx *ctx;
    const struct redis_connection *connection;
    const char *key; /* of what is read */
    void *source;
    /* The thread's. Reads until the connection breaks, or redis_reader_wait says that it is to end.
     * Answers come in memory of their own (redis_answer.h). */
    weir_status (*serve)(void *source, redisContext *context, struct weir_err *err);

    struct redis_answers answers; /* the thread's */
    struct weir_link link;        /* the same */
    struct weir_thread thread;

    pthread_mutex_t lock; /* guards what follows, and the source's windows */
    pthread_cond_t room;  /* there may be room in a window, or it is to end */
    bool stopping;
    redisContext *context; /* the thread's; shut down by control to stop it */
    struct weir_err failure;
};

/* control. */
void redis_reader_init(struct redis_reader *self);
WEIR_MUST_USE weir_status redis_reader_start(struct redis_reader *self, struct weir_err *err);
/* Why it gave up, else WEIR_OK. */
WEIR_MUST_USE weir_status redis_reader_failed(struct redis_reader *self, struct weir_err *err);
void redis_reader_stop(struct redis_reader *self);
void redis_reader_done(struct redis_reader *self);
/* The reply that was got last was looked at. The thread's. */
void redis_reader_drop(struct redis_reader *self);

#endif
