/* SPDX-License-Identifier: Apache-2.0
 *
 * The state log of a pipeline in Kafka: a topic NAME.state with a partition per shard, written in
 * the pipeline's transactions, so that state, positions and outputs become visible together.
 *
 * Restoring reads to the high watermark, not to the last stable offset: EndTxn is answered before
 * the markers are in every partition, so a successor can see new positions while its shard's last
 * delta still counts as open (KAFKA-10167). Control thread only.
 */
#ifndef WEIR_KAFKA_STATE_LOG_H
#define WEIR_KAFKA_STATE_LOG_H

#include "kafka_producer.h"

enum { KAFKA_STATE_ENTRY_MAX = 900 * 1024 }; /* below a topic's usual max.message.bytes */

struct kafka_state_log {
    struct kafka_client client; /* first: librdkafka's opaque, of the reader */
    struct weir_ctx *ctx;
    const struct kafka_connection *connection;
    struct kafka_producer *producer;
    char *topic;
    bool is_exchange;         /* of an exchange, to be made and checked in the same way */
    rd_kafka_topic_t *handle; /* the producer's */
    uint64_t generation;      /* of the producer that it belongs to */
    rd_kafka_t *reader;       /* NULL: not needed yet */
};

weir_status kafka_state_log_open(struct kafka_state_log *self,
                                 struct weir_ctx *ctx,
                                 const struct kafka_connection *connection,
                                 struct kafka_producer *producer,
                                 const char *name,
                                 int32_t shards,
                                 size_t *ret_entry_max,
                                 struct weir_err *err);
void kafka_state_log_close(struct kafka_state_log *self);
/* For looking only, on an object whose fields the caller has filled: how many shards there are; 0:
 * no such topic; -1: nobody answers. */
int kafka_state_log_shards(struct kafka_state_log *self);
weir_status
kafka_state_log_make(struct kafka_state_log *self, int32_t shards, struct weir_err *err);
weir_status
kafka_state_log_check_empty(struct kafka_state_log *self, int32_t shards, struct weir_err *err);
weir_status kafka_state_log_restore(struct kafka_state_log *self,
                                    int32_t shard,
                                    weir_status (*take)(void *context,
                                                        struct weir_slice entry,
                                                        struct weir_err *err),
                                    void *context,
                                    struct weir_err *err);
weir_status kafka_state_log_append(struct kafka_state_log *self,
                                   int32_t shard,
                                   struct weir_slice entry,
                                   struct weir_err *err);
weir_status kafka_state_log_place(struct kafka_state_log *self,
                                  int32_t shard,
                                  int64_t *ret_place,
                                  struct weir_err *err);
void kafka_state_log_cut(struct kafka_state_log *self, int32_t shard, int64_t place);

#endif
