/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration of a NATS source, and its two ways to read.
 */
#ifndef WEIR_NATS_SOURCE_H
#define WEIR_NATS_SOURCE_H

#include "nats_api.h"
#include "nats_record.h"
#include "source/modal.h"

enum { NATS_MODE_AUTO, NATS_MODE_SHARED, NATS_MODE_POSITIONED };
enum { NATS_LOSS_STOP, NATS_LOSS_SKIP };
enum { NATS_PARTITIONS_MAX = 64 };

struct nats_source_config {
    struct nats_address address;
    struct nats_key key;
    const char *stream, *durable, *partition;
    struct weir_strs subjects, filter;
    int mode, manage, on_data_loss;
    struct weir_moment start;
    int64_t start_sequence, count, max_ack_pending, max_deliveries, partitions;
    weir_duration ack_wait, lease;
};

/* A name for JetStream: the configured one, or the pipeline's in letters that are allowed. */
void nats_source_durable(const struct nats_source_config *config,
                         const char *pipeline,
                         char ret[NATS_NAME_MAX + 1]);
/* Read by position: the subject of a partition (empty: all of the stream), and what the partition
 * is called. */
enum { NATS_TOPIC_MAX = NATS_SUBJECT_MAX + NATS_NAME_MAX + 2 };
void nats_source_partition(const struct nats_source_config *config,
                           int32_t index,
                           char ret_subject[NATS_SUBJECT_MAX],
                           char ret_topic[NATS_TOPIC_MAX]);
/* What its durable consumer should be like. `durable` is borrowed. */
struct nats_consumer_spec nats_source_consumer(const struct nats_source_config *config,
                                               const char *durable);

extern const struct weir_mode nats_shared_mode, nats_positioned_mode;

#endif
