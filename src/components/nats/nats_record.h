/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages of a window as records of a batch. lane.
 */
#ifndef WEIR_NATS_RECORD_H
#define WEIR_NATS_RECORD_H

#include "nats_client.h"
#include "nats_window.h"

/* What of a message is its record's key. */
struct nats_key {
    const char *header; /* NULL: the subject */
    int64_t token;      /* of the subject, from 1; 0: all of it */
};

/* The rows that every NATS source has; S has a member `struct nats_key key`. */
#define NATS_KEY_FIELDS(S)                                                                         \
    WEIR_F_NAMED(S, key.token, "key_token", INT, int64_t, .min = 1, .max = 64,                     \
                 .unset = "the whole subject is the key",                                          \
                 .help = "The token of the subject that is the record's key, counted from 1."),    \
        WEIR_F_NAMED(S, key.header, "key_header", STR, const char *, .min = 1,                     \
                     .max = NATS_NAME_MAX, .example = "customer",                                  \
                     .help = "The header that is the record's key instead.")

/* Delivers up to `max` messages of the chunk from number *next on, and moves *next. A record's
 * position is its number, or the message's sequence in the stream. */
size_t nats_chunk_deliver(struct nats_chunk *chunk,
                          const struct nats_key *key,
                          struct weir_intake *intake,
                          struct weir_partition *part,
                          int64_t *next,
                          bool by_sequence,
                          size_t max);

/* The same of a window, over its chunks; a record's position is its number. WEIR_AGAIN: nothing is
 * there. */
weir_status nats_window_deliver(struct nats_window *window,
                                const struct nats_key *key,
                                struct weir_intake *intake,
                                struct weir_partition *part,
                                int64_t *next,
                                size_t max);

extern const struct weir_batch_origin nats_chunk_origin;

#endif
