/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that runs one errand after the other, in the order they were given, for an owner who
 * must not wait: control, which asks a server something.
 *
 * An errand lies in the owner's memory. From being given until it is done it is the desk's, and so
 * is all that it works on.
 */
#ifndef WEIR_BASE_DESK_H
#define WEIR_BASE_DESK_H

#include <stdatomic.h>

#include "base/thread.h"

enum weir_errand_state { WEIR_ERRAND_NONE, WEIR_ERRAND_GIVEN, WEIR_ERRAND_DONE };

struct weir_errand {
    void (*run)(struct weir_errand *self); /* the desk's thread; may block */
    _Atomic int state;
    struct weir_errand *next; /* the desk's */
};

struct weir_desk {
    int owner_fd; /* an eventfd: an errand is done */
    struct weir_thread thread;
    int wake_fd;
    pthread_mutex_t lock; /* guards what follows */
    struct weir_errand *first, *last;
};

/* The owner's thread calls all of these. */

/* Starts the thread; what it starts has all signals masked. */
WEIR_MUST_USE weir_status weir_desk_start(struct weir_desk *self,
                                          int owner_fd,
                                          struct weir_err *err);
/* The errand has none of its own under way. */
void weir_desk_give(struct weir_desk *self, struct weir_errand *errand);
/* Nothing was given that is not done. */
bool weir_desk_is_idle(struct weir_desk *self);
/* Ends the thread after the errand that is under way; what comes behind it is never run. Waits so
 * long; false: that errand still runs, call again. Accepts a zeroed desk. */
WEIR_MUST_USE bool weir_desk_stop(struct weir_desk *self, int timeout_ms);

#endif
