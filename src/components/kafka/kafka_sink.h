/* SPDX-License-Identifier: Apache-2.0
 *
 * What the transaction needs to know about a Kafka sink.
 */
#ifndef WEIR_KAFKA_SINK_H
#define WEIR_KAFKA_SINK_H

#include "kafka_producer.h"

struct kafka_sink;

struct kafka_sink_config {
    struct kafka_connection connection;
    struct weir_template topic;
    struct weir_expr key;
    int compression;
    int partitioner;
    weir_duration linger;
    weir_bytesize batch_bytes;
    int32_t shards; /* > 0: writes an exchange's topic, which has so many partitions */
};

struct kafka_producer *kafka_sink_producer(struct kafka_sink *self);
/* After the producer may have been replaced, before lanes write. control. */
void kafka_sink_refresh(struct kafka_sink *self);

#endif
