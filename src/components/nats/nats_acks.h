/* SPDX-License-Identifier: Apache-2.0
 *
 * Which of the messages that were published are acknowledged. Messages are numbered from 1;
 * acknowledgements come in any order, because subjects may belong to several streams.
 *
 *        answered          written
 *     ──────┬─────────────────┬──▶ messages
 *           │ . x x . x . . . │        x: acknowledged out of order
 *
 * Under the lock of the delivery.
 */
#ifndef WEIR_NATS_ACKS_H
#define WEIR_NATS_ACKS_H

#include "sink/delivery.h"

enum { NATS_ACKS_MAX = 8192 }; /* under way at once */

struct nats_acks {
    struct weir_delivery delivery;
    bool is_acked[NATS_ACKS_MAX]; /* of `answered` + 1 … `written` */
};

/* Takes up to `want` numbers, written + 1 and on; how many there were. */
static inline size_t nats_acks_take(struct nats_acks *acks, size_t want)
{
    struct weir_delivery *delivery = &acks->delivery;
    size_t room = NATS_ACKS_MAX - (size_t)(delivery->written - delivery->answered);
    size_t count = want < room ? want : room;
    delivery->written += count;
    return count;
}

/* False: the number is not awaited (any more). */
static inline bool nats_acks_mark(struct nats_acks *acks, uint64_t number)
{
    struct weir_delivery *delivery = &acks->delivery;
    if (number <= delivery->answered || number > delivery->written) {
        return false;
    }
    acks->is_acked[number % NATS_ACKS_MAX] = true;
    while (delivery->answered < delivery->written &&
           acks->is_acked[(delivery->answered + 1) % NATS_ACKS_MAX]) {
        delivery->answered++;
        acks->is_acked[delivery->answered % NATS_ACKS_MAX] = false;
    }
    return true;
}

/* Nothing is awaited any more. */
static inline void nats_acks_forget(struct nats_acks *acks)
{
    struct weir_delivery *delivery = &acks->delivery;
    for (uint64_t number = delivery->answered + 1; number <= delivery->written; number++) {
        acks->is_acked[number % NATS_ACKS_MAX] = false;
    }
    delivery->answered = delivery->written;
}

#endif
