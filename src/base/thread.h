/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that waits for the outside world and can be told to end: it looks at `stop_fd` wherever
 * it waits. One owner starts and stops it.
 */
#ifndef WEIR_BASE_THREAD_H
#define WEIR_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <weir/status.h>

struct weir_thread {
    int stop_fd; /* an eventfd: readable when the thread is to end */
    bool is_running;
    pthread_t id;
};

/* Signals are masked in it, and in what it starts. WEIR_FATAL: the system gives none. */
WEIR_MUST_USE weir_status weir_thread_start(struct weir_thread *self,
                                            void *(*main)(void *argument),
                                            void *argument,
                                            struct weir_err *err);
/* Tells it to end and waits until it has. A zeroed one, or one that has not started, is none. */
void weir_thread_stop(struct weir_thread *self);
/* The same, and waits no longer than that. False: it has not ended yet; call again. */
bool weir_thread_stop_within(struct weir_thread *self, int timeout_ms);

/* For pthread_cond_timedwait with a weir_deadline: no clock that is set changes how long it waits. */
void weir_cond_init(pthread_cond_t *cond);
struct timespec weir_deadline(int64_t from_now_ms);

/* --- the thread itself ---*/

/* Waits so long (-1: for ever). True: it is to end. */
bool weir_thread_pause(const struct weir_thread *self, int timeout_ms);
/* The same, until somebody wakes the descriptor, an eventfd, and takes what was signalled. */
bool weir_thread_wait(const struct weir_thread *self, int fd, int timeout_ms);
/* Waits before the next try: 100 ms, then twice as long each time, at most 5 s. *ret_ms: how long
 * it was, 0 before the first. True: it is to end. */
bool weir_thread_back_off(const struct weir_thread *self, int *ret_ms);

#endif
