/* SPDX-License-Identifier: Apache-2.0
 *
 * Positions that a source commits by itself, without a transaction.
 */
#ifndef WEIR_KAFKA_COMMIT_H
#define WEIR_KAFKA_COMMIT_H

#include "kafka_client.h"

/* control */
struct kafka_commit {
    rd_kafka_t *rk;
    const struct weir_log *log;
    rd_kafka_queue_t *answers;
    rd_kafka_topic_partition_list_t *asked; /* the last request's; NULL: there was none */
    bool is_under_way;                      /* it is not answered yet */
    bool stands;                            /* it is, and well */
    int64_t not_before_ms;                  /* one was refused: when the next may be made */
};

void kafka_commit_init(struct kafka_commit *self, rd_kafka_t *rk, struct weir_ctx *ctx);
/* Before the handle is destroyed; accepts a zeroed self. */
void kafka_commit_done(struct kafka_commit *self);
/* Makes `closing` of the partitions durable; see struct weir_source_ops. */
weir_status kafka_commit_positions(struct kafka_commit *self,
                                   struct weir_partition *const *items,
                                   size_t count,
                                   struct weir_err *err);

#endif
