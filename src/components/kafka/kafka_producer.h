/* SPDX-License-Identifier: Apache-2.0
 *
 * One producer per pipeline, process and set of producer settings, shared by the sinks that have
 * the same ones and, in a transactional pipeline, by the transaction. It can be replaced by a fresh
 * one (a fenced or broken producer cannot be repaired); the handle therefore is asked for each time
 * and never kept.
 */
#ifndef WEIR_KAFKA_PRODUCER_H
#define WEIR_KAFKA_PRODUCER_H

#include <pthread.h>

#include "kafka_client.h"

/* Deliveries of one sink and epoch. `written` is counted by lanes, `done` by the control thread. */
struct kafka_deliveries {
    atomic_uint_fast64_t written;
    uint64_t done;
};

/* A computed topic that does not exist. Its records are refused one by one for a while, instead of
 * each holding up everybody until the producer has given it up. */
enum { KAFKA_MISSING_MAX = 64, KAFKA_MISSING_MS = 30000 };
struct kafka_missing {
    char name[256];
    int64_t until_ns;
};

struct kafka_producer {
    struct kafka_client client; /* first: librdkafka's opaque */
    const struct weir_ctx *ctx; /* of the sink that made it */
    rd_kafka_t *rk;             /* replaced only while no lane writes */
    rd_kafka_conf_t *conf;      /* to make the next one from */
    uint64_t generation;        /* how often it was replaced */
    rd_kafka_topic_t **topics;  /* of constant topics; they die with the handle */
    size_t topic_count;
    pthread_mutex_t lock; /* guards missing */
    struct kafka_missing missing[KAFKA_MISSING_MAX];
    size_t batch_limit;      /* bytes that the topics take at a time; 0: more than a batch */
    char *transactional_id;  /* NULL: no transactions */
    unsigned abandoned;      /* handles that still know of this object */
    struct weir_err failure; /* control: the first delivery that failed; until the next abort */
};

/* What distinguishes producers. */
struct kafka_producer_settings {
    const struct kafka_connection *connection;
    const char *compression, *partitioner;
    int64_t linger_ms, batch_bytes;
};

/* The pipeline's producer for these settings, made if need be. control. NULL and err on failure. */
struct kafka_producer *kafka_producer_get(struct weir_ctx *ctx,
                                          const struct kafka_producer_settings *settings,
                                          struct weir_err *err);
/* Most bytes that wait in the producer: half the pipeline's budget. A larger record never fits. */
int64_t kafka_producer_bytes(const struct weir_ctx *ctx);
/* Destroys the handle and whatever is queued in it, makes a new one. control, no lane writing. */
weir_status kafka_producer_replace(struct kafka_producer *producer, struct weir_err *err);
/* The same for a handle that another thread is still inside of: it is left to that thread, silent.
 */
weir_status kafka_producer_abandon(struct kafka_producer *producer, struct weir_err *err);
/* A topic takes no more at a time: makes the producer anew with batches of at most so many bytes.
 * control, nothing written yet. */
weir_status
kafka_producer_limit_batches(struct kafka_producer *producer, size_t bytes, struct weir_err *err);
/* Serves delivery reports without blocking; tells the first failure until it is forgotten: what is
 * told while nobody can act on it (control waits for a lane) must be told again. control. */
weir_status kafka_producer_poll(struct kafka_producer *producer, struct weir_err *err);
/* After an abort: its messages are gone, or will be sent again. control. */
void kafka_producer_forget_failure(struct kafka_producer *producer);
/* The handle of a topic; dies with the producer's. control, no lane writing. */
rd_kafka_topic_t *kafka_producer_topic(struct kafka_producer *producer, const char *name);
/* Whether the topic was found not to exist lately. lane. */
bool kafka_producer_misses(struct kafka_producer *producer, struct weir_slice topic);

#endif
