/* SPDX-License-Identifier: Apache-2.0
 *
 * Which of a sink's outputs its stream has already, by their ids: read back whenever a connection
 * is made, because the stream itself remembers them for its duplicate_window only.
 *
 * Of a partition only as many are left out as come first. Where one is not there, the stream may
 * have removed it (by its limits, or as it was consumed), and what follows has to follow it: else an
 * older output would end up as the last one.
 *
 *        of the partition, again     1 2 3 4 5 6
 *        in the stream               x x . x . .
 *        written                         3 4 5 6
 */
#ifndef WEIR_NATS_SEEN_H
#define WEIR_NATS_SEEN_H

#include "nats_api.h"

/* As many of the stream's last messages are looked at. */
enum { NATS_SEEN_MESSAGES = 100000 };

struct nats_seen_slot;

/* Zeroed, it knows none. The thread of the sink fills it while no lane looks. */
struct nats_seen {
    struct weir_arena arena;
    struct nats_seen_slot *slots; /* a power of two of them */
    size_t capacity, count;
};

void nats_seen_done(struct nats_seen *seen);
/* Forgets what it knew, and reads the ids that begin with the prefix, of messages to the subject
 * (NULL: any). */
WEIR_MUST_USE weir_status nats_seen_read(struct nats_seen *seen,
                                         struct nats_client *client,
                                         const char *stream,
                                         const char *subject,
                                         const char *prefix,
                                         struct weir_err *err);
/* The output is to be left out. The lane of its partition, in the order of its outputs. */
bool nats_seen_take(struct nats_seen *seen, const char *id);
/* Inputs come again from the beginning. While no lane looks. */
void nats_seen_restart(struct nats_seen *seen);

#endif
