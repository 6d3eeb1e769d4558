/* SPDX-License-Identifier: Apache-2.0
 *
 * What a lane reads of Kafka: the partitions that it owns, whose queues are forwarded to one of its
 * own.
 */
#ifndef WEIR_KAFKA_LANE_H
#define WEIR_KAFKA_LANE_H

#include <pthread.h>
#include <stdatomic.h>

#include "kafka_client.h"

enum { KAFKA_READ_MAX = 1024 };

/* A partition that this process owns. */
struct kafka_partition {
    char *topic;
    int32_t index;
    rd_kafka_topic_t *rkt; /* lane: learned from the first message; compared, never used */
    rd_kafka_queue_t *queue;
    struct weir_partition *part; /* NULL: being revoked */
    int64_t next;                /* lane: behind the last record handed on */
    bool begun_anew;             /* control: after data loss */
    uint64_t topic_id;           /* control: see kafka_topic_id; 0: not known yet */
    int64_t cut;                 /* control: what lies before it was deleted (an exchange) */
    unsigned forward_again;      /* control: for how many polls more */
    _Atomic int64_t lost_at;     /* ≥ 0: the broker has not what is to be read next, which is this */
};

/* What one lane reads. */
struct kafka_lane {
    rd_kafka_t *rk;
    const struct weir_log *log;
    pthread_mutex_t lock; /* guards the table against the rebalance callback */
    rd_kafka_queue_t *queue;
    struct kafka_partition **parts;
    size_t count;
    struct kafka_partition *last;
    struct weir_err failure; /* lane: a partition's failure, told by the next read */
    rd_kafka_message_t *messages[KAFKA_READ_MAX];
};

/* control, before the lanes start. */
void kafka_lane_init(struct kafka_lane *self, rd_kafka_t *rk, struct weir_ctx *ctx, unsigned index);
/* control, after they ended; it has no partition any more. */
void kafka_lane_done(struct kafka_lane *self);
/* control. */
void kafka_lane_add(struct kafka_lane *self, struct kafka_partition *item);
void kafka_lane_remove(struct kafka_lane *self, struct kafka_partition *item);
/* lane: as a source's read. */
weir_status kafka_lane_read(struct kafka_lane *self,
                            struct weir_intake *intake,
                            size_t max,
                            struct weir_err *err);

#endif
