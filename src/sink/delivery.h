/* SPDX-License-Identifier: Apache-2.0
 *
 * What a sink has handed over to its server and what the server has answered: numbers from 1, in
 * the order of the lanes' writing. An epoch is confirmed when everything that was sealed with it is
 * answered; the first failure since the last abort is the epoch's.
 *
 *        answered          sealed       written
 *     ──────┬────────────────┬─────────────┬──▶ outputs
 *           │ of the closing │ of the open │
 *
 * The sink's thread moves `answered`, lanes move `written`, both under the lock; control calls what
 * the table of a sink asks for.
 */
#ifndef WEIR_SINK_DELIVERY_H
#define WEIR_SINK_DELIVERY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <weir/component.h>

struct weir_delivery {
    struct weir_ctx *ctx;
    pthread_mutex_t lock; /* guards what follows */
    uint64_t written, answered, sealed;
    bool lanes_wait;    /* somebody found it full */
    bool control_waits; /* for the seal to be answered, or for a failure to be seen */
    struct weir_err failure;
    struct weir_err away;  /* why there is no connection, when one was tried for and failed */
    struct weir_link link; /* the sink's thread's */
};

void weir_delivery_init(struct weir_delivery *self, struct weir_ctx *ctx);
void weir_delivery_done(struct weir_delivery *self);

/* any thread */
void weir_delivery_lock(struct weir_delivery *self);
void weir_delivery_unlock(struct weir_delivery *self);
/* Unlocks, and wakes lanes that wait if there is room, control if what it waits for is there. */
void weir_delivery_unlock_and_tell(struct weir_delivery *self, bool has_room);
/* Under the lock: the epoch has failed; the first failure counts. */
void weir_delivery_blame(struct weir_delivery *self, const struct weir_err *err);
/* Without the lock: the same, and control is woken. */
void weir_delivery_fail(struct weir_delivery *self, const struct weir_err *err);
/* The sink's thread, without the lock. No connection can be had: the pipeline is not ready, and
 * when the process is to end, the epoch fails. */
void weir_delivery_away(struct weir_delivery *self, const struct weir_err *err);
/* The same thread. There is a connection (again): lanes that found none try again. */
void weir_delivery_back(struct weir_delivery *self);

/* control; for struct weir_sink_ops. */
WEIR_MUST_USE weir_status weir_delivery_poll(struct weir_delivery *self, struct weir_err *err);
void weir_delivery_seal(struct weir_delivery *self);
WEIR_MUST_USE weir_status weir_delivery_confirm(struct weir_delivery *self, struct weir_err *err);
/* Under the lock: nothing is sealed or has failed any more. The sink has dropped what it held. */
void weir_delivery_forget(struct weir_delivery *self);

#endif
