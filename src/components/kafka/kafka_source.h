/* SPDX-License-Identifier: Apache-2.0
 *
 * What the transaction and the positions need to know about a Kafka source.
 */
#ifndef WEIR_KAFKA_SOURCE_H
#define WEIR_KAFKA_SOURCE_H

#include "kafka_client.h"

struct kafka_source;

struct kafka_source_config {
    struct kafka_connection connection;
    const char *topic;
    struct weir_strs topics;
    const char *pattern;
    const char *group;
    struct weir_moment start;
    int on_data_loss;
    weir_duration session_timeout;
    weir_bytesize fetch_bytes;
    bool is_exchange; /* reads an exchange's topic, and deletes what is committed */
};

/* The pattern as librdkafka wants it: beginning with ^. */
enum { KAFKA_PATTERN_MAX = 512 };
void kafka_source_pattern(const char *pattern, char text[KAFKA_PATTERN_MAX]);

/* The consumer; owned by the source. control. */
rd_kafka_t *kafka_source_handle(struct kafka_source *self);
const struct kafka_connection *kafka_source_connection(const struct kafka_source *self);

#endif
