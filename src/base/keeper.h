/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread that keeps leases (base/lease.h): it makes their rounds when they are due, or when it
 * is told to look, and wakes their owner after each. It ends by itself when a round can never
 * succeed.
 */
#ifndef WEIR_BASE_KEEPER_H
#define WEIR_BASE_KEEPER_H

#include <pthread.h>
#include <stdatomic.h>

#include <weir/log.h>

#include "base/lease.h"
#include "base/thread.h"

struct weir_keeper {
    /* The caller's, borrowed. */
    struct weir_leases *leases;
    const struct weir_clock *clock;
    const struct weir_log *log;
    int owner_fd; /* eventfd: the owner should look */

    struct weir_thread thread;
    int look_fd;
    atomic_bool sound;
    pthread_mutex_t lock;    /* guards what follows */
    struct weir_err trouble; /* of the last round */
    bool is_over;
};

/* The owner's thread calls all of these. */

/* The caller has filled the first part. */
WEIR_MUST_USE weir_status weir_keeper_init(struct weir_keeper *self, struct weir_err *err);
WEIR_MUST_USE weir_status weir_keeper_start(struct weir_keeper *self, struct weir_err *err);
/* Something is to be taken or released: makes a round when the leases say so, before it was due. */
void weir_keeper_look(struct weir_keeper *self);
/* The last round reached the medium. Any thread. */
bool weir_keeper_is_sound(const struct weir_keeper *self);
/* What the last round failed with; else WEIR_OK. */
weir_status weir_keeper_trouble(struct weir_keeper *self, struct weir_err *ret_err);
/* Why it gave up for good; else WEIR_OK. */
WEIR_MUST_USE weir_status weir_keeper_failed(struct weir_keeper *self, struct weir_err *err);
/* Ends the thread, which leaves before: the owner has let go of every lease. What cannot be
 * released so soon ends by itself. */
void weir_keeper_stop(struct weir_keeper *self, int patience_ms);
void weir_keeper_done(struct weir_keeper *self);

#endif
