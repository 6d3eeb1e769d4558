/* SPDX-License-Identifier: Apache-2.0
 *
 * Which of the messages that were published are acknowledged. Messages are numbered from 1;
 * acknowledgements come in any order, because subjects may belong to several streams.
 *
 *        answered          written
 *     ──────┬─────────────────┬──▶ messages
 *           │ . x x . x . . . │        x: acknowledged out of order
 *
 * No lock of its own: the owner's.
 */
#ifndef WEIR_NATS_ACKS_H
#define WEIR_NATS_ACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NATS_ACKS_MAX = 8192 }; /* under way at once */

struct nats_acks {
    uint64_t written, answered;
    bool is_acked[NATS_ACKS_MAX]; /* of `answered` + 1 … `written` */
};

/* Takes up to `want` numbers, written + 1 and on; how many there were. */
static inline size_t nats_acks_take(struct nats_acks *acks, size_t want)
{
    size_t room = NATS_ACKS_MAX - (size_t)(acks->written - acks->answered);
    size_t count = want < room ? want : room;
    acks->written += count;
    return count;
}

/* False: the number is not awaited (any more). */
static inline bool nats_acks_mark(struct nats_acks *acks, uint64_t number)
{
    if (number <= acks->answered || number > acks->written) {
        return false;
    }
    acks->is_acked[number % NATS_ACKS_MAX] = true;
    while (acks->answered < acks->written && acks->is_acked[(acks->answered + 1) % NATS_ACKS_MAX]) {
        acks->answered++;
        acks->is_acked[acks->answered % NATS_ACKS_MAX] = false;
    }
    return true;
}

/* Nothing is awaited any more. */
static inline void nats_acks_forget(struct nats_acks *acks)
{
    for (uint64_t number = acks->answered + 1; number <= acks->written; number++) {
        acks->is_acked[number % NATS_ACKS_MAX] = false;
    }
    acks->answered = acks->written;
}

#endif
