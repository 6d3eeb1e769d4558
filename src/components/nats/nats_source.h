/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration of a NATS source: what reads it and what looks at its positions share it.
 */
#ifndef WEIR_NATS_SOURCE_H
#define WEIR_NATS_SOURCE_H

#include "nats_api.h"

struct nats_source_config {
    struct nats_address address;
    const char *stream, *durable, *key_header;
    struct weir_strs subjects, filter;
    int manage;
    struct weir_moment start;
    int64_t start_sequence, count, max_ack_pending, key_token;
    weir_duration ack_wait;
};

/* The durable consumer's name: the configured one, or the pipeline's in letters that are allowed.
 */
void nats_source_durable(const struct nats_source_config *config,
                         const char *pipeline,
                         char ret[NATS_NAME_MAX + 1]);
/* What it should be like. `durable` is borrowed. */
struct nats_consumer_spec nats_source_consumer(const struct nats_source_config *config,
                                               const char *durable);

#endif
