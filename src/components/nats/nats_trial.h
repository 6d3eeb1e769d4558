/* SPDX-License-Identifier: Apache-2.0
 *
 * The book of messages that are tried alone, because a process may have died of them. The reader's
 * thread; when that has ended, control.
 */
#ifndef WEIR_NATS_TRIAL_H
#define WEIR_NATS_TRIAL_H

#include "nats_api.h"

struct nats_trials {
    uint64_t nonce; /* of this start */
    int64_t limit;  /* tries in vain that condemn */
    char subject[2 * NATS_NAME_MAX + 40];
    uint64_t floor;    /* messages up to it are acknowledged */
    bool is_known;     /* the book as it was last read or written: */
    uint64_t revision; /* 0: there is none */
    struct weir_strbuf book;
    uint64_t highest;  /* sequence in the book */
    uint64_t sequence; /* of the message that is tried; 0: none */
};

void nats_trials_init(struct nats_trials *self,
                      const char *stream,
                      const char *durable,
                      uint64_t nonce,
                      int64_t limit);
void nats_trials_done(struct nats_trials *self);
/* The bucket is there. Messages up to the sequence `floor` are all acknowledged. */
WEIR_MUST_USE weir_status nats_trials_ensure(struct nats_trials *self,
                                             struct nats_client *client,
                                             int64_t floor,
                                             struct weir_err *err);
/* Is the message in the book, as far as we know? */
bool nats_trials_has(const struct nats_trials *self, uint64_t sequence);
/* The message that was tried is done with, and the next one is tried: when this answers, a crash
 * counts against it. *ret_condemned: it has been tried often enough, and is not tried. */
WEIR_MUST_USE weir_status nats_trials_begin(struct nats_trials *self,
                                            struct nats_client *client,
                                            uint64_t sequence,
                                            bool *ret_condemned,
                                            struct weir_err *err);
/* No message is tried any more. is_over: it is done with, and forgotten; else it is given back, and
 * this try does not count. */
WEIR_MUST_USE weir_status nats_trials_end(struct nats_trials *self,
                                          struct nats_client *client,
                                          bool is_over,
                                          struct weir_err *err);
/* Asks for an answer to a reply subject, for the sake of whoever listens there and is to wake up:
 * a user need not be allowed to publish to it. */
void nats_trials_knock(const struct nats_trials *self,
                       struct nats_client *client,
                       const char *reply);

#endif
