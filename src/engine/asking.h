/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions of a batch that rests at a step which asks (struct weir_ask_ops). The lane asks,
 * settles what is answered and asks again; answers come from any thread. A token names a question
 * only while it is under way: whatever comes later finds nobody, so a batch can be dropped at any
 * moment.
 */
#ifndef WEIR_ENGINE_ASKING_H
#define WEIR_ENGINE_ASKING_H

#include <stdatomic.h>

#include <weir/component.h>

struct weir_lane;
struct weir_stage;
struct weir_asks; /* of a step: what is under way */

struct weir_asking {
    const struct weir_stage *stage;
    struct weir_lane *lane;
    void *pass;             /* chain.c: where the batch goes on */
    bool changes_state;     /* steps before this one have: the epoch cannot be sealed without it */
    struct weir_ask *items; /* per record of the step's input */
    size_t count;
    size_t open;      /* have no answer yet; lane */
    bool asked;       /* a round is under way, or was and is not settled; lane */
    unsigned rounds;  /* that ended with questions open; lane */
    int64_t until_ns; /* the round's end, or when the next one begins; lane */
    /* under the step's lock */
    size_t under_way, bytes;
    int64_t asked_ns;
};

struct weir_asks *weir_asks_new(struct weir_ctx *ctx);
void weir_asks_free(struct weir_asks *asks);
/* Some question has no answer although it was asked. Any thread. */
bool weir_asks_are_stuck(const struct weir_asks *asks);
/* Questions under way. Any thread. */
size_t weir_asks_count(struct weir_asks *asks);

/* Makes the questions of a step's input; nothing is sent yet. NULL: the batch has no memory left.
 * lane. */
struct weir_asking *weir_asking_new(struct weir_run *run,
                                    struct weir_record **records,
                                    size_t count,
                                    bool (*asks)(void *context, const struct weir_record *record),
                                    void *context);
/* The question cannot be asked: that is its answer. lane. */
void weir_asking_refuse(struct weir_asking *asking, size_t index, const struct weir_err *err);
/* Asks what is to be asked. True: all is answered. lane. */
bool weir_asking_advance(struct weir_asking *asking, struct weir_batch *batch, int64_t now_ns);
/* The answer to the question of that record; or why there is none. lane. */
WEIR_MUST_USE weir_status weir_asking_answer(const struct weir_asking *asking,
                                             size_t index,
                                             struct weir_slice *ret,
                                             struct weir_err *err);
/* Nobody waits for the answers any more. lane, or paused. */
void weir_asking_drop(struct weir_asking *asking);

#endif
