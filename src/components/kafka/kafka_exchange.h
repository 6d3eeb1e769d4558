/* SPDX-License-Identifier: Apache-2.0
 *
 * An exchange through a topic of the cluster: PIPELINE.STEP.exchange, written by the Kafka sink and
 * read by the Kafka source, with configurations made here. What is particular about them lies here.
 */
#ifndef WEIR_KAFKA_EXCHANGE_H
#define WEIR_KAFKA_EXCHANGE_H

#include "kafka_producer.h"
#include "kafka_sink.h"
#include "kafka_source.h"

extern const struct weir_exchange_ops kafka_exchange_ops;

/* Makes the topic, or checks that it is what it must be. control. */
weir_status kafka_exchange_make(struct weir_ctx *ctx,
                                struct kafka_producer *producer,
                                const struct kafka_sink_config *config,
                                struct weir_err *err);
/* Puts the record's frame (its target) in front of its value. lane. */
weir_status
kafka_exchange_join(struct weir_run *run, struct weir_record *record, struct weir_err *err);

/* How many partitions the topics of a source that feeds an exchange have together: who waits behind
 * it must know. 0: it feeds none. WEIR_AGAIN: nobody answers within that time, for one of them. */
weir_status kafka_exchange_count(rd_kafka_t *rk,
                                 const struct weir_ctx *ctx,
                                 const struct kafka_source_config *config,
                                 int timeout_ms,
                                 int32_t *ret_total,
                                 struct weir_err *err);

/* Deleting what was read, now and then, without waiting for the answer. Zeroed at first. control.
 */
struct kafka_cutting {
    rd_kafka_queue_t *queue;
    rd_kafka_topic_partition_list_t *list;
    bool is_asked;
    int64_t asked_ns;
};
bool kafka_cutting_is_due(struct kafka_cutting *self, const struct weir_ctx *ctx, rd_kafka_t *rk);
/* What is committed of a partition. *cut: up to where it was added before. */
void kafka_cutting_add(struct kafka_cutting *self, const struct weir_partition *part, int64_t *cut);
/* Deletes what was added. */
void kafka_cutting_begin(struct kafka_cutting *self, rd_kafka_t *rk);
void kafka_cutting_end(struct kafka_cutting *self);

#endif
