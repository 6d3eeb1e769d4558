/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages of a window as records of a batch. lane.
 */
#ifndef WEIR_NATS_RECORD_H
#define WEIR_NATS_RECORD_H

#include "nats_source.h"
#include "nats_window.h"

/* Delivers up to `max` messages of the chunk from number *next on, and moves *next. A record's
 * position is its number, or the message's sequence in the stream. */
size_t nats_chunk_deliver(struct nats_chunk *chunk,
                          const struct nats_source_config *config,
                          struct weir_intake *intake,
                          struct weir_partition *part,
                          int64_t *next,
                          bool by_sequence,
                          size_t max);

extern const struct weir_batch_origin nats_chunk_origin;

#endif
